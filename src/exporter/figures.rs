//! The exporter's own metrics at `/metrics`.

use std::fmt;
use std::fs;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant, SystemTime};

use nssight_runner::tool::tool;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::walked::Walked;

/// Buckets from a check that ends at a local file to one that ends at its deadline.
const SECONDS: [f64; 10] = [0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

type Seconds = Gauge<f64, AtomicU64>;

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByResult {
    result: Origin,
}

impl EncodeLabelValue for Origin {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        self.as_str().encode(encoder)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByTarget {
    target: String,
}

/// Counters and gauges, and the registry that writes them.
pub(super) struct Figures {
    registry: Registry,
    probes: Family<ByResult, Counter>,
    unknown: Counter,
    walks: Family<ByOutcome, Counter>,
    walk_duration: Histogram,
    queue_duration: Histogram,
    in_flight: Gauge,
    queued: Gauge,
    targets: Gauge,
    last_walk: Family<ByTarget, Seconds>,
    reload_ok: Gauge,
    reloaded: Seconds,
    state_writable: Gauge,
    state_failures: Counter,
    connections: Gauge,
    connections_accepted: Counter,
    connections_evicted: Counter,
    resident: Gauge,
    descriptors: Gauge,
}

impl Figures {
    pub(super) fn new() -> Self {
        let histogram = || Histogram::new(SECONDS);
        let mut figures = Self {
            registry: Registry::default(),
            probes: Family::default(),
            unknown: Counter::default(),
            walks: Family::default(),
            walk_duration: histogram(),
            queue_duration: histogram(),
            in_flight: Gauge::default(),
            queued: Gauge::default(),
            targets: Gauge::default(),
            last_walk: Family::default(),
            reload_ok: Gauge::default(),
            reloaded: Seconds::default(),
            state_writable: Gauge::default(),
            state_failures: Counter::default(),
            connections: Gauge::default(),
            connections_accepted: Counter::default(),
            connections_evicted: Counter::default(),
            resident: Gauge::default(),
            descriptors: Gauge::default(),
        };
        figures.register();
        figures
    }

    fn register(&mut self) {
        let mut registry = Registry::default();
        let own = registry.sub_registry_with_prefix("nssight_exporter");
        let tool = tool();
        let versions = [("version", tool.version), ("nss", tool.nss), ("nspr", tool.nspr), ("openssl", tool.openssl)];
        own.register("build", "Version of nssight and of its libraries", Info::new(versions.to_vec()));
        own.register("probes", "Answers to /probe, by origin", self.probes.clone());
        own.register("unknown_targets", "Requests for targets that are not in the file", self.unknown.clone());
        own.register("walks", "Finished checks, by result", self.walks.clone());
        let seconds = || Unit::Seconds;
        own.register_with_unit(
            "walk_duration",
            "Duration of checks, including retries",
            seconds(),
            self.walk_duration.clone(),
        );
        let help = "Time that checks waited for their bridge and for a free job";
        own.register_with_unit("queue_duration", help, seconds(), self.queue_duration.clone());
        own.register("walks_in_flight", "Running checks", self.in_flight.clone());
        own.register("walks_queued", "Checks that wait for their bridge or for a free job", self.queued.clone());
        own.register("targets", "Targets in the file", self.targets.clone());
        let help = "End of the last check of a target, Unix time; 0 if it was never checked";
        own.register_with_unit("target_last_walk_timestamp", help, seconds(), self.last_walk.clone());
        own.register(
            "config_last_reload_successful",
            "Whether the last reload of the targets file succeeded",
            self.reload_ok.clone(),
        );
        let help = "Time of the last successful reload of the targets file, Unix time";
        own.register_with_unit("config_last_reload_success_timestamp", help, seconds(), self.reloaded.clone());
        own.register(
            "state_writable",
            "Whether the last result was saved, or need not be saved",
            self.state_writable.clone(),
        );
        own.register("state_write_failures", "Results that could not be saved", self.state_failures.clone());
        own.register("connections", "Open connections", self.connections.clone());
        own.register("connections_accepted", "Accepted connections", self.connections_accepted.clone());
        own.register(
            "connections_evicted",
            "Connections closed because too many were open",
            self.connections_evicted.clone(),
        );
        let started = Seconds::default();
        started.set(unix_now());
        registry.register_with_unit("process_start_time", "Start time of this process, Unix time", seconds(), started);
        let help = "Resident memory of this process, without its workers";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, self.resident.clone());
        registry.register("process_open_fds", "Open descriptors", self.descriptors.clone());
        self.state_writable.set(1);
        self.registry = registry;
    }

    /// The metrics in OpenMetrics.
    pub(super) fn openmetrics(&self) -> String {
        self.resident.set(resident_bytes().unwrap_or(0));
        // The descriptor of this directory is counted, too.
        let descriptors = fs::read_dir("/proc/self/fd").map_or(0, |entries| entries.count().saturating_sub(1));
        self.descriptors.set(i64::try_from(descriptors).unwrap_or(i64::MAX));
        let mut text = String::new();
        // A write to a String does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }

    pub(super) fn probed(&self, result: Origin) {
        self.probes.get_or_create(&ByResult { result }).inc();
    }

    pub(super) fn asked_for_unknown(&self) {
        self.unknown.inc();
    }

    pub(super) fn set_targets<'a>(&self, targets: impl ExactSizeIterator<Item = (&'a str, Option<&'a Walked>)>) {
        self.targets.set(i64::try_from(targets.len()).unwrap_or(i64::MAX));
        self.last_walk.clear();
        for (name, last) in targets {
            self.set_last_walk(name, last.map_or(0.0, Walked::timestamp));
        }
        self.reload_ok.set(1);
        self.reloaded.set(unix_now());
    }

    pub(super) fn not_reloaded(&self) {
        self.reload_ok.set(0);
    }

    fn set_last_walk(&self, target: &str, when: f64) {
        self.last_walk.get_or_create(&ByTarget { target: target.to_owned() }).set(when);
    }

    pub(super) fn walked(&self, walked: &Walked) {
        let outcome = walked.subject.report.verdict.status.as_str();
        self.walks.get_or_create(&ByOutcome { outcome }).inc();
        self.walk_duration.observe(walked.subject.duration.as_secs_f64());
    }

    /// Records the check of a target in the file.
    pub(super) fn walked_last(&self, walked: &Walked) {
        self.set_last_walk(&walked.subject.name, walked.timestamp());
    }

    /// Counts a check as waiting for as long as the result lives.
    pub(super) fn queue(&self) -> Counted {
        Counted::new(&self.queued, Some(&self.queue_duration))
    }

    /// Counts a check as running for as long as the result lives.
    pub(super) fn walk(&self) -> Counted {
        Counted::new(&self.in_flight, None)
    }

    /// Whether this failure is the first since the last success.
    pub(super) fn state_failed(&self) -> bool {
        self.state_failures.inc();
        self.state_writable.set(0) == 1
    }

    /// Whether this success is the first since a failure.
    pub(super) fn state_kept(&self) -> bool {
        self.state_writable.set(1) == 0
    }

    pub(super) fn connected(&self) {
        self.connections_accepted.inc();
    }

    pub(super) fn evicted(&self) {
        self.connections_evicted.inc();
    }

    pub(super) fn connections(&self, open: usize) {
        self.connections.set(i64::try_from(open).unwrap_or(i64::MAX));
    }
}

/// The origin of a scrape's result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// The scrape started a check.
    Walked,
    /// The scrape waited for a running check.
    Shared,
    /// The cached result was recent enough.
    Cached,
    /// The check takes longer than the scrape waits, so the scrape gets the previous result, if any.
    Stale,
}

impl Origin {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Walked => "walked",
            Self::Shared => "shared",
            Self::Cached => "cached",
            Self::Stale => "stale",
        }
    }
}

/// Counts an item in a gauge until dropped.
pub(super) struct Counted {
    gauge: Gauge,
    duration: Option<Histogram>,
    since: Instant,
}

impl Counted {
    fn new(gauge: &Gauge, duration: Option<&Histogram>) -> Self {
        gauge.inc();
        // Clones count as one.
        Self { gauge: gauge.clone(), duration: duration.cloned(), since: Instant::now() }
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.gauge.dec();
        if let Some(duration) = &self.duration {
            duration.observe(self.since.elapsed().as_secs_f64());
        }
    }
}

fn unix_now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO).as_secs_f64()
}

/// VmRSS of proc_pid_status(5), which is in KiB.
fn resident_bytes() -> Option<i64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<i64>().ok()? * 1024)
}
