//! What a TLS 1.3 peer says of our certificate after the handshake is over for us: a refusal may be late, and what could have been
//! said before the judgement is no acceptance.

mod common;

use std::net::TcpListener;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::{Case, NICKNAME, PKI, Run, binary, run};
use nssight_fixtures::nssdb::DbFormat;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};

/// How a server judges its client.
#[derive(Clone, Copy)]
struct Judge {
    /// It thinks about the certificate for so long.
    after: Duration,
    refuses: bool,
    /// It says something in its own first flight.
    speaks_first: bool,
    tickets: usize,
}

/// A server for one connection; what it takes for ever is ended with the test.
fn server(judge: Judge) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    context.set_certificate(&PKI.bridge.certificate).unwrap();
    context.set_private_key(&PKI.bridge.key).unwrap();
    context.set_num_tickets(judge.tickets).unwrap();
    context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |_, store| {
        if store.error_depth() == 0 {
            thread::sleep(judge.after);
        }
        !judge.refuses
    });
    let context = context.build();
    let worker = thread::spawn(move || {
        let (socket, _) = listener.accept().unwrap();
        let mut stream = SslStream::new(Ssl::new(&context).unwrap(), socket).unwrap();
        if judge.speaks_first {
            // Half a round trip early (RFC 8446, 2): before the client's flight has come.
            assert_eq!(stream.read_early_data(&mut [0; 16]).unwrap(), 0);
            stream.write_early_data(b"220 ready\r\n").unwrap();
        }
        if stream.accept().is_ok() {
            // Until the client goes.
            let _ = stream.ssl_read(&mut [0; 16]);
        }
    });
    (port, worker)
}

fn diagnosed(judge: Judge, flags: &[&str]) -> Run {
    let case = Case::new();
    let (port, server) = server(judge);
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{port}"), "--nickname", NICKNAME, "--db"]).arg(&database);
    let run = run(command.arg("--password-file").arg(case.password_file()).args(flags));
    server.join().unwrap();
    run
}

const REFUSES: Judge = Judge { after: Duration::ZERO, refuses: true, speaks_first: false, tickets: 2 };
const ACCEPTS: Judge = Judge { refuses: false, ..REFUSES };
const JSON: [&str; 2] = ["--format", "json"];

fn authentication(run: &Run) -> Option<String> {
    let report = run.report();
    let facts = report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap());
    let fact = facts.into_iter().find(|fact| fact["id"] == "peer.accepted-us")?;
    Some(fact["value"].as_str().unwrap().to_owned())
}

#[test]
fn a_refusal_is_waited_for() {
    for (millis, speaks_first) in [(0, false), (400, false), (1000, false), (1000, true)] {
        let run = diagnosed(Judge { after: Duration::from_millis(millis), speaks_first, ..REFUSES }, &JSON);
        assert_eq!(run.code, Some(1), "{millis} ms, {speaks_first}: {run:#?}");
        assert_eq!(run.verdict(), ("outer-handshake".to_owned(), "client-cert-rejected".to_owned()), "{run:#?}");
        assert_ne!(run.report()["verdict"]["confidence"], "certain", "{run:#?}");
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
fn a_ticket_is_an_acceptance_and_nothing_else_is() {
    let run = diagnosed(ACCEPTS, &JSON);
    assert_eq!((run.code, authentication(&run).as_deref()), (Some(0), Some("yes")), "{run:#?}");
    assert_eq!(run.report()["verdict"]["confidence"], "certain", "{run:#?}");
    for judge in [Judge { tickets: 0, ..ACCEPTS }, Judge { tickets: 0, speaks_first: true, ..ACCEPTS }] {
        let run = diagnosed(judge, &JSON);
        assert_eq!((run.code, authentication(&run).as_deref()), (Some(0), Some("unconfirmed")), "{run:#?}");
        assert_eq!(run.report()["verdict"]["confidence"], "likely", "{run:#?}");
    }
}
