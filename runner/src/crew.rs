//! Worker processes as the parent sees them: started, given a check, kept for another, ended.

use std::io::{self, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::copies::Place;
use crate::lines;
use crate::passwords::Passwords;
use crate::worker::{self, Message, Task};

/// Maximum length of a line from the worker; the longest are findings with many certificates.
const LINE_AT_MOST: u64 = 16 * 1024 * 1024;
/// Maximum number of bytes kept of the worker's standard error.
const STDERR_AT_MOST: u64 = 4096;
/// A killed worker is gone at once, unless the kernel holds it, as it does on a dead network file system.
const BURIAL: Duration = Duration::from_secs(1);
/// Bounds what NSS leaks with every initialisation.
const WALKS_AT_MOST: u32 = 256;

/// A worker process. Dropping it ends it.
pub struct Worker {
    /// Taken when the worker is reaped.
    child: Option<Child>,
    /// Where the worker makes private copies; what it leaves there is removed when it is reaped.
    place: Option<Place>,
    stdin: Option<ChildStdin>,
    /// Its messages.
    pub messages: Receiver<Message>,
    stderr: Option<JoinHandle<String>>,
    walks: u32,
}

impl Worker {
    /// Starts a worker, without the environment variables that hold passwords. A worker that is kept between checks also keeps NSS's
    /// libraries loaded: NSS unloads the softoken in its shutdown, and loading it again costs more than the shutdown itself.
    pub fn start<'a>(hidden: impl Iterator<Item = &'a String>, kept: bool) -> io::Result<Self> {
        if !Path::new("/proc/self/exe").exists() {
            return Err(io::Error::other("/proc is not mounted, and nssight needs it to start its own program again"));
        }
        // The file that runs now, even if a package manager has just replaced it.
        let mut command = Command::new("/proc/self/exe");
        command.arg0("nssight").arg("worker");
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        hidden.for_each(|name| {
            command.env_remove(name);
        });
        if kept {
            command.env("NSS_DISABLE_UNLOAD", "1");
        }
        let (mut child, place) = Place::spawn(&mut command)?;
        let (stdin, stdout, stderr) = (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let (Some(stdin), Some(stdout), Some(mut stderr)) = (stdin, stdout, stderr) else {
            return Err(io::Error::other("the worker has no pipes"));
        };
        let listen = move || {
            let mut text = Vec::new();
            let _ = stderr.by_ref().take(STDERR_AT_MOST).read_to_end(&mut text);
            // The rest is read and discarded, so that the worker never blocks on it.
            let _ = io::copy(&mut stderr, &mut io::sink());
            String::from_utf8_lossy(&text).into_owned()
        };
        let listening = thread::Builder::new().name("stderr".to_owned()).spawn(listen);
        let listening = listening.and_then(|stderr| Ok((stderr, lines::receive(stdout, LINE_AT_MOST)?)));
        let (stderr, messages) = match listening {
            Ok(listening) => listening,
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(error);
            }
        };
        Ok(Self {
            child: Some(child),
            place: Some(place),
            stdin: Some(stdin),
            messages,
            stderr: Some(stderr),
            walks: 0,
        })
    }

    /// Gives the worker a check. Unless `kept`, the worker learns that there will be no other.
    pub fn give(&mut self, task: &Task, passwords: Passwords, kept: bool) -> io::Result<()> {
        let Some(stdin) = &mut self.stdin else { return Err(io::ErrorKind::BrokenPipe.into()) };
        self.walks += 1;
        let secrets = [&passwords.database, &passwords.admin];
        let written = worker::write_task(stdin, task)
            .and_then(|()| secrets.into_iter().flatten().try_for_each(|password| stdin.write_all(password.expose())));
        if !kept {
            self.stdin = None;
        }
        match written {
            // It died before it read its task; the reason is found when its messages are read.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Where it makes private copies.
    pub fn place(&self) -> PathBuf {
        self.place.as_ref().map(|place| place.path().to_owned()).unwrap_or_default()
    }

    /// Its process.
    pub fn child(&self) -> Option<&Child> {
        self.child.as_ref()
    }

    /// Kills it and waits; if the kernel does not release it, a thread continues to wait.
    pub fn kill(&mut self) {
        let Some(mut child) = self.child.take() else { return };
        let _ = child.kill();
        let place = self.place.take();
        let (done, buried) = mpsc::channel();
        let grave = thread::Builder::new().name("grave".to_owned()).spawn(move || {
            let _ = child.wait();
            drop(place);
            let _ = done.send(());
        });
        if grave.is_err() {
            // Its process is killed and its place cleared; init reaps it when this process ends.
            return;
        }
        let _ = buried.recv_timeout(BURIAL);
    }

    /// How it ended, and its output on standard error.
    pub fn last_words(&mut self) -> (Option<ExitStatus>, String) {
        let status = self.child.take().and_then(|mut child| {
            let _ = child.kill();
            child.wait().ok()
        });
        self.place = None;
        (status, self.stderr.take().and_then(|reader| reader.join().ok()).unwrap_or_default())
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stdin = None;
        self.kill();
    }
}

/// A worker between two checks.
#[derive(Default)]
pub struct Spare(Option<Worker>);

impl Spare {
    /// Takes the worker, if there is one.
    pub fn take(&mut self) -> Option<Worker> {
        self.0.take()
    }

    /// Keeps a worker, if it can do another check.
    pub fn put(&mut self, worker: Worker) {
        if worker.child.is_some() && worker.stdin.is_some() && worker.walks < WALKS_AT_MOST {
            self.0 = Some(worker);
        }
    }
}
