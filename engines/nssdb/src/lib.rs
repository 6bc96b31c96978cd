//! Reads the certificate and key databases of NSS without NSS.
//!
//! Two formats are understood: `cert9.db`/`key4.db` (SQLite, [`Format::Sql`]) and `cert8.db`/`key3.db`
//! (Berkeley DB 1.85 hash, [`Format::Dbm`]). [`Inventory`] says what lies in a directory and which of it NSS
//! would use; [`Database`] reads one of the formats into one model.
//!
//! Nothing is ever opened for writing: files are read into memory and parsed there, so that no lock, journal,
//! `-wal` or `-shm` file appears and no modification time changes.
//! Every byte read is taken as hostile: sizes, counts, chains and iteration counts are bounded.

pub mod directory;
mod error;
mod file;

pub use directory::Inventory;
pub use error::{Errno, Error, Place, Problem};

use serde::Serialize;

/// A database format of NSS.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// `cert9.db` and `key4.db`, SQLite.
    Sql,
    /// `cert8.db` and `key3.db`, Berkeley DB 1.85 hash.
    Dbm,
}

impl Format {
    /// The name of the certificate file, without prefix.
    pub const fn certificate_file(self) -> &'static str {
        match self {
            Format::Sql => "cert9.db",
            Format::Dbm => "cert8.db",
        }
    }

    /// The name of the key file, without prefix.
    pub const fn key_file(self) -> &'static str {
        match self {
            Format::Sql => "key4.db",
            Format::Dbm => "key3.db",
        }
    }
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Format::Sql => "sql",
            Format::Dbm => "dbm",
        })
    }
}
