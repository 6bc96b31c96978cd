//! Both directions together: what their messages mean in combination.

use std::sync::Arc;

use crate::foreign::RecordFault;
use crate::hello::ServerAnswer;
use crate::limits::{MAX_ALERTS, MAX_DETAIL, MAX_ENDS, MAX_EVENTS};
use crate::reader::Reader;
use crate::stream::{Item, Stream};
use crate::{
    AlertDescription, CertificateMessage, CertificateRequest, ClientHello, ContentType, Direction, End, Event, Foreign,
    HandshakeKind, HelloRetryRequest, KeyShare, SeenAlert, SeenEnd, ServerHello, SignatureScheme, TlsVersion, What,
};

/// One TLS connection as an observer sees it, from the first byte to the end.
///
/// The order of the calls to [`feed`](Conversation::feed) and [`ended`](Conversation::ended) is taken as the order of events:
/// feed each piece when it is seen.
#[derive(Clone, Debug, Default)]
pub struct Conversation {
    pub(crate) sent: Side,
    pub(crate) received: Side,
    pub(crate) facts: Facts,
    events: Vec<Event>,
    left_out: u64,
    detail: usize,
}

/// What is known of one direction.
#[derive(Clone, Debug, Default)]
pub(crate) struct Side {
    pub(crate) stream: Stream,
    /// The last thing in it, other than its end
    pub(crate) last: Option<What>,
    /// When its last byte came, in microseconds on the caller's clock
    pub(crate) last_byte_at_us: Option<u64>,
    /// Position of its [`What::NotTls`] event, which grows with the bytes
    not_tls: Option<usize>,
    pub(crate) change_cipher_spec: bool,
    pub(crate) encrypted_handshake: bool,
    pub(crate) encrypted_alert: bool,
    pub(crate) encrypted_records: u64,
}

/// What is known of the connection as a whole.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    pub(crate) client_hello: Option<Arc<ClientHello>>,
    pub(crate) hello_retry: Option<Arc<HelloRetryRequest>>,
    pub(crate) server_hello: Option<Arc<ServerHello>>,
    pub(crate) key_share: Option<Arc<KeyShare>>,
    pub(crate) certificate_request: Option<Arc<CertificateRequest>>,
    pub(crate) server_certificates: Option<Arc<CertificateMessage>>,
    pub(crate) client_certificates: Option<Arc<CertificateMessage>>,
    pub(crate) client_certificate_sent: Option<bool>,
    pub(crate) peer_is_client: bool,
    /// The version that the watched side selected, if it is the server.
    pub(crate) accepted: Option<TlsVersion>,
    pub(crate) alerts: Vec<SeenAlert>,
    pub(crate) ends: Vec<SeenEnd>,
}

impl Facts {
    /// The version negotiated, as soon as a ServerHello or HelloRetryRequest states it.
    pub(crate) fn version(&self) -> Option<TlsVersion> {
        let hello = self.server_hello.as_ref().map(|hello| hello.version);
        hello.or_else(|| self.hello_retry.as_ref().map(|retry| retry.version)).or(self.accepted)
    }
}

impl Conversation {
    /// A conversation of which nothing was seen yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Reads the next bytes of one direction. `at_us` is the caller's clock, in microseconds.
    pub fn feed(&mut self, direction: Direction, at_us: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let side = self.side_mut(direction);
        side.stream.note(bytes);
        side.last_byte_at_us = Some(at_us);
        let mut rest = bytes;
        while let Some(item) = self.side_mut(direction).stream.advance(&mut rest) {
            let what = self.understand(direction, item);
            self.tell(direction, at_us, what);
        }
        self.update_not_tls(direction);
    }

    /// Notes how one direction ended: [`Direction::Received`] with [`End::Fin`] or [`End::Reset`] when the peer ended it,
    /// [`Direction::Sent`] with [`End::LocalClose`] when the watched client did.
    pub fn ended(&mut self, direction: Direction, at_us: u64, end: End) {
        if self.facts.ends.len() < MAX_ENDS {
            self.facts.ends.push(SeenEnd { direction, at_us, end });
        }
        self.record(Event { at_us, direction, record: None, what: What::End(end) });
    }

    /// Everything that was seen, in order. At most [`MAX_EVENTS`]; see [`events_left_out`](Self::events_left_out).
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// How many more events there were.
    pub fn events_left_out(&self) -> u64 {
        self.left_out
    }

    /// Whether an encrypted alert was sent in this direction; known only in TLS 1.2 and earlier.
    pub fn has_encrypted_alert(&self, direction: Direction) -> bool {
        self.side(direction).encrypted_alert
    }

    pub(crate) fn side(&self, direction: Direction) -> &Side {
        match direction {
            Direction::Sent => &self.sent,
            Direction::Received => &self.received,
        }
    }

    fn side_mut(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Sent => &mut self.sent,
            Direction::Received => &mut self.received,
        }
    }

    fn tell(&mut self, direction: Direction, at_us: u64, what: What) {
        self.learn(direction, at_us, &what);
        let is_no_tls = matches!(what, What::NotTls(_));
        let side = self.side_mut(direction);
        side.last = Some(what.clone());
        let record = if is_no_tls { None } else { side.stream.last_header };
        let position = self.record(Event { at_us, direction, record, what });
        if is_no_tls {
            self.side_mut(direction).not_tls = position;
        }
    }

    /// Keeps the event if there is room for one of its kind, and returns its position.
    fn record(&mut self, event: Event) -> Option<usize> {
        let room = match event.what {
            What::Encrypted { .. } | What::Stray { .. } => MAX_EVENTS / 2,
            What::Alert(_) | What::NotTls(_) => MAX_EVENTS - MAX_ENDS,
            What::End(_) => MAX_EVENTS,
            _ => MAX_EVENTS - MAX_ENDS - MAX_ALERTS,
        };
        if self.events.len() < room {
            self.events.push(event);
            return Some(self.events.len() - 1);
        }
        self.left_out = self.left_out.saturating_add(1);
        None
    }

    /// The first bytes of something that is not TLS arrive in any fragmentation; this updates the event that shows them.
    fn update_not_tls(&mut self, direction: Direction) {
        let side = self.side_mut(direction);
        let Some(foreign) = side.stream.foreign() else { return };
        side.last = Some(What::NotTls(foreign.clone()));
        let position = side.not_tls;
        if let Some(event) = position.and_then(|position| self.events.get_mut(position)) {
            event.what = What::NotTls(foreign);
        }
    }

    fn understand(&mut self, direction: Direction, item: Item) -> What {
        match item {
            Item::Message { kind, body } => self.read_message(kind, &body),
            Item::Oversized { kind, announced } => What::Oversized { kind, announced },
            Item::Alert(alert) => What::Alert(alert),
            Item::ChangeCipherSpec => {
                // In TLS 1.3 it is only sent for middleboxes (RFC 8446 appendix D.4), by a client even
                // before the ServerHello. In TLS 1.2 neither side sends it before the version is agreed.
                if self.facts.version().is_some_and(|version| version <= TlsVersion::TLS_1_2) {
                    self.side_mut(direction).stream.encrypted = true;
                }
                What::ChangeCipherSpec
            }
            Item::Sealed { content, length } => {
                let visible = self.side(direction).stream.encrypted || content != ContentType::ApplicationData;
                What::Encrypted { content: visible.then_some(content), length }
            }
            Item::Stray { content, length } => What::Stray { content, length },
            Item::NotTls(foreign) => What::NotTls(foreign),
        }
    }

    fn read_message(&mut self, kind: HandshakeKind, body: &[u8]) -> What {
        let length = body.len();
        if self.detail.saturating_add(length) > MAX_DETAIL {
            return What::Handshake { kind, length };
        }
        let version = self.facts.version();
        let read = match kind {
            HandshakeKind::CLIENT_HELLO => ClientHello::parse(body).map(Arc::new).map(What::ClientHello),
            HandshakeKind::SERVER_HELLO => ServerAnswer::parse(body).map(|answer| match answer {
                ServerAnswer::Hello(hello) => What::ServerHello(Arc::new(hello)),
                ServerAnswer::Retry(retry) => What::HelloRetryRequest(Arc::new(retry)),
            }),
            HandshakeKind::CERTIFICATE => CertificateMessage::parse(body).map(Arc::new).map(What::Certificate),
            HandshakeKind::CERTIFICATE_REQUEST => {
                CertificateRequest::parse(body, version).map(Arc::new).map(What::CertificateRequest)
            }
            HandshakeKind::SERVER_KEY_EXCHANGE => {
                Some(What::ServerKeyExchange { share: self.named_curve(body).map(Arc::new) })
            }
            HandshakeKind::CERTIFICATE_VERIFY => {
                let has_scheme = version.is_none_or(|version| version >= TlsVersion::TLS_1_2);
                let scheme = if has_scheme { Reader::new(body).u16().map(SignatureScheme) } else { None };
                Some(What::CertificateVerify { scheme })
            }
            _ => return What::Handshake { kind, length },
        };
        self.detail += length;
        read.unwrap_or(What::Malformed { kind, length })
    }

    /// The curve of a ServerKeyExchange, with the server's point on it (RFC 8422 section 5.4).
    fn named_curve(&self, body: &[u8]) -> Option<KeyShare> {
        const NAMED_CURVE: u8 = 3;
        let suite = self.facts.server_hello.as_ref()?.cipher_suite;
        let mut reader = Reader::new(body);
        (suite.exchanges_curve() && reader.u8()? == NAMED_CURVE).then(|| KeyShare::parse(reader, false)).flatten()
    }

    fn learn(&mut self, direction: Direction, at_us: u64, what: &What) {
        let facts = &mut self.facts;
        match (direction, what) {
            (Direction::Sent, What::ClientHello(hello)) => set_once(&mut facts.client_hello, hello),
            (Direction::Received, What::ClientHello(_)) => facts.peer_is_client = true,
            (Direction::Sent, What::HelloRetryRequest(retry)) => facts.accepted = Some(retry.version),
            (Direction::Sent, What::ServerHello(hello)) => facts.accepted = Some(hello.version),
            (Direction::Received, What::HelloRetryRequest(retry)) => set_once(&mut facts.hello_retry, retry),
            (Direction::Received, What::ServerHello(hello)) => {
                set_once(&mut facts.server_hello, hello);
                facts.key_share = facts.key_share.take().or_else(|| hello.share.clone().map(Arc::new));
            }
            (Direction::Received, What::ServerKeyExchange { share: Some(share) }) => {
                set_once(&mut facts.key_share, share);
            }
            (Direction::Received, What::CertificateRequest(request)) => {
                set_once(&mut facts.certificate_request, request);
            }
            (Direction::Received, What::Certificate(message)) => set_once(&mut facts.server_certificates, message),
            (Direction::Sent, What::Certificate(message)) => {
                set_once(&mut facts.client_certificates, message);
                facts.client_certificate_sent.get_or_insert(!message.is_empty());
            }
            // No Certificate before it: the server requested none, or the client of SSL 3.0 has none.
            (Direction::Sent, What::Handshake { kind: HandshakeKind::CLIENT_KEY_EXCHANGE, .. }) => {
                facts.client_certificate_sent.get_or_insert(false);
            }
            (_, What::Alert(alert)) => {
                if direction == Direction::Sent && alert.description == AlertDescription::NO_CERTIFICATE {
                    facts.client_certificate_sent.get_or_insert(false);
                }
                if facts.alerts.len() < MAX_ALERTS {
                    facts.alerts.push(SeenAlert { direction, at_us, alert: *alert });
                }
            }
            _ => {}
        }
        let side = self.side_mut(direction);
        match what {
            What::ChangeCipherSpec => side.change_cipher_spec |= side.stream.encrypted,
            What::Encrypted { content, .. } => {
                side.encrypted_records = side.encrypted_records.saturating_add(1);
                side.encrypted_handshake |= *content == Some(ContentType::Handshake);
                side.encrypted_alert |= *content == Some(ContentType::Alert);
            }
            _ => {}
        }
    }

    /// What the client sends in place of TLS, if the watched side is the server.
    pub fn foreign_of_client(&self) -> Option<Foreign> {
        self.sent.stream.foreign()
    }

    pub(crate) fn foreign(&self) -> Option<Foreign> {
        let stream = &self.received.stream;
        let wrong_role = || self.facts.peer_is_client.then(|| Foreign::new(&stream.first, RecordFault::WrongRole, 0));
        stream.foreign().or_else(wrong_role)
    }
}

fn set_once<T>(slot: &mut Option<Arc<T>>, value: &Arc<T>) {
    if slot.is_none() {
        *slot = Some(Arc::clone(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(content: u8, fragment: &[u8]) -> Vec<u8> {
        let length = u16::try_from(fragment.len()).unwrap().to_be_bytes();
        [&[content, 3, 3], &length[..], fragment].concat()
    }

    #[test]
    fn a_stream_of_encrypted_records_leaves_room_for_how_it_ended() {
        let mut conversation = Conversation::new();
        for _ in 0..10_000 {
            conversation.feed(Direction::Received, 1, &record(23, b"sealed"));
        }
        conversation.feed(Direction::Received, 2, &record(21, &[2, 80]));
        conversation.ended(Direction::Received, 3, End::Fin);
        assert_eq!(conversation.events_left_out(), 10_000 - MAX_EVENTS as u64 / 2);
        let last: Vec<_> = conversation.events().iter().rev().take(2).map(|event| event.what.to_string()).collect();
        assert_eq!(last, ["FIN", "Alert fatal internal_error (80)"]);
    }

    #[test]
    fn a_flood_of_alerts_leaves_room_for_the_end() {
        let mut conversation = Conversation::new();
        for _ in 0..1_000 {
            conversation.feed(Direction::Received, 1, &record(21, &[1, 90, 1, 90, 1, 90]));
        }
        conversation.ended(Direction::Received, 3, End::Reset);
        assert_eq!(conversation.events().len(), MAX_EVENTS - MAX_ENDS + 1);
        assert_eq!(conversation.summary().alerts.len(), MAX_ALERTS);
        assert_eq!(conversation.events().last().map(|event| event.what.clone()), Some(What::End(End::Reset)));
    }

    #[test]
    fn messages_beyond_the_budget_are_reported_without_their_contents() {
        let mut conversation = Conversation::new();
        let mut body = vec![0, 0x3f, 0xf5, 0, 0x3f, 0xf2];
        body.resize(0x3ff8, 0);
        let message = [&[11, 0, 0x3f, 0xf8][..], &body].concat();
        for _ in 0..100 {
            conversation.feed(Direction::Received, 1, &record(22, &message));
        }
        let detailed = conversation.events().iter().filter(|event| matches!(event.what, What::Certificate(_))).count();
        assert_eq!(detailed, MAX_DETAIL / 0x3ff8);
        assert_eq!(conversation.events().len(), 100);
        assert_eq!(conversation.events()[99].what.to_string(), "Certificate, 16376 bytes");
    }

    #[test]
    fn data_that_is_not_tls_is_shown() {
        let mut conversation = Conversation::new();
        conversation.feed(Direction::Received, 1, b"H");
        assert_eq!(conversation.events()[0].what.to_string(), r#"not TLS: "H" (an unknown protocol)"#);
        conversation.feed(Direction::Received, 2, b"TTP/1.0 400 Bad Request");
        assert_eq!(
            conversation.events()[0].what.to_string(),
            r#"not TLS: "HTTP/1.0 400 Bad Request" (an HTTP server)"#
        );
        assert_eq!(conversation.events().len(), 1);
    }

    #[test]
    fn a_damaged_stream_is_distinguished_from_a_foreign_protocol() {
        let mut conversation = Conversation::new();
        conversation.feed(Direction::Received, 1, &record(21, &[1, 90]));
        conversation.feed(Direction::Received, 2, b"SSH-2.0");
        let foreign = conversation.foreign().expect("the second record is none");
        assert_eq!(foreign.to_string(), r#"no longer TLS after 1 record: "SSH-2.0" (83 is not a record type)"#);
    }
}
