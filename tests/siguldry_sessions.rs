//! Simultaneous attempts of two real Siguldry clients, each with its own fault: logs of clients, bridge and server are joined by session
//! ids, so that neither attempt gets a line of the other.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use common::siguldry::{Identities, Stack, Without, until};
use common::{binary, run};
use nssight_fixtures::authority::{Spec, Usage};
use serde_json::Value;

/// A log, with the name of its program.
const LOGS: [(&str, &str); 4] = [
    ("client", "siguldry-client"),
    ("mallory", "siguldry-client"),
    ("bridge", "siguldry-bridge"),
    ("server", "siguldry-server"),
];

/// The start times of the sessions of these lines, from their ids: of a long line a report shows only the beginning.
fn ids(lines: &[&str]) -> BTreeSet<String> {
    let id = |line: &&str| Some(line.split_once("session_id=")?.1.chars().take(13).collect());
    lines.iter().filter_map(id).collect()
}

fn write(directory: &Path, name: &str, text: impl AsRef<[u8]>) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, text).unwrap();
    path
}

fn triage(files: &[PathBuf]) -> Value {
    run(binary().args(["triage", "--format", "json"]).args(files)).report()
}

/// Requires each of the two faults as often as it occurred, with lines of one session and of all programs.
fn are_told_apart(document: &Value, log_of_server: &str) {
    let incidents = document["incidents"].as_array().unwrap();
    for (cause, word) in [("user-unknown", "Failed to look up user"), ("signer-absent", "Failed to connect to socket")]
    {
        let own: Vec<&Value> = incidents.iter().filter(|it| it["cause"] == cause).collect();
        assert_eq!(own.len(), 1, "{cause}: {document:#}");
        assert_eq!(own[0]["count"], log_of_server.matches(word).count(), "{cause}: {document:#}");
        let lines = own[0]["lines"].as_array().unwrap();
        let texts: Vec<&str> = lines.iter().map(|line| line["text"].as_str().unwrap()).collect();
        assert_eq!(ids(&texts).len(), 1, "{cause}: {texts:#?}");
        let roles: BTreeSet<&str> = lines.iter().map(|line| line["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["bridge", "client", "server"].into(), "{cause}: {texts:#?}");
        let facts = own[0]["facts"].as_array().unwrap();
        assert!(facts.iter().any(|it| it["id"] == "logs.joined" && it["value"] == "by-session"), "{facts:#?}");
    }
    assert!(incidents.iter().all(|it| it["cause"].is_string()), "{document:#}");
}

#[test]
fn two_attempts_at_one_moment_keep_their_own_lines() {
    let identities = Identities::new();
    // The signer is missing for a user that the server knows, and the other user is unknown.
    let stack = Stack::start(&identities, Without { signer: true, ..Without::default() });
    let mallory = identities.authority.issue(&Spec::new("mallory", Usage::Client)).unwrap();
    stack.write_other_client("mallory", &mallory);
    let mut clients = ["client", "mallory"].map(|name| stack.spawn_client(name));
    until("two attempts of each", || {
        ["Failed to look up user", "Failed to connect to socket"].iter().all(|it| stack.count_in("server", it) >= 2)
    });
    // The bridge notices the end of the last session later than the server.
    until("the bridge's word on all of them", || stack.count_in("bridge", "Error reading from server") >= 4);
    for client in &mut clients {
        client.kill().unwrap();
        client.wait().unwrap();
    }
    let texts = LOGS.map(|(name, _)| stack.text_of(name));
    drop(stack);
    let directory = tempfile::tempdir().unwrap();

    // As the programs print the lines: without times.
    let printed: Vec<PathBuf> = (LOGS.iter().zip(&texts).enumerate())
        .map(|(at, ((_, program), text))| write(directory.path(), &format!("{program}-{at}.log"), text))
        .collect();
    are_told_apart(&triage(&printed), &texts[3]);

    // As in a journal, with one second for all lines, in a single file.
    let mut journal = String::new();
    for ((_, program), text) in LOGS.iter().zip(&texts) {
        text.lines().for_each(|line| journal.push_str(&format!("Nov 24 06:54:26 host {program}[42]: {line}\n")));
    }
    are_told_apart(&triage(&[write(directory.path(), "journal", journal)]), &texts[3]);

    // A line without an id may belong to either session, and is assigned to none.
    let odd = "ERROR siguldry::client: certificate verify failed; check the CA, bridge, and server certificates\n";
    let other = write(directory.path(), "siguldry-client-9.log", odd);
    let document = triage(&[printed, vec![other]].concat());
    for incident in document["incidents"].as_array().unwrap().iter().filter(|it| it["cause"].is_string()) {
        let lines = incident["lines"].as_array().unwrap();
        assert!(lines.iter().all(|line| !line["text"].as_str().unwrap().contains("verify failed")), "{document:#}");
    }
}

#[test]
fn server_lines_about_an_inner_handshake_belong_to_its_latest_session() {
    let identities = Identities::new();
    let stack = Stack::start(&identities, Without::default());
    stack.write_client(|text| text.replace("server.example.com", "other.example.com"));
    let mut client = stack.spawn_client("client");
    until("the server's word on it", || stack.count_in("server", "Failed to accept incoming client connection") > 0);
    let _ = client.kill();
    client.wait().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let logs = ["client", "bridge", "server"];
    let logs = logs.map(|name| write(directory.path(), &format!("siguldry-{name}.log"), stack.text_of(name)));
    let document = triage(&logs);
    let incidents = document["incidents"].as_array().unwrap();
    assert_eq!(incidents.len(), 1, "{document:#}");
    let lines = incidents[0]["lines"].as_array().unwrap();
    let has = |role: &str, word: &str| {
        lines.iter().any(|line| line["role"] == role && line["text"].as_str().unwrap().contains(word))
    };
    assert!(has("client", "certificate verify failed") && has("server", "error="), "{lines:#?}");
    assert_eq!(incidents[0]["shown"]["layer"], "inner-handshake", "{document:#}");
}
