//! `nssight listen`: accepts clients in place of a server, and reports on each connection from the server's side.

mod acceptor;

use std::io::{self, IsTerminal, Write};
use std::net::TcpListener;
use std::process::ExitCode;

use nssight_diagnosis::verdict::diagnose;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Finding, Layer, Status};
use nssight_probes::expiry;
use nssight_probes::reception::{ListenServer, Reception};
use nssight_probes::report::{Report, SCHEMA};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Observer, Plan, SeenCertificate, Settings, Walk};
use nssight_reports::human::{Detail, Human};
use nssight_reports::terminal::{self, Kind};
use nssight_runner::{tool, worker};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use self::acceptor::{Acceptor, ServedConnection};
use crate::cli::{ListenOptions, TableFormat};
use crate::exit;
use crate::settings::{self, Wanted};

pub(crate) fn run(options: &ListenOptions) -> ExitCode {
    worker::protect();
    let plan = match Plan::of_a_server(None, Vec::new()) {
        Ok(plan) => plan,
        Err(error) => return exit::usage(error),
    };
    let overrides = options.overrides();
    let wanted = Wanted {
        config: options.config.as_deref(),
        overrides: &overrides,
        password: &options.password,
        until: plan.until,
        timeout: options.timeout,
    };
    let (settings, password) = match settings::load_or_ask(wanted) {
        Ok(loaded) => loaded,
        Err(error) => return exit::usage(error),
    };
    let mut walk = Walk::new(&settings, password);
    // The state of this host's NSS does not affect a session of OpenSSL.
    let is_nss = settings.target.as_ref().is_ok_and(|target| target.database().is_some());
    walk.run(&plan, |layer| is_nss || layer != Layer::Environment, &mut Unwatched);
    let Some(server) = ListenServer::of(&walk) else { return unfit(&settings, &plan, &walk.findings, options) };
    for finding in walk.findings.iter().filter(|finding| finding.status != Status::Pass) {
        terminal::say(format_args!("{}: {}", finding.layer, finding.summary));
    }
    let target = settings.target.as_ref().map(|target| target.summary(Layer::OuterHandshake));
    let Ok(target) = target else { return exit::usage("no identity to listen with") };
    match listen(options, server, &target) {
        Ok(code) => code,
        Err(error) => exit::failed(&error),
    }
}

/// The identity cannot be used at all: the report is that of `diagnose --role server`.
fn unfit(settings: &Settings, plan: &Plan, findings: &[Finding], options: &ListenOptions) -> ExitCode {
    let target = nssight_runner::walk::summary(Some(settings), plan);
    let report = report(target, Reception { findings: findings.to_vec(), wire: Vec::new(), certificates: Vec::new() });
    terminal::say("this identity is unusable, so nssight does not listen");
    match write(&report, None, options) {
        Ok(()) => ExitCode::from(exit::FAILED),
        Err(error) => exit::not_written(&error),
    }
}

fn listen(
    options: &ListenOptions,
    server: ListenServer,
    target: &nssight_probes::target::TargetSummary,
) -> io::Result<ExitCode> {
    let failed = |error| io::Error::other(format!("cannot listen on {}: {error}", options.address));
    let listener = TcpListener::bind(options.address).map_err(failed)?;
    let address = listener.local_addr()?;
    // A caller that learns the address may send a signal at once.
    let mut acceptor = Acceptor::new(listener, server, usize::from(options.at_once), options.timeout, options.count)?;
    terminal::say(format_args!("listening on {address}"));
    if !address.ip().is_loopback() {
        terminal::say(format_args!("anyone who can reach {address} can connect"));
    }
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let (mut count, mut failures) = (0u64, 0u64);
    while let Some(ServedConnection { from, began, reception }) = acceptor.next()? {
        count += 1;
        let mut report = report(target.clone(), reception);
        report.started = began.format(&Rfc3339).unwrap_or_else(|_| began.to_string());
        if let Some(hop) = report.hops.first_mut() {
            hop.name = "client".to_owned();
            hop.address = Some(from.to_string());
        }
        failures += u64::from(report.verdict.status != Outcome::Pass);
        match write(&report, Some((count, from)), options) {
            Ok(()) => {}
            // A closed pipe is not an error: the reader has finished.
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break,
            Err(error) => return Ok(exit::not_written(&error)),
        }
    }
    let cut = acceptor.close();
    if cut > 0 {
        terminal::say(format_args!("ended; closed {cut} open connections"));
    }
    Ok(ExitCode::from(match (count, failures) {
        (0, _) => exit::INCONCLUSIVE,
        (_, 0) => exit::PASSED,
        (_, _) => exit::FAILED,
    }))
}

fn report(target: nssight_probes::target::TargetSummary, reception: Reception) -> Report {
    let Reception { findings, wire, mut certificates } = reception;
    let mut verdict = diagnose(&findings, &target.names());
    // The text of the last layer says more than that it was reached.
    let last = findings.last().filter(|last| last.layer == Layer::OuterHandshake);
    if let (Outcome::Pass, Some(last)) = (verdict.status, last) {
        let warnings = findings.iter().filter(|finding| finding.status == Status::Warn);
        let warnings: Vec<String> = warnings.map(|it| format!("{}: {}", it.layer, it.summary)).collect();
        verdict.summary = match warnings.as_slice() {
            [] => last.summary.clone(),
            some => format!("{}; a warning at {}", last.summary, some.join("; ")),
        };
    }
    let started = OffsetDateTime::now_utc();
    let started = started.format(&Rfc3339).unwrap_or_else(|_| started.to_string());
    expiry::mark(&mut certificates, &mut Vec::new(), &started, target.thresholds);
    Report {
        schema: SCHEMA.to_owned(),
        tool: tool::tool(),
        started,
        host: tool::host(),
        // This side opens no connections.
        connections_opened: 0,
        verdict,
        hops: target.hops(),
        target,
        probes: findings,
        wire,
        certificates,
        // A revocation list affects only sessions of the database.
        revocation_lists: Vec::new(),
    }
}

/// Writes one report: for a terminal what is new with this connection, otherwise a line of JSON.
fn write(report: &Report, who: Option<(u64, std::net::SocketAddr)>, options: &ListenOptions) -> io::Result<()> {
    if options.output.format == TableFormat::Json {
        let line = serde_json::to_string(report).map_err(io::Error::other)?;
        let mut out = terminal::stdout(Kind::Json);
        return writeln!(out, "{line}").and_then(|()| out.flush());
    }
    let mut out = terminal::stdout(Kind::Text);
    let detail = if options.output.verbose { Detail::Verbose } else { Detail::Normal };
    if let Some((number, from)) = who {
        writeln!(out, "connection {number} from {from}")?;
    }
    let on_terminal = io::stdout().is_terminal();
    let mut human = Human::new(&mut out, terminal::width(on_terminal), detail);
    let is_new = |finding: &&Finding| who.is_none() || finding.layer >= Layer::Tcp;
    report.probes.iter().filter(is_new).try_for_each(|finding| human.layer(finding))?;
    human.verdict(report)?;
    writeln!(out)?;
    out.flush()
}

/// The check of our own identity shows no progress.
struct Unwatched;

impl Observer for Unwatched {
    fn entering(&mut self, _layer: Layer) {}
    fn found(&mut self, _finding: &Finding) {}
    fn seen(&mut self, _event: &WireEvent) {}
    fn met(&mut self, _certificate: &SeenCertificate) {}
    fn connected(&mut self, _connections: u32) {}
}
