//! Reads the files of a database without NSS.
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact::{self, DbState};
use nssight_nss::library;
use nssight_nssdb::directory::{Access, Choice, FileEntry, FileKind, Magic, Question, TypePrefix, parse_argument};
use nssight_nssdb::{Format, Inventory};

/// The state of the files, and NSS's expected reaction.
pub(super) struct Look {
    pub(super) argument: OsString,
    pub(super) directory: PathBuf,
    pub(super) prefix: TypePrefix,
    pub(super) inventory: Inventory,
    pub(super) choice: Choice,
}

impl Look {
    pub(super) fn at(argument: &OsStr) -> Self {
        let (prefix, directory) = parse_argument(argument);
        let directory = PathBuf::from(directory);
        let inventory = Inventory::of(&directory);
        let default = std::env::var("NSS_DEFAULT_DB_TYPE").ok();
        let nss = library::nss_release();
        let question = Question { prefix, default_db_type: default.as_deref(), access: Access::ReadOnly, nss };
        let choice = inventory.choose(&question);
        Self { argument: argument.to_owned(), directory, prefix, inventory, choice }
    }

    /// The two files of a format, in the order certificates, keys.
    pub(super) fn pair(&self, format: Format) -> impl Iterator<Item = &FileEntry> {
        [format.certificate_file(), format.key_file()].into_iter().filter_map(|name| self.inventory.file(name))
    }

    pub(super) fn other(&self) -> Format {
        match self.choice.asked {
            Format::Sql => Format::Dbm,
            Format::Dbm => Format::Sql,
        }
    }
}

pub(super) fn describe(look: &Look, notes: &mut Notes) {
    notes.put(fact::DB_DIRECTORY.text(look.directory.display()));
    for file in look.inventory.files.iter().filter(|file| file.exists()) {
        let kind = match (&file.magic, file.kind) {
            (Some(Magic::SqliteDb { wal: true }), _) => "SQLite in WAL mode".to_owned(),
            (Some(Magic::SqliteDb { .. }), _) => "SQLite".to_owned(),
            (Some(Magic::BerkeleyHash { .. }), _) => "Berkeley DB hash".to_owned(),
            (Some(Magic::Empty), _) => "empty".to_owned(),
            (Some(Magic::Truncated { expected }), _) => format!("truncated, {expected} bytes expected"),
            (Some(Magic::Text), _) => "text".to_owned(),
            (Some(Magic::Garbage { .. }), _) => "unknown content".to_owned(),
            (None, kind) => {
                let kind = format!("{kind:?}").to_lowercase();
                match &file.open_error {
                    Some(error) => format!("{kind}, {error}"),
                    None => kind,
                }
            }
        };
        let owner = format!("mode {:04o}, uid {}, gid {}", file.mode, file.uid, file.gid);
        notes.put(fact::DB_FILE.text(format!("{}: {kind}, {} bytes, {owner}", file.name, file.size)));
    }
    notes.put(fact::DB_FORMAT_ASKED.text(format!("{}: {}", look.choice.asked, look.choice.reason)));
    if let Some(reads) = look.choice.reads {
        notes.put(fact::DB_FORMAT_READ.text(reads));
    }
}

/// The problem of one of the two files, according to its first bytes and mode.
pub(super) fn file_trouble(look: &Look, file: &FileEntry) -> Option<(DbState, String)> {
    let path = look.directory.join(&file.name);
    let path = path.display();
    if let Some(error) = &file.open_error {
        let owner = format!("mode {:04o}, owner {}, group {}", file.mode, file.uid, file.gid);
        return Some((DbState::FileUnreadable, format!("{path} ({owner}) cannot be read as {}: {error}", who())));
    }
    match (file.kind, &file.magic) {
        (FileKind::Absent, _) => {
            Some((DbState::HalfMissing, format!("{path} is missing, but the other file of the pair exists")))
        }
        (FileKind::Regular, Some(Magic::Empty)) => Some((DbState::FileEmpty, format!("{path} is empty"))),
        (FileKind::Regular, Some(Magic::Truncated { expected })) => {
            Some((DbState::FileCut, format!("{path} is truncated: {} bytes of {expected}", file.size)))
        }
        (FileKind::Regular, Some(magic)) => {
            let format = match magic {
                Magic::SqliteDb { .. } => Some(Format::Sql),
                Magic::BerkeleyHash { .. } => Some(Format::Dbm),
                _ => None,
            };
            match format {
                Some(format) if format == look.choice.asked => None,
                Some(format) => {
                    Some((DbState::OtherFormatUnderName, format!("{path} is a {format}: file under another name")))
                }
                None => Some((DbState::FileGarbage, format!("{path} is not a database: {}", shown(magic)))),
            }
        }
        (FileKind::Regular, None) => None,
        (kind, _) => Some((DbState::NotARegularFile, format!("{path} is {}, not a regular file", kind_of_file(kind)))),
    }
}

/// The type of a file that is not a database.
fn shown(magic: &Magic) -> &'static str {
    match magic {
        Magic::Text => "it is text",
        _ => "its first bytes are not those of a database",
    }
}

fn kind_of_file(kind: FileKind) -> &'static str {
    match kind {
        FileKind::Directory => "a directory",
        FileKind::Fifo => "a named pipe",
        FileKind::Socket => "a socket",
        FileKind::Device => "a device",
        FileKind::BrokenLink => "a broken link",
        FileKind::Regular | FileKind::Absent | FileKind::Unknown => "a file of unknown type",
    }
}

/// A rollback journal that SQLite would roll back: not empty, and not zeroed at its start (SQLite file format, 3).
pub(super) fn hot_journal(look: &Look) -> Option<String> {
    let hot = |file: &&FileEntry| {
        file.name.ends_with("-journal") && file.size > 0 && !is_zeroed(&look.directory.join(&file.name))
    };
    look.inventory.files.iter().find(hot).map(|file| file.name.clone())
}

fn is_zeroed(path: &Path) -> bool {
    use std::io::Read;
    let mut start = [0u8; 8];
    let read = fs::File::open(path).and_then(|mut file| file.read(&mut start));
    read.is_ok_and(|count| start[..count].iter().all(|byte| *byte == 0))
}

pub(super) fn legacy_library() -> Option<PathBuf> {
    let (_, nss) = library::paths().into_iter().find(|(name, _)| *name == "nss")?;
    let beside = nss.parent()?;
    [beside.join("libnssdbm3.so"), beside.join("nss/libnssdbm3.so")].into_iter().find(|path| path.exists())
}

pub(super) fn process(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    format!("process {pid} ({})", name.trim())
}

pub(super) fn who() -> String {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:")).and_then(|line| line.split_whitespace().nth(1));
    format!("uid {}", uid.unwrap_or("?"))
}

/// Whether the NSS in use is at least this version.
pub(crate) fn nss_is_at_least(wanted: (u32, u32)) -> bool {
    library::nss_release() >= wanted
}
