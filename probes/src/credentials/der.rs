//! Determines the type of a DER value.
use openssl::pkcs12::Pkcs12;
use openssl::pkey::PKey;
use openssl::x509::{X509, X509Req};
use x509_parser::asn1_rs::{Any, FromDer, Oid, Sequence};

use super::content::{Block, Content, Fault};

/// The first byte of a SEQUENCE; all known types are one.
pub(super) const SEQUENCE: u8 = 0x30;

/// The content of a file that begins like DER.
pub(super) fn read(bytes: &[u8]) -> Result<Content, Fault> {
    if let Ok(certificate) = X509::from_der(bytes) {
        return Ok(Content::Blocks(vec![Block::Certificate(certificate)]));
    }
    if let Ok(key) = PKey::private_key_from_der(bytes) {
        return Ok(Content::Blocks(vec![Block::Key(key)]));
    }
    if is_encrypted_key(bytes) {
        return Ok(Content::Blocks(vec![Block::LockedKey(bytes.to_vec().into())]));
    }
    if is_pkcs12(bytes) && Pkcs12::from_der(bytes).is_ok() {
        return Ok(Content::Pkcs12(bytes.to_vec().into()));
    }
    if X509Req::from_der(bytes).is_ok() {
        return Ok(Content::Blocks(vec![Block::Request]));
    }
    if PKey::public_key_from_der(bytes).is_ok() {
        return Ok(Content::Blocks(vec![Block::PublicKey]));
    }
    match length(bytes) {
        Some(length) if length > bytes.len() => {
            Err(Fault::Damaged(format!("it should have {length} bytes, but has {}", bytes.len())))
        }
        Some(_) => Err(Fault::Damaged("it is DER, but not of an expected type".to_owned())),
        None => Err(Fault::NotRecognised),
    }
}

/// The length of the outermost value, its header included.
fn length(bytes: &[u8]) -> Option<usize> {
    let first = usize::from(*bytes.get(1)?);
    if first < 0x80 {
        return Some(first + 2);
    }
    let digits = first & 0x7f;
    if !(1..=4).contains(&digits) {
        return None;
    }
    let length = bytes.get(2..2 + digits)?.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    Some(length + 2 + digits)
}

/// EncryptedPrivateKeyInfo: an algorithm, then an OCTET STRING and nothing else (RFC 5958, 3).
fn is_encrypted_key(bytes: &[u8]) -> bool {
    let Ok((_, outer)) = Sequence::from_der(bytes) else { return false };
    let Ok((rest, algorithm)) = Sequence::from_der(&outer.content) else { return false };
    let Ok((rest, data)) = Any::from_der(rest) else { return false };
    Oid::from_der(&algorithm.content).is_ok() && data.tag().0 == 4 && rest.is_empty()
}

/// PFX begins with its version, 3 (RFC 7292, 4).
fn is_pkcs12(bytes: &[u8]) -> bool {
    let Ok((_, outer)) = Sequence::from_der(bytes) else { return false };
    outer.content.starts_with(&[2, 1, 3])
}
