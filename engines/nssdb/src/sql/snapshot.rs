//! A consistent copy of an SQLite database in memory, taken without a lock and without writing.
//!
//! SQLite itself must not open the file: opened normally it takes locks and may create `-shm` or delete a
//! journal; opened as immutable it ignores journal and log. So the bytes of database, rollback journal and
//! write-ahead log are read, the two are applied in memory, and the copy counts only if none of the files changed
//! in between.

use super::page::{MAX_FILE, SQLITE_HEADER, SQLITE_MAGIC};
use super::{journal, wal};
use crate::error::{Error, Place, Problem};
use crate::file::{self, Stamp};
use rusqlite::Connection;
use rusqlite::limits::Limit;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Largest row that SQLite may return, so that one hostile row cannot fill the memory.
const MAX_ROW: i32 = 32 << 20;
/// How often a changing database is read again.
const ATTEMPTS: u32 = 25;
/// Pause between two attempts. NSS's own transactions end in milliseconds.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time all queries on one copy may take together; reached only by a hostile schema.
const QUERY_TIME: Duration = Duration::from_secs(10);

/// The bytes of a database, as of one moment.
pub(super) struct Snapshot {
    bytes: Vec<u8>,
}

impl Snapshot {
    /// Reads the database at `path`, waiting half a second at most for a writer to finish.
    pub(super) fn take(path: &Path) -> Result<Snapshot, Error> {
        for attempt in 0..ATTEMPTS {
            if attempt > 0 {
                std::thread::sleep(PAUSE);
            }
            if let Some(snapshot) = Snapshot::attempt(path)? {
                return Ok(snapshot);
            }
        }
        Err(Error::Busy {
            file: path.display().to_string(),
            what: format!("the file changed during each of {ATTEMPTS} attempts to read it"),
        })
    }

    /// One attempt; `None` when something changed meanwhile.
    fn attempt(path: &Path) -> Result<Option<Snapshot>, Error> {
        let journal_path = beside(path, "-journal");
        let wal_path = beside(path, "-wal");
        let before = stamps(path, &journal_path, &wal_path)?;
        let (mut bytes, read_stamp) = file::read(path, MAX_FILE)?;
        let (Some(journal), Some(log)) = (read_side(&journal_path, before[1])?, read_side(&wal_path, before[2])?)
        else {
            return Ok(None);
        };
        if before != stamps(path, &journal_path, &wal_path)? || before[0] != Some(read_stamp) {
            return Ok(None);
        }
        require_sqlite(path, &bytes)?;
        if !journal.is_empty() {
            journal::roll_back(&mut bytes, &journal).map_err(|what| corrupt(&journal_path, what))?;
        }
        if is_wal(&bytes) {
            wal::replay(&mut bytes, &log);
            // Memory databases cannot be in WAL mode; the log has been applied.
            if let Some(versions) = bytes.get_mut(18..20) {
                versions.fill(1);
            }
        }
        Ok(Some(Snapshot { bytes }))
    }

    /// Opens the copy, with every limit set that a hostile file could otherwise exceed.
    pub(super) fn open(self) -> Result<Connection, rusqlite::Error> {
        let mut connection = Connection::open_in_memory()?;
        connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, MAX_ROW)?;
        connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
        let size = self.bytes.len();
        connection.deserialize_read_exact("main", self.bytes.as_slice(), size, true)?;
        let deadline = Instant::now() + QUERY_TIME;
        connection.progress_handler(10_000, Some(move || Instant::now() > deadline))?;
        connection.execute_batch("PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;")?;
        Ok(connection)
    }
}

fn stamps(db: &Path, journal: &Path, wal: &Path) -> Result<[Option<Stamp>; 3], Error> {
    Ok([file::stamp(db)?, file::stamp(journal)?, file::stamp(wal)?])
}

/// The bytes of a side file that existed a moment ago; `None` when it is gone.
fn read_side(path: &Path, seen: Option<Stamp>) -> Result<Option<Vec<u8>>, Error> {
    match seen {
        Some(stamp) if stamp.size > 0 => match file::read(path, MAX_FILE) {
            Ok((bytes, _)) => Ok(Some(bytes)),
            Err(Error::Missing { .. }) => Ok(None),
            Err(error) => Err(error),
        },
        _ => Ok(Some(Vec::new())),
    }
}

fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}

fn require_sqlite(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    if bytes.is_empty() {
        return Err(corrupt(path, "the file is empty".into()));
    }
    if bytes.len() < SQLITE_HEADER || !bytes.starts_with(SQLITE_MAGIC) {
        return Err(corrupt(path, "this is not an SQLite database".into()));
    }
    Ok(())
}

fn is_wal(bytes: &[u8]) -> bool {
    bytes.get(18..20).is_some_and(|versions| versions.contains(&2))
}

fn corrupt(path: &Path, what: String) -> Error {
    Error::Corrupt(Problem { file: crate::file::name(path), place: Place::File, what })
}
