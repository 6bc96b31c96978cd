//! Options of the commands for whoever gets the ticket: `compare`, `explain`, `triage` and `bundle`.

use std::path::PathBuf;

use clap::Args;

use super::{TableOptions, WalkedOptions};

#[derive(Args)]
pub(crate) struct ReportsOptions {
    /// One report, of `nssight diagnose --format json`
    #[arg(value_name = "A.json")]
    pub(crate) a: PathBuf,
    /// The other one
    #[arg(value_name = "B.json")]
    pub(crate) b: PathBuf,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

#[derive(Args)]
pub(crate) struct ExplainOptions {
    /// -5938, PR_END_OF_FILE_ERROR, unknown_ca, X509_V_ERR_CERT_HAS_EXPIRED, a cause, or a message; - reads a message from
    /// standard input
    #[arg(required_unless_present = "list", allow_hyphen_values = true, allow_negative_numbers = true)]
    pub(crate) what: Vec<String>,
    /// List every name that is known
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

#[derive(Args)]
pub(crate) struct BundleOptions {
    #[command(flatten)]
    pub(crate) walked: WalkedOptions,
    /// The bundle to write, readable by its owner only; its name ends in .tar.zst [default: nssight-HOST-TIME.tar.zst]
    #[arg(short, long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) output: Option<PathBuf>,
    /// Replace the file if it is there already
    #[arg(long, help_heading = "Bundle")]
    pub(crate) force: bool,
    /// A log to put in; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) log: Vec<PathBuf>,
    /// Another configuration file to put in; may be given several times
    #[arg(long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) add_config: Vec<PathBuf>,
    /// Show the contents, too
    #[arg(short, long, help_heading = "Bundle")]
    pub(crate) verbose: bool,
}

#[derive(Args)]
pub(crate) struct TriageOptions {
    /// Logs, captures of packets (pcap, pcapng), reports of nssight, bundles, directories; .gz, .zst and .xz are unpacked.
    /// Without one, or for -, standard input
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print the words by which lines are recognised, for grep -F
    #[arg(long)]
    pub(crate) patterns: bool,
    /// Print the formats that are known, and the signals, as the page docs/formats.md
    #[arg(long)]
    pub(crate) formats: bool,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}
