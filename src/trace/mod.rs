//! `nssight trace`: a program of the user's, and which of its own calls fails.

mod child;
mod program;
mod table;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nssight_probes::report::Report;
use nssight_probes::settings::Overrides;
use nssight_probes::trace::{Program, Story, TraceReport, merge};
use nssight_probes::{Confidence, Layer, Outcome, Plan, Settings, Status, Verdict, diagnose as judge};

use crate::cli::{PasswordOptions, TraceOptions};
use crate::worker::{self, Passwords};
use crate::{diagnose, exit, settings, terminal};
use program::Obstacle;

/// Time that a layer of the walk without a connection may take.
const TIMEOUT: Duration = Duration::from_secs(10);

pub(crate) fn run(options: &TraceOptions) -> ExitCode {
    let Some((name, arguments)) = options.command.split_first() else {
        return exit::usage("a program to run is missing");
    };
    let path = match program::find(name) {
        Ok(path) => path,
        Err(Obstacle::NotFound(why)) => return exit::usage(why),
        Err(Obstacle::Untraceable(why)) => {
            eprintln!("nssight: {why}");
            return ExitCode::from(exit::INCONCLUSIVE);
        }
    };
    let output = match options.output.as_ref().map(File::create).transpose() {
        Ok(output) => output,
        Err(error) => return exit::usage(format!("the report's file: {error}")),
    };
    let run = match child::run(&path, name, arguments, options.follow) {
        Ok(run) => run,
        Err(error) => return exit::usage(format!("{}: {error}", name.to_string_lossy())),
    };
    // From here on there is a password in memory.
    worker::protect();
    let ending = run.ending;
    let report = report(run, options, name, arguments);
    match write(&report, options, output) {
        Ok(()) => child::end_as(ending),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => child::end_as(ending),
        Err(error) => exit::not_written(&error),
    }
}

fn report(run: child::Run, options: &TraceOptions, name: &OsString, arguments: &[OsString]) -> TraceReport {
    let child::Run { ending, mut story, took, events_lost } = run;
    let mut layers = story.findings(ending);
    let settings = configuration(options, name, arguments);
    let plan = Plan { until: Layer::Resolve, excluded: Vec::new() };
    let target = diagnose::summary_of(settings.as_ref().map(|(settings, _)| settings), &plan);
    if let (Some((settings, passwords)), true) = (settings, ending.is_bad() && !story.is_server()) {
        let walked = diagnose::quietly(&settings, &plan, passwords, 0);
        layers = merge(layers, &walked.probes);
    }
    let verdict = verdict(&story, &layers, judge(&layers, &target), ending.is_bad());
    TraceReport {
        schema: "nssight/trace/1".to_owned(),
        tool: diagnose::tool(),
        program: Program {
            name: name.to_string_lossy().into_owned(),
            arguments: arguments.len(),
            exit: ending.exit,
            signal: ending.signal,
            duration_ms: u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        },
        target,
        first_failure: story.first_failure(ending, verdict.layer),
        differences: story.differences(),
        processes: story.process_summaries(),
        sessions: story.session_summaries(),
        timeline: if options.timeline { story.timeline() } else { Vec::new() },
        wire: if options.wire { story.wire_events() } else { Vec::new() },
        lost: story.lost().to_vec(),
        events_lost,
        layers,
        verdict,
    }
}

/// Where the calls prove nothing, nothing is said.
fn verdict(story: &Story, layers: &[nssight_probes::Finding], judged: Verdict, is_bad: bool) -> Verdict {
    let failed = layers.iter().any(|finding| finding.status == Status::Fail);
    let others = story.other_libraries();
    let summary = match (failed, story.is_empty()) {
        (true, _) => return judged,
        (false, true) if !others.is_empty() => {
            format!("nothing to see: no call of NSS, and the program uses {}", others.join(" and "))
        }
        (false, true) => "nothing to see: no call of NSS".to_owned(),
        (false, false) if story.is_server() => {
            "a server: its clients' sessions are listed, and none is judged".to_owned()
        }
        (false, false) if is_bad => {
            "the program ended badly, and none of the calls that were seen is the reason".to_owned()
        }
        (false, false) => return judged,
    };
    let status = Outcome::Inconclusive;
    Verdict {
        status,
        layer: None,
        cause: None,
        component: None,
        confidence: Confidence::Possible,
        summary,
        remedies: Vec::new(),
    }
}

/// The configuration that the program was given, if it is one of Sigul's.
fn configuration(options: &TraceOptions, name: &OsString, arguments: &[OsString]) -> Option<(Settings, Passwords)> {
    let given = options.config.clone().or_else(|| of_arguments(arguments));
    let is_sigul = PathBuf::from(name).file_name().is_some_and(|name| name.to_string_lossy().starts_with("sigul"));
    if given.is_none() && !is_sigul {
        return None;
    }
    let password = PasswordOptions {
        password_file: None,
        password_env: None,
        password_fd: None,
        password_stdin: false,
        password_prompt: false,
    };
    let overrides = Overrides::default();
    let (settings, database) = settings::load(given.as_deref(), &overrides, &password, Layer::Request, TIMEOUT).ok()?;
    Some((settings, Passwords { database, admin: None }))
}

/// `-c FILE`, `--config FILE` or `--config-file FILE`, when the file has a section about NSS.
fn of_arguments(arguments: &[OsString]) -> Option<PathBuf> {
    const LONGEST: u64 = 1024 * 1024;
    let flag = arguments.iter().position(|word| word == "-c" || word == "--config" || word == "--config-file");
    let spelled =
        arguments.iter().filter_map(|word| word.to_str()).find_map(|word| word.strip_prefix("--config-file="));
    let path = match (flag, spelled) {
        (Some(flag), _) => PathBuf::from(arguments.get(flag + 1)?),
        (None, Some(path)) => PathBuf::from(path),
        (None, None) => return None,
    };
    let length = std::fs::metadata(&path).ok().filter(|file| file.is_file() && file.len() < LONGEST);
    let text = length.and_then(|_| std::fs::read(&path).ok())?;
    text.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == b"[nss]").then_some(path)
}

fn write(report: &TraceReport, options: &TraceOptions, output: Option<File>) -> io::Result<()> {
    let on_terminal = output.is_none() && io::stderr().is_terminal();
    let mut out: Box<dyn Write> = match output {
        Some(file) => Box::new(file),
        None if options.json => Box::new(io::stdout()),
        None => Box::new(io::stderr()),
    };
    if options.json {
        serde_json::to_writer(&mut out, report)?;
        writeln!(out)?;
        return out.flush();
    }
    terminal::choose_colours(options.color, on_terminal);
    table::write(&mut out, report, terminal::width(on_terminal))?;
    out.flush()
}

/// The trace as a walk's report, for the parts that both show alike.
fn as_walk(report: &TraceReport) -> Report {
    Report {
        schema: nssight_probes::report::SCHEMA.to_owned(),
        tool: report.tool.clone(),
        started: String::new(),
        connections_opened: 0,
        verdict: report.verdict.clone(),
        target: report.target.clone(),
        probes: report.layers.clone(),
        wire: report.wire.clone(),
        certificates: Vec::new(),
    }
}
