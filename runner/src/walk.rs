//! One check from the configuration to the verdict: `config` here, the rest in a worker, retried where that may help.

use std::time::{Duration, Instant};

use nssight_diagnosis::verdict::diagnose;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Finding, Layer};
use nssight_probes::expiry::{self, Thresholds};
use nssight_probes::report::{self as schema, Report};
use nssight_probes::target::{CredentialsKind, PasswordSource, TargetSummary};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Observer, Plan, Profile, SeenCertificate, SeenRevocationList, Settings, Walk};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::crew::Spare;
use crate::passwords::Passwords;
use crate::stop::Stop;
use crate::supervisor::{self, Limits};
use crate::{copies, retries, tool};

/// A report with more events than this is of no use.
const EVENTS_AT_MOST: usize = 2000;

/// Receives the progress of a check.
pub trait Watcher {
    /// A layer is about to be entered.
    fn entering(&mut self, _layer: Layer) {}
    /// A layer has taken this long, out of the time that it may take.
    fn waiting(&mut self, _layer: Layer, _for: Duration, _at_most: Duration) {}
    /// A layer is done, and judged.
    fn found(&mut self, _finding: &Finding) {}
    /// Another attempt follows after this time.
    fn again(&mut self, _spacing: Duration, _which: Next) {}
}

/// Why another attempt follows.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The `number`th of at most `of` retries.
    Retry {
        /// From 1 on.
        number: u32,
        /// The maximum number of retries.
        of: u32,
    },
    /// The target is waited for, at most this much longer.
    Waiting(Duration),
}

/// What is retried.
#[derive(Clone, Copy, Default)]
pub struct Tries {
    /// How often a failure that may pass is retried.
    pub retries: u32,
    /// How long any failure is retried.
    pub wait: Option<Duration>,
}

/// A watcher that ignores everything.
pub struct Nobody;

impl Watcher for Nobody {}

/// Checks, and retries where that is configured and may help. Returns the report and the number of checks.
pub fn with_retries(
    settings: &Settings,
    plan: &Plan,
    passwords: Passwords,
    tries: Tries,
    stop: &Stop,
    watcher: &mut dyn Watcher,
) -> (Report, u32) {
    let (began, limits) = (Instant::now(), Limits { stop: Some(stop), ..Limits::default() });
    // Kept only for another attempt: without one, the worker has the only copy.
    let spare = (tries.retries > 0 || tries.wait.is_some()).then(|| passwords.again());
    let mut report = once(settings, plan, passwords, &limits, None, watcher);
    let mut number = 1;
    loop {
        let left = tries.wait.map(|wait| wait.saturating_sub(began.elapsed()));
        // An invalid target does not change: its configuration was read before.
        let waits = settings.target.is_ok() && report.verdict.status != Outcome::Pass;
        let next = match left.filter(|left| waits && *left > retries::SPACING) {
            Some(left) => Next::Waiting(left),
            None if number <= tries.retries && retries::is_worth_it(&report) => {
                Next::Retry { number, of: tries.retries }
            }
            None => return (report, number),
        };
        watcher.again(retries::SPACING, next);
        stop.rest(retries::SPACING);
        let Some(passwords) = spare.as_ref().map(Passwords::again).filter(|_| !stop.is_stopped()) else {
            return (report, number);
        };
        let later = once(settings, plan, passwords, &limits, None, watcher);
        report = match next {
            Next::Retry { .. } => retries::combine(report, later),
            Next::Waiting(_) => retries::latest(&report, later),
        };
        number += 1;
    }
}

/// A check whose report is part of another document: no progress is shown.
pub fn quietly(settings: &Settings, plan: &Plan, passwords: Passwords, retries: u32) -> Report {
    // Without this, a copy of the database may remain until the next start.
    let _ = copies::clear_on_signals(&copies::ENDING);
    with_retries(settings, plan, passwords, Tries { retries, wait: None }, &Stop::default(), &mut Nobody).0
}

/// One check within limits, by a worker that is kept for the next one if there is a place for it.
pub fn once(
    settings: &Settings,
    plan: &Plan,
    passwords: Passwords,
    limits: &Limits<'_>,
    spare: Option<&mut Spare>,
    watcher: &mut dyn Watcher,
) -> Report {
    let started = OffsetDateTime::now_utc();
    let mut seen = Seen { watcher, connections: 0, wire: Vec::new(), certificates: Vec::new(), lists: Vec::new() };
    let mut findings = first_layer(settings, plan, &mut seen);
    if let Ok(target) = &settings.target {
        findings = supervisor::walk(target, plan, findings, passwords, &mut seen, limits, spare);
    } else {
        for layer in plan.probes(None).map(|probe| probe.layer).filter(|layer| *layer != Layer::Config) {
            let finding = Finding::skipped(layer, Some(Layer::Config), "config failed".to_owned());
            seen.found(&finding);
            findings.push(finding);
        }
    }
    let target = summary(Some(settings), plan);
    let started = started.format(&Rfc3339).unwrap_or_else(|_| started.to_string());
    expiry::mark(&mut seen.certificates, &mut seen.lists, &started, target.thresholds);
    // The two sessions are recorded layer by layer; the reader needs the events in order of time.
    seen.wire.sort_by_key(|event| event.at_us);
    Report {
        schema: schema::SCHEMA.to_owned(),
        tool: tool::tool(),
        started,
        host: tool::host(),
        connections_opened: seen.connections,
        verdict: diagnose(&findings, &target.names()),
        hops: target.hops(),
        target,
        probes: findings,
        wire: seen.wire,
        certificates: seen.certificates,
        revocation_lists: seen.lists,
    }
}

/// `config` needs no NSS and is checked here; the worker does the rest.
fn first_layer(settings: &Settings, plan: &Plan, observer: &mut dyn Observer) -> Vec<Finding> {
    let mut walk = Walk::new(settings, None);
    walk.run(plan, |layer| layer == Layer::Config, observer);
    walk.findings
}

/// What is checked, for a report; there may be no configuration at all.
pub fn summary(settings: Option<&Settings>, plan: &Plan) -> TargetSummary {
    match settings.and_then(|settings| settings.target.as_ref().ok()) {
        Some(target) => target.summary(plan.until),
        None => TargetSummary {
            profile: Profile::default(),
            role: settings.and_then(|settings| settings.target.as_ref().err()?.role),
            serves: false,
            config_files: Vec::new(),
            database: None,
            nickname: None,
            credentials: CredentialsKind::default(),
            certificate_file: None,
            key_file: None,
            authorities_file: None,
            authorities_directory: None,
            server_name: None,
            bridge: None,
            server: None,
            user: None,
            tls_min: None,
            tls_max: None,
            password_source: PasswordSource::None.to_string(),
            until: plan.until,
            timeout_ms: settings
                .map_or(0, |settings| u64::try_from(settings.timeout().as_millis()).unwrap_or(u64::MAX)),
            thresholds: Thresholds::default(),
        },
    }
}

/// What is collected for the report during the check.
struct Seen<'a> {
    watcher: &'a mut dyn Watcher,
    connections: u32,
    wire: Vec<WireEvent>,
    certificates: Vec<SeenCertificate>,
    lists: Vec<SeenRevocationList>,
}

impl Observer for Seen<'_> {
    fn entering(&mut self, layer: Layer) {
        self.watcher.entering(layer);
    }

    fn waiting(&mut self, layer: Layer, elapsed: Duration, at_most: Duration) {
        self.watcher.waiting(layer, elapsed, at_most);
    }

    fn found(&mut self, finding: &Finding) {
        self.watcher.found(finding);
    }

    fn seen(&mut self, event: &WireEvent) {
        if self.wire.len() < EVENTS_AT_MOST {
            self.wire.push(event.clone());
        }
    }

    fn met(&mut self, certificate: &SeenCertificate) {
        self.certificates.push(certificate.clone());
    }

    fn listed(&mut self, list: &SeenRevocationList) {
        self.lists.push(list.clone());
    }

    fn connected(&mut self, connections: u32) {
        self.connections = connections;
    }
}
