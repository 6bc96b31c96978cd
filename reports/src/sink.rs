//! Where a document goes: a stream, or a file that is either complete or absent.

use std::fs::{self, File, Permissions};
use std::io::{self, ErrorKind, Seek, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use rustix::io::Errno;

/// The widest mode of a new file; the umask reduces it.
const MODE: u32 = 0o666;
/// The prefix of the names of temporary files.
const PREFIX: &str = ".nssight-";

/// Where a document goes.
pub enum Sink {
    /// A stream that is written directly.
    Stream(Box<dyn Write>),
    /// A file without a name, until [`Sink::keep`].
    New(File, PathBuf),
    /// The file has its name.
    Kept,
}

impl Sink {
    /// A file if one is named, else this stream.
    ///
    /// # Errors
    /// The error contains the file's name.
    pub fn open(path: Option<&Path>, otherwise: impl Write + 'static) -> Result<Self, String> {
        match path {
            Some(path) => Self::file(path).map_err(|error| format!("{}: {error}", path.display())),
            None => Ok(Self::Stream(Box::new(otherwise))),
        }
    }

    /// A file that is written directly, for lines that a reader follows.
    ///
    /// # Errors
    /// The error contains the file's name.
    pub fn followed(path: Option<&Path>, otherwise: impl Write + 'static) -> Result<Self, String> {
        match path {
            Some(path) => {
                let file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
                Ok(Self::Stream(Box::new(file)))
            }
            None => Ok(Self::Stream(Box::new(otherwise))),
        }
    }

    /// A terminal, a pipe or a device is written directly. So is a file whose owner would change if it were replaced, or whose
    /// directory does not allow another one.
    fn file(path: &Path) -> io::Result<Self> {
        let known = fs::metadata(path).ok();
        if known.as_ref().is_some_and(|known| !known.is_file()) {
            return Ok(Self::Stream(Box::new(File::options().write(true).open(path)?)));
        }
        if known.as_ref().is_some_and(|known| known.uid() != rustix::process::geteuid().as_raw()) {
            return Ok(Self::Stream(Box::new(File::create(path)?)));
        }
        // A link is kept; the file that it leads to is replaced.
        let place = if known.is_some() { path.canonicalize()? } else { path.to_owned() };
        let directory = place.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        match unnamed(directory, MODE) {
            Ok(file) => {
                if let Some(known) = &known {
                    file.set_permissions(Permissions::from_mode(known.mode() & 0o7777))?;
                }
                Ok(Self::New(file, place))
            }
            Err(error) if error.kind() == ErrorKind::PermissionDenied && known.is_some() => {
                Ok(Self::Stream(Box::new(File::create(path)?)))
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a file its name, now that it is complete; without this call, the file is gone with the sink.
    ///
    /// # Errors
    /// As for write(2) and rename(2).
    pub fn keep(&mut self) -> io::Result<()> {
        self.flush()?;
        match std::mem::replace(self, Self::Kept) {
            Self::New(file, path) => give_name(file, &path, true),
            other => {
                *self = other;
                Ok(())
            }
        }
    }
}

/// Creates a file without a name. Unless it is given one, it is gone when this process ends, whatever ends it. The umask reduces the
/// mode.
///
/// # Errors
/// As for open(2).
pub fn unnamed(directory: &Path, mode: u32) -> io::Result<File> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    match rustix::fs::open(directory, flags, Mode::from_raw_mode(mode)) {
        Ok(file) => Ok(File::from(file)),
        // The file system has no such files, or the kernel does not support them there.
        Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::NOENT) => {
            let named = tempfile::Builder::new()
                .prefix(PREFIX)
                .permissions(Permissions::from_mode(mode))
                .tempfile_in(directory)?;
            Ok(named.into_file())
        }
        Err(error) => Err(error.into()),
    }
}

/// Gives a file of [`unnamed`] its name in one step. An existing file is replaced only if `replace` is set. Where the file system has
/// no files without a name, the content is copied to a temporary file that is renamed.
///
/// # Errors
/// As for linkat(2), rename(2) and write(2).
pub fn give_name(mut file: File, path: &Path, replace: bool) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let itself = format!("/proc/self/fd/{}", file.as_raw_fd());
    let link = |name: &Path| rustix::fs::linkat(CWD, itself.as_str(), CWD, name, AtFlags::SYMLINK_FOLLOW);
    let linked = match link(path) {
        // The existing file goes only when the new one takes its place.
        Err(Errno::EXIST) if replace => {
            let place = tempfile::Builder::new().prefix(PREFIX).make_in(directory, |name| Ok(link(name)?))?;
            return place.persist(path).map(drop).map_err(|error| error.error);
        }
        linked => linked,
    };
    match linked {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(Errno::EXIST.into()),
        Err(_) => {
            let mode = file.metadata()?.permissions();
            let mut named = tempfile::Builder::new().prefix(PREFIX).tempfile_in(directory)?;
            file.rewind()?;
            io::copy(&mut file, named.as_file_mut())?;
            named.as_file().set_permissions(mode)?;
            let kept = if replace { named.persist(path) } else { named.persist_noclobber(path) };
            kept.map(drop).map_err(|error| error.error)
        }
    }
}

/// Removes files that a process killed in [`give_name`] left in a directory that only nssight uses.
pub fn remove_orphans(directory: &Path) {
    let ours = |entry: &fs::DirEntry| {
        entry.file_name().as_encoded_bytes().starts_with(PREFIX.as_bytes())
            && entry.metadata().is_ok_and(|file| file.is_file() && file.uid() == rustix::process::geteuid().as_raw())
    };
    for entry in fs::read_dir(directory).into_iter().flatten().flatten().filter(ours) {
        let _ = fs::remove_file(entry.path());
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Stream(out) => out.write(bytes),
            Self::New(file, _) => file.write(bytes),
            Self::Kept => Err(ErrorKind::BrokenPipe.into()),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Stream(out) => out.flush(),
            Self::New(file, _) => file.flush(),
            Self::Kept => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_or_absent() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("report.json");
        let write = |text: &str| {
            let mut sink = Sink::open(Some(&path), io::sink()).unwrap();
            sink.write_all(text.as_bytes()).unwrap();
            sink
        };
        drop(write("cut"));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
        write("whole").keep().unwrap();
        drop(write("cut"));
        assert_eq!(fs::read_to_string(&path).unwrap(), "whole");
        // The target of a link is replaced, and not the link; the mode stays.
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(&path, &link).unwrap();
        let mut sink = Sink::open(Some(&link), io::sink()).unwrap();
        sink.write_all(b"again").unwrap();
        sink.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "again");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        // A device is written directly.
        let mut sink = Sink::open(Some(Path::new("/dev/null")), io::sink()).unwrap();
        sink.write_all(b"x").unwrap();
        sink.keep().unwrap();
    }
}
