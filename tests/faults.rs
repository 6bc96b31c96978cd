//! Checks every fault in the list: each check ends, with the right verdict, after one connection at most, leaves the database unchanged,
//! and writes no secret. Requirements beyond the verdict are listed here by the fault's id.

mod common;

use std::os::unix::process::CommandExt;
use std::path::Path;

use common::lab::over_all;
use common::{Run, binary, fingerprint, run};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, Deployment, PASSWORD};
use nssight_fixtures::fault::{self, Door, Fault, Named};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// A check, and whether it left everything unchanged.
struct Walked {
    run: Run,
    reached: usize,
    untouched: bool,
}

fn walk(fault: &Fault) -> Walked {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "3"]).args(deployment.words()).args(&fault.flags);
    command.envs(&fault.environment);
    if let Some(user) = deployment.run_as() {
        command.uid(user).gid(user);
    }
    let database = directory.path().join(fault.change.database_directory.as_deref().unwrap_or("client"));
    // To read a file here would release a lock that this process holds.
    let look = |database: &Path| (!deployment.locks_a_file()).then(|| fingerprint(database));
    let before = look(&database);
    let run = run(&mut command);
    Walked { run, reached: deployment.connections(), untouched: before == look(&database) }
}

fn of(id: &str) -> Run {
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == id);
    walk(&fault.unwrap_or_else(|| panic!("no fault {id}"))).run
}

fn objections(fault: &Fault, walked: &Walked) -> Vec<String> {
    let (run, report) = (&walked.run, walked.run.report());
    let given: Named = serde_json::from_value(report["verdict"].clone()).unwrap();
    let expected = fault.must(Door::Diagnose).unwrap();
    let mut objections = Vec::new();
    let mut hold = |right: bool, wrong: String| {
        if !right {
            objections.push(format!("{}: {wrong}", fault.id));
        }
    };
    hold(given == expected, format!("{given} instead of {expected}: {}", report["verdict"]["summary"]));
    hold(run.code == Some(i32::from(fault.cause.is_some())), format!("exit code {:?}", run.code));
    let counted = report["connections_opened"].as_u64().unwrap();
    let reached = u64::try_from(walked.reached).unwrap();
    // A connection that waits in an accept queue was opened all the same.
    hold(reached <= counted && counted <= 1, format!("{reached} connections, {counted} counted"));
    hold(walked.untouched, "the database was changed".to_owned());
    for secret in [PASSWORD, ADMIN_PASSWORD] {
        hold(!run.stdout.contains(secret) && !run.stderr.contains(secret), format!("{secret} is shown: {run:#?}"));
    }
    objections
}

#[test]
fn a_walk_of_every_fault_gives_its_verdict_and_leaves_no_trace() {
    let (faults, _) = fault::here().unwrap();
    let walked = over_all(&faults, 6, walk);
    let objections: Vec<String> = walked.iter().flat_map(|(fault, walked)| objections(fault, walked)).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn a_duplicate_key_is_named_with_its_line() {
    let summary = of("config-duplicate-key").report()["verdict"]["summary"].to_string();
    assert!(summary.contains("client.conf:") && summary.contains("user-name"), "{summary}");
}

#[test]
fn a_nickname_with_a_colon_is_explained() {
    let run = of("nickname-with-colon");
    assert!(run.stdout.contains("as the name of a token"), "{run:#?}");
}

#[test]
fn the_names_in_a_certificate_for_another_host_are_shown() {
    for id in ["bridge-name", "bridge-name-only-in-common-name"] {
        let run = of(id);
        assert!(run.stdout.contains("elsewhere.example"), "{run:#?}");
    }
}

#[test]
fn the_report_says_whether_the_peer_accepted_our_certificate() {
    for (id, said) in [("plain-tls-1.2", "yes"), ("plain-tls-1.3", "yes"), ("plain-asks-for-nothing", "not-asked")] {
        let report = of(id).report();
        let probes = report["probes"].as_array().unwrap();
        let handshake = probes.iter().find(|probe| probe["layer"] == "outer-handshake").unwrap();
        let facts = handshake["facts"].as_array().unwrap();
        let fact = facts.iter().find(|fact| fact["id"] == "peer.accepted-us").map(|fact| &fact["value"]);
        assert_eq!(fact, Some(&Value::from(said)), "{id}: {report:#}");
    }
}
