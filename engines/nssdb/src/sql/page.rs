//! Header and pages of an SQLite database (SQLite file format, section 1).

/// "SQLite format 3" and NUL: SQLite file format, section 1.3.
pub(crate) const SQLITE_MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// Length of the header of an SQLite database.
pub(crate) const SQLITE_HEADER: usize = 100;
/// Largest database, journal or log read; a hundred thousand certificates take about 400 MiB.
pub(super) const MAX_FILE: u64 = 2 << 30;

/// The page size of a database header, if it is one SQLite allows.
pub(super) fn page_size(header: &[u8]) -> Option<usize> {
    let raw = usize::from(u16::from_be_bytes(header.get(16..18)?.try_into().ok()?));
    let size = if raw == 1 { 65_536 } else { raw };
    (size.is_power_of_two() && (512..=65_536).contains(&size)).then_some(size)
}

/// A big-endian word.
pub(super) fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}

/// Writes a page (numbered from 1) into the copy, growing it within the size limit.
pub(super) fn put_page(bytes: &mut Vec<u8>, number: u32, page: &[u8]) -> bool {
    let Some(start) = (number as usize).checked_sub(1).and_then(|before| before.checked_mul(page.len())) else {
        return false;
    };
    let end = start.saturating_add(page.len());
    if end as u64 > MAX_FILE {
        return false;
    }
    if bytes.len() < end {
        bytes.resize(end, 0);
    }
    match bytes.get_mut(start..end) {
        Some(place) => {
            place.copy_from_slice(page);
            true
        }
        None => false,
    }
}
