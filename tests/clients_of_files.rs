//! `nssight clients` with certificates in files: two libraries in nssight, curl, and Python's ssl.

mod common;

use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Target};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn compared(change: &str) -> Value {
    let change = Change { target: Target::Files, ..toml::from_str(change).expect("a change") };
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).expect("a lab");
    let mut words = lab.words().to_vec();
    // Here the peer is given as an option.
    let place = words.iter().position(|word| word.to_string_lossy().starts_with("localhost:")).expect("a peer");
    words.insert(place, "--bridge".into());
    run(binary().arg("clients").args(words).args(["--format", "json", "--pause", "0.05"])).report()
}

fn outcomes(document: &Value) -> Vec<(&str, &str)> {
    let clients = document["clients"].as_array().expect("clients");
    clients.iter().map(|it| (it["client"].as_str().unwrap_or("-"), it["outcome"].as_str().unwrap_or("-"))).collect()
}

const ALL: [&str; 4] = ["nssight", "nssight over NSS", "python-ssl", "curl"];

#[test]
fn all_get_through_to_a_healthy_peer() {
    for change in ["", "bridge-tls = 'tls1.3'"] {
        let document = compared(change);
        assert_eq!(outcomes(&document), ALL.map(|client| (client, "pass")), "{change}: {document:#}");
        assert_eq!(document["conclusion"]["kind"], "all-pass");
    }
}

#[test]
fn a_certificate_fault_fails_for_all_clients() {
    for change in [
        "client = 'other-ca'",
        "client = 'other-ca'\nbridge-tls = 'tls1.3'",
        "bridge = 'other-ca'",
        "bridge = 'other-name'",
    ] {
        let document = compared(change);
        assert_eq!(outcomes(&document), ALL.map(|client| (client, "failed-in-handshake")), "{change}: {document:#}");
        assert_eq!(document["conclusion"]["kind"], "all-fail");
    }
}

#[test]
fn a_key_that_nobody_can_open_fails_before_a_connection() {
    let document = compared("files = 'key-of-another'");
    assert_eq!(document["connections"], 0, "{document:#}");
    assert_eq!(document["conclusion"]["kind"], "all-fail-locally", "{document:#}");
}
