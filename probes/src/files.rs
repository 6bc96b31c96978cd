//! Opens files without blocking, and without following another user's links.
use std::ffi::{OsStr, OsString};
use std::fs::{self, File, FileType};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, Stat};

/// The kernel follows as many links (path_resolution(7)).
const LINKS_AT_MOST: usize = 40;

/// Time limit for a file system to answer.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the path does not exist. On a file system that does not respond it may exist.
pub fn is_missing(path: &Path) -> bool {
    let seen = within(path, PATIENCE, |path| std::fs::metadata(path).map(drop));
    seen.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
}

/// Reads a file in a separate thread, because a file system may never respond; then only this thread hangs.
///
/// # Errors
/// Those of `read`, or a timeout.
pub fn within<T: Send + 'static>(
    path: &Path,
    patience: Duration,
    read: impl FnOnce(&Path) -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    let (sender, answer) = mpsc::sync_channel(1);
    let path: PathBuf = path.to_owned();
    thread::Builder::new().name("file".to_owned()).spawn(move || sender.send(read(&path)))?;
    answer.recv_timeout(patience).unwrap_or_else(|error| {
        Err(match error {
            RecvTimeoutError::Timeout => silence(patience),
            RecvTimeoutError::Disconnected => io::Error::other("it could not be read"),
        })
    })
}

/// The content of the file that `open` opens, read in a separate thread as in [`within`]; `None` if it has more than `at_most` bytes.
///
/// # Errors
/// As [`within`].
pub fn whole(path: &Path, at_most: u64, open: fn(&Path) -> io::Result<File>) -> io::Result<Option<Vec<u8>>> {
    let bytes = within(path, PATIENCE, move |path| {
        let mut bytes = Vec::new();
        open(path)?.take(at_most + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    })?;
    Ok(Some(bytes).filter(|bytes| bytes.len() as u64 <= at_most))
}

fn silence(patience: Duration) -> io::Error {
    let why = format!("its file system did not answer within {:.0} s", patience.as_secs_f64());
    io::Error::new(io::ErrorKind::TimedOut, why)
}

/// The bytes of a file, read by a separate thread. Each piece arrives in time or is an error.
pub struct Pieces {
    come: Receiver<io::Result<Vec<u8>>>,
    piece: Vec<u8>,
    taken: usize,
    patience: Duration,
}

/// Length of one piece.
const PIECE: usize = 1 << 16;

impl Pieces {
    /// Reads a file from its current position.
    ///
    /// # Errors
    /// If no thread can be started.
    pub fn of(mut file: File, patience: Duration) -> io::Result<Self> {
        let (sender, come) = mpsc::sync_channel(2);
        thread::Builder::new().name("pieces".to_owned()).spawn(move || {
            loop {
                let mut piece = vec![0; PIECE];
                let read = file.read(&mut piece).map(|count| {
                    piece.truncate(count);
                    piece
                });
                let is_last = read.as_ref().map_or(true, Vec::is_empty);
                // The receiver stopped reading.
                if sender.send(read).is_err() || is_last {
                    return;
                }
            }
        })?;
        Ok(Self { come, piece: Vec::new(), taken: 0, patience })
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.taken == self.piece.len() {
            self.taken = 0;
            self.piece = match self.come.recv_timeout(self.patience) {
                Ok(piece) => piece?,
                Err(RecvTimeoutError::Timeout) => return Err(silence(self.patience)),
                Err(RecvTimeoutError::Disconnected) => Vec::new(),
            };
        }
        let rest = &self.piece[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Opens a regular file. Any other type is refused before it is opened: a FIFO would wait for its writer, and opening a device may have
/// side effects.
///
/// # Errors
/// As open(2), or one that names the other type.
pub fn regular(path: &Path) -> io::Result<File> {
    refuse_others(fs::metadata(path)?.file_type())?;
    let file = File::options().read(true).custom_flags(flags(OFlags::NONBLOCK | OFlags::NOCTTY)).open(path)?;
    // The file may have been replaced in the meantime; the flags avoided a wait in this case, too.
    refuse_others(file.metadata()?.file_type())?;
    Ok(file)
}

/// Opens a regular file, or a descriptor that the caller passed to this process and that the path names.
///
/// # Errors
/// As [`regular`].
pub fn regular_or_given(path: &Path) -> io::Result<File> {
    if is_descriptor(path) { File::open(path) } else { regular(path) }
}

/// Opens a regular file to which no other user has led this process: every link on the way belongs to us, to root or to the owner of the
/// file, and so does every hard link to it. A descriptor of this process was opened by the caller and is accepted.
///
/// # Errors
/// As [`regular`], or one that names the owner of the link.
pub fn ours(path: &Path) -> io::Result<File> {
    if is_descriptor(path) {
        return File::open(path);
    }
    let found = Found::of(path)?;
    found.is_ours()?;
    let file = File::from(rustix::fs::openat(
        &found.directory,
        &found.name,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
    )?);
    let opened = rustix::fs::fstat(&file)?;
    if (opened.st_dev, opened.st_ino) != (found.file.st_dev, found.file.st_ino) {
        return Err(io::Error::other("it was replaced while nssight opened it"));
    }
    Ok(file)
}

/// Whether a path names a descriptor of this process.
pub fn is_descriptor(path: &Path) -> bool {
    let directory = path.parent().unwrap_or(path);
    path == Path::new("/dev/stdin") || ["/dev/fd", "/proc/self/fd"].iter().any(|it| directory == Path::new(it))
}

fn refuse_others(kind: FileType) -> io::Result<()> {
    let other = match kind {
        kind if kind.is_file() => return Ok(()),
        kind if kind.is_dir() => "a directory",
        kind if kind.is_fifo() => "a FIFO",
        kind if kind.is_socket() => "a socket",
        _ => "a device",
    };
    Err(io::Error::other(format!("it is {other}, not a regular file")))
}

fn flags(flags: OFlags) -> i32 {
    flags.bits().cast_signed()
}

/// The target of a path, and the links on the way.
struct Found {
    directory: OwnedFd,
    name: OsString,
    file: Stat,
    /// The owners of the links on the way.
    links: Vec<u32>,
}

impl Found {
    /// Follows a path link by link, and records the owner of each.
    fn of(path: &Path) -> io::Result<Self> {
        let look = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let open = |directory: &OwnedFd, name: &OsStr| rustix::fs::openat(directory, name, look, Mode::empty());
        let root =
            |path: &Path| path.is_absolute().then(|| rustix::fs::openat(CWD, "/", look, Mode::empty())).transpose();
        let mut directory = root(path)?.map_or_else(|| rustix::fs::openat(CWD, ".", look, Mode::empty()), Ok)?;
        let mut open_parts = parts(path);
        let mut links = Vec::new();
        while let Some(name) = open_parts.pop() {
            let found = open(&directory, &name)?;
            let stat = rustix::fs::fstat(&found)?;
            let kind = rustix::fs::FileType::from_raw_mode(stat.st_mode);
            if kind.is_symlink() {
                links.push(stat.st_uid);
                if links.len() > LINKS_AT_MOST {
                    return Err(rustix::io::Errno::LOOP.into());
                }
                let target = rustix::fs::readlinkat(&found, "", Vec::new())?.into_bytes();
                let target = Path::new(OsStr::from_bytes(&target)).to_owned();
                directory = root(&target)?.unwrap_or(directory);
                open_parts.extend(parts(&target));
            } else if kind.is_dir() {
                directory = found;
            } else if open_parts.is_empty() {
                refuse_others(File::from(found).metadata()?.file_type())?;
                return Ok(Self { directory, name, file: stat, links });
            } else {
                return Err(rustix::io::Errno::NOTDIR.into());
            }
        }
        Err(io::Error::other("it is a directory, not a regular file"))
    }

    fn is_ours(&self) -> io::Result<()> {
        let us = rustix::process::geteuid().as_raw();
        let owner = self.file.st_uid;
        let trusted = |user: u32| user == 0 || user == us || user == owner;
        if let Some(stranger) = self.links.iter().find(|link| !trusted(**link)) {
            return Err(io::Error::other(format!(
                "user {stranger} made a link in its path, and user {owner} owns the file, so nssight does not read it"
            )));
        }
        let directory = rustix::fs::statat(&self.directory, "", AtFlags::EMPTY_PATH)?;
        let shared = !trusted(directory.st_uid) || directory.st_mode & 0o022 != 0;
        if self.file.st_nlink > 1 && shared {
            return Err(io::Error::other(format!(
                "it has {} hard links, user {owner} owns it, and other users can create links in its directory, so nssight does not read it",
                self.file.st_nlink
            )));
        }
        Ok(())
    }
}

/// The components of a path, in reverse order.
fn parts(path: &Path) -> Vec<OsString> {
    let part = |component: Component<'_>| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::CurDir | Component::RootDir | Component::Prefix(_) => None,
    };
    path.components().rev().filter_map(part).collect()
}
