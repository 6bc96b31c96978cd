//! Types of keys that older versions of NSS do not support.

/// A kind of key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NewerKind {
    /// Its common name.
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

/// Algorithms of keys that no NSS up to 3.132 signs with, by the last number of their identifier (RFC 9909, 3).
const SLH_DSA: &str = "2.16.840.1.101.3.4.3.";
const SLH_DSA_FIRST: usize = 20;
const SLH_DSA_NAMES: [&str; 12] = [
    "SLH-DSA-SHA2-128s",
    "SLH-DSA-SHA2-128f",
    "SLH-DSA-SHA2-192s",
    "SLH-DSA-SHA2-192f",
    "SLH-DSA-SHA2-256s",
    "SLH-DSA-SHA2-256f",
    "SLH-DSA-SHAKE-128s",
    "SLH-DSA-SHAKE-128f",
    "SLH-DSA-SHAKE-192s",
    "SLH-DSA-SHAKE-192f",
    "SLH-DSA-SHAKE-256s",
    "SLH-DSA-SHAKE-256f",
];

/// The common name of a key algorithm (a dotted object identifier); `None` for RSA, DSA and EC, and for unknown algorithms.
pub fn name_of_algorithm(algorithm: &str) -> Option<&'static str> {
    match algorithm {
        // RFC 8410, 3.
        "1.3.101.110" => return Some("X25519"),
        "1.3.101.113" => return Some("Ed448"),
        _ => {}
    }
    let slh_dsa = || algorithm.strip_prefix(SLH_DSA)?.parse::<usize>().ok()?.checked_sub(SLH_DSA_FIRST);
    of_algorithm(algorithm).map(|kind| kind.name).or_else(|| SLH_DSA_NAMES.get(slh_dsa()?).copied())
}

/// The kind with this algorithm (a dotted object identifier), if it is in [`KINDS`].
pub fn of_algorithm(algorithm: &str) -> Option<&'static NewerKind> {
    KINDS.iter().find(|kind| kind.algorithm == algorithm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_algorithms() {
        let cases = [
            ("1.3.101.112", Some("Ed25519")),
            ("2.16.840.1.101.3.4.3.17", Some("ML-DSA-44")),
            ("2.16.840.1.101.3.4.3.19", Some("ML-DSA-87")),
            ("2.16.840.1.101.3.4.3.20", Some("SLH-DSA-SHA2-128s")),
            ("2.16.840.1.101.3.4.3.31", Some("SLH-DSA-SHAKE-256f")),
            ("2.16.840.1.101.3.4.3.32", None),
            ("2.16.840.1.101.3.4.3.2", None),
            ("2.16.840.1.101.3.4.3", None),
        ];
        for (algorithm, name) in cases {
            assert_eq!(name_of_algorithm(algorithm), name, "{algorithm}");
        }
    }
}
