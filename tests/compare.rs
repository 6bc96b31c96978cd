//! `nssight compare`: differences that may explain why one host works and another does not come first.

mod common;

use std::path::PathBuf;

use common::{Case, PKI, Run, binary, diagnose, hold_to_schema, run};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// A report in a file.
fn kept(case: &Case, name: &str, walked: &Run) -> PathBuf {
    case.file(name, &walked.stdout)
}

fn compare(a: &PathBuf, b: &PathBuf) -> Run {
    run(binary().args(["compare", "--format", "json"]).arg(a).arg(b))
}

/// Layer and name of every difference of this rank.
fn ranked(report: &Value, rank: &str) -> Vec<(String, String)> {
    let differences = report["differences"].as_array().unwrap().iter().filter(|it| it["rank"] == rank);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    differences.map(|it| (text(&it["layer"]), text(&it["what"]))).collect()
}

fn has(found: &[(String, String)], layer: &str, what: &str) -> bool {
    found.iter().any(|(one, other)| one == layer && other == what)
}

#[test]
fn two_walks_of_one_host_do_not_differ() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let walk = || run(&mut diagnose(&database, &password, endpoint.port()));
    let (a, b) = (kept(&case, "a.json", &walk()), kept(&case, "b.json", &walk()));
    let same = compare(&a, &b);
    assert_eq!(same.code, Some(0), "{same:#?}");
    assert_eq!(same.report()["differences"], serde_json::json!([]));
}

#[test]
fn other_trust_explains_a_certificate_that_fails() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let password = case.password_file();
    let works = run(&mut diagnose(&case.database(DbFormat::Sql), &password, endpoint.port()));
    let other = Case::new();
    let broken = other.database_of(DbFormat::Sql, &PKI.client, &[("lab-ca", &PKI.ca, ",,")]);
    let fails = run(&mut diagnose(&broken, &password, endpoint.port()));
    let compared = compare(&kept(&case, "a.json", &works), &kept(&case, "b.json", &fails));
    assert_eq!(compared.code, Some(1));
    let report = compared.report();
    assert_eq!(report["failing"], "certificate");
    let explains = ranked(&report, "explains");
    assert!(has(&explains, "certificate", "chain"), "{report:#}");
    // The failure itself is what must be explained.
    assert!(has(&ranked(&report, "symptom"), "certificate", "result"), "{report:#}");
    // A layer that was not checked on that host cannot explain the failure.
    assert!(explains.iter().all(|(layer, _)| layer == "certificate"), "{explains:?}");
}

#[test]
fn another_range_of_versions_explains_a_handshake_that_fails() {
    let case = Case::new();
    let mut options = Options::new(&PKI.bridge, &PKI.ca);
    options.versions = (openssl::ssl::SslVersion::TLS1_2, openssl::ssl::SslVersion::TLS1_2);
    let endpoint = Endpoint::start(options).unwrap();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let works = run(&mut diagnose(&database, &password, endpoint.port()));
    let fails =
        run(diagnose(&database, &password, endpoint.port()).args(["--tls-min", "tls1.3", "--tls-max", "tls1.3"]));
    let compared = compare(&kept(&case, "a.json", &works), &kept(&case, "b.json", &fails));
    let report = compared.report();
    let explains = ranked(&report, "explains");
    assert!(has(&explains, "", "TLS versions"), "{report:#}");
    let symptoms = ranked(&report, "symptom");
    assert!(
        has(&symptoms, "outer-handshake", "result") && has(&symptoms, "outer-handshake", "alert received"),
        "{report:#}"
    );
    let shown = run(binary().args(["compare"]).arg(case.path("a.json")).arg(case.path("b.json")));
    let (first, _) = shown.stdout.split_once("Possible explanations").unwrap();
    assert!(!first.contains("Related settings that differ"), "{}", shown.stdout);
}

#[test]
fn another_database_format_is_related_to_a_failing_password() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let works = run(&mut diagnose(&case.database(DbFormat::Sql), &case.password_file(), endpoint.port()));
    let other = Case::new();
    let wrong = other.file("wrong", "something else\n");
    let fails = run(&mut diagnose(&other.database(DbFormat::Dbm), &wrong, endpoint.port()));
    let report = compare(&kept(&case, "a.json", &works), &kept(&case, "b.json", &fails)).report();
    assert_eq!(report["failing"], "password");
    assert!(has(&ranked(&report, "symptom"), "password", "result"), "{report:#}");
    assert!(has(&ranked(&report, "related"), "nss-db", "format used by NSS"), "{report:#}");
}

/// Only the target's own statement of a setting is not repeated: two facts that change in the same way are two
/// differences.
#[test]
fn facts_that_change_alike_are_all_told() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let walked = run(&mut diagnose(&case.database(DbFormat::Sql), &case.password_file(), endpoint.port()));
    let with = |text: &str| {
        let mut report = walked.report();
        let facts = report["probes"][0]["facts"].as_array_mut().unwrap();
        facts.extend(["later.one", "later.two"].map(|id| serde_json::json!({ "id": id, "text": text })));
        report.to_string()
    };
    let (a, b) = (case.file("a.json", with("yes")), case.file("b.json", with("no")));
    let found = ranked(&compare(&a, &b).report(), "other");
    assert!(has(&found, "config", "later.one") && has(&found, "config", "later.two"), "{found:?}");
}

#[test]
fn a_file_that_is_not_a_report_is_rejected() {
    let case = Case::new();
    let not_json = case.file("x.json", "{");
    let other = case.file("y.json", "{\"schema\": \"something/1\"}");
    for file in [&not_json, &other, &case.path("missing.json")] {
        let run = compare(file, file);
        assert_eq!(run.code, Some(3), "{run:#?}");
        assert!(run.stderr.contains("cannot read the report"), "{run:#?}");
    }
}

#[test]
fn the_document_keeps_to_its_schema() {
    let case = Case::new();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let a = run(diagnose(&database, &password, 1).args(["--until", "private-key"]));
    let b = run(diagnose(&database, &case.file("wrong", "x"), 1).args(["--until", "private-key"]));
    let report = compare(&kept(&case, "a.json", &a), &kept(&case, "b.json", &b)).report();
    hold_to_schema("compare", &[report]);
}

/// A report in the format of nssight before facts had ids.
fn of_the_schema_before(report: &Value) -> Value {
    let mut before = report.clone();
    before["schema"] = "nssight/report/1".into();
    for probe in before["probes"].as_array_mut().unwrap() {
        let probe = probe.as_object_mut().unwrap();
        let facts = probe.remove("facts").unwrap();
        let pair =
            |fact: &Value| serde_json::json!({ "key": label(fact["id"].as_str().unwrap()), "value": fact["text"] });
        let evidence: Vec<Value> = facts.as_array().unwrap().iter().map(pair).collect();
        probe.insert("evidence".to_owned(), evidence.into());
        if probe["cause"] == "peer-silent" {
            probe.insert("cause".to_owned(), "bridge-stalled".into());
        }
    }
    before
}

fn label(id: &str) -> &'static str {
    nssight_diagnosis::fact::FactId::of(id).unwrap().row().label
}

#[test]
fn a_report_of_the_schema_before_is_read_as_well() {
    let case = Case::new();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let silent = Options::new(&PKI.bridge, &PKI.ca).behaving(Behaviour::Answer(Vec::new(), Leave::Stall));
    let endpoint = Endpoint::start(silent).unwrap();
    let walked = run(diagnose(&database, &password, endpoint.port()).args(["--timeout", "1"]));
    let report = walked.report();
    assert_eq!(report["verdict"]["cause"], "peer-silent", "{report:#}");
    let now = kept(&case, "now.json", &walked);
    let before = case.file("before.json", of_the_schema_before(&report).to_string());
    for (a, b) in [(&now, &before), (&before, &now), (&before, &before)] {
        assert_eq!(compare(a, b).report()["differences"], serde_json::json!([]));
    }
    let later = case.file("later.json", walked.stdout.replace("nssight/report/2", "nssight/report/99"));
    let refused = compare(&now, &later);
    assert!(refused.code == Some(3) && refused.stderr.contains("nssight/report/99"), "{refused:#?}");
}
