//! `nssight clients`: the same handshake, with the same certificate, by every client on this host.

mod attempt;
mod curl;
mod double_tls;
mod keep;
mod openssl;
mod own;
mod pattern;
mod program;
mod python;
mod sigul_v1;
mod table;
mod tstclnt;

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use nssight_diagnosis::Layer;
use nssight_probes::target::{Engine, Files};
use nssight_reports::terminal;
use nssight_runner::{passwords, worker};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{ClientsOptions, TableFormat};
use crate::exit;
use crate::others::{self, Opened};
use crate::settings::{self, Wanted};
pub(crate) use double_tls::SCRIPT as DOUBLE_TLS_CLIENT;
pub(crate) use keep::keep;

use attempt::{Attempt, Job, LISTEN, LONG_REFUSAL_WAIT, Outcome};
use pattern::Pattern;

/// The interpreter of Debian and Fedora; an option names another one.
pub(crate) const PYTHON: &str = "/usr/bin/python3";

/// The document, schema `nssight/clients/1`.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Comparison {
    schema: &'static str,
    pub(crate) peer: String,
    /// Connections opened.
    pub(crate) connections: usize,
    pub(crate) clients: Vec<Attempt>,
    pub(crate) conclusion: Pattern,
}

type Try<'a> = Box<dyn Fn(&Job<'_>) -> io::Result<Attempt> + 'a>;

fn with_database(python: &Path) -> Vec<Try<'_>> {
    vec![
        Box::new(own::attempt),
        Box::new(|job| Ok(openssl::attempt(job))),
        Box::new(|job| tstclnt::attempt(job, None)),
        Box::new(move |job| python::attempt(job, python)),
    ]
}

/// NSS trusts only the CAs that it is given, so it is used only if the user names CAs.
fn with_files<'a>(files: &'a Files, python: &'a Path) -> Vec<Try<'a>> {
    let mut clients: Vec<Try<'a>> = vec![Box::new(|job| own::with_files(job, files, Engine::Openssl))];
    if files.authorities.is_some() || files.directory.is_some() {
        clients.push(Box::new(|job| own::with_files(job, files, Engine::Nss)));
    }
    clients.push(Box::new(move |job| python::ssl(job, python, files)));
    clients.push(Box::new(|job| curl::attempt(job, files)));
    clients
}

pub(crate) fn run(options: &ClientsOptions) -> ExitCode {
    worker::protect();
    let (config, overrides) = (options.config.as_deref(), options.overrides());
    let (password, until, timeout) = (&options.password, Layer::OuterHandshake, options.timeout);
    let loaded = settings::load_or_ask(Wanted { config, overrides: &overrides, password, until, timeout });
    let (settings, password) = match loaded {
        Ok(loaded) => loaded,
        Err(error) => return exit::usage(error),
    };
    let target = match &settings.target {
        Ok(target) => target,
        Err(trouble) => return exit::usage(&trouble.summary),
    };
    if let Some(why) = &target.no_network {
        return exit::usage(why);
    }
    let Some(bridge) = &target.bridge else {
        return exit::usage("no peer to connect to: name one with --bridge");
    };
    let nickname = target.nickname().map(|nickname| nickname.value.as_str());
    let password = password.as_ref().and_then(|password| passwords::bytes_for(password, nickname));
    let opened = match target.files() {
        Some(_) => None,
        None => match others::open_for_others(target.argument(), target.load_modules) {
            Ok(opened) => Some(opened),
            Err(code) => return code,
        },
    };
    let mut job = Job {
        target,
        database: opened.as_ref().map_or(OsStr::new(""), Opened::argument),
        host: &bridge.value.host,
        port: bridge.value.port,
        password: password.as_ref(),
        listen: LISTEN,
        came_to_peer: false,
    };

    let python = options.python.as_deref().unwrap_or(Path::new(PYTHON));
    let mut clients = match target.files() {
        Some(files) => with_files(files, python),
        None => with_database(python),
    };
    if opened.as_ref().is_some_and(Opened::is_copy) && options.admin_password_file.is_some() {
        terminal::say(format_args!(
            "the double-TLS client is skipped: it opens the database itself, but here only a copy may be opened"
        ));
    } else if let (Some(config), Some(admin)) = (&options.config, &options.admin_password_file) {
        clients.push(Box::new(|job| double_tls::attempt(job, python, config, admin)));
    }
    if let Some(admin) = options.admin_password_file.as_ref().filter(|_| target.files().is_none()) {
        let program = options.sigul_v1_client.as_deref().unwrap_or(Path::new(sigul_v1::PROGRAM));
        clients.push(Box::new(|job| sigul_v1::attempt(job, program, admin)));
    }
    if let Some(file) = options.tstclnt_w.as_ref().filter(|_| target.files().is_none()) {
        clients.push(Box::new(|job| tstclnt::attempt(job, Some(file))));
    }
    terminal::say(format_args!(
        "opens up to {} connections to {}, one after another, {} s apart",
        clients.len(),
        bridge.value,
        options.pause.as_secs_f64()
    ));
    let mut attempts: Vec<Attempt> = Vec::new();
    for client in clients {
        if attempts.last().is_some_and(|last| last.connected) {
            // A serial bridge takes the next client only when it has finished with this one and holds its next server. To probe for that
            // would be another connection.
            std::thread::sleep(options.pause);
        }
        let began = Instant::now();
        match client(&job) {
            Ok(mut attempt) => {
                // A late refusal is late for all clients.
                if attempts.is_empty() && attempt.confirmed != Some(true) && attempt.connected {
                    job.listen = LONG_REFUSAL_WAIT.max(began.elapsed());
                }
                job.came_to_peer |= attempt.connected;
                attempt.duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                attempts.push(attempt);
            }
            Err(error) => {
                terminal::say(format_args!("cannot run a client: {error}"));
                return ExitCode::from(exit::INCONCLUSIVE);
            }
        }
    }
    let comparison = Comparison {
        schema: "nssight/clients/1",
        peer: bridge.value.to_string(),
        connections: attempts.iter().filter(|attempt| attempt.connected).count(),
        conclusion: Pattern::of(&attempts),
        clients: attempts,
    };
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&comparison),
        TableFormat::Human => terminal::output(|out| table::write(out, &comparison)),
    };
    let all = comparison.clients.iter().all(|attempt| matches!(attempt.outcome, Outcome::Pass | Outcome::Absent));
    match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if all => ExitCode::from(exit::PASSED),
        Ok(()) => ExitCode::from(exit::FAILED),
    }
}
