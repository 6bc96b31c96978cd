//! Reads the certificate and key databases of NSS without NSS.
//!
//! Two formats are understood: `cert9.db`/`key4.db` (SQLite, [`Format::Sql`]) and `cert8.db`/`key3.db`
//! (Berkeley DB 1.85 hash, [`Format::Dbm`]). [`Inventory`] describes what is in a directory and which of it NSS
//! would use; [`Database`] reads one of the formats into one model.
//!
//! Nothing is ever opened for writing: files are read into memory and parsed there, so that no lock, journal,
//! `-wal` or `-shm` file appears and no modification time changes.
//! One side effect remains: when a process closes a file, the kernel drops the POSIX locks that this process holds on it.
//! So do not use this crate in a process that has the same database open through NSS or SQLite.
//!
//! Every byte read is treated as hostile: sizes, counts, chains and iteration counts are bounded.

mod crypto;
mod dbm;
pub mod directory;
mod error;
mod file;
mod join;
mod keys;
mod model;
pub mod modules;
mod pairing;
mod problems;
mod sql;
mod trust;
mod unlock;

pub use directory::Inventory;
pub use error::{Errno, Error, Place, Problem};
pub use model::{
    Algorithm, Certificate, Crl, Database, FileState, Generation, KeyKind, KeyMatch, Nickname, PasswordState,
    PrivateKey, PublicKey,
};
pub use pairing::{Pairing, PairingReport};
pub use trust::{Flags, RawTrust, Trust, TrustSource};
pub use unlock::{PasswordCheck, SignatureReport, Unlocked};

use serde::Serialize;
use std::path::Path;

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

impl Database {
    /// Reads the database of one format in a directory.
    ///
    /// When only one of its two files can be read, that one is read and the other is
    /// [`FileState::Failed`]; damage inside a file is listed in [`Database::problems`] and sets
    /// [`Database::partial`].
    ///
    /// # Errors
    /// When neither file can be read; the error is that of the certificate file.
    pub fn open(dir: &Path, format: Format) -> Result<Database, Error> {
        Database::open_with_prefix(dir, "", format)
    }

    /// As [`Database::open`] for file names with a prefix (`-P` of the NSS tools).
    ///
    /// # Errors
    /// As [`Database::open`].
    pub fn open_with_prefix(dir: &Path, prefix: &str, format: Format) -> Result<Database, Error> {
        match format {
            Format::Sql => sql::load(dir, prefix),
            Format::Dbm => dbm::load(dir, prefix),
        }
    }
}
