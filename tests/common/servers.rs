//! Servers of other projects: NSS's selfserv and OpenSSL's s_server.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_fixtures::ports;
use openssl::ssl::{Ssl, SslContext, SslMethod, SslStream, SslVerifyMode, SslVersion};

use super::{Case, PASSWORD, PKI};

/// A server of another project, ended when this value is dropped.
pub struct Server {
    child: Child,
    pub port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Settings of NSS's own server.
pub struct Selfserv<'a> {
    pub version: &'a str,
    /// Trust of the CA in its database.
    pub trust: &'a str,
}

/// NSS's own server, which accepts clients of the lab's CA.
pub fn selfserv(case: &Case, version: &str) -> Server {
    selfserv_with(case, Selfserv { version, trust: "CT,C,C" })
}

/// NSS's own server. It does not accept port 0, so the kernel is asked for a free port first; it has no option to listen on loopback only.
pub fn selfserv_with(case: &Case, Selfserv { version, trust }: Selfserv<'_>) -> Server {
    let directory = case.path("server-db");
    DbBuilder::new(DbFormat::Sql)
        .password(PASSWORD.as_bytes())
        .x509_identity("bridge", &PKI.bridge.certificate, &PKI.bridge.key, "")
        .unwrap()
        .x509("lab-ca", &PKI.ca.certificate, trust)
        .unwrap()
        .build(&directory)
        .unwrap();
    let port = ports::listen().unwrap().local_addr().unwrap().port();
    let mut command = Command::new("selfserv");
    command.arg("-d").arg(DbFormat::Sql.directory(&directory)).args(["-n", "bridge", "-r", "-r"]);
    command.args(["-p", &port.to_string(), "-V", &format!("{version}:{version}"), "-f"]).arg(case.password_file());
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let server = Server { child: child.expect("selfserv must be installed (make deps)"), port };
    let patience = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < patience, "selfserv does not listen");
        std::thread::sleep(Duration::from_millis(20));
    }
    server
}

/// OpenSSL's server, which prints the port that the kernel chose.
pub fn s_server(case: &Case, version: &str) -> Server {
    s_server_with(case, version, &[])
}

/// As [`s_server`], with more options.
pub fn s_server_with(case: &Case, version: &str, options: &[&str]) -> Server {
    let certificate = case.file("bridge.pem", PKI.bridge.certificate.to_pem().unwrap());
    let key = case.file("bridge.key", PKI.bridge.key.private_key_to_pem_pkcs8().unwrap());
    let ca = case.file("ca.pem", PKI.ca.certificate.to_pem().unwrap());
    let mut command = Command::new("openssl");
    command.args(["s_server", "-accept", "127.0.0.1:0", "-Verify", "1", "-verify_return_error", version, "-cert"]);
    command.arg(certificate).arg("-key").arg(key).arg("-CAfile").arg(ca).args(options);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
    let mut child = child.expect("openssl must be installed (make deps)");
    let mut lines = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.starts_with("ACCEPT ") {
        line.clear();
        assert!(lines.read_line(&mut line).unwrap() > 0, "s_server does not listen");
    }
    // The output must be read to its end, or s_server blocks when the pipe is full.
    std::thread::spawn(move || lines.read_to_end(&mut Vec::new()));
    Server { child, port: line.trim().rsplit(':').next().unwrap().parse().unwrap() }
}

/// Whether NSS accepts data that a server sends before it has read the client's flight (RFC 8446, 2): 3.110 does, and 3.132 ends the
/// session with `SSL_ERROR_RX_UNEXPECTED_APPLICATION_DATA`.
pub fn nss_takes_early_words() -> bool {
    nssight_nss::library::nss_release() < (3, 132)
}

/// How a TLS 1.3 server judges its clients.
#[derive(Clone, Copy)]
pub struct Judge {
    /// It takes this long to verify a certificate.
    pub after: Duration,
    pub refuses: bool,
    /// It sends data in its own first flight.
    pub speaks_first: bool,
    pub tickets: usize,
    /// It ends the session as soon as it is established.
    pub leaves: bool,
}

/// A server for this many connections; if it never finishes, it ends with the test.
pub fn judging(judge: Judge, connections: usize) -> (u16, JoinHandle<()>) {
    let listener = ports::listen().unwrap();
    let port = listener.local_addr().unwrap().port();
    let mut context = SslContext::builder(SslMethod::tls_server()).unwrap();
    context.set_min_proto_version(Some(SslVersion::TLS1_3)).unwrap();
    context.set_certificate(&PKI.bridge.certificate).unwrap();
    context.set_private_key(&PKI.bridge.key).unwrap();
    // Avoids a HelloRetryRequest, which newer versions send for a group that they prefer.
    context.set_groups_list("X25519:P-256").unwrap();
    context.set_num_tickets(judge.tickets).unwrap();
    context.set_verify_callback(SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT, move |_, store| {
        // A refusing callback is called only once: its first objection, at any depth, ends the verification.
        if judge.refuses || store.error_depth() == 0 {
            thread::sleep(judge.after);
        }
        !judge.refuses
    });
    let context = context.build();
    let serve = move |socket: TcpStream| {
        let mut stream = SslStream::new(Ssl::new(&context).unwrap(), socket).unwrap();
        if judge.speaks_first {
            // Half a round trip early (RFC 8446, 2): before the client's flight has arrived, which is not an acceptance.
            let _ = stream.read_early_data(&mut [0; 16]).and_then(|_| stream.write_early_data(b"220 ready\r\n"));
        }
        let is_up = stream.accept().is_ok();
        if is_up && judge.leaves {
            let _ = stream.shutdown();
        } else if is_up {
            // Until the client disconnects.
            let _ = stream.ssl_read(&mut [0; 16]);
        }
    };
    let worker = thread::spawn(move || {
        thread::scope(|scope| {
            for socket in listener.incoming().take(connections) {
                let (serve, socket) = (&serve, socket.unwrap());
                scope.spawn(move || serve(socket));
            }
        });
    });
    (port, worker)
}
