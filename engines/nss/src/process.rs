//! What only system calls provide: whether the kernel's clock is synchronised, child programs that end with this process, and a
//! fork of a process that uses NSS, to observe what happens to NSS.
//!
//! Only the process models fork: the child of a process with threads keeps every lock that another thread
//! held (fork(2)), including NSS's own.

use std::fs;
use std::io;
use std::mem::zeroed;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::library;

/// Whether the kernel considers its clock synchronised (adjtimex(2)); `None` if it does not report that.
pub fn clock_is_synchronised() -> Option<bool> {
    // SAFETY: plain numbers, for which zero is a value; with no mode set, the call only reads and fills them in.
    let state = unsafe {
        let mut state: libc::timex = zeroed();
        libc::adjtimex(&mut state)
    };
    match state {
        -1 => None,
        libc::TIME_ERROR => Some(false),
        _ => Some(true),
    }
}

/// Exit code of a child whose work panicked, as in the standard library.
const PANICKED: i32 = 101;

/// A process that may crash: it was started to try one model, and nothing else is lost with it.
#[derive(Debug)]
pub struct TestProcess(());

impl TestProcess {
    /// This process, if it has neither started threads nor initialised NSS.
    ///
    /// # Errors
    /// If it has other threads, or NSS is initialised in it.
    pub fn this_process() -> io::Result<Self> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("this process has other threads"));
        }
        if library::is_initialised() {
            return Err(io::Error::other("NSS is initialised in this process"));
        }
        Ok(Self(()))
    }

    /// Forks. The child runs `work` and ends with the returned code, without running the exit handlers of the parent; the parent
    /// gets the child's process id.
    ///
    /// Whatever NSS was doing in other threads stays half done in the child, which may crash or hang: showing that is the
    /// purpose of such a process.
    ///
    /// # Errors
    /// The error of fork(2).
    pub fn in_child(&self, work: impl FnOnce() -> i32) -> io::Result<rustix::process::Pid> {
        // SAFETY: the child continues in this function, on a copy of this thread; it returns to no caller and ends with
        // _exit. Locks of other threads may stay held in the child; callers test exactly that.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
                // SAFETY: ends the process without running atexit handlers or flushing the buffers copied from the parent.
                unsafe { libc::_exit(code) }
            }
            pid => rustix::process::Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork returned no process id")),
        }
    }
}

/// Makes a program end together with the thread that starts it, and so with this process, however that ends.
pub fn die_with_us(command: &mut Command) {
    let us = getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match getppid() {
            Some(parent) if parent == us => Ok(()),
            // The parent ended before the signal was requested.
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: two system calls, which may be made between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(bind) };
}
