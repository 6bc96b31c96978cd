//! The password callback: the answer to NSS, and the number of calls.

use std::ffi::{c_char, c_void};
use std::ptr;
use std::sync::{Mutex, PoisonError};

use nss_sys::PK11SlotInfo;
use nss_sys::nspr::PRBool;
use zeroize::Zeroizing;

use crate::ffi;

/// What the callback returns, and the count of its calls. Global, as `PK11_SetPasswordFunc` is.
static OFFER: Mutex<Offer> = Mutex::new(Offer { password: None, asked: 0, asked_again: 0 });

struct Offer {
    password: Option<Zeroizing<Vec<u8>>>,
    asked: u32,
    asked_again: u32,
}

/// How often NSS requested a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// Calls of the callback in all.
    pub times: u32,
    /// Calls with `retry`, after a wrong password.
    pub retries: u32,
}

/// Offers a password while `work` runs, and forgets it afterwards.
pub(crate) fn while_offering<T>(password: Option<&[u8]>, work: impl FnOnce() -> T) -> (T, Asked) {
    *offer() = Offer { password: password.map(|bytes| Zeroizing::new(bytes.to_vec())), asked: 0, asked_again: 0 };
    let result = work();
    let mut offer = offer();
    offer.password = None;
    (result, Asked { times: offer.asked, retries: offer.asked_again })
}

pub(crate) fn install() {
    // SAFETY: the function lives as long as the process.
    unsafe { ffi::PK11_SetPasswordFunc(Some(answer)) };
}

pub(crate) fn forget() {
    offer().password = None;
}

fn offer() -> std::sync::MutexGuard<'static, Offer> {
    OFFER.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the password once. A retry means that it was wrong: returning it again would loop for ever (pk11auth.c calls
/// until it gets NULL).
unsafe extern "C" fn answer(_slot: *mut PK11SlotInfo, retry: PRBool, _arg: *mut c_void) -> *mut c_char {
    let mut offer = offer();
    offer.asked += 1;
    if retry != 0 {
        offer.asked_again += 1;
        return ptr::null_mut();
    }
    let Some(password) = offer.password.as_ref() else { return ptr::null_mut() };
    // SAFETY: NSS frees what the callback returns with PORT_ZFree, so it must come from PORT_Alloc; it is one byte
    // longer than the password, for the NUL.
    unsafe {
        let copy = ffi::PORT_Alloc(password.len() + 1).cast::<u8>();
        if !copy.is_null() {
            ptr::copy_nonoverlapping(password.as_ptr(), copy, password.len());
            copy.add(password.len()).write(0);
        }
        copy.cast()
    }
}
