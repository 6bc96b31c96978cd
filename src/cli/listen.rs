//! Options of `nssight listen`.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nssight_probes::settings::{FileOverrides, Overrides};
use nssight_probes::target::TlsVersion;

use super::{PasswordOptions, TableOptions, seconds};

#[derive(Args)]
#[group(id = "identity", args = ["config", "db", "cert"], required = true, multiple = true)]
#[command(after_help = "\
Examples:
  nssight listen --cert server.pem --key server.key --cacert clients-ca.pem
  nssight listen --db /etc/pki/server --nickname server-cert --password-prompt
  nssight listen 0.0.0.0:8443 --cert server.pem --key server.key --cacert clients-ca.pem --count 1 --format json > server.json")]
pub(crate) struct ListenOptions {
    /// Where to listen; port 0 is one that the kernel picks. Beyond loopback whoever reaches it may connect
    #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) address: SocketAddr,
    /// Take the identity from this server.conf or bridge.conf
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "Identity")]
    pub(crate) config: Option<PathBuf>,
    /// NSS database with the server's certificate: a directory, or sql:DIR or dbm:DIR. NSS makes the sessions then, and takes clients of
    /// the CAs that the database trusts for clients
    #[arg(long, value_name = "DIR", help_heading = "Identity", conflicts_with_all = ["cert", "cacert", "capath"])]
    db: Option<OsString>,
    /// Nickname of the server's certificate in the database
    #[arg(long, value_name = "NAME", help_heading = "Identity", conflicts_with = "cert")]
    nickname: Option<String>,
    /// The server's certificate in a file, with its chain: PEM, DER or PKCS#12, which may have the key too
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    cert: Option<PathBuf>,
    /// The key of that certificate: PEM or DER
    #[arg(long, value_name = "FILE", help_heading = "Identity", requires = "cert")]
    key: Option<PathBuf>,
    /// The CAs that clients may come from, in place of those that this system trusts
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    cacert: Option<PathBuf>,
    /// A directory of such CAs, named by their hashes
    #[arg(long, value_name = "DIR", help_heading = "Identity")]
    capath: Option<PathBuf>,
    /// The name that clients use, which the certificate must have
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    servername: Option<String>,
    /// Lowest TLS version to take: tls1.0, tls1.1, tls1.2 or tls1.3
    #[arg(long, value_name = "VERSION", help_heading = "Identity")]
    tls_min: Option<TlsVersion>,
    /// Highest TLS version to take
    #[arg(long, value_name = "VERSION", help_heading = "Identity")]
    tls_max: Option<TlsVersion>,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// End after so many connections [default: listen until SIGINT or SIGTERM]
    #[arg(long, value_name = "N", help_heading = "Connections", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Serve so many connections at the same time; others wait
    #[arg(long, value_name = "N", help_heading = "Connections", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: u16,
    /// Time that one connection may take
    #[arg(long, value_name = "SECONDS", help_heading = "Connections", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

impl ListenOptions {
    /// What the command line says about the identity.
    pub(crate) fn overrides(&self) -> Overrides {
        Overrides {
            database: self.db.clone(),
            nickname: self.nickname.clone(),
            files: FileOverrides {
                certificate: self.cert.clone(),
                key: self.key.clone(),
                authorities: self.cacert.clone(),
                directory: self.capath.clone(),
            },
            serves: true,
            server_name: self.servername.clone(),
            tls_min: self.tls_min,
            tls_max: self.tls_max,
            ..Overrides::default()
        }
    }
}
