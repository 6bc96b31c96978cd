//! Options of `nssight exporter`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds;
use crate::exporter::{LogFormat, LogLevel};

#[derive(Args)]
pub(crate) struct ExporterOptions {
    /// Targets file; only its targets are checked. SIGHUP reloads it
    #[arg(value_name = "FILE.toml", required_unless_present = "healthcheck")]
    pub(crate) targets: Option<PathBuf>,
    /// Address to listen on. Without --web-config it is plain HTTP for everybody, so stay on loopback then
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9744")]
    pub(crate) listen: SocketAddr,
    /// Also answer requests for this host name; may be repeated [default: the listening address, localhost and the names of this host]
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Serve a cached result for this long before checking a target again
    #[arg(long, value_name = "SECONDS", default_value = "45", value_parser = seconds)]
    pub(crate) cache: Duration,
    /// Maximum number of parallel checks [default: number of CPUs]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// Keep the last results in this directory across restarts
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// TLS, client certificates, users and headers, from a web configuration file of Prometheus's exporters. It is read again
    /// within a minute when it or a file that it names has changed
    #[arg(long, value_name = "FILE.yml")]
    pub(crate) web_config: Option<PathBuf>,
    /// Least important events to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// How events are logged on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Read the targets file and the web configuration, say what is wrong with them, and exit with 0 or 2
    #[arg(long, conflicts_with = "healthcheck")]
    pub(crate) check_config: bool,
    /// Ask a running exporter whether it is healthy, and exit with 0 or 1
    #[arg(long, conflicts_with_all = ["targets", "cache", "jobs", "state"])]
    pub(crate) healthcheck: bool,
}
