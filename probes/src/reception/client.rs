//! The client's certificate, and what OpenSSL has against it.

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact::{self, ClientCertificateState as State, ClientChainIssuer as Issuer};
use nssight_session::{Code, SessionError, SessionFacts};

use super::Chair;
use crate::x509;

/// Facts about the chain that the client sent, and about each objection.
pub(super) fn note(chair: &Chair, facts: &SessionFacts, notes: &mut Notes) {
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
        notes.put(state(why, depth.unwrap_or(0)));
        if let Some(issuer) = issuer(chair, &facts.peer_chain) {
            notes.put(issuer);
        }
    }
}

fn number(error: &SessionError) -> i32 {
    match error.code {
        Code::Verify(code) | Code::OpenSsl(code) | Code::System(code) | Code::Nss(code) => code,
    }
}

/// What an error of `x509_vfy.h` says of the certificate.
fn state(why: &SessionError, depth: u32) -> State {
    match (number(why), depth) {
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

/// What is known here of the CA above the last certificate of the chain.
fn issuer(chair: &Chair, chain: &[Vec<u8>]) -> Option<Issuer> {
    let top = chain.iter().rev().find(|der| !x509::is_signed_by(der, der))?;
    let wanted = x509::issuer(top)?;
    let authorities = chair.clients.as_deref().unwrap_or_default().iter().filter_map(|it| it.to_der().ok());
    let named: Vec<Vec<u8>> = authorities.filter(|der| x509::subject_name(der).as_ref() == Some(&wanted)).collect();
    let own = [&chair.identity.certificate].into_iter().chain(&chair.identity.chain);
    let is_ours = own.filter_map(|it| x509::issuer(&it.to_der().ok()?)).any(|issuer| issuer == wanted);
    Some(match named.as_slice() {
        [] if is_ours => Issuer::Ours,
        [] => Issuer::NotHere,
        some if some.iter().any(|der| x509::is_signed_by(top, der)) => Issuer::Trusted,
        _ => Issuer::OtherKey,
    })
}
