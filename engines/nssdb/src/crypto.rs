//! The password-based cryptography of the key databases, on OpenSSL.

pub(crate) mod der;
mod envelope;
mod kdf;

pub(crate) use envelope::{Envelope, NSS_PBE_3DES, verify_mac};
pub(crate) use kdf::{password_key, sha1};

use crate::Error;

/// Maximum number of key-derivation rounds for one value. NSS writes 1 or 10,000, but the number comes from the file;
/// this many rounds take a third of a second.
pub(crate) const MAX_ITERATIONS: u32 = 600_000;

/// Why a value cannot be decrypted or verified.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Failure {
    /// Unsupported algorithm or cost.
    Unsupported(String),
    /// Not the expected structure.
    Malformed(&'static str),
    /// The padding is wrong: the usual sign of a wrong key.
    Padding,
}

impl Failure {
    pub(crate) fn into_error(self, what: &str) -> Error {
        match self {
            Failure::Unsupported(why) => Error::Unsupported(format!("{what}: {why}")),
            Failure::Malformed(why) => Error::Undecodable(format!("{what}: {why}")),
            Failure::Padding => Error::Undecodable(format!("{what} cannot be decrypted")),
        }
    }
}
