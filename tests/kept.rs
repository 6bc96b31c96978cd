//! A worker of `nssight check` keeps a database open for the next target with the same one, and still gives each target the verdict of a
//! separate process.

mod common;

use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use std::{fs, io, thread};

use common::fleet::{Fleet, endpoint, wait_for};
use common::{PKI, timeless};
use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

const OPENED_FROM: &str = "db.opened-from";
const KEPT: &str = "the previous check, which had the same database open";

/// The files of a database must be older than the time resolution of the file system.
fn settle(directory: &Path) {
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
    let changed = |path: &Path| fs::metadata(path).unwrap().ctime();
    let files = || fs::read_dir(directory).unwrap().map(|entry| changed(&entry.unwrap().path()));
    wait_for(|| files().chain([changed(directory)]).max().unwrap() + 3 < now());
}

fn is_kept(report: &Value) -> bool {
    let probes = report["probes"].as_array().unwrap();
    let mut facts = probes.iter().flat_map(|probe| probe["facts"].as_array().unwrap());
    facts.any(|fact| fact["id"] == OPENED_FROM && fact["value"] == KEPT)
}

/// Later versions of NSS verify with libpkix, which caches chains: with these, no database is kept.
fn keeps() -> bool {
    // NSS decides this at its initialisation.
    let _nss = nssight_nss::Nss::without_database().unwrap();
    !nssight_nss::library::verifies_by_pkix()
}

struct Peers {
    sends: Endpoint,
    leaves_out: Endpoint,
    other_ca: Endpoint,
    closes: Endpoint,
    good: Endpoint,
}

impl Peers {
    fn start() -> Self {
        let intermediate = PKI.ca.issue(&Spec::new("kept intermediate", Usage::Authority)).unwrap();
        let server = intermediate.issue(&Spec::new("server", Usage::Server).names(&["localhost"])).unwrap();
        let stranger = Identity::self_signed(&Spec::new("stranger CA", Usage::Authority)).unwrap();
        let other = stranger.issue(&Spec::new("server", Usage::Server).names(&["localhost"])).unwrap();
        let start = |options: Options| Endpoint::start(options).unwrap();
        Self {
            sends: start(Options::new(&server, &PKI.ca)),
            leaves_out: start(Options { sends_chain: false, ..Options::new(&server, &PKI.ca) }),
            other_ca: start(Options::new(&other, &PKI.ca)),
            closes: endpoint(Behaviour::CloseAtOnce),
            good: endpoint(Behaviour::Well),
        }
    }
}

#[test]
fn a_target_gets_the_same_verdict_as_in_a_separate_process() {
    let peers = Peers::start();
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let fleet = Fleet::of(format);
        // The order matters: a failure ends the worker, and each of these fails directly after a check that kept the database.
        let order = [
            ("first", &peers.good),
            ("second", &peers.sends),
            ("intermediate left out", &peers.leaves_out),
            ("third", &peers.good),
            ("fourth", &peers.good),
            ("other CA", &peers.other_ca),
            ("fifth", &peers.good),
            ("closes", &peers.closes),
        ];
        let add = |fleet: Fleet, (name, peer): &(&str, &Endpoint)| fleet.target(name, peer.port(), "");
        let defaults = fleet.text.clone();
        let mut fleet = order.iter().fold(fleet, add);
        settle(&fleet.case.path("db"));
        let (document, _) = fleet.document(&["--jobs", "1", "--in-order"]);
        let after_another = ["second", "intermediate left out", "fourth", "other CA", "closes"];
        for (name, peer) in &order {
            let report = &document.target(name)["report"];
            // A database of the old format has its list of modules next to it, and a worker does only one check with such a list.
            let expected = keeps() && format == DbFormat::Sql && after_another.contains(name);
            assert_eq!(is_kept(report), expected, "{format:?} {name}: {report:#}");
            // The same file with only this target.
            let text = std::mem::replace(&mut fleet.text, defaults.clone());
            let single = fleet.target(name, peer.port(), "");
            let document = single.document(&[]).0;
            let alone = &document.target(name)["report"];
            let lines = |report: &Value| {
                let mut report = timeless(report.clone());
                // Whether TLS 1.3 tickets arrive before the end is random.
                report["wire"] = Value::Null;
                format!("{report:#}").lines().map(str::to_owned).collect::<Vec<_>>()
            };
            let (here, there) = (lines(report), lines(alone));
            let differ: Vec<_> = here.iter().zip(&there).filter(|(here, there)| here != there).collect();
            assert!(differ.is_empty() && here.len() == there.len(), "{format:?} {name}: {differ:#?}");
            fleet = Fleet { text, ..single };
        }
        assert_eq!(document.verdict("intermediate left out")[2], "peer-chain-incomplete");
    }
}

#[test]
fn a_kept_database_does_not_hide_another_password_or_nickname() {
    let good = endpoint(Behaviour::Well);
    let fleet = Fleet::new();
    fs::write(fleet.case.path("wrong"), "not-the-password\n").unwrap();
    let port = good.port();
    let fleet = fleet
        .target("first", port, "")
        .target("wrong password", port, "password-file = 'wrong'")
        .target("second", port, "")
        .target("no such nickname", port, "nickname = 'nobody'")
        .target("third", port, "")
        .target("a CA is no client", port, "nickname = 'lab-ca'")
        .target("fourth", port, "");
    settle(&fleet.case.path("db"));
    let (document, _) = fleet.document(&["--jobs", "1", "--in-order"]);
    assert_eq!(document.verdict("wrong password"), ["fail", "password", "password-wrong"]);
    assert_eq!(document.verdict("no such nickname"), ["fail", "certificate", "cert-not-found"]);
    assert_eq!(document.verdict("a CA is no client")[0], "fail");
    for name in ["first", "second", "third", "fourth"] {
        assert_eq!(document.verdict(name)[0], "pass", "{name}");
    }
}

/// Forwards one connection after a file was written next to the database.
fn after_a_change(directory: PathBuf, port: u16) -> u16 {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let own = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        fs::write(directory.join("note"), "a file beside the database").unwrap();
        let mut server = TcpStream::connect(("localhost", port)).unwrap();
        let (mut back, mut forth) = (server.try_clone().unwrap(), client.try_clone().unwrap());
        let there = thread::spawn(move || {
            let _ = io::copy(&mut client, &mut server).and_then(|_| server.shutdown(Shutdown::Write));
        });
        let _ = io::copy(&mut back, &mut forth).and_then(|_| forth.shutdown(Shutdown::Write));
        there.join().unwrap();
    });
    own
}

#[test]
fn a_database_that_changes_is_opened_anew() {
    let good = endpoint(Behaviour::Well);
    let fleet = Fleet::new();
    let directory = fleet.case.path("db");
    let changing = after_a_change(directory.clone(), good.port());
    let fleet =
        fleet.target("first", good.port(), "").target("changing", changing, "").target("second", good.port(), "");
    settle(&directory);
    let (document, _) = fleet.document(&["--jobs", "1", "--in-order"]);
    for (name, expected) in [("first", false), ("changing", keeps()), ("second", false)] {
        assert_eq!(document.verdict(name)[0], "pass", "{name}");
        assert_eq!(is_kept(&document.target(name)["report"]), expected, "{name}");
    }
}
