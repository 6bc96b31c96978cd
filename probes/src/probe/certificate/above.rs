//! The CAs above our certificate: whether they exist, are in date and are trusted.

use nssight_diagnosis::fact::fact::{self, OwnChainState as Chain};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Notes, Outcome, Status, shell};
use nssight_nss::{Certificate, Trust, library};
use time::OffsetDateTime;

use super::{dates, stamp};
use crate::probe::nss_db;
use crate::profile::Profile;
use crate::target::Role;
use crate::walk::Walk;
use crate::x509;

/// The required flags of a trust anchor depend on the certificates that this host verifies.
fn anchors(role: Role, trust: Trust) -> bool {
    match role {
        Role::Client => trust.trusts_servers(),
        Role::Bridge => trust.trusts_clients(),
        Role::Server => trust.trusts_servers() && trust.trusts_clients(),
    }
}

/// A sentence about the chain above our certificate.
pub(super) struct Above {
    pub(super) state: Chain,
    pub(super) summary: String,
    /// The CA that lacks trust.
    pub(super) ca: Option<Certificate>,
}

/// The CA that issued our certificate usually also issued the peer's. `expired` is the position of an expired issuer.
pub(super) fn look_above(
    walk: &Walk<'_>,
    nickname: &str,
    chain: &[Certificate],
    expired: Option<usize>,
    notes: &mut Notes,
) -> Above {
    if let Some(expired) = expired.and_then(|place| chain.get(place + 1)) {
        let end = dates(expired).map(|(_, end)| stamp(end)).unwrap_or_default();
        return Above {
            state: Chain::CaExpired,
            summary: format!("the CA {} expired on {end}", expired.subject()),
            ca: None,
        };
    }
    let role = walk.target().role;
    let anchor = chain
        .iter()
        .enumerate()
        .find(|(depth, link)| anchors(role, link.trust()) || (*depth == 0 && link.trust().trusted_peer()));
    let is_distrusted = chain.iter().any(|link| link.trust().distrusted());
    if let Some((_, anchor)) = anchor.filter(|_| !is_distrusted) {
        let summary = format!("\"{nickname}\" is valid at this time and chains to {}", anchor.subject());
        return Above { state: Chain::Good, summary, ca: None };
    }
    let top = &chain[chain.len() - 1];
    if chain.len() == 1 && top.is_self_issued() {
        // Nothing above it could be trusted, and trust would make it a CA.
        let summary = format!("\"{nickname}\" is valid at this time, and self-signed");
        return Above { state: Chain::SelfSigned, summary, ca: None };
    }
    if let Some(above) = issuer_that_is_no_ca(walk, nickname, top, notes) {
        return above;
    }
    if !top.is_self_issued() {
        notes.put(fact::OWN_CHAIN_TROUBLE.text(top.issuer_name()));
        let (subject, issuer) = (top.subject(), top.issuer_name());
        // A CA that was created again keeps its name; NSS ignores it if the certificate identifies the key of its issuer.
        let stored = walk.slot().map(|slot| slot.certificates()).unwrap_or_default();
        let why = if stored.iter().any(|stored| stored.subject() == issuer) {
            format!("the {issuer} in the database has a different key from the issuer of the certificate")
        } else {
            format!("its issuer {issuer} is not in the database")
        };
        let summary = format!("the chain of \"{nickname}\" ends at {subject}: {why}");
        return Above { state: Chain::IssuerMissing, summary, ca: None };
    }
    if let Some(newer) = newer_trust(walk, top, role) {
        notes.put(fact::OWN_CHAIN_TRUST_ROWS.text(newer));
        let summary = format!("{} is trusted in a way that only NSS 3.114 and later can read", top.subject());
        return Above { state: Chain::TrustTooNew, summary, ca: None };
    }
    notes.put(fact::OWN_CHAIN_TROUBLE.text(top.subject()));
    let (flags, wanted) = (top.trust(), if role == Role::Bridge { "T" } else { "C" });
    let summary =
        format!("the CA {} is in the database with trust {flags}, but without the necessary {wanted}", top.subject());
    Above { state: Chain::Untrusted, summary, ca: Some(top.share()) }
}

/// NSS does not find an issuer that is a CA neither by its extensions nor by its trust, although the issuer is in the database.
fn issuer_that_is_no_ca(walk: &Walk<'_>, nickname: &str, top: &Certificate, notes: &mut Notes) -> Option<Above> {
    if top.is_self_issued() {
        return None;
    }
    let (der, stored) = (top.der(), walk.slot()?.certificates());
    let issuer = stored
        .iter()
        .find(|stored| stored.subject() == top.issuer_name() && x509::is_signed_by(&der, &stored.der()))?;
    let subject = issuer.subject();
    notes.put(fact::OWN_CHAIN_TROUBLE.text(&subject));
    if !issuer.is_self_issued() {
        let summary = format!("the chain of \"{nickname}\" is invalid: its issuer {subject} is not a CA");
        return Some(Above { state: Chain::Invalid, summary, ca: None });
    }
    if let Some(newer) = newer_trust(walk, issuer, walk.target().role) {
        notes.put(fact::OWN_CHAIN_TRUST_ROWS.text(newer));
        let summary = format!("{subject} is trusted in a way that only NSS 3.114 and later can read");
        return Some(Above { state: Chain::TrustTooNew, summary, ca: None });
    }
    let summary = format!(
        "the CA {subject} is in the database with trust {}; it has no basic constraints, so only trust makes it a CA",
        issuer.trust()
    );
    Some(Above { state: Chain::Untrusted, summary, ca: Some(issuer.share()) })
}

/// A client only needs the CA of its peer. As long as another CA is trusted, the peer may well be accepted, so this is only a warning; the
/// handshake decides.
pub(super) fn without_trust(
    walk: &Walk<'_>,
    chain: &[Certificate],
    above: Above,
    now: OffsetDateTime,
    mut notes: Notes,
) -> Outcome {
    let role = walk.target().role;
    let others = walk.slot().map(|slot| slot.certificates()).unwrap_or_default();
    let other = others.iter().find(|other| {
        let peer = other.trust().trusted_peer() && other.der() != chain[0].der();
        let in_date = dates(other).is_some_and(|(start, end)| start <= now && now <= end);
        in_date && (anchors(role, other.trust()) || peer)
    });
    let other = match other {
        Some(other) => Some(other.subject()),
        None => library::has_root_certs().then(|| "a module with public root certificates".to_owned()),
    };
    let (text, command) = remedy(walk, &above, &chain[chain.len() - 1]);
    let outcome = match other {
        Some(other) => {
            notes.put(fact::OWN_CHAIN_OTHER_TRUSTED_CA.text(other));
            notes.warn(signal::CERTIFICATE_REMARK, above.summary)
        }
        // Any peer may have a certificate of another CA than ours. The peer's chain shows which CA this database lacks.
        None if role == Role::Client && walk.target().profile() == Profile::Tls => {
            let summary = format!("{}, and the database trusts no other CA", above.summary);
            if walk.connects {
                notes.warn(signal::CERTIFICATE_REMARK, summary)
            } else {
                notes.fail(signal::NOTHING_TRUSTED, summary)
            }
        }
        None => notes.fail(signal::CERTIFICATE_UNUSABLE, above.summary),
    };
    // A client's own CA needs no trust; only the CA of its peer does.
    match outcome.status() {
        Status::Warn if role == Role::Client && walk.target().profile() == Profile::Tls => outcome,
        _ => outcome.remedy(text, command),
    }
}

fn remedy(walk: &Walk<'_>, above: &Above, top: &Certificate) -> (String, Option<String>) {
    let database = shell::quote(&walk.target().argument().display().to_string());
    if above.state == Chain::CaExpired {
        let text = "Import the renewed certificate of the CA beside the expired certificate. While the database trusts another CA, the handshake may still succeed";
        return (text.to_owned(), None);
    }
    if let Some(ca) = above.ca.as_ref().filter(|ca| ca.trust().distrusted()) {
        let text = format!("{} is explicitly distrusted (p): find out why before you change the trust", ca.subject());
        return (text, None);
    }
    if let Some(ca) = &above.ca {
        let nickname = shell::quote(&ca.nickname().unwrap_or_else(|| ca.subject()));
        let command = format!("certutil -M -d {database} -n {nickname} -t CT,C,C");
        return ("Back up the database, then trust the CA for TLS".to_owned(), Some(command));
    }
    let command = format!("certutil -A -d {database} -n <CA-NICKNAME> -t CT,C,C -i <CA.pem>");
    (
        format!(
            "Get the certificate of {} from the operators of that CA, and import the certificate",
            top.issuer_name()
        ),
        Some(command),
    )
}

/// Trust that newer NSS wrote as PKCS#11 trust objects, which older NSS cannot see.
fn newer_trust(walk: &Walk<'_>, ca: &Certificate, role: Role) -> Option<String> {
    if nss_db::nss_is_at_least((3, 114)) {
        return None;
    }
    let database = nss_db::open_natively(walk)?;
    let der = ca.der();
    let entry = database.certificates.iter().find(|entry| entry.der == der)?;
    let letters = entry.trust.letters();
    let needed = if role == Role::Bridge { 'T' } else { 'C' };
    let there = letters.split(',').next().is_some_and(|ssl| ssl.contains(needed));
    (there && database.generation.pkcs11_trust > 0)
        .then(|| format!("{} PKCS#11 trust objects; this CA has {letters} there", database.generation.pkcs11_trust))
}
