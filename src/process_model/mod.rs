//! `nssight process-model`: does NSS behave differently in a thread, after a fork, in a fresh process?

mod channels;
mod conclusions;
mod context;
mod matrix;
mod model;
pub(crate) mod run;
mod table;

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget};
use nssight_diagnosis::Layer;
use nssight_nss::library;
use nssight_nss::process::die_with_us;
use nssight_probes::Target;
use nssight_probes::secret::Password;
use nssight_reports::terminal;
use nssight_runner::{lines, passwords, worker};
use zeroize::Zeroizing;

pub(crate) use matrix::Matrix as MatrixDocument;

use crate::cli::{ProcessModelOptions, TableFormat};
use crate::models::Model;
use crate::settings::{self, Wanted};
use crate::{exit, others};
use matrix::{Matrix, Row};
use model::{Ending, Line, Task};

/// A child that has not finished by then hangs; a healthy one takes a tenth of a second.
const PATIENCE: Duration = Duration::from_secs(2);
/// The test process itself may be silent for this much longer.
const GRACE: Duration = Duration::from_secs(3);
/// Total time limit of the test process, whatever it reports.
const AT_MOST: Duration = Duration::from_secs(15);
/// Time limit for one layer on the network.
const LAYER: Duration = Duration::from_secs(5);
/// Time between two connections: a serial bridge takes the next client only after it has finished with the last one.
const PAUSE: Duration = Duration::from_secs(1);
/// Number of children for models with a race.
const REPEATS: u32 = 50;
/// Maximum length of a line of the test process.
const LINE_AT_MOST: u64 = 64 * 1024;

/// The input of all models.
struct Subject {
    database: OsString,
    nickname: Option<String>,
    password: Option<Zeroizing<Vec<u8>>>,
    /// Target of the handshakes, if requested.
    network: Option<Target>,
}

pub(crate) fn run(options: &ProcessModelOptions) -> ExitCode {
    worker::protect();
    let mut subject = match subject(options) {
        Ok(subject) => subject,
        Err(code) => return code,
    };
    let database = subject.subject.database.clone();
    let opened = match others::open_for_others(&database, subject.load_modules) {
        Ok(opened) => opened,
        Err(code) => return code,
    };
    opened.argument().clone_into(&mut subject.subject.database);
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let wanted = |model: &&Model| options.only.is_empty() || options.only.contains(model);
    let models = || Model::ALL.iter().filter(wanted);
    let mut trials: Vec<(Binding<'_>, Model)> = models().map(|model| (Binding::C, *model)).collect();
    if let Some(python) = &options.python {
        // python-nss has no SECMOD_RestartModules.
        let models = models().filter(|model| **model != Model::ForkRestartModules);
        trials.extend(models.map(|model| (Binding::Python(python), *model)));
    }
    let connecting = |binding, model: Model| {
        matches!(binding, Binding::C) && model != Model::ForkWhileBusy && subject.subject.network.is_some()
    };
    let connections = trials.iter().filter(|(binding, model)| connecting(*binding, *model)).count();
    if connections > 0 {
        terminal::say(format_args!(
            "{connections} connections will be opened, one after another, {} s apart",
            PAUSE.as_secs()
        ));
    }
    let bar = ProgressBar::with_draw_target(Some(trials.len() as u64), ProgressDrawTarget::stderr());
    let mut rows = Vec::new();
    for (binding, model) in trials {
        let mut row = match attempt(binding, model, &subject.subject) {
            Ok(row) => row,
            Err(error) => return untried(&error),
        };
        if connecting(binding, model) {
            thread::sleep(PAUSE);
            // A connection that broke may have been the last stale one that the bridge had to use up.
            if row.transport_trouble().is_some() {
                bar.suspend(|| {
                    terminal::say(format_args!(
                        "\"{}\" did not reach the peer, so nssight tries it again with one more connection",
                        model.title()
                    ));
                });
                row = match attempt(binding, model, &subject.subject) {
                    Ok(row) => row,
                    Err(error) => return untried(&error),
                };
                thread::sleep(PAUSE);
            }
        }
        rows.push(row);
        bar.inc(1);
    }
    bar.finish_and_clear();
    let channels = match (&subject.source, options.password_channels) {
        (Some(given), true) => {
            match channels::try_all(&subject.subject, given, options.password.password_file.as_deref()) {
                Ok(channels) => channels,
                Err(error) => return untried(&error),
            }
        }
        (None, true) => return exit::usage("--password-channels needs a password: name its source"),
        (_, false) => Vec::new(),
    };
    let Given { subject, source, .. } = subject;
    let form = source.map(|source| source.form);
    let database = database.to_string_lossy().into_owned();
    let matrix = Matrix::new(library::nss_version(), database, subject.nickname, rows, channels, form);
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&matrix),
        TableFormat::Human => terminal::output(|out| table::write(out, &matrix, options.output.verbose)),
    };
    let fresh_fails = matrix.conclusions.iter().any(|conclusion| conclusion.cause.is_none());
    let left_open = matrix.models.iter().any(|row| row.transport_trouble().is_some());
    match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if left_open => ExitCode::from(exit::INCONCLUSIVE),
        Ok(()) if fresh_fails => ExitCode::from(exit::FAILED),
        Ok(()) if options.strict && !matrix.conclusions.is_empty() => ExitCode::from(exit::FAILED),
        Ok(()) => ExitCode::from(exit::PASSED),
    }
}

/// The subject, and its password as given.
struct Given {
    subject: Subject,
    source: Option<Password>,
    load_modules: bool,
}

fn untried(error: &io::Error) -> ExitCode {
    terminal::say(format_args!("cannot test the process models: {error}"));
    ExitCode::from(exit::INCONCLUSIVE)
}

fn subject(options: &ProcessModelOptions) -> Result<Given, ExitCode> {
    let (config, overrides) = (options.config.as_deref(), options.overrides());
    let until = if options.connect { Layer::InnerHandshake } else { Layer::PrivateKey };
    let wanted = Wanted { config, overrides: &overrides, password: &options.password, until, timeout: LAYER };
    let (settings, password) = settings::load_or_ask(wanted).map_err(exit::usage)?;
    let target = settings.target.as_ref().map_err(|trouble| exit::usage(&trouble.summary))?;
    if target.files().is_some() {
        return Err(exit::usage("the process models need an NSS database: give --db"));
    }
    let subject = Subject {
        database: target.argument().to_owned(),
        nickname: target.nickname().map(|nickname| nickname.value.clone()),
        password: password.as_ref().and_then(passwords::bytes),
        network: options.connect.then(|| target.clone()),
    };
    Ok(Given { subject, source: password, load_modules: target.load_modules })
}

/// How NSS is called.
#[derive(Clone, Copy)]
enum Binding<'a> {
    C,
    /// python-nss in this interpreter.
    Python(&'a Path),
}

impl Binding<'_> {
    fn name(self) -> &'static str {
        match self {
            Self::C => "c",
            Self::Python(_) => "python",
        }
    }

    fn command(self) -> Command {
        match self {
            Self::C => {
                let mut command = Command::new("/proc/self/exe");
                command.arg0("nssight").arg("model");
                command
            }
            Self::Python(python) => {
                let mut command = Command::new(python);
                command.args(["-c", include_str!("models.py")]);
                command
            }
        }
    }
}

/// Tests one model in a separate process. If it takes too long, it is killed with all processes that it started.
fn attempt(binding: Binding<'_>, model: Model, subject: &Subject) -> io::Result<Row> {
    // Two handshakes have five layers, each with its own deadline.
    let network = if subject.network.is_some() { LAYER * 5 } else { Duration::ZERO };
    let mut command = binding.command();
    command.process_group(0).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_us(&mut command);
    let mut child = command.spawn()?;
    let task = Task {
        model,
        database: subject.database.clone(),
        nickname: subject.nickname.clone(),
        password: subject.password.as_ref().map(|password| password.len()),
        patience_ms: u64::try_from((PATIENCE + network).as_millis()).unwrap_or(u64::MAX),
        repeats: REPEATS,
        network: subject.network.clone(),
    };
    if let Some(mut stdin) = child.stdin.take() {
        let password = subject.password.as_ref().map(|password| password.as_slice()).unwrap_or_default();
        // If the process died before it read its task, the code below reports how it died.
        let _ = worker::write_task(&mut stdin, &task).and_then(|()| stdin.write_all(password));
    }
    let said = child.stderr.take().and_then(|stderr| thread::Builder::new().spawn(move || last_line(stderr)).ok());
    let (lines, hung) = listen(&mut child, network);
    if hung && let Some(group) = rustix::process::Pid::from_raw(child.id().cast_signed()) {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let status = child.wait()?;
    let ending = status.signal().map(Ending::Signal).or(status.code().map(Ending::Code));
    let mut row = Row::of(binding.name(), model, &lines, hung, ending);
    if let (Some(trouble), Some(said)) = (&mut row.trouble, said.and_then(|said| said.join().ok()).flatten()) {
        trouble.push_str(": ");
        trouble.push_str(&said);
    }
    Ok(row)
}

/// The last line of a process's standard error; the rest is read too, so that the process never blocks.
fn last_line(stderr: impl Read) -> Option<String> {
    let mut last = None;
    for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok).filter(|line| !line.is_empty()) {
        last = Some(String::from_utf8_lossy(&line[..line.len().min(300)]).into_owned());
    }
    last
}

/// All lines of the test process, and whether it had to be killed.
fn listen(child: &mut Child, network: Duration) -> (Vec<Line>, bool) {
    let Some(stdout) = child.stdout.take() else { return (Vec::new(), true) };
    let Ok(receiver) = lines::receive(stdout, LINE_AT_MOST) else { return (Vec::new(), true) };
    let deadline = Instant::now() + AT_MOST + network;
    let mut lines = Vec::new();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        match receiver.recv_timeout(left.min(PATIENCE + GRACE + network)) {
            Ok(line) => {
                let over = matches!(line, Line::Over);
                lines.push(line);
                if over {
                    return (lines, false);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return (lines, false),
            Err(RecvTimeoutError::Timeout) => return (lines, true),
        }
    }
}
