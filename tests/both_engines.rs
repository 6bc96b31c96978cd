//! The same fault over NSS with a database and over OpenSSL with files: what is said of it must not depend on the library.

mod common;

use std::thread;

use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Target};
use nssight_fixtures::nssdb::DbFormat;

/// What is changed on the way, in the peer's certificate, or in ours: none of it has NSS in it.
const CHANGES: &[&str] = &[
    "",
    "bridge-tls = 'tls1.3'",
    "client-auth = 'nothing'",
    "client = 'other-ca'",
    "client = 'other-ca'\nbridge-tls = 'tls1.3'",
    "client = 'expired'",
    "client = 'intermediate'",
    "client = 'rsa'",
    "bridge = 'other-ca'",
    "bridge = 'other-ca'\nbridge-tls = 'tls1.3'",
    "bridge = 'expired'",
    "bridge = 'other-name'",
    "bridge = 'other-name'\nbridge-tls = 'tls1.3'",
    "bridge = 'intermediate'",
    "bridge = 'common-name'",
    "bridge = 'code-signing'",
    "bridge = 'self-signed'",
    "bridge = 'path-length'",
    "bridge = 'without-intermediate'",
    "outer = 'close-at-once'",
    "outer = 'close-after-hello'",
    "outer = 'reset-after-hello'",
    "outer = 'silent-after-hello'",
    "outer = 'ssh'",
    "outer = 'http'",
    "outer = 'smtp'",
    "outer = 'garbage'",
    "outer = 'alert'\nnumber = 40",
    "outer = 'alert'\nnumber = 70",
    "outer = 'alert'\nnumber = 80",
    "outer = 'leave-after-certificate'",
    "outer = 'refuse-certificate'\nnumber = 42",
    "outer = 'refuse-certificate'\nnumber = 43",
    "outer = 'refuse-certificate'\nnumber = 44",
    "outer = 'refuse-certificate'\nnumber = 45",
    "outer = 'refuse-certificate'\nnumber = 46",
    "outer = 'refuse-certificate'\nnumber = 48",
    "outer = 'refuse-certificate'\nnumber = 51",
    "outer = 'delay'\nnumber = 100",
    "port = 'closed'",
];

/// Layer, cause, component and confidence; files and database are the client's in either case.
fn verdict(change: &str, target: Target) -> String {
    let change = Change { target, ..toml::from_str(change).expect("a change") };
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).expect("a lab");
    let report = run(binary().arg("diagnose").args(lab.words()).args(["--format", "json", "--timeout", "3"])).report();
    let verdict = &report["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or("-").replace("client-db", "client-files");
    ["status", "layer", "cause", "component", "confidence"].map(word).join(" ")
}

#[test]
fn the_library_does_not_decide() {
    let work: Vec<(usize, &str)> = CHANGES.iter().copied().enumerate().collect();
    let differ: Vec<String> = thread::scope(|scope| {
        let lanes = (0..3).map(|lane| {
            let mine: Vec<&str> =
                work.iter().filter(|(place, _)| place % 3 == lane).map(|(_, change)| *change).collect();
            scope.spawn(move || {
                let both = |change: &&str| (verdict(change, Target::Plain), verdict(change, Target::Files));
                let told = mine.iter().map(|change| (*change, both(change)));
                let differ = told.filter(|(_, (nss, openssl))| nss != openssl);
                differ
                    .map(|(change, (nss, openssl))| format!("{change}: {nss} over NSS, {openssl} over OpenSSL"))
                    .collect()
            })
        });
        let lanes: Vec<_> = lanes.collect();
        lanes.into_iter().flat_map(|lane| -> Vec<String> { lane.join().expect("a lane") }).collect()
    });
    assert!(differ.is_empty(), "{differ:#?}");
}
