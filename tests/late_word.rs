//! A TLS 1.3 peer's reaction to our certificate after the handshake is over for us: a refusal may be late, and data that the peer may have
//! sent before verification is not an acceptance.

mod common;

use std::io::Write;
use std::time::Duration;

use common::servers::{Judge, judging, nss_takes_early_words};
use common::{Case, NICKNAME, PKI, Run, binary, run};
use nssight_fixtures::nssdb::DbFormat;
use nssight_fixtures::ports;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode};

fn diagnosed(judge: Judge, flags: &[&str]) -> Run {
    let case = Case::new();
    let (port, server) = judging(judge, 1);
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{port}"), "--nickname", NICKNAME, "--db"]).arg(&database);
    let run = run(command.arg("--password-file").arg(case.password_file()).args(flags));
    server.join().unwrap();
    run
}

const REFUSES: Judge = Judge { after: Duration::ZERO, refuses: true, speaks_first: false, tickets: 2, leaves: false };
const ACCEPTS: Judge = Judge { refuses: false, ..REFUSES };
const JSON: [&str; 2] = ["--format", "json"];

fn authentication(run: &Run) -> Option<String> {
    let report = run.report();
    let facts = report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap());
    let fact = facts.into_iter().find(|fact| fact["id"] == "peer.accepted-us")?;
    Some(fact["value"].as_str().unwrap().to_owned())
}

fn ended_by_an_early_word(run: &Run) {
    assert_eq!(run.verdict(), ("outer-handshake".to_owned(), "handshake-garbled".to_owned()), "{run:#?}");
    let summary = run.report()["verdict"]["summary"].to_string();
    assert!(summary.contains("SSL_ERROR_RX_UNEXPECTED_APPLICATION_DATA"), "{summary}");
}

#[test]
fn a_refusal_is_waited_for() {
    for (millis, speaks_first) in [(0, false), (400, false), (1000, false), (1000, true)] {
        let run = diagnosed(Judge { after: Duration::from_millis(millis), speaks_first, ..REFUSES }, &JSON);
        if speaks_first && !nss_takes_early_words() {
            ended_by_an_early_word(&run);
            continue;
        }
        assert_eq!(run.code, Some(1), "{millis} ms, {speaks_first}: {run:#?}");
        assert_eq!(run.verdict(), ("outer-handshake".to_owned(), "client-cert-rejected".to_owned()), "{run:#?}");
        assert_ne!(run.report()["verdict"]["confidence"], "certain", "{run:#?}");
    }
}

/// The peer's tickets and its end may or may not arrive in one packet: that must not make a difference.
#[test]
fn a_ticket_is_detected_even_if_the_end_arrives_with_it() {
    for tickets in [0, 2] {
        for _ in 0..8 {
            let run = diagnosed(Judge { leaves: true, tickets, ..ACCEPTS }, &JSON);
            let expected = if tickets == 0 { ("likely", "unconfirmed") } else { ("certain", "yes") };
            let verdict = &run.report()["verdict"];
            assert_eq!(
                (verdict["confidence"].as_str(), authentication(&run).as_deref()),
                (Some(expected.0), Some(expected.1)),
                "{run:#?}"
            );
        }
    }
}

#[test]
fn silence_is_unconfirmed_and_never_certain() {
    let slow = Judge { after: Duration::from_secs(4), ..REFUSES };
    let run = diagnosed(slow, &JSON);
    let verdict = &run.report()["verdict"];
    assert_eq!((run.code, verdict["status"].as_str()), (Some(0), Some("pass")), "{run:#?}");
    assert_eq!(verdict["confidence"], "likely", "{run:#?}");
    assert!(verdict["summary"].as_str().unwrap().contains("client authentication: unconfirmed"), "{run:#?}");
    assert_eq!(authentication(&run).as_deref(), Some("unconfirmed"));
    for format in [&["--short"][..], &["--format", "nagios"], &["--format", "junit"], &["--format", "markdown"]] {
        let run = diagnosed(slow, format);
        assert!(run.stdout.contains("client authentication: unconfirmed"), "{format:?}: {run:#?}");
    }
    let metrics = diagnosed(slow, &["--format", "openmetrics"]);
    assert!(metrics.stdout.contains("nssight_client_authentication{"), "{metrics:#?}");
    assert!(metrics.stdout.contains("state=\"unconfirmed\""), "{metrics:#?}");
}

#[test]
fn patience_can_be_given() {
    let slow = Judge { after: Duration::from_secs(3), ..REFUSES };
    let run = diagnosed(slow, &["--format", "json", "--patience", "5"]);
    assert_eq!((run.code, run.verdict().1.as_str()), (Some(1), "client-cert-rejected"), "{run:#?}");
}

#[test]
fn only_a_ticket_is_an_acceptance() {
    let run = diagnosed(ACCEPTS, &JSON);
    assert_eq!((run.code, authentication(&run).as_deref()), (Some(0), Some("yes")), "{run:#?}");
    assert_eq!(run.report()["verdict"]["confidence"], "certain", "{run:#?}");
    for judge in [Judge { tickets: 0, ..ACCEPTS }, Judge { tickets: 0, speaks_first: true, ..ACCEPTS }] {
        let run = diagnosed(judge, &JSON);
        if judge.speaks_first && !nss_takes_early_words() {
            ended_by_an_early_word(&run);
            continue;
        }
        assert_eq!((run.code, authentication(&run).as_deref()), (Some(0), Some("unconfirmed")), "{run:#?}");
        assert_eq!(run.report()["verdict"]["confidence"], "likely", "{run:#?}");
    }
}

/// A peer that never stops sending is not read to its end.
#[test]
fn a_peer_that_never_stops_sending_is_not_read_to_its_end() {
    let listener = ports::listen().unwrap();
    let port = listener.local_addr().unwrap().port();
    let server = std::thread::spawn(move || {
        let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
        context.set_certificate(&PKI.bridge.certificate).unwrap();
        context.set_private_key(&PKI.bridge.key).unwrap();
        context.set_verify_callback(SslVerifyMode::PEER, |_, _| true);
        let (socket, _) = listener.accept().unwrap();
        let mut stream = SslStream::new(Ssl::new(&context.build()).unwrap(), socket).unwrap();
        stream.accept().unwrap();
        let (zeros, mut sent) = (vec![0; 16 * 1024], 0);
        while stream.write_all(&zeros).is_ok() {
            sent += zeros.len();
        }
        sent
    });
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{port}"), "--nickname", NICKNAME, "--db"]).arg(&database);
    let run = run(command.arg("--password-file").arg(case.password_file()).args(JSON));
    let sent = server.join().unwrap();
    assert_eq!(run.code, Some(0), "{run:#?}");
    // The buffers of two kernels hold data that counts as sent as well.
    assert!(sent < 32 << 20, "{sent} bytes were taken");
}
