//! `nssight compare`: the report of the host that works against that of the one that does not.

mod joined;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use colored::Colorize;
use nssight_diagnosis::fact::{FactId, Key, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, CertificateRole, Layer, Status};
use nssight_probes::SeenCertificate;
use nssight_probes::files;
use nssight_probes::plan::{layers, needs_of};
use nssight_probes::report::{SCHEMA, Tool};
use nssight_probes::target::{Setting, TargetSummary, TlsVersion};
use nssight_reports::terminal;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use self::joined::Joined;
use crate::cli::{ReportsOptions, TableFormat};
use crate::exit;

/// A report is some hundred kilobytes; nothing larger is read.
const AT_MOST: u64 = 64 * 1024 * 1024;
/// So many reports of one file are read.
const REPORTS_AT_MOST: usize = 10_000;
/// A layer that takes so much longer on one side is a difference.
const SLOWER: u64 = 10;
/// If it also takes at least so long, in microseconds.
const SLOW: u64 = 200_000;
/// Facts that differ between any two walks, or have a time or a place in their text: what they say beside it is compared as
/// the target's settings, as certificates, and as what came of the layer.
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

/// The schema before the present one, whose facts are pairs of a label and a text.
const BEFORE: &str = "nssight/report/1";
/// Layers whose texts have times and places all over in it.
const TIMED_BEFORE: [Layer; 2] = [Layer::Config, Layer::Tcp];

/// What is compared of a report, of either schema; facts and causes of other versions of nssight included.
#[derive(Deserialize)]
struct Report {
    schema: String,
    tool: Tool,
    started: String,
    target: TargetSummary,
    verdict: Verdict,
    probes: Vec<Finding>,
    #[serde(default)]
    certificates: Vec<SeenCertificate>,
}

#[derive(Deserialize)]
struct Verdict {
    status: Outcome,
    layer: Option<Layer>,
    summary: String,
}

#[derive(Deserialize)]
struct Finding {
    layer: Layer,
    status: Status,
    duration_us: u64,
    cause: Option<String>,
    #[serde(default)]
    facts: Vec<Fact>,
    #[serde(default)]
    evidence: Vec<Pair>,
}

#[derive(Deserialize)]
struct Fact {
    id: String,
    #[serde(default)]
    value: serde_json::Value,
    text: String,
}

/// A fact of the schema before.
#[derive(Deserialize)]
struct Pair {
    key: String,
    value: String,
}

/// Whether a difference can explain why the one works and the other does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Rank {
    /// It is in the failing layer itself, or decides about it.
    Explains,
    /// It is in a layer that the failing one rests on, or around it all.
    Related,
    /// It is elsewhere.
    Other,
}

/// One difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
struct Difference {
    rank: Rank,
    /// The layer whose finding has it; absent for what belongs to none.
    layer: Option<Layer>,
    what: String,
    /// The id of the fact, where it is one of the registry's.
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
    /// Both reports are of one connection: one by its client, one by its server.
    #[serde(skip_serializing_if = "Option::is_none")]
    joined: Option<Joined>,
    /// The first layer that failed on either side.
    failing: Option<Layer>,
    /// What may explain it first.
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

/// The reports of a file: one document, or one a line, as `nssight listen` writes them.
fn read(path: &Path) -> Result<Vec<Report>, (String, String)> {
    let named = |error: String| (path.display().to_string(), error);
    let text = files::within(path, files::PATIENCE, |path| {
        let mut text = Vec::new();
        files::regular_or_given(path)?.take(AT_MOST + 1).read_to_end(&mut text)?;
        Ok(text)
    });
    let text = text.map_err(|error| named(error.to_string()))?;
    if text.len() as u64 > AT_MOST {
        return Err(named(format!("it is too large: a report has at most {} MiB", AT_MOST >> 20)));
    }
    let documents = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
    let documents: Result<Vec<_>, _> = documents.take(REPORTS_AT_MOST).collect();
    let reports = documents.map_err(|error| format!("line {} is not JSON", error.line()));
    let reports = reports.and_then(|documents| documents.into_iter().map(report).collect::<Result<Vec<_>, _>>());
    match reports {
        Ok(reports) if reports.is_empty() => Err(named("it is empty".to_owned())),
        Ok(reports) => Ok(reports),
        Err(error) => Err(named(error)),
    }
}

fn report(document: serde_json::Value) -> Result<Report, String> {
    match document.get("schema").and_then(|schema| schema.as_str()) {
        Some(SCHEMA | BEFORE) => {}
        Some(other) => return Err(format!("its schema is \"{other}\"")),
        None => return Err("it names no schema".to_owned()),
    }
    serde_json::from_value(document).map_err(|error| error.to_string())
}

impl Comparison {
    fn of(a: &Report, b: &Report) -> Self {
        let failing =
            [a, b].iter().filter(|it| it.verdict.status != Outcome::Pass).filter_map(|it| it.verdict.layer).min();
        if let Some(joined) = Joined::of(a, b) {
            // Two ends of one connection differ in everything, and nothing follows from it.
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

/// By what the failing layer rests on. Without a failing layer nothing has to be explained.
fn rank_of(layer: Layer, failing: Option<Layer>) -> Rank {
    match failing {
        Some(failing) if failing == layer => Rank::Explains,
        Some(failing) if layer == Layer::Environment || rests_on(failing).contains(&layer) => Rank::Related,
        _ => Rank::Other,
    }
}

/// The layers that one needs, and those that they need.
fn rests_on(layer: Layer) -> BTreeSet<Layer> {
    let mut found = BTreeSet::new();
    let mut open = vec![layer];
    while let Some(layer) = open.pop() {
        open.extend(needs_of(layer).iter().copied().filter(|need| found.insert(*need)));
    }
    found
}

/// Versions, and what was walked.
fn target(a: &Report, b: &Report, failing: Option<Layer>, differences: &mut Vec<Difference>) {
    let mut add = |rank: Rank, what: &str, a: String, b: String| {
        if a != b {
            differences.push(Difference { rank, layer: None, what: what.to_owned(), fact: None, a, b });
        }
    };
    // Whatever fails may fail because of another NSS.
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

/// Our own certificate: the one that has our nickname and is no authority's.
fn own(report: &Report) -> Option<&SeenCertificate> {
    let is_own = |it: &&SeenCertificate| it.nickname.is_some() && it.role != CertificateRole::Authority;
    report.certificates.iter().find(is_own)
}

/// By what two facts are the same one.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    Id,
    Label,
    /// What only one of two schemas tells is no difference between two hosts.
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
        // What was skipped says only that something before it failed.
        let skipped = a.status == Status::Skip || b.status == Status::Skip;
        add(if skipped { Rank::Other } else { rank }, "result", None, state(a), state(b));
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
            match by {
                By::Id => add(rank, label(key), Some(key), value(&one), value(&other)),
                By::Label | By::CommonLabel => add(rank, key, None, value(&one), value(&other)),
            }
        }
    }
    let (short, long) = (a.duration_us.min(b.duration_us), a.duration_us.max(b.duration_us));
    if long >= SLOW && long >= short.saturating_mul(SLOWER) {
        let took = |it: &Finding| format!("{:.1} ms", it.duration_us as f64 / 1000.0);
        add(rank, "time", None, took(a), took(b));
    }
}

/// What a cause is called now.
fn present(cause: &str) -> &str {
    Cause::formerly(cause).map_or(cause, |now| now.id())
}

/// What people read before a fact; a later version's is known by its id.
fn label(id: &str) -> &str {
    FactId::of(id).map_or(id, |id| id.row().label)
}

/// Facts by id or label, several of one together; without what differs between any two walks.
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
        (Rank::Explains, "What may explain it"),
        (Rank::Related, "Related settings that differ"),
        (Rank::Other, "What else differs"),
    ];
    for (rank, title) in sections {
        let found: Vec<&Difference> = comparison.differences.iter().filter(|it| it.rank == rank).collect();
        if found.is_empty() {
            continue;
        }
        writeln!(out, "\n{}", title.bold())?;
        if rank == Rank::Other && !verbose && comparison.failing.is_some() {
            terminal::item(out, &format!("{} more differences; -v shows them", found.len()))?;
            continue;
        }
        for difference in found {
            let layer = difference.layer.map(|layer| format!("{layer}, ")).unwrap_or_default();
            terminal::item(out, &format!("{layer}{}", difference.what))?;
            terminal::paragraph(out, "      A  ", 9, &difference.a)?;
            terminal::paragraph(out, "      B  ", 9, &difference.b)?;
        }
    }
    Ok(())
}
