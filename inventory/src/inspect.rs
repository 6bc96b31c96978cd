//! The document of `nssight db inspect`: what is in a directory, how NSS treats it, and its oddities.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use nssight_nssdb::directory::{FileKind, Magic};
use nssight_nssdb::{
    Algorithm, Certificate, Database, Error, FileState, KeyKind, KeyMatch, PasswordState, PrivateKey, TrustSource,
    Unlocked,
};
use openssl::pkey::{Id, PKey, PKeyRef, Private, Public};
use openssl::x509::{X509, X509Crl};
use time::OffsetDateTime;

use crate::facts::{Facts, Names, hex, stamp};
use crate::load::{self, Loaded};
use crate::remarks;
use crate::views::{
    CertificateView, ChoiceView, CrlView, FileView, GenerationView, Inspection, KeyView, PasswordView, SignaturesView,
    key_kind, scheme,
};

/// Limit for decrypting keys and verifying signatures: each takes some key derivations, of which thousands fit into this time.
const BUDGET: Duration = Duration::from_secs(20);

impl Inspection {
    /// Describes a database; with a password, also what it decrypts.
    pub fn of(loaded: &Loaded, database: &Database, password: Option<&[u8]>, now: OffsetDateTime) -> Self {
        let certificates = certificates(database, now);
        let unlocked = unlock(database, password);
        let deadline = Instant::now() + BUDGET;
        let mut inspection = Self {
            schema: "nssight/db-inspect/1",
            directory: loaded.directory.display().to_string(),
            choice: ChoiceView {
                asked: loaded.choice.asked.to_string(),
                reads: loaded.choice.reads.map(|format| format.to_string()),
                error: loaded.choice.error,
                reason: loaded.choice.reason.clone(),
            },
            format: database.format.to_string(),
            files: loaded.inventory.files.iter().filter(|file| file.exists()).map(file).collect(),
            password: password_view(database, password),
            generation: GenerationView {
                certificate_columns: database.generation.certificate_columns,
                key_columns: database.generation.key_columns,
                pkcs11_trust: database.generation.pkcs11_trust,
                merged: database.generation.merged.clone(),
            },
            private_keys: keys(database, &certificates, unlocked.as_ref(), deadline),
            certificates,
            crls: database.crls.iter().map(|list| crl(&list.der, list.url.clone())).collect(),
            remarks: Vec::new(),
            signatures: unlocked
                .as_ref()
                .map(|unlocked| unlocked.verify_signatures(deadline.saturating_duration_since(Instant::now())))
                .filter(|report| report.good + report.bad + report.missing + report.unchecked > 0)
                .map(|report| SignaturesView {
                    good: report.good,
                    bad: report.bad,
                    missing: report.missing,
                    unchecked: report.unchecked,
                }),
            not_understood: database.not_understood.clone(),
            problems: database.problems.iter().map(ToString::to_string).collect(),
            partial: database.partial,
        };
        for state in [&database.certificate_file, &database.key_file] {
            if let FileState::Failed(error) = state {
                inspection.problems.push(error.to_string());
            }
        }
        inspection.remarks = remarks::of(&inspection, loaded, database);
        inspection
    }
}

fn unlock<'a>(database: &'a Database, password: Option<&[u8]>) -> Option<Unlocked<'a>> {
    match (&database.password, password) {
        (PasswordState::Empty, _) => database.unlock(b"").ok(),
        (_, Some(password)) => database.unlock(password).ok(),
        (_, None) => None,
    }
}

fn file(file: &nssight_nssdb::directory::FileEntry) -> FileView {
    let content = match (&file.magic, file.kind) {
        (Some(Magic::SqliteDb { wal: true }), _) => "SQLite in WAL mode".to_owned(),
        (Some(Magic::SqliteDb { .. }), _) => "SQLite".to_owned(),
        (Some(Magic::BerkeleyHash { lorder, .. }), _) => {
            format!("Berkeley DB 1.85 hash, {}", if *lorder == 4321 { "big-endian" } else { "little-endian" })
        }
        (Some(Magic::Empty), _) => "empty".to_owned(),
        (Some(Magic::Truncated { expected }), _) => format!("truncated, {expected} bytes expected"),
        (Some(Magic::Text), _) => "text".to_owned(),
        (Some(Magic::Garbage { .. }), _) => "unknown".to_owned(),
        (None, FileKind::Regular) => "unreadable".to_owned(),
        (None, kind) => format!("{kind:?}").to_lowercase(),
    };
    FileView {
        name: file.name.clone(),
        content,
        size: file.size,
        mode: format!("{:04o}", file.mode),
        uid: file.uid,
        gid: file.gid,
        modified: OffsetDateTime::from_unix_timestamp(file.mtime.0).map(stamp).unwrap_or_default(),
        link: file.link.clone(),
        error: file.open_error.as_ref().map(ToString::to_string),
    }
}

fn password_view(database: &Database, given: Option<&[u8]>) -> PasswordView {
    let (state, details) = match &database.password {
        PasswordState::NotInitialised => ("none", None),
        PasswordState::Empty => ("empty", None),
        PasswordState::Set { iterations, algorithm, salt_length } => {
            ("set", Some((algorithm, *iterations, *salt_length)))
        }
        PasswordState::Unreadable(_) => ("unreadable", None),
    };
    PasswordView {
        state,
        encryption: details.map(|(algorithm, ..)| scheme(algorithm)),
        iterations: details.map(|(_, iterations, _)| iterations),
        salt_length: details.map(|(.., salt)| salt),
        given: given.map(|given| if load::opens(database, given) { "right" } else { "wrong" }),
    }
}

fn iterations(algorithm: &Algorithm) -> Option<u32> {
    match algorithm {
        Algorithm::Pbes2Aes256 { iterations } | Algorithm::NssPbe3Des { iterations } => Some(*iterations),
        Algorithm::Other(_) => None,
    }
}

fn certificates(database: &Database, now: OffsetDateTime) -> Vec<CertificateView> {
    let mut views: Vec<CertificateView> =
        database.certificates.iter().map(|certificate| certificate_view(certificate, now)).collect();
    let issuers = issuers(&views);
    for (view, issuer) in views.iter_mut().zip(issuers) {
        view.issuer_sha256 = issuer;
    }
    views
}

/// For each certificate the fingerprint of its issuer: by name, and by key identifier where several have the name.
fn issuers(views: &[CertificateView]) -> Vec<Option<String>> {
    let mut by_subject: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, names) in views.iter().enumerate().filter_map(|(index, view)| Some((index, view.names.as_ref()?))) {
        by_subject.entry(&names.subject).or_default().push(index);
    }
    let issuer_of = |names: &Names| {
        let candidates = by_subject.get(&*names.issuer)?;
        let fits = |index: &&usize| {
            let issuer = views[**index].names.as_ref();
            let identified = issuer.and_then(|issuer| issuer.subject_key_id.as_ref());
            names.authority_key_id.is_none() || identified.is_none() || identified == names.authority_key_id.as_ref()
        };
        candidates.iter().find(fits).map(|index| views[*index].sha256.clone())
    };
    views.iter().map(|view| view.names.as_ref().filter(|names| !names.is_self_issued()).and_then(issuer_of)).collect()
}

fn certificate_view(certificate: &Certificate, now: OffsetDateTime) -> CertificateView {
    let facts = Facts::of(&certificate.der);
    let names = certificate.nicknames.iter().map(|nickname| nickname.text.clone());
    let unreadable = || format!("unreadable, {} bytes", certificate.der.len());
    let mut view = CertificateView {
        nickname: names.clone().next(),
        nicknames: if certificate.nicknames.len() > 1 { names.collect() } else { Vec::new() },
        sha256: hex(&openssl::sha::sha256(&certificate.der)),
        subject: String::new(),
        issuer: String::new(),
        serial: String::new(),
        not_before: None,
        not_after: None,
        days_left: None,
        key: None,
        alternative_names: Vec::new(),
        extended_key_usage: None,
        is_ca: false,
        trust: certificate.certutil_letters(),
        trust_source: match certificate.trust.source {
            TrustSource::NssTrust => "nss",
            TrustSource::Pkcs11Trust => "pkcs11",
            TrustSource::Dbm => "dbm",
            TrustSource::None => "none",
        },
        has_private_key: certificate.has_private_key,
        private_key: match certificate.key_match {
            KeyMatch::NoKey => "none",
            KeyMatch::Matches => "matches",
            KeyMatch::IdentifierOnly => "identifier-only",
            KeyMatch::Differs => "differs",
        },
        issuer_sha256: None,
        names: None,
    };
    match facts {
        Some(facts) => view.take(facts, now),
        None => (view.subject, view.issuer) = (unreadable(), unreadable()),
    }
    view
}

fn keys(
    database: &Database,
    views: &[CertificateView],
    unlocked: Option<&Unlocked<'_>>,
    deadline: Instant,
) -> Vec<KeyView> {
    let mut owners: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (index, certificate) in database.certificates.iter().enumerate().filter(|(_, it)| it.has_private_key) {
        owners.entry(&certificate.cka_id).or_default().push(index);
    }
    let view = |key: &PrivateKey| {
        let owners = owners.get(key.cka_id.as_slice()).map(Vec::as_slice).unwrap_or_default();
        let mut known = key.kind;
        let decrypted = unlocked.map(|unlocked| {
            if Instant::now() < deadline {
                decrypt(unlocked, key, owners.first().map(|owner| &database.certificates[*owner]), &mut known)
            } else {
                "not tried, because the deadline had passed".to_owned()
            }
        });
        KeyView {
            id: hex(&key.cka_id),
            kind: key_kind(known),
            nickname: key.nickname.as_ref().map(|nickname| nickname.text.clone()),
            encryption: scheme(&key.encryption),
            iterations: iterations(&key.encryption),
            certificates: owners.iter().map(|owner| views[*owner].name().to_owned()).collect(),
            decrypted,
        }
    };
    database.private_keys.iter().map(view).collect()
}

/// The result of decrypting a key, whose kind may be known only then.
fn decrypt(
    unlocked: &Unlocked<'_>,
    key: &PrivateKey,
    certificate: Option<&Certificate>,
    known: &mut KeyKind,
) -> String {
    let opened: PKey<Private> = match unlocked.private_key(key) {
        Ok(opened) => opened,
        // What this reader does not support is not damaged.
        Err(error @ Error::Unsupported(_)) => return format!("not tried: {error}"),
        Err(error) => return format!("failed: {error}"),
    };
    *known = match opened.id() {
        Id::RSA => KeyKind::Rsa,
        Id::EC => KeyKind::Ec,
        Id::DSA => KeyKind::Dsa,
        _ => *known,
    };
    let public = certificate.and_then(|certificate| X509::from_der(&certificate.der).ok()?.public_key().ok());
    match public.map(|public| is_of(&opened, &public)) {
        Some(true) => "belongs to its certificate",
        Some(false) => "does not belong to its certificate",
        None => "readable",
    }
    .to_owned()
}

/// Whether `private` is the private half of `public`. A key whose certificate allows only PSS is stored like any RSA key, and OpenSSL
/// treats the two as different kinds.
fn is_of(private: &PKeyRef<Private>, public: &PKeyRef<Public>) -> bool {
    match (private.rsa(), public.rsa()) {
        (Ok(private), Ok(public)) => private.n() == public.n() && private.e() == public.e(),
        _ => private.public_eq(public),
    }
}

fn crl(der: &[u8], url: Option<String>) -> CrlView {
    let parsed = X509Crl::from_der(der).ok();
    let issuer = parsed.as_ref().and_then(|list| list.issuer_name().to_der().ok());
    CrlView {
        issuer: issuer
            .map_or_else(|| format!("unreadable, {} bytes", der.len()), |name| nssight_wire::name_from_der(&name)),
        revoked: parsed.as_ref().and_then(|list| list.get_revoked()).map_or(0, |revoked| revoked.len()),
        next_update: parsed.as_ref().and_then(|list| list.next_update()).map(ToString::to_string),
        url,
    }
}
