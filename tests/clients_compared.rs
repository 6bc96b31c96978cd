//! `nssight clients`: the same handshake by nssight, OpenSSL, tstclnt and python-nss, and what the pattern proves.

mod common;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use common::servers::{Judge, judging, nss_takes_early_words, s_server, selfserv};
use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, hold_to_schema, run_beside, sigul_v1};
use nssight_fixtures::authority::{KeyKind, Spec, Usage};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn clients(database: &Path, password: &Path, port: u16, more: &[&str]) -> Run {
    let mut command = binary();
    command.args(["clients", "--format", "json", "--pause", "0.1", "--timeout", "3", "--nickname", NICKNAME, "--db"]);
    command.arg(database).arg("--password-file").arg(password).args(["--bridge", &format!("localhost:{port}")]);
    let run = run_beside(command.args(more), database);
    assert!(!run.stdout.contains(PASSWORD) && !run.stderr.contains(PASSWORD), "the password is in the output");
    run
}

/// Each client with its result.
fn outcomes(report: &Value) -> Vec<(&str, &str)> {
    let clients = report["clients"].as_array().unwrap();
    clients.iter().map(|it| (it["client"].as_str().unwrap(), it["outcome"].as_str().unwrap())).collect()
}

fn kind(report: &Value) -> &str {
    report["conclusion"]["kind"].as_str().unwrap()
}

const ALL_PASS: [(&str, &str); 4] =
    [("nssight", "pass"), ("openssl", "pass"), ("tstclnt", "pass"), ("python-nss", "pass")];

#[test]
fn all_clients_connect_to_healthy_servers_of_every_kind() {
    for version in ["tls1.2", "tls1.3"] {
        let case = Case::new();
        let (database, password) = (case.database(DbFormat::Sql), case.password_file());
        let flags = ["--tls-min", version, "--tls-max", version];
        let nss = selfserv(&case, version);
        let openssl = s_server(&case, if version == "tls1.2" { "-tls1_2" } else { "-tls1_3" });
        for port in [nss.port, openssl.port] {
            let run = clients(&database, &password, port, &flags);
            let report = run.report();
            assert_eq!(outcomes(&report), ALL_PASS, "{version}: {report:#}");
            assert_eq!((run.code, kind(&report)), (Some(0), "all-pass"));
            assert_eq!(report["connections"], 4);
            assert!(run.stderr.contains("up to 4 connections"), "{run:#?}");
            let agreed = if version == "tls1.2" { "1.2" } else { "1.3" };
            for client in report["clients"].as_array().unwrap() {
                assert!(client["agreed"].as_str().unwrap().contains(agreed), "{client}");
                assert_eq!((&client["connected"], &client["handshake"]), (&Value::Bool(true), &Value::Bool(true)));
            }
        }
    }
}

#[test]
fn all_clients_pass_the_bridge_of_a_deployment_and_leave_it_intact() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let mut command = binary();
    command.args(["clients", "--format", "json", "--pause", "0.3", "-c"]).arg(lab.config());
    command.arg("--sigul-v1-client").arg(sigul_v1::program());
    let run = common::run(command.arg("--admin-password-file").arg(lab.admin_password_file()));
    let report = run.report();
    let whole_way = [("double-TLS (python-nss)", "pass"), ("Sigul v1 (siguldry)", "pass")];
    assert_eq!(outcomes(&report), [&ALL_PASS[..], &whole_way].concat(), "{report:#}");
    assert_eq!((kind(&report), lab.connections()), ("all-pass", 6));
    assert!(report["clients"][5]["library"].as_str().unwrap().starts_with("OpenSSL 3"), "{report:#}");
    let next = common::run(
        binary().args(["diagnose", "-c"]).arg(lab.config()).arg("--admin-password-file").arg(lab.admin_password_file()),
    );
    assert_eq!(next.code, Some(0), "{next:#?}");
}

/// A program in place of a client. It leaves another process behind, which writes its process number to a file.
fn leaves_one_behind(case: &Case, ends: &str) -> (PathBuf, PathBuf) {
    let (program, number) = (case.path("client.sh"), case.path("number"));
    let script = format!("#!/bin/sh\nsleep 60 {ends} &\necho $! > {}\nexit 1\n", number.display());
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    (program, number)
}

fn lives(number: &Path) -> bool {
    let number = std::fs::read_to_string(number).unwrap();
    let state = std::fs::read_to_string(format!("/proc/{}/stat", number.trim()));
    // A process that has ended and was not waited for is a zombie (proc(5)).
    state.is_ok_and(|state| !state.contains(") Z "))
}

#[test]
fn processes_left_by_a_client_are_ended_without_waiting() {
    for ends in ["", ">/dev/null 2>&1 </dev/null"] {
        let case = Case::new();
        let server = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
        let (database, password) = (case.database(DbFormat::Sql), case.password_file());
        let (program, number) = leaves_one_behind(&case, ends);
        let run = clients(&database, &password, server.port(), &["--python", program.to_str().unwrap()]);
        assert_eq!(outcomes(&run.report())[3], ("python-nss", "absent"), "{run:#?}");
        assert!(run.took < Duration::from_secs(30), "{run:#?}");
        // Killed with the group; the kernel may need a moment.
        until(|| !lives(&number));
    }
}

#[test]
fn client_processes_end_with_nssight() {
    let case = Case::new();
    let server = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let (program, number) = (case.path("client.sh"), case.path("number"));
    std::fs::write(&program, format!("#!/bin/sh\nsleep 60 &\necho $! > {}\nwait\n", number.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = binary();
    command.args(["clients", "--pause", "0.1", "--timeout", "30", "--nickname", NICKNAME, "--db"]).arg(&database);
    command.arg("--password-file").arg(&password).args(["--bridge", &format!("localhost:{}", server.port())]);
    command.arg("--python").arg(&program).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut nssight = command.spawn().unwrap();
    let began = || std::fs::read_to_string(&number).is_ok_and(|number| number.ends_with('\n'));
    until(began);
    nssight.kill().unwrap();
    nssight.wait().unwrap();
    until(|| !lives(&number));
}

/// Waits for a condition that becomes true soon or never.
fn until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(20);
    while !condition() {
        assert!(Instant::now() < deadline, "it does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_fault_behind_the_bridge_fails_only_for_clients_that_go_beyond_it() {
    let directory = tempfile::tempdir().unwrap();
    let other_server = Change { server: nssight_fixtures::fault::Certificate::OtherCa, ..Change::default() };
    let lab = Deployment::start(directory.path(), &other_server, DbFormat::Sql).unwrap();
    let own = sigul_v1::program();
    for (program, outcome) in [(own.as_path(), "failed-in-handshake"), (Path::new("/nowhere/client"), "absent")] {
        let mut command = binary();
        command.args(["clients", "--format", "json", "--pause", "0.3", "-c"]).arg(lab.config());
        command.arg("--sigul-v1-client").arg(program);
        let report = common::run(command.arg("--admin-password-file").arg(lab.admin_password_file())).report();
        let whole_way = [("double-TLS (python-nss)", "failed-in-handshake"), ("Sigul v1 (siguldry)", outcome)];
        assert_eq!(outcomes(&report), [&ALL_PASS[..], &whole_way].concat(), "{report:#}");
        // The others end at the bridge: that only these clients fail says nothing about their application.
        assert_eq!(kind(&report), "only-the-whole-way-fails", "{report:#}");
    }
}

#[test]
fn a_certificate_that_the_peer_rejects_fails_for_all_of_them() {
    for version in ["tls1.2", "tls1.3"] {
        let case = Case::new();
        let database = case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.ca, "CT,C,C")]);
        let server = s_server(&case, if version == "tls1.2" { "-tls1_2" } else { "-tls1_3" });
        let flags = ["--tls-min", version, "--tls-max", version];
        let run = clients(&database, &case.password_file(), server.port, &flags);
        let report = run.report();
        assert!(outcomes(&report).iter().all(|(_, outcome)| *outcome == "failed-in-handshake"), "{report:#}");
        assert_eq!((run.code, kind(&report)), (Some(1), "all-fail"), "{report:#}");
    }
}

/// A TLS 1.3 server that takes this long to verify each client's certificate and then refuses it.
fn refuses_after(after: Duration) -> u16 {
    let speaks_first = nss_takes_early_words();
    judging(Judge { after, refuses: true, speaks_first, tickets: 2, leaves: false }, usize::MAX).0
}

#[test]
fn a_late_refusal_is_late_for_all_clients() {
    let case = Case::new();
    let port = refuses_after(Duration::from_secs(1));
    let flags = ["--tls-max", "tls1.3"];
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let run = clients(&database, &password, port, &flags);
    let report = run.report();
    assert!(outcomes(&report).iter().all(|(_, outcome)| *outcome == "failed-in-handshake"), "{report:#}");
    assert_eq!((run.code, kind(&report)), (Some(1), "all-fail"), "{report:#}");
    // A refusal that comes even later is not denied.
    let port = refuses_after(Duration::from_secs(5));
    let report = clients(&database, &password, port, &flags).report();
    assert_eq!(kind(&report), "all-pass", "{report:#}");
    let text = report["conclusion"]["text"].as_str().unwrap();
    assert!(text.contains("no client saw the peer's reaction to the certificate"), "{text}");
    assert!(!text.contains("certificate, key, password"), "{text}");
}

#[test]
fn a_wrong_password_fails_for_all_of_them_at_the_database() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let wrong = case.file("wrong", "something else\n");
    let report = clients(&case.database(DbFormat::Sql), &wrong, endpoint.port(), &[]).report();
    assert!(outcomes(&report).iter().all(|(_, outcome)| *outcome == "failed-locally"), "{report:#}");
    assert_eq!(kind(&report), "all-fail-locally");
}

#[test]
fn a_policy_that_only_nss_applies_fails_for_clients_of_nss_only() {
    let case = Case::new();
    // Client and CA have EC keys; the bridge has an RSA key with fewer bits than the policy requires.
    let bridge = Spec::new("bridge", Usage::Server).names(&["localhost"]).key(KeyKind::Rsa(2048));
    let bridge = PKI.other_ca.issue(&bridge).unwrap();
    let endpoint = Endpoint::start(Options::new(&bridge, &PKI.other_ca)).unwrap();
    let database = case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.other_ca, "CT,C,C")]);
    let modules = database.join("pkcs11.txt");
    let mut text = std::fs::read_to_string(&modules).unwrap();
    text.push_str("\nlibrary=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"allow=RSA-MIN=3072\"\n\n");
    std::fs::write(&modules, text).unwrap();
    let report = clients(&database, &case.password_file(), endpoint.port(), &[]).report();
    let expected =
        ALL_PASS.map(|(client, _)| (client, if client == "openssl" { "pass" } else { "failed-in-handshake" }));
    assert_eq!(outcomes(&report), expected, "{report:#}");
    assert_eq!(kind(&report), "only-nss-fails");
}

#[test]
fn a_file_name_given_to_tstclnt_as_the_password_is_named() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let password = case.password_file();
    let more = ["--tstclnt-w", password.to_str().unwrap()];
    let report = clients(&case.database(DbFormat::Sql), &password, endpoint.port(), &more).report();
    let expected = [&ALL_PASS[..], &[("tstclnt -w FILE", "failed-locally")]].concat();
    assert_eq!(outcomes(&report), expected, "{report:#}");
    assert_eq!(kind(&report), "only-one-fails");
    assert!(report["conclusion"]["text"].as_str().unwrap().contains("-W takes a file"), "{report:#}");
}

#[test]
fn the_document_keeps_to_its_schema_and_a_missing_client_is_said_to_be_missing() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let more = ["--python", "/nowhere/python3"];
    let report = clients(&case.database(DbFormat::Dbm), &case.password_file(), endpoint.port(), &more).report();
    assert_eq!(outcomes(&report)[3], ("python-nss", "absent"), "{report:#}");
    assert_eq!(kind(&report), "all-pass", "{report:#}");
    hold_to_schema("clients", &[report]);
}
