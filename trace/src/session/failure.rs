//! Describes a session's failure as a check would.

use nssight_diagnosis::Signal;
use nssight_nss::{ErrorCode, NssError, Step};
use nssight_session::{CaName, End, SeenAlert, SessionFacts};
use nssight_wire::{AlertLevel, Direction};

use super::{Handshake, Session};

impl Session {
    /// The error of the handshake, if it failed.
    pub(crate) fn error(&self) -> Option<NssError> {
        match self.handshake {
            Handshake::Failed(_, code) => Some(NssError::of(Step::Handshake, code)),
            // A server that waits for its client has not failed.
            Handshake::Hangs(_) | Handshake::Begun if self.is_server && self.log.end.is_none() => None,
            Handshake::Hangs(_) | Handshake::Begun => {
                // The program ended before the handshake did: by its own deadline or from outside.
                let code = match self.log.end {
                    Some(End::Closed) => ErrorCode::PR_END_OF_FILE_ERROR,
                    Some(End::Reset) => ErrorCode::PR_CONNECT_RESET_ERROR,
                    _ => ErrorCode::PR_IO_TIMEOUT_ERROR,
                };
                Some(NssError::of(Step::Handshake, code))
            }
            Handshake::NotTried | Handshake::Done | Handshake::Abandoned(_) | Handshake::EndedInHook(_) => None,
        }
    }

    /// The results of the program's callbacks and of the wire, as a check would collect them.
    pub(crate) fn facts(&self, error: &NssError) -> SessionFacts {
        let wire = self.log.summary();
        let mut facts = SessionFacts::default();
        if let Some(certificates) = &wire.server_certificates {
            facts.peer_chain = certificates.certificates.iter().map(|certificate| certificate.der.clone()).collect();
        }
        // Only NSS's own decision when it gives up: one that the program overruled does not count.
        facts.decision = match self.decision {
            Some(Err(code)) if code == error.code => Some(Err(NssError::of(Step::JudgePeer, code).into())),
            Some(Err(_)) | None => None,
            Some(Ok(())) => Some(Ok(())),
        };
        let asked = wire.certificate_request.is_some() || self.gave_certificate.is_some();
        let authorities = wire.certificate_request.iter().flat_map(|request| &request.authorities);
        let authorities = authorities.map(|name| CaName { der: name.der.clone(), text: name.name.clone() });
        facts.asked_for_certificate = asked.then(|| authorities.collect());
        facts.gave_certificate = self.gave_certificate.or(wire.client_certificate_sent).unwrap_or(false);
        let alerts = wire.alerts.iter().map(|seen| SeenAlert {
            sent: seen.direction == Direction::Sent,
            level: level(seen.alert.level),
            description: seen.alert.description.0,
        });
        facts.alerts = alerts.collect();
        // An encrypted alert cannot be read on the wire, but NSS's error identifies it.
        let heard = facts.alerts.iter().any(|alert| !alert.sent);
        let alert = Signal::of_nss(error.code.0).row().alert.filter(|alert| *alert != 0);
        if let (false, Some(description)) = (heard, alert) {
            facts.alerts.push(SeenAlert { sent: false, level: 2, description });
        }
        facts
    }
}

fn level(level: AlertLevel) -> u8 {
    match level {
        AlertLevel::Warning => 1,
        AlertLevel::Fatal => 2,
        AlertLevel::Other(number) => number,
    }
}
