//! One model for both formats.

use crate::trust::Trust;
use crate::{Error, Format, Problem};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;

/// The name of a secret key, such as the one of saved logins, in [`Database::not_understood`].
pub(crate) const SECRET_KEY: &str = "secret key";

/// Everything read from a certificate and a key database.
#[derive(Debug)]
pub struct Database {
    /// The directory.
    pub directory: PathBuf,
    /// File name prefix, usually empty.
    pub prefix: String,
    /// The format.
    pub format: Format,
    /// How far the certificate file could be read.
    pub certificate_file: FileState,
    /// How far the key file could be read.
    pub key_file: FileState,
    /// Certificates, in the order of the file. The same certificate under two nicknames is one entry.
    pub certificates: Vec<Certificate>,
    /// Private keys, in the order of the file.
    pub private_keys: Vec<PrivateKey>,
    /// Public key rows of `cert9.db`; the legacy format has none.
    pub public_keys: Vec<PublicKey>,
    /// Certificate revocation lists.
    pub crls: Vec<Crl>,
    /// Trust objects for certificates that are not in the database.
    pub stray_trust: usize,
    /// State of the password.
    pub password: PasswordState,
    /// What the contents reveal about the NSS versions that wrote them.
    pub generation: Generation,
    /// Objects of kinds this reader does not interpret, with their number.
    pub not_understood: BTreeMap<String, usize>,
    /// What could not be read or is inconsistent.
    pub problems: Vec<Problem>,
    /// Whether something is missing from this model because a file or a part of it could not be read.
    pub partial: bool,
    pub(crate) key_store: KeyStore,
}

/// How far a file could be read.
#[derive(Debug)]
pub enum FileState {
    /// From end to end; single entries may still have problems.
    Read,
    /// Up to damage; see [`Database::problems`].
    Partial,
    /// Not at all.
    Failed(Error),
}

/// A name as stored: NSS writes UTF-8, but nothing enforces it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Nickname {
    /// As text; invalid UTF-8 is replaced by U+FFFD.
    pub text: String,
    /// The bytes, when they are not valid UTF-8.
    pub raw: Option<Vec<u8>>,
}

impl Nickname {
    pub(crate) fn new(bytes: &[u8]) -> Nickname {
        match std::str::from_utf8(bytes) {
            Ok(text) => Nickname { text: text.to_owned(), raw: None },
            Err(_) => Nickname { text: String::from_utf8_lossy(bytes).into_owned(), raw: Some(bytes.to_vec()) },
        }
    }
}

/// How a certificate relates to the private keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyMatch {
    /// No private key has its identifier.
    NoKey,
    /// A private key has its identifier and its public value.
    Matches,
    /// A private key has its identifier; its public value is not stored and cannot be compared.
    IdentifierOnly,
    /// A private key has its identifier but another public value: it will sign, but the peer will refuse the signature.
    Differs,
}

/// A certificate.
#[derive(Clone, Debug)]
pub struct Certificate {
    /// DER.
    pub der: Vec<u8>,
    /// Nicknames in the order found; empty for an intermediate without a name.
    pub nicknames: Vec<Nickname>,
    /// CKA_ID. Legacy databases do not store it; there it is SHA-1 of the public value, as NSS computes it.
    pub cka_id: Vec<u8>,
    /// Trust.
    pub trust: Trust,
    /// Whether a private key with this identifier is in the key database.
    pub has_private_key: bool,
    /// How well that key matches.
    pub key_match: KeyMatch,
    /// What certutil's `u` means before login: a public key row with this identifier in `cert9.db`; in the
    /// legacy format a record in `key3.db`.
    pub has_public_key_row: bool,
    /// The user flag stored in a `cert8.db` record; false for `cert9.db`, which has none.
    pub stored_user_flag: bool,
    /// Row id in `cert9.db`.
    pub object_id: Option<u32>,
}

impl Certificate {
    /// Trust as `certutil -L` prints it when it does not log in.
    pub fn certutil_letters(&self) -> String {
        self.trust.letters_with(self.has_public_key_row)
    }

    /// The issuer and the serial number, as DER Name and INTEGER content, if the certificate can be parsed.
    pub fn issuer_and_serial(&self) -> Option<(&[u8], &[u8])> {
        let fields = crate::crypto::der::certificate(&self.der)?;
        Some((fields.issuer, fields.serial))
    }

    /// The subject as DER Name, if the certificate can be parsed.
    pub fn subject(&self) -> Option<&[u8]> {
        crate::crypto::der::certificate(&self.der).map(|fields| fields.subject)
    }
}

/// Kind of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyKind {
    /// RSA.
    Rsa,
    /// DSA.
    Dsa,
    /// Diffie-Hellman.
    Dh,
    /// Elliptic curve.
    Ec,
    /// Another CKK_ value.
    Other(u32),
    /// A legacy record without a certificate: its kind is known only after decryption.
    Undisclosed,
}

/// How a value is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Algorithm {
    /// PBES2 with AES-256-CBC: NSS since 3.49, `key4.db` only.
    Pbes2Aes256 {
        /// Rounds of PBKDF2.
        iterations: u32,
    },
    /// Netscape's PBE with SHA-1 and 3DES: `key3.db`, older `key4.db`, and keys copied from `key3.db`.
    NssPbe3Des {
        /// Rounds of SHA-1.
        iterations: u32,
    },
    /// Something else, named by its object identifier or by what is wrong with it.
    Other(String),
}

/// A private key, still encrypted.
#[derive(Clone, Debug)]
pub struct PrivateKey {
    /// CKA_ID; in the legacy format SHA-1 of the public value.
    pub cka_id: Vec<u8>,
    /// Kind.
    pub kind: KeyKind,
    /// Nickname, when one is stored with the key.
    pub nickname: Option<Nickname>,
    /// RSA modulus without leading zeros, EC point, DSA or DH public value; empty when not stored.
    pub public_value: Vec<u8>,
    /// How it is encrypted.
    pub encryption: Algorithm,
    pub(crate) sealed: Sealed,
}

/// The encrypted parts of a private key.
#[derive(Clone, Debug)]
pub(crate) enum Sealed {
    /// The row of `key4.db`: plain attributes and encrypted ones by number.
    Sql { plain: HashMap<u32, Vec<u8>>, encrypted: HashMap<u32, Vec<u8>> },
    /// EncryptedPrivateKeyInfo of `key3.db`.
    Dbm { encrypted: Vec<u8> },
}

/// A public key row.
#[derive(Clone, Debug)]
pub struct PublicKey {
    /// CKA_ID.
    pub cka_id: Vec<u8>,
    /// Public value, as in [`PrivateKey::public_value`].
    pub public_value: Vec<u8>,
}

/// A certificate revocation list.
#[derive(Clone, Debug)]
pub struct Crl {
    /// DER.
    pub der: Vec<u8>,
    /// Whether it is a key revocation list, a kind that has not been issued for decades.
    pub is_krl: bool,
    /// Where it came from, if stored.
    pub url: Option<String>,
}

/// State of the password of the key database.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordState {
    /// No password record: a password was never set, not even an empty one.
    NotInitialised,
    /// The password is empty: NSS logs in on its own.
    Empty,
    /// A password is set.
    Set {
        /// Rounds of the key derivation; 0 when the record has another algorithm.
        iterations: u32,
        /// How the check value is encrypted.
        algorithm: Algorithm,
        /// Length of the global salt in bytes: 20, or 48 when NSS 3.118 or later set the password. Older
        /// versions then refuse the right password.
        salt_length: usize,
    },
    /// The record cannot be read.
    Unreadable(String),
}

/// What the contents reveal about the versions of NSS that wrote them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Generation {
    /// Columns of the table in `cert9.db`: 120 for NSS 3.87, more once NSS 3.114 or later opened it.
    pub certificate_columns: usize,
    /// Columns of the table in `key4.db`.
    pub key_columns: usize,
    /// Trust objects of the kind that only NSS 3.114 and later understand.
    pub pkcs11_trust: usize,
    /// Length of the global salt; 0 without password record.
    pub salt_length: usize,
    /// Identifiers of databases that were merged into this one.
    pub merged: Vec<String>,
    /// Version byte in `key3.db`; 3 for NSS.
    pub key3_version: Option<u8>,
}

/// What is needed to check the password and the signatures.
#[derive(Debug, Default)]
pub(crate) struct KeyStore {
    /// Why the key file could not be read, so that the state of the password is unknown.
    pub(crate) unreadable: Option<String>,
    pub(crate) global_salt: Vec<u8>,
    pub(crate) check: Option<CheckValue>,
    /// Signatures by table, object and attribute.
    pub(crate) signatures: HashMap<SignatureId, Vec<u8>>,
    /// Plain attributes NSS signs, in the order of the files.
    pub(crate) signed: Vec<SignedValue>,
}

/// The encrypted text "password-check".
#[derive(Debug)]
pub(crate) enum CheckValue {
    /// A blob in the usual format of `key4.db`.
    Blob(Vec<u8>),
    /// The parts of the record in `key3.db`, which is always Netscape's 3DES.
    Netscape { salt: Vec<u8>, rounds: u32, content: Vec<u8> },
    /// A `key3.db` record with another algorithm.
    Other(String),
}

/// The table to which a signature belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Table {
    Certificates,
    Keys,
}

/// Older password changes stored signatures of encrypted values under the object with these bits set
/// (`SFTK_KEYDB_TYPE` and `SFTK_TOKEN_TYPE` in lib/softoken); NSS looks there when the regular place has none.
const MISFILED: u32 = 0xc000_0000;

impl SignatureId {
    /// Where the signature is if it is not in the regular place.
    pub(crate) fn misfiled(self) -> SignatureId {
        SignatureId { object: self.object | MISFILED, ..self }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct SignatureId {
    pub(crate) table: Table,
    pub(crate) object: u32,
    pub(crate) attribute: u32,
}

#[derive(Clone, Debug)]
pub(crate) struct SignedValue {
    pub(crate) id: SignatureId,
    /// Whether the value is a ciphertext: then the signature is over the plaintext and object 0.
    pub(crate) encrypted: bool,
    pub(crate) value: Vec<u8>,
}
