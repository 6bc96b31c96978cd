//! Places of private copies: however a process ends, no copy of a database is left behind.
//!
//! A worker makes its copy in the place that its parent names, and removes it itself. The parent removes what a killed worker
//! left. A signal that ends the parent first causes the same cleanup. What a killed parent left is removed at the next
//! start.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, Once, PoisonError};
use std::thread;

use nssight_nss::process::die_with_us;
use nssight_probes::private_copy;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

pub use signal_hook::consts::{SIGHUP as HANGUP, SIGQUIT as QUIT};

/// A killed process is gone at once, unless the kernel holds it.
const BURIAL: Timespec = Timespec { tv_sec: 1, tv_nsec: 0 };

/// The places in use, and the processes that may use them.
static IN_USE: Mutex<BTreeMap<PathBuf, Option<OwnedFd>>> = Mutex::new(BTreeMap::new());

/// A place for a copy. Dropping it, once the process that uses it is gone, removes the content.
pub struct Place(PathBuf);

impl Place {
    /// A place for this process itself.
    pub fn own() -> Self {
        remove_orphans();
        let path = private_copy::place();
        in_use().insert(path.clone(), None);
        Self(path)
    }

    /// Starts a process that ends with this one, and gives it a place. A signal handler finds either both or neither.
    pub fn spawn(command: &mut Command) -> io::Result<(Child, Self)> {
        remove_orphans();
        // Before it becomes another program: one that is stopped at its start would never request this itself.
        die_with_us(command);
        let path = private_copy::place();
        let mut places = in_use();
        let child = command.spawn()?;
        places.insert(path.clone(), pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).ok());
        Ok((child, Self(path)))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        private_copy::remove(&self.0);
        in_use().remove(&self.0);
    }
}

fn in_use() -> MutexGuard<'static, BTreeMap<PathBuf, Option<OwnedFd>>> {
    IN_USE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Once per process: removes what killed processes left.
fn remove_orphans() {
    static ONCE: Once = Once::new();
    ONCE.call_once(private_copy::remove_orphans);
}

/// Kills every process that uses a place and removes the places' content, for a process that ends without unwinding. Nothing is
/// started afterwards: the places stay locked.
pub fn clear_before_the_end() {
    let places = in_use();
    let workers = places.values().flatten();
    for worker in workers {
        let _ = pidfd_send_signal(worker, Signal::KILL);
    }
    for (path, worker) in places.iter() {
        if let Some(worker) = worker {
            let _ = poll(&mut [PollFd::from_borrowed_fd(worker.as_fd(), PollFlags::IN)], Some(&BURIAL));
        }
        private_copy::remove(path);
    }
    std::mem::forget(places);
}

/// The signals with which people and their shells end a process.
pub const ENDING: [i32; 4] = [HANGUP, SIGINT, QUIT, SIGTERM];

/// When one of these signals ends the process, the places are cleared first. A command names those that it does not use for
/// something else; one that is ignored, as SIGHUP under nohup(1), stays ignored.
pub fn clear_on_signals(ending: &[i32]) -> io::Result<()> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = ignored.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    let heeded = ending.iter().copied().filter(|signal| ignored & (1 << (signal - 1)) == 0);
    let mut signals = Signals::new(heeded)?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            clear_before_the_end();
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}
