//! From password to key.

use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sha::{Sha1, Sha384};
use openssl::sign::Signer;
use zeroize::Zeroizing;

/// Length of the global salt NSS 3.118 and later write together with SHA-384.
pub(crate) const LONG_SALT: usize = 48;

/// SHA-1, for the name of a public value (CKA_ID) and the keys of the older encryption.
pub(crate) fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    let mut hash = Sha1::new();
    for part in parts {
        hash.update(part);
    }
    hash.finish()
}

/// The hash of salt and password that replaces the password everywhere else
/// (`sftkdb_passwordToKey` in lib/softoken/sftkpwd.c).
///
/// NSS takes the password as a C string, so it ends at the first NUL.
pub(crate) fn password_key(salt: &[u8], password: &[u8]) -> Zeroizing<Vec<u8>> {
    let password = password.split(|byte| *byte == 0).next().unwrap_or(&[]);
    Zeroizing::new(if salt.len() == LONG_SALT {
        let mut hash = Sha384::new();
        hash.update(salt);
        hash.update(password);
        hash.finish().to_vec()
    } else {
        sha1(&[salt, password]).to_vec()
    })
}

/// HMAC of the parts one after the other; `None` only if OpenSSL refuses the digest.
pub(super) fn hmac(digest: MessageDigest, key: &[u8], parts: &[&[u8]]) -> Option<Zeroizing<Vec<u8>>> {
    let key = PKey::hmac(key).ok()?;
    let mut signer = Signer::new(digest, &key).ok()?;
    for part in parts {
        signer.update(part).ok()?;
    }
    signer.sign_to_vec().ok().map(Zeroizing::new)
}

/// The key derivation behind Netscape's 3DES encryption (`nsspkcs5_PBKDF1Extended` in
/// lib/softoken/lowpbe.c): 40 bytes, of which the first 24 are the key and the last 8 the IV. `rounds` must have
/// been checked against [`super::MAX_ITERATIONS`].
pub(super) fn netscape_3des(password_key: &[u8], salt: &[u8], rounds: u32) -> Option<Zeroizing<Vec<u8>>> {
    let mut hash = Zeroizing::new(sha1(&[password_key, salt]));
    for _ in 1..rounds {
        *hash = sha1(&[hash.as_slice()]);
    }
    let mut state = Zeroizing::new(salt.to_vec());
    if state.len() < 20 {
        state.resize(20, 0);
    }
    let mut stream = Zeroizing::new(Vec::with_capacity(40));
    for _ in 0..2 {
        let block = hmac(MessageDigest::sha1(), hash.as_slice(), &[state.as_slice(), salt])?;
        stream.extend_from_slice(&block);
        state = hmac(MessageDigest::sha1(), hash.as_slice(), &[state.as_slice()])?;
    }
    Some(stream)
}
