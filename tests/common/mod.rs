//! Shared parts of the end-to-end tests: a directory, identities, databases, and the built binary.
// Each test binary uses its own part of this module, and the names are self-explanatory.
#![allow(dead_code, missing_docs, unreachable_pub)]

use std::ffi::OsStr;
use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use nssight_fixtures::authority::{Identity, KeyKind, Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde_json::Value;

/// The tests search everything that nssight leaves behind for this password.
pub const PASSWORD: &str = "correct-horse-7Zq";
pub const NICKNAME: &str = "sigul-client-cert";

/// Identities shared by many tests, because key generation takes time.
pub struct Pki {
    pub ca: Identity,
    pub other_ca: Identity,
    pub bridge: Identity,
    pub client: Identity,
    pub stranger: Identity,
}

pub static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let ca = Identity::self_signed(&Spec::new("Lab CA", Usage::Authority).key(KeyKind::Rsa(2048))).unwrap();
    let other_ca = Identity::authority("Other CA").unwrap();
    Pki {
        bridge: ca
            .issue(&Spec::new("bridge", Usage::Server).names(&["localhost", "127.0.0.1"]).key(KeyKind::Rsa(2048)))
            .unwrap(),
        client: ca.issue(&Spec::new("client", Usage::Client).key(KeyKind::Rsa(2048))).unwrap(),
        stranger: other_ca.issue(&Spec::new("stranger", Usage::Client)).unwrap(),
        ca,
        other_ca,
    }
});

/// A separate directory for one case, printed when the case fails.
pub struct Case {
    pub dir: tempfile::TempDir,
}

impl Case {
    pub fn new() -> Self {
        Self { dir: tempfile::Builder::new().prefix("nssight-test-").tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file and returns its path.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, content).unwrap();
        path
    }

    /// The usual database: our identity, and the CA with full trust.
    pub fn database(&self, format: DbFormat) -> PathBuf {
        self.database_of(format, &PKI.client, &[("lab-ca", &PKI.ca, "CT,C,C")])
    }

    pub fn database_of(
        &self,
        format: DbFormat,
        identity: &Identity,
        authorities: &[(&str, &Identity, &str)],
    ) -> PathBuf {
        let mut builder = DbBuilder::new(format).password(PASSWORD.as_bytes());
        builder = builder.x509_identity(NICKNAME, &identity.certificate, &identity.key, "").unwrap();
        for (nickname, authority, trust) in authorities {
            builder = builder.x509(nickname, &authority.certificate, trust).unwrap();
        }
        let path = self.path("db");
        builder.build(&path).unwrap();
        path
    }

    pub fn password_file(&self) -> PathBuf {
        self.file("pw", format!("{PASSWORD}\n"))
    }

    /// The same database, made by NSS's own tools.
    pub fn database_by_tools(&self, format: DbFormat) -> PathBuf {
        let path = self.path("db");
        fs::create_dir(&path).unwrap();
        let directory = format.directory(&path);
        let password = self.password_file();
        let transport = self.file("p12-pw", "transport\n");
        let p12 = self.file("client.p12", PKI.client.pkcs12(NICKNAME, "transport").unwrap());
        let ca = self.file("ca.der", PKI.ca.certificate.to_der().unwrap());
        tool("certutil", [OsStr::new("-N"), "-d".as_ref(), &directory, "-f".as_ref(), password.as_ref()]);
        tool(
            "pk12util",
            [
                OsStr::new("-i"),
                p12.as_ref(),
                "-d".as_ref(),
                &directory,
                "-k".as_ref(),
                password.as_ref(),
                "-w".as_ref(),
                transport.as_ref(),
            ],
        );
        tool(
            "certutil",
            [
                OsStr::new("-A"),
                "-d".as_ref(),
                &directory,
                "-n".as_ref(),
                "lab-ca".as_ref(),
                "-t".as_ref(),
                "CT,C,C".as_ref(),
                "-i".as_ref(),
                ca.as_ref(),
                "-f".as_ref(),
                password.as_ref(),
            ],
        );
        path
    }
}

/// Runs a tool that must be installed and must succeed.
pub fn tool<'a>(name: &str, arguments: impl IntoIterator<Item = &'a OsStr>) -> Output {
    let output = Command::new(name).args(arguments).stdin(Stdio::null()).output();
    let output = output.unwrap_or_else(|error| panic!("{name} must be installed (make deps): {error}"));
    assert!(
        output.status.success(),
        "{name}: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The result of a run of nssight.
#[derive(Debug)]
pub struct Run {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
    pub took: Duration,
}

impl Run {
    /// The one JSON document on standard output.
    pub fn report(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error} in {self:#?}"))
    }

    pub fn verdict(&self) -> (String, String) {
        let report = self.report();
        let text = |name: &str| report["verdict"][name].as_str().unwrap_or("-").to_owned();
        (text("layer"), text("cause"))
    }

    /// Layer, cause, component and confidence of the verdict, with `-` for an absent value.
    pub fn judged(&self) -> [String; 4] {
        let verdict = &self.report()["verdict"];
        ["layer", "cause", "component", "confidence"].map(|name| verdict[name].as_str().unwrap_or("-").to_owned())
    }

    /// Requires a failure with this cause, component and confidence, at any layer.
    pub fn is(&self, cause: &str, component: &str, confidence: &str) {
        assert_eq!(self.code, Some(1), "{self:#?}");
        assert_eq!(self.judged()[1..], [cause, component, confidence], "{self:#?}");
    }

    /// The value of the first fact of this name with a text value.
    pub fn word(&self, id: &str) -> Option<String> {
        let report = self.report();
        let mut facts =
            report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap());
        Some(facts.find(|fact| fact["id"] == id)?["value"].as_str().unwrap().to_owned())
    }
}

/// Names and contents of a bundle, in the order of the archive.
pub fn unpack(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(zstd::Decoder::new(std::fs::File::open(bundle).unwrap()).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, _>>| {
        let mut entry: tar::Entry<'_, zstd::Decoder<'_, _>> = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

/// Copies nssight to this place, in another process: a process that another test starts meanwhile would inherit the open file of this one,
/// and the copy could not be executed until that process ends.
pub fn copy_nssight(to: &Path) {
    tool("cp", [env!("CARGO_BIN_EXE_nssight").as_ref(), to.as_os_str()]);
}

pub fn binary() -> Command {
    plain(Command::new(env!("CARGO_BIN_EXE_nssight")))
}

/// Without input, and without variables that change its behaviour or its output.
fn plain(mut command: Command) -> Command {
    command.stdin(Stdio::null()).env_remove("NSS_DEFAULT_DB_TYPE").env_remove("NO_COLOR");
    command
}

/// nssight with the signal dispositions of a terminal: if the tests run in the background, SIGINT is ignored, and every child inherits this
/// (POSIX.1-2017, XCU 2.11).
pub fn fresh() -> Command {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP,INT,QUIT,TERM", env!("CARGO_BIN_EXE_nssight")]);
    plain(command)
}

/// A process that hangs is killed after this time, which is sufficient even on a busy machine.
const HANGS: Timespec = Timespec { tv_sec: 600, tv_nsec: 0 };

/// Runs a command to its end.
pub fn run(command: &mut Command) -> Run {
    let started = Instant::now();
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let child = child.unwrap_or_else(|error| {
        panic!("{command:?}: {error} (cases for other users need a checkout that every user can enter)")
    });
    let process = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let watchdog = std::thread::spawn(move || {
        if poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&HANGS)) == Ok(0) {
            pidfd_send_signal(&process, Signal::KILL).unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    watchdog.join().unwrap();
    let took = started.elapsed();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    let run = Run { code: output.status.code(), stdout: text(output.stdout), stderr: text(output.stderr), took };
    assert!(!run.stdout.contains(PASSWORD) && !run.stderr.contains(PASSWORD), "the password is shown: {run:#?}");
    run
}

/// `nssight diagnose --format json` with flags for a database and a port.
pub fn diagnose(database: &Path, password: &Path, port: u16) -> Command {
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "3", "--nickname", NICKNAME]);
    command.arg("--db").arg(database).arg("--password-file").arg(password);
    command.arg("--bridge").arg(format!("localhost:{port}"));
    command
}

/// Validates documents against the schema of their kind, and the schema in `docs/` against the types.
pub fn hold_to_schema(name: &str, documents: &[Value]) {
    let printed = run(binary().args(["schema", name]));
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("docs/{name}.schema.json"));
    let stale = format!("stale: nssight schema {name} > {}", file.display());
    assert!(printed.stdout == fs::read_to_string(&file).unwrap(), "{stale}");
    let validator = jsonschema::validator_for(&serde_json::from_str(&printed.stdout).unwrap()).unwrap();
    for document in documents {
        let errors: Vec<String> = validator.iter_errors(document).map(|error| error.to_string()).collect();
        assert_eq!(errors, Vec::<String>::new(), "{document:#}");
    }
}

/// Names, contents and times of everything in a directory; a difference means that something was touched.
pub fn fingerprint(directory: &Path) -> Vec<(PathBuf, u64, i64, i64, Vec<u8>)> {
    let mut files: Vec<_> = walk(directory);
    files.sort();
    files
}

fn walk(directory: &Path) -> Vec<(PathBuf, u64, i64, i64, Vec<u8>)> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let own = fs::metadata(directory).unwrap();
    let mut all = vec![(directory.to_owned(), 0, own.mtime(), own.mtime_nsec(), Vec::new())];
    for entry in entries.flatten() {
        let meta = fs::symlink_metadata(entry.path()).unwrap();
        if meta.is_dir() {
            all.extend(walk(&entry.path()));
        } else {
            let content = if meta.is_file() { fs::read(entry.path()).unwrap_or_default() } else { Vec::new() };
            all.push((entry.path(), u64::from(meta.mode()), meta.mtime(), meta.mtime_nsec(), content));
        }
    }
    all
}

pub mod exporter;
pub mod fleet;
pub mod lab;
pub mod listening;
pub mod servers;
pub mod sigul_v1;
pub mod siguldry;
pub mod situation;
pub mod stored;
pub mod trace;
pub mod world;
pub mod yaml;

/// As [`run`], and requires that nssight leaves a directory unchanged.
pub fn run_beside(command: &mut Command, directory: &Path) -> Run {
    let before = fingerprint(directory);
    let run = run(command);
    let after = fingerprint(directory);
    assert!(before == after, "{} was changed by a diagnosis", directory.display());
    run
}

/// A report without values that differ in every check: times, ports and random bytes.
pub fn timeless(mut report: Value) -> Value {
    let timed = [
        "clock.now",
        "tcp.local-address",
        "tcp.attempt",
        "db.opened-in",
        // Or kept open by the previous check, if that was long enough after the last change of the database.
        "db.opened-from",
        "bridge.waited",
        "session.client-random",
        "session.waited",
        "session.took",
        "session.wire",
    ];
    report["started"] = Value::Null;
    for probe in report["probes"].as_array_mut().unwrap() {
        probe["duration_us"] = Value::Null;
        if probe["layer"] == "tcp" {
            probe["summary"] = Value::Null;
        }
        let facts = probe["facts"].as_array_mut().unwrap();
        facts.retain(|fact| !timed.contains(&fact["id"].as_str().unwrap()));
    }
    for event in report["wire"].as_array_mut().unwrap() {
        event["at_us"] = Value::Null;
        // An ECDSA signature is sometimes a byte shorter.
        if event["what"].as_str().unwrap().starts_with("application data") {
            event["what"] = Value::Null;
        }
    }
    report
}
