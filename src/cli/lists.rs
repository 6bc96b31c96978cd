//! `nssight checks`, `causes`, `schema` and `manual`: commands about nssight itself.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::TableFormat;

#[derive(Args)]
pub(crate) struct ListOptions {
    /// List them (the default)
    #[arg(long, hide = true)]
    list: bool,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
}

#[derive(Args)]
pub(crate) struct CausesOptions {
    #[command(flatten)]
    pub(crate) list: ListOptions,
    /// Write one Markdown page per cause into this directory
    #[arg(long, value_name = "DIR")]
    pub(crate) pages: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct ManualOptions {
    /// Directory that holds man, bash-completion, zsh and fish, for example /usr/local/share
    #[arg(value_name = "DIR")]
    pub(crate) share: PathBuf,
}

#[derive(Args)]
pub(crate) struct CompletionOptions {
    /// Shell for which to print the completion script
    #[arg(value_enum)]
    pub(crate) shell: clap_complete::Shell,
}

#[derive(Args)]
pub(crate) struct SchemaOptions {
    /// Document type
    #[arg(value_enum, default_value_t = Document::Report)]
    pub(crate) document: Document,
}

/// A document that has a schema.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Document {
    /// nssight/report/2, of `nssight diagnose`
    Report,
    /// nssight/repeat/1, of `nssight diagnose --repeat`
    Repeat,
    /// nssight/check/1, of `nssight check`: the document, and each line of ndjson
    Check,
    /// nssight/db-inspect/1, of `nssight db inspect`
    DbInspect,
    /// nssight/compare/1, of `nssight compare`
    Compare,
    /// nssight/db-compare/1, of `nssight db compare`
    DbCompare,
    /// nssight/clients/1, of `nssight clients`
    Clients,
    /// nssight/explain/1, of `nssight explain`
    Explain,
    /// nssight/process-model/1, of `nssight process-model`
    ProcessModel,
    /// nssight/trace/1, of `nssight trace`
    Trace,
    /// nssight/trace-against/1, of `nssight diagnose --trace-against`
    TraceAgainst,
    /// nssight/triage/1, of `nssight triage`
    Triage,
    /// nssight/bundle/1, the MANIFEST.json of `nssight bundle`
    Bundle,
    /// nssight/selftest/1, of `nssight selftest`
    Selftest,
    /// nssight/checks/1, of `nssight checks`
    Checks,
    /// nssight/causes/1, of `nssight causes`
    Causes,
    /// nssight/lab-list/1, of `nssight lab list`
    LabList,
}
