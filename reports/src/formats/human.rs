//! For a terminal: a line a layer as it completes, then the verdict, what it rests on, and what to do.

use std::io::{self, Write};

use colored::{Color, Colorize};
use comfy_table::{ContentArrangement, Table};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Confidence, Finding, Layer, Status};
use nssight_probes::Report;
use nssight_probes::report::Subject;
use nssight_probes::wire::{Session, Way};

use crate::terminal::{self, printable, wrap};
use crate::words;

/// What the command line says of it.
pub const HELP: &str = "Text for a terminal";

/// How much is shown.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// One line.
    Short,
    /// The verdict with its remedies.
    Quiet,
    /// The layers, the verdict, what it rests on and its remedies.
    Normal,
    /// What was seen in every layer, too.
    Verbose,
}

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
        if !matches!(self.detail, Detail::Normal | Detail::Verbose) {
            return Ok(());
        }
        let (sign, colour) = sign(finding.status);
        let time = match finding.status {
            Status::Skip => String::new(),
            // Nobody took the time.
            _ if finding.duration_us == 0 => String::new(),
            _ => duration(finding.duration_us),
        };
        let head = format!("{:<LAYER_COLUMN$}{time:>TIME_COLUMN$}  ", finding.layer.as_str());
        let summary = match (finding.status, finding.skipped_because) {
            (Status::Skip, Some(layer)) => format!("skipped, {layer} failed"),
            (Status::Skip, None) => format!("skipped: {}", self.short(&finding.summary)),
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

    /// The walk is over.
    pub fn verdict(&mut self, report: &Report) -> io::Result<()> {
        if self.detail == Detail::Short {
            return writeln!(self.out, "{}", one_line(report));
        }
        let verdict = &report.verdict;
        if self.detail != Detail::Quiet {
            writeln!(self.out)?;
        }
        let status = verdict.status.as_str().to_uppercase();
        let title = match (verdict.status, verdict.layer, verdict.cause) {
            (Outcome::Pass, ..) => status.green().bold().to_string(),
            (_, Some(layer), Some(cause)) => {
                let component = verdict.component.map(|component| format!(" · {component}")).unwrap_or_default();
                format!("{} {layer} · {}{component} · {}", status.red().bold(), cause.id().bold(), verdict.confidence)
            }
            (_, Some(layer), None) => format!("{} {layer}", status.red().bold()),
            (_, None, _) => status,
        };
        writeln!(self.out, "{title}")?;
        self.paragraph(&verdict.summary, 2)?;
        if let Some(layer) = words::seen_at(report) {
            self.paragraph(&format!("It showed at {layer}."), 2)?;
        }
        if let Some(also) = words::also(report) {
            self.paragraph(&format!("Proven as well: {also}."), 2)?;
        }
        if let (Some(cause), true) = (verdict.cause, self.detail != Detail::Quiet) {
            writeln!(self.out)?;
            self.heading("Why it looks like this")?;
            self.paragraph(&words::why(report, cause), 2)?;
            if let Some(page) = &verdict.docs {
                self.paragraph(&format!("More: {page}"), 2)?;
            }
        }
        if self.detail != Detail::Quiet {
            self.alternatives(report)?;
        }
        if matches!(self.detail, Detail::Normal) && verdict.status != Outcome::Pass {
            self.grounds(report)?;
        }
        if self.detail != Detail::Quiet
            && !report.wire.is_empty()
            && (verdict.status != Outcome::Pass || self.detail == Detail::Verbose)
        {
            self.wire(report)?;
        }
        self.remedies(report)?;
        self.out.flush()
    }

    /// What has walked, and how many connections that took.
    pub fn colophon(&mut self, report: &Report) -> io::Result<()> {
        if matches!(self.detail, Detail::Normal | Detail::Verbose) {
            writeln!(self.out)?;
            let (library, connections) = (words::library(report), words::connections(report));
            let line = format!("nssight {} with {library}; {connections}", report.tool.version);
            writeln!(self.out, "{}", line.dimmed())?;
        }
        self.out.flush()
    }

    /// What is not excluded either.
    fn alternatives(&mut self, report: &Report) -> io::Result<()> {
        for (index, other) in words::alternatives(report).enumerate() {
            if index == 0 {
                writeln!(self.out)?;
                self.heading("What it may be instead")?;
            }
            self.paragraph(&words::alternative(other), 2)?;
        }
        Ok(())
    }

    /// What the verdict rests on.
    fn grounds(&mut self, report: &Report) -> io::Result<()> {
        let mut findings = words::grounds(report);
        findings.retain(|finding| !words::facts(finding).is_empty());
        if findings.is_empty() {
            return Ok(());
        }
        writeln!(self.out)?;
        self.heading("What was seen")?;
        findings.into_iter().try_for_each(|finding| self.facts(finding))
    }

    /// Why another cause is not named.
    pub fn why_not(&mut self, report: &Report, cause: Cause) -> io::Result<()> {
        writeln!(self.out)?;
        self.heading("Why not")?;
        self.paragraph(&words::why_not(report, cause), 2)
    }

    fn facts(&mut self, finding: &Finding) -> io::Result<()> {
        let rows = if self.detail == Detail::Verbose { words::all_facts(finding) } else { words::facts(finding) };
        match rows.is_empty() {
            true => Ok(()),
            false => self.table(rows.iter().map(|(key, value)| [printable(key), self.short(value)]).collect()),
        }
    }

    /// The certificates that were asked for, in PEM.
    pub fn certificates(&mut self, report: &Report) -> io::Result<()> {
        for certificate in &report.certificates {
            let Some(pem) = &certificate.pem else { continue };
            writeln!(self.out)?;
            self.heading(&self.short(&format!("{}: {}", certificate.role, certificate.subject)))?;
            // Never wrapped: it is there to be copied.
            pem.lines().try_for_each(|line| writeln!(self.out, "{}", printable(line)))?;
        }
        Ok(())
    }

    /// What went over the wire.
    pub fn wire(&mut self, report: &Report) -> io::Result<()> {
        writeln!(self.out)?;
        self.heading("On the wire")?;
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
        writeln!(self.out)?;
        self.heading("What to do")?;
        for remedy in &report.verdict.remedies {
            self.paragraph(&remedy.text, 2)?;
            if let Some(command) = &remedy.command {
                // Never wrapped: it is there to be copied.
                writeln!(self.out, "      {}", printable(command).cyan())?;
            }
        }
        Ok(())
    }

    fn heading(&mut self, text: &str) -> io::Result<()> {
        writeln!(self.out, "{}", text.bold())
    }

    /// What a stranger sent may have any length; people read its beginning.
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
    printable(&format!("{}{place}{confidence}: {}", verdict.status, verdict.summary))
}

/// A layer is being walked; shown on a terminal only, and taken back when it completes.
pub fn progress(layer: Layer) -> String {
    format!("  {:<LAYER_COLUMN$}…\r", layer.as_str())
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
/// Those of `out`.
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
