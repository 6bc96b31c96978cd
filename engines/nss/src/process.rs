//! What only the system's own calls give: the word of the kernel on its clock, programs that end with us, and a fork of a process
//! that has NSS in it, to see what becomes of NSS.
//!
//! Nothing but the process models forks: a fork of a process with threads leaves in the child whatever locks the
//! others held (fork(2)), and NSS's own locks are among them.

use std::fs;
use std::io;
use std::mem::zeroed;
use std::os::unix::process::CommandExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::Command;

use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

use crate::library;

/// Whether the kernel takes its clock for synchronised (adjtimex(2)); nothing where it does not say.
pub fn clock_is_synchronised() -> Option<bool> {
    // SAFETY: plain numbers, for which zero is a value; with no mode set the call reads, and fills them in.
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

/// Exit code of a child whose work panicked, as the standard library has it.
const PANICKED: i32 = 101;

/// A process that was begun in order to be broken: nothing but the trial of a model is lost with it.
#[derive(Debug)]
pub struct TestProcess(());

impl TestProcess {
    /// This process, before it has begun anything.
    ///
    /// # Errors
    /// Where it has: it has other threads, or NSS is initialised in it.
    pub fn this_process() -> io::Result<Self> {
        if fs::read_dir("/proc/self/task")?.count() != 1 {
            return Err(io::Error::other("this process has other threads"));
        }
        if library::is_initialised() {
            return Err(io::Error::other("NSS is initialised in this process"));
        }
        Ok(Self(()))
    }

    /// Forks. The child does `work` and ends with the code that it gives, without running anything that the parent had
    /// registered for its end; the parent gets the child's process id.
    ///
    /// What NSS is at in other threads stays half done in the child, which may crash or hang: that is what such a process is
    /// there to show.
    ///
    /// # Errors
    /// What fork(2) said.
    pub fn in_child(&self, work: impl FnOnce() -> i32) -> io::Result<rustix::process::Pid> {
        // SAFETY: the child goes on in this very function, on a copy of this thread; it returns to no caller, and its end is
        // _exit. That locks of other threads may stay held there is what callers want to see.
        let pid = unsafe { libc::fork() };
        match pid {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                let code = catch_unwind(AssertUnwindSafe(work)).unwrap_or(PANICKED);
                // SAFETY: ends the process, atexit handlers and buffers of the parent's copy left alone.
                unsafe { libc::_exit(code) }
            }
            pid => rustix::process::Pid::from_raw(pid).ok_or_else(|| io::Error::other("fork gave no process id")),
        }
    }
}

/// Has a program end with the thread that starts it, and so with this process, whatever ends that.
pub fn die_with_us(command: &mut Command) {
    let us = getpid();
    let bind = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        match getppid() {
            Some(parent) if parent == us => Ok(()),
            // It has ended before it could be heard of.
            _ => Err(io::ErrorKind::BrokenPipe.into()),
        }
    };
    // SAFETY: two system calls, which may be made between fork and exec (signal-safety(7)); nothing is allocated.
    unsafe { command.pre_exec(bind) };
}
