//! Certificates, a key and trust that NSS keeps only in memory, for clients with files.

use crate::cert::Certificate;
use crate::create::set_trust;
use crate::error::Result;
use crate::init::Nss;
use crate::key::PrivateKey;
use crate::slot::Slot;

/// A CA that servers' certificates may come from, for as long as it is held.
///
/// # Errors
/// What NSS says.
pub fn trusted_authority(der: &[u8], nss: &Nss) -> Result<Certificate> {
    let certificate = Certificate::from_der(der, nss)?;
    set_trust(&certificate, "CT,,")?;
    Ok(certificate)
}

/// A private key (PKCS#8 DER) that is gone with the session of the token. `public_value` is the RSA modulus or the raw EC point.
///
/// # Errors
/// What NSS says: SEC_ERROR_BAD_KEY for a kind of key that it does not have.
pub fn private_key(pkcs8: &[u8], public_value: &[u8], nss: &Nss) -> Result<PrivateKey> {
    PrivateKey::import(&Slot::internal_key(nss)?, nss, pkcs8, public_value, None)
}
