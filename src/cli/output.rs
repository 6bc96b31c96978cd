//! How a result is written.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use nssight_reports::{Colour, Format};

/// How a result that is no walk is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// For a terminal
    Human,
    /// One JSON document
    Json,
}

/// How a result that is no walk is written.
#[derive(Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct TableOptions {
    /// How to write the result
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
    /// Show every detail
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// How to write the report
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Write the report to a file
    #[arg(long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Show what was seen in every layer
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Show the verdict only
    #[arg(short, long, conflicts_with = "verbose")]
    pub(crate) quiet: bool,
    /// Show the verdict in one line
    #[arg(long, conflicts_with_all = ["verbose", "quiet"])]
    pub(crate) short: bool,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Exit 1 for warnings too
    #[arg(long)]
    pub(crate) strict: bool,
}

impl OutputOptions {
    /// The same options as words of a command line.
    pub(crate) fn words(&self) -> Vec<OsString> {
        let mut words = vec!["--format".into(), name(self.format), "--color".into(), name(self.color)];
        words.extend(self.output.iter().flat_map(|path| ["--output".into(), path.into()]));
        let flags =
            [(self.verbose, "--verbose"), (self.quiet, "--quiet"), (self.short, "--short"), (self.strict, "--strict")];
        words.extend(flags.into_iter().filter(|(given, _)| *given).map(|(_, flag)| flag.into()));
        words
    }
}

/// How the command line spells a choice.
fn name(choice: impl ValueEnum) -> OsString {
    choice.to_possible_value().map(|value| value.get_name().into()).unwrap_or_default()
}
