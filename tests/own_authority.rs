//! A plain client's own CA needs no trust, and if no CA is trusted, only the peer's chain shows which one is missing.

mod common;

use common::{Case, PKI, Run, diagnose, run_beside};
use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;

/// The client's own CA with these trust flags, and no trusted CA; the peer's certificate comes from `peers`.
fn walked(letters: &str, peers: &Identity, flags: &[&str]) -> Run {
    let case = Case::new();
    let server = peers.issue(&Spec::new("peer", Usage::Server).names(&["localhost"])).unwrap();
    let endpoint = Endpoint::start(Options::new(&server, &PKI.ca)).unwrap();
    let database = case.database_of(DbFormat::Sql, &PKI.client, &[("own-ca", &PKI.ca, letters)]);
    let password = case.password_file();
    run_beside(diagnose(&database, &password, endpoint.port()).args(flags), &database)
}

#[test]
fn the_peers_chain_says_which_ca_is_missing() {
    let missing = walked(",,", &PKI.other_ca, &[]);
    assert_eq!(missing.judged(), ["certificate", "ca-missing", "client-db", "certain"], "{missing:#?}");
    // Our own CA is not the one to trust.
    let remedies = missing.report()["verdict"]["remedies"].to_string();
    assert!(!remedies.contains("certutil -M"), "{remedies}");
    for letters in [",,", "T,,"] {
        let untrusted = walked(letters, &PKI.ca, &[]);
        assert_eq!(untrusted.judged(), ["certificate", "ca-untrusted", "client-db", "certain"], "{untrusted:#?}");
        assert_eq!(untrusted.report()["connections_opened"], 1);
    }
}

#[test]
fn without_the_peers_chain_the_missing_ca_is_unknown() {
    let open = walked(",,", &PKI.ca, &["--until", "private-key"]);
    assert_eq!(open.judged(), ["certificate", "ca-untrusted", "client-db", "likely"], "{open:#?}");
    let alternatives = open.report()["verdict"]["alternatives"].to_string();
    assert!(alternatives.contains("ca-missing"), "{alternatives}");
}
