//! One TCP connection of a capture, and what its TLS data shows.

use std::net::SocketAddr;

use nssight_diagnosis::fact::{Facts, Hop, fact};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Shown, Signal};
use nssight_wire::{Alert, CertificateMessage, Conversation, Direction, End, Event, Summary, TlsVersion, What};
use x509_parser::prelude::{FromDer, X509Certificate};

use super::frame::Segment;
use super::stream::Stream;

/// Maximum number of bytes to read per direction; a handshake ends long before.
const READ: u64 = 192 * 1024;
/// Without an answer for this long, in microseconds, the server does not answer: a client has tried three times by
/// then.
const SILENCE: i64 = 5_000_000;

/// The state of a connection.
pub(super) enum Outcome {
    Completed,
    Unfinished,
    Other,
    Failed(Box<Told>),
}

/// The signal and facts of a failed connection, from its client's point of view.
pub(super) struct Told {
    pub(super) frame: u64,
    pub(super) at_us: i64,
    pub(super) client: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) shown: Option<Shown>,
    pub(super) facts: Facts,
    pub(super) text: String,
}

/// One side of the connection.
#[derive(Default)]
struct Side {
    stream: Stream,
    read: u64,
    /// Its end was passed on.
    told: bool,
}

/// A connection that is tracked.
pub(super) struct Connection {
    frame: u64,
    began: i64,
    last: i64,
    client: SocketAddr,
    server: SocketAddr,
    /// Its beginning is in the capture.
    from_the_start: bool,
    answered: bool,
    /// The first SYN was answered with a reset.
    refused: bool,
    sides: [Side; 2],
    conversation: Conversation,
}

impl Connection {
    /// A connection that begins with this segment, or that existed before the capture.
    pub(super) fn new(frame: u64, at_us: i64, segment: &Segment<'_>) -> Self {
        // A ClientHello in a record comes from the client. Otherwise the lower port is the server's.
        let hello = segment.payload.first() == Some(&22) && segment.payload.get(5) == Some(&1);
        let is_client = match (segment.syn, segment.ack) {
            (true, acks) => !acks,
            _ => hello || segment.from.port() > segment.to.port(),
        };
        let (client, server) = if is_client { (segment.from, segment.to) } else { (segment.to, segment.from) };
        Self {
            frame,
            began: at_us,
            last: at_us,
            client,
            server,
            from_the_start: segment.syn || hello,
            answered: !segment.syn,
            refused: false,
            sides: Default::default(),
            conversation: Conversation::new(),
        }
    }

    pub(super) fn frame(&self) -> u64 {
        self.frame
    }

    /// Whether both directions have ended.
    pub(super) fn is_over(&self) -> bool {
        self.refused || self.sides.iter().all(|side| side.told)
    }

    /// Processes one segment of the connection.
    pub(super) fn take(&mut self, at_us: i64, segment: &Segment<'_>) {
        self.last = self.last.max(at_us);
        let at = u64::try_from(at_us.saturating_sub(self.began)).unwrap_or(0);
        let sent = segment.from == self.client;
        let (direction, place) = if sent { (Direction::Sent, 0) } else { (Direction::Received, 1) };
        let (side, conversation) = (&mut self.sides[place], &mut self.conversation);
        if segment.syn {
            side.stream.begins(segment.sequence);
            self.answered |= !sent;
        }
        if segment.reset && !sent && !self.answered {
            self.refused = true;
            return;
        }
        let read = &mut side.read;
        side.stream.take(segment.sequence, segment.payload, segment.missing, |bytes| {
            let left = usize::try_from(READ.saturating_sub(*read)).unwrap_or(0);
            *read += bytes.len() as u64;
            conversation.feed(direction, at, &bytes[..bytes.len().min(left)]);
        });
        if segment.fin {
            side.stream.ends_at(segment.sequence, segment.payload.len());
        }
        let end = match (segment.reset, sent) {
            (true, _) => End::Reset,
            (false, true) => End::LocalClose,
            (false, false) => End::Fin,
        };
        if (segment.reset || side.stream.has_ended()) && !side.told {
            side.told = true;
            conversation.ended(direction, at, end);
        }
        // A reset ends both directions.
        if segment.reset {
            self.sides.iter_mut().for_each(|side| side.told = true);
        }
    }

    /// The state of the connection at the end of the capture, `now`.
    pub(super) fn outcome(self, now: i64) -> Outcome {
        if self.refused {
            return self.failed(
                Some(Shown::new(signal::REFUSED).at(Layer::Tcp)),
                Facts::default(),
                "nobody listens".to_owned(),
            );
        }
        if !self.answered {
            let waited = now.saturating_sub(self.began) >= SILENCE;
            let shown = Shown::new(signal::CONNECT_TIMEOUT).at(Layer::Tcp);
            let text = "the connection attempt got no answer".to_owned();
            return if waited { self.failed(Some(shown), Facts::default(), text) } else { Outcome::Unfinished };
        }
        let wire = self.conversation.summary();
        let broken = self.sides.iter().any(|side| side.stream.broken);
        if wire.client_hello.is_none() {
            return if wire.bytes_sent > 0 || broken { Outcome::Other } else { Outcome::Unfinished };
        }
        let facts = facts(&wire, self.began);
        let text = wire.one_line();
        match self.shown(&wire, now) {
            Some(shown) => self.failed(shown, facts, text),
            None if !self.from_the_start || broken => Outcome::Unfinished,
            None if wire.handshake_complete == Some(true) || wire.encrypted_records_received > 0 => Outcome::Completed,
            None => Outcome::Unfinished,
        }
    }

    fn failed(self, shown: Option<Shown>, mut facts: Facts, text: String) -> Outcome {
        facts.place(Hop::Peer);
        let Self { frame, began, client, server, .. } = self;
        Outcome::Failed(Box::new(Told { frame, at_us: began, client, server, shown, facts, text }))
    }

    /// The signal of the failure, if there is one; the inner `None` means that the bytes do not show what failed.
    fn shown(&self, wire: &Summary, now: i64) -> Option<Option<Shown>> {
        let at = |signal: Signal| Some(Some(Shown::new(signal).at(Layer::OuterHandshake)));
        if let Some(foreign) = &wire.foreign {
            let other = foreign.after_records == 0 && wire.server_hello.is_none();
            return at(if other { signal::NOT_TLS } else { signal::GARBLED });
        }
        if let Some(alert) = wire.refusal(Direction::Received) {
            return at(Signal::of_alert(alert.description.0));
        }
        if let Some(alert) = wire.refusal(Direction::Sent) {
            return Some(refused(alert, wire, self.began).map(|signal| Shown::new(signal).at(Layer::OuterHandshake)));
        }
        let ended = wire.ended.first().map(|end| (end.direction, end.end));
        let lost = self.sides.iter().any(|side| side.stream.broken);
        match (wire.handshake_complete, ended) {
            (Some(true), _) => None,
            _ if lost => None,
            (Some(false), Some((Direction::Received, End::Reset))) => at(signal::RESET),
            (Some(false), Some((Direction::Received, _))) => at(signal::ENDED),
            (Some(false), Some((Direction::Sent, _))) => Some(None),
            // In TLS 1.3 a server that accepts the client sends a message that is longer than an alert.
            (None, Some((Direction::Received, _))) if only_an_alert(self.conversation.events()) => at(signal::ENDED),
            (_, None) if wire.bytes_received == 0 && now.saturating_sub(self.last) >= SILENCE => at(signal::SILENCE),
            _ => None,
        }
    }
}

/// Whether a TLS 1.3 server sent only one record, as long as an alert, after the client's Finished.
fn only_an_alert(events: &[Event]) -> bool {
    let is_encrypted = |event: &&Event| matches!(event.what, What::Encrypted { .. });
    let ours = events.iter().position(|event| event.direction == Direction::Sent && is_encrypted(&event));
    let behind = events.iter().skip(ours.unwrap_or(events.len()));
    let mut theirs = behind.filter(|event| event.direction == Direction::Received).filter(is_encrypted);
    theirs.next().is_some_and(|event| event.what.is_as_long_as_an_alert()) && theirs.next().is_none()
}

/// The objection of a client that sent this alert, as far as the alert and the unencrypted certificates show it.
fn refused(alert: Alert, wire: &Summary, at_us: i64) -> Option<Signal> {
    let dates = wire.server_certificates.as_deref().and_then(|list| outside(list, at_us));
    match alert.description.0 {
        45 => Some(dates.unwrap_or(signal::CHAIN_EXPIRED)),
        48 => Some(signal::CHAIN_UNKNOWN_ISSUER),
        44 => Some(signal::CHAIN_REVOKED),
        43 => Some(signal::CHAIN_WRONG_USAGE),
        70 => Some(signal::NO_COMMON_VERSION),
        // These alerts have no reason, but expired dates do.
        42 | 46 => dates.or(Some(signal::CHAIN_REFUSED)),
        _ => None,
    }
}

/// Whether the first certificate of a list was out of date at the time of the capture.
fn outside(list: &CertificateMessage, at_us: i64) -> Option<Signal> {
    let (_, leaf) = X509Certificate::from_der(&list.certificates.first()?.der).ok()?;
    let (at, validity) = (at_us / 1_000_000, leaf.validity());
    match () {
        () if validity.not_after.timestamp() < at => Some(signal::CHAIN_EXPIRED),
        () if validity.not_before.timestamp() > at => Some(signal::CHAIN_NOT_YET_VALID),
        () => None,
    }
}

/// Other facts from the bytes.
fn facts(wire: &Summary, at_us: i64) -> Facts {
    let mut out = Facts::default();
    out.put(fact::SESSION_WIRE.text(wire.one_line()));
    let hidden = wire.version.is_some_and(|version| version > TlsVersion::TLS_1_2);
    out.put(match () {
        () if wire.client_certificate_sent.is_some()
            || wire.client_finished_flight && !hidden && wire.certificate_request.is_some() =>
        {
            fact::SessionPosition::AfterOurCertificate
        }
        () if hidden && wire.encrypted_records_sent > 0 => fact::SessionPosition::AfterHandshake,
        () if wire.server_hello.is_some() => fact::SessionPosition::AfterServerHello,
        () => fact::SessionPosition::AfterOurHello,
    });
    match (wire.client_certificate_sent, wire.certificate_request.is_some()) {
        (Some(sent), _) => {
            out.put(fact::CertificateRequest::Seen);
            // An empty list contains no certificate; the wire does not show whether one is configured.
            out.put(if sent { fact::OurCertificateSent::Yes } else { fact::OurCertificateSent::No });
        }
        (None, true) => out.put(fact::CertificateRequest::Seen),
        (None, false) if !hidden && wire.client_finished_flight => out.put(fact::CertificateRequest::None),
        (None, false) => {}
    }
    let ours = wire.client_certificates.as_deref().filter(|list| !list.is_empty());
    match ours.and_then(|list| outside(list, at_us)) {
        Some(signal::CHAIN_EXPIRED) => out.put(fact::OurCertificateState::Expired),
        Some(_) => out.put(fact::OurCertificateState::NotYetValid),
        None => {}
    }
    if let Some(foreign) = &wire.foreign {
        out.put(fact::PEER_FIRST_BYTES.text(foreign));
        let other = foreign.after_records == 0 && wire.server_hello.is_none();
        out.put(if other { fact::PeerProtocol::Other } else { fact::PeerProtocol::Misframed });
    }
    if wire.bytes_received == 0 {
        out.put(fact::SilenceKind::FromTheStart);
    }
    let said = wire.refusal(Direction::Received).is_some();
    out.put(if said { fact::PeerSaidAlert::Yes } else { fact::PeerSaidAlert::No });
    out
}
