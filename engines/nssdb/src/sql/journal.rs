//! Applies a rollback journal to a copy of the database (SQLite file format, section 3).
//!
//! An existing journal holds the pages as they were before a transaction that has not ended: either its
//! writer died, or it is still writing. In both cases the state before the transaction is the right one.

use super::page::{be32, page_size, put_page};

/// First eight bytes of a journal header.
const MAGIC: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];
/// Length of the part of the header that carries fields.
const HEADER: usize = 28;
/// Record count of a journal written without syncing: "as many as fit in the file".
const UNCOUNTED: u32 = u32::MAX;

/// Undoes the open transaction in `bytes`. A journal whose header is not valid belongs to no transaction.
pub(super) fn roll_back(bytes: &mut Vec<u8>, journal: &[u8]) -> Result<(), String> {
    if !journal.starts_with(&MAGIC) {
        return Ok(());
    }
    if journal.ends_with(&MAGIC) {
        return Err(
            "the journal belongs to a transaction over several databases, which only SQLite can roll back".into()
        );
    }
    let mut at = 0;
    let mut size_before = None;
    'segments: while let Some(header) = Header::parse(journal, at) {
        if page_size(bytes).is_some_and(|size| size != header.page_size) {
            return Err(format!("the journal has a page size of {} bytes, unlike the database", header.page_size));
        }
        size_before.get_or_insert((header.database_pages as usize).saturating_mul(header.page_size));
        at = at.saturating_add(header.sector);
        let record = header.page_size + 8;
        let count = match header.records {
            UNCOUNTED => journal.len().saturating_sub(at) / record,
            counted => counted as usize,
        };
        for _ in 0..count {
            if !play(bytes, journal, at, &header) {
                break 'segments;
            }
            at += record;
        }
        at = at.next_multiple_of(header.sector);
    }
    if let Some(size) = size_before {
        bytes.truncate(size);
    }
    Ok(())
}

struct Header {
    records: u32,
    nonce: u32,
    database_pages: u32,
    sector: usize,
    page_size: usize,
}

impl Header {
    fn parse(journal: &[u8], at: usize) -> Option<Header> {
        let bytes = journal.get(at..at.checked_add(HEADER)?)?;
        if !bytes.starts_with(&MAGIC) {
            return None;
        }
        let sector = be32(bytes, 20)? as usize;
        let page_size = be32(bytes, 24)? as usize;
        let sane = |n: usize| n.is_power_of_two() && (32..=65_536).contains(&n);
        (sane(sector) && sane(page_size) && page_size >= 512).then_some(Header {
            records: be32(bytes, 8)?,
            nonce: be32(bytes, 12)?,
            database_pages: be32(bytes, 16)?,
            sector,
            page_size,
        })
    }
}

/// Puts one journalled page back; false at the first record that is truncated or fails its checksum, where SQLite
/// stops too.
fn play(bytes: &mut Vec<u8>, journal: &[u8], at: usize, header: &Header) -> bool {
    let (Some(number), Some(page), Some(sum)) =
        (be32(journal, at), journal.get(at + 4..at + 4 + header.page_size), be32(journal, at + 4 + header.page_size))
    else {
        return false;
    };
    if sum != checksum(header.nonce, page) {
        return false;
    }
    number > header.database_pages || put_page(bytes, number, page)
}

/// The nonce plus every 200th byte, counted from the end of the page.
fn checksum(nonce: u32, page: &[u8]) -> u32 {
    let mut sum = nonce;
    let mut at = page.len();
    while at > 200 {
        at -= 200;
        sum = sum.wrapping_add(u32::from(page.get(at).copied().unwrap_or(0)));
    }
    sum
}
