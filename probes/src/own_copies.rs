//! Our own copies of CAs in a chain that was verified. A copy may be older or newer than the CA's certificate on the other side, with the same
//! name and key, so a flaw of the copy is not the other side's.

use nssight_diagnosis::fact::Fact;
use nssight_diagnosis::fact::fact::{PeerChainExpired, PeerChainOwnCopies};
use nssight_session::SessionFacts;
use time::OffsetDateTime;
use x509_parser::der_parser::Oid;
use x509_parser::oid_registry::{
    OID_X509_EXT_BASIC_CONSTRAINTS, OID_X509_EXT_CERTIFICATE_POLICIES, OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_INHIBIT_ANY_POLICY, OID_X509_EXT_KEY_USAGE, OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_POLICY_CONSTRAINTS, OID_X509_EXT_POLICY_MAPPINGS, OID_X509_EXT_SUBJECT_ALT_NAME,
};
use x509_parser::prelude::{FromDer, X509Certificate};

use crate::x509;

/// Critical extensions that both libraries process.
const PROCESSED: [Oid<'static>; 9] = [
    OID_X509_EXT_BASIC_CONSTRAINTS,
    OID_X509_EXT_CERTIFICATE_POLICIES,
    OID_X509_EXT_EXTENDED_KEY_USAGE,
    OID_X509_EXT_INHIBIT_ANY_POLICY,
    OID_X509_EXT_KEY_USAGE,
    OID_X509_EXT_NAME_CONSTRAINTS,
    OID_X509_EXT_POLICY_CONSTRAINTS,
    OID_X509_EXT_POLICY_MAPPINGS,
    OID_X509_EXT_SUBJECT_ALT_NAME,
];

/// What our own copies contribute to the chain of a session.
pub(crate) fn facts(session: &SessionFacts) -> impl Iterator<Item = Fact> {
    let (sent, built) = (&session.peer_chain, &session.built_chain);
    let facts: [Option<Fact>; 2] = [out_of_date(sent, built).map(Into::into), of(sent, built).map(Into::into)];
    facts.into_iter().flatten()
}

/// The kind of our own copies in the chain that the library built; `None` if it built none.
fn of(sent: &[Vec<u8>], built: &[Vec<u8>]) -> Option<PeerChainOwnCopies> {
    let mut ours = built.get(1..)?.iter().filter(|der| !sent.contains(der)).peekable();
    if ours.peek().is_none() {
        return Some(PeerChainOwnCopies::None);
    }
    let names: Vec<_> = sent.iter().filter_map(|der| x509::subject_name(der)).collect();
    let replaces = |der: &Vec<u8>| x509::subject_name(der).is_some_and(|name| names.contains(&name));
    let (mut replacing, mut restricting) = (false, false);
    for der in ours {
        replacing |= replaces(der);
        restricting |= restricts(der);
    }
    Some(match (replacing, restricting) {
        (true, _) => PeerChainOwnCopies::Replacing,
        (false, true) => PeerChainOwnCopies::Restricting,
        (false, false) => PeerChainOwnCopies::Unrestricted,
    })
}

/// The same for a chain that was not seen: what every copy with the name of an issuer could contribute. `None` if no chain was sent.
pub(crate) fn among(sent: &[Vec<u8>], stored: &[Vec<u8>]) -> Option<PeerChainOwnCopies> {
    /// NSS itself follows a chain no further (seccomon.h, CERT_MAX_CERT_CHAIN).
    const STEPS_AT_MOST: usize = 20;
    let mut possible = sent.to_vec();
    possible.first()?;
    for _ in 0..STEPS_AT_MOST {
        let issuers: Vec<_> = possible.iter().filter_map(|der| x509::issuer(der)).collect();
        let is_next = |der: &&Vec<u8>| {
            !possible.contains(der) && x509::subject_name(der).is_some_and(|name| issuers.contains(&name))
        };
        let more: Vec<_> = stored.iter().filter(is_next).cloned().collect();
        if more.is_empty() {
            break;
        }
        possible.extend(more);
    }
    of(sent, &possible)
}

/// The origin of the certificates that are out of date, if there are any: one that the other side sent, or only our own copies.
fn out_of_date(sent: &[Vec<u8>], built: &[Vec<u8>]) -> Option<PeerChainExpired> {
    let now = OffsetDateTime::now_utc().unix_timestamp();
    let is_out = |der: &&Vec<u8>| x509::validity(der).is_some_and(|it| it.until < now || it.from > now);
    let out: Vec<&Vec<u8>> = built.iter().filter(is_out).collect();
    let is_root = |der: &&Vec<u8>| x509::is_signed_by(der, der);
    Some(match out.as_slice() {
        [] => return None,
        some if some.iter().any(|der| sent.contains(der)) => PeerChainExpired::Sent,
        some if some.iter().all(is_root) => PeerChainExpired::OurRoot,
        _ => PeerChainExpired::OurIntermediate,
    })
}

/// Whether a CA's certificate itself can make a chain below it invalid: by a path length, names or usages that it does not permit, or by an
/// extension that a library does not process.
fn restricts(der: &[u8]) -> bool {
    let Ok((_, ca)) = X509Certificate::from_der(der) else { return true };
    let usages = ca.extended_key_usage().ok().flatten();
    let has_path_length =
        ca.basic_constraints().ok().flatten().is_some_and(|it| it.value.path_len_constraint.is_some());
    let is_known = |oid: &Oid<'_>| PROCESSED.iter().any(|known| known == oid);
    !x509::is_ca(der)
        || has_path_length
        || usages.is_some_and(|it| !(it.value.any || it.value.server_auth && it.value.client_auth))
        || ca.name_constraints().ok().flatten().is_some()
        || ca.iter_extensions().any(|extension| extension.critical && !is_known(&extension.oid))
}
