//! The target of a check, with the origin of each value. It contains no secret.
mod summary;

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::expiry::Thresholds;
use crate::profile::Profile;
use crate::starttls::StartTls;
use nssight_diagnosis::vocabulary::Peer;

pub use self::summary::{CredentialsKind, NamedHop, TargetSummary};

/// The role of this host, according to the sections of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Connects to the bridge, and does not sign.
    Client,
    /// Connects to the bridge, and answers clients through it.
    Server,
    /// Listens for clients and servers.
    Bridge,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Bridge => "bridge",
        })
    }
}

/// A value and where it came from: "--db", "client.conf:12", "default".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// The origin of the value.
    pub origin: String,
}

impl<T> Setting<T> {
    /// A value with its origin.
    pub fn new(value: T, origin: impl Into<String>) -> Self {
        Self { value, origin: origin.into() }
    }
}

/// A database argument as NSS gets it: a directory, possibly with the prefix `sql:` or `dbm:`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Database {
    /// The argument as given; in bytes, since a path need not be UTF-8.
    pub argument: OsString,
}

/// Our identity for the peer, and the trusted CAs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Credentials {
    /// An NSS database.
    Database {
        /// The location.
        database: Setting<Database>,
        /// Nickname of our certificate; without one, the check uses no client certificate.
        nickname: Option<Setting<String>>,
    },
    /// Files, for a session of OpenSSL.
    Files(Files),
}

/// Certificates and a key in files. Without a certificate file we have no certificate; without CAs the system's CAs are
/// trusted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Files {
    /// Our certificate, with its chain: `--cert`.
    pub certificate: Option<Setting<PathBuf>>,
    /// Our key, if it is in a separate file: `--key`.
    pub key: Option<Setting<PathBuf>>,
    /// The CAs trusted for the peer: `--cacert`.
    pub authorities: Option<Setting<PathBuf>>,
    /// A directory of such CAs, with hashed names: `--capath`.
    pub directory: Option<Setting<PathBuf>>,
    /// The program that these files belong to sends only the first certificate, whatever follows it in the file.
    #[serde(default)]
    pub sends_first_only: bool,
}

impl Files {
    /// The files with the options that name them; nssight and curl share these options.
    pub fn options(&self) -> impl Iterator<Item = (&'static str, &Path)> {
        [
            ("--cert", &self.certificate),
            ("--key", &self.key),
            ("--cacert", &self.authorities),
            ("--capath", &self.directory),
        ]
        .into_iter()
        .filter_map(|(option, file)| Some((option, file.as_ref()?.value.as_path())))
    }
}

/// A host and its port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Endpoint {
    /// Name or address.
    pub host: String,
    /// 1 to 65535.
    pub port: u16,
}

impl Endpoint {
    /// Parses `HOST:PORT`, `[ADDRESS]:PORT`, or a host alone, which gets the port `default`.
    ///
    /// # Errors
    /// A message for the user.
    pub fn parse(text: &str, default: u16) -> Result<Self, String> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (host, port) = rest.split_once(']').ok_or("the closing bracket of the IPv6 address is missing")?;
                (host, port.strip_prefix(':'))
            }
            // Several colons without brackets are an IPv6 address without a port.
            None if text.matches(':').count() == 1 => text.split_once(':').map_or((text, None), |(h, p)| (h, Some(p))),
            None => (text, None),
        };
        let port = match port {
            None => default,
            Some(port) => {
                port.parse().ok().filter(|port| *port > 0).ok_or(format!("\"{port}\" is not a port (1 to 65535)"))?
            }
        };
        check_host(host)?;
        Ok(Self { host: host.to_owned(), port })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// Maximum length of a host name (RFC 1035, 2.3.4).
const HOST_AT_MOST: usize = 253;

/// Accepts a host name that could exist, or an address.
pub fn check_host(host: &str) -> Result<(), String> {
    let shown: String = host.chars().take(40).collect();
    if host.is_empty() {
        return Err("the host name is empty".to_owned());
    }
    if host.len() > HOST_AT_MOST {
        return Err(format!("the host name \"{shown}…\" has {} characters; the maximum is {HOST_AT_MOST}", host.len()));
    }
    match host.chars().find(|c| c.is_whitespace() || c.is_control() || "/@\"'".contains(*c)) {
        Some(bad) => Err(format!("the host name \"{shown}\" contains the character {bad:?}")),
        None => Ok(()),
    }
}

/// A TLS version that can be requested, in ascending order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// TLS 1.0 (RFC 2246).
    #[serde(rename = "tls1.0")]
    Tls10,
    /// TLS 1.1 (RFC 4346).
    #[serde(rename = "tls1.1")]
    Tls11,
    /// TLS 1.2 (RFC 5246).
    #[serde(rename = "tls1.2")]
    Tls12,
    /// TLS 1.3 (RFC 8446).
    #[serde(rename = "tls1.3")]
    Tls13,
}

impl TlsVersion {
    /// The number on the wire.
    pub fn wire(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }

    /// The name of a number on the wire.
    pub fn name_of(wire: u16) -> String {
        match wire {
            0x0300 => "SSL 3.0".to_owned(),
            0x0301..=0x0304 => format!("TLS 1.{}", wire - 0x0301),
            other => format!("version 0x{other:04x}"),
        }
    }
}

impl std::str::FromStr for TlsVersion {
    type Err = String;

    /// `tls1.2` as in configurations; `1.2` for short.
    fn from_str(text: &str) -> Result<Self, String> {
        match text.strip_prefix("tls").unwrap_or(text) {
            "1.0" => Ok(Self::Tls10),
            "1.1" => Ok(Self::Tls11),
            "1.2" => Ok(Self::Tls12),
            "1.3" => Ok(Self::Tls13),
            _ => Err(format!("\"{text}\" is not a TLS version; write tls1.0, tls1.1, tls1.2 or tls1.3")),
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "tls1.{}", self.wire() - 0x0301)
    }
}

/// The source of the password; never the password itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordSource {
    /// No source was given.
    None,
    /// `nss-password` of a configuration file; with file and line.
    Config(String),
    /// A file, read as NSS's own tools read it.
    File(PathBuf),
    /// An environment variable, by name.
    Env(String),
    /// An inherited descriptor.
    Fd(i32),
    /// Standard input.
    Stdin,
    /// Typed at the terminal.
    Prompt,
}

impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("not given"),
            Self::Config(place) => write!(f, "nss-password in {place}"),
            Self::File(path) => write!(f, "file {}", path.display()),
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::Fd(fd) => write!(f, "descriptor {fd}"),
            Self::Stdin => f.write_str("standard input"),
            Self::Prompt => f.write_str("prompt"),
        }
    }
}

/// All settings of a check, without any secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// The role of this host.
    pub role: Role,
    /// Check the target as a server, without any connection.
    #[serde(default)]
    pub serves: bool,
    /// Configuration files that were read, in order.
    pub config_files: Vec<PathBuf>,
    /// Our identity and the trusted CAs.
    pub credentials: Credentials,
    /// The name that is sent to the peer and that its certificate must have, if it differs from the host.
    pub server_name: Option<Setting<String>>,
    /// The only address family to use, if restricted.
    pub family: Option<Family>,
    /// The STARTTLS protocol, if any.
    pub starttls: Option<StartTls>,
    /// The HTTP proxy to connect through, if any.
    pub proxy: Option<Setting<Endpoint>>,
    /// The application protocols to offer, preferred first; if empty, the extension is left out.
    pub alpn: Vec<String>,
    /// The TLS library of the session, if it is not the default for these credentials.
    pub engine: Option<Engine>,
    /// Whether the report contains the certificates of the peer.
    pub shows_certificates: bool,
    /// The first TLS peer; not needed if the check ends before the network.
    pub bridge: Option<Setting<Endpoint>>,
    /// Host name of the server behind the bridge.
    pub server: Option<Setting<String>>,
    /// User name of the request.
    pub user: Option<Setting<String>>,
    /// Lowest and highest TLS version.
    pub tls: Setting<(TlsVersion, TlsVersion)>,
    /// The source of the password.
    pub password: PasswordSource,
    /// Time that one layer may take.
    pub timeout: Duration,
    /// Why the check must not use the network, if it must not.
    pub no_network: Option<String>,
    /// Load modules even if another user can change the list.
    pub load_modules: bool,
    /// The configured time to wait for the peer's reaction to our certificate.
    pub patience: Option<Duration>,
    /// The configured probe of a plain peer after the handshake.
    pub question: Option<Question>,
    /// Thresholds for expiring certificates.
    pub thresholds: Thresholds,
    /// The profile of the configuration, if one was read.
    #[serde(default)]
    pub configured: Option<Profile>,
}

/// A library that makes a TLS session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Engine {
    /// NSS: the usual one for a database.
    Nss,
    /// OpenSSL: the usual one for files.
    Openssl,
}

impl std::str::FromStr for Engine {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "nss" => Ok(Self::Nss),
            "openssl" => Ok(Self::Openssl),
            _ => Err(format!("\"{text}\" is not a TLS library of nssight; write nss or openssl")),
        }
    }
}

/// The length of a protocol name is one byte (RFC 7301, 3.1).
const PROTOCOL_AT_MOST: usize = 255;
/// The default port of a proxy.
const PROXY_PORT: u16 = 8080;
/// A ClientHello has room for more, but no client offers this many.
const PROTOCOLS_AT_MOST: usize = 32;

/// Application protocols, preferred first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Protocols(pub Vec<String>);

impl std::str::FromStr for Protocols {
    type Err = String;

    /// `h2,http/1.1`
    fn from_str(text: &str) -> Result<Self, String> {
        let names: Vec<String> = text.split(',').map(|name| name.trim().to_owned()).collect();
        match names.iter().all(|name| (1..=PROTOCOL_AT_MOST).contains(&name.len())) && names.len() <= PROTOCOLS_AT_MOST
        {
            true => Ok(Self(names)),
            false => Err(format!("\"{text}\" is not a list of application protocols; write, for example, h2,http/1.1")),
        }
    }
}

/// An HTTP proxy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proxy(pub Endpoint);

impl std::str::FromStr for Proxy {
    type Err = String;

    /// `HOST:PORT`, or `http://HOST:PORT` as in environment variables.
    fn from_str(text: &str) -> Result<Self, String> {
        let rest = text.strip_prefix("http://").unwrap_or(text).trim_end_matches('/');
        Endpoint::parse(rest, PROXY_PORT).map(Self)
    }
}

/// A family of addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Family {
    /// IPv4.
    V4,
    /// IPv6.
    V6,
}

/// A harmless request whose answer shows how the application treats us.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Question {
    /// `HEAD /` of HTTP/1.1.
    Http,
}

impl Target {
    /// The NSS database, if there is one.
    pub fn database(&self) -> Option<&Setting<Database>> {
        match &self.credentials {
            Credentials::Database { database, .. } => Some(database),
            Credentials::Files(_) => None,
        }
    }

    /// The database argument as NSS gets it; empty if there is none.
    pub fn argument(&self) -> &OsStr {
        self.database().map_or(OsStr::new(""), |database| &database.value.argument)
    }

    /// The nickname of our certificate in the database, if one is configured.
    pub fn nickname(&self) -> Option<&Setting<String>> {
        match &self.credentials {
            Credentials::Database { nickname, .. } => nickname.as_ref(),
            Credentials::Files(_) => None,
        }
    }

    /// The files, if there is no database.
    pub fn files(&self) -> Option<&Files> {
        match &self.credentials {
            Credentials::Database { .. } => None,
            Credentials::Files(files) => Some(files),
        }
    }

    /// Whether a certificate of ours is configured.
    pub fn has_certificate(&self) -> bool {
        match &self.credentials {
            Credentials::Database { nickname, .. } => nickname.is_some(),
            Credentials::Files(files) => files.certificate.is_some(),
        }
    }

    /// The name that the peer's certificate must have.
    pub fn peer_name(&self) -> Option<&str> {
        let host = || self.bridge.as_ref().map(|peer| peer.value.host.as_str());
        self.server_name.as_ref().map(|name| name.value.as_str()).or_else(host)
    }

    /// The library that makes the session.
    pub fn engine(&self) -> Engine {
        let usual = if self.files().is_some() { Engine::Openssl } else { Engine::Nss };
        self.engine.unwrap_or(usual)
    }

    /// The address for TCP: the proxy if configured, otherwise the peer.
    pub fn connects_to(&self) -> Option<&Endpoint> {
        self.proxy.as_ref().or(self.bridge.as_ref()).map(|endpoint| &endpoint.value)
    }

    /// Any TLS peer, unless a server behind it is known or a configuration was read.
    pub fn profile(&self) -> Profile {
        match self.configured {
            Some(profile) => profile,
            None if self.server.is_none() => Profile::of(Peer::Plain),
            None => Profile::of(Peer::Bridge),
        }
    }

    /// The peer as a subject.
    pub fn peer(&self) -> &'static str {
        self.profile().details().subject
    }
}
