//! Records of `cert8.db` (`lib/softoken/legacydb/pcertdb.c`).

use super::bytes::{Fields, c_string, unwrap_length};
use super::hash::Pair;
use crate::crypto::{self, der};
use crate::error::Place;
use crate::file;
use crate::model::{Certificate, Crl, KeyMatch, Nickname};
use crate::problems::Problems;
use crate::trust::{Flags, Trust};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

const VERSION: u8 = 0;
const CERTIFICATE: u8 = 1;
const NICKNAME: u8 = 2;
const SUBJECT: u8 = 3;
const CRL: u8 = 4;
const KEY_REVOCATION: u8 = 5;
const SMIME: u8 = 6;
const CONTENT_VERSION: u8 = 7;
const BLOB: u8 = 8;

/// Length of a record that only names a file.
const BLOB_RECORD: usize = 38;
/// Largest blob read; a revocation list of a large CA is a few megabytes.
const MAX_BLOB: u64 = 32 << 20;
/// Largest total of blobs read for one database.
const MAX_BLOBS: u64 = 256 << 20;

/// What `cert8.db` holds.
pub(super) struct Certificates {
    pub(super) certificates: Vec<Certificate>,
    pub(super) crls: Vec<Crl>,
    pub(super) not_understood: BTreeMap<String, usize>,
    pub(super) complete: bool,
    blobs: Blobs,
}

pub(super) fn read(pairs: &[Pair<'_>], blob_dir: PathBuf, problems: &mut Problems) -> Certificates {
    let mut found = Certificates {
        certificates: Vec::new(),
        crls: Vec::new(),
        not_understood: BTreeMap::new(),
        complete: true,
        blobs: Blobs { dir: blob_dir, left: MAX_BLOBS },
    };
    for pair in pairs {
        if let Err(what) = found.take(pair) {
            found.complete = false;
            problems.add(place(&pair.key), what);
        }
    }
    if found.certificates.iter().any(|certificate| certificate.nicknames.is_empty()) {
        found.name_by_subject(pairs);
    }
    found
}

/// The place of a record, to report a problem.
pub(super) fn place(key: &[u8]) -> Place {
    Place::Record { key: key.iter().take(16).map(|byte| format!("{byte:02x}")).collect() }
}

impl Certificates {
    fn take(&mut self, pair: &Pair<'_>) -> Result<(), String> {
        let Some((&kind, name)) = pair.key.split_first() else {
            return Err("the record has no key".into());
        };
        let blob;
        let mut value = &*pair.value;
        if value.get(1) == Some(&BLOB) {
            blob = self.blobs.read(&pair.key, value)?;
            value = &blob;
        }
        let mut fields = Fields::new(value);
        let (Some(_version), Some(stored_kind), Some(_flags)) = (fields.byte(), fields.byte(), fields.byte()) else {
            return Err("the record is shorter than its own header".into());
        };
        if stored_kind != kind {
            return Err(format!("the record has type {stored_kind}, but its key has type {kind}"));
        }
        match kind {
            CERTIFICATE => self.certificate(name, fields),
            SUBJECT => {
                nickname_of_subject(fields).map(drop).ok_or_else(|| "the subject record is truncated".to_owned())
            }
            CRL | KEY_REVOCATION => self.crl(fields, kind == KEY_REVOCATION),
            // A nickname record repeats the content of the subject record.
            VERSION | NICKNAME | CONTENT_VERSION => Ok(()),
            other => {
                let name = if other == SMIME { "S/MIME profile".to_owned() } else { format!("record type {other}") };
                *self.not_understood.entry(name).or_default() += 1;
                Ok(())
            }
        }
    }

    fn certificate(&mut self, name: &[u8], mut fields: Fields<'_>) -> Result<(), String> {
        let short = || "the certificate record is truncated".to_owned();
        let mut word = || fields.word().ok_or_else(short);
        let (ssl, email, object_signing) = (word()?, word()?, word()?);
        let (stated, nickname) = (usize::from(word()?), usize::from(word()?));
        let length = unwrap_length(stated, nickname, fields.left())
            .ok_or("the lengths in the certificate record are inconsistent")?;
        let der = fields.take(length).ok_or_else(short)?;
        let nickname = c_string(fields.take(nickname).ok_or_else(short)?);
        let parsed = der::certificate(der).ok_or("the certificate is not valid DER")?;
        let key_fits = name.strip_prefix(parsed.serial).is_some_and(|issuer| issuer == parsed.issuer);
        if !key_fits {
            return Err("the record has the key of another certificate".into());
        }
        let cka_id = parsed.public_value.map(|value| crypto::sha1(&[value]).to_vec()).unwrap_or_default();
        self.certificates.push(Certificate {
            nicknames: (!nickname.is_empty()).then(|| Nickname::new(nickname)).into_iter().collect(),
            cka_id,
            trust: Trust::from_dbm(ssl, email, object_signing),
            has_private_key: false,
            key_match: KeyMatch::NoKey,
            has_public_key_row: false,
            stored_user_flag: (ssl | email | object_signing) & Flags::USER != 0,
            object_id: None,
            der: der.to_vec(),
        });
        Ok(())
    }

    /// Gives each certificate without a nickname the one in its subject's record; NSS keeps nicknames there too.
    fn name_by_subject(&mut self, pairs: &[Pair<'_>]) {
        let mut nicknames: HashMap<&[u8], Nickname> = HashMap::new();
        for pair in pairs {
            let Some((&SUBJECT, name)) = pair.key.split_first() else { continue };
            let mut fields = Fields::new(&pair.value);
            let kind = (fields.byte(), fields.byte(), fields.byte()).1;
            if kind == Some(SUBJECT)
                && let Some(nickname) = nickname_of_subject(fields).filter(|nickname| !nickname.is_empty())
            {
                nicknames.insert(name, Nickname::new(nickname));
            }
        }
        for certificate in self.certificates.iter_mut().filter(|certificate| certificate.nicknames.is_empty()) {
            if let Some(subject) = der::certificate(&certificate.der).map(|fields| fields.subject) {
                certificate.nicknames.extend(nicknames.get(subject).cloned());
            }
        }
    }

    fn crl(&mut self, mut fields: Fields<'_>, is_krl: bool) -> Result<(), String> {
        let short = || "the revocation list record is truncated".to_owned();
        let (stated, url) = (fields.length().ok_or_else(short)?, fields.length().ok_or_else(short)?);
        let length = unwrap_length(stated, url, fields.left())
            .ok_or("the lengths in the revocation list record are inconsistent")?;
        let der = fields.take(length).ok_or_else(short)?;
        let url = c_string(fields.take(url).ok_or_else(short)?);
        self.crls.push(Crl {
            der: der.to_vec(),
            is_krl,
            url: (!url.is_empty()).then(|| String::from_utf8_lossy(url).into_owned()),
        });
        Ok(())
    }
}

/// The nickname in a subject record, without its NUL; `None` if the record is truncated.
fn nickname_of_subject(mut fields: Fields<'_>) -> Option<&[u8]> {
    let _certificates = fields.length()?;
    let nickname = fields.length()?;
    let _email = fields.length()?;
    fields.take(nickname).map(c_string)
}

/// Values too long for the hash file, each in a file of its own in `cert8.dir` (`lib/softoken/legacydb/dbmshim.c`).
struct Blobs {
    dir: PathBuf,
    left: u64,
}

impl Blobs {
    fn read(&mut self, key: &[u8], record: &[u8]) -> Result<Vec<u8>, String> {
        if record.len() != BLOB_RECORD {
            return Err("the reference to a blob file has the wrong length".into());
        }
        let stated = record.get(4..8).and_then(|four| four.try_into().ok()).map(u32::from_le_bytes).unwrap_or(0);
        let name = c_string(record.get(8..).unwrap_or(&[]));
        // The name must be the one that NSS computes from the key. That also keeps a hostile name from leaving the directory.
        let expected = blob_name(key);
        if name != expected.as_bytes() {
            return Err(format!(
                "the blob is in file {:?} according to the record; expected {expected:?}",
                String::from_utf8_lossy(name)
            ));
        }
        let path = self.dir.join(&expected);
        let limit = MAX_BLOB.min(self.left);
        let (bytes, _) = file::read(&path, limit).map_err(|error| error.to_string())?;
        self.left = self.left.saturating_sub(bytes.len() as u64);
        if bytes.len() != stated as usize {
            return Err(format!(
                "blob file {} has {} bytes, but the record says {stated}",
                file::name(&path),
                bytes.len()
            ));
        }
        Ok(bytes)
    }
}

/// `b` and the SHA-1 of the key in base64, with `-` for `/`.
fn blob_name(key: &[u8]) -> String {
    let hash = openssl::base64::encode_block(&crypto::sha1(&[key]));
    format!("b{}", hash.replace('/', "-"))
}

/// Directory of the blobs of a certificate file.
pub(super) fn blob_dir(certificate_file: &Path) -> PathBuf {
    certificate_file.with_extension("dir")
}
