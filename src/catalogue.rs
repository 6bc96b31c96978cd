//! `nssight checks`, `nssight causes` and `nssight schema`: what can be walked, what a verdict can name, and how a report
//! is made.

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use nssight_probes::trace::{Against, TraceReport};
use nssight_probes::{Cause, PROBES};
use schemars::schema_for;

use crate::check::Output as CheckOutput;
use crate::cli::Document;
use crate::clients::Comparison as ClientsDocument;
use crate::compare::Comparison as ReportComparison;
use crate::db::{ComparisonDocument, InspectionDocument};
use crate::exit;
use crate::explain::Document as ExplainDocument;
use crate::process_model::MatrixDocument;

pub(crate) fn checks() -> ExitCode {
    print(PROBES.iter().map(|probe| {
        let causes: Vec<&str> = probe.causes.iter().map(|cause| cause.id()).collect();
        format!("{:<16} {}", probe.layer, causes.join(" "))
    }))
}

pub(crate) fn causes(pages: Option<&Path>) -> ExitCode {
    if let Some(directory) = pages {
        let write = |cause: &Cause| std::fs::write(directory.join(format!("{}.md", cause.id())), page(*cause));
        return match std::fs::create_dir_all(directory).and_then(|()| Cause::ALL.iter().try_for_each(write)) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => exit::not_written(&error),
        };
    }
    print(Cause::ALL.iter().map(|cause| {
        let entry = cause.entry();
        format!("{:<28} {:<16} {:<14} {}", entry.id, entry.layer, entry.component, entry.title)
    }))
}

/// The page of a cause, in Markdown.
fn page(cause: Cause) -> String {
    let entry = cause.entry();
    let mut text =
        format!("# {}\n\n{}\n\nLayer `{}`, component `{}`.\n\n", entry.id, entry.title, entry.layer, entry.component);
    text += &format!("## Why it looks like this\n\n{}\n", entry.why.trim());
    for (title, steps) in [("How to be sure", &entry.confirm), ("What to do", &entry.fix)] {
        text += &format!("\n## {title}\n\n");
        for step in steps {
            text += &format!("- {}\n", step.text);
            if let Some(command) = &step.command {
                text += &format!("\n  ```sh\n  {command}\n  ```\n\n");
            }
        }
    }
    if !entry.symptoms.is_empty() {
        text += "\n## Messages under which it shows\n\n";
        entry.symptoms.iter().for_each(|symptom| text += &format!("- `{symptom}`\n"));
    }
    if !entry.see_also.is_empty() {
        text += "\n## What looks similar\n\n";
        for other in &entry.see_also {
            text += &format!("- [{0}]({0}.md): {1}\n", other.cause.id(), other.how);
        }
    }
    text
}

pub(crate) fn schema(document: Document) -> ExitCode {
    let schema = match document {
        Document::Report => nssight_probes::report::schema(),
        Document::Check => schema_for!(CheckOutput<'_>).into(),
        Document::DbInspect => schema_for!(InspectionDocument).into(),
        Document::Compare => schema_for!(ReportComparison).into(),
        Document::DbCompare => schema_for!(ComparisonDocument).into(),
        Document::Clients => schema_for!(ClientsDocument).into(),
        Document::Explain => schema_for!(ExplainDocument).into(),
        Document::ProcessModel => schema_for!(MatrixDocument).into(),
        Document::Trace => schema_for!(TraceReport).into(),
        Document::TraceAgainst => schema_for!(Against).into(),
        Document::Triage => nssight_probes::triage::schema(),
    };
    print([format!("{schema:#}")].into_iter())
}

/// A reader that has seen enough (`| head`) is no error.
fn print(lines: impl Iterator<Item = String>) -> ExitCode {
    let mut out = io::stdout().lock();
    for line in lines {
        if writeln!(out, "{}", line.trim_end()).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}
