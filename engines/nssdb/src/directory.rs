//! The contents of a database directory, read without NSS and without changing anything.

mod choice;
mod entry;
mod locks;
mod magic;

pub use choice::{Access, Choice, Present, Question, TypePrefix, choose, parse_argument};
pub use entry::{FileEntry, FileKind};
pub use locks::{Lock, LockKind};
pub use magic::Magic;
pub(crate) use magic::{HASH_HEADER, HASH_MAGIC};

use crate::{Errno, Format};
use locks::LockTable;
use rustix::fs::{AtFlags, CWD};
use serde::Serialize;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The six files that NSS uses, without prefix. `pkcs11.txt` and `secmod.db` hold the list of modules.
pub const BASE_NAMES: [&str; 6] = ["cert9.db", "key4.db", "pkcs11.txt", "cert8.db", "key3.db", "secmod.db"];

/// Earlier certificate files, in the order in which NSS tries them (nsslowcert_OpenPermCertDB in lib/softoken/legacydb/pcertdb.c).
const OLDER_THAN_LEGACY: [&str; 2] = ["cert7.db", "cert5.db"];

/// Suffixes of the files that SQLite keeps beside a database.
pub const SIDE_SUFFIXES: [&str; 3] = ["-journal", "-wal", "-shm"];

/// Maximum number of names listed from a directory; a database directory holds a dozen.
const MAX_NAMES: usize = 100_000;

/// The state of the directory itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum DirectoryState {
    /// Nothing has this name.
    Missing,
    /// Something that is not a directory has this name.
    NotADirectory {
        /// What it is.
        kind: String,
    },
    /// The directory, or one above it, cannot be searched: no file in it can be reached.
    NotSearchable(Errno),
    /// Files can be reached by name, but the names cannot be listed.
    NotListable(Errno),
    /// Can be searched and listed.
    Usable,
}

/// What a directory holds, as this process sees it.
#[derive(Clone, Debug, Serialize)]
pub struct Inventory {
    /// The directory looked at, as given.
    #[serde(skip)]
    pub path: PathBuf,
    /// The file name prefix (`-P` of the NSS tools); empty in almost every installation.
    pub prefix: String,
    /// State of the directory.
    pub directory: DirectoryState,
    /// Permission bits, owner and group of the directory.
    pub owner: Option<(u32, u32, u32)>,
    /// Whether this process may create files in the directory; SQLite needs it for any change.
    pub writable: bool,
    /// The six known names under the prefix (also when absent), then side files and files with other
    /// prefixes, each group in order of name.
    pub files: Vec<FileEntry>,
    /// Whether `key4.db` has a `metaData` table; `None` when that cannot be read. Without the table, the database never
    /// had a password, and an upgrade from the legacy format is not finished.
    pub key4_initialised: Option<bool>,
    /// `cert9.db` and `key4.db` were created beside a legacy database, but nothing was copied yet: NSS continues
    /// to read the legacy files until a program logs in with write access.
    pub half_upgraded: bool,
}

impl Inventory {
    /// Examines a directory. Never fails: the result records what could not be read.
    pub fn of(dir: &Path) -> Inventory {
        Inventory::with_prefix(dir, "")
    }

    /// As [`Inventory::of`] for databases whose file names carry a prefix.
    ///
    /// The prefix is prepended to the names without a separator; `pkcs11.txt` never carries it.
    pub fn with_prefix(dir: &Path, prefix: &str) -> Inventory {
        let mut inventory = Inventory {
            path: dir.to_owned(),
            prefix: prefix.to_owned(),
            directory: DirectoryState::Missing,
            owner: None,
            writable: false,
            files: Vec::new(),
            key4_initialised: None,
            half_upgraded: false,
        };
        inventory.look_at_directory();
        let names = inventory.listed_names();
        inventory.look_at_files(names);
        inventory.inspect_key4();
        inventory
    }

    fn look_at_directory(&mut self) {
        let meta = match std::fs::metadata(&self.path) {
            Ok(meta) => meta,
            Err(error) => {
                self.directory = match error.kind() {
                    io::ErrorKind::NotFound => DirectoryState::Missing,
                    _ => DirectoryState::NotSearchable(Errno::from(&error)),
                };
                return;
            }
        };
        self.owner = Some((meta.mode() & 0o7777, meta.uid(), meta.gid()));
        if !meta.is_dir() {
            self.directory =
                DirectoryState::NotADirectory { kind: crate::file::kind_name(meta.file_type()).to_owned() };
            return;
        }
        let may = |access| rustix::fs::accessat(CWD, &self.path, access, AtFlags::EACCESS);
        self.directory = match may(rustix::fs::Access::EXEC_OK) {
            Ok(()) => DirectoryState::Usable,
            Err(error) => DirectoryState::NotSearchable(Errno::from(&io::Error::from(error))),
        };
        self.writable = may(rustix::fs::Access::WRITE_OK).is_ok();
    }

    /// Names in the directory that belong to a database, sorted.
    fn listed_names(&mut self) -> Vec<String> {
        if self.directory != DirectoryState::Usable {
            return Vec::new();
        }
        let listing = match std::fs::read_dir(&self.path) {
            Ok(listing) => listing,
            Err(error) => {
                self.directory = DirectoryState::NotListable(Errno::from(&error));
                return Vec::new();
            }
        };
        let mut names: Vec<String> = listing
            .take(MAX_NAMES)
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok())
            .filter(|name| belongs(name))
            .collect();
        names.sort();
        names
    }

    fn look_at_files(&mut self, listed: Vec<String>) {
        let mut names: Vec<String> = BASE_NAMES.iter().map(|base| self.name_of(base)).collect();
        let reachable = matches!(self.directory, DirectoryState::Usable | DirectoryState::NotListable(_));
        if matches!(self.directory, DirectoryState::NotListable(_)) {
            let sides = ["cert9.db", "key4.db"]
                .iter()
                .flat_map(|base| SIDE_SUFFIXES.map(|suffix| format!("{}{base}{suffix}", self.prefix)));
            let sides: Vec<String> =
                sides.filter(|name| std::fs::symlink_metadata(self.path.join(name)).is_ok()).collect();
            names.extend(sides);
        }
        for name in listed {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        self.files = names
            .into_iter()
            .map(|name| if reachable { FileEntry::look(&self.path, name) } else { FileEntry::absent(name) })
            .collect();
    }

    fn inspect_key4(&mut self) {
        let key4 = self.name_of("key4.db");
        if self.is_sqlite(&key4) {
            self.key4_initialised = crate::sql::has_metadata(&self.path.join(&key4)).ok();
        }
        self.half_upgraded = self.key4_initialised == Some(false)
            && self.is_sqlite(&self.name_of("cert9.db"))
            && self.has_usable(Format::Dbm);
    }

    fn is_sqlite(&self, name: &str) -> bool {
        self.file(name).is_some_and(|file| matches!(file.magic, Some(Magic::SqliteDb { .. })))
    }

    /// The file name for one of [`BASE_NAMES`], with the prefix where NSS puts it.
    pub fn name_of(&self, base: &str) -> String {
        if base == "pkcs11.txt" { base.to_owned() } else { format!("{}{base}", self.prefix) }
    }

    /// The entry with this file name.
    pub fn file(&self, name: &str) -> Option<&FileEntry> {
        self.files.iter().find(|file| file.name == name)
    }

    /// The holders of SQLite's locks on the files at this moment; files without locks are left out. Queried separately,
    /// because the kernel stops every processor to answer (reading `/proc/locks` took 11 to 24 ms, measured).
    pub fn locks(&self) -> Vec<(&FileEntry, Vec<Lock>)> {
        let table = LockTable::read();
        let locks_on = |file: &FileEntry| match std::fs::metadata(self.path.join(&file.name)) {
            Ok(meta) if meta.is_file() => table.of(&meta),
            _ => Vec::new(),
        };
        let all = self.files.iter().map(|file| (file, locks_on(file)));
        all.filter(|(_, locks)| !locks.is_empty()).collect()
    }

    /// Whether either of the two files of a format exists, intact or not.
    pub fn has_any(&self, format: Format) -> bool {
        [format.certificate_file(), format.key_file()]
            .iter()
            .any(|base| self.file(&self.name_of(base)).is_some_and(FileEntry::exists))
    }

    /// Whether both files of a format exist, can be opened and look like that format.
    pub fn has_usable(&self, format: Format) -> bool {
        [format.certificate_file(), format.key_file()].iter().all(|base| {
            self.file(&self.name_of(base)).is_some_and(|file| {
                file.is_readable()
                    && match format {
                        Format::Sql => matches!(file.magic, Some(Magic::SqliteDb { .. })),
                        Format::Dbm => matches!(file.magic, Some(Magic::BerkeleyHash { .. })),
                    }
            })
        })
    }

    /// The certificate file, if it is in a format older than `cert8.db` and there is none in a later format. NSS reads it only to
    /// convert it to a `cert8.db`.
    pub fn older_than_legacy(&self) -> Option<&'static str> {
        let later = ["cert9.db", "key4.db", "cert8.db"].map(|base| self.name_of(base));
        let has_later = later.iter().any(|name| self.file(name).is_some_and(FileEntry::exists));
        OLDER_THAN_LEGACY.into_iter().find(|base| !has_later && self.path.join(self.name_of(base)).is_file())
    }

    /// The formats of which at least one file exists.
    pub fn formats(&self) -> Vec<Format> {
        [Format::Sql, Format::Dbm].into_iter().filter(|format| self.has_any(*format)).collect()
    }

    /// What [`choose`] needs to know of this directory.
    pub fn present(&self) -> Present {
        Present {
            directory: !matches!(self.directory, DirectoryState::Missing | DirectoryState::NotADirectory { .. }),
            sql_files: self.has_any(Format::Sql),
            sql_usable: self.has_usable(Format::Sql),
            legacy_usable: self.has_usable(Format::Dbm),
            half_upgraded: self.half_upgraded,
        }
    }

    /// What NSS would open here; see [`choose`].
    pub fn choose(&self, question: &Question<'_>) -> Choice {
        choose(self.present(), question)
    }
}

/// Whether a name is one of the six, with any prefix, or a side file of one of them.
fn belongs(name: &str) -> bool {
    let stem = SIDE_SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    BASE_NAMES.iter().any(|base| stem.ends_with(base))
}
