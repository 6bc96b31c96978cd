//! Python: its NSS binding, and its ssl module with OpenSSL, each through a script of nssight.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use nssight_probes::target::{Files, Setting};
use nssight_runner::worker;
use serde::Deserialize;
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::attempt::{Attempt, Job, Outcome, release_of};
use super::program;

/// Additional time for the start of the interpreter, beyond the layer's time limit.
const GRACE: Duration = Duration::from_secs(3);

#[derive(Default, Deserialize)]
#[serde(default)]
struct Line {
    version: Option<String>,
    ready: bool,
    connected: bool,
    handshake: bool,
    agreed: Option<String>,
    error: Option<String>,
}

pub(super) fn attempt(job: &Job<'_>, python: &Path) -> io::Result<Attempt> {
    let mut attempt = Attempt::new("python-nss", true, "nss_init", "callback");
    let (low, high) = job.target.tls.value;
    let task = json!({
        "database": job.database.to_string_lossy(),
        "nickname": job.target.nickname().map(|nickname| &nickname.value),
        "host": job.host,
        "port": job.port,
        "tls": [low.to_string(), high.to_string()],
        "timeout": job.target.timeout.as_secs().max(1),
        "listen": job.listen.as_millis() as u64,
    });
    run(job, python, include_str!("handshake.py"), &task, &mut attempt)?;
    Ok(attempt)
}

/// Python's ssl module, with certificates in files.
pub(super) fn ssl(job: &Job<'_>, python: &Path, files: &Files) -> io::Result<Attempt> {
    let mut attempt = Attempt::new("python-ssl", false, "load_cert_chain", "callback");
    let (low, high) = job.target.tls.value;
    let path = |file: &Option<Setting<PathBuf>>| file.as_ref().map(|file| file.value.to_string_lossy().into_owned());
    let task = json!({
        "cert": path(&files.certificate),
        "key": path(&files.key),
        "cacert": path(&files.authorities),
        "capath": path(&files.directory),
        "host": job.host,
        "port": job.port,
        "tls": [low.to_string(), high.to_string()],
        "timeout": job.target.timeout.as_secs().max(1),
        "listen": job.listen.as_millis() as u64,
    });
    run(job, python, include_str!("ssl_client.py"), &task, &mut attempt)?;
    Ok(attempt)
}

/// Runs a script that reads a task and the password, and prints one line of JSON for each step.
fn run(job: &Job<'_>, python: &Path, script: &str, task: &Value, attempt: &mut Attempt) -> io::Result<()> {
    let mut input = Zeroizing::new(Vec::with_capacity(4096));
    worker::write_task(&mut *input, task)?;
    input.extend_from_slice(job.password.map(|password| password.as_slice()).unwrap_or_default());
    let mut command = Command::new(python);
    command.args(["-c", script]);
    let finished = match program::run(command, &input, None, job.target.timeout + job.listen + GRACE) {
        Ok(finished) => finished,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            attempt.outcome = Outcome::Absent;
            return Ok(());
        }
        Err(error) => return Err(error),
    };
    let lines: Vec<Line> = finished.stdout.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    if lines.is_empty() {
        // Without the module there is nothing to compare.
        attempt.outcome = Outcome::Absent;
        attempt.error = finished.stderr.lines().last().map(str::to_owned);
        return Ok(());
    }
    let mut ready = false;
    for line in lines {
        if let Some(version) = line.version {
            attempt.library = if attempt.uses_nss { format!("NSS {version}") } else { release_of(&version) };
        }
        ready |= line.ready;
        attempt.connected |= line.connected;
        attempt.handshake |= line.handshake;
        attempt.agreed = attempt.agreed.take().or(line.agreed);
        attempt.error = attempt.error.take().or(line.error);
    }
    if finished.late {
        attempt.error.get_or_insert_with(|| "the client did not finish in time".to_owned());
    }
    if ready && !attempt.connected {
        attempt.outcome = Outcome::FailedToConnect;
    }
    attempt.settle();
    Ok(())
}
