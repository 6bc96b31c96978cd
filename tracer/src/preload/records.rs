//! Splits the bytes on a socket into TLS records, and reports those of the handshake.

use core::ffi::c_int;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64};

use super::attach::emit;
use super::watch::{RELAXED, Way};
use crate::event::{Event, Function, Phase, TEXT};

/// Maximum number of handshake bytes reported per direction of a socket: 128 KiB are twenty times the longest usual handshake.
const BUDGET: u32 = 128 * 1024;
/// Maximum number of bytes reported of a protocol other than TLS.
const FOREIGN: u32 = 64;
/// ContentType handshake, alert and change_cipher_spec (RFC 8446, 5.1).
const TOLD: [u8; 3] = [20, 21, 22];
const APPLICATION_DATA: u8 = 23;
/// Longest record (RFC 8446, 5.2, and RFC 5246, 6.2.3).
const RECORD: u32 = 16384 + 2048;

/// Splits one direction into records. Two threads that transfer bytes in one direction at the same time would already have broken
/// the program's session; here they could only cause a wrong split.
pub(super) struct Records {
    /// Bytes of the header so far.
    have: AtomicU32,
    header: AtomicU64,
    /// Bytes of the record to come.
    left: AtomicU32,
    told: AtomicU32,
    /// Set if the bytes are not TLS, or no longer.
    lost: AtomicBool,
    foreign: AtomicU32,
    /// Set after a complete record header: the sender in this direction speaks TLS.
    spoke: AtomicBool,
    /// Set once bytes were transferred in this direction.
    pub(super) began: AtomicBool,
    pub(super) ended: AtomicBool,
}

impl Records {
    pub(super) const fn new() -> Self {
        Self {
            have: AtomicU32::new(0),
            header: AtomicU64::new(0),
            left: AtomicU32::new(0),
            told: AtomicU32::new(0),
            lost: AtomicBool::new(false),
            foreign: AtomicU32::new(0),
            spoke: AtomicBool::new(false),
            began: AtomicBool::new(false),
            ended: AtomicBool::new(false),
        }
    }

    pub(super) fn reset(&self) {
        [&self.have, &self.left, &self.told, &self.foreign].iter().for_each(|number| number.store(0, RELAXED));
        [&self.lost, &self.spoke, &self.began, &self.ended].iter().for_each(|flag| flag.store(false, RELAXED));
    }

    pub(super) fn cut(&self, descriptor: c_int, way: Way, bytes: &[u8]) {
        let mut rest = bytes;
        while let (Some(first), false) = (rest.first(), self.lost.load(RELAXED)) {
            let left = self.left.load(RELAXED);
            if left > 0 {
                let (now, later) = rest.split_at(rest.len().min(left as usize));
                self.left.store(left.wrapping_sub(now.len() as u32), RELAXED);
                if TOLD.contains(&((self.header.load(RELAXED) >> 32) as u8)) {
                    self.tell(descriptor, way, now)
                } else {
                    skip(descriptor, way, now.len(), false)
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
                if major == 3 && length <= RECORD {
                    self.left.store(length, RELAXED);
                    self.spoke.store(true, RELAXED);
                } else {
                    self.lost.store(true, RELAXED)
                }
            }
        }
        let room = FOREIGN.saturating_sub(self.foreign.load(RELAXED)) as usize;
        // What the program sends in the clear is not recorded, and neither is what arrives after the session is over.
        let says_who_it_is = way == Way::Received && !self.spoke.load(RELAXED);
        let shown = if says_who_it_is { room.min(rest.len()) } else { 0 };
        self.foreign.fetch_add(shown as u32, RELAXED);
        let (shown, hidden) = rest.split_at(shown);
        tell(descriptor, way, shown);
        skip(descriptor, way, hidden.len(), true);
    }

    /// Bytes were transferred that could not be examined: the start of the next record is unknown from now on.
    pub(super) fn lose_record_boundary(&self, descriptor: c_int, way: Way, count: usize) {
        self.spoke.store(true, RELAXED);
        self.lost.store(true, RELAXED);
        skip(descriptor, way, count, true);
    }

    /// Reports bytes of the handshake, up to a generous limit.
    fn tell(&self, descriptor: c_int, way: Way, bytes: &[u8]) {
        if self.told.load(RELAXED) > BUDGET {
            return skip(descriptor, way, bytes.len(), true);
        }
        self.told.fetch_add(bytes.len() as u32, RELAXED);
        tell(descriptor, way, bytes);
    }
}

pub(super) fn note(function: Function, descriptor: c_int, way: Way) -> Event {
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

/// Bytes that are not reported: the content of an application data record, or everything after the point from which more
/// would be of no use.
fn skip(descriptor: c_int, way: Way, count: usize, for_good: bool) {
    if count > 0 {
        let mut event = note(Function::wire_skipped, descriptor, way);
        (event.result, event.os_error) = (count as i64, i32::from(for_good));
        emit(event);
    }
}
