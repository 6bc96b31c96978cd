//! `nssight checks`, `nssight causes` and `nssight schema`: what can be walked, what a verdict can name, and how a report
//! is made.

use std::io::{self, Write};
use std::process::ExitCode;

use nssight_probes::{Cause, PROBES};
use schemars::schema_for;

use crate::cli::Document;
use crate::clients::Comparison as ClientsDocument;
use crate::db::{ComparisonDocument, InspectionDocument};
use crate::process_model::MatrixDocument;

pub(crate) fn checks() -> ExitCode {
    print(PROBES.iter().map(|probe| {
        let causes: Vec<&str> = probe.causes.iter().map(|cause| cause.id()).collect();
        format!("{:<16} {}", probe.layer, causes.join(" "))
    }))
}

pub(crate) fn causes() -> ExitCode {
    print(Cause::ALL.iter().map(|cause| {
        let entry = cause.entry();
        format!("{:<28} {:<16} {:<14} {}", entry.id, entry.layer, entry.component, entry.title)
    }))
}

pub(crate) fn schema(document: Document) -> ExitCode {
    let schema = match document {
        Document::Report => nssight_probes::report::schema(),
        Document::DbInspect => schema_for!(InspectionDocument).into(),
        Document::DbCompare => schema_for!(ComparisonDocument).into(),
        Document::Clients => schema_for!(ClientsDocument).into(),
        Document::ProcessModel => schema_for!(MatrixDocument).into(),
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
