//! First compares `nssight diagnose --until outer-handshake` with `tstclnt` and a python-nss script that do the same handshake with the
//! same database, in turn, as ratios of whole-process figures.
//!
//! Then compares it with a floor, the minimum work of any NSS client (`floor.c`); with files, with `openssl s_client`; a whole check with
//! the python-nss double-TLS client; many targets with `xargs -P` and `tstclnt` or the floor; and databases of 10,000 and 100,000
//! certificates with certutil. A part that is named on the command line runs alone: `handshake`, `floor`, `files`, `walk`, `check`,
//! `databases`, `triage`, `trace`, `exporter`.
//!
//! Figures are the kernel's own for each finished process and its children: CPU time (user and system), wall time, and the largest resident
//! set. The medians of the runs are compared. The kernel counts the memory of the process that starts another one as the new process's own,
//! so a small process starts each (`measured.rs`).

mod check;
mod databases;
mod exporter;
mod files;
mod floor;
mod latency;
mod measured;
mod trace;
mod triage;
mod walk;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use nssight_fixtures::authority::{Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use tempfile::NamedTempFile;

const RUNS: usize = 15;
const PASSWORD: &str = "bench-password";
const NICKNAME: &str = "client";
const PYTHON: &str = include_str!("handshake.py");

/// Contestants that must end with 0.
const MUST_SUCCEED: [&str; 5] = ["nssight", "python-nss", "floor", "traced", "untraced"];

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A part by its name.
type Part = (&'static str, fn() -> Result<(), Failure>);
const PARTS: [Part; 9] = [
    ("handshake", run),
    ("floor", floor::run),
    ("files", files::run),
    ("walk", walk::run),
    ("check", check::run),
    ("databases", databases::run),
    ("triage", triage::run),
    ("trace", trace::run),
    ("exporter", exporter::run),
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let result = match arguments.as_slice() {
        [make, directory] if make == databases::MAKE => databases::make(Path::new(directory)),
        [only, report, program, words @ ..] if only == measured::MEASURE => {
            measured::measure(Path::new(report), program, words).map_err(Failure::from)
        }
        names => PARTS
            .iter()
            .filter(|(name, _)| names.is_empty() || names.iter().any(|wanted| wanted == name))
            .try_for_each(|(_, part)| part()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let ca = Identity::self_signed(&Spec::new("Bench CA", Usage::Authority).key(KeyKind::Rsa(2048)))?;
    let bridge = ca.issue(&Spec::new("bridge", Usage::Server).names(&["localhost"]).key(KeyKind::Rsa(2048)))?;
    let client = ca.issue(&Spec::new("client", Usage::Client).key(KeyKind::Rsa(2048)))?;
    let password = directory.path().join("pw");
    fs::write(&password, format!("{PASSWORD}\n"))?;
    let built = directory.path().join("built");
    DbBuilder::new(DbFormat::Sql)
        .password(PASSWORD.as_bytes())
        .x509_identity(NICKNAME, &client.certificate, &client.key, "")?
        .x509("ca", &ca.certificate, "CT,C,C")?
        .build(&built)?;
    let by_tools = directory.path().join("by-tools");
    build_with_tools(&by_tools, &password, &ca, &client)?;
    let script = directory.path().join("handshake.py");
    fs::write(&script, PYTHON)?;

    for (what, database) in [("NSS's own tools", &by_tools), ("nssight's builder", &built)] {
        let endpoint = Endpoint::start(Options::new(&bridge, &ca))?;
        println!("one handshake, TLS 1.3, RSA-2048, database by {what}, medians of {RUNS} runs in turn");
        compare(database, &password, &script, &endpoint)?;
    }
    Ok(())
}

fn compare(database: &Path, password: &Path, script: &Path, endpoint: &Endpoint) -> io::Result<()> {
    let port = endpoint.port();
    let mut contestants = [
        Competitor::new("nssight", nssight(database, password, port))?,
        Competitor::new("tstclnt", tstclnt(database, password, port))?,
        Competitor::new("python-nss", python(script, database, password, port))?,
    ];
    in_turn(&mut contestants, RUNS)?;
    assert_eq!(endpoint.handshakes(), (RUNS + 1) * contestants.len(), "a contestant did not complete its handshake");
    println!("{:<12} {:>10} {:>10} {:>12}", "", "CPU", "wall", "peak memory");
    let medians: Vec<Figures> = contestants.iter().map(Competitor::medians).collect();
    for (contestant, figures) in contestants.iter().zip(&medians) {
        let (cpu, wall) = (figures.cpu.as_secs_f64() * 1e3, figures.wall.as_secs_f64() * 1e3);
        println!("{:<12} {cpu:>7.1} ms {wall:>7.1} ms {:>8.1} MiB", contestant.name, figures.peak_kib as f64 / 1024.0);
    }
    for (peer, aim) in [(1, "aim: CPU 1.3, memory 1.5"), (2, "aim: CPU 1.0")] {
        let (own, other) = (&medians[0], &medians[peer]);
        println!(
            "nssight / {}: CPU {:.2}, wall {:.2}, peak memory {:.2} ({aim})",
            contestants[peer].name,
            own.cpu.as_secs_f64() / other.cpu.as_secs_f64(),
            own.wall.as_secs_f64() / other.wall.as_secs_f64(),
            own.peak_kib as f64 / other.peak_kib as f64,
        );
    }
    println!();
    Ok(())
}

fn build_with_tools(database: &Path, password: &Path, ca: &Identity, client: &Identity) -> Result<(), Failure> {
    fs::create_dir(database)?;
    let beside = |name: &str| database.with_file_name(name);
    fs::write(beside("transport"), "transport\n")?;
    fs::write(beside("client.p12"), client.pkcs12(NICKNAME, "transport")?)?;
    fs::write(beside("ca.der"), ca.certificate.to_der()?)?;
    let sql = DbFormat::Sql.directory(database);
    tool(Command::new("certutil").arg("-N").arg("-d").arg(&sql).arg("-f").arg(password))?;
    let import = &mut Command::new("pk12util");
    tool(
        import
            .arg("-i")
            .arg(beside("client.p12"))
            .arg("-d")
            .arg(&sql)
            .arg("-k")
            .arg(password)
            .arg("-w")
            .arg(beside("transport")),
    )?;
    let add = &mut Command::new("certutil");
    tool(
        add.arg("-A")
            .arg("-d")
            .arg(&sql)
            .args(["-n", "ca", "-t", "CT,C,C", "-f"])
            .arg(password)
            .arg("-i")
            .arg(beside("ca.der")),
    )?;
    Ok(())
}

fn tool(command: &mut Command) -> io::Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        Ok(())
    } else {
        Err(io::Error::other(String::from_utf8_lossy(&output.stderr).into_owned()))
    }
}

/// A binary built together with this one.
fn binary(name: &str) -> PathBuf {
    let own = std::env::current_exe().ok();
    own.and_then(|path| Some(path.parent()?.join(name))).unwrap_or_else(|| PathBuf::from(name))
}

fn nssight(database: &Path, password: &Path, port: u16) -> Command {
    let mut command = Command::new(binary("nssight"));
    command.args(["diagnose", "--until", "outer-handshake", "--nickname", NICKNAME, "--db"]).arg(database);
    command.arg("--password-file").arg(password).args(["--bridge", &format!("localhost:{port}")]);
    command
}

fn tstclnt(database: &Path, password: &Path, port: u16) -> Command {
    let mut command = Command::new("tstclnt");
    command.args(["-4", "-Q", "-h", "localhost", "-p", &port.to_string(), "-n", NICKNAME, "-d"]);
    command.arg(DbFormat::Sql.directory(database)).arg("-W").arg(password);
    command
}

fn python(script: &Path, database: &Path, password: &Path, port: u16) -> Command {
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(DbFormat::Sql.directory(database)).args([NICKNAME, &port.to_string()]).arg(password);
    command
}

#[derive(Clone)]
struct Figures {
    cpu: Duration,
    wall: Duration,
    peak_kib: u64,
}

struct Competitor {
    name: &'static str,
    command: Command,
    report: NamedTempFile,
    figures: Vec<Figures>,
}

impl Competitor {
    fn new(name: &'static str, command: Command) -> io::Result<Self> {
        let report = NamedTempFile::new()?;
        let mut command = measured::started_by_a_small_process(&command, report.path())?;
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        Ok(Self { name, command, report, figures: Vec::new() })
    }

    fn medians(&self) -> Figures {
        fn median<T: Ord + Copy>(mut values: Vec<T>) -> T {
            values.sort_unstable();
            values[values.len() / 2]
        }
        Figures {
            cpu: median(self.figures.iter().map(|figures| figures.cpu).collect()),
            wall: median(self.figures.iter().map(|figures| figures.wall).collect()),
            peak_kib: median(self.figures.iter().map(|figures| figures.peak_kib).collect()),
        }
    }
}

/// Runs a command to its end, with the kernel's figures for it and for the children that it waited for (getrusage(2)).
fn measure(contestant: &mut Competitor) -> io::Result<Figures> {
    // tstclnt ends with 1 if its standard input is empty, and the endpoint's count shows how many succeeded. A program that compares, or
    // that finds a failure, also ends with 1.
    let codes: &[u64] = if MUST_SUCCEED.contains(&contestant.name) { &[0] } else { &[0, 1] };
    contestant.command.status()?;
    measured::read(contestant.report.path(), contestant.name, codes)
}

/// Each contestant once to warm up, and then in turn, so that a drift in the machine's speed affects all alike.
fn in_turn(contestants: &mut [Competitor], runs: usize) -> io::Result<()> {
    for round in 0..=runs {
        for contestant in contestants.iter_mut() {
            let figures = measure(contestant)?;
            if round > 0 {
                contestant.figures.push(figures);
            }
        }
    }
    Ok(())
}
