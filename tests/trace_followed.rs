//! Programs that are hard to trace: they crash, fork a thousand times, close everything, drop their privileges, or execute
//! a program that cannot be traced. The tracer follows them as far as possible, and reports what it lost.

#[path = "trace_followed/becoming.rs"]
mod becoming;
mod common;
#[path = "trace_followed/reuse.rs"]
mod reuse;
#[path = "trace_followed/wire.rs"]
mod wire;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use common::Case;
use common::lab::{client, words};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, Deployment, NICKNAME, PASSWORD};
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;
use nssight_tracer::event::Event;
use nssight_tracer::place::Place;
use nssight_tracer::reader::Reader;
use nssight_tracer::ring::VARIABLE;
use serde_json::Value;

/// Looks functions up like a program that is linked with NSS.
const NSS: &str = "
import ctypes, os, signal, sys, threading, time
for library in ('libnspr4.so', 'libnss3.so', 'libssl3.so'):
    ctypes.CDLL(library, mode=ctypes.RTLD_GLOBAL)
nss = ctypes.CDLL(None)
";

struct Trace {
    output: Output,
    report: Value,
}

impl Trace {
    fn of(program: &[&str], options: &[&str]) -> Self {
        let case = Case::new();
        let output = tracing(&case, program, options).output().unwrap();
        Self { output, report: read(&case) }
    }

    fn python(script: &str, options: &[&str]) -> Self {
        Self::of(&["/usr/bin/python3", "-c", &format!("{NSS}{script}")], options)
    }

    fn code(&self) -> Option<i32> {
        self.output.status.code()
    }

    fn processes(&self) -> &[Value] {
        self.report["processes"].as_array().unwrap()
    }

    fn lost(&self) -> String {
        self.report["lost"].as_array().unwrap().iter().map(|lost| lost.as_str().unwrap()).collect::<Vec<_>>().join("\n")
    }

    /// How often a function was called, by any process.
    fn calls(&self, function: &str) -> u64 {
        let calls = self.report["timeline"].as_array().unwrap().iter().filter(|call| call["function"] == function);
        calls.map(|call| call["count"].as_u64().unwrap()).sum()
    }
}

fn tracing(case: &Case, program: &[&str], options: &[&str]) -> Command {
    let mut command = common::binary();
    command
        .args(["trace", "--format", "json", "--timeline", "--output"])
        .arg(case.path("report"))
        .args(options)
        .arg("--");
    command.args(program);
    command
}

fn read(case: &Case) -> Value {
    serde_json::from_str(&fs::read_to_string(case.path("report")).unwrap()).unwrap()
}

/// A program without a loader, built with the compiler of the tests.
fn static_program(case: &Case) -> PathBuf {
    let source = case.file("still.rs", "fn main() { println!(\"still\"); }");
    let program = case.path("still");
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let made = Command::new(rustc).args(["-C", "target-feature=+crt-static", "-o"]).arg(&program).arg(source).output();
    let made = made.unwrap();
    assert!(made.status.success(), "{made:?}");
    program
}

/// A copy of a program that runs as nobody.
fn setuid_program(case: &Case) -> PathBuf {
    let program = case.path("other-rights");
    fs::copy("/bin/true", &program).unwrap();
    std::os::unix::fs::chown(&program, Some(65534), None).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o4755)).unwrap();
    program
}

#[test]
fn status_signals_and_streams_go_through() {
    let case = Case::new();
    let mut command = tracing(&case, &["sh", "-c", "cat; echo said >&2; exit 7"], &[]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"given").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), output.stdout, output.stderr), (Some(7), b"given".to_vec(), b"said\n".to_vec()));

    let ready = case.path("ready");
    let script = format!("trap 'exit 9' TERM; : > {}; while :; do sleep 0.05; done", ready.display());
    let mut child = tracing(&case, &["sh", "-c", &script], &[]).spawn().unwrap();
    wait_for(|| ready.exists());
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(9));

    let (code, said) = refused(&["no-such-program-here"]);
    assert!(code == Some(2) && said.contains("program not found"), "{code:?} {said}");
}

/// The exit code and output of a run without a report.
fn refused(program: &[&str]) -> (Option<i32>, String) {
    let output = tracing(&Case::new(), program, &[]).output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

fn wait_for(mut ready: impl FnMut() -> bool) {
    let until = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < until, "it did not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_crash_and_a_kill_show_the_interrupted_call() {
    for (signal, end) in [(11, "ctypes.string_at(0)"), (9, "os.kill(os.getpid(), signal.SIGKILL)"), (6, "os.abort()")] {
        let trace = Trace::python(&format!("nss.NSS_NoDB_Init(None); {end}"), &[]);
        assert_eq!(trace.output.status.signal(), Some(signal), "{:?}", trace.output);
        assert_eq!(trace.report["program"]["signal"], signal);
        assert_eq!(trace.calls("NSS_NoDB_Init"), 1, "{:#}", trace.report);
    }
    // In the middle of a call, with a listener that never answers.
    let script = "
import socket
nss.NSS_NoDB_Init(None)
listener = socket.create_server(('127.0.0.1', 0))
connection = socket.create_connection(listener.getsockname())
for function in (nss.PR_ImportTCPSocket, nss.SSL_ImportFD): function.restype = ctypes.c_void_p
nss.SSL_ImportFD.argtypes = (ctypes.c_void_p, ctypes.c_void_p)
nss.SSL_ResetHandshake.argtypes = (ctypes.c_void_p, ctypes.c_int)
nss.SSL_ForceHandshake.argtypes = (ctypes.c_void_p,)
session = nss.SSL_ImportFD(None, nss.PR_ImportTCPSocket(connection.detach()))
nss.SSL_ResetHandshake(session, 0)
signal.alarm(1)
nss.SSL_ForceHandshake(session)
";
    let trace = Trace::python(script, &[]);
    assert_eq!(trace.output.status.signal(), Some(14), "{:?}", trace.output);
    let failed = &trace.report["first_failure"];
    assert_eq!(
        (&failed["function"], &failed["then"]),
        (&"SSL_ForceHandshake".into(), &"the process was still waiting in this call at the end".into())
    );
}

#[test]
fn a_thousand_forks_and_a_hundred_threads_are_told_apart() {
    let trace = Trace::python(
        "
for number in range(1000):
    child = os.fork()
    if child == 0:
        os._exit(nss.PR_GetOSError() and 0)
    os.waitpid(child, 0)
",
        &[],
    );
    assert_eq!(trace.code(), Some(0), "{:?}", trace.output);
    assert_eq!(trace.processes().len(), 1001);
    assert!(trace.processes().iter().skip(1).all(|process| process["began"] == "forked" && process["status"] == 0));
    assert_eq!(trace.report["events_lost"], 0);

    let trace = Trace::python(
        "
nss.NSS_NoDB_Init(None)
go = threading.Barrier(100)
def use():
    go.wait()
    for _ in range(50):
        nss.SECMOD_FindModule(b'none')
threads = [threading.Thread(target=use) for _ in range(100)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
",
        &[],
    );
    assert_eq!(trace.code(), Some(0), "{:?}", trace.output);
    assert_eq!(trace.calls("SECMOD_FindModule"), 5000, "{:#}", trace.report["lost"]);
    assert_eq!(trace.processes()[0]["threads"], 101);
    assert_eq!(trace.report["events_lost"], 0);
}

#[test]
fn a_daemon_that_closed_everything_is_followed_until_it_ends() {
    let daemon = "
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
os.closerange(0, 4096)
time.sleep(0.2)
nss.NSS_NoDB_Init(None)
os.execv('/usr/bin/python3', ['python3', '-c', 'import ctypes; ctypes.CDLL(\"libnss3.so\", 256); ctypes.CDLL(None).NSS_NoDB_Init(None)'])
";
    let trace = Trace::python(daemon, &["--follow"]);
    assert_eq!(trace.code(), Some(0), "{:?}", trace.output);
    assert_eq!(trace.calls("NSS_NoDB_Init"), 2, "{:#}", trace.report);
    assert_eq!(trace.processes().len(), 3);
    // Without a request to wait for it: the report notes that it continues.
    let trace = Trace::python(
        "
if os.fork(): os._exit(0)
os.setsid(); os.closerange(0, 4096); time.sleep(2)
",
        &[],
    );
    assert!(trace.lost().contains("is still running"), "{:#}", trace.report);
}

#[test]
fn a_process_that_drops_its_privileges_is_followed_until_exec() {
    let script = "
os.setgid(65534); os.setuid(65534)
nss.NSS_NoDB_Init(None)
child = os.fork()
if child == 0:
    nss.SECMOD_FindModule(b'none')
    os.execv('/bin/echo', ['echo', 'as nobody'])
os.waitpid(child, 0)
";
    assert!(rustix::process::geteuid().is_root(), "only root can drop its rights");
    let trace = Trace::python(script, &[]);
    assert_eq!((trace.code(), trace.output.stdout.as_slice()), (Some(0), &b"as nobody\n"[..]), "{:?}", trace.output);
    assert_eq!(trace.output.stderr, b"", "{:?}", trace.output);
    assert_eq!((trace.calls("NSS_NoDB_Init"), trace.calls("SECMOD_FindModule")), (1, 1), "{:#}", trace.report);
    assert!(trace.lost().contains("runs as somebody who may not load the tracer"), "{:#}", trace.report);
}

#[test]
fn untraceable_programs_are_named_before_and_during_a_run() {
    let case = Case::new();
    for (program, why) in [(static_program(&case), "statically linked"), (setuid_program(&case), "is setuid or setgid")]
    {
        let name = program.to_str().unwrap();
        let (code, said) = refused(&[name]);
        assert!(code == Some(3) && said.contains(why), "{code:?} {said}");

        let trace = Trace::of(&["sh", "-c", &format!("{name}; exit 4")], &[]);
        assert_eq!(trace.code(), Some(4));
        assert!(trace.lost().contains(&format!("became {name}, which did not load the tracer")), "{:#}", trace.report);
        assert_eq!(trace.report["verdict"]["status"], "inconclusive");
    }
}

/// A reader that has stopped reading does not block the program; events without room are counted.
#[test]
fn a_slow_reader_costs_events_and_no_time() {
    let case = Case::new();
    let (ready, done) = (case.path("ready"), case.path("done"));
    let script = format!(
        "{NSS}
open({ready:?}, 'w').close()
while not os.path.exists({ready:?} + '.go'): time.sleep(0.01)
for _ in range(200000): nss.PR_Poll(None, 0, 0)
open({done:?}, 'w').close()
"
    );
    let mut child = tracing(&case, &["/usr/bin/python3", "-c", &script], &[]).spawn().unwrap();
    wait_for(|| ready.exists());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    fs::write(case.path("ready.go"), "").unwrap();
    wait_for(|| done.exists());
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    assert!(child.wait().unwrap().success());
    let report = read(&case);
    assert!(report["events_lost"].as_u64().unwrap() > 100_000, "{report:#}");
}

/// Runs a program with the tracer preloaded. Returns its exit status, all events of the tracer, and the number of lost ones.
fn watched(mut command: Command) -> (ExitStatus, Vec<Event>, u64) {
    let mut reader = Reader::new().unwrap();
    let place = Place::new(&fs::read(env!("NSSIGHT_TRACER")).unwrap()).unwrap();
    command.env("LD_PRELOAD", place.library()).env(VARIABLE, place.variable(&reader).unwrap());
    let mut child = command.spawn().expect("it must be installed (make deps)");
    let mut events = Vec::new();
    let status = loop {
        reader.drain(|event| events.push(*event));
        if let Some(status) = child.try_wait().unwrap() {
            break status;
        }
        std::thread::sleep(Duration::from_millis(1));
    };
    reader.drain(|event| events.push(*event));
    (status, events, reader.lost())
}

/// All events of the tracer, not only those that a report shows.
#[test]
fn no_secret_is_in_an_event() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let mut command = words(&[], &client(&lab, &["--timeout", "10"], "list-users"));
    command.stdout(Stdio::null());
    let (status, events, lost) = watched(command);
    assert!(status.success() && events.len() > 200 && lost == 0, "{status} {} {lost}", events.len());
    let mut all = Vec::new();
    for event in &events {
        all.extend_from_slice(event.text());
        for word in event.words() {
            all.extend_from_slice(&word.to_le_bytes());
            all.extend_from_slice(&word.to_be_bytes());
        }
    }
    let found = |secret: &[u8]| all.windows(secret.len()).any(|bytes| bytes == secret);
    // Recorded data is found; otherwise the absence of the rest would prove nothing.
    assert!(found(NICKNAME.as_bytes()));
    for secret in [PASSWORD.as_bytes(), ADMIN_PASSWORD.as_bytes(), b"signer"] {
        let hex: String = secret.iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(!found(secret) && !found(hex.as_bytes()), "{}", String::from_utf8_lossy(secret));
    }
    let key = private_key(directory.path());
    assert!(!found(&key[..16]) && !found(&key[key.len() - 16..]));
}

/// The client's private key, as a number.
fn private_key(directory: &Path) -> Vec<u8> {
    let (p12, password) = (directory.join("client.p12"), directory.join("pw"));
    fs::write(&password, format!("{PASSWORD}\n")).unwrap();
    let database = DbFormat::Sql.directory(&directory.join("client"));
    let mut export = Command::new("pk12util");
    export.arg("-o").arg(&p12).args(["-n", NICKNAME, "-W", "transport", "-d"]).arg(database).arg("-k").arg(&password);
    let exported = export.output().expect("pk12util must be installed (make deps)");
    assert!(exported.status.success(), "{exported:?}");
    let parsed = openssl::pkcs12::Pkcs12::from_der(&fs::read(p12).unwrap()).unwrap().parse2("transport").unwrap();
    parsed.pkey.unwrap().ec_key().unwrap().private_key().to_vec()
}
