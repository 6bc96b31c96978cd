//! Repeated checks: `--wait` until the target passes, and `--repeat` to measure how often it does.

mod common;

use std::process::Command;

use common::fleet::{Fleet, silent, wait_for};
use common::{Case, PKI, binary, diagnose, hold_to_schema, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::fault::{self, Change};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A bridge whose link to its server is stale until a client has used it up.
fn stale(case: &Case) -> (Deployment, Change) {
    let change = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap().change;
    (Deployment::start(&case.path(""), &change, DbFormat::Sql).unwrap(), change)
}

fn diagnosis(lab: &Deployment) -> Command {
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "10"]).args(lab.words());
    command
}

#[test]
fn a_target_is_waited_for_until_it_passes() {
    let case = Case::new();
    let (lab, _) = stale(&case);
    let waited = run(diagnosis(&lab).args(["--wait", "5m"]));
    let report = waited.report();
    assert_eq!((waited.code, &report["verdict"]["status"]), (Some(0), &"pass".into()), "{report:#}");
    assert_eq!(report["connections_opened"], 2, "{report:#}");
}

#[test]
fn check_waits_for_each_target() {
    let case = Case::new();
    let (lab, _) = stale(&case);
    let file = case.file("targets.toml", format!("[[target]]\nname = 'late'\nconfig = '{}'\n", lab.config().display()));
    let mut check = binary();
    check.arg("check").arg(file).args(["--format", "json", "--wait", "5m", "--retry-spacing", "1"]);
    let waited = run(&mut check);
    let target = &waited.report()["targets"][0];
    assert_eq!((waited.code, &target["report"]["verdict"]["status"]), (Some(0), &"pass".into()), "{target:#}");
    assert_eq!(target["tries"], 2, "{target:#}");
}

/// A retry cannot help: the target's settings were read before.
#[test]
fn wait_does_not_retry_an_unreadable_configuration() {
    let case = Case::new();
    let config = case.file("client.conf", "[client]\nbridge-port = many\n");
    let refused = run(binary().args(["diagnose", "--wait", "1h", "-c"]).arg(config));
    assert_eq!(refused.code, Some(1), "{refused:#?}");
}

#[test]
fn a_check_that_is_repeated_gives_a_rate_and_what_differs() {
    let case = Case::new();
    let (lab, change) = stale(&case);
    let repeated = run(diagnosis(&lab).args(["--repeat", "3"]));
    let document: Value = serde_json::from_str(&repeated.stdout).unwrap();
    assert_eq!((repeated.code, &document["checks"], &document["passed"]), (Some(1), &3.into(), &2.into()));
    let outcomes = document["outcomes"].as_array().unwrap();
    assert_eq!(
        (&outcomes[0]["status"], &outcomes[0]["count"], &outcomes[0]["first"]),
        (&"pass".into(), &2.into(), &2.into())
    );
    assert_eq!((&outcomes[1]["cause"], &outcomes[1]["count"]), (&"server-link-dead".into(), &1.into()));
    let differences = document["differences"].as_array().unwrap();
    assert!(differences.iter().any(|it| it["layer"] == "bridge" && it["what"] == "result"), "{differences:#?}");
    assert_eq!(document["reports"].as_array().unwrap().len(), 3);
    hold_to_schema("repeat", &[document]);

    let other = Case::new();
    let lab = Deployment::start(&other.path(""), &change, DbFormat::Sql).unwrap();
    let mut command = binary();
    command.args(["diagnose", "--timeout", "10", "--repeat", "2"]).args(lab.words());
    let shown = run(&mut command).stdout;
    for part in
        ["1 of 2 checks passed (50 %)", "Differences between check 2 (A, passed) and check 1 (B)", "Verdict of check 1"]
    {
        assert!(shown.contains(part), "{part}: {shown}");
    }
}

/// Ctrl-C while a layer waits: the findings so far are reported.
#[test]
fn an_interrupted_check_reports_its_findings() {
    for (signal, code) in [(Signal::INT, 130), (Signal::TERM, 143)] {
        let (case, endpoint) = (Case::new(), silent());
        let (database, password) = (case.database(DbFormat::Sql), case.password_file());
        let mut command = diagnose(&database, &password, endpoint.port());
        let command = command.args(["--timeout", "600"]).stdout(std::process::Stdio::piped());
        let child = command.spawn().unwrap();
        wait_for(|| endpoint.hellos() == 1);
        kill_process(Pid::from_child(&child), signal).unwrap();
        let output = child.wait_with_output().unwrap();
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        let verdict = &report["verdict"];
        assert_eq!(output.status.code(), Some(code), "{report:#}");
        assert_eq!(
            (&verdict["cause"], &verdict["layer"]),
            (&"interrupted".into(), &"outer-handshake".into()),
            "{report:#}"
        );
        let key = report["probes"].as_array().unwrap().iter().find(|it| it["layer"] == "private-key").unwrap();
        assert_eq!(key["status"], "pass", "{report:#}");
    }
}

#[test]
fn results_come_in_the_order_of_the_file_where_that_is_wanted() {
    let (slow, quick) = (silent(), Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap());
    let fleet = Fleet::new().target("slow", slow.port(), "timeout = 3").target("quick", quick.port(), "");
    let names = |more: &[&str]| {
        let run = fleet.run(&[&["--format", "ndjson", "--jobs", "2"], more].concat());
        let lines = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        lines.filter_map(|line| Some(line["target"].as_str()?.to_owned())).collect::<Vec<_>>()
    };
    assert_eq!(names(&["--in-order"]), ["slow", "quick"]);
    assert_eq!(names(&[]), ["quick", "slow"]);
}
