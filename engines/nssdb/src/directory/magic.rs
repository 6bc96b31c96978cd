//! The format of a file from its first bytes.

use crate::sql::{SQLITE_HEADER, SQLITE_MAGIC};
use serde::Serialize;
use std::fs::File;
use std::io::{self, Read};

/// The format of a file, by its first bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Magic {
    /// An SQLite 3 database.
    SqliteDb {
        /// Whether the header selects write-ahead logging.
        wal: bool,
    },
    /// A Berkeley DB 1.85 hash file.
    BerkeleyHash {
        /// Version of the format; NSS writes 2.
        version: u32,
        /// Byte order of the pages: 1234 or 4321.
        lorder: u32,
    },
    /// Zero bytes long.
    Empty,
    /// The right magic, but the file is shorter than its header declares.
    Truncated {
        /// Bytes that the header declares, or the size of the header itself.
        expected: u64,
    },
    /// Printable text; what `pkcs11.txt` should be.
    Text,
    /// None of the above.
    Garbage {
        /// At most the first 16 bytes.
        first: Vec<u8>,
    },
}

/// Magic of a Berkeley DB hash file, always big-endian in files of NSS.
pub(crate) const HASH_MAGIC: u32 = 0x0006_1561;
/// Length of the header of a Berkeley DB hash file.
pub(crate) const HASH_HEADER: usize = 260;

pub(super) fn identify(file: File, size: u64) -> io::Result<Magic> {
    let mut head = Vec::with_capacity(HASH_HEADER);
    file.take(HASH_HEADER as u64).read_to_end(&mut head)?;
    Ok(of_head(&head, size))
}

fn of_head(head: &[u8], size: u64) -> Magic {
    if head.is_empty() {
        return Magic::Empty;
    }
    if head.starts_with(SQLITE_MAGIC) {
        return sqlite(head, size);
    }
    if be32(head, 0) == Some(HASH_MAGIC) {
        return match (be32(head, 4), be32(head, 8)) {
            (Some(version), Some(lorder)) if head.len() == HASH_HEADER => Magic::BerkeleyHash { version, lorder },
            _ => Magic::Truncated { expected: HASH_HEADER as u64 },
        };
    }
    if is_text(head) {
        return Magic::Text;
    }
    Magic::Garbage { first: head.iter().take(16).copied().collect() }
}

fn sqlite(head: &[u8], size: u64) -> Magic {
    let byte = |at: usize| head.get(at).copied().unwrap_or(0);
    if head.len() < SQLITE_HEADER {
        return Magic::Truncated { expected: SQLITE_HEADER as u64 };
    }
    let page_size = match u64::from(byte(16)) << 8 | u64::from(byte(17)) {
        1 => 65_536,
        other => other,
    };
    let wal = byte(18) == 2 || byte(19) == 2;
    // The page count at 28 is valid only if it was written by the same change (SQLite file format, 1.3.7);
    // in WAL mode the newest pages may be in the log.
    let pages = be32(head, 28).unwrap_or(0);
    let expected = page_size * u64::from(pages);
    if !wal && be32(head, 24) == be32(head, 92) && size < expected {
        return Magic::Truncated { expected };
    }
    Magic::SqliteDb { wal }
}

fn is_text(head: &[u8]) -> bool {
    let head = match std::str::from_utf8(head) {
        Ok(text) => text,
        // A character cut at the end of the head is not an error.
        Err(error) if error.error_len().is_none() => {
            let valid = head.get(..error.valid_up_to()).unwrap_or(&[]);
            std::str::from_utf8(valid).unwrap_or("")
        }
        Err(_) => return false,
    };
    !head.is_empty() && head.chars().all(|c| !c.is_control() || matches!(c, '\n' | '\r' | '\t'))
}

fn be32(bytes: &[u8], at: usize) -> Option<u32> {
    let four = bytes.get(at..at + 4)?;
    Some(u32::from_be_bytes(four.try_into().ok()?))
}
