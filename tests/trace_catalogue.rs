//! The double-TLS client of the tests, traced under every fault of the lab: it does what it does untraced, and the trace
//! names the layer that a diagnosis names.

mod common;

use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use common::hold_to_schema;
use common::lab::{client, over_all, to_its_end, words};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, Deployment, PASSWORD};
use nssight_fixtures::fault::{self, Fault};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// Seconds after which the client gives up by itself.
const PATIENCE: &str = "4";

const PARENT_SEES_A_RESET: &str = "I/O error: (PR_CONNECT_RESET_ERROR) TCP connection reset by peer.";
const PARENT_SEES_AN_END: &str = "I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.";

/// What the client did, with what differs from run to run made alike.
#[derive(Debug, Default, PartialEq, Eq)]
struct Behaviour {
    code: Option<i32>,
    signal: Option<i32>,
    stdout: Vec<String>,
    stderr: Vec<String>,
}

struct Traced {
    behaviour: Behaviour,
    report: Value,
}

fn options(fault: &Fault) -> Vec<&str> {
    let mut options = vec!["--timeout", PATIENCE];
    for pair in fault.flags.chunks_exact(2).filter(|pair| pair[0].starts_with("--tls")) {
        options.extend(pair.iter().map(String::as_str));
    }
    if fault.flags.iter().any(|flag| flag == "--timeout") {
        options[1] = "10";
    }
    options
}

/// A deployment with the fault, and the client's command line after these words.
fn under(fault: &Fault, before: &[&str]) -> Behaviour {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let mut command: Command = words(before, &client(&deployment, &options(fault), "list-users"));
    command.env_remove("NSS_DEFAULT_DB_TYPE").envs(&fault.environment);
    if let Some(user) = deployment.run_as() {
        command.uid(user).gid(user);
    }
    let output = to_its_end(command);
    // Parent and child write when they like. Whether the parent finds its pair ended or reset depends on what the child had
    // not read yet when it left: both come untraced, in every fault that the child meets.
    let alike = |bytes: &[u8]| {
        let text = String::from_utf8_lossy(bytes).replace(directory.path().to_str().unwrap(), "DIRECTORY");
        let text = text.replace(PARENT_SEES_A_RESET, PARENT_SEES_AN_END);
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort_unstable();
        lines
    };
    Behaviour {
        code: output.status.code(),
        signal: output.status.signal(),
        stdout: alike(&output.stdout),
        stderr: alike(&output.stderr),
    }
}

fn traced(fault: &Fault) -> Traced {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::set_permissions(file.path(), std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let nssight = env!("CARGO_BIN_EXE_nssight");
    let behaviour = under(fault, &[nssight, "trace", "--json", "--output", file.path().to_str().unwrap(), "--"]);
    let text = std::fs::read_to_string(file.path()).unwrap();
    let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", fault.id));
    Traced { behaviour, report }
}

#[test]
fn the_trace_names_the_layer_of_every_fault_and_the_client_does_as_without_it() {
    let faults = fault::all().unwrap();
    let runs = over_all(&faults, 6, |fault| {
        let mut traced = traced(fault);
        // Client, bridge and server race when one of them leaves, and that may come out in more than one way: some of what
        // the client does untraced must be what it does traced.
        let (mut without, mut with) = (Vec::new(), Vec::new());
        loop {
            with.push(std::mem::take(&mut traced.behaviour));
            without.push(under(fault, &[]));
            if with.iter().any(|one| without.contains(one)) || with.len() >= 8 {
                break;
            }
            traced = self::traced(fault);
        }
        (without, with, traced.report)
    });
    let (mut other_layer, mut other_cause, mut other_behaviour) = (Vec::new(), Vec::new(), Vec::new());
    for (fault, (without, with, report)) in &runs {
        let verdict = &report["verdict"];
        let (layer, cause) = (verdict["layer"].as_str(), verdict["cause"].as_str());
        let said = format!("{}: {layer:?} {cause:?} {}", fault.id, verdict["summary"]);
        if layer != fault.layer.as_deref() {
            other_layer.push(said);
        } else if cause != fault.cause.as_deref() {
            other_cause.push(said);
        }
        if !with.iter().any(|one| without.contains(one)) {
            other_behaviour.push(format!("{}: without {without:#?}, with {with:#?}", fault.id));
        }
        let text = report.to_string();
        assert!(!text.contains(PASSWORD) && !text.contains(ADMIN_PASSWORD), "{text}");
        assert_eq!(report["events_lost"], 0, "{text}");
    }
    assert_eq!(other_layer, Vec::<String>::new());
    assert_eq!(other_behaviour, Vec::<String>::new());
    assert!(other_cause.len() * 20 <= runs.len(), "{} of {} causes: {other_cause:#?}", other_cause.len(), runs.len());
    let documents: Vec<Value> = runs.into_iter().map(|(_, (.., report))| report).collect();
    hold_to_schema("trace", &documents);
}
