//! Memory that NSS allocates, and items passed to NSS.

use std::ffi::{CStr, CString, c_char, c_uint};
use std::marker::PhantomData;

use nss_sys::{SECItem, SECItemType};

use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi;

/// Copies a string that NSS allocated and frees the original.
///
/// # Safety
/// `text` is NULL or a NUL-terminated string from the `PORT_Alloc` family that nothing else frees.
pub(crate) unsafe fn take_string(text: *mut c_char) -> Option<String> {
    if text.is_null() {
        return None;
    }
    // SAFETY: promised by the caller.
    let copy = unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned();
    // SAFETY: promised by the caller; the string is not used again.
    unsafe { ffi::PORT_Free(text.cast()) };
    Some(copy)
}

/// Copies a string that NSS owns.
///
/// # Safety
/// `text` is NULL or NUL-terminated and valid during the call.
pub(crate) unsafe fn copy_string(text: *const c_char) -> Option<String> {
    // SAFETY: promised by the caller.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned())
}

/// Copies the bytes of an item. Takes a pointer, since the item's type is a Rust enum in `nss-sys` and NSS may have
/// stored another number there.
///
/// # Safety
/// `item` is an item whose `data` is NULL or points at `len` readable bytes.
pub(crate) unsafe fn copy_item(item: *const SECItem) -> Vec<u8> {
    // SAFETY: promised by the caller.
    unsafe {
        let (data, len) = ((*item).data, (*item).len);
        if data.is_null() { Vec::new() } else { std::slice::from_raw_parts(data, len as usize).to_vec() }
    }
}

/// An item that borrows Rust's bytes for the duration of a call.
pub(crate) struct BorrowedItem<'a> {
    item: SECItem,
    bytes: PhantomData<&'a [u8]>,
}

impl<'a> BorrowedItem<'a> {
    /// NSS reads these items and does not write to them, although its headers lack the `const`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        let item = SECItem {
            type_: SECItemType::siBuffer,
            data: bytes.as_ptr().cast_mut(),
            len: c_uint::try_from(bytes.len()).unwrap_or(c_uint::MAX),
        };
        Self { item, bytes: PhantomData }
    }

    pub(crate) fn as_ptr(&mut self) -> *mut SECItem {
        &mut self.item
    }
}

/// A C string for NSS; text with a NUL inside cannot be passed and is an invalid argument.
pub(crate) fn c_string(text: impl Into<Vec<u8>>, step: Step) -> Result<CString> {
    CString::new(text).map_err(|_| NssError::of(step, ErrorCode(nss_sys::nspr::PR_INVALID_ARGUMENT_ERROR)))
}
