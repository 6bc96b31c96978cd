//! `nssight trace`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::{Colour, TableFormat};

#[derive(Args)]
pub(crate) struct TraceOptions {
    /// Output format; JSON goes to standard output after the program's own output, or to the --output file
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
    /// The same as --format json
    #[arg(long, hide = true)]
    json: bool,
    /// Print every call, with its process and thread
    #[arg(long)]
    pub(crate) timeline: bool,
    /// Print the records of the traced TLS sessions
    #[arg(long)]
    pub(crate) wire: bool,
    /// If processes outlive the program, follow them until they end, or until Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Write the report to this file instead of standard error
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// Sigul configuration to examine if the program fails [default: the value of the program's own -c]
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// When to use colors
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}

impl TraceOptions {
    /// How the report is written.
    pub(crate) fn format(&self) -> TableFormat {
        if self.json { TableFormat::Json } else { self.format }
    }
}
