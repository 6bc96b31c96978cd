//! Implements the session trait for NSS.

use nssight_session::{Channel, Code, Kind, Objection, SessionError, SessionFacts, TlsSession};

use crate::error::{ErrorCode, NssError, Step};
use crate::tls::{HandshakeFacts, Session};

impl From<NssError> for SessionError {
    fn from(error: NssError) -> Self {
        Self::from(&error)
    }
}

impl From<&NssError> for SessionError {
    fn from(error: &NssError) -> Self {
        let kind = match (error.step, error.code) {
            (Step::SetVersions, _) => Kind::NoVersions,
            (_, ErrorCode::PR_IO_TIMEOUT_ERROR) => Kind::TimedOut,
            (_, ErrorCode::PR_WOULD_BLOCK_ERROR) => Kind::WouldBlock,
            (_, ErrorCode::PR_CONNECT_RESET_ERROR) => Kind::Reset,
            (_, ErrorCode::PR_END_OF_FILE_ERROR) => Kind::Ended,
            _ => Kind::Other,
        };
        let (name, text) = (error.name.clone(), error.text.clone());
        Self { step: error.step.as_str(), code: Code::Nss(error.code.0), kind, name, text }
    }
}

impl From<HandshakeFacts> for SessionFacts {
    fn from(facts: HandshakeFacts) -> Self {
        let objections = facts.objections.into_iter().map(|objection| Objection {
            depth: objection.depth,
            error: objection.error.into(),
            subject: objection.subject,
        });
        Self {
            peer_chain: facts.peer_chain,
            built_chain: facts.built_chain,
            objections: objections.collect(),
            name_error: facts.name_error.map(Into::into),
            decision: facts.decision.map(|decision| decision.map_err(Into::into)),
            asked_for_certificate: facts.asked_for_certificate,
            gave_certificate: facts.gave_certificate,
            sent_certificate: facts.sent_certificate,
            alerts: facts.alerts,
        }
    }
}

impl TlsSession for Session {
    fn versions(&self) -> (u16, u16) {
        self.versions()
    }

    fn handshake(&mut self) -> Result<(), SessionError> {
        Ok(self.handshake()?)
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SessionError> {
        Ok(self.read(buffer)?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        Ok(self.write(bytes)?)
    }

    fn finish(&mut self) -> Result<(), SessionError> {
        Ok(self.finish()?)
    }

    fn facts(&self) -> SessionFacts {
        self.facts().into()
    }

    fn channel(&self) -> Option<Channel> {
        self.channel()
    }
}
