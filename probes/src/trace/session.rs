//! One TLS session of a traced program: how it was set up, what went over it, and how it came out.

use std::time::{Duration, Instant};

use nssight_nss::transport::End;
use nssight_nss::{ErrorCode, HandshakeFacts, NssError};
use nssight_tracer::event::{Event, Function, Phase};
use nssight_wire::{AlertLevel, Direction};

use super::address::{self, Ends};
use crate::wire::{Session as Place, SessionLog, WireEvent};

/// SSL_HANDSHAKE_AS_SERVER (ssl.h).
const AS_SERVER: i64 = 6;
/// Bytes in one event that are not told; a record is shorter.
const SKIPPED: i64 = 1 << 15;

/// How far the handshake came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Handshake {
    /// Nothing was said.
    NotTried,
    /// It was begun, and is neither done nor failed.
    Begun,
    /// Both sides are done.
    Done,
    /// It failed in this call, with this error.
    Failed(Function, ErrorCode),
    /// This call never came back.
    Hangs(Function),
}

/// One session.
pub(super) struct Session {
    pub(super) process: usize,
    pub(super) tid: u32,
    pub(super) began_ns: u64,
    pub(super) ends: Ends,
    pub(super) host: Option<String>,
    pub(super) is_server: bool,
    pub(super) handshake: Handshake,
    /// When the handshake ended, or was last heard of.
    pub(super) settled_ns: u64,
    pub(super) log: SessionLog,
    /// The program has a hook that gives certificate and key, or NSS's own.
    pub(super) has_client_auth: bool,
    /// It was asked, and gave something.
    pub(super) gave_certificate: Option<bool>,
    /// What the program, or NSS for it, decided about the peer's certificate.
    pub(super) decision: Option<Result<(), ErrorCode>>,
    /// The first call that failed after the handshake.
    pub(super) later_failure: Option<(Function, ErrorCode)>,
    /// The first byte was moved after the peer was gone.
    pub(super) peer_was_gone: bool,
    /// Bytes of the program that went through it.
    pub(super) moved: [u64; 2],
    /// Frames of the inner stream that came, other than its end.
    pub(super) inner_chunks: u32,
    /// Ends of the inner stream that came.
    pub(super) inner_ends: u32,
    pub(super) outer_ends: u32,
    pub(super) reply_code: Option<u8>,
    pub(super) reply_whole: bool,
    /// A call on it has not come back.
    pub(super) waits: Option<Function>,
    /// Bytes of it are not told any more.
    cut: bool,
    first_wire: Option<u64>,
}

impl Session {
    /// A session that SSL_ImportFD has just made.
    pub(super) fn new(event: &Event, process: usize) -> Self {
        Self {
            process,
            tid: event.tid,
            began_ns: event.at_ns,
            ends: address::ends(event.text()).unwrap_or_default(),
            host: None,
            is_server: false,
            handshake: Handshake::NotTried,
            settled_ns: event.at_ns,
            // The place is known when all sessions are; it says nothing about the log itself.
            log: SessionLog::new(Place::Outer, Instant::now()),
            has_client_auth: false,
            gave_certificate: None,
            decision: None,
            later_failure: None,
            peer_was_gone: false,
            moved: [0; 2],
            inner_chunks: 0,
            inner_ends: 0,
            outer_ends: 0,
            reply_code: None,
            reply_whole: false,
            waits: None,
            cut: false,
            first_wire: None,
        }
    }

    /// A call on it begins.
    pub(super) fn enters(&mut self, event: &Event) {
        let handshakes = matches!(
            event.function,
            Function::SSL_ForceHandshake
                | Function::SSL_ForceHandshakeWithTimeout
                | Function::PR_Read
                | Function::PR_Recv
                | Function::PR_Write
                | Function::PR_Send
        );
        if handshakes && self.handshake == Handshake::NotTried {
            self.handshake = Handshake::Begun;
        }
    }

    /// A call on it came back.
    pub(super) fn call(&mut self, event: &Event, failed: bool) {
        let code = ErrorCode(event.error);
        match event.function {
            Function::SSL_SetURL => self.host = Some(String::from_utf8_lossy(event.text()).into_owned()),
            Function::SSL_OptionSet if event.number == AS_SERVER => self.is_server = event.extra != 0,
            Function::SSL_ResetHandshake => self.is_server = event.number != 0,
            Function::SSL_ConfigSecureServer | Function::SSL_ConfigServerCert => self.is_server = true,
            Function::SSL_GetClientAuthDataHook => self.has_client_auth = event.number != 0,
            Function::client_auth_hook => self.gave_certificate = Some(!failed && event.number != 0),
            Function::NSS_GetClientAuthData => self.gave_certificate = Some(!failed),
            Function::SSL_AuthCertificate | Function::auth_certificate_hook => {
                self.decision = Some(if event.phase == Phase::Failed { Err(code) } else { Ok(()) });
            }
            // The program takes a certificate that NSS does not.
            Function::bad_certificate_hook if !failed => self.decision = Some(Ok(())),
            Function::handshake_callback => self.settle(event, Handshake::Done),
            Function::SSL_ForceHandshake | Function::SSL_ForceHandshakeWithTimeout => match event.phase {
                Phase::Done => self.settle(event, Handshake::Done),
                _ if failed => self.fail(event, code),
                _ => {}
            },
            Function::PR_Read | Function::PR_Recv | Function::PR_Write | Function::PR_Send => {
                let way = usize::from(matches!(event.function, Function::PR_Read | Function::PR_Recv));
                if event.result > 0 {
                    self.settle(event, Handshake::Done);
                    self.moved[way] = self.moved[way].saturating_add(event.result.unsigned_abs());
                } else if failed {
                    self.fail(event, code);
                } else if event.phase == Phase::Done && self.handshake == Handshake::Begun && way == 1 {
                    // An end of file in place of a handshake.
                    self.fail(event, ErrorCode::PR_END_OF_FILE_ERROR);
                }
            }
            _ => {}
        }
    }

    fn settle(&mut self, event: &Event, how: Handshake) {
        if matches!(self.handshake, Handshake::NotTried | Handshake::Begun) {
            self.handshake = how;
            self.settled_ns = event.at_ns;
        }
    }

    fn fail(&mut self, event: &Event, code: ErrorCode) {
        match self.handshake {
            Handshake::Done => {
                self.later_failure.get_or_insert((event.function, code));
            }
            _ => self.settle(event, Handshake::Failed(event.function, code)),
        }
    }

    /// The program is over. One that reads at once, without a callback, is not told that the handshake in between is done;
    /// the wire shows it.
    pub(super) fn end(&mut self) {
        let wire = self.log.summary();
        let encrypts = wire.encrypted_records_sent > 0 && wire.encrypted_records_received > 0;
        // In TLS 1.3 the client's first encrypted record is the flight that ends with its Finished, or an alert, with which
        // the handshake has failed by now.
        let is_done = wire.handshake_complete.unwrap_or(encrypts);
        if self.handshake == Handshake::Begun && is_done && self.log.end.is_none() {
            self.handshake = Handshake::Done;
        }
    }

    /// The program ended while this call was under way.
    pub(super) fn never_came_back(&mut self, event: &Event) {
        match self.handshake {
            Handshake::NotTried | Handshake::Begun => self.handshake = Handshake::Hangs(event.function),
            _ => self.waits = Some(event.function),
        }
    }

    /// Bytes of it were seen, or that there were some, or that there will be no more.
    pub(super) fn wire(&mut self, event: &Event) {
        let first = *self.first_wire.get_or_insert(event.at_ns);
        let at = Duration::from_nanos(event.at_ns.saturating_sub(first));
        let direction = if event.extra == 0 { Direction::Sent } else { Direction::Received };
        match event.function {
            Function::wire_bytes if !self.cut => self.feed(direction, at, event.text()),
            Function::wire_skipped if event.os_error != 0 => {
                // Bytes that are no TLS, or too many of them. One more of its kind keeps the count of bytes honest enough.
                self.cut |= direction == Direction::Received;
            }
            // What is in a record of application data is of no interest to the story; how much there is, is.
            Function::wire_skipped if !self.cut => {
                let count = usize::try_from(event.result.clamp(0, SKIPPED)).unwrap_or_default();
                self.feed(direction, at, &vec![0; count]);
            }
            Function::wire_end if direction == Direction::Received => {
                let sent_nothing = self.log.summary().bytes_sent == 0;
                self.peer_was_gone |= sent_nothing;
                self.log.ended_at(at, if event.result == 0 { End::Closed } else { End::Reset });
            }
            _ => {}
        }
    }

    fn feed(&mut self, direction: Direction, at: Duration, bytes: &[u8]) {
        match direction {
            Direction::Sent => self.log.sent_at(at, bytes),
            Direction::Received => self.log.received_at(at, bytes),
        }
    }

    /// What was on its wire, from the story's first event on.
    pub(super) fn take_wire(&mut self, inner: bool, from_ns: u64) -> Vec<WireEvent> {
        let later = self.first_wire.unwrap_or(from_ns).saturating_sub(from_ns) / 1000;
        let place = if inner { Place::Inner } else { Place::Outer };
        let placed = self.log.take_new().into_iter().map(|event| WireEvent {
            session: place,
            at_us: event.at_us.saturating_add(later),
            ..event
        });
        placed.collect()
    }

    /// A frame of a double TLS stream inside of it.
    pub(super) fn chunk(&mut self, event: &Event) {
        let received = event.extra & 1 == 1;
        match event.function {
            Function::reply if event.extra == 1 => self.reply_whole = true,
            Function::reply => self.reply_code = u8::try_from(event.number).ok(),
            _ if !received => {}
            _ => match (event.extra & 2 == 2, event.number) {
                (true, 0) => self.inner_ends += 1,
                (true, _) => self.inner_chunks += 1,
                (false, 0) => self.outer_ends += 1,
                (false, _) => {}
            },
        }
    }

    /// The error that the handshake ended with, if it did not end well.
    pub(super) fn error(&self) -> Option<NssError> {
        match self.handshake {
            Handshake::Failed(_, code) => Some(NssError::of("handshake", code)),
            Handshake::Hangs(_) | Handshake::Begun => {
                // The program was ended before the handshake was: by its own deadline or somebody's patience.
                let code = match self.log.end {
                    Some(End::Closed) => ErrorCode::PR_END_OF_FILE_ERROR,
                    Some(End::Reset) => ErrorCode::PR_CONNECT_RESET_ERROR,
                    _ => ErrorCode::PR_IO_TIMEOUT_ERROR,
                };
                Some(NssError::of("handshake", code))
            }
            Handshake::NotTried | Handshake::Done => None,
        }
    }

    /// What the program's callbacks and the wire say, as a walk would have collected it.
    pub(super) fn facts(&self, error: &NssError) -> HandshakeFacts {
        let wire = self.log.summary();
        let mut facts = HandshakeFacts::default();
        if let Some(certificates) = &wire.server_certificates {
            facts.peer_chain = certificates.certificates.iter().map(|certificate| certificate.der.clone()).collect();
        }
        // Only what NSS itself says when it gives up: a decision that the program overruled is none.
        facts.decision = match self.decision {
            Some(Err(code)) if code == error.code => Some(Err(NssError::of("check the peer's certificate", code))),
            Some(Err(_)) | None => None,
            Some(Ok(())) => Some(Ok(())),
        };
        let asked = wire.certificate_request.is_some() || self.gave_certificate.is_some();
        facts.asked_for_certificate = asked.then(Vec::new);
        facts.gave_certificate = wire.client_certificate_sent.or(self.gave_certificate).unwrap_or(false);
        let alerts = wire.alerts.iter().map(|seen| nssight_nss::tls::SeenAlert {
            sent: seen.direction == Direction::Sent,
            level: level(seen.alert.level),
            description: seen.alert.description.0,
        });
        facts.alerts = alerts.collect();
        // An encrypted alert is not on the wire to be read, but NSS's error says which one it was.
        let heard = facts.alerts.iter().any(|alert| !alert.sent);
        let alert = (0..=u8::MAX).find(|alert| ErrorCode::of_alert(*alert) == Some(error.code));
        if let (false, Some(description)) = (heard, alert) {
            facts.alerts.push(nssight_nss::tls::SeenAlert { sent: false, level: 2, description });
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
