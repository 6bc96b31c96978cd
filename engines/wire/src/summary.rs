//! The state of a conversation, in one struct.

use std::sync::Arc;

use crate::foreign::escape_bytes;
use crate::limits::SHOWN_BYTES;
use crate::{
    Alert, CertificateMessage, CertificateRequest, ClientHello, Conversation, Direction, End, Foreign,
    HelloRetryRequest, IncompleteMessage, IncompleteRecord, KeyShare, ServerHello, TlsVersion, What,
};

/// An alert in the clear, and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenAlert {
    /// Who sent it
    pub direction: Direction,
    /// When, in microseconds on the caller's clock
    pub at_us: u64,
    /// The alert
    pub alert: Alert,
}

/// The end of one direction, and when it was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeenEnd {
    /// Which direction ended
    pub direction: Direction,
    /// When, in microseconds on the caller's clock
    pub at_us: u64,
    /// How
    pub end: End,
}

/// What is known of a conversation so far. Facts that are encrypted are absent, not false.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The client's first ClientHello
    pub client_hello: Option<Arc<ClientHello>>,
    /// The server's request to send another ClientHello
    pub hello_retry: Option<Arc<HelloRetryRequest>>,
    /// The server's choice
    pub server_hello: Option<Arc<ServerHello>>,
    /// The version negotiated; known from a HelloRetryRequest on
    pub version: Option<TlsVersion>,
    /// The server's half of the key exchange, if it is one of a named group
    pub key_share: Option<Arc<KeyShare>>,
    /// The client certificates that the server requested, before TLS 1.3
    pub certificate_request: Option<Arc<CertificateRequest>>,
    /// The server's chain, before TLS 1.3
    pub server_certificates: Option<Arc<CertificateMessage>>,
    /// The client's chain, before TLS 1.3; may be empty
    pub client_certificates: Option<Arc<CertificateMessage>>,
    /// Whether the client sent a certificate; `None` when the handshake did not get that far, or encrypts it as TLS 1.3 does
    pub client_certificate_sent: Option<bool>,
    /// Alerts in the clear, in order
    pub alerts: Vec<SeenAlert>,
    /// Whether the client sent an encrypted alert; known only in TLS 1.2 and earlier
    pub encrypted_alert_sent: bool,
    /// Whether the peer sent an encrypted alert; known only in TLS 1.2 and earlier
    pub encrypted_alert_received: bool,
    /// The last thing that the client sent
    pub last_sent: Option<What>,
    /// When the client's last byte was sent, in microseconds on the caller's clock
    pub last_sent_at_us: Option<u64>,
    /// The last thing received from the peer
    pub last_received: Option<What>,
    /// When the peer's last byte came, in microseconds on the caller's clock
    pub last_received_at_us: Option<u64>,
    /// How each direction ended, in order
    pub ended: Vec<SeenEnd>,
    /// Which side was the first to end its direction; a passed deadline counts for neither
    pub who_ended_first: Option<Direction>,
    /// Bytes sent by the client
    pub bytes_sent: u64,
    /// Bytes received by the client
    pub bytes_received: u64,
    /// Whether the client sent its ChangeCipherSpec, so that its flight is complete; TLS 1.2 and earlier
    pub client_finished_flight: bool,
    /// Whether the server sent its ChangeCipherSpec; TLS 1.2 and earlier. After the client's, this means that the server accepted
    /// the client's flight, certificate included.
    pub server_finished: bool,
    /// Whether both sides sent ChangeCipherSpec and an encrypted handshake message (Finished). `None` in TLS 1.3 once
    /// both sides encrypt: whether the server accepted the client's certificate is not visible.
    pub handshake_complete: Option<bool>,
    /// Encrypted records sent by the client
    pub encrypted_records_sent: u64,
    /// Encrypted records received from the peer
    pub encrypted_records_received: u64,
    /// The peer's first bytes, escaped for display; `None` when it sent none
    pub first_received: Option<String>,
    /// What the peer speaks instead of being a TLS server
    pub foreign: Option<Foreign>,
    /// A handshake message that was never completed, the peer's before the client's
    pub incomplete_message: Option<IncompleteMessage>,
    /// A record that was never completed, the peer's before the client's
    pub incomplete_record: Option<IncompleteRecord>,
}

impl Conversation {
    /// What is known so far.
    pub fn summary(&self) -> Summary {
        let (sent, received, facts) = (&self.sent, &self.received, &self.facts);
        let version = facts.version();
        let both_encrypt = sent.encrypted_records > 0 && received.encrypted_records > 0;
        let hidden = both_encrypt && version.is_some_and(|version| version > TlsVersion::TLS_1_2);
        let finished = [sent, received].iter().all(|side| side.change_cipher_spec && side.encrypted_handshake);
        Summary {
            client_hello: facts.client_hello.clone(),
            hello_retry: facts.hello_retry.clone(),
            server_hello: facts.server_hello.clone(),
            version,
            key_share: facts.key_share.clone(),
            certificate_request: facts.certificate_request.clone(),
            server_certificates: facts.server_certificates.clone(),
            client_certificates: facts.client_certificates.clone(),
            client_certificate_sent: facts.client_certificate_sent,
            alerts: facts.alerts.clone(),
            encrypted_alert_sent: sent.encrypted_alert,
            encrypted_alert_received: received.encrypted_alert,
            last_sent: sent.last.clone(),
            last_sent_at_us: sent.last_byte_at_us,
            last_received: received.last.clone(),
            last_received_at_us: received.last_byte_at_us,
            ended: facts.ends.clone(),
            who_ended_first: facts.ends.iter().find(|seen| seen.end != End::TimedOut).map(|seen| seen.direction),
            bytes_sent: sent.stream.bytes,
            bytes_received: received.stream.bytes,
            client_finished_flight: sent.change_cipher_spec,
            server_finished: received.change_cipher_spec,
            handshake_complete: (!hidden).then_some(finished),
            encrypted_records_sent: sent.encrypted_records,
            encrypted_records_received: received.encrypted_records,
            first_received: (received.stream.bytes > 0).then(|| escape_bytes(&received.stream.first, SHOWN_BYTES)),
            foreign: self.foreign(),
            incomplete_message: [Direction::Received, Direction::Sent]
                .into_iter()
                .find_map(|direction| self.side(direction).stream.incomplete_message(direction)),
            incomplete_record: [Direction::Received, Direction::Sent]
                .into_iter()
                .find_map(|direction| self.side(direction).stream.incomplete_record(direction)),
        }
    }
}

impl Summary {
    /// The first alert of one side that refuses the connection.
    pub fn refusal(&self, direction: Direction) -> Option<Alert> {
        let mut alerts = self.alerts.iter().filter(|seen| seen.direction == direction).map(|seen| seen.alert);
        alerts.find(|alert| alert.is_refusal())
    }
}
