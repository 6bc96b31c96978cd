//! Lines for whoever runs the exporter, on standard error.

use std::fmt;
use std::io::{self, Write};

use nssight_reports::terminal::printable;

/// Writes a line. A log that cannot be written ends nothing.
pub(super) fn line(text: fmt::Arguments<'_>) {
    let _ = writeln!(io::stderr(), "nssight exporter: {}", printable(&text.to_string()));
}
