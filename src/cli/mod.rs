//! The command line.

mod check;
mod clients;
mod db;
#[cfg(test)]
mod documents;
mod examples;
mod exporter;
mod lab;
mod listen;
mod lists;
mod output;
mod support;
mod trace;
mod walked;

use std::ffi::OsString;
use std::time::Duration;

use clap::{Args, CommandFactory, FromArgMatches, Parser, Subcommand};
use nssight_diagnosis::Cause;
use nssight_probes::settings::BRIDGE_PORT;
use nssight_probes::target::Endpoint;

pub(crate) use check::{CheckFormat, CheckOptions, CheckOutputOptions, CheckWalkOptions, SelectionOptions};
pub(crate) use clients::{ClientsOptions, KeepOptions, ProcessModelOptions};
pub(crate) use db::{CompareOptions, DbCommand, InspectOptions};
pub(crate) use examples::{for_words as example_for, of as examples_of};
pub(crate) use exporter::ExporterOptions;
pub(crate) use lab::{DbFormatOption, LabCommand, LabProfile, SelftestOptions};
pub(crate) use listen::ListenOptions;
pub(crate) use lists::{CausesOptions, CompletionOptions, Document, ListOptions, ManualOptions, SchemaOptions};
pub(crate) use output::{Colour, Format, OutputOptions, TableFormat, TableOptions};
pub(crate) use support::{BundleOptions, ExplainOptions, ReportsOptions, TriageOptions};
pub(crate) use trace::TraceOptions;
pub(crate) use walked::{AdminOptions, ExpiryOptions, PasswordOptions, TargetOptions, WalkedOptions};

/// Find the layer at which a mutual TLS connection fails, and why.
#[derive(Parser)]
#[command(version, long_version = crate::version::long(), max_term_width = 100, args_override_self = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// The command line as it is parsed, with the examples in its long help.
pub(crate) fn command() -> clap::Command {
    examples::with_examples(Cli::command())
}

impl Cli {
    /// The command line of this process.
    ///
    /// # Errors
    /// An error of clap, or a request for help.
    pub(crate) fn of_process() -> Result<Self, clap::Error> {
        let mut command = command();
        let matches = command.try_get_matches_from_mut(std::env::args_os())?;
        Self::from_arg_matches(&matches).map_err(|error| error.format(&mut command))
    }
}

#[derive(Subcommand)]
pub(crate) enum Command {
    /// Check every layer from the configuration to the reply, and name the layer that fails
    Diagnose(Box<DiagnoseOptions>),
    /// Check many targets in parallel, and report which targets fail and why
    Check(Box<CheckOptions>),
    /// Run the same handshake with other TLS clients on this host, and draw a conclusion from all results
    Clients(Box<ClientsOptions>),
    /// Test how NSS behaves on this host in threads, after forks and in fresh processes
    ProcessModel(Box<ProcessModelOptions>),
    /// Read NSS databases without NSS
    #[command(subcommand)]
    Db(DbCommand),
    /// Accept TLS connections as a server, and report on each connection
    Listen(Box<ListenOptions>),
    /// Compare two reports: from a working host and a failing host, or from both ends of one connection
    Compare(ReportsOptions),
    /// Explain an error code, an error name, an alert, a cause or a pasted message
    Explain(ExplainOptions),
    /// Run a program and report which of its NSS calls fails
    Trace(TraceOptions),
    /// Read logs and reports, and show which layer fails, why, and which lines are the evidence
    Triage(TriageOptions),
    /// Check targets for Prometheus, and serve their metrics and reports over HTTP
    Exporter(ExporterOptions),
    /// Collect support data about this host in one file, and redact recognised secrets
    Bundle(Box<BundleOptions>),
    /// Start a test deployment on loopback, healthy or with a fault, and diagnose it
    #[command(subcommand)]
    Lab(LabCommand),
    /// Inject every lab fault and check that each gets the expected verdict
    Selftest(SelftestOptions),
    /// List the layers, and the causes that each layer can report
    Checks(ListOptions),
    /// List every cause that a verdict can name
    Causes(CausesOptions),
    /// Print the JSON Schema of a document
    Schema(SchemaOptions),
    /// Print a completion script for a shell
    Completion(CompletionOptions),
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
    /// Check again until the target passes, for at most this long; each check opens one connection
    #[arg(long, value_name = "SECONDS", value_parser = wait, help_heading = "Checks", hide_short_help = true)]
    pub(crate) wait: Option<Duration>,
    /// Check N times, 2 s apart, and report the success rate and the differences; each check opens one connection
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(2..=200), help_heading = "Checks",
        conflicts_with_all = ["wait", "retries", "why_not"], hide_short_help = true)]
    pub(crate) repeat: Option<u32>,
    /// Also explain why this cause is not the verdict
    #[arg(long, value_name = "CAUSE", hide_short_help = true)]
    pub(crate) why_not: Option<Cause>,
    /// First trace this program, with all arguments that follow, and report the first difference from the check. The
    /// program opens its own connections
    #[arg(long, value_name = "CMD", num_args = 1.., allow_hyphen_values = true, help_heading = "Checks",
        conflicts_with_all = ["password_stdin", "admin_password_stdin", "wait", "repeat"], hide_short_help = true)]
    pub(crate) trace_against: Vec<OsString>,
}

/// A bridge, with its usual port if none is given.
fn endpoint(text: &str) -> Result<Endpoint, String> {
    Endpoint::parse(text, BRIDGE_PORT)
}

fn seconds(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 0.05, 3600.0)
}

/// A time limit.
fn wait(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 1.0, 86_400.0)
}

/// A number of seconds, or a duration with units such as `1m30s`.
fn number_of_seconds(text: &str, least: f64, most: f64) -> Result<Duration, String> {
    let number = match text.parse::<f64>() {
        Ok(number) => number,
        Err(_) => humantime::parse_duration(text)
            .map_err(|_| format!("\"{text}\" is not a duration; write seconds, or units as in 1m30s"))?
            .as_secs_f64(),
    };
    if number >= least && number <= most {
        Ok(Duration::from_secs_f64(number))
    } else {
        Err(format!("must be between {least} and {most} seconds"))
    }
}
