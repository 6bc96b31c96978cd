//! The events on the wire, for the report.
use std::time::{Duration, Instant};

pub use nssight_diagnosis::derive::silence::Arrivals;
use nssight_session::{End, Tap};
use nssight_wire::{AlertLevel, Conversation, Direction, Summary, What};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The TLS session of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Session {
    /// Between client and bridge.
    Outer,
    /// Between client and server, inside the outer one.
    Inner,
}

/// The direction of an event, seen from this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Sent by this host.
    Sent,
    /// Sent by the other end.
    Received,
}

/// An event on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WireEvent {
    /// Microseconds since the connection came up.
    pub at_us: u64,
    /// The TLS session.
    pub session: Session,
    /// The number of the connection, from 1, if a traced program had several; absent for an inner session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection: Option<u32>,
    /// The direction.
    pub direction: Way,
    /// The type of the event; absent in reports of version 1.
    #[serde(default)]
    pub kind: EventKind,
    /// The alert, if the event is an unencrypted alert.
    #[serde(default)]
    pub alert: Option<WireAlert>,
    /// How this direction ended, if it did.
    #[serde(default)]
    pub end: Option<WireEnd>,
    /// Description of the event.
    pub what: String,
}

/// The type of an event on the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum EventKind {
    /// Unknown.
    #[default]
    Unknown,
    /// An unencrypted handshake message.
    Handshake,
    /// ChangeCipherSpec.
    ChangeCipherSpec,
    /// An unencrypted alert.
    Alert,
    /// An encrypted record.
    Encrypted,
    /// Data that TLS does not allow at this point, or that is not TLS.
    Foreign,
    /// The end of one direction.
    End,
}

/// An alert in the clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct WireAlert {
    /// Whether the alert ends the session.
    pub fatal: bool,
    /// The number of the alert.
    pub description: u8,
}

/// How one direction ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum WireEnd {
    /// FIN.
    Fin,
    /// RST.
    Reset,
    /// The deadline of the observer passed.
    TimedOut,
    /// The observed client closed the connection.
    LocalClose,
}

fn kind(what: &What) -> EventKind {
    match what {
        What::ClientHello(_)
        | What::HelloRetryRequest(_)
        | What::ServerHello(_)
        | What::Certificate(_)
        | What::CertificateRequest(_)
        | What::ServerKeyExchange { .. }
        | What::CertificateVerify { .. }
        | What::Handshake { .. } => EventKind::Handshake,
        What::ChangeCipherSpec => EventKind::ChangeCipherSpec,
        What::Alert(_) => EventKind::Alert,
        What::Encrypted { .. } => EventKind::Encrypted,
        What::Malformed { .. } | What::Oversized { .. } | What::Stray { .. } | What::NotTls(_) => EventKind::Foreign,
        What::End(_) => EventKind::End,
    }
}

fn alert(what: &What) -> Option<WireAlert> {
    let What::Alert(alert) = what else { return None };
    Some(WireAlert { fatal: alert.level == AlertLevel::Fatal, description: alert.description.0 })
}

fn end(what: &What) -> Option<WireEnd> {
    let What::End(end) = what else { return None };
    Some(match end {
        nssight_wire::End::Fin => WireEnd::Fin,
        nssight_wire::End::Reset => WireEnd::Reset,
        nssight_wire::End::TimedOut => WireEnd::TimedOut,
        nssight_wire::End::LocalClose => WireEnd::LocalClose,
    })
}

/// Records the bytes of one session and parses them.
pub struct SessionLog {
    session: Session,
    epoch: Instant,
    conversation: Conversation,
    /// We are the server: the parsed conversation still has the client's view.
    is_server: bool,
    reported: usize,
    /// The arrival times of bytes.
    pub arrivals: Arrivals,
    /// How the peer's direction ended, if it did.
    pub end: Option<End>,
    /// We have ended our direction.
    pub we_finished: bool,
}

impl SessionLog {
    /// A log whose times count from `epoch`.
    pub fn new(session: Session, epoch: Instant) -> Self {
        let (conversation, arrivals) = (Conversation::new(), Arrivals::default());
        let is_server = false;
        Self { session, epoch, conversation, is_server, reported: 0, arrivals, end: None, we_finished: false }
    }

    /// The log of a session in which we are the server.
    pub fn of_server(session: Session, epoch: Instant) -> Self {
        Self { is_server: true, ..Self::new(session, epoch) }
    }

    /// What the client sent instead of TLS, if we are the server.
    pub(crate) fn foreign_of_client(&self) -> Option<nssight_wire::Foreign> {
        self.conversation.foreign_of_client()
    }

    /// The time since the start.
    pub(crate) fn age(&self) -> Duration {
        self.epoch.elapsed()
    }

    /// Converts between a direction of ours and one of the parsed conversation.
    fn told(&self, direction: Direction) -> Direction {
        if self.is_server { direction.other() } else { direction }
    }

    /// The parsed conversation so far.
    pub fn summary(&self) -> Summary {
        self.conversation.summary()
    }

    /// The server's chain, visible before TLS 1.3.
    pub(crate) fn server_certificates(&self) -> Vec<Vec<u8>> {
        let sent = self.summary().server_certificates;
        sent.iter().flat_map(|sent| &sent.certificates).map(|certificate| certificate.der.clone()).collect()
    }

    /// Whether an encrypted alert went in this direction; only known in TLS 1.2 and earlier. Unlike the summary, this costs nothing.
    pub fn has_encrypted_alert(&self, direction: Direction) -> bool {
        self.conversation.has_encrypted_alert(direction)
    }

    /// Whether the peer sent an encrypted record of more than `length` bytes, this long after the connection came up or later.
    pub(crate) fn received_more_than(&self, length: u16, since: Duration) -> bool {
        let since = microseconds(since);
        let events = self.conversation.events().iter().rev().take_while(|event| event.at_us >= since);
        let mut received = events.filter(|event| event.direction == Direction::Received);
        received.any(|event| matches!(event.what, What::Encrypted { length: has, .. } if has > length))
    }

    /// The number of events so far.
    pub(crate) fn place(&self) -> usize {
        self.conversation.events().len()
    }

    /// Whether the peer sent an encrypted record of more than `length` bytes after this place.
    pub(crate) fn received_more_than_behind(&self, length: u16, place: usize) -> bool {
        let mut events = self.conversation.events().iter().skip(place);
        events.any(|event| {
            let is_long = matches!(event.what, What::Encrypted { length: has, .. } if has > length);
            is_long && event.direction == Direction::Received
        })
    }

    /// Events since the last call.
    pub fn take_new(&mut self) -> Vec<WireEvent> {
        let events = self.conversation.events();
        let new = events.get(self.reported..).unwrap_or_default();
        let new = new.iter().map(|event| WireEvent {
            at_us: event.at_us,
            session: self.session,
            connection: None,
            direction: match self.told(event.direction) {
                Direction::Sent => Way::Sent,
                Direction::Received => Way::Received,
            },
            kind: kind(&event.what),
            alert: alert(&event.what),
            end: end(&event.what),
            what: event.what.to_string(),
        });
        let new: Vec<WireEvent> = new.collect();
        self.reported = events.len();
        new
    }

    /// Records that we end our direction.
    pub fn finished(&mut self) {
        self.finished_at(self.epoch.elapsed());
    }
}

impl SessionLog {
    /// Records bytes that we sent, this long after the connection was established.
    pub fn sent_at(&mut self, at: Duration, bytes: &[u8]) {
        self.conversation.feed(self.told(Direction::Sent), microseconds(at), bytes);
    }

    /// Records bytes that arrived.
    pub fn received_at(&mut self, at: Duration, bytes: &[u8]) {
        self.arrivals.first.get_or_insert(at);
        self.arrivals.last = Some(at);
        self.arrivals.count += 1;
        self.conversation.feed(self.told(Direction::Received), microseconds(at), bytes);
    }

    /// Records the end of the peer's direction.
    pub fn ended_at(&mut self, at: Duration, end: End) {
        self.end.get_or_insert(end);
        let how = match end {
            End::Closed => nssight_wire::End::Fin,
            End::Reset => nssight_wire::End::Reset,
            End::TimedOut => nssight_wire::End::TimedOut,
            // The failure was on this side; no direction ended.
            End::Failed(_) => return,
        };
        self.conversation.ended(self.told(Direction::Received), microseconds(at), how);
    }

    /// Records that we ended our direction.
    pub fn finished_at(&mut self, at: Duration) {
        self.we_finished = true;
        self.conversation.ended(self.told(Direction::Sent), microseconds(at), nssight_wire::End::LocalClose);
    }
}

fn microseconds(span: Duration) -> u64 {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}

impl Tap for SessionLog {
    fn sent(&mut self, bytes: &[u8]) {
        self.sent_at(self.epoch.elapsed(), bytes);
    }

    fn received(&mut self, bytes: &[u8]) {
        self.received_at(self.epoch.elapsed(), bytes);
    }

    fn ended(&mut self, end: End) {
        self.ended_at(self.epoch.elapsed(), end);
    }
}
