//! Targets files, the results of `nssight check` for them, and its processes.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use super::{Case, NICKNAME, PKI, Run, binary, run};

pub fn endpoint(behaviour: Behaviour) -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca).behaving(behaviour)).unwrap()
}

pub fn silent() -> Endpoint {
    endpoint(Behaviour::Answer(Vec::new(), Leave::Stall))
}

/// A directory with a database and its password, and a targets file that uses both.
pub struct Fleet {
    pub case: Case,
    pub text: String,
}

impl Fleet {
    pub fn new() -> Self {
        Self::of(DbFormat::Sql)
    }

    pub fn of(format: DbFormat) -> Self {
        let case = Case::new();
        case.database(format);
        case.password_file();
        let kind = if format == DbFormat::Sql { "sql" } else { "dbm" };
        let text =
            format!("[defaults]\ndb = '{kind}:db'\nnickname = '{NICKNAME}'\npassword-file = 'pw'\ntimeout = 5\n");
        Self { case, text }
    }

    pub fn target(mut self, name: &str, port: u16, more: &str) -> Self {
        let name = Value::from(name);
        self.text += &format!("[[target]]\nname = {name}\nbridge = 'localhost:{port}'\n{more}\n");
        self
    }

    pub fn command(&self) -> Command {
        let file = self.case.file("targets.toml", &self.text);
        let mut command = binary();
        command.arg("check").arg(file);
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Run {
        run(self.command().args(arguments))
    }

    pub fn document(&self, arguments: &[&str]) -> (Document, Option<i32>) {
        let run = self.run(&[&["--format", "json"], arguments].concat());
        (Document(run.report()), run.code)
    }
}

pub struct Document(pub Value);

impl Document {
    pub fn target(&self, name: &str) -> &Value {
        let targets = self.0["targets"].as_array().unwrap();
        targets.iter().find(|target| target["target"] == name).unwrap_or_else(|| panic!("{name} in {:#}", self.0))
    }

    /// Status, layer and cause.
    pub fn verdict(&self, name: &str) -> [&str; 3] {
        let verdict = &self.target(name)["report"]["verdict"];
        ["status", "layer", "cause"].map(|key| verdict[key].as_str().unwrap_or("-"))
    }

    pub fn count(&self, what: &str) -> u64 {
        self.0["summary"][what].as_u64().unwrap()
    }
}

pub fn wait_for(mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < patience, "nothing happened");
        thread::sleep(Duration::from_millis(3));
    }
}

/// Processes that any thread of this process has started and that still run.
pub fn workers(parent: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

pub fn lives(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

pub fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Ends with the test, however the test ends.
pub struct Running(pub Child);

impl Running {
    pub fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    pub fn id(&self) -> u32 {
        self.0.id()
    }

    pub fn lines(&mut self) -> impl Iterator<Item = Value> + use<> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    pub fn code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
