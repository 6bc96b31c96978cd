//! Converts a TLS server's messages to its client's point of view.

use nssight_diagnosis::Facts;
use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::{Family, Signal, signal};

/// The meaning of a server's log for a client's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Said {
    /// The server rejects the client's certificate, and sends an alert.
    Refuses {
        /// The client's observation.
        signal: Signal,
        reason: fact::PeerLogReason,
        /// An alert can express the reason.
        knows_why: bool,
    },
    /// The server received an alert that rejects its own certificate.
    Heard {
        /// The client's reason, if the alert shows it.
        signal: Option<Signal>,
        alert: fact::PeerLogAlertHeard,
    },
    /// The same for both sides.
    Alike(Signal),
}

impl Said {
    /// The signal that the client would see.
    pub(crate) fn signal(self) -> Option<Signal> {
        match self {
            Self::Refuses { signal, .. } | Self::Alike(signal) => Some(signal),
            Self::Heard { signal, .. } => signal,
        }
    }

    pub(crate) fn facts(self) -> Facts {
        let mut facts = Facts::default();
        match self {
            Self::Refuses { reason, .. } => {
                facts.put(fact::PeerLogRefusedOurCertificate::Yes);
                facts.put(reason);
            }
            Self::Heard { alert, .. } => facts.put(alert),
            Self::Alike(_) => {}
        }
        facts
    }
}

/// The meaning of a server's message for its client; `None` if it is not about the handshake with this client.
pub(crate) fn turned(said: Signal) -> Option<Said> {
    match said.row().family {
        // An unusable revocation list is the server's own problem, independent of the certificate.
        Family::Chain if said == signal::CHAIN_CRL => None,
        Family::Chain => Some(refusal(said)),
        Family::Alert => Some(heard(said)),
        Family::Version => Some(Said::Alike(said)),
        _ => [signal::NO_CERTIFICATE_OR_KEY, signal::CERTIFICATE_NOT_GIVEN].contains(&said).then_some(Said::Refuses {
            signal: signal::CERTIFICATE_NOT_GIVEN,
            reason: fact::PeerLogReason::NoneGiven,
            knows_why: true,
        }),
    }
}

/// The alert by which a server reports its objection to its client.
fn refusal(found: Signal) -> Said {
    use fact::PeerLogReason as Reason;
    let (signal, reason) = match found {
        signal::CHAIN_UNKNOWN_ISSUER | signal::CHAIN_UNTRUSTED_ISSUER | signal::CHAIN_DISTRUSTED => {
            (signal::ALERT_UNKNOWN_CA, Reason::UnknownIssuer)
        }
        signal::CHAIN_EXPIRED | signal::CHAIN_NOT_YET_VALID | signal::CHAIN_ISSUER_EXPIRED => {
            (signal::ALERT_CERTIFICATE_EXPIRED, Reason::Dates)
        }
        signal::CHAIN_WRONG_USAGE => (signal::ALERT_UNSUPPORTED_CERTIFICATE, Reason::Usage),
        signal::CHAIN_REVOKED => (signal::ALERT_CERTIFICATE_REVOKED, Reason::Revoked),
        _ => (signal::ALERT_BAD_CERTIFICATE, Reason::Other),
    };
    Said::Refuses { signal, reason, knows_why: reason != Reason::Other }
}

/// The objection of a client that sent such an alert.
fn heard(alert: Signal) -> Said {
    use fact::PeerLogAlertHeard as Heard;
    let (signal, alert) = match alert {
        signal::ALERT_UNKNOWN_CA => (Some(signal::CHAIN_UNKNOWN_ISSUER), Heard::UnknownCa),
        signal::ALERT_CERTIFICATE_EXPIRED => (Some(signal::CHAIN_EXPIRED), Heard::CertificateExpired),
        signal::ALERT_CERTIFICATE_REVOKED => (Some(signal::CHAIN_REVOKED), Heard::CertificateRevoked),
        signal::ALERT_UNSUPPORTED_CERTIFICATE => (Some(signal::CHAIN_WRONG_USAGE), Heard::UnsupportedCertificate),
        // A client sends this alert for a wrong name, a weak signature and more.
        signal::ALERT_BAD_CERTIFICATE => (None, Heard::BadCertificate),
        signal::ALERT_CERTIFICATE_UNKNOWN => (None, Heard::CertificateUnknown),
        _ => (None, Heard::Other),
    };
    Said::Heard { signal, alert }
}
