//! Objects of `cert9.db`.

use super::attribute::*;
use super::table::{self, Object};
use crate::crypto::der;
use crate::error::Place;
use crate::join::{TrustHash, TrustRow};
use crate::model::{Certificate, Crl, KeyMatch, Nickname, PublicKey, SignatureId, SignedValue, Table};
use crate::problems::Problems;
use crate::trust::{Trust, TrustSource};
use openssl::hash::MessageDigest;
use rusqlite::Connection;
use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

const TABLE: &str = "nssPublic";

/// What `cert9.db` holds.
#[derive(Default)]
pub(super) struct Certificates {
    pub(super) certificates: Vec<Certificate>,
    pub(super) public_keys: Vec<PublicKey>,
    pub(super) crls: Vec<Crl>,
    pub(super) trust: Vec<TrustRow>,
    pub(super) signed: Vec<SignedValue>,
    pub(super) not_understood: BTreeMap<String, usize>,
    pub(super) merged: Vec<String>,
    pub(super) columns: usize,
    pub(super) complete: bool,
    /// Index of a certificate in the list, by SHA-256.
    by_hash: HashMap<[u8; 32], usize>,
}

pub(super) fn read(connection: &Connection, problems: &mut Problems) -> Result<Certificates, rusqlite::Error> {
    let mut found = Certificates::default();
    if !table::exists(connection, TABLE)? {
        problems.add(Place::File, format!("there is no table {TABLE}"));
        return Ok(found);
    }
    let scan = table::scan(connection, TABLE, CERTIFICATE_COLUMNS, problems, |object, problems| {
        found.take(object, problems);
    })?;
    found.columns = scan.columns;
    found.complete = scan.complete;
    if table::exists(connection, "metaData")? {
        let mut statement = connection.prepare("SELECT id FROM metaData WHERE id LIKE 'upd_cert_%' LIMIT 100")?;
        let ids = statement.query_map([], |row| row.get::<_, String>(0))?;
        found.merged = ids.flatten().filter_map(|id| id.strip_prefix("upd_cert_").map(str::to_owned)).collect();
    }
    Ok(found)
}

impl Certificates {
    fn take(&mut self, object: &Object<'_>, problems: &mut Problems) {
        let Some(class) = object.ulong(CLASS) else {
            problems.add(object.place(TABLE), "the object has no class");
            return;
        };
        self.take_signed(object);
        match class {
            1 => self.take_certificate(object, problems),
            2 => self.public_keys.push(PublicKey {
                cka_id: object.get(ID).unwrap_or_default().to_vec(),
                public_value: public_value(object),
            }),
            0x0b | 0xce53_4353 => self.take_trust(object, class, problems),
            0xce53_4351 => self.take_crl(object, problems),
            other => {
                let name = match other {
                    3 => "private key in the certificate database".to_owned(),
                    0xce53_4352 => "S/MIME profile".to_owned(),
                    other => format!("class 0x{other:x}"),
                };
                *self.not_understood.entry(name).or_default() += 1;
            }
        }
    }

    fn take_signed(&mut self, object: &Object<'_>) {
        for attribute in AUTHENTICATED {
            if let Some(value) = object.get(*attribute) {
                self.signed.push(SignedValue {
                    id: SignatureId { table: Table::Certificates, object: object.id, attribute: *attribute },
                    encrypted: false,
                    value: value.to_vec(),
                });
            }
        }
    }

    fn take_certificate(&mut self, object: &Object<'_>, problems: &mut Problems) {
        let Some(der) = object.get(VALUE).filter(|der| !der.is_empty()) else {
            problems.add(object.place(TABLE), "the certificate has no value");
            return;
        };
        if der::certificate(der).is_none() {
            problems.add(object.place(TABLE), "the certificate is not valid DER; nssight keeps it unparsed");
        }
        let nickname = object.get(LABEL).filter(|label| !label.is_empty()).map(Nickname::new);
        match self.by_hash.entry(openssl::sha::sha256(der)) {
            Entry::Occupied(known) => {
                if let Some(known) = self.certificates.get_mut(*known.get()) {
                    known.nicknames.extend(nickname);
                }
                return;
            }
            Entry::Vacant(new) => {
                new.insert(self.certificates.len());
            }
        }
        self.certificates.push(Certificate {
            der: der.to_vec(),
            nicknames: nickname.into_iter().collect(),
            cka_id: object.get(ID).unwrap_or_default().to_vec(),
            trust: Trust::ABSENT,
            has_private_key: false,
            key_match: KeyMatch::NoKey,
            has_public_key_row: false,
            stored_user_flag: false,
            object_id: Some(object.id),
        });
    }

    fn take_trust(&mut self, object: &Object<'_>, class: u32, problems: &mut Problems) {
        let (Some(issuer), Some(serial)) =
            (object.get(ISSUER), object.get(SERIAL).and_then(|serial| der::Reader::new(serial).expect(der::INTEGER)))
        else {
            problems.add(object.place(TABLE), "the trust object has no issuer or no serial number");
            return;
        };
        let (trust, hash, digest) = if class == 0x0b {
            (
                Trust::from_pkcs11(
                    object.ulong(TRUST_SERVER),
                    object.ulong(TRUST_CLIENT),
                    object.ulong(TRUST_EMAIL),
                    object.ulong(TRUST_CODE),
                ),
                object.get(CERTIFICATE_HASH),
                object.ulong(HASH_MECHANISM).and_then(digest),
            )
        } else {
            (
                Trust::from_nss(
                    object.ulong(NSS_SERVER),
                    object.ulong(NSS_CLIENT),
                    object.ulong(NSS_EMAIL),
                    object.ulong(NSS_CODE),
                    object.get(NSS_STEP_UP) == Some(&[1]),
                ),
                object.get(NSS_SHA1),
                Some(MessageDigest::sha1()),
            )
        };
        self.trust.push(TrustRow {
            issuer_serial: crate::join::issuer_serial(issuer, serial),
            preferred: trust.source == TrustSource::Pkcs11Trust,
            trust,
            hash: match (hash.filter(|hash| !hash.is_empty()), digest) {
                (None, _) => TrustHash::Absent,
                (Some(_), None) => TrustHash::Unknown,
                (Some(hash), Some(digest)) => TrustHash::Is(digest, hash.to_vec()),
            },
            place: object.place(TABLE),
        });
    }

    fn take_crl(&mut self, object: &Object<'_>, problems: &mut Problems) {
        match object.get(VALUE) {
            Some(der) if !der.is_empty() => self.crls.push(Crl {
                der: der.to_vec(),
                is_krl: object.get(NSS_KRL) == Some(&[1]),
                url: object
                    .get(NSS_URL)
                    .filter(|url| !url.is_empty())
                    .map(|url| String::from_utf8_lossy(url).into_owned()),
            }),
            _ => problems.add(object.place(TABLE), "the revocation list has no value"),
        }
    }
}

/// The public value of a key object, from the attribute NSS keeps for it or from the modulus.
pub(super) fn public_value(object: &Object<'_>) -> Vec<u8> {
    let value =
        object.get(NSS_DB).filter(|value| !value.is_empty()).or_else(|| object.get(MODULUS)).unwrap_or_default();
    der::unsigned(value).to_vec()
}

/// The digest of a CKM_ number.
fn digest(mechanism: u32) -> Option<MessageDigest> {
    match mechanism {
        0x220 => Some(MessageDigest::sha1()),
        0x250 => Some(MessageDigest::sha256()),
        0x260 => Some(MessageDigest::sha384()),
        0x270 => Some(MessageDigest::sha512()),
        _ => None,
    }
}
