//! Sets real TLS servers up with real faults, lets nssight diagnose each, and holds its verdicts to what was written down before.
//!
//! `nssight-truth PROGRAM [--write FILE] [WORD…]`: with words, only the cases whose name has all of them. `--write` puts the table of
//! results into a page. It exits with 1 if a verdict is wrong, surer than it can be, or less sure than it must be.

mod case;
mod client;
mod page;
mod peer;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::{LazyLock, Mutex};
use std::thread;

use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};

use case::{Fault, ServerIdentity, Tls, Verdict, Versions, Wrong};
use client::Clients;
use peer::{PEERS, Peer, Setup};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// The file of the faults.
#[derive(serde::Deserialize)]
struct Faults {
    fault: Vec<Fault>,
}

/// One case, and what came of it.
pub(crate) struct Tried<'a> {
    /// The server.
    pub(crate) peer: &'static Peer,
    /// What was wrong.
    pub(crate) fault: &'a Fault,
    /// The version that the server spoke.
    pub(crate) version: Tls,
    /// What nssight said.
    pub(crate) verdict: Verdict,
    /// What is wrong with that.
    pub(crate) wrong: Option<Wrong>,
}

impl Tried<'_> {
    /// As it can be asked for on the command line.
    fn name(&self) -> String {
        name(self.peer, self.fault, self.version)
    }
}

fn name(peer: &Peer, fault: &Fault, version: Tls) -> String {
    format!("{} {} {}", peer.name, fault.id, version.as_str())
}

fn main() -> ExitCode {
    match run() {
        Ok(0) => ExitCode::SUCCESS,
        Ok(wrong) => {
            eprintln!("{wrong} verdicts are not as they must be");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("nssight-truth: {error}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<usize, Failure> {
    let mut arguments = std::env::args().skip(1);
    let program = PathBuf::from(arguments.next().ok_or("name the program to be tried")?).canonicalize()?;
    let (mut write, mut words) = (None, Vec::new());
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--write" => write = Some(PathBuf::from(arguments.next().ok_or("--write needs a file")?)),
            _ => words.push(word),
        }
    }
    let faults: Faults = toml::from_str(include_str!("../faults.toml"))?;
    let servers = Servers::make()?;
    let clients = Clients::make()?;
    let mut cases = Vec::new();
    for peer in PEERS {
        for fault in &faults.fault {
            for version in [Tls::V12, Tls::V13] {
                let name = name(peer, fault, version);
                if words.iter().all(|word| name.split(' ').any(|part| part == word)) {
                    cases.push((peer, fault, version));
                }
            }
        }
    }
    let (next, done) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()));
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || -> Result<(), Failure> {
            loop {
                let Some((peer, fault, version)) = next.lock().expect("nobody panics with it").next() else {
                    return Ok(());
                };
                let tried = case_of(&program, &servers, &clients, peer, fault, version)
                    .map_err(|error| format!("{}: {error}", name(peer, fault, version)))?;
                if let Some(wrong) = tried.wrong {
                    eprintln!("{}: {wrong:?}: {:?}", tried.name(), tried.verdict);
                }
                done.lock().expect("nobody panics with it").push(tried);
            }
        };
        let hands: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        hands.into_iter().try_for_each(|hand| hand.join().expect("it does not panic"))
    })?;
    let mut done = done.into_inner().map_err(|_| "a case ended in a panic")?;
    done.sort_by_key(|tried| {
        let fault = faults.fault.iter().position(|fault| fault.id == tried.fault.id);
        (fault, PEERS.iter().position(|peer| peer.name == tried.peer.name), tried.version)
    });
    println!("{}", page::counts(&done));
    if let Some(file) = write {
        std::fs::write(file, page::page(&faults.fault, &done))?;
    }
    Ok(done.iter().filter(|tried| tried.wrong.is_some()).count())
}

fn case_of<'a>(
    program: &Path,
    servers: &Servers,
    clients: &Clients,
    peer: &'static Peer,
    fault: &'a Fault,
    version: Tls,
) -> Result<Tried<'a>, Failure> {
    let directory = tempfile::tempdir()?;
    let place = directory.path().join("peer");
    std::fs::create_dir(&place)?;
    let identity = servers.identity(fault.server);
    let setup = Setup { directory: &place, identity, client_ca: &clients.authority, asks: fault.asks, version };
    let running = peer.start(&setup)?;
    let mut command = Command::new(program);
    command.args(["diagnose", "--format", "json", &format!("localhost:{}", running.port)]);
    clients.arguments(fault, &servers.authority, directory.path(), &mut command)?;
    if fault.versions == Versions::Apart {
        let other = if version == Tls::V12 { Tls::V13 } else { Tls::V12 };
        command.args(["--tls-min", other.as_str(), "--tls-max", other.as_str()]);
    }
    let output = command.env_remove("NSS_DEFAULT_DB_TYPE").output()?;
    drop(running);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let verdict: Verdict = serde_json::from_value(report["verdict"].clone())?;
    let connections = report["connections_opened"].as_u64().unwrap_or(u64::MAX);
    let wrong = fault.expected(peer.name, version).against(&verdict, connections);
    Ok(Tried { peer, fault, version, verdict, wrong })
}

/// Where the Java server's class is; it is compiled once.
pub(crate) fn classes() -> Result<PathBuf, Failure> {
    static CLASSES: LazyLock<Result<tempfile::TempDir, String>> = LazyLock::new(|| {
        let directory = tempfile::tempdir().map_err(|error| error.to_string())?;
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/peers/Jsse.java");
        let output = Command::new("javac").arg("-d").arg(directory.path()).arg(source).output();
        let output = output.map_err(|error| format!("javac: {error}"))?;
        match output.status.success() {
            true => Ok(directory),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    });
    CLASSES.as_ref().map(|directory| directory.path().to_owned()).map_err(|error| error.clone().into())
}

/// Every identity that a server may have.
struct Servers {
    authority: Identity,
    all: Vec<(ServerIdentity, Identity)>,
}

impl Servers {
    fn make() -> Result<Self, Failure> {
        let authority = Identity::authority("Truth CA")?;
        let intermediate = authority.issue(&Spec::new("Truth Intermediate CA", Usage::Authority))?;
        let server = || Spec::new("localhost", Usage::Server).names(&["localhost", "127.0.0.1"]);
        let without = |identity: Identity| Identity { chain: Vec::new(), ..identity };
        let all = vec![
            (ServerIdentity::Good, authority.issue(&server())?),
            (ServerIdentity::Intermediate, intermediate.issue(&server())?),
            (ServerIdentity::NoIntermediate, without(intermediate.issue(&server())?)),
            (ServerIdentity::Expired, authority.issue(&server().valid(-60 * DAY, -DAY))?),
            (ServerIdentity::NotYetValid, authority.issue(&server().valid(30 * DAY, 60 * DAY))?),
            (ServerIdentity::OtherCa, Identity::authority("Another CA")?.issue(&server())?),
            (ServerIdentity::SelfSigned, Identity::self_signed(&server())?),
            (
                ServerIdentity::WrongName,
                authority.issue(&Spec::new("other", Usage::Server).names(&["db.example.org"]))?,
            ),
            (
                ServerIdentity::ClientUsage,
                authority.issue(&Spec::new("localhost", Usage::Client).names(&["localhost", "127.0.0.1"]))?,
            ),
        ];
        Ok(Self { authority, all })
    }

    fn identity(&self, wanted: ServerIdentity) -> &Identity {
        let found = self.all.iter().find(|(identity, _)| *identity == wanted);
        &found.expect("every identity is made").1
    }
}
