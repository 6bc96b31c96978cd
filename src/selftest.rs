//! `nssight selftest`: orders every fault of the lab and compares the verdicts with those that it must get.

use std::fmt;
use std::io::{self, Write};
use std::process::{ExitCode, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use nssight_diagnosis::Verdict;
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Fault};
use nssight_fixtures::nssdb::DbFormat;
use nssight_probes::Report;
use nssight_reports::terminal;
use serde::Serialize;

use crate::cli::{SelftestOptions, TableFormat};
use crate::{exit, lab};

/// A layer that hangs in the lab hangs for good; nothing healthy on loopback takes this long.
const TIMEOUT: &str = "3";

/// What a verdict says; neither layer, cause nor component for a pass.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
struct Named {
    layer: Option<String>,
    cause: Option<String>,
    component: Option<String>,
    confidence: String,
}

impl From<&Fault> for Named {
    fn from(fault: &Fault) -> Self {
        Self {
            layer: fault.layer.clone(),
            cause: fault.cause.clone(),
            component: fault.component.clone(),
            confidence: fault.confidence.clone(),
        }
    }
}

impl From<&Verdict> for Named {
    fn from(verdict: &Verdict) -> Self {
        Self {
            layer: verdict.layer.map(|layer| layer.to_string()),
            cause: verdict.cause.map(|cause| cause.id().to_owned()),
            component: verdict.component.map(|component| component.to_string()),
            confidence: verdict.confidence.to_string(),
        }
    }
}

impl fmt::Display for Named {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.layer, &self.cause, &self.component) {
            (Some(layer), Some(cause), Some(component)) => {
                write!(f, "{layer} {cause} {component} {}", self.confidence)
            }
            _ => write!(f, "pass {}", self.confidence),
        }
    }
}

/// How one fault came out.
#[derive(Serialize)]
struct Row {
    id: String,
    title: String,
    expected: Named,
    given: Named,
    ok: bool,
    duration_ms: u64,
    /// Why there is no verdict, or one connection too many.
    trouble: Option<String>,
}

#[derive(Serialize)]
struct Outcome {
    schema: &'static str,
    faults: Vec<Row>,
}

pub(crate) fn run(options: &SelftestOptions) -> ExitCode {
    let faults = match fault::all() {
        Ok(faults) => faults,
        Err(error) => return exit::usage(error),
    };
    let faults: Vec<Fault> =
        faults.into_iter().filter(|fault| options.only.is_empty() || options.only.contains(&fault.id)).collect();
    if faults.is_empty() {
        return exit::usage("no fault of the lab has that id; `nssight lab list` shows them");
    }
    let bar = ProgressBar::with_draw_target(Some(faults.len() as u64), ProgressDrawTarget::stderr());
    let rows = in_parallel(&faults, || bar.inc(1));
    bar.finish_and_clear();
    let missed = rows.iter().filter(|row| !row.ok).count();
    let written = match options.format {
        TableFormat::Json => json(rows),
        TableFormat::Human => table(&rows, missed),
    };
    match written {
        Ok(()) if missed == 0 => ExitCode::from(exit::PASSED),
        _ => ExitCode::from(exit::FAILED),
    }
}

/// Within the cores of this machine; the order of the rows is that of the faults.
fn in_parallel(faults: &[Fault], done: impl Fn() + Sync) -> Vec<Row> {
    let next = AtomicUsize::new(0);
    let rows: Mutex<Vec<(usize, Row)>> = Mutex::new(Vec::new());
    let workers = thread::available_parallelism().map_or(2, usize::from);
    let work = || {
        while let Some((index, fault)) = {
            let index = next.fetch_add(1, Ordering::SeqCst);
            faults.get(index).map(|fault| (index, fault))
        } {
            let row = try_one(fault);
            rows.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((index, row));
            done();
        }
    };
    thread::scope(|scope| {
        // Where no more threads are to be had, this one does what is left.
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

fn try_one(fault: &Fault) -> Row {
    let started = Instant::now();
    let expected = Named::from(fault);
    let (given, trouble) = match diagnose(fault) {
        Ok((given, trouble)) => (given, trouble),
        Err(error) => (Named::default(), Some(error.to_string())),
    };
    let ok = given == expected && trouble.is_none();
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Row { id: fault.id.clone(), title: fault.title.clone(), expected, given, ok, duration_ms, trouble }
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn diagnose(fault: &Fault) -> Result<(Named, Option<String>), Failure> {
    let directory = lab::directory()?;
    let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql)?;
    let mut command = lab::diagnosis(&deployment, fault.environment.clone());
    command.args(["--format", "json", "--timeout", TIMEOUT]).args(&fault.flags);
    let output = command.stdin(Stdio::null()).output()?;
    let report: Report = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let given = Named::from(&report.verdict);
    let reached = deployment.connections();
    let counted = usize::try_from(report.connections_opened)?;
    // What waits in a queue that nobody takes from was opened all the same.
    let trouble = (reached > counted || counted > 1)
        .then(|| format!("{reached} connections reached the bridge, the report says {counted}"));
    Ok((given, trouble))
}

fn json(faults: Vec<Row>) -> io::Result<()> {
    let mut out = terminal::stdout(terminal::Kind::Json);
    serde_json::to_writer_pretty(&mut out, &Outcome { schema: "nssight/selftest/1", faults })?;
    writeln!(out)
}

fn table(rows: &[Row], missed: usize) -> io::Result<()> {
    let mut out = terminal::stdout(terminal::Kind::Text);
    for row in rows {
        let sign = if row.ok { "✓" } else { "✗" };
        let took = Duration::from_millis(row.duration_ms).as_secs_f64();
        writeln!(out, "{sign} {:<34} {took:>5.1} s  {}", row.id, row.expected)?;
        if !row.ok {
            let trouble = row.trouble.as_deref().unwrap_or_default();
            writeln!(out, "  {:<34}          given: {} {trouble}", "", row.given)?;
        }
    }
    writeln!(out, "{} faults, {missed} missed", rows.len())
}
