//! Certificates, a key and trust that NSS keeps only in memory, for clients with files.

use crate::cert::Certificate;
use crate::create::set_trust;
use crate::error::Result;
use crate::init::Nss;
use crate::key::PrivateKey;
use crate::slot::Slot;

/// A CA that is trusted to issue server certificates for as long as the returned value is held.
///
/// # Errors
/// The error that NSS reports.
pub fn trusted_authority(der: &[u8], nss: &Nss) -> Result<Certificate> {
    let certificate = Certificate::from_der(der, nss)?;
    set_trust(&certificate, "CT,,")?;
    Ok(certificate)
}

/// A private key (PKCS#8 DER) that exists until the token's session ends. `public_value` is the RSA modulus or the raw EC point.
///
/// # Errors
/// The error that NSS reports: SEC_ERROR_BAD_KEY for an unsupported kind of key.
pub fn private_key(pkcs8: &[u8], public_value: &[u8], nss: &Nss) -> Result<PrivateKey> {
    PrivateKey::import(&Slot::internal_key(nss)?, nss, pkcs8, public_value, None)
}
