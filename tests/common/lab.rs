//! The lab's faults, and an independent client for each of them.

use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Fault;

/// Runs `each` for all faults, this many at a time since many end by a deadline. The results are in the order of the
/// faults.
pub fn over_all<T: Send>(faults: &[Fault], at_a_time: usize, each: impl Fn(&Fault) -> T + Sync) -> Vec<(&Fault, T)> {
    let (next, done) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..at_a_time {
            scope.spawn(|| {
                while let Some((index, fault)) = {
                    let index = next.fetch_add(1, Ordering::SeqCst);
                    faults.get(index).map(|fault| (index, fault))
                } {
                    let result = each(fault);
                    done.lock().unwrap().push((index, fault, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap();
    done.sort_by_key(|(index, ..)| *index);
    done.into_iter().map(|(_, fault, result)| (fault, result)).collect()
}

/// The python-nss client that forks before it initialises NSS, as a command line.
pub fn client(deployment: &Deployment, options: &[&str], operation: &str) -> Vec<String> {
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/double_tls_client.py");
    let path = |path: &Path| path.to_str().unwrap().to_owned();
    let mut words = vec!["/usr/bin/python3".to_owned(), script.to_owned()];
    words.extend(["-c".to_owned(), path(deployment.config())]);
    words.extend(["--admin-password-file".to_owned(), path(deployment.admin_password_file())]);
    words.extend(options.iter().map(|word| (*word).to_owned()));
    words.push(operation.to_owned());
    words
}

/// A command from the words of `before`, which may be empty, followed by these words.
pub fn words(before: &[&str], words: &[String]) -> Command {
    let mut all = before.iter().copied().chain(words.iter().map(String::as_str));
    let mut command = Command::new(all.next().expect("a program"));
    command.args(all).stdin(std::process::Stdio::null());
    command
}

/// Runs a command to its end and ends the processes that it leaves behind: the client's child that relays data has no
/// deadline of its own, and would keep a pipe open forever.
pub fn to_its_end(mut command: Command) -> Output {
    let (mut out, mut err) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
    command.stdout(out.try_clone().unwrap()).stderr(err.try_clone().unwrap()).process_group(0);
    let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}, see make deps: {error}"));
    let group = rustix::process::Pid::from_child(&child);
    let until = Instant::now() + Duration::from_secs(40);
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > until => break None,
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    let ended = child.wait().unwrap();
    let status = status.unwrap_or_else(|| panic!("{command:?} did not end: {ended}"));
    let all = |file: &mut File| {
        let mut bytes = Vec::new();
        file.rewind().unwrap();
        file.read_to_end(&mut bytes).unwrap();
        bytes
    };
    Output { status, stdout: all(&mut out), stderr: all(&mut err) }
}
