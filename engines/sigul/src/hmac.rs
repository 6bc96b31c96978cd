//! HMAC-SHA-512 (RFC 2104) over a stream.
//!
//! Built on OpenSSL's SHA-512 because OpenSSL's own HMAC borrows its key for its whole lifetime, which a decoder that
//! is kept between reads cannot provide, and because this one cannot fail. Tests compare it with OpenSSL's and with RFC 4231.

use openssl::memcmp;
use openssl::sha::Sha512;
use zeroize::Zeroizing;

/// Bytes of a SHA-512 digest, and so of the HMAC.
pub(crate) const DIGEST: usize = 64;

/// Bytes of a block of SHA-512 (FIPS 180-4 section 1).
const BLOCK: usize = 128;

pub(crate) struct Hmac {
    inner: Sha512,
    outer: Sha512,
}

impl Hmac {
    pub(crate) fn new(key: &[u8]) -> Self {
        let mut block = Zeroizing::new([0_u8; BLOCK]);
        if let Some(start) = block.get_mut(..key.len()) {
            start.copy_from_slice(key);
        } else {
            let digest = Zeroizing::new(openssl::sha::sha512(key));
            block[..DIGEST].copy_from_slice(&*digest);
        }
        let keyed = |pad: u8| {
            let padded = Zeroizing::new(block.map(|byte| byte ^ pad));
            let mut hash = Sha512::new();
            hash.update(&*padded);
            hash
        };
        Self { inner: keyed(0x36), outer: keyed(0x5c) }
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.inner.update(bytes);
    }

    pub(crate) fn finish(mut self) -> [u8; DIGEST] {
        self.outer.update(&self.inner.finish());
        self.outer.finish()
    }

    /// Whether `claimed` is the HMAC, in a time that does not reveal where the two differ.
    pub(crate) fn verify(self, claimed: &[u8; DIGEST]) -> bool {
        memcmp::eq(&self.finish(), claimed)
    }
}

#[cfg(test)]
mod tests {
    use super::Hmac;
    use openssl::hash::MessageDigest;
    use openssl::pkey::PKey;
    use openssl::sign::Signer;

    fn ours(key: &[u8], pieces: &[&[u8]]) -> Vec<u8> {
        let mut hmac = Hmac::new(key);
        pieces.iter().for_each(|piece| hmac.update(piece));
        hmac.finish().to_vec()
    }

    #[test]
    fn rfc_4231_test_case_2_holds() {
        let expected = "164b7a7bfcf819e2e395fbe73b56e0a387bd64222e831fd610270cd7ea2505549758bf75c05a994a6d034f65f8f0e6fdcaeab1a34d4a6b4b636e070a38bce737";
        let given: String =
            ours(b"Jefe", &[b"what do ya want ", b"for nothing?"]).iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!(given, expected);
    }

    #[test]
    fn the_result_is_that_of_openssl_for_every_key_length() {
        for length in 1..=255 {
            let key = vec![length as u8; length];
            let theirs = PKey::hmac(&key).unwrap();
            let mut signer = Signer::new(MessageDigest::sha512(), &theirs).unwrap();
            signer.update(b"some text").unwrap();
            assert_eq!(ours(&key, &[b"some", b"", b" text"]), signer.sign_to_vec().unwrap());
        }
    }
}
