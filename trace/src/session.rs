//! One TLS session of a traced program: its setup, its data and its result.

use std::time::{Duration, Instant};

use nssight_diagnosis::fact::fact::OuterSessionEnd;
use nssight_nss::ErrorCode;
use nssight_probes::wire::{Session as Place, SessionLog, WireEvent};
use nssight_session::End;
use nssight_tracer::event::{Event, Function, Library, Phase};
use nssight_wire::Direction;

use crate::address::{self, Ends};

mod failure;

/// SECWouldBlock (seccomon.h).
const WOULD_BLOCK: i64 = -2;
/// SSL_HANDSHAKE_AS_SERVER (ssl.h).
const AS_SERVER: i64 = 6;
/// Bytes in one event that are not recorded; a record is shorter.
const SKIPPED: i64 = 1 << 15;

/// The progress of the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Handshake {
    /// No handshake message was sent.
    NotTried,
    /// The handshake started, but neither succeeded nor failed.
    Begun,
    /// The handshake is complete on both sides.
    Done,
    /// The handshake failed in this call, with this error.
    Failed(Function, ErrorCode),
    /// This call never returned.
    Hangs(Function),
    /// The program itself closed its end before the handshake was complete.
    Abandoned(Function),
    /// The program ended inside its own hook.
    EndedInHook(Function),
}

/// One session.
pub(crate) struct Session {
    pub(crate) process: usize,
    pub(crate) tid: u32,
    pub(crate) began_ns: u64,
    pub(crate) ends: Ends,
    pub(crate) host: Option<String>,
    pub(crate) is_server: bool,
    pub(crate) handshake: Handshake,
    /// When the handshake ended, or its last event.
    pub(crate) settled_ns: u64,
    pub(crate) log: SessionLog,
    /// The program has set its own hook for certificate and key, or NSS's.
    pub(crate) has_client_auth: bool,
    /// The callback was called, and returned a certificate.
    pub(crate) gave_certificate: Option<bool>,
    /// The decision about the peer's certificate, by the program or by NSS.
    pub(crate) decision: Option<Result<(), ErrorCode>>,
    /// The first call that failed after the handshake.
    pub(crate) later_failure: Option<(Function, ErrorCode)>,
    /// The first byte was moved after the peer had disconnected.
    pub(crate) peer_was_gone: bool,
    /// Bytes of the program that were sent and received through it.
    pub(crate) moved: [u64; 2],
    /// Frames of the inner stream that arrived, other than its end.
    pub(crate) inner_chunks: u32,
    /// Ends of the inner stream that arrived.
    pub(crate) inner_ends: u32,
    pub(crate) outer_ends: u32,
    /// Frames of the outer stream that arrived, other than its end: the reply.
    pub(crate) outer_chunks: u32,
    pub(crate) reply_code: Option<u8>,
    pub(crate) reply_whole: bool,
    /// The program's own hook refused the peer's certificate, not NSS.
    pub(crate) refused_by_program: bool,
    /// When bytes were last sent or received on its wire.
    pub(crate) last_wire_ns: Option<u64>,
    /// When the peer last sent data.
    pub(crate) last_received_ns: Option<u64>,
    /// When the peer's direction ended.
    pub(crate) ended_ns: Option<u64>,
    /// When the program last sent data.
    last_sent_ns: Option<u64>,
    /// When the program sent an encrypted alert, and when the peer first did: visible before TLS 1.3.
    alert_ns: [Option<u64>; 2],
    /// When the program had last sent data before the peer's last data.
    pub(crate) sent_before_ns: Option<u64>,
    /// Its bytes are no longer recorded.
    cut: bool,
    first_wire: Option<u64>,
}

impl Session {
    /// A session that SSL_ImportFD has just created.
    pub(crate) fn new(event: &Event, process: usize) -> Self {
        Self {
            process,
            tid: event.tid,
            began_ns: event.at_ns,
            ends: address::ends(event.text()).unwrap_or_default(),
            host: None,
            is_server: false,
            handshake: Handshake::NotTried,
            settled_ns: event.at_ns,
            // The place is known only when all sessions are; it does not affect the log itself.
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
            outer_chunks: 0,
            reply_code: None,
            reply_whole: false,
            refused_by_program: false,
            last_wire_ns: None,
            last_received_ns: None,
            ended_ns: None,
            last_sent_ns: None,
            alert_ns: [None; 2],
            sent_before_ns: None,
            cut: false,
            first_wire: None,
        }
    }

    /// A call on it starts.
    pub(crate) fn enters(&mut self, event: &Event) {
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

    /// A call on it has returned.
    pub(crate) fn call(&mut self, event: &Event, failed: bool) {
        let code = ErrorCode(event.error);
        match event.function {
            Function::SSL_SetURL => self.host = Some(String::from_utf8_lossy(event.text()).into_owned()),
            Function::SSL_OptionSet if event.number == AS_SERVER => self.is_server = event.extra != 0,
            Function::SSL_ResetHandshake => {
                self.is_server = event.number != 0;
                self.restart_session();
            }
            Function::SSL_ConfigSecureServer | Function::SSL_ConfigServerCert => self.is_server = true,
            Function::SSL_GetClientAuthDataHook => self.has_client_auth = event.number != 0,
            Function::client_auth_hook => self.gave_certificate = Some(!failed && event.number != 0),
            Function::NSS_GetClientAuthData => self.gave_certificate = Some(!failed),
            // SECWouldBlock: the decision follows later.
            Function::SSL_AuthCertificate | Function::auth_certificate_hook if event.result == WOULD_BLOCK => {}
            Function::SSL_AuthCertificate => self.decision = Some(if failed { Err(code) } else { Ok(()) }),
            Function::auth_certificate_hook => {
                self.refused_by_program = failed && !matches!(self.decision, Some(Err(_)));
                self.decision = Some(if failed { Err(code) } else { Ok(()) });
            }
            // The program accepts a certificate that NSS rejects.
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
                    // An end of file instead of a handshake.
                    self.fail(event, ErrorCode::PR_END_OF_FILE_ERROR);
                }
            }
            _ => {}
        }
    }

    /// Earlier unencrypted data, to a proxy or before STARTTLS, does not belong to the session.
    fn restart_session(&mut self) {
        self.handshake = Handshake::NotTried;
        self.log = SessionLog::new(Place::Outer, Instant::now());
        (self.moved, self.cut) = ([0; 2], false);
        (self.first_wire, self.last_wire_ns, self.decision, self.peer_was_gone) = (None, None, None, false);
        (self.alert_ns, self.ended_ns) = ([None; 2], None);
    }

    /// The program is about to close its end, or to shut it down in both directions.
    pub(crate) fn closes(&mut self, event: &Event) {
        if self.handshake != Handshake::Begun {
            return;
        }
        match self.decision {
            // A program that verifies the certificate in parallel to the handshake disconnects if it rejects it.
            Some(Err(code)) => self.settle(event, Handshake::Failed(Function::SSL_AuthCertificate, code)),
            _ if self.is_done_by_wire() => self.settle(event, Handshake::Done),
            _ if self.log.end.is_none() => self.settle(event, Handshake::Abandoned(event.function)),
            _ => {}
        }
    }

    /// A program that reads at once, without a callback, gets no notice that the handshake in between is complete; the wire shows it.
    fn is_done_by_wire(&self) -> bool {
        let wire = self.log.summary();
        let encrypts = wire.encrypted_records_sent > 0 && wire.encrypted_records_received > 0;
        // In TLS 1.3 the client's first encrypted record is the flight that ends with its Finished, or an alert, with which
        // the handshake has failed by now.
        wire.handshake_complete.unwrap_or(encrypts) && self.log.end.is_none()
    }

    fn settle(&mut self, event: &Event, how: Handshake) {
        // A successful call before any connection has done nothing.
        let has_begun = self.first_wire.is_some() || self.ends.peer.is_some();
        if how == Handshake::Done && !has_begun {
            return;
        }
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

    /// The program has ended.
    pub(crate) fn end(&mut self) {
        match self.decision {
            Some(Err(code)) if self.handshake == Handshake::Begun => {
                self.handshake = Handshake::Failed(Function::SSL_AuthCertificate, code);
            }
            _ if self.handshake == Handshake::Begun && self.is_done_by_wire() => self.handshake = Handshake::Done,
            _ => {}
        }
    }

    /// The program ended during this call.
    pub(crate) fn never_returned(&mut self, event: &Event) {
        let is_open = matches!(self.handshake, Handshake::NotTried | Handshake::Begun | Handshake::Hangs(_));
        if is_open {
            self.handshake = match event.function.library() {
                Library::Program => Handshake::EndedInHook(event.function),
                _ => Handshake::Hangs(event.function),
            };
        }
    }

    /// Its bytes, their number, or the note that no more follow.
    pub(crate) fn wire(&mut self, event: &Event) {
        let first = *self.first_wire.get_or_insert(event.at_ns);
        if event.function != Function::wire_end {
            self.last_wire_ns = Some(event.at_ns);
            if event.extra == 0 {
                self.last_sent_ns = Some(event.at_ns);
            } else if self.alert_ns[0].is_none() {
                // Data that arrives after the program has announced its end is no longer an answer.
                self.last_received_ns = Some(event.at_ns);
                self.sent_before_ns = self.last_sent_ns;
            }
        }
        let at = Duration::from_nanos(event.at_ns.saturating_sub(first));
        let direction = if event.extra == 0 { Direction::Sent } else { Direction::Received };
        match event.function {
            Function::wire_bytes if !self.cut => self.feed(direction, at, event.text()),
            Function::wire_skipped if event.os_error != 0 => {
                // Bytes that are not TLS, or too many. One more of the same kind keeps the count of bytes accurate enough.
                self.cut |= direction == Direction::Received;
            }
            // The content of an application data record does not matter, but its length does.
            Function::wire_skipped if !self.cut => {
                let count = usize::try_from(event.result.clamp(0, SKIPPED)).unwrap_or_default();
                self.feed(direction, at, &vec![0; count]);
            }
            Function::wire_end if direction == Direction::Received => {
                let sent_nothing = self.log.summary().bytes_sent == 0;
                self.peer_was_gone |= sent_nothing;
                self.ended_ns.get_or_insert(event.at_ns);
                self.log.ended_at(at, if event.result == 0 { End::Closed } else { End::Reset });
            }
            _ => {}
        }
        for (alert_ns, direction) in self.alert_ns.iter_mut().zip([Direction::Sent, Direction::Received]) {
            if self.log.has_encrypted_alert(direction) {
                alert_ns.get_or_insert(event.at_ns);
            }
        }
    }

    fn feed(&mut self, direction: Direction, at: Duration, bytes: &[u8]) {
        match direction {
            Direction::Sent => self.log.sent_at(at, bytes),
            Direction::Received => self.log.received_at(at, bytes),
        }
    }

    /// How the peer ended its direction after the handshake, and when; `None` if it only followed the program. An encrypted alert is
    /// close_notify if no call failed because of it and NSS reads nothing after it; in TLS 1.3 a record does not show whether it is an
    /// alert.
    pub(crate) fn how_it_ended(&self) -> Option<(OuterSessionEnd, u64)> {
        if self.closed_before_peer() {
            return None;
        }
        let has_failed = self.later_failure.is_some_and(|(_, code)| code != ErrorCode::PR_END_OF_FILE_ERROR);
        let may_be_alert = || self.log.summary().last_received.is_some_and(|last| last.is_as_long_as_an_alert());
        match (self.log.end, self.alert_ns[1]) {
            (Some(End::Reset), _) => Some((OuterSessionEnd::Reset, self.ended_ns?)),
            (Some(End::Closed) | None, Some(at_ns)) if !has_failed => Some((OuterSessionEnd::CloseNotify, at_ns)),
            (Some(End::Closed), None) if !may_be_alert() => Some((OuterSessionEnd::Fin, self.ended_ns?)),
            _ => None,
        }
    }

    /// Whether the program ended its own direction before the peer did. Not visible in TLS 1.3.
    pub(crate) fn closed_before_peer(&self) -> bool {
        let peer = self.alert_ns[1].or(self.ended_ns);
        self.alert_ns[0].is_some_and(|own| peer.is_none_or(|peer| own < peer))
    }

    /// Whether bytes were sent or received on its wire after this time.
    pub(crate) fn was_used_after(&self, at_ns: u64) -> bool {
        self.last_wire_ns.is_some_and(|last| last > at_ns)
    }

    /// Whether its handshake had started by this time.
    pub(crate) fn had_started_handshake_by(&self, at_ns: u64) -> bool {
        self.first_wire.is_some_and(|first| first < at_ns)
    }

    /// The events on its wire, from the story's first event on.
    pub(crate) fn take_wire(&mut self, inner: bool, from_ns: u64) -> Vec<WireEvent> {
        let later = self.first_wire.unwrap_or(from_ns).saturating_sub(from_ns) / 1000;
        let place = if inner { Place::Inner } else { Place::Outer };
        let placed = self.log.take_new().into_iter().map(|event| WireEvent {
            session: place,
            at_us: event.at_us.saturating_add(later),
            ..event
        });
        placed.collect()
    }

    /// A frame of a double TLS stream inside it.
    pub(crate) fn chunk(&mut self, event: &Event) {
        let received = event.extra & 1 == 1;
        match event.function {
            Function::reply if event.extra == 1 => self.reply_whole = true,
            Function::reply => self.reply_code = u8::try_from(event.number).ok(),
            _ if !received => {}
            _ => match (event.extra & 2 == 2, event.number) {
                (true, 0) => self.inner_ends += 1,
                (true, _) => self.inner_chunks += 1,
                (false, 0) => self.outer_ends += 1,
                (false, _) => self.outer_chunks += 1,
            },
        }
    }
}
