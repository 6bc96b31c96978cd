//! Objects and metadata of `key4.db`.

use super::attribute::*;
use super::cert9::public_value;
use super::table::{self, Object};
use crate::crypto::Envelope;
use crate::error::Place;
use crate::model::{
    Algorithm, CheckValue, KeyKind, KeyStore, Nickname, PrivateKey, SECRET_KEY, Sealed, SignatureId, SignedValue, Table,
};
use crate::problems::Problems;
use rusqlite::Connection;
use rusqlite::types::ValueRef;
use std::collections::{BTreeMap, HashMap};

const TABLE: &str = "nssPrivate";
const METADATA: &str = "metaData";
/// Longest value taken from the metadata. NSS itself reads 256 bytes at most (`sdb_GetMetaData` in lib/softoken/sdb.c).
const MAX_ITEM: usize = 1024;

/// What `key4.db` holds.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) private_keys: Vec<PrivateKey>,
    pub(super) store: KeyStore,
    pub(super) not_understood: BTreeMap<String, usize>,
    pub(super) merged: Vec<String>,
    pub(super) columns: usize,
    pub(super) complete: bool,
}

pub(super) fn read(connection: &Connection, problems: &mut Problems) -> Result<Keys, rusqlite::Error> {
    let mut found = Keys::default();
    let mut complete = false;
    if table::exists(connection, TABLE)? {
        let scan =
            table::scan(connection, TABLE, KEY_COLUMNS, problems, |object, problems| found.take(object, problems))?;
        found.columns = scan.columns;
        complete = scan.complete;
    } else {
        problems.add(Place::File, format!("there is no table {TABLE}"));
    }
    if table::exists(connection, METADATA)? {
        match found.take_metadata(connection, problems) {
            Ok(()) => {}
            Err(error) => {
                found.store.unreadable = Some(format!("table {METADATA}: {error}"));
                problems.add(Place::File, format!("reading table {METADATA} stopped: {error}"));
                complete = false;
            }
        }
    }
    found.complete = complete;
    Ok(found)
}

impl Keys {
    fn take(&mut self, object: &Object<'_>, problems: &mut Problems) {
        let Some(class) = object.ulong(CLASS) else {
            problems.add(object.place(TABLE), "the object has no class");
            return;
        };
        self.take_signed(object, class);
        match class {
            3 => self.take_private_key(object, problems),
            other => {
                let name = match other {
                    4 => SECRET_KEY.to_owned(),
                    other => format!("class 0x{other:x} in the key database"),
                };
                *self.not_understood.entry(name).or_default() += 1;
            }
        }
    }

    fn take_signed(&mut self, object: &Object<'_>, class: u32) {
        let encrypted: &[u32] = if matches!(class, 3 | 4) { ENCRYPTED } else { &[] };
        let attributes = [(AUTHENTICATED, false), (encrypted, true)];
        for (attributes, encrypted) in attributes {
            for attribute in attributes {
                if let Some(value) = object.get(*attribute) {
                    self.store.signed.push(SignedValue {
                        id: SignatureId { table: Table::Keys, object: object.id, attribute: *attribute },
                        encrypted,
                        value: value.to_vec(),
                    });
                }
            }
        }
    }

    fn take_private_key(&mut self, object: &Object<'_>, problems: &mut Problems) {
        let kind = match object.ulong(KEY_TYPE) {
            Some(0) => KeyKind::Rsa,
            Some(1) => KeyKind::Dsa,
            Some(2) => KeyKind::Dh,
            Some(3) => KeyKind::Ec,
            Some(other) => KeyKind::Other(other),
            None => {
                problems.add(object.place(TABLE), "a private key without a type");
                KeyKind::Other(u32::MAX)
            }
        };
        let take = |attributes: &[u32]| -> HashMap<u32, Vec<u8>> {
            attributes.iter().filter_map(|attribute| Some((*attribute, object.get(*attribute)?.to_vec()))).collect()
        };
        let encrypted = take(ENCRYPTED);
        let secret = [PRIVATE_EXPONENT, VALUE].iter().find_map(|attribute| encrypted.get(attribute));
        let encryption = match secret.map(|blob| Envelope::parse(blob)) {
            Some(Ok(envelope)) => envelope.algorithm(),
            Some(Err(_)) => {
                problems.add(object.place(TABLE), "the encryption header of the private key is not valid DER");
                Algorithm::Other("unreadable".into())
            }
            None => {
                problems.add(object.place(TABLE), "a private key without a private value");
                Algorithm::Other("none".into())
            }
        };
        self.private_keys.push(PrivateKey {
            cka_id: object.get(ID).unwrap_or_default().to_vec(),
            kind,
            nickname: object.get(LABEL).filter(|label| !label.is_empty()).map(Nickname::new),
            public_value: public_value(object),
            encryption,
            sealed: Sealed::Sql {
                plain: take(&[MODULUS, PUBLIC_EXPONENT, PRIME, SUBPRIME, BASE, EC_PARAMS]),
                encrypted,
            },
        });
    }

    fn take_metadata(&mut self, connection: &Connection, problems: &mut Problems) -> Result<(), rusqlite::Error> {
        let mut statement = connection.prepare(&format!("SELECT id, item1, item2 FROM {METADATA}"))?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let Some(id) = bytes(row.get_ref(0)?).and_then(|id| std::str::from_utf8(id).ok()) else {
                continue;
            };
            let item1 = bytes(row.get_ref(1)?).unwrap_or_default();
            if item1.len() > MAX_ITEM {
                let place = Place::Row { table: METADATA.to_owned(), id: id.chars().take(64).collect() };
                problems.add(place, format!("a value of {} bytes, which NSS would not read", item1.len()));
                continue;
            }
            if id == "password" {
                self.store.global_salt = item1.to_vec();
                let check = bytes(row.get_ref(2)?).unwrap_or_default();
                self.store.check = Some(CheckValue::Blob(check.to_vec()));
            } else if let Some(merged) = id.strip_prefix("upd_key_") {
                if self.merged.len() < 100 {
                    self.merged.push(merged.chars().take(256).collect());
                }
            } else if let Some(signature) = signature_id(id) {
                self.store.signatures.insert(signature, item1.to_vec());
            } else if id.starts_with("sig_") {
                problems.add(
                    Place::Row { table: METADATA.to_owned(), id: id.chars().take(64).collect() },
                    "the name of this signature cannot be read",
                );
            }
        }
        Ok(())
    }
}

fn bytes(value: ValueRef<'_>) -> Option<&[u8]> {
    match value {
        ValueRef::Blob(bytes) | ValueRef::Text(bytes) => Some(bytes),
        _ => None,
    }
}

/// Reads `sig_cert_0000002a_00000120`: table, object and attribute in hexadecimal.
fn signature_id(name: &str) -> Option<SignatureId> {
    let (table, rest) = if let Some(rest) = name.strip_prefix("sig_cert_") {
        (Table::Certificates, rest)
    } else {
        (Table::Keys, name.strip_prefix("sig_key_")?)
    };
    let (object, attribute) = rest.split_once('_')?;
    let object = u32::from_str_radix(object, 16).ok()?;
    Some(SignatureId { table, object, attribute: u32::from_str_radix(attribute, 16).ok()? })
}
