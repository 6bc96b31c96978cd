//! A database with OpenSSL, and files with NSS (`--engine`): the same identity with the other library gets the same verdict, and
//! differences between the libraries are reported.

mod common;

use std::ffi::OsStr;

use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Target};
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::library;
use serde_json::Value;

const CHANGES: &[&str] = &[
    "",
    "bridge-tls = 'tls1.3'",
    "client = 'intermediate'",
    "client = 'rsa'",
    "client = 'other-ca'",
    "client = 'other-ca'\nbridge-tls = 'tls1.3'",
    "client = 'expired'",
    "bridge = 'other-ca'",
    "bridge = 'expired'",
    "bridge = 'other-name'",
    "bridge = 'intermediate'",
    "bridge = 'without-intermediate'",
    "outer = 'close-after-hello'",
    "outer = 'ssh'",
    "outer = 'alert'\nnumber = 40",
    "outer = 'refuse-certificate'\nnumber = 48",
];

fn walk(change: &str, target: Target, format: DbFormat, words: &[&str]) -> Value {
    let change = Change { target, ..toml::from_str(change).expect("a change") };
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Deployment::start(directory.path(), &change, format).expect("a lab");
    let mut command = binary();
    run(command.arg("diagnose").args(lab.words()).args(["--format", "json", "--timeout", "5"]).args(words)).report()
}

fn told(report: &Value) -> [&str; 5] {
    ["status", "layer", "cause", "component", "confidence"].map(|key| report["verdict"][key].as_str().unwrap_or("-"))
}

#[test]
fn a_database_over_openssl() {
    for change in CHANGES {
        let nss = walk(change, Target::Plain, DbFormat::Sql, &[]);
        for format in [DbFormat::Sql, DbFormat::Dbm] {
            let openssl = walk(change, Target::Plain, format, &["--engine", "openssl"]);
            assert_eq!(told(&openssl), told(&nss), "{change} {format:?}: {openssl:#}");
        }
    }
}

#[test]
fn files_over_nss() {
    for change in CHANGES {
        let openssl = walk(change, Target::Files, DbFormat::Sql, &[]);
        let nss = walk(change, Target::Files, DbFormat::Sql, &["--engine", "nss"]);
        assert_eq!(told(&nss), told(&openssl), "{change}: {nss:#}");
    }
}

#[test]
fn options_that_the_other_library_lacks_are_rejected_at_once() {
    let cases: [(&[&str], &str); 3] = [
        (&["localhost:1", "--engine", "nss"], "--cacert"),
        (&["--db", "/nowhere", "--bridge", "localhost:1", "--server", "server", "--engine", "openssl"], "--engine"),
        (&["localhost:1", "--cert", "pkcs11:token=t;object=o"], "--nickname"),
    ];
    for (words, named) in cases {
        let output = binary().arg("diagnose").args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        assert!(String::from_utf8_lossy(&output.stderr).contains(named), "{words:?}");
    }
}

#[test]
fn the_certificates_of_the_peer_are_shown() {
    for (target, engine) in [(Target::Plain, "nss"), (Target::Files, "openssl"), (Target::Files, "nss")] {
        let report = walk("bridge = 'intermediate'", target, DbFormat::Sql, &["--engine", engine, "--show-certs"]);
        let certificates = report["certificates"].as_array().unwrap();
        let shown: Vec<&str> = certificates.iter().filter_map(|it| it["pem"].as_str()).collect();
        assert!(shown.len() >= 2, "{engine}: {report:#}");
        assert!(shown.iter().all(|pem| openssl::x509::X509::from_pem(pem.as_bytes()).is_ok()));
    }
    let report = walk("", Target::Files, DbFormat::Sql, &[]);
    assert!(report["certificates"].as_array().unwrap().iter().all(|it| it.get("pem").is_none()));
}

#[test]
fn protocols_are_offered_in_order() {
    for (target, engine) in [(Target::Plain, "nss"), (Target::Files, "openssl")] {
        let report = walk("", target, DbFormat::Sql, &["--engine", engine, "--alpn", "h2,http/1.1,acme"]);
        let wire = report["wire"].as_array().unwrap();
        let hello =
            wire.iter().filter_map(|event| event["what"].as_str()).find(|it| it.starts_with("ClientHello")).unwrap();
        assert!(hello.contains("ALPN h2 http/1.1 acme"), "{engine}: {hello}");
    }
}

/// A key that NSS does not support is reported before any connection.
#[test]
fn a_kind_of_key_that_nss_does_not_take() {
    let case = common::Case::new();
    let (cert, key) = (case.path("c.pem"), case.path("c.key"));
    let words = ["req", "-x509", "-newkey", "ed25519", "-nodes", "-subj", "/CN=client", "-keyout"].map(OsStr::new);
    common::tool("openssl", words.into_iter().chain([key.as_os_str(), "-out".as_ref(), cert.as_os_str()]));
    let walk = |engine: &str| {
        let mut command = binary();
        command.args(["diagnose", "localhost:1", "--until", "private-key", "--format", "json", "--engine", engine]);
        run(command.arg("--cert").arg(&cert).arg("--key").arg(&key).arg("--cacert").arg(&cert)).report()
    };
    assert_eq!(walk("openssl")["verdict"]["status"], "pass");
    let report = walk("nss");
    // A newer NSS may support it.
    if library::nss_release() < (3, 103) {
        assert_eq!(told(&report), ["fail", "private-key", "key-unusable", "client-host", "certain"], "{report:#}");
    }
}
