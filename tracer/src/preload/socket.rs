//! The system's sockets: their connections, and the bytes on those that carry TLS.

use core::ffi::{c_int, c_uint, c_void};
use core::mem::transmute;

use super::call::{Call, ToWord, forward};
use super::real::Real;
use super::system::{getpeername, getsockname};
use super::watch::{self, Way};
use crate::event::{Function, Library};

type Opaque = *mut c_void;

/// EINPROGRESS: the connection is completed later.
const IN_PROGRESS: c_int = 115;

/// Bytes of an address that are recorded: enough for a `sockaddr_in6`.
pub(crate) const ADDRESS: usize = 28;

/// The addresses of both ends of a socket, each a `sockaddr` padded with zeros.
pub(crate) fn names(descriptor: c_int) -> [u8; 2 * ADDRESS] {
    let mut both = [0u8; 2 * ADDRESS];
    let (own, peer) = both.split_at_mut(ADDRESS);
    let before = super::system::errno();
    for (room, ask) in [(own, getsockname as unsafe extern "C" fn(_, _, _) -> _), (peer, getpeername)] {
        let mut length = ADDRESS as c_uint;
        // SAFETY: a buffer of the length that is given; the kernel cuts longer addresses.
        unsafe { ask(descriptor, room.as_mut_ptr().cast(), &mut length) };
    }
    super::system::set_errno(before);
    both
}

/// The descriptor under a layered PRFileDesc, or -1.
pub(crate) fn native(socket: Opaque) -> c_int {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::Nspr, c"PR_FileDesc2NativeHandle");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: `PROsfd PR_FileDesc2NativeHandle(PRFileDesc *)` of pprio.h, where PROsfd is an int here.
    let real: unsafe extern "C" fn(Opaque) -> c_int = unsafe { transmute::<Opaque, _>(real) };
    // SAFETY: an open PRFileDesc.
    unsafe { real(socket) }
}

fn bad(status: c_int) -> bool {
    status < 0
}

forward! {
    System fn socketpair(family: c_int, kind: c_int, protocol: c_int, pair: *mut c_int) -> c_int = -1, fails bad;
        |call| { call.number(family) }
}

/// A function of the C library that returns or connects a socket, and the addresses of the socket afterwards.
macro_rules! named {
    ($($name:ident($($arg:ident: $ty:ty),*) named |$result:ident| $named:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name($($arg: $ty),*) -> c_int {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the signature is that of sys/socket.h.
            let real: unsafe extern "C" fn($($ty),*) -> c_int = unsafe { transmute::<Opaque, _>(real) };
            let mut call = Call::begin(Function::$name);
            call.waits();
            call.forward();
            // SAFETY: the caller's own arguments.
            let $result = unsafe { real($($arg),*) };
            let before = super::system::errno();
            let socket: c_int = $named;
            call.number(socket);
            if super::attach::ring().is_some() && ($result >= 0 || before == IN_PROGRESS) {
                call.bytes(&names(socket));
            }
            super::system::set_errno(before);
            call.end($result, $result < 0);
            $result
        }
    )*};
}

named! {
    connect(socket: c_int, address: *const c_void, length: c_uint) named |result| socket;
    accept(socket: c_int, address: *mut c_void, length: *mut c_uint) named |result| result;
    accept4(socket: c_int, address: *mut c_void, length: *mut c_uint, flags: c_int) named |result| result;
}

#[unsafe(link_section = "nssight_real")]
static CLOSE: Real = Real::new(Library::System, c"close");

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn close(descriptor: c_int) -> c_int {
    let Some(real) = CLOSE.get() else { return -1 };
    // SAFETY: the signature is that of unistd.h.
    let real: unsafe extern "C" fn(c_int) -> c_int = unsafe { transmute::<Opaque, _>(real) };
    if !watch::is_watched(descriptor) {
        // SAFETY: the caller's own argument.
        return unsafe { real(descriptor) };
    }
    let mut call = Call::begin(Function::close);
    call.number(descriptor);
    watch::end(descriptor);
    call.forward();
    // SAFETY: the caller's own argument.
    let result = unsafe { real(descriptor) };
    call.end(result, result < 0);
    result
}

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn shutdown(descriptor: c_int, how: c_int) -> c_int {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::System, c"shutdown");
    let Some(real) = REAL.get() else { return -1 };
    // SAFETY: the signature is that of sys/socket.h.
    let real: unsafe extern "C" fn(c_int, c_int) -> c_int = unsafe { transmute::<Opaque, _>(real) };
    if !watch::is_watched(descriptor) {
        // SAFETY: the caller's own arguments.
        return unsafe { real(descriptor, how) };
    }
    let mut call = Call::begin(Function::shutdown);
    call.number(descriptor);
    call.extra(how);
    call.forward();
    // SAFETY: the caller's own arguments.
    let result = unsafe { real(descriptor, how) };
    call.end(result, result < 0);
    result
}

/// send and recv, with which NSPR transfers all bytes.
macro_rules! moving {
    ($($name:ident($buffer:ty) $way:ident, ends |$moved:ident| $ends:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(descriptor: c_int, buffer: $buffer, length: usize, flags: c_int) -> isize {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::System,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the signature is that of sys/socket.h.
            let real: unsafe extern "C" fn(c_int, $buffer, usize, c_int) -> isize = unsafe { transmute::<Opaque, _>(real) };
            // Checked before the call: the bytes go over what the descriptor is now, and not when the call returns.
            let watched = watch::is_watched(descriptor);
            if Way::$way == Way::Sent && watched {
                let before = super::system::errno();
                watch::about_to_send(descriptor);
                super::system::set_errno(before);
            }
            // SAFETY: the caller's own arguments.
            let $moved = unsafe { real(descriptor, buffer, length, flags) };
            // A peek leaves the bytes for the next call.
            if watched && watch::is_still_watched(descriptor) && flags & MSG_PEEK == 0 {
                let before = super::system::errno();
                if $moved > 0 && (flags & MSG_TRUNC != 0 || buffer.is_null() || $moved as usize > length) {
                    watch::unseen(descriptor, Way::$way, $moved as usize);
                } else if $moved > 0 {
                    // SAFETY: that many bytes of the caller's buffer have been transferred, which has room for them.
                    let bytes = unsafe { core::slice::from_raw_parts(buffer.cast::<u8>(), $moved as usize) };
                    watch::bytes(descriptor, Way::$way, bytes);
                } else if $ends && length > 0 {
                    watch::peer_ended(descriptor, Way::$way, $moved.to_word(), before);
                }
                super::system::set_errno(before);
            }
            $moved
        }
    )*};
}

const MSG_PEEK: c_int = 2;
/// For a stream, bytes are discarded and not copied (tcp(7)).
const MSG_TRUNC: c_int = 0x20;

moving! {
    send(*const c_void) Sent, ends |moved| moved < 0;
    recv(*mut c_void) Received, ends |moved| moved <= 0;
}
