//! Writes results as they arrive, line by line, or as one document at the end. Stores only the parts that the format
//! needs.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::report::Subject;
use nssight_reports as report;
use nssight_reports::nagios::State;
use nssight_reports::sink::Sink;
use nssight_reports::terminal;

use super::document::{self, Output, Summary, TargetLine};
use super::human::Layout;
use super::tally::Tally;
use crate::cli::{CheckFormat, CheckOutputOptions, Format};
use crate::exit;
use crate::signals::Interrupted;

/// The progress bar with the results so far.
const BAR: &str = "{bar:30} {pos}/{len}  {elapsed}  {wide_msg}";
/// Interval at which the bar's clock advances when nothing else changes.
const TICK: Duration = Duration::from_secs(1);

/// The results of a run.
pub(super) struct Results<'a> {
    out: Sink,
    format: CheckFormat,
    /// Names of all targets, in the order of the file.
    names: &'a [String],
    pub(super) tally: Tally,
    /// The state for output in the order of the file.
    order: Option<InOrder>,
    /// Results for a document at the end.
    kept: Vec<Option<Subject>>,
    layout: Layout,
    /// Whether to print the lines of targets that pass.
    shows_all: bool,
    /// Whether anything is shown before the end.
    quiet: bool,
    progress: Progress,
}

/// Results that arrived before earlier targets finished.
#[derive(Default)]
struct InOrder {
    next: usize,
    early: BTreeMap<usize, Subject>,
}

/// The progress output during the checks.
enum Progress {
    Bar(ProgressBar),
    /// On standard error.
    Lines,
    None,
}

impl<'a> Results<'a> {
    pub(super) fn open(options: &CheckOutputOptions, names: &'a [String]) -> Result<Self, String> {
        let path = options.output.as_deref();
        let kind = match options.format {
            CheckFormat::Document(Format::Json) => terminal::Kind::Json,
            _ => terminal::Kind::Text,
        };
        let out = match options.format {
            // A user may follow lines of ndjson as they are written.
            CheckFormat::Ndjson => Sink::followed(path, terminal::stdout(terminal::Kind::Json))?,
            _ => Sink::open(path, terminal::stdout(kind))?,
        };
        let to_file = path.is_some();
        let on_terminal = !to_file && io::stdout().is_terminal();
        terminal::choose_colours(options.color, on_terminal);
        let progress = match options.format {
            _ if options.quiet => Progress::None,
            _ if io::stderr().is_terminal() => Progress::Bar(bar(names.len())),
            // Line output needs no progress bar, and a plugin prints only one line.
            CheckFormat::Ndjson | CheckFormat::Document(Format::Nagios) => Progress::None,
            CheckFormat::Human if !to_file => Progress::None,
            CheckFormat::Human | CheckFormat::Document(_) => Progress::Lines,
        };
        let width = on_terminal.then(|| terminal::width(true));
        Ok(Self {
            out,
            format: options.format,
            names,
            tally: Tally::of(names.len()),
            order: options.in_order.then(InOrder::default),
            kept: Vec::new(),
            layout: Layout::of(names, width, options.verbose),
            shows_all: options.verbose || !on_terminal,
            quiet: options.quiet,
            progress,
        })
    }

    /// Takes the result of the target at this place in the file.
    pub(super) fn take(&mut self, index: usize, subject: Subject) -> io::Result<()> {
        let Some(order) = &mut self.order else { return self.put(index, subject) };
        order.early.insert(index, subject);
        while let Some(order) = &mut self.order
            && let Some(subject) = order.early.remove(&order.next)
        {
            let index = order.next;
            order.next += 1;
            self.put(index, subject)?;
        }
        Ok(())
    }

    fn put(&mut self, index: usize, subject: Subject) -> io::Result<()> {
        self.tally.add(index, &subject);
        self.show(&subject);
        match self.format {
            CheckFormat::Human => {
                let telling = subject.report.verdict.status != Outcome::Pass;
                if !self.quiet && (telling || self.shows_all) {
                    self.say(self.layout.line(&subject).as_bytes())
                } else {
                    Ok(())
                }
            }
            CheckFormat::Ndjson => self.say(&serde_json::to_vec(&Output::Target(TargetLine::from(&subject)))?),
            CheckFormat::Document(_) => {
                if self.kept.len() <= index {
                    self.kept.resize_with(index + 1, || None);
                }
                self.kept[index] = Some(subject);
                Ok(())
            }
        }
    }

    /// The exit code: that of a plugin in a plugin's format; otherwise that of a signal, or of the results.
    pub(super) fn code(&self, interrupted: &Interrupted, strict: bool) -> ExitCode {
        let tally = &self.tally;
        if self.format == CheckFormat::Document(Format::Nagios) {
            return ExitCode::from(State::of(self.kept.iter().flatten()).code());
        }
        if let Some(code) = interrupted.code() {
            return ExitCode::from(code);
        }
        let failed = tally.count(Outcome::Fail) > 0;
        let strictly = strict && (tally.warned > 0 || tally.count(Outcome::Flaky) > 0);
        ExitCode::from(match tally.count(Outcome::Inconclusive) {
            _ if failed || strictly => exit::FAILED,
            0 => exit::PASSED,
            _ => exit::INCONCLUSIVE,
        })
    }

    /// Writes the output that comes at the end.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        if let Progress::Bar(bar) = &self.progress {
            bar.finish_and_clear();
        }
        let subjects: Vec<Subject> = std::mem::take(&mut self.kept).into_iter().flatten().collect();
        let summary = || Summary::of(&self.tally, self.names);
        let mut out = BufWriter::new(&mut self.out);
        match self.format {
            CheckFormat::Human => self.layout.summary(&self.tally, self.names, &mut out)?,
            CheckFormat::Ndjson => {
                serde_json::to_writer(&mut out, &Output::Summary(summary().into()))?;
                writeln!(out)?;
            }
            CheckFormat::Document(Format::Json) => document::write(&subjects, summary(), &mut out)?,
            CheckFormat::Document(format) => report::write(format, &subjects, &mut out)?,
        }
        out.flush()?;
        drop(out);
        self.out.keep()
    }

    /// Writes the results after a target that was never checked.
    pub(super) fn write_remaining(&mut self) -> io::Result<()> {
        let rest = self.order.take().map(|order| order.early).unwrap_or_default();
        rest.into_iter().try_for_each(|(index, subject)| self.put(index, subject))
    }

    /// Writes a line in one piece and at once, because a user may be watching.
    fn say(&mut self, line: &[u8]) -> io::Result<()> {
        let out = &mut self.out;
        let line = [line, b"\n"].concat();
        let mut write = || out.write_all(&line).and_then(|()| out.flush());
        match &self.progress {
            Progress::Bar(bar) => bar.suspend(write),
            Progress::Lines | Progress::None => write(),
        }
    }

    fn show(&self, subject: &Subject) {
        match &self.progress {
            Progress::Bar(bar) => {
                let counts =
                    [(Outcome::Fail, "fail"), (Outcome::Flaky, "flaky"), (Outcome::Inconclusive, "inconclusive")];
                let counts = counts.into_iter().map(|(status, word)| (self.tally.count(status), word));
                let counts = counts.filter(|(count, _)| *count > 0).map(|(count, word)| format!("{count} {word}"));
                bar.set_message(counts.collect::<Vec<_>>().join(", "));
                bar.inc(1);
            }
            // A reader that closes the pipe does not stop a run whose results go elsewhere.
            Progress::Lines => {
                let _ = writeln!(terminal::stderr(terminal::Kind::Text), "{}", self.layout.line(subject));
            }
            Progress::None => {}
        }
    }
}

fn bar(length: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(length as u64), ProgressDrawTarget::stderr());
    bar.enable_steady_tick(TICK);
    // The template is a constant; if it is invalid, the default of the bar is used.
    match ProgressStyle::with_template(BAR) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}
