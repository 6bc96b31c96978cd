//! Options of `nssight check`.

use std::path::PathBuf;
use std::sync::LazyLock;
use std::time::Duration;

use clap::{Args, ValueEnum};

use super::{Colour, Format, number_of_seconds, seconds};

#[derive(Args)]
pub(crate) struct CheckOptions {
    /// Targets, in TOML; docs/targets.example.toml has every key
    #[arg(value_name = "FILE.toml", required_unless_present = "config", conflicts_with = "config")]
    pub(crate) file: Option<PathBuf>,
    /// Make a target of this Sigul configuration, without a file of targets; several are had together
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Vec<PathBuf>,
    #[command(flatten)]
    pub(crate) selection: SelectionOptions,
    #[command(flatten)]
    pub(crate) walks: CheckWalkOptions,
    #[command(flatten)]
    pub(crate) output: CheckOutputOptions,
}

/// Which targets.
#[derive(Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct SelectionOptions {
    /// Only the targets of this name, in which * and ? stand for anything; several are had together
    #[arg(long, value_name = "NAME")]
    pub(crate) only: Vec<String>,
    /// Only the targets with this label; of several with one key any will do, and every key must fit
    #[arg(long, value_name = "KEY=VALUE", value_parser = label)]
    pub(crate) label: Vec<(String, String)>,
}

/// How they are walked.
#[derive(Args)]
#[command(next_help_heading = "Walks")]
pub(crate) struct CheckWalkOptions {
    /// Walk so many targets at once; without it, one a processor. Those that share a bridge never go together
    #[arg(short, long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    pub(crate) jobs: Option<u16>,
    /// Begin no other walk after the first failure
    #[arg(long)]
    pub(crate) fail_fast: bool,
    /// Time that one layer may take, instead of the file's (10)
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub(crate) timeout: Option<Duration>,
    /// Time that one target may take, all its tries together, instead of the file's (60)
    #[arg(long, value_name = "SECONDS", value_parser = deadline)]
    pub(crate) deadline: Option<Duration>,
    /// Try a failure of transport again up to so many times, instead of the file's (0); a refusal is never tried again
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    pub(crate) retries: Option<u32>,
    /// Time between two tries, instead of the file's (5)
    #[arg(long, value_name = "SECONDS", value_parser = spacing)]
    pub(crate) retry_spacing: Option<Duration>,
    /// As root, load the modules that a database names also where another user can say which
    #[arg(long)]
    pub(crate) load_modules: bool,
    /// Say what would be walked and how many connections that takes, and do nothing
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How the results are written.
#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct CheckOutputOptions {
    /// How to write the results
    #[arg(long, value_enum, default_value_t = CheckFormat::Human)]
    pub(crate) format: CheckFormat,
    /// Write the results to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show every target and every name
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Show the summary only, and no progress
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Exit 1 for warnings and flaky targets too
    #[arg(long)]
    pub(crate) strict: bool,
}

/// How the results of many walks are written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CheckFormat {
    /// For people: a line a target and a summary.
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
                Format::Human.to_possible_value().map(|value| value.help("One line for each target, and a summary"))
            }
            Self::Ndjson => {
                let help = "One line of JSON for each target as it finishes, and one for the summary";
                Some(clap::builder::PossibleValue::new("ndjson").help(help))
            }
            Self::Document(format) => format.to_possible_value(),
        }
    }
}

fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

fn deadline(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 1.0, 86_400.0)
}

fn spacing(text: &str) -> Result<Duration, String> {
    number_of_seconds(text, 0.0, 3600.0)
}
