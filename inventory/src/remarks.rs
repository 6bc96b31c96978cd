//! Oddities of a database, and parts that another NSS version would read differently.
use std::collections::HashMap;

use nssight_nss::kinds::{self, NewerKind};
use nssight_nss::library;
use nssight_nssdb::{Algorithm, Database, Format, Pairing, PasswordState, TrustSource};

use crate::load::Loaded;
use crate::views::{CertificateView, Inspection, Remark};

/// Names in one remark; the rest is counted.
const NAMES: usize = 5;

/// All remarks, the gravest first.
pub(crate) fn of(inspection: &Inspection, loaded: &Loaded, database: &Database) -> Vec<Remark> {
    let mut remarks = Remarks(Vec::new());
    directory(&mut remarks, inspection, loaded);
    pairing(&mut remarks, inspection, database);
    signatures(&mut remarks, inspection);
    names(&mut remarks, inspection);
    other_versions(&mut remarks, database);
    remarks.0
}

struct Remarks(Vec<Remark>);

impl Remarks {
    fn add(&mut self, id: &'static str, text: impl Into<String>) {
        self.0.push(Remark { id, text: text.into() });
    }

    /// Adds a remark, but only if something is affected.
    fn about(&mut self, id: &'static str, affected: &[String], what: &str) {
        if !affected.is_empty() {
            self.add(id, format!("{}: {what}", list(affected)));
        }
    }
}

/// Some names, and how many more.
fn list(names: &[String]) -> String {
    let shown = names.iter().take(NAMES).map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    match names.len().saturating_sub(NAMES) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

fn directory(remarks: &mut Remarks, inspection: &Inspection, loaded: &Loaded) {
    if loaded.inventory.half_upgraded {
        remarks.add(
            "half-upgraded",
            "cert9.db and key4.db were created beside cert8.db and key3.db, but are still empty: NSS reads the old pair \
             until a login with write access",
        );
    } else if loaded.inventory.formats().len() == 2 {
        let read = loaded.choice.reads.map_or_else(|| "neither".to_owned(), |format| format!("the {format}: pair"));
        remarks.add("both-formats", format!("the directory contains both formats; NSS reads {read}"));
    }
    if let Some(older) = loaded.inventory.older_than_legacy() {
        remarks.add(
            "older-than-legacy",
            format!("the certificates are in {older}, which is older than cert8.db and not shown; NSS reads this file only to convert it"),
        );
    }
    if loaded.choice.reads.is_none() {
        remarks.add(
            "not-read-by-nss",
            format!(
                "NSS would not open these files ({}); nssight shows the {} files",
                loaded.choice.reason, inspection.format
            ),
        );
    }
    let (name, others) = match inspection.format.as_str() {
        "sql" => ("key4.db", 0o077),
        _ => ("key3.db", 0o077),
    };
    let open = |file: &&super::views::FileView| {
        file.name == name && u32::from_str_radix(&file.mode, 8).is_ok_and(|mode| mode & others != 0)
    };
    if let Some(file) = inspection.files.iter().find(open) {
        remarks.add(
            "keys-readable",
            format!("{} has mode {}: users other than its owner can use it", file.name, file.mode),
        );
    }
}

fn pairing(remarks: &mut Remarks, inspection: &Inspection, database: &Database) {
    let report = database.pairing();
    let text = match report.pairing {
        Pairing::Pair | Pairing::KeysWait | Pairing::NothingToPair | Pairing::Unknown => None,
        Pairing::NoKeyMatches => Some(
            "the certificates had keys here in the past, but no private key in the database belongs to these certificates",
        ),
        Pairing::KeyDbEmpty => Some("the certificates had keys here in the past, but the key database has none"),
        Pairing::SignaturesForeign => Some(
            "the signatures in the key database belong to another certificate database: all trust is lost after a login",
        ),
        Pairing::SignaturesMissing => {
            Some("trust is set, but the key database has no signature for it: all trust is lost after a login")
        }
    };
    if let Some(text) = text {
        remarks.add("not-a-pair", text);
    }
    let named = |wanted: &dyn Fn(&CertificateView) -> bool| -> Vec<String> {
        inspection.certificates.iter().filter(|view| wanted(view)).map(|view| view.name().to_owned()).collect()
    };
    remarks.about(
        "key-differs",
        &named(&|view| view.private_key == "differs"),
        "another private key has its identifier: that key can sign, but the peer rejects the signature",
    );
    remarks.about(
        "user-without-key",
        &named(&|view| view.trust.contains('u') && !view.has_private_key),
        "certutil -L shows \"u\" because of a public key; the private key is not in this database",
    );
    remarks.about(
        "key-unseen",
        &named(&|view| view.has_private_key && !view.trust.contains('u')),
        "the private key is here, but certutil -L shows no \"u\" without a login, because the public key is missing",
    );
    let orphans: Vec<String> = inspection
        .private_keys
        .iter()
        .filter(|key| key.certificates.is_empty())
        .map(|key| key.nickname.clone().unwrap_or_else(|| key.id.clone()))
        .collect();
    remarks.about(
        "key-without-certificate",
        &orphans,
        "a private key without a certificate, as certutil -R creates it; keep the key until the signed certificate is imported",
    );
    for kind in newer_kinds(inspection) {
        let (major, minor) = kind.since;
        let what = format!(
            "the key is {}, which requires NSS {major}.{minor} or later: this host's NSS {} is too old",
            kind.name,
            library::nss_version()
        );
        remarks.about("kind-too-new", &named(&|view| is_of(view, kind)), &what);
    }
    let broken: Vec<String> = inspection
        .private_keys
        .iter()
        .filter(|key| {
            key.decrypted.as_ref().is_some_and(|came| came.starts_with("failed") || came.starts_with("another"))
        })
        .map(|key| key.certificates.first().cloned().or(key.nickname.clone()).unwrap_or_else(|| key.id.clone()))
        .collect();
    remarks.about("key-broken", &broken, "the private key cannot be decrypted, or does not belong to the certificate");
}

fn is_of(view: &CertificateView, kind: &NewerKind) -> bool {
    view.key.as_ref().is_some_and(|key| key.kind == kind.name)
}

/// Kinds of the certificates' keys that the NSS of this host does not support.
fn newer_kinds(inspection: &Inspection) -> impl Iterator<Item = &'static NewerKind> {
    let is_there = |kind: &NewerKind| inspection.certificates.iter().any(|view| is_of(view, kind));
    kinds::KINDS.iter().filter(move |kind| library::nss_release() < kind.since && is_there(kind))
}

fn signatures(remarks: &mut Remarks, inspection: &Inspection) {
    let Some(report) = &inspection.signatures else { return };
    if report.bad + report.missing > 0 {
        remarks.add(
            "signatures-bad",
            format!(
                "{} signatures over trust or keys do not verify and {} are missing: after a login, NSS treats the signed \
                 values as absent",
                report.bad, report.missing
            ),
        );
    }
    if report.unchecked > 0 {
        remarks.add(
            "signatures-unchecked",
            format!("{} signatures were not checked before the deadline", report.unchecked),
        );
    }
}

fn names(remarks: &mut Remarks, inspection: &Inspection) {
    let nickname = |view: &&CertificateView| view.nickname.clone().map(String::into_bytes);
    let subject = |view: &&CertificateView| view.names.as_ref().map(|names| names.subject.to_vec());
    let several = groups(&inspection.certificates, nickname);
    let shared = |same_subject: bool| -> Vec<String> {
        let all_same = |views: &[&CertificateView]| views.iter().all(|view| view.subject == views[0].subject);
        let wanted = several.iter().filter(|views| all_same(views) == same_subject);
        wanted.map(|views| views[0].name().to_owned()).collect()
    };
    remarks.about(
        "nickname-shared",
        &shared(false),
        "certificates with different subjects have this nickname; which one NSS uses is unpredictable",
    );
    remarks.about(
        "nickname-renewed",
        &shared(true),
        "several certificates of one subject have this nickname; NSS uses the newest valid one",
    );
    let several: Vec<String> = groups(&inspection.certificates, subject)
        .into_iter()
        .filter(|views| views.iter().any(|view| view.nickname != views[0].nickname))
        .map(|views| views[0].subject.clone())
        .collect();
    remarks.about("subject-shared", &several, "certificates with this subject have different nicknames");
}

/// Certificates that share a key, where there is more than one, in the order of the database.
fn groups(views: &[CertificateView], key: impl Fn(&&CertificateView) -> Option<Vec<u8>>) -> Vec<Vec<&CertificateView>> {
    let mut places: HashMap<Vec<u8>, usize> = HashMap::with_capacity(views.len());
    let mut found: Vec<Vec<&CertificateView>> = Vec::new();
    for (number, view) in views.iter().enumerate() {
        let Some(key) = key(&view) else { continue };
        // A place below the number of certificates is that of the first one seen; from there on, it is that of a group.
        match places.get(&key).copied() {
            None => drop(places.insert(key, number)),
            Some(place) if place < views.len() => {
                places.insert(key, views.len() + found.len());
                found.push(vec![&views[place], view]);
            }
            Some(place) => found[place - views.len()].push(view),
        }
    }
    found
}

fn other_versions(remarks: &mut Remarks, database: &Database) {
    if matches!(database.password, PasswordState::Set { salt_length: 48, .. }) {
        remarks
            .add("salt-of-3.118", "NSS 3.118 or later set the password: an older NSS rejects even the right password");
    }
    let newer = |certificate: &&nssight_nssdb::Certificate| certificate.trust.source == TrustSource::Pkcs11Trust;
    match database.certificates.iter().filter(newer).count() {
        0 => {}
        count => remarks.add(
            "trust-of-3.114",
            format!("NSS 3.114 or later wrote the trust of {count} certificates: an older NSS does not read it"),
        ),
    }
    if database.generation.certificate_columns > 120 {
        remarks.add(
            "columns-of-3.114",
            "NSS 3.114 or later opened this database for writing; older versions can still read it",
        );
    }
    if database.format == Format::Dbm {
        remarks.add(
            "legacy-format",
            "cert8.db and key3.db need libnssdbm3.so: an NSS built without it (disable_dbm) cannot open them",
        );
        return;
    }
    let weak = |key: &&nssight_nssdb::PrivateKey| matches!(key.encryption, Algorithm::NssPbe3Des { .. });
    match database.private_keys.iter().filter(weak).count() {
        0 => {}
        count => remarks.add(
            "keys-in-3des",
            format!(
                "{count} private keys are still encrypted with SHA-1 and 3DES, as in a legacy database; changing the password \
                 with NSS 3.49 or later re-encrypts them"
            ),
        ),
    }
}
