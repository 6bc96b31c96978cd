//! JSON: the document of each check, schema `nssight/report/2`.

use std::io::{self, Write};

use nssight_probes::report::Subject;

/// The help text of the format.
pub const HELP: &str = "One JSON document";

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    subjects.iter().try_for_each(|subject| {
        serde_json::to_writer_pretty(&mut *out, &subject.report)?;
        writeln!(out)
    })
}
