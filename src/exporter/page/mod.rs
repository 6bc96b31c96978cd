//! The page `/`: failing targets with cause and duration, certificates that expire next, and the history of every target.

mod certificates;
mod strip;

use std::sync::{Arc, LazyLock};
use std::time::{Duration, SystemTime};

use askama::Template;
use nssight_reports::Standing;
use nssight_reports::page::{STYLE as BASE, source};
use nssight_reports::terminal::printable;
use nssight_runner::targets::CheckTarget;
use nssight_runner::tool::host;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use super::history::History;
use super::walked::Walked;
use certificates::Certificates;
use strip::Strip;

static STYLE: LazyLock<String> =
    LazyLock::new(|| format!("{BASE}\n{}", include_str!("../../../templates/exporter.css")));
const SCRIPT: &str = include_str!("../../../templates/exporter.js");
/// The same as in the alert NssightResultOld.
const OLD: Duration = Duration::from_secs(900);

/// The content that a browser may use for the page: its own style and script, and nothing from elsewhere.
pub(super) static POLICY: LazyLock<String> = LazyLock::new(|| {
    format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        source(&STYLE),
        source(SCRIPT)
    )
});

/// A target with its last result, if any.
pub(super) type Known = (Arc<CheckTarget>, Option<Arc<Walked>>);

#[derive(Template)]
#[template(path = "exporter.html")]
struct Page<'a> {
    style: &'a str,
    script: &'static str,
    headline: String,
    stamp: String,
    tiles: Vec<Tile>,
    sections: Vec<Section>,
    certificates: Certificates,
    passing: Vec<Row>,
    waiting: Vec<Row>,
}

/// A number at the top with a link to its part of the page.
struct Tile {
    count: usize,
    what: &'static str,
    mood: &'static str,
    part: &'static str,
}

/// Targets that each need an explanation.
struct Section {
    id: &'static str,
    title: &'static str,
    note: &'static str,
    mood: &'static str,
    rows: Vec<Row>,
}

/// The name of a target.
struct Name(String);

impl Name {
    /// The name for people; a link has it unchanged.
    fn shown(&self) -> String {
        printable(&self.0)
    }
}

struct Row {
    name: Name,
    labels: Vec<String>,
    last: Option<Last>,
}

struct Last {
    standing: Standing,
    /// Layer, cause and component; empty for a pass.
    place: Vec<&'static str>,
    summary: String,
    /// Since when the target passes, fails or is not finished.
    since: Moment,
    /// Since when the target fails with this verdict, if that is more recent.
    same: Option<Moment>,
    rate: String,
    is_flaky: bool,
    strip: Strip,
    checked: Moment,
    is_old: bool,
}

/// A point in time.
struct Moment {
    /// In a format for programs.
    exact: String,
    /// In a format for people.
    text: String,
    ago: String,
}

impl Moment {
    fn of(at: SystemTime, now: SystemTime) -> Self {
        let date = OffsetDateTime::from(at);
        let short = format_description!("[year]-[month]-[day] [hour]:[minute] UTC");
        let today = format_description!("[hour]:[minute] UTC");
        let text =
            if date.date() == OffsetDateTime::from(now).date() { date.format(today) } else { date.format(short) };
        Self {
            exact: date.format(&Rfc3339).unwrap_or_default(),
            text: text.unwrap_or_default(),
            ago: coarse(now.duration_since(at).unwrap_or_default()),
        }
    }
}

/// Writes the page. HTML templates escape their values.
pub(super) fn write(targets: &[Known]) -> Result<String, askama::Error> {
    let now = SystemTime::now();
    let certificates = Certificates::of(targets, now.into());
    let mut rows: Vec<Row> = targets.iter().map(|(target, last)| Row::of(target, last.as_deref(), now)).collect();
    // Newest failures first.
    rows.sort_by_key(|row| std::cmp::Reverse(row.last.as_ref().map(|last| last.since.exact.clone())));
    let (count, mut take) = (rows.len(), |is: fn(&Last) -> bool| {
        let (taken, rest) = std::mem::take(&mut rows).into_iter().partition(|row| row.last.as_ref().is_some_and(is));
        rows = rest;
        taken
    });
    let failing: Vec<Row> = take(|last| last.standing == Standing::Fail);
    let unfinished: Vec<Row> = take(|last| last.standing == Standing::Inconclusive);
    let flaky: Vec<Row> = take(|last| last.is_flaky);
    let mut passing: Vec<Row> = take(|_| true);
    let mut waiting = rows;
    passing.sort_by(|a, b| (a.rank(), &a.name.0).cmp(&(b.rank(), &b.name.0)));
    waiting.sort_by(|a, b| a.name.0.cmp(&b.name.0));
    let all = failing.iter().chain(&unfinished).chain(&flaky).chain(&passing);
    let old = all.filter(|row| row.last.as_ref().is_some_and(|last| last.is_old)).count();
    let headline = headline(count, failing.len(), unfinished.len(), waiting.len());
    let tiles = vec![
        Tile { count: failing.len(), what: "failing", mood: "fail", part: "failing" },
        Tile { count: unfinished.len(), what: "not finished", mood: "inconclusive", part: "unfinished" },
        Tile { count: flaky.len(), what: "flaky", mood: "flaky", part: "flaky" },
        Tile { count: certificates.urgent, what: "certificates to renew", mood: "warning", part: "certificates" },
        Tile { count: passing.len(), what: "passing", mood: "pass", part: "passing" },
        Tile { count: waiting.len(), what: "not checked yet", mood: "none", part: "waiting" },
        Tile { count: old, what: "with an old result", mood: "warning", part: "" },
    ];
    let sections = vec![
        Section { id: "failing", title: "Failing", note: "", mood: "fail", rows: failing },
        Section {
            id: "unfinished",
            title: "Not finished",
            note: "nssight could not finish these checks. The state of these targets is unknown.",
            mood: "inconclusive",
            rows: unfinished,
        },
        Section {
            id: "flaky",
            title: "Flaky",
            note: "These targets pass now, but fail intermittently. On a bridge the usual reason is a program that connects and disconnects.",
            mood: "flaky",
            rows: flaky,
        },
    ];
    let page = Page {
        style: &STYLE,
        script: SCRIPT,
        headline,
        stamp: stamp(now),
        tiles: tiles.into_iter().filter(|tile| tile.count > 0).collect(),
        sections: sections.into_iter().filter(|section| !section.rows.is_empty()).collect(),
        certificates,
        passing,
        waiting,
    };
    page.render()
}

fn headline(all: usize, failing: usize, unfinished: usize, waiting: usize) -> String {
    let checked = all - waiting;
    match (failing, checked) {
        (_, 0) => "No target was checked yet".to_owned(),
        (0, _) if unfinished > 0 => format!("{} of {checked} targets pass", checked - unfinished),
        (0, 1) => "The target passes".to_owned(),
        (0, _) => format!("All {checked} targets pass"),
        (1, 1) => "The target fails".to_owned(),
        (1, _) => format!("1 of {checked} targets fails"),
        _ => format!("{failing} of {checked} targets fail"),
    }
}

fn stamp(now: SystemTime) -> String {
    let at = OffsetDateTime::from(now).format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC"));
    let host = host().map(|host| format!(" on {host}")).unwrap_or_default();
    printable(&format!("{}{host}, nssight {}", at.unwrap_or_default(), env!("CARGO_PKG_VERSION")))
}

impl Row {
    fn of(target: &CheckTarget, last: Option<&Walked>, now: SystemTime) -> Self {
        let labels = target.labels.iter().map(|(key, value)| printable(&format!("{key}={value}")));
        Self { name: Name(target.name.clone()), labels: labels.collect(), last: last.map(|last| Last::of(last, now)) }
    }

    /// Warnings before passes without one.
    fn rank(&self) -> u8 {
        match self.last.as_ref().map(|last| last.standing) {
            Some(Standing::Pass) => 1,
            _ => 0,
        }
    }
}

impl Last {
    fn of(walked: &Walked, now: SystemTime) -> Self {
        let verdict = &walked.subject.report.verdict;
        let layer = verdict.layer.map(|layer| layer.as_str());
        let component = verdict.component.map(|component| component.as_str());
        let (history, standing) = (&walked.history, walked.standing());
        Self {
            standing,
            place: layer.into_iter().chain(verdict.cause.map(|cause| cause.id())).chain(component).collect(),
            summary: printable(&verdict.summary),
            since: Moment::of(history.turned().unwrap_or(history.same()), now),
            same: history
                .turned()
                .filter(|turned| *turned != history.same() && standing == Standing::Fail)
                .map(|_| Moment::of(history.same(), now)),
            rate: rate(history, standing).unwrap_or_default(),
            is_flaky: history.is_flaky(),
            strip: Strip::of(history, now),
            checked: Moment::of(walked.ended, now),
            is_old: walked.age() > OLD,
        }
    }
}

/// How often the target failed; for a continuous outage its start is more useful.
fn rate(history: &History, standing: Standing) -> Option<String> {
    let (some, all) = (history.troubled(), history.marks().len());
    if some == 0 || !(standing.passes() || history.is_flaky()) {
        return None;
    }
    let tried_again = history.marks().any(|mark| mark.1 == Standing::Flaky);
    let how = if tried_again { "failed or needed a retry" } else { "failed" };
    Some(format!("{some} of the last {all} checks {how} ({})", percent(some, all)))
}

/// A share above 0 % and below 100 % is never rounded to either.
fn percent(part: usize, whole: usize) -> String {
    match part as f64 * 100.0 / whole.max(1) as f64 {
        share if share < 1.0 => "below 1 %".to_owned(),
        share if share > 99.0 && part < whole => "above 99 %".to_owned(),
        share => format!("{share:.0} %"),
    }
}

/// One number with a suitable unit.
fn coarse(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_headline_counts_what_was_checked() {
        assert_eq!(headline(3, 0, 0, 3), "No target was checked yet");
        assert_eq!(headline(3, 0, 0, 1), "All 2 targets pass");
        assert_eq!(headline(1, 1, 0, 0), "The target fails");
        assert_eq!(headline(200, 1, 1, 0), "1 of 200 targets fails");
        assert_eq!(headline(200, 0, 2, 0), "198 of 200 targets pass");
    }

    #[test]
    fn a_rate_is_never_rounded_to_none_or_all() {
        assert_eq!(
            [percent(1, 600), percent(6, 600), percent(599, 600), percent(600, 600)],
            ["below 1 %", "1 %", "above 99 %", "100 %"]
        );
    }
}
