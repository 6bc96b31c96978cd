//! `tstclnt`, which comes with NSS.

use std::fs::File;
use std::io::{self, Write};
use std::net::ToSocketAddrs;
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use nssight_nss::library;
use nssight_probes::target::TlsVersion;
use rustix::fs::MemfdFlags;

use super::attempt::{Attempt, Job, Outcome};
use super::program;

/// Additional time for the start of the program, beyond the layer's time limit.
const GRACE: Duration = Duration::from_secs(2);
/// Its handshake callback prints this. At the end of its input tstclnt spins (measured on 3.87.1), so it must be ended from outside.
const DONE: &str = "Cert Status items";

pub(super) fn attempt(job: &Job<'_>, literal: Option<&Path>) -> io::Result<Attempt> {
    let mut attempt = match literal {
        None => Attempt::new("tstclnt", true, "NSS_Initialize", "file (-W)"),
        Some(_) => Attempt::new("tstclnt -w FILE", true, "NSS_Initialize", "the file's name (-w)"),
    };
    attempt.library = format!("NSS {}", library::nss_version());
    // A file that only this process and its child can reach; a file on disk might be left behind.
    let mut password = File::from(rustix::fs::memfd_create("password", MemfdFlags::empty())?);
    if let Some(bytes) = job.password {
        password.write_all(bytes)?;
        password.write_all(b"\n")?;
    }
    let mut command = Command::new("tstclnt");
    command.args(["-v", "-h", job.host, "-p", &job.port.to_string(), "-d"]).arg(job.database);
    let (low, high) = job.target.tls.value;
    command.args(["-V", &format!("{low}:{high}")]);
    // For some names tstclnt itself uses the unspecified address.
    let addresses = (job.host, job.port).to_socket_addrs().map(Iterator::collect::<Vec<_>>).unwrap_or_default();
    command.args(addresses.iter().any(|address| address.is_ipv4()).then_some("-4"));
    if let Some(nickname) = job.target.nickname() {
        command.args(["-n", &nickname.value]);
    }
    match literal {
        None => command.arg("-W").arg(format!("/proc/self/fd/{}", password.as_raw_fd())),
        Some(path) => command.arg("-w").arg(path),
    };
    let finished = match program::run(command, b"", Some((DONE, job.listen)), job.target.timeout + GRACE) {
        Ok(finished) => finished,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            attempt.outcome = Outcome::Absent;
            return Ok(attempt);
        }
        Err(error) => return Err(error),
    };
    let said = format!("{}\n{}", finished.stdout, finished.stderr);
    let line = |wanted: &str| said.lines().find(|line| line.contains(wanted)).map(str::trim);
    // A login error comes first in the output; tstclnt continues without a certificate.
    let login = line("Incorrect password/PIN").or_else(|| line("SEC_ERROR_BAD_PASSWORD"));
    let harmless = |line: &&str| line.contains("PR_IN_PROGRESS_ERROR") || line.contains("PR_WOULD_BLOCK_ERROR");
    let failed = said.lines().rev().find(|line| line.contains("_ERROR") && !harmless(line)).map(str::trim);
    let refused = line("unable to connect").is_some() || line("error looking up host").is_some();
    attempt.connected = !refused && line("ready...").is_some();
    attempt.handshake = line(DONE).is_some();
    attempt.agreed = line("SSL version 3.").map(agreed);
    attempt.error = match (login, failed) {
        (Some(login), Some(failed)) => Some(format!("{login} {failed}")),
        (Some(login), None) => Some(login.to_owned()),
        (None, Some(failed)) => Some(failed.trim_start_matches("tstclnt: ").to_owned()),
        (None, None) if finished.late => Some("tstclnt did not finish in time".to_owned()),
        (None, None) if !attempt.handshake => Some(format!("exit code {:?}", finished.code)),
        (None, None) => None,
    };
    if refused {
        attempt.outcome = Outcome::FailedToConnect;
    }
    attempt.settle();
    if login.is_some() {
        attempt.outcome = Outcome::FailedLocally;
    }
    Ok(attempt)
}

/// `tstclnt: SSL version 3.3 using 128-bit AES-GCM with 128-bit AEAD MAC`: the version as on the wire.
fn agreed(line: &str) -> String {
    let text = line.trim_start_matches("tstclnt: ").trim_start_matches("SSL version 3.");
    match text.split_once(" using ") {
        Some((minor, cipher)) => match minor.parse::<u16>() {
            Ok(minor) => format!("{}, {cipher}", TlsVersion::name_of(minor.saturating_add(0x0300))),
            Err(_) => text.to_owned(),
        },
        None => text.to_owned(),
    }
}
