//! Alerts: the only means of a TLS peer to report what it objects to.

use std::fmt;

/// Level of an alert (RFC 5246 section 7.2). TLS 1.3 keeps the byte and ignores it (RFC 8446 section 6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AlertLevel {
    /// 1
    Warning,
    /// 2
    Fatal,
    /// A number with no meaning
    Other(u8),
}

impl fmt::Display for AlertLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            AlertLevel::Warning => f.write_str("warning"),
            AlertLevel::Fatal => f.write_str("fatal"),
            AlertLevel::Other(number) => write!(f, "level {number}"),
        }
    }
}

/// Number of an alert (IANA registry of TLS Alerts).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AlertDescription(pub u8);

/// Number, name, and what the alert reports about whom. Names of alerts that TLS 1.3 no longer sends are given without the
/// registry's `_RESERVED`.
const ALERTS: &[(u8, &str, &str)] = &[
    (0, "close_notify", "The sender has nothing more to send and closes the session normally (RFC 8446 6.1)."),
    (
        10,
        "unexpected_message",
        "The sender received a message that is not allowed at this point: one of the two implementations is \
         at fault (RFC 8446 6.2).",
    ),
    (
        20,
        "bad_record_mac",
        "The sender could not decrypt a record from its peer: bytes changed in transit, or the two sides have \
         different keys (RFC 8446 6.2).",
    ),
    (
        21,
        "decryption_failed",
        "The sender could not decrypt a record; only old TLS 1.0 peers send this alert (RFC 5246 7.2.2).",
    ),
    (
        22,
        "record_overflow",
        "The sender received a record longer than allowed, often because the data was not TLS (RFC 8446 6.2).",
    ),
    (30, "decompression_failure", "The sender could not decompress a record (RFC 5246 7.2.2)."),
    (
        40,
        "handshake_failure",
        "The sender found no acceptable set of parameters: usually no common cipher suite, or in TLS 1.2 a missing \
         client certificate that the sender requires (RFC 8446 6.2, RFC 5246 7.4.6).",
    ),
    (41, "no_certificate", "The sender, a client of SSL 3.0, has no certificate to offer (RFC 6101 5.4.2)."),
    (
        42,
        "bad_certificate",
        "The sender rejects its peer's certificate: the certificate is damaged, a signature does not verify, or \
         another check failed, such as the name (RFC 8446 6.2).",
    ),
    (43, "unsupported_certificate", "The sender cannot use this type of peer certificate (RFC 8446 6.2)."),
    (44, "certificate_revoked", "The sender found that the issuer has revoked its peer's certificate (RFC 8446 6.2)."),
    (
        45,
        "certificate_expired",
        "The sender found that its peer's certificate is not valid according to the sender's clock (RFC 8446 6.2).",
    ),
    (46, "certificate_unknown", "The sender rejects its peer's certificate without naming the reason (RFC 8446 6.2)."),
    (
        47,
        "illegal_parameter",
        "The sender found a field of the handshake that is wrong or contradicts another field (RFC 8446 6.2).",
    ),
    (
        48,
        "unknown_ca",
        "The sender does not trust the CA that issued its peer's certificate, or cannot build the chain to that CA \
         (RFC 8446 6.2).",
    ),
    (
        49,
        "access_denied",
        "The sender accepts its peer's certificate as valid but still refuses the peer (RFC 8446 6.2).",
    ),
    (
        50,
        "decode_error",
        "The sender could not read a message: a field is out of range, or a length is wrong (RFC 8446 6.2).",
    ),
    (
        51,
        "decrypt_error",
        "The sender could not verify a signature or a Finished message: its peer's key may not belong to its \
         certificate (RFC 8446 6.2).",
    ),
    (
        52,
        "too_many_cids_requested",
        "The sender received a request for too many connection IDs; DTLS only (RFC 9147 9).",
    ),
    (
        60,
        "export_restriction",
        "The sender detected a violation of export restrictions; TLS 1.0 only (RFC 2246 7.2.2).",
    ),
    (
        70,
        "protocol_version",
        "The sender, usually the server, recognises the offered TLS version but does not support it (RFC \
         8446 6.2).",
    ),
    (
        71,
        "insufficient_security",
        "The sender requires stronger parameters than its peer offers or uses (RFC 8446 6.2).",
    ),
    (80, "internal_error", "The sender failed because of an internal error, unrelated to its peer (RFC 8446 6.2)."),
    (
        86,
        "inappropriate_fallback",
        "The sender, a server, supports a higher version than the client fell back to (RFC 7507 3).",
    ),
    (90, "user_canceled", "The sender cancels the handshake for a reason outside the protocol (RFC 8446 6.1)."),
    (100, "no_renegotiation", "The sender declines to renegotiate; the session continues (RFC 5246 7.2.2)."),
    (109, "missing_extension", "The sender received a handshake message without a required extension (RFC 8446 6.2)."),
    (
        110,
        "unsupported_extension",
        "The sender received an extension that it never offered, or that the message must not contain (RFC 8446 6.2).",
    ),
    (
        111,
        "certificate_unobtainable",
        "The sender, a server, could not fetch the certificate from the client's URL (RFC 6066 9).",
    ),
    (112, "unrecognized_name", "The sender, a server, does not serve the name that the client requested (RFC 6066 3)."),
    (
        113,
        "bad_certificate_status_response",
        "The sender, a client, received an unusable OCSP response from the server (RFC 6066 8).",
    ),
    (
        114,
        "bad_certificate_hash_value",
        "The sender fetched a certificate that does not match the client's hash (RFC 6066 9).",
    ),
    (
        115,
        "unknown_psk_identity",
        "The sender, a server, has no pre-shared key with the offered identity (RFC 8446 6.2).",
    ),
    (
        116,
        "certificate_required",
        "The sender, a TLS 1.3 server, requires a client certificate but received none (RFC 8446 6.2).",
    ),
    (117, "general_error", "The sender failed without giving a reason (IANA TLS Alerts, successor of RFC 8446)."),
    (
        120,
        "no_application_protocol",
        "The sender, a server, supports none of the application protocols that the client offers (RFC 7301 3.2).",
    ),
    (
        121,
        "ech_required",
        "The sender, a client, requires Encrypted ClientHello, but the server did not support it (RFC 9849).",
    ),
];

impl AlertDescription {
    /// `close_notify`
    pub const CLOSE_NOTIFY: AlertDescription = AlertDescription(0);
    /// `no_certificate` (SSL 3.0)
    pub const NO_CERTIFICATE: AlertDescription = AlertDescription(41);
    /// `user_canceled`
    pub const USER_CANCELED: AlertDescription = AlertDescription(90);

    fn entry(self) -> Option<&'static (u8, &'static str, &'static str)> {
        ALERTS.iter().find(|(number, ..)| *number == self.0)
    }

    /// The alert's name in its RFC, if the number is registered.
    pub fn name(self) -> Option<&'static str> {
        self.entry().map(|(_, name, _)| *name)
    }

    /// One sentence: who sends this, about whom, and where it is defined.
    pub fn meaning(self) -> &'static str {
        self.entry().map_or("The sender used a number that no RFC defines.", |(_, _, meaning)| meaning)
    }
}

impl fmt::Display for AlertDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name().unwrap_or("unregistered alert"), self.0)
    }
}

/// An alert seen in the clear.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Alert {
    /// The severity that the sender states
    pub level: AlertLevel,
    /// What the sender reports
    pub description: AlertDescription,
}

impl Alert {
    /// The alert in two bytes on the wire.
    pub fn from_bytes([level, description]: [u8; 2]) -> Self {
        let level = match level {
            1 => AlertLevel::Warning,
            2 => AlertLevel::Fatal,
            other => AlertLevel::Other(other),
        };
        Alert { level, description: AlertDescription(description) }
    }

    /// Whether the alert refuses the connection, rather than closing it in order or only warning.
    pub fn is_refusal(self) -> bool {
        // A fatal close_notify instead of a ServerHello is still an orderly close: NSS 3.87.1 reports it as an
        // end of file (measured).
        self.level == AlertLevel::Fatal && self.description != AlertDescription::CLOSE_NOTIFY
    }
}

impl fmt::Display for Alert {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.level, self.description)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_reads_as_level_name_and_number() {
        assert_eq!(Alert::from_bytes([2, 42]).to_string(), "fatal bad_certificate (42)");
        assert_eq!(Alert::from_bytes([1, 0]).to_string(), "warning close_notify (0)");
        assert_eq!(Alert::from_bytes([9, 200]).to_string(), "level 9 unregistered alert (200)");
    }

    #[test]
    fn numbers_are_in_order_and_each_meaning_is_a_sentence_with_its_source() {
        assert!(ALERTS.is_sorted_by(|a, b| a.0 < b.0));
        for (number, name, meaning) in ALERTS {
            assert!(meaning.starts_with("The sender") && meaning.ends_with(")."), "{number}: {meaning}");
            assert!(meaning.contains("RFC "), "{number}: {meaning}");
            assert!(!meaning.contains("  "), "{number}: {meaning}");
            assert!(name.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{name}");
        }
        assert!(AlertDescription(200).name().is_none());
        assert!(AlertDescription(200).meaning().contains("no RFC"));
    }

    #[test]
    fn only_a_fatal_alert_other_than_close_notify_is_a_refusal() {
        assert!(Alert::from_bytes([2, 48]).is_refusal());
        assert!(!Alert::from_bytes([2, 0]).is_refusal());
        assert!(!Alert::from_bytes([1, 112]).is_refusal());
    }
}
