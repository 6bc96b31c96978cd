//! Links what the files store separately: certificates, trust, keys.

use crate::Format;
use crate::crypto::der::{self, CertificateFields};
use crate::error::Place;
use crate::model::{Certificate, Database, KeyKind, KeyMatch};
use crate::problems::Problems;
use crate::trust::Trust;
use openssl::hash::{MessageDigest, hash};
use std::collections::{HashMap, HashSet};

/// A trust object of `cert9.db`.
pub(crate) struct TrustRow {
    pub(crate) issuer_serial: Vec<u8>,
    /// Written by NSS 3.114 or later, which reads it before one of the older kind.
    pub(crate) preferred: bool,
    pub(crate) trust: Trust,
    pub(crate) hash: TrustHash,
    pub(crate) place: Place,
}

/// The hash of its certificate in a trust object.
pub(crate) enum TrustHash {
    Absent,
    /// Of an algorithm that this reader does not support.
    Unknown,
    Is(MessageDigest, Vec<u8>),
}

/// NSS finds trust by issuer and serial number, not by CKA_ID.
pub(crate) fn issuer_serial(issuer: &[u8], serial: &[u8]) -> Vec<u8> {
    [issuer, serial].concat()
}

/// Gives each certificate its trust and returns how many objects are left over.
pub(crate) fn trust(certificates: &mut [Certificate], rows: Vec<TrustRow>, problems: &mut Problems) -> usize {
    let mut by_name: HashMap<Vec<u8>, Vec<TrustRow>> = HashMap::new();
    for mut row in rows {
        let name = std::mem::take(&mut row.issuer_serial);
        by_name.entry(name).or_default().push(row);
    }
    for certificate in certificates {
        let Some(fields) = der::certificate(&certificate.der) else {
            continue;
        };
        let Some(rows) = by_name.remove(&issuer_serial(fields.issuer, fields.serial)) else {
            continue;
        };
        let mut best: Option<TrustRow> = None;
        for row in rows {
            if let Err(why) = counts(&row, &certificate.der) {
                problems.add(row.place, why);
            } else if best.as_ref().is_none_or(|best| row.preferred && !best.preferred) {
                best = Some(row);
            }
        }
        if let Some(row) = best {
            certificate.trust = row.trust;
        }
    }
    by_name.values().map(Vec::len).sum()
}

/// Whether NSS would apply this trust to the certificate (`nssTrust_Create` in lib/pki/certificate.c).
fn counts(row: &TrustRow, der: &[u8]) -> Result<(), &'static str> {
    match &row.hash {
        TrustHash::Is(digest, stored) if !hash(*digest, der).is_ok_and(|computed| *computed == **stored) => {
            Err("the trust object has the hash of another certificate, so the object has no effect")
        }
        TrustHash::Absent if !row.trust.only_distrusts() => {
            Err("the trust object grants trust without a hash of its certificate, so the object has no effect")
        }
        _ => Ok(()),
    }
}

/// Finds for each certificate its private key and public key row.
pub(crate) fn keys(database: &mut Database) {
    let mut by_id: HashMap<&[u8], Vec<usize>> = HashMap::new();
    for (at, key) in database.private_keys.iter().enumerate() {
        by_id.entry(&key.cka_id).or_default().push(at);
    }
    let mut public_ids: HashSet<&[u8]> = HashSet::new();
    let mut public_values: HashSet<&[u8]> = HashSet::new();
    for key in &database.public_keys {
        public_ids.insert(&key.cka_id);
        public_values.insert(&key.public_value);
    }
    let mut kinds = Vec::new();
    for certificate in &mut database.certificates {
        let fields = der::certificate(&certificate.der);
        let value = fields.and_then(|fields| fields.public_value).map(der::unsigned);
        certificate.key_match = KeyMatch::NoKey;
        let keys = by_id.get(certificate.cka_id.as_slice()).filter(|_| !certificate.cka_id.is_empty());
        for at in keys.into_iter().flatten() {
            let Some(key) = database.private_keys.get(*at) else {
                continue;
            };
            let found = match value {
                Some(value) if key.public_value == value => KeyMatch::Matches,
                // How NSS stores the public values of newer kinds was not measured.
                Some(_) if !key.public_value.is_empty() && !matches!(key.kind, KeyKind::Other(_)) => KeyMatch::Differs,
                _ => KeyMatch::IdentifierOnly,
            };
            if certificate.key_match != KeyMatch::Matches {
                certificate.key_match = found;
            }
            if found == KeyMatch::Matches && key.kind == KeyKind::Undisclosed {
                kinds.extend(fields.map(|fields| (*at, kind(&fields))));
            }
        }
        certificate.has_private_key = certificate.key_match != KeyMatch::NoKey;
        certificate.has_public_key_row = match database.format {
            Format::Sql => {
                (!certificate.cka_id.is_empty() && public_ids.contains(certificate.cka_id.as_slice()))
                    || value.is_some_and(|value| !value.is_empty() && public_values.contains(value))
            }
            Format::Dbm => certificate.has_private_key,
        };
    }
    for (at, kind) in kinds {
        if let Some(key) = database.private_keys.get_mut(at) {
            key.kind = kind;
        }
    }
}

fn kind(fields: &CertificateFields<'_>) -> KeyKind {
    match fields.key_algorithm {
        der::RSA_ENCRYPTION | der::RSA_PSS => KeyKind::Rsa,
        der::EC_PUBLIC_KEY => KeyKind::Ec,
        der::DSA => KeyKind::Dsa,
        _ => KeyKind::Undisclosed,
    }
}
