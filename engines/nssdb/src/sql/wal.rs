//! Applies a write-ahead log to a copy of the database (SQLite file format, section 4).

use super::page::{be32, page_size, put_page};

/// Length of the log header.
const HEADER: usize = 32;
/// Length of the header of each frame.
const FRAME_HEADER: usize = 24;
/// Magic of a log whose checksums take words in little-endian order; the big-endian one has the lowest bit set.
const MAGIC: u32 = 0x377f_0682;

/// Applies every committed frame. Frames after the last commit, of an earlier generation of the log or with a
/// wrong checksum are not part of the database, so that a damaged log ends where SQLite would end it.
pub(super) fn replay(bytes: &mut Vec<u8>, log: &[u8]) {
    let Some(size) = page_size(bytes) else {
        return;
    };
    let Some((frames, pages)) = committed(log, size) else {
        return;
    };
    for frame in frames {
        put_page(bytes, frame.number, frame.page);
    }
    bytes.truncate((pages as usize).saturating_mul(size));
}

struct Frame<'a> {
    number: u32,
    page: &'a [u8],
}

/// The committed frames in order, and the size of the database in pages after the last of them.
fn committed(log: &[u8], page_size: usize) -> Option<(Vec<Frame<'_>>, u32)> {
    let header = log.get(..HEADER)?;
    let magic = be32(header, 0)?;
    if magic & !1 != MAGIC || be32(header, 8)? as usize != page_size {
        return None;
    }
    let big_endian = magic & 1 == 1;
    let salts = header.get(16..24)?;
    let mut sum = checksum((0, 0), header.get(..24)?, big_endian);
    if sum != (be32(header, 24)?, be32(header, 28)?) {
        return None;
    }
    let mut frames = Vec::new();
    let mut end = None;
    for frame in log.get(HEADER..)?.chunks_exact(FRAME_HEADER + page_size) {
        let (head, page) = frame.split_at(FRAME_HEADER);
        sum = checksum(sum, head.get(..8)?, big_endian);
        sum = checksum(sum, page, big_endian);
        if head.get(8..16)? != salts || sum != (be32(head, 16)?, be32(head, 20)?) {
            break;
        }
        frames.push(Frame { number: be32(head, 0)?, page });
        let pages_after = be32(head, 4)?;
        if pages_after != 0 {
            end = Some((frames.len(), pages_after));
        }
    }
    let (count, pages) = end?;
    frames.truncate(count);
    Some((frames, pages))
}

/// The running checksum of section 4.2 over whole pairs of words.
fn checksum(start: (u32, u32), data: &[u8], big_endian: bool) -> (u32, u32) {
    let (mut s0, mut s1) = start;
    let word = |four: &[u8]| match <[u8; 4]>::try_from(four) {
        Ok(four) if big_endian => u32::from_be_bytes(four),
        Ok(four) => u32::from_le_bytes(four),
        Err(_) => 0,
    };
    for pair in data.chunks_exact(8) {
        let (first, second) = pair.split_at(4);
        s0 = s0.wrapping_add(word(first)).wrapping_add(s1);
        s1 = s1.wrapping_add(word(second)).wrapping_add(s0);
    }
    (s0, s1)
}
