//! `nssight check`: many targets, each with its own verdict, whatever becomes of the others.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, hold_to_schema, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::fault::{self, Change, Fault};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

fn endpoint(behaviour: Behaviour) -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca).behaving(behaviour)).unwrap()
}

fn silent() -> Endpoint {
    endpoint(Behaviour::Answer(Vec::new(), Leave::Stall))
}

/// A directory with a database and its password, and a file of targets that use both.
struct Fleet {
    case: Case,
    text: String,
}

impl Fleet {
    fn new() -> Self {
        let case = Case::new();
        case.database(DbFormat::Sql);
        case.password_file();
        let text = format!("[defaults]\ndb = 'sql:db'\nnickname = '{NICKNAME}'\npassword-file = 'pw'\ntimeout = 5\n");
        Self { case, text }
    }

    fn target(mut self, name: &str, port: u16, more: &str) -> Self {
        let name = Value::from(name);
        self.text += &format!("[[target]]\nname = {name}\nbridge = 'localhost:{port}'\n{more}\n");
        self
    }

    fn command(&self) -> Command {
        let file = self.case.file("targets.toml", &self.text);
        let mut command = binary();
        command.arg("check").arg(file);
        command
    }

    fn run(&self, arguments: &[&str]) -> Run {
        run(self.command().args(arguments))
    }

    fn document(&self, arguments: &[&str]) -> (Document, Option<i32>) {
        let run = self.run(&[&["--format", "json"], arguments].concat());
        (Document(run.report()), run.code)
    }
}

struct Document(Value);

impl Document {
    fn target(&self, name: &str) -> &Value {
        let targets = self.0["targets"].as_array().unwrap();
        targets.iter().find(|target| target["target"] == name).unwrap_or_else(|| panic!("{name} in {:#}", self.0))
    }

    /// Status, layer and cause.
    fn verdict(&self, name: &str) -> [&str; 3] {
        let verdict = &self.target(name)["report"]["verdict"];
        ["status", "layer", "cause"].map(|key| verdict[key].as_str().unwrap_or("-"))
    }

    fn count(&self, what: &str) -> u64 {
        self.0["summary"][what].as_u64().unwrap()
    }
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(15);
    while !condition() {
        assert!(Instant::now() < patience, "nothing happened");
        thread::sleep(Duration::from_millis(3));
    }
}

/// Processes that any thread of this one has started and that still run.
fn workers(parent: u32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{parent}/task")).into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    lists.flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>()).collect()
}

fn lives(pid: i32) -> bool {
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    !state.is_empty() && !state.contains(") Z ")
}

fn signal(pid: i32, signal: Signal) {
    kill_process(Pid::from_raw(pid).unwrap(), signal).unwrap();
}

/// Ends with the test, however that ends.
struct Running(Child);

impl Running {
    fn start(command: &mut Command) -> Self {
        Self(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap())
    }

    fn id(&self) -> u32 {
        self.0.id()
    }

    fn lines(&mut self) -> impl Iterator<Item = Value> + use<> {
        let lines = BufReader::new(self.0.stdout.take().unwrap()).lines();
        lines.map(|line| serde_json::from_str(&line.unwrap()).unwrap())
    }

    fn code(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A fault of the lab for each cause that needs no flags of its own, all in one run, several at once.
#[test]
fn each_of_many_faults_gets_its_own_verdict() {
    let case = Case::new();
    let mut causes = BTreeSet::new();
    let plain = |fault: &Fault| fault.flags.is_empty() && fault.environment.is_empty();
    let faults = fault::all().unwrap().into_iter().filter(plain);
    let faults: Vec<Fault> = faults.filter(|fault| causes.insert(fault.cause.clone())).collect();
    let mut text = "[defaults]\ntimeout = 3\n".to_owned();
    let mut labs = BTreeMap::new();
    for fault in &faults {
        let directory = case.path(&fault.id);
        fs::create_dir(&directory).unwrap();
        let lab = Deployment::start(&directory, &fault.change, DbFormat::Sql).unwrap();
        if lab.run_as().is_some() {
            continue;
        }
        let admin = lab.admin_password_file().strip_prefix(case.dir.path()).unwrap().display().to_string();
        let config = lab.config().strip_prefix(case.dir.path()).unwrap().display().to_string();
        text += &format!("[[target]]\nname = '{}'\nconfig = '{config}'\nadmin-password-file = '{admin}'\n", fault.id);
        labs.insert(fault.id.as_str(), (fault, lab));
    }
    assert!(labs.len() > 40, "only {} faults", labs.len());
    let file = case.file("targets.toml", text);
    let run = run(binary().args(["check", "--jobs", "6", "--format", "json"]).arg(file));
    let document = Document(run.report());
    let mut wrong = Vec::new();
    for (id, (fault, lab)) in &labs {
        let [status, layer, cause] = document.verdict(id);
        let wanted = [fault.layer.as_deref().unwrap_or("-"), fault.cause.as_deref().unwrap_or("-")];
        if [layer, cause] != wanted || (status == "pass") != fault.cause.is_none() {
            wrong.push(format!("{id}: {status} {layer} {cause} instead of {wanted:?}"));
        }
        if lab.connections() > 1 {
            wrong.push(format!("{id}: {} connections", lab.connections()));
        }
    }
    assert_eq!(wrong, Vec::<String>::new());
    assert_eq!(run.code, Some(1));
    assert_eq!(document.0["targets"].as_array().unwrap().len(), labs.len());
    let order: Vec<&str> =
        document.0["targets"].as_array().unwrap().iter().map(|t| t["target"].as_str().unwrap()).collect();
    let written: Vec<&str> = faults.iter().map(|f| f.id.as_str()).filter(|id| labs.contains_key(id)).collect();
    assert_eq!(order, written, "in the order of the file");
    hold_to_schema("check", &[document.0]);
}

/// A bridge that counts: who is connected at the same time. One thread does everything in turn, ends before beginnings, so
/// that its own slowness never makes two of one.
struct Counting {
    port: u16,
    most: Arc<AtomicUsize>,
    total: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Counting {
    fn before(endpoint: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let port = listener.local_addr().unwrap().port();
        let (most, total, stop) =
            (Arc::<AtomicUsize>::default(), Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let shared = (most.clone(), total.clone(), stop.clone());
        let thread = thread::spawn(move || {
            let (most, total, stop) = shared;
            let mut open: Vec<(TcpStream, TcpStream)> = Vec::new();
            while !stop.load(Ordering::SeqCst) {
                open.retain_mut(|(client, server)| pump(client, server) && pump(server, client));
                if let Ok((client, _)) = listener.accept() {
                    let server = TcpStream::connect((Ipv4Addr::LOCALHOST, endpoint)).unwrap();
                    client.set_nonblocking(true).unwrap();
                    server.set_nonblocking(true).unwrap();
                    open.push((client, server));
                    most.fetch_max(open.len(), Ordering::SeqCst);
                    total.fetch_add(1, Ordering::SeqCst);
                }
                thread::sleep(Duration::from_micros(200));
            }
        });
        Self { port, most, total, stop, thread: Some(thread) }
    }
}

impl Drop for Counting {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// Hands on what is there; false at the end of the connection.
fn pump(from: &mut TcpStream, to: &mut TcpStream) -> bool {
    let mut buffer = [0; 16 * 1024];
    match from.read(&mut buffer) {
        Ok(0) => false,
        Ok(count) => to.write_all(&buffer[..count]).is_ok(),
        Err(error) => error.kind() == ErrorKind::WouldBlock,
    }
}

#[test]
fn targets_that_share_a_bridge_take_turns_and_others_go_on() {
    let slow = || endpoint(Behaviour::Delay(Duration::from_millis(150)));
    let (behind, beside) = (slow(), slow());
    let (shared, other) = (Counting::before(behind.port()), Counting::before(beside.port()));
    let mut fleet = Fleet::new();
    // However the bridge is written, it is the same one.
    let names = ["localhost", "LocalHost", "127.0.0.1"];
    for (number, host) in names.into_iter().cycle().take(8).enumerate() {
        let bridge = format!("bridge = '{host}:{}'", shared.port);
        fleet.text += &format!("[[target]]\nname = 'shared {number}'\n{bridge}\n");
    }
    fleet = fleet.target("other", other.port, "");
    let (document, _) = fleet.document(&["--jobs", "6"]);
    for number in 0..8 {
        assert_eq!(document.verdict(&format!("shared {number}"))[0], "pass");
    }
    assert_eq!(document.verdict("other")[0], "pass");
    assert_eq!((shared.total.load(Ordering::SeqCst), shared.most.load(Ordering::SeqCst)), (8, 1));
    assert_eq!(other.total.load(Ordering::SeqCst), 1);
    // A counter that cannot count to two would prove nothing.
    let held = [TcpStream::connect(("127.0.0.1", shared.port)), TcpStream::connect(("127.0.0.1", shared.port))];
    wait_for(|| shared.most.load(Ordering::SeqCst) == 2);
    drop(held);
}

#[test]
fn a_stale_link_is_flaky_and_a_refusal_is_not_tried_again() {
    let case = Case::new();
    let lab = |id: &str| {
        let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == id).unwrap();
        let directory = case.path(id);
        fs::create_dir(&directory).unwrap();
        Deployment::start(&directory, &fault.change, DbFormat::Sql).unwrap()
    };
    let labs = [("stale", lab("stale-server-link")), ("refusal", lab("client-other-ca"))];
    let mut text = "[defaults]\nretries = 3\nretry-spacing = 0.3\ntimeout = 4\n".to_owned();
    for (name, lab) in &labs {
        text += &format!("[[target]]\nname = '{name}'\nconfig = '{}'\n", lab.config().display());
    }
    let file = case.file("targets.toml", text);
    let check = |arguments: &[&str]| run(binary().arg("check").arg(&file).args(arguments));
    let all = check(&["--format", "json"]);
    let document = Document(all.report());
    assert_eq!(document.verdict("stale"), ["flaky", "bridge", "server-link-dead"]);
    assert_eq!((document.target("stale")["tries"].as_u64(), labs[0].1.connections()), (Some(2), 2));
    assert_eq!(document.verdict("refusal")[0], "fail");
    assert_eq!((document.target("refusal")["tries"].as_u64(), labs[1].1.connections()), (Some(1), 1));
    assert_eq!(["pass", "flaky", "fail"].map(|what| document.count(what)), [0, 1, 1]);
    assert_eq!(all.code, Some(1));
    // The link is used up by now.
    let again = check(&["--only", "stale"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
}

#[test]
fn flaky_alone_is_no_failure_unless_strictly() {
    for (arguments, code) in [(&[][..], 0), (&["--strict"][..], 1)] {
        let case = Case::new();
        let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap();
        let lab = Deployment::start(case.dir.path(), &fault.change, DbFormat::Sql).unwrap();
        let run = run(binary()
            .args(["check", "--retries", "2", "--retry-spacing", "0.2", "-c"])
            .arg(lab.config())
            .args(arguments));
        assert_eq!(run.code, Some(code), "{run:#?}");
        assert!(run.stdout.contains("1 flaky") && run.stdout.contains("2 tries"), "{run:#?}");
    }
}

#[test]
fn fail_fast_begins_nothing_after_the_first_failure() {
    let (bad, good) = (endpoint(Behaviour::CloseAtOnce), endpoint(Behaviour::Well));
    let mut fleet = Fleet::new().target("first", good.port(), "").target("bad", bad.port(), "");
    for number in 0..5 {
        fleet = fleet.target(&format!("later {number}"), good.port(), "");
    }
    let (document, code) = fleet.document(&["--jobs", "1", "--fail-fast"]);
    assert_eq!(code, Some(1));
    assert_eq!(["pass", "fail", "not_walked"].map(|what| document.count(what)), [1, 1, 5]);
    assert_eq!((good.connections(), bad.connections()), (1, 1));
}

#[test]
fn only_and_label_choose() {
    let good = endpoint(Behaviour::Well);
    let fleet = Fleet::new()
        .target("web-1", good.port(), "labels = { env = 'prod', team = 'a' }")
        .target("web-2", good.port(), "labels = { env = 'test', team = 'a' }")
        .target("db[1]", good.port(), "labels = { env = 'prod', team = 'b' }");
    let chosen = |arguments: &[&str]| {
        let run = fleet.run(&[&["--dry-run"], arguments].concat());
        assert_eq!(run.code, Some(0), "{run:#?}");
        ["web-1", "web-2", "db[1]"].into_iter().filter(|name| run.stdout.contains(name)).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[]), ["web-1", "web-2", "db[1]"]);
    assert_eq!(chosen(&["--only", "web-*"]), ["web-1", "web-2"]);
    assert_eq!(chosen(&["--only", "db[1]"]), ["db[1]"], "a name with a pattern's characters");
    assert_eq!(chosen(&["--only", "web-1", "--only", "db*"]), ["web-1", "db[1]"]);
    assert_eq!(chosen(&["--label", "env=prod"]), ["web-1", "db[1]"]);
    assert_eq!(chosen(&["--label", "env=prod", "--label", "team=a"]), ["web-1"]);
    assert_eq!(chosen(&["--label", "env=prod", "--label", "env=test", "--label", "team=a"]), ["web-1", "web-2"]);
    assert_eq!(good.connections(), 0, "a dry run");
    for (arguments, wanted) in [
        (&["--only", "web-11"][..], "did you mean"),
        (&["--only", "[z"][..], "--only"),
        (&["--label", "env=none"][..], "no target has these labels"),
    ] {
        let run = fleet.run(arguments);
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:#?}");
        assert!(run.stderr.contains(wanted), "{run:#?}");
    }
}

#[test]
fn a_target_that_hangs_is_cut_at_its_deadline_while_others_finish() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let fleet = Fleet::new()
        .target("hangs", hanging.port(), "timeout = 60\ndeadline = 3")
        .target("good", good.port(), "deadline = 30")
        .target("tries", endpoint(Behaviour::CloseAtOnce).port(), "deadline = 2\nretries = 50\nretry-spacing = 0.4");
    let (document, code) = fleet.document(&["--jobs", "3"]);
    assert_eq!(code, Some(1));
    assert_eq!(document.verdict("hangs"), ["fail", "outer-handshake", "bridge-stalled"]);
    let took = document.target("hangs")["duration_ms"].as_u64().unwrap();
    assert!((1500..3500).contains(&took), "{took} ms");
    assert_eq!(document.verdict("good")[0], "pass");
    assert!(document.target("good")["duration_ms"].as_u64().unwrap() < took);
    let tries = document.target("tries");
    assert!((2..8).contains(&tries["tries"].as_u64().unwrap()), "{tries:#}");
    assert!(tries["duration_ms"].as_u64().unwrap() < 2500, "all tries together");
}

/// Stopped, a worker is as deaf as one that hangs in a C function.
#[test]
fn a_worker_that_hangs_is_killed_at_the_deadline_and_what_it_said_is_kept() {
    let hanging = silent();
    let fleet = Fleet::new().target("hangs", hanging.port(), "timeout = 60\ndeadline = 3");
    let mut running = Running::start(fleet.command().args(["--format", "ndjson"]));
    wait_for(|| hanging.connections() == 1);
    let worker = workers(running.id())[0];
    signal(worker, Signal::STOP);
    let line = running.lines().next().unwrap();
    let verdict = &line["report"]["verdict"];
    assert_eq!((&verdict["status"], &verdict["cause"]), (&"inconclusive".into(), &"tool-timeout".into()), "{line:#}");
    assert_eq!(verdict["layer"], "outer-handshake");
    assert!(line["duration_ms"].as_u64().unwrap() < 4500, "{line:#}");
    let roles: Vec<_> =
        line["report"]["certificates"].as_array().unwrap().iter().map(|it| it["role"].clone()).collect();
    assert_eq!(roles, ["client", "authority"]);
    assert_eq!(running.code(), Some(3));
    assert!(!lives(worker));
}

#[test]
fn a_worker_that_dies_takes_no_other_target_with_it() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let mut fleet = Fleet::new().target("dies", hanging.port(), "timeout = 20");
    for number in 0..4 {
        fleet = fleet.target(&format!("good {number}"), good.port(), "");
    }
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "1"]));
    wait_for(|| hanging.connections() == 1);
    signal(workers(running.id())[0], Signal::ABORT);
    let lines: Vec<Value> = running.lines().collect();
    let verdicts: Vec<_> = lines
        .iter()
        .filter(|line| line["target"].is_string())
        .map(|line| &line["report"]["verdict"]["status"])
        .collect();
    assert_eq!(verdicts, ["inconclusive", "pass", "pass", "pass", "pass"]);
    assert_eq!(lines[0]["report"]["verdict"]["cause"], "tool-crashed");
    assert_eq!(running.code(), Some(3));
}

/// The idle worker between two walks is killed; the next walk must not be taken for a crash.
#[test]
fn a_worker_that_dies_between_two_walks_is_nobodys_verdict() {
    let case = Case::new();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap();
    let lab = Deployment::start(case.dir.path(), &fault.change, DbFormat::Sql).unwrap();
    let healthy = Case::new();
    let other = Deployment::start(healthy.dir.path(), &Change::default(), DbFormat::Sql).unwrap();
    let mut command = binary();
    command.args(["check", "--format", "ndjson", "--jobs", "1", "--retries", "1", "--retry-spacing", "3", "-c"]);
    let mut running = Running::start(command.arg(lab.config()).arg("-c").arg(other.config()));
    let mut lines = running.lines();
    let first = lines.next().unwrap();
    assert_eq!(first["report"]["verdict"]["status"], "pass", "the one that does not wait for its second try");
    let idle = workers(running.id());
    assert_eq!(idle.len(), 1, "kept for the next walk");
    signal(idle[0], Signal::KILL);
    let second = lines.next().unwrap();
    assert_eq!(second["report"]["verdict"]["status"], "flaky", "{second:#}");
    assert_eq!(running.code(), Some(0));
}

/// What is walked second in one process comes out as it does in a process of its own.
#[test]
fn a_worker_that_is_kept_sees_what_a_fresh_one_sees() {
    let timeless = |mut report: Value| {
        report["started"] = Value::Null;
        for probe in report["probes"].as_array_mut().unwrap() {
            probe["duration_us"] = Value::Null;
            if probe["layer"] == "tcp" {
                probe["summary"] = Value::Null;
            }
            let timed = ["clock", "local address", "opened by NSS in", "waited"];
            let facts = probe["evidence"].as_array_mut().unwrap();
            facts.retain(|fact| {
                !timed.contains(&fact["key"].as_str().unwrap())
                    && !fact["value"].as_str().unwrap().contains("connected in")
            });
        }
        for event in report["wire"].as_array_mut().unwrap() {
            event["at_us"] = Value::Null;
            // An ECDSA signature is a byte shorter now and then.
            if event["what"].as_str().unwrap().starts_with("application data") {
                event["what"] = Value::Null;
            }
        }
        report
    };
    let case = Case::new();
    let lab = Deployment::start(case.dir.path(), &Change::default(), DbFormat::Sql).unwrap();
    let good = endpoint(Behaviour::Well);
    let mut fleet = Fleet::new().target("first", good.port(), "");
    let config = lab.config().display();
    for name in ["second", "third"] {
        fleet.text += &format!(
            "[[target]]\nname = '{name}'\nconfig = '{config}'\ndb = '{}'\nnickname = '{NICKNAME}'\npassword-file = 'lab-pw'\n",
            case.path("client").display()
        );
    }
    fleet.case.file("lab-pw", nssight_fixtures::deployment::PASSWORD);
    let (document, code) = fleet.document(&["--jobs", "1"]);
    assert_eq!(code, Some(0), "{:#}", document.0);
    let alone = run(binary().args(["diagnose", "--format", "json", "--timeout", "5", "-c"]).arg(lab.config()).args([
        "--nickname",
        NICKNAME,
        "--db",
        case.path("client").to_str().unwrap(),
        "--password-file",
        fleet.case.path("lab-pw").to_str().unwrap(),
    ]));
    let alone = timeless(alone.report());
    for name in ["second", "third"] {
        assert_eq!(timeless(document.target(name)["report"].clone()), alone, "{name}");
    }
}

#[test]
fn a_password_that_cannot_be_read_is_that_targets_finding() {
    let good = endpoint(Behaviour::Well);
    let fleet = Fleet::new();
    let fifo = fleet.case.path("fifo");
    common::tool("mkfifo", [fifo.as_os_str()]);
    fleet.case.file("empty", "");
    let fleet = fleet
        .target("missing", good.port(), "password-file = 'nowhere/pw'")
        .target("directory", good.port(), "password-file = 'db'")
        .target("fifo", good.port(), "password-file = 'fifo'")
        .target("empty", good.port(), "password-file = 'empty'")
        .target("variable", good.port(), "password-env = 'NSSIGHT_NOT_SET'")
        .target("good", good.port(), "")
        .target("admin", good.port(), "admin-password-file = 'nowhere/admin'\nuntil = 'outer-handshake'");
    let (document, code) = fleet.document(&[]);
    assert_eq!(code, Some(1));
    for name in ["missing", "directory", "fifo", "empty", "variable"] {
        assert_eq!(document.verdict(name), ["fail", "password", "password-missing"], "{name}");
    }
    for (name, words) in [("missing", "nowhere/pw"), ("fifo", "no regular file"), ("variable", "NSSIGHT_NOT_SET")] {
        let summary = document.target(name)["report"]["verdict"]["summary"].as_str().unwrap();
        assert!(summary.contains(words), "{summary}");
    }
    assert_eq!(document.verdict("good")[0], "pass");
    assert_eq!(document.verdict("admin")[0], "pass", "no request is walked there");
    assert_eq!(good.connections(), 2);
}

#[test]
fn lines_arrive_while_others_are_still_walked() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let fleet = Fleet::new().target("hangs", hanging.port(), "timeout = 8").target("good", good.port(), "").target(
        "good too",
        good.port(),
        "",
    );
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "2"]));
    let mut lines = running.lines();
    let early: Vec<Value> = lines.by_ref().take(2).collect();
    assert_eq!(early[0]["target"], "good");
    assert_eq!(early[1]["target"], "good too");
    assert!(running.0.try_wait().unwrap().is_none());
    assert_eq!(hanging.connections(), 1);
    let late: Vec<Value> = lines.collect();
    assert_eq!(late[0]["target"], "hangs");
    let summary = &late[1]["summary"];
    assert_eq!((summary["pass"].as_u64(), summary["fail"].as_u64()), (Some(2), Some(1)), "{summary:#}");
    assert_eq!(late.len(), 2);
    hold_to_schema("check", &[early, late].concat());
}

#[test]
fn a_signal_ends_the_walks_and_what_is_done_is_reported() {
    for (number, wanted, name) in [(Signal::TERM, 143, "SIGTERM"), (Signal::INT, 130, "SIGINT")] {
        let (hanging, other, good) = (silent(), silent(), endpoint(Behaviour::Well));
        let fleet = Fleet::new()
            .target("good", good.port(), "")
            .target("hangs", hanging.port(), "timeout = 60\ndeadline = 60\nretries = 5")
            .target("hangs too", other.port(), "timeout = 60\ndeadline = 60")
            .target("waits", hanging.port(), "");
        let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "3"]));
        let mut lines = running.lines();
        assert_eq!(lines.next().unwrap()["target"], "good");
        wait_for(|| hanging.connections() == 1 && other.connections() == 1);
        let all = workers(running.id());
        assert!(all.len() >= 2, "{all:?}");
        let before = Instant::now();
        signal(running.id() as i32, number);
        let rest: Vec<Value> = lines.collect();
        assert_eq!(running.code(), Some(wanted));
        assert!(before.elapsed() < Duration::from_secs(3), "{:?}", before.elapsed());
        let [summary] = rest.as_slice() else { panic!("{rest:#?}") };
        assert_eq!(summary["summary"]["interrupted"], name);
        assert_eq!(
            (summary["summary"]["pass"].as_u64(), summary["summary"]["not_walked"].as_u64()),
            (Some(1), Some(3))
        );
        assert!(all.iter().all(|pid| !lives(*pid)), "a worker is left");
        hold_to_schema("check", &rest);
    }
}

#[test]
fn a_closed_pipe_ends_the_run_quietly() {
    let (hanging, good) = (silent(), endpoint(Behaviour::Well));
    let mut fleet = Fleet::new().target("good", good.port(), "");
    for number in 0..20 {
        fleet = fleet.target(&format!("good {number}"), good.port(), "");
    }
    fleet = fleet.target("hangs", hanging.port(), "timeout = 60");
    let mut running = Running::start(fleet.command().args(["--format", "ndjson", "--jobs", "2"]));
    let first = running.lines().next().unwrap();
    assert_eq!(first["target"], "good");
    let before = Instant::now();
    assert_eq!(running.code(), Some(0));
    assert!(before.elapsed() < Duration::from_secs(10));
    let mut said = String::new();
    running.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(said, "");
}

#[test]
fn what_cannot_be_used_is_said_in_one_line() {
    let case = Case::new();
    let nowhere = case.path("nowhere.toml");
    let rows = [
        (case.file("a.toml", "[[target]]\nname = 'a'\ndb = 'd'\nbrigde = 'h:1'\n"), "a.toml:4:", "\"bridge\""),
        (case.file("b.toml", "[[target]]\nname = 'a'\ndb = 'd'\npassword = 'hunter2'\n"), "b.toml:4:", "password-file"),
        (case.file("c.toml", "[[target]\n"), "c.toml:1:", ""),
        (case.file("d.toml", [0xff, 0xfe]), "d.toml", "UTF-8"),
        (case.file("e.toml", ""), "e.toml", "[[target]]"),
        (nowhere, "nowhere.toml", "No such file"),
        (case.dir.path().to_owned(), "", "directory"),
    ];
    for (file, place, words) in rows {
        let run = run(binary().arg("check").arg(&file));
        assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""), "{run:#?}");
        assert!(run.stderr.contains(place) && run.stderr.contains(words), "{run:#?}");
        assert!(run.stderr.lines().count() == 1 && !run.stderr.contains("hunter2"), "{run:#?}");
    }
    let both = run(binary().args(["check", "x.toml", "-c", "y.conf"]));
    let none = run(binary().args(["check"]));
    assert_eq!((both.code, none.code), (Some(2), Some(2)));
    let twice = run(binary().args(["check", "-c", "y.conf", "-c", "y.conf"]));
    assert!(twice.code == Some(2) && twice.stderr.contains("twice"), "{twice:#?}");
}

#[test]
fn no_worker_has_a_password_in_its_environment() {
    let (one, two) = (silent(), silent());
    let fleet = Fleet::new().target("one", one.port(), "password-env = 'FIRST_PASSWORD'").target(
        "two",
        two.port(),
        "password-env = 'SECOND_PASSWORD'\nadmin-password-env = 'ADMIN_PASSWORD'",
    );
    let mut command = fleet.command();
    for name in ["FIRST_PASSWORD", "SECOND_PASSWORD", "ADMIN_PASSWORD"] {
        command.env(name, PASSWORD);
    }
    let mut running = Running::start(command.args(["--jobs", "2", "--format", "ndjson"]));
    wait_for(|| one.connections() == 1 && two.connections() == 1);
    let all = workers(running.id());
    assert_eq!(all.len(), 2);
    for pid in all {
        for name in ["environ", "cmdline"] {
            let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
            assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{pid} {name}");
        }
    }
    signal(running.id() as i32, Signal::TERM);
    let said: Vec<Value> = running.lines().collect();
    assert!(said.iter().all(|line| !line.to_string().contains(PASSWORD)));
}

#[test]
fn hostile_names_harm_no_format() {
    let good = endpoint(Behaviour::Well);
    let bad = endpoint(Behaviour::CloseAtOnce);
    let names = [
        "\u{1b}[2J\u{7}evil",
        "a\nb\r\n::error::x",
        "<script>alert(1)</script>",
        "\"'&|`$(x)",
        "\u{202e}rtl\u{0}",
        "名前",
    ];
    let mut fleet = Fleet::new();
    for (number, name) in names.iter().enumerate() {
        let port = if number % 2 == 0 { good.port() } else { bad.port() };
        let label = format!("labels = {{ note = {} }}", Value::from(*name).to_string().replace("\\u007f", ""));
        fleet = fleet.target(name, port, &label);
    }
    for format in ["human", "ndjson", "json", "junit", "markdown", "html", "nagios", "openmetrics", "github"] {
        let run = fleet.run(&["--format", format]);
        let wanted = if format == "nagios" { 2 } else { 1 };
        assert_eq!(run.code, Some(wanted), "{format}: {run:#?}");
        let harmful = ['\u{1b}', '\u{7}', '\u{0}', '\r'];
        assert!(!run.stdout.contains(harmful) && !run.stderr.contains(harmful), "{format}: {run:#?}");
        match format {
            "human" => {
                assert_eq!(run.stdout.lines().filter(|line| line.starts_with(['✓', '✗'])).count(), 7, "{run:#?}")
            }
            "ndjson" => assert_eq!(run.stdout.lines().count(), names.len() + 1),
            "html" => assert!(!run.stdout.contains("<script>alert"), "{format}"),
            "github" => assert!(!run.stdout.lines().any(|line| line.starts_with("::error::x")), "{}", run.stdout),
            _ => {}
        }
        if format == "ndjson" {
            let lines = run.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let given: Vec<String> = lines.filter_map(|line| line["target"].as_str().map(str::to_owned)).collect();
            assert!(names.iter().all(|name| given.iter().any(|own| own == name)), "as they were written");
        }
    }
}

/// Many targets in a hurry: nothing is left out and nothing is counted twice.
#[test]
fn a_document_goes_to_a_file_and_progress_elsewhere() {
    let good = endpoint(Behaviour::Well);
    let mut fleet = Fleet::new();
    for number in 0..12 {
        fleet = fleet.target(&format!("t{number}"), good.port(), "");
    }
    let file = fleet.case.path("out.json");
    let run = fleet.run(&["--format", "json", "--output", file.to_str().unwrap(), "--jobs", "3"]);
    assert_eq!((run.code, run.stdout.as_str()), (Some(0), ""), "{run:#?}");
    assert_eq!(run.stderr.lines().count(), 12, "{run:#?}");
    let document = Document(serde_json::from_slice(&fs::read(&file).unwrap()).unwrap());
    assert_eq!((document.count("targets"), document.count("pass")), (12, 12));
    assert_eq!(fleet.run(&["--quiet", "--format", "json"]).stderr, "");
    let nowhere = fleet.run(&["--output", "/nonexistent/x"]);
    assert_eq!(nowhere.code, Some(2), "{nowhere:#?}");
    assert!(Path::new("/dev/full").exists());
    let full = fleet.run(&["--output", "/dev/full", "--format", "ndjson"]);
    assert_eq!(full.code, Some(3), "{full:#?}");
    assert!(full.stderr.contains("could not be written"), "{full:#?}");
}
