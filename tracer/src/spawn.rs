//! Starts a program with the signal state that it would have without nssight.

use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{mem, ptr};

/// Rust's start-up code ignores SIGPIPE before `main`, and its [`Command`] sets it to the default in every child: after that,
/// the original setting is unknown.
static PIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

// Miri does not support signals.
#[cfg(not(miri))]
#[used]
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = at_start;

#[cfg(not(miri))]
extern "C" fn at_start() {
    PIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Signals are numbered up to this one.
const LAST: libc::c_int = 64;

fn is_ignored(signal: libc::c_int) -> bool {
    // SAFETY: a plain structure of the C library, for which all zero is a valid value.
    let mut now: libc::sigaction = unsafe { mem::zeroed() };
    // SAFETY: reads and sets nothing; an invalid signal number is only an error.
    (unsafe { libc::sigaction(signal, ptr::null(), &mut now) }) == 0 && now.sa_sigaction == libc::SIG_IGN
}

/// Signals that were ignored when nssight was started (`nohup`, a shell's `trap ''`) are ignored by the program as well. To be
/// called before nssight handles signals itself.
///
/// nssight itself then no longer ignores the end of its children, since it could not learn how they ended.
pub fn keep_ignored(command: &mut Command) {
    let was_ignored = |signal: &libc::c_int| match *signal {
        libc::SIGPIPE => PIPE_WAS_IGNORED.load(Ordering::Relaxed),
        other => is_ignored(other),
    };
    let ignored: Vec<libc::c_int> = (1..=LAST).filter(was_ignored).collect();
    // SAFETY: sets a disposition that no other code of nssight touches.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
    if ignored.is_empty() {
        // A child that has nothing to do before it executes the program is started without a copy of this process.
        return;
    }
    let restore = move || {
        for signal in &ignored {
            // SAFETY: signal(2) may be called between fork and exec (signal-safety(7)).
            unsafe { libc::signal(*signal, libc::SIG_IGN) };
        }
        Ok(())
    };
    // SAFETY: it reads memory that is the child's own, allocates nothing, and calls only what may be called after fork.
    unsafe { command.pre_exec(restore) };
}
