//! Tokens other than the database's own: a smart card, a security module, or one in software.

use nssight_nss::{Certificate, Nss, Slot};

/// The part of a nickname by which NSS selects a token: the text before the first colon (find_certs_from_nickname in
/// lib/pk11wrap/pk11cert.c), or the whole of a PKCS #11 URI.
pub(crate) fn word(nickname: &str) -> Option<&str> {
    if nickname.starts_with("pkcs11:") { Some(nickname) } else { nickname.split_once(':').map(|(token, _)| token) }
}

/// The other token that a nickname refers to, if it is present.
pub(crate) fn other(nickname: Option<&str>, own: &Slot, nss: &Nss) -> Option<Slot> {
    let slot = Slot::of_token(word(nickname?)?, nss).ok()?;
    (!slot.is(own)).then_some(slot)
}

/// The nickname as stored in the database's own files: without the prefix of its own token.
pub(crate) fn in_database<'a>(nickname: &'a str, own: Option<&Slot>) -> &'a str {
    match (nickname.split_once(':'), own) {
        (Some((token, rest)), Some(own)) if token == own.token_name() => rest,
        _ => nickname,
    }
}

/// Names of all tokens that are present.
pub(crate) fn names(nss: &Nss) -> Vec<String> {
    Slot::all(nss).iter().map(Slot::token_name).collect()
}

/// Certificates of the database and of another token, one per nickname.
pub(crate) fn certificates(slots: [Option<&Slot>; 2]) -> Vec<Certificate> {
    let mut all: Vec<Certificate> = Vec::new();
    for certificate in slots.into_iter().flatten().flat_map(Slot::certificates) {
        if !all.iter().any(|known| known.nickname() == certificate.nickname() && known.der() == certificate.der()) {
            all.push(certificate);
        }
    }
    all
}
