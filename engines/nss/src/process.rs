//! What only the system's own calls give: the word of the kernel on its clock, and a fork of a process that has NSS in it.
//!
//! Nothing but the process models forks: a fork of a process with threads leaves in the child whatever locks the
//! others held (fork(2)), and NSS's own locks are among them.

use std::io;
use std::mem::zeroed;
use std::panic::{AssertUnwindSafe, catch_unwind};

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

/// Forks. The child does `work` and ends with the code that it gives, without running anything that the parent had
/// registered for its end; the parent gets the child's process id.
///
/// # Errors
/// What fork(2) said.
pub fn in_child(work: impl FnOnce() -> i32) -> io::Result<rustix::process::Pid> {
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
