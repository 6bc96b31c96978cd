//! One difference between two databases, and what follows from it.

use std::collections::BTreeSet;

use nssight_nssdb::{Certificate, PrivateKey};
use schemars::JsonSchema;
use serde::Serialize;

use crate::facts::{Facts, hex};

/// The seriousness of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Gravity {
    /// A connection that works with one database fails with the other.
    Grave,
    /// Some connections may fail.
    Notable,
    /// For information only.
    Note,
}

/// Kind of a difference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A certificate that only A has.
    OnlyInA,
    /// A certificate that only B has.
    OnlyInB,
    /// The same certificate under other nicknames.
    NicknameDiffers,
    /// The same certificate with other trust flags.
    TrustDiffers,
    /// The same trust flags in another kind of object.
    TrustObjectDiffers,
    /// A private key that only A has.
    KeyOnlyInA,
    /// A private key that only B has.
    KeyOnlyInB,
    /// The same private key, encrypted in another way.
    KeyEncryptionDiffers,
    /// A has the newer certificate of a subject.
    RenewedInA,
    /// B has the newer certificate of a subject.
    RenewedInB,
    /// Another certificate in the same place.
    CertificateDiffers,
    /// A revocation list that only A has.
    CrlOnlyInA,
    /// A revocation list that only B has.
    CrlOnlyInB,
    /// The passwords differ.
    PasswordDiffers,
    /// An NSS before 3.118 can check the password of one only.
    SaltDiffers,
}

/// One difference.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Difference {
    /// The type of the difference.
    pub kind: Kind,
    /// The seriousness of the difference.
    pub gravity: Gravity,
    /// Nickname, or the subject where there is none.
    pub name: String,
    /// Fingerprint, where it is about one certificate.
    pub sha256: Option<String>,
    /// The value in A.
    pub a: Option<String>,
    /// The value in B.
    pub b: Option<String>,
    /// The consequence for a TLS client and for a CA.
    pub consequence: String,
}

/// One certificate of one side.
#[derive(Clone, Copy)]
pub(crate) struct Held<'a> {
    pub(crate) certificate: &'a Certificate,
    pub(crate) key: Option<&'a PrivateKey>,
}

impl Held<'_> {
    pub(crate) fn name(&self) -> String {
        let nickname = self.certificate.nicknames.first().map(|nickname| nickname.text.clone());
        nickname
            .or_else(|| Facts::of(&self.certificate.der).map(|facts| facts.subject))
            .unwrap_or_else(|| "an unreadable certificate".to_owned())
    }

    pub(crate) fn nicknames(&self) -> BTreeSet<&str> {
        self.certificate.nicknames.iter().map(|nickname| nickname.text.as_str()).collect()
    }

    pub(crate) fn sha256(&self) -> String {
        hex(&openssl::sha::sha256(&self.certificate.der))
    }
}
