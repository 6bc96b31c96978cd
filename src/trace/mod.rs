//! `nssight trace`: runs a program and reports which of its calls fails.

pub(crate) mod against;
mod child;
mod program;
mod table;

use std::ffi::OsString;
use std::io::{self, IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::verdict::{self, Verdict};
use nssight_diagnosis::vocabulary::Peer;
use nssight_diagnosis::{Finding, Layer, Status};
use nssight_probes::profile::{Configuration, Profile};
use nssight_probes::report::Report;
use nssight_probes::settings::Overrides;
use nssight_probes::{Plan, Settings};
use nssight_reports::sink::Sink;
use nssight_reports::terminal;
use nssight_runner::passwords::Passwords;
use nssight_runner::tool::tool;
use nssight_runner::walk;
use nssight_runner::worker;
use nssight_trace::{Ending, Program, Story, TraceReport, merge};

use crate::cli::{PasswordOptions, TableFormat, TraceOptions};
use crate::exit;
use crate::settings::{self, Wanted};
use program::ProgramError;

/// Time limit for one layer of the check without a connection.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &TraceOptions) -> ExitCode {
    let order = Order {
        command: &options.command,
        config: options.config.as_deref(),
        follow: options.follow,
        timeline: options.timeline,
        wire: options.wire,
        aside: false,
    };
    let prepared = match order.prepare() {
        Ok(prepared) => prepared,
        Err(code) => return code,
    };
    let output = match Sink::open(options.output.as_deref(), terminal::stderr(terminal::Kind::Text)) {
        Ok(output) => output,
        Err(error) => return exit::usage(error),
    };
    let (report, ending) = match prepared.run() {
        Ok(seen) => seen,
        Err(code) => return code,
    };
    match write(&report, options, output) {
        Ok(()) => child::end_as(ending),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => child::end_as(ending),
        Err(error) => exit::not_written(&error),
    }
}

/// What to trace, and what to report.
struct Order<'a> {
    command: &'a [OsString],
    config: Option<&'a Path>,
    follow: bool,
    timeline: bool,
    wire: bool,
    /// The program's output goes to standard error, because standard output has the document.
    aside: bool,
}

/// An order whose program can be traced.
struct Prepared<'a> {
    order: &'a Order<'a>,
    name: &'a OsString,
    arguments: &'a [OsString],
    path: PathBuf,
}

impl Order<'_> {
    fn prepare(&self) -> Result<Prepared<'_>, ExitCode> {
        let (name, arguments) = self.command.split_first().ok_or_else(|| exit::usage("name a program to run"))?;
        if !Path::new("/proc/self/fd").exists() {
            terminal::say(
                "/proc is not mounted, but a traced program needs it to send its events; the trace would be empty",
            );
            return Err(ExitCode::from(exit::INCONCLUSIVE));
        }
        match program::find(name) {
            Ok(path) => Ok(Prepared { order: self, name, arguments, path }),
            Err(ProgramError::NotFound(why)) => Err(exit::usage(why)),
            Err(ProgramError::Untraceable(why)) => {
                terminal::say(format_args!("{why}"));
                Err(ExitCode::from(exit::INCONCLUSIVE))
            }
        }
    }
}

impl Prepared<'_> {
    /// Runs the program to its end.
    fn run(&self) -> Result<(TraceReport, Ending), ExitCode> {
        let how = child::How { follow: self.order.follow, aside: self.order.aside };
        let run = child::run(&self.path, self.name, self.arguments, how)
            .map_err(|error| exit::usage(format!("{}: {error}", self.name.to_string_lossy())))?;
        // From here on a password is in memory.
        worker::protect();
        let ending = run.ending;
        Ok((self.report(run), ending))
    }

    fn report(&self, run: child::Run) -> TraceReport {
        let child::Run { ending, mut story, took, events_lost } = run;
        let plan = Plan { until: Layer::Resolve, excluded: Vec::new() };
        let is_of_interest = story.of_the_client(ending).is_bad() && !story.is_server();
        let settings = is_of_interest.then(|| configuration(self.order.config, self.name, self.arguments)).flatten();
        let mut target = walk::summary(settings.as_ref().map(|(settings, _)| settings), &plan);
        // Without a configuration, only a session inside another shows that the peer is a bridge.
        if settings.is_none() {
            target.profile = Profile::of(if story.is_double() { Peer::Bridge } else { Peer::Plain });
        }
        let walked = settings.map(|(settings, passwords)| walk::quietly(&settings, &plan, passwords, 0));
        let (walked, own) = walked.map(|walked| (walked.probes, walked.certificates)).unwrap_or_default();
        let mut layers = merge(story.findings(ending, &own), &walked);
        let mut names = target.names();
        if story.is_double() {
            names.peer = Peer::Bridge;
        }
        let complete = if events_lost == 0 { fact::TraceComplete::Yes } else { fact::TraceComplete::No };
        for failed in layers.iter_mut().filter(|finding| finding.status == Status::Fail) {
            failed.facts.put(complete);
        }
        let mut verdict = verdict(&story, &layers, verdict::diagnose(&layers, &names), ending);
        verdict::doubted(&mut layers, &mut verdict);
        TraceReport {
            schema: "nssight/trace/1".to_owned(),
            tool: tool(),
            program: Program {
                name: self.name.to_string_lossy().into_owned(),
                arguments: self.arguments.len(),
                exit: ending.exit,
                signal: ending.signal,
                duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            },
            target,
            first_failure: story.first_failure(ending, verdict.layer),
            differences: story.differences(),
            processes: story.process_summaries(),
            sessions: story.session_summaries(),
            timeline: if self.order.timeline { story.timeline() } else { Vec::new() },
            wire: if self.order.wire { story.wire_events() } else { Vec::new() },
            lost: story.lost().to_vec(),
            events_lost,
            layers,
            verdict,
        }
    }
}

/// Calls that prove nothing give no verdict.
fn verdict(story: &Story, layers: &[Finding], judged: Verdict, ending: Ending) -> Verdict {
    let failed = layers.iter().any(|finding| finding.status == Status::Fail);
    let others = story.other_libraries();
    let summary = match (failed, story.is_empty()) {
        (true, _) => return judged,
        (false, true) if !others.is_empty() => {
            format!("no NSS call was traced; the program uses {}", others.join(" and "))
        }
        (false, true) => "no NSS call was traced".to_owned(),
        (false, false) if story.is_server() => {
            "the program is a server: its clients' sessions are listed, without a verdict".to_owned()
        }
        // A layer that was checked and proves nothing still has something to report.
        (false, false) => match layers.iter().find(|finding| finding.facts.has(fact::TraceShows::Nothing)) {
            Some(finding) => finding.summary.clone(),
            None if story.of_the_client(ending).is_bad() => {
                "the program failed, but no observed call explains it".to_owned()
            }
            None if ending.is_bad() => "every TLS session succeeded; the program failed for another reason".to_owned(),
            None => return judged,
        },
    };
    Verdict::inconclusive(summary)
}

/// The configuration that the program was given, or reads by default, if nssight supports its format.
fn configuration(config: Option<&Path>, name: &OsString, arguments: &[OsString]) -> Option<(Settings, Passwords)> {
    let given = config.map(Path::to_owned).or_else(|| of_arguments(arguments));
    let name = PathBuf::from(name).file_name().map(|name| name.to_string_lossy().into_owned());
    let reads_the_usual = |known: &Configuration| name.as_ref().is_some_and(|name| name.starts_with(known.programs));
    if given.is_none() && !Profile::configurations().any(reads_the_usual) {
        return None;
    }
    let password = PasswordOptions {
        password_file: None,
        password_env: None,
        password_fd: None,
        password_stdin: false,
        password_prompt: false,
    };
    let wanted = Wanted {
        config: given.as_deref(),
        overrides: &Overrides::default(),
        password: &password,
        until: Layer::Request,
        timeout: TIMEOUT,
    };
    let (settings, database) = settings::load(wanted).ok()?;
    Some((settings, Passwords { database, admin: None }))
}

/// `-c FILE`, `--config FILE` or `--config-file FILE`, if nssight supports the format of this file.
fn of_arguments(arguments: &[OsString]) -> Option<PathBuf> {
    const LONGEST: u64 = 1024 * 1024;
    // As with most programs the last one counts.
    let flag = arguments.iter().rposition(|word| word == "-c" || word == "--config" || word == "--config-file");
    let mut words = arguments.iter().rev().filter_map(|word| word.to_str());
    let spelled = words.find_map(|word| word.strip_prefix("--config-file="));
    let path = match (flag, spelled) {
        (Some(flag), _) => PathBuf::from(arguments.get(flag + 1)?),
        (None, Some(path)) => PathBuf::from(path),
        (None, None) => return None,
    };
    let length = std::fs::metadata(&path).ok().filter(|file| file.is_file() && file.len() < LONGEST);
    let text = length.and_then(|_| std::fs::read(&path).ok())?;
    Profile::configurations().any(|known| (known.is_in)(&text)).then_some(path)
}

fn write(report: &TraceReport, options: &TraceOptions, mut out: Sink) -> io::Result<()> {
    let to_file = options.output.is_some();
    let on_terminal = !to_file && io::stderr().is_terminal();
    if options.format() == TableFormat::Json {
        if !to_file {
            out = Sink::Stream(Box::new(terminal::stdout(terminal::Kind::Json)));
        }
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
        return out.keep();
    }
    terminal::choose_colours(options.color, on_terminal);
    table::write(&mut out, report, terminal::width(on_terminal))?;
    out.keep()
}

/// The trace as the report of a check, for the parts that both have in common.
fn as_walk(report: &TraceReport) -> Report {
    Report {
        schema: nssight_probes::report::SCHEMA.to_owned(),
        tool: report.tool.clone(),
        started: String::new(),
        host: None,
        connections_opened: 0,
        verdict: report.verdict.clone(),
        hops: report.target.hops(),
        target: report.target.clone(),
        probes: report.layers.clone(),
        wire: report.wire.clone(),
        certificates: Vec::new(),
        revocation_lists: Vec::new(),
    }
}
