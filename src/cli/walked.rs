//! Options of all commands that check one target: the target, its password, and the checks.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use nssight_diagnosis::Layer;
use nssight_probes::Plan;
use nssight_probes::expiry::Thresholds;
use nssight_probes::peer_argument::PeerArgument;
use nssight_probes::settings::{FileOverrides, Overrides};
use nssight_probes::starttls::StartTls;
use nssight_probes::target::{Endpoint, Engine, Family, Protocols, Proxy, Question, TlsVersion};

use super::{endpoint, seconds};

/// The target and the options of a check.
#[derive(Args)]
pub(crate) struct WalkedOptions {
    /// The TLS peer: a server or a bridge. A URL sets the port and the protocol, for example https://… or postgres://…
    /// [default port: 443]
    #[arg(value_name = "HOST[:PORT]", conflicts_with = "bridge")]
    peer: Option<PeerArgument>,
    /// Sigul configuration: client.conf, server.conf or bridge.conf [default: /etc/sigul/client.conf, then ~/.sigul/client.conf]
    #[arg(short = 'c', long, value_name = "FILE", action = clap::ArgAction::Append)]
    config: Vec<PathBuf>,
    /// The role of this host. For a server, check its identity: key, chain, usage, dates, the name given by --servername, and the
    /// CAs trusted for clients. For a server, nssight opens no connection
    #[arg(long, value_enum, default_value = "client", hide_short_help = true)]
    role: RoleOption,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    way: WayOptions,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    #[command(flatten)]
    pub(crate) admin: AdminOptions,
    #[command(flatten)]
    pub(crate) walk: WalkOptions,
}

/// The target's settings; each option overrides the configuration.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// NSS database: a directory, or sql:DIR or dbm:DIR
    #[arg(long, value_name = "DIR")]
    db: Option<OsString>,
    /// Client certificate with its chain: a PEM, DER or PKCS#12 file, which may also hold the key
    #[arg(long, value_name = "FILE", conflicts_with_all = ["db", "nickname"])]
    cert: Option<PathBuf>,
    /// Private key of the certificate: a PEM or DER file
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// File of trusted CAs, used instead of the system's trusted CAs
    #[arg(long, value_name = "FILE", conflicts_with = "db")]
    cacert: Option<PathBuf>,
    /// Directory of trusted CAs with hashed names (see openssl-rehash(1))
    #[arg(long, value_name = "DIR", conflicts_with = "db", hide_short_help = true)]
    capath: Option<PathBuf>,
    /// Name to send (SNI) and to expect in the peer's certificate [default: the host]
    #[arg(long, value_name = "NAME")]
    servername: Option<String>,
    /// Start TLS in this plaintext protocol: smtp, lmtp, imap, pop3, ldap, postgres, mysql, ftp, xmpp, nntp or sieve
    #[arg(long, value_name = "PROTOCOL")]
    starttls: Option<StartTls>,
    /// Use IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6", hide_short_help = true)]
    ipv4: bool,
    /// Use IPv6 addresses only
    #[arg(short = '6', long, hide_short_help = true)]
    ipv6: bool,
    /// Base directory for relative paths in a Siguldry configuration [default: $CREDENTIALS_DIRECTORY]
    #[arg(long, value_name = "DIR", hide_short_help = true)]
    credentials_directory: Option<PathBuf>,
    /// Nickname of the client certificate in the database, or its PKCS#11 URI [default: none]
    #[arg(long)]
    nickname: Option<String>,
    /// The TLS peer, usually a Sigul bridge
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint, hide_short_help = true)]
    bridge: Option<Endpoint>,
    /// Host name of the server behind the bridge
    #[arg(long, value_name = "HOST", hide_short_help = true)]
    server: Option<String>,
    /// User name for the request
    #[arg(long, hide_short_help = true)]
    user: Option<String>,
    /// Lowest TLS version to offer: tls1.0, tls1.1, tls1.2 or tls1.3
    #[arg(long, value_name = "VERSION", hide_short_help = true)]
    tls_min: Option<TlsVersion>,
    /// Highest TLS version to offer
    #[arg(long, value_name = "VERSION", hide_short_help = true)]
    tls_max: Option<TlsVersion>,
    /// As root, load the PKCS#11 modules listed in the database even if another user can change the list
    #[arg(long, hide_short_help = true)]
    load_modules: bool,
}

/// How the session is made.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct WayOptions {
    /// Connect through this HTTP proxy with CONNECT [default port: 8080]
    #[arg(long, value_name = "HOST:PORT", hide_short_help = true)]
    proxy: Option<Proxy>,
    /// Application protocols to offer, preferred first, for example h2,http/1.1
    #[arg(long, value_name = "LIST", hide_short_help = true)]
    alpn: Option<Protocols>,
    /// TLS library to use: nss or openssl [default: nss for a database, openssl for files]
    #[arg(long, value_name = "LIBRARY", hide_short_help = true)]
    engine: Option<Engine>,
    /// Print, in PEM format, the certificates that the peer sent
    #[arg(long, hide_short_help = true)]
    show_certs: bool,
}

/// Where the database password comes from; it is never given on the command line itself.
#[derive(Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Password")]
pub(crate) struct PasswordOptions {
    /// Read the password from this file, as NSS tools do: from the last line, or from the line for the token
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// Read the password from this environment variable
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) password_env: Option<String>,
    /// Read the password from this open file descriptor
    #[arg(long, value_name = "FD", hide_short_help = true)]
    pub(crate) password_fd: Option<i32>,
    /// Read the password from standard input
    #[arg(long, hide_short_help = true)]
    pub(crate) password_stdin: bool,
    /// Prompt for the password on the terminal
    #[arg(long)]
    pub(crate) password_prompt: bool,
}

/// Where the password of a Sigul administrator comes from; with it the walk ends with an authenticated request.
#[derive(Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Administrator's password")]
pub(crate) struct AdminOptions {
    /// Read the administrator's password from the first line of this file
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// Read the administrator's password from this environment variable
    #[arg(long, value_name = "NAME", hide_short_help = true)]
    pub(crate) admin_password_env: Option<String>,
    /// Read the administrator's password from this open file descriptor
    #[arg(long, value_name = "FD", hide_short_help = true)]
    pub(crate) admin_password_fd: Option<i32>,
    /// Read the administrator's password from standard input
    #[arg(long, hide_short_help = true)]
    pub(crate) admin_password_stdin: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Checks")]
pub(crate) struct WalkOptions {
    /// Stop after this layer
    #[arg(long, value_name = "LAYER")]
    pub(crate) until: Option<Layer>,
    /// Skip this layer and the layers that need it; may be repeated
    #[arg(long, value_name = "LAYER", hide_short_help = true)]
    pub(crate) exclude: Vec<Layer>,
    /// Time limit for each layer, for example 10 or 1m30s
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Time to wait for a TLS 1.3 peer to accept our certificate, within --timeout [default: ten times the handshake duration, at least 2 s]
    #[arg(long, value_name = "SECONDS", value_parser = seconds, hide_short_help = true)]
    pub(crate) patience: Option<Duration>,
    /// After the handshake, send HEAD / and read the status line, to detect a certificate that only the application refuses
    #[arg(long, value_enum, default_value = "none", hide_short_help = true)]
    pub(crate) probe: Word,
    /// Retry up to N times, 2 s apart, after a transport failure; never after a refusal
    #[arg(long, value_name = "N", default_value_t = 0, hide_short_help = true)]
    pub(crate) retries: u32,
    /// Connect even from a server or bridge host, or to a port meant for servers; such a connection can disturb a running bridge
    #[arg(long, alias = "connect", hide_short_help = true)]
    pub(crate) allow_disruption: bool,
    /// List the layers of a check and how many connections the check would open, and exit
    #[arg(long)]
    pub(crate) dry_run: bool,
    #[command(flatten)]
    pub(crate) expiry: ExpiryOptions,
}

/// Thresholds for expiring certificates.
#[derive(Clone, Copy, Args)]
#[command(next_help_heading = "Certificates")]
pub(crate) struct ExpiryOptions {
    /// Warn if a certificate or a revocation list expires within this many days [default: 30]
    #[arg(long, value_name = "DAYS", hide_short_help = true)]
    pub(crate) warn_days: Option<u16>,
    /// Report a certificate or revocation list that expires within this many days as critical (nagios) or as an error (github) [default: 7]
    #[arg(long, value_name = "DAYS", hide_short_help = true)]
    pub(crate) critical_days: Option<u16>,
}

/// The probe of a plain peer after the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Word {
    /// Send HEAD / over HTTP/1.1
    Http,
    /// Send nothing
    None,
}

/// The role of this host.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleOption {
    /// This host connects
    Client,
    /// This host accepts connections
    Server,
}

impl TargetOptions {
    pub(crate) fn overrides(&self, connect: bool) -> Overrides {
        Overrides {
            database: self.db.clone(),
            nickname: self.nickname.clone(),
            credentials_directory: self.credentials_directory.clone(),
            files: FileOverrides {
                certificate: self.cert.clone(),
                key: self.key.clone(),
                authorities: self.cacert.clone(),
                directory: self.capath.clone(),
            },
            plain: false,
            serves: false,
            server_name: self.servername.clone(),
            starttls: self.starttls,
            proxy: None,
            alpn: Vec::new(),
            engine: None,
            shows_certificates: false,
            family: match (self.ipv4, self.ipv6) {
                (true, _) => Some(Family::V4),
                (_, true) => Some(Family::V6),
                (false, false) => None,
            },
            bridge: self.bridge.clone(),
            server: self.server.clone(),
            user: self.user.clone(),
            tls_min: self.tls_min,
            tls_max: self.tls_max,
            connect,
            load_modules: self.load_modules,
            patience: None,
            question: None,
            thresholds: Thresholds::default(),
        }
    }
}

impl WalkedOptions {
    /// The configuration named on the command line.
    pub(crate) fn config(&self) -> Option<&Path> {
        self.config.first().map(PathBuf::as_path)
    }

    /// The plan of the check.
    ///
    /// # Errors
    /// A message, if the options do not allow a check.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        if let [first, second, ..] = self.config.as_slice() {
            let (first, second) = (first.display(), second.display());
            return Err(format!(
                "one configuration at a time: {first} and {second} were given; use nssight check for several"
            ));
        }
        Thresholds::of(self.walk.expiry.warn_days, self.walk.expiry.critical_days)?;
        let (until, excluded) = (self.walk.until, self.walk.exclude.clone());
        if self.role == RoleOption::Client {
            return Plan::new(until, excluded).map_err(|error| error.to_string());
        }
        if self.peer.is_some() || self.target.bridge.is_some() {
            return Err(
                "--role server checks this host's own identity and opens no connection: give no peer".to_owned()
            );
        }
        Plan::of_a_server(until, excluded).map_err(|error| error.to_string())
    }

    /// The target's settings from the command line.
    pub(crate) fn overrides(&self) -> Overrides {
        let overrides = self.target.overrides(self.walk.allow_disruption);
        let peer = self.peer.as_ref();
        let bridge = peer.map(|peer| peer.endpoint.clone()).or(overrides.bridge);
        let starttls = overrides.starttls.or(peer.and_then(|peer| peer.starttls));
        let question = match self.walk.probe {
            Word::Http => Some(Question::Http),
            Word::None => None,
        };
        let plain = self.peer.is_some() && self.config.is_empty();
        let ExpiryOptions { warn_days, critical_days } = self.walk.expiry;
        Overrides {
            bridge,
            plain,
            serves: self.role == RoleOption::Server,
            starttls,
            proxy: self.way.proxy.clone().map(|proxy| proxy.0),
            alpn: self.way.alpn.clone().map(|it| it.0).unwrap_or_default(),
            engine: self.way.engine,
            shows_certificates: self.way.show_certs,
            patience: self.walk.patience,
            question,
            // Thresholds that contradict each other were rejected before.
            thresholds: Thresholds::of(warn_days, critical_days).unwrap_or_default(),
            ..overrides
        }
    }
}
