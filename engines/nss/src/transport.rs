//! The NSPR layer that puts a [`Transport`] below libssl.
//!
//! libssl calls the file descriptor below it through NSPR's method table. The methods in this table are Rust functions.

use std::ffi::c_void;
use std::io::{self, ErrorKind};
use std::net::{Ipv4Addr, SocketAddr};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::sync::OnceLock;

use nss_sys::nspr::{
    PR_CONNECT_RESET_ERROR, PR_GetUniqueIdentity, PR_IO_ERROR, PR_IO_TIMEOUT_ERROR, PR_SetError, PR_WOULD_BLOCK_ERROR,
    PRDescIdentity, PRFileDesc, PRIOMethods, PRInt16, PRInt32, PRIntervalTime, PRIntn, PRNetAddr, PRSocketOptionData,
    PRStatus,
};

use nssight_session::Transport;

use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi;

/// Makes an NSPR descriptor whose bytes travel over `transport`; closing it drops the transport.
pub(crate) fn descriptor(transport: Box<dyn Transport>) -> Result<*mut PRFileDesc> {
    static LAYER: OnceLock<(PRDescIdentity, Methods)> = OnceLock::new();
    let (identity, methods) = LAYER.get_or_init(|| {
        // SAFETY: a static, NUL-terminated name.
        (unsafe { PR_GetUniqueIdentity(c"nssight transport".as_ptr()) }, Methods(methods()))
    });
    // SAFETY: the method table is static.
    let fd = unsafe { ffi::PR_CreateIOLayerStub(*identity, &methods.0) };
    if fd.is_null() {
        return Err(NssError::last(Step::MakeDescriptor));
    }
    // SAFETY: a fresh descriptor; `secret` is for the layer's own use and is taken back in `close`.
    unsafe { (*fd).secret = Box::into_raw(Box::new(transport)).cast() };
    Ok(fd)
}

/// A method table that is never written to after its creation.
struct Methods(PRIOMethods);
// SAFETY: function pointers and an integer, read only.
unsafe impl Send for Methods {}
// SAFETY: as above.
unsafe impl Sync for Methods {}

fn methods() -> PRIOMethods {
    // SAFETY: the default table is static. Its entries pass a call down to the next layer (prlayer.c), which does not exist
    // here; all entries that libssl calls for a `Session` are replaced below.
    let mut methods = unsafe { *ffi::PR_GetDefaultIOMethods() };
    methods.close = Some(close);
    methods.read = Some(read);
    methods.write = Some(write);
    methods.recv = Some(recv);
    methods.send = Some(send);
    methods.shutdown = Some(shutdown);
    methods.poll = Some(poll);
    methods.getpeername = Some(getpeername);
    methods.getsocketoption = Some(getsocketoption);
    methods.setsocketoption = Some(setsocketoption);
    methods
}

/// Runs `work` on the transport of a descriptor; a failure, a panic, or a count of more than `most` bytes, which libssl
/// would trust, becomes an NSPR error and -1.
///
/// # Safety
/// `fd` is a descriptor of this layer that is not closed.
unsafe fn with(
    fd: *mut PRFileDesc,
    most: usize,
    work: impl FnOnce(&mut dyn Transport) -> io::Result<usize>,
) -> PRInt32 {
    // SAFETY: `secret` was set by `descriptor`; libssl serialises reads and writes by its own locks, and a diagnosis
    // uses a session from one thread only.
    let transport = unsafe { &mut **(*fd).secret.cast::<Box<dyn Transport>>() };
    let result = catch_unwind(AssertUnwindSafe(|| work(transport)));
    let error = match result {
        Ok(Ok(count)) if count <= most => return PRInt32::try_from(count).unwrap_or(PRInt32::MAX),
        Ok(Ok(_)) => io::Error::other("a transport reported more bytes than the buffer can hold"),
        Ok(Err(error)) => error,
        Err(_) => io::Error::other("panic in a transport"),
    };
    let code = match error.kind() {
        ErrorKind::TimedOut => PR_IO_TIMEOUT_ERROR,
        ErrorKind::WouldBlock => PR_WOULD_BLOCK_ERROR,
        // As NSPR maps ECONNRESET and EPIPE (unix_errors.c).
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => PR_CONNECT_RESET_ERROR,
        _ => PR_IO_ERROR,
    };
    // SAFETY: sets two thread-local numbers.
    unsafe { PR_SetError(code, error.raw_os_error().unwrap_or(0)) };
    -1
}

unsafe extern "C" fn recv(
    fd: *mut PRFileDesc,
    buffer: *mut c_void,
    amount: PRInt32,
    _flags: PRIntn,
    _timeout: PRIntervalTime,
) -> PRInt32 {
    let length = usize::try_from(amount).unwrap_or(0);
    // SAFETY: NSPR's caller gives a writable buffer of `amount` bytes; libssl's is not always initialised.
    unsafe {
        ptr::write_bytes(buffer.cast::<u8>(), 0, length);
        with(fd, length, |transport| transport.recv(std::slice::from_raw_parts_mut(buffer.cast(), length)))
    }
}

unsafe extern "C" fn send(
    fd: *mut PRFileDesc,
    buffer: *const c_void,
    amount: PRInt32,
    _flags: PRIntn,
    _timeout: PRIntervalTime,
) -> PRInt32 {
    let length = usize::try_from(amount).unwrap_or(0);
    // SAFETY: NSPR's caller gives `amount` readable bytes.
    unsafe { with(fd, length, |transport| transport.send(std::slice::from_raw_parts(buffer.cast(), length))) }
}

unsafe extern "C" fn read(fd: *mut PRFileDesc, buffer: *mut c_void, amount: PRInt32) -> PRInt32 {
    // SAFETY: the same promises.
    unsafe { recv(fd, buffer, amount, 0, 0) }
}

unsafe extern "C" fn write(fd: *mut PRFileDesc, buffer: *const c_void, amount: PRInt32) -> PRInt32 {
    // SAFETY: the same promises.
    unsafe { send(fd, buffer, amount, 0, 0) }
}

unsafe extern "C" fn shutdown(fd: *mut PRFileDesc, _how: PRIntn) -> PRStatus {
    // SAFETY: NSPR calls methods on open descriptors only.
    match unsafe { with(fd, 0, |transport| transport.finish().map(|()| 0)) } {
        0 => PRStatus::PR_SUCCESS,
        _ => PRStatus::PR_FAILURE,
    }
}

unsafe extern "C" fn close(fd: *mut PRFileDesc) -> PRStatus {
    // SAFETY: called once, by PR_Close; the secret is the box that `descriptor` put there, and the descriptor's own
    // destructor frees the stub (prlayer.c).
    unsafe {
        let secret = std::mem::replace(&mut (*fd).secret, ptr::null_mut());
        if !secret.is_null() {
            drop(Box::from_raw(secret.cast::<Box<dyn Transport>>()));
        }
        if let Some(destroy) = (*fd).dtor {
            destroy(fd);
        }
    }
    PRStatus::PR_SUCCESS
}

unsafe extern "C" fn poll(_fd: *mut PRFileDesc, in_flags: PRInt16, out_flags: *mut PRInt16) -> PRInt16 {
    if !out_flags.is_null() {
        // SAFETY: checked for NULL; NSPR gives a writable output.
        unsafe { *out_flags = in_flags };
    }
    in_flags
}

/// libssl treats a descriptor that has a peer as connected (SSL_ImportFD), and needs nothing more.
unsafe extern "C" fn getpeername(_fd: *mut PRFileDesc, address: *mut PRNetAddr) -> PRStatus {
    let SocketAddr::V4(peer) = SocketAddr::from((Ipv4Addr::LOCALHOST, 0)) else { return PRStatus::PR_FAILURE };
    let inet = ffi::NetAddrInet {
        family: libc::AF_INET as u16,
        port: 0,
        ip: u32::from_ne_bytes(peer.ip().octets()),
        pad: [0; 8],
    };
    // SAFETY: NSPR's caller gives room for a PRNetAddr.
    unsafe { address.cast::<ffi::NetAddrInet>().write(inet) };
    PRStatus::PR_SUCCESS
}

/// Reports that the descriptor blocks, which is the only option that libssl reads (ssl_FdIsBlocking).
unsafe extern "C" fn getsocketoption(_fd: *mut PRFileDesc, data: *mut PRSocketOptionData) -> PRStatus {
    let data = data.cast::<ffi::SocketOption>();
    // SAFETY: NSPR's caller gives a PRSocketOptionData.
    unsafe {
        if (*data).option != ffi::PR_SockOpt_Nonblocking {
            return PRStatus::PR_FAILURE;
        }
        (*data).value.non_blocking = 0;
    }
    PRStatus::PR_SUCCESS
}

unsafe extern "C" fn setsocketoption(_fd: *mut PRFileDesc, _data: *const PRSocketOptionData) -> PRStatus {
    PRStatus::PR_SUCCESS
}

/// Whether the error is that of a transport whose deadline has passed.
pub fn timed_out(error: &NssError) -> bool {
    error.code == ErrorCode::PR_IO_TIMEOUT_ERROR
}
