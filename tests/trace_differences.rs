//! Differences between a program and a correct client, and the comparison of a program with the check of a correct client.

mod common;

use std::net::TcpListener;

use common::lab::{client, to_its_end, words};
use common::{Case, NICKNAME, PKI, binary, hold_to_schema};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::fault::{self, Change, Queue};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// The report on a client that makes this mistake with this peer.
fn careless(mistake: &str, peer: Options) -> Value {
    let endpoint = Endpoint::start(peer).unwrap();
    careless_at(mistake, endpoint.port())
}

fn careless_at(mistake: &str, port: u16) -> Value {
    let case = Case::new();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/careless_client.py");
    let mut command = binary();
    command.args(["trace", "--format", "json", "--output"]).arg(case.path("report")).args([
        "--",
        "/usr/bin/python3",
        script,
    ]);
    command.arg(mistake).arg(DbFormat::Sql.directory(&database)).args([NICKNAME, &port.to_string()]);
    let output = to_its_end({
        command.arg(password);
        command
    });
    let report: Value = serde_json::from_str(&std::fs::read_to_string(case.path("report")).unwrap()).unwrap();
    assert_eq!(report["program"]["exit"].as_i64(), output.status.code().map(i64::from), "{output:?}");
    report
}

fn well() -> Options {
    Options::new(&PKI.bridge, &PKI.ca)
}

fn differences(report: &Value) -> Vec<&str> {
    report["differences"].as_array().unwrap().iter().map(|difference| difference["id"].as_str().unwrap()).collect()
}

fn said(report: &Value) -> (&str, Option<&str>, Option<&str>) {
    let verdict = &report["verdict"];
    (verdict["status"].as_str().unwrap(), verdict["layer"].as_str(), verdict["cause"].as_str())
}

#[test]
fn a_correct_client_differs_in_nothing() {
    let report = careless("none", well());
    assert_eq!((said(&report), differences(&report)), (("pass", None, None), vec![]), "{report:#}");
}

#[test]
fn each_mistake_is_named() {
    let expected = [
        ("no-host-name", "hostname-never-set", Some("outer-handshake"), Some("host-name-not-set")),
        ("no-client-auth", "no-client-auth-hook", Some("outer-handshake"), Some("client-cert-not-sent")),
        ("hook-gives-nothing", "client-auth-hook-gave-nothing", Some("outer-handshake"), Some("client-cert-not-sent")),
        ("thread-without-callback", "no-password-callback-in-thread", Some("password"), Some("thread-loses-password")),
    ];
    for (mistake, difference, layer, cause) in expected {
        let report = careless(mistake, well());
        assert_eq!(said(&report), ("fail", layer, cause), "{report:#}");
        assert_eq!(differences(&report), [difference], "{report:#}");
    }
}

/// A program whose own deadline passes soon after its request has not really waited, and its session was not ended by the peer.
#[test]
fn an_early_deadline_is_not_an_end_by_the_peer() {
    let case = Case::new();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "server-hangs-after-inner").unwrap();
    let lab = Deployment::start(&case.path(""), &fault.change, DbFormat::Sql).unwrap();
    let report = case.path("report.json");
    let before =
        [env!("CARGO_BIN_EXE_nssight"), "trace", "--format", "json", "--output", report.to_str().unwrap(), "--"];
    let client = client(&lab, &["--timeout", "1"], "list-users");
    to_its_end(words(&[], &before.into_iter().map(str::to_owned).chain(client).collect::<Vec<_>>()));
    let report: Value = serde_json::from_str(&std::fs::read_to_string(&report).unwrap()).unwrap();
    assert_ne!(said(&report).2, Some("no-reply"), "{report:#}");
    assert!(!report["verdict"]["summary"].as_str().unwrap().contains("session ended"), "{report:#}");
}

/// This works as long as nothing depends on unique random numbers.
#[test]
fn nss_initialised_before_a_fork_causes_a_warning() {
    let report = careless("fork-after-init", well());
    assert_eq!(said(&report).0, "pass", "{report:#}");
    assert_eq!(differences(&report), ["nss-used-after-fork"]);
    let layers = report["layers"].as_array().unwrap();
    let model = layers.iter().find(|layer| layer["layer"] == "process-model").unwrap();
    assert_eq!((&model["status"], &model["cause"]), (&"warn".into(), &"fork-duplicates-randomness".into()));
}

#[test]
fn a_handshake_with_a_peer_that_left_is_distinguished_from_one_cut_short() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let leaves = std::thread::spawn(move || drop(listener.accept()));
    let gone = careless_at("peer-was-gone", port);
    leaves.join().unwrap();
    assert_eq!(said(&gone).1, Some("outer-handshake"), "{gone:#}");
    assert_eq!(differences(&gone), ["peer-was-gone"], "{gone:#}");
    let cut = careless("none", well().behaving(Behaviour::Answer(Vec::new(), Leave::Close)));
    assert_eq!(said(&cut), ("fail", Some("outer-handshake"), Some("peer-closed-in-handshake")), "{cut:#}");
    assert_eq!(differences(&cut), Vec::<&str>::new(), "{cut:#}");
}

/// The program's own actions are no other component's fault, and calls that prove nothing are reported as such.
#[test]
fn no_component_is_blamed_for_the_programs_own_actions() {
    let silent = || well().behaving(Behaviour::Answer(Vec::new(), Leave::Stall));
    let expected = [
        ("closes-early", silent(), "the program itself closed the session"),
        ("gives-up-soon", silent(), "too soon to show that no answer comes"),
        ("hook-crashes", well(), "ended inside its own callback"),
        ("own-check-refuses", well(), "the program's own callback rejected the peer's certificate"),
        ("fails-afterwards", well(), "no observed call explains it"),
        ("optional-nickname", well(), "no observed call explains it"),
        ("optional-connection", well(), "no observed call explains it"),
        ("ignores-failure", well().behaving(Behaviour::Answer(Vec::new(), Leave::Close)), "ended successfully"),
    ];
    for (mistake, peer, summary) in expected {
        let report = careless(mistake, peer);
        assert_eq!(said(&report), ("inconclusive", None, None), "{mistake}: {report:#}");
        assert!(report["verdict"]["summary"].as_str().unwrap().contains(summary), "{mistake}: {report:#}");
    }
}

/// It polls for the end of its connect, and reads the result afterwards.
#[test]
fn a_client_that_does_not_wait_in_its_connect_is_refused_as_well() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let mut traced = binary();
    traced.args(["trace", "--format", "json", "--output"]).arg(case.path("report"));
    traced.args(["--", "tstclnt", "-4", "-h", "127.0.0.1", "-p", &port, "-w", "none", "-d"]);
    let output = to_its_end({
        traced.arg(DbFormat::Sql.directory(&database));
        traced
    });
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(case.path("report")).unwrap()).unwrap();
    assert_eq!(said(&report), ("fail", Some("tcp"), Some("tcp-refused")), "{report:#}");
    let failed = &report["first_failure"];
    assert_eq!((&failed["function"], &failed["layer"]), (&"PR_GetConnectStatus".into(), &"tcp".into()), "{report:#}");
}

/// A successful client in a script that fails.
#[test]
fn a_script_that_fails_after_its_client_blames_no_component() {
    let (directory, healthy) = lab(Change::default());
    let script = directory.path().join("then.sh");
    std::fs::write(&script, "\"$@\"\nexit 9\n").unwrap();
    for shell in ["sh", "bash"] {
        let mut program = vec![shell.to_owned(), script.to_str().unwrap().to_owned()];
        program.extend(client(&healthy, &["--timeout", "4"], "list-users"));
        let mut traced = binary();
        let report = directory.path().join("report");
        traced.args(["trace", "--format", "json", "--output"]).arg(&report).arg("--").args(program);
        assert_eq!(to_its_end(traced).status.code(), Some(9));
        let report: Value = serde_json::from_str(&std::fs::read_to_string(report).unwrap()).unwrap();
        assert_eq!(said(&report), ("inconclusive", None, None), "{shell}: {report:#}");
        assert_eq!(report["verdict"]["summary"], "every TLS session succeeded; the program failed for another reason");
    }
}

/// Both ends of one session in one process tree are a client and its server, not an inner session.
#[test]
fn a_client_and_its_server_in_one_script_are_no_double_session() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let script = r#"cd "$1" || exit 9
        selfserv -d "$2" -n "$4" -f "$3" -p "$5" -i pid -V tls1.2:tls1.2 >/dev/null 2>&1 & server=$!
        try=0; until [ -s pid ] || [ $try -gt 50 ]; do sleep 0.1; try=$((try+1)); done
        timeout 3 tstclnt -4 -Q -h localhost -p "$5" -d "$2" -w none </dev/null; status=$?
        kill $server; exit $status"#;
    let mut traced = binary();
    traced
        .args(["trace", "--format", "json", "--output"])
        .arg(case.path("report"))
        .args(["--", "bash", "-c", script, "bash"]);
    traced.arg(case.dir.path()).arg(DbFormat::Sql.directory(&database)).arg(case.password_file());
    to_its_end({
        traced.args([NICKNAME, &port]);
        traced
    });
    let report: Value = serde_json::from_str(&std::fs::read_to_string(case.path("report")).unwrap()).unwrap();
    // The server presents a client's certificate, which does not have the server's name.
    assert_eq!(said(&report).1, Some("outer-handshake"), "{report:#}");
}

fn against(lab: &Deployment, program: &[String]) -> (Option<i32>, Value, String) {
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "3", "-c"]).arg(lab.config());
    command.arg("--admin-password-file").arg(lab.admin_password_file()).arg("--trace-against").args(program);
    let output = to_its_end(command);
    let document = serde_json::from_slice(&output.stdout);
    let document = document.unwrap_or_else(|error| panic!("{error}: {output:?}"));
    (output.status.code(), document, String::from_utf8_lossy(&output.stderr).into_owned())
}

fn lab(change: Change) -> (tempfile::TempDir, Deployment) {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).unwrap();
    (directory, lab)
}

#[test]
fn a_program_is_compared_with_a_correct_client() {
    let mut documents = Vec::new();
    let double = |lab: &Deployment| client(lab, &["--timeout", "4"], "list-users");

    let (_directory, healthy) = lab(Change::default());
    let (code, document, aside) = against(&healthy, &double(&healthy));
    assert_eq!((code, &document["parting"], &document["conclusion"]), (Some(0), &Value::Null, &"Both succeed.".into()));
    assert_eq!(aside, "admin\nsigner\n");
    assert_eq!((healthy.connections(), &document["reference"]["connections_opened"]), (2, &1.into()));
    documents.push(document);

    // The program came first and met the dead link; the check after it finds nothing, which is explained as such.
    let (_directory, stale) = lab(Change { queue: Queue::Stale, ..Change::default() });
    let (code, document, _) = against(&stale, &double(&stale));
    assert_eq!((code, &document["parting"]), (Some(1), &"bridge".into()), "{document:#}");
    assert_eq!(document["verdict"]["cause"], "server-link-dead");
    assert!(document["conclusion"].as_str().unwrap().contains("run both again"), "{document:#}");
    documents.push(document);

    let (_directory, other) = lab(Change { server_host: Some("other.example".to_owned()), ..Change::default() });
    let (code, document, _) = against(&other, &double(&other));
    assert_eq!((code, &document["parting"]), (Some(1), &Value::Null), "{document:#}");
    assert_eq!(
        document["conclusion"],
        "Both fail at inner-handshake, for the same cause: the program is not at fault."
    );
    documents.push(document);

    // Nothing is wrong except the program.
    let (_directory, healthy) = lab(Change::default());
    let (code, document, _) = against(&healthy, &["sh", "-c", "exit 5"].map(str::to_owned));
    assert_eq!((code, &document["parting"]), (Some(3), &Value::Null), "{document:#}");
    assert!(document["conclusion"].as_str().unwrap().starts_with("A correct client succeeds."), "{document:#}");
    documents.push(document);
    hold_to_schema("trace-against", &documents);

    let mut asked = binary();
    asked.args(["diagnose", "--dry-run", "--trace-against", "true"]);
    let said = to_its_end(asked);
    assert!(String::from_utf8_lossy(&said.stdout).contains("would first run the program"), "{said:?}");
    let mut other_format = words(&[env!("CARGO_BIN_EXE_nssight")], &[]);
    other_format.args(["diagnose", "--format", "junit", "--trace-against", "true"]);
    assert_eq!(to_its_end(other_format).status.code(), Some(2));
}
