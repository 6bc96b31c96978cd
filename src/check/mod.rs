//! `nssight check`: checks many targets of one file in parallel.

mod document;
mod human;
mod results;
mod select;
mod tally;

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::mpsc::{self, SyncSender};
use std::thread;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::report::Subject;
use nssight_reports::terminal;
use nssight_runner::crew::Spare;
use nssight_runner::stop::Stop;
use nssight_runner::targets::{self, CheckTarget, Told, Tries, Waiting};
use nssight_runner::turns::{Job, Turns};
use nssight_runner::worker;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

pub(crate) use document::Output;

use crate::cli::{CheckFormat, CheckOptions, Format};
use crate::exit;
use crate::signals::Interrupted;
use results::Results;

/// Descriptors per job: three pipes with two ends while a worker starts, its process, and a file.
const DESCRIPTORS_A_JOB: usize = 10;
const DESCRIPTORS_BESIDE: usize = 32;

pub(crate) fn run(options: &CheckOptions) -> ExitCode {
    worker::protect();
    let targets = match select::targets(options) {
        Ok(targets) => targets,
        Err(error) => return exit::usage_in(format(options), error),
    };
    if options.walks.dry_run {
        // A closed pipe is not an error: the reader has finished.
        let _ = dry_run(&targets);
        return ExitCode::SUCCESS;
    }
    let names: Vec<String> = targets.iter().map(|target| target.name.clone()).collect();
    let mut results = match Results::open(&options.output, &names) {
        Ok(results) => results,
        Err(error) => return exit::usage_in(format(options), error),
    };
    let (turns, stop) = (Arc::new(Turns::of(jobs_of(targets))), Arc::new(Stop::default()));
    let ended = (turns.clone(), stop.clone());
    let interrupted = match Interrupted::watch(move || {
        ended.0.close();
        ended.1.stop();
    }) {
        Ok(interrupted) => interrupted,
        Err(error) => return exit::failed(&error),
    };
    let walked = walk(&turns, &stop, options, &mut results);
    interrupted.over();
    results.tally.interrupted = interrupted.name();
    let walked = walked.and_then(|()| results.write_remaining());
    let code = results.code(&interrupted, options.output.strict);
    exit::after(walked.and_then(|()| results.finish()), code)
}

/// The format in which errors are reported.
fn format(options: &CheckOptions) -> Format {
    match options.output.format {
        CheckFormat::Document(format) => format,
        CheckFormat::Human | CheckFormat::Ndjson => Format::Human,
    }
}

/// Checks all targets and passes each result on as it finishes.
fn walk(
    turns: &Turns<Waiting<usize>>,
    stop: &Stop,
    options: &CheckOptions,
    results: &mut Results<'_>,
) -> io::Result<()> {
    let jobs = options.walks.jobs.map_or_else(targets::jobs_by_default, usize::from);
    let hands = jobs.min(results.tally.targets);
    room_for(jobs);
    thread::scope(|scope| {
        let spawn = || thread::Builder::new().name("check".to_owned());
        // A slow reader delays the checks, so results do not accumulate.
        let (sender, receiver) = mpsc::sync_channel(jobs);
        let mut missing = Ok(());
        for hand in 0..hands {
            let told = Handed { turns, fail_fast: options.walks.fail_fast, sender: sender.clone() };
            let work = move || targets::work(turns, stop, Some(Spare::default()), &told);
            match spawn().spawn_scoped(scope, work) {
                Ok(_) => {}
                // With fewer threads the checks still run, one after another.
                Err(_) if hand > 0 => break,
                Err(error) => {
                    turns.close();
                    missing = Err(error);
                    break;
                }
            }
        }
        drop(sender);
        let taken =
            missing.and_then(|()| receiver.into_iter().try_for_each(|(index, subject)| results.take(index, subject)));
        if taken.is_err() {
            turns.close();
            stop.stop();
        }
        taken
    })
}

/// The pipes of all workers need descriptors; a soft limit that is too low is raised.
fn room_for(jobs: usize) {
    let wanted = (jobs * DESCRIPTORS_A_JOB + DESCRIPTORS_BESIDE) as u64;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        // Otherwise, workers without a descriptor report it.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(current), ..limit });
    }
}

/// Jobs with the resources that they must not share, each with its place in the file.
fn jobs_of(targets: Vec<CheckTarget>) -> Vec<Job<Waiting<usize>>> {
    let mut known: BTreeMap<String, Arc<str>> = BTreeMap::new();
    let job = |(index, target)| {
        let key = targets::queue_key(&target);
        let key = key.map(|key| known.entry(key).or_insert_with_key(|key| key.as_str().into()).clone());
        Job { key, work: (Tries::of(Arc::new(target)), index) }
    };
    targets.into_iter().enumerate().map(job).collect()
}

/// Passes on results.
struct Handed<'a> {
    turns: &'a Turns<Waiting<usize>>,
    fail_fast: bool,
    sender: SyncSender<(usize, Subject)>,
}

impl Told<usize> for Handed<'_> {
    fn interrupted(&self, index: usize, subject: Subject) {
        // The receiver may already be closed.
        let _ = self.sender.send((index, subject));
    }

    fn done(&self, index: usize, subject: Subject) -> bool {
        // This must happen before the thread is free for another target.
        if self.fail_fast && subject.report.verdict.status == Outcome::Fail {
            self.turns.close();
        }
        self.sender.send((index, subject)).is_ok()
    }
}

/// Lists names, layers and connections, without a check.
fn dry_run(targets: &[CheckTarget]) -> io::Result<()> {
    let mut table = terminal::table(&["target", "bridge", "layers", "connections"]);
    let (mut connections, mut again) = (0, 0);
    let mut bridges: BTreeMap<String, u32> = BTreeMap::new();
    for target in targets {
        let key = targets::queue_key(target);
        let count = if key.is_some() { target.plan.connections() } else { 0 };
        connections += count;
        again += count * target.retries;
        let bridge = key.clone().unwrap_or_else(|| "-".to_owned());
        if let Some(key) = key {
            *bridges.entry(key).or_default() += 1;
        }
        let walked = target.plan.layers(target.overrides.has_files()).filter(|layer| target.plan.walks(*layer));
        let layers: Vec<&str> = walked.map(|layer| layer.as_str()).collect();
        let layers = match layers.as_slice() {
            [first, .., last] if target.plan.excluded.is_empty() => format!("{first} … {last}"),
            some => some.join(" "),
        };
        let name = terminal::printable(&target.name);
        table.add_row([name, terminal::printable(&bridge), layers, count.to_string()]);
    }
    terminal::output(|out| {
        terminal::write_table(out, &table)?;
        let shared: u32 = bridges.values().filter(|count| **count > 1).sum();
        let targets = targets.len();
        write!(out, "\n{targets} targets, {} bridges, {connections} connections", bridges.len())?;
        if again > 0 {
            write!(out, ", and at most {again} more for retries")?;
        }
        if shared > 0 {
            write!(out, "; {shared} targets share a bridge with others and are checked one after another")?;
        }
        writeln!(out)
    })
}
