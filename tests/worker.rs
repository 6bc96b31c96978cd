//! The worker: killed, hung, and without any secret to reveal.

mod common;

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use common::{Case, NICKNAME, PASSWORD, PKI, binary, diagnose, fresh};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal};
use serde_json::Value;

fn silent() -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca).behaving(Behaviour::Answer(Vec::new(), Leave::Stall))).unwrap()
}

/// The worker of a running nssight, once its handshake waits for the endpoint, which has read the ClientHello.
fn worker_in_handshake(parent: &Child, endpoint: &Endpoint) -> Pid {
    wait_for(|| endpoint.hellos() == 1);
    let children = format!("/proc/{0}/task/{0}/children", parent.id());
    let mut found = None;
    wait_for(|| {
        let text = fs::read_to_string(&children).unwrap_or_default();
        found = text.split_whitespace().next().and_then(|pid| pid.parse().ok()).and_then(Pid::from_raw);
        found.is_some()
    });
    found.unwrap()
}

fn wait_for(mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < patience, "nothing happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

struct Started {
    child: Child,
    endpoint: Endpoint,
    case: Case,
}

fn start(timeout: &str) -> Started {
    start_with(&["--timeout", timeout])
}

fn start_with(more: &[&str]) -> Started {
    let (case, endpoint) = (Case::new(), silent());
    let database = case.database(DbFormat::Sql);
    let password = case.password_file();
    let mut command = fresh();
    command.args(diagnose(&database, &password, endpoint.port()).get_args());
    let child = command.args(more).stdout(Stdio::piped()).spawn().unwrap();
    Started { child, endpoint, case }
}

fn report(mut child: Child) -> (Value, Option<i32>) {
    let mut text = String::new();
    child.stdout.take().unwrap().read_to_string(&mut text).unwrap();
    (serde_json::from_str(&text).unwrap(), child.wait().unwrap().code())
}

fn tool_verdict(report: &Value, cause: &str) {
    let verdict = &report["verdict"];
    assert_eq!(verdict["status"], "inconclusive", "{report:#}");
    assert_eq!(verdict["layer"], "outer-handshake", "{report:#}");
    assert_eq!(verdict["cause"], cause, "{report:#}");
    assert_eq!(verdict["component"], "tool", "{report:#}");
    let layers: Vec<_> = report["probes"].as_array().unwrap().iter().map(|probe| probe["layer"].clone()).collect();
    assert!(
        layers.contains(&Value::from("outer-handshake")) && layers.contains(&Value::from("private-key")),
        "{layers:?}"
    );
    // The results of earlier layers are not lost with the worker.
    assert_eq!(report["certificates"][0]["nickname"], NICKNAME, "{report:#}");
}

#[test]
fn a_worker_that_is_killed_gives_a_finding_with_the_signal() {
    for (signal, name) in [(Signal::KILL, "9"), (Signal::ABORT, "6"), (Signal::ILL, "4")] {
        let started = start("20");
        let worker = worker_in_handshake(&started.child, &started.endpoint);
        let before = Instant::now();
        rustix::process::kill_process(worker, signal).unwrap();
        let (report, code) = report(started.child);
        tool_verdict(&report, "tool-crashed");
        assert!(report["verdict"]["summary"].as_str().unwrap().contains(&format!("signal {name}")), "{report:#}");
        assert_eq!(code, Some(3));
        assert!(before.elapsed() < Duration::from_secs(15), "the layer has 20 s");
        drop(started.case);
    }
}

/// No process crashed, and there is no result.
#[test]
fn a_check_ended_by_a_signal_was_interrupted() {
    for (signal, name) in [(Signal::INT, "2"), (Signal::TERM, "15"), (Signal::HUP, "1")] {
        let started = start("20");
        let worker = worker_in_handshake(&started.child, &started.endpoint);
        rustix::process::kill_process(worker, signal).unwrap();
        let (report, code) = report(started.child);
        tool_verdict(&report, "interrupted");
        assert!(report["verdict"]["summary"].as_str().unwrap().contains(&format!("signal {name}")), "{report:#}");
        assert_eq!(code, Some(3));
        drop(started.case);
    }
}

/// A monitor gets an unknown state only if nssight is at fault; a timeout is critical.
#[test]
fn formats_tell_a_fault_of_the_tool_from_a_failure() {
    for (signal, code, beginning) in [(Signal::KILL, 3, "NSSIGHT UNKNOWN - "), (Signal::STOP, 2, "NSSIGHT CRITICAL - ")]
    {
        let started = start_with(&["--timeout", "1", "--format", "nagios"]);
        let worker = worker_in_handshake(&started.child, &started.endpoint);
        rustix::process::kill_process(worker, signal).unwrap();
        let output = started.child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.code() == Some(code) && text.starts_with(beginning), "{text}");
        assert!(text.lines().next().unwrap().contains("days left"), "{text}");
    }
    let started = start_with(&["--timeout", "20", "--format", "junit"]);
    let worker = worker_in_handshake(&started.child, &started.endpoint);
    rustix::process::kill_process(worker, Signal::KILL).unwrap();
    let output = started.child.wait_with_output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("type=\"tool-crashed\"") && text.contains("<error ") && !text.contains("<failure "),
        "{text}"
    );
}

/// A stopped process ignores everything, just like one that hangs in a C function: its own deadlines do not help.
#[test]
fn a_worker_that_hangs_gives_a_finding_with_the_time() {
    let started = start("1");
    let worker = worker_in_handshake(&started.child, &started.endpoint);
    rustix::process::kill_process(worker, Signal::STOP).unwrap();
    let before = Instant::now();
    let (report, code) = report(started.child);
    tool_verdict(&report, "tool-timeout");
    assert_eq!(code, Some(3));
    assert!(before.elapsed() < Duration::from_secs(30), "{:?}", before.elapsed());
    assert!(fs::metadata(format!("/proc/{}", worker.as_raw_nonzero())).is_err(), "the worker is still there");
}

#[test]
fn a_call_that_never_returns_ends_at_its_own_deadline() {
    let started = start("1");
    let before = Instant::now();
    let (report, code) = report(started.child);
    assert_eq!((report["verdict"]["cause"].as_str(), code), (Some("peer-silent"), Some(1)), "{report:#}");
    assert!(before.elapsed() < Duration::from_secs(30));
}

#[test]
fn a_parent_that_is_killed_takes_its_worker_with_it() {
    let mut started = start("20");
    let worker = worker_in_handshake(&started.child, &started.endpoint);
    started.child.kill().unwrap();
    started.child.wait().unwrap();
    wait_for(|| {
        let state = fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero())).unwrap_or_default();
        state.is_empty() || state.contains(") Z ")
    });
}

/// Searches every readable page of a process.
fn memory_holds(pid: u32, wanted: &[u8]) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut pages = 0;
    let found = maps.lines().any(|line| {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let (from, to) = range.split_once('-').unwrap();
        let (from, to) = (u64::from_str_radix(from, 16).unwrap(), u64::from_str_radix(to, 16).unwrap());
        if !rights.starts_with('r') || line.ends_with("[vvar]") || line.ends_with("[vsyscall]") {
            return false;
        }
        let mut bytes = vec![0; usize::try_from(to - from).unwrap()];
        match memory.read_at(&mut bytes, from) {
            Ok(count) => {
                pages += count / 4096;
                bytes[..count].windows(wanted.len()).any(|window| window == wanted)
            }
            Err(_) => false,
        }
    });
    assert!(pages > 50, "only {pages} pages of {pid} could be read");
    found
}

#[test]
fn no_password_in_arguments_environment_memory_or_core() {
    let (case, endpoint) = (Case::new(), silent());
    let database = case.database(DbFormat::Sql);
    let text = format!(
        "[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n[client]\nbridge-hostname: localhost\nbridge-port: {}\nserver-hostname: s\n",
        database.display(),
        endpoint.port()
    );
    let by_config = ["-c".into(), case.file("client.conf", text).into_os_string()];
    let by_file = [
        "--db".into(),
        database.clone().into_os_string(),
        "--nickname".into(),
        NICKNAME.into(),
        "--bridge".into(),
        format!("localhost:{}", endpoint.port()).into(),
        "--password-file".into(),
        case.password_file().into_os_string(),
    ];
    for arguments in [by_config.to_vec(), by_file.to_vec()] {
        let endpoint_before = endpoint.connections();
        let mut command = binary();
        command.args(["diagnose", "--timeout", "300"]).args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
        let child = command.current_dir(case.dir.path()).spawn().unwrap();
        wait_for(|| endpoint.connections() > endpoint_before);
        let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", child.id())).unwrap();
        let worker: u32 = children.split_whitespace().next().unwrap().parse().unwrap();
        for pid in [child.id(), worker] {
            for name in ["cmdline", "environ"] {
                let bytes = fs::read(format!("/proc/{pid}/{name}")).unwrap();
                assert!(!bytes.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()), "{pid} {name}");
            }
            let limits = fs::read_to_string(format!("/proc/{pid}/limits")).unwrap();
            let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap().to_owned();
            assert_eq!(core.split_whitespace().nth(4), Some("0"), "{core}");
            // Memory that a debugger could dump; only root can look, since the processes are not dumpable.
            if rustix::process::geteuid().is_root() {
                let whose = if pid == worker { "worker" } else { "parent" };
                assert!(!memory_holds(pid, PASSWORD.as_bytes()), "the password is in the memory of the {whose}");
            } else {
                assert!(fs::File::open(format!("/proc/{pid}/mem")).is_err());
            }
        }
        rustix::process::kill_process(Pid::from_raw(worker as i32).unwrap(), Signal::ABORT).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        assert!(!said.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes()));
    }
    let cores = fs::read_dir(case.dir.path())
        .unwrap()
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("core"));
    assert_eq!(cores.count(), 0);
}

#[test]
fn the_memory_scan_finds_what_is_there() {
    let planted = format!("planted-{}", "x".repeat(9)).into_bytes();
    let mut child = std::process::Command::new("cat")
        .env("PLANTED", std::str::from_utf8(&planted).unwrap())
        .stdin(Stdio::piped())
        .spawn()
        .unwrap();
    wait_for(|| fs::read(format!("/proc/{}/cmdline", child.id())).is_ok_and(|line| line.starts_with(b"cat")));
    if rustix::process::geteuid().is_root() {
        // The scan includes the stack, which holds the environment.
        assert!(memory_holds(child.id(), &planted));
    }
    child.kill().unwrap();
    child.wait().unwrap();
}
