//! Unpacks compressed files as streams, with limits on memory and size.

use std::cell::Cell;
use std::io::{self, BufRead, Read};
use std::rc::Rc;

/// The limit for all output of one run.
const UNPACKED_AT_MOST: u64 = 8 << 30;
/// Input larger than this that expands by more than this factor is not a log.
const RATIO_AT_MOST: u64 = 1000;
const RATIO_FROM: u64 = 256 << 20;
/// Maximum window of a zstd frame (2 to this power).
const ZSTD_WINDOW: u32 = 26;
/// Memory limit for an xz stream, in KiB.
const XZ_MEMORY: u32 = 66 * 1024;

/// The compression format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Packing {
    Gzip,
    Xz,
    Zstd,
}

impl Packing {
    /// Detects the format from the first bytes.
    pub(crate) fn of(head: &[u8]) -> Option<Self> {
        match head {
            [0x1f, 0x8b, ..] => Some(Self::Gzip),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Self::Xz),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Self::Zstd),
            _ => None,
        }
    }

    /// The unpacked content.
    ///
    /// # Errors
    /// If unpacking needs too much memory.
    pub(crate) fn open<'a>(self, input: &'a mut dyn BufRead) -> io::Result<Box<dyn Read + 'a>> {
        Ok(match self {
            Self::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(input)),
            Self::Xz => Box::new(lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY)),
            Self::Zstd => {
                let mut decoder = zstd::Decoder::with_buffer(input)?;
                decoder.window_log_max(ZSTD_WINDOW)?;
                Box::new(decoder)
            }
        })
    }
}

/// Counts bytes read and bytes unpacked, over all layers of all input of one run.
#[derive(Clone, Default)]
pub(crate) struct Budget {
    packed: Rc<Cell<u64>>,
    unpacked: Rc<Cell<u64>>,
}

impl Budget {
    /// Counts the bytes read.
    pub(crate) fn counted<R: Read>(&self, input: R) -> impl Read {
        Counted { input, count: self.packed.clone() }
    }

    /// Counts the bytes unpacked, and fails if there are more than a log would expand to.
    pub(crate) fn bounded<R: Read>(&self, input: R) -> impl Read {
        Bounded { input, budget: self.clone() }
    }
}

struct Counted<R> {
    input: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

struct Bounded<R> {
    input: R,
    budget: Budget,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (packed, unpacked) = (self.budget.packed.get(), self.budget.unpacked.get());
        if unpacked > UNPACKED_AT_MOST {
            return Err(io::Error::other(format!("it unpacks to more than {} GiB", UNPACKED_AT_MOST >> 30)));
        }
        if unpacked > RATIO_FROM && unpacked / packed.max(1) > RATIO_AT_MOST {
            return Err(io::Error::other(format!("it unpacks to more than {RATIO_AT_MOST} times its size")));
        }
        let count = self.input.read(buffer)?;
        self.budget.unpacked.set(unpacked + count as u64);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_files_of_a_run_have_one_budget() {
        let budget = Budget::default();
        let all = |budget: &Budget| {
            let mut text = Vec::new();
            budget.bounded(budget.counted(&b"a line of a log\n"[..])).read_to_end(&mut text)
        };
        budget.packed.set(UNPACKED_AT_MOST);
        budget.unpacked.set(UNPACKED_AT_MOST - 1);
        assert!(all(&budget).is_err(), "the end comes with the byte that is too many");
        let next = all(&budget).expect_err("the first file took what there was").to_string();
        assert!(next.contains("8 GiB"), "{next}");
        assert_eq!(all(&Budget::default()).expect("another run has its own"), 16);
    }
}
