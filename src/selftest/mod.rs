//! `nssight selftest`: injects every lab fault and compares the verdicts with the expected ones.

mod doors;

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use nssight_fixtures::fault::{self, Door, Fault, Named};
use nssight_reports::terminal;
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{SelftestOptions, TableFormat};
use crate::exit;
use doors::{Failure, Said};

/// The result for one fault.
#[derive(Serialize, JsonSchema)]
struct Row {
    id: String,
    title: String,
    #[serde(flatten)]
    walk: DoorRow,
    /// The verdicts of the other commands that could be tested.
    doors: BTreeMap<Door, DoorRow>,
    /// Whether every command gave the expected verdict.
    ok: bool,
    duration_ms: u64,
}

/// The verdict of one command for a fault.
#[derive(Serialize, JsonSchema)]
struct DoorRow {
    expected: Option<Named>,
    given: Option<Named>,
    /// The reason for a missing verdict, or a report of more than one connection.
    trouble: Option<String>,
    /// Whether the verdict is the expected one for the libraries of this system, which may report other errors than NSS 3.87.
    right: bool,
}

/// The results for all faults, schema `nssight/selftest/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Outcome {
    schema: &'static str,
    /// Verdicts of each door.
    verdicts: BTreeMap<Door, usize>,
    faults: Vec<Row>,
    /// Faults that do not exist with this version of NSS.
    left_out: Vec<String>,
}

pub(crate) fn run(options: &SelftestOptions) -> ExitCode {
    let (mut faults, mut left_out) = match fault::here() {
        Ok(faults) => faults,
        Err(error) => return exit::usage(error),
    };
    let is_wanted = |fault: &Fault| options.only.is_empty() || options.only.contains(&fault.id);
    faults.retain(is_wanted);
    left_out.retain(is_wanted);
    if faults.is_empty() && left_out.is_empty() {
        return exit::usage("no fault of the lab has that id; `nssight lab list` shows them");
    }
    let left_out: Vec<String> = left_out.into_iter().map(|fault| fault.id).collect();
    let bar = ProgressBar::with_draw_target(Some(faults.len() as u64), ProgressDrawTarget::stderr());
    let client = doors::has_client();
    let rows = in_parallel(&faults, client, || bar.inc(1));
    bar.finish_and_clear();
    let missed = rows.iter().filter(|row| !row.ok).count();
    let written = match options.format {
        TableFormat::Json => json(rows, left_out),
        TableFormat::Human => table(&rows, missed, client, &left_out),
    };
    match written {
        Ok(()) if missed == 0 => ExitCode::from(exit::PASSED),
        _ => ExitCode::from(exit::FAILED),
    }
}

/// Several per core, as most of them wait for a deadline; the rows keep the order of the faults.
fn in_parallel(faults: &[Fault], client: bool, done: impl Fn() + Sync) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    let workers = 3 * thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        while let Some((index, fault)) = {
            let index = next.fetch_add(1, Ordering::SeqCst);
            faults.get(index).map(|fault| (index, fault))
        } {
            let row = try_one(fault, client);
            rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, row));
            done();
        }
    };
    thread::scope(|scope| {
        // If no more threads can be started, this thread does the remaining work.
        for _ in 1..workers {
            if thread::Builder::new().spawn_scoped(scope, work).is_err() {
                break;
            }
        }
        work();
    });
    let mut rows = rows.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    rows.sort_by_key(|(index, _)| *index);
    rows.into_iter().map(|(_, row)| row).collect()
}

fn try_one(fault: &Fault, client: bool) -> Row {
    let started = Instant::now();
    let row = |door: Door, said: Result<Said, Failure>| {
        let (given, trouble) = match said {
            Ok((given, trouble)) => (Some(given), trouble),
            Err(error) => (None, Some(error.to_string())),
        };
        let right = trouble.is_none() && given.as_ref().is_some_and(|given| fault.is_told_by(door, given));
        DoorRow { expected: fault.must(door), given, trouble, right }
    };
    let walk = row(Door::Diagnose, doors::walk(fault));
    let others = if client { doors::others(fault) } else { Vec::new() };
    let doors: BTreeMap<Door, DoorRow> = others.into_iter().map(|(door, said)| (door, row(door, said))).collect();
    let ok = walk.right && doors.values().all(|door| door.right);
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Row { id: fault.id.clone(), title: fault.title.clone(), walk, doors, ok, duration_ms }
}

/// How many verdicts each door gave.
fn verdicts(rows: &[Row]) -> BTreeMap<Door, usize> {
    let of = |door| rows.iter().filter(|row| door == Door::Diagnose || row.doors.contains_key(&door)).count();
    Door::ALL.into_iter().map(|door| (door, of(door))).collect()
}

fn json(faults: Vec<Row>, left_out: Vec<String>) -> io::Result<()> {
    let mut out = terminal::stdout(terminal::Kind::Json);
    let verdicts = verdicts(&faults);
    serde_json::to_writer_pretty(&mut out, &Outcome { schema: "nssight/selftest/1", verdicts, faults, left_out })?;
    writeln!(out)
}

fn table(rows: &[Row], missed: usize, client: bool, left_out: &[String]) -> io::Result<()> {
    let mut out = terminal::stdout(terminal::Kind::Text);
    for row in rows {
        let sign = if row.ok { "✓" } else { "✗" };
        let took = Duration::from_millis(row.duration_ms).as_secs_f64();
        writeln!(out, "{sign} {:<34} {took:>5.1} s  {}", row.id, words(row.walk.expected.as_ref()))?;
        let said = [(&Door::Diagnose, &row.walk)].into_iter().chain(&row.doors);
        for (door, said) in said.filter(|(_, said)| !said.right) {
            let trouble = said.trouble.as_deref().unwrap_or_default();
            let (expected, given) = (words(said.expected.as_ref()), words(said.given.as_ref()));
            writeln!(out, "  {door}: {given} instead of {expected} {trouble}")?;
        }
    }
    let given: Vec<String> = verdicts(rows).iter().map(|(door, count)| format!("{count} of {door}")).collect();
    writeln!(out, "{} faults, {missed} missed; verdicts: {}", rows.len(), given.join(", "))?;
    if !left_out.is_empty() {
        writeln!(out, "skipped, because the libraries on this host are too new: {}", left_out.join(", "))?;
    }
    if !client {
        writeln!(out, "traces and logs were not tested: python3 has no module nss (python-nss)")?;
    }
    Ok(())
}

fn words(named: Option<&Named>) -> String {
    named.map_or("nothing".to_owned(), Named::to_string)
}
