//! Options of the support commands: `compare`, `explain`, `triage` and `bundle`.

use std::path::PathBuf;

use clap::{Args, Parser};

use super::{TableOptions, WalkedOptions};

#[derive(Args)]
pub(crate) struct ReportsOptions {
    /// A report from `nssight diagnose --format json`, or the reports from `nssight listen --format json`
    #[arg(value_name = "A.json")]
    pub(crate) a: PathBuf,
    /// Second report
    #[arg(value_name = "B.json")]
    pub(crate) b: PathBuf,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

#[derive(Args)]
pub(crate) struct ExplainOptions {
    /// A code such as -5938, a name such as PR_END_OF_FILE_ERROR or unknown_ca, a cause, or a message; - reads a message from
    /// standard input
    #[arg(required_unless_present = "list", allow_hyphen_values = true, allow_negative_numbers = true)]
    pub(crate) what: Vec<String>,
    /// List every known name
    #[arg(long)]
    pub(crate) list: bool,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

/// Options that may follow a message. Words of a message may begin with a dash, so the parser takes all of them as part of the message.
#[derive(Parser)]
struct Behind {
    #[command(flatten)]
    output: TableOptions,
}

impl ExplainOptions {
    /// Separates the message from the options for the answer.
    pub(crate) fn parted(&self) -> (&[String], TableOptions) {
        let program = std::iter::once("nssight");
        let parted = (1..self.what.len()).find_map(|at| {
            let (message, behind) = self.what.split_at(at);
            let words = program.clone().chain(behind.iter().map(String::as_str));
            Behind::try_parse_from(words).ok().map(|behind| (message, behind.output))
        });
        parted.unwrap_or((&self.what, self.output))
    }
}

#[derive(Args)]
pub(crate) struct BundleOptions {
    #[command(flatten)]
    pub(crate) walked: WalkedOptions,
    /// File to write, with a name that ends in .tar.zst; only its owner can read it [default: nssight-HOST-TIME.tar.zst]
    #[arg(short, long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) output: Option<PathBuf>,
    /// Replace an existing file
    #[arg(long, help_heading = "Bundle")]
    pub(crate) force: bool,
    /// Log to include; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) log: Vec<PathBuf>,
    /// Additional configuration file to include; may be repeated
    #[arg(long, value_name = "FILE", help_heading = "Bundle")]
    pub(crate) add_config: Vec<PathBuf>,
    /// Also print the contents of every file in the bundle
    #[arg(short, long, help_heading = "Bundle")]
    pub(crate) verbose: bool,
}

#[derive(Args)]
pub(crate) struct TriageOptions {
    /// Logs, packet captures (pcap, pcapng), reports, bundles or directories; nssight unpacks .gz, .zst and .xz files [default: standard input]
    #[arg(value_name = "FILE")]
    pub(crate) files: Vec<PathBuf>,
    /// Print the known phrases, one per line, for grep -F
    #[arg(long)]
    pub(crate) patterns: bool,
    /// Print the known formats and signals as a Markdown page
    #[arg(long)]
    pub(crate) formats: bool,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}
