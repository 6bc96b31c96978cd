//! Options of `nssight exporter`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds;
use crate::exporter::{LogFormat, LogLevel};

#[derive(Args)]
pub(crate) struct ExporterOptions {
    /// Targets file; the exporter checks only these targets. SIGHUP makes the exporter reload the targets file
    #[arg(value_name = "FILE.toml", required_unless_present = "healthcheck")]
    pub(crate) targets: Option<PathBuf>,
    /// Address to listen on. Without --web-config the exporter serves plain HTTP to everybody, so listen only on loopback
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9744")]
    pub(crate) listen: SocketAddr,
    /// Also answer requests for this host name; may be repeated [default: the listening address, localhost and the
    /// names of this host]
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// Serve a cached result for this long before checking a target again
    #[arg(long, value_name = "SECONDS", default_value = "45", value_parser = seconds)]
    pub(crate) cache: Duration,
    /// Maximum number of parallel checks [default: number of CPUs, at least 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// Keep the last results in this directory across restarts
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Web configuration file, as for Prometheus's own exporters: TLS, client certificates, users and headers. A change to
    /// this file, or to a file that it names, takes effect within a minute
    #[arg(long, value_name = "FILE.yml")]
    pub(crate) web_config: Option<PathBuf>,
    /// Lowest severity of the events to log
    #[arg(long, value_enum, value_name = "LEVEL", default_value = "info")]
    pub(crate) log_level: LogLevel,
    /// Format of the log on standard error
    #[arg(long, value_enum, value_name = "FORMAT", default_value = "text")]
    pub(crate) log_format: LogFormat,
    /// Check the targets file and the web configuration, and exit with 0 if both are valid, or with 2 if not
    #[arg(long, conflicts_with = "healthcheck")]
    pub(crate) check_config: bool,
    /// Query the health of a running exporter, and exit with 0 if the exporter is healthy, or with 1 if not
    #[arg(long, conflicts_with_all = ["targets", "cache", "jobs", "state"])]
    pub(crate) healthcheck: bool,
}
