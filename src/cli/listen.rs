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
pub(crate) struct ListenOptions {
    /// Address to listen on; port 0 lets the kernel choose a port. Anyone who can reach the address can connect
    #[arg(value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    pub(crate) address: SocketAddr,
    /// Sigul configuration with the identity: server.conf or bridge.conf
    #[arg(short = 'c', long, value_name = "FILE", help_heading = "Identity")]
    pub(crate) config: Option<PathBuf>,
    /// NSS database with the server certificate: a directory, sql:DIR or dbm:DIR. NSS accepts client certificates from the CAs that
    /// this database trusts for clients
    #[arg(long, value_name = "DIR", help_heading = "Identity", conflicts_with_all = ["cert", "cacert", "capath"])]
    db: Option<OsString>,
    /// Nickname of the server certificate in the database
    #[arg(long, value_name = "NAME", help_heading = "Identity", conflicts_with = "cert")]
    nickname: Option<String>,
    /// Server certificate with its chain: a PEM, DER or PKCS#12 file, which may also hold the key
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    cert: Option<PathBuf>,
    /// Private key of the certificate: a PEM or DER file
    #[arg(long, value_name = "FILE", help_heading = "Identity", requires = "cert")]
    key: Option<PathBuf>,
    /// File of CAs trusted for clients, used instead of the system's trusted CAs
    #[arg(long, value_name = "FILE", help_heading = "Identity")]
    cacert: Option<PathBuf>,
    /// Directory of CAs trusted for clients, with hashed names (see openssl-rehash(1))
    #[arg(long, value_name = "DIR", help_heading = "Identity")]
    capath: Option<PathBuf>,
    /// Host name that clients connect to; the certificate must contain this name
    #[arg(long, value_name = "NAME", help_heading = "Identity")]
    servername: Option<String>,
    /// Lowest TLS version to accept: tls1.0, tls1.1, tls1.2 or tls1.3
    #[arg(long, value_name = "VERSION", help_heading = "Identity")]
    tls_min: Option<TlsVersion>,
    /// Highest TLS version to accept
    #[arg(long, value_name = "VERSION", help_heading = "Identity")]
    tls_max: Option<TlsVersion>,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// Exit after N connections [default: listen until SIGINT or SIGTERM]
    #[arg(long, value_name = "N", help_heading = "Connections", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) count: Option<u64>,
    /// Maximum number of parallel connections; further connections wait
    #[arg(long, value_name = "N", help_heading = "Connections", default_value_t = 16, value_parser = clap::value_parser!(u16).range(1..=256))]
    pub(crate) at_once: u16,
    /// Time limit for each connection
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
