//! What a session showed.

use crate::SessionError;

/// A name of the list of CAs that a peer accepts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CaName {
    /// The DER Name.
    pub der: Vec<u8>,
    /// The same as text.
    pub text: String,
}

/// An alert that was sent or received, decrypted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenAlert {
    /// Whether we sent it; otherwise we received it.
    pub sent: bool,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// The number of RFC 8446, 6.
    pub description: u8,
}

/// An error that the library reports for a certificate of the peer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// 0 is the peer's own certificate.
    pub depth: u32,
    /// The error.
    pub error: SessionError,
    /// The certificate's subject.
    pub subject: String,
}

/// The negotiated parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Channel {
    /// As on the wire.
    pub version: u16,
    /// As on the wire.
    pub suite: u16,
    /// The suite's name.
    pub suite_name: String,
    /// Size of the key that authenticated the peer, in bits.
    pub peer_key_bits: u32,
    /// The application protocol that the peer chose, if any (RFC 7301).
    pub alpn: Option<String>,
}

/// Application protocols in the form in which they are offered: each after a byte with its length (RFC 7301, 3.1). A name that is too
/// long for that is left out.
pub fn protocol_list(names: &[String]) -> Vec<u8> {
    let entry = |name: &String| {
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        Some([&[length], name.as_bytes()].concat())
    };
    names.iter().filter_map(entry).flatten().collect()
}

/// What was recorded during a session.
#[derive(Debug, Clone, Default)]
pub struct SessionFacts {
    /// The peer's certificates as it sent them, leaf first.
    pub peer_chain: Vec<Vec<u8>>,
    /// The peer's certificate with its issuers, as the library finds them among the received and the trusted certificates.
    pub built_chain: Vec<Vec<u8>>,
    /// Every error that the library reports for the peer's chain, whatever the decision.
    pub objections: Vec<Objection>,
    /// Set if the peer's certificate is not valid for the host name.
    pub name_error: Option<SessionError>,
    /// The library's decision on the peer's certificate, once there is one.
    pub decision: Option<Result<(), SessionError>>,
    /// Set if the peer requested a certificate: the CAs that it accepts (empty: any).
    pub asked_for_certificate: Option<Vec<CaName>>,
    /// Whether the peer requested a certificate and the library was given ours.
    pub gave_certificate: bool,
    /// Whether our certificate was sent, if the session itself reports that.
    pub sent_certificate: Option<bool>,
    /// All alerts, in order.
    pub alerts: Vec<SeenAlert>,
}
