//! Annotations of GitHub Actions, and its step summary.
//!
//! A command of the runner is a line that begins with `::`; what would end one of its parts is percent-encoded, in
//! properties more than in the message (actions/toolkit, packages/core/src/command.ts).

use std::fs::OpenOptions;
use std::io::{self, Write};

use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::Report;
use nssight_probes::expiry::Urgency;
use nssight_probes::report::{Place, Subject};

use super::markdown;
use crate::terminal::printable;
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "Annotations and a step summary for GitHub Actions";

/// GitHub drops a step's whole summary when it is longer than 1 MiB.
const SUMMARY_AT_MOST: usize = 1_000_000;

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    for subject in subjects {
        annotate(subject, out)?;
    }
    match std::env::var_os("GITHUB_STEP_SUMMARY").filter(|path| !path.is_empty()) {
        Some(path) => {
            let mut file = OpenOptions::new().create(true).append(true).open(path)?;
            file.write_all(&summary(subjects)?)
        }
        None => Ok(()),
    }
}

fn annotate(subject: &Subject, out: &mut dyn Write) -> io::Result<()> {
    let report = &subject.report;
    let place = |layer| subject.place(layer);
    let title = [&[Standing::of(report).word()][..], &words::place(report)].concat().join(" · ");
    let title = format!("{}: {title}", subject.name);
    match report.verdict.status {
        Outcome::Fail | Outcome::Inconclusive => {
            command(out, "error", &title, place(report.verdict.layer), &message(report))?
        }
        Outcome::Flaky => command(out, "warning", &title, place(report.verdict.layer), &message(report))?,
        Outcome::Pass => writeln!(out, "nssight: {}", inert(&format!("{title}: {}", report.verdict.summary)))?,
    }
    words::warnings(report).try_for_each(|finding| {
        let cause = finding.cause.map(|cause| format!(" · {}", cause.id())).unwrap_or_default();
        let title = format!("{}: warning · {}{cause}", subject.name, finding.layer);
        command(out, "warning", &title, place(Some(finding.layer)), std::slice::from_ref(&finding.summary))
    })?;
    words::expiring(report).try_for_each(|(urgency, text)| {
        let title = format!("{}: certificate expires soon", subject.name);
        let level = if urgency == Urgency::Critical { "error" } else { "warning" };
        command(out, level, &title, place(None), &[text])
    })
}

/// The verdict, what to do, and other possible causes, one line each.
fn message(report: &Report) -> Vec<String> {
    let remedies = report.verdict.remedies.iter().map(|remedy| match &remedy.command {
        Some(command) => format!("→ {}: {command}", remedy.text),
        None => format!("→ {}", remedy.text),
    });
    [report.verdict.summary.clone()].into_iter().chain(remedies).chain(words::beside(report)).collect()
}

fn command(out: &mut dyn Write, name: &str, title: &str, place: Option<Place>, message: &[String]) -> io::Result<()> {
    let lines: Vec<String> = message.iter().map(|line| data(&printable(line))).collect();
    let place = place.map(|it| in_repository(&it)).unwrap_or_default();
    writeln!(out, "::{name} {place}title={}::{}", property(&printable(title)), lines.join("%0A"))
}

/// The properties of a place; GitHub shows an annotation in a file where its path counts from the repository's root.
fn in_repository(place: &Place) -> String {
    let root = std::env::var("GITHUB_WORKSPACE").unwrap_or_default();
    let file = place.file.strip_prefix(root.as_str()).unwrap_or(&place.file);
    let file = if root.is_empty() { file } else { file.trim_start_matches('/') };
    let line = place.line.map(|line| format!("line={line},")).unwrap_or_default();
    format!("file={},{line}", property(&printable(file)))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Text for the log: the runner also treats `##[…]` as a command, wherever it is in a line (runner,
/// ActionCommand.cs).
fn inert(text: &str) -> String {
    printable(text).replace("##[", "## [")
}

/// As much Markdown as fits on the page: always an overview, and details of failed targets as long as there is room.
fn summary(subjects: &[Subject]) -> io::Result<Vec<u8>> {
    let mut page = Vec::new();
    markdown::overview(subjects, &mut page)?;
    page.truncate(line_end(&page, SUMMARY_AT_MOST));
    for subject in markdown::detailed(subjects) {
        let mut section = Vec::new();
        markdown::section(subject, &mut section)?;
        if page.len() + section.len() > SUMMARY_AT_MOST {
            writeln!(page, "\nThe rest exceeds the size limit.")?;
            break;
        }
        page.append(&mut section);
    }
    Ok(page)
}

/// The end of the last whole line within a length.
fn line_end(text: &[u8], at_most: usize) -> usize {
    match text.get(..at_most) {
        Some(head) => head.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1),
        None => text.len(),
    }
}
