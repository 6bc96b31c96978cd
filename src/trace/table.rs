//! The trace report for a terminal: timeline, layers, verdict, differences, and lost events.

use std::io::{self, Write};

use colored::{Color, Colorize};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Layer, Status};
use nssight_reports::human::{Detail, Human};
use nssight_reports::terminal::{columns_of, cut, item, paragraph, printable};
use nssight_trace::{ProcessSummary, TimelineEntry, TraceReport};

pub(super) fn write(out: &mut dyn Write, report: &TraceReport, width: usize) -> io::Result<()> {
    writeln!(out)?;
    if !report.timeline.is_empty() {
        timeline(out, report, width)?;
    }
    let mut human = Human::new(&mut *out, width, Detail::Normal);
    for finding in report.layers.iter().filter(|finding| finding.status != Status::Skip) {
        human.layer(finding)?;
    }
    story(out, report, width)
}

/// Writes everything but the layers and the timeline.
pub(super) fn story(out: &mut dyn Write, report: &TraceReport, width: usize) -> io::Result<()> {
    let walk = super::as_walk(report);
    let mut human = Human::new(&mut *out, width, Detail::Normal);
    human.verdict(&walk)?;
    // The report of a passing check leaves out the records, but here they were requested.
    if report.verdict.status == Outcome::Pass && !walk.wire.is_empty() {
        human.wire(&walk)?;
    }
    if let Some(failed) = &report.first_failure {
        writeln!(out, "\n{}", "Failed call".bold())?;
        let error = failed.error.as_ref().map(|error| format!(" with {}", error.name)).unwrap_or_default();
        let place = format!("process {}, thread {}, at {:.1} ms", failed.pid, failed.tid, failed.at_ms);
        item(out, &format!("{}{error}, in {place}; {}", failed.function, failed.then))?;
    }
    if !report.differences.is_empty() {
        writeln!(out, "\n{}", "Differences from a correct client".bold())?;
        for difference in &report.differences {
            item(out, &format!("process {}: {}", difference.pid, difference.text))?;
        }
    }
    processes(out, report)?;
    if !report.lost.is_empty() || report.events_lost > 0 {
        writeln!(out, "\n{}", "Not seen".bold())?;
        for lost in &report.lost {
            item(out, &printable(lost))?;
        }
        if report.events_lost > 0 {
            item(out, &format!("{} events, which arrived faster than nssight read them", report.events_lost))?;
        }
    }
    writeln!(out)?;
    paragraph(out, "", 0, &ending(report))
}

fn ending(report: &TraceReport) -> String {
    let program = &report.program;
    let how = match (program.exit, program.signal) {
        (Some(code), _) => format!("ended with status {code}"),
        (None, Some(signal)) => format!("was terminated by signal {signal}"),
        (None, None) => "ended".to_owned(),
    };
    format!("{} {how} after {} ms.", printable(&program.name), program.duration_ms)
}

fn processes(out: &mut dyn Write, report: &TraceReport) -> io::Result<()> {
    if report.processes.len() < 2 {
        return Ok(());
    }
    writeln!(out, "\n{}", "Processes".bold())?;
    for process in report.processes.iter().take(50) {
        let program = process.programs.last().map(|program| printable(program)).unwrap_or_default();
        let nss = match process.nss {
            "not started" => String::new(),
            nss => format!(", NSS {nss}"),
        };
        let line = format!("{} {} {program}: {} calls{nss}", process.pid, process.began, process.calls);
        writeln!(out, "  {}{line}", "  ".repeat(generation(report, process)))?;
    }
    match report.processes.len().saturating_sub(50) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more"),
    }
}

/// Number of its ancestors that were traced.
fn generation(report: &TraceReport, process: &ProcessSummary) -> usize {
    let mut parent = process.parent;
    let mut generation = 0;
    while let Some(found) = report.processes.iter().find(|other| Some(other.pid) == parent) {
        generation += 1;
        if generation > 10 || found.parent == parent {
            break;
        }
        parent = found.parent;
    }
    generation
}

fn timeline(out: &mut dyn Write, report: &TraceReport, width: usize) -> io::Result<()> {
    writeln!(out, "{}", "Timeline".bold())?;
    let generations: std::collections::HashMap<u32, usize> =
        report.processes.iter().map(|process| (process.pid, generation(report, process))).collect();
    let mut last = (0, 0);
    for entry in &report.timeline {
        let lane = "│ ".repeat(generations.get(&entry.pid).copied().unwrap_or_default());
        if last != (entry.pid, entry.tid) {
            let thread = if entry.pid == entry.tid { String::new() } else { format!(" thread {}", entry.tid) };
            writeln!(out, "{:>12}  {lane}┌ process {}{thread}", "", entry.pid)?;
            last = (entry.pid, entry.tid);
        }
        let time = format!("{:>9.1} ms", entry.at_us as f64 / 1000.0);
        let call = format!("{}{}", "  ".repeat(usize::from(entry.depth)), said(entry));
        let call = cut(&call, width.saturating_sub(16 + columns_of(&lane)).max(20));
        let call = entry.layer.map_or(call.normal(), |layer| call.color(colour(layer)));
        let call = if entry.phase == "failed" { call.bold() } else { call };
        writeln!(out, "{time}  {lane}│ {call}")?;
    }
    writeln!(out)
}

fn said(entry: &TimelineEntry) -> String {
    let times = if entry.count > 1 { format!(" ×{}", entry.count) } else { String::new() };
    let text = entry.text.as_deref().map(|text| format!(" {}", printable(text))).unwrap_or_default();
    let how = match (entry.phase, &entry.error) {
        ("failed", Some(error)) => format!(" ✗ {}", error.name),
        ("failed", None) => " ✗".to_owned(),
        ("not yet", _) => " not yet".to_owned(),
        ("open", _) => " … did not return".to_owned(),
        _ if entry.took_us >= 1000 => format!(" {:.1} ms", entry.took_us as f64 / 1000.0),
        _ => String::new(),
    };
    format!("{}{times}{how}{text}", entry.function)
}

/// One colour for each group of layers: the host, our credentials, the network, the first hop, and everything behind it.
fn colour(layer: Layer) -> Color {
    match layer {
        layer if layer <= Layer::Environment => Color::White,
        layer if layer <= Layer::PrivateKey => Color::Cyan,
        layer if layer <= Layer::Tcp => Color::Blue,
        layer if layer <= Layer::Bridge => Color::Yellow,
        layer if layer <= Layer::Request => Color::Magenta,
        _ => Color::White,
    }
}
