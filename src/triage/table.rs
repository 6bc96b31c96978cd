//! A triage for a terminal.

use std::io::{self, Write};

use colored::Colorize;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_reports::terminal;
use nssight_triage::{Document, Quote};

/// Lines and candidates shown without `-v`.
const LINES: usize = 10;
const CANDIDATES: usize = 4;

pub(super) fn write(out: &mut dyn Write, document: &Document, verbose: bool) -> io::Result<()> {
    let verdict = &document.verdict;
    match (verdict.status, verdict.layer, verdict.cause, verdict.component) {
        (Outcome::Fail | Outcome::Flaky, Some(layer), Some(cause), Some(component)) => writeln!(
            out,
            "{} {layer} · {} · {component} · {}",
            "FAIL".red().bold(),
            cause.id().bold(),
            verdict.confidence
        )?,
        (Outcome::Pass, ..) => writeln!(out, "{}", "PASS".green().bold())?,
        _ => writeln!(out, "{}", "CANNOT TELL".yellow().bold())?,
    }
    terminal::paragraph(out, "  ", 2, verdict.summary.trim_start_matches("cannot tell: "))?;
    section(out, "Evidence", !document.evidence.is_empty())?;
    let shown = if verbose { document.evidence.len() } else { LINES };
    let skipped = document.evidence.len().saturating_sub(shown);
    if skipped > 0 {
        writeln!(out, "  {skipped} lines before these; -v shows them")?;
    }
    let decides = document.incidents.first().and_then(|incident| incident.decides.as_ref());
    for line in &document.evidence[skipped..] {
        quote(out, line, document.evidence.len() > 1 && decides == Some(line))?;
    }
    let told = document.incidents.first().into_iter().flat_map(|incident| &incident.facts);
    for fact in told {
        terminal::item(out, &fact.to_string())?;
    }
    section(out, "Contrary evidence", !document.against.is_empty())?;
    for text in &document.against {
        terminal::item(out, text)?;
    }
    let others = if verdict.cause.is_some() { "Similar causes" } else { "Possible causes" };
    section(out, others, !verdict.alternatives.is_empty())?;
    let shown = if verbose { verdict.alternatives.len() } else { CANDIDATES };
    for other in verdict.alternatives.iter().take(shown) {
        let how = other.tell_apart.first().map(String::as_str).unwrap_or_default();
        terminal::item(out, &format!("{} ({}): {how}", other.cause, other.component))?;
    }
    section(out, "What to do", !verdict.remedies.is_empty())?;
    for remedy in &verdict.remedies {
        terminal::item(out, &remedy.text)?;
        if let Some(command) = &remedy.command {
            writeln!(out, "      {}", command.cyan())?;
        }
    }
    if let Some(next) = &document.next {
        section(out, "What to collect next", true)?;
        terminal::item(out, &next.text)?;
        if let Some(command) = &next.command {
            writeln!(out, "      {}", command.cyan())?;
        }
    }
    section(out, "Also seen", document.incidents.len() > 1 || !document.heartbeats.is_empty())?;
    for incident in document.incidents.iter().skip(1) {
        let name = incident.cause.map_or("failures that these lines do not explain", |cause| cause.id());
        let first = incident.lines.first().map(|line| format!(", {}:{}", line.file, line.line)).unwrap_or_default();
        terminal::item(out, &format!("{} × {name}{first}", incident.count))?;
    }
    for beat in &document.heartbeats {
        let text = format!(
            "{}: an end of file every {} s, {} in total{}: typical of a health probe on a TLS port",
            beat.file,
            beat.period_s,
            beat.count,
            beat.port.map(|port| format!(", at {port}")).unwrap_or_default()
        );
        terminal::item(out, &text)?;
    }
    section(out, "Connections", !document.captures.is_empty())?;
    for capture in &document.captures {
        let text = format!(
            "{}: {} connections, {} complete, {} failed, {} without a visible end, {} not TLS",
            capture.file, capture.connections, capture.completed, capture.failed, capture.unfinished, capture.other
        );
        terminal::item(out, &text)?;
    }
    let shown = if verbose { document.connections.len() } else { LINES };
    for failed in document.connections.iter().take(shown) {
        let cause = failed.cause.map_or("cannot tell", |cause| cause.id());
        let text =
            format!("frame {}, {} → {}: {cause}: {}", failed.frame, failed.client, failed.server, failed.summary);
        terminal::item(out, &text)?;
    }
    section(out, "Input", true)?;
    for file in &document.files {
        let role = serde_json::to_value(file.role).ok();
        let role = role.as_ref().and_then(|role| role.as_str()).unwrap_or_default();
        terminal::item(
            out,
            &format!("{}: {role}, {} lines recognised in {} bytes", file.name, file.events, file.bytes),
        )?;
        for note in &file.notes {
            terminal::paragraph(out, "      ", 6, note)?;
        }
    }
    Ok(())
}

fn section(out: &mut dyn Write, title: &str, wanted: bool) -> io::Result<()> {
    if wanted {
        writeln!(out)?;
        writeln!(out, "{}", title.bold())?;
    }
    Ok(())
}

fn quote(out: &mut dyn Write, line: &Quote, decides: bool) -> io::Result<()> {
    let place = terminal::printable(&format!("{}:{}", line.file, line.line));
    writeln!(out, "  {}{}", place.dimmed(), if decides { ", the decisive line" } else { "" })?;
    terminal::paragraph(out, "    ", 4, &line.text)
}
