//! Whether a key can make a signature that both sides of a session list.

use crate::fact::fact::OurKeyFits;

/// The kind of a key, as far as it matters for signatures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signer {
    /// RSA, for signatures with either padding.
    Rsa,
    /// RSA, restricted to PSS by its certificate.
    RsaPss,
    /// A NIST elliptic curve.
    Ec,
    /// DSA.
    Dsa,
    /// Ed25519.
    Ed25519,
}

impl Signer {
    /// Whether this key can make signatures of this TLS 1.2 or 1.3 scheme (RFC 8446, 4.2.3; RFC 5246, 7.4.1.4.1).
    fn makes(self, scheme: u16) -> bool {
        match self {
            Self::Rsa => matches!(scheme, 0x0201 | 0x0301 | 0x0401 | 0x0501 | 0x0601 | 0x0804..=0x0806),
            Self::RsaPss => matches!(scheme, 0x0809..=0x080b),
            Self::Ec => matches!(scheme, 0x0203 | 0x0303 | 0x0403 | 0x0503 | 0x0603),
            Self::Dsa => matches!(scheme, 0x0202 | 0x0302 | 0x0402 | 0x0502 | 0x0602),
            Self::Ed25519 => scheme == 0x0807,
        }
    }
}

/// Whether a key can make a signature that the peer accepts and that we offered.
pub fn fits(key: Signer, taken: &[u16], offered: &[u16]) -> OurKeyFits {
    let mut taken = taken.iter().filter(|scheme| key.makes(**scheme)).peekable();
    if taken.peek().is_none() {
        return OurKeyFits::NotTaken;
    }
    if taken.any(|scheme| offered.contains(scheme)) { OurKeyFits::Yes } else { OurKeyFits::NotOffered }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [u16; 4] = [0x0403, 0x0503, 0x0804, 0x0401];
    const RSA_ONLY: [u16; 2] = [0x0804, 0x0401];

    #[test]
    fn a_key_fits_a_scheme_of_its_kind_that_both_sides_list() {
        use OurKeyFits::{NotOffered, NotTaken, Yes};
        assert_eq!(fits(Signer::Ec, &BOTH, &BOTH), Yes);
        assert_eq!(fits(Signer::Ec, &RSA_ONLY, &BOTH), NotTaken);
        assert_eq!(fits(Signer::Ec, &[], &BOTH), NotTaken);
        assert_eq!(fits(Signer::Rsa, &RSA_ONLY, &BOTH), Yes);
        assert_eq!(fits(Signer::Rsa, &[0x0804], &[0x0401]), NotOffered);
        assert_eq!(fits(Signer::RsaPss, &RSA_ONLY, &BOTH), NotTaken);
        assert_eq!(fits(Signer::Ed25519, &[0x0807, 0x0403], &BOTH), NotOffered);
        assert_eq!(fits(Signer::Dsa, &BOTH, &BOTH), NotTaken);
    }
}
