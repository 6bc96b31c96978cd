//! `nssight listen`: the server's side of a connection, with real clients, healthy and with faults.

mod common;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use common::listening::{Lab, OPENSSL, OWN, PYTHON, every_seat, fact, verdict};
use common::{NICKNAME, PKI, binary, run};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn clients_of_every_kind_are_taken() {
    // A database for NSS's own client.
    let database = common::Case::new();
    let path = database.database(nssight_fixtures::nssdb::DbFormat::Sql);
    let password = database.password_file();
    let nss = format!(
        "tstclnt -4 -h localhost -p PORT -d sql:{} -w $(cat {}) -n {} -Q </dev/null",
        path.display(),
        password.display(),
        NICKNAME
    );
    let curl = "curl -s https://localhost:PORT/page --cacert ca.pem --cert client.pem --key client.key | grep done";
    let gnutls = "gnutls-cli --x509cafile ca.pem --x509certfile client.pem --x509keyfile client.key -p PORT localhost </dev/null";
    let clients = [
        (format!("{OPENSSL} {OWN}"), "TLS 1.3"),
        (format!("{OPENSSL} {OWN} -tls1_2"), "TLS 1.2"),
        (curl.to_owned(), "TLS 1.3"),
        (gnutls.to_owned(), "TLS 1.3"),
        (nss, "TLS 1.3"),
        (PYTHON.to_owned(), "TLS 1.3"),
    ];
    let labs = every_seat();
    for (lab, (line, version)) in labs.iter().flat_map(|lab| clients.iter().map(move |client| (lab, client))) {
        let report = lab.one(&[], lab.client(line));
        assert_eq!(verdict(&report), ["pass", "-", "-", "certain"], "{line}: {report:#}");
        assert_eq!(fact(&report, "session.agreed-version"), [*version], "{line}");
        assert!(fact(&report, "peer.certificate")[0].starts_with("CN=client,O=nssight lab"), "{line}: {report:#}");
        for id in ["client-hello.versions", "client-hello.suites", "client-hello.groups", "client-hello.signatures"] {
            assert_eq!(fact(&report, id).len(), 1, "{line}: {id}");
        }
        assert_eq!(report["schema"], "nssight/report/2");
        assert_eq!(
            (report["target"]["role"].as_str(), report["connections_opened"].as_u64()),
            (Some("server"), Some(0))
        );
        common::hold_to_schema("report", std::slice::from_ref(&report));
    }
}

#[test]
fn client_errors_are_reported() {
    every_seat().iter().for_each(what_a_client_does_wrong_is_named_by);
}

fn what_a_client_does_wrong_is_named_by(lab: &Lab) {
    let issue = |spec: Spec| PKI.ca.issue(&spec).unwrap();
    lab.keep("expired", &issue(Spec::new("expired", Usage::Client).valid(-30 * DAY, -DAY)));
    lab.keep("early", &issue(Spec::new("early", Usage::Client).valid(3 * DAY, 30 * DAY)));
    lab.keep("usage", &issue(Spec::new("usage", Usage::Server)));
    lab.keep("weak", &issue(Spec::new("weak", Usage::Client).key(KeyKind::Rsa(1024))));
    lab.keep("alone", &Identity::self_signed(&Spec::new("alone", Usage::Client)).unwrap());
    let with = |name: &str| format!("{OPENSSL} -cert {name}.pem -key {name}.key");
    // The library itself does not start with such a key.
    let weak = format!("{} -cipher DEFAULT@SECLEVEL=0", with("weak"));
    let refuses = OPENSSL.replace("ca.pem", "other-ca.pem");
    let raw = |what: &str| {
        format!("/usr/bin/python3 -c \"import socket; s = socket.create_connection(('127.0.0.1', PORT)); {what}\"")
    };
    let cases: Vec<(String, &[&str], [&str; 3])> = vec![
        (OPENSSL.to_owned(), &[], ["client-cert-absent", "peer", "certain"]),
        (format!("{OPENSSL} -tls1_2"), &[], ["client-cert-absent", "peer", "certain"]),
        (with("stranger"), &[], ["client-cert-untrusted", "peer", "likely"]),
        (format!("{} -tls1_2", with("stranger")), &[], ["client-cert-untrusted", "peer", "likely"]),
        (with("alone"), &[], ["client-cert-untrusted", "peer", "certain"]),
        (with("expired"), &[], ["client-cert-expired", "peer", "certain"]),
        (with("early"), &[], ["client-cert-expired", "peer", "certain"]),
        (with("usage"), &[], ["client-cert-usage", "peer", "certain"]),
        (weak, &[], ["client-cert-unsound", "peer", "likely"]),
        (format!("{OPENSSL} -tls1_2"), &["--tls-min", "1.3"], ["client-versions-apart", "peer", "likely"]),
        (format!("{OPENSSL} -tls1_3"), &["--tls-max", "1.2"], ["client-versions-apart", "peer", "likely"]),
        (
            format!("{OPENSSL} -tls1_2 -cipher ECDHE-ECDSA-AES128-GCM-SHA256"),
            &[],
            ["client-algorithms-apart", "peer", "likely"],
        ),
        (format!("{refuses} {OWN}"), &[], ["our-cert-refused", "peer", "likely"]),
        (format!("{refuses} {OWN} -tls1_2"), &[], ["our-cert-refused", "peer", "likely"]),
        (
            // Some versions of curl verify only after the handshake.
            "/usr/bin/python3 -c \"import socket, ssl; s = socket.create_connection(('localhost', PORT)); \
             ssl.create_default_context(cafile='other-ca.pem').wrap_socket(s, server_hostname='localhost')\""
                .to_owned(),
            &[],
            ["our-cert-refused", "peer", "likely"],
        ),
        ("curl -s http://127.0.0.1:PORT/".to_owned(), &[], ["client-not-tls", "peer", "certain"]),
        (raw("s.sendall(b'EHLO me\\r\\n'); s.recv(9)"), &[], ["client-not-tls", "peer", "certain"]),
        (raw("s.close()"), &[], ["client-left", "peer", "likely"]),
        (raw("s.sendall(bytes.fromhex('1603010040')); s.close()"), &[], ["client-left", "peer", "likely"]),
        (raw("s.recv(9)"), &["--timeout", "0.3"], ["client-stalled", "peer", "likely"]),
    ];
    // NSS has no minimum for the length of a client's key above 1023 bits; OpenSSL's security level 2 has one of 2048.
    let over_nss = lab.identity.iter().any(|word| word == "--db");
    let mut wrong = Vec::new();
    for (line, words, [cause, component, confidence]) in &cases {
        let report = lab.one(words, lab.client(line));
        let given = verdict(&report);
        if over_nss && line.contains("weak.pem") {
            assert_eq!(given[0], "pass", "{report:#}");
        } else if given != ["fail", cause, component, confidence] {
            wrong.push(format!("{line}: {given:?} in place of {cause}: {}", report["verdict"]["summary"]));
        }
    }
    assert!(wrong.is_empty(), "{:?}: {wrong:#?}", lab.identity);
}

#[test]
fn every_objection_is_reported_with_its_depth() {
    let lab = Lab::new();
    let report = lab.one(&[], lab.client(&format!("{OPENSSL} -cert stranger.pem -key stranger.key")));
    let objections = fact(&report, "client-certificate.objection");
    assert!(objections.len() > 1 && objections.iter().all(|it| it.starts_with("depth 0, ")), "{objections:?}");
    assert!(fact(&report, "session.alert-sent").iter().any(|it| it.starts_with("unknown_ca")), "{report:#}");
}

/// Clients that send nothing, send single bytes, or keep a port busy do not keep others out, and are disconnected in
/// the end.
#[test]
fn hostile_clients_neither_hang_nor_exhaust_it() {
    every_seat().iter().for_each(hostile_clients_do_not_stop);
}

fn hostile_clients_do_not_stop(lab: &Lab) {
    let listening = lab.listen(&["--count", "9", "--at-once", "4", "--timeout", "1"]);
    let silent: Vec<TcpStream> = (0..7).map(|_| listening.connect()).collect();
    let mut drips = listening.connect();
    let hello = [&[0x16, 3, 1, 0, 200, 1, 0, 0, 196, 3, 3][..], &[0; 195]].concat();
    for byte in &hello {
        if drips.write_all(&[*byte]).is_err() {
            break;
        }
        std::thread::yield_now();
    }
    lab.client(&format!("{OPENSSL} {OWN}"))(&listening.port);
    let (status, reports, said) = listening.end();
    drop((silent, drips));
    assert_eq!((status.code(), reports.len()), (Some(1), 9), "{said}");
    let causes: Vec<&str> = reports.iter().map(|report| verdict(report)[1]).collect();
    assert_eq!(causes.iter().filter(|cause| **cause == "client-stalled").count(), 7, "{causes:?}");
    assert!(causes.contains(&"-"), "the real client was not served: {causes:?}");
}

/// Lengths of data that never arrives, and bytes that only look like TLS.
#[test]
fn records_that_lie_end_in_order() {
    let lab = Lab::new();
    let pieces: [&[u8]; 5] = [
        &[0x16, 3, 1, 0xff, 0xff, 1, 0xff, 0xff, 0xff],
        &[0x16, 3, 1, 0, 4, 1, 0xff, 0xff, 0xff],
        &[0x15, 3, 1, 0, 2, 2, 40],
        &[0x80, 0x2e, 1, 3, 1, 0, 0x15, 0, 0, 0, 0x10],
        &[0x17, 3, 3, 0, 5, 0, 0, 0, 0, 0],
    ];
    let count = pieces.len().to_string();
    let listening = lab.listen(&["--count", &count, "--timeout", "2"]);
    for bytes in pieces {
        let mut stream = listening.connect();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        // Until the server has answered or closed the connection.
        let _ = stream.read_to_end(&mut Vec::new());
    }
    let (status, reports, said) = listening.end();
    assert_eq!((status.code(), reports.len()), (Some(1), pieces.len()), "{said}");
    for report in &reports {
        assert_eq!(report["verdict"]["status"], "fail");
        assert!(report["verdict"]["cause"].as_str().unwrap().starts_with("client-"), "{:#}", report["verdict"]);
    }
}

#[test]
fn a_signal_ends_it_while_clients_are_connected() {
    let lab = Lab::new();
    for signal in [Signal::INT, Signal::TERM] {
        let listening = lab.listen(&["--timeout", "600"]);
        lab.client(&format!("{OPENSSL} {OWN}"))(&listening.port);
        let mut first = String::new();
        let mut listening = listening;
        let out = listening.child.stdout.as_mut().unwrap();
        let mut byte = [0];
        while byte != *b"\n" {
            out.read_exact(&mut byte).unwrap();
            first.push(char::from(byte[0]));
        }
        // A client that would keep the connection for ten minutes.
        let waits = listening.connect();
        listening.signal(signal);
        let (status, reports, said) = listening.end();
        drop(waits);
        assert!(first.contains("nssight/report/2") && reports.is_empty(), "{said}");
        assert_eq!(status.code(), Some(0), "{said}");
    }
}

#[test]
fn reports_of_both_ends_of_a_connection_match() {
    let lab = Lab::new();
    let listening = lab.listen(&["--count", "3"]);
    let own = ["--cert", "client.pem", "--key", "client.key"];
    let cases: [(&[&str], &str, Option<&str>); 3] = [
        (&[], "ca.pem", None),
        (&[], "other-ca.pem", Some("client")),
        (&["--cert", "stranger.pem", "--key", "stranger.key"], "ca.pem", Some("server")),
    ];
    for (place, (words, authorities, _)) in cases.iter().enumerate() {
        let words = if words.is_empty() { &own[..] } else { words };
        let mut command = binary();
        command.args([
            "diagnose",
            &format!("localhost:{}", listening.port),
            "--format",
            "json",
            "--cacert",
            authorities,
        ]);
        let report = run(command.args(words).current_dir(lab.case.dir.path()));
        lab.case.file(&format!("client-{place}.json"), &report.stdout);
    }
    let (_, reports, said) = listening.end();
    assert_eq!(reports.len(), 3, "{said}");
    let lines: Vec<String> = reports.iter().map(Value::to_string).collect();
    let server = lab.case.file("server.json", lines.join("\n"));
    for (place, (_, _, refused_by)) in cases.iter().enumerate() {
        let client = lab.path(&format!("client-{place}.json"));
        for (a, b, letter) in [(&client, &server, "a"), (&server, &client, "b")] {
            let compared = run(binary().args(["compare", "--format", "json"]).args([a, b]));
            let document = compared.report();
            assert_eq!(document["joined"]["client"], letter, "{compared:#?}");
            assert_eq!(document["joined"]["refused_by"].as_str(), *refused_by, "{document:#}");
            assert_eq!(compared.code, Some(i32::from(refused_by.is_some())));
            common::hold_to_schema("compare", std::slice::from_ref(&document));
        }
        let said = run(binary().arg("compare").args([&client, &server])).stdout;
        assert!(said.contains("The same connection, seen from both sides"), "{said}");
    }
    // Two reports of one host are not two ends.
    let compared = run(binary()
        .args(["compare", "--format", "json"])
        .args([lab.path("client-0.json"), lab.path("client-1.json")]));
    assert!(compared.report()["joined"].is_null(), "{compared:#?}");
}
