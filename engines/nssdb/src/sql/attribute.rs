//! Attribute numbers (CKA_) as they occur in column names, and the values in the columns.

pub(super) const CLASS: u32 = 0x0;
pub(super) const LABEL: u32 = 0x3;
pub(super) const VALUE: u32 = 0x11;
pub(super) const ISSUER: u32 = 0x81;
pub(super) const SERIAL: u32 = 0x82;
pub(super) const HASH_MECHANISM: u32 = 0x8c;
pub(super) const KEY_TYPE: u32 = 0x100;
pub(super) const ID: u32 = 0x102;
pub(crate) const MODULUS: u32 = 0x120;
pub(crate) const PUBLIC_EXPONENT: u32 = 0x122;
pub(crate) const PRIVATE_EXPONENT: u32 = 0x123;
pub(crate) const PRIME_1: u32 = 0x124;
pub(crate) const PRIME_2: u32 = 0x125;
pub(crate) const EXPONENT_1: u32 = 0x126;
pub(crate) const EXPONENT_2: u32 = 0x127;
pub(crate) const COEFFICIENT: u32 = 0x128;
pub(crate) const PRIME: u32 = 0x130;
pub(crate) const SUBPRIME: u32 = 0x131;
pub(crate) const BASE: u32 = 0x132;
pub(crate) const EC_PARAMS: u32 = 0x180;
pub(crate) const KEY_VALUE: u32 = VALUE;
const SEED: u32 = 0x637;
/// CKA_NSS_DB: the public value, under which keys were found in the legacy format.
pub(super) const NSS_DB: u32 = 0xd5a0_db00;
pub(super) const NSS_URL: u32 = 0xce53_4351;
pub(super) const NSS_KRL: u32 = 0xce53_4358;
const OVERRIDE_EXTENSIONS: u32 = 0xce53_4368;

/// Trust of PKCS#11 3.2: server, client, code, e-mail, and the hash of the certificate.
pub(super) const TRUST_SERVER: u32 = 0x62c;
pub(super) const TRUST_CLIENT: u32 = 0x62d;
pub(super) const TRUST_CODE: u32 = 0x62e;
pub(super) const TRUST_EMAIL: u32 = 0x62f;
pub(super) const CERTIFICATE_HASH: u32 = 0x635;

/// Trust of NSS.
pub(super) const NSS_SERVER: u32 = 0xce53_6358;
pub(super) const NSS_CLIENT: u32 = 0xce53_6359;
pub(super) const NSS_CODE: u32 = 0xce53_635a;
pub(super) const NSS_EMAIL: u32 = 0xce53_635b;
pub(super) const NSS_STEP_UP: u32 = 0xce53_6360;
pub(super) const NSS_SHA1: u32 = 0xce53_63b4;
const NSS_MD5: u32 = 0xce53_63b5;

/// Columns read from `cert9.db`.
pub(super) const CERTIFICATE_COLUMNS: &[u32] = &[
    CLASS,
    LABEL,
    VALUE,
    ISSUER,
    SERIAL,
    ID,
    MODULUS,
    PUBLIC_EXPONENT,
    NSS_DB,
    NSS_URL,
    NSS_KRL,
    OVERRIDE_EXTENSIONS,
    HASH_MECHANISM,
    TRUST_SERVER,
    TRUST_CLIENT,
    TRUST_CODE,
    TRUST_EMAIL,
    CERTIFICATE_HASH,
    NSS_SERVER,
    NSS_CLIENT,
    NSS_CODE,
    NSS_EMAIL,
    NSS_STEP_UP,
    NSS_SHA1,
    NSS_MD5,
];

/// Columns read from `key4.db`.
pub(super) const KEY_COLUMNS: &[u32] = &[
    CLASS,
    LABEL,
    VALUE,
    KEY_TYPE,
    ID,
    MODULUS,
    PUBLIC_EXPONENT,
    PRIVATE_EXPONENT,
    PRIME_1,
    PRIME_2,
    EXPONENT_1,
    EXPONENT_2,
    COEFFICIENT,
    PRIME,
    SUBPRIME,
    BASE,
    EC_PARAMS,
    SEED,
    NSS_DB,
];

/// Attributes NSS signs in the clear (`sftkdb_isAuthenticatedAttribute` in lib/softoken/sftkdb.c).
pub(super) const AUTHENTICATED: &[u32] = &[
    MODULUS,
    PUBLIC_EXPONENT,
    NSS_SHA1,
    NSS_MD5,
    NSS_SERVER,
    NSS_CLIENT,
    NSS_CODE,
    NSS_EMAIL,
    NSS_STEP_UP,
    OVERRIDE_EXTENSIONS,
    TRUST_SERVER,
    TRUST_CLIENT,
    TRUST_CODE,
    TRUST_EMAIL,
    CERTIFICATE_HASH,
    HASH_MECHANISM,
];

/// Attributes of private and secret keys that are stored encrypted.
pub(super) const ENCRYPTED: &[u32] =
    &[VALUE, PRIVATE_EXPONENT, PRIME_1, PRIME_2, EXPONENT_1, EXPONENT_2, COEFFICIENT, SEED];

/// Stored for an attribute that is present and empty, because SQLite's NULL means absent
/// (`SQLITE_EXPLICIT_NULL` in lib/softoken/sdb.c).
pub(super) const EXPLICIT_NULL: &[u8] = &[0xa5, 0x00, 0x5a];

/// A CK_ULONG as stored: four bytes, big-endian, on every host.
pub(super) fn ulong(value: &[u8]) -> Option<u32> {
    Some(u32::from_be_bytes(value.try_into().ok()?))
}
