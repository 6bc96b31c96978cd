//! `nssight lab`: starts a bridge and a server on loopback with their own PKI, databases and configurations, healthy or
//! with a fault.

use std::collections::BTreeMap;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use nssight_diagnosis::shell;
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Change, Door, Fault, Named, Target};
use nssight_fixtures::nssdb::DbFormat;
use schemars::JsonSchema;
use serde::Serialize;
use tempfile::TempDir;

use crate::cli::{DbFormatOption, LabCommand, LabProfile, OutputOptions, TableFormat};
use crate::exit;
use nssight_reports::terminal;

/// In seconds, shorter than in the field, so that a fault that causes silence shows sooner.
const TIMEOUT: &str = "5";

pub(crate) fn run(command: LabCommand) -> ExitCode {
    let faults = match fault::all() {
        Ok(faults) => faults,
        Err(error) => return inconclusive(error),
    };
    match command {
        LabCommand::List { profile, format } => list(&faults, profile, format),
        LabCommand::Run { faults: ids, profile, output } => match Order::new(&faults, &ids, profile) {
            Ok(order) => diagnose_once(&order, &output).unwrap_or_else(inconclusive),
            Err(trouble) => exit::usage(trouble),
        },
        LabCommand::Up { faults: ids, profile, dir, keep, db_format } => match Order::new(&faults, &ids, profile) {
            Ok(order) => up(&order, dir, keep, db_format).unwrap_or_else(inconclusive),
            Err(trouble) => exit::usage(trouble),
        },
    }
}

fn inconclusive(error: impl std::fmt::Display) -> ExitCode {
    terminal::say(format_args!("cannot set up the lab: {error}"));
    ExitCode::from(exit::INCONCLUSIVE)
}

/// The injected faults.
struct Order {
    titles: Vec<String>,
    change: Change,
    /// Command-line options for nssight.
    flags: Vec<String>,
    /// Environment variables for nssight.
    environment: BTreeMap<String, String>,
}

impl Order {
    /// The faults with these ids, together; a healthy setup if there are none.
    fn new(all: &[Fault], ids: &[String], profile: LabProfile) -> Result<Self, String> {
        let healthy = match profile {
            LabProfile::Sigul => "healthy",
            LabProfile::Siguldry => "siguldry-healthy",
            LabProfile::Tls => "files-well",
        };
        let healthy = [healthy.to_owned()];
        let ids = if ids.is_empty() { &healthy[..] } else { ids };
        let find = |id: &String| {
            let found = all.iter().find(|fault| fault.id == *id);
            found.ok_or_else(|| format!("the lab has no fault \"{id}\"; `nssight lab list` lists all faults"))
        };
        let ordered = ids.iter().map(find).collect::<Result<Vec<&Fault>, String>>()?;
        // Under the default profile, the faults themselves determine what is set up.
        if profile != LabProfile::Sigul
            && let Some(other) = ordered.iter().find(|fault| !is_of(fault, profile))
        {
            let (own, asked) = (profile_of(other), profile);
            let list = format!("`nssight lab list --profile {}` lists the faults of {}", asked.word(), asked.title());
            return Err(format!("\"{}\" is a fault of {}; {list}", other.id, own.title()));
        }
        Ok(Self {
            titles: ordered.iter().map(|fault| fault.title.clone()).collect(),
            change: fault::combine(&ordered).map_err(|conflict| conflict.to_string())?,
            flags: ordered.iter().flat_map(|fault| fault.flags.clone()).collect(),
            environment: ordered.iter().flat_map(|fault| fault.environment.clone()).collect(),
        })
    }
}

/// The profile that supports a fault: outside a deployment it is a TLS server.
fn profile_of(fault: &Fault) -> LabProfile {
    match fault.change.target {
        Target::Deployment => LabProfile::Sigul,
        Target::Siguldry => LabProfile::Siguldry,
        Target::Plain | Target::Files | Target::Serving | Target::ServingFiles => LabProfile::Tls,
    }
}

/// Whether this profile supports a fault.
fn is_of(fault: &Fault, profile: LabProfile) -> bool {
    profile_of(fault) == profile
}

/// The faults that the lab can inject, schema `nssight/lab-list/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct FaultsDocument {
    schema: &'static str,
    faults: Vec<ListedFault>,
}

#[derive(Serialize, JsonSchema)]
struct ListedFault {
    fault: String,
    title: String,
    /// The lab profile that has the fault: sigul, siguldry or tls.
    profile: &'static str,
    /// The verdict that `nssight diagnose` must give.
    verdict: Option<Named>,
}

fn list(faults: &[Fault], profile: Option<LabProfile>, format: TableFormat) -> ExitCode {
    let listed = faults.iter().filter(|fault| profile.is_none_or(|profile| is_of(fault, profile)));
    exit::written(match format {
        TableFormat::Human => {
            let rows: Vec<_> = listed.map(|fault| ([fault.id.as_str()], fault.title.clone())).collect();
            terminal::output(|out| terminal::list(out, &rows))
        }
        TableFormat::Json => {
            let faults = listed.map(|fault| ListedFault {
                fault: fault.id.clone(),
                title: fault.title.clone(),
                profile: profile_of(fault).word(),
                verdict: fault.must(Door::Diagnose),
            });
            terminal::json(&FaultsDocument { schema: "nssight/lab-list/1", faults: faults.collect() })
        }
    })
}

/// A directory for the lab alone, readable only by its owner.
pub(crate) fn directory() -> io::Result<TempDir> {
    tempfile::Builder::new().prefix("nssight-lab-").tempdir()
}

type Failure = Box<dyn std::error::Error + Send + Sync>;

fn diagnose_once(order: &Order, output: &OutputOptions) -> Result<ExitCode, Failure> {
    let directory = directory()?;
    let lab = Deployment::start(directory.path(), &order.change, DbFormat::Sql)?;
    let mut command = diagnosis(&lab, order.environment.clone());
    command.args(["--timeout", TIMEOUT]).args(&order.flags).args(output.words());
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(exit::INCONCLUSIVE)))
}

/// A diagnosis of the deployment in a separate process: some faults belong to another user or another environment.
pub(crate) fn diagnosis(lab: &Deployment, environment: BTreeMap<String, String>) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.arg("diagnose").args(lab.words());
    command.env_remove("NSS_DEFAULT_DB_TYPE").envs(environment);
    if let Some(user) = lab.run_as() {
        command.uid(user).gid(user);
    }
    command
}

fn up(order: &Order, dir: Option<PathBuf>, keep: bool, format: DbFormatOption) -> Result<ExitCode, Failure> {
    let temporary = if dir.is_none() { Some(directory()?) } else { None };
    let path = match (&dir, &temporary) {
        (Some(dir), _) => {
            std::fs::create_dir_all(dir)?;
            let dir = dir.canonicalize()?;
            own(&dir)?;
            Deployment::clear(&dir, &order.change)?;
            dir
        }
        (None, Some(temporary)) => temporary.path().to_owned(),
        (None, None) => return Err("found no directory for the lab".into()),
    };
    let format = match format {
        DbFormatOption::Cert9 => DbFormat::Sql,
        DbFormatOption::Cert8 => DbFormat::Dbm,
    };
    let lab = Deployment::start_with_hosts(&path, &order.change, format)?;
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM])?;
    for title in &order.titles {
        terminal::line(title)?;
    }
    terminal::line(format_args!("try:  {}", line(&lab, order)))?;
    terminal::line("Ctrl-C ends the lab")?;
    let _ = signals.forever().next();
    drop(lab);
    if let Some(temporary) = temporary.filter(|_| keep) {
        terminal::line(format_args!("kept: {}", temporary.keep().display()))?;
    }
    Ok(ExitCode::SUCCESS)
}

/// This file marks a directory that the lab has filled before.
const MARKER: &str = ".nssight-lab";

/// Takes a directory whose content the lab may overwrite: it is empty, or an earlier lab has filled it.
fn own(dir: &Path) -> Result<(), Failure> {
    let marker = dir.join(MARKER);
    let known = std::fs::symlink_metadata(&marker).is_ok_and(|marker| marker.is_file());
    if !known && std::fs::read_dir(dir)?.next().is_some() {
        let text = format!("{} is not empty, and the lab did not create it; name another directory", dir.display());
        return Err(text.into());
    }
    // The lab must not follow a link that someone else has placed in the directory since then.
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_symlink() {
            return Err(format!("{} is a symbolic link, and the lab follows no links", entry.path().display()).into());
        }
    }
    Ok(std::fs::write(marker, "made by nssight lab\n")?)
}

/// The command line that diagnoses a running lab.
fn line(lab: &Deployment, order: &Order) -> String {
    let variables = order.environment.iter().map(|(name, value)| format!("{name}={}", shell::quote(value)));
    let user = lab.run_as().map(|user| format!("setpriv --reuid {user} --regid {user} --clear-groups"));
    let words = lab.words().iter().map(|word| shell::quote(&word.to_string_lossy()));
    let flags = order.flags.iter().map(|flag| shell::quote(flag));
    let command = ["nssight".to_owned(), "diagnose".to_owned()];
    variables.chain(user).chain(command).chain(words).chain(flags).collect::<Vec<_>>().join(" ")
}
