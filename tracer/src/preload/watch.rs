//! The sockets with TLS: which of their bytes are recorded.
//!
//! Of the bytes on the wire, handshake, alert and ChangeCipherSpec records are recorded unchanged. Of a record of application
//! data, only the header is recorded: its content belongs to the program. Bytes that are not TLS are recorded, a few of them, if
//! they are the first that a peer sends, since they show what it is. Of what the program itself moves through a session, only the
//! frames of a double TLS stream are recorded: their lengths, the number at the front of the reply, and how far the reply got.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

use super::attach::{emit, is_itself};
use super::chunks::Chunks;
use super::records::{Records, note};
use super::system::{POLL_ENDED, PollFd, Stat, errno, fstat, poll, set_errno};
use crate::event::{Event, Function, Phase};

/// Descriptors above it are not watched.
const DESCRIPTORS: usize = 4096;

/// Which way bytes go, seen from the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the program.
    Sent = 0,
    /// By its peer.
    Received = 1,
}

pub(super) const RELAXED: Ordering = Ordering::Relaxed;

struct Watched {
    on: AtomicBool,
    session: AtomicUsize,
    /// Device and inode behind the descriptor when the session began.
    device: AtomicU64,
    inode: AtomicU64,
    records: [Records; 2],
    chunks: [Chunks; 2],
}

impl Watched {
    #[allow(clippy::declare_interior_mutable_const, reason = "it is only what a static array begins with")]
    const EMPTY: Self = Self {
        on: AtomicBool::new(false),
        session: AtomicUsize::new(0),
        device: AtomicU64::new(0),
        inode: AtomicU64::new(0),
        records: [const { Records::new() }; 2],
        chunks: [const { Chunks::new() }; 2],
    };
}

static SOCKETS: [Watched; DESCRIPTORS] = [Watched::EMPTY; DESCRIPTORS];

fn socket(descriptor: c_int) -> Option<&'static Watched> {
    usize::try_from(descriptor).ok().and_then(|index| SOCKETS.get(index))
}

fn of_session(session: *mut c_void) -> Option<&'static Watched> {
    let session = session as usize;
    SOCKETS
        .iter()
        .take(HIGHEST.load(RELAXED).saturating_add(1))
        .find(|socket| socket.session.load(RELAXED) == session && socket.on.load(RELAXED))
}

/// The highest descriptor that was ever watched.
static HIGHEST: AtomicUsize = AtomicUsize::new(0);

/// A session is put over a socket.
pub(crate) fn begin(descriptor: c_int, session: *mut c_void) {
    let Some(socket) = socket(descriptor) else {
        return lose(descriptor);
    };
    let Some((device, inode)) = identity(descriptor) else { return lose(descriptor) };
    socket.records.iter().for_each(Records::reset);
    socket.chunks.iter().for_each(Chunks::reset);
    socket.device.store(device, RELAXED);
    socket.inode.store(inode, RELAXED);
    socket.session.store(session as usize, RELAXED);
    socket.on.store(true, RELAXED);
    HIGHEST.fetch_max(descriptor as usize, RELAXED);
}

/// Device and inode behind a descriptor, which do not depend on its number.
fn identity(descriptor: c_int) -> Option<(u64, u64)> {
    let before = errno();
    let mut status = Stat::empty();
    // SAFETY: a buffer that is long enough; a bad descriptor is an error and nothing else.
    let known = unsafe { fstat(descriptor, &mut status) } == 0;
    set_errno(before);
    known.then_some((status.device, status.inode))
}

/// Notes that there is a session whose wire is not watched.
fn lose(descriptor: c_int) {
    const WHAT: &[u8] = b"the wire of a session on descriptor ";
    let mut event = Event::new(Function::lost, Phase::Note);
    event.number = i64::from(descriptor);
    let mut digits = [0u8; 10];
    let (mut left, mut first) = (descriptor.unsigned_abs(), digits.len());
    while let Some(digit) = first.checked_sub(1).and_then(|at| digits.get_mut(at)) {
        *digit = b'0' | (left % 10) as u8;
        (left, first) = (left / 10, first.saturating_sub(1));
        if left == 0 {
            break;
        }
    }
    let sign: &[u8] = if descriptor < 0 { b"-" } else { b"" };
    let said = WHAT.iter().chain(sign).chain(digits.get(first..).unwrap_or_default());
    for (room, byte) in event.text.iter_mut().zip(said) {
        *room = *byte;
        event.length = event.length.saturating_add(1);
    }
    emit(event);
}

/// Whether there is a session on a descriptor. That there was one is not enough: dup2, close_range, fclose or a system call
/// without the C library may have put something else there, whose bytes must not be recorded.
pub(crate) fn is_watched(descriptor: c_int) -> bool {
    let Some(socket) = socket(descriptor).filter(|socket| socket.on.load(RELAXED)) else { return false };
    let known = (socket.device.load(RELAXED), socket.inode.load(RELAXED));
    let same = identity(descriptor) == Some(known);
    if !same {
        end(descriptor);
    }
    same
}

/// Whether the watch on a descriptor has not ended meanwhile.
pub(crate) fn is_still_watched(descriptor: c_int) -> bool {
    socket(descriptor).is_some_and(|socket| socket.on.load(RELAXED))
}

pub(crate) fn is_session(session: *mut c_void) -> bool {
    of_session(session).is_some()
}

/// A descriptor is closed: in this process, not in a child that has only borrowed the memory.
pub(crate) fn end(descriptor: c_int) {
    if let Some(socket) = socket(descriptor).filter(|_| is_itself()) {
        socket.on.store(false, RELAXED);
    }
}

/// A session begins, on a socket that may have carried something else before.
pub(crate) fn restart(session: *mut c_void) {
    if let Some(socket) = of_session(session) {
        socket.records.iter().for_each(Records::reset);
        socket.chunks.iter().for_each(Chunks::reset);
    }
}

/// A session is closed.
pub(crate) fn forget(session: *mut c_void) {
    if let Some(socket) = of_session(session) {
        socket.session.store(0, RELAXED);
    }
}

/// Bytes went over a watched socket.
pub(crate) fn bytes(descriptor: c_int, way: Way, bytes: &[u8]) {
    if let Some(records) = socket(descriptor).and_then(|socket| socket.records.get(way as usize)) {
        records.began.store(true, RELAXED);
        records.cut(descriptor, way, bytes);
    }
}

/// Bytes went over a watched socket, and could not be examined.
pub(crate) fn unseen(descriptor: c_int, way: Way, count: usize) {
    if let Some(records) = socket(descriptor).and_then(|socket| socket.records.get(way as usize)) {
        records.began.store(true, RELAXED);
        records.lose_record_boundary(descriptor, way, count);
    }
}

/// Something is about to be sent. Before the first byte, the socket is checked for whether its other end is gone, since a
/// send itself does not report that: the kernel accepts the bytes, and a reset arrives later.
pub(crate) fn about_to_send(descriptor: c_int) {
    let Some([sent, received]) = socket(descriptor).map(|socket| &socket.records) else { return };
    if sent.began.swap(true, RELAXED) || received.began.load(RELAXED) {
        return;
    }
    let mut asked = PollFd { descriptor, wanted: POLL_ENDED, found: 0 };
    // SAFETY: one structure of our own, and no waiting.
    let ended = unsafe { poll(&mut asked, 1, 0) } > 0;
    if ended {
        peer_ended(descriptor, Way::Received, 0, 0);
    }
}

/// The peer's end of a watched socket is gone, or sending to it failed.
pub(crate) fn peer_ended(descriptor: c_int, way: Way, result: i64, errno: c_int) {
    const INTERRUPTED: c_int = 4;
    const NOT_NOW: c_int = 11;
    let waits = result < 0 && (errno == INTERRUPTED || errno == NOT_NOW);
    let Some(records) = socket(descriptor).and_then(|socket| socket.records.get(way as usize)) else { return };
    if waits || records.ended.swap(true, RELAXED) {
        return;
    }
    let mut event = note(Function::wire_end, descriptor, way);
    (event.result, event.os_error) = (result, if result < 0 { errno } else { 0 });
    emit(event);
}

/// The program moved bytes through a session.
pub(crate) fn moved(session: *mut c_void, way: Way, bytes: &[u8]) {
    if let Some(chunks) = of_session(session).and_then(|socket| socket.chunks.get(way as usize)) {
        chunks.cut(session, way, bytes);
    }
}
