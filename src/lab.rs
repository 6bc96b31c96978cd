//! `nssight lab`: a bridge and a server on loopback with PKI, database and configuration of their own, healthy or with a
//! fault to order.

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Fault};
use nssight_fixtures::nssdb::DbFormat;
use nssight_probes::Plan;
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::settings::{Overrides, Request};
use tempfile::TempDir;

use crate::cli::{DbFormatOption, LabCommand, OutputOptions};
use crate::worker::Passwords;
use crate::{diagnose, exit};

/// A fault that shows as silence shows sooner than in the field.
const TIMEOUT: Duration = Duration::from_secs(5);

pub(crate) fn run(command: &LabCommand) -> ExitCode {
    let faults = match fault::all() {
        Ok(faults) => faults,
        Err(error) => return inconclusive(error),
    };
    match command {
        LabCommand::List => list(&faults),
        LabCommand::Run { fault, output } => match find(&faults, fault.as_deref()) {
            Ok(fault) => diagnose_once(fault, output).unwrap_or_else(inconclusive),
            Err(unknown) => exit::usage(unknown),
        },
        LabCommand::Up { fault, dir, keep, db_format } => match find(&faults, fault.as_deref()) {
            Ok(fault) => up(fault, dir.clone(), *keep, *db_format).unwrap_or_else(inconclusive),
            Err(unknown) => exit::usage(unknown),
        },
    }
}

fn inconclusive(error: impl std::fmt::Display) -> ExitCode {
    eprintln!("nssight: the lab could not be set up: {error}");
    ExitCode::from(exit::INCONCLUSIVE)
}

/// The fault of this id; without one, the healthy deployment.
fn find<'a>(faults: &'a [Fault], id: Option<&str>) -> Result<&'a Fault, String> {
    let id = id.unwrap_or("healthy");
    let found = faults.iter().find(|fault| fault.id == id);
    found.ok_or_else(|| format!("the lab has no fault \"{id}\"; `nssight lab list` shows them"))
}

fn list(faults: &[Fault]) -> ExitCode {
    let mut out = io::stdout().lock();
    for fault in faults {
        if writeln!(out, "{:<34} {}", fault.id, fault.title).is_err() {
            break;
        }
    }
    ExitCode::SUCCESS
}

/// A directory of the lab's own, which only its owner can read.
pub(crate) fn directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("nssight-lab-").tempdir()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn diagnose_once(fault: &Fault, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let directory = directory()?;
    let lab = Deployment::start(directory.path(), &fault.change, DbFormat::Sql)?;
    let overrides = Overrides::default();
    let plan = Plan::new(None, Vec::new())?;
    let request = Request {
        config: Some(lab.config()),
        overrides: &overrides,
        password: None,
        until: plan.until,
        timeout: TIMEOUT,
        home: None,
    };
    let admin = std::fs::read(lab.admin_password_file())?;
    let passwords = Passwords { database: None, admin: Some(Password::new(PasswordForm::Literal, admin)) };
    Ok(diagnose::walk(&request, passwords, &plan, output, 0))
}

fn up(fault: &Fault, dir: Option<PathBuf>, keep: bool, format: DbFormatOption) -> Result<ExitCode, Failure> {
    let temporary = if dir.is_none() { Some(directory()?) } else { None };
    let path = match (&dir, &temporary) {
        (Some(dir), _) => {
            std::fs::create_dir_all(dir)?;
            dir.canonicalize()?
        }
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err("there is no directory for the lab".into()),
    };
    let format = match format {
        DbFormatOption::Cert9 => DbFormat::Sql,
        DbFormatOption::Cert8 => DbFormat::Dbm,
    };
    let lab = Deployment::start(&path, &fault.change, format)?;
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    println!("{}", fault.title);
    println!(
        "try:  nssight diagnose -c {} --admin-password-file {}",
        lab.config().display(),
        lab.admin_password_file().display()
    );
    println!("Ctrl-C ends the lab");
    io::stdout().flush()?;
    let _ = signals.forever().next();
    drop(lab);
    if let Some(temporary) = temporary.filter(|_| keep) {
        println!("kept: {}", temporary.keep().display());
    }
    Ok(ExitCode::SUCCESS)
}
