//! `nssight keep`: runs another program as the leader of a process group. The group ends when the program ends, or when nssight ends for
//! any reason.
//!
//! A client that forks leaves a process behind, and the open socket of this process would keep a bridge from all other clients. A parent
//! can arrange that its child dies with it (prctl(2), PR_SET_PDEATHSIG), but not that the processes of this child die, too.

use std::io;
use std::process::{Child, Command, ExitCode, ExitStatus};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, getpgrp, getppid, kill_process_group, pidfd_open};

use crate::cli::KeepOptions;
use crate::exit;

/// Exit codes of a shell for a program that does not exist (POSIX, 2.8.2), and for one that cannot be run.
pub(super) const NOT_FOUND: i32 = 127;
const NOT_RUN: u8 = 126;

/// Runs the program, in this process's group.
pub(crate) fn keep(options: &KeepOptions) -> ExitCode {
    match wait(options) {
        Ok(Some(status)) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(NOT_RUN)),
        // No process is left to read an exit code.
        Ok(None) => {
            let _ = kill_process_group(getpgrp(), Signal::KILL);
            ExitCode::from(exit::INCONCLUSIVE)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => ExitCode::from(NOT_FOUND.unsigned_abs() as u8),
        Err(_) => ExitCode::from(NOT_RUN),
    }
}

/// Waits until the program ends, or the process that started it; in the latter case there is no status.
fn wait(options: &KeepOptions) -> io::Result<Option<ExitStatus>> {
    let [program, arguments @ ..] = options.command.as_slice() else { return Err(io::ErrorKind::NotFound.into()) };
    let parent = Pid::from_raw(options.parent).ok_or(io::ErrorKind::InvalidInput)?;
    let parent_ends = pidfd_open(parent, PidfdFlags::empty())?;
    // The parent may have ended before this process could watch it, and its number may have been reused.
    if getppid() != Some(parent) {
        return Ok(None);
    }
    let mut child = Command::new(program).args(arguments).spawn()?;
    let child_ends = pidfd_open(pid(&child)?, PidfdFlags::empty())?;
    loop {
        let mut ends = [PollFd::new(&child_ends, PollFlags::IN), PollFd::new(&parent_ends, PollFlags::IN)];
        match poll(&mut ends, None) {
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) if ends[0].revents().is_empty() => return Ok(None),
            Ok(_) => return child.wait().map(Some),
        }
    }
}

/// The process number of a child that was not waited for.
pub(super) fn pid(child: &Child) -> io::Result<Pid> {
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::ErrorKind::InvalidData.into())
}
