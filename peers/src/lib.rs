//! TLS servers of other projects, each set up from the same few settings. They listen on loopback, on a port that the kernel picked.

mod services;
mod tools;
mod web;

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nssight_fixtures::authority::Identity;
use nssight_fixtures::ports;
use rustix::process::{Pid, Signal, kill_process};
use serde::Deserialize;

/// Why a server could not be set up.
pub type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A server that does not listen within this time has failed to start.
const STARTS_WITHIN: Duration = Duration::from_secs(60);
/// A server that has not ended this long after the request to end is killed.
const ENDS_WITHIN: Duration = Duration::from_secs(10);
const LOOKS_EVERY: Duration = Duration::from_millis(10);

/// What a server requires of its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Asks {
    /// A certificate: clients without one are refused.
    #[default]
    Required,
    /// A certificate, if there is one.
    Optional,
    /// Nothing.
    Nothing,
}

impl Asks {
    /// The word for it in a server's configuration.
    fn spelled(self, required: &'static str, optional: &'static str, nothing: &'static str) -> &'static str {
        match self {
            Self::Required => required,
            Self::Optional => optional,
            Self::Nothing => nothing,
        }
    }
}

/// The TLS version that a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum Tls {
    /// RFC 5246.
    #[serde(rename = "tls1.2")]
    V12,
    /// RFC 8446.
    #[serde(rename = "tls1.3")]
    V13,
}

impl Tls {
    /// As nssight spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::V12 => "tls1.2",
            Self::V13 => "tls1.3",
        }
    }

    /// As OpenSSL, and with it most servers and Java, spell it.
    pub fn openssl_name(self) -> &'static str {
        match self {
            Self::V12 => "TLSv1.2",
            Self::V13 => "TLSv1.3",
        }
    }

    /// As a priority string of GnuTLS.
    fn gnutls_priority(self) -> &'static str {
        match self {
            Self::V12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
            Self::V13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
        }
    }
}

/// The settings of a server.
pub struct Setup<'a> {
    /// A directory for this server alone.
    pub directory: &'a Path,
    /// Certificate, key, and the intermediates that it sends.
    pub identity: &'a Identity,
    /// The CA of its clients.
    pub client_ca: &'a Identity,
    /// What it requires of its clients.
    pub asks: Asks,
    /// The one version that it speaks.
    pub version: Tls,
}

/// The files that most servers read.
struct Files {
    /// Certificate and intermediates, PEM.
    certificate: PathBuf,
    /// Private key, PEM.
    key: PathBuf,
    /// All three in one.
    combined: PathBuf,
    /// The CA of the clients, PEM.
    client_ca: PathBuf,
}

type Start = fn(&Setup<'_>, &Files, u16) -> Result<Command, Failure>;

/// One kind of server.
pub struct Server {
    /// Its name.
    pub name: &'static str,
    /// The protocol with which its clients request TLS, if they do.
    pub starttls: Option<&'static str>,
    start: Start,
    /// The signal that ends it, its children included.
    ends_by: Signal,
}

impl Server {
    const fn new(name: &'static str, start: Start) -> Self {
        Self { name, starttls: None, start, ends_by: Signal::KILL }
    }

    const fn starttls(self, protocol: &'static str) -> Self {
        Self { starttls: Some(protocol), ..self }
    }

    const fn ends_by(self, signal: Signal) -> Self {
        Self { ends_by: signal, ..self }
    }
}

/// TLS servers, and services with TLS.
pub const SERVERS: &[Server] = &[
    Server::new("s_server", tools::s_server),
    Server::new("selfserv", tools::selfserv),
    Server::new("gnutls-serv", tools::gnutls_serv),
    Server::new("nginx", web::nginx),
    Server::new("apache", web::apache),
    Server::new("haproxy", web::haproxy),
    Server::new("stunnel", web::stunnel),
    Server::new("jsse", tools::jsse),
    // Ends at once, without notifying its clients (postgres(1)).
    Server::new("postgresql", services::postgresql).starttls("postgres").ends_by(Signal::QUIT),
    Server::new("slapd", services::slapd).starttls("ldap"),
    Server::new("slapd-ldaps", services::slapd_ldaps),
    Server::new("exim", services::exim).starttls("smtp").ends_by(Signal::TERM),
    Server::new("dovecot", services::dovecot).starttls("imap").ends_by(Signal::TERM),
    Server::new("prometheus", services::prometheus),
];

/// HTTP without TLS.
pub const HTTP: Server = Server::new("http", web::http);

/// The server of this name.
pub fn server(name: &str) -> Option<&'static Server> {
    SERVERS.iter().find(|server| server.name == name)
}

/// A running server. Dropping it ends the server.
pub struct Running {
    child: Child,
    ends_by: Signal,
    /// The port on which it listens.
    pub port: u16,
}

impl Running {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it ended on its own within this time.
    fn ends_within(&mut self, time: Duration) -> bool {
        let until = Instant::now() + time;
        loop {
            match self.child.try_wait() {
                Ok(None) if Instant::now() < until => std::thread::sleep(LOOKS_EVERY),
                Ok(None) => return false,
                _ => return true,
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if self.ends_by != Signal::KILL && kill_process(Pid::from_child(&self.child), self.ends_by).is_ok() {
            // A server with children needs time to end them.
            if self.ends_within(ENDS_WITHIN) {
                return;
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it is not installed or does not start; its output is in the directory.
    pub fn start(&self, setup: &Setup<'_>) -> Result<Running, Failure> {
        let files = Files::write(setup)?;
        let port = ports::listen()?.local_addr()?.port();
        let path = setup.directory.join("said");
        let said = File::create(&path)?;
        let mut command = (self.start)(setup, &files, port)?;
        command.current_dir(setup.directory).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().map_err(|error| format!("{} (make deps): {error}", self.name))?;
        let mut running = Running { child, ends_by: self.ends_by, port };
        let until = Instant::now() + STARTS_WITHIN;
        while !listens(port)? {
            let has_ended = running.child.try_wait()?.is_some();
            if has_ended || Instant::now() > until {
                let said = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
                return Err(format!("{} does not listen: {said}", self.name).into());
            }
            std::thread::sleep(LOOKS_EVERY);
        }
        Ok(running)
    }
}

/// Whether something listens on this port, without a connection to it.
fn listens(port: u16) -> io::Result<bool> {
    let wanted = format!(":{port:04X}");
    for table in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let text = fs::read_to_string(table)?;
        // Local address, remote address, state; 0A is LISTEN (proc(5)).
        let listening = text.lines().map(|line| line.split_whitespace().skip(1).take(3).collect::<Vec<_>>());
        if listening.into_iter().any(|row| row.len() == 3 && row[0].ends_with(&wanted) && row[2] == "0A") {
            return Ok(true);
        }
    }
    Ok(false)
}

impl Files {
    fn write(setup: &Setup<'_>) -> Result<Self, Failure> {
        let path = |name: &str| setup.directory.join(name);
        let files = Self {
            certificate: path("server.pem"),
            key: path("server.key"),
            combined: path("combined.pem"),
            client_ca: path("client-ca.pem"),
        };
        let mut certificate = setup.identity.certificate.to_pem()?;
        for link in &setup.identity.chain {
            certificate.extend(link.to_pem()?);
        }
        let key = setup.identity.key.private_key_to_pem_pkcs8()?;
        fs::write(&files.certificate, &certificate)?;
        fs::write(&files.key, &key)?;
        fs::write(&files.combined, [certificate, key].concat())?;
        fs::write(&files.client_ca, setup.client_ca.certificate.to_pem()?)?;
        Ok(files)
    }
}
