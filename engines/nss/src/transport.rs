//! Where the bytes of a TLS session travel, and the NSPR layer that puts such a place below libssl.
//!
//! libssl talks to the file descriptor below it through NSPR's method table. The table here ends in Rust: a TCP
//! connection with one absolute deadline, or whatever else carries a TLS session. Every byte passes a [`Tap`].

use std::cell::{Cell, RefCell};
use std::ffi::c_void;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpStream};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use nss_sys::nspr::{
    PR_CONNECT_RESET_ERROR, PR_GetUniqueIdentity, PR_IO_ERROR, PR_IO_TIMEOUT_ERROR, PR_SetError, PR_WOULD_BLOCK_ERROR,
    PRDescIdentity, PRFileDesc, PRIOMethods, PRInt16, PRInt32, PRIntervalTime, PRIntn, PRNetAddr, PRSocketOptionData,
    PRStatus,
};

use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi;
use crate::tcp_info::TcpInfo;

/// A byte stream below a TLS session. Blocking, with deadlines of its own.
pub trait Transport {
    /// Receives at least one byte, or 0 at the end of the stream. `TimedOut` when the deadline has passed.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Sends some of the bytes, at least one.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends the sending direction.
    fn finish(&mut self) -> io::Result<()>;
}

/// How the receiving direction of a transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer closed in order (FIN, or the end of the inner stream).
    Closed,
    /// The peer, or something between, reset the connection.
    Reset,
    /// The deadline passed.
    TimedOut,
    /// The operating system's error number.
    Failed(i32),
}

/// Sees every byte of a transport, in both directions.
pub trait Tap {
    /// Bytes that were handed to the network.
    fn sent(&mut self, bytes: &[u8]);
    /// Bytes that came from the network.
    fn received(&mut self, bytes: &[u8]);
    /// The receiving direction ended, or sending failed.
    fn ended(&mut self, end: End);
}

/// What steers a [`TcpTransport`] from outside while a TLS session owns it.
#[derive(Debug)]
pub struct Control {
    deadline: Cell<Instant>,
    stop_when_idle: Cell<bool>,
    received: Cell<u64>,
    received_before: Cell<u64>,
    last_figures: Cell<Option<TcpInfo>>,
}

impl Control {
    /// Every wait ends at `deadline`.
    pub fn until(deadline: Instant) -> Rc<Self> {
        let (stop_when_idle, received, received_before) = (Cell::new(false), Cell::new(0), Cell::new(0));
        let (deadline, last_figures) = (Cell::new(deadline), Cell::new(None));
        Rc::new(Self { deadline, stop_when_idle, received, received_before, last_figures })
    }

    /// Moves the deadline.
    pub fn set_deadline(&self, deadline: Instant) {
        self.deadline.set(deadline);
    }

    /// Time left before the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.get().saturating_duration_since(Instant::now())
    }

    /// From now on a receive gives `WouldBlock` as soon as whole records have come and nothing more is at hand:
    /// that is how an answer that carries no application data (TLS 1.3 session tickets) is noticed.
    pub fn stop_when_idle(&self, on: bool) {
        self.stop_when_idle.set(on);
        self.received_before.set(self.received.get());
    }

    /// What the kernel said of the connection when a wait failed or its deadline passed.
    pub fn last_figures(&self) -> Option<TcpInfo> {
        self.last_figures.get()
    }

    /// Bytes received since [`Control::stop_when_idle`] was last called.
    pub fn received_since(&self) -> u64 {
        self.received.get() - self.received_before.get()
    }
}

/// Where the received stream stands in its records (RFC 8446, 5.1: five bytes of header, then the length they name).
#[derive(Debug, Default)]
struct RecordCursor {
    header: [u8; 5],
    filled: usize,
    body: usize,
}

impl RecordCursor {
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.filled] = bytes[0];
            bytes = &bytes[1..];
            self.filled += 1;
            if self.filled == self.header.len() {
                self.filled = 0;
                self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }

    fn between_records(&self) -> bool {
        self.filled == 0 && self.body == 0
    }
}

/// A TCP connection with one absolute deadline for everything that waits on it.
pub struct TcpTransport {
    stream: TcpStream,
    control: Rc<Control>,
    tap: Rc<RefCell<dyn Tap>>,
    cursor: RecordCursor,
}

impl TcpTransport {
    /// Takes over a connected socket.
    pub fn new(stream: TcpStream, control: Rc<Control>, tap: Rc<RefCell<dyn Tap>>) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, control, tap, cursor: RecordCursor::default() })
    }

    fn remaining(&self) -> io::Result<Duration> {
        let left = self.control.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Sockets report a passed timeout as EAGAIN.
    fn seen(&mut self, error: io::Error) -> io::Error {
        let error = match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        };
        self.control.last_figures.set(TcpInfo::of(&self.stream));
        self.tap.borrow_mut().ended(match error.kind() {
            ErrorKind::TimedOut => End::TimedOut,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
            _ => End::Failed(error.raw_os_error().unwrap_or(0)),
        });
        error
    }

    fn recv_or_idle(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let idle_ends = self.control.stop_when_idle.get() && self.control.received_since() > 0;
        if idle_ends && self.cursor.between_records() {
            self.stream.set_nonblocking(true)?;
            let result = self.stream.read(buffer);
            self.stream.set_nonblocking(false)?;
            return result;
        }
        loop {
            self.stream.set_read_timeout(Some(self.remaining()?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }

    fn send_in_time(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.remaining()?))?;
            match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Transport for TcpTransport {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.recv_or_idle(buffer) {
            Ok(0) => {
                self.tap.borrow_mut().ended(End::Closed);
                Ok(0)
            }
            Ok(count) => {
                self.control.received.set(self.control.received.get() + count as u64);
                self.cursor.advance(&buffer[..count]);
                self.tap.borrow_mut().received(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) => Err(self.seen(error)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send_in_time(bytes) {
            Ok(count) => {
                self.tap.borrow_mut().sent(&bytes[..count]);
                Ok(count)
            }
            Err(error) => Err(self.seen(error)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

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

/// A method table that is never written to after it was made.
struct Methods(PRIOMethods);
// SAFETY: function pointers and an integer, read only.
unsafe impl Send for Methods {}
// SAFETY: as above.
unsafe impl Sync for Methods {}

fn methods() -> PRIOMethods {
    // SAFETY: the default table is static. Its entries hand a call down to the next layer (prlayer.c), of which there is
    // none here: those that libssl makes for `TlsClient` are all replaced below.
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
/// would believe, becomes an NSPR error and -1.
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
        Ok(Ok(_)) => io::Error::other("a transport counts more bytes than there are"),
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
        // SAFETY: checked for NULL; NSPR gives a place for the answer.
        unsafe { *out_flags = in_flags };
    }
    in_flags
}

/// libssl takes a descriptor that has a peer for connected (SSL_ImportFD), and asks for nothing more.
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

/// The descriptor blocks; that is all that libssl wants to know (ssl_FdIsBlocking).
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

/// The error of a transport that reported a passed deadline.
pub fn timed_out(error: &NssError) -> bool {
    error.code == ErrorCode::PR_IO_TIMEOUT_ERROR
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_knows_where_records_end() {
        let mut cursor = RecordCursor::default();
        for (index, byte) in [22, 3, 3, 0, 2, 9, 9, 21, 3, 3, 0, 0].into_iter().enumerate() {
            cursor.advance(&[byte]);
            assert_eq!(cursor.between_records(), index == 6 || index == 11, "after byte {index}");
        }
    }
}
