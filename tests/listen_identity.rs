//! The server's own identity in `nssight listen`, and without a connection.

mod common;

use common::listening::{Lab, OPENSSL, OWN, verdict};
use common::{NICKNAME, PKI, binary, run};
use nssight_fixtures::authority::{DAY, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;

#[test]
fn a_chain_that_openssl_does_not_send_is_the_servers_fault() {
    let lab = Lab::new();
    let weak = PKI.ca.issue(&Spec::new("Old CA", Usage::Authority).key(KeyKind::Rsa(1024))).unwrap();
    lab.keep("own", &weak.issue(&Spec::new("localhost", Usage::Server).names(&["localhost"])).unwrap());
    let identity = ["--cert", "own.pem", "--key", "own.key", "--cacert", "ca.pem"].map(str::to_owned);
    let lab = Lab { identity: identity.to_vec(), ..lab };
    for version in ["-tls1_2", "-tls1_3"] {
        let report = lab.one(&[], lab.client(&format!("{OPENSSL} {OWN} {version}")));
        assert_eq!(verdict(&report)[..3], ["fail", "cert-weak-policy", "server"], "{report:#}");
    }
}

/// The CA that issued our own certificate is not trusted for clients.
#[test]
fn the_server_lacks_the_clients_ca() {
    let mut files = Lab::new();
    *files.identity.last_mut().unwrap() = "other-ca.pem".to_owned();
    let database = |trust| {
        let mut lab = Lab::new();
        let path = lab.case.database_of(
            DbFormat::Sql,
            &PKI.bridge,
            &[("lab-ca", &PKI.ca, trust), ("other-ca", &PKI.other_ca, "CT,,")],
        );
        let password = lab.case.password_file();
        lab.identity =
            ["--db", path.to_str().unwrap(), "--nickname", NICKNAME, "--password-file", password.to_str().unwrap()]
                .map(str::to_owned)
                .to_vec();
        lab
    };
    for lab in [files, database(",,"), database("C,,")] {
        let report = lab.one(&[], lab.client(&format!("{OPENSSL} {OWN}")));
        assert_eq!(verdict(&report), ["fail", "client-cert-untrusted", "server", "likely"], "{report:#}");
    }
}

/// An unfit identity is used all the same, and is the cause if a client rejects it.
#[test]
fn a_fault_of_our_certificate_explains_its_rejection() {
    let lab = Lab::new();
    let issue = |spec: Spec| PKI.ca.issue(&spec.names(&["localhost"])).unwrap();
    let cases = [
        (issue(Spec::new("old", Usage::Server).valid(-30 * DAY, -DAY)), "cert-expired"),
        (issue(Spec::new("usage", Usage::Client)), "cert-wrong-usage"),
    ];
    for (identity, cause) in cases {
        lab.keep("server", &identity);
        let report = lab.one(&[], lab.client(&format!("{OPENSSL} {OWN}")));
        assert_eq!(verdict(&report), ["fail", cause, "server", "certain"], "{report:#}");
        assert_eq!(report["verdict"]["seen_at"], "outer-handshake");
    }
    // A server cannot listen with the key of another certificate.
    lab.keep("server", &PKI.bridge);
    lab.case.file("server.key", PKI.stranger.key.private_key_to_pem_pkcs8().unwrap());
    let words = ["listen", "--cert", "server.pem", "--key", "server.key", "--format", "json"];
    let run = run(binary().args(words).current_dir(lab.case.dir.path()));
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert_eq!(verdict(&run.report()), ["fail", "key-mismatch", "server", "certain"]);
}

/// The identity of a configuration, and an unreadable configuration.
#[test]
fn a_configuration_gives_the_identity() {
    let lab = Lab::with_database(DbFormat::Sql);
    let database = lab.path("db");
    let text = format!(
        "[bridge]\nbridge-cert-nickname: {NICKNAME}\n[nss]\nnss-dir: {}\nnss-password: {}\n",
        database.display(),
        common::PASSWORD
    );
    let daemon = "[daemon]\nunix-user:\nunix-group:\n";
    let path = lab.case.file("bridge.conf", format!("{text}{daemon}"));
    let whole = Lab { identity: vec!["-c".to_owned(), path.to_str().unwrap().to_owned()], ..lab };
    let report = whole.one(&[], whole.client(&format!("{OPENSSL} {OWN}")));
    assert_eq!(verdict(&report), ["pass", "-", "-", "certain"], "{report:#}");
    whole.case.file("bridge.conf", text);
    let run = run(binary().args(["listen", "--format", "json"]).args(&whole.identity));
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert_eq!(verdict(&run.report()), ["fail", "config-invalid", "bridge", "certain"]);
}

#[test]
fn a_server_is_looked_at_without_a_connection() {
    let lab = Lab::new();
    let words = ["diagnose", "--role", "server", "--cert", "server.pem", "--key", "server.key", "--cacert", "ca.pem"];
    let walked = run(binary().args(words).args(["--format", "json"]).current_dir(lab.case.dir.path()));
    let report = walked.report();
    assert_eq!((walked.code, report["connections_opened"].as_u64()), (Some(0), Some(0)), "{walked:#?}");
    let layers: Vec<&str> =
        report["probes"].as_array().unwrap().iter().map(|probe| probe["layer"].as_str().unwrap()).collect();
    assert_eq!(layers.last(), Some(&"private-key"), "{layers:?}");
    let dry = run(binary().args(words).arg("--dry-run"));
    assert!(dry.stdout.contains("would open no connection") && !dry.stdout.contains("tcp"), "{dry:#?}");
    for more in [&["localhost:1"][..], &["--until", "tcp"], &["--bridge", "localhost:1"]] {
        let refused = run(binary().args(words).args(more).current_dir(lab.case.dir.path()));
        assert_eq!(refused.code, Some(2), "{more:?}: {refused:#?}");
    }
}
