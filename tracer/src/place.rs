//! The location of the library while a process may load it: a separate directory that no other user can create, rename or replace.
//!
//! A traced process may outlive nssight, and its environment names the library for as long as it runs. So the name must never
//! come to mean another file. A process number or a descriptor would: both numbers are reused when nssight is gone.
//!
//! nssight holds a lock on the directory. The kernel releases the lock when nssight ends, killed or not. That shows traced
//! processes, and the next nssight, that the ring has no reader any more.

use std::ffi::OsStr;
use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{ptr, thread};

use rustix::fs::{AtFlags, CWD, FlockOperation, Mode, OFlags, flock, fstat, openat, unlinkat};
use rustix::io::Errno;
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};
use rustix::process::geteuid;

use crate::reader::Reader;

/// The prefix of the directories' names.
const PREFIX: &str = "nssight-trace-";
/// The library's name in its directory.
const NAME: &str = "libnssight_tracer.so";
/// Another process may take a new directory for a leftover before it is locked: then another directory is made.
const ATTEMPTS: usize = 8;
/// How often a starting process is examined, once per millisecond.
const STARTING: usize = 500;

/// A directory with the library in it, for one trace. It is removed with this value.
#[derive(Debug)]
pub struct Place {
    directory: PathBuf,
    /// The directory, locked.
    locked: OwnedFd,
    library: PathBuf,
    /// Device, inode and length of the library.
    identity: (u64, u64, u64),
    /// Whether others can create a directory of the same name when this one is gone.
    shared: bool,
    stays: bool,
}

impl Place {
    /// Puts the library where only this user can reach it, and removes what killed traces have left there.
    ///
    /// # Errors
    /// The reason, when no directory is suitable.
    pub fn new(library: &[u8]) -> io::Result<Self> {
        let mut why = Vec::new();
        for base in bases() {
            match Self::within(&base, library) {
                Ok(place) => return Ok(place),
                Err(error) => why.push(format!("{}: {error}", base.display())),
            }
        }
        Err(io::Error::other(format!("found no directory for the tracer's library ({})", why.join("; "))))
    }

    /// The same, in one directory.
    ///
    /// # Errors
    /// When others could replace what is in it, when the loader would not accept its name, or when nothing can be mapped from
    /// it as a program.
    pub fn within(base: &Path, library: &[u8]) -> io::Result<Self> {
        let base = fs::canonicalize(base)?;
        let shared = is_shared(&base)?;
        remove_orphans(&base);
        for _ in 0..ATTEMPTS {
            let mut builder = tempfile::Builder::new();
            let made = builder.prefix(PREFIX).permissions(Permissions::from_mode(0o700)).tempdir_in(&base)?;
            // Regardless of the umask.
            fs::set_permissions(made.path(), Permissions::from_mode(0o700))?;
            let Some(locked) = lock_new_directory(made.path())? else { continue };
            let identity = match put(&locked, library) {
                Ok(identity) => identity,
                // Another process took it for a leftover.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => {
                    let _ = unlinkat(&locked, NAME, AtFlags::empty());
                    return Err(error);
                }
            };
            let directory = made.keep();
            return Ok(Self { library: directory.join(NAME), directory, locked, identity, shared, stays: false });
        }
        Err(io::ErrorKind::ResourceBusy.into())
    }

    /// The library's path. It contains nothing that has a meaning in `LD_PRELOAD`.
    pub fn library(&self) -> &Path {
        &self.library
    }

    /// The value of [`crate::ring::VARIABLE`] with which a traced process finds this ring and recognises it.
    ///
    /// # Errors
    /// As for fstat(2).
    pub fn variable(&self, reader: &Reader) -> io::Result<String> {
        let (ring_device, ring_inode) = reader.identity()?;
        let (device, inode, length) = self.identity;
        let (own, descriptor) = (std::process::id(), reader.descriptor().as_raw_fd());
        let library = self.library.display();
        Ok(format!("/proc/{own}/fd/{descriptor}:{ring_device}:{ring_inode}:{device}:{inode}:{length}:{library}"))
    }

    /// Leaves the directory for processes that still run and have its name in their environment: without the library, the
    /// loader would report an error. The next trace removes it when they have ended.
    pub fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let is_needed = self.stays || self.shared && is_used(&self.directory);
        if !is_needed {
            remove(&self.locked, &self.directory);
        }
    }
}

/// Candidate directories, the best first: those in which no other user can create anything, and then the shared ones.
fn bases() -> Vec<PathBuf> {
    let mut bases = match geteuid().is_root() {
        // On some systems nothing can be executed from the first one.
        true => ["/run", "/var/cache", "/var/lib"].map(PathBuf::from).to_vec(),
        false => {
            let named = |name: &str| std::env::var_os(name).map(PathBuf::from);
            let cache = named("XDG_CACHE_HOME").or_else(|| Some(named("HOME")?.join(".cache")));
            let session = PathBuf::from(format!("/run/user/{}", geteuid().as_raw()));
            [named("XDG_RUNTIME_DIR"), Some(session), cache].into_iter().flatten().collect()
        }
    };
    bases.retain(|path| path.is_absolute());
    bases.extend(["/dev/shm", "/tmp", "/var/tmp"].map(PathBuf::from));
    bases
}

/// Whether other users can create files of their own there, as in /tmp.
///
/// An error if they could rename or replace what this user creates there, or the loader would not accept the name as it is
/// (ld.so(8)).
fn is_shared(base: &Path) -> io::Result<bool> {
    let refuse = |path: &Path, why: &str| {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} {why}", path.display())))
    };
    let plain = |byte: &u8| byte.is_ascii_alphanumeric() || b"/._-".contains(byte);
    if !base.as_os_str().as_bytes().iter().all(plain) {
        return refuse(base, "has characters in its name that the loader does not take");
    }
    // From the root downwards: a directory that was checked cannot be replaced before its content is checked.
    let mut above: Vec<&Path> = base.ancestors().collect();
    above.reverse();
    for path in above {
        let status = fs::symlink_metadata(path)?;
        if !status.is_dir() {
            return refuse(path, "is no directory");
        }
        if status.uid() != 0 && status.uid() != geteuid().as_raw() {
            return refuse(path, "belongs to somebody else");
        }
        if status.mode() & 0o022 != 0 && status.mode() & 0o1000 == 0 {
            return refuse(path, "can be written by others");
        }
    }
    Ok(fs::symlink_metadata(base)?.mode() & 0o022 != 0)
}

/// Opens a directory without following a link. A directory that cannot be read is left alone.
fn open(directory: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    Ok(openat(CWD, directory, flags, Mode::empty())?)
}

/// The directory that was just made, locked. `None` if another process took it for a leftover.
fn lock_new_directory(directory: &Path) -> io::Result<Option<OwnedFd>> {
    let opened = match open(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    match flock(&opened, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Some(opened)),
        Err(Errno::WOULDBLOCK) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes the library into its directory, and returns its identity: device, inode and length.
fn put(directory: &OwnedFd, library: &[u8]) -> io::Result<(u64, u64, u64)> {
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut file = File::from(openat(directory, NAME, flags, Mode::RUSR | Mode::XUSR)?);
    file.set_permissions(Permissions::from_mode(0o500))?;
    file.write_all(library)?;
    may_run(&file, library.len())?;
    let status = file.metadata()?;
    Ok((status.dev(), status.ino(), status.len()))
}

/// Whether the system lets a program be mapped from there: it may be mounted noexec, or a policy may forbid it.
fn may_run(file: &File, length: usize) -> io::Result<()> {
    // SAFETY: a fresh mapping that nothing refers to, and that is never read.
    unsafe {
        let at = mmap(ptr::null_mut(), length, ProtFlags::READ | ProtFlags::EXEC, MapFlags::PRIVATE, file, 0)?;
        munmap(at, length)?;
    }
    Ok(())
}

fn remove(opened: &OwnedFd, directory: &Path) {
    let _ = unlinkat(opened, NAME, AtFlags::empty());
    let _ = unlinkat(CWD, directory, AtFlags::REMOVEDIR);
}

/// Removes directories whose nssight is gone and whose library no process has in use.
fn remove_orphans(base: &Path) {
    let named = |name: &OsStr| name.as_bytes().starts_with(PREFIX.as_bytes());
    let entries = fs::read_dir(base).into_iter().flatten().flatten();
    entries
        .filter(|entry| named(&entry.file_name()))
        .filter_map(|entry| Some((open(&entry.path()).ok()?, entry.path())))
        .filter(|(opened, _)| fstat(opened).is_ok_and(|status| status.st_uid == geteuid().as_raw()))
        // Its nssight would hold the lock. Two processes that clean up do not block each other.
        .filter(|(opened, _)| flock(opened, FlockOperation::NonBlockingLockShared).is_ok())
        .filter(|(_, path)| !is_used(path))
        .for_each(|(opened, path)| remove(&opened, &path));
}

/// Whether a process has the library of this directory loaded, or would pass its name on, as a program without a loader does.
fn is_used(directory: &Path) -> bool {
    let name = directory.as_os_str().as_bytes();
    let is_number = |name: &OsStr| name.as_bytes().iter().all(u8::is_ascii_digit);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let mut processes = entries.filter(|entry| is_number(&entry.file_name())).map(|entry| entry.path());
    processes.any(|process| may_use(&process, name))
}

/// Whether a process has this name in what it has mapped, or in its environment. A process that may not be examined has not.
///
/// A program that has just been started has memory and, for a moment, no environment: the kernel resumes its parent earlier
/// (fs/exec.c, begin_new_exec), and a read that began before that returns memory that is gone. So an empty environment is read
/// again until it has content or is known to be empty, and counts as use if neither happens.
fn may_use(process: &Path, name: &[u8]) -> bool {
    let read = |file: &str| fs::read(process.join(file)).unwrap_or_default();
    let has = |text: &[u8]| text.windows(name.len()).any(|bytes| bytes == name);
    for _ in 0..STARTING {
        let environment = read("environ");
        let mapped = read("maps");
        if has(&environment) || has(&mapped) {
            return true;
        }
        // Kernel threads, and processes that have ended, have no memory.
        if !environment.is_empty() || mapped.is_empty() || has_empty_environment(&read("stat")) {
            return false;
        }
        thread::sleep(Duration::from_millis(1));
    }
    true
}

/// Whether a process is known to have no environment: its start and its end are equal (`env_start` and `env_end`, fields 50 and 51 of
/// proc_pid_stat(5)). For a moment this also holds for a program with an environment, until the kernel has counted its strings; only
/// after that does the kernel set the start of the code (`start_code`, field 26; fs/binfmt_elf.c, create_elf_tables).
fn has_empty_environment(stat: &[u8]) -> bool {
    // The second field is the program's name in parentheses, with any byte in it.
    let after_name = stat.iter().rposition(|byte| *byte == b')').map_or(0, |at| at + 1);
    let text = String::from_utf8_lossy(&stat[after_name..]);
    let fields: Vec<&str> = text.split_ascii_whitespace().collect();
    let field = |number: usize| fields.get(number - 3).copied().unwrap_or("0");
    field(26) != "0" && field(50) != "0" && field(50) == field(51)
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::process::{Command, Stdio};
    use std::sync::{Mutex, MutexGuard, PoisonError};

    use super::*;

    /// One test at a time: a process that one test starts holds the other's locks until it executes another program.
    fn alone() -> MutexGuard<'static, ()> {
        static TURN: Mutex<()> = Mutex::new(());
        TURN.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn base(mode: u32) -> tempfile::TempDir {
        let base = tempfile::tempdir().unwrap();
        fs::set_permissions(base.path(), Permissions::from_mode(mode)).unwrap();
        base
    }

    fn entries(base: &Path) -> usize {
        fs::read_dir(base).unwrap().count()
    }

    #[test]
    fn only_its_user_can_change_the_directory_and_it_is_removed_with_the_value() {
        for mode in [0o700, 0o755, 0o1777] {
            let base = base(mode);
            let place = Place::within(base.path(), b"library").unwrap();
            assert_eq!(fs::read(place.library()).unwrap(), b"library");
            let modes = [place.library(), place.library().parent().unwrap()];
            assert_eq!(modes.map(|path| fs::metadata(path).unwrap().mode() & 0o7777), [0o500, 0o700]);
            drop(place);
            assert_eq!(entries(base.path()), 0);
        }
    }

    #[test]
    fn a_directory_in_which_others_can_replace_things_is_refused() {
        let refused = |path: &Path, why: &str| {
            let error = Place::within(path, b"library").unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
            assert_eq!(entries(path), 0);
        };
        for mode in [0o777, 0o770, 0o757] {
            refused(base(mode).path(), "can be written by others");
        }
        let open = base(0o777);
        let below = open.path().join("below");
        fs::create_dir(&below).unwrap();
        refused(&below, "can be written by others");
        for name in ["a:b", "a b", "$ORIGIN", "a;b"] {
            let own = base(0o700);
            let path = own.path().join(name);
            fs::create_dir(&path).unwrap();
            refused(&path, "characters");
        }
        if geteuid().is_root() {
            let given = base(0o755);
            std::os::unix::fs::chown(given.path(), Some(65534), None).unwrap();
            refused(given.path(), "belongs to somebody else");
        }
        // A link to a directory is resolved before the check.
        let (own, open) = (base(0o700), base(0o777));
        let link = own.path().join("link");
        std::os::unix::fs::symlink(open.path(), &link).unwrap();
        refused(&link, "can be written by others");
    }

    /// In a shared directory, another user could create one of the same name as soon as it is gone.
    #[test]
    fn a_directory_whose_name_others_could_take_stays_while_it_is_used() {
        let _turn = alone();
        let base = base(0o1777);
        let place = Place::within(base.path(), b"library").unwrap();
        let mut command = Command::new("cat");
        let mut user = command.stdin(Stdio::piped()).env("NAMED_HERE", place.library()).spawn().unwrap();
        drop(place);
        assert_eq!(entries(base.path()), 1);
        drop(user.stdin.take());
        user.wait().unwrap();
        drop(Place::within(base.path(), b"library").unwrap());
        assert_eq!(entries(base.path()), 0);
    }

    /// Its parent continues before its environment exists: read at once, the environment was empty 1076 times of 3000.
    #[test]
    fn a_process_that_has_just_started_counts_as_use() {
        let _turn = alone();
        let base = base(0o700);
        for _ in 0..300 {
            let mut command = Command::new("cat");
            let mut user = command.stdin(Stdio::piped()).env("NAMED_HERE", base.path()).spawn().unwrap();
            assert!(may_use(&PathBuf::from(format!("/proc/{}", user.id())), base.path().as_os_str().as_bytes()));
            drop(user.stdin.take());
            user.wait().unwrap();
            assert!(!is_used(base.path()));
        }
    }

    #[test]
    fn a_process_without_an_environment_uses_nothing() {
        let mut command = Command::new("/bin/cat");
        let mut process = command.env_clear().stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        process.stdin.as_mut().unwrap().write_all(b"1").unwrap();
        // Its output shows that it is another program by now.
        process.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        let files = PathBuf::from(format!("/proc/{}", process.id()));
        assert!(fs::read(files.join("environ")).unwrap().is_empty());
        assert!(has_empty_environment(&fs::read(files.join("stat")).unwrap()));
        assert!(!may_use(&files, b"/nothing/of/this/name"));
        drop(process.stdin.take());
        process.wait().unwrap();
    }

    #[test]
    fn leftover_directories_are_removed_once_unused() {
        let _turn = alone();
        let base = base(0o700);
        let live = Place::within(base.path(), b"library").unwrap();
        let left = |program: Option<&str>| {
            let mut place = Place::within(base.path(), b"library").unwrap();
            let path = place.library().to_owned();
            let user = program.map(|name| {
                let mut command = Command::new(name);
                // Not in `LD_PRELOAD`: the loader would try to load it.
                command.stdin(Stdio::piped()).env("NAMED_HERE", &path).spawn().unwrap()
            });
            place.stay();
            (path, user)
        };
        let (unused, _) = left(None);
        let (used, user) = left(Some("cat"));
        assert!(!unused.exists());
        // Two leftovers, one of whose names a process still passes on.
        let (unused, _) = left(None);
        drop(Place::within(base.path(), b"library").unwrap());
        assert_eq!([&unused, &used].map(|path| path.exists()), [false, true]);
        let mut user = user.unwrap();
        drop(user.stdin.take());
        user.wait().unwrap();
        drop(Place::within(base.path(), b"library").unwrap());
        assert!(!used.exists() && live.library().exists());
        drop(live);
        assert_eq!(entries(base.path()), 0);
    }
}
