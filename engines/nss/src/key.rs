//! Private keys: looked up by certificate, and tested with a signature.

use std::ptr::{self, NonNull};

use nss_sys::SECItem;
use nss_sys::nspr::PRBool;

use crate::cert::Certificate;
use crate::error::{NssError, Result, Step};
use crate::ffi;
use crate::init::Nss;
use crate::memory::BorrowedItem;
use crate::slot::Slot;

/// What kind of key it is (`KeyType` of keythi.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyKind {
    /// RSA, PKCS#1 or PSS.
    Rsa,
    /// DSA.
    Dsa,
    /// Elliptic curve.
    Ec,
    /// Anything else, with its number.
    Other(i32),
}

/// A private key of the database.
pub struct PrivateKey {
    key: NonNull<ffi::SECKEYPrivateKey>,
    nss: Nss,
}

impl PrivateKey {
    /// The key that belongs to a certificate. NSS links the two by CKA_ID, and logs in on its own if it must.
    pub fn find(certificate: &Certificate) -> Result<Self> {
        // SAFETY: the certificate is alive; the key returned is ours.
        let key = unsafe { ffi::PK11_FindKeyByAnyCert(certificate.as_ptr(), ptr::null_mut()) };
        let key = NonNull::new(key).ok_or_else(|| NssError::last(Step::FindPrivateKey))?;
        Ok(Self { key, nss: certificate.nss().clone() })
    }

    /// Another owner of the same key.
    pub fn share(&self) -> Result<Self> {
        // SAFETY: the key is alive; the copy returned is ours.
        Self::from_raw(unsafe { ffi::SECKEY_CopyPrivateKey(self.as_ptr()) }, &self.nss)
            .ok_or_else(|| NssError::last(Step::SharePrivateKey))
    }

    /// Imports a key (PKCS#8 DER) into a token: permanently under a nickname, or without one until the token's session ends.
    pub(crate) fn import(
        slot: &Slot,
        nss: &Nss,
        pkcs8: &[u8],
        public_value: &[u8],
        nickname: Option<&str>,
    ) -> Result<Self> {
        let (mut key, mut public) = (BorrowedItem::new(pkcs8), BorrowedItem::new(public_value));
        let mut name = nickname.map(|nickname| BorrowedItem::new(nickname.as_bytes()));
        // The private attribute matters only on a token with a password, and a token without a database has none.
        let is_kept = PRBool::from(nickname.is_some());
        let mut handle = ptr::null_mut();
        // SAFETY: the items outlive the call; the key returned is ours.
        let status = unsafe {
            ffi::PK11_ImportDERPrivateKeyInfoAndReturnKey(
                slot.as_ptr(),
                key.as_ptr(),
                name.as_mut().map_or(ptr::null_mut(), BorrowedItem::as_ptr),
                public.as_ptr(),
                is_kept,
                is_kept,
                ffi::KU_DIGITAL_SIGNATURE,
                &mut handle,
                ptr::null_mut(),
            )
        };
        match Self::from_raw(handle, nss) {
            Some(key) if status == ffi::SUCCESS => Ok(key),
            _ => Err(NssError::last(Step::ImportPrivateKey)),
        }
    }

    pub(crate) fn from_raw(key: *mut ffi::SECKEYPrivateKey, nss: &Nss) -> Option<Self> {
        NonNull::new(key).map(|key| Self { key, nss: nss.clone() })
    }

    /// The same key, unwrapped once and kept in the token's memory for this session.
    ///
    /// The softoken unwraps a stored key anew for every signature, which takes a dozen PBKDF2 runs (measured on 3.87.1:
    /// 30 ms for RSA); a caller that signs twice saves one unwrapping.
    pub fn in_session(&self, slot: &Slot) -> Result<Self> {
        // SAFETY: slot and key are alive; the key returned is ours.
        let key = unsafe { ffi::PK11_CopyTokenPrivKeyToSessionPrivKey(slot.as_ptr(), self.as_ptr()) };
        Self::from_raw(key, &self.nss).ok_or_else(|| NssError::last(Step::UnwrapPrivateKey))
    }

    pub(crate) fn as_ptr(&self) -> *mut ffi::SECKEYPrivateKey {
        self.key.as_ptr()
    }

    /// RSA, EC, …
    pub fn kind(&self) -> KeyKind {
        // SAFETY: the key is alive.
        match unsafe { ffi::SECKEY_GetPrivateKeyType(self.as_ptr()) } {
            ffi::rsaKey | ffi::rsaPssKey => KeyKind::Rsa,
            ffi::dsaKey => KeyKind::Dsa,
            ffi::ecKey => KeyKind::Ec,
            other => KeyKind::Other(other),
        }
    }

    /// Signs 32 random bytes and checks the signature with the public key of the certificate.
    ///
    /// `Ok(false)`: the key signs, but is not the key of this certificate.
    pub fn proves(&self, certificate: &Certificate) -> Result<bool> {
        let mut challenge = [0u8; 32];
        // SAFETY: 32 writable bytes.
        if unsafe { ffi::PK11_GenerateRandom(challenge.as_mut_ptr(), challenge.len() as i32) } != ffi::SUCCESS {
            return Err(NssError::last(Step::DrawChallenge));
        }
        let signature = self.sign(&challenge)?;
        let (mut challenge, mut signature) = (BorrowedItem::new(&challenge), BorrowedItem::new(&signature));
        // SAFETY: certificate and items outlive the calls; the public key is ours and is freed.
        unsafe {
            let public = ffi::CERT_ExtractPublicKey(certificate.as_ptr());
            if public.is_null() {
                return Err(NssError::last(Step::ReadPublicKey));
            }
            let (signature, challenge) = (signature.as_ptr(), challenge.as_ptr());
            let none = ptr::null_mut();
            // To the token, a key whose certificate allows only PSS (id-RSASSA-PSS, RFC 4055) is an RSA key, and PK11_Sign
            // signs with it as with any other; PK11_Verify would follow the certificate.
            let verified = match ffi::SECKEY_GetPublicKeyType(public) {
                ffi::rsaPssKey => {
                    ffi::PK11_VerifyWithMechanism(public, ffi::CKM_RSA_PKCS, ptr::null(), signature, challenge, none)
                }
                _ => ffi::PK11_Verify(public, signature, challenge, none),
            };
            ffi::SECKEY_DestroyPublicKey(public);
            Ok(verified == ffi::SUCCESS)
        }
    }

    /// A raw signature over 32 bytes (`PK11_Sign`: PKCS#1 type 1 without DigestInfo for RSA, the digest itself for EC).
    fn sign(&self, challenge: &[u8]) -> Result<Vec<u8>> {
        const STEP: Step = Step::SignChallenge;
        // SAFETY: the key is alive.
        let length = usize::try_from(unsafe { ffi::PK11_SignatureLen(self.as_ptr()) }).unwrap_or(0);
        if length == 0 {
            return Err(NssError::last(STEP));
        }
        let mut buffer = vec![0u8; length];
        let mut out = SECItem {
            type_: nss_sys::SECItemType::siBuffer,
            data: buffer.as_mut_ptr(),
            len: u32::try_from(length).unwrap_or(0),
        };
        let mut challenge = BorrowedItem::new(challenge);
        // SAFETY: `out` has the size that PK11_SignatureLen returned; the items outlive the call.
        if unsafe { ffi::PK11_Sign(self.as_ptr(), &mut out, challenge.as_ptr()) } != ffi::SUCCESS {
            return Err(NssError::last(STEP));
        }
        buffer.truncate(out.len as usize);
        Ok(buffer)
    }
}

impl Drop for PrivateKey {
    fn drop(&mut self) {
        // SAFETY: our reference, released once.
        unsafe { ffi::SECKEY_DestroyPrivateKey(self.key.as_ptr()) };
    }
}
