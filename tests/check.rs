//! `nssight check`: many targets, each with its own verdict, whatever happens to the others.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use common::fleet::{Document, Fleet, endpoint, wait_for};
use common::{Case, binary, hold_to_schema, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::Behaviour;
use nssight_fixtures::fault::{self, Fault, Target};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// One fault of the lab for each cause that needs no flags, all in one run, several in parallel.
#[test]
fn each_of_many_faults_gets_its_own_verdict() {
    let case = Case::new();
    let mut causes = BTreeSet::new();
    // A target with nothing but its configuration.
    let plain = |fault: &Fault| {
        fault.flags.is_empty()
            && fault.environment.is_empty()
            && fault.change.target == Target::Deployment
            && fault.change.password_file.is_none()
    };
    let faults = fault::here().unwrap().0.into_iter().filter(plain);
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

/// A bridge that counts simultaneous connections. One thread handles everything in turn, ends before beginnings, so that its own slowness
/// never makes one connection look like two.
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

/// Forwards the available data; false at the end of the connection.
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
    // However its address is written, it is the same bridge.
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
    // The stale link is used up by now.
    let again = check(&["--only", "stale"]);
    assert_eq!(again.code, Some(0), "{again:#?}");
}

#[test]
fn flaky_targets_fail_a_run_only_with_strict() {
    for (arguments, code) in [(&[][..], 0), (&["--strict"][..], 1)] {
        let case = Case::new();
        let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap();
        let lab = Deployment::start(case.dir.path(), &fault.change, DbFormat::Sql).unwrap();
        let run = run(binary()
            .args(["check", "--retries", "2", "--retry-spacing", "0.2", "-c"])
            .arg(lab.config())
            .args(arguments));
        assert_eq!(run.code, Some(code), "{run:#?}");
        assert!(run.stdout.contains("1 flaky") && run.stdout.contains("2 attempts"), "{run:#?}");
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
fn only_and_label_select_targets() {
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
    for (name, words) in [("missing", "nowhere/pw"), ("fifo", "not a regular file"), ("variable", "NSSIGHT_NOT_SET")] {
        let summary = document.target(name)["report"]["verdict"]["summary"].as_str().unwrap();
        assert!(summary.contains(words), "{summary}");
    }
    assert_eq!(document.verdict("good")[0], "pass");
    assert_eq!(document.verdict("admin")[0], "pass", "no request is walked there");
    assert_eq!(good.connections(), 2);
}

#[test]
fn an_unreadable_administrator_password_is_a_fault_of_the_configuration() {
    let case = Case::new();
    let healthy = fault::all().unwrap().into_iter().find(|fault| fault.id == "healthy").unwrap();
    let lab = Deployment::start(case.dir.path(), &healthy.change, DbFormat::Sql).unwrap();
    let text =
        format!("[[target]]\nname = 'a'\nconfig = '{}'\nadmin-password-file = 'nowhere'\n", lab.config().display());
    let run = run(binary().args(["check", "--format", "json"]).arg(case.file("targets.toml", text)));
    let document = Document(run.report());
    assert_eq!(document.verdict("a"), ["fail", "config", "config-invalid"]);
    let verdict = &document.target("a")["report"]["verdict"];
    assert_eq!((&verdict["seen_at"], &verdict["confidence"]), (&"request".into(), &"certain".into()), "{verdict:#}");
    assert!(verdict["summary"].as_str().unwrap().contains("nowhere"), "{verdict:#}");
}

#[test]
fn unusable_input_is_reported_in_one_line_with_an_example() {
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
        assert!(run.stderr.lines().count() == 2 && !run.stderr.contains("hunter2"), "{run:#?}");
    }
    let both = run(binary().args(["check", "x.toml", "-c", "y.conf"]));
    let none = run(binary().args(["check"]));
    assert_eq!((both.code, none.code), (Some(2), Some(2)));
    let twice = run(binary().args(["check", "-c", "y.conf", "-c", "y.conf"]));
    assert!(twice.code == Some(2) && twice.stderr.contains("twice"), "{twice:#?}");
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
    assert!(full.stderr.contains("cannot write"), "{full:#?}");
}
