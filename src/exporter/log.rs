//! Lines for whoever runs the exporter, on standard error.

use std::fmt;

use nssight_reports::terminal;

/// Writes a line. A log that cannot be written ends nothing.
pub(super) fn line(text: fmt::Arguments<'_>) {
    terminal::say_as("nssight exporter", text);
}
