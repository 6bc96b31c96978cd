//! A program, traced and untraced: what it does must be the same, and the report is looked at.

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

/// What a program did, with what differs from run to run made alike.
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
    fn start(fault: &'a Fault) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let deployment = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
        Self { fault, deployment, directory }
    }

    /// Runs a program after the words of `before`.
    fn run(&self, before: &[&str], program: &dyn Fn(&Deployment) -> Vec<String>) -> Behaviour {
        let user = self.deployment.run_as();
        let mut all = program(&self.deployment);
        all.splice(..0, before.iter().map(|word| (*word).to_owned()));
        // Another user may have no way into the checkout.
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
        // Processes write when they like, and a tool that asks the same again and again until it is ended does so a number
        // of times. Whether the double-TLS client's parent finds its pair ended or reset depends on what the child had not
        // read yet when it left: both come untraced, in every fault that the child meets.
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

    /// The same, traced, with the report.
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

/// Each deployment has keys of its own, which certutil names by 40 hexadecimal digits.
fn without_key_ids(text: &str) -> String {
    let words = text.split_inclusive(|letter: char| !letter.is_ascii_hexdigit());
    words.map(|word| if word.len() > 40 { "ID " } else { word }).collect()
}

/// What a program leaves of a deployment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Needs {
    /// It uses up what waits for it there: each run has a deployment of its own.
    Fresh,
    /// It does not touch the bridge.
    Any,
}

/// Traced and untraced, with the report of the trace.
///
/// Client, bridge and server race when one of them leaves, and that may come out in more than one way: some of what the
/// program does untraced must be what it does traced.
///
/// # Errors
/// What it did, where no two of several runs are alike.
pub fn alike(
    fault: &Fault,
    needs: Needs,
    options: &[&str],
    program: impl Fn(&Deployment) -> Vec<String>,
) -> Result<Value, String> {
    let (mut without, mut with) = (Vec::new(), Vec::new());
    while with.len() < 8 {
        let lab = Lab::start(fault);
        let (behaviour, report) = lab.trace(options, &program);
        with.push(behaviour);
        let lab = if needs == Needs::Fresh { Lab::start(fault) } else { lab };
        without.push(lab.run(&[], &program));
        if with.iter().any(|one| without.contains(one)) {
            return Ok(report);
        }
    }
    Err(format!("{}: without {without:#?}, with {with:#?}", fault.id))
}

/// What the configuration of a deployment says, as it stands there.
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

    /// The password in a file beside the configuration, as NSS's tools take it.
    pub fn password_file(&self, deployment: &Deployment) -> String {
        let path = deployment.config().with_file_name("pw");
        std::fs::write(&path, format!("{}\n", self.password)).unwrap();
        readable(&path, 0o644);
        path.to_str().unwrap().to_owned()
    }
}

/// Puts a copy of what belongs to the checkout, the program or a peer, into this directory, and names that.
fn copied(word: &mut String, to: &Path) {
    let program = Path::new(env!("CARGO_BIN_EXE_nssight"));
    let path = PathBuf::from(&*word);
    let copy = to.join(path.file_name().unwrap_or_default());
    if path == program {
        copy_nssight(&copy);
    } else if path.starts_with(concat!(env!("CARGO_MANIFEST_DIR"), "/tests")) {
        // What a peer is made of lies beside it.
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
