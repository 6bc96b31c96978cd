//! The document of `nssight db compare`: what differs between two databases, and what follows from it.

use std::collections::{BTreeSet, HashMap, HashSet};

use nssight_nssdb::{Algorithm, Certificate, Database, FileState, PasswordState, PrivateKey, TrustSource};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::difference::{Difference, Gravity, Held, Kind};
use crate::facts::hex;
use crate::load;
use crate::moved::Moved;
use crate::views::{key_kind, scheme};
use crate::{succession, trust};

/// The schema's name.
pub(crate) const SCHEMA: &str = "nssight/db-compare/1";

/// The document, schema `nssight/db-compare/1`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Comparison {
    pub(crate) schema: &'static str,
    /// The first database.
    pub a: Side,
    /// The second database, or PEM files.
    pub b: Side,
    /// Certificates that are in both, by fingerprint.
    pub in_both: usize,
    /// Whether both have the same password.
    pub password: PasswordComparison,
    /// The differences, the most serious first. If this list is empty, both databases have the same content.
    pub differences: Vec<Difference>,
    /// If the second side is PEM files: the result for each certificate of the database. Empty for two databases.
    pub moved: Vec<Moved>,
    /// A part of one database was unreadable, so there may be more or fewer differences.
    pub partial: bool,
    /// Damage, each with its side, file and place.
    pub problems: Vec<String>,
}

/// One of the two databases.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Side {
    /// Path of the directory, or of the files.
    pub directory: String,
    /// `sql`, `dbm` or `pem`.
    pub format: String,
    /// Number of certificates.
    pub certificates: usize,
    /// Number of private keys.
    pub private_keys: usize,
}

/// Whether both databases have the same password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordComparison {
    /// The same password unlocks both databases.
    Same,
    /// The passwords differ.
    Different,
    /// A password is unknown.
    Unknown,
    /// PEM files have none.
    NotCompared,
}

impl Comparison {
    /// Compares two databases; with passwords, those too.
    pub fn of(databases: [&Database; 2], passwords: [Option<&[u8]>; 2], now: OffsetDateTime) -> Self {
        let [a, b] = databases;
        let (mut differences, mut in_both) = (Vec::new(), 0);
        let mut left: [Vec<Held<'_>>; 2] = [Vec::new(), Vec::new()];
        let [of_a, of_b] = databases.map(by_der);
        for certificate in &a.certificates {
            let here = held(&of_a.1, certificate);
            match of_b.0.get(certificate.der.as_slice()) {
                Some(there) => {
                    in_both += 1;
                    same_certificate(here, held(&of_b.1, there), &mut differences);
                }
                None => left[0].push(here),
            }
        }
        let absent = b.certificates.iter().filter(|certificate| !of_a.0.contains_key(certificate.der.as_slice()));
        left[1].extend(absent.map(|certificate| held(&of_b.1, certificate)));
        succession::pair(&mut left, now, &mut differences);
        for (held, side) in
            left[0].iter().map(|held| (held, Kind::OnlyInA)).chain(left[1].iter().map(|held| (held, Kind::OnlyInB)))
        {
            differences.push(only(*held, side));
        }
        keys_alone(databases, &mut differences);
        revocations(databases, &mut differences);
        let password = password(databases, passwords);
        if password == PasswordComparison::Different {
            differences.push(Difference {
                kind: Kind::PasswordDiffers,
                gravity: Gravity::Notable,
                name: "password".to_owned(),
                sha256: None,
                a: Some(state(&a.password)),
                b: Some(state(&b.password)),
                consequence: "a client with the password of A cannot use the keys of B".to_owned(),
            });
        }
        differences.extend(salt(databases));
        differences.sort_by(|one, other| (one.gravity, &one.name).cmp(&(other.gravity, &other.name)));
        Self {
            schema: SCHEMA,
            a: side(a),
            b: side(b),
            in_both,
            password,
            differences,
            moved: Vec::new(),
            partial: a.partial || b.partial,
            problems: problems("A", a).chain(problems("B", b)).collect(),
        }
    }
}

pub(crate) fn side(database: &Database) -> Side {
    Side {
        directory: database.directory.display().to_string(),
        format: database.format.to_string(),
        certificates: database.certificates.len(),
        private_keys: database.private_keys.len(),
    }
}

pub(crate) fn problems<'a>(side: &'a str, database: &'a Database) -> impl Iterator<Item = String> + 'a {
    let files = [&database.certificate_file, &database.key_file].into_iter().filter_map(|state| match state {
        FileState::Failed(error) => Some(error.to_string()),
        FileState::Read | FileState::Partial => None,
    });
    files.chain(database.problems.iter().map(ToString::to_string)).map(move |problem| format!("{side}: {problem}"))
}

type Certificates<'a> = HashMap<&'a [u8], &'a Certificate>;
type Keys<'a> = HashMap<&'a [u8], &'a PrivateKey>;

fn by_der(database: &Database) -> (Certificates<'_>, Keys<'_>) {
    (
        database.certificates.iter().map(|certificate| (certificate.der.as_slice(), certificate)).collect(),
        database.private_keys.iter().map(|key| (key.cka_id.as_slice(), key)).collect(),
    )
}

fn held<'a>(keys: &Keys<'a>, certificate: &'a Certificate) -> Held<'a> {
    let key = certificate.has_private_key.then(|| keys.get(certificate.cka_id.as_slice()).copied()).flatten();
    Held { certificate, key }
}

/// NSS since 3.118 hashes the password with SHA-384 under 48 bytes of salt, which an older NSS reports as a wrong password, whatever
/// is typed.
fn salt(databases: [&Database; 2]) -> Option<Difference> {
    const SALT_OF_3_118: usize = 48;
    let length = |database: &Database| match database.password {
        PasswordState::Set { salt_length, .. } => Some(salt_length),
        _ => None,
    };
    let [Some(a), Some(b)] = databases.map(length) else { return None };
    let newer = match (a == SALT_OF_3_118, b == SALT_OF_3_118) {
        (true, false) => "A",
        (false, true) => "B",
        _ => return None,
    };
    let shown = |length: usize| Some(format!("{length} bytes of salt"));
    Some(Difference {
        kind: Kind::SaltDiffers,
        gravity: Gravity::Grave,
        name: "password".to_owned(),
        sha256: None,
        a: shown(a),
        b: shown(b),
        consequence: format!("NSS before 3.118 rejects the right password of {newer}, so its keys cannot be used"),
    })
}

/// The same certificate on both sides: its name, its trust, its key.
fn same_certificate(a: Held<'_>, b: Held<'_>, differences: &mut Vec<Difference>) {
    let mut add = |kind, gravity, a_has: Option<String>, b_has: Option<String>, consequence: String| {
        let sha256 = Some(a.sha256());
        differences.push(Difference { kind, gravity, name: a.name(), sha256, a: a_has, b: b_has, consequence });
    };
    let quoted = |names: BTreeSet<&str>| {
        if names.is_empty() {
            "no nickname".to_owned()
        } else {
            names.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ")
        }
    };
    if a.nicknames() != b.nicknames() {
        let (first, second) = (quoted(a.nicknames()), quoted(b.nicknames()));
        let consequence = if a.nicknames().is_empty() {
            format!(
                "in A the certificate has no nickname, so no configuration can name it; in B its nickname is {second}"
            )
        } else {
            format!("a configuration with the nickname {first} does not find the certificate in B")
        };
        let gravity = if a.key.is_some() || b.key.is_some() { Gravity::Grave } else { Gravity::Notable };
        add(Kind::NicknameDiffers, gravity, Some(first), Some(second), consequence);
    }
    let (here, there) = (a.certificate.trust, b.certificate.trust);
    if here.letters() != there.letters() {
        let (consequence, gravity) = trust::consequence(&here, &there);
        add(Kind::TrustDiffers, gravity, Some(here.letters()), Some(there.letters()), consequence);
    } else if (here.source == TrustSource::Pkcs11Trust) != (there.source == TrustSource::Pkcs11Trust) {
        let newer = if here.source == TrustSource::Pkcs11Trust { "A" } else { "B" };
        let consequence = format!("NSS before 3.114 does not read the trust settings in {newer}");
        let shown = |trust: nssight_nssdb::Trust| match trust.source {
            TrustSource::Pkcs11Trust => "object of NSS 3.114 and later".to_owned(),
            TrustSource::NssTrust => "object of all versions of NSS".to_owned(),
            TrustSource::Dbm => "flags of a legacy database".to_owned(),
            TrustSource::None => "none".to_owned(),
        };
        add(Kind::TrustObjectDiffers, Gravity::Notable, Some(shown(here)), Some(shown(there)), consequence);
    }
    match (a.key, b.key) {
        (Some(_), None) => {
            let consequence = "with B nobody can authenticate with this certificate: its private key is missing";
            add(Kind::KeyOnlyInA, Gravity::Grave, Some("private key".to_owned()), None, consequence.to_owned());
        }
        (None, Some(_)) => {
            let consequence = "with A nobody can authenticate with this certificate: its private key is missing";
            add(Kind::KeyOnlyInB, Gravity::Grave, None, Some("private key".to_owned()), consequence.to_owned());
        }
        (Some(first), Some(second)) if first.encryption != second.encryption => {
            let (first, second) = (strength(&first.encryption), strength(&second.encryption));
            let consequence = "the same key is encrypted differently; every NSS that opens the databases can read both";
            add(Kind::KeyEncryptionDiffers, Gravity::Note, Some(first), Some(second), consequence.to_owned());
        }
        _ => {}
    }
}

fn strength(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Pbes2Aes256 { iterations } | Algorithm::NssPbe3Des { iterations } => {
            format!("{}, {iterations} iterations", scheme(algorithm))
        }
        Algorithm::Other(_) => scheme(algorithm),
    }
}

/// A certificate that has no counterpart on the other side.
fn only(held: Held<'_>, kind: Kind) -> Difference {
    let (has, lacks) = if kind == Kind::OnlyInA { ("A", "B") } else { ("B", "A") };
    let trust = held.certificate.trust;
    let (gravity, consequence) = match (held.key, trust.ssl.is_trusted_ca(), trust.ssl.is_distrusted()) {
        (Some(_), ..) => (Gravity::Grave, format!("with {lacks} nobody can authenticate as {}", held.name())),
        (None, true, _) => (
            Gravity::Grave,
            format!("with {lacks} every server certificate from this CA is rejected, because its issuer is unknown"),
        ),
        (None, _, true) => (
            Gravity::Grave,
            format!("{has} distrusts the certificate; with {lacks}, its issuer decides whether it is trusted"),
        ),
        (None, false, false) => (
            Gravity::Notable,
            format!("with {lacks} chains through this CA are incomplete, unless the peer sends the CA certificate"),
        ),
    };
    let shown =
        format!("trust \"{}\"{}", trust.letters(), if held.key.is_some() { ", with its private key" } else { "" });
    let (a, b) = if kind == Kind::OnlyInA { (Some(shown), None) } else { (None, Some(shown)) };
    Difference { kind, gravity, name: held.name(), sha256: Some(held.sha256()), a, b, consequence }
}

/// Private keys that belong to no certificate of their side.
fn keys_alone(databases: [&Database; 2], differences: &mut Vec<Difference>) {
    let owned = |database: &'_ Database| -> HashSet<Vec<u8>> {
        let with_key = database.certificates.iter().filter(|certificate| certificate.has_private_key);
        with_key.map(|certificate| certificate.cka_id.clone()).collect()
    };
    let all = |database: &'_ Database| -> HashSet<Vec<u8>> {
        database.private_keys.iter().map(|key| key.cka_id.clone()).collect()
    };
    for (side, other, kind) in [(0, 1, Kind::KeyOnlyInA), (1, 0, Kind::KeyOnlyInB)] {
        let (owned, others) = (owned(databases[side]), all(databases[other]));
        let alone = databases[side].private_keys.iter();
        for key in alone.filter(|key| !owned.contains(&key.cka_id) && !others.contains(&key.cka_id)) {
            let nickname = key.nickname.as_ref().map(|nickname| nickname.text.clone());
            let shown = Some(format!("{} key without certificate", key_kind(key.kind)));
            let (a, b) = if side == 0 { (shown, None) } else { (None, shown) };
            differences.push(Difference {
                kind,
                gravity: Gravity::Notable,
                name: nickname.unwrap_or_else(|| hex(&key.cka_id)),
                sha256: None,
                a,
                b,
                consequence:
                    "if a requested certificate for this key is not imported yet, the import works only on the side that has the key"
                        .to_owned(),
            });
        }
    }
}

fn revocations(databases: [&Database; 2], differences: &mut Vec<Difference>) {
    let all =
        |database: &'_ Database| -> HashSet<Vec<u8>> { database.crls.iter().map(|list| list.der.clone()).collect() };
    for (side, other, kind) in [(0, 1, Kind::CrlOnlyInA), (1, 0, Kind::CrlOnlyInB)] {
        let others = all(databases[other]);
        for list in databases[side].crls.iter().filter(|list| !others.contains(&list.der)) {
            let shown = Some(format!("revocation list of {} bytes", list.der.len()));
            let (a, b) = if side == 0 { (shown, None) } else { (None, shown) };
            let (sha256, name) = (Some(hex(&openssl::sha::sha256(&list.der))), "revocation list".to_owned());
            let consequence = "only the side with this list rejects the certificates in it".to_owned();
            differences.push(Difference { kind, gravity: Gravity::Notable, name, sha256, a, b, consequence });
        }
    }
}

fn state(password: &PasswordState) -> String {
    match password {
        PasswordState::NotInitialised => "never set",
        PasswordState::Empty => "empty",
        PasswordState::Set { .. } => "set",
        PasswordState::Unreadable(_) => "unreadable",
    }
    .to_owned()
}

fn password(databases: [&Database; 2], given: [Option<&[u8]>; 2]) -> PasswordComparison {
    use PasswordComparison::{Different, Same, Unknown};
    let [a, b] = databases;
    let set = |database: &Database| matches!(database.password, PasswordState::Set { .. });
    match (&a.password, &b.password) {
        (PasswordState::Unreadable(_), _) | (_, PasswordState::Unreadable(_)) => return Unknown,
        (one, other) if !(set(a) && set(b)) => {
            return if std::mem::discriminant(one) == std::mem::discriminant(other) { Same } else { Different };
        }
        _ => {}
    }
    if a.has_password_record_of(b) {
        return Same;
    }
    let opens = |database: &Database, password: Option<&[u8]>| password.is_some_and(|it| load::opens(database, it));
    match (opens(a, given[0]), opens(b, given[1])) {
        (true, true) if given[0] == given[1] => Same,
        (true, true) => Different,
        // The password that unlocks one database was tried on the other too.
        (true, false) if given[0] == given[1] => Different,
        (false, true) if given[0] == given[1] => Different,
        (true, false) if !opens(b, given[0]) => Different,
        (false, true) if !opens(a, given[1]) => Different,
        _ => Unknown,
    }
}
