//! Options of `nssight check`.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Colour, ExpiryOptions, Format, number_of_seconds, seconds};

#[derive(Args)]
pub(crate) struct CheckOptions {
    /// Targets file in TOML; docs/targets.example.toml shows every key
    #[arg(value_name = "FILE.toml", required_unless_present = "config", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// Check this Sigul configuration instead of a targets file; may be repeated
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: SelectionOptions,
    #[command(flatten)]
    pub(crate) walks: CheckWalkOptions,
    #[command(flatten)]
    pub(crate) expiry: ExpiryOptions,
    #[command(flatten)]
    pub(crate) output: CheckOutputOptions,
}

/// Which targets.
#[derive(Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionOptions {
    /// Check only targets whose name matches this pattern with * and ?; may be repeated
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Check only targets with this label; may be repeated: for each key, a target must have one of the given values
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
}

/// How they are walked.
#[derive(Args)]
#[command(next_help_heading = "Checks")]
pub(crate) struct CheckWalkOptions {
    /// Number of parallel checks; targets that share a bridge run one after another [default: number of CPUs, at least 4]
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) jobs: Option<u16>,
    /// Stop after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Time limit for each layer [default: the value in the targets file, or 10]
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Time limit for each target, retries included [default: the value in the targets file, or 60]
    #[arg(long, value_name = "SECONDS", value_parser = deadline)]
    pub(crate) deadline: Option<Duration>,
    /// Retry up to N times after a transport failure, but never after a refusal [default: the value in the targets file, or 0]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retries: Option<u32>,
    /// Time between two attempts [default: the value in the targets file, or 5]
    #[arg(long, value_name = "SECONDS", value_parser = spacing)]
    pub(crate) retry_spacing: Option<Duration>,
    /// Check each target again until it passes, for at most this long
    #[arg(long, value_name = "SECONDS", value_parser = super::wait, conflicts_with = "retries")]
    pub(crate) wait: Option<Duration>,
    /// As root, load the PKCS#11 modules listed in a database even if another user can change the list
    #[arg(long)]
    pub(crate) load_modules: bool,
    /// List the targets and the number of connections, without checking anything
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How the results are written.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct CheckOutputOptions {
    /// Output format
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub(crate) format: CheckFormat,
    /// Write the results to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print every target, and every target name in the summary
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print only the summary, and no progress
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colors
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Print results in the order of the targets in the file, not in the order in which checks finish
    #[arg(long)]
    pub(crate) in_order: bool,
    /// Exit with 1 for warnings and flaky targets too
    #[arg(long)]
    pub(crate) strict: bool,
}

/// How the results of many walks are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckFormat {
    /// Text output: one line per target and a summary.
    Human,
    /// One line of JSON for each target as it finishes, and one for the summary.
    Ndjson,
    /// A document of all targets at the end.
    Document(Format),
}

impl ValueEnum for CheckFormat {
    fn value_variants<'a>() -> &'a [Self] {
        static ALL: LazyLock<Vec<CheckFormat>> = LazyLock::new(|| {
            let documents = Format::ALL.iter().filter(|format| **format != Format::Human);
            [CheckFormat::Human, CheckFormat::Ndjson]
                .into_iter()
                .chain(documents.map(|format| CheckFormat::Document(*format)))
                .collect()
        });
        &ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        match self {
            Self::Human => {
                Format::Human.to_possible_value().map(|value| value.help("One line per target and a summary"))
            }
            Self::Ndjson => {
                let help = "One line of JSON per target when its check finishes, and one line for the summary";
                Some(clap::builder::PossibleValue::new("ndjson").help(help))
            }
            Self::Document(format) => format.to_possible_value(),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write a label as KEY=VALUE".to_owned()),
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 1.0, 86_400.0)
}

fn spacing(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 0.0, 3600.0)
}
