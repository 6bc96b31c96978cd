//! `nssight checks`, `nssight causes` and `nssight schema`: the layers, the causes, and the structure of a report.

use std::process::ExitCode;

use nssight_diagnosis::signal::{CODES, NOTES, Signal, TEXTS};
use nssight_diagnosis::vocabulary::{Component, Peer};
use nssight_diagnosis::{Cause, Layer};
use nssight_inventory::compare::Comparison as ComparisonDocument;
use nssight_inventory::views::Inspection as InspectionDocument;
use nssight_probes::plan::layers;
use nssight_reports::terminal;
use nssight_trace::{Against, TraceReport};
use schemars::{JsonSchema, schema_for};
use serde::Serialize;

use crate::bundle::Manifest as BundleManifest;
use crate::check::Output as CheckOutput;
use crate::cli::{CausesOptions, Document, TableFormat};
use crate::clients::Comparison as ClientsDocument;
use crate::compare::Comparison as ReportComparison;
use crate::exit;
use crate::explain::Document as ExplainDocument;
use crate::lab::FaultsDocument;
use crate::process_model::MatrixDocument;
use crate::repeat::Document as RepeatDocument;
use crate::selftest::Outcome as SelftestDocument;

/// Maximum number of messages on a page.
const SPELLINGS: usize = 12;

/// The page that lists the others.
const INDEX: &str = "index.md";

/// The layers in the order of a check, schema `nssight/checks/1`.
#[derive(Serialize, JsonSchema)]
struct ChecksDocument {
    schema: &'static str,
    layers: Vec<ListedLayer>,
}

#[derive(Serialize, JsonSchema)]
struct ListedLayer {
    layer: Layer,
    /// Causes of the layer, and causes that appear at it.
    causes: Vec<Cause>,
}

pub(crate) fn checks(format: TableFormat) -> ExitCode {
    let layers: Vec<ListedLayer> =
        layers().map(|layer| ListedLayer { layer, causes: causes_of(layer).collect() }).collect();
    match format {
        TableFormat::Json => json(&ChecksDocument { schema: "nssight/checks/1", layers }),
        TableFormat::Human => list(layers.iter().map(|listed| {
            let causes: Vec<&str> = listed.causes.iter().map(|cause| cause.id()).collect();
            ([listed.layer.as_str()], causes.join(" "))
        })),
    }
}

/// Causes that belong to a layer or appear at it.
fn causes_of(layer: Layer) -> impl Iterator<Item = Cause> {
    let shows = move |cause: &Cause| cause.entry().rules.shows.iter().any(|row| row.layers.contains(&layer));
    Cause::ALL.iter().copied().filter(move |cause| cause.entry().layer == layer || shows(cause))
}

/// Every cause that a verdict can name, schema `nssight/causes/1`.
#[derive(Serialize, JsonSchema)]
struct CausesDocument {
    schema: &'static str,
    causes: Vec<ListedCause>,
}

#[derive(Serialize, JsonSchema)]
struct ListedCause {
    cause: Cause,
    /// The layer of the cause.
    layer: Layer,
    /// Components that can be at fault.
    components: Vec<Component>,
    title: &'static str,
    why: &'static str,
}

pub(crate) fn causes(options: &CausesOptions) -> ExitCode {
    if let Some(directory) = options.pages.as_deref() {
        let write = |cause: &Cause| std::fs::write(directory.join(format!("{}.md", cause.id())), page(*cause));
        let all = || Cause::ALL.iter().try_for_each(write);
        let index = || std::fs::write(directory.join(INDEX), index());
        return match std::fs::create_dir_all(directory).and_then(|()| all()).and_then(|()| index()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::not_written(&error),
        };
    }
    let entries = || Cause::ALL.iter().map(|cause| (*cause, cause.entry()));
    match options.list.format {
        TableFormat::Json => {
            let causes = entries().map(|(cause, entry)| ListedCause {
                cause,
                layer: entry.layer,
                components: entry.faults.iter().map(|fault| fault.component).collect(),
                title: entry.title.plain(),
                why: entry.why.plain().trim(),
            });
            json(&CausesDocument { schema: "nssight/causes/1", causes: causes.collect() })
        }
        TableFormat::Human => list(entries().map(|(cause, entry)| {
            ([cause.id(), entry.layer.as_str(), entry.component().as_str()], entry.title.plain().to_owned())
        })),
    }
}

/// One line per cause, grouped by layer, in the order of a check.
fn index() -> String {
    let mut text = String::from(
        "# Causes\n\nThis page lists every cause that a verdict can name, by layer. A cause can also make another layer fail. `nssight \
         explain CAUSE` prints the page of a cause, without a network.\n",
    );
    for &layer in Layer::ALL {
        let here: Vec<Cause> = Cause::ALL.iter().copied().filter(|cause| cause.entry().layer == layer).collect();
        if here.is_empty() {
            continue;
        }
        text += &format!("\n## {layer}\n\n");
        for cause in here {
            text += &format!("- [{0}]({0}.md): {1}\n", cause.id(), cause.entry().title.plain());
        }
    }
    text
}

/// The page of a cause, in Markdown.
fn page(cause: Cause) -> String {
    let entry = cause.entry();
    let components: Vec<String> = entry.faults.iter().map(|fault| format!("`{}`", fault.component)).collect();
    let components = components.join(" or ");
    let mut text =
        format!("# {}\n\n{}\n\nLayer `{}`, component {components}.\n\n", entry.id, entry.title.plain(), entry.layer);
    let why = entry.why.plain().trim();
    text += &format!("## Why this happens\n\n{why}\n");
    if let Some(more) = entry.why.of(Peer::Bridge).strip_prefix(entry.why.plain()).filter(|more| !more.is_empty()) {
        text += &format!("\nIf the peer is a bridge: {}\n", more.trim());
    }
    for (title, steps) in [("How to be sure", entry.confirm), ("What to do", entry.fix)] {
        text += &format!("\n## {title}\n\n");
        for step in steps {
            // A step for a bridge calls the peer a bridge.
            let (peer, only) = match step.with {
                [Peer::Bridge, ..] => (Peer::Bridge, "(Bridge) "),
                [Peer::BridgeOfFiles, ..] => (Peer::BridgeOfFiles, "(Bridge, and files) "),
                [Peer::Files, ..] => (Peer::Files, "(Files) "),
                [Peer::Clients, ..] => (Peer::Clients, "(Server) "),
                [Peer::ClientsOfFiles] => (Peer::ClientsOfFiles, "(Server with files) "),
                _ => (Peer::Plain, ""),
            };
            text += &format!("- {only}{}\n", step.text.of(peer));
            if let Some(command) = step.command.map(|command| command.of(peer)) {
                text += &format!("\n  ```sh\n  {command}\n  ```\n\n");
            }
        }
    }
    let spellings = spellings(cause);
    if !spellings.is_empty() {
        text += "\n## Messages\n\n";
        spellings.iter().for_each(|spelling| text += &format!("- `{spelling}`\n"));
    }
    let similar: Vec<_> = entry.see_also.iter().chain(entry.rules.tell_apart).collect();
    if !similar.is_empty() {
        text += "\n## What looks similar\n\n";
        for other in similar {
            text += &format!("- [{0}]({0}.md): {1}\n", other.cause.id(), other.how.plain());
        }
    }
    text
}

/// Names of errors and messages of programs under which a cause shows: one of each signal before a second of any.
fn spellings(cause: Cause) -> Vec<&'static str> {
    let mut signals: Vec<Signal> = Vec::new();
    for signal in cause.entry().rules.shows.iter().flat_map(|row| row.signals) {
        if !signals.contains(signal) {
            signals.push(*signal);
        }
    }
    let mut open: Vec<_> = signals.into_iter().map(|signal| spellings_of(signal).into_iter()).collect();
    let mut found = Vec::new();
    while found.len() < SPELLINGS && !open.is_empty() {
        open.retain_mut(|spellings| spellings.next().map(|spelling| found.push(spelling)).is_some());
    }
    found.truncate(SPELLINGS);
    found
}

/// Every spelling of a signal: the names of errors, what needs an explanation, and the rest.
fn spellings_of(signal: Signal) -> Vec<&'static str> {
    let codes = CODES.iter().filter(|code| code.signal == signal).map(|code| code.name);
    let notes = NOTES.iter().filter(|note| note.signal == signal).map(|note| note.text);
    let texts = TEXTS.iter().filter(|(_, of)| *of == signal).map(|(text, _)| *text);
    let mut all: Vec<&'static str> = Vec::new();
    for spelling in codes.chain(notes).chain(texts) {
        if !all.iter().any(|known| known.eq_ignore_ascii_case(spelling)) {
            all.push(spelling);
        }
    }
    all
}

pub(crate) fn schema(document: Document) -> ExitCode {
    let schema = match document {
        Document::Report => nssight_probes::report::schema(),
        Document::Repeat => schema_for!(RepeatDocument<'_>).into(),
        Document::Check => schema_for!(CheckOutput<'_>).into(),
        Document::DbInspect => schema_for!(InspectionDocument).into(),
        Document::Compare => schema_for!(ReportComparison).into(),
        Document::DbCompare => schema_for!(ComparisonDocument).into(),
        Document::Clients => schema_for!(ClientsDocument).into(),
        Document::Explain => schema_for!(ExplainDocument).into(),
        Document::ProcessModel => schema_for!(MatrixDocument).into(),
        Document::Trace => schema_for!(TraceReport).into(),
        Document::TraceAgainst => schema_for!(Against).into(),
        Document::Triage => nssight_triage::schema(),
        Document::Bundle => schema_for!(BundleManifest<'_>).into(),
        Document::Selftest => schema_for!(SelftestDocument).into(),
        Document::Checks => schema_for!(ChecksDocument).into(),
        Document::Causes => schema_for!(CausesDocument).into(),
        Document::LabList => schema_for!(FaultsDocument).into(),
    };
    json(&schema)
}

/// Prints a list for people.
fn list<const N: usize>(rows: impl Iterator<Item = ([&'static str; N], String)>) -> ExitCode {
    let rows: Vec<_> = rows.collect();
    exit::written(terminal::output(|out| terminal::list(out, &rows)))
}

/// Prints a document for programs.
fn json(document: &impl Serialize) -> ExitCode {
    exit::written(terminal::json(document))
}
