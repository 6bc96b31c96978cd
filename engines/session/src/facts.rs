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
    /// Sent by us; otherwise received.
    pub sent: bool,
    /// 1 warning, 2 fatal.
    pub level: u8,
    /// The number of RFC 8446, 6.
    pub description: u8,
}

/// Something that the library has against a certificate of the peer's chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Objection {
    /// 0 is the peer's own certificate.
    pub depth: u32,
    /// What it says.
    pub error: SessionError,
    /// The certificate's subject.
    pub subject: String,
}

/// What was agreed.
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
    /// The application protocol that the peer chose, where it chose one (RFC 7301).
    pub alpn: Option<String>,
}

/// Application protocols as they are offered: each behind a byte with its length (RFC 7301, 3.1). One that is too long for that
/// is left out.
pub fn protocol_list(names: &[String]) -> Vec<u8> {
    let entry = |name: &String| {
        let length = u8::try_from(name.len()).ok().filter(|length| *length > 0)?;
        Some([&[length], name.as_bytes()].concat())
    };
    names.iter().filter_map(entry).flatten().collect()
}

/// What was learned in the course of a session.
#[derive(Debug, Clone, Default)]
pub struct SessionFacts {
    /// The peer's certificates as it sent them, leaf first.
    pub peer_chain: Vec<Vec<u8>>,
    /// The peer's certificate with its issuers, as the library finds them in what came and in what is trusted here.
    pub built_chain: Vec<Vec<u8>>,
    /// Everything that the library has against the peer's chain, whatever was decided.
    pub objections: Vec<Objection>,
    /// The peer's certificate does not have the name.
    pub name_error: Option<SessionError>,
    /// The library's decision on the peer's certificate, once it was asked.
    pub decision: Option<Result<(), SessionError>>,
    /// The peer asked for a certificate; with the CAs that it says it accepts (none: any).
    pub asked_for_certificate: Option<Vec<CaName>>,
    /// The peer asked, and the library was given our certificate.
    pub gave_certificate: bool,
    /// Whether it went out, where the session itself says so.
    pub sent_certificate: Option<bool>,
    /// In order.
    pub alerts: Vec<SeenAlert>,
}
