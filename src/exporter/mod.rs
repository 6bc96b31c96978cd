//! `nssight exporter`: serves metrics and reports of checks over HTTP.

mod classic;
mod figures;
mod health;
mod history;
mod hosts;
mod http;
mod log;
mod negotiation;
mod page;
mod patience;
mod routes;
mod store;
mod walked;
mod walks;
mod web;

use std::fs::File;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use nssight_reports::terminal;
use nssight_runner::targets::{TargetsFile, jobs_by_default};
use nssight_runner::{copies, worker};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::cli::ExporterOptions;
use crate::exit;
use figures::Figures;
use hosts::Hosts;
use http::Connections;
pub(crate) use log::{LogFormat, LogLevel};
use store::Store;
use walks::Walks;
use web::{Front, Web};

/// After a signal, running checks have this time to end by themselves;
const GRACE: Duration = Duration::from_millis(2500);
/// killed processes have this time to disappear;
const KILL_GRACE: Duration = Duration::from_millis(1500);
/// clients have this time to read their answers.
const DRAIN_TIME: Duration = Duration::from_millis(500);
/// More descriptors than the runtime, its signals, the listener and a pipe to the checks use.
const FILES: usize = 16;

pub(crate) fn run(options: &ExporterOptions) -> ExitCode {
    if options.healthcheck {
        return health::ask(options.listen, options.web_config.as_deref());
    }
    worker::protect();
    let Some(file) = options.targets.as_deref() else { return exit::usage("the targets file is missing") };
    let targets = TargetsFile::load(file);
    let web = options.web_config.as_deref().map_or_else(|| Ok(Web::default()), Web::load);
    let (targets, web) = match (targets, web) {
        (Ok(targets), Ok(web)) => (targets, web),
        (Err(error), Ok(_)) | (Ok(_), Err(error)) => return exit::usage(error),
        (Err(error), Err(other)) => {
            terminal::say(error);
            return exit::usage(other);
        }
    };
    if options.check_config {
        return said(file, &targets, options.web_config.as_deref().map(|path| (path, &web)));
    }
    log::start(options.log_level, options.log_format);
    match serve(options, file, targets, web) {
        Ok(()) => ExitCode::from(exit::PASSED),
        Err(error) => exit::failed(&error),
    }
}

/// Prints a summary of the files.
fn said(file: &Path, targets: &TargetsFile, web: Option<(&Path, &Web)>) -> ExitCode {
    let targets = match targets.targets.len() {
        1 => "1 target".to_owned(),
        count => format!("{count} targets"),
    };
    let lines = [Some(format!("{}: {targets}", file.display()))]
        .into_iter()
        .chain([web.map(|(path, web)| format!("{}: {}", path.display(), web.in_words()))]);
    match lines.flatten().try_for_each(terminal::line) {
        Ok(()) => ExitCode::from(exit::PASSED),
        Err(error) => exit::not_written(&error),
    }
}

fn serve(options: &ExporterOptions, file: &Path, targets: TargetsFile, web: Web) -> io::Result<()> {
    // A write beyond the file size limit (setrlimit(2)) must fail like a write to a full disk, and not kill the process.
    signal_hook::flag::register(signal_hook::consts::SIGXFSZ, Arc::new(AtomicBool::new(false)))?;
    copies::clear_on_signals(&[copies::QUIT])?;
    let figures = Arc::new(Figures::new());
    let store = match &options.state {
        Some(directory) => {
            let opened = Store::open(directory, figures.clone());
            Some(opened.map_err(|error| io::Error::other(format!("{}: {error}", directory.display())))?)
        }
        None => None,
    };
    reserve()?;
    let jobs = options.jobs.unwrap_or_else(|| u32::try_from(jobs_by_default()).unwrap_or(1));
    // Checks, and all work that may wait for a file, run in separate threads; the remaining work never blocks.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let (close, closing) = watch::channel(false);
    let walks = Walks::new(options.cache, jobs, store, figures.clone(), closing.clone())?;
    walks.set_targets(targets.targets);
    let result = runtime.block_on(async {
        // A caller that learns the address may send a signal at once.
        let mut signals = Signals::new()?;
        let front = Front::new(options.web_config.as_deref(), web);
        let listener = listen(options.listen, &front.current()).await?;
        let hosts = Hosts::new(listener.local_addr()?, &options.allow_host);
        let app = web::guard(front.clone(), routes::router(walks.clone(), figures.clone()));
        let (app, connections) = (hosts::only(hosts, app), Connections::new(figures.clone()));
        let serving = tokio::spawn(http::serve(listener, app, connections, front.clone(), closing));
        tokio::spawn(front.clone().watch_files());
        // A file system may not respond; signals are handled meanwhile.
        let mut reloading = None;
        loop {
            match (signals.next().await, &reloading) {
                (SignalRequest::End, _) => break,
                (SignalRequest::Reload, Some(running)) if !JoinHandle::is_finished(running) => {
                    log::info(format_args!("{} is still being read", file.display()));
                }
                (SignalRequest::Reload, _) => {
                    let (file, walks, figures, front) =
                        (file.to_owned(), walks.clone(), figures.clone(), front.clone());
                    reloading = Some(tokio::spawn(async move {
                        reload(&file, &walks, &figures).await;
                        front.reload().await;
                    }));
                }
            }
        }
        log::info(format_args!("ending"));
        let _ = close.send(true);
        walks.finish(GRACE, KILL_GRACE).await;
        let _ = tokio::time::timeout(DRAIN_TIME, serving).await;
        Ok(())
    });
    // Any task that still runs has used up its time.
    runtime.shutdown_background();
    copies::clear_before_the_end();
    result
}

/// Checks that the files needed for the start can be opened: if the runtime gets no descriptor for its signals, it panics without an error.
fn reserve() -> io::Result<()> {
    (0..FILES).map(|_| File::open("/dev/null")).collect::<io::Result<Vec<_>>>().map(drop)
}

async fn listen(address: SocketAddr, web: &Web) -> io::Result<TcpListener> {
    let failed = |error| io::Error::other(format!("cannot listen on {address}: {error}"));
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let address = listener.local_addr()?;
    let scheme = if web.tls.is_some() { "https" } else { "http" };
    log::info(format_args!("listening on {scheme}://{address}"));
    if !address.ip().is_loopback() && web.is_open() {
        log::warn(format_args!(
            "anyone who can reach {address} can read reports; use --web-config to require passwords or certificates"
        ));
    }
    if !address.ip().is_loopback() && web.shows_passwords() {
        log::warn(format_args!("passwords are sent to {address} without TLS"));
    }
    Ok(listener)
}

async fn reload(file: &Path, walks: &Arc<Walks>, figures: &Figures) {
    let (path, taken_by) = (file.to_owned(), walks.clone());
    let read = tokio::task::spawn_blocking(move || {
        let targets = TargetsFile::load(&path)?.targets;
        let count = targets.len();
        taken_by.set_targets(targets);
        Ok::<usize, String>(count)
    });
    match read.await {
        Ok(Ok(count)) => log::info(format_args!("reloaded the targets file {}: {count} targets", file.display())),
        Ok(Err(error)) => {
            figures.not_reloaded();
            log::warn(format_args!("the targets remain unchanged: {error}"));
        }
        Err(error) => log::warn(format_args!("the targets remain unchanged: {error}")),
    }
}

/// The action that a signal requests.
#[derive(PartialEq, Eq)]
enum SignalRequest {
    Reload,
    End,
}

struct Signals {
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn next(&mut self) -> SignalRequest {
        tokio::select! {
            _ = self.terminate.recv() => SignalRequest::End,
            _ = self.interrupt.recv() => SignalRequest::End,
            _ = self.hangup.recv() => SignalRequest::Reload,
        }
    }
}
