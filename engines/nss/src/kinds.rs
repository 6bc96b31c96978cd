//! Kinds of keys that NSS did not always know.

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewerKind {
    /// What people call it.
    pub name: &'static str,
    /// Its algorithm in a certificate (RFC 8410, 3; RFC 9881, 2).
    pub algorithm: &'static str,
    /// The mechanism that signs with it (pkcs11t.h, PKCS #11 3.2).
    pub mechanism: u32,
    /// The first NSS that signs with it, by its release notes.
    pub since: (u32, u32),
}

const EDDSA: u32 = 0x1057;
const ML_DSA: u32 = 0x1d;

/// All of them.
pub const KINDS: &[NewerKind] = &[
    NewerKind { name: "Ed25519", algorithm: "1.3.101.112", mechanism: EDDSA, since: (3, 99) },
    NewerKind { name: "ML-DSA-44", algorithm: "2.16.840.1.101.3.4.3.17", mechanism: ML_DSA, since: (3, 116) },
    NewerKind { name: "ML-DSA-65", algorithm: "2.16.840.1.101.3.4.3.18", mechanism: ML_DSA, since: (3, 116) },
    NewerKind { name: "ML-DSA-87", algorithm: "2.16.840.1.101.3.4.3.19", mechanism: ML_DSA, since: (3, 116) },
];

/// The kind of this algorithm, written with dots, if it is one of these.
pub fn of_algorithm(algorithm: &str) -> Option<&'static NewerKind> {
    KINDS.iter().find(|kind| kind.algorithm == algorithm)
}
