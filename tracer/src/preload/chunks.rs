//! Splits a program's session data into the chunks of a double-TLS stream, and reads the frame of the reply.

use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicU64};

use super::attach::emit;
use super::watch::{RELAXED, Way};
use crate::event::{Event, Function, Phase};

/// Longest chunk of a double TLS stream; the protocol's limit is 4092, and this leaves some room.
const CHUNK: u32 = 1 << 16;

/// Splits one direction of a session's data into chunks.
pub(super) struct Chunks {
    have: AtomicU32,
    header: AtomicU32,
    left: AtomicU32,
    inner: AtomicBool,
    off: AtomicBool,
    reply: Reply,
}

/// The position within the reply: code, fields, authentication, length, payload, authentication.
struct Reply {
    step: AtomicU8,
    /// Bytes or fields to come in this step.
    left: AtomicU64,
    number: AtomicU64,
    fields: AtomicU32,
}

impl Chunks {
    pub(super) const fn new() -> Self {
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

    pub(super) fn reset(&self) {
        [&self.have, &self.left, &self.header].iter().for_each(|number| number.store(0, RELAXED));
        self.off.store(false, RELAXED);
        self.reply.step.store(Reply::CODE, RELAXED);
        self.reply.left.store(4, RELAXED);
        self.reply.number.store(0, RELAXED);
    }

    pub(super) fn cut(&self, session: *mut c_void, way: Way, bytes: &[u8]) {
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
                // Some other protocol, of which nothing is reported.
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

    /// Reads the reply's frame; only the error code and the end of the reply are reported.
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
            // Not a code: another protocol's bytes, of which nothing is reported.
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
