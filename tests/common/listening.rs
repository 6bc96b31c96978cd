//! `nssight listen` in a directory with the files of a server and of its clients.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Output, Stdio};

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Case, NICKNAME, PKI, binary};

/// The files of a server and of its clients.
pub struct Lab {
    pub case: Case,
    /// The options for the server's identity and the CAs trusted for its clients.
    pub identity: Vec<String>,
}

impl Lab {
    pub fn new() -> Self {
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
    pub fn with_database(format: DbFormat) -> Self {
        let lab = Self::new();
        let path = lab.case.database_of(format, &PKI.bridge, &[("lab-ca", &PKI.ca, "CT,,")]);
        let password = lab.case.password_file();
        let words = [format.directory(&path), NICKNAME.into(), password.into_os_string()];
        let names = ["--db", "--nickname", "--password-file"].map(str::to_owned);
        let pairs = names.into_iter().zip(words).flat_map(|(name, word)| [name, word.into_string().unwrap()]);
        Self { identity: pairs.collect(), ..lab }
    }

    pub fn keep(&self, name: &str, identity: &Identity) {
        let mut chain = identity.certificate.to_pem().unwrap();
        for issuer in &identity.chain {
            chain.extend(issuer.to_pem().unwrap());
        }
        self.case.file(&format!("{name}.pem"), chain);
        self.case.file(&format!("{name}.key"), identity.key.private_key_to_pem_pkcs8().unwrap());
    }

    pub fn authority(&self, name: &str, authority: &Identity) {
        self.case.file(name, authority.certificate.to_pem().unwrap());
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.case.path(name)
    }

    /// Listens with these options in addition to the identity.
    pub fn listen(&self, words: &[&str]) -> Listening {
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
    pub fn one(&self, words: &[&str], client: impl FnOnce(&str)) -> Value {
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
    pub fn client(&self, line: &str) -> impl FnOnce(&str) {
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
pub struct Listening {
    pub child: Child,
    pub error: BufReader<std::process::ChildStderr>,
    pub said: String,
    pub port: String,
}

impl Listening {
    pub fn connect(&self) -> TcpStream {
        TcpStream::connect(("127.0.0.1", self.port.parse().unwrap())).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// The exit code, the reports, and the other output.
    pub fn end(mut self) -> (ExitStatus, Vec<Value>, String) {
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
pub fn verdict(report: &Value) -> [&str; 4] {
    ["status", "cause", "component", "confidence"].map(|field| report["verdict"][field].as_str().unwrap_or("-"))
}

pub fn fact<'a>(report: &'a Value, id: &str) -> Vec<&'a str> {
    let probes = report["probes"].as_array().unwrap().iter();
    let facts = probes.flat_map(|probe| probe["facts"].as_array().unwrap());
    facts.filter(|fact| fact["id"] == id).map(|fact| fact["text"].as_str().unwrap()).collect()
}

pub const OPENSSL: &str = "openssl s_client -connect 127.0.0.1:PORT -CAfile ca.pem -verify_return_error </dev/null";
pub const OWN: &str = "-cert client.pem -key client.key";
pub const PYTHON: &str = "/usr/bin/python3 -c \"
import socket, ssl
context = ssl.create_default_context(cafile='ca.pem')
context.load_cert_chain('client.pem', 'client.key')
with socket.create_connection(('127.0.0.1', PORT)) as plain:
    with context.wrap_socket(plain, server_hostname='localhost') as session:
        session.sendall(b'hello')
\"";

/// Files with OpenSSL, and a database of either format with NSS.
pub fn every_seat() -> [Lab; 3] {
    [Lab::new(), Lab::with_database(DbFormat::Sql), Lab::with_database(DbFormat::Dbm)]
}
