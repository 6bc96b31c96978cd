//! libnspr4: sockets. Signatures as in prio.h and prnetdb.h.

use core::ffi::{c_char, c_int, c_void};
use core::mem::transmute;
use core::ptr;

use super::attach::emit;
use super::call::{Call, forward};
use super::real::Real;
use super::socket;
use super::watch::{self, Way};
use crate::event::{Event, Function, Library, Phase};

type Opaque = *mut c_void;

/// PR_DESC_SOCKET_TCP and PR_DESC_LAYERED of prio.h; files and pipes carry no session.
const SOCKET_TCP: c_int = 2;
const LAYERED: c_int = 4;

/// Whether it is a TCP socket, or a layer over one: the first word of its methods.
///
/// # Safety
/// An open PRFileDesc or null, by the contract of every function here.
unsafe fn is_socket(socket: Opaque) -> bool {
    if socket.is_null() {
        return false;
    }
    // SAFETY: PRFileDesc begins with a pointer to PRIOMethods, which begin with the type (prio.h).
    let kind = unsafe { **socket.cast_const().cast::<*const c_int>() };
    kind == SOCKET_TCP || kind == LAYERED
}

/// PRPollDesc of prio.h begins with the socket.
#[repr(C)]
struct Asked {
    socket: Opaque,
    flags: [i16; 2],
}

/// PR_MSG_PEEK of prio.h: the bytes stay for the next call.
const PEEK: c_int = 2;

fn no(status: c_int) -> bool {
    status != 0
}

forward! {
    Nspr fn PR_Connect(socket: Opaque, address: Opaque, timeout: u32) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.waits();
    }
    Nspr fn PR_ConnectContinue(socket: Opaque, flags: i16) -> c_int = -1, fails no; |call| { call.handle(socket) }
    Nspr fn PR_GetConnectStatus(asked: *const Asked) -> c_int = -1, fails no; |call| {
        // SAFETY: what PR_Poll has filled in, by the function's contract.
        call.handle(unsafe { asked.as_ref() }.map_or(ptr::null_mut(), |asked| asked.socket));
    }
    Nspr fn PR_Close(socket: Opaque) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        // SAFETY: an open PRFileDesc, by the function's contract.
        if unsafe { is_socket(socket) } {
            call.waits();
            watch::forget(socket);
        } else {
            call.mute();
        }
    }
    Nspr fn PR_Shutdown(socket: Opaque, how: c_int) -> c_int = -1, fails no; |call| {
        call.handle(socket);
        call.number(how);
        call.waits();
    }
    Nspr fn PR_Poll(sockets: Opaque, count: c_int, timeout: u32) -> i32 = -1, fails |count| count < 0; |call| {
        call.number(count);
        call.extra(timeout);
        call.waits();
    }
    Nspr fn PR_GetAddrInfoByName(host: *const c_char, family: u16, flags: c_int) -> Opaque = ptr::null_mut(),
        fails |list| list.is_null(); |call| {
        // SAFETY: a C string, by the function's contract.
        unsafe { call.text(host) };
        call.waits();
    }
    Nspr fn PR_GetHostByName(host: *const c_char, buffer: *mut c_char, size: c_int, entry: Opaque) -> c_int = -1,
        fails no; |call| {
        // SAFETY: as above.
        unsafe { call.text(host) };
        call.waits();
    }
}

/// # Safety
/// As the function of the same name.
#[unsafe(no_mangle)]
unsafe extern "C" fn PR_Accept(socket: Opaque, address: Opaque, timeout: u32) -> Opaque {
    #[unsafe(link_section = "nssight_real")]
    static REAL: Real = Real::new(Library::Nspr, c"PR_Accept");
    let Some(real) = REAL.get() else { return ptr::null_mut() };
    // SAFETY: the signature is that of prio.h.
    let real: unsafe extern "C" fn(Opaque, Opaque, u32) -> Opaque = unsafe { transmute::<Opaque, _>(real) };
    let mut call = Call::begin(Function::PR_Accept);
    call.handle(socket);
    call.waits();
    call.forward();
    // SAFETY: the caller's own arguments.
    let accepted = unsafe { real(socket, address, timeout) };
    // A listening session returns a session that was never passed to SSL_ImportFD (ssl_Accept in sslsock.c).
    if !accepted.is_null() && watch::is_session(socket) {
        let descriptor = socket::native(accepted);
        let mut event = Event::new(Function::accepted, Phase::Note);
        (event.handle, event.number) = (accepted as usize as u64, i64::from(descriptor));
        event.result = socket as usize as i64;
        let names = socket::names(descriptor);
        if let Some(room) = event.text.get_mut(..names.len()) {
            room.copy_from_slice(&names);
            event.length = names.len() as u16;
        }
        emit(event);
        watch::begin(descriptor, accepted);
    }
    call.end(accepted, accepted.is_null());
    accepted
}

/// Functions that move bytes: (socket, buffer, length, …).
macro_rules! moving {
    ($($name:ident($($more:ident: $ty:ty),*) $way:ident, takes $takes:expr;)*) => {$(
        /// # Safety
        /// As the function of the same name.
        #[unsafe(no_mangle)]
        unsafe extern "C" fn $name(socket: Opaque, buffer: *const u8, length: i32 $(, $more: $ty)*) -> i32 {
            #[unsafe(link_section = "nssight_real")]
            static REAL: Real = Real::new(
                Library::Nspr,
                // SAFETY: it ends in the one NUL that is put there.
                unsafe { core::ffi::CStr::from_bytes_with_nul_unchecked(concat!(stringify!($name), "\0").as_bytes()) },
            );
            let Some(real) = REAL.get() else { return -1 };
            // SAFETY: the signature is that of prio.h.
            let real: unsafe extern "C" fn(Opaque, *const u8, i32 $(, $ty)*) -> i32 =
                unsafe { transmute::<Opaque, _>(real) };
            let mut call = Call::begin(Function::$name);
            call.handle(socket);
            call.number(length);
            // SAFETY: an open PRFileDesc, by the function's contract.
            match unsafe { is_socket(socket) } {
                true => call.waits(),
                false => call.mute(),
            }
            call.forward();
            // SAFETY: the caller's own arguments.
            let moved = unsafe { real(socket, buffer, length $(, $more)*) };
            call.end(moved, moved < 0);
            if moved > 0 && moved <= length && !buffer.is_null() && $takes && call.is_outermost() {
                // SAFETY: `moved` bytes of the caller's buffer have been transferred.
                watch::moved(socket, Way::$way, unsafe { core::slice::from_raw_parts(buffer, moved as usize) });
            }
            moved
        }
    )*};
}

moving! {
    PR_Read() Received, takes true;
    PR_Recv(flags: c_int, timeout: u32) Received, takes flags & PEEK == 0;
    PR_Write() Sent, takes true;
    PR_Send(flags: c_int, timeout: u32) Sent, takes true;
}
