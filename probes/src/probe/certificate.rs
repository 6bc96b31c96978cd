//! `certificate`: is the nickname there, in date, chained to a trusted CA, usable for a TLS client?

use nssight_nss::{Certificate, ChainError, ErrorCode, Trust, Usage, library};
use time::OffsetDateTime;

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::plan::Probe;
use crate::probe::nss_db;
use crate::shell;
use crate::target::Role;
use crate::vocabulary::{Confidence, Layer};
use crate::walk::Walk;

/// Certificates are readable without a login.
pub const PROBE: Probe = Probe {
    layer: Layer::Certificate,
    needs: &[Layer::Config, Layer::Environment, Layer::NssDb],
    causes: &[
        Cause::CertNotFound,
        Cause::CertNicknameNearMiss,
        Cause::CertExpired,
        Cause::CertNotYetValid,
        Cause::CertWrongUsage,
        Cause::CertWeakPolicy,
        Cause::CaMissing,
        Cause::CaUntrusted,
        Cause::CaExpired,
        Cause::TrustTooNew,
        Cause::DbMixedFormats,
        Cause::DbCorrupt,
        Cause::ClockSkew,
    ],
    run,
};

/// Key of the fact that names the issuer which our chain lacks or which is not trusted.
pub(crate) const CHAIN_TROUBLE: &str = "chain trouble";

fn run(walk: &mut Walk<'_>) -> Outcome {
    let notes = Notes::default();
    let Some(nss) = walk.nss.clone() else {
        return notes.fail(Cause::CertNotFound, Confidence::Possible, "NSS is not initialised");
    };
    let Some(nickname) = walk.target().nickname.as_ref().map(|nickname| nickname.value.as_str()) else {
        return notes.pass("no nickname was given: the walk goes on without a client certificate");
    };
    match Certificate::find(nickname, &nss) {
        Ok(certificate) => {
            let chain = certificate.chain();
            let outcome = judge(walk, nickname, &certificate, &chain, notes);
            walk.certificate = Some(certificate);
            walk.chain = chain;
            walk.meet_own();
            outcome
        }
        Err(error) => not_found(walk, nickname, notes).error(&error),
    }
}

fn judge(
    walk: &Walk<'_>,
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    mut notes: Notes,
) -> Outcome {
    notes.add("subject", certificate.subject());
    notes.add("issuer", certificate.issuer_name());
    notes.add("trust", certificate.trust());
    notes.add("chain", chain.iter().map(link).collect::<Vec<_>>().join(" <- "));
    let now = OffsetDateTime::now_utc();
    if let Some(dates) = dates(certificate) {
        let days = (dates.1 - now).whole_days();
        notes.add("valid", format!("{} to {} ({days} days left)", stamp(dates.0), stamp(dates.1)));
        notes.add("clock", stamp(now));
        if now < dates.0 {
            return not_yet_valid(chain, nickname, dates.0, now, notes);
        }
        if now > dates.1 {
            let summary = format!("\"{nickname}\" expired on {}", stamp(dates.1));
            return notes.fail(Cause::CertExpired, Confidence::Certain, summary);
        }
    }
    if let Some(expired) = chain.iter().skip(1).find(|ca| dates(ca).is_some_and(|(_, end)| now > end)) {
        let end = dates(expired).map(|(_, end)| stamp(end)).unwrap_or_default();
        let summary = format!("the CA {} expired on {end}", expired.subject());
        return notes.fail(Cause::CaExpired, Confidence::Certain, summary);
    }
    let objections = usages(walk.target().role).iter().flat_map(|usage| certificate.verify(*usage)).collect::<Vec<_>>();
    for objection in &objections {
        let place = match objection.depth {
            0 => "the certificate".to_owned(),
            depth => format!("its issuer {depth} up"),
        };
        notes.add("NSS objects", format!("{} to {place} ({})", objection.error.name, objection.subject));
    }
    match usage_trouble(nickname, certificate, &objections) {
        Some((cause, summary)) => notes.fail(cause, Confidence::Certain, summary),
        None => trust(walk, nickname, chain, notes),
    }
}

fn usages(role: Role) -> &'static [Usage] {
    match role {
        Role::Client => &[Usage::SslClient],
        Role::Bridge => &[Usage::SslServer],
        Role::Server => &[Usage::SslClient, Usage::SslServer],
    }
}

/// What NSS has against the certificate itself, whoever issued it.
fn usage_trouble(nickname: &str, certificate: &Certificate, objections: &[ChainError]) -> Option<(Cause, String)> {
    let own = |code: ErrorCode| objections.iter().any(|it| it.depth == 0 && it.error.code == code);
    if own(ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE) || own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) {
        let what = if own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) { "key usage" } else { "extended key usage" };
        return Some((
            Cause::CertWrongUsage,
            format!("the {what} of \"{nickname}\" does not allow what this role does"),
        ));
    }
    if own(ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED) {
        let summary = format!("\"{nickname}\" is signed with an algorithm that NSS's policy refuses");
        return Some((Cause::CertWeakPolicy, summary));
    }
    // Only RSA and DH keys have a least size in the policy; every EC curve NSS knows is longer than 127 bits.
    let (bits, least) = (certificate.key_bits(), library::policy_limits().rsa_min?);
    let too_small = bits >= 256 * 2 && i64::from(bits) < i64::from(least);
    too_small.then(|| {
        let summary = format!("the key of \"{nickname}\" has {bits} bits, NSS's policy wants at least {least}");
        (Cause::CertWeakPolicy, summary)
    })
}

/// Which flags an anchor needs depends on whose certificates this host judges.
fn anchors(role: Role, trust: Trust) -> bool {
    match role {
        Role::Client => trust.trusts_servers(),
        Role::Bridge => trust.trusts_clients(),
        Role::Server => trust.trusts_servers() && trust.trusts_clients(),
    }
}

/// The CA that issued our certificate is, as a rule, the one that the peer's certificate comes from.
fn trust(walk: &Walk<'_>, nickname: &str, chain: &[Certificate], mut notes: Notes) -> Outcome {
    let role = walk.target().role;
    let anchored = chain
        .iter()
        .enumerate()
        .find(|(depth, link)| anchors(role, link.trust()) || (*depth == 0 && link.trust().trusted_peer()));
    let top = &chain[chain.len() - 1];
    if let Some((_, anchor)) = anchored {
        let distrusted = chain.iter().find(|link| link.trust().distrusted());
        if distrusted.is_none() {
            return notes.pass(format!("\"{nickname}\" is in date and chains to {}", anchor.subject()));
        }
    }
    let (cause, summary) = if top.is_self_issued() {
        let flags = top.trust();
        let wanted = if role == Role::Bridge { "T" } else { "C" };
        if let Some(newer) = newer_trust(walk, top, role) {
            notes.add("trust rows", newer);
            let summary = format!("{} is trusted in a way that only NSS 3.114 and later can read", top.subject());
            return notes.fail(Cause::TrustTooNew, Confidence::Certain, summary);
        }
        notes.add(CHAIN_TROUBLE, top.subject());
        let summary =
            format!("the CA {} is in the database with trust {flags}, without the {wanted} it needs", top.subject());
        (Cause::CaUntrusted, summary)
    } else {
        notes.add(CHAIN_TROUBLE, top.issuer_name());
        let summary = format!(
            "the chain of \"{nickname}\" ends at {}: its issuer {} is not in the database",
            top.subject(),
            top.issuer_name()
        );
        (Cause::CaMissing, summary)
    };
    // A client only needs the CA of its peer. While another CA is trusted, the peer may well be judged good, and this
    // is a warning; the handshake decides.
    let others = walk.slot.as_ref().map(|slot| slot.certificates()).unwrap_or_default();
    let other = others.iter().find(|other| {
        let peer = other.trust().trusted_peer() && other.der() != chain[0].der();
        anchors(role, other.trust()) || peer
    });
    let remedy = remedy(walk, cause, top);
    let outcome = match other {
        Some(other) => {
            notes.add("other trusted CA", other.subject());
            notes.warn(cause, summary)
        }
        None if library::has_root_certs() => {
            notes.add("other trusted CA", "a module with public root certificates");
            notes.warn(cause, summary)
        }
        None => notes.fail(cause, Confidence::Certain, summary),
    };
    outcome.remedy(remedy.0, remedy.1)
}

fn remedy(walk: &Walk<'_>, cause: Cause, top: &Certificate) -> (String, Option<String>) {
    let database = shell::quote(&walk.target().database.value.argument.display().to_string());
    if cause == Cause::CaUntrusted {
        let nickname = shell::quote(&top.nickname().unwrap_or_else(|| top.subject()));
        let command = format!("certutil -M -d {database} -n {nickname} -t CT,C,C");
        return ("Trust the CA for TLS, after a copy of the database was put aside".to_owned(), Some(command));
    }
    let command = format!("certutil -A -d {database} -n <CA-NICKNAME> -t CT,C,C -i <CA.pem>");
    (format!("Get the certificate of {} from whoever runs it and import it", top.issuer_name()), Some(command))
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

/// A whole chain from the future says more about the clock than about certificates.
fn not_yet_valid(
    chain: &[Certificate],
    nickname: &str,
    start: OffsetDateTime,
    now: OffsetDateTime,
    notes: Notes,
) -> Outcome {
    let ca_too = chain.len() > 1 && chain.iter().skip(1).all(|ca| dates(ca).is_some_and(|(start, _)| now < start));
    if ca_too {
        let summary =
            format!("\"{nickname}\" and its CA are both valid only from {} on: the clock is behind", stamp(start));
        return notes.fail(Cause::ClockSkew, Confidence::Likely, summary);
    }
    let summary = format!("\"{nickname}\" is valid only from {} on, the clock says {}", stamp(start), stamp(now));
    notes.fail(Cause::CertNotYetValid, Confidence::Certain, summary)
}

fn link(certificate: &Certificate) -> String {
    format!("{} ({})", certificate.subject(), certificate.trust())
}

fn dates(certificate: &Certificate) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let at = |micros: i64| OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).ok();
    let (start, end) = certificate.validity().ok()?;
    Some((at(start)?, at(end)?))
}

fn stamp(time: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.format(format).unwrap_or_else(|_| time.to_string())
}

fn not_found(walk: &Walk<'_>, wanted: &str, mut notes: Notes) -> Outcome {
    let present = walk.slot.as_ref().map(|slot| slot.certificates()).unwrap_or_default();
    let nicknames: Vec<String> = present.iter().filter_map(Certificate::nickname).collect();
    if let Some(elsewhere) = nss_db::other_format_has(walk, wanted) {
        notes.add("other format", &elsewhere);
        let summary = format!("\"{wanted}\" is not in the database that NSS reads, but {elsewhere}");
        return notes.fail(Cause::DbMixedFormats, Confidence::Certain, summary);
    }
    notes.add("certificates in the database", nicknames.len());
    if let Some(native) = nss_db::open_natively(walk) {
        let file = native.format.certificate_file();
        if native.certificates.iter().any(|entry| entry.nicknames.iter().any(|name| name.text == wanted)) {
            notes.add("second opinion", format!("read without NSS, {file} has it under just this nickname"));
            if let Some((token, _)) = wanted.split_once(':') {
                return token_looked_for(wanted, token, file, notes);
            }
            return index_trouble(
                file,
                format!("\"{wanted}\" is in {file}, yet NSS does not find it by its nickname"),
                notes,
            );
        }
        if !native.partial {
            notes.add("second opinion", format!("read without NSS, {file} does not have it either"));
        }
    }
    let near: Vec<String> = present
        .iter()
        .filter_map(|certificate| {
            let nickname = certificate.nickname()?;
            let how = near_miss(wanted, &nickname, &certificate.subject())?;
            Some(format!("\"{nickname}\" ({how})"))
        })
        .collect();
    if !near.is_empty() {
        for candidate in near.iter().take(5) {
            notes.add("near miss", candidate);
        }
        let summary = format!("there is no \"{wanted}\", but there is {}", near[0]);
        return notes.fail(Cause::CertNicknameNearMiss, Confidence::Certain, summary);
    }
    for nickname in nicknames.iter().take(10) {
        notes.add("nickname", nickname);
    }
    let summary = format!("there is no certificate with the nickname \"{wanted}\" in this database");
    notes.fail(Cause::CertNotFound, Confidence::Certain, summary)
}

/// NSS takes "token:nickname" apart before it looks (pk11cert.c, find_certs_from_nickname).
fn token_looked_for(wanted: &str, token: &str, file: &str, notes: Notes) -> Outcome {
    let summary =
        format!("\"{wanted}\" is in {file}, but NSS takes \"{token}\" for the name of a token, which does not exist");
    let remedy = "Import the certificate and its key again, under a nickname without a colon";
    notes.fail(Cause::CertNotFound, Confidence::Certain, summary).remedy(remedy, None)
}

/// What is in the rows of a file is not found through its index: NSS searches an index, the second opinion reads the rows.
/// Nothing else was seen to make the two disagree, but the tool cannot look into NSS's search.
pub(crate) fn index_trouble(file: &str, summary: String, notes: Notes) -> Outcome {
    let outcome = notes.fail(Cause::DbCorrupt, Confidence::Likely, summary);
    match file {
        "cert9.db" | "key4.db" => outcome.remedy(
            format!("On a copy of the directory, let SQLite build the indexes of {file} anew, and diagnose the copy"),
            Some(format!("sqlite3 COPY/{file} REINDEX")),
        ),
        _ => outcome,
    }
}

/// How a nickname differs from the one wanted, if it is close.
fn near_miss(wanted: &str, present: &str, subject: &str) -> Option<&'static str> {
    let unspaced = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !"-_".contains(*c)).collect::<String>();
    let after_token = |text: &str| text.rsplit_once(':').map(|(_, name)| name.to_owned());
    if wanted.to_lowercase() == present.to_lowercase() {
        return Some("upper and lower case differ");
    }
    if wanted.trim() == present.trim() {
        return Some("blanks before or after it differ");
    }
    if after_token(wanted).as_deref() == Some(present) || after_token(present).as_deref() == Some(wanted) {
        return Some("the token name before it differs");
    }
    if unspaced(&wanted.to_lowercase()) == unspaced(&present.to_lowercase()) {
        return Some("blanks, dashes or case differ");
    }
    let common_name = subject.split(',').find_map(|part| part.trim().strip_prefix("CN="));
    if common_name.is_some_and(|name| name.eq_ignore_ascii_case(wanted)) {
        return Some("its subject has that name");
    }
    (wanted.chars().count() > 4 && edits(wanted, present) <= 2).then_some("spelled almost the same")
}

/// Levenshtein distance; nicknames are short, and longer ones are not compared.
fn edits(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().take(200).collect(), b.chars().take(200).collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, from) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::near_miss;

    #[test]
    fn near_misses_are_named() {
        let rows = [
            ("sigul-client-cert", "Sigul-Client-Cert", "upper and lower case differ"),
            ("sigul-client-cert", " sigul-client-cert", "blanks before or after it differ"),
            ("NSS Certificate DB:client", "client", "the token name before it differs"),
            ("sigul client cert", "sigul-client-cert", "blanks, dashes or case differ"),
            ("sigul-client-cert", "sigul-cleint-cert", "spelled almost the same"),
        ];
        for (wanted, present, how) in rows {
            assert_eq!(near_miss(wanted, present, "CN=other"), Some(how), "{wanted} / {present}");
        }
        assert_eq!(near_miss("alice", "x1", "CN=Alice,O=Lab"), Some("its subject has that name"));
        assert_eq!(near_miss("sigul-client-cert", "sigul-bridge-cert", "CN=bridge"), None);
        assert_eq!(near_miss("ca", "cb", "CN=ca2"), None);
    }
}
