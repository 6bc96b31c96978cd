//! Determines whether a signal was sent to the whole process group, or to nssight alone.
//!
//! A signal does not show to which other processes it was sent. A terminal, a shell's `kill %1` and timeout(1) signal the group, so
//! the program in it has the signal already and must not get it twice; the signal of `kill PID` has to be passed on. A child of
//! nssight, which blocks every signal and does nothing, is in the same group: a signal that is pending there was sent to all.

use std::io;
use std::ptr;

/// A process that only collects signals. It ends with this value, and with nssight.
pub struct SignalCollector {
    pid: libc::pid_t,
}

impl SignalCollector {
    /// Starts one in nssight's process group.
    ///
    /// # Errors
    /// As for fork(2).
    pub fn new() -> io::Result<Self> {
        // SAFETY: sets that are filled before they are read; signals that come meanwhile are delivered afterwards.
        let (pid, error) = unsafe {
            let mut all: libc::sigset_t = std::mem::zeroed();
            let mut before: libc::sigset_t = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::pthread_sigmask(libc::SIG_SETMASK, &all, &mut before);
            let parent = libc::getpid();
            let pid = libc::fork();
            if pid == 0 {
                collect(parent);
            }
            let error = io::Error::last_os_error();
            libc::pthread_sigmask(libc::SIG_SETMASK, &before, ptr::null_mut());
            (pid, error)
        };
        if pid < 0 { Err(error) } else { Ok(Self { pid }) }
    }

    /// Whether it was sent this signal.
    pub fn has(&self, signal: i32) -> bool {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let waiting = |line: &str| {
            let set = line.strip_prefix("SigPnd:").or_else(|| line.strip_prefix("ShdPnd:"))?;
            u64::from_str_radix(set.trim(), 16).ok()
        };
        let all = status.lines().filter_map(waiting).fold(0, |all, set| all | set);
        u32::try_from(signal - 1).ok().and_then(|bit| all.checked_shr(bit)).is_some_and(|set| set & 1 == 1)
    }
}

impl Drop for SignalCollector {
    fn drop(&mut self) {
        // SAFETY: a child of our own that no other code waits for.
        unsafe {
            libc::kill(self.pid, libc::SIGKILL);
            while libc::waitpid(self.pid, ptr::null_mut(), 0) < 0
                && io::Error::last_os_error().kind() == io::ErrorKind::Interrupted
            {}
        }
    }
}

/// The child's work, which never ends. A reader of a pipe that nssight writes to does not wait for the child.
///
/// # Safety
/// Only in a child that has just been forked. What is called here may be called there (signal-safety(7)).
unsafe fn collect(parent: libc::pid_t) -> ! {
    // SAFETY: system calls with numbers and a constant name.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        libc::prctl(libc::PR_SET_NAME, c"nssight-witness".as_ptr());
        libc::syscall(libc::SYS_close_range, 0, libc::c_uint::MAX, 0);
        while libc::getppid() == parent {
            libc::pause();
        }
        libc::_exit(0)
    }
}
