//! Rules: from the lines of one failure to a cause. What a client says of its own side comes first, then the sessions from
//! the outside in; an end of file says only that the other side went, so the other side's log must say why.

use std::ops::RangeInclusive;

use nssight_nss::ErrorCode;

use super::incident::{Group, Placed};
use super::sign::{Role, Sign};
use crate::catalogue::Cause;
use crate::vocabulary::Confidence;

use Confidence::{Certain, Likely, Possible};

/// What a rule says of a failure.
pub(super) type Opinion = Option<(Cause, Confidence)>;

/// Errors about handshake messages that cannot be read, or come when they must not (sslerr.h).
const GARBLED: RangeInclusive<ErrorCode> =
    ErrorCode::SSL_ERROR_RX_MALFORMED_HELLO_REQUEST..=ErrorCode::SSL_ERROR_RX_UNKNOWN_ALERT;

/// A bridge finds a dead connection the moment it writes to it (20 ms, measured); what comes later is something else's end.
const AT_ONCE: i64 = 1_000_000;

/// What the first rule that speaks says.
pub(super) fn opinion(group: &Group<'_>) -> Opinion {
    local(group)
        .or_else(|| outer(group))
        .or_else(|| request(group))
        .or_else(|| inner(group))
        .or_else(|| bridge(group))
        .or_else(|| reply(group))
}

/// What this client, or a tool in its place, says.
fn of_client<'a>(group: &'a Group<'_>) -> impl Iterator<Item = (Sign, bool)> + 'a {
    let own = |role: Role| matches!(role, Role::Client | Role::Tool | Role::Unknown);
    let counts = |role: Role, sign: Sign| role != Role::Unknown || !sign.is_anybodys();
    let events = group.events.iter().filter(move |placed| own(placed.role) && counts(placed.role, placed.event.sign));
    events.map(|placed| (placed.event.sign, placed.event.child))
}

/// What fails before anything is connected.
fn local(group: &Group<'_>) -> Opinion {
    let looked_up = of_client(group).any(|(sign, _)| sign == Sign::NicknameLookup);
    if of_client(group).any(|(sign, _)| sign == Sign::PasswordMissing) {
        return Some((Cause::PasswordMissing, Likely));
    }
    of_client(group).find_map(|(sign, _)| {
        Some(match sign {
            Sign::ConfigBroken => (Cause::ConfigInvalid, Likely),
            Sign::ConfigMissing => (Cause::ConfigMissing, Possible),
            Sign::WrongPassword | Sign::Code(ErrorCode::SEC_ERROR_BAD_PASSWORD) => (Cause::PasswordWrong, Likely),
            Sign::BatchPassword => (Cause::PasswordFileFormat, Likely),
            Sign::NoCallback => (Cause::ThreadLosesPassword, Likely),
            Sign::NoDatabase | Sign::Code(ErrorCode::SEC_ERROR_BAD_DATABASE) => (Cause::DbMissing, Possible),
            Sign::Code(ErrorCode::SEC_ERROR_LEGACY_DATABASE) => (Cause::DbTypeMismatch, Likely),
            // PR_LOAD_LIBRARY_ERROR is what a successful start of NSS leaves behind (measured).
            Sign::NotFound => (Cause::CertNotFound, Likely),
            Sign::Code(ErrorCode::PR_LOAD_LIBRARY_ERROR) if looked_up => (Cause::CertNotFound, Likely),
            Sign::Code(ErrorCode::SEC_ERROR_IO) => (Cause::DbUninitialised, Likely),
            Sign::Code(ErrorCode::SSL_ERROR_NO_CERTIFICATE) => (Cause::KeyMissing, Possible),
            Sign::NoSuitableCertificate => (Cause::CertNotFound, Possible),
            Sign::Code(ErrorCode::SEC_ERROR_INVALID_KEY | ErrorCode::SEC_ERROR_TOKEN_NOT_LOGGED_IN) => {
                (Cause::KeyUnusable, Likely)
            }
            Sign::Code(ErrorCode::SEC_ERROR_PKCS11_DEVICE_ERROR) => (Cause::ForkBreaksNss, Possible),
            Sign::KeyMismatch => (Cause::KeyMismatch, Likely),
            Sign::Code(ErrorCode::PR_DIRECTORY_LOOKUP_ERROR) | Sign::NoName => (Cause::NameUnresolved, Likely),
            Sign::Code(ErrorCode::PR_CONNECT_REFUSED_ERROR) | Sign::Refused => (Cause::TcpRefused, Likely),
            Sign::Code(ErrorCode::PR_CONNECT_TIMEOUT_ERROR) | Sign::TimedOut => (Cause::TcpTimeout, Likely),
            Sign::Code(ErrorCode::PR_NETWORK_UNREACHABLE_ERROR | ErrorCode::PR_HOST_UNREACHABLE_ERROR)
            | Sign::Unreachable => (Cause::TcpUnreachable, Likely),
            _ => return None,
        })
    })
}

/// Errors of a TLS client: the peer's certificate as we see it, and the peer's alerts about ours.
fn handshake(code: ErrorCode) -> Option<(Cause, Cause, Confidence)> {
    Some(match code {
        ErrorCode::SEC_ERROR_UNKNOWN_ISSUER | ErrorCode::SEC_ERROR_BAD_SIGNATURE => {
            (Cause::BridgeCertUntrusted, Cause::ServerCertUntrusted, Possible)
        }
        ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER => (Cause::CaUntrusted, Cause::CaUntrusted, Likely),
        ErrorCode::SEC_ERROR_UNTRUSTED_CERT
        | ErrorCode::SEC_ERROR_CA_CERT_INVALID
        | ErrorCode::SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID
        | ErrorCode::SEC_ERROR_CERT_NOT_IN_NAME_SPACE => {
            (Cause::BridgeCertUntrusted, Cause::ServerCertUntrusted, Likely)
        }
        ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE => (Cause::BridgeCertExpired, Cause::ServerCertExpired, Possible),
        ErrorCode::SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE => (Cause::CaExpired, Cause::CaExpired, Likely),
        ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN => (Cause::BridgeCertName, Cause::ServerCertName, Likely),
        ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE | ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE => {
            (Cause::BridgeCertUsage, Cause::ServerCertUsage, Likely)
        }
        ErrorCode::SSL_ERROR_WEAK_SERVER_CERT_KEY | ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED => {
            (Cause::BridgeCertWeak, Cause::ServerCertWeak, Likely)
        }
        ErrorCode::SSL_ERROR_EXPIRED_CERT_ALERT => (Cause::CertExpired, Cause::InnerClientCertRejected, Possible),
        ErrorCode::SSL_ERROR_UNKNOWN_CA_ALERT | ErrorCode::SSL_ERROR_ACCESS_DENIED_ALERT => {
            (Cause::ClientCertRejected, Cause::InnerClientCertRejected, Likely)
        }
        ErrorCode::SSL_ERROR_BAD_CERT_ALERT | ErrorCode::SSL_ERROR_CERTIFICATE_UNKNOWN_ALERT => {
            (Cause::ClientCertRejected, Cause::InnerClientCertRejected, Possible)
        }
        ErrorCode::SSL_ERROR_UNSUPPORTED_CERT_ALERT => (Cause::CertWrongUsage, Cause::InnerClientCertRejected, Likely),
        ErrorCode::SSL_ERROR_REVOKED_CERT_ALERT => {
            (Cause::ClientCertRevokedAtPeer, Cause::InnerClientCertRejected, Likely)
        }
        ErrorCode::SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT => {
            (Cause::ClientCertNotSent, Cause::InnerClientCertRejected, Likely)
        }
        ErrorCode::SSL_ERROR_HANDSHAKE_FAILURE_ALERT => {
            (Cause::ClientCertNotSent, Cause::InnerClientCertRejected, Possible)
        }
        ErrorCode::SSL_ERROR_NO_CYPHER_OVERLAP => (Cause::TlsNoCommonCipher, Cause::InnerTlsVersion, Possible),
        ErrorCode::SSL_ERROR_PROTOCOL_VERSION_ALERT | ErrorCode::SSL_ERROR_UNSUPPORTED_VERSION => {
            (Cause::TlsVersionMismatch, Cause::InnerTlsVersion, Likely)
        }
        ErrorCode::SSL_ERROR_DECRYPT_ERROR_ALERT => (Cause::KeyMismatch, Cause::InnerClientCertRejected, Likely),
        ErrorCode::SSL_ERROR_INSUFFICIENT_SECURITY_ALERT
        | ErrorCode::SSL_ERROR_INTERNAL_ERROR_ALERT
        | ErrorCode::SSL_ERROR_UNRECOGNIZED_NAME_ALERT => (Cause::PeerAlert, Cause::InnerClosed, Possible),
        ErrorCode::SSL_ERROR_RX_RECORD_TOO_LONG => (Cause::NotTls, Cause::InnerNotTls, Likely),
        ErrorCode::SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM => {
            (Cause::TlsPolicyBlocked, Cause::TlsPolicyBlocked, Likely)
        }
        garbled if GARBLED.contains(&garbled) => (Cause::HandshakeGarbled, Cause::InnerNotTls, Possible),
        _ => return None,
    })
}

/// OpenSSL's codes and words, as the errors that NSS has for the same.
fn as_code(sign: Sign) -> Option<ErrorCode> {
    match sign {
        Sign::Code(code) => Some(code),
        Sign::Alert(alert) => ErrorCode::of_alert(alert),
        Sign::Verify(code) => ErrorCode::of_verify_code(code.into()),
        Sign::NotTls => Some(ErrorCode::SSL_ERROR_RX_RECORD_TOO_LONG),
        Sign::NoSharedVersion => Some(ErrorCode::SSL_ERROR_UNSUPPORTED_VERSION),
        Sign::OursExpired => Some(ErrorCode::SSL_ERROR_EXPIRED_CERT_ALERT),
        _ => None,
    }
}

/// Whether the client's own word, that of its parent process, is about the inner session.
fn speaks_of_inner(group: &Group<'_>) -> bool {
    group.has(Role::Client, Sign::OwnContext) || group.has(Role::Bridge, Sign::RequestRead)
}

fn outer(group: &Group<'_>) -> Opinion {
    let inner = speaks_of_inner(group);
    let of_outer = |(sign, child): (Sign, bool)| as_code(sign).filter(|_| (child || !inner) && !sign.is_end());
    let ours = of_client(group).find_map(of_outer);
    let before_request = !group.has(Role::Bridge, Sign::ClientConnected);
    let at_bridge = group.events.iter().find_map(|placed| match (placed.role, placed.event.sign) {
        (Role::Bridge, Sign::Code(code)) if before_request => Some(code),
        _ => None,
    });
    let expired_there = group.has(Role::Bridge, Sign::PeerExpired) && before_request;
    match (ours, at_bridge) {
        // A wrong name, and the bridge heard that its certificate was refused for it: nothing else looks like this.
        (Some(ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN), Some(ErrorCode::SSL_ERROR_BAD_CERT_ALERT)) => {
            Some((Cause::BridgeCertName, Certain))
        }
        (Some(_), _) if expired_there => Some((Cause::CertExpired, Likely)),
        (Some(code), _) => handshake(code).map(|(cause, _, confidence)| (cause, confidence)),
        (None, _) if expired_there => Some((Cause::CertExpired, Likely)),
        (None, Some(code)) => from_the_bridge(code),
        // The child's end of file is one of the outer session.
        (None, None)
            if of_client(group).any(|(sign, child)| child && sign == Sign::Code(ErrorCode::PR_END_OF_FILE_ERROR)) =>
        {
            Some((Cause::PeerClosedInHandshake, Possible))
        }
        (None, None) => None,
    }
}

/// What the bridge says of a client's certificate, or hears about its own.
fn from_the_bridge(code: ErrorCode) -> Opinion {
    Some(match code {
        ErrorCode::SEC_ERROR_UNKNOWN_ISSUER
        | ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER
        | ErrorCode::SEC_ERROR_UNTRUSTED_CERT => (Cause::ClientCertRejected, Likely),
        ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE | ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE => {
            (Cause::CertWrongUsage, Likely)
        }
        ErrorCode::SSL_ERROR_NO_CERTIFICATE => (Cause::ClientCertNotSent, Likely),
        ErrorCode::SSL_ERROR_UNKNOWN_CA_ALERT => (Cause::BridgeCertUntrusted, Possible),
        ErrorCode::SSL_ERROR_EXPIRED_CERT_ALERT => (Cause::BridgeCertExpired, Possible),
        ErrorCode::SSL_ERROR_UNSUPPORTED_VERSION => (Cause::TlsVersionMismatch, Likely),
        ErrorCode::SSL_ERROR_NO_CYPHER_OVERLAP => (Cause::TlsNoCommonCipher, Likely),
        _ => return None,
    })
}

fn request(group: &Group<'_>) -> Opinion {
    let ours = of_client(group).any(|(sign, _)| sign == Sign::AuthenticationFailed);
    let theirs =
        group.has(Role::Bridge, Sign::AuthenticationFailed) || group.has(Role::Server, Sign::AuthenticationFailed);
    if ours || theirs {
        return Some((Cause::RequestAuthFailed, if ours && theirs { Certain } else { Likely }));
    }
    let refused = group.events.iter().any(|placed| placed.event.sign == Sign::RequestError);
    refused.then_some((Cause::RequestRejected, Likely))
}

fn inner(group: &Group<'_>) -> Opinion {
    let ours = of_client(group).find_map(|(sign, child)| as_code(sign).filter(|_| !child && !sign.is_end()));
    let at_server = group.events.iter().find_map(|placed| match (placed.role, placed.event.sign) {
        (Role::Server, Sign::Code(code)) if !placed.event.child => Some(code),
        _ => None,
    });
    if let Some((_, cause, confidence)) = ours.and_then(handshake) {
        let sure = cause == Cause::ServerCertName && at_server == Some(ErrorCode::SSL_ERROR_BAD_CERT_ALERT);
        return Some((cause, if sure { Certain } else { confidence }));
    }
    Some(match at_server? {
        ErrorCode::SEC_ERROR_UNKNOWN_ISSUER
        | ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER
        | ErrorCode::SEC_ERROR_UNTRUSTED_CERT
        | ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE
        | ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE
        | ErrorCode::SSL_ERROR_NO_CERTIFICATE => (Cause::InnerClientCertRejected, Likely),
        ErrorCode::SSL_ERROR_UNKNOWN_CA_ALERT => (Cause::ServerCertUntrusted, Possible),
        ErrorCode::SSL_ERROR_EXPIRED_CERT_ALERT => (Cause::ServerCertExpired, Possible),
        _ => return None,
    })
}

/// The client saw an end; the bridge says why.
fn bridge(group: &Group<'_>) -> Opinion {
    if group.has(Role::Bridge, Sign::InvalidRequest) {
        return Some((Cause::BridgeRejectedRequest, Likely));
    }
    let complained = of_client(group).any(|(sign, _)| sign.is_trouble());
    let read = group.has(Role::Bridge, Sign::RequestRead);
    let began = group.has(Role::Server, Sign::Started);
    let ended = |placed: &&Placed<'_>| placed.role == Role::Bridge && placed.event.sign.is_end();
    let last = group.events.iter().rev().find(ended)?.event;
    let request = group.events.iter().rev().find(|placed| placed.event.sign == Sign::RequestRead);
    let waited = request.and_then(|placed| Some(last.when?.0 - placed.event.when?.0));
    match (read, began) {
        // It spoke to its server for the first time, and nobody was there.
        (true, false) if matches!(last.sign, Sign::Code(_)) && waited.is_none_or(|time| time <= AT_ONCE) => {
            Some((Cause::ServerLinkDead, if complained { Likely } else { Possible }))
        }
        // The server was at work, and the bridge lost it.
        (true, true) if complained => Some((Cause::InnerClosed, Possible)),
        _ => None,
    }
}

fn reply(group: &Group<'_>) -> Opinion {
    if of_client(group).any(|(sign, _)| sign == Sign::NotAuthentic) {
        return Some((Cause::ReplyTampered, Likely));
    }
    let cut = of_client(group).any(|(sign, _)| sign == Sign::ReplyCut);
    cut.then_some((Cause::ReplyTruncated, Possible))
}
