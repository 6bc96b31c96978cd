//! The password: its state, its check, and what it decrypts.

use crate::Error;
use crate::crypto::{Envelope, Failure, password_key, verify_mac};
use crate::model::{
    Algorithm, CheckValue, Database, KeyStore, PasswordState, PrivateKey, Sealed, SignatureId, SignedValue, Table,
};
use openssl::pkey::{PKey, Private};
use serde::Serialize;
use std::borrow::Cow;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// What the check value decrypts to with the right password.
const CHECK_TEXT: &[u8] = b"password-check";

/// Result of [`Database::check_password`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordCheck {
    /// The password is right.
    Right,
    /// The password is wrong.
    Wrong,
    /// There is no password record to check against.
    NotInitialised,
    /// The record uses an unsupported algorithm or too high a cost.
    Unsupported(String),
    /// The record cannot be read.
    Unreadable(String),
}

impl Database {
    /// Checks a password, given as the bytes NSS would get; like NSS it stops at the first NUL.
    ///
    /// Costs one key derivation: milliseconds for databases of NSS, about a second at the limit for a file that
    /// demands more. Needs no NSS and counts as no login attempt anywhere.
    pub fn check_password(&self, password: &[u8]) -> PasswordCheck {
        check(&self.key_store, password).map_or_else(|not| not, |_| PasswordCheck::Right)
    }

    /// Whether both databases have the same password record, byte for byte: then one was copied from the other, and both have
    /// the same password, whatever it is.
    pub fn has_password_record_of(&self, other: &Database) -> bool {
        let record = |database: &Database| match &database.key_store.check {
            Some(CheckValue::Blob(blob)) => Some((database.key_store.global_salt.clone(), blob.clone())),
            Some(CheckValue::Netscape { salt, rounds, content }) => {
                let salt = [&database.key_store.global_salt[..], salt, &rounds.to_be_bytes()].concat();
                Some((salt, content.clone()))
            }
            Some(CheckValue::Other(_)) | None => None,
        };
        record(self).is_some() && record(self) == record(other)
    }

    /// Opens the key database with its password.
    ///
    /// # Errors
    /// [`Error::WrongPassword`], [`Error::NotInitialised`], or why the record cannot be used.
    pub fn unlock(&self, password: &[u8]) -> Result<Unlocked<'_>, Error> {
        match check(&self.key_store, password) {
            Ok(key) => Ok(Unlocked { database: self, key }),
            Err(PasswordCheck::NotInitialised) => Err(Error::NotInitialised),
            Err(PasswordCheck::Unsupported(why)) => Err(Error::Unsupported(why)),
            Err(PasswordCheck::Unreadable(why)) => Err(Error::Undecodable(why)),
            Err(PasswordCheck::Wrong | PasswordCheck::Right) => Err(Error::WrongPassword),
        }
    }
}

/// The state of the password, found without the password itself.
pub(crate) fn state(store: &KeyStore) -> PasswordState {
    if let Some(why) = &store.unreadable {
        return PasswordState::Unreadable(why.clone());
    }
    let algorithm = match &store.check {
        None => return PasswordState::NotInitialised,
        Some(value) => match envelope(value) {
            Ok(envelope) => envelope.algorithm(),
            Err(Failure::Unsupported(why)) => Algorithm::Other(why),
            Err(_) => {
                return PasswordState::Unreadable("the password record is not valid DER".into());
            }
        },
    };
    let iterations = match algorithm {
        Algorithm::Pbes2Aes256 { iterations } | Algorithm::NssPbe3Des { iterations } => iterations,
        Algorithm::Other(_) => 0,
    };
    // NSS tries the empty password on its own only if the iteration count is 1, and writes 1 for it.
    if iterations == 1 && check(store, b"").is_ok() {
        return PasswordState::Empty;
    }
    PasswordState::Set { iterations, algorithm, salt_length: store.global_salt.len() }
}

fn envelope(value: &CheckValue) -> Result<Envelope<'_>, Failure> {
    match value {
        CheckValue::Blob(blob) => Envelope::parse(blob),
        CheckValue::Netscape { salt, rounds, content } => Ok(Envelope::netscape(salt, *rounds, content)),
        CheckValue::Other(oid) => Err(Failure::Unsupported(format!("password record with {oid}"))),
    }
}

/// The key derived from the password, if it is the right one.
fn check(store: &KeyStore, password: &[u8]) -> Result<Zeroizing<Vec<u8>>, PasswordCheck> {
    if let Some(why) = &store.unreadable {
        return Err(PasswordCheck::Unreadable(why.clone()));
    }
    let Some(value) = &store.check else {
        return Err(PasswordCheck::NotInitialised);
    };
    let key = password_key(&store.global_salt, password);
    match envelope(value).and_then(|envelope| envelope.decrypt(&key)) {
        Ok(text) if text.as_slice() == CHECK_TEXT => Ok(key),
        Ok(_) | Err(Failure::Padding) => Err(PasswordCheck::Wrong),
        Err(Failure::Unsupported(why)) => Err(PasswordCheck::Unsupported(why)),
        Err(Failure::Malformed(why)) => Err(PasswordCheck::Unreadable(why.to_owned())),
    }
}

/// A key database opened with its password. The derived key is wiped from memory when this is dropped.
pub struct Unlocked<'a> {
    database: &'a Database,
    key: Zeroizing<Vec<u8>>,
}

impl std::fmt::Debug for Unlocked<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Unlocked").finish_non_exhaustive()
    }
}

/// Outcome of [`Unlocked::verify_signatures`]: numbers of attributes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct SignatureReport {
    /// Valid signatures.
    pub good: usize,
    /// Invalid signatures: made with another key database, or over a value that was changed since. After login, NSS
    /// treats the attribute as absent.
    pub bad: usize,
    /// Values that NSS would have signed but that have no signature; after login, NSS treats them as absent too.
    pub missing: usize,
    /// Values not yet checked when the time was up.
    pub unchecked: usize,
    /// At most 20 of the bad and missing ones: table, object and attribute.
    pub examples: Vec<String>,
}

impl Unlocked<'_> {
    /// Decrypts a private key of this database.
    ///
    /// # Errors
    /// [`Error::Undecodable`] when parts are damaged or missing, [`Error::Unsupported`] for kinds other than RSA,
    /// EC and DSA.
    pub fn private_key(&self, key: &PrivateKey) -> Result<PKey<Private>, Error> {
        match &key.sealed {
            Sealed::Sql { plain, encrypted } => {
                crate::keys::from_attributes(key.kind, plain, &key.public_value, |attribute| {
                    let what = format!("private attribute 0x{attribute:x}");
                    let blob =
                        encrypted.get(&attribute).ok_or_else(|| Error::Undecodable(format!("{what} is not stored")))?;
                    Envelope::parse(blob)
                        .and_then(|envelope| envelope.decrypt(&self.key))
                        .map_err(|failure| failure.into_error(&what))
                })
            }
            Sealed::Dbm { encrypted } => {
                let what = "the private key";
                let plain = Envelope::parse(encrypted)
                    .and_then(|envelope| envelope.decrypt(&self.key))
                    .map_err(|failure| failure.into_error(what))?;
                crate::keys::from_legacy(&plain, &key.public_value)
            }
        }
    }

    /// Verifies the signatures over trust and key attributes, which NSS does when it reads them after login.
    ///
    /// Each costs one key derivation (10,000 rounds in a normal database), so `budget` bounds the whole. The
    /// legacy format has no signatures: the report is empty.
    pub fn verify_signatures(&self, budget: Duration) -> SignatureReport {
        let deadline = Instant::now() + budget;
        let mut report = SignatureReport::default();
        for value in &self.database.key_store.signed {
            if Instant::now() >= deadline {
                report.unchecked += 1;
                continue;
            }
            match self.verify(value) {
                Verdict::Good => report.good += 1,
                Verdict::NotSigned => {}
                verdict => {
                    if verdict == Verdict::Bad {
                        report.bad += 1;
                    } else {
                        report.missing += 1;
                    }
                    if report.examples.len() < 20 {
                        report.examples.push(describe(value.id));
                    }
                }
            }
        }
        report
    }

    fn verify(&self, value: &SignedValue) -> Verdict {
        let envelope = value.encrypted.then(|| Envelope::parse(&value.value));
        // Attributes encrypted with 3DES are older than signatures of encrypted values.
        if let Some(Ok(envelope)) = &envelope
            && matches!(envelope.algorithm(), Algorithm::NssPbe3Des { .. })
        {
            return Verdict::NotSigned;
        }
        let signatures = &self.database.key_store.signatures;
        let places = [Some(value.id), value.encrypted.then(|| value.id.misfiled())];
        let mut found = places.into_iter().flatten().filter_map(|id| signatures.get(&id)).peekable();
        if found.peek().is_none() {
            return Verdict::Missing;
        }
        let plain: Cow<'_, [u8]>;
        let decrypted;
        let object = match envelope {
            None => {
                plain = Cow::Borrowed(&value.value);
                value.id.object
            }
            Some(envelope) => match envelope.and_then(|envelope| envelope.decrypt(&self.key)) {
                Ok(text) => {
                    decrypted = text;
                    plain = Cow::Borrowed(&decrypted);
                    0
                }
                Err(_) => return Verdict::Bad,
            },
        };
        let holds = |signature: &Vec<u8>| verify_mac(signature, &self.key, object, value.id.attribute, &plain);
        if found.any(|signature| holds(signature) == Ok(true)) { Verdict::Good } else { Verdict::Bad }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Good,
    Bad,
    Missing,
    NotSigned,
}

fn describe(id: SignatureId) -> String {
    let table = match id.table {
        Table::Certificates => "certificate database",
        Table::Keys => "key database",
    };
    format!("{table} object {} attribute 0x{:x}", id.object, id.attribute)
}
