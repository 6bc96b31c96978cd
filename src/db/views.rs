//! The parts of an inspection's document: files, password, certificates, keys, revocation lists.

use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use super::facts::{Facts, KeyFacts, Names};
use super::inspect::stamp;

/// What NSS would open in the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ChoiceView {
    /// The format NSS asks for.
    pub(crate) asked: String,
    /// The format that certificates and keys come from; absent where NSS fails or starts an empty database.
    pub(crate) reads: Option<String>,
    /// The error code that NSS fails with.
    pub(crate) error: Option<i32>,
    /// Why, in words.
    pub(crate) reason: String,
}

/// One file of the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct FileView {
    pub(crate) name: String,
    /// What its first bytes say.
    pub(crate) content: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Permission bits, octal.
    pub(crate) mode: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    /// RFC 3339.
    pub(crate) modified: String,
    /// Target, where it is a symbolic link.
    pub(crate) link: Option<String>,
    /// Why it cannot be read.
    pub(crate) error: Option<String>,
}

/// The password of the key database.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct PasswordView {
    /// `none`, `empty`, `set`, or `unreadable`.
    pub(crate) state: &'static str,
    /// How the check value is encrypted.
    pub(crate) encryption: Option<String>,
    pub(crate) iterations: Option<u32>,
    /// Bytes; 48 where NSS 3.118 or later set the password.
    pub(crate) salt_length: Option<usize>,
    /// `right` or `wrong`; absent where none was given.
    pub(crate) given: Option<&'static str>,
}

/// What the contents tell of the NSS versions that wrote them.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct GenerationView {
    pub(crate) certificate_columns: usize,
    pub(crate) key_columns: usize,
    pub(crate) pkcs11_trust: usize,
    pub(crate) merged: Vec<String>,
}

/// One certificate.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CertificateView {
    /// The first nickname; absent for a certificate without one.
    pub(crate) nickname: Option<String>,
    /// All nicknames, where there is more than one; otherwise empty.
    pub(crate) nicknames: Vec<String>,
    /// Of the DER, lower-case hexadecimal.
    pub(crate) sha256: String,
    pub(crate) subject: String,
    pub(crate) issuer: String,
    /// Hexadecimal.
    pub(crate) serial: String,
    /// RFC 3339, UTC.
    pub(crate) not_before: Option<String>,
    pub(crate) not_after: Option<String>,
    /// Negative once it has expired.
    pub(crate) days_left: Option<i64>,
    pub(crate) key: Option<KeyFacts>,
    pub(crate) alternative_names: Vec<String>,
    /// Absent where the certificate does not limit its usage.
    pub(crate) extended_key_usage: Option<Vec<String>>,
    pub(crate) is_ca: bool,
    /// As `certutil -L` prints it.
    pub(crate) trust: String,
    /// Kind of the object that holds it: `nss`, `pkcs11`, `dbm`, or `none`.
    pub(crate) trust_source: &'static str,
    /// The private key is really in the key database.
    pub(crate) has_private_key: bool,
    /// `none`, `matches`, `identifier-only`, or `differs`.
    pub(crate) private_key: &'static str,
    /// Fingerprint of the certificate in this database that issued it.
    pub(crate) issuer_sha256: Option<String>,
    #[serde(skip)]
    pub(crate) names: Option<Names>,
}

/// One private key.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct KeyView {
    /// CKA_ID, hexadecimal.
    pub(crate) id: String,
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) nickname: Option<String>,
    pub(crate) encryption: String,
    pub(crate) iterations: Option<u32>,
    /// Nicknames, or subjects, of the certificates that it belongs to.
    pub(crate) certificates: Vec<String>,
    /// What came of decrypting it; absent without the password.
    pub(crate) decrypted: Option<String>,
}

/// A certificate revocation list.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CrlView {
    pub(crate) issuer: String,
    pub(crate) revoked: usize,
    pub(crate) next_update: Option<String>,
    pub(crate) url: Option<String>,
}

/// Numbers of signed attributes.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SignaturesView {
    pub(crate) good: usize,
    pub(crate) bad: usize,
    pub(crate) missing: usize,
    pub(crate) unchecked: usize,
}

impl CertificateView {
    /// Takes over what the certificate says of itself.
    pub(super) fn take(&mut self, facts: Facts, now: OffsetDateTime) {
        self.not_before = Some(stamp(facts.not_before));
        self.not_after = Some(stamp(facts.not_after));
        self.days_left = Some(facts.days_left(now));
        self.subject = facts.subject;
        self.issuer = facts.issuer;
        self.serial = facts.serial;
        self.key = Some(facts.key);
        self.alternative_names = facts.alternative_names;
        self.extended_key_usage = facts.extended_key_usage;
        self.is_ca = facts.is_ca;
        self.names = Some(facts.names);
    }

    /// What to call it: the nickname, or the subject.
    pub(crate) fn name(&self) -> &str {
        self.nickname.as_deref().unwrap_or(&self.subject)
    }
}
