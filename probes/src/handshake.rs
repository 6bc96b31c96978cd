//! Why a TLS handshake failed: one judgement for every session, whoever the peer is.
//!
//! It rests on three witnesses: NSS's error, what NSS's callbacks learned, and the bytes on the wire. None of them is
//! enough: an EOF is one error whatever came before it, an alert in the clear is only on the wire when it is early, and
//! the reason why NSS refused a chain is only known to the callback.

use std::time::Duration;

use nssight_nss::tls::SeenAlert;
use nssight_nss::transport::{End, timed_out};
use nssight_nss::{ErrorCode, HandshakeFacts, NssError};
use nssight_wire::{AlertDescription, Direction, IncompleteMessage, Protocol, RecordFault, Summary};

use crate::vocabulary::Confidence;
use crate::wire::Arrivals;

/// What went wrong between two TLS peers, seen from the client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// We do not trust the peer's chain.
    PeerUntrusted,
    /// The peer's certificate, or one of its issuers, is outside its validity.
    PeerExpired,
    /// The peer's certificate does not have the name.
    PeerName,
    /// The peer's certificate is not for a TLS server.
    PeerUsage,
    /// The peer's key or signature is too weak for NSS as it comes.
    PeerWeak,
    /// The local crypto policy forbids what the peer needs.
    PolicyBlocked,
    /// The peer refused our certificate.
    CertificateRejected,
    /// The peer found our certificate expired.
    CertificateExpired,
    /// The peer found our certificate revoked.
    CertificateRevoked,
    /// The peer asked for a certificate and got none.
    CertificateNotSent,
    /// The peer's list of acceptable CAs has none of ours.
    CaNotAcceptable,
    /// No cipher suite in common.
    NoCommonCipher,
    /// No TLS version in common.
    VersionMismatch,
    /// The peer does not speak TLS.
    NotTls,
    /// The peer speaks TLS and says something that TLS does not allow.
    Garbled,
    /// The peer gave up for a reason of its own.
    OtherAlert,
    /// Not one byte came.
    Silent,
    /// The peer began and then fell silent.
    Stalled,
    /// Bytes kept coming, too slowly for the deadline.
    TooSlow,
    /// The peer closed the connection.
    Closed,
    /// The connection was reset.
    Reset,
    /// Our own key could not sign.
    KeyUnusable,
}

/// A judgement: what, how sure, and in words.
pub struct Judgement {
    /// What went wrong.
    pub trouble: Trouble,
    /// How sure.
    pub confidence: Confidence,
    /// One sentence.
    pub summary: String,
}

/// What the three witnesses have to say.
pub struct Witnesses<'a> {
    /// Who the peer is, as a subject: "the bridge".
    pub peer: &'a str,
    /// The name that was asked for.
    pub host: &'a str,
    /// NSS's error.
    pub error: &'a NssError,
    /// What NSS's callbacks learned.
    pub facts: &'a HandshakeFacts,
    /// What was on the wire.
    pub wire: &'a Summary,
    /// When bytes came.
    pub arrivals: Arrivals,
    /// How the receiving direction ended.
    pub end: Option<End>,
    /// Time between the first byte sent and the error.
    pub took: Duration,
    /// Whether the peer's list of acceptable CAs, if it sent one, has a CA of our chain.
    pub our_ca_is_listed: Option<bool>,
    /// Smallest RSA key that the local policy accepts, where it is stricter than NSS as it comes.
    pub stricter_rsa_min: Option<i32>,
    /// Hashes that the local policy refuses in certificates beyond those NSS refuses as it comes.
    pub stricter_hashes: Vec<&'static str>,
}

impl Witnesses<'_> {
    /// Decides. The order matters: what the bytes prove comes before what an error number suggests.
    pub fn judge(&self) -> Judgement {
        self.foreign()
            .or_else(|| self.local_step())
            .or_else(|| self.our_refusal())
            .or_else(|| self.alert())
            .or_else(|| self.silence())
            .unwrap_or_else(|| self.ending())
    }

    fn is(&self, code: ErrorCode) -> bool {
        self.error.code == code
    }

    fn certain(&self, trouble: Trouble, summary: String) -> Option<Judgement> {
        Some(Judgement { trouble, confidence: Confidence::Certain, summary })
    }

    fn likely(&self, trouble: Trouble, summary: String) -> Option<Judgement> {
        Some(Judgement { trouble, confidence: Confidence::Likely, summary })
    }

    fn foreign(&self) -> Option<Judgement> {
        let foreign = self.wire.foreign.as_ref()?;
        let peer = self.peer;
        // A peer that began with TLS, or has the right idea of a record, is not some other service.
        let tls_after_all = foreign.after_records > 0
            || foreign.protocol == Protocol::TlsClient
            || matches!(foreign.fault, RecordFault::Length(_));
        if tls_after_all {
            return self.certain(Trouble::Garbled, format!("{peer} sent what TLS does not allow: {foreign}"));
        }
        self.certain(Trouble::NotTls, format!("{peer} does not speak TLS: {foreign}"))
    }

    /// Trouble before or without the peer.
    fn local_step(&self) -> Option<Judgement> {
        if self.error.step == "set the range of TLS versions" {
            let summary = "the crypto policy of this host allows none of the TLS versions asked for".to_owned();
            return self.certain(Trouble::PolicyBlocked, summary);
        }
        if self.is(ErrorCode::SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM) && self.wire.bytes_sent == 0 {
            let summary = "the crypto policy of this host leaves no signature algorithm to offer".to_owned();
            return self.certain(Trouble::PolicyBlocked, summary);
        }
        if self.is(ErrorCode::SEC_ERROR_INVALID_KEY) {
            let summary = "our private key could not sign in the handshake".to_owned();
            return self.certain(Trouble::KeyUnusable, summary);
        }
        None
    }

    /// We refused the peer's certificate.
    fn our_refusal(&self) -> Option<Judgement> {
        let peer = self.peer;
        if self.is(ErrorCode::SSL_ERROR_WEAK_SERVER_CERT_KEY) {
            if let Some(least) = self.stricter_rsa_min {
                let summary =
                    format!("{peer}'s key is smaller than the {least} bits that this host's crypto policy wants");
                return self.certain(Trouble::PolicyBlocked, summary);
            }
            return self.certain(Trouble::PeerWeak, format!("{peer}'s key is too small for NSS"));
        }
        let Some(Err(error)) = &self.facts.decision else { return None };
        let subject = self.facts.objections.iter().find(|objection| objection.error.code == error.code);
        let whose = match subject {
            Some(objection) if objection.depth > 0 => format!("the CA {}", objection.subject),
            _ => format!("{peer}'s certificate"),
        };
        let code = error.code;
        if code == ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE || code == ErrorCode::SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE {
            return self.certain(Trouble::PeerExpired, format!("{whose} is outside its validity"));
        }
        if code == ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN {
            return self.certain(Trouble::PeerName, format!("{peer}'s certificate is not for {}", self.host));
        }
        if code == ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE || code == ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE {
            return self.certain(Trouble::PeerUsage, format!("{whose} is not for a TLS server ({})", error.name));
        }
        if code == ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED {
            if self.stricter_hashes.is_empty() && self.stricter_rsa_min.is_none() {
                return self.certain(Trouble::PeerWeak, format!("{whose} is signed with an algorithm NSS refuses"));
            }
            let summary = format!("{whose} is signed in a way that this host's crypto policy forbids");
            return self.certain(Trouble::PolicyBlocked, summary);
        }
        self.certain(Trouble::PeerUntrusted, format!("NSS does not trust {peer}'s certificate: {}", error.name))
    }

    /// The peer told us why, in TLS's own words. An alert that warns ends nothing.
    fn alert(&self) -> Option<Judgement> {
        let ends = |alert: &&SeenAlert| !alert.sent && (alert.level == 2 || alert.description == 0);
        let number = self.facts.alerts.iter().rfind(ends)?.description;
        let description = AlertDescription(number);
        let (peer, name) = (self.peer, description.name().unwrap_or("unregistered"));
        let said = format!("{peer} answered with the alert {name} ({number})");
        match number {
            0 => self.certain(Trouble::Closed, format!("{peer} ended the handshake with close_notify")),
            40 | 71 if self.wire.server_hello.is_none() => {
                self.certain(Trouble::NoCommonCipher, format!("{said} to our ClientHello: nothing it can agree to"))
            }
            70 | 86 => {
                self.certain(Trouble::VersionMismatch, format!("{said}: it does not speak the versions offered"))
            }
            116 => self.certain(Trouble::CertificateNotSent, format!("{said}: it wants a certificate and got none")),
            45 => self.certain(Trouble::CertificateExpired, format!("{said} to our certificate")),
            44 => self.certain(Trouble::CertificateRevoked, format!("{said} to our certificate")),
            40..=43 | 46 | 48 | 49 | 51 if self.certificate_is_out() => match self.facts.gave_certificate {
                false if self.facts.asked_for_certificate.is_some() => {
                    self.certain(Trouble::CertificateNotSent, format!("{said} after we had no certificate for it"))
                }
                true if number == 40 && self.our_ca_is_listed == Some(false) => self
                    .likely(Trouble::CaNotAcceptable, format!("{said}; its list of acceptable CAs has none of ours")),
                true => self.certain(Trouble::CertificateRejected, format!("{said} to our certificate")),
                false => self.certain(Trouble::OtherAlert, said),
            },
            _ => self.certain(Trouble::OtherAlert, said),
        }
    }

    /// Whether our answer to a certificate request has been sent: in TLS 1.2 visible on the wire, in TLS 1.3 the
    /// moment the callback was asked.
    fn certificate_is_out(&self) -> bool {
        self.facts.asked_for_certificate.is_some()
    }

    fn silence(&self) -> Option<Judgement> {
        if !timed_out(self.error) {
            return None;
        }
        let (peer, seconds) = (self.peer, self.took.as_secs_f64());
        if self.wire.bytes_received == 0 {
            let summary =
                format!("{peer} took the connection and gave no answer to our ClientHello within {seconds:.1} s");
            return self.certain(Trouble::Silent, summary);
        }
        let last = self.arrivals.last.unwrap_or_default();
        let quiet = self.took.saturating_sub(last);
        if let Some(message) = self.wire.incomplete_message.filter(is_absurd) {
            let (kind, announced) = (message.kind, message.announced);
            return self.certain(Trouble::Garbled, format!("{peer} announced a {kind} of {announced} bytes"));
        }
        // Bytes that are spread over the time are a trickle; a long silence after the last one is a stall.
        let spread = last.saturating_sub(self.arrivals.first.unwrap_or_default());
        let trickles = self.arrivals.count >= 3 && quiet < self.took / 2 && spread >= self.took / 4;
        match trickles {
            true => self.certain(
                Trouble::TooSlow,
                format!(
                    "{peer} kept sending, {} bytes in {seconds:.1} s, and did not finish",
                    self.wire.bytes_received
                ),
            ),
            false => self.certain(
                Trouble::Stalled,
                format!("{peer} fell silent in the middle of the handshake, after {}", self.last_received()),
            ),
        }
    }

    /// The connection ended without a word.
    fn ending(&self) -> Judgement {
        let peer = self.peer;
        let reset = self.is(ErrorCode::PR_CONNECT_RESET_ERROR) || self.end == Some(End::Reset);
        let closed = self.is(ErrorCode::PR_END_OF_FILE_ERROR) || self.end == Some(End::Closed);
        if self.is_version_complaint() {
            let summary = format!("{peer} answered with a TLS version that we do not offer");
            return Judgement { trouble: Trouble::VersionMismatch, confidence: Confidence::Certain, summary };
        }
        if !reset && !closed {
            let summary = format!("{peer} sent what NSS does not take: {}", self.error.name);
            return Judgement { trouble: Trouble::Garbled, confidence: Confidence::Likely, summary };
        }
        let (trouble, how) = match reset {
            true => (Trouble::Reset, "reset the connection"),
            false => (Trouble::Closed, "closed the connection"),
        };
        if self.certificate_is_out() {
            let after = format!("{peer} {how} right after our certificate, without an alert");
            let (trouble, summary) = match (self.facts.gave_certificate, self.our_ca_is_listed) {
                (false, _) => {
                    (Trouble::CertificateNotSent, format!("{peer} asked for a certificate, got none, and {how}"))
                }
                (true, Some(false)) => {
                    (Trouble::CaNotAcceptable, format!("{after}; its list of acceptable CAs has none of ours"))
                }
                (true, _) => (Trouble::CertificateRejected, after),
            };
            return Judgement { trouble, confidence: Confidence::Likely, summary };
        }
        let summary = match self.wire.bytes_received {
            0 => format!("{peer} {how} after our ClientHello, without an answer"),
            _ => format!("{peer} {how} in the middle of the handshake, after {}", self.last_received()),
        };
        Judgement { trouble, confidence: Confidence::Certain, summary }
    }

    fn is_version_complaint(&self) -> bool {
        self.is(ErrorCode::SSL_ERROR_UNSUPPORTED_VERSION)
    }

    fn last_received(&self) -> String {
        self.wire.last_received.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
    }
}

/// NSS gives up on handshake messages longer than this (ssl3con.c, MAX_HANDSHAKE_MSG_LEN).
fn is_absurd(message: &IncompleteMessage) -> bool {
    message.direction == Direction::Received && message.announced > 0x1_ffff
}
