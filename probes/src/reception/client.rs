//! The client's certificate, and the library's objections to it.

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact::{
    self, ClientAuthoritiesAsked, ClientCertificateState as State, ClientChainIssuer as Issuer,
};
use nssight_nss::ErrorCode;
use nssight_session::{Code, SessionError, SessionFacts};
use time::OffsetDateTime;

use super::ListenServer;
use crate::{own_copies, x509};

/// Facts about the chain that the client sent, and about each objection.
pub(super) fn note(chair: &ListenServer, facts: &SessionFacts, notes: &mut Notes) {
    notes.put(ClientAuthoritiesAsked::Always);
    for der in &facts.peer_chain {
        notes.put(fact::PEER_CERTIFICATE.text(x509::one_line(der)));
    }
    for objection in &facts.objections {
        let (depth, subject) = (objection.depth, &objection.subject);
        let (name, code) = (&objection.error.text, number(&objection.error));
        notes.put(fact::CLIENT_CERTIFICATE_OBJECTION.text(format!("depth {depth}, {subject}: {name} ({code})")));
    }
    if let Some(Err(why)) = &facts.decision {
        let depth = facts.objections.iter().find(|objection| objection.error.code == why.code).map(|it| it.depth);
        notes.put(state(why, depth.unwrap_or(0), &facts.peer_chain));
        own_copies::facts(facts).for_each(|fact| notes.put(fact));
        if let Some(issuer) = issuer(chair, &facts.peer_chain) {
            notes.put(issuer);
        }
    }
}

fn begins_later(der: &[u8]) -> bool {
    x509::validity(der).is_some_and(|validity| validity.from > OffsetDateTime::now_utc().unix_timestamp())
}

fn number(error: &SessionError) -> i32 {
    match error.code {
        Code::Verify(code) | Code::OpenSsl(code) | Code::System(code) | Code::Nss(code) => code,
    }
}

/// The meaning of the library's error for the certificate at this depth of the chain.
fn state(why: &SessionError, depth: u32, chain: &[Vec<u8>]) -> State {
    match why.code {
        Code::Nss(code) => state_by_nss(ErrorCode(code), depth, chain),
        _ => state_by_openssl(number(why), depth),
    }
}

/// The meaning of an error of `secerr.h` for the certificate.
fn state_by_nss(code: ErrorCode, depth: u32, chain: &[Vec<u8>]) -> State {
    let is_self_signed = || chain.first().is_some_and(|der| x509::is_signed_by(der, der));
    match (code, depth) {
        // NSS treats a self-signed certificate as its own issuer, which is not a CA or not trusted.
        (
            ErrorCode::SEC_ERROR_UNKNOWN_ISSUER
            | ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER
            | ErrorCode::SEC_ERROR_CA_CERT_INVALID,
            _,
        ) if is_self_signed() => State::SelfSigned,
        (ErrorCode::SEC_ERROR_UNKNOWN_ISSUER | ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER, _) => State::UnknownIssuer,
        // NSS has one error for both ends of the validity (CERT_CheckCertValidTimes in certdb.c).
        (ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE, 0) if chain.first().is_some_and(|der| begins_later(der)) => {
            State::NotYetValid
        }
        (ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE, 0) => State::Expired,
        (ErrorCode::SEC_ERROR_EXPIRED_CERTIFICATE | ErrorCode::SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE, _) => {
            State::CaExpired
        }
        (ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE | ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE, 0) => State::WrongUsage,
        (ErrorCode::SEC_ERROR_REVOKED_CERTIFICATE, _) => State::Revoked,
        (ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED, _) => State::Weak,
        _ => State::Invalid,
    }
}

/// The meaning of an error of `x509_vfy.h` for the certificate.
fn state_by_openssl(code: i32, depth: u32) -> State {
    match (code, depth) {
        // UNABLE_TO_GET_ISSUER_CERT, …_LOCALLY, UNABLE_TO_VERIFY_LEAF_SIGNATURE, SELF_SIGNED_CERT_IN_CHAIN, CERT_UNTRUSTED.
        (2 | 19 | 20 | 21 | 27, _) => State::UnknownIssuer,
        // DEPTH_ZERO_SELF_SIGNED_CERT.
        (18, _) => State::SelfSigned,
        (9, 0) => State::NotYetValid,
        (10, 0) => State::Expired,
        (9 | 10, _) => State::CaExpired,
        // INVALID_PURPOSE.
        (26, 0) => State::WrongUsage,
        (23, _) => State::Revoked,
        // EE_KEY_TOO_SMALL, CA_KEY_TOO_SMALL, CA_MD_TOO_WEAK.
        (66..=68, _) => State::Weak,
        _ => State::Invalid,
    }
}

/// Facts about the CA above the last certificate of the chain.
fn issuer(chair: &ListenServer, chain: &[Vec<u8>]) -> Option<Issuer> {
    let top = chain.iter().rev().find(|der| !x509::is_signed_by(der, der))?;
    let wanted = x509::issuer(top)?;
    let is_named = |der: &&Vec<u8>| x509::subject_name(der).as_ref() == Some(&wanted);
    let named: Vec<&Vec<u8>> = chair.authorities.iter().filter(is_named).collect();
    let is_ours = chair.chain.iter().filter_map(|der| x509::issuer(der)).any(|issuer| issuer == wanted);
    Some(match named.as_slice() {
        [] if is_ours => Issuer::Ours,
        [] => Issuer::NotHere,
        some if some.iter().any(|der| x509::is_signed_by(top, der)) => Issuer::Trusted,
        _ => Issuer::OtherKey,
    })
}
