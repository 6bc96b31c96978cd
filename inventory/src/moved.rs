//! A database beside PEM files: what became of each of its certificates.

use std::collections::HashSet;

use nssight_nssdb::{Certificate, Database};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::compare::{Comparison, PasswordComparison, SCHEMA, Side, problems, side};
use crate::difference::{Difference, Gravity, Held, Kind};
use crate::facts::{Facts, hex, stamp};
use crate::pem::PemFiles;

/// The result for one certificate of the database.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Moved {
    /// Nickname, or the subject where there is none.
    pub name: String,
    /// The fingerprint of the certificate.
    pub sha256: String,
    /// The matching content of the files.
    pub fate: Fate,
    /// The files that contain this certificate.
    pub files: Vec<String>,
    /// The file with the private key of the certificate; absent if no file has it.
    pub key_file: Option<String>,
}

/// The content of the files that matches a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Fate {
    /// The same certificate.
    SameCertificate,
    /// Another certificate for the same key.
    SameKey,
    /// Another certificate of the same subject, for another key.
    SameSubject,
    /// No matching certificate.
    Missing,
}

/// A certificate of the files.
struct Filed<'a> {
    der: &'a [u8],
    facts: Facts,
    files: &'a [String],
}

impl Comparison {
    /// Compares a database, A, with PEM files, B. The files have no nicknames, no trust and no password of their own.
    pub fn with_files(database: &Database, files: &PemFiles, now: OffsetDateTime) -> Self {
        let all: Vec<Filed<'_>> = (files.certificates.iter())
            .filter_map(|(der, names)| Some(Filed { der, facts: Facts::of(der)?, files: names }))
            .collect();
        let (mut moved, mut differences, mut met) = (Vec::new(), Vec::new(), HashSet::new());
        for certificate in &database.certificates {
            let (fate, found) = fate(certificate, &all);
            met.extend(found.map(|found| found.der));
            let key_file = found.and_then(|found| files.key_of(&found.facts.public_key)).map(str::to_owned);
            let held = Held { certificate, key: None };
            differences.extend(of_certificate(&held, fate, found, now));
            differences.extend(of_key(&held, found, key_file.as_deref(), files));
            let names = found.map(|found| found.files.to_vec()).unwrap_or_default();
            moved.push(Moved { name: held.name(), sha256: held.sha256(), fate, files: names, key_file });
        }
        differences.extend(all.iter().filter(|filed| !met.contains(filed.der)).map(only_in_files));
        differences.sort_by(|one, other| (one.gravity, &one.name).cmp(&(other.gravity, &other.name)));
        let named: Vec<String> = files.named.iter().map(|path| path.display().to_string()).collect();
        Self {
            schema: SCHEMA,
            a: side(database),
            b: Side {
                directory: named.join(" "),
                format: "pem".to_owned(),
                certificates: files.certificates.len(),
                private_keys: files.keys.len() + files.locked.len(),
            },
            in_both: moved.iter().filter(|it| it.fate == Fate::SameCertificate).count(),
            password: PasswordComparison::NotCompared,
            differences,
            moved,
            partial: database.partial || !files.problems.is_empty(),
            problems: problems("A", database).chain(files.problems.iter().map(|it| format!("B: {it}"))).collect(),
        }
    }
}

/// What the files have for a certificate: itself, else the newest one for its key, else the newest one of its subject.
fn fate<'a>(certificate: &Certificate, all: &'a [Filed<'a>]) -> (Fate, Option<&'a Filed<'a>>) {
    if let Some(same) = all.iter().find(|filed| filed.der == certificate.der) {
        return (Fate::SameCertificate, Some(same));
    }
    let Some(own) = Facts::of(&certificate.der) else { return (Fate::Missing, None) };
    let newest = |fits: &dyn Fn(&Facts) -> bool| {
        all.iter().filter(|filed| fits(&filed.facts)).max_by_key(|filed| filed.facts.not_after)
    };
    let of_key = newest(&|facts| facts.public_key == own.public_key);
    let of_subject = || newest(&|facts| facts.names.subject == own.names.subject);
    match (of_key, of_key.or_else(of_subject)) {
        (Some(found), _) => (Fate::SameKey, Some(found)),
        (None, Some(found)) => (Fate::SameSubject, Some(found)),
        (None, None) => (Fate::Missing, None),
    }
}

fn shown(facts: &Facts) -> String {
    format!("{}, serial {}, to {}", facts.subject, facts.serial, stamp(facts.not_after))
}

fn of_certificate(held: &Held<'_>, fate: Fate, found: Option<&Filed<'_>>, now: OffsetDateTime) -> Option<Difference> {
    let certificate = held.certificate;
    let own = Facts::of(&certificate.der);
    let is_trusted = certificate.trust.ssl.is_trusted_ca();
    let difference = |kind, gravity, consequence: String| Difference {
        kind,
        gravity,
        name: held.name(),
        sha256: Some(held.sha256()),
        a: own.as_ref().map(shown),
        b: found.map(|found| shown(&found.facts)),
        consequence,
    };
    let (Some(own_facts), Some(other)) = (&own, found.map(|found| &found.facts)) else {
        let (gravity, consequence) = match (certificate.has_private_key, is_trusted) {
            (true, _) => (Gravity::Grave, format!("with B nobody can authenticate as {}", held.name())),
            (_, true) => (
                Gravity::Grave,
                "with B every certificate from this CA is rejected, because its issuer is unknown".to_owned(),
            ),
            _ => (
                Gravity::Notable,
                "with B chains through this CA are incomplete, unless the peer sends the CA certificate".to_owned(),
            ),
        };
        return Some(difference(Kind::OnlyInA, gravity, consequence));
    };
    if fate == Fate::SameCertificate {
        return None;
    }
    let kind = match own_facts.not_after.cmp(&other.not_after) {
        _ if own_facts.names.subject != other.names.subject => Kind::CertificateDiffers,
        std::cmp::Ordering::Less => Kind::RenewedInB,
        std::cmp::Ordering::Greater => Kind::RenewedInA,
        std::cmp::Ordering::Equal => Kind::CertificateDiffers,
    };
    let expired = if other.not_after < now { "; it has expired" } else { "" };
    let is_ca = own_facts.is_ca || other.is_ca;
    let (gravity, what) = match fate {
        Fate::SameKey if own_facts.names.subject != other.names.subject => {
            (Gravity::Grave, "B has the same key with another subject: to peers it is a different identity")
        }
        Fate::SameKey if is_ca => (
            Gravity::Notable,
            "B has another certificate for the same key; signatures by this key verify with both certificates",
        ),
        Fate::SameKey => (Gravity::Notable, "B has another certificate for the same key and subject"),
        _ if is_ca => (
            Gravity::Grave,
            "B has the same subject with another key: signatures by one key do not verify with the other key",
        ),
        _ => (
            Gravity::Notable,
            "B has the same subject with another key: a peer that expects the old certificate or key does not recognize it",
        ),
    };
    let gravity = if expired.is_empty() { gravity } else { Gravity::Grave };
    Some(difference(kind, gravity, format!("{what}{expired}")))
}

/// The private key of a certificate that has one in the database, or in the files.
fn of_key(held: &Held<'_>, found: Option<&Filed<'_>>, key_file: Option<&str>, files: &PemFiles) -> Option<Difference> {
    found?;
    let (kind, gravity, consequence) = match (held.certificate.has_private_key, key_file) {
        (true, None) if !files.locked.is_empty() => {
            let locked = files.locked.join(", ");
            let text = format!("unknown whether B has its private key: {locked} has a passphrase");
            (Kind::KeyOnlyInA, Gravity::Notable, text)
        }
        (true, None) => {
            let text = "with B nobody can authenticate with this certificate: its private key is missing";
            (Kind::KeyOnlyInA, Gravity::Grave, text.to_owned())
        }
        (false, Some(file)) => {
            let text = format!("{file} has its private key, but the database does not");
            (Kind::KeyOnlyInB, Gravity::Note, text)
        }
        _ => return None,
    };
    let private = || Some("private key".to_owned());
    let (a, b) = if kind == Kind::KeyOnlyInA { (private(), None) } else { (None, private()) };
    Some(Difference { kind, gravity, name: held.name(), sha256: Some(held.sha256()), a, b, consequence })
}

fn only_in_files(filed: &Filed<'_>) -> Difference {
    Difference {
        kind: Kind::OnlyInB,
        gravity: Gravity::Notable,
        name: filed.facts.subject.clone(),
        sha256: Some(hex(&openssl::sha::sha256(filed.der))),
        a: None,
        b: Some(format!("{}, in {}", shown(&filed.facts), filed.files.join(", "))),
        consequence: "the database contains neither this subject nor this key".to_owned(),
    }
}
