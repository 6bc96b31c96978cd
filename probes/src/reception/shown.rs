//! Derives the signal of an incomplete handshake with a client.
use nssight_diagnosis::derive::silence::silence;
use nssight_diagnosis::fact::fact::{
    self, ClientCertificateState, ClientPosition as Position, ClientRefusal as Refusal,
};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Notes, Outcome};
use nssight_nss::ErrorCode;
use nssight_session::{Code, Kind, SessionError, SessionFacts};
use nssight_wire::{AlertDescription, Direction, Summary};

use super::is_http;
use crate::error_info;
use crate::wire::SessionLog;

/// The client sent no certificate: OpenSSL's `SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE` (sslerr.h), and NSS's equivalent.
const NO_CERTIFICATE: [Code; 2] = [Code::OpenSsl(199), Code::Nss(ErrorCode::SSL_ERROR_NO_CERTIFICATE.0)];
/// OpenSSL's `SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM`.
const NO_SIGNATURE: Code = Code::OpenSsl(118);

/// The session could not even be created; the client is not involved.
pub(super) fn not_set_up(error: &SessionError, notes: Notes) -> Outcome {
    let summary = format!("cannot set up a session: {}", error.name);
    notes.fail(signal::SSL_ERROR, summary).error(error_info::of_session(error))
}

/// The signal, and what was observed, in a sentence.
pub(super) fn shown(
    error: &SessionError,
    facts: &SessionFacts,
    log: &SessionLog,
    notes: &mut Notes,
) -> (Signal, String) {
    let wire = log.summary();
    notes.put(position(&wire, facts, error));
    for alert in &facts.alerts {
        let name = AlertDescription(alert.description).name().unwrap_or("unregistered");
        let level = if alert.level == 2 { "fatal" } else { "warning" };
        let key = if alert.sent { fact::SESSION_ALERT_SENT } else { fact::SESSION_ALERT_RECEIVED };
        notes.put(key.text(format!("{name} ({}), {level}", alert.description)));
    }
    foreign(log, notes)
        .or_else(|| ours(error, facts, notes))
        .or_else(|| theirs(facts, &wire, notes))
        .or_else(|| ending(error, &wire, log, notes))
        .unwrap_or_else(|| apart(error))
}

fn position(wire: &Summary, facts: &SessionFacts, error: &SessionError) -> Position {
    if wire.bytes_sent == 0 {
        Position::NothingSent
    } else if wire.client_hello.is_none() {
        Position::InItsHello
    } else if wire.server_hello.is_none() {
        Position::AfterItsHello
    } else if !facts.peer_chain.is_empty() || NO_CERTIFICATE.contains(&error.code) {
        Position::AfterItsCertificate
    } else {
        Position::AfterOurFlight
    }
}

/// Bytes that are not TLS.
fn foreign(log: &SessionLog, notes: &mut Notes) -> Option<(Signal, String)> {
    let foreign = log.foreign_of_client()?;
    notes.put(fact::PEER_FIRST_BYTES.text(&foreign));
    if foreign.after_records > 0 {
        notes.put(fact::PeerProtocol::Misframed);
        return Some((signal::CLIENT_GARBLED, format!("the client sent data that TLS does not allow: {foreign}")));
    }
    notes.put(fact::PeerProtocol::Other);
    let what = if is_http(&foreign.head) { "unencrypted HTTP" } else { "bytes that are not a TLS record" };
    Some((signal::CLIENT_NOT_TLS, format!("the client sent {what}: \"{}\"", foreign.first_bytes)))
}

/// We refused the client.
fn ours(error: &SessionError, facts: &SessionFacts, notes: &mut Notes) -> Option<(Signal, String)> {
    if NO_CERTIFICATE.contains(&error.code) {
        notes.put(ClientCertificateState::None);
        return Some((
            signal::CLIENT_CERTIFICATE_ABSENT,
            "the client sent no certificate, although the server requested one".to_owned(),
        ));
    }
    let refused = match (error.code, &facts.decision) {
        (Code::Verify(_), _) => error,
        (Code::Nss(_), Some(Err(why))) => why,
        _ => return None,
    };
    let whose = match facts.objections.iter().find(|objection| objection.error.code == refused.code) {
        Some(objection) => format!("depth {}, {}", objection.depth, objection.subject),
        None => "the client's chain".to_owned(),
    };
    Some((
        signal::CLIENT_CERTIFICATE_REFUSED,
        format!("this server rejects the client's certificate ({whose}): {}", refused.text),
    ))
}

/// The client refused us, or ended with an alert.
fn theirs(facts: &SessionFacts, wire: &Summary, notes: &mut Notes) -> Option<(Signal, String)> {
    let description = match facts.alerts.iter().rfind(|alert| !alert.sent) {
        Some(alert) => alert.description,
        // OpenSSL refuses a TLS 1.3 server with an unencrypted alert, which NSS reports as a record of the wrong type (measured on 3.0 and
        // 3.87.1).
        None => {
            let alert = wire.refusal(Direction::Sent)?;
            notes.put(fact::SESSION_ALERT_RECEIVED.text(format!("{alert}, unencrypted")));
            alert.description.0
        }
    };
    let name = AlertDescription(description);
    let refusal = match description {
        42 => Refusal::BadCertificate,
        43 => Refusal::UnsupportedCertificate,
        44 => Refusal::CertificateRevoked,
        45 => Refusal::CertificateExpired,
        46 => Refusal::CertificateUnknown,
        48 => Refusal::UnknownCa,
        49 => Refusal::AccessDenied,
        _ => {
            notes.put(Refusal::Other);
            return Some((signal::CLIENT_SAID_ALERT, format!("the client ended the handshake with the alert {name}")));
        }
    };
    notes.put(refusal);
    Some((signal::CLIENT_REFUSED_US, format!("the client answered our certificate with the alert {name}")))
}

/// The session ended without an alert, or did not end at all.
fn ending(error: &SessionError, wire: &Summary, log: &SessionLog, notes: &mut Notes) -> Option<(Signal, String)> {
    let after = match &wire.last_sent {
        Some(last) => format!("after {last}"),
        None if wire.bytes_sent > 0 => format!("after {} bytes", wire.bytes_sent),
        None => "before it sent anything".to_owned(),
    };
    match error.kind {
        Kind::TimedOut => {
            let arrivals = if wire.bytes_sent == 0 { Default::default() } else { log.arrivals };
            notes.put(silence(arrivals, log.age(), None));
            let summary = match wire.bytes_sent {
                0 => "the client connected and sent nothing before the deadline".to_owned(),
                _ => format!("the client did not finish the handshake before the deadline, {after}"),
            };
            Some((signal::CLIENT_FELL_SILENT, summary))
        }
        Kind::Reset => {
            notes.put(fact::SessionEnd::Reset);
            Some((signal::CLIENT_LEFT, format!("the client reset the connection {after}")))
        }
        Kind::Ended => {
            notes.put(fact::SessionEnd::Fin);
            Some((signal::CLIENT_LEFT, format!("the client closed the connection {after}")))
        }
        Kind::WouldBlock | Kind::NoVersions | Kind::Other => None,
    }
}

/// The library finds nothing that both sides support, or does not accept what arrived.
fn apart(error: &SessionError) -> (Signal, String) {
    let by_itself = error_info::signal(error);
    if by_itself == signal::NO_COMMON_VERSION {
        return (signal::CLIENT_VERSIONS_APART, "client and server have no TLS version in common".to_owned());
    }
    // A client's certificate is refused with the error of a verification; this is ours, which OpenSSL does not send (ssl_security_cert_chain).
    if error_info::is_too_weak(error) {
        let summary = format!("OpenSSL on this host does not send our chain: {}", error.name);
        return (signal::CERTIFICATE_UNUSABLE, summary);
    }
    let nothing_fits = [signal::NO_COMMON_CIPHER, signal::NO_SIGNATURE_ALGORITHM].contains(&by_itself);
    if nothing_fits || error.code == NO_SIGNATURE {
        let summary = format!("client and server have no algorithm in common: {}", error.name);
        return (signal::CLIENT_ALGORITHMS_APART, summary);
    }
    let library = if let Code::Nss(_) = error.code { "NSS" } else { "OpenSSL" };
    (signal::CLIENT_GARBLED, format!("{library} refuses what the client sent: {}", error.name))
}
