//! Options of `nssight exporter`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::seconds;

#[derive(Args)]
pub(crate) struct ExporterOptions {
    /// The targets; no others are walked. Read again on SIGHUP
    #[arg(value_name = "FILE.toml", required_unless_present = "healthcheck")]
    pub(crate) targets: Option<PathBuf>,
    /// Where to listen; without TLS and password, so beyond loopback only behind something that has both
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9744")]
    pub(crate) listen: SocketAddr,
    /// Answer requests for this host, too [default: the address that is listened on, localhost and this host's names]
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,
    /// A target is walked once in so many seconds at most, and whoever asks meanwhile gets the last result
    #[arg(long, value_name = "SECONDS", default_value = "45", value_parser = seconds)]
    pub(crate) cache: Duration,
    /// Walk so many targets at the same time [default: the number of cores]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    pub(crate) jobs: Option<u32>,
    /// Keep the last results in this directory, for the time after a restart
    #[arg(long, value_name = "DIR")]
    pub(crate) state: Option<PathBuf>,
    /// Ask the exporter that listens there whether it is well, and exit with 0 or 1
    #[arg(long, conflicts_with_all = ["targets", "cache", "jobs", "state"])]
    pub(crate) healthcheck: bool,
}
