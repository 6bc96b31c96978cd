//! How a result is written.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, ValueEnum};

pub(crate) use nssight_reports::{Colour, Format};

/// Output options of a command that does not check a target.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum TableFormat {
    /// Text for a terminal
    Human,
    /// One JSON document
    Json,
}

/// Output options of a command that does not check a target.
#[derive(Clone, Copy, Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct TableOptions {
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
    /// Print every detail
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// When to use colors
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
}

#[derive(Args)]
#[command(next_help_heading = "Output")]
pub(crate) struct OutputOptions {
    /// Output format
    #[arg(long, value_enum, default_value_t = Format::Human)]
    pub(crate) format: Format,
    /// Write the report to this file
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Print all facts of every layer
    #[arg(short, long)]
    pub(crate) verbose: bool,
    /// Print only the verdict
    #[arg(short, long, conflicts_with = "verbose", hide_short_help = true)]
    pub(crate) quiet: bool,
    /// Print the verdict in one line
    #[arg(long, conflicts_with_all = ["verbose", "quiet"], hide_short_help = true)]
    pub(crate) short: bool,
    /// When to use colors
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// Exit with 1 for warnings too
    #[arg(long, hide_short_help = true)]
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
