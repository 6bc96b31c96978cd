//! Sets up real TLS servers with real faults, runs nssight on each, and compares the verdicts with the expected ones.
//!
//! `nssight-truth PROGRAM [--write FILE] [--reports DIR] [WORD…]`: with words, only the cases whose name or kind contains all of them.
//! `--write` writes the table of results into a page, `--reports DIR` the reports of wrong verdicts into a directory. It exits with 1 if a
//! verdict is wrong, too certain, or not certain enough.

mod case;
mod client;
mod late;
mod network;
mod page;
mod peer;
mod pki;
mod token;
mod verdict;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::thread;

use case::{Engine, Fault, Tls, Versions};
use nssight_peers::Setup;
use peer::{PEERS, Peer};
use pki::Pki;
use verdict::{Verdict, Wrong};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// A file of faults.
#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Faults {
    /// The kind of all of these faults.
    kind: String,
    fault: Vec<Fault>,
}

/// Every kind of fault, in the order of the page.
const KINDS: [&str; 10] = [
    include_str!("../faults.toml"),
    include_str!("../faults/healthy.toml"),
    include_str!("../faults/late.toml"),
    include_str!("../faults/applications.toml"),
    include_str!("../faults/trust.toml"),
    include_str!("../faults/chains.toml"),
    include_str!("../faults/clients.toml"),
    include_str!("../faults/databases.toml"),
    include_str!("../faults/tokens.toml"),
    include_str!("../faults/networks.toml"),
];

/// One case with its result.
pub(crate) struct Tried<'a> {
    /// The kind of the fault.
    pub(crate) kind: &'a str,
    /// The server.
    pub(crate) peer: &'static Peer,
    /// The fault.
    pub(crate) fault: &'a Fault,
    /// The TLS version of the server.
    pub(crate) version: Tls,
    /// The TLS library of the client.
    pub(crate) engine: Engine,
    /// nssight's verdict.
    pub(crate) verdict: Verdict,
    /// The mistake in the verdict, if any.
    pub(crate) wrong: Option<Wrong>,
}

impl Tried<'_> {
    /// The name that selects the case on the command line.
    fn name(&self) -> String {
        name(self.peer, self.fault, self.version, self.engine)
    }
}

fn name(peer: &Peer, fault: &Fault, version: Tls, engine: Engine) -> String {
    format!("{} {} {} {}", peer.name, fault.id, version.as_str(), engine.as_str())
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
    let (mut write, mut reports, mut words) = (None, None, Vec::new());
    while let Some(word) = arguments.next() {
        match word.as_str() {
            "--write" => write = Some(PathBuf::from(arguments.next().ok_or("--write needs a file")?)),
            "--reports" => reports = Some(PathBuf::from(arguments.next().ok_or("--reports needs a directory")?)),
            _ => words.push(word),
        }
    }
    if let Some(directory) = &reports {
        std::fs::create_dir_all(directory)?;
    }
    let kinds = KINDS.iter().map(|text| toml::from_str(text)).collect::<Result<Vec<Faults>, _>>()?;
    let pki = Pki::make()?;
    let faults = || kinds.iter().flat_map(|kind| kind.fault.iter().map(|fault| (kind.kind.as_str(), fault)));
    let mut cases = Vec::new();
    let both = || [Tls::V12, Tls::V13].into_iter().flat_map(|version| Engine::ALL.map(|engine| (version, engine)));
    for peer in PEERS.iter() {
        for (kind, fault) in faults() {
            for (version, engine) in both() {
                let name = name(peer, fault, version, engine);
                let wanted = words.iter().all(|word| name.split(' ').any(|part| part == word) || word == kind);
                if wanted && fault.is_tried(peer, version, engine) {
                    cases.push((kind, peer, fault, version, engine));
                }
            }
        }
    }
    let (next, done, broken) = (Mutex::new(cases.into_iter()), Mutex::new(Vec::new()), Mutex::new(Vec::new()));
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        let work = || -> Result<(), Failure> {
            loop {
                let Some((kind, peer, fault, version, engine)) = next.lock().expect("nobody panics with it").next()
                else {
                    return Ok(());
                };
                let (report, verdict, wrong) = match case_of(&program, &pki, peer, fault, version, engine) {
                    Ok(case) => case,
                    // This is not a verdict, right or wrong, and no reason to skip the other cases.
                    Err(error) => {
                        let what = format!("{}: {error}", name(peer, fault, version, engine));
                        eprintln!("not tried: {what}");
                        broken.lock().expect("nobody panics with it").push(what);
                        continue;
                    }
                };
                let tried = Tried { kind, peer, fault, version, engine, verdict, wrong };
                if let Some(wrong) = tried.wrong {
                    eprintln!("{}: {wrong:?}: {}", tried.name(), tried.verdict);
                    if let Some(directory) = &reports {
                        std::fs::write(directory.join(tried.name().replace(' ', "_")), report)?;
                    }
                }
                done.lock().expect("nobody panics with it").push(tried);
            }
        };
        let hands: Vec<_> = (0..jobs).map(|_| scope.spawn(work)).collect();
        hands.into_iter().try_for_each(|hand| hand.join().expect("it does not panic"))
    })?;
    let broken = broken.into_inner().map_err(|_| "a case ended in a panic")?;
    if let Some(first) = broken.first() {
        return Err(format!("{} cases could not be tried, the first of them {first}", broken.len()).into());
    }
    let mut done = done.into_inner().map_err(|_| "a case ended in a panic")?;
    done.sort_by_key(|tried| {
        let fault = faults().position(|(_, fault)| fault.id == tried.fault.id);
        (fault, PEERS.iter().position(|peer| peer.name == tried.peer.name), tried.engine, tried.version)
    });
    println!("{}", page::counts(&done));
    if let Some(file) = write {
        std::fs::write(file, page::page(&done))?;
    }
    Ok(done.iter().filter(|tried| tried.wrong.is_some()).count())
}

/// The report, its verdict, and the mistake in the verdict.
fn case_of(
    program: &Path,
    pki: &Pki,
    peer: &Peer,
    fault: &Fault,
    version: Tls,
    engine: Engine,
) -> Result<(Vec<u8>, Verdict, Option<Wrong>), Failure> {
    let directory = tempfile::tempdir()?;
    let place = directory.path().join("peer");
    std::fs::create_dir(&place)?;
    let identity = pki.certificate(&format!("server:{}", fault.server))?;
    let client_ca = &pki.authorities["client-ca"];
    let setup = Setup { directory: &place, identity, client_ca, asks: fault.asks, version };
    let running = peer.start(&setup, &fault.judge)?;
    let mut command = Command::new(program);
    let target =
        if peer.is_elsewhere() { network::target(&fault.host) } else { format!("{}:{}", fault.host, running.port) };
    command.args(["diagnose", "--format", "json", &target]).args(&fault.flags);
    if let Some(protocol) = peer.starttls() {
        command.args(["--starttls", protocol]);
    }
    match engine {
        Engine::Nss => client::arguments(fault, pki, directory.path(), &mut command)?,
        Engine::OpenSsl => client::files(fault, pki, directory.path(), &mut command)?,
    }
    if fault.versions == Versions::Apart {
        let other = if version == Tls::V12 { Tls::V13 } else { Tls::V12 };
        command.args(["--tls-min", other.as_str(), "--tls-max", other.as_str()]);
    }
    command.env_remove("NSS_DEFAULT_DB_TYPE");
    if peer.is_elsewhere() {
        command = network::within(fault, version, pki, directory.path(), &command)?;
    }
    let output = command.output()?;
    drop(running);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout)
        .map_err(|error| format!("{error}: {}", String::from_utf8_lossy(&output.stderr)))?;
    let verdict: Verdict = serde_json::from_value(report["verdict"].clone())?;
    let connections = report["connections_opened"].as_u64().unwrap_or(u64::MAX);
    let wrong = fault.expected(peer.name, version, engine).against(&verdict, connections, engine);
    Ok((output.stdout, verdict, wrong))
}
