//! `nssight check` and its workers: processes that hang, die or are stopped, and the output in the meantime.

mod common;

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use common::fleet::{Fleet, Running, endpoint, lives, signal, silent, wait_for, workers};
use common::{Case, NICKNAME, PASSWORD, binary, hold_to_schema, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::Behaviour;
use nssight_fixtures::fault::{self, Change};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn a_target_that_hangs_is_cut_at_its_deadline_while_others_finish() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let fleet = Fleet::new()
        .target("hangs", hanging.port(), "timeout = 60\ndeadline = 3")
        .target("good", good.port(), "deadline = 30")
        .target("tries", endpoint(Behaviour::CloseAtOnce).port(), "deadline = 2\nretries = 50\nretry-spacing = 0.4");
    let (document, code) = fleet.document(&["--jobs", "3"]);
    assert_eq!(code, Some(1));
    assert_eq!(document.verdict("hangs"), ["fail", "outer-handshake", "peer-silent"]);
    // It would be 60 s. How close to its deadline it ends depends on the load of the machine.
    let took = document.target("hangs")["duration_ms"].as_u64().unwrap();
    assert!((1500..30_000).contains(&took), "{took} ms");
    assert_eq!(document.verdict("good")[0], "pass");
    let tries = document.target("tries");
    assert!((2..8).contains(&tries["tries"].as_u64().unwrap()), "the deadline is that of all tries: {tries:#}");
}

/// A stopped worker ignores everything, just like one that hangs in a C function.
#[test]
fn a_worker_that_hangs_is_killed_at_the_deadline_and_its_findings_are_kept() {
    let hanging = silent();
    let fleet = Fleet::new().target("hangs", hanging.port(), "timeout = 60\ndeadline = 3");
    let mut running = Running::start(fleet.command().args(["--format", "ndjson"]));
    wait_for(|| hanging.hellos() == 1);
    let worker = workers(running.id())[0];
    signal(worker, Signal::STOP);
    let line = running.lines().next().unwrap();
    let verdict = &line["report"]["verdict"];
    assert_eq!((&verdict["status"], &verdict["cause"]), (&"inconclusive".into(), &"tool-timeout".into()), "{line:#}");
    // The connection exists before the worker has reported it.
    assert!(["tcp", "outer-handshake"].contains(&verdict["layer"].as_str().unwrap()), "{line:#}");
    assert!(line["duration_ms"].as_u64().unwrap() < 30_000, "it waits 60 s by itself: {line:#}");
    let roles: Vec<_> =
        line["report"]["certificates"].as_array().unwrap().iter().map(|it| it["role"].clone()).collect();
    assert_eq!(roles, ["client", "authority"]);
    assert_eq!(running.code(), Some(3));
    assert!(!lives(worker));
}

#[test]
fn a_worker_that_dies_takes_no_other_target_with_it() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let mut fleet = Fleet::new().target("dies", hanging.port(), "timeout = 20");
    for number in 0..4 {
        fleet = fleet.target(&format!("good {number}"), good.port(), "");
    }
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "1"]));
    wait_for(|| hanging.hellos() == 1);
    signal(workers(running.id())[0], Signal::ABORT);
    let lines: Vec<Value> = running.lines().collect();
    let verdicts: Vec<_> = lines
        .iter()
        .filter(|line| line["target"].is_string())
        .map(|line| &line["report"]["verdict"]["status"])
        .collect();
    assert_eq!(verdicts, ["inconclusive", "pass", "pass", "pass", "pass"]);
    assert_eq!(lines[0]["report"]["verdict"]["cause"], "tool-crashed");
    assert_eq!(running.code(), Some(3));
}

/// The idle worker between two checks is killed; this must not look like a crash of the next check.
#[test]
fn a_worker_that_dies_between_two_checks_affects_no_verdict() {
    let case = Case::new();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap();
    let lab = Deployment::start(case.dir.path(), &fault.change, DbFormat::Sql).unwrap();
    let healthy = Case::new();
    let other = Deployment::start(healthy.dir.path(), &Change::default(), DbFormat::Sql).unwrap();
    let mut command = binary();
    command.args(["check", "--format", "ndjson", "--jobs", "1", "--retries", "1", "--retry-spacing", "3", "-c"]);
    let mut running = Running::start(command.arg(lab.config()).arg("-c").arg(other.config()));
    let mut lines = running.lines();
    let first = lines.next().unwrap();
    assert_eq!(first["report"]["verdict"]["status"], "pass", "the one that does not wait for its second try");
    let idle = workers(running.id());
    assert_eq!(idle.len(), 1, "kept for the next walk");
    signal(idle[0], Signal::KILL);
    let second = lines.next().unwrap();
    assert_eq!(second["report"]["verdict"]["status"], "flaky", "{second:#}");
    assert_eq!(running.code(), Some(0));
}

/// The second check in one process has the same result as in a separate process.
#[test]
fn a_kept_worker_gives_the_same_findings_as_a_fresh_one() {
    let case = Case::new();
    let lab = Deployment::start(case.dir.path(), &Change::default(), DbFormat::Sql).unwrap();
    let good = endpoint(Behaviour::Well);
    let mut fleet = Fleet::new().target("first", good.port(), "");
    let config = lab.config().display();
    for name in ["second", "third"] {
        fleet.text += &format!(
            "[[target]]\nname = '{name}'\nconfig = '{config}'\ndb = '{}'\nnickname = '{NICKNAME}'\npassword-file = 'lab-pw'\n",
            case.path("client").display()
        );
    }
    fleet.case.file("lab-pw", nssight_fixtures::deployment::PASSWORD);
    let (document, code) = fleet.document(&["--jobs", "1"]);
    assert_eq!(code, Some(0), "{:#}", document.0);
    let alone = run(binary().args(["diagnose", "--format", "json", "--timeout", "5", "-c"]).arg(lab.config()).args([
        "--nickname",
        NICKNAME,
        "--db",
        case.path("client").to_str().unwrap(),
        "--password-file",
        fleet.case.path("lab-pw").to_str().unwrap(),
    ]));
    let alone = common::timeless(alone.report());
    for name in ["second", "third"] {
        assert_eq!(common::timeless(document.target(name)["report"].clone()), alone, "{name}");
    }
}

/// NSS takes resources of the process in each round and never releases them: an error in the 150th check must look the same as in the
/// first.
#[test]
fn a_worker_is_replaced_before_its_errors_mislead() {
    let mut fleet = Fleet::new();
    let other = fleet.case.path("other");
    fs::create_dir(&other).unwrap();
    for file in fs::read_dir(fleet.case.path("db")).unwrap().map(Result::unwrap) {
        fs::copy(file.path(), other.join(file.file_name())).unwrap();
    }
    for number in 0..150 {
        let nickname = if number % 149 == 0 { "nobody" } else { NICKNAME };
        // Two databases in turn: a single one would stay open.
        let database = if number % 2 == 0 { "db" } else { "other" };
        fleet.text += &format!(
            "[[target]]\nname = '{number}'\nnickname = '{nickname}'\ndb = 'sql:{database}'\nuntil = 'certificate'\nbridge = 'localhost:1'\n"
        );
    }
    let (document, _) = fleet.document(&["--jobs", "1"]);
    assert_eq!((document.count("pass"), document.count("fail")), (148, 2));
    let [first, last] = ["0", "149"].map(|name| {
        let probes = document.target(name)["report"]["probes"].as_array().unwrap();
        let probe = probes.iter().find(|probe| probe["layer"] == "certificate").unwrap();
        ["status", "cause", "summary", "error"].map(|key| probe[key].clone())
    });
    assert_eq!(first, last);
}

#[test]
fn lines_arrive_while_others_are_still_walked() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let fleet = Fleet::new().target("hangs", hanging.port(), "timeout = 8").target("good", good.port(), "").target(
        "good too",
        good.port(),
        "",
    );
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "2"]));
    let mut lines = running.lines();
    let early: Vec<Value> = lines.by_ref().take(2).collect();
    assert_eq!(early[0]["target"], "good");
    assert_eq!(early[1]["target"], "good too");
    assert!(running.0.try_wait().unwrap().is_none());
    assert_eq!(hanging.connections(), 1);
    let late: Vec<Value> = lines.collect();
    assert_eq!(late[0]["target"], "hangs");
    let summary = &late[1]["summary"];
    assert_eq!((summary["pass"].as_u64(), summary["fail"].as_u64()), (Some(2), Some(1)), "{summary:#}");
    assert_eq!(late.len(), 2);
    hold_to_schema("check", &[early, late].concat());
}

#[test]
fn a_signal_ends_the_checks_and_finished_results_are_reported() {
    for (number, wanted, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let (hanging, other, good) = (silent(), silent(), endpoint(Behaviour::Well));
        let fleet = Fleet::new()
            .target("good", good.port(), "")
            .target("hangs", hanging.port(), "timeout = 60\ndeadline = 60\nretries = 5")
            .target("hangs too", other.port(), "timeout = 60\ndeadline = 60")
            .target("waits", hanging.port(), "");
        let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "3"]));
        let mut lines = running.lines();
        assert_eq!(lines.next().unwrap()["target"], "good");
        wait_for(|| hanging.hellos() == 1 && other.hellos() == 1);
        let all = workers(running.id());
        assert!(all.len() >= 2, "{all:?}");
        let before = Instant::now();
        signal(running.id() as i32, number);
        let rest: Vec<Value> = lines.collect();
        assert_eq!(running.code(), Some(wanted));
        assert!(before.elapsed() < Duration::from_secs(30), "{:?}, and the targets wait 60 s", before.elapsed());
        let [one, other, summary] = rest.as_slice() else { panic!("{rest:#?}") };
        for target in [one, other] {
            let verdict = &target["report"]["verdict"];
            assert_eq!((&verdict["cause"], &verdict["layer"]), (&"interrupted".into(), &"outer-handshake".into()));
        }
        let summary = &summary["summary"];
        assert_eq!(summary["interrupted"], name);
        assert_eq!(["pass", "inconclusive", "not_walked"].map(|what| summary[what].as_u64().unwrap()), [1, 2, 1]);
        assert!(all.iter().all(|pid| !lives(*pid)), "a worker is left");
        hold_to_schema("check", &rest);
    }
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let mut fleet = Fleet::new().target("good", good.port(), "");
    for number in 0..20 {
        fleet = fleet.target(&format!("good {number}"), good.port(), "");
    }
    fleet = fleet.target("hangs", hanging.port(), "timeout = 60");
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "2"]));
    let first = running.lines().next().unwrap();
    assert_eq!(first["target"], "good");
    let before = Instant::now();
    assert_eq!(running.code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(30), "it waits 60 s for the target that hangs");
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn no_worker_has_a_password_in_its_environment() {
    let (one, two) = (silent(), silent());
    let fleet = Fleet::new().target("one", one.port(), "password-env = 'FIRST_PASSWORD'").target(
        "two",
        two.port(),
        "password-env = 'SECOND_PASSWORD'\nadmin-password-env = 'ADMIN_PASSWORD'",
    );
    let mut command = fleet.command();
    for name in ["FIRST_PASSWORD", "SECOND_PASSWORD", "ADMIN_PASSWORD"] {
        command.env(name, PASSWORD);
    }
    let mut running = Running::start(command.args(["--jobs", "2", "--format", "ndjson"]));
    wait_for(|| one.hellos() == 1 && two.hellos() == 1);
    let all = workers(running.id());
    assert_eq!(all.len(), 2);
    for pid in all {
        for name in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{pid} {name}");
        }
    }
    signal(running.id() as i32, Signal::TERM);
    let said: Vec<Value> = running.lines().collect();
    assert!(said.iter().all(|line| !line.to_string().contains(PASSWORD)));
}
