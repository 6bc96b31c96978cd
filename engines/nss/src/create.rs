//! Building databases: what `certutil -N`, `pk12util -i` and `certutil -M` do. A diagnosis builds none.

use std::ffi::CString;
use std::ptr;

use nss_sys::cert::CERTCertTrust;
use nss_sys::{SECItem, SECItemType};

use crate::cert::Certificate;
use crate::error::{NssError, Result, Step};
use crate::ffi;
use crate::init::Nss;
use crate::key::PrivateKey;
use crate::memory::{BorrowedItem, c_string};
use crate::slot::Slot;

/// Sets the first password of a database that has none; an empty password is allowed.
pub fn set_password(slot: &Slot, password: &[u8]) -> Result<()> {
    const STEP: Step = Step::SetPassword;
    let password = zeroize::Zeroizing::new(c_string(password, STEP)?.into_bytes_with_nul());
    // SAFETY: the slot is alive; a softoken without a security-officer password requires NULL for it.
    match unsafe { ffi::PK11_InitPin(slot.as_ptr(), ptr::null(), password.as_ptr().cast()) } {
        ffi::SUCCESS => Ok(()),
        _ => Err(NssError::last(STEP)),
    }
}

/// Stores a private key (PKCS#8 DER). `public_value` is the RSA modulus or the raw EC point, from which NSS derives the
/// CKA_ID that later links key and certificate. The slot must be logged in.
pub fn import_key(slot: &Slot, nss: &Nss, pkcs8: &[u8], public_value: &[u8], nickname: &str) -> Result<PrivateKey> {
    PrivateKey::import(slot, nss, pkcs8, public_value, Some(nickname))
}

/// Creates the secret key that encrypts saved logins, as Firefox does for the first saved login. The slot must be logged in.
pub fn saved_logins_key(_: &Nss) -> Result<()> {
    let (mut text, mut id) = (BorrowedItem::new(b"a saved login"), BorrowedItem::new(&[]));
    let mut sealed = SECItem { type_: SECItemType::siBuffer, data: ptr::null_mut(), len: 0 };
    // SAFETY: NSS is initialised, the items outlive the call; the key returned is ours and is freed.
    unsafe {
        let status = ffi::PK11SDR_Encrypt(id.as_ptr(), text.as_ptr(), &mut sealed, ptr::null_mut());
        let outcome = match status {
            ffi::SUCCESS => Ok(()),
            _ => Err(NssError::last(Step::EncryptLogin)),
        };
        ffi::SECITEM_FreeItem(&mut sealed, 0);
        outcome
    }
}

/// Stores the public key of a certificate, as `pk12util` and `certutil -S` do. NSS relies on it before the login: without
/// it, a certificate in cert9.db is a user certificate only after the login.
pub fn import_public_key(slot: &Slot, certificate: &Certificate) -> Result<()> {
    const STEP: Step = Step::ImportPublicKey;
    // SAFETY: slot and certificate are alive; the key returned is ours and is freed. The object on the token remains.
    unsafe {
        let key = ffi::CERT_ExtractPublicKey(certificate.as_ptr());
        if key.is_null() {
            return Err(NssError::last(STEP));
        }
        let stored = match ffi::PK11_ImportPublicKey(slot.as_ptr(), key, 1) {
            ffi::CK_INVALID_HANDLE => Err(NssError::last(STEP)),
            _ => Ok(()),
        };
        ffi::SECKEY_DestroyPublicKey(key);
        stored
    }
}

/// Stores a certificate under a nickname, with trust letters as certutil takes them (`CT,C,C`). `None` leaves trust
/// as it is; a certificate whose key is stored becomes a user certificate automatically.
pub fn import_certificate(
    slot: &Slot,
    nss: &Nss,
    der: &[u8],
    nickname: &str,
    trust: Option<&str>,
) -> Result<Certificate> {
    const STEP: Step = Step::ImportCertificate;
    let certificate = Certificate::from_der(der, nss)?;
    let nickname: CString = c_string(nickname, STEP)?;
    // SAFETY: slot, certificate and string are alive; with CK_INVALID_HANDLE, NSS looks up the key itself.
    if unsafe {
        ffi::PK11_ImportCert(slot.as_ptr(), certificate.as_ptr(), ffi::CK_INVALID_HANDLE, nickname.as_ptr(), 0)
    } != ffi::SUCCESS
    {
        return Err(NssError::last(STEP));
    }
    if let Some(letters) = trust {
        set_trust(&certificate, letters)?;
    }
    Ok(certificate)
}

/// Changes the trust of a stored certificate. The slot must be logged in, or the record gets no integrity signature.
pub fn set_trust(certificate: &Certificate, letters: &str) -> Result<()> {
    const STEP: Step = Step::SetTrust;
    let letters = c_string(letters, STEP)?;
    let mut trust = CERTCertTrust { sslFlags: 0, emailFlags: 0, objectSigningFlags: 0 };
    // SAFETY: certificate, string and struct outlive the calls.
    unsafe {
        if ffi::CERT_DecodeTrustString(&mut trust, letters.as_ptr()) != ffi::SUCCESS
            || ffi::CERT_ChangeCertTrust(ffi::CERT_GetDefaultCertDB(), certificate.as_ptr(), &mut trust) != ffi::SUCCESS
        {
            return Err(NssError::last(STEP));
        }
    }
    Ok(())
}

/// Stores a revocation list (DER) unverified, as `crlutil -I -B` does: NSS verifies its signature only when it uses the list.
pub fn import_revocation_list(slot: &Slot, der: &[u8]) -> Result<()> {
    const STEP: Step = Step::ImportCrl;
    let mut item = BorrowedItem::new(der);
    // SAFETY: slot and item outlive the call; without an arena, NSS creates one, which is freed with the list
    // returned.
    unsafe {
        let list = ffi::PK11_ImportCRL(
            slot.as_ptr(),
            item.as_ptr(),
            ptr::null_mut(),
            ffi::SEC_CRL_TYPE,
            ptr::null_mut(),
            ffi::CRL_IMPORT_BYPASS_CHECKS,
            ptr::null_mut(),
            ffi::CRL_DECODE_DEFAULT_OPTIONS,
        );
        if list.is_null() {
            return Err(NssError::last(STEP));
        }
        ffi::SEC_DestroyCrl(list);
    }
    Ok(())
}
