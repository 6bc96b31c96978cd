//! `nssight compare`: compares the report of a working host with that of a failing host.

mod joined;
mod read;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;

use colored::Colorize;
use nssight_diagnosis::fact::{FactId, Key, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, CertificateRole, Layer, Status};
use nssight_probes::SeenCertificate;
use nssight_probes::plan::{layers, needs_of};
use nssight_probes::target::{Setting, TargetSummary, TlsVersion};
use nssight_reports::terminal;
use schemars::JsonSchema;
use serde::Serialize;

use self::joined::Joined;
use self::read::{BEFORE, Fact, Finding, Report, read, report};
use crate::cli::{ReportsOptions, TableFormat};
use crate::exit;

/// A layer differs if its duration on one side is at least this many times that on the other,
const SLOWER: u64 = 10;
/// and at least this long, in microseconds.
const SLOW: u64 = 200_000;
/// Facts that differ between any two checks, or contain a time or a place. The rest of their text is compared elsewhere: as settings of the
/// target, as certificates, or as the outcome of the layer.
const VOLATILE: [Key; 19] = [
    fact::BRIDGE_WAITED,
    fact::CLOCK_NOW,
    fact::CONFIG_BRIDGE,
    fact::CONFIG_DATABASE,
    fact::CONFIG_NICKNAME,
    fact::CONFIG_PASSWORD,
    fact::CONFIG_ROLE,
    fact::CONFIG_SERVER,
    fact::CONFIG_TLS_VERSIONS,
    fact::CONFIG_USER,
    fact::DB_OPENED_IN,
    fact::OUR_CERTIFICATE_VALID,
    fact::PASSWORD_CALLBACK_CALLS,
    fact::SESSION_CLIENT_RANDOM,
    fact::SESSION_DEADLINE,
    fact::SESSION_TOOK,
    fact::SESSION_WAITED,
    fact::TCP_ATTEMPT,
    fact::TCP_LOCAL_ADDRESS,
];

/// Layers whose texts contain times and places throughout.
const TIMED_BEFORE: [Layer; 2] = [Layer::Config, Layer::Tcp];

/// Whether a difference can explain why the one works and the other does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Rank {
    /// The difference existed before the failure, in the failing layer or in a layer that decides about it.
    Explains,
    /// The difference is in a layer that the failing layer depends on, or in the environment.
    Related,
    /// The difference is a symptom of the failure.
    Symptom,
    /// Any other difference.
    Other,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Difference {
    pub(crate) rank: Rank,
    /// The layer of the finding; absent for a difference outside the layers.
    layer: Option<Layer>,
    what: String,
    /// The id of the fact, if the difference is in a fact.
    fact: Option<String>,
    a: String,
    b: String,
}

/// One of the two reports.
#[derive(Serialize, JsonSchema)]
struct Side {
    started: String,
    status: String,
    layer: Option<Layer>,
    summary: String,
}

/// The document, schema `nssight/compare/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Comparison {
    schema: &'static str,
    a: Side,
    b: Side,
    /// The common connection, if one report is from its client and the other from its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<Joined>,
    /// The first layer that failed on either side.
    failing: Option<Layer>,
    /// Possible explanations come first.
    differences: Vec<Difference>,
}

pub(crate) fn run(options: &ReportsOptions) -> ExitCode {
    let read = (read(&options.a), read(&options.b));
    let (a, b) = match read {
        (Ok(a), Ok(b)) => match joined::pair(a, b) {
            Ok(pair) => pair,
            Err(error) => {
                terminal::say(error);
                return ExitCode::from(exit::INCONCLUSIVE);
            }
        },
        (Err((path, error)), _) | (_, Err((path, error))) => {
            terminal::say(format_args!("cannot read the report {path}: {error}"));
            return ExitCode::from(exit::INCONCLUSIVE);
        }
    };
    let comparison = Comparison::of(&a, &b);
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&comparison),
        TableFormat::Human => terminal::output(|out| human(out, &comparison, options.output.verbose)),
    };
    match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if comparison.joined.as_ref().is_some_and(|joined| !joined.passes) => ExitCode::from(exit::FAILED),
        Ok(()) if comparison.differences.is_empty() => ExitCode::from(exit::PASSED),
        Ok(()) => ExitCode::from(exit::FAILED),
    }
}

impl Rank {
    /// Symptoms of the failure.
    fn shown(self) -> Self {
        if self == Self::Explains { Self::Symptom } else { self }
    }
}

/// The differences between two checks by this program; those that may explain the result come first.
pub(crate) fn between(a: &nssight_probes::Report, b: &nssight_probes::Report) -> Result<Vec<Difference>, String> {
    let read = |it| serde_json::to_value(it).map_err(|error| error.to_string()).and_then(report);
    Ok(Comparison::of(&read(a)?, &read(b)?).differences)
}

impl Comparison {
    fn of(a: &Report, b: &Report) -> Self {
        let failing =
            [a, b].iter().filter(|it| it.verdict.status != Outcome::Pass).filter_map(|it| it.verdict.layer).min();
        if let Some(joined) = Joined::of(a, b) {
            // The two ends of one connection differ in everything, and no conclusion follows from that.
            let (joined, differences) = (Some(joined), Vec::new());
            return Self { schema: "nssight/compare/1", a: side(a), b: side(b), joined, failing, differences };
        }
        let mut differences = Vec::new();
        target(a, b, failing, &mut differences);
        let by = match [a, b].map(|it| it.schema == BEFORE) {
            [false, false] => By::Id,
            [true, true] => By::Label,
            [true, false] | [false, true] => By::CommonLabel,
        };
        for at in layers() {
            let one = a.probes.iter().find(|finding| finding.layer == at);
            let other = b.probes.iter().find(|finding| finding.layer == at);
            if let (Some(one), Some(other)) = (one, other) {
                layer(one, other, by, rank_of(at, failing), &mut differences);
            }
        }
        differences.sort_by_key(|difference| (difference.rank, difference.layer));
        // A setting of the target is not repeated for every layer that uses it.
        let of_target = differences.iter().filter(|it| it.layer.is_none());
        let settings: BTreeSet<_> = of_target.map(|it| (it.a.clone(), it.b.clone())).collect();
        differences.retain(|it| it.layer.is_none() || !settings.contains(&(it.a.clone(), it.b.clone())));
        Self { schema: "nssight/compare/1", a: side(a), b: side(b), joined: None, failing, differences }
    }
}

fn side(report: &Report) -> Side {
    Side {
        started: report.started.clone(),
        status: report.verdict.status.as_str().to_owned(),
        layer: report.verdict.layer,
        summary: report.verdict.summary.clone(),
    }
}

/// Ranked by what the failing layer depends on. Without a failing layer there is nothing to explain.
fn rank_of(layer: Layer, failing: Option<Layer>) -> Rank {
    match failing {
        Some(failing) if failing == layer => Rank::Explains,
        Some(failing) if layer == Layer::Environment || rests_on(failing).contains(&layer) => Rank::Related,
        _ => Rank::Other,
    }
}

/// All layers that `layer` needs, directly or through other layers.
fn rests_on(layer: Layer) -> BTreeSet<Layer> {
    let mut found = BTreeSet::new();
    let mut open = vec![layer];
    while let Some(layer) = open.pop() {
        open.extend(needs_of(layer).iter().copied().filter(|need| found.insert(*need)));
    }
    found
}

/// Compares the versions and the layers that were checked.
fn target(a: &Report, b: &Report, failing: Option<Layer>, differences: &mut Vec<Difference>) {
    let mut add = |rank: Rank, what: &str, a: String, b: String| {
        if a != b {
            differences.push(Difference { rank, layer: None, what: what.to_owned(), fact: None, a, b });
        }
    };
    // Any failure may come from a different NSS.
    let libraries = if failing.is_some() { Rank::Explains } else { Rank::Other };
    add(libraries, "NSS", a.tool.nss.clone(), b.tool.nss.clone());
    add(libraries, "NSPR", a.tool.nspr.clone(), b.tool.nspr.clone());
    add(Rank::Other, "nssight", a.tool.version.clone(), b.tool.version.clone());
    add(Rank::Other, "OpenSSL", a.tool.openssl.clone(), b.tool.openssl.clone());
    let at = |from: Layer, to: Layer| match failing {
        Some(failing) if (from..=to).contains(&failing) => Rank::Explains,
        Some(_) => Rank::Related,
        None => Rank::Other,
    };
    let text = |value: &Option<Setting<String>>| value.as_ref().map_or("none".to_owned(), |value| value.value.clone());
    let (one, other) = (&a.target, &b.target);
    let role = |it: &TargetSummary| it.role.map_or("none".to_owned(), |role| role.to_string());
    add(at(Layer::Config, Layer::Config), "role", role(one), role(other));
    add(at(Layer::NssDb, Layer::NssDb), "database", text(&one.database), text(&other.database));
    add(at(Layer::Certificate, Layer::PrivateKey), "nickname", text(&one.nickname), text(&other.nickname));
    add(at(Layer::Resolve, Layer::OuterHandshake), "bridge", text(&one.bridge), text(&other.bridge));
    add(at(Layer::InnerHandshake, Layer::Request), "server", text(&one.server), text(&other.server));
    add(at(Layer::Request, Layer::Request), "user", text(&one.user), text(&other.user));
    let range = |it: &TargetSummary| {
        let end = |version: Option<TlsVersion>| version.map_or("?".to_owned(), |it| it.to_string());
        format!("{} to {}", end(it.tls_min), end(it.tls_max))
    };
    add(at(Layer::OuterHandshake, Layer::InnerHandshake), "TLS versions", range(one), range(other));
    add(
        at(Layer::Password, Layer::Password),
        "password source",
        one.password_source.clone(),
        other.password_source.clone(),
    );
    if let (Some(one), Some(other)) = (own(a), own(b)) {
        let valid = |it: &SeenCertificate| format!("{} to {}", it.not_before, it.not_after);
        add(at(Layer::Certificate, Layer::Certificate), "our certificate is valid", valid(one), valid(other));
    }
}

/// Our own certificate: it has our nickname and is not a CA.
fn own(report: &Report) -> Option<&SeenCertificate> {
    let is_own = |it: &&SeenCertificate| it.nickname.is_some() && it.role != CertificateRole::Authority;
    report.certificates.iter().find(is_own)
}

/// The property by which two facts count as the same fact.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Id,
    Label,
    /// A fact that only one of two schemas has is not a difference between two hosts.
    CommonLabel,
}

fn layer(a: &Finding, b: &Finding, by: By, rank: Rank, differences: &mut Vec<Difference>) {
    let mut add = |rank: Rank, what: &str, fact: Option<&String>, one: String, other: String| {
        let (what, fact) = (what.to_owned(), fact.cloned());
        differences.push(Difference { rank, layer: Some(a.layer), what, fact, a: one, b: other });
    };
    let state = |it: &Finding| match &it.cause {
        Some(cause) => format!("{} ({})", it.status, present(cause)),
        None => it.status.to_string(),
    };
    if state(a) != state(b) {
        // A skipped layer only means that an earlier one failed.
        let skipped = a.status == Status::Skip || b.status == Status::Skip;
        add(if skipped { Rank::Other } else { rank.shown() }, "result", None, state(a), state(b));
    }
    if a.status == Status::Skip || b.status == Status::Skip {
        return;
    }
    let (one, other) = (facts(a, by), facts(b, by));
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    let told = |key: &&&String| by != By::CommonLabel || one.contains_key(**key) && other.contains_key(**key);
    for key in keys.iter().filter(told).copied() {
        let value = |facts: &BTreeMap<String, String>| facts.get(key).cloned().unwrap_or_else(|| "-".to_owned());
        if value(&one) != value(&other) {
            let rank = if is_symptom(key, [(a, &one), (b, &other)]) { rank.shown() } else { rank };
            match by {
                By::Id => add(rank, label(key), Some(key), value(&one), value(&other)),
                By::Label | By::CommonLabel => add(rank, key, None, value(&one), value(&other)),
            }
        }
    }
    let (short, long) = (a.duration_us.min(b.duration_us), a.duration_us.max(b.duration_us));
    if long >= SLOW && long >= short.saturating_mul(SLOWER) {
        let took = |it: &Finding| format!("{:.1} ms", it.duration_us as f64 / 1000.0);
        add(rank.shown(), "time", None, took(a), took(b));
    }
}

/// Whether only one side has this fact, and it is an effect of the failure rather than its cause: an alert, an error code, an early end, or
/// what was negotiated where nothing ended early.
fn is_symptom(key: &str, sides: [(&Finding, &BTreeMap<String, String>); 2]) -> bool {
    let [(a, of_a), (b, of_b)] = sides;
    let failing = match (a.status, b.status) {
        _ if of_a.contains_key(key) && of_b.contains_key(key) => return false,
        (Status::Fail, Status::Fail) => return false,
        (Status::Fail, _) => a,
        (_, Status::Fail) => b,
        _ => return false,
    };
    let cause = failing.cause.as_deref().and_then(|cause| present(cause).parse::<Cause>().ok());
    let weighs = |fact: FactId| cause.is_some_and(|cause| cause.entry().rules.weigh(fact));
    FactId::of(key).is_some_and(|fact| !weighs(fact))
}

/// The present name of a cause.
fn present(cause: &str) -> &str {
    Cause::formerly(cause).map_or(cause, |now| now.id())
}

/// The label of a fact for people. A fact of a later version is shown by its id.
fn label(id: &str) -> &str {
    FactId::of(id).map_or(id, |id| id.row().label)
}

/// Facts by id or label, with several of the same id or label joined; without facts that differ between any two checks.
fn facts(finding: &Finding, by: By) -> BTreeMap<String, String> {
    if by != By::Id && TIMED_BEFORE.contains(&finding.layer) {
        return BTreeMap::new();
    }
    let key = |fact: &'_ Fact| if by == By::Id { fact.id.clone() } else { label(&fact.id).to_owned() };
    let told = finding.facts.iter().map(|fact| (key(fact), &fact.text));
    let told = told.chain(finding.evidence.iter().map(|pair| (pair.key.clone(), &pair.value)));
    let volatile = |key: &str| {
        VOLATILE.iter().map(|fact| fact.0.row()).any(|row| key == if by == By::Id { row.id } else { row.label })
    };
    let mut facts: BTreeMap<String, Vec<&str>> = BTreeMap::new();
    for (key, text) in told.filter(|(key, _)| !volatile(key)) {
        facts.entry(key).or_default().push(text);
    }
    facts.into_iter().map(|(key, values)| (key, values.join("; "))).collect()
}

impl Difference {
    /// Writes each difference with its value on either side.
    pub(crate) fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        let layer = self.layer.map(|layer| format!("{layer}, ")).unwrap_or_default();
        terminal::item(out, &format!("{layer}{}", self.what))?;
        terminal::paragraph(out, "      A  ", 9, &self.a)?;
        terminal::paragraph(out, "      B  ", 9, &self.b)
    }
}

fn human(out: &mut dyn Write, comparison: &Comparison, verbose: bool) -> io::Result<()> {
    let rows = [("A", &comparison.a), ("B", &comparison.b)].map(|(name, side)| {
        let layer = side.layer.map(|layer| format!(" {layer}")).unwrap_or_default();
        [name.to_owned(), format!("{}{layer}, {}: {}", side.status, side.started, side.summary)]
    });
    terminal::pairs(out, &rows)?;
    if let Some(joined) = &comparison.joined {
        return joined.human(out);
    }
    if comparison.differences.is_empty() {
        return writeln!(out, "\n{}", "no difference".bold());
    }
    let sections = [
        (Rank::Explains, "Possible explanations"),
        (Rank::Related, "Related settings that differ"),
        (Rank::Symptom, "Symptoms of the failure"),
        (Rank::Other, "Other differences"),
    ];
    for (rank, title) in sections {
        let found: Vec<&Difference> = comparison.differences.iter().filter(|it| it.rank == rank).collect();
        if found.is_empty() {
            continue;
        }
        writeln!(out, "\n{}", title.bold())?;
        if matches!(rank, Rank::Symptom | Rank::Other) && !verbose && comparison.failing.is_some() {
            let differences = if found.len() == 1 { "difference" } else { "differences" };
            terminal::item(out, &format!("{} {differences}; -v shows them", found.len()))?;
            continue;
        }
        found.into_iter().try_for_each(|difference| difference.human(out))?;
    }
    Ok(())
}
