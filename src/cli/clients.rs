//! Options of `nssight clients` and `nssight process-model`.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use nssight_probes::settings::Overrides;

use super::{PasswordOptions, TableOptions, TargetOptions, seconds};
use crate::models::Model;

#[derive(Args)]
pub(crate) struct ClientsOptions {
    /// Read this client.conf, as `nssight diagnose` does
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// Time that one client may take for each of its steps
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = seconds)]
    pub(crate) timeout: Duration,
    /// Time between two connections: a serial bridge takes the next client when it has done with the last
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = seconds)]
    pub(crate) pause: Duration,
    /// Interpreter with python-nss
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// With -c: run a forking double-TLS client in python-nss too, with this file's password of a Sigul administrator
    #[arg(long, value_name = "FILE", requires = "config")]
    pub(crate) admin_password_file: Option<PathBuf>,
    /// Run tstclnt once more with `-w FILE`, as somebody did who meant -W
    #[arg(long, value_name = "FILE")]
    pub(crate) tstclnt_w: Option<PathBuf>,
    /// Connect to what looks like a server port too
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
    /// Read this client.conf, server.conf or bridge.conf, as `nssight diagnose` does
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    #[command(flatten)]
    target: TargetOptions,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    #[command(flatten)]
    pub(crate) output: TableOptions,
    /// Try the handshakes too, with one connection a model
    #[arg(long)]
    pub(crate) connect: bool,
    /// Only these models
    #[arg(long, value_name = "MODEL", value_enum)]
    pub(crate) only: Vec<Model>,
    /// Try the same password through every way of giving one too
    #[arg(long)]
    pub(crate) password_channels: bool,
    /// Try the models through python-nss in this interpreter too
    #[arg(long, value_name = "PYTHON")]
    pub(crate) python: Option<PathBuf>,
    /// Exit 1 if any model differs from a fresh process
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
