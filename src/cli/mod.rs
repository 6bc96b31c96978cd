//! The command line.

mod check;
mod clients;
mod db;
mod exporter;
mod lab;
mod listen;
mod lists;
mod output;
mod support;
mod trace;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};
use nssight_diagnosis::{Cause, Layer};
use nssight_probes::Plan;
use nssight_probes::peer_argument::PeerArgument;
use nssight_probes::settings::{BRIDGE_PORT, FileOverrides, Overrides};
use nssight_probes::starttls::StartTls;
use nssight_probes::target::{Endpoint, Engine, Family, Protocols, Proxy, Question, TlsVersion};

pub(crate) use check::{CheckFormat, CheckOptions, CheckOutputOptions, CheckWalkOptions, SelectionOptions};
pub(crate) use clients::{ClientsOptions, KeepOptions, ProcessModelOptions};
pub(crate) use db::{CompareOptions, DbCommand, InspectOptions};
pub(crate) use exporter::ExporterOptions;
pub(crate) use lab::{DbFormatOption, LabCommand, LabProfile, SelftestOptions};
pub(crate) use listen::ListenOptions;
pub(crate) use lists::{CausesOptions, Document, ListOptions, ManualOptions, SchemaOptions};
pub(crate) use output::{Colour, Format, OutputOptions, TableFormat, TableOptions};
pub(crate) use support::{BundleOptions, ExplainOptions, ReportsOptions, TriageOptions};
pub(crate) use trace::TraceOptions;

/// Walk every layer of a mutual TLS connection over NSS and name the one that fails.
#[derive(Parser)]
#[command(version, long_version = crate::version::long(), max_term_width = 100, args_override_self = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Walk from the configuration to the handshake and say which layer fails
    Diagnose(Box<DiagnoseOptions>),
    /// Walk many targets, in parallel, and say which fail and why
    Check(Box<CheckOptions>),
    /// The same handshake by nssight, OpenSSL, tstclnt and python-nss, and what the pattern proves
    Clients(Box<ClientsOptions>),
    /// Try how NSS behaves in threads, after forks and in fresh processes on this host
    ProcessModel(Box<ProcessModelOptions>),
    /// Read NSS databases without NSS
    #[command(subcommand)]
    Db(DbCommand),
    /// Sit in the server's chair: take TLS connections, and say of each what is wrong with it, seen from the server
    Listen(Box<ListenOptions>),
    /// Compare two reports: the host that works with the one that does not, or both ends of one connection
    Compare(ReportsOptions),
    /// Say what an error code, a name, an alert, a cause or a pasted message means
    Explain(ExplainOptions),
    /// Run a program and say which of its own NSS calls fails
    Trace(TraceOptions),
    /// Read logs and reports: which layer fails, why, and the lines that show it
    Triage(TriageOptions),
    /// Walk targets for Prometheus, and show their reports, over HTTP
    Exporter(ExporterOptions),
    /// Write what support needs to see of this host into one file, without its secrets
    Bundle(Box<BundleOptions>),
    /// A peer on loopback, healthy or with a fault, to see the diagnosis work
    #[command(subcommand)]
    Lab(LabCommand),
    /// Order every fault of the lab and compare the verdicts with those that it must get
    Selftest(SelftestOptions),
    /// List the layers and the causes that each can give
    Checks(ListOptions),
    /// List every cause that a verdict can name
    Causes(CausesOptions),
    /// Print the JSON Schema of a document
    Schema(SchemaOptions),
    /// Write man pages and completions; packages are made with it
    #[command(hide = true)]
    Manual(ManualOptions),
    /// Do the NSS work of a diagnosis; started by nssight itself
    #[command(hide = true)]
    Worker,
    /// Try one process model; started by nssight itself
    #[command(hide = true)]
    Model,
    /// Run another client, which ends with nssight; started by nssight itself
    #[command(hide = true)]
    Keep(KeepOptions),
}

#[derive(Args)]
pub(crate) struct DiagnoseOptions {
    #[command(flatten)]
    pub(crate) walked: WalkedOptions,
    #[command(flatten)]
    pub(crate) output: OutputOptions,
    /// Say as well what keeps this cause from being the verdict, or that nothing does
    #[arg(long, value_name = "CAUSE")]
    pub(crate) why_not: Option<Cause>,
    /// Run this program first, traced, with all words that follow, and say where it leaves the walk; its connections come on
    /// top of the one of the walk
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, help_heading = "Walk",
        conflicts_with_all = ["password_stdin", "admin_password_stdin"])]
    pub(crate) trace_against: Vec<OsString>,
}

/// What is walked, and how.
#[derive(Args)]
pub(crate) struct WalkedOptions {
    /// The TLS peer: any TLS server that asks for a client certificate, or a bridge; or a URL, as https://… or postgres://… [default port: 443]
    #[arg(value_name = "HOST[:PORT]", conflicts_with = "bridge")]
    peer: Option<PeerArgument>,
    /// Read this client.conf, server.conf or bridge.conf; without it and without --db, /etc/sigul/client.conf and
    /// ~/.sigul/client.conf
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// The part that this host plays. As a server its identity is looked at by what clients would meet, and nothing is connected
    /// to: key, chain, usage, dates, the name that --servername gives, and the CAs that clients may come from
    #[arg(long, value_enum, default_value = "client")]
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

/// Where things are; each wins over the configuration.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct TargetOptions {
    /// NSS database: a directory, or sql:DIR or dbm:DIR
    #[arg(long, value_name = "DIR")]
    db: Option<OsString>,
    /// Our certificate in a file, with its chain: PEM, DER or PKCS#12, which may have the key too
    #[arg(long, value_name = "FILE", conflicts_with_all = ["db", "nickname"])]
    cert: Option<PathBuf>,
    /// The key of that certificate: PEM or DER
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// The CAs that the peer's certificate may come from, in place of those that this system trusts
    #[arg(long, value_name = "FILE", conflicts_with = "db")]
    cacert: Option<PathBuf>,
    /// A directory of such CAs, named by their hashes
    #[arg(long, value_name = "DIR", conflicts_with = "db")]
    capath: Option<PathBuf>,
    /// The name to send, which the peer's certificate must have, where it is not the host's
    #[arg(long, value_name = "NAME")]
    servername: Option<String>,
    /// Ask the peer in the clear to begin TLS: smtp, lmtp, imap, pop3, ldap, postgres, mysql, ftp, xmpp, nntp or sieve
    #[arg(long, value_name = "PROTOCOL")]
    starttls: Option<StartTls>,
    /// Use IPv4 addresses only
    #[arg(short = '4', long, conflicts_with = "ipv6")]
    ipv4: bool,
    /// Use IPv6 addresses only
    #[arg(short = '6', long)]
    ipv6: bool,
    /// Nickname of the client certificate; without it and without a configuration, none is used
    #[arg(long)]
    nickname: Option<String>,
    /// The TLS peer: a bridge, or any TLS server that asks for a client certificate
    #[arg(long, value_name = "HOST:PORT", value_parser = endpoint)]
    bridge: Option<Endpoint>,
    /// Host name of the server behind the bridge
    #[arg(long, value_name = "HOST")]
    server: Option<String>,
    /// User name for the request
    #[arg(long)]
    user: Option<String>,
    /// Lowest TLS version to offer: tls1.0, tls1.1, tls1.2 or tls1.3
    #[arg(long, value_name = "VERSION")]
    tls_min: Option<TlsVersion>,
    /// Highest TLS version to offer
    #[arg(long, value_name = "VERSION")]
    tls_max: Option<TlsVersion>,
    /// As root, load the modules that the database names also where another user can say which
    #[arg(long)]
    load_modules: bool,
}

/// How the session is made.
#[derive(Args)]
#[command(next_help_heading = "Target")]
pub(crate) struct WayOptions {
    /// Connect through this HTTP proxy, which is asked with CONNECT [default port: 8080]
    #[arg(long, value_name = "HOST:PORT")]
    proxy: Option<Proxy>,
    /// Offer these application protocols, the one that is liked best first: h2,http/1.1
    #[arg(long, value_name = "LIST")]
    alpn: Option<Protocols>,
    /// The library that makes the session: nss or openssl [default: nss for a database, openssl for files]
    #[arg(long, value_name = "LIBRARY")]
    engine: Option<Engine>,
    /// Show the certificates that the peer sent, in PEM
    #[arg(long)]
    show_certs: bool,
}

/// Where the database password comes from; it is never given on the command line itself.
#[derive(Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Password")]
pub(crate) struct PasswordOptions {
    /// A file, read as NSS's own tools read it: the last line, or the line of the token
    #[arg(long, value_name = "FILE")]
    pub(crate) password_file: Option<PathBuf>,
    /// An environment variable
    #[arg(long, value_name = "NAME")]
    pub(crate) password_env: Option<String>,
    /// An open descriptor, read to its end
    #[arg(long, value_name = "FD")]
    pub(crate) password_fd: Option<i32>,
    /// Standard input, read to its end
    #[arg(long)]
    pub(crate) password_stdin: bool,
    /// Ask at the terminal
    #[arg(long)]
    pub(crate) password_prompt: bool,
}

/// Where the password of a Sigul administrator comes from; with it the walk ends with an authenticated request.
#[derive(Args)]
#[group(multiple = false)]
#[command(next_help_heading = "Administrator's password")]
pub(crate) struct AdminOptions {
    /// A file, up to its first line end
    #[arg(long, value_name = "FILE")]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// An environment variable
    #[arg(long, value_name = "NAME")]
    pub(crate) admin_password_env: Option<String>,
    /// An open descriptor, read to its end
    #[arg(long, value_name = "FD")]
    pub(crate) admin_password_fd: Option<i32>,
    /// Standard input, read to its end
    #[arg(long)]
    pub(crate) admin_password_stdin: bool,
}

#[derive(Args)]
#[command(next_help_heading = "Walk")]
pub(crate) struct WalkOptions {
    /// End after this layer
    #[arg(long, value_name = "LAYER")]
    pub(crate) until: Option<Layer>,
    /// Leave this layer out, and what needs it
    #[arg(long, value_name = "LAYER")]
    pub(crate) exclude: Vec<Layer>,
    /// Time that one layer may take
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Time to wait for the peer to accept our certificate in TLS 1.3, at most what the layer may take [default: 2, or ten times
    /// the handshake]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) patience: Option<Duration>,
    /// Ask a plain peer something harmless after the handshake: http sends HEAD / and reads the status line, which shows a server
    /// that refuses the certificate in its application only
    #[arg(long, value_enum, default_value = "none")]
    pub(crate) probe: Word,
    /// After a failure of transport try the whole walk again up to so many times, two seconds apart; a refusal is never
    /// tried again
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) retries: u32,
    /// Connect where nssight would rather not: as a server or bridge, or to what looks like a server port
    #[arg(long)]
    pub(crate) connect: bool,
    /// Say what would be walked and how many connections that takes, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// What a plain peer is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Word {
    /// `HEAD /` of HTTP/1.1
    Http,
    /// Nothing
    None,
}

/// The part that this host plays.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum RoleOption {
    /// It connects
    Client,
    /// It is connected to
    Server,
}

impl TargetOptions {
    fn overrides(&self, connect: bool) -> Overrides {
        Overrides {
            database: self.db.clone(),
            nickname: self.nickname.clone(),
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
        }
    }
}

impl WalkedOptions {
    /// What is walked.
    ///
    /// # Errors
    /// In words, where that cannot be.
    pub(crate) fn plan(&self) -> Result<Plan, String> {
        let (until, excluded) = (self.walk.until, self.walk.exclude.clone());
        if self.role == RoleOption::Client {
            return Plan::new(until, excluded).map_err(|error| error.to_string());
        }
        if self.peer.is_some() || self.target.bridge.is_some() {
            return Err(
                "--role server looks at this host's own identity and connects to nobody: give no peer".to_owned()
            );
        }
        Plan::of_a_server(until, excluded).map_err(|error| error.to_string())
    }

    /// What the command line says about the target.
    pub(crate) fn overrides(&self) -> Overrides {
        let overrides = self.target.overrides(self.walk.connect);
        let peer = self.peer.as_ref();
        let bridge = peer.map(|peer| peer.endpoint.clone()).or(overrides.bridge);
        let starttls = overrides.starttls.or(peer.and_then(|peer| peer.starttls));
        let question = match self.walk.probe {
            Word::Http => Some(Question::Http),
            Word::None => None,
        };
        let plain = self.peer.is_some() && self.config.is_none();
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
            ..overrides
        }
    }
}

/// A bridge, on its usual port where none is named.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, BRIDGE_PORT)
}

fn seconds(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 0.05, 3600.0)
}

fn number_of_seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let number: f64 = text.parse().map_err(|_| format!("\"{text}\" is not a number of seconds"))?;
    match number >= least && number <= most {
        true => Ok(Duration::from_secs_f64(number)),
        false => Err(format!("between {least} and {most} seconds")),
    }
}
