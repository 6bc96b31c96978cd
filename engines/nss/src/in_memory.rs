//! Certificates, a key and trust that NSS has in memory only, for whoever has them in files.

use std::ptr;

use crate::cert::Certificate;
use crate::create::set_trust;
use crate::error::{NssError, Result, Step};
use crate::ffi;
use crate::init::Nss;
use crate::key::PrivateKey;
use crate::memory::BorrowedItem;
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
    const STEP: Step = Step::ImportPrivateKey;
    let slot = Slot::internal_key(nss)?;
    let (mut key, mut public) = (BorrowedItem::new(pkcs8), BorrowedItem::new(public_value));
    let mut handle = ptr::null_mut();
    // SAFETY: the items outlive the call; the key returned is ours. Neither permanent nor private: a token without a database has
    // no password to log in with.
    let status = unsafe {
        ffi::PK11_ImportDERPrivateKeyInfoAndReturnKey(
            slot.as_ptr(),
            key.as_ptr(),
            ptr::null_mut(),
            public.as_ptr(),
            0,
            0,
            ffi::KU_DIGITAL_SIGNATURE,
            &mut handle,
            ptr::null_mut(),
        )
    };
    match PrivateKey::from_raw(handle, nss) {
        Some(key) if status == ffi::SUCCESS => Ok(key),
        _ => Err(NssError::last(STEP)),
    }
}
