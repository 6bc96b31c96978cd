//! Builds OpenSSL keys from what the databases store.

use crate::Error;
use crate::crypto::der;
use crate::model::KeyKind;
use crate::sql::attribute::*;
use openssl::bn::{BigNum, BigNumContext};
use openssl::dsa::Dsa;
use openssl::ec::{EcGroup, EcKey, EcPoint};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use std::collections::HashMap;
use zeroize::Zeroizing;

/// Longest number accepted from an attribute, in bytes: an RSA modulus of 16,384 bits. OpenSSL's work grows with the cube of it.
const MAX_NUMBER: usize = 2048;

/// CKK_EC_EDWARDS (pkcs11t.h): in NSS a key of Ed25519, whose value is the 32 bytes of RFC 8032, 5.1.5.
const EC_EDWARDS: u32 = 0x40;

fn openssl(error: ErrorStack) -> Error {
    Error::Undecodable(format!("OpenSSL refuses the private key: {error}"))
}

fn number(bytes: &[u8]) -> Result<BigNum, Error> {
    if bytes.len() > MAX_NUMBER {
        return Err(Error::Undecodable(format!("a number in the private key is too large: {} bytes", bytes.len())));
    }
    BigNum::from_slice(bytes).map_err(openssl)
}

/// From the attributes of a row in `key4.db`; `decrypt` decrypts the private ones.
pub(crate) fn from_attributes(
    kind: KeyKind,
    plain: &HashMap<u32, Vec<u8>>,
    public_value: &[u8],
    decrypt: impl Fn(u32) -> Result<Zeroizing<Vec<u8>>, Error>,
) -> Result<PKey<Private>, Error> {
    let public = |attribute: u32| {
        let value = plain
            .get(&attribute)
            .ok_or_else(|| Error::Undecodable(format!("attribute 0x{attribute:x} is not stored")))?;
        number(value)
    };
    let secret = |attribute: u32| decrypt(attribute).and_then(|value| number(&value));
    match kind {
        KeyKind::Rsa => Rsa::from_private_components(
            public(MODULUS)?,
            public(PUBLIC_EXPONENT)?,
            secret(PRIVATE_EXPONENT)?,
            secret(PRIME_1)?,
            secret(PRIME_2)?,
            secret(EXPONENT_1)?,
            secret(EXPONENT_2)?,
            secret(COEFFICIENT)?,
        )
        .and_then(PKey::from_rsa)
        .map_err(openssl),
        KeyKind::Ec => {
            let parameters = plain.get(&EC_PARAMS).map(Vec::as_slice).unwrap_or_default();
            ec(parameters, public_value, &secret(KEY_VALUE)?)
        }
        KeyKind::Dsa => Dsa::from_private_components(
            public(PRIME)?,
            public(SUBPRIME)?,
            public(BASE)?,
            secret(KEY_VALUE)?,
            number(public_value)?,
        )
        .and_then(PKey::from_dsa)
        .map_err(openssl),
        KeyKind::Other(EC_EDWARDS) => {
            let secret = decrypt(KEY_VALUE)?;
            PKey::private_key_from_raw_bytes(&secret, Id::ED25519).map_err(openssl)
        }
        other => Err(Error::Unsupported(format!("decrypting a private key of kind {other:?}"))),
    }
}

fn ec(parameters: &[u8], public_value: &[u8], secret: &BigNum) -> Result<PKey<Private>, Error> {
    let curve = der::Reader::new(parameters)
        .expect(der::OID)
        .and_then(der::dotted)
        .ok_or_else(|| Error::Unsupported("an EC key without a named curve".into()))?;
    let nid = match curve.as_str() {
        "1.2.840.10045.3.1.7" => Nid::X9_62_PRIME256V1,
        "1.3.132.0.34" => Nid::SECP384R1,
        "1.3.132.0.35" => Nid::SECP521R1,
        other => return Err(Error::Unsupported(format!("an EC key on curve {other}"))),
    };
    let build = || {
        let group = EcGroup::from_curve_name(nid)?;
        let mut context = BigNumContext::new_secure()?;
        let mut point = EcPoint::new(&group)?;
        if public_value.is_empty() {
            point.mul_generator2(&group, secret, &mut context)?;
        } else {
            point = EcPoint::from_bytes(&group, public_value, &mut context)?;
        }
        let key = EcKey::from_private_components(&group, secret, &point)?;
        PKey::from_ec_key(key)
    };
    build().map_err(openssl)
}

/// From the PrivateKeyInfo (RFC 5208) in a `key3.db` record.
pub(crate) fn from_legacy(plain: &[u8], public_value: &[u8]) -> Result<PKey<Private>, Error> {
    if public_value.len() > MAX_NUMBER || plain.len() > 16 * MAX_NUMBER {
        return Err(Error::Undecodable(format!("the private key is too large: {} bytes", plain.len())));
    }
    match legacy_dsa(plain) {
        Some([p, q, g, secret]) => {
            Dsa::from_private_components(number(p)?, number(q)?, number(g)?, number(secret)?, number(public_value)?)
                .and_then(PKey::from_dsa)
                .map_err(openssl)
        }
        None => PKey::private_key_from_pkcs8(plain).map_err(openssl),
    }
}

/// Prime, subprime, base and private value of a DSA key. NSS stores a SEQUENCE of public and private value where
/// PKCS #8 has the private value alone (`nsslowkey_DSAPrivateKeyTemplate` in lib/softoken/legacydb/lowkey.c), which
/// OpenSSL does not read.
fn legacy_dsa(plain: &[u8]) -> Option<[&[u8]; 4]> {
    let mut info = der::Reader::new(plain).sequence()?;
    info.expect(der::INTEGER)?;
    let mut algorithm = info.sequence()?;
    if algorithm.expect(der::OID)? != der::DSA {
        return None;
    }
    let mut parameters = algorithm.sequence()?;
    let mut values = der::Reader::new(info.expect(der::OCTET_STRING)?).sequence()?;
    values.expect(der::INTEGER)?;
    Some([
        parameters.expect(der::INTEGER)?,
        parameters.expect(der::INTEGER)?,
        parameters.expect(der::INTEGER)?,
        values.expect(der::INTEGER)?,
    ])
}
