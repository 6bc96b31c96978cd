//! An independent implementation of Sigul's client, siguldry's with OpenSSL, agrees with the lab. Also tests the meaning of its log under
//! the lab's faults, together with the logs of bridge and server.

mod common;

use std::fs;
use std::path::{Path, PathBuf};

use common::lab::{client, over_all, to_its_end, words};
use common::{binary, run, sigul_v1};
use nssight_fixtures::deployment::{BRIDGE_LOG, Deployment, SERVER_LOG};
use nssight_fixtures::fault::{self, Change, Door, Fault, Named};
use nssight_fixtures::nssdb::DbFormat;

fn healthy(directory: &Path) -> Deployment {
    Deployment::start(directory, &Change::default(), DbFormat::Sql).unwrap()
}

#[test]
fn both_clients_complete_their_requests_in_turn() {
    let directory = tempfile::tempdir().unwrap();
    let lab = healthy(directory.path());
    for turn in 1..=5 {
        let output = to_its_end(words(&[], &sigul_v1::words(&lab)));
        assert!(output.status.success(), "{turn}: {output:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout), "admin\nsigner\n", "{turn}: {output:?}");
        let other = to_its_end(words(&[], &client(&lab, &[], "list-users")));
        assert!(other.status.success(), "{turn}: {other:?}");
    }
    assert_eq!(lab.connections(), 10);
}

/// Faults that this client also meets, with its verdicts where they differ from those of an NSS client.
const MET: [(&str, Option<[&str; 4]>); 18] = [
    ("name-unresolved", None),
    // Its log is recognised as a client's, unlike the message of the NSS client.
    ("port-closed", Some(["tcp", "tcp-refused", "bridge", "likely"])),
    ("outer-ssh", Some(["outer-handshake", "not-tls", "bridge", "possible"])),
    ("bridge-other-ca", None),
    ("bridge-expired", None),
    ("bridge-usage", None),
    ("client-other-ca", None),
    ("client-expired-at-bridge", None),
    ("client-revoked-at-bridge", None),
    ("stale-server-link", None),
    ("bridge-rejects", None),
    ("server-killed-before-inner", None),
    ("server-killed-in-inner", None),
    ("server-refuses-client", None),
    // The client gets the error in an authenticated reply, and the bridge logs it.
    ("admin-password-wrong", Some(["request", "request-auth-failed", "client-config", "certain"])),
    ("server-rejects", None),
    ("reply-header-tampered", None),
    ("reply-payload-tampered", None),
];

/// The mistake in the verdict, if it is not the required one.
fn objection(fault: &Fault, other: Option<[&str; 4]>) -> Option<String> {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let output = to_its_end(words(&[], &sigul_v1::words(&lab)));
    drop(lab);
    let own = directory.path().join("sigul-v1-client.log");
    fs::write(&own, &output.stderr).unwrap();
    let logs = [own, directory.path().join(BRIDGE_LOG), directory.path().join(SERVER_LOG)];
    let logs: Vec<PathBuf> = logs.into_iter().filter(|path| path.exists()).collect();
    let document = run(binary().args(["triage", "--format", "json"]).args(logs)).report();
    let mut wanted: Named = fault.must(Door::Triage).unwrap();
    if let Some([layer, cause, component, confidence]) = other {
        wanted = Named {
            status: "fail".to_owned(),
            layer: Some(layer.to_owned()),
            cause: Some(cause.to_owned()),
            component: Some(component.to_owned()),
            confidence: confidence.to_owned(),
        };
    }
    // Its certificate is in a file.
    wanted.component = wanted.component.map(|it| it.replace("client-db", "client-files"));
    let given: Named = serde_json::from_value(document["verdict"].clone()).unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let wrong = given != wanted || output.status.success();
    wrong.then(|| format!("{}: {given} instead of {wanted}\n{said}\n{:#}", fault.id, document["incidents"]))
}

#[test]
fn its_log_and_those_of_bridge_and_server_show_the_cause() {
    let all = fault::all().unwrap();
    let met = |(id, other)| (all.iter().find(|fault| fault.id == id).unwrap().clone(), other);
    let met: Vec<(Fault, Option<[&str; 4]>)> = MET.into_iter().map(met).collect();
    let faults: Vec<Fault> = met.iter().map(|(fault, _)| fault.clone()).collect();
    let other = |fault: &Fault| met.iter().find(|(it, _)| it.id == fault.id).and_then(|(_, other)| *other);
    let told = over_all(&faults, 4, |fault| objection(fault, other(fault)));
    let objections: Vec<String> = told.into_iter().filter_map(|(_, objection)| objection).collect();
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

/// It uses a library that a trace does not watch. The trace reports this and draws no conclusion.
#[test]
fn a_trace_reports_that_it_cannot_watch_this_client() {
    let directory = tempfile::tempdir().unwrap();
    let lab = healthy(directory.path());
    let report = directory.path().join("trace.json");
    let mut command = binary();
    command.args(["trace", "--format", "json", "-o"]).arg(&report).arg("--").args(sigul_v1::words(&lab));
    let traced = run(&mut command);
    assert_eq!((traced.code, traced.stdout.as_str()), (Some(0), "admin\nsigner\n"), "{traced:#?}");
    let report: serde_json::Value = serde_json::from_slice(&fs::read(report).unwrap()).unwrap();
    assert_eq!(report["verdict"]["status"], "inconclusive", "{report:#}");
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.starts_with("no NSS call was traced") && summary.contains("OpenSSL"), "{summary}");
}
