//! The sockets with TLS on them: what of their bytes is told, and what is not.
//!
//! Of the bytes on the wire, handshake, alert and ChangeCipherSpec records are told as they are. Of a record of application
//! data only its header is: what is in it is the program's. Bytes that are no TLS are told when they are the first that a
//! peer says, a few of them, since they say who it is. Of what the program itself moves through a session, only the frames
//! of a double TLS stream are told: their lengths, the number at the front of the reply, and how far the reply came.

use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering};

use super::attach::{emit, is_itself};
use super::system::{POLL_ENDED, PollFd, poll};
use crate::event::{Event, Function, Phase, TEXT};

/// Descriptors above it are not watched.
const DESCRIPTORS: usize = 4096;
/// Bytes of handshake that are told of one direction of one socket: 128 KiB are twenty times the longest usual one.
const BUDGET: u32 = 128 * 1024;
/// Bytes of something else than TLS that are told.
const FOREIGN: u32 = 64;
/// ContentType handshake, alert and change_cipher_spec (RFC 8446, 5.1).
const TOLD: [u8; 3] = [20, 21, 22];
const APPLICATION_DATA: u8 = 23;
/// Longest record (RFC 8446, 5.2, and RFC 5246, 6.2.3).
const RECORD: u32 = 16384 + 2048;
/// Longest chunk of a double TLS stream; the protocol says 4092 and a bit of room is given.
const CHUNK: u32 = 1 << 16;

/// Which way bytes go, seen from the program.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// By the program.
    Sent = 0,
    /// By its peer.
    Received = 1,
}

const RELAXED: Ordering = Ordering::Relaxed;

/// A cutter of records, for one direction. Two threads that move bytes of one direction at a time would already have broken
/// the program's session; here they could only cut wrongly.
struct Records {
    /// Bytes of the header so far.
    have: AtomicU32,
    header: AtomicU64,
    /// Bytes of the record to come.
    left: AtomicU32,
    told: AtomicU32,
    /// It is no TLS, or no longer.
    lost: AtomicBool,
    foreign: AtomicU32,
    began: AtomicBool,
    ended: AtomicBool,
}

/// A cutter of chunks, for one direction of what is inside a session.
struct Chunks {
    have: AtomicU32,
    header: AtomicU32,
    left: AtomicU32,
    inner: AtomicBool,
    off: AtomicBool,
    reply: Reply,
}

/// How far the reply came: code, fields, authentication, length, payload, authentication.
struct Reply {
    step: AtomicU8,
    /// Bytes or fields to come in this step.
    left: AtomicU64,
    number: AtomicU64,
    fields: AtomicU32,
}

struct Watched {
    on: AtomicBool,
    session: AtomicUsize,
    records: [Records; 2],
    chunks: [Chunks; 2],
}

impl Watched {
    const EMPTY: Self = Self {
        on: AtomicBool::new(false),
        session: AtomicUsize::new(0),
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
        let mut event = Event::new(Function::lost, Phase::Note);
        event.number = i64::from(descriptor);
        return emit(event);
    };
    socket.records.iter().for_each(Records::reset);
    socket.chunks.iter().for_each(Chunks::reset);
    socket.session.store(session as usize, RELAXED);
    socket.on.store(true, RELAXED);
    HIGHEST.fetch_max(descriptor as usize, RELAXED);
}

pub(crate) fn is_watched(descriptor: c_int) -> bool {
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

/// Something is about to be sent. Before the first byte the socket is asked whether anybody is left at its other end, since a
/// send itself does not tell: the kernel takes the bytes, and a reset comes later.
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

fn note(function: Function, descriptor: c_int, way: Way) -> Event {
    let mut event = Event::new(function, Phase::Note);
    (event.number, event.extra) = (i64::from(descriptor), way as i64);
    event
}

fn tell(descriptor: c_int, way: Way, bytes: &[u8]) {
    for piece in bytes.chunks(TEXT) {
        let mut event = note(Function::wire_bytes, descriptor, way);
        if let Some(room) = event.text.get_mut(..piece.len()) {
            room.copy_from_slice(piece);
            event.length = piece.len() as u16;
        }
        emit(event);
    }
}

/// Bytes that are not told: what is in a record of application data, or whatever comes after the point where there is no
/// use in telling more.
fn skip(descriptor: c_int, way: Way, count: usize, for_good: bool) {
    if count > 0 {
        let mut event = note(Function::wire_skipped, descriptor, way);
        (event.result, event.os_error) = (count as i64, i32::from(for_good));
        emit(event);
    }
}

impl Records {
    const fn new() -> Self {
        Self {
            have: AtomicU32::new(0),
            header: AtomicU64::new(0),
            left: AtomicU32::new(0),
            told: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            foreign: AtomicU32::new(0),
            began: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    fn reset(&self) {
        [&self.have, &self.left, &self.told, &self.foreign].iter().for_each(|number| number.store(0, RELAXED));
        [&self.lost, &self.began, &self.ended].iter().for_each(|flag| flag.store(false, RELAXED));
    }

    fn cut(&self, descriptor: c_int, way: Way, bytes: &[u8]) {
        let mut rest = bytes;
        while let (Some(first), false) = (rest.first(), self.lost.load(RELAXED)) {
            let left = self.left.load(RELAXED);
            if left > 0 {
                let (now, later) = rest.split_at(rest.len().min(left as usize));
                self.left.store(left.wrapping_sub(now.len() as u32), RELAXED);
                match TOLD.contains(&((self.header.load(RELAXED) >> 32) as u8)) {
                    true => self.tell(descriptor, way, now),
                    false => skip(descriptor, way, now.len(), false),
                }
                rest = later;
                continue;
            }
            let have = self.have.load(RELAXED);
            if have == 0 && !TOLD.contains(first) && *first != APPLICATION_DATA {
                self.lost.store(true, RELAXED);
                break;
            }
            let (now, later) = rest.split_at(rest.len().min(5u32.wrapping_sub(have) as usize));
            rest = later;
            self.tell(descriptor, way, now);
            let header = now.iter().fold(self.header.load(RELAXED), |sum, byte| sum << 8 | u64::from(*byte));
            self.header.store(header & 0xff_ffff_ffff, RELAXED);
            let have = have.wrapping_add(now.len() as u32);
            self.have.store(have % 5, RELAXED);
            if have == 5 {
                let (major, length) = ((header >> 24) as u8, header as u32 & 0xffff);
                match major == 3 && length <= RECORD {
                    true => self.left.store(length, RELAXED),
                    false => self.lost.store(true, RELAXED),
                }
            }
        }
        let room = FOREIGN.saturating_sub(self.foreign.load(RELAXED)) as usize;
        // What the program sends in the clear is its own business.
        let shown = if way == Way::Received { room.min(rest.len()) } else { 0 };
        self.foreign.fetch_add(shown as u32, RELAXED);
        let (shown, hidden) = rest.split_at(shown);
        tell(descriptor, way, shown);
        skip(descriptor, way, hidden.len(), true);
    }

    /// Tells bytes of the handshake, as long as there are not absurdly many.
    fn tell(&self, descriptor: c_int, way: Way, bytes: &[u8]) {
        if self.told.load(RELAXED) > BUDGET {
            return skip(descriptor, way, bytes.len(), true);
        }
        self.told.fetch_add(bytes.len() as u32, RELAXED);
        tell(descriptor, way, bytes);
    }
}

/// The program moved bytes through a session.
pub(crate) fn moved(session: *mut c_void, way: Way, bytes: &[u8]) {
    if let Some(socket) = of_session(session) {
        if let Some(chunks) = socket.chunks.get(way as usize) {
            chunks.cut(session, way, bytes);
        }
    }
}

impl Chunks {
    const fn new() -> Self {
        Self {
            have: AtomicU32::new(0),
            header: AtomicU32::new(0),
            left: AtomicU32::new(0),
            inner: AtomicBool::new(false),
            off: AtomicBool::new(false),
            reply: Reply {
                step: AtomicU8::new(0),
                left: AtomicU64::new(0),
                number: AtomicU64::new(0),
                fields: AtomicU32::new(0),
            },
        }
    }

    fn reset(&self) {
        [&self.have, &self.left, &self.header].iter().for_each(|number| number.store(0, RELAXED));
        self.off.store(false, RELAXED);
        self.reply.step.store(Reply::CODE, RELAXED);
        self.reply.left.store(4, RELAXED);
        self.reply.number.store(0, RELAXED);
    }

    fn cut(&self, session: *mut c_void, way: Way, bytes: &[u8]) {
        let mut rest = bytes;
        while let [byte, after @ ..] = rest {
            if self.off.load(RELAXED) {
                return;
            }
            let left = self.left.load(RELAXED);
            if left > 0 {
                let (now, later) = rest.split_at(rest.len().min(left as usize));
                self.left.store(left.wrapping_sub(now.len() as u32), RELAXED);
                if way == Way::Received && !self.inner.load(RELAXED) {
                    self.reply.read(session, now);
                }
                rest = later;
                continue;
            }
            rest = after;
            let header = self.header.load(RELAXED) << 8 | u32::from(*byte);
            self.header.store(header, RELAXED);
            let have = self.have.load(RELAXED).wrapping_add(1);
            self.have.store(have % 4, RELAXED);
            if have < 4 {
                continue;
            }
            let (inner, length) = (header >> 31 == 1, header & 0x7fff_ffff);
            if length > CHUNK {
                // Some other protocol. Nothing of it is told.
                self.off.store(true, RELAXED);
                return;
            }
            self.inner.store(inner, RELAXED);
            self.left.store(length, RELAXED);
            let mut event = Event::new(Function::chunk, Phase::Note);
            event.handle = session as usize as u64;
            (event.number, event.extra) = (i64::from(length), way as i64 | i64::from(inner) << 1);
            emit(event);
        }
    }
}

impl Reply {
    const CODE: u8 = 0;
    const FIELDS: u8 = 1;
    const LENGTH_OF_TEXT: u8 = 2;
    const TEXT: u8 = 3;
    const FIRST_MAC: u8 = 4;
    const LENGTH: u8 = 5;
    const PAYLOAD: u8 = 6;
    const SECOND_MAC: u8 = 7;
    const DONE: u8 = 8;
    const NO_REPLY: u8 = 9;

    /// Reads the reply's frame; of what is in it only the error code is told, and that it is whole.
    fn read(&self, session: *mut c_void, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (step, left) = (self.step.load(RELAXED), self.left.load(RELAXED));
            if step >= Self::DONE {
                return;
            }
            let count = rest.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let (now, later) = rest.split_at(count);
            rest = later;
            if matches!(step, Self::CODE | Self::FIELDS | Self::LENGTH_OF_TEXT | Self::LENGTH) {
                let number = now.iter().fold(self.number.load(RELAXED), |sum, byte| sum << 8 | u64::from(*byte));
                self.number.store(number, RELAXED);
            }
            let left = left.wrapping_sub(count as u64);
            self.left.store(left, RELAXED);
            if left == 0 {
                self.next(session, step);
            }
        }
    }

    fn next(&self, session: *mut c_void, step: u8) {
        let number = self.number.swap(0, RELAXED);
        let (mut next, mut left) = match step {
            // A code that is none: another protocol's bytes, of which nothing is told.
            Self::CODE if number > 0xff => (Self::NO_REPLY, 0),
            Self::CODE => {
                self.tell(session, number, false);
                (Self::FIELDS, 1)
            }
            Self::FIELDS => {
                // Twice as many texts as fields: key and value.
                self.fields.store(number as u32 * 2, RELAXED);
                (Self::LENGTH_OF_TEXT, 1)
            }
            Self::LENGTH_OF_TEXT => (Self::TEXT, number),
            Self::TEXT => {
                self.fields.fetch_sub(1, RELAXED);
                (Self::LENGTH_OF_TEXT, 1)
            }
            Self::FIRST_MAC => (Self::LENGTH, 8),
            Self::LENGTH => (Self::PAYLOAD, number),
            Self::PAYLOAD => (Self::SECOND_MAC, 64),
            _ => {
                self.tell(session, 0, true);
                (Self::DONE, 0)
            }
        };
        if next == Self::LENGTH_OF_TEXT && self.fields.load(RELAXED) == 0 {
            (next, left) = (Self::FIRST_MAC, 64);
        }
        self.step.store(next, RELAXED);
        self.left.store(left, RELAXED);
        if left == 0 && next < Self::DONE {
            self.next(session, next);
        }
    }

    fn tell(&self, session: *mut c_void, code: u64, whole: bool) {
        let mut event = Event::new(Function::reply, Phase::Note);
        event.handle = session as usize as u64;
        (event.number, event.extra) = (code as i64, i64::from(whole));
        emit(event);
    }
}
