//! libssl3: sessions. Signatures as in ssl.h.

use core::ffi::{c_char, c_int, c_uint, c_void};
use core::mem::transmute;
use core::ptr;

use super::call::{Call, forward};
use super::real::Real;
use super::{socket, watch};
use crate::event::{Function, Library};

type Opaque = *mut c_void;

fn no(status: c_int) -> bool {
    status != 0
}

/// SSLVersionRange of sslt.h.
#[repr(C)]
struct Range {
    min: u16,
    max: u16,
}

/// Both versions as one number, the lower version in the upper bits.
///
/// # Safety
/// Null, or a range.
unsafe fn both(range: *const Range) -> u32 {
    // SAFETY: as promised.
    unsafe { range.as_ref() }.map_or(0, |range| u32::from(range.min) << 16 | u32::from(range.max))
}

forward! {
    Ssl fn SSL_OptionSet(socket: Opaque, option: c_int, value: c_int) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.number(option);
        call.extra(value);
    }
    Ssl fn SSL_OptionSetDefault(option: c_int, value: c_int) -> c_int = -1, fails no; |call| {
        call.number(option);
        call.extra(value);
    }
    Ssl fn SSL_VersionRangeSet(socket: Opaque, range: *const Range) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        // SAFETY: a range, by the function's contract.
        call.number(unsafe { both(range) });
    }
    Ssl fn SSL_VersionRangeSetDefault(variant: c_int, range: *const Range) -> c_int = -1, fails no; |call| {
        // SAFETY: as above.
        call.number(unsafe { both(range) });
    }
    Ssl fn SSL_SetURL(socket: Opaque, url: *const c_char) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        // SAFETY: a C string or null, by the function's contract.
        unsafe { call.text(url) };
    }
    Ssl fn SSL_ForceHandshake(socket: Opaque) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.waits();
    }
    Ssl fn SSL_ForceHandshakeWithTimeout(socket: Opaque, timeout: u32) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.waits();
    }
    Ssl fn SSL_ResetHandshake(socket: Opaque, server: c_int) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.number(server);
        // What was sent before was in the clear, to a proxy or for STARTTLS, and is not part of the session.
        watch::restart(socket);
    }
    Ssl fn SSL_AuthCertificateComplete(socket: Opaque, error: c_int) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.number(error);
        call.waits();
    }
    Ssl fn SSL_ReHandshake(socket: Opaque, flush: c_int) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.waits();
    }
    Ssl fn SSL_ConfigSecureServer(socket: Opaque, certificate: Opaque, key: Opaque, exchange: c_int) -> c_int = -1,
        fails no; |call| { call.handle(socket) }
    Ssl fn SSL_ConfigServerCert(socket: Opaque, certificate: Opaque, key: Opaque, data: Opaque, length: c_uint) -> c_int
        = -1, fails no; |call| { call.handle(socket) }
}

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn SSL_ImportFD(model: Opaque, socket: Opaque) -> Opaque {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::Ssl, c"SSL_ImportFD");
    let Some(real) = REAL.get() else { return ptr::null_mut() };
    // SAFETY: the signature is that of ssl.h.
    let real: unsafe extern "C" fn(Opaque, Opaque) -> Opaque = unsafe { transmute::<Opaque, _>(real) };
    let mut call = Call::begin(Function::SSL_ImportFD);
    call.forward();
    // SAFETY: the caller's own arguments.
    let session = unsafe { real(model, socket) };
    if !session.is_null() && super::attach::ring().is_some() {
        let descriptor = socket::native(session);
        call.handle(session);
        call.number(descriptor);
        call.bytes(&socket::names(descriptor));
        watch::begin(descriptor, session);
    }
    call.end(session, session.is_null());
    session
}
