//! Opening and reading files that may be anything: a FIFO, a device, unreadable, or changing.

use crate::error::Error;
use rustix::fs::{Mode, OFlags};
use std::fs::{File, FileType, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// Name of a file type for a message.
pub(crate) fn kind_name(kind: FileType) -> &'static str {
    if kind.is_file() {
        "regular file"
    } else if kind.is_dir() {
        "directory"
    } else if kind.is_fifo() {
        "fifo"
    } else if kind.is_socket() {
        "socket"
    } else if kind.is_symlink() {
        "symbolic link"
    } else if kind.is_block_device() || kind.is_char_device() {
        "device"
    } else {
        "special file"
    }
}

/// Opens for reading only. `O_NONBLOCK` because the name may have become a FIFO since it was examined.
pub(crate) fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    Ok(File::from(rustix::fs::open(path, flags, Mode::empty())?))
}

/// What must be equal before and after reading a file for its bytes to be one consistent state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    device: u64,
    inode: u64,
    pub(crate) size: u64,
    mtime: (i64, i64),
    ctime: (i64, i64),
}

impl From<&Metadata> for Stamp {
    fn from(meta: &Metadata) -> Self {
        Stamp {
            device: meta.dev(),
            inode: meta.ino(),
            size: meta.size(),
            mtime: (meta.mtime(), meta.mtime_nsec()),
            ctime: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// The stamp of the file that has this name now, or `None` when there is none.
pub(crate) fn stamp(path: &Path) -> Result<Option<Stamp>, Error> {
    match std::fs::metadata(path) {
        Ok(meta) => Ok(Some(Stamp::from(&meta))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(unreadable(path, source)),
    }
}

/// Reads a whole regular file of at most `limit` bytes, with the stamp taken before the first byte was read.
pub(crate) fn read(path: &Path, limit: u64) -> Result<(Vec<u8>, Stamp), Error> {
    let seen = std::fs::metadata(path).map_err(|source| unreadable(path, source))?;
    require_regular(path, &seen)?;
    let file = open(path).map_err(|source| unreadable(path, source))?;
    let meta = file.metadata().map_err(|source| unreadable(path, source))?;
    require_regular(path, &meta)?;
    let size = meta.size();
    let too_large = |size| Error::TooLarge { file: path.display().to_string(), size, limit };
    if size > limit {
        return Err(too_large(size));
    }
    let mut bytes = Vec::with_capacity(usize::try_from(size).unwrap_or(0));
    file.take(limit + 1).read_to_end(&mut bytes).map_err(|source| unreadable(path, source))?;
    if bytes.len() as u64 > limit {
        return Err(too_large(bytes.len() as u64));
    }
    Ok((bytes, Stamp::from(&meta)))
}

fn require_regular(path: &Path, meta: &Metadata) -> Result<(), Error> {
    if meta.is_file() {
        return Ok(());
    }
    Err(Error::NotRegular { file: path.display().to_string(), kind: kind_name(meta.file_type()) })
}

pub(crate) fn unreadable(path: &Path, source: io::Error) -> Error {
    let file = path.display().to_string();
    if source.kind() == io::ErrorKind::NotFound { Error::Missing { file } } else { Error::Unreadable { file, source } }
}

/// The last component of a path, for a [`crate::Problem`].
pub(crate) fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}
