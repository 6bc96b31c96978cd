//! `nssight diagnose --repeat`: the same check several times, how often it passes, and what differs when it does not.

use std::collections::BTreeMap;
use std::io::{self, BufWriter, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use colored::Colorize;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Component, Layer};
use nssight_probes::report::Subject;
use nssight_probes::{Plan, Report, Settings};
use nssight_reports::human::{Detail, Human, one_line};
use nssight_reports::sink::Sink;
use nssight_reports::terminal;
use nssight_runner::passwords::Passwords;
use nssight_runner::retries::SPACING;
use nssight_runner::stop::Stop;
use nssight_runner::supervisor::Limits;
use nssight_runner::walk::{self, Nobody};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{Format, OutputOptions};
use crate::compare::{self, Difference, Rank};
use crate::diagnose::kind;
use crate::exit;
use crate::signals::Interrupted;

/// Several checks of one target, schema `nssight/repeat/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    target: &'a str,
    /// The number of checks.
    checks: usize,
    /// The number of checks that passed.
    passed: usize,
    /// The shortest, median and longest duration, in milliseconds.
    duration_ms: [u64; 3],
    /// The results, the most frequent first.
    outcomes: Vec<OutcomeCount>,
    /// Differences between the first check that passed and the first with the most frequent failure; empty if all results are
    /// equal.
    differences: Vec<Difference>,
    /// The reports in the order of the checks.
    reports: Vec<&'a Report>,
}

/// Checks with the same result.
#[derive(Serialize, JsonSchema)]
struct OutcomeCount {
    status: Outcome,
    layer: Option<Layer>,
    cause: Option<Cause>,
    component: Option<Component>,
    count: usize,
    /// The number of the first of these checks, from 1.
    first: usize,
}

/// What is checked.
pub(crate) struct Target<'a> {
    pub(crate) name: &'a str,
    pub(crate) settings: &'a Settings,
    pub(crate) plan: &'a Plan,
}

pub(crate) fn run(target: &Target<'_>, passwords: &Passwords, times: u32, options: &OutputOptions) -> ExitCode {
    let mut sink = match Sink::open(options.output.as_deref(), terminal::stdout(kind(options.format))) {
        Ok(sink) => sink,
        Err(error) => return exit::usage_in(options.format, error),
    };
    terminal::choose_colours(options.color, options.output.is_none() && io::stdout().is_terminal());
    let (interrupted, stop) = match Interrupted::stopping() {
        Ok(watched) => watched,
        Err(error) => return exit::failed(&error),
    };
    let follows = options.format == Format::Human && !options.quiet && !options.short;
    let mut subjects: Vec<Subject> = Vec::new();
    for number in 1..=times {
        if number > 1 {
            stop.rest(SPACING);
        }
        if stop.is_stopped() {
            break;
        }
        let subject = once(target, passwords.again(), &stop, (number, times));
        if follows {
            // A closed pipe shows again, and is handled, when the rest is written.
            let line = format!("{number:>3}  {:>8.1} ms  {}", millis(subject.duration), one_line(&subject.report));
            let _ = writeln!(sink, "{line}").and_then(|()| sink.flush());
        }
        subjects.push(subject);
    }
    if let Some(last) = subjects.last() {
        interrupted.over_with(&last.report);
    }
    let code = exit::of_run(&interrupted, &subjects, options.format, options.strict);
    let written = match options.format {
        Format::Human => human(&mut sink, &Document::of(target.name, &subjects), options),
        Format::Json => json(&mut sink, &Document::of(target.name, &subjects)),
        format => nssight_reports::write(format, &subjects, &mut sink),
    };
    exit::after(written.and_then(|()| sink.keep()), code)
}

fn once(target: &Target<'_>, passwords: Passwords, stop: &Stop, (number, times): (u32, u32)) -> Subject {
    let (started, limits) = (Instant::now(), Limits { stop: Some(stop), ..Limits::default() });
    let report = walk::once(target.settings, target.plan, passwords, &limits, None, &mut Nobody);
    let name = format!("{} ({number} of {times})", target.name);
    Subject { name, labels: BTreeMap::new(), report, tries: 1, duration: started.elapsed(), written_at: None }
}

fn millis(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

impl<'a> Document<'a> {
    fn of(target: &'a str, subjects: &'a [Subject]) -> Self {
        let reports: Vec<&Report> = subjects.iter().map(|subject| &subject.report).collect();
        let mut took: Vec<u64> =
            subjects.iter().map(|subject| u64::try_from(subject.duration.as_millis()).unwrap_or(u64::MAX)).collect();
        took.sort_unstable();
        let at = |index: usize| took.get(index).copied().unwrap_or_default();
        let outcomes = outcomes(&reports);
        let first = |is: fn(Outcome) -> bool| outcomes.iter().find(|it| is(it.status)).map(|it| reports[it.first - 1]);
        let (well, ill) = (first(|it| it == Outcome::Pass), first(|it| it != Outcome::Pass));
        // Reports of this program always have the schema that `between` requires.
        let differences = well.zip(ill).and_then(|(well, ill)| compare::between(well, ill).ok()).unwrap_or_default();
        Self {
            schema: "nssight/repeat/1",
            target,
            checks: reports.len(),
            passed: reports.iter().filter(|report| report.verdict.status == Outcome::Pass).count(),
            duration_ms: [at(0), at(took.len() / 2), at(took.len().saturating_sub(1))],
            outcomes,
            differences,
            reports,
        }
    }
}

fn outcomes(reports: &[&Report]) -> Vec<OutcomeCount> {
    let mut found: Vec<OutcomeCount> = Vec::new();
    for (index, report) in reports.iter().enumerate() {
        let verdict = &report.verdict;
        let (status, layer, cause, component) = match verdict.status {
            Outcome::Pass => (Outcome::Pass, None, None, None),
            status => (status, verdict.layer, verdict.cause, verdict.component),
        };
        let alike =
            |it: &&mut OutcomeCount| (it.status, it.layer, it.cause, it.component) == (status, layer, cause, component);
        match found.iter_mut().find(alike) {
            Some(known) => known.count += 1,
            None => found.push(OutcomeCount { status, layer, cause, component, count: 1, first: index + 1 }),
        }
    }
    found.sort_by_key(|it| std::cmp::Reverse(it.count));
    found
}

fn json(out: &mut Sink, document: &Document<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
    serde_json::to_writer_pretty(&mut out, document)?;
    writeln!(out)?;
    out.flush()
}

fn human(out: &mut Sink, document: &Document<'_>, options: &OutputOptions) -> io::Result<()> {
    let [least, middle, most] = document.duration_ms;
    let rate = (100 * document.passed).checked_div(document.checks).unwrap_or_default();
    let passed = format!("{} of {} checks passed ({rate} %)", document.passed, document.checks);
    let took = format!("fastest {least} ms, median {middle} ms, slowest {most} ms");
    if options.short {
        return writeln!(out, "{passed}; {took}");
    }
    writeln!(out, "\n{}; {took}", passed.bold())?;
    for it in &document.outcomes {
        let place = [it.layer.map(|it| it.as_str()), it.cause.map(Cause::id), it.component.map(|it| it.as_str())];
        let place: Vec<&str> = [it.status.as_str()].into_iter().chain(place.into_iter().flatten()).collect();
        writeln!(out, "  {:>3} × {}", it.count, place.join(" · "))?;
    }
    let Some(ill) = document.outcomes.iter().find(|it| it.status != Outcome::Pass) else { return Ok(()) };
    if let Some(well) = document.outcomes.iter().find(|it| it.status == Outcome::Pass) {
        let title = format!("Differences between check {} (A, passed) and check {} (B)", well.first, ill.first);
        writeln!(out, "\n{}", title.bold())?;
        let shown = document.differences.iter().filter(|it| options.verbose || it.rank != Rank::Other);
        shown.into_iter().try_for_each(|difference| difference.human(out))?;
    }
    if options.quiet {
        return Ok(());
    }
    writeln!(out, "\n{}", format!("Verdict of check {}", ill.first).bold())?;
    let width = terminal::width(options.output.is_none() && io::stdout().is_terminal());
    let detail = if options.verbose { Detail::Verbose } else { Detail::Normal };
    Human::new(out, width, detail).verdict(document.reports[ill.first - 1])
}
