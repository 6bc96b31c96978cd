//! `curl`, with certificates in files: a handshake, followed by `HEAD /`.

use std::io;
use std::process::Command;
use std::time::Duration;

use nssight_probes::target::{Files, TlsVersion};
use zeroize::Zeroizing;

use super::attempt::{Attempt, Job, Outcome};
use super::program;

/// Additional time for the start of the program, beyond the layer's time limit.
const GRACE: Duration = Duration::from_secs(2);
/// curl's final summary: the number of connections, and the time at which TLS was established.
const TOLD: &str = "%{num_connects} %{time_appconnect}";
/// Exit codes for a file that curl cannot use (curl(1), EXIT CODES); it connects before it reads the files.
const OF_THE_FILES: [i32; 4] = [26, 58, 59, 77];
/// Exit codes after a handshake that concern the session (curl(1), EXIT CODES): a broken connection, for example after a refusal of our
/// certificate in TLS 1.3. Others concern HTTP, which the peer need not support.
const SESSION_EXIT_CODES: [i32; 3] = [35, 55, 56];

pub(super) fn attempt(job: &Job<'_>, files: &Files) -> io::Result<Attempt> {
    let mut attempt = Attempt::new("curl", false, "its own parser for the files", "a line in its configuration");
    if !job.came_to_peer {
        attempt.outcome = Outcome::Absent;
        attempt.error =
            Some("skipped: curl connects before it reads its files, and no other client reached the peer".to_owned());
        return Ok(attempt);
    }
    let mut command = Command::new("curl");
    command.args(["--disable", "--silent", "--show-error", "--head", "--output", "/dev/null", "--noproxy", "*"]);
    command.args(["--write-out", TOLD, "--config", "-"]);
    let seconds = job.target.timeout.as_secs_f64().to_string();
    command.args(["--connect-timeout", &seconds, "--max-time", &seconds]);
    let (low, high) = job.target.tls.value;
    command.args([format!("--tlsv{}", number(low)), "--tls-max".to_owned(), number(high)]);
    for (option, file) in files.options() {
        command.arg(option).arg(file);
    }
    command.arg(format!("https://{}/", job.peer()));
    // curl reads its configuration from standard input, where no other user sees the password.
    let mut input = Zeroizing::new(Vec::with_capacity(1024));
    if let Some(password) = job.password.filter(|password| !password.is_empty()) {
        input.extend_from_slice(b"pass = \"");
        for byte in password.iter() {
            if matches!(byte, b'"' | b'\\') {
                input.push(b'\\');
            }
            input.push(*byte);
        }
        input.extend_from_slice(b"\"\n");
    }
    let finished = match program::run(command, &input, None, job.target.timeout + GRACE) {
        Ok(finished) => finished,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            attempt.outcome = Outcome::Absent;
            return Ok(attempt);
        }
        Err(error) => return Err(error),
    };
    let moments: Vec<f64> = finished.stdout.split_whitespace().map_while(|word| word.parse().ok()).collect();
    let reached = |place: usize| moments.get(place).is_some_and(|moment| *moment > 0.0);
    attempt.connected = reached(0);
    attempt.handshake = reached(1);
    let said = finished.stderr.lines().find_map(|line| line.strip_prefix("curl: ")).map(str::to_owned);
    let counts = match finished.code {
        Some(0) => false,
        Some(code) => !attempt.handshake || SESSION_EXIT_CODES.contains(&code),
        None => !attempt.handshake,
    };
    if counts {
        attempt.error = Some(said.unwrap_or_else(|| "curl did not finish in time".to_owned()));
        // 6: the host name was not resolved; 7: no connection.
        if matches!(finished.code, Some(6 | 7)) {
            attempt.outcome = Outcome::FailedToConnect;
        }
    }
    attempt.settle();
    if finished.code.is_some_and(|code| OF_THE_FILES.contains(&code)) {
        attempt.outcome = Outcome::FailedLocally;
    }
    Ok(attempt)
}

/// The version as in curl's options: 1.2.
fn number(version: TlsVersion) -> String {
    version.to_string().trim_start_matches("tls").to_owned()
}
