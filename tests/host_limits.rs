//! A host without resources, and files that never end: the result is a timely finding, and no panic.

mod common;

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use common::{Case, binary, run};
use nssight_fixtures::nssdb::DbFormat;
use rustix::process::{Pid, Signal, kill_process};

/// A user that runs nothing else.
const ALONE: &str = "64321";
/// A process that hangs is ended, and its exit code then fails the test.
const PATIENCE: &str = "60";

/// nssight in a place where that user can run it, and a database that the user can read.
fn for_anybody(case: &Case) -> (PathBuf, PathBuf) {
    let database = case.database(DbFormat::Sql);
    let program = case.path("nssight");
    common::copy_nssight(&program);
    fs::set_permissions(case.path(""), fs::Permissions::from_mode(0o755)).unwrap();
    for path in
        fs::read_dir(&database).unwrap().map(|entry| entry.unwrap().path()).chain([database.clone(), program.clone()])
    {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }
    (program, database)
}

fn limited(program: &Path, limit: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--reuid", ALONE, "--regid", ALONE, "--clear-groups", "prlimit", limit]).arg(program);
    command.stdin(Stdio::null()).env("HOME", "/nonexistent");
    command
}

#[test]
fn a_host_without_threads_or_descriptors_is_a_finding() {
    assert!(rustix::process::geteuid().is_root(), "only root can be another user");
    let case = Case::new();
    let (program, database) = for_anybody(&case);
    let targets = case.file(
        "targets.toml",
        format!("[[target]]\nname = \"a\"\ndb = {:?}\nbridge = \"localhost:1\"\nuntil = \"private-key\"\n", database),
    );
    fs::set_permissions(&targets, fs::Permissions::from_mode(0o644)).unwrap();
    let mut found = 0;
    let limits =
        (1..=8).map(|number| format!("--nproc={number}")).chain((4..=16).map(|number| format!("--nofile={number}")));
    for limit in limits {
        for format in ["human", "json"] {
            let mut command = limited(&program, &limit);
            command.args(["diagnose", "--until", "private-key", "--format", format, "--db"]).arg(&database);
            let done = run(&mut command);
            let text = format!("{}{}", done.stdout, done.stderr);
            assert!(!text.contains("panicked"), "{limit}: {done:#?}");
            if done.code == Some(3) && text.contains("host-resources") {
                found += 1;
            }
            // With slightly higher limits everything passes, except for the password that was not given.
            assert!(matches!(done.code, Some(0 | 1 | 3)) || limit.contains("nofile"), "{limit}: {done:#?}");
        }
        let mut command = limited(&program, &limit);
        let done = run(command.arg("check").arg(&targets));
        assert!(done.code != Some(101) && !done.stderr.contains("panicked"), "{limit}: {done:#?}");
        let mut command = limited(&program, &limit);
        let done = run(command.args(["triage"]).arg(&targets));
        assert!(done.code != Some(101) && !done.stderr.contains("panicked"), "{limit}: {done:#?}");
    }
    assert!(found >= 4, "host-resources was named {found} times");
}

#[test]
fn an_exporter_without_descriptors_is_a_finding() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let target = format!("[[target]]\nname = \"a\"\ndb = {database:?}\nbridge = \"localhost:1\"\n");
    let targets = case.file("targets.toml", target);
    let mut found = 0;
    for number in 8..=40 {
        let mut command = Command::new("prlimit");
        command.arg(format!("--nofile={number}")).arg(binary().get_program());
        command.args(["exporter", "--listen", "127.0.0.1:0"]).arg(&targets).stdin(Stdio::null());
        let mut exporter = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let mut said = String::new();
        for line in BufReader::new(exporter.stderr.take().unwrap()).lines().map_while(Result::ok) {
            if line.contains("listening on") {
                kill_process(Pid::from_child(&exporter), Signal::TERM).unwrap();
            }
            said += &line;
        }
        let code = exporter.wait().unwrap().code();
        assert!(matches!(code, Some(0 | 3)) && !said.contains("panicked"), "{number}: {code:?} {said}");
        if code == Some(3) {
            assert!(said.contains("host-resources"), "{number}: {said}");
            found += 1;
        }
    }
    assert!((4..33).contains(&found), "host-resources was named {found} times");
}

#[test]
fn nothing_waits_for_a_pipe_that_nobody_writes_to() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let fifo = |name: &str| {
        let path = case.path(name);
        rustix::fs::mkfifoat(rustix::fs::CWD, &path, rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR).unwrap();
        path
    };
    let pipe = fifo("pipe");
    let broken = case.path("broken");
    fs::create_dir(&broken).unwrap();
    for file in ["cert9.db", "key4.db", "pkcs11.txt"] {
        fifo(&format!("broken/{file}"));
    }
    let report = case.file("report.json", "{}");
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<String>>();
    let (pipe, database, broken) = (pipe.to_str().unwrap(), database.to_str().unwrap(), broken.to_str().unwrap());
    let rows = [
        words(&["diagnose", "--db", database, "--until", "private-key", "--password-file", pipe]),
        words(&["diagnose", "--db", database, "--until", "private-key", "--password-stdin"]),
        words(&["diagnose", "-c", pipe]),
        words(&["diagnose", "--db", broken, "--until", "private-key"]),
        words(&["db", "inspect", broken]),
        words(&["compare", pipe, report.to_str().unwrap()]),
        words(&["compare", case.path("").to_str().unwrap(), pipe]),
        words(&["check", pipe]),
        words(&["exporter", pipe]),
        words(&["triage", pipe]),
        words(&["bundle", "--until", "config", "--dry-run", "--log", pipe, "--add-config", pipe]),
        words(&["trace", "--", pipe]),
    ];
    for row in rows {
        // A pipe that stays open without data; also as standard input.
        let (silent, _held) = std::io::pipe().unwrap();
        let mut command = Command::new("timeout");
        command.args(["--signal=KILL", PATIENCE]).arg(binary().get_program()).args(&row);
        let before = Instant::now();
        let output = command.stdin(silent).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code().is_some_and(|code| code != 137 && code != 101), "{row:?}: {text}");
        assert!(!text.contains("tool-timeout"), "{row:?} after {:?}: {text}", before.elapsed());
        assert!(!text.is_empty(), "{row:?}");
    }
}

#[test]
fn an_oversized_or_missing_report_is_reported_as_such() {
    let case = Case::new();
    let report = case.file("report.json", "{}");
    let large = case.path("large.json");
    fs::File::create(&large).unwrap().set_len(65 << 20).unwrap();
    let done = run(binary().arg("compare").args([&large, &report]));
    assert!(done.code == Some(3) && done.stderr.contains("too large") && !done.stderr.contains("EOF"), "{done:#?}");
    let done = run(binary().arg("compare").args([&case.path(""), &report]));
    assert!(done.code == Some(3) && done.stderr.contains("directory"), "{done:#?}");
}

#[test]
fn a_host_without_proc_is_told_from_a_program_without_nss() {
    let case = Case::new();
    let (program, database) = for_anybody(&case);
    let without = |words: &[&str]| {
        let mut command = Command::new("unshare");
        let script = "mount -t tmpfs none /proc && exec \"$@\"";
        command.args(["--mount", "sh", "-c", script, "sh"]).arg(&program).args(words).stdin(Stdio::null());
        run(&mut command)
    };
    let traced = without(&["trace", "--", "/bin/true"]);
    assert!(traced.code == Some(3) && traced.stderr.contains("/proc is not mounted"), "{traced:#?}");
    assert!(!traced.stdout.contains("no NSS call") && !traced.stderr.contains("no NSS call"), "{traced:#?}");
    let walked = without(&["diagnose", "--until", "private-key", "--db", database.to_str().unwrap()]);
    assert!(walked.code == Some(3) && walked.stdout.contains("/proc is not mounted"), "{walked:#?}");
}

#[test]
fn errors_of_the_system_are_printed_as_text() {
    let case = Case::new();
    let missing = case.path("missing");
    let missing = missing.to_str().unwrap();
    for words in [
        &["check", missing][..],
        &["compare", missing, missing],
        &["triage", missing],
        &["db", "inspect", missing],
        &["exporter", missing],
        &["diagnose", "--db", missing, "--until", "private-key", "--password-file", missing],
        &["diagnose", "--db", missing, "--until", "private-key", "-v"],
        &["diagnose", "-c", missing, "--format", "json"],
        &["bundle", "--until", "config", "--dry-run", "--log", missing],
    ] {
        let done = run(binary().args(words));
        let text = done.stdout + &done.stderr;
        let own = text.lines().filter(|line| !line.starts_with("    #")).collect::<Vec<_>>().join("\n");
        assert!(!own.contains("os error") && !own.contains("Some(") && !own.is_empty(), "{words:?}: {own}");
    }
}

/// Mounts a file system that answers no request, not even the kernel's first one, and runs a program in the same
/// namespace.
const HUNG: &str = "
import ctypes, os, subprocess, sys
place, command = sys.argv[1], sys.argv[2:]
fuse = os.open('/dev/fuse', os.O_RDWR)
libc = ctypes.CDLL(None, use_errno=True)
options = f'fd={fuse},rootmode=40000,user_id=0,group_id=0'.encode()
if libc.mount(b'hung', place.encode(), b'fuse', 0, options): sys.exit(os.strerror(ctypes.get_errno()))
child = subprocess.Popen(command, stdin=subprocess.DEVNULL)
try:
    code = child.wait(120)
except subprocess.TimeoutExpired:
    os.close(fuse)
    child.kill()
    sys.exit('it hangs')
print('ended with', code)
";

#[test]
fn an_unresponsive_file_system_is_abandoned() {
    assert!(rustix::process::geteuid().is_root(), "only root can mount");
    if !std::path::Path::new("/dev/fuse").exists() {
        println!("NOT TRIED: this kernel has no FUSE, by which a file system is made that does not answer");
        return;
    }
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let target = format!("[[target]]\nname = 'a'\ndb = {database:?}\nbridge = 'localhost:1'\n");
    let targets = case.file("targets.toml", target);
    let place = case.path("hung");
    fs::create_dir(&place).unwrap();
    let (place, targets) = (place.to_str().unwrap(), targets.to_str().unwrap());
    let log = format!("{place}/client.log");
    let state = format!("{place}/state");
    let rows: [&[&str]; 4] = [
        &["triage", &log],
        &["triage", place],
        &["bundle", "--until", "config", "--dry-run", "--log", &log],
        &["exporter", "--listen", "127.0.0.1:0", "--state", &state, targets],
    ];
    std::thread::scope(|scope| {
        for row in rows {
            scope.spawn(move || {
                let mut command = Command::new("unshare");
                command.args(["--mount", "/usr/bin/python3", "-c", HUNG, place]).arg(binary().get_program()).args(row);
                let done = run(command.stdin(Stdio::null()));
                let text = format!("{}{}", done.stdout, done.stderr);
                assert!(text.contains("ended with") && !text.contains("ended with -"), "{row:?}: {text}");
                assert!(text.contains("did not answer within"), "{row:?}: {text}");
            });
        }
    });
}
