//! Runs another program until it ends, prints a sign of success, or reaches its deadline. Its output is limited.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};

use super::keep;

/// Time to read the remaining output after the program has ended.
const READING: Duration = Duration::from_secs(1);
/// Maximum amount of a program's output to keep.
const SAID_AT_MOST: usize = 64 * 1024;

/// The result of a program.
pub(super) struct Finished {
    /// Exit code; none if it was ended by a signal or by us.
    pub(super) code: Option<i32>,
    /// The program did not finish in time.
    pub(super) late: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A sign of success on standard error or output, and how long to wait for contrary output after it.
pub(super) type Sign = (&'static str, Duration);

/// Runs a program as the leader of a process group, which ends with it. With a sign, its standard input stays open and empty, and the
/// program is ended some time after the sign. Without a sign, the input is written and closed.
pub(super) fn run(command: Command, input: &[u8], sign: Option<Sign>, patience: Duration) -> io::Result<Finished> {
    let mut command = kept(&command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let group = keep::pid(&child)?;
    let mut stdin = child.stdin.take();
    if sign.is_none()
        && let Some(mut stdin) = stdin.take()
    {
        // The program may have ended without reading its input.
        let _ = stdin.write_all(input);
    }
    let said = [Said::default(), Said::default()];
    let readers = [
        child.stdout.take().map(|from| said[0].collect(from)).transpose()?,
        child.stderr.take().map(|from| said[1].collect(from)).transpose()?,
    ];
    let mut deadline = Instant::now() + patience;
    let mut seen = false;
    let ended = loop {
        if has_ended(group)? {
            break true;
        }
        let shown = |(text, _): &Sign| !seen && said.iter().any(|said| said.text().contains(text));
        if let Some((_, listen)) = sign.filter(shown) {
            seen = true;
            deadline = Instant::now() + listen;
        }
        if Instant::now() > deadline {
            break false;
        }
        thread::sleep(Duration::from_millis(5));
    };
    // As long as the leader has not been waited for, the number of the group is not reused.
    let _ = kill_process_group(group, Signal::KILL);
    let status = child.wait()?;
    drop(stdin);
    let until = Instant::now() + READING;
    for reader in readers.into_iter().flatten() {
        // A process that has left the group may still hold a pipe.
        while !reader.is_finished() && Instant::now() < until {
            thread::sleep(Duration::from_millis(1));
        }
    }
    let code = status.code().filter(|_| ended);
    let (stdout, stderr) = (said[0].text(), said[1].text());
    if code == Some(keep::NOT_FOUND) && stdout.is_empty() && stderr.is_empty() {
        return Err(io::ErrorKind::NotFound.into());
    }
    Ok(Finished { code, late: !ended && !seen, stdout, stderr })
}

/// The same program, started so that all its processes end together with nssight.
fn kept(command: &Command) -> Command {
    let mut kept = Command::new("/proc/self/exe");
    kept.arg0("nssight").process_group(0).arg("keep").arg(std::process::id().to_string()).arg("--");
    kept.arg(command.get_program()).args(command.get_args());
    kept
}

/// Whether a child has ended, without waiting for it.
fn has_ended(child: Pid) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    Ok(waitid(WaitId::Pid(child), options)?.is_some())
}

/// The output of a program so far.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn collect(&self, mut from: impl Read + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
        let said = self.0.clone();
        thread::Builder::new().spawn(move || {
            let mut piece = [0; 4096];
            // Excess output is read and discarded, so that the program never blocks on its output.
            while let Ok(count @ 1..) = from.read(&mut piece) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                let room = SAID_AT_MOST.saturating_sub(said.len());
                said.extend_from_slice(&piece[..count.min(room)]);
            }
        })
    }
}
