//! siguldry's client for Sigul, with OpenSSL, through a program that calls it: up to an answered request.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nssight_inventory::load::Loaded;
use nssight_probes::open_session;
use rustix::fs::MemfdFlags;
use zeroize::Zeroizing;

use super::attempt::{Attempt, Job, Outcome, release_of};
use super::program;

/// Runs the client.
pub(super) const NAME: &str = "Sigul v1 (siguldry)";
/// The default program.
pub(super) const PROGRAM: &str = "sigul-v1-client";

/// Additional time, beyond the layer's time limit: the client continues through the bridge.
const GRACE: Duration = Duration::from_secs(5);
/// A message of the client's log after it has connected.
const CONNECTED: &str = "TCP connection to the Sigul bridge established";
const HANDSHAKE: &str = "TLS session with the Sigul bridge established";

pub(super) fn attempt(job: &Job<'_>, program: &Path, admin_password: &Path) -> io::Result<Attempt> {
    let mut attempt = Attempt::new(NAME, false, "database read without NSS", "tried on the files");
    let mut version = Command::new(program);
    version.arg("--version");
    let Some(version) = run(version, GRACE)? else {
        attempt.outcome = Outcome::Absent;
        return Ok(attempt);
    };
    attempt.library = release_of(version.stdout.split_once(' ').map_or("", |(_, library)| library));
    let given = match Given::of(job) {
        Ok(given) => given,
        Err(error) => {
            attempt.error = Some(error.to_string());
            return Ok(attempt);
        }
    };
    let mut command = Command::new(program);
    command.args(["--bridge-hostname", job.host, "--bridge-port", &job.port.to_string()]);
    command.args(["--server-hostname", &given.server, "--user-name", &given.user]);
    for (option, file) in ["--certificate", "--private-key", "--ca-certificate"].into_iter().zip(&given.files) {
        command.arg(option).arg(format!("/proc/self/fd/{}", file.as_raw_fd()));
    }
    command.arg("--admin-password-file").arg(admin_password);
    let Some(finished) = run(command, job.target.timeout + GRACE)? else {
        attempt.outcome = Outcome::Absent;
        return Ok(attempt);
    };
    attempt.connected = finished.stderr.contains(CONNECTED);
    attempt.handshake = finished.stderr.contains(HANDSHAKE);
    if finished.code != Some(0) {
        let said = finished.stderr.lines().rev().find_map(|line| line.strip_prefix("Error: ")).map(str::to_owned);
        // The Rust runtime prints uncaught errors last.
        let last = || finished.stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned);
        let said = if finished.late { None } else { said.or_else(last) };
        attempt.error = Some(said.unwrap_or_else(|| "the client did not finish in time".to_owned()));
        if !attempt.connected && finished.stderr.contains("connection error with Sigul bridge") {
            attempt.outcome = Outcome::FailedToConnect;
        }
    }
    attempt.settle();
    Ok(attempt)
}

/// Runs the client; `None` if it is not on this host.
fn run(command: Command, patience: Duration) -> io::Result<Option<program::Finished>> {
    match program::run(command, b"", None, patience) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        finished => finished.map(Some),
    }
}

/// The client's input from the configuration and the database.
struct Given {
    server: String,
    user: String,
    /// Certificate, key and CAs, which only this process and its child can reach.
    files: [File; 3],
}

impl Given {
    fn of(job: &Job<'_>) -> Result<Self, Box<dyn std::error::Error>> {
        let target = job.target;
        let value =
            |setting: &Option<nssight_probes::target::Setting<String>>| setting.as_ref().map(|it| it.value.clone());
        let server = value(&target.server).ok_or("the configuration names no server")?;
        let user = value(&target.user).ok_or("the configuration has no user name")?;
        let nickname = target.nickname().ok_or("no certificate is configured")?;
        let database = Loaded::from(target.argument()).database?;
        let password = job.password.map(|it| it.as_slice()).unwrap_or_default();
        let identity = open_session::identity(&database, &nickname.value, password)?;
        let mut authorities = Vec::new();
        for authority in open_session::authorities(&database)? {
            authorities.extend(authority.to_pem()?);
        }
        let key = Zeroizing::new(identity.key.private_key_to_pem_pkcs8()?);
        let files = [in_memory(&identity.certificate.to_pem()?)?, in_memory(&key)?, in_memory(&authorities)?];
        Ok(Self { server, user, files })
    }
}

/// A file without a name; a file on disk might be left behind.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(rustix::fs::memfd_create("pem", MemfdFlags::empty())?);
    file.write_all(content)?;
    Ok(file)
}
