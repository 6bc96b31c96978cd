//! `nssight diagnose`: checks one target.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use nssight_diagnosis::{Cause, Finding, Layer};
use nssight_probes::report::Subject;
use nssight_probes::target::TargetSummary;
use nssight_probes::{Plan, Settings};
use nssight_reports::human::{self, Detail, Human};
use nssight_reports::sink::Sink;
use nssight_reports::terminal;
use nssight_reports::terminal::Kind;
use nssight_runner::passwords::Passwords;
use nssight_runner::walk::{self, Next, Tries, Watcher};
use nssight_runner::worker;

use crate::cli::{DiagnoseOptions, Format, OutputOptions};
use crate::signals::Interrupted;
use crate::{exit, repeat, settings};

/// Plans the check. Returns an exit code if there is nothing to check: the command line cannot be carried out, or nothing is left to do.
pub(crate) fn plan(options: &DiagnoseOptions) -> Result<Plan, ExitCode> {
    let walk = &options.walked.walk;
    let plan = options.walked.plan().map_err(|error| exit::usage_in(options.output.format, error))?;
    if walk.dry_run { Err(dry_run(&plan, options)) } else { Ok(plan) }
}

pub(crate) fn run(plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    worker::protect();
    match settings::of_walk(&options.walked, plan) {
        Ok((settings, passwords)) => report(&settings, passwords, plan, options),
        Err(error) => exit::usage_in(options.output.format, error),
    }
}

/// Checks the target, writes the report, and returns the exit code.
fn report(settings: &Settings, passwords: Passwords, plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    let config = options.walked.config();
    if let Some(times) = options.repeat {
        let name = name(&walk::summary(Some(settings), plan), config);
        return repeat::run(&repeat::Target { name: &name, settings, plan }, &passwords, times, &options.output);
    }
    let mut output = match Output::open(&options.output) {
        Ok(output) => output,
        Err(error) => return exit::usage_in(options.output.format, error),
    };
    let started = Instant::now();
    let (interrupted, stop) = match Interrupted::stopping() {
        Ok(watched) => watched,
        Err(error) => return exit::failed(&error),
    };
    let tries = Tries { retries: options.walked.walk.retries, wait: options.wait };
    let (report, tries) = walk::with_retries(settings, plan, passwords, tries, &stop, &mut output);
    interrupted.over_with(&report);
    let name = name(&report.target, config);
    let subject =
        Subject { name, labels: BTreeMap::new(), report, tries, duration: started.elapsed(), written_at: None };
    let subjects = [subject];
    let code = exit::of_run(&interrupted, &subjects, options.output.format, options.output.strict);
    exit::after(output.finish(&subjects, options.why_not), code)
}

/// The name of the target for a reader: the peer, or otherwise the file that it was read from.
fn name(target: &TargetSummary, config: Option<&Path>) -> String {
    let bridge = target.bridge.as_ref().map(|bridge| bridge.value.clone());
    let config = config.map(|path| path.display().to_string()).or_else(|| target.config_files.last().cloned());
    let database = target.database.as_ref().map(|database| database.value.clone());
    bridge.or(config).or(database).unwrap_or_else(|| "this host".to_owned())
}

fn dry_run(plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    let (retries, has_program) = (options.walked.walk.retries, !options.trace_against.is_empty());
    let mut out = terminal::stdout(Kind::Text);
    for layer in plan.layers(options.walked.overrides().has_files()) {
        let note = if plan.walks(layer) { "" } else { "  left out" };
        let _ = writeln!(out, "{layer}{note}");
    }
    let _ = match (plan.connections(), retries) {
        (0, _) => writeln!(out, "would open no connection"),
        (count, 0) => writeln!(out, "{count} connection would be opened"),
        (count, more) => writeln!(out, "{count} connection would be opened, and at most {more} more for retries"),
    };
    if has_program {
        let _ = writeln!(out, "would first run the program, which opens its own connections");
    }
    ExitCode::SUCCESS
}

/// What the terminal must be protected from in the output of a format.
pub(crate) fn kind(format: Format) -> Kind {
    if format == Format::Json { Kind::Json } else { Kind::Text }
}

/// Where the report goes.
struct Output {
    sink: Sink,
    format: Format,
    detail: Detail,
    width: usize,
    shows_progress: bool,
}

impl Output {
    fn open(options: &OutputOptions) -> Result<Self, String> {
        let sink = Sink::open(options.output.as_deref(), terminal::stdout(kind(options.format)))?;
        let on_terminal = options.output.is_none() && io::stdout().is_terminal();
        terminal::choose_colours(options.color, on_terminal);
        let detail = match options {
            OutputOptions { short: true, .. } => Detail::Short,
            OutputOptions { quiet: true, .. } => Detail::Quiet,
            OutputOptions { verbose: true, .. } => Detail::Verbose,
            _ => Detail::Normal,
        };
        Ok(Self {
            sink,
            format: options.format,
            detail,
            width: terminal::width(on_terminal),
            shows_progress: on_terminal
                && options.format == Format::Human
                && matches!(detail, Detail::Normal | Detail::Verbose),
        })
    }

    fn human(&mut self) -> Human<&mut Sink> {
        Human::new(&mut self.sink, self.width, self.detail)
    }

    fn finish(&mut self, subjects: &[Subject], why_not: Option<Cause>) -> io::Result<()> {
        self.write(subjects, why_not).and_then(|()| self.sink.keep())
    }

    fn write(&mut self, subjects: &[Subject], why_not: Option<Cause>) -> io::Result<()> {
        match self.format {
            // The layers were already printed.
            Format::Human => subjects.iter().try_for_each(|subject| {
                self.human().verdict(&subject.report)?;
                if let Some(cause) = why_not {
                    self.human().why_not(&subject.report, cause)?;
                }
                self.human().certificates(&subject.report)?;
                self.human().colophon(&subject.report)
            }),
            format => nssight_reports::write(format, subjects, &mut self.sink),
        }
    }
}

impl Watcher for Output {
    fn entering(&mut self, layer: Layer) {
        if self.shows_progress {
            let _ = write!(self.sink, "{}", human::progress(layer)).and_then(|()| self.sink.flush());
        }
    }

    fn found(&mut self, finding: &Finding) {
        if self.format == Format::Human {
            // A closed pipe shows again, and is handled, when the verdict is written.
            let _ = self.human().layer(finding);
        }
    }

    fn waiting(&mut self, layer: Layer, elapsed: Duration, at_most: Duration) {
        if self.shows_progress {
            let text = human::still(layer, elapsed, at_most);
            let _ = write!(self.sink, "{text}").and_then(|()| self.sink.flush());
        }
    }

    /// Prints a line between two attempts, for a user who is watching.
    fn again(&mut self, spacing: Duration, which: Next) {
        if self.format == Format::Human && matches!(self.detail, Detail::Normal | Detail::Verbose) {
            let seconds = spacing.as_secs();
            let which = match which {
                Next::Retry { number, of } => format!("{number} of {of}"),
                Next::Waiting(left) => format!("waiting for {} s more", left.as_secs()),
            };
            let _ = writeln!(self.sink, "\ntrying again in {seconds} s ({which})\n");
        }
    }
}
