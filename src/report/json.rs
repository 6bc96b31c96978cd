//! JSON: one document of the schema `nssight/report/1`.

use std::io::{self, Write};

use nssight_probes::Report;

pub(crate) fn write(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *out, report)?;
    writeln!(out)
}
