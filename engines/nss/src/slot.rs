//! Slots: whether the token needs a password, and whether a password is right.

use std::ptr::{self, NonNull};

use nss_sys::{PK11SlotInfo, SECItem, SECItemType};

use crate::cert::{self, Certificate};
use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi;
use crate::init::Nss;
use crate::memory::{c_string, copy_item, copy_string};
use crate::password::{self, Asked};

/// The result of an attempt to log in. `PK11_Authenticate` has two different failures, which must not be confused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The key database is unlocked. With an empty password, that needs no call of the callback.
    Done,
    /// A password was tried and is wrong (`SECWouldBlock`, -2).
    Wrong,
    /// NSS requested a password and got none (-1 with SEC_ERROR_BAD_PASSWORD).
    NotGiven,
    /// Anything else.
    Failed(NssError),
}

/// A PKCS#11 slot of NSS.
pub struct Slot {
    slot: NonNull<PK11SlotInfo>,
    nss: Nss,
}

impl Slot {
    /// The slot that holds the private keys of the database.
    pub fn internal_key(nss: &Nss) -> Result<Self> {
        // SAFETY: NSS is initialised; the reference returned is ours.
        let slot = unsafe { ffi::PK11_GetInternalKeySlot() };
        let slot = NonNull::new(slot).ok_or_else(|| NssError::last(Step::KeySlot))?;
        Ok(Self { slot, nss: nss.clone() })
    }

    /// The slot whose token has this name or matches this PKCS #11 URI (RFC 7512).
    pub fn of_token(name: &str, nss: &Nss) -> Result<Self> {
        const STEP: Step = Step::FindToken;
        let name = c_string(name, STEP)?;
        // SAFETY: NSS is initialised, the string outlives the call; the reference returned is ours.
        let slot = unsafe { ffi::PK11_FindSlotByName(name.as_ptr()) };
        let slot = NonNull::new(slot).ok_or_else(|| NssError::last(STEP))?;
        Ok(Self { slot, nss: nss.clone() })
    }

    /// Every slot that has a token in it.
    pub fn all(nss: &Nss) -> Vec<Self> {
        let mut slots = Vec::new();
        // SAFETY: NSS is initialised. The list is ours and is freed; the loop holds a reference to the current element and
        // releases the previous one (pk11list.c), and each slot is referenced before it is kept.
        unsafe {
            let list = ffi::PK11_GetAllTokens(ffi::CKM_INVALID_MECHANISM, 0, 0, ptr::null_mut());
            if list.is_null() {
                return slots;
            }
            let mut element = ffi::PK11_GetFirstSafe(list);
            while !element.is_null() {
                if let Some(slot) = NonNull::new(ffi::PK11_ReferenceSlot((*element).slot)) {
                    slots.push(Self { slot, nss: nss.clone() });
                }
                element = ffi::PK11_GetNextSafe(list, element, 0);
            }
            ffi::PK11_FreeSlotList(list);
        }
        slots
    }

    /// Whether both are the same slot.
    pub fn is(&self, other: &Self) -> bool {
        self.slot == other.slot
    }

    /// Whether the token supports a mechanism (pkcs11t.h).
    pub fn does(&self, mechanism: u32) -> bool {
        // SAFETY: the slot is alive.
        unsafe { ffi::PK11_DoesMechanism(self.as_ptr(), mechanism.into()) != 0 }
    }

    pub(crate) fn as_ptr(&self) -> *mut PK11SlotInfo {
        self.slot.as_ptr()
    }

    /// The token's name: "NSS Certificate DB", or another in FIPS mode; a `token:` line in a password file names it.
    pub fn token_name(&self) -> String {
        // SAFETY: the slot is alive; the string belongs to it.
        unsafe { copy_string(ffi::PK11_GetTokenName(self.as_ptr())) }.unwrap_or_default()
    }

    /// Whether a password is set that is not empty.
    pub fn needs_login(&self) -> bool {
        // SAFETY: the slot is alive.
        unsafe { ffi::PK11_NeedLogin(self.as_ptr()) != 0 }
    }

    /// Whether no password was ever set: there is no password row in the key database.
    pub fn needs_user_init(&self) -> bool {
        // SAFETY: the slot is alive.
        unsafe { ffi::PK11_NeedUserInit(self.as_ptr()) != 0 }
    }

    /// Whether the token is logged in. For an empty password this stays false: call [`Slot::needs_login`] first.
    pub fn is_logged_in(&self) -> bool {
        // SAFETY: the slot is alive.
        unsafe { ffi::PK11_IsLoggedIn(self.as_ptr(), ptr::null_mut()) != 0 }
    }

    /// Whether the softoken runs in FIPS mode.
    pub fn is_fips(&self) -> bool {
        // SAFETY: reads a flag of the initialised library.
        unsafe { ffi::PK11_IsFIPS() != 0 }
    }

    /// Logs in through the password callback, offering `password` once.
    pub fn authenticate(&self, password: Option<&[u8]>) -> (Login, Asked) {
        password::while_offering(password, || {
            // SAFETY: the slot is alive; the callback takes no argument.
            let status = unsafe { ffi::PK11_Authenticate(self.as_ptr(), 1, ptr::null_mut()) };
            match status {
                ffi::SUCCESS => Login::Done,
                ffi::WOULD_BLOCK => Login::Wrong,
                _ => match NssError::last(Step::Unlock) {
                    error if error.code == ErrorCode::SEC_ERROR_BAD_PASSWORD => Login::NotGiven,
                    error => Login::Failed(error),
                },
            }
        })
    }

    /// Checks a password without the callback. In FIPS mode a wrong password takes a second.
    pub fn check_password(&self, password: &str) -> Result<bool> {
        const STEP: Step = Step::CheckPassword;
        let password = zeroize::Zeroizing::new(c_string(password, STEP)?.into_bytes_with_nul());
        // SAFETY: the slot is alive, the text NUL-terminated.
        match unsafe { ffi::PK11_CheckUserPassword(self.as_ptr(), password.as_ptr().cast()) } {
            ffi::SUCCESS => Ok(true),
            ffi::WOULD_BLOCK => Ok(false),
            _ => Err(NssError::last(STEP)),
        }
    }

    /// Ends the login.
    pub fn logout(&self) -> Result<()> {
        // SAFETY: the slot is alive.
        match unsafe { ffi::PK11_Logout(self.as_ptr()) } {
            ffi::SUCCESS => Ok(()),
            _ => Err(NssError::last(Step::LogOut)),
        }
    }

    /// Every certificate of this slot, in the order in which NSS lists them.
    pub fn certificates(&self) -> Vec<Certificate> {
        // SAFETY: the slot is alive; the list returned is ours, and `from_list` takes it over.
        unsafe { cert::from_list(ffi::PK11_ListCertsInSlot(self.as_ptr()), &self.nss) }
    }

    /// Passes the revocation lists of this slot (DER) to `look`, at most `at_most` of them, and one at a time: each may be long.
    pub fn each_revocation_list(&self, at_most: usize, mut look: impl FnMut(&[u8])) {
        let mut seen = 0;
        // SAFETY: the slot is alive. The list of objects is ours and is freed as a whole; the loop only follows its links. Each
        // item is filled in by NSS, copied, and its bytes freed.
        unsafe {
            let objects = ffi::PK11_FindGenericObjects(self.as_ptr(), ffi::CKO_NSS_CRL);
            let mut object = objects;
            while !object.is_null() && seen < at_most {
                seen += 1;
                let mut item = SECItem { type_: SECItemType::siBuffer, data: ptr::null_mut(), len: 0 };
                let read =
                    ffi::PK11_ReadRawAttribute(ffi::PK11_TypeGeneric, object.cast(), ffi::CKA_VALUE, &raw mut item);
                if read == ffi::SUCCESS {
                    look(&copy_item(&raw const item));
                    ffi::SECITEM_FreeItem(&raw mut item, 0);
                }
                object = ffi::PK11_GetNextGenericObject(object);
            }
            if !objects.is_null() {
                ffi::PK11_DestroyGenericObjects(objects);
            }
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: our reference, released once.
        unsafe { ffi::PK11_FreeSlot(self.slot.as_ptr()) };
    }
}
