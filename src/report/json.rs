//! JSON: a walk as a document of the schema `nssight/report/1`, many walks as one of `nssight/check/1`.

use std::io::{self, Write};

use nssight_probes::Report;

use super::Subject;
use crate::check::{Document, Output, Summary};

/// The report of one walk.
pub(crate) fn report(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}

/// Many walks as one document of the schema `nssight/check/1`.
pub(super) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    document(subjects, Summary::of_all(subjects), out)
}

/// The same with a summary that counts targets without a walk too.
pub(crate) fn document(subjects: &[Subject], summary: Summary, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, &Output::Document(Document::of(subjects, summary)))?;
    writeln!(out)
}
