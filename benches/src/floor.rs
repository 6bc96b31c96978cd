//! Compares `nssight diagnose --until outer-handshake` with the floor, a C program that only initialises NSS, logs in, finds certificate
//! and key, does a handshake and closes. Also measures `tstclnt`.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use nssight_fixtures::authority::{Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

use crate::{Competitor, Failure, NICKNAME, PASSWORD, RUNS, binary, in_turn, tool};

const SOURCE: &str = include_str!("floor.c");

/// Compiles the floor like any NSS client.
pub(crate) fn compile(directory: &Path) -> Result<PathBuf, Failure> {
    let (source, program) = (directory.join("floor.c"), directory.join("floor"));
    fs::write(&source, SOURCE)?;
    let asked = Command::new("pkg-config").args(["--cflags", "--libs", "nss", "nspr"]).output()?;
    let flags = String::from_utf8(asked.stdout)?;
    let mut cc = Command::new("cc");
    cc.args(["-O2", "-Wl,--as-needed", "-o"]).arg(&program).arg(&source).args(flags.split_whitespace());
    tool(&mut cc)?;
    Ok(program)
}

pub(crate) fn run() -> Result<(), Failure> {
    let directory = tempfile::tempdir()?;
    let floor = compile(directory.path())?;
    let password = directory.path().join("pw");
    fs::write(&password, format!("{PASSWORD}\n"))?;
    println!("one handshake against the floor, medians of {RUNS} runs in turn (aims: CPU 1.15, wall 1.25)");
    println!(
        "| database | key | TLS | the server | floor, CPU | CPU / floor | wall / floor | CPU / tstclnt | wall / tstclnt |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (kind, key) in [("RSA", KeyKind::Rsa(2048)), ("EC", KeyKind::Ec)] {
        let ca = Identity::self_signed(&Spec::new("Bench CA", Usage::Authority).key(key))?;
        let server = ca.issue(&Spec::new("bridge", Usage::Server).names(&["localhost"]).key(key))?;
        let client = ca.issue(&Spec::new("client", Usage::Client).key(key))?;
        for format in [DbFormat::Sql, DbFormat::Dbm] {
            let database = directory.path().join(format!("{kind}-{}", format.files()[0]));
            DbBuilder::new(format)
                .password(PASSWORD.as_bytes())
                .x509_identity(NICKNAME, &client.certificate, &client.key, "")?
                .x509("ca", &ca.certificate, "CT,C,C")?
                .build(&database)?;
            for version in [2, 3] {
                for sends_root in [true, false] {
                    let chain = if sends_root { vec![ca.certificate.clone()] } else { Vec::new() };
                    let identity = Identity { chain, ..server.clone() };
                    let options = Options::new(&identity, &ca);
                    let endpoint = Endpoint::start(if version == 2 { options.tls12() } else { options.tls13() })?;
                    let case =
                        Case { floor: &floor, database: format.directory(&database), password: &password, version };
                    let told = case.compare(&endpoint)?;
                    let root = if sends_root { "sends its root" } else { "does not" };
                    println!("| {} | {kind} | 1.{version} | {root} | {told} |", database_kind(format));
                }
            }
        }
    }
    println!();
    Ok(())
}

fn database_kind(format: DbFormat) -> &'static str {
    match format {
        DbFormat::Sql => "sql",
        DbFormat::Dbm => "dbm",
    }
}

struct Case<'a> {
    floor: &'a Path,
    database: std::ffi::OsString,
    password: &'a Path,
    /// The 2 in "TLS 1.2".
    version: u8,
}

impl Case<'_> {
    fn compare(&self, endpoint: &Endpoint) -> Result<String, Failure> {
        let (port, version) = (endpoint.port().to_string(), format!("tls1.{}", self.version));
        let mut floor = Command::new(self.floor);
        floor.arg(&self.database).arg(self.password).args([NICKNAME, "localhost", &port, &self.version.to_string()]);
        let mut nssight = Command::new(binary("nssight"));
        nssight.args(["diagnose", "--until", "outer-handshake", "--nickname", NICKNAME, "--db"]).arg(&self.database);
        nssight.arg("--password-file").arg(self.password).args(["--bridge", &format!("localhost:{port}")]);
        nssight.args(["--tls-min", &version, "--tls-max", &version]);
        let mut tstclnt = Command::new("tstclnt");
        tstclnt.args([
            "-4",
            "-Q",
            "-h",
            "localhost",
            "-p",
            &port,
            "-n",
            NICKNAME,
            "-V",
            &format!("{version}:{version}"),
        ]);
        tstclnt.arg("-d").arg(&self.database).arg("-W").arg(self.password);
        let mut contestants = [
            Competitor::new("nssight", nssight)?,
            Competitor::new("floor", floor)?,
            Competitor::new("tstclnt", tstclnt)?,
        ];
        in_turn(&mut contestants, RUNS)?;
        let expected = (RUNS + 1) * contestants.len();
        if endpoint.handshakes() != expected {
            return Err(format!("{} of {expected} handshakes were completed", endpoint.handshakes()).into());
        }
        let [own, floor, tstclnt] = contestants.each_ref().map(Competitor::medians);
        let ratio = |one: std::time::Duration, other: std::time::Duration| one.as_secs_f64() / other.as_secs_f64();
        Ok(format!(
            "{:.1} ms | {:.2} | {:.2} | {:.2} | {:.2}",
            floor.cpu.as_secs_f64() * 1e3,
            ratio(own.cpu, floor.cpu),
            ratio(own.wall, floor.wall),
            ratio(own.cpu, tstclnt.cpu),
            ratio(own.wall, tstclnt.wall),
        ))
    }
}
