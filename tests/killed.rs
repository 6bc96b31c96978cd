//! Parent and worker are killed at random moments: no process, file or socket is left behind, and no byte of a database changes.
//!
//! `NSSIGHT_KILLS` sets the number of moments, and `NSSIGHT_KILL_SEED` repeats those of another run.

mod common;

use std::collections::hash_map::RandomState;
use std::fs::{self, File};
use std::hash::{BuildHasher, Hasher};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{ChildStderr, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use common::fleet::{silent, workers};
use common::{Case, NICKNAME, PKI, fingerprint, fresh, run};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus, kill_process, set_child_subreaper, wait};
use serde_json::Value;

const MOMENTS: &str = "NSSIGHT_KILLS";
const SEED: &str = "NSSIGHT_KILL_SEED";
/// Set if this process has separate file systems where nssight writes files.
const INSIDE: &str = "NSSIGHT_KILL_INSIDE";
/// Anything that still exists after this time stays forever.
const PATIENCE: Duration = Duration::from_secs(60);

/// splitmix64.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn up_to(&mut self, most: Duration) -> Duration {
        Duration::from_micros(self.next() % (most.as_micros() as u64 + 1))
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum What {
    Diagnose,
    Check,
    Exporter,
    Bundle,
    Trace,
}

const ALL: [What; 5] = [What::Diagnose, What::Check, What::Exporter, What::Bundle, What::Trace];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whom {
    Parent,
    /// In a trace, the traced program.
    Worker,
}

/// The signals, and the process that gets each.
const HOW: [&[(Whom, Signal)]; 8] = [
    &[(Whom::Parent, Signal::KILL)],
    &[(Whom::Worker, Signal::KILL)],
    &[(Whom::Parent, Signal::TERM)],
    &[(Whom::Worker, Signal::TERM)],
    &[(Whom::Parent, Signal::INT)],
    &[(Whom::Worker, Signal::INT)],
    &[(Whom::Parent, Signal::STOP), (Whom::Parent, Signal::KILL)],
    &[(Whom::Worker, Signal::STOP), (Whom::Worker, Signal::KILL)],
];
/// The worker is stopped when its parent dies. A traced program is not part of nssight, and would wait for the process that stopped it.
const ORPHAN: &[(Whom, Signal)] = &[(Whom::Worker, Signal::STOP), (Whom::Parent, Signal::KILL)];

/// The environment of all runs.
struct Field {
    case: Case,
    /// In WAL mode.
    database: PathBuf,
    /// For a traced program: it may itself change a database in WAL mode.
    plain: PathBuf,
    password: PathBuf,
    log: PathBuf,
    temporary: PathBuf,
    output: PathBuf,
    state: PathBuf,
    silent: Endpoint,
    answering: Endpoint,
}

impl Field {
    fn new() -> Self {
        let case = Case::new();
        let plain = case.database(DbFormat::Sql);
        let database = case.path("wal");
        common::tool("cp", ["-r".as_ref(), plain.as_os_str(), database.as_os_str()]);
        for name in ["cert9.db", "key4.db"] {
            let script = "import sqlite3, sys\nsqlite3.connect(sys.argv[1]).execute('pragma journal_mode=wal')";
            let file = database.join(name);
            common::tool("/usr/bin/python3", ["-c".as_ref(), script.as_ref(), file.as_os_str()]);
        }
        let [temporary, output, state] = ["tmp", "output", "state"].map(|name| case.path(name));
        for directory in [&temporary, &output, &state] {
            fs::create_dir(directory).unwrap();
        }
        let line = "Nov 28 10:00:00 host sigul[7]: client: an attempt, token=abcdefghij0123456789\n";
        Self {
            password: case.password_file(),
            log: case.file("client.log", line.repeat(200)),
            silent: silent(),
            answering: Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap(),
            case,
            database,
            plain,
            temporary,
            output,
            state,
        }
    }

    fn targets(&self, endpoint: &Endpoint) -> PathBuf {
        let target = |name: &str| {
            format!(
                "[[target]]\nname = '{name}'\ndb = '{}'\nnickname = '{NICKNAME}'\npassword-file = '{}'\nbridge = \
                 'localhost:{}'\ntimeout = 5\n",
                self.database.display(),
                self.password.display(),
                endpoint.port()
            )
        };
        self.case.file(&format!("{}.toml", endpoint.port()), target("a") + &target("b"))
    }

    fn command(&self, what: What) -> Command {
        let mut command = fresh();
        let walked = |command: &mut Command, endpoint: &Endpoint| {
            command.arg("--db").arg(&self.database).args(["--nickname", NICKNAME, "--timeout", "5"]);
            command.arg("--password-file").arg(&self.password);
            command.args(["--bridge", &format!("localhost:{}", endpoint.port())]);
        };
        let report = self.output.join("report");
        match what {
            What::Diagnose => {
                command.args(["diagnose", "--format", "json", "--output"]).arg(report);
                walked(&mut command, &self.silent);
            }
            What::Check => {
                command.args(["check", "--format", "json", "--output"]).arg(report);
                command.arg(self.targets(&self.silent));
            }
            What::Exporter => {
                command.args(["exporter", "--listen", "127.0.0.1:0", "--cache", "0.05", "--state"]).arg(&self.state);
                command.arg(self.targets(&self.answering));
            }
            What::Bundle => {
                command.args(["bundle", "--force", "-o"]).arg(self.output.join("b.tar.zst"));
                command.arg("--log").arg(&self.log);
                walked(&mut command, &self.answering);
            }
            What::Trace => {
                // One process: processes that outlive a program keep the library, and therefore its path, in their environment.
                command.args(["trace", "--format", "json", "--output"]).arg(report);
                command.args(["--", "certutil", "-L", "-d"]).arg(format!("sql:{}", self.plain.display()));
            }
        }
        command.env("TMPDIR", &self.temporary).env_remove("XDG_RUNTIME_DIR");
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// Starts the command. An exporter gets requests for checks continuously.
    fn start(&self, what: What) -> Started {
        let mut child = self.command(what).spawn().unwrap();
        let stderr = child.stderr.take().unwrap();
        let pid = Pid::from_child(&child);
        // Ended processes are waited for below, together with the orphans that this process inherits.
        drop(child);
        Started { pid, said: thread::spawn(move || listen(stderr)) }
    }

    /// The time until the command reaches its longest step, or ends.
    fn horizon(&self, what: What) -> Duration {
        let (begun, before) = (Instant::now(), self.silent.connections());
        let started = self.start(what);
        let address = || fs::read_dir(&self.state).unwrap().flatten().count() > 0;
        while started.lives() && self.silent.connections() == before && !(what == What::Exporter && address()) {
            assert!(begun.elapsed() < PATIENCE, "{what:?} does nothing");
            thread::sleep(Duration::from_millis(1));
        }
        let horizon = begun.elapsed();
        let _ = kill_process(started.pid, Signal::TERM);
        let status = all_gone(started.pid);
        let (said, _) = started.said.join().unwrap();
        assert!(!matches!(status.exit_status(), Some(2 | 101)), "{what:?}: {said}");
        horizon + horizon / 5
    }

    /// Kills the command at a given moment, and checks what is left.
    fn kill(&self, what: What, how: &[(Whom, Signal)], moment: Duration, pause: Duration) {
        let before = [&self.database, &self.plain].map(|path| fingerprint(path));
        let started = self.start(what);
        thread::sleep(moment);
        for (number, (whom, signal)) in how.iter().enumerate() {
            if number > 0 {
                thread::sleep(pause);
            }
            let worker = workers(started.number()).into_iter().find(|pid| how != ORPHAN || executes(*pid));
            let worker = worker.and_then(Pid::from_raw);
            // If there is no worker, only the parent can be killed.
            let victim = worker.filter(|_| *whom == Whom::Worker).unwrap_or(started.pid);
            let _ = kill_process(victim, *signal);
        }
        let killed = how.iter().any(|(whom, signal)| (*whom, *signal) == (Whom::Parent, Signal::KILL));
        if what == What::Exporter && !killed {
            // The parent continues without the worker.
            let _ = kill_process(started.pid, Signal::TERM);
        }
        let status = all_gone(started.pid);
        let (said, address) = started.said.join().unwrap();
        assert!(!said.contains("panicked") && status.exit_status() != Some(101), "{status:?}: {said}");
        if let Some(address) = address {
            assert!(TcpStream::connect(address).is_err(), "{address} still listens");
        }
        // The next run must remove the files of a killed parent, including those that the parent did not know about.
        if status.signaled() && status.terminating_signal() == Some(Signal::KILL.as_raw()) {
            self.next(what);
        }
        let after = [&self.database, &self.plain].map(|path| fingerprint(path));
        assert!(before == after, "a database was touched");
        self.nothing_left();
    }

    /// The next run of the same command, or one with the same cleanup.
    fn next(&self, what: What) {
        let mut command = fresh();
        match what {
            What::Exporter => {
                let started = self.start(what);
                while started.lives() && workers(started.number()).is_empty() {
                    thread::sleep(Duration::from_millis(1));
                }
                kill_process(started.pid, Signal::TERM).unwrap();
                assert_eq!(all_gone(started.pid).exit_status(), Some(0));
                started.said.join().unwrap();
                return;
            }
            What::Trace => command.args(["trace", "--", "true"]),
            _ => command.args(["diagnose", "--until", "nss-db", "--db"]).arg(&self.database),
        };
        let next = run(command.env("TMPDIR", &self.temporary).env_remove("XDG_RUNTIME_DIR"));
        assert_eq!(next.code, Some(0), "{next:#?}");
    }

    /// Files are complete or absent, and there are no others.
    fn nothing_left(&self) {
        for place in [self.temporary.as_path(), Path::new("/run"), Path::new("/dev/shm")] {
            assert_eq!(names(place), Vec::<String>::new(), "{}", place.display());
        }
        for name in names(&self.output) {
            let path = self.output.join(&name);
            match name.as_str() {
                "report" => drop(serde_json::from_slice::<Value>(&fs::read(&path).unwrap()).expect("a whole report")),
                "b.tar.zst" => {
                    let mut archive = tar::Archive::new(zstd::Decoder::new(File::open(&path).unwrap()).unwrap());
                    let read = |entry: std::io::Result<tar::Entry<'_, _>>| entry.unwrap().read_to_end(&mut Vec::new());
                    let sizes: Vec<usize> = archive.entries().unwrap().map(|entry| read(entry).unwrap()).collect();
                    assert!(sizes.len() > 5, "{sizes:?}");
                }
                _ => panic!("{name} stayed beside the output"),
            }
            fs::remove_file(&path).unwrap();
        }
        for name in names(&self.state) {
            assert!(name.ends_with(".json"), "{name} stayed in the state");
            serde_json::from_slice::<Value>(&fs::read(self.state.join(name)).unwrap()).expect("a whole state");
        }
    }
}

/// Whether the process has executed its own program by now. A process that is stopped between fork and exec cannot react to anything,
/// including the end of its parent, and no call arranges this with the kernel beforehand.
fn executes(pid: i32) -> bool {
    let words = fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    words.split('\0').nth(1) == Some("worker")
}

fn names(directory: &Path) -> Vec<String> {
    let entries = fs::read_dir(directory).unwrap().flatten();
    entries.map(|entry| entry.file_name().into_string().unwrap()).collect()
}

struct Started {
    pid: Pid,
    /// Its output, and the address on which an exporter listened.
    said: JoinHandle<(String, Option<SocketAddr>)>,
}

impl Started {
    fn number(&self) -> u32 {
        self.pid.as_raw_nonzero().get().unsigned_abs()
    }

    fn lives(&self) -> bool {
        common::fleet::lives(self.pid.as_raw_nonzero().get())
    }
}

/// Reads until the end, and requests checks from an exporter until it no longer answers.
fn listen(stderr: ChildStderr) -> (String, Option<SocketAddr>) {
    let (mut lines, mut said, mut address) = (BufReader::new(stderr), String::new(), None);
    while lines.read_line(&mut said).unwrap() > 0 {
        let last = said.lines().last().unwrap_or_default();
        let Some((_, listening)) = last.split_once("listening on http://") else { continue };
        let at: SocketAddr = listening.trim().parse().unwrap();
        address = Some(at);
        while ask(at).is_ok() {}
    }
    (said, address)
}

fn ask(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(b"GET /probe?target=a HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    match stream.read_to_end(&mut Vec::new())? {
        0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
        _ => Ok(()),
    }
}

/// Waits until this process has no child left, including nssight's children that this process inherited. Returns how `parent` ended.
fn all_gone(parent: Pid) -> WaitStatus {
    let until = Instant::now() + PATIENCE;
    let mut ended = None;
    loop {
        match wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == parent => ended = Some(status),
            Ok(Some(_)) => {}
            Ok(None) if Instant::now() > until => {
                let left = workers(std::process::id());
                let name = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                panic!("{:?} are still there", left.iter().map(|pid| (*pid, name(pid))).collect::<Vec<_>>());
            }
            Ok(None) => thread::sleep(Duration::from_millis(1)),
            Err(Errno::CHILD) => return ended.expect("it was a child of this process"),
            Err(error) => panic!("{error}"),
        }
    }
}

#[test]
fn nothing_is_left_behind_after_a_kill_at_a_random_moment() {
    if std::env::var_os(INSIDE).is_none() {
        return inside();
    }
    // Orphans become children of this process, so that none is lost.
    set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let seed = number(SEED).unwrap_or_else(|| RandomState::new().build_hasher().finish());
    let mut random = Random(seed);
    let field = Field::new();
    let horizons = ALL.map(|what| field.horizon(what));
    println!("{SEED}={seed}, up to {horizons:?}");
    fs::set_permissions(&field.database, fs::Permissions::from_mode(0o700)).unwrap();
    for turn in 0..number(MOMENTS).unwrap_or(40) as usize {
        let kind = turn % ALL.len();
        let (what, horizon) = (ALL[kind], horizons[kind]);
        // All commands are combined with all signals.
        let how = HOW[(turn / ALL.len()) % HOW.len()];
        let turned = how.len() == 2 && what != What::Trace && random.next().is_multiple_of(2);
        let how = if turned { ORPHAN } else { how };
        let (moment, pause) = (random.up_to(horizon), random.up_to(Duration::from_millis(30)));
        println!("{turn}: {what:?} after {moment:?}, {how:?} within {pause:?}");
        field.kill(what, how, moment, pause);
    }
}

/// The same in separate file systems, where every file left behind is nssight's.
fn inside() {
    assert!(rustix::process::geteuid().is_root(), "only root can mount");
    let mount = "mount --no-mtab -t tmpfs -o";
    let prepare = format!("{mount} mode=0755 own /run && {mount} mode=1777 own /dev/shm && exec \"$@\"");
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", &prepare, "sh"]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", "nothing_is_left_behind_after_a_kill_at_a_random_moment", "--nocapture"]);
    let status = command.env(INSIDE, "1").status().expect("util-linux must be installed");
    assert!(status.success(), "{status}");
}
