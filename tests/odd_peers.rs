//! Peers that are not TLS servers, in ways that look like TLS.

mod common;

use std::io::{Read, Write};
use std::net::TcpListener;

use common::{Case, diagnose, run_beside};
use nssight_fixtures::nssdb::DbFormat;

/// An echo service returns our ClientHello: this is not data that was damaged in transit.
#[test]
fn an_echo_service_is_not_a_tls_server() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let echo = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = [0; 4096];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            if stream.write_all(&buffer[..count]).is_err() {
                return;
            }
        }
    });
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let run = run_beside(&mut diagnose(&database, &case.password_file(), port), &database);
    echo.join().unwrap();
    assert_eq!(run.verdict(), ("outer-handshake".to_owned(), "not-tls".to_owned()), "{run:#?}");
    assert!(run.stdout.contains("not a TLS server"), "{run:#?}");
}
