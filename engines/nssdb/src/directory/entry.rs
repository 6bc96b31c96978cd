//! One file of a database directory.

use super::magic::{self, Magic};
use crate::{Errno, file};
use serde::Serialize;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

/// The kind of a file, links followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum FileKind {
    /// A regular file; the only kind that is ever opened.
    Regular,
    /// A directory.
    Directory,
    /// A named pipe.
    Fifo,
    /// A socket.
    Socket,
    /// A block or character device.
    Device,
    /// A symbolic link whose target does not exist or cannot be reached.
    BrokenLink,
    /// Nothing has this name.
    Absent,
    /// The directory does not let this process find out whether the name exists.
    Unknown,
}

/// One file, with its metadata and the format of its first bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileEntry {
    /// File name in the directory.
    pub name: String,
    /// Kind, links followed.
    pub kind: FileKind,
    /// Target of the symbolic link of this name, if it is one.
    pub link: Option<String>,
    /// Size in bytes.
    pub size: u64,
    /// Permission bits, at most `0o7777`.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Modification time: seconds since 1970 and nanoseconds.
    pub mtime: (i64, i64),
    /// Why this process cannot open the file for reading. `None` when it can, or when opening was not tried
    /// because the file is absent or not regular.
    pub open_error: Option<Errno>,
    /// The format, by the first bytes; `None` when they could not be read.
    pub magic: Option<Magic>,
}

impl FileEntry {
    /// An entry for a name that does not exist.
    pub(super) fn absent(name: String) -> FileEntry {
        FileEntry {
            name,
            kind: FileKind::Absent,
            link: None,
            size: 0,
            mode: 0,
            uid: 0,
            gid: 0,
            mtime: (0, 0),
            open_error: None,
            magic: None,
        }
    }

    /// Examines a file; opens it only if it is regular, so that no FIFO or device is disturbed.
    pub(super) fn look(dir: &Path, name: String) -> FileEntry {
        let path = dir.join(&name);
        let mut entry = FileEntry::absent(name);
        let own = match std::fs::symlink_metadata(&path) {
            Ok(meta) => meta,
            Err(error) => {
                if error.kind() != std::io::ErrorKind::NotFound {
                    entry.kind = FileKind::Unknown;
                    entry.open_error = Some(Errno::from(&error));
                }
                return entry;
            }
        };
        let meta = if own.file_type().is_symlink() {
            entry.link = std::fs::read_link(&path).ok().map(|target| target.display().to_string());
            match std::fs::metadata(&path) {
                Ok(meta) => meta,
                Err(error) => {
                    entry.kind = FileKind::BrokenLink;
                    entry.open_error = Some(Errno::from(&error));
                    return entry;
                }
            }
        } else {
            own
        };
        let kind = meta.file_type();
        entry.kind = if kind.is_file() {
            FileKind::Regular
        } else if kind.is_dir() {
            FileKind::Directory
        } else if kind.is_fifo() {
            FileKind::Fifo
        } else if kind.is_socket() {
            FileKind::Socket
        } else {
            FileKind::Device
        };
        entry.size = meta.size();
        entry.mode = meta.mode() & 0o7777;
        entry.uid = meta.uid();
        entry.gid = meta.gid();
        entry.mtime = (meta.mtime(), meta.mtime_nsec());
        if entry.kind == FileKind::Regular {
            match file::open(&path).and_then(|file| magic::identify(file, entry.size)) {
                Ok(magic) => entry.magic = Some(magic),
                Err(error) => entry.open_error = Some(Errno::from(&error)),
            }
        }
        entry
    }

    /// Whether something has this name, a broken link included.
    pub fn exists(&self) -> bool {
        !matches!(self.kind, FileKind::Absent | FileKind::Unknown)
    }

    /// Whether this process could open and read it.
    pub fn is_readable(&self) -> bool {
        self.magic.is_some()
    }
}
