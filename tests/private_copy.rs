//! The private copy of a database in WAL mode: no other user can read it, and nothing of it is left behind.

mod common;

use std::fs;
use std::io::Write;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::exporter::Exporter;
use common::{Case, NICKNAME, PKI, fingerprint, fresh, run};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use rustix::fs::{FlockOperation, flock};
use rustix::process::{Pid, Signal};

/// Prefix of a copy's directory; 16 hexadecimal digits follow.
const PREFIX: &str = "nssight-copy-";

/// A case with a database in WAL mode and a separate directory for temporary files.
struct Wal {
    case: Case,
    database: PathBuf,
    temporary: PathBuf,
}

impl Wal {
    fn new() -> Self {
        let case = Case::new();
        let database = case.database(DbFormat::Sql);
        for name in ["cert9.db", "key4.db"] {
            let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('pragma journal_mode=wal')\nc.close()";
            let file = database.join(name);
            common::tool("/usr/bin/python3", ["-c".as_ref(), script.as_ref(), file.as_os_str()]);
            // As with an administrator who relies on the directory's permissions alone.
            fs::set_permissions(&file, fs::Permissions::from_mode(0o666)).unwrap();
        }
        fs::set_permissions(&database, fs::Permissions::from_mode(0o700)).unwrap();
        let temporary = case.path("tmp");
        fs::create_dir(&temporary).unwrap();
        fs::set_permissions(&temporary, fs::Permissions::from_mode(0o1777)).unwrap();
        Self { case, database, temporary }
    }

    fn diagnose(&self) -> Command {
        self.on(fresh())
    }

    fn on(&self, mut command: Command) -> Command {
        command.args(["diagnose", "--format", "json", "--nickname", NICKNAME, "--db"]).arg(&self.database);
        command.arg("--password-file").arg(self.case.password_file()).env("TMPDIR", &self.temporary);
        command
    }

    /// Runs up to the handshake, which never ends.
    fn held(&self, mut command: Command, endpoint: &Endpoint) -> Child {
        command.args(["--timeout", "20", "--bridge", &format!("localhost:{}", endpoint.port())]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// A targets file with a check that never ends.
    fn targets(&self, endpoint: &Endpoint) -> PathBuf {
        let text = format!(
            "[[target]]\nname = 'a'\ndb = '{}'\nnickname = '{NICKNAME}'\npassword-file = '{}'\nbridge = 'localhost:{}'\n",
            self.database.display(),
            self.case.password_file().display(),
            endpoint.port()
        );
        self.case.file("targets.toml", text)
    }

    fn left(&self) -> Vec<PathBuf> {
        fs::read_dir(&self.temporary).unwrap().flatten().map(|entry| entry.path()).collect()
    }
}

fn silent() -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca).behaving(Behaviour::Answer(Vec::new(), Leave::Stall))).unwrap()
}

fn wait_for(what: &str, mut condition: impl FnMut() -> bool) {
    let patience = Instant::now() + Duration::from_secs(10);
    while !condition() {
        assert!(Instant::now() < patience, "{what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn worker_of(parent: &Child) -> Option<Pid> {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", parent.id())).ok()?;
    Pid::from_raw(children.split_whitespace().next()?.parse().ok()?)
}

fn send(child: &Child, signal: Signal) {
    rustix::process::kill_process(Pid::from_child(child), signal).unwrap();
}

#[test]
fn the_copy_is_private_whatever_the_umask() {
    let (wal, endpoint) = (Wal::new(), silent());
    // env(1) keeps signal dispositions and sh sets the mask; nssight replaces both processes.
    let mut loose = Command::new("/bin/sh");
    loose.args(["-c", "umask 000; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_nssight")]).stdin(Stdio::null());
    let before = fingerprint(&wal.database);
    let child = wal.held(wal.on(loose), &endpoint);
    wait_for("no connection came", || endpoint.connections() == 1);
    let copies = wal.left();
    assert_eq!(copies.len(), 1, "{copies:?}");
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o7777;
    assert_eq!(mode(&copies[0]), 0o700);
    let mut names = Vec::new();
    for file in fs::read_dir(&copies[0]).unwrap().flatten() {
        assert_eq!(mode(&file.path()) & 0o077, 0, "{file:?}");
        names.push(file.file_name());
    }
    assert!(names.contains(&"key4.db".into()), "{names:?}");
    send(&child, Signal::TERM);
    child.wait_with_output().unwrap();
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
    assert!(before == fingerprint(&wal.database), "the database was touched");
}

#[test]
fn nothing_is_left_when_parent_or_worker_are_killed_at_any_moment() {
    let (wal, endpoint) = (Wal::new(), silent());
    for round in 0..48u32 {
        for (signal, at_parent) in [
            (Signal::KILL, true),
            (Signal::TERM, true),
            (Signal::INT, true),
            (Signal::KILL, false),
            (Signal::TERM, false),
        ] {
            let child = wal.held(wal.diagnose(), &endpoint);
            // Spread over the start, the copying, the opening and the handshake; later moments are all the same.
            std::thread::sleep(Duration::from_micros(u64::from(round) * 1500));
            if at_parent {
                send(&child, signal)
            } else {
                if let Some(worker) = worker_of(&child) {
                    let _ = rustix::process::kill_process(worker, signal);
                }
                // As long as there is no worker, only the parent can be killed.
                wait_for_end(&child);
            }
            child.wait_with_output().unwrap();
            if signal == Signal::KILL && at_parent {
                // Its worker dies with it, and the next run must remove its files.
                let next = run(wal.diagnose().args(["--until", "nss-db"]));
                assert_eq!(next.code, Some(0), "{next:#?}");
                wait_for("a copy stayed after the next start", || {
                    wal.left().is_empty() || run(wal.diagnose().args(["--until", "nss-db"])).code != Some(0)
                });
            }
            assert_eq!(wal.left(), Vec::<PathBuf>::new(), "round {round}: {signal:?}, parent: {at_parent}");
        }
    }
}

/// A check whose worker was killed ends by itself; one that the kill missed is ended here.
fn wait_for_end(child: &Child) {
    let patience = Instant::now() + Duration::from_millis(200);
    let state = || fs::read_to_string(format!("/proc/{}/stat", child.id())).unwrap_or_default();
    while !state().contains(") Z ") && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(1));
    }
    send(child, Signal::TERM);
}

/// A command that handles some of the signals itself.
#[test]
fn nothing_is_left_when_a_check_is_ended() {
    let (wal, endpoint) = (Wal::new(), silent());
    let targets = wal.targets(&endpoint);
    for round in 0..12u32 {
        for signals in
            [&[Signal::TERM][..], &[Signal::INT], &[Signal::HUP], &[Signal::QUIT], &[Signal::INT, Signal::INT]]
        {
            let mut command = fresh();
            command.args(["check", "--timeout", "20"]).arg(&targets).env("TMPDIR", &wal.temporary);
            let child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(u64::from(round) * 6000));
            signals.iter().for_each(|signal| send(&child, *signal));
            child.wait_with_output().unwrap();
            assert_eq!(wal.left(), Vec::<PathBuf>::new(), "round {round}: {signals:?}");
        }
    }
}

#[test]
fn nothing_is_left_when_an_exporter_is_ended() {
    let (wal, endpoint) = (Wal::new(), silent());
    let targets = wal.targets(&endpoint);
    for (round, signal) in [Signal::TERM, Signal::INT, Signal::QUIT].into_iter().enumerate() {
        let mut command = fresh();
        command.args(["exporter", "--listen", "127.0.0.1:0"]).arg(&targets).env("TMPDIR", &wal.temporary);
        let mut exporter = Exporter::spawn(&mut command);
        let mut asking = TcpStream::connect(exporter.address).unwrap();
        asking.write_all(b"GET /probe?target=a HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        wait_for("no connection came", || endpoint.connections() == round + 1);
        assert_eq!(wal.left().len(), 1);
        exporter.signal(signal);
        assert!(exporter.wait(Duration::from_secs(20)).is_some(), "{signal:?}");
        assert_eq!(wal.left(), Vec::<PathBuf>::new(), "{signal:?}");
    }
}

/// A stopped worker ignores everything, just like one that hangs in a C function.
#[test]
fn nothing_is_left_when_a_worker_hangs() {
    let (wal, endpoint) = (Wal::new(), silent());
    let mut command = wal.diagnose();
    command.args(["--timeout", "1", "--bridge", &format!("localhost:{}", endpoint.port())]);
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    wait_for("no connection came", || endpoint.connections() == 1);
    let worker = worker_of(&child).unwrap();
    assert_eq!(wal.left().len(), 1);
    rustix::process::kill_process(worker, Signal::STOP).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}

#[test]
fn only_orphans_of_our_own_are_removed() {
    let wal = Wal::new();
    let named = |name: &str| wal.temporary.join(name);
    let make = |name: &str, mode: u32| {
        fs::create_dir(named(name)).unwrap();
        fs::set_permissions(named(name), fs::Permissions::from_mode(mode)).unwrap();
        fs::write(named(name).join("key4.db"), "x").unwrap();
        named(name)
    };
    let orphan = make(&format!("{PREFIX}0123456789abcdef"), 0o700);
    let in_use = make(&format!("{PREFIX}1123456789abcdef"), 0o700);
    let open = fs::File::open(&in_use).unwrap();
    flock(&open, FlockOperation::LockExclusive).unwrap();
    let mut kept = vec![
        make(&format!("{PREFIX}mine"), 0o700),
        make("other-copy-0123456789abcdef", 0o700),
        make(&format!("{PREFIX}2123456789abcdef"), 0o755),
    ];
    let elsewhere = wal.case.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::set_permissions(&elsewhere, fs::Permissions::from_mode(0o700)).unwrap();
    fs::write(elsewhere.join("precious"), "x").unwrap();
    let link = named(&format!("{PREFIX}3123456789abcdef"));
    symlink(&elsewhere, &link).unwrap();
    // A link inside an orphan is removed, and its target stays.
    symlink(&elsewhere, orphan.join("link")).unwrap();
    if rustix::process::geteuid().is_root() {
        let foreign = make(&format!("{PREFIX}4123456789abcdef"), 0o700);
        std::os::unix::fs::chown(&foreign, Some(65534), Some(65534)).unwrap();
        kept.push(foreign);
    }
    let run = run(wal.diagnose().args(["--until", "nss-db"]));
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(!orphan.exists());
    assert!(in_use.join("key4.db").exists() && elsewhere.join("precious").exists() && link.is_symlink());
    kept.iter().for_each(|path| assert!(path.join("key4.db").exists(), "{path:?}"));
    drop(open);
    let run = common::run(wal.diagnose().args(["--until", "nss-db"]));
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(!in_use.exists(), "whoever used it is gone");
}

/// The environment is at fault, not the database; a copy can be made elsewhere.
#[test]
fn a_missing_temporary_directory_causes_no_failure() {
    let wal = Wal::new();
    let file = wal.case.file("file", "");
    for nowhere in [wal.case.path("gone"), file, PathBuf::from("/proc/self")] {
        let run = run(wal.diagnose().args(["--until", "nss-db"]).env("TMPDIR", &nowhere));
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert_eq!(run.report()["verdict"]["status"], "pass", "{run:#?}");
    }
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}

#[test]
fn an_unusable_temporary_directory_is_reported_as_such() {
    let wal = Wal::new();
    // As on a full disk: a file may not exceed 16 blocks.
    let mut small = Command::new("/bin/sh");
    small.args(["-c", "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_nssight")]);
    let full = run(wal.on(small).stdin(Stdio::null()).args(["--until", "nss-db"]));
    let report = full.report();
    assert_eq!(full.verdict(), ("nss-db".to_owned(), "tool-no-copy".to_owned()), "{report:#}");
    assert_eq!((report["verdict"]["component"].as_str(), full.code), (Some("tool"), Some(3)), "{report:#}");
    let summary = report["verdict"]["summary"].as_str().unwrap();
    assert!(summary.contains("TMPDIR") && summary.contains("WAL"), "{summary}");
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}

#[test]
fn a_database_without_end_is_not_copied() {
    let wal = Wal::new();
    let file = fs::File::options().write(true).open(wal.database.join("cert9.db")).unwrap();
    file.set_len(3 << 30).unwrap();
    let run = run(wal.diagnose().args(["--until", "nss-db"]));
    let report = run.report();
    assert_eq!(run.verdict(), ("nss-db".to_owned(), "tool-no-copy".to_owned()), "{report:#}");
    assert!(report["verdict"]["summary"].as_str().unwrap().contains("bytes"), "{report:#}");
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}

/// The other commands that pass the database to NSS.
#[test]
fn process_models_leave_a_database_in_wal_mode_as_it_is() {
    let wal = Wal::new();
    let before = fingerprint(&wal.database);
    let mut command = fresh();
    command.args(["process-model", "--only", "fresh-process", "--only", "fork-after-init", "--nickname", NICKNAME]);
    command.arg("--db").arg(&wal.database).arg("--password-file").arg(wal.case.password_file());
    let run = run(command.env("TMPDIR", &wal.temporary));
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(before == fingerprint(&wal.database), "the database was touched");
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}

#[test]
fn clients_leave_a_database_in_wal_mode_as_it_is() {
    let (wal, endpoint) = (Wal::new(), Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap());
    let before = fingerprint(&wal.database);
    let mut command = fresh();
    command.args(["clients", "--nickname", NICKNAME, "--pause", "0.05", "--bridge"]);
    command.arg(format!("localhost:{}", endpoint.port())).arg("--db").arg(&wal.database);
    let run = run(command.arg("--password-file").arg(wal.case.password_file()).env("TMPDIR", &wal.temporary));
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert!(before == fingerprint(&wal.database), "the database was touched");
    assert_eq!(wal.left(), Vec::<PathBuf>::new());
}
