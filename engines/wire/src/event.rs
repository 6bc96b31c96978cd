//! What can be seen on the wire.

use std::fmt;
use std::sync::Arc;

use crate::{
    Alert, CertificateMessage, CertificateRequest, ClientHello, ContentType, Foreign, HandshakeKind, HelloRetryRequest,
    KeyShare, RecordHeader, ServerHello, SignatureScheme,
};

/// Which way bytes went, from the point of view of the TLS client that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the client to its peer
    Sent,
    /// From the peer to the client
    Received,
}

impl Direction {
    /// The other direction.
    pub fn other(self) -> Self {
        match self {
            Direction::Sent => Direction::Received,
            Direction::Received => Direction::Sent,
        }
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Direction::Sent => "sent",
            Direction::Received => "received",
        })
    }
}

/// How the transport of one direction came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum End {
    /// TCP FIN: the sender of this direction closed it
    Fin,
    /// TCP RST: the sender of this direction broke the connection, or its host did
    Reset,
    /// Neither side ended it; the observer's own deadline passed
    TimedOut,
    /// The watched client closed its socket
    LocalClose,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            End::Fin => "FIN",
            End::Reset => "RST",
            End::TimedOut => "deadline passed",
            End::LocalClose => "the client closed the connection",
        })
    }
}

/// One thing that was seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When its last byte was fed, in microseconds on the caller's clock
    pub at_us: u64,
    /// Which way it went
    pub direction: Direction,
    /// The record that its last byte came in; `None` for what is not TLS
    pub record: Option<RecordHeader>,
    /// What it was
    pub what: What,
}

/// What was seen. `Display` writes one line for a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A ClientHello
    ClientHello(Arc<ClientHello>),
    /// A HelloRetryRequest
    HelloRetryRequest(Arc<HelloRetryRequest>),
    /// A ServerHello
    ServerHello(Arc<ServerHello>),
    /// A Certificate message, empty or not
    Certificate(Arc<CertificateMessage>),
    /// A CertificateRequest
    CertificateRequest(Arc<CertificateRequest>),
    /// A ServerKeyExchange
    ServerKeyExchange {
        /// The server's point, where the suite exchanges one of a curve
        share: Option<Arc<KeyShare>>,
    },
    /// A CertificateVerify: the proof that the sender holds the key of its certificate
    CertificateVerify {
        /// The signature scheme, which TLS 1.2 and later state
        scheme: Option<SignatureScheme>,
    },
    /// Any other handshake message in the clear, or one beyond what is kept in detail
    Handshake {
        /// Its type
        kind: HandshakeKind,
        /// Length of its body, in bytes
        length: usize,
    },
    /// A handshake message whose body breaks the rules of its type
    Malformed {
        /// Its type
        kind: HandshakeKind,
        /// Length of its body, in bytes
        length: usize,
    },
    /// The head of a handshake message longer than any real one; its body is skipped
    Oversized {
        /// Its type
        kind: HandshakeKind,
        /// The length that it announces, in bytes
        announced: u32,
    },
    /// ChangeCipherSpec. In TLS 1.2 what follows in this direction is encrypted; in TLS 1.3 it means nothing
    /// (RFC 8446 section 5)
    ChangeCipherSpec,
    /// An alert in the clear
    Alert(Alert),
    /// An encrypted record
    Encrypted {
        /// What it holds; `None` in TLS 1.3, which hides it (RFC 8446 section 5.2)
        content: Option<ContentType>,
        /// Length of the record's fragment, in bytes
        length: u16,
    },
    /// A record in the clear that does not belong there, such as an empty alert
    Stray {
        /// Its type
        content: ContentType,
        /// Length of the record's fragment, in bytes
        length: u16,
    },
    /// Bytes that are not TLS; nothing after them in this direction is read
    NotTls(Foreign),
    /// The end of this direction
    End(End),
}

/// Length of an alert in TLS 1.3 under every suite but the CCM_8 one: two bytes, the hidden type and a tag of 16
/// (RFC 8446 section 5.2). Neither NSS nor OpenSSL pads.
const TLS13_ALERT: u16 = 2 + 1 + 16;

impl What {
    /// Whether this is an encrypted record exactly as long as a TLS 1.3 alert. A hint, not a proof.
    pub fn is_as_long_as_an_alert(&self) -> bool {
        matches!(self, What::Encrypted { content: None, length: TLS13_ALERT })
    }

    /// The name without details, for use within a sentence.
    pub fn name(&self) -> String {
        match self {
            What::ClientHello(_) => HandshakeKind::CLIENT_HELLO.to_string(),
            What::HelloRetryRequest(_) => "HelloRetryRequest".to_owned(),
            What::ServerHello(_) => HandshakeKind::SERVER_HELLO.to_string(),
            What::Certificate(message) if message.is_empty() => "an empty Certificate".to_owned(),
            What::Certificate(_) => HandshakeKind::CERTIFICATE.to_string(),
            What::CertificateRequest(_) => HandshakeKind::CERTIFICATE_REQUEST.to_string(),
            What::ServerKeyExchange { .. } => HandshakeKind::SERVER_KEY_EXCHANGE.to_string(),
            What::CertificateVerify { .. } => HandshakeKind::CERTIFICATE_VERIFY.to_string(),
            What::Handshake { kind, .. } => kind.to_string(),
            What::Malformed { kind, .. } => format!("{kind} that cannot be read"),
            What::Oversized { kind, .. } => format!("{kind} with an invalid length"),
            What::ChangeCipherSpec => "ChangeCipherSpec".to_owned(),
            What::Alert(alert) => format!("alert {alert}"),
            What::Encrypted { content: Some(ContentType::Handshake), .. } => "encrypted handshake record".to_owned(),
            What::Encrypted { content: Some(ContentType::Alert), .. } => "encrypted alert".to_owned(),
            What::Encrypted { content: Some(ContentType::ApplicationData), .. } => "application data".to_owned(),
            What::Encrypted { .. } => "encrypted record".to_owned(),
            What::Stray { content, .. } => format!("stray {content} record"),
            What::NotTls(_) => "bytes that are not TLS".to_owned(),
            What::End(end) => end.to_string(),
        }
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::ClientHello(hello) => hello.fmt(f),
            What::HelloRetryRequest(retry) => retry.fmt(f),
            What::ServerHello(hello) => hello.fmt(f),
            What::Certificate(message) => message.fmt(f),
            What::CertificateRequest(request) => request.fmt(f),
            What::ServerKeyExchange { share: Some(share) } => write!(f, "ServerKeyExchange, {}", share.group),
            What::CertificateVerify { scheme: Some(scheme) } => write!(f, "CertificateVerify, {scheme}"),
            What::ServerKeyExchange { share: None } | What::CertificateVerify { scheme: None } => {
                f.write_str(&self.name())
            }
            What::Handshake { length, .. } | What::Malformed { length, .. } if *length > 0 => {
                write!(f, "{}, {length} bytes", self.name())
            }
            What::Handshake { .. } | What::Malformed { .. } => f.write_str(&self.name()),
            What::Oversized { announced, .. } => write!(f, "{}: {announced} bytes announced", self.name()),
            What::Alert(alert) => write!(f, "Alert {alert}"),
            What::Encrypted { .. } if self.is_as_long_as_an_alert() => {
                write!(f, "encrypted record, {TLS13_ALERT} bytes (as long as an alert)")
            }
            What::Encrypted { content: Some(ContentType::ApplicationData), length } => {
                write!(f, "application data, {length} bytes")
            }
            What::Encrypted { length, .. } | What::Stray { length, .. } => {
                write!(f, "{}, {length} bytes", self.name())
            }
            What::NotTls(foreign) => foreign.fmt(f),
            What::ChangeCipherSpec | What::End(_) => f.write_str(&self.name()),
        }
    }
}
