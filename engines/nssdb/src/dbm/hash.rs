//! A reader for Berkeley DB 1.85 hash files, as lib/dbm of NSS writes them.
//!
//! The header is always big-endian, the pages are in the byte order the header names (measured on NSS 3.87.1,
//! whose library swaps the header on little-endian hosts). Pairs are found by walking every bucket and its chain
//! of overflow pages: scanning the file in page order would also meet bitmaps and free pages.

use crate::directory::{HASH_HEADER, HASH_MAGIC};
use crate::error::Place;
use crate::problems::Problems;
use std::borrow::Cow;

/// Values in an offset slot that are marks and not offsets; from `REAL_KEY` on they are offsets (`hash/page.h`).
const OVERFLOW_LINK: u16 = 0;
const PARTIAL_KEY: u16 = 1;
const FULL_KEY: u16 = 2;
const FULL_KEY_DATA: u16 = 3;
const REAL_KEY: u16 = 4;

/// Number of split points for which a header has room.
const SPLIT_POINTS: usize = 32;

/// Maximum number of records read. A record takes more memory here than it may take up in a hostile file.
const MAX_PAIRS: usize = 1_000_000;

/// Fields of the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    page_size: usize,
    shift: u32,
    max_bucket: u32,
    /// The number of pairs that the header declares.
    pub(super) pairs: u32,
    header_pages: u32,
    spares: [u32; SPLIT_POINTS],
    big_endian: bool,
}

impl Header {
    fn parse(file: &[u8]) -> Result<Header, String> {
        let word = |at: usize| be32(file, at).ok_or("the header is truncated");
        if file.is_empty() {
            return Err("the file is empty".into());
        }
        if file.len() < HASH_HEADER {
            return Err(format!("the file has {} bytes, but its header alone needs {HASH_HEADER}", file.len()));
        }
        if word(0)? != HASH_MAGIC {
            return Err("this is not a Berkeley DB hash file".into());
        }
        let version = word(4)?;
        if !matches!(version, 1 | 2) {
            return Err(format!("hash format version {version} is unknown"));
        }
        let big_endian = match word(8)? {
            1234 => false,
            4321 => true,
            other => return Err(format!("byte order {other} in the header is unknown")),
        };
        let page_size = word(12)? as usize;
        let shift = word(16)?;
        if !(64..=65_536).contains(&page_size) || 1usize.checked_shl(shift) != Some(page_size) {
            return Err(format!("page size {page_size} (2^{shift}) is invalid"));
        }
        let mut spares = [0; SPLIT_POINTS];
        for (at, spare) in spares.iter_mut().enumerate() {
            *spare = word(68 + 4 * at)?;
        }
        Ok(Header {
            page_size,
            shift,
            max_bucket: word(40)?,
            pairs: word(56)?,
            header_pages: word(60)?,
            spares,
            big_endian,
        })
    }

    /// The page of a bucket. Buckets are in groups whose size is a power of two; the overflow pages allocated before a group
    /// lie in front of that group.
    fn bucket_page(&self, bucket: u32) -> u64 {
        let spares = match bucket {
            0 => 0,
            bucket => {
                // The smallest i with 2^i >= bucket + 1, minus one.
                let group = bucket.ilog2() as usize;
                self.spares.get(group).copied().unwrap_or(0)
            }
        };
        u64::from(bucket) + u64::from(self.header_pages) + u64::from(spares)
    }

    /// The page of an overflow address: five bits of split point and eleven of page number.
    fn overflow_page(&self, address: u16) -> u64 {
        let before = (1u32 << (address >> 11)) - 1;
        self.bucket_page(before) + u64::from(address & 0x7ff)
    }
}

/// A key and its value: a piece of the file, unless it is spread over several pages.
#[derive(Debug)]
pub(super) struct Pair<'a> {
    pub(super) key: Cow<'a, [u8]>,
    pub(super) value: Cow<'a, [u8]>,
}

/// Everything in the file.
pub(super) struct Contents<'a> {
    pub(super) pairs: Vec<Pair<'a>>,
    /// Whether every chain was followed to its end.
    pub(super) complete: bool,
}

/// Reads all pairs. Damage in one chain is noted and the next bucket is read.
///
/// A sound file holds each page in one chain only, so a page met twice is damage; that also bounds the work and
/// the memory to the size of the file.
pub(super) fn read<'a>(file: &'a [u8], problems: &mut Problems) -> Result<Contents<'a>, String> {
    let header = Header::parse(file)?;
    let page_count = file.len().div_ceil(header.page_size);
    let mut walk = Walk { file, header, seen: vec![false; page_count], pairs: Vec::new() };
    let mut complete = true;
    for bucket in 0..=header.max_bucket {
        if walk.pairs.len() > MAX_PAIRS {
            complete = false;
            problems.add(Place::File, format!("more than {MAX_PAIRS} records; the rest was not read"));
            break;
        }
        // Page numbers grow with the bucket: from here on all pages are beyond the end, which means empty.
        if u64::from(bucket) + u64::from(header.header_pages) >= page_count as u64 {
            break;
        }
        if let Err(damage) = walk.bucket(bucket) {
            complete = false;
            problems.add(
                Place::Page {
                    page: u32::try_from(damage.page).unwrap_or(u32::MAX),
                    offset: damage.page << header.shift,
                },
                format!("bucket {bucket}: {}", damage.what),
            );
        }
    }
    let found = walk.pairs.len();
    if complete && found != header.pairs as usize {
        problems.add(Place::File, format!("the header states {} records, but the file contains {found}", header.pairs));
    }
    Ok(Contents { pairs: walk.pairs, complete })
}

struct Damage {
    page: u64,
    what: String,
}

struct Walk<'a> {
    file: &'a [u8],
    header: Header,
    seen: Vec<bool>,
    pairs: Vec<Pair<'a>>,
}

/// One page with its checked array of entries.
#[derive(Clone, Copy)]
struct Page<'a> {
    number: u64,
    bytes: &'a [u8],
    big_endian: bool,
    /// Number of slots in use; always even on a sound page.
    entries: usize,
}

impl<'a> Walk<'a> {
    fn page(&mut self, number: u64) -> Result<Option<Page<'a>>, Damage> {
        let damage = |what: &str| Damage { page: number, what: what.to_owned() };
        let Some(start) = usize::try_from(number).ok().and_then(|number| number.checked_mul(self.header.page_size))
        else {
            return Ok(None);
        };
        let Some(seen) = self.seen.get_mut(number as usize) else {
            // Beyond the end of the file: a page that was never written, which is empty.
            return Ok(None);
        };
        if std::mem::replace(seen, true) {
            return Err(damage("the page belongs to a chain that was already read (a loop or a wrong link)"));
        }
        let bytes = self
            .file
            .get(start..start + self.header.page_size)
            .ok_or_else(|| damage("the file ends inside this page"))?;
        let mut page = Page { number, bytes, big_endian: self.header.big_endian, entries: 0 };
        let entries = usize::from(page.slot(0)?);
        if entries + 3 > bytes.len() / 2 || entries % 2 != 0 {
            return Err(damage("the number of entries is invalid"));
        }
        page.entries = entries;
        Ok(Some(page))
    }

    fn bucket(&mut self, bucket: u32) -> Result<(), Damage> {
        let mut next = self.page(self.header.bucket_page(bucket))?;
        while let Some(page) = next {
            next = self.pairs_of(page)?;
        }
        Ok(())
    }

    /// Takes the pairs of a page and returns the next page of the chain.
    fn pairs_of(&mut self, page: Page<'a>) -> Result<Option<Page<'a>>, Damage> {
        let mut end = self.header.page_size;
        let mut at = 1;
        while at < page.entries {
            let (key_at, mark) = (page.slot(at)?, page.slot(at + 1)?);
            match mark {
                OVERFLOW_LINK => return self.follow(&page, key_at).map(Some),
                PARTIAL_KEY..=FULL_KEY_DATA if at == 1 => return self.big_pair(page),
                PARTIAL_KEY..=FULL_KEY_DATA => {
                    return Err(page.damage("a large record does not begin at the start of its page"));
                }
                REAL_KEY.. => {
                    let (key_at, value_at) = (usize::from(key_at), usize::from(mark));
                    let (Some(key), Some(value)) = (page.bytes.get(key_at..end), page.bytes.get(value_at..key_at))
                    else {
                        return Err(page.damage("the offsets of a record are not in order"));
                    };
                    self.pairs.push(Pair { key: Cow::Borrowed(key), value: Cow::Borrowed(value) });
                    end = value_at;
                }
            }
            at += 2;
        }
        Ok(None)
    }

    fn follow(&mut self, from: &Page<'_>, address: u16) -> Result<Page<'a>, Damage> {
        let number = self.header.overflow_page(address);
        self.page(number)?.ok_or_else(|| Damage {
            page: from.number,
            what: format!("the chain continues at page {number}, beyond the end of the file"),
        })
    }

    /// A pair that does not fit on a page has pages of its own, with one entry each.
    fn big_pair(&mut self, first: Page<'a>) -> Result<Option<Page<'a>>, Damage> {
        let mut page = first;
        let mut key = page.tail(1)?.to_vec();
        while page.slot(2)? == PARTIAL_KEY {
            page = self.follow(&page, page.link()?)?;
            key.extend_from_slice(page.tail(1)?);
        }
        let mut value = Vec::new();
        let mut more = true;
        match page.slot(2)? {
            FULL_KEY => {}
            FULL_KEY_DATA => {
                let (start, end) = (page.slot(page.entries)?, page.slot(1)?);
                let part = page
                    .bytes
                    .get(usize::from(start)..usize::from(end))
                    .ok_or_else(|| page.damage("the value of a large record has no valid start"))?;
                value.extend_from_slice(part);
                // The writer leaves a byte free when the value ends on this page.
                more = page.slot(page.entries + 1)? == 0;
            }
            _ => return Err(page.damage("the key of a large record does not end")),
        }
        while more {
            page = self.follow(&page, page.link()?)?;
            value.extend_from_slice(page.tail(1)?);
            more = page.slot(2)? != FULL_KEY_DATA;
        }
        self.pairs.push(Pair { key: Cow::Owned(key), value: Cow::Owned(value) });
        if page.entries <= 2 {
            return Ok(None);
        }
        self.follow(&page, page.link()?).map(Some)
    }
}

impl<'a> Page<'a> {
    fn damage(&self, what: &str) -> Damage {
        Damage { page: self.number, what: what.to_owned() }
    }

    /// A slot of the array at the start of the page.
    fn slot(&self, at: usize) -> Result<u16, Damage> {
        let two = self
            .bytes
            .get(2 * at..2 * at + 2)
            .and_then(|two| two.try_into().ok())
            .ok_or_else(|| self.damage("an entry lies beyond the page"))?;
        Ok(if self.big_endian { u16::from_be_bytes(two) } else { u16::from_le_bytes(two) })
    }

    /// The bytes from the offset in a slot to the end of the page.
    fn tail(&self, at: usize) -> Result<&'a [u8], Damage> {
        let start = usize::from(self.slot(at)?);
        self.bytes.get(start..).ok_or_else(|| self.damage("an offset lies beyond the page"))
    }

    /// The address of the next page: the last but one slot in use.
    fn link(&self) -> Result<u16, Damage> {
        match self.entries.checked_sub(1) {
            Some(at) if at >= 1 => self.slot(at),
            _ => Err(self.damage("a large record ends in an empty page")),
        }
    }
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}
