//! The parts of an inspection's document: files, password, certificates, keys, revocation lists.

use std::collections::{BTreeMap, HashSet};

use nssight_nssdb::{Algorithm, KeyKind};
use schemars::JsonSchema;
use serde::Serialize;
use time::OffsetDateTime;

use crate::facts::{Facts, KeyFacts, Names, stamp};

/// The document, schema `nssight/db-inspect/1`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Inspection {
    pub(crate) schema: &'static str,
    /// Path of the directory.
    pub directory: String,
    /// The files that NSS would open in this directory.
    pub choice: ChoiceView,
    /// The format of the inspected files: `sql` or `dbm`.
    pub format: String,
    /// Files of NSS in the directory.
    pub files: Vec<FileView>,
    /// The password of the key database.
    pub password: PasswordView,
    /// The NSS versions that wrote the files, according to their content.
    pub generation: GenerationView,
    /// Certificates.
    pub certificates: Vec<CertificateView>,
    /// Private keys.
    pub private_keys: Vec<KeyView>,
    /// Certificate revocation lists.
    pub crls: Vec<CrlView>,
    /// Oddities, and parts that another NSS version would read differently.
    pub remarks: Vec<Remark>,
    /// Signatures of trust and key attributes; absent without the password, and in the legacy format, which has none.
    pub signatures: Option<SignaturesView>,
    /// Objects of kinds that are not interpreted, with their number.
    pub not_understood: BTreeMap<String, usize>,
    /// Damage, each with its file and place.
    pub problems: Vec<String>,
    /// A part was unreadable, so the lists are incomplete.
    pub partial: bool,
}

/// A remark about a database.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Remark {
    /// The type of the remark.
    pub id: &'static str,
    /// The remark in one sentence.
    pub text: String,
}

/// The files that NSS would open in the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub struct ChoiceView {
    /// The format that NSS looks for.
    pub asked: String,
    /// The format of the certificates and keys that NSS reads; absent if NSS fails or creates an empty database.
    pub reads: Option<String>,
    /// The error code that NSS fails with.
    pub error: Option<i32>,
    /// The reason for this choice.
    pub reason: String,
}

/// A file in the directory.
#[derive(Debug, Serialize, JsonSchema)]
pub struct FileView {
    /// Name without the directory.
    pub name: String,
    /// The type of the content, according to the first bytes.
    pub content: String,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits, octal.
    pub mode: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change, RFC 3339.
    pub modified: String,
    /// Target, where it is a symbolic link.
    pub link: Option<String>,
    /// The reason why the file is unreadable.
    pub error: Option<String>,
}

/// The password of the key database.
#[derive(Debug, Serialize, JsonSchema)]
pub struct PasswordView {
    /// `none`, `empty`, `set`, or `unreadable`.
    pub state: &'static str,
    /// Encryption of the check value.
    pub encryption: Option<String>,
    /// Iterations of the key derivation.
    pub iterations: Option<u32>,
    /// Length of the salt in bytes; 48 if NSS 3.118 or later set the password.
    pub salt_length: Option<usize>,
    /// `right` or `wrong`; absent where none was given.
    pub given: Option<&'static str>,
}

/// The NSS versions that wrote the files, according to their content.
#[derive(Debug, Serialize, JsonSchema)]
pub struct GenerationView {
    /// Attribute columns of cert9.db; 0 in the legacy format.
    pub certificate_columns: usize,
    /// Attribute columns of key4.db; 0 in the legacy format.
    pub key_columns: usize,
    /// Trust objects of the class that NSS 3.114 brought.
    pub pkcs11_trust: usize,
    /// Databases that were merged into this one.
    pub merged: Vec<String>,
}

/// One certificate.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CertificateView {
    /// The first nickname; absent for a certificate without one.
    pub nickname: Option<String>,
    /// All nicknames, if there are several; otherwise empty.
    pub nicknames: Vec<String>,
    /// SHA-256 of the DER, in lower-case hexadecimal.
    pub sha256: String,
    /// Distinguished name of the subject.
    pub subject: String,
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Hexadecimal.
    pub serial: String,
    /// Start of the validity, RFC 3339 in UTC.
    pub not_before: Option<String>,
    /// End of the validity, RFC 3339 in UTC.
    pub not_after: Option<String>,
    /// Days until expiry; negative after expiry.
    pub days_left: Option<i64>,
    /// Kind and size of the public key.
    pub key: Option<KeyFacts>,
    /// Subject alternative names.
    pub alternative_names: Vec<String>,
    /// Extended key usage; absent if the certificate does not limit its usage.
    pub extended_key_usage: Option<Vec<String>>,
    /// Whether the basic constraints mark the certificate as a CA.
    pub is_ca: bool,
    /// Trust flags, as `certutil -L` prints them.
    pub trust: String,
    /// Kind of the object that holds it: `nss`, `pkcs11`, `dbm`, or `none`.
    pub trust_source: &'static str,
    /// Whether the private key is in the key database.
    pub has_private_key: bool,
    /// `none`, `matches`, `identifier-only`, or `differs`.
    pub private_key: &'static str,
    /// Fingerprint of the certificate in this database that issued it.
    pub issuer_sha256: Option<String>,
    /// Subject, issuer and key identifiers as DER.
    #[serde(skip)]
    pub names: Option<Names>,
}

/// One private key.
#[derive(Debug, Serialize, JsonSchema)]
pub struct KeyView {
    /// CKA_ID, hexadecimal.
    pub id: String,
    /// Kind of the key.
    #[serde(rename = "type")]
    pub kind: String,
    /// CKA_LABEL, where it has one.
    pub nickname: Option<String>,
    /// Encryption of the private values.
    pub encryption: String,
    /// Iterations of the key derivation.
    pub iterations: Option<u32>,
    /// Nicknames, or subjects, of the certificates that it belongs to.
    pub certificates: Vec<String>,
    /// The result of decrypting the key; absent without the password.
    pub decrypted: Option<String>,
}

/// A certificate revocation list.
#[derive(Debug, Serialize, JsonSchema)]
pub struct CrlView {
    /// Distinguished name of the issuer.
    pub issuer: String,
    /// Number of revoked certificates.
    pub revoked: usize,
    /// Next update, RFC 3339 in UTC; absent if the list does not state it.
    pub next_update: Option<String>,
    /// URL of the list.
    pub url: Option<String>,
}

/// Numbers of signed attributes.
#[derive(Debug, Serialize, JsonSchema)]
pub struct SignaturesView {
    /// Signatures that verify.
    pub good: usize,
    /// Signatures that do not verify.
    pub bad: usize,
    /// Attributes that should have a signature and have none.
    pub missing: usize,
    /// Signatures that were not verified before the deadline.
    pub unchecked: usize,
}

impl CertificateView {
    /// Copies the fields of the certificate into this view.
    pub(crate) fn take(&mut self, facts: Facts, now: OffsetDateTime) {
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

    /// The name: the nickname, or the subject.
    pub fn name(&self) -> &str {
        self.nickname.as_deref().unwrap_or(&self.subject)
    }
}

/// The name of an encryption scheme.
pub fn scheme(algorithm: &Algorithm) -> String {
    match algorithm {
        Algorithm::Pbes2Aes256 { .. } => "PBES2, AES-256".to_owned(),
        Algorithm::NssPbe3Des { .. } => "SHA-1, 3DES".to_owned(),
        Algorithm::Other(name) => name.clone(),
    }
}

/// The name of a kind of key.
pub fn key_kind(kind: KeyKind) -> String {
    match kind {
        KeyKind::Rsa => "RSA".to_owned(),
        KeyKind::Dsa => "DSA".to_owned(),
        KeyKind::Dh => "DH".to_owned(),
        KeyKind::Ec => "EC".to_owned(),
        // PKCS #11 3.2, pkcs11t.h; of the Edwards and Montgomery curves NSS has one each.
        KeyKind::Other(0x40) => "Ed25519".to_owned(),
        KeyKind::Other(0x41) => "X25519".to_owned(),
        KeyKind::Other(0x49) => "ML-KEM".to_owned(),
        KeyKind::Other(0x4a) => "ML-DSA".to_owned(),
        KeyKind::Other(0x4b) => "SLH-DSA".to_owned(),
        KeyKind::Other(number) => format!("CKK 0x{number:x}"),
        KeyKind::Undisclosed => "known only after decryption".to_owned(),
    }
}

/// The chain from a certificate to its last known issuer, the leaf first; a circle of issuers ends it.
pub fn chain<'a>(inspection: &'a Inspection, leaf: &'a CertificateView) -> Vec<&'a CertificateView> {
    let mut links = vec![leaf];
    let mut seen = HashSet::from([leaf.sha256.as_str()]);
    while let Some(issuer) = links.last().and_then(|last| last.issuer_sha256.as_deref())
        && let Some(found) = inspection.certificates.iter().find(|view| view.sha256 == issuer)
        && seen.insert(&found.sha256)
    {
        links.push(found);
    }
    links
}
