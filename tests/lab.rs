//! The lab as a whole: every fault gets its verdict, and a check leaves a bridge ready for the next client.

mod common;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use common::{Run, binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Answer, Change, Door};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn diagnose(deployment: &Deployment, flags: &[&str]) -> Run {
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "5", "-c"]).arg(deployment.config()).args(flags);
    run(&mut command)
}

fn with_request(deployment: &Deployment) -> Run {
    diagnose(deployment, &["--admin-password-file", deployment.admin_password_file().to_str().unwrap()])
}

fn statuses(run: &Run) -> Vec<(String, String)> {
    let report = run.report();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    report["probes"].as_array().unwrap().iter().map(|probe| (text(&probe["layer"]), text(&probe["status"]))).collect()
}

/// Separate tests cover every fault at every door: `faults`, `trace_catalogue`, `triage`. This one tests the selftest itself, with one
/// fault in eight.
#[test]
fn faults_get_their_verdicts_at_every_door() {
    let all: Vec<_> = nssight_fixtures::fault::here().unwrap().0.into_iter().step_by(8).collect();
    let mut command = binary();
    command.args(["selftest", "--format", "json"]);
    command.args(all.iter().flat_map(|fault| ["--only", fault.id.as_str()]));
    let run = run(&mut command);
    let result = run.report();
    assert_eq!(result["schema"], "nssight/selftest/1");
    let faults = result["faults"].as_array().unwrap();
    assert_eq!(faults.len(), all.len());
    for door in Door::ALL {
        let wanted = all.iter().filter(|fault| fault.must(door).is_some()).count();
        assert_eq!(result["verdicts"][door.to_string()], wanted, "python-nss must be installed (make deps)");
    }
    let missed: Vec<&Value> = faults.iter().filter(|fault| fault["ok"] != true).collect();
    assert!(missed.is_empty(), "{missed:#?}");
    assert_eq!(run.code, Some(0));
}

#[test]
fn a_diagnosis_leaves_the_bridge_ready_for_the_next_client() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let bridge = deployment.bridge().unwrap();
    for round in 1..=50 {
        // With and without the request: both kinds of check must leave the deployment intact.
        let run = if round % 2 == 0 { with_request(&deployment) } else { diagnose(&deployment, &[]) };
        assert_eq!(
            run.code,
            Some(0),
            "round {round}: {run:#?}\n{:?}\n{:?}",
            bridge.log(),
            deployment.server().unwrap().log()
        );
        assert_eq!(deployment.connections(), round, "{run:#?}");
        assert_eq!(run.report()["connections_opened"], 1);
    }
    // The bridge counts a request when its client has disconnected, a moment after the client has finished.
    let patience = std::time::Instant::now() + std::time::Duration::from_secs(5);
    while bridge.served() < 25 && std::time::Instant::now() < patience {
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    assert_eq!(bridge.served(), 25);
}

#[test]
fn without_an_administrators_password_the_request_is_skipped_and_the_rest_passes() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let run = diagnose(&deployment, &[]);
    let statuses = statuses(&run);
    let of = |layer: &str| statuses.iter().find(|(name, _)| name == layer).map(|(_, status)| status.clone());
    assert_eq!(of("inner-handshake").as_deref(), Some("pass"), "{run:#?}");
    assert_eq!(of("request").as_deref(), Some("skip"), "{run:#?}");
    assert_eq!(run.code, Some(0));
}

#[test]
fn a_walk_through_the_bridge_works_with_legacy_databases_too() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &Change::default(), DbFormat::Dbm).unwrap();
    let run = with_request(&deployment);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(!Path::new(&directory.path().join("client/cert9.db")).exists());
}

#[test]
fn both_sessions_are_on_the_wire_of_the_report() {
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let report = with_request(&deployment).report();
    let wire = report["wire"].as_array().unwrap();
    for session in ["outer", "inner"] {
        let said = |direction: &str, what: &str| {
            wire.iter().any(|event| {
                event["session"] == session
                    && event["direction"] == direction
                    && event["what"].as_str().unwrap().starts_with(what)
            })
        };
        assert!(said("sent", "ClientHello") && said("received", "ServerHello"), "{session}: {wire:#?}");
    }
    assert!(wire.windows(2).all(|pair| pair[0]["at_us"].as_u64() <= pair[1]["at_us"].as_u64()));
}

#[test]
fn a_retry_distinguishes_a_dead_link_from_a_rejected_request() {
    use nssight_fixtures::fault::{Queue, Relay};
    let stale = Change { queue: Queue::Stale, ..Change::default() };
    let rejecting = Change { relay: Relay::Reject, ..Change::default() };
    for (change, status, cause, confidence, code) in [
        (stale, "flaky", "server-link-dead", "certain", 0),
        (rejecting, "fail", "bridge-rejected-request", "likely", 1),
    ] {
        let directory = tempfile::tempdir().unwrap();
        let deployment = Deployment::start(directory.path(), &change, DbFormat::Sql).unwrap();
        let run = diagnose(&deployment, &["--retries", "1"]);
        let verdict = run.report()["verdict"].clone();
        assert_eq!(
            (&verdict["status"], &verdict["cause"], &verdict["confidence"]),
            (&status.into(), &cause.into(), &confidence.into()),
            "{run:#?}"
        );
        assert_eq!((run.code, run.report()["connections_opened"].as_u64()), (Some(code), Some(2)));
        assert_eq!(deployment.connections(), 2);
    }
}

#[test]
fn faults_can_be_ordered_together_unless_they_exclude_each_other() {
    let run_lab = |faults: &[&str]| {
        let mut command = binary();
        command.args(["lab", "run", "--short"]).args(faults.iter().flat_map(|fault| ["--fault", fault]));
        run(&mut command)
    };
    let both = run_lab(&["server-expired", "db-environment-asks-for-legacy"]);
    assert_eq!(both.code, Some(1));
    assert!(both.stdout.starts_with("fail nss-db db-type-mismatch"), "{both:#?}");
    let neither = run_lab(&["slow-network", "one-byte-at-a-time"]);
    assert_eq!(neither.code, Some(2));
    assert!(neither.stderr.contains("both change \"relay\""), "{neither:#?}");
}

/// Starts a lab in a directory; returns it with its line that says what to try.
fn up(directory: &Path, words: &[&str]) -> (Child, String) {
    let mut command = binary();
    command.args(["lab", "up"]).args(words).arg("--dir").arg(directory);
    let mut lab = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(lab.stdout.take().unwrap()).lines().map(Result::unwrap);
    let line = lines.find(|line| line.starts_with("try:")).unwrap();
    lines.find(|line| line.starts_with("Ctrl-C")).unwrap();
    (lab, line)
}

fn interrupt(mut lab: Child) {
    rustix::process::kill_process(rustix::process::Pid::from_child(&lab), rustix::process::Signal::INT).unwrap();
    assert_eq!(lab.wait().unwrap().code(), Some(0));
}

#[test]
fn a_running_lab_has_databases_for_all_three_roles_and_ends_on_interrupt() {
    for (format, prefix) in [("cert9", "sql"), ("cert8", "dbm")] {
        let directory = tempfile::tempdir().unwrap();
        let (lab, line) = up(directory.path(), &["--db-format", format, "--fault", "outer-version"]);
        assert!(line.ends_with("--tls-min tls1.3 --tls-max tls1.3"), "{line}");
        for (role, nickname) in
            [("client", "sigul-client-cert"), ("bridge", "sigul-bridge-cert"), ("server", "sigul-server-cert")]
        {
            let database = format!("{prefix}:{}", directory.path().join(role).display());
            let listed = Command::new("certutil").args(["-L", "-d", &database, "-n", nickname]).output().unwrap();
            assert!(listed.status.success(), "{role}: {}", String::from_utf8_lossy(&listed.stderr));
            let config = directory.path().join(format!("{role}.conf"));
            let walked = run(binary().args(["diagnose", "--until", "private-key", "--short", "-c"]).arg(config));
            assert_eq!(walked.code, Some(0), "{role}: {walked:#?}");
        }
        interrupt(lab);
    }
}

#[test]
fn a_lab_takes_the_directory_of_an_earlier_lab() {
    let directory = tempfile::tempdir().unwrap();
    for fault in ["outer-version", "odd-names", "healthy"] {
        interrupt(up(directory.path(), &["--fault", fault]).0);
    }
}

#[test]
fn a_lab_takes_no_directory_that_is_not_its_own() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("client.conf");
    std::fs::write(&config, "mine").unwrap();
    let refused = run(binary().args(["lab", "up", "--dir"]).arg(directory.path()));
    assert_ne!(refused.code, Some(0), "{refused:#?}");
    assert!(refused.stderr.contains("not empty"), "{refused:#?}");
    assert_eq!(std::fs::read_to_string(&config).unwrap(), "mine");
}

const TLS_13: [&str; 2] = ["--tls-max", "tls1.3"];

#[test]
fn a_server_without_a_confirmation_has_not_accepted_us() {
    let change = Change {
        inner_tls: Some("tls1.3".to_owned()),
        bridge_tls: Some("tls1.2".to_owned()),
        answer: Answer::Ticketless,
        ..Change::default()
    };
    let directory = tempfile::tempdir().unwrap();
    let deployment = Deployment::start(directory.path(), &change, DbFormat::Sql).unwrap();
    let verdict = |run: &Run| {
        let report = run.report();
        let text = |name: &str| report["verdict"][name].as_str().unwrap().to_owned();
        (text("status"), text("confidence"), text("summary"))
    };
    // The outer session is TLS 1.2 and proves nothing about the server behind it.
    let (status, confidence, summary) = verdict(&diagnose(&deployment, &TLS_13));
    assert_eq!((status.as_str(), confidence.as_str()), ("pass", "likely"), "{summary}");
    assert!(summary.contains("client authentication: unconfirmed"), "{summary}");
    // A ticket proves it, since it is derived from a handshake that is complete on the server's side.
    let talkative = Change { answer: Answer::Well, ..change };
    let other = tempfile::tempdir().unwrap();
    let (status, confidence, summary) =
        verdict(&diagnose(&Deployment::start(other.path(), &talkative, DbFormat::Sql).unwrap(), &TLS_13));
    assert_eq!((status.as_str(), confidence.as_str()), ("pass", "certain"), "{summary}");
    // An answered request proves it as well.
    let admin = deployment.admin_password_file().to_str().unwrap();
    let answered = diagnose(&deployment, &[&TLS_13[..], &["--admin-password-file", admin]].concat());
    let (status, confidence, summary) = verdict(&answered);
    assert_eq!((status.as_str(), confidence.as_str()), ("pass", "certain"), "{summary}");
}

#[test]
fn the_lab_supports_a_tls_server_with_files() {
    let healthy = run(binary().args(["lab", "run", "--profile", "tls", "--format", "json"])).report();
    assert_eq!(healthy["verdict"]["status"], "pass", "{healthy:#}");
    assert_eq!(healthy["target"]["credentials"], "files");
    let faulty =
        run(binary().args(["lab", "run", "--profile", "tls", "--fault", "files-not-tls", "--format", "json"])).report();
    assert_eq!(faulty["verdict"]["cause"], "not-tls", "{faulty:#}");
    let other = binary().args(["lab", "run", "--profile", "tls", "--fault", "no-server"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
}

#[test]
fn the_lab_supports_a_siguldry_deployment() {
    let lab =
        |words: &[&str]| run(binary().args(["lab", "run", "--profile", "siguldry", "--format", "json"]).args(words));
    let healthy = lab(&[]).report();
    assert_eq!(healthy["verdict"]["status"], "pass", "{healthy:#}");
    assert_eq!(healthy["target"]["profile"], "siguldry");
    assert_eq!(lab(&["--fault", "siguldry-no-server"]).report()["verdict"]["cause"], "no-server-attached");
    let other = binary().args(["lab", "run", "--profile", "siguldry", "--fault", "no-server"]).output().unwrap();
    assert_eq!(other.status.code(), Some(2));
}
