//! Reorders one direction of a TCP connection in bounded memory.

use std::collections::BTreeMap;

/// Maximum number of bytes that wait for earlier ones.
const WAITING: usize = 64 * 1024;
/// Maximum number of segments that wait.
const SEGMENTS: usize = 128;

/// The bytes of one direction, passed on in order.
#[derive(Debug, Default)]
pub(super) struct Stream {
    /// The sequence number of the next byte; `None` before the first segment.
    next: Option<u32>,
    waiting: BTreeMap<u32, Vec<u8>>,
    held: usize,
    /// Bytes were lost, or left out of the capture: nothing after them is read.
    pub(super) broken: bool,
    /// The number after its last byte.
    ends: Option<u32>,
}

/// How far one number is ahead of another, by the arithmetic of RFC 9293 section 3.4.
fn ahead(number: u32, of: u32) -> i64 {
    i64::from(number.wrapping_sub(of) as i32)
}

impl Stream {
    /// Sets the start: the first byte has the number after this one.
    pub(super) fn begins(&mut self, sequence: u32) {
        self.next.get_or_insert(sequence.wrapping_add(1));
    }

    /// Takes the bytes of a segment, and passes on those in order.
    pub(super) fn take(&mut self, sequence: u32, payload: &[u8], missing: usize, mut on: impl FnMut(&[u8])) {
        let next = *self.next.get_or_insert(sequence);
        if self.broken || payload.is_empty() && missing == 0 {
            return;
        }
        let at = ahead(sequence, next);
        if at <= 0 {
            let known = usize::try_from(-at).unwrap_or(usize::MAX);
            self.hand_on(payload.get(known..).unwrap_or_default(), &mut on);
            self.broken |= missing > 0 && known < payload.len() + missing;
            self.drain(&mut on);
        } else if self.held + payload.len() <= WAITING && self.waiting.len() < SEGMENTS && missing == 0 {
            self.held += payload.len();
            let old = self.waiting.insert(sequence, payload.to_vec());
            self.held -= old.map_or(0, |old| old.len());
        } else {
            self.broken = true;
            self.waiting.clear();
        }
    }

    fn hand_on(&mut self, bytes: &[u8], on: &mut impl FnMut(&[u8])) {
        if let (Some(next), false) = (&mut self.next, bytes.is_empty()) {
            *next = next.wrapping_add(bytes.len() as u32);
            on(bytes);
        }
    }

    fn drain(&mut self, on: &mut impl FnMut(&[u8])) {
        while let Some(next) = self.next {
            // Numbers wrap, so the order of the map is not that of the stream.
            let Some(first) = self.waiting.keys().copied().find(|start| ahead(*start, next) <= 0) else { return };
            let bytes = self.waiting.remove(&first).unwrap_or_default();
            self.held -= bytes.len();
            let known = usize::try_from(-ahead(first, next)).unwrap_or(usize::MAX);
            self.hand_on(bytes.get(known..).unwrap_or_default(), on);
        }
    }

    /// Notes that the direction ends after this segment.
    pub(super) fn ends_at(&mut self, sequence: u32, length: usize) {
        self.ends.get_or_insert(sequence.wrapping_add(length as u32));
    }

    /// Whether everything up to its end was passed on.
    pub(super) fn has_ended(&self) -> bool {
        matches!((self.next, self.ends), (Some(next), Some(ends)) if self.broken || ahead(next, ends) >= 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(segments: &[(u32, &[u8])]) -> (Vec<u8>, bool) {
        let (mut stream, mut out) = (Stream::default(), Vec::new());
        stream.begins(u32::MAX - 3);
        for (sequence, bytes) in segments {
            stream.take(*sequence, bytes, 0, |bytes| out.extend_from_slice(bytes));
        }
        (out, stream.broken)
    }

    #[test]
    fn segments_are_reordered_across_the_wrap_of_sequence_numbers() {
        let first = u32::MAX - 2;
        assert_eq!(read(&[(first, b"abc"), (0, b"def")]), (b"abcdef".to_vec(), false));
        assert_eq!(read(&[(0, b"def"), (first, b"abc")]), (b"abcdef".to_vec(), false));
        assert_eq!(read(&[(first, b"abc"), (first, b"abc"), (u32::MAX, b"cdef")]), (b"abcdef".to_vec(), false));
        assert_eq!(read(&[(first, b"abcdef"), (0, b"def"), (3, b"g")]), (b"abcdefg".to_vec(), false));
    }

    #[test]
    fn waiting_data_is_bounded() {
        let segments: Vec<(u32, &[u8])> = (0..1000).map(|index| (1000 + index * 2, &b"x"[..])).collect();
        assert_eq!(read(&segments), (Vec::new(), true));
    }
}
