//! TLS records and alerts as seen on the wire, and what they show together.
//!
//! A [`Conversation`] is fed the raw bytes of one TLS connection, in both directions and in any fragmentation, and
//! reports which messages were exchanged, how far the handshake got, which side objected, and which side ended it.
//! It decrypts nothing: all that it reports comes from bytes that an observer of the wire sees.
//!
//! It does no I/O, never panics whatever the bytes are, and keeps a bounded part of what it saw (see [`limits`]).
//!
//! ```
//! use nssight_wire::{Conversation, Direction, End};
//!
//! let mut conversation = Conversation::new();
//! conversation.feed(Direction::Received, 900, b"SSH-2.0-OpenSSH_9.2p1\r\n");
//! conversation.ended(Direction::Received, 1_000, End::Fin);
//! assert_eq!(conversation.events()[0].what.to_string(), r#"not TLS: "SSH-2.0-OpenSSH_9.2p1\r\n" (an SSH server)"#);
//! assert!(conversation.summary().foreign.is_some());
//! ```

mod alert;
mod certificate;
mod conversation;
mod event;
mod foreign;
mod hello;
mod name;
mod numbers;
mod reader;
mod story;
mod stream;
mod suites;
mod summary;
mod version;

pub use alert::{Alert, AlertDescription, AlertLevel};
pub use certificate::{AuthorityName, CertificateMessage, CertificateRequest, PeerCertificate};
pub use conversation::Conversation;
pub use event::{Direction, End, Event, What};
pub use foreign::{Foreign, Protocol, RecordFault, escape_bytes};
pub use hello::{ClientHello, HelloRetryRequest, KeyShare, ServerHello};
pub use name::name_from_der;
pub use numbers::{CertificateType, CipherSuite, ContentType, HandshakeKind, NamedGroup, SignatureScheme};
pub use stream::{IncompleteMessage, IncompleteRecord, RecordHeader};
pub use summary::{SeenAlert, SeenEnd, Summary};
pub use version::TlsVersion;

/// How much a [`Conversation`] keeps. Anything beyond is counted, not stored.
pub mod limits {
    /// Largest handshake message that is reassembled, in bytes; a message announcing more is reported and skipped.
    pub const MAX_HANDSHAKE_MESSAGE: usize = 256 * 1024;
    /// Bytes of handshake messages, over the whole conversation, whose contents are kept; later messages are
    /// reported by type and length only.
    pub const MAX_DETAIL: usize = 1024 * 1024;
    /// First bytes kept of each direction.
    pub const FIRST_BYTES: usize = 64;
    /// First bytes shown, escaped, of something that is not TLS.
    pub const SHOWN_BYTES: usize = 48;
    /// Events kept. Encrypted records use up at most half, so that a long transfer cannot crowd out how it ended.
    pub const MAX_EVENTS: usize = 512;
    /// Alerts kept in the summary.
    pub const MAX_ALERTS: usize = 64;
    /// Ends of a direction kept.
    pub const MAX_ENDS: usize = 16;
    /// Certificates kept of one Certificate message.
    pub const MAX_CERTIFICATES: usize = 32;
    /// Authority names kept of one CertificateRequest message.
    pub const MAX_AUTHORITIES: usize = 512;
    /// Application protocols (ALPN) kept of one hello.
    pub const MAX_ALPN: usize = 32;
    /// Length of a distinguished name as text, in bytes, before it is cut off with an ellipsis.
    pub const MAX_NAME: usize = 4096;
}
