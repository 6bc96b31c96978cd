//! Real TLS servers, each set up from the same few facts. They listen on loopback, on a port that the kernel picked.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_fixtures::ports;

use crate::Failure;
use crate::case::{Asks, Judge, Tls};
use crate::late;

/// A server that does not listen by then will not.
const STARTS_WITHIN: Duration = Duration::from_secs(30);

/// How a server is to be.
pub(crate) struct Setup<'a> {
    /// A directory of its own.
    pub directory: &'a Path,
    /// Certificate, key, and the intermediates that it sends.
    pub identity: &'a Identity,
    /// The CA of its clients.
    pub client_ca: &'a Identity,
    /// What it wants of them.
    pub asks: Asks,
    /// The one version that it speaks.
    pub version: Tls,
    /// When and how it judges.
    pub judge: &'a Judge,
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

/// One kind of server.
pub(crate) struct Peer {
    /// As the data and the table spell it.
    pub name: &'static str,
    kind: Kind,
}

type Start = fn(&Setup<'_>, &Files, u16) -> Result<Command, Failure>;

enum Kind {
    /// A TLS server that every fault is tried with, unless it names its peers.
    Server(Start),
    /// Something else that listens.
    Listener(Start),
    /// A server that is stopped as soon as it listens, so that the kernel takes connections for it.
    Stopped(Start),
    /// A server in this process.
    Late,
    /// Nobody listens.
    Nobody,
    /// A host in a network of its own.
    Network,
}

/// All of them; those that every fault is tried with come first.
pub(crate) const PEERS: &[Peer] = &[
    Peer { name: "s_server", kind: Kind::Server(s_server) },
    Peer { name: "selfserv", kind: Kind::Server(selfserv) },
    Peer { name: "gnutls-serv", kind: Kind::Server(gnutls_serv) },
    Peer { name: "nginx", kind: Kind::Server(nginx) },
    Peer { name: "apache", kind: Kind::Server(apache) },
    Peer { name: "haproxy", kind: Kind::Server(haproxy) },
    Peer { name: "stunnel", kind: Kind::Server(stunnel) },
    Peer { name: "jsse", kind: Kind::Server(jsse) },
    Peer { name: "late", kind: Kind::Late },
    Peer { name: "http", kind: Kind::Listener(http) },
    Peer { name: "stopped", kind: Kind::Stopped(s_server) },
    Peer { name: "nobody", kind: Kind::Nobody },
    Peer { name: "network", kind: Kind::Network },
];

/// A server that runs. Dropping it ends it.
pub(crate) struct Running {
    child: Option<Child>,
    /// Where it listens.
    pub port: u16,
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Peer {
    /// Whether every fault is tried with it, unless it names its peers.
    pub(crate) fn is_usual(&self) -> bool {
        matches!(self.kind, Kind::Server(_))
    }

    /// Whether it is a host in a network of its own, which [`crate::network`] makes.
    pub(crate) fn is_elsewhere(&self) -> bool {
        matches!(self.kind, Kind::Network)
    }

    /// Starts it and waits until it listens.
    ///
    /// # Errors
    /// When it is not installed or does not start; what it said is in the directory.
    pub(crate) fn start(&self, setup: &Setup<'_>) -> Result<Running, Failure> {
        let files = Files::write(setup)?;
        let port = ports::listen()?.local_addr()?.port();
        let start = match self.kind {
            Kind::Server(start) | Kind::Listener(start) | Kind::Stopped(start) => start,
            Kind::Late => return Ok(Running { child: None, port: late::serve(setup)? }),
            Kind::Nobody | Kind::Network => return Ok(Running { child: None, port }),
        };
        let said = File::create(setup.directory.join("said"))?;
        let mut command = start(setup, &files, port)?;
        command.current_dir(setup.directory).stdin(Stdio::null()).stdout(said.try_clone()?).stderr(said);
        let child = command.spawn().map_err(|error| format!("{}: {error}", self.name))?;
        let mut running = Running { child: Some(child), port };
        let until = Instant::now() + STARTS_WITHIN;
        while !listens(port)? {
            let has_ended = running.child.as_mut().map_or(Ok(None), Child::try_wait)?.is_some();
            if has_ended || Instant::now() > until {
                let said = fs::read_to_string(setup.directory.join("said"))?;
                return Err(format!("{} does not listen: {said}", self.name).into());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        if let (Kind::Stopped(_), Some(child)) = (&self.kind, &running.child) {
            let stopped = Command::new("kill").args(["-STOP", &child.id().to_string()]).status()?;
            if !stopped.success() {
                return Err("the server could not be stopped".into());
            }
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

fn s_server(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("openssl");
    command.args(["s_server", "-quiet", "-naccept", "1000", "-accept", &format!("127.0.0.1:{port}")]);
    command.arg("-cert").arg(&files.certificate).arg("-key").arg(&files.key);
    command.arg("-cert_chain").arg(&files.certificate).arg("-CAfile").arg(&files.client_ca);
    command.arg(match setup.version {
        Tls::V12 => "-tls1_2",
        Tls::V13 => "-tls1_3",
    });
    match setup.asks {
        Asks::Required => command.args(["-Verify", "5", "-verify_return_error"]),
        Asks::Optional => command.args(["-verify", "5", "-verify_return_error"]),
        Asks::Nothing => &mut command,
    };
    Ok(command)
}

fn selfserv(setup: &Setup<'_>, _: &Files, port: u16) -> Result<Command, Failure> {
    let (certificate, key) = (&setup.identity.certificate, &setup.identity.key);
    let mut builder =
        DbBuilder::new(DbFormat::Sql).password(b"server").x509_identity("server", certificate, key, "")?;
    for (index, link) in setup.identity.chain.iter().enumerate() {
        builder = builder.x509(&format!("intermediate {index}"), link, ",,")?;
    }
    builder = builder.x509("client-ca", &setup.client_ca.certificate, "T,,")?;
    builder.build(&setup.directory.join("db"))?;
    let mut command = Command::new("selfserv");
    command.args(["-d", "sql:db", "-n", "server", "-w", "server", "-p", &port.to_string()]);
    let version = setup.version.as_str();
    command.args(["-V", &format!("{version}:{version}")]);
    match setup.asks {
        Asks::Required => command.arg("-rr"),
        Asks::Optional => command.arg("-r"),
        Asks::Nothing => &mut command,
    };
    Ok(command)
}

fn gnutls_serv(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("gnutls-serv");
    command.args(["--quiet", "--echo", "--port", &port.to_string()]);
    command.arg("--x509certfile").arg(&files.certificate).arg("--x509keyfile").arg(&files.key);
    command.arg("--x509cafile").arg(&files.client_ca);
    command.arg("--priority").arg(match setup.version {
        Tls::V12 => "NORMAL:-VERS-ALL:+VERS-TLS1.2",
        Tls::V13 => "NORMAL:-VERS-ALL:+VERS-TLS1.3",
    });
    match setup.asks {
        Asks::Required => command.args(["--require-client-cert", "--verify-client-cert"]),
        Asks::Optional => command.arg("--verify-client-cert"),
        Asks::Nothing => command.arg("--disable-client-cert"),
    };
    Ok(command)
}

fn nginx(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("on", "optional", "off");
    let directory = setup.directory.display();
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let text = format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {version}; ssl_certificate {certificate}; ssl_certificate_key {key};
ssl_client_certificate {ca}; ssl_verify_client {verify}; location / {{ return 200; }} }} }}\n"
    );
    let config = setup.directory.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config).arg("-e").arg("stderr");
    Ok(command)
}

fn apache(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("require", "optional", "none");
    let directory = setup.directory.display();
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let modules = "/usr/lib/apache2/modules";
    let text = format!(
        "ServerRoot {directory}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {directory}/pid\n\
         ErrorLog /dev/stderr\nMutex file:{directory}\n\
         LoadModule mpm_event_module {modules}/mod_mpm_event.so\nLoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so\nLoadModule ssl_module {modules}/mod_ssl.so\n\
         SSLEngine on\nSSLProtocol {version}\nSSLCertificateFile {certificate}\nSSLCertificateKeyFile {key}\n\
         SSLCACertificateFile {ca}\nSSLVerifyClient {verify}\nSSLVerifyDepth 5\nSSLSessionCache none\n"
    );
    let config = setup.directory.join("httpd.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/apache2");
    command.arg("-X").arg("-f").arg(config);
    Ok(command)
}

fn haproxy(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify = setup.asks.spelled("required", "optional", "none");
    let (combined, ca) = (files.combined.display(), files.client_ca.display());
    let text = format!(
        "global\n  maxconn 20\ndefaults\n  mode tcp\n  timeout client 30s\n  timeout server 30s\n  timeout connect 5s\n\
         frontend tls\n  bind 127.0.0.1:{port} ssl crt {combined} ca-file {ca} verify {verify} ssl-min-ver {version} ssl-max-ver {version}\n  \
         tcp-request inspect-delay 30s\n  tcp-request content reject if {{ req.len gt 0 }}\n"
    );
    let config = setup.directory.join("haproxy.cfg");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/haproxy");
    command.arg("-db").arg("-f").arg(config);
    Ok(command)
}

fn stunnel(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let version = setup.version.openssl_name();
    let verify =
        setup.asks.spelled("verifyChain = yes\nrequireCert = yes\n", "verifyChain = yes\nrequireCert = no\n", "");
    let (certificate, key, ca) = (files.certificate.display(), files.key.display(), files.client_ca.display());
    let text = format!(
        "foreground = yes\npid =\ndebug = 4\n[tls]\naccept = 127.0.0.1:{port}\nexec = /bin/cat\ncert = {certificate}\nkey = {key}\n\
         CAfile = {ca}\n{verify}sslVersion = {version}\n"
    );
    let config = setup.directory.join("stunnel.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/bin/stunnel4");
    command.arg(config);
    Ok(command)
}

fn jsse(setup: &Setup<'_>, files: &Files, port: u16) -> Result<Command, Failure> {
    let mut command = Command::new("java");
    command.args(["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]).arg("-cp").arg(crate::classes()?);
    command.arg("Jsse").arg(port.to_string());
    command.arg(&files.certificate).arg(&files.key).arg(&files.client_ca);
    command.arg(setup.version.openssl_name());
    command.arg(setup.asks.spelled("required", "optional", "nothing"));
    Ok(command)
}

/// HTTP without TLS.
fn http(setup: &Setup<'_>, _: &Files, port: u16) -> Result<Command, Failure> {
    let directory = setup.directory.display();
    let text = format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e; server {{ listen 127.0.0.1:{port}; location / {{ return 200; }} }} }}\n"
    );
    let config = setup.directory.join("nginx.conf");
    fs::write(&config, text)?;
    let mut command = Command::new("/usr/sbin/nginx");
    command.arg("-c").arg(config).arg("-e").arg("stderr");
    Ok(command)
}
