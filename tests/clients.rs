//! An independent client agrees with the lab. It shows the purpose of nssight: the client's error names a symptom, nssight names the cause.

mod common;

use std::process::Output;

use common::lab::{client, words};
use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Queue};
use nssight_fixtures::nssdb::DbFormat;

fn python_client(deployment: &Deployment, operation: &str) -> Output {
    words(&[], &client(deployment, &[], operation)).output().expect("python3 must be installed (make deps)")
}

#[test]
fn an_independent_client_completes_its_request() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    for _ in 0..5 {
        let output = python_client(&deployment, "list-users");
        assert!(output.status.success(), "{output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "admin\nsigner\n", "{output:?}");
    }
    for (operation, answer) in [("list-keys", "lab-key\n"), ("user-info", "Administrator: yes\n")] {
        let output = python_client(&deployment, operation);
        assert_eq!(String::from_utf8_lossy(&output.stdout), answer, "{output:?}");
    }
    assert_eq!(deployment.connections(), 7);
}

#[test]
fn nssight_finds_a_dead_server_link_where_the_client_reports_an_end_of_file() {
    let stale = Change { queue: Queue::Stale, ..Change::default() };
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &stale, DbFormat::Sql).unwrap();
    let output = python_client(&deployment, "list-users");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("PR_END_OF_FILE_ERROR"), "{output:?}");
    // The stale link is used up: the same client now succeeds.
    assert!(python_client(&deployment, "list-users").status.success());

    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &stale, DbFormat::Sql).unwrap();
    let report = run(binary().args(["diagnose", "--format", "json", "-c"]).arg(deployment.config())).report();
    assert_eq!(report["verdict"]["cause"], "server-link-dead", "{report:#}");
    assert_eq!(report["verdict"]["layer"], "bridge", "{report:#}");
    assert!(python_client(&deployment, "list-users").status.success());
}
