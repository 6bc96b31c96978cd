//! Reads the big-endian fields of legacy records.

/// The unread rest of a record.
#[derive(Clone, Copy)]
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Fields { rest: bytes }
    }

    pub(super) fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(length)?;
        self.rest = rest;
        Some(taken)
    }

    pub(super) fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub(super) fn word(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    /// A length field.
    pub(super) fn length(&mut self) -> Option<usize> {
        self.word().map(usize::from)
    }

    pub(super) fn left(&self) -> usize {
        self.rest.len()
    }

    pub(super) fn rest(self) -> &'a [u8] {
        self.rest
    }
}

/// A C string: the bytes before the first NUL.
pub(super) fn c_string(bytes: &[u8]) -> &[u8] {
    bytes.split(|byte| *byte == 0).next().unwrap_or(&[])
}

/// Lengths in old records are 16 bits wide and wrap around: the difference to the total belongs to the first item and
/// is a multiple of 65,536 (`DecodeDBCertEntry` in lib/softoken/legacydb/pcertdb.c).
pub(super) fn unwrap_length(first: usize, others: usize, total: usize) -> Option<usize> {
    let missing = total.checked_sub(first + others)?;
    (missing % 65_536 == 0).then_some(first + missing)
}
