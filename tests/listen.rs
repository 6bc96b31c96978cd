//! `nssight listen`: the server's side of a connection, with real clients, healthy and with faults.

mod common;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use common::{Case, NICKNAME, PKI, binary, run};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The files of a server and of its clients.
struct Lab {
    case: Case,
    /// The options for the server's identity and the CAs trusted for its clients.
    identity: Vec<String>,
}

impl Lab {
    fn new() -> Self {
        let files = ["--cert", "server.pem", "--key", "server.key", "--cacert", "ca.pem"];
        let lab = Self { case: Case::new(), identity: files.map(str::to_owned).to_vec() };
        lab.keep("server", &PKI.bridge);
        lab.keep("client", &PKI.client);
        lab.keep("stranger", &PKI.stranger);
        lab.authority("ca.pem", &PKI.ca);
        lab.authority("other-ca.pem", &PKI.other_ca);
        lab
    }

    /// The server has its identity in a database, which trusts one CA for clients.
    fn with_database(format: DbFormat) -> Self {
        let lab = Self::new();
        let path = lab.case.database_of(format, &PKI.bridge, &[("lab-ca", &PKI.ca, "CT,,")]);
        let password = lab.case.password_file();
        let words = [format.directory(&path), NICKNAME.into(), password.into_os_string()];
        let names = ["--db", "--nickname", "--password-file"].map(str::to_owned);
        let pairs = names.into_iter().zip(words).flat_map(|(name, word)| [name, word.into_string().unwrap()]);
        Self { identity: pairs.collect(), ..lab }
    }

    fn keep(&self, name: &str, identity: &Identity) {
        let mut chain = identity.certificate.to_pem().unwrap();
        for issuer in &identity.chain {
            chain.extend(issuer.to_pem().unwrap());
        }
        self.case.file(&format!("{name}.pem"), chain);
        self.case.file(&format!("{name}.key"), identity.key.private_key_to_pem_pkcs8().unwrap());
    }

    fn authority(&self, name: &str, authority: &Identity) {
        self.case.file(name, authority.certificate.to_pem().unwrap());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.case.path(name)
    }

    /// Listens with these options in addition to the identity.
    fn listen(&self, words: &[&str]) -> Listening {
        let mut command = binary();
        command.args(["listen", "--format", "json", "--servername", "localhost"]);
        command.args(&self.identity).args(words).current_dir(self.case.dir.path());
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let mut error = BufReader::new(child.stderr.take().unwrap());
        let (mut said, mut port) = (String::new(), None);
        while port.is_none() {
            let mut line = String::new();
            assert!(error.read_line(&mut line).unwrap() > 0, "it does not listen: {said}");
            port = line.split_once("listening on 127.0.0.1:").map(|(_, port)| port.trim().to_owned());
            said += &line;
        }
        Listening { child, error, said, port: port.unwrap() }
    }

    /// The report on one client.
    fn one(&self, words: &[&str], client: impl FnOnce(&str)) -> Value {
        let listening = self.listen(&[&["--count", "1"], words].concat());
        client(&listening.port);
        let (status, mut reports, said) = listening.end();
        assert_eq!(reports.len(), 1, "{said}");
        let report = reports.remove(0);
        let passes = report["verdict"]["status"] == "pass";
        assert_eq!(status.code(), Some(i32::from(!passes)), "{report:#}");
        report
    }

    /// A client in a shell, where `PORT` stands for the port.
    fn client(&self, line: &str) -> impl FnOnce(&str) {
        let (line, directory) = (line.to_owned(), self.case.dir.path().to_owned());
        move |port: &str| {
            let line = line.replace("PORT", port);
            let mut command = Command::new("timeout");
            command.args(["20", "sh", "-c", &line]).current_dir(directory).stdin(Stdio::null());
            let Output { status, stderr, .. } = command.output().unwrap();
            // The shell did not find the client, or the client did not end.
            let code = status.code();
            assert!(code != Some(127) && code != Some(124), "{line}: {}", String::from_utf8_lossy(&stderr));
        }
    }
}

/// A process that listens.
struct Listening {
    child: Child,
    error: BufReader<std::process::ChildStderr>,
    said: String,
    port: String,
}

impl Listening {
    fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port.parse().unwrap())).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, the reports, and the other output.
    fn end(mut self) -> (ExitStatus, Vec<Value>, String) {
        let mut text = String::new();
        self.child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
        self.error.read_to_string(&mut self.said).unwrap();
        let status = self.child.wait().unwrap();
        let reports =
            text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")));
        (status, reports.collect(), std::mem::take(&mut self.said))
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        // A test that fails early must not leave a process behind.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Status, cause, component and confidence.
fn verdict(report: &Value) -> [&str; 4] {
    ["status", "cause", "component", "confidence"].map(|field| report["verdict"][field].as_str().unwrap_or("-"))
}

fn fact<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    let probes = report["probes"].as_array().unwrap().iter();
    let facts = probes.flat_map(|probe| probe["facts"].as_array().unwrap());
    facts.filter(|fact| fact["id"] == id).map(|fact| fact["text"].as_str().unwrap()).collect()
}

const OPENSSL: &str = "openssl s_client -connect 127.0.0.1:PORT -CAfile ca.pem -verify_return_error </dev/null";
const OWN: &str = "-cert client.pem -key client.key";
const PYTHON: &str = "/usr/bin/python3 -c \"
import socket, ssl
context = ssl.create_default_context(cafile='ca.pem')
context.load_cert_chain('client.pem', 'client.key')
with socket.create_connection(('127.0.0.1', PORT)) as plain:
    with context.wrap_socket(plain, server_hostname='localhost') as session:
        session.sendall(b'hello')
\"";

/// Files with OpenSSL, and a database of either format with NSS.
fn every_seat() -> [Lab; 3] {
    [Lab::new(), Lab::with_database(DbFormat::Sql), Lab::with_database(DbFormat::Dbm)]
}

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
