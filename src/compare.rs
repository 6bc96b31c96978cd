//! `nssight compare`: the report of the host that works against that of the one that does not.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, IsTerminal, Read, Write};
use std::path::Path;
use std::process::ExitCode;

use colored::Colorize;
use nssight_probes::{Finding, Layer, Outcome, PROBES, Report, Status};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{ReportsOptions, TableFormat};
use crate::{exit, terminal};

/// A report is some hundred kilobytes; nothing larger is read.
const AT_MOST: u64 = 64 * 1024 * 1024;
/// A layer that takes so much longer on one side is a difference.
const SLOWER: u64 = 10;
/// If it also takes at least so long, in microseconds.
const SLOW: u64 = 200_000;
/// Facts that differ between any two walks.
const VOLATILE: [&str; 6] = ["clock", "local address", "opened by NSS in", "waited", "deadline", "callback"];

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
    /// The first layer that failed on either side.
    failing: Option<Layer>,
    /// What may explain it first.
    differences: Vec<Difference>,
}

pub(crate) fn run(options: &ReportsOptions) -> ExitCode {
    let (a, b) = match (read(&options.a), read(&options.b)) {
        (Ok(a), Ok(b)) => (a, b),
        (Err((path, error)), _) | (_, Err((path, error))) => {
            eprintln!("nssight: {path} is no report that can be read: {error}");
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
        Ok(()) if comparison.differences.is_empty() => ExitCode::from(exit::PASSED),
        Ok(()) => ExitCode::from(exit::FAILED),
    }
}

fn read(path: &Path) -> Result<Report, (String, String)> {
    let named = |error: String| (path.display().to_string(), error);
    let mut text = Vec::new();
    let file = File::open(path).map_err(|error| named(error.to_string()))?;
    file.take(AT_MOST).read_to_end(&mut text).map_err(|error| named(error.to_string()))?;
    let report: Report = serde_json::from_slice(&text).map_err(|error| named(error.to_string()))?;
    match report.schema.as_str() {
        nssight_probes::report::SCHEMA => Ok(report),
        other => Err(named(format!("its schema is \"{other}\""))),
    }
}

impl Comparison {
    fn of(a: &Report, b: &Report) -> Self {
        let failing =
            [a, b].iter().filter(|it| it.verdict.status != Outcome::Pass).filter_map(|it| it.verdict.layer).min();
        let mut differences = Vec::new();
        target(a, b, failing, &mut differences);
        for probe in PROBES {
            let of = |report: &'_ Report| report.probes.iter().find(|it| it.layer == probe.layer).cloned();
            if let (Some(one), Some(other)) = (of(a), of(b)) {
                layer(&one, &other, rank_of(probe.layer, failing), &mut differences);
            }
        }
        differences.sort_by_key(|difference| (difference.rank, difference.layer));
        Self { schema: "nssight/compare/1", a: side(a), b: side(b), failing, differences }
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
        let needs = PROBES.iter().find(|probe| probe.layer == layer).map_or(&[][..], |probe| probe.needs);
        open.extend(needs.iter().copied().filter(|need| found.insert(*need)));
    }
    found
}

/// Versions, and what was walked.
fn target(a: &Report, b: &Report, failing: Option<Layer>, differences: &mut Vec<Difference>) {
    let mut add = |rank: Rank, what: &str, a: String, b: String| {
        if a != b {
            differences.push(Difference { rank, layer: None, what: what.to_owned(), a, b });
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
    let text = |value: &Option<nssight_probes::target::Setting<String>>| {
        value.as_ref().map_or("none".to_owned(), |value| value.value.clone())
    };
    let (one, other) = (&a.target, &b.target);
    add(at(Layer::Certificate, Layer::PrivateKey), "nickname", text(&one.nickname), text(&other.nickname));
    add(at(Layer::Resolve, Layer::OuterHandshake), "bridge", text(&one.bridge), text(&other.bridge));
    add(at(Layer::InnerHandshake, Layer::Request), "server", text(&one.server), text(&other.server));
    add(at(Layer::Request, Layer::Request), "user", text(&one.user), text(&other.user));
    let range = |it: &nssight_probes::target::TargetSummary| {
        let end =
            |version: Option<nssight_probes::target::TlsVersion>| version.map_or("?".to_owned(), |it| it.to_string());
        format!("{} to {}", end(it.tls_min), end(it.tls_max))
    };
    add(at(Layer::OuterHandshake, Layer::InnerHandshake), "TLS versions", range(one), range(other));
    add(
        at(Layer::Password, Layer::Password),
        "password source",
        one.password_source.clone(),
        other.password_source.clone(),
    );
}

fn layer(a: &Finding, b: &Finding, rank: Rank, differences: &mut Vec<Difference>) {
    let mut add = |rank: Rank, what: &str, one: String, other: String| {
        differences.push(Difference { rank, layer: Some(a.layer), what: what.to_owned(), a: one, b: other });
    };
    let state = |it: &Finding| match it.cause {
        Some(cause) => format!("{} ({})", it.status.as_str(), cause.id()),
        None => it.status.as_str().to_owned(),
    };
    if state(a) != state(b) {
        // What was skipped says only that something before it failed.
        let skipped = a.status == Status::Skip || b.status == Status::Skip;
        add(if skipped { Rank::Other } else { rank }, "result", state(a), state(b));
    }
    if a.status == Status::Skip || b.status == Status::Skip {
        return;
    }
    let (one, other) = (facts(a), facts(b));
    let keys: BTreeSet<&String> = one.keys().chain(other.keys()).collect();
    for key in keys {
        let value = |facts: &BTreeMap<String, String>| facts.get(key).cloned().unwrap_or_else(|| "-".to_owned());
        if value(&one) != value(&other) {
            add(rank, key, value(&one), value(&other));
        }
    }
    let (short, long) = (a.duration_us.min(b.duration_us), a.duration_us.max(b.duration_us));
    if long >= SLOW && long >= short.saturating_mul(SLOWER) {
        let took = |it: &Finding| format!("{:.1} ms", it.duration_us as f64 / 1000.0);
        add(rank, "time", took(a), took(b));
    }
}

/// Facts by key, several of one key together; without what differs between any two walks.
fn facts(finding: &Finding) -> BTreeMap<String, String> {
    let mut facts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for fact in finding.evidence.iter().filter(|fact| !VOLATILE.contains(&fact.key.as_str())) {
        // How long something took, how many days are left, and in which line it stands, is not what it is.
        let bare = fact.key == "valid" || finding.layer == Layer::Config;
        let value = fact.value.split(" (").next().filter(|_| bare).unwrap_or(&fact.value);
        let value = if finding.layer == Layer::Config { without_place(value) } else { value };
        let value = value.split(" in ").next().filter(|_| value.starts_with("connected in")).unwrap_or(value);
        facts.entry(fact.key.clone()).or_default().push(value.to_owned());
    }
    facts.into_iter().map(|(key, values)| (key, values.join("; "))).collect()
}

/// `nss-password in client.conf:3`: what, without where.
fn without_place(text: &str) -> &str {
    text.split(" in /").next().unwrap_or(text)
}

fn human(out: &mut dyn Write, comparison: &Comparison, verbose: bool) -> io::Result<()> {
    let rows = [("A", &comparison.a), ("B", &comparison.b)].map(|(name, side)| {
        let layer = side.layer.map(|layer| format!(" {layer}")).unwrap_or_default();
        [name.to_owned(), format!("{}{layer}, {}: {}", side.status, side.started, side.summary)]
    });
    terminal::pairs(out, &rows)?;
    if comparison.differences.is_empty() {
        return writeln!(out, "\n{}", "no difference".bold());
    }
    let sections = [
        (Rank::Explains, "What may explain it"),
        (Rank::Related, "What it rests on"),
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
