//! A program, traced and untraced: its behaviour must be the same, and the report is examined.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Fault;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;
use tempfile::TempDir;

use super::copy_nssight;
use super::lab::{to_its_end, words};

const SEES_A_RESET: &str = "I/O error: (PR_CONNECT_RESET_ERROR) TCP connection reset by peer.";
const SEES_AN_END: &str = "I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.";

/// The behaviour of a program, with values that differ from run to run normalised.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Behaviour {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: Vec<String>,
    pub stderr: Vec<String>,
}

/// A deployment with a fault, and its directory.
struct Lab<'a> {
    fault: &'a Fault,
    deployment: Deployment,
    directory: TempDir,
}

impl<'a> Lab<'a> {
    fn start(fault: &'a Fault, needs: Needs) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let start = match needs {
            Needs::Fresh => Deployment::start,
            Needs::Any => Deployment::start_with_hosts,
        };
        let deployment = start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
        Self { fault, deployment, directory }
    }

    /// Runs a program with the words of `before` prepended.
    fn run(&self, before: &[&str], program: &dyn Fn(&Deployment) -> Vec<String>) -> Behaviour {
        let user = self.deployment.run_as();
        let mut all = program(&self.deployment);
        all.splice(..0, before.iter().map(|word| (*word).to_owned()));
        // Another user may have no access to the checkout.
        let elsewhere = tempfile::tempdir().unwrap();
        if user.is_some() {
            readable(elsewhere.path(), 0o755);
            all.iter_mut().for_each(|word| copied(word, elsewhere.path()));
        }
        let mut command = words(&[], &all);
        command.env_remove("NSS_DEFAULT_DB_TYPE").envs(&self.fault.environment);
        if let Some(user) = user {
            command.uid(user).gid(user);
        }
        let output = to_its_end(command);
        let (directory, port) = (self.directory.path().to_str().unwrap(), Settings::of(&self.deployment).port);
        // The order of output from several processes is arbitrary, and a tool that repeats the same prompt until it is ended prints it a
        // varying number of times. Whether the double-TLS client's parent gets an orderly end or a reset of its pair depends on the data
        // that the child had not read when it ended: both occur untraced, under every fault that the child meets.
        let alike = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace(directory, "DIRECTORY");
            let text = without_key_ids(&text.replace(&port, "PORT").replace(SEES_A_RESET, SEES_AN_END));
            let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
            lines.sort_unstable();
            lines.dedup();
            lines
        };
        let (stdout, stderr) = (alike(&output.stdout), alike(&output.stderr));
        Behaviour { code: output.status.code(), signal: output.status.signal(), stdout, stderr }
    }

    /// As [`Self::run`], traced, with the report.
    fn trace(&self, options: &[&str], program: &dyn Fn(&Deployment) -> Vec<String>) -> (Behaviour, Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        readable(file.path(), 0o666);
        let output = file.path().to_str().unwrap();
        let mut before = vec![env!("CARGO_BIN_EXE_nssight"), "trace", "--format", "json", "--output", output];
        before.extend(options);
        before.push("--");
        let behaviour = self.run(&before, program);
        let text = std::fs::read_to_string(file.path()).unwrap();
        let report = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}: {text}", self.fault.id));
        (behaviour, report)
    }
}

/// Each deployment has its own keys, which certutil identifies by 40 hexadecimal digits.
fn without_key_ids(text: &str) -> String {
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    words.map(|word| if word.len() > 40 { "ID " } else { word }).collect()
}

/// The effect of a program on a deployment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// It uses up the bridge's waiting connections: each run needs a fresh deployment.
    Fresh,
    /// It does not touch the bridge, but may use its database.
    Any,
}

/// Runs a program traced and untraced, and returns the report of the trace.
///
/// Client, bridge and server race when one of them ends, and the result may vary: the behaviour of a traced run must equal that of one of
/// the untraced runs.
///
/// # Errors
/// The behaviours, if no two of several runs are equal.
pub fn alike(
    fault: &Fault,
    needs: Needs,
    options: &[&str],
    program: impl Fn(&Deployment) -> Vec<String>,
) -> Result<Value, String> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    while with.len() < 8 {
        let lab = Lab::start(fault, needs);
        let (behaviour, report) = lab.trace(options, &program);
        with.push(behaviour);
        let lab = if needs == Needs::Fresh { Lab::start(fault, needs) } else { lab };
        without.push(lab.run(&[], &program));
        if with.iter().any(|one| without.contains(one)) {
            return Ok(report);
        }
    }
    Err(format!("{}: without {without:#?}, with {with:#?}", fault.id))
}

/// The settings of a deployment, as written in its configuration.
pub struct Settings {
    pub database: String,
    pub password: String,
    pub nickname: String,
    pub host: String,
    pub port: String,
}

impl Settings {
    pub fn of(deployment: &Deployment) -> Self {
        let text = std::fs::read_to_string(deployment.config()).unwrap();
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(": "));
            line.unwrap_or_default().to_owned()
        };
        Self {
            database: value("nss-dir"),
            password: value("nss-password"),
            nickname: value("client-cert-nickname"),
            host: value("bridge-hostname"),
            port: value("bridge-port"),
        }
    }

    /// The password in a file next to the configuration, in the format of NSS's tools.
    pub fn password_file(&self, deployment: &Deployment) -> String {
        let path = deployment.config().with_file_name("pw");
        std::fs::write(&path, format!("{}\n", self.password)).unwrap();
        readable(&path, 0o644);
        path.to_str().unwrap().to_owned()
    }
}

/// Copies a file of the checkout, the program or a peer, into this directory, and substitutes its path.
fn copied(word: &mut String, to: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_nssight"));
    let path = PathBuf::from(&*word);
    let copy = to.join(path.file_name().unwrap_or_default());
    if path == program {
        copy_nssight(&copy);
    } else if path.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")) {
        // The files of a peer are next to it.
        for entry in path.parent().unwrap().read_dir().unwrap() {
            let entry = entry.unwrap().path();
            if entry.is_file() {
                std::fs::copy(&entry, to.join(entry.file_name().unwrap())).unwrap();
            }
        }
    } else {
        return;
    }
    *word = copy.to_str().unwrap().to_owned();
}

fn readable(path: &Path, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).unwrap();
}
