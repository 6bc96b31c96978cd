//! A private copy of a database, which NSS opens when opening the original would change its directory.
//!
//! The process that starts the copying process chooses the path of the copy, and so can remove the copy however that process ends. The
//! copying process holds a lock on the directory. A directory without a lock is an orphan, which the next start removes.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FlockOperation, Mode, OFlags};
use rustix::io::Errno;

/// Prefix of the directory's name; [`RANDOM`] hexadecimal digits follow.
const PREFIX: &str = "nssight-copy-";
/// Random digits, so that nobody can predict the name.
const RANDOM: usize = 16;
/// Maximum size of a copy; a client's database has a few hundred kilobytes.
pub const COPIED_AT_MOST: u64 = 256 * 1024 * 1024;
/// A file system with less free space than this counts as full.
const ROOM: u64 = 16 * 1024 * 1024;
/// The files of a database in the new format that NSS reads. SQLite rebuilds the index of a write-ahead log (`-shm`).
const FILES: [&str; 7] =
    ["cert9.db", "cert9.db-wal", "cert9.db-journal", "key4.db", "key4.db-wal", "key4.db-journal", "pkcs11.txt"];
/// Maximum number of names in a directory for temporary files that are checked for orphans.
const NAMES_AT_MOST: usize = 100_000;
/// The cleanup of orphans may remove a directory in the moment before it is locked.
const ATTEMPTS: usize = 8;

/// Why there is no copy.
#[derive(Debug, thiserror::Error)]
pub enum Trouble {
    /// A file of the original.
    #[error("{file} cannot be read: {source}")]
    Original {
        /// Its path.
        file: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The directory for temporary files, which TMPDIR names.
    #[error("cannot write the private copy to {place} (TMPDIR): {source}")]
    Place {
        /// Its path.
        place: String,
        /// The kernel's error.
        source: io::Error,
    },
    /// The database is larger than any real one.
    #[error("the database has more than {COPIED_AT_MOST} bytes, the maximum for a copy")]
    TooLarge,
}

impl Trouble {
    /// The kernel's error, if there was one.
    pub fn source(&self) -> Option<&io::Error> {
        match self {
            Self::Original { source, .. } | Self::Place { source, .. } => Some(source),
            Self::TooLarge => None,
        }
    }
}

/// The copy. Dropping it removes it.
#[derive(Debug)]
pub struct PrivateCopy {
    path: PathBuf,
    /// Locked for the lifetime of the copy.
    directory: File,
}

impl PrivateCopy {
    /// Copies a database in the new format. The directory has mode 0700 and the files 0600, whatever the umask.
    ///
    /// # Errors
    /// The obstacle; in this case nothing is left behind.
    pub fn make(database: &Path, at: &Path) -> Result<Self, Trouble> {
        let trouble = |source| Trouble::Place { place: at.parent().unwrap_or(at).display().to_string(), source };
        let copy = Self { path: at.to_owned(), directory: directory(at).map_err(trouble)? };
        let mut left = COPIED_AT_MOST;
        for name in FILES {
            copy_file(&database.join(name), &copy, name, &mut left, &trouble)?;
        }
        Ok(copy)
    }

    /// The path of the copy.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for PrivateCopy {
    fn drop(&mut self) {
        remove(&self.path);
    }
}

/// A place for a copy that does not exist yet.
pub fn place() -> PathBuf {
    let mut random = [0; RANDOM / 2];
    // From the kernel, since the initialisation of OpenSSL takes longer than everything else before a check. Without randomness the name
    // may already exist, which is reported when the copy is made.
    let _ = rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty());
    let digits: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    let bases = bases();
    let base = bases.iter().find(|base| has_room(base)).unwrap_or(&bases[0]);
    base.join(format!("{PREFIX}{digits}"))
}

/// Where a copy may be placed: in TMPDIR, and otherwise where every Linux system has a directory for temporary files (file-hierarchy(7)).
/// An unusable TMPDIR is not a fault of the database.
fn bases() -> Vec<PathBuf> {
    let mut bases = vec![std::env::temp_dir()];
    for usual in ["/tmp", "/var/tmp", "/dev/shm"].map(PathBuf::from) {
        if !bases.contains(&usual) {
            bases.push(usual);
        }
    }
    bases
}

/// Whether this process can create files in the directory, on a file system that is not nearly full.
fn has_room(base: &Path) -> bool {
    let may = rustix::fs::Access::WRITE_OK | rustix::fs::Access::EXEC_OK;
    base.is_dir()
        && rustix::fs::accessat(CWD, base, may, AtFlags::EACCESS).is_ok()
        && rustix::fs::statvfs(base)
            .is_ok_and(|file_system| file_system.f_bavail.saturating_mul(file_system.f_frsize) >= ROOM)
}

/// Creates the directory and locks it.
fn directory(at: &Path) -> io::Result<File> {
    for _ in 0..ATTEMPTS {
        rustix::fs::mkdir(at, Mode::RWXU)?;
        let directory = match open_directory(at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            directory => directory?,
        };
        rustix::fs::flock(&directory, FlockOperation::LockExclusive)?;
        rustix::fs::fchmod(&directory, Mode::RWXU)?;
        if rustix::fs::fstat(&directory)?.st_nlink > 0 && at.exists() {
            return Ok(directory);
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn open_directory(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

fn copy_file(
    from: &Path,
    copy: &PrivateCopy,
    name: &str,
    left: &mut u64,
    trouble: &impl Fn(io::Error) -> Trouble,
) -> Result<(), Trouble> {
    let unread = |source| Trouble::Original { file: from.display().to_string(), source };
    // Non-blocking, since the name may now belong to a FIFO.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut original = match rustix::fs::open(from, flags, Mode::empty()) {
        Ok(file) => File::from(file),
        Err(Errno::NOENT) => return Ok(()),
        Err(error) => return Err(unread(error.into())),
    };
    let seen = original.metadata().map_err(unread)?;
    if !seen.is_file() {
        return Err(unread(io::Error::other("not a regular file")));
    }
    // Checked before any byte is written: a sparse file takes more space in the copy.
    if seen.len() > *left {
        return Err(Trouble::TooLarge);
    }
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mode = Mode::RUSR | Mode::WUSR;
    let written = rustix::fs::openat(&copy.directory, name, flags, mode).map_err(|error| trouble(error.into()))?;
    rustix::fs::fchmod(&written, mode).map_err(|error| trouble(error.into()))?;
    let mut written = File::from(written);
    let mut piece = vec![0; 64 * 1024];
    loop {
        let count = original.read(&mut piece).map_err(unread)?;
        if count == 0 {
            return Ok(());
        }
        *left = left.checked_sub(count as u64).ok_or(Trouble::TooLarge)?;
        written.write_all(&piece[..count]).map_err(trouble)?;
    }
}

/// Removes a copy, if it exists and is ours. A copy has no subdirectories, so this never descends into one; a link is removed and not
/// followed.
pub fn remove(path: &Path) {
    if let Ok(directory) = open_directory(path) {
        remove_opened(&directory, path);
    }
}

fn remove_opened(directory: &File, path: &Path) {
    // A process that still works in the directory may create another file in between.
    for _ in 0..ATTEMPTS {
        let Ok(entries) = Dir::read_from(directory) else { return };
        for entry in entries.flatten() {
            let _ = rustix::fs::unlinkat(directory, entry.file_name(), AtFlags::empty());
        }
        if rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR) != Err(Errno::NOTEMPTY) {
            return;
        }
    }
}

/// Removes directories that killed processes of this user left behind. They are recognised by name, owner and mode, and by the absence of a
/// lock.
pub fn remove_orphans() {
    for base in bases() {
        remove_orphans_in(&base);
    }
}

fn remove_orphans_in(base: &Path) {
    let Ok(names) = std::fs::read_dir(base) else { return };
    for entry in names.take(NAMES_AT_MOST).flatten().filter(|entry| is_ours(&entry.file_name())) {
        let path = entry.path();
        let Ok(directory) = open_directory(&path) else { continue };
        let ours = rustix::fs::fstat(&directory)
            .is_ok_and(|seen| seen.st_uid == rustix::process::geteuid().as_raw() && seen.st_mode & 0o077 == 0);
        if ours && rustix::fs::flock(&directory, FlockOperation::NonBlockingLockExclusive).is_ok() {
            remove_opened(&directory, &path);
        }
    }
}

fn is_ours(name: &OsStr) -> bool {
    let digits = name.to_str().and_then(|name| name.strip_prefix(PREFIX));
    digits.is_some_and(|digits| digits.len() == RANDOM && digits.bytes().all(|byte| byte.is_ascii_hexdigit()))
}
