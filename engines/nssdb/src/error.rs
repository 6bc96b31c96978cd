//! What can go wrong while reading, and where.

use serde::Serialize;
use std::fmt;
use std::io;

/// An operating system error, kept as number and text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Errno {
    /// The errno value; 0 when the error did not come from the kernel.
    pub code: i32,
    /// The text of the system for it.
    pub text: String,
}

impl From<&io::Error> for Errno {
    fn from(error: &io::Error) -> Self {
        Errno { code: error.raw_os_error().unwrap_or(0), text: error.to_string() }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Where in a file a problem was seen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// The file as a whole.
    File,
    /// A row of an SQLite table.
    Row {
        /// Table name.
        table: String,
        /// The value of the `id` column, as text.
        id: String,
    },
    /// A page of a Berkeley DB file.
    Page {
        /// Page number, from 0.
        page: u32,
        /// Offset from the start of the file, in bytes.
        offset: u64,
    },
    /// A record of a Berkeley DB file, named by the first bytes of its key in hexadecimal.
    Record {
        /// At most 16 bytes of the key.
        key: String,
    },
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::File => Ok(()),
            Place::Row { table, id } => write!(f, " table {table} row {id}"),
            Place::Page { page, offset } => write!(f, " page {page} (offset {offset})"),
            Place::Record { key } => write!(f, " record {key}"),
        }
    }
}

/// One item of a database that could not be read or is inconsistent; reading continued after it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// File name without directory.
    pub file: String,
    /// Where in the file.
    pub place: Place,
    /// What was found.
    pub what: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}: {}", self.file, self.place, self.what)
    }
}

/// Why a database or a part of it cannot be read at all.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file of the database does not exist.
    #[error("{file} does not exist")]
    Missing {
        /// Path of the file.
        file: String,
    },
    /// The file is a directory, FIFO, socket or device.
    #[error("{file} is a {kind}, not a regular file")]
    NotRegular {
        /// Path of the file.
        file: String,
        /// What it is.
        kind: &'static str,
    },
    /// The kernel refused to open or read the file.
    #[error("{file} cannot be read: {source}")]
    Unreadable {
        /// Path of the file.
        file: String,
        /// The error of the kernel.
        source: io::Error,
    },
    /// The file is larger than this reader accepts.
    #[error("{file} has {size} bytes; the maximum is {limit}")]
    TooLarge {
        /// Path of the file.
        file: String,
        /// Its size in bytes.
        size: u64,
        /// The limit in bytes.
        limit: u64,
    },
    /// The file kept changing while it was read.
    #[error("another process is writing to {file}: {what}")]
    Busy {
        /// Path of the file.
        file: String,
        /// What changed.
        what: String,
    },
    /// The file is not of the format its name promises, or is damaged from the start.
    #[error("{0}")]
    Corrupt(Problem),
    /// The key database was never given a password, not even an empty one.
    #[error("the key database was never initialised: it has no password record")]
    NotInitialised,
    /// The password does not unlock the key database.
    #[error("the password does not unlock the key database")]
    WrongPassword,
    /// An algorithm, key type or cost this reader does not handle.
    #[error("not supported: {0}")]
    Unsupported(String),
    /// A decryption or decoding failed although the password is right.
    #[error("{0}")]
    Undecodable(String),
}
