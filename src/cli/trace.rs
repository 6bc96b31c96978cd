//! `nssight trace`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::Args;

use super::Colour;

#[derive(Args)]
pub(crate) struct TraceOptions {
    /// Write one JSON document: to standard output after the program's own, or to the file of --output
    #[arg(long)]
    pub(crate) json: bool,
    /// Show every call, by process and thread
    #[arg(long)]
    pub(crate) timeline: bool,
    /// Show what was on the wire of the traced TLS sessions
    #[arg(long)]
    pub(crate) wire: bool,
    /// Follow processes that outlive the program, until they end or Ctrl-C
    #[arg(long)]
    pub(crate) follow: bool,
    /// Write the report into this file, and not to standard error
    #[arg(short, long, value_name = "FILE")]
    pub(crate) output: Option<PathBuf>,
    /// The program's client.conf, to be looked at when the program fails; without it, what the program has after -c
    #[arg(short = 'c', long, value_name = "FILE")]
    pub(crate) config: Option<PathBuf>,
    /// When to use colours
    #[arg(long, value_enum, default_value_t = Colour::Auto)]
    pub(crate) color: Colour,
    /// The program and its arguments
    #[arg(last = true, required = true, value_name = "CMD")]
    pub(crate) command: Vec<OsString>,
}
