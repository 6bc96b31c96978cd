//! Tests one fault with `diagnose`, with a trace of the double-TLS client, and with the logs of that run.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use nssight_fixtures::deployment::{BRIDGE_LOG, Deployment, SERVER_LOG};
use nssight_fixtures::fault::{Door, Doors, Fault, Named};
use nssight_fixtures::nssdb::DbFormat;
use serde::Deserialize;

use crate::clients::{DOUBLE_TLS_CLIENT, PYTHON};
use crate::lab;

/// A layer that hangs in the lab never recovers; nothing healthy on loopback takes this long.
const TIMEOUT: &str = "3";

pub(super) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The verdict of a door, and any mistake beside the verdict.
pub(super) type Said = (Named, Option<String>);

/// The common part of all documents with a verdict.
#[derive(Deserialize)]
struct Document {
    verdict: Named,
    #[serde(default)]
    connections_opened: usize,
}

/// Whether the double-TLS client, a python-nss program, can run here.
pub(super) fn has_client() -> bool {
    let mut command = Command::new(PYTHON);
    command.args(["-c", "import nss.ssl"]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The verdicts of the doors that need the double-TLS client.
pub(super) fn others(fault: &Fault) -> Vec<(Door, Result<Said, Failure>)> {
    if fault.doors == Doors::Diagnose {
        return Vec::new();
    }
    let doors = [Door::Trace, Door::Triage, Door::TriageClient];
    match traced(fault) {
        Ok(verdicts) => doors.into_iter().zip(verdicts.map(|verdict| Ok((verdict, None)))).collect(),
        Err(error) => doors.map(|door| (door, Err(error.to_string().into()))).into(),
    }
}

/// A check in a separate process.
pub(super) fn walk(fault: &Fault) -> Result<Said, Failure> {
    let directory = lab::directory()?;
    let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql)?;
    let mut command = lab::diagnosis(&deployment, fault.environment.clone());
    command.args(["--format", "json", "--timeout", TIMEOUT]).args(&fault.flags);
    let report = document(&command.stdin(Stdio::null()).output()?)?;
    let (reached, counted) = (deployment.connections(), report.connections_opened);
    // A connection that waits in an accept queue was opened all the same.
    let trouble = (reached > counted || counted > 1)
        .then(|| format!("{reached} connections reached the bridge, but the report counts {counted}"));
    Ok((report.verdict, trouble))
}

/// The verdicts of a trace, of all logs, and of the client's log alone.
fn traced(fault: &Fault) -> Result<[Named; 3], Failure> {
    let directory = lab::directory()?;
    let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql)?;
    let (report, client_log) = (directory.path().join("trace.json"), directory.path().join("client.log"));
    for path in [&report, &client_log] {
        // Another user may have to write to these files.
        fs::write(path, "")?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    }
    // A separate script whose first `-c` is the configuration, as in the client that it stands for.
    let script = directory.path().join("double_tls_client.py");
    fs::write(&script, DOUBLE_TLS_CLIENT)?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["trace", "--format", "json", "--output"]).arg(&report).args(["--", PYTHON]).arg(&script);
    command.arg("-c").arg(deployment.config()).arg("--admin-password-file").arg(deployment.admin_password_file());
    command.arg("--log").arg(&client_log).args(fault.client_options()).arg("list-users");
    command.env_remove("NSS_DEFAULT_DB_TYPE").envs(&fault.environment);
    if let Some(user) = deployment.run_as() {
        command.uid(user).gid(user);
    }
    // The client's output is its log. The client has its own deadline.
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).status()?;
    let trace: Document = serde_json::from_slice(&fs::read(&report)?)?;
    // The logs of bridge and server are complete only when both have ended.
    drop(deployment);
    let logs: Vec<PathBuf> = [BRIDGE_LOG, SERVER_LOG].map(|name| directory.path().join(name)).into();
    let all: Vec<&Path> =
        [&client_log].into_iter().chain(&logs).map(PathBuf::as_path).filter(|path| path.exists()).collect();
    Ok([trace.verdict, triage(&all)?, triage(&all[..1])?])
}

fn triage(files: &[&Path]) -> Result<Named, Failure> {
    let mut command = Command::new("/proc/self/exe");
    command.args(["triage", "--format", "json"]).args(files);
    Ok(document(&command.stdin(Stdio::null()).output()?)?.verdict)
}

fn document(output: &Output) -> io::Result<Document> {
    serde_json::from_slice(&output.stdout)
        .map_err(|error| io::Error::other(format!("{error}: {}", String::from_utf8_lossy(&output.stderr))))
}
