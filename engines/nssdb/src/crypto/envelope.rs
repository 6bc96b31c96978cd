//! The blobs of the databases: an AlgorithmIdentifier and an OCTET STRING.

use super::der::{self, Reader};
use super::{Failure, MAX_ITERATIONS, kdf};
use crate::model::Algorithm;
use openssl::hash::MessageDigest;
use openssl::pkcs5::pbkdf2_hmac;
use openssl::symm::{Cipher, Crypter, Mode};
use zeroize::Zeroizing;

const PBES2: &str = "1.2.840.113549.1.5.13";
const PBMAC1: &str = "1.2.840.113549.1.5.14";
const PBKDF2: &str = "1.2.840.113549.1.5.12";
/// Netscape's PBE with SHA-1 and 3DES-CBC, object identifier of its body.
pub(crate) const NSS_PBE_3DES: &str = "1.2.840.113549.1.12.5.1.3";

/// A parsed blob; nothing is computed before [`Envelope::decrypt`] or [`verify_mac`].
#[derive(Debug)]
pub(crate) struct Envelope<'a> {
    scheme: Scheme<'a>,
    content: &'a [u8],
}

#[derive(Debug)]
enum Scheme<'a> {
    /// PBES2 or PBMAC1 (RFC 8018, sections 6.2 and 7.1): the derivation, then the object identifier and parameter
    /// of the scheme that uses the derived key.
    Derived {
        derivation: Derivation<'a>,
        mac: bool,
        algorithm: String,
        parameter: Option<der::Tlv<'a>>,
    },
    Netscape {
        salt: &'a [u8],
        rounds: u32,
    },
    Other(String),
}

#[derive(Debug)]
struct Derivation<'a> {
    salt: &'a [u8],
    rounds: u32,
    length: Option<u32>,
    prf: String,
}

impl<'a> Envelope<'a> {
    /// Parses a blob.
    pub(crate) fn parse(blob: &'a [u8]) -> Result<Envelope<'a>, Failure> {
        parse(blob).ok_or(Failure::Malformed("the encryption header is not valid DER"))
    }

    /// An envelope with the Netscape algorithm whose parts are in a separate record (key3.db).
    pub(crate) fn netscape(salt: &'a [u8], rounds: u32, content: &'a [u8]) -> Envelope<'a> {
        Envelope { scheme: Scheme::Netscape { salt, rounds }, content }
    }

    /// The algorithm, for display.
    pub(crate) fn algorithm(&self) -> Algorithm {
        match &self.scheme {
            Scheme::Derived { derivation, mac: false, algorithm, .. } => {
                match (cipher(algorithm), algorithm.as_str()) {
                    (Some(_), AES256) => Algorithm::Pbes2Aes256 { iterations: derivation.rounds },
                    _ => Algorithm::Other(format!("PBES2 with {algorithm}")),
                }
            }
            Scheme::Derived { .. } => Algorithm::Other("PBMAC1".into()),
            Scheme::Netscape { rounds, .. } => Algorithm::NssPbe3Des { iterations: *rounds },
            Scheme::Other(oid) => Algorithm::Other(oid.clone()),
        }
    }

    /// Decrypts with the hashed password of [`super::password_key`].
    pub(crate) fn decrypt(&self, password_key: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        match &self.scheme {
            Scheme::Derived { derivation, mac: false, algorithm, parameter } => {
                let cipher = cipher(algorithm)
                    .ok_or_else(|| Failure::Unsupported(format!("encryption algorithm {algorithm}")))?;
                let parameter = parameter.ok_or(Failure::Malformed("the cipher has no IV"))?;
                // NSS passes the whole encoded parameter to the cipher: 04 0E and 14 bytes make its 16 (measured
                // on NSS 3.87.1). The standard form has 16 bytes inside.
                let iv = [parameter.raw, parameter.body]
                    .into_iter()
                    .find(|iv| iv.len() == 16)
                    .ok_or(Failure::Malformed("the IV is not 16 bytes long"))?;
                let key = derivation.key(password_key, cipher.key_len())?;
                decrypt(cipher, &key, iv, self.content)
            }
            Scheme::Netscape { salt, rounds } => {
                limit(*rounds)?;
                let refused = || Failure::Unsupported("OpenSSL refuses SHA-1".into());
                let stream = kdf::netscape_3des(password_key, salt, *rounds).ok_or_else(refused)?;
                let (key, rest) = stream.split_at_checked(24).ok_or_else(refused)?;
                let (_, iv) = rest.split_at_checked(8).ok_or_else(refused)?;
                decrypt(Cipher::des_ede3_cbc(), key, iv, self.content)
            }
            Scheme::Derived { .. } => Err(Failure::Malformed("found a signature where a ciphertext was expected")),
            Scheme::Other(oid) => Err(Failure::Unsupported(format!("encryption algorithm {oid}"))),
        }
    }
}

impl Derivation<'_> {
    fn key(&self, password_key: &[u8], length: usize) -> Result<Zeroizing<Vec<u8>>, Failure> {
        limit(self.rounds)?;
        let digest =
            digest(&self.prf).ok_or_else(|| Failure::Unsupported(format!("key derivation with {}", self.prf)))?;
        if self.length.is_some_and(|stated| stated as usize != length) {
            return Err(Failure::Malformed("the key length does not match the cipher"));
        }
        let mut key = Zeroizing::new(vec![0; length]);
        pbkdf2_hmac(password_key, self.salt, self.rounds as usize, digest, &mut key)
            .map_err(|_| Failure::Unsupported("OpenSSL refuses the key derivation".into()))?;
        Ok(key)
    }
}

/// Whether a PBMAC1 blob is the signature over an attribute of an object. NSS puts the object identifier (0 for
/// encrypted attributes) and the attribute number in front of the value.
pub(crate) fn verify_mac(
    blob: &[u8],
    password_key: &[u8],
    object: u32,
    attribute: u32,
    value: &[u8],
) -> Result<bool, Failure> {
    let envelope = Envelope::parse(blob)?;
    let Scheme::Derived { derivation, mac: true, algorithm, .. } = &envelope.scheme else {
        return Err(Failure::Malformed("not a PBMAC1 signature"));
    };
    let digest = digest(algorithm).ok_or_else(|| Failure::Unsupported(format!("signature algorithm {algorithm}")))?;
    let key = derivation.key(password_key, derivation.length.map_or(32, |n| n as usize).min(64))?;
    let tag = kdf::hmac(digest, &key, &[&object.to_be_bytes(), &attribute.to_be_bytes(), value])
        .ok_or(Failure::Unsupported("OpenSSL refuses the digest".into()))?;
    Ok(tag.len() == envelope.content.len() && openssl::memcmp::eq(&tag, envelope.content))
}

fn parse(blob: &[u8]) -> Option<Envelope<'_>> {
    let mut outer = Reader::new(blob).sequence()?;
    let mut identifier = outer.sequence()?;
    let oid = der::dotted(identifier.expect(der::OID)?)?;
    let scheme = match oid.as_str() {
        PBES2 | PBMAC1 => {
            let mut parameters = identifier.sequence()?;
            let derivation = derivation(parameters.sequence()?)?;
            let mut scheme = parameters.sequence()?;
            Scheme::Derived {
                derivation,
                mac: oid == PBMAC1,
                algorithm: der::dotted(scheme.expect(der::OID)?)?,
                parameter: scheme.next(),
            }
        }
        NSS_PBE_3DES => {
            let mut parameters = identifier.sequence()?;
            Scheme::Netscape { salt: parameters.expect(der::OCTET_STRING)?, rounds: parameters.small_integer()? }
        }
        _ => Scheme::Other(oid),
    };
    let content = outer.expect(der::OCTET_STRING)?;
    Some(Envelope { scheme, content })
}

fn derivation(mut function: Reader<'_>) -> Option<Derivation<'_>> {
    if der::dotted(function.expect(der::OID)?)? != PBKDF2 {
        return None;
    }
    let mut parameters = function.sequence()?;
    let salt = parameters.expect(der::OCTET_STRING)?;
    let rounds = parameters.small_integer()?;
    let mut length = None;
    // hmacWithSHA1 is the default of RFC 8018, A.2.
    let mut prf = HMAC_SHA1.to_owned();
    while !parameters.is_empty() {
        let element = parameters.next()?;
        match element.tag {
            der::INTEGER => length = Some(Reader::new(element.raw).small_integer()?),
            der::SEQUENCE => prf = der::dotted(Reader::new(element.body).expect(der::OID)?)?,
            _ => return None,
        }
    }
    Some(Derivation { salt, rounds, length, prf })
}

const HMAC_SHA1: &str = "1.2.840.113549.2.7";

fn digest(oid: &str) -> Option<MessageDigest> {
    match oid {
        HMAC_SHA1 => Some(MessageDigest::sha1()),
        "1.2.840.113549.2.9" => Some(MessageDigest::sha256()),
        "1.2.840.113549.2.10" => Some(MessageDigest::sha384()),
        "1.2.840.113549.2.11" => Some(MessageDigest::sha512()),
        _ => None,
    }
}

const AES256: &str = "2.16.840.1.101.3.4.1.42";

fn cipher(oid: &str) -> Option<Cipher> {
    match oid {
        "2.16.840.1.101.3.4.1.2" => Some(Cipher::aes_128_cbc()),
        "2.16.840.1.101.3.4.1.22" => Some(Cipher::aes_192_cbc()),
        AES256 => Some(Cipher::aes_256_cbc()),
        _ => None,
    }
}

fn limit(rounds: u32) -> Result<(), Failure> {
    if rounds == 0 {
        return Err(Failure::Malformed("zero iterations"));
    }
    if rounds > MAX_ITERATIONS {
        return Err(Failure::Unsupported(format!("{rounds} iterations; the maximum is {MAX_ITERATIONS}")));
    }
    Ok(())
}

fn decrypt(cipher: Cipher, key: &[u8], iv: &[u8], data: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
    if data.is_empty() || !data.len().is_multiple_of(cipher.block_size()) {
        return Err(Failure::Malformed("the length of the ciphertext is not a multiple of the block size"));
    }
    let refused = |_| Failure::Unsupported("OpenSSL refuses the cipher".into());
    let mut crypter = Crypter::new(cipher, Mode::Decrypt, key, Some(iv)).map_err(refused)?;
    let mut plain = Zeroizing::new(vec![0; data.len() + cipher.block_size()]);
    let update = crypter.update(data, &mut plain).map_err(refused)?;
    let rest = plain.get_mut(update..).unwrap_or_default();
    let end = crypter.finalize(rest).map_err(|_| Failure::Padding)?;
    plain.truncate(update + end);
    Ok(plain)
}
