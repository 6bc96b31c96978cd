//! TLS sessions with OpenSSL and with NSS's own server.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, Spec, Usage as CertificateUsage};
use nssight_fixtures::endpoint::{Behaviour, ClientAuth as Wanted, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::{ErrorCode, Usage};
use nssight_session::End;
use nssight_session::SeenAlert;

use crate::client::{Client, TLS_1_2, TLS_1_3};
use crate::tools::{BOTH, Database, NICKNAME, PKI, certificates, usual};

fn endpoint(change: impl FnOnce(&mut Options)) -> Endpoint {
    let mut options = Options::new(&PKI.server, &PKI.ca);
    change(&mut options);
    Endpoint::start(options).expect("an endpoint")
}

fn ec_identity(builder: nssight_fixtures::nssdb::DbBuilder) -> nssight_fixtures::nssdb::DbBuilder {
    usual(builder)
        .x509_identity("ec client", &PKI.ec_client.certificate, &PKI.ec_client.key, "")
        .expect("OpenSSL encodes what it made")
}

#[test]
fn both_sides_show_their_certificates() {
    for format in BOTH {
        let database = Database::built(format, ec_identity);
        for (versions, nickname, subject) in [
            (TLS_1_2, NICKNAME, "\"client\""),
            (TLS_1_3, NICKNAME, "\"client\""),
            (TLS_1_2, "ec client", "\"ec client\""),
            (TLS_1_3, "ec client", "\"ec client\""),
        ] {
            let peer = endpoint(|_| ());
            let (nss, _slot) = database.unlocked();
            let mut client = Client::connect(&nss, peer.port(), versions, Some(nickname));
            assert_eq!(client.tls.versions(), versions);
            assert_eq!(client.tls.channel(), None, "before the handshake");
            client.tls.handshake().unwrap_or_else(|error| panic!("{format:?} {versions:x?} {nickname}: {error}"));
            let channel = client.tls.channel().expect("it is set up");
            assert_eq!((channel.version, channel.peer_key_bits), (versions.0, 2048));
            assert!(channel.suite_name.starts_with("TLS_"), "{channel:?}");

            let facts = client.tls.facts();
            assert_eq!(facts.decision, Some(Ok(())));
            assert_eq!(facts.objections, []);
            assert_eq!(facts.peer_chain, [PKI.server.certificate.to_der().expect("DER")]);
            let names = facts.asked_for_certificate.expect("it asks");
            assert_eq!(names.iter().map(|name| name.text.as_str()).collect::<Vec<_>>(), ["CN=Test CA,O=nssight lab"]);
            assert_eq!(names[0].der, PKI.ca.certificate.subject_name().to_der().expect("DER"));
            assert!(facts.gave_certificate);

            client.tls.finish().expect("close_notify is sent");
            assert_eq!(client.tls.read(&mut [0; 100]), Ok(0), "the peer closes too");
            let alerts = client.tls.facts().alerts;
            assert!(alerts.contains(&SeenAlert { sent: true, level: 1, description: 0 }), "{alerts:?}");
            assert!(alerts.contains(&SeenAlert { sent: false, level: 1, description: 0 }), "{alerts:?}");
            drop(client);
            assert_eq!((peer.connections(), peer.handshakes()), (1, 1));
            assert!(peer.clients()[0].contains(subject), "{:?}", peer.clients());
        }
    }
}

#[test]
fn a_missing_certificate_shows_in_the_handshake_or_at_the_first_read() {
    let database = Database::built(DbFormat::Sql, usual);
    let peer = endpoint(|_| ());
    let nss = database.open();

    let mut client = Client::connect(&nss, peer.port(), TLS_1_2, None);
    let error = client.tls.handshake().expect_err("the peer refuses");
    assert_eq!(error.name, "SSL_ERROR_HANDSHAKE_FAILURE_ALERT");
    let facts = client.tls.facts();
    assert!(facts.asked_for_certificate.is_some() && !facts.gave_certificate);
    drop(client);

    let mut client = Client::connect(&nss, peer.port(), TLS_1_3, None);
    client.tls.handshake().expect("our side is complete before the peer has judged");
    let error = client.tls.read(&mut [0; 100]).expect_err("the peer refuses");
    assert_eq!(error.name, "SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT");
    assert_eq!(client.tls.facts().alerts, [SeenAlert { sent: false, level: 2, description: 116 }]);
}

#[test]
fn a_peer_that_does_not_ask_gets_no_certificate() {
    let database = Database::built(DbFormat::Sql, usual);
    let peer = endpoint(|options| options.client_auth = Wanted::None);
    let (nss, _slot) = database.unlocked();
    for versions in [TLS_1_2, TLS_1_3] {
        let mut client = Client::connect(&nss, peer.port(), versions, Some(NICKNAME));
        client.tls.handshake().expect("a handshake");
        let facts = client.tls.facts();
        assert!(facts.asked_for_certificate.is_none() && !facts.gave_certificate);
    }
}

#[test]
fn peer_faults_are_reported() {
    let server = Spec::new("server", CertificateUsage::Server).names(&["localhost"]);
    let foreign = PKI.other_ca.issue(&server).expect("a certificate");
    let namesake = Identity::authority("Test CA").expect("a CA with the same name and another key");
    let impostor = namesake.issue(&server).expect("a certificate");
    let cases = [
        ("", &PKI.server, "localhost", ErrorCode::SEC_ERROR_UNTRUSTED_ISSUER, 48),
        ("C,,", &PKI.server, "elsewhere", ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN, 42),
        ("C,,", &foreign, "localhost", ErrorCode::SEC_ERROR_UNKNOWN_ISSUER, 48),
        ("C,,", &PKI.client, "localhost", ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE, 46),
        ("C,,", &impostor, "localhost", ErrorCode::SEC_ERROR_UNKNOWN_ISSUER, 48),
    ];
    for (trust, identity, host, code, alert) in cases {
        let database = Database::built(DbFormat::Sql, |builder| certificates(builder, &[("ca", &PKI.ca, trust)]));
        let peer = endpoint(|options| options.identity = identity.clone());
        let nss = database.open();
        for versions in [TLS_1_2, TLS_1_3] {
            let mut client = Client::connect_as(host, &nss, peer.port(), versions, None);
            let error = client.tls.handshake().expect_err("it is refused");
            let facts = client.tls.facts();
            assert_eq!(error.code, code, "{error}");
            assert_eq!(facts.decision.expect("NSS was asked").expect_err("and refused").code, code);
            assert_eq!(facts.name_error.is_some(), code == ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN);
            assert_eq!(facts.objections.is_empty(), facts.name_error.is_some(), "{:?}", facts.objections);
            assert_eq!(facts.alerts, [SeenAlert { sent: true, level: 2, description: alert }], "{error}");
        }
    }
}

#[test]
fn a_silent_peer_ends_at_the_deadline() {
    let database = Database::built(DbFormat::Sql, usual);
    let silent = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
    let port = silent.local_addr().expect("it is bound").port();
    let nss = database.open();
    // The kernel completes the connection; no program ever accepts it.
    let mut client = Client::connect(&nss, port, TLS_1_2, None);
    ends_at_the_deadline(&mut client);
    assert_eq!(client.traffic.borrow().received, 0);
}

#[test]
fn a_peer_that_drips_ends_at_the_deadline() {
    let database = Database::built(DbFormat::Sql, usual);
    let peer = endpoint(|options| options.behaviour = Behaviour::Drip(Duration::from_millis(30)));
    let nss = database.open();
    for versions in [TLS_1_2, TLS_1_3] {
        let mut client = Client::connect(&nss, peer.port(), versions, None);
        ends_at_the_deadline(&mut client);
        let received = client.traffic.borrow().received;
        assert!((2..40).contains(&received), "{received} bytes, each well before the deadline");
    }
}

/// Without a deadline the test would wait for ever; the limit leaves time for a busy machine to resume the test.
const BUSY: Duration = Duration::from_secs(15);

fn ends_at_the_deadline(client: &mut Client) {
    let patience = Duration::from_millis(600);
    let start = Instant::now();
    client.control.set_deadline(start + patience);
    let error = client.tls.handshake().expect_err("it does not complete");
    let took = start.elapsed();
    assert!(nssight_nss::transport::timed_out(&error), "{error}");
    assert!((patience..patience + BUSY).contains(&took), "{took:?}");
    assert_eq!(client.traffic.borrow().ends, [End::TimedOut]);
    // Calls after the deadline do not wait either.
    let start = Instant::now();
    client.tls.read(&mut [0; 10]).expect_err("the session is over");
    assert!(start.elapsed() < BUSY);
}

#[test]
fn session_tickets_alone_count_as_an_answer() {
    let database = Database::built(DbFormat::Sql, usual);
    let peer = endpoint(|_| ());
    let (nss, _slot) = database.unlocked();
    let mut client = Client::connect(&nss, peer.port(), TLS_1_3, Some(NICKNAME));
    client.tls.handshake().expect("a handshake");
    client.control.stop_when_idle(true);
    let start = Instant::now();
    let error = client.tls.read(&mut [0; 100]).expect_err("no application data");
    assert_eq!(error.code, ErrorCode::PR_WOULD_BLOCK_ERROR, "{error}");
    assert!(client.control.received_since() > 0);
    assert!(start.elapsed() < Duration::from_secs(5), "it did not wait for the deadline");
    assert_eq!(client.traffic.borrow().ends, [], "nothing has ended");

    // The session continues normally.
    client.control.stop_when_idle(false);
    assert_eq!(client.control.received_since(), 0);
    client.tls.write(b"ping").expect("it writes");
    client.tls.finish().expect("close_notify is sent");
    assert_eq!(client.tls.read(&mut [0; 100]), Ok(0));
}

#[test]
fn close_and_reset_are_distinguished() {
    let database = Database::built(DbFormat::Sql, usual);
    let (nss, _slot) = database.unlocked();
    let leave = |leave| endpoint(|options| options.behaviour = Behaviour::LeaveAfterHandshake(leave));

    let peer = leave(Leave::Close);
    let mut client = Client::connect(&nss, peer.port(), TLS_1_2, Some(NICKNAME));
    client.tls.handshake().expect("a handshake");
    assert_eq!(client.tls.read(&mut [0; 100]), Ok(0));
    assert_eq!(client.tls.facts().alerts, [], "a FIN without close_notify");
    assert_eq!(client.traffic.borrow().ends, [End::Closed]);
    drop(client);

    let peer = leave(Leave::Reset);
    let mut client = Client::connect(&nss, peer.port(), TLS_1_2, Some(NICKNAME));
    client.tls.handshake().expect("a handshake");
    let error = client.tls.read(&mut [0; 100]).expect_err("reset");
    assert_eq!(error.code, ErrorCode::PR_CONNECT_RESET_ERROR);
    assert_eq!(client.traffic.borrow().ends, [End::Reset]);
}

/// selfserv on a database of its own, killed when dropped. It has no option for the address to listen on.
struct Selfserv {
    process: Child,
    port: u16,
    _database: Database,
}

impl Selfserv {
    fn start(versions: &str) -> Self {
        let database = Database::built(DbFormat::Sql, |builder| {
            let builder = builder.x509_identity("server", &PKI.server.certificate, &PKI.server.key, "");
            certificates(builder.expect("OpenSSL encodes what it made"), &[("ca", &PKI.ca, "CT,,")])
        });
        let password = database.path().with_file_name("password");
        // Another program may take the port before selfserv does: selfserv ends then, and another port is tried.
        for _ in 0..10 {
            let port =
                TcpListener::bind(("127.0.0.1", 0)).and_then(|listener| listener.local_addr()).expect("a port").port();
            let mut process = Command::new("selfserv")
                .arg("-d")
                .arg(database.name())
                .args(["-n", "server", "-p", &port.to_string(), "-V", versions, "-r", "-r", "-f"])
                .arg(&password)
                .stdin(Stdio::null())
                .stdout(Stdio::null())
                .stderr(fs::File::create(database.path().with_file_name("selfserv.log")).expect("a log"))
                .spawn()
                .expect("selfserv is needed (Debian: libnss3-tools)");
            let deadline = Instant::now() + Duration::from_secs(20);
            while Instant::now() < deadline && process.try_wait().expect("it is our child").is_none() {
                if TcpStream::connect(("127.0.0.1", port)).is_ok() {
                    return Self { process, port, _database: database };
                }
                thread::sleep(Duration::from_millis(20));
            }
            let _ = process.kill();
            let _ = process.wait();
        }
        let log = fs::read_to_string(database.path().with_file_name("selfserv.log")).unwrap_or_default();
        panic!("selfserv does not listen: {log}");
    }
}

impl Drop for Selfserv {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn the_server_of_nss_accepts_our_certificate() {
    let database = Database::built(DbFormat::Sql, usual);
    for (versions, name) in [(TLS_1_2, "tls1.2:tls1.2"), (TLS_1_3, "tls1.3:tls1.3")] {
        let server = Selfserv::start(name);
        let (nss, _slot) = database.unlocked();
        let mut client = Client::connect(&nss, server.port, versions, Some(NICKNAME));
        client.tls.handshake().unwrap_or_else(|error| panic!("{name}: {error}"));
        let facts = client.tls.facts();
        assert!(facts.gave_certificate && facts.objections.is_empty(), "{facts:?}");
        client.tls.write(b"GET / HTTP/1.0\r\n\r\n").expect("it writes");
        let mut answer = [0; 512];
        let count = client.tls.read(&mut answer).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(answer[..count].starts_with(b"HTTP/1.0 200"), "{}", String::from_utf8_lossy(&answer[..count]));
    }
}

#[test]
fn sessions_work_after_nss_was_closed_and_opened_again() {
    let peer = endpoint(|_| ());
    for format in [DbFormat::Sql, DbFormat::Dbm, DbFormat::Sql] {
        let database = Database::built(format, usual);
        for versions in [TLS_1_2, TLS_1_3] {
            let (nss, _slot) = database.unlocked();
            let certificate = nssight_nss::Certificate::find(NICKNAME, &nss).expect("it is there");
            assert_eq!(certificate.verify(Usage::SslClient), []);
            let mut client = Client::connect(&nss, peer.port(), versions, Some(NICKNAME));
            client.tls.handshake().unwrap_or_else(|error| panic!("{format:?}: {error}"));
            client.tls.finish().expect("close_notify is sent");
            assert_eq!(client.tls.read(&mut [0; 100]), Ok(0), "the peer has judged us, and closes");
        }
    }
    assert_eq!(peer.handshakes(), 6);
}
