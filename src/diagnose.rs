//! `nssight diagnose`: the walk.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nssight_diagnosis::verdict::diagnose;
use nssight_diagnosis::{Cause, Finding, Layer};
use nssight_probes::report::{self as schema, Report};
use nssight_probes::target::{PasswordSource, Profile, TargetSummary};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Observer, Plan, SeenCertificate, Settings, Walk};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::cli::{DiagnoseOptions, Format, OutputOptions, WalkedOptions};
use crate::crew::Spare;
use crate::report::human::{self, Detail, Human};
use crate::report::{self as formats, Subject};
use crate::sink::Sink;
use crate::supervisor::Limits;
use crate::worker::Passwords;
use crate::{copies, exit, names, password, retries, settings, supervisor, terminal, version, worker};

/// What is to be walked; an exit code where that is all: the command line cannot be carried out, or nothing is to be done.
pub(crate) fn plan(options: &DiagnoseOptions) -> Result<Plan, ExitCode> {
    let walk = &options.walked.walk;
    let plan =
        Plan::new(walk.until, walk.exclude.clone()).map_err(|error| exit::usage_in(options.output.format, error))?;
    match walk.dry_run {
        true => Err(dry_run(&plan, walk.retries, !options.trace_against.is_empty())),
        false => Ok(plan),
    }
}

pub(crate) fn run(plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    worker::protect();
    if let Err(error) = copies::clear_on_signals(&copies::ENDING) {
        return exit::usage_in(options.output.format, format!("signals cannot be waited for: {error}"));
    }
    match prepare(&options.walked, plan) {
        Ok((settings, passwords)) => walk(&settings, passwords, plan, options),
        Err(error) => exit::usage_in(options.output.format, error),
    }
}

/// The settings that the options make, and the passwords.
pub(crate) fn prepare(options: &WalkedOptions, plan: &Plan) -> Result<(Settings, Passwords), String> {
    let (config, overrides) = (options.config.as_deref(), options.overrides());
    let (settings, database) = settings::load(config, &overrides, &options.password, plan.until, options.walk.timeout)?;
    Ok((settings, Passwords { database, admin: password::admin(&options.admin)? }))
}

/// Walks, reports, and gives the exit code.
fn walk(settings: &Settings, passwords: Passwords, plan: &Plan, options: &DiagnoseOptions) -> ExitCode {
    let mut output = match Output::open(&options.output) {
        Ok(output) => output,
        Err(error) => return exit::usage_in(options.output.format, error),
    };
    let started = Instant::now();
    let (report, tries) = with_retries(settings, plan, passwords, &mut output, options.walked.walk.retries);
    let name = name(&report.target, options.walked.config.as_deref());
    let subject = Subject { name, labels: BTreeMap::new(), report, tries, duration: started.elapsed() };
    let subjects = [subject];
    let code = exit::of(&subjects, options.output.format, options.output.strict);
    match output.finish(&subjects, options.why_not) {
        Ok(()) => code,
        // A reader that went away has seen what it wanted.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => code,
        Err(error) => exit::not_written(&error),
    }
}

/// By what a reader knows the target of a walk: the peer, or else where it was read from.
fn name(target: &TargetSummary, config: Option<&Path>) -> String {
    let bridge = target.bridge.as_ref().map(|bridge| bridge.value.clone());
    let config = config.map(|path| path.display().to_string()).or_else(|| target.config_files.last().cloned());
    let database = target.database.as_ref().map(|database| database.value.clone());
    bridge.or(config).or(database).unwrap_or_else(|| "this host".to_owned())
}

/// Walks, and tries again where that was asked for and may help; with the number of walks.
fn with_retries(
    settings: &Settings,
    plan: &Plan,
    passwords: Passwords,
    output: &mut Output,
    retries: u32,
) -> (Report, u32) {
    // Kept only for another try: without one, the worker has the only copy.
    let spare = (retries > 0).then(|| passwords.again());
    let mut report = once(settings, plan, passwords, output, &Limits::default(), None);
    for number in 1..=retries {
        let Some(passwords) = spare.as_ref().map(Passwords::again).filter(|_| retries::is_worth_it(&report)) else {
            return (report, number);
        };
        output.remark(&format!("trying again in {} s ({number} of {retries})", retries::SPACING.as_secs()));
        std::thread::sleep(retries::SPACING);
        let next = once(settings, plan, passwords, output, &Limits::default(), None);
        report = retries::combine(report, next);
    }
    (report, retries + 1)
}

fn once(
    settings: &Settings,
    plan: &Plan,
    passwords: Passwords,
    output: &mut Output,
    limits: &Limits<'_>,
    spare: Option<&mut Spare>,
) -> Report {
    let started = OffsetDateTime::now_utc();
    output.before = output.connections;
    let mut findings = first_layer(settings, plan, output);
    if let Ok(target) = &settings.target {
        findings = supervisor::walk(target, plan, findings, passwords, output, limits, spare);
    } else {
        for probe in plan.probes().filter(|probe| probe.layer != Layer::Config) {
            let finding = Finding::skipped(probe.layer, Some(Layer::Config), "config failed".to_owned());
            output.found(&finding);
            findings.push(finding);
        }
    }
    report(settings, plan, started, findings, output)
}

/// `config` needs no NSS and is walked here; the worker does the rest.
fn first_layer(settings: &Settings, plan: &Plan, output: &mut Output) -> Vec<Finding> {
    let mut walk = Walk::new(settings, None);
    walk.run(plan, |layer| layer == Layer::Config, output);
    walk.findings
}

fn dry_run(plan: &Plan, retries: u32, has_program: bool) -> ExitCode {
    let mut out = io::stdout().lock();
    for probe in plan.probes() {
        let note = if plan.walks(probe.layer) { "" } else { "  left out" };
        let _ = writeln!(out, "{}{note}", probe.layer);
    }
    let _ = match (plan.connections(), retries) {
        (0, _) => writeln!(out, "no connection would be opened"),
        (count, 0) => writeln!(out, "{count} connection would be opened"),
        (count, more) => writeln!(out, "{count} connection would be opened, and at most {more} more for retries"),
    };
    if has_program {
        let _ = writeln!(out, "before it the program would be run, which opens connections of its own");
    }
    ExitCode::SUCCESS
}

fn report(
    settings: &Settings,
    plan: &Plan,
    started: OffsetDateTime,
    probes: Vec<Finding>,
    output: &mut Output,
) -> Report {
    let target = summary(settings, plan);
    // The two sessions are told layer by layer; the reader wants them as they went.
    output.wire.sort_by_key(|event| event.at_us);
    Report {
        schema: schema::SCHEMA.to_owned(),
        tool: version::tool(),
        started: started.format(&Rfc3339).unwrap_or_else(|_| started.to_string()),
        connections_opened: output.connections,
        verdict: diagnose(&probes, &names::of(&target)),
        target,
        probes,
        wire: std::mem::take(&mut output.wire),
        certificates: std::mem::take(&mut output.certificates),
    }
}

/// What is walked, for a report.
pub(crate) fn summary(settings: &Settings, plan: &Plan) -> TargetSummary {
    summary_of(Some(settings), plan)
}

/// The same, where there may be no configuration at all.
pub(crate) fn summary_of(settings: Option<&Settings>, plan: &Plan) -> TargetSummary {
    match settings.and_then(|settings| settings.target.as_ref().ok()) {
        Some(target) => target.summary(plan.until),
        None => TargetSummary {
            profile: Profile::default(),
            role: None,
            config_files: Vec::new(),
            database: None,
            nickname: None,
            bridge: None,
            server: None,
            user: None,
            tls_min: None,
            tls_max: None,
            password_source: PasswordSource::None.to_string(),
            until: plan.until,
            timeout_ms: settings
                .map_or(0, |settings| u64::try_from(settings.timeout().as_millis()).unwrap_or(u64::MAX)),
        },
    }
}

/// A walk whose report is for another document: nothing is shown on the way.
pub(crate) fn quietly(settings: &Settings, plan: &Plan, passwords: Passwords, retries: u32) -> Report {
    // Without it a copy of the database may wait for the next start.
    let _ = copies::clear_on_signals(&copies::ENDING);
    with_retries(settings, plan, passwords, &mut Output::nowhere(), retries).0
}

/// One such walk within limits, by a worker that is kept for the next if there is a place for it.
pub(crate) fn within(
    settings: &Settings,
    plan: &Plan,
    passwords: Passwords,
    limits: &Limits<'_>,
    spare: Option<&mut Spare>,
) -> Report {
    once(settings, plan, passwords, &mut Output::nowhere(), limits, spare)
}

/// Where the report goes, and what is collected for it on the way.
struct Output {
    sink: Sink,
    format: Format,
    detail: Detail,
    width: usize,
    shows_progress: bool,
    connections: u32,
    /// Connections of the tries before this one.
    before: u32,
    wire: Vec<WireEvent>,
    certificates: Vec<SeenCertificate>,
}

/// A report with more events than this helps nobody.
const EVENTS_AT_MOST: usize = 2000;

impl Output {
    /// Collects, and shows nothing.
    fn nowhere() -> Self {
        Self {
            sink: Sink::nowhere(),
            format: Format::Json,
            detail: Detail::Quiet,
            width: terminal::width(false),
            shows_progress: false,
            connections: 0,
            before: 0,
            wire: Vec::new(),
            certificates: Vec::new(),
        }
    }

    fn open(options: &OutputOptions) -> Result<Self, String> {
        let sink = Sink::open(options.output.as_deref(), io::stdout())?;
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
            connections: 0,
            before: 0,
            wire: Vec::new(),
            certificates: Vec::new(),
        })
    }

    fn human(&mut self) -> Human<&mut Sink> {
        Human::new(&mut self.sink, self.width, self.detail)
    }

    /// A line between two tries, for a reader who watches.
    fn remark(&mut self, text: &str) {
        if self.format == Format::Human && matches!(self.detail, Detail::Normal | Detail::Verbose) {
            let _ = writeln!(self.sink, "\n{text}\n");
        }
    }

    fn finish(&mut self, subjects: &[Subject], why_not: Option<Cause>) -> io::Result<()> {
        self.write(subjects, why_not).and_then(|()| self.sink.keep())
    }

    fn write(&mut self, subjects: &[Subject], why_not: Option<Cause>) -> io::Result<()> {
        match self.format {
            // The layers are there already.
            Format::Human => subjects.iter().try_for_each(|subject| {
                self.human().verdict(&subject.report)?;
                if let Some(cause) = why_not {
                    self.human().why_not(&subject.report, cause)?;
                }
                self.human().colophon(&subject.report)
            }),
            format => formats::write(format, subjects, &mut self.sink),
        }
    }
}

impl Observer for Output {
    fn entering(&mut self, layer: Layer) {
        if self.shows_progress {
            let _ = write!(self.sink, "{}", human::progress(layer)).and_then(|()| self.sink.flush());
        }
    }

    fn found(&mut self, finding: &Finding) {
        if self.format == Format::Human {
            // A closed pipe shows again, and is dealt with, when the verdict is written.
            let _ = self.human().layer(finding);
        }
    }

    fn seen(&mut self, event: &WireEvent) {
        if self.wire.len() < EVENTS_AT_MOST {
            self.wire.push(event.clone());
        }
    }

    fn met(&mut self, certificate: &SeenCertificate) {
        self.certificates.push(certificate.clone());
    }

    fn connected(&mut self, connections: u32) {
        self.connections = self.before + connections;
    }
}
