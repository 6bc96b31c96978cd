//! What we sent of our certificate, and which component is at fault if it is not accepted: the wire shows what was sent, a certificate that
//! is not configured counts as missing, and a refusal alone does not show which side is wrong.

mod common;

use common::servers::{Selfserv, s_server_with, selfserv, selfserv_with};
use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, diagnose, run, run_beside};
use nssight_fixtures::authority::{Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, ClientAuth, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

fn well() -> Options {
    Options::new(&PKI.bridge, &PKI.ca)
}

/// A server that accepts only RSA signatures.
fn rsa_only(client_auth: ClientAuth) -> Options {
    Options { signatures: Some("RSA-PSS+SHA256:RSA+SHA256".to_owned()), client_auth, ..well() }
}

/// A client with an EC key.
fn ec_database(case: &Case) -> std::path::PathBuf {
    let client = PKI.ca.issue(&Spec::new("client", Usage::Client)).unwrap();
    case.database_of(DbFormat::Sql, &client, &[("lab-ca", &PKI.ca, "CT,C,C")])
}

fn to(case: &Case, database: &std::path::Path, port: u16, flags: &[&str]) -> Run {
    run_beside(diagnose(database, &case.password_file(), port).args(flags), database)
}

/// Without a nickname, against a plain peer.
fn nameless(case: &Case, port: u16) -> Run {
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{port}"), "--format", "json", "--timeout", "4", "--db"]);
    run_beside(command.arg(&database).arg("--password-file").arg(case.password_file()), &database)
}

fn components(run: &Run) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let report = run.report();
    let others = report["verdict"]["alternatives"].as_array().unwrap();
    others.iter().map(|other| (text(&other["cause"]), text(&other["component"]))).collect()
}

#[test]
fn a_kind_of_key_that_the_peer_rejects_is_named_whatever_the_alert() {
    for client_auth in [ClientAuth::Require, ClientAuth::Request] {
        for is_13 in [false, true] {
            let case = Case::new();
            let options = rsa_only(client_auth);
            let endpoint = Endpoint::start(if is_13 { options.tls13() } else { options.tls12() }).unwrap();
            let run = to(&case, &ec_database(&case), endpoint.port(), &[]);
            run.is("client-cert-unsuitable", "client-db", "likely");
            assert_eq!(run.word("our-certificate.sent").as_deref(), Some("empty"), "{run:#?}");
            assert_ne!(run.word("peer.accepted-us").as_deref(), Some("yes"), "{run:#?}");
            // TLS 1.3 encrypts the request.
            let fits = (!is_13).then_some("not-taken");
            assert_eq!(run.word("our-key.fits").as_deref(), fits, "{run:#?}");
            assert!(!run.stdout.contains("trusted in both directions"), "{run:#?}");
            assert!(endpoint.clients().is_empty());
        }
    }
}

#[test]
fn s_server_that_takes_rsa_only() {
    for version in ["-tls1_2", "-tls1_3"] {
        let case = Case::new();
        let server = s_server_with(&case, version, &["-client_sigalgs", "RSA-PSS+SHA256:RSA+SHA256"]);
        to(&case, &ec_database(&case), server.port, &[]).is("client-cert-unsuitable", "client-db", "likely");
    }
}

#[test]
fn a_key_that_fits_is_sent() {
    for options in [rsa_only(ClientAuth::Require), well()] {
        for is_13 in [false, true] {
            let (case, options) = (Case::new(), Options { signatures: options.signatures.clone(), ..well() });
            let endpoint = Endpoint::start(if is_13 { options.tls13() } else { options.tls12() }).unwrap();
            let run = to(&case, &case.database(DbFormat::Sql), endpoint.port(), &[]);
            assert_eq!(run.code, Some(0), "{run:#?}");
            assert_eq!(run.word("our-certificate.sent").as_deref(), Some("yes"), "{run:#?}");
            assert_eq!(endpoint.clients().len(), 1);
        }
    }
}

#[test]
fn a_certificate_that_is_not_configured_is_missing() {
    for is_13 in [false, true] {
        let case = Case::new();
        let endpoint = Endpoint::start(if is_13 { well().tls13() } else { well().tls12() }).unwrap();
        let run = nameless(&case, endpoint.port());
        run.is("client-cert-missing", "client-config", if is_13 { "certain" } else { "likely" });
        let verdict = &run.report()["verdict"];
        assert!(verdict["summary"].as_str().unwrap().contains(&format!("\"{NICKNAME}\"")), "{run:#?}");
        assert!(verdict["remedies"][0]["text"].as_str().unwrap().contains("--nickname"), "{run:#?}");
    }
    for version in ["tls1.2", "tls1.3"] {
        let case = Case::new();
        let run = nameless(&case, selfserv(&case, version).port);
        assert_eq!(run.judged()[1], "client-cert-missing", "{run:#?}");
    }
}

#[test]
fn a_peer_that_continues_without_a_certificate_is_healthy_and_accepted_none() {
    for is_13 in [false, true] {
        let (case, options) = (Case::new(), Options { client_auth: ClientAuth::Request, ..well() });
        let endpoint = Endpoint::start(if is_13 { options.tls13() } else { options.tls12() }).unwrap();
        let run = nameless(&case, endpoint.port());
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert_eq!(run.word("peer.accepted-us").as_deref(), Some("goes-without"), "{run:#?}");
        assert!(!run.stdout.contains("trusted in both directions"), "{run:#?}");
    }
}

#[test]
fn a_plain_peer_may_still_refuse_after_the_handshake() {
    let case = Case::new();
    let endpoint = Endpoint::start(well().tls12()).unwrap();
    let run = to(&case, &case.database(DbFormat::Sql), endpoint.port(), &[]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(run.stdout.contains("the application may still refuse"), "{run:#?}");
}

#[test]
fn an_nss_peer_that_names_no_ca_trusts_none_for_clients() {
    let case = Case::new();
    // Trusted for servers, not for clients: the peer's certificate is valid, and its list of CAs is empty.
    let server = selfserv_with(&case, Selfserv { version: "tls1.2", trust: "C,," });
    let run = to(&case, &case.database(DbFormat::Sql), server.port, &[]);
    run.is("client-cert-rejected", "peer", "likely");
    assert_eq!(run.word("peer.library").as_deref(), Some("nss"), "{run:#?}");
    assert_eq!(run.word("our-ca.listed").as_deref(), Some("none-named"), "{run:#?}");
    assert!(components(&run).contains(&("client-cert-rejected".to_owned(), "client-db".to_owned())), "{run:#?}");
}

#[test]
fn the_component_of_a_refusal_depends_on_chain_and_ca_list() {
    // Our CA is on the list and our chain is valid: the peer seems to be at fault.
    let case = Case::new();
    let endpoint = Endpoint::start(well().tls12().behaving(Behaviour::RefuseCertificate(42))).unwrap();
    let run = to(&case, &case.database(DbFormat::Sql), endpoint.port(), &[]);
    run.is("client-cert-rejected", "peer", "likely");
    assert!(components(&run).contains(&("client-cert-rejected".to_owned(), "client-db".to_owned())), "{run:#?}");
    // Our CA is not on the list.
    let case = Case::new();
    let options = Options { advertised: Some(vec![PKI.other_ca.certificate.clone()]), ..well().tls12() };
    let endpoint = Endpoint::start(options.behaving(Behaviour::RefuseCertificate(42))).unwrap();
    let run = to(&case, &case.database(DbFormat::Sql), endpoint.port(), &[]);
    run.is("client-cert-rejected", "client-db", "likely");
    // The issuer of our certificate is missing everywhere.
    let case = Case::new();
    let options = Options { client_cas: Vec::new(), advertised: Some(Vec::new()), ..well().tls12() };
    let endpoint = Endpoint::start(options.behaving(Behaviour::RefuseCertificate(48))).unwrap();
    let database = case.path("db");
    DbBuilder::new(DbFormat::Sql)
        .password(PASSWORD.as_bytes())
        .x509_identity(NICKNAME, &PKI.stranger.certificate, &PKI.stranger.key, "")
        .unwrap()
        .x509("lab-ca", &PKI.ca.certificate, "CT,C,C")
        .unwrap()
        .build(&database)
        .unwrap();
    let run = to(&case, &database, endpoint.port(), &[]);
    run.is("client-cert-rejected", "client-db", "likely");
}

/// The list of CAs was not visible, so it must not be the first suggestion.
#[test]
fn an_end_without_an_alert_does_not_blame_an_invisible_ca_list() {
    for question in ["PR_END_OF_FILE_ERROR", "PR_CONNECT_RESET_ERROR", "SSL_ERROR_HANDSHAKE_FAILURE_ALERT"] {
        let answers = run(binary().args(["explain", "--format", "json", question])).report();
        let causes = answers["answers"][0]["explanations"][0]["causes"].as_array().unwrap().clone();
        let first = causes[0]["cause"].as_str().unwrap().to_owned();
        assert_ne!(first, "client-ca-not-acceptable", "{question}: {causes:#?}");
    }
    let case = Case::new();
    let endpoint = Endpoint::start(well().tls12().behaving(Behaviour::LeaveAfterCertificate(Leave::Close))).unwrap();
    let run = to(&case, &case.database(DbFormat::Sql), endpoint.port(), &[]);
    assert_eq!(run.judged()[1], "client-cert-rejected", "{run:#?}");
}
