//! A forking double-TLS client in python-nss. Like a Sigul client, it continues up to an answered request.

use std::io;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use super::attempt::{Attempt, Job, Outcome};
use super::program;

/// The client forks, and both processes initialise NSS.
const GRACE: Duration = Duration::from_secs(5);

/// The client, as Python reads it.
pub(crate) const SCRIPT: &str = include_str!("../../tests/peers/double_tls_client.py");

/// Runs the client.
pub(super) const NAME: &str = "double-TLS (python-nss)";

pub(super) fn attempt(job: &Job<'_>, python: &Path, config: &Path, admin_password: &Path) -> io::Result<Attempt> {
    let mut attempt = Attempt::new(NAME, true, "fork, then nss_init in each", "callback");
    attempt.library = format!("NSS {}", nssight_nss::library::nss_version());
    let patience = job.target.timeout + GRACE;
    let mut command = Command::new(python);
    command.args(["-c", SCRIPT, "-c"]).arg(config);
    command.arg("--admin-password-file").arg(admin_password);
    command.args(["--timeout", &patience.as_secs().to_string(), "list-users"]);
    let finished = match program::run(command, b"", None, patience) {
        Ok(finished) => finished,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            attempt.outcome = Outcome::Absent;
            return Ok(attempt);
        }
        Err(error) => return Err(error),
    };
    let done = finished.code == Some(0);
    // The client does not report its progress, but errors of NSS's initialisation occur before any connection.
    let last = finished.stderr.lines().rfind(|line| !line.trim().is_empty()).map(str::to_owned);
    let local = ["SEC_ERROR_BAD_PASSWORD", "SEC_ERROR_BAD_DATABASE", "ModuleNotFoundError"];
    let before = local.iter().any(|name| finished.stderr.contains(name));
    if finished.stderr.contains("ModuleNotFoundError") {
        attempt.outcome = Outcome::Absent;
        return Ok(attempt);
    }
    (attempt.connected, attempt.handshake) = (!before, done);
    attempt.error = (!done).then(|| last.unwrap_or_else(|| "the client did not finish in time".to_owned()));
    if finished.stderr.contains("PR_CONNECT_REFUSED_ERROR") {
        (attempt.connected, attempt.outcome) = (false, Outcome::FailedToConnect);
    }
    attempt.settle();
    Ok(attempt)
}
