//! Reports: one renderer a format, all from the same value.

mod github;
mod html;
pub(crate) mod human;
mod json;
mod junit;
mod markdown;
pub(crate) mod nagios;
mod openmetrics;
mod waterfall;
mod words;

use std::collections::BTreeMap;
use std::io::{self, BufWriter, Write};
use std::time::Duration;

use nssight_probes::Report;

use crate::cli::Format;
use crate::terminal;
use human::{Detail, Human};

/// One target, and what its walk gave.
pub(crate) struct Subject {
    /// The target's name, by which a reader knows it.
    pub(crate) name: String,
    /// What else the reader knows it by.
    pub(crate) labels: BTreeMap<String, String>,
    /// What the last try gave, judged together with those before it.
    pub(crate) report: Report,
    /// How many times it was walked.
    pub(crate) tries: u32,
    /// From the first try's begin to the last one's end.
    pub(crate) duration: Duration,
}

/// Writes what the walks gave as one document.
pub(crate) fn write(format: Format, subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    // Renderers write in small pieces.
    let mut buffered = BufWriter::new(out);
    let out = &mut buffered;
    match format {
        Format::Human => human(subjects, out),
        Format::Json => json::write(subjects, out),
        Format::Junit => junit::write(subjects, out),
        Format::Markdown => markdown::write(subjects, out),
        Format::Html => html::write(subjects, out),
        Format::Nagios => nagios::write(subjects, out),
        Format::Openmetrics => openmetrics::write(subjects, out),
        Format::Github => github::write(subjects, out),
    }?;
    buffered.flush()
}

/// One after the other, as `diagnose` shows each.
fn human(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    for (index, subject) in subjects.iter().enumerate() {
        if subjects.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", terminal::printable(&subject.name))?;
        }
        let mut human = Human::new(&mut *out, terminal::width(false), Detail::Normal);
        subject.report.probes.iter().try_for_each(|finding| human.layer(finding))?;
        human.verdict(&subject.report)?;
    }
    Ok(())
}
