//! Options of `nssight clients` and `nssight process-model`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nssight_probes::settings::Overrides;

use super::{PasswordOptions, TableOptions, TargetOptions, seconds};
use crate::models::Model;

#[derive(Args)]
pub(crate) struct ClientsOptions {
    /// Sigul configuration: client.conf
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// Time limit for each step of a client
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Time between two connections, for a bridge that serves one client at a time
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) pause: Duration,
    /// Python interpreter that has python-nss
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// With -c, also run two clients up to the server's reply: a forking python-nss client and siguldry's Sigul client.
    /// This file contains the password of a Sigul administrator
    #[arg(long, value_name = "FILE", requires = "config")]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// Program that runs siguldry's Sigul client, used with --admin-password-file [default: sigul-v1-client]
    #[arg(long, value_name = "PROGRAM", requires = "admin_password_file")]
    pub(crate) sigul_v1_client: Option<PathBuf>,
    /// Run tstclnt once more with `-w FILE`, which users often confuse with `-W FILE`
    #[arg(long, value_name = "FILE")]
    pub(crate) tstclnt_w: Option<PathBuf>,
    /// Connect even to a port meant for servers
    #[arg(long)]
    connect: bool,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

impl ClientsOptions {
    /// What the command line says about the target.
    pub(crate) fn overrides(&self) -> Overrides {
        self.target.overrides(self.connect)
    }
}

#[derive(Args)]
pub(crate) struct ProcessModelOptions {
    /// Sigul configuration: client.conf, server.conf or bridge.conf
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    #[command(flatten)]
    pub(crate) output: TableOptions,
    /// Also test handshakes, with one connection per model
    #[arg(long)]
    pub(crate) connect: bool,
    /// Test only this model; may be repeated
    #[arg(long, value_name = "MODEL", value_enum)]
    pub(crate) only: Vec<Model>,
    /// Also test every method of supplying the same password
    #[arg(long)]
    pub(crate) password_channels: bool,
    /// Also test the models through python-nss, in this Python interpreter
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// Exit with 1 if a model differs from a fresh process
    #[arg(long, help_heading = "Output")]
    pub(crate) strict: bool,
}

impl ProcessModelOptions {
    /// What the command line says about the target.
    pub(crate) fn overrides(&self) -> Overrides {
        self.target.overrides(self.connect)
    }
}

#[derive(Args)]
pub(crate) struct KeepOptions {
    /// The process that it ends with
    pub(crate) parent: i32,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) command: Vec<std::ffi::OsString>,
}
