//! For a terminal: one line per layer as it completes, then the verdict, what to do, and the evidence.

use std::io::{self, Write};
use std::time::Duration;

use colored::{Color, Colorize};
use comfy_table::{ContentArrangement, Table};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Confidence, Finding, Layer, Status};
use nssight_probes::Report;
use nssight_probes::expiry::Urgency;
use nssight_probes::report::Subject;
use nssight_probes::wire::{Session, Way};

use crate::terminal::{self, columns_of, printable, wrap};
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "Text for a terminal";

/// The level of detail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One line.
    Short,
    /// The verdict with its remedies.
    Quiet,
    /// The layers, the verdict, its remedies and its evidence.
    Normal,
    /// Also all facts of every layer.
    Verbose,
}

/// Maximum number of lines on a terminal.
const ALTERNATIVES_AT_MOST: usize = 3;
const LAYER_COLUMN: usize = 17;
const TIME_COLUMN: usize = 9;

/// Writes reports as text, layer by layer.
pub struct Human<W: Write> {
    out: W,
    width: usize,
    detail: Detail,
}

impl<W: Write> Human<W> {
    /// Writes to `out`, in lines of at most `width` columns where words permit.
    pub fn new(out: W, width: usize, detail: Detail) -> Self {
        Self { out, width, detail }
    }

    /// A layer has completed.
    pub fn layer(&mut self, finding: &Finding) -> io::Result<()> {
        // Skipped layers are listed in one line above the verdict.
        let is_left_out = finding.status == Status::Skip && finding.skipped_because.is_some();
        if is_left_out || !matches!(self.detail, Detail::Normal | Detail::Verbose) {
            return Ok(());
        }
        let (sign, colour) = sign(finding.status);
        let time = match finding.status {
            Status::Skip => String::new(),
            // The duration is unknown.
            _ if finding.duration_us == 0 => String::new(),
            _ => duration(finding.duration_us),
        };
        let head = format!("{:<LAYER_COLUMN$}{time:>TIME_COLUMN$}  ", finding.layer.as_str());
        let summary = match finding.status {
            Status::Skip => format!("skipped: {}", self.short(&finding.summary)),
            _ => self.short(&finding.summary),
        };
        let indent = 2 + head.len();
        let text = wrap(&summary, self.width.saturating_sub(indent));
        for (index, line) in text.iter().enumerate() {
            match index {
                0 => writeln!(self.out, "{} {head}{line}", sign.color(colour).bold())?,
                _ => writeln!(self.out, "{:indent$}{line}", "")?,
            }
        }
        if self.detail == Detail::Verbose {
            self.facts(finding)?;
        }
        self.out.flush()
    }

    /// The check is over: what was not checked, then the verdict with what to do, its evidence, and what else is possible.
    pub fn verdict(&mut self, report: &Report) -> io::Result<()> {
        if self.detail == Detail::Short {
            return writeln!(self.out, "{}", one_line(report));
        }
        let verdict = &report.verdict;
        let is_quiet = self.detail == Detail::Quiet;
        if !is_quiet {
            self.not_checked(report)?;
            writeln!(self.out)?;
        }
        self.title(report)?;
        self.paragraph(&verdict.summary, 2)?;
        if let Some(layer) = words::seen_at(report) {
            self.paragraph(&format!("The failure appeared at {layer}."), 2)?;
        }
        if let Some(also) = words::also(report) {
            self.paragraph(&format!("Also proven: {also}."), 2)?;
        }
        for (urgency, text) in words::expiring(report) {
            let colour = if urgency == Urgency::Critical { Color::Red } else { Color::Yellow };
            writeln!(self.out, "  {}", self.short(&format!("! {text}")).color(colour))?;
        }
        if let (Some(cause), false) = (verdict.cause, is_quiet) {
            self.section("Why this happens")?;
            self.paragraph(&words::why(report, cause), 2)?;
            if let Some(page) = &verdict.docs {
                self.paragraph(&format!("More: {page}"), 2)?;
            }
        }
        self.remedies(report)?;
        if matches!(self.detail, Detail::Normal) && verdict.status != Outcome::Pass {
            self.evidence(report)?;
        }
        if !is_quiet {
            self.alternatives(report)?;
        }
        let is_evidence = matches!(
            verdict.layer.filter(|_| verdict.status != Outcome::Pass),
            Some(Layer::OuterHandshake | Layer::Bridge | Layer::InnerHandshake | Layer::Request)
        );
        if !is_quiet && !report.wire.is_empty() && (is_evidence || self.detail == Detail::Verbose) {
            self.wire(report)?;
        }
        self.out.flush()
    }

    /// The verdict in one line, each of its words with a label.
    fn title(&mut self, report: &Report) -> io::Result<()> {
        let verdict = &report.verdict;
        let colour = match Standing::of(report) {
            Standing::Pass => Color::Green,
            Standing::Warning => Color::Yellow,
            _ => Color::Red,
        };
        let status = match Standing::of(report) {
            Standing::Warning => "WARN".to_owned(),
            _ => verdict.status.as_str().to_uppercase(),
        };
        let mut title = status.color(colour).bold().to_string();
        let mut used = columns_of(&status);
        if verdict.status != Outcome::Pass {
            let confidence = verdict.cause.map(|_| verdict.confidence.to_string());
            let labelled = [
                ("layer", verdict.layer.map(|layer| layer.to_string())),
                ("cause", verdict.cause.map(|cause| cause.id().to_owned())),
                ("component", verdict.component.map(|component| component.to_string())),
                ("confidence", confidence),
            ];
            for (label, word) in labelled.into_iter().filter_map(|(label, word)| Some((label, word?))) {
                // A label and its word are not separated.
                let columns = columns_of(label) + 2 + columns_of(&word);
                if used + 2 + columns > self.width {
                    title += "\n";
                    used = 0;
                }
                title += &format!("  {} {}", format!("{label}:").dimmed(), word.bold());
                used += 2 + columns;
            }
        }
        writeln!(self.out, "{title}")
    }

    /// The layers that were skipped because another one failed, in one line.
    fn not_checked(&mut self, report: &Report) -> io::Result<()> {
        let mut by_reason: Vec<(Layer, Vec<&str>)> = Vec::new();
        for finding in report.probes.iter().filter(|finding| finding.status == Status::Skip) {
            let Some(layer) = finding.skipped_because else { continue };
            match by_reason.iter_mut().find(|(reason, _)| *reason == layer) {
                Some((_, skipped)) => skipped.push(finding.layer.as_str()),
                None => by_reason.push((layer, vec![finding.layer.as_str()])),
            }
        }
        for (layer, skipped) in by_reason {
            let text = format!("not checked, since {layer} failed: {}", skipped.join(", "));
            for (index, line) in wrap(&text, self.width.saturating_sub(2)).iter().enumerate() {
                let mark = if index == 0 { "-" } else { " " };
                writeln!(self.out, "{}", format!("{mark} {line}").dimmed())?;
            }
        }
        Ok(())
    }

    fn section(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out)?;
        self.heading(text)
    }

    /// The version of nssight, and the number of connections.
    pub fn colophon(&mut self, report: &Report) -> io::Result<()> {
        if matches!(self.detail, Detail::Normal | Detail::Verbose) {
            writeln!(self.out)?;
            let (library, connections) = (words::library(report), words::connections(report));
            let line = format!("nssight {} with {library}; {connections}", report.tool.version);
            writeln!(self.out, "{}", line.dimmed())?;
        }
        self.out.flush()
    }

    /// Other causes that are not excluded.
    fn alternatives(&mut self, report: &Report) -> io::Result<()> {
        for (index, other) in words::alternatives(report).take(ALTERNATIVES_AT_MOST).enumerate() {
            if index == 0 {
                self.section("Other possible causes")?;
            }
            self.paragraph(&words::alternative(other), 2)?;
        }
        match words::alternatives(report).count().saturating_sub(ALTERNATIVES_AT_MOST) {
            0 => Ok(()),
            more => self.paragraph(&format!("{more} more are in the JSON report."), 2),
        }
    }

    /// Facts of the layer of the verdict, and of the failed layers.
    fn evidence(&mut self, report: &Report) -> io::Result<()> {
        let mut findings = words::grounds(report);
        findings.retain(|finding| !words::facts(finding).is_empty());
        if findings.is_empty() {
            return Ok(());
        }
        self.section("Evidence")?;
        findings.into_iter().try_for_each(|finding| self.facts(finding))
    }

    /// The reason why another cause is not the verdict.
    pub fn why_not(&mut self, report: &Report, cause: Cause) -> io::Result<()> {
        self.section("Why not")?;
        self.paragraph(&words::why_not(report, cause), 2)
    }

    fn facts(&mut self, finding: &Finding) -> io::Result<()> {
        let rows = if self.detail == Detail::Verbose { words::all_facts(finding) } else { words::facts(finding) };
        if rows.is_empty() {
            Ok(())
        } else {
            self.table(rows.iter().map(|(key, value)| [printable(key), self.short(value)]).collect())
        }
    }

    /// The requested certificates, in PEM.
    pub fn certificates(&mut self, report: &Report) -> io::Result<()> {
        for certificate in &report.certificates {
            let Some(pem) = &certificate.pem else { continue };
            writeln!(self.out)?;
            self.heading(&self.short(&format!("{}: {}", words::role(certificate, report), certificate.subject)))?;
            // Not wrapped, so that it can be copied.
            pem.lines().try_for_each(|line| writeln!(self.out, "{}", printable(line)))?;
        }
        Ok(())
    }

    /// The events on the wire.
    pub fn wire(&mut self, report: &Report) -> io::Result<()> {
        self.section("On the wire")?;
        let rows = report.wire.iter().map(|event| {
            let arrow = if event.direction == Way::Sent { "->" } else { "<-" };
            let session = match (event.session, event.connection) {
                (Session::Inner, _) => "inner ".to_owned(),
                (Session::Outer, Some(number)) => format!("#{number} "),
                (Session::Outer, None) => String::new(),
            };
            let at = format!("{:.1} ms", event.at_us as f64 / 1000.0);
            [format!("{at:>10}"), format!("{session}{arrow} {}", self.short(&event.what))]
        });
        let rows = rows.collect();
        self.table(rows)
    }

    fn table(&mut self, rows: Vec<[String; 2]>) -> io::Result<()> {
        let mut table = Table::new();
        table.load_preset(comfy_table::presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
        let width = u16::try_from(self.width.saturating_sub(2)).unwrap_or(u16::MAX);
        table.set_width(width).add_rows(rows);
        for line in table.lines() {
            writeln!(self.out, "  {}", line.trim_end())?;
        }
        Ok(())
    }

    fn remedies(&mut self, report: &Report) -> io::Result<()> {
        if report.verdict.remedies.is_empty() {
            return Ok(());
        }
        self.section("What to do")?;
        for remedy in &report.verdict.remedies {
            self.paragraph(&remedy.text, 2)?;
            if let Some(command) = &remedy.command {
                // Never wrapped, so that it can be copied.
                writeln!(self.out, "      {}", printable(command).cyan())?;
            }
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.bold())
    }

    /// Untrusted text may have any length, so only its start is shown.
    fn short(&self, text: &str) -> String {
        terminal::shortened(text, if self.detail == Detail::Verbose { terminal::LONG } else { terminal::SHORT })
    }

    fn paragraph(&mut self, text: &str, indent: usize) -> io::Result<()> {
        for line in wrap(&self.short(text), self.width.saturating_sub(indent)) {
            writeln!(self.out, "{:indent$}{line}", "")?;
        }
        Ok(())
    }
}

/// The verdict in one line, for logs and chats.
pub fn one_line(report: &Report) -> String {
    let verdict = &report.verdict;
    let place = match (verdict.layer, verdict.cause) {
        (Some(layer), Some(cause)) => format!(" {layer} {}", cause.id()),
        _ => String::new(),
    };
    let confidence = match verdict.confidence {
        Confidence::Certain => String::new(),
        other => format!(" ({other})"),
    };
    let status = if Standing::of(report) == Standing::Warning { "warn" } else { verdict.status.as_str() };
    let expiring = words::expiring(report).next().map(|(_, text)| format!("; {text}")).unwrap_or_default();
    printable(&format!("{status}{place}{confidence}: {}{expiring}", verdict.summary))
}

/// Shows the running layer, only on a terminal, until the layer completes.
pub fn progress(layer: Layer) -> String {
    format!("  {:<LAYER_COLUMN$}…\r", layer.as_str())
}

/// Shows the elapsed time and the time limit of a slow layer.
pub fn still(layer: Layer, elapsed: Duration, at_most: Duration) -> String {
    let (elapsed, at_most) = (elapsed.as_secs(), at_most.as_secs_f64());
    format!("  {:<LAYER_COLUMN$}… {elapsed} s of {at_most} s\r", layer.as_str())
}

fn sign(status: Status) -> (&'static str, Color) {
    match status {
        Status::Pass => ("✓", Color::Green),
        Status::Warn => ("!", Color::Yellow),
        Status::Fail => ("✗", Color::Red),
        Status::Skip => ("-", Color::BrightBlack),
    }
}

fn duration(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.1} ms", micros as f64 / 1000.0),
        _ => format!("{:.1} s", micros as f64 / 1_000_000.0),
    }
}

/// Writes one report after the other.
///
/// # Errors
/// The errors of `out`.
pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    for (index, subject) in subjects.iter().enumerate() {
        if subjects.len() > 1 {
            let gap = if index > 0 { "\n" } else { "" };
            writeln!(out, "{gap}{}", printable(&subject.name))?;
        }
        let mut human = Human::new(&mut *out, terminal::width(false), Detail::Normal);
        subject.report.probes.iter().try_for_each(|finding| human.layer(finding))?;
        human.verdict(&subject.report)?;
        human.certificates(&subject.report)?;
    }
    Ok(())
}
