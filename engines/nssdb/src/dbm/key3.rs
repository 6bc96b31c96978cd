//! Records of `key3.db` (`lib/softoken/legacydb/keydb.c`).

use super::bytes::{Fields, c_string};
use super::cert8::place;
use super::hash::Pair;
use crate::crypto::{self, Envelope, der};
use crate::model::{Algorithm, CheckValue, KeyKind, KeyStore, Nickname, PrivateKey, Sealed};
use crate::problems::Problems;

/// The only version of records NSS ever wrote into a `key3.db`.
const VERSION: u8 = 3;

/// The shortest name that a record of a private key has: the uncompressed point of the smallest curve, secp112r1. A public
/// value of RSA, DSA or DH is longer.
const SHORTEST_PUBLIC_VALUE: usize = 29;

/// What `key3.db` holds.
#[derive(Default)]
pub(super) struct Keys {
    pub(super) private_keys: Vec<PrivateKey>,
    pub(super) store: KeyStore,
    pub(super) version: Option<u8>,
    /// The number of records that are not private keys.
    pub(super) secret_keys: usize,
    pub(super) complete: bool,
}

pub(super) fn read(pairs: &[Pair<'_>], problems: &mut Problems) -> Keys {
    let mut found = Keys { complete: true, ..Keys::default() };
    for pair in pairs {
        let taken = match &*pair.key {
            b"Version" => {
                found.version = pair.value.first().copied();
                Ok(())
            }
            b"global-salt" => {
                found.store.global_salt = pair.value.to_vec();
                continue;
            }
            b"password-check" => found.password_check(&pair.value),
            _ => found.private_key(pair),
        };
        if let Err(what) = taken {
            found.complete = false;
            problems.add(place(&pair.key), what);
        }
    }
    found
}

/// A record: salt, nickname and what follows.
struct Record<'a> {
    salt: &'a [u8],
    nickname: &'a [u8],
    rest: Fields<'a>,
}

fn record(value: &[u8]) -> Result<Record<'_>, &'static str> {
    let mut fields = Fields::new(value);
    let mut header = || Some((fields.byte()?, fields.byte()?, fields.byte()?));
    let (version, salt, nickname) = header().ok_or("the record is shorter than its own header")?;
    if version != VERSION {
        return Err("the record has an unknown version");
    }
    let mut parts = || Some((fields.take(usize::from(salt))?, fields.take(usize::from(nickname))?));
    let (salt, nickname) = parts().ok_or("the record is truncated")?;
    Ok(Record { salt, nickname: c_string(nickname), rest: fields })
}

impl Keys {
    fn password_check(&mut self, value: &[u8]) -> Result<(), &'static str> {
        let parsed = record(value).and_then(|mut record| {
            let length = record.rest.byte().ok_or("the record is truncated")?;
            let oid = record.rest.take(usize::from(length)).ok_or("the record is truncated")?;
            let oid = der::dotted(oid).ok_or("the algorithm is not an object identifier")?;
            let (salt, rounds) = split_salt(record.salt);
            Ok(if oid == crypto::NSS_PBE_3DES {
                CheckValue::Netscape { salt: salt.to_vec(), rounds, content: record.rest.rest().to_vec() }
            } else {
                CheckValue::Other(oid)
            })
        });
        match parsed {
            Ok(value) => {
                self.store.check = Some(value);
                Ok(())
            }
            Err(what) => {
                self.store.unreadable = Some(format!("the password record: {what}"));
                Err(what)
            }
        }
    }

    fn private_key(&mut self, pair: &Pair<'_>) -> Result<(), &'static str> {
        let record = record(&pair.value)?;
        // A secret key, such as the one of saved logins, is stored as an RSA key whose modulus is the key's CKA_ID
        // (lg_mkSecretKeyRep in lib/softoken/legacydb/lgcreate.c): 16 bytes for saved logins (pk11sdr.c), 20 random bytes if
        // the caller gave none.
        if der::unsigned(&pair.key).len() < SHORTEST_PUBLIC_VALUE {
            self.secret_keys += 1;
            return Ok(());
        }
        let encrypted = record.rest.rest();
        let encryption = match Envelope::parse(encrypted) {
            Ok(envelope) => envelope.algorithm(),
            Err(_) => Algorithm::Other("unreadable".into()),
        };
        self.private_keys.push(PrivateKey {
            // NSS hashes the modulus without a leading zero (siUnsignedInteger, lib/softoken/legacydb/lowkey.c); the record name in
            // an old file may have one.
            cka_id: crypto::sha1(&[der::unsigned(&pair.key)]).to_vec(),
            kind: KeyKind::Undisclosed,
            nickname: (!record.nickname.is_empty()).then(|| Nickname::new(record.nickname)),
            public_value: der::unsigned(&pair.key).to_vec(),
            encryption,
            sealed: Sealed::Dbm { encrypted: encrypted.to_vec() },
        });
        Ok(())
    }
}

/// Splits the salt field: when the iteration count is not 1, it is appended as big-endian bytes and their number,
/// recognisable because what remains then has the length of a hash (measured on NSS 3.87.1).
fn split_salt(field: &[u8]) -> (&[u8], u32) {
    let split = || {
        let (&count, before) = field.split_last()?;
        let salt_length = before.len().checked_sub(usize::from(count))?;
        if count == 0 || !matches!(salt_length, 20 | 28 | 32 | 48 | 64) {
            return None;
        }
        let (salt, digits) = before.split_at_checked(salt_length)?;
        let digits = der::unsigned(digits);
        let rounds = if digits.len() > 4 {
            u32::MAX
        } else {
            digits.iter().fold(0, |rounds, digit| rounds << 8 | u32::from(*digit))
        };
        Some((salt, rounds))
    };
    split().unwrap_or((field, 1))
}
