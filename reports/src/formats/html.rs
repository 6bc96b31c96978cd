//! One self-contained HTML page: no network, and scripts only for the copy buttons.

use std::io::{self, Write};

use askama::Template;
use nssight_diagnosis::{Cause, Finding, Status};
use nssight_probes::report::Subject;
use nssight_probes::{Report, SeenCertificate, SeenRevocationList};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::page;
use crate::terminal::printable;
use crate::waterfall::{Row, Waterfall};
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "Self-contained HTML page";

const STYLE: &str = concat!(include_str!("../../templates/base.css"), "\n", include_str!("../../templates/report.css"));
const SCRIPT: &str = include_str!("../../templates/report.js");

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let many = subjects.len() > 1;
    let targets: Vec<Target<'_>> =
        subjects.iter().enumerate().map(|(index, subject)| Target::of(index, subject, many)).collect();
    let failed = targets.iter().filter(|target| !target.standing.passes()).count();
    let title = match targets.as_slice() {
        [one] => format!("{} · {}", one.standing.word(), one.name),
        _ => format!("{} of {} targets pass", targets.len() - failed, targets.len()),
    };
    let policy = format!(
        "default-src 'none'; style-src '{}'; script-src '{}'; img-src data:; base-uri 'none'; form-action 'none'",
        page::source(STYLE),
        page::source(SCRIPT)
    );
    let (top, stamp) = (if many { 2 } else { 1 }, subjects.first().map(|it| words::stamp(&it.report)));
    let stamp = stamp.unwrap_or_default();
    let page = Page { title, policy, style: STYLE, script: SCRIPT, many, top, failed, stamp, targets };
    page.write_into(out).map_err(io::Error::other)
}

#[derive(Template)]
#[template(path = "report.html")]
struct Page<'a> {
    title: String,
    policy: String,
    style: &'static str,
    script: &'static str,
    many: bool,
    /// Level of a target's heading.
    top: u8,
    failed: usize,
    /// When, where and by which version the first of the reports was made.
    stamp: String,
    targets: Vec<Target<'a>>,
}

/// One target, ready for the template.
struct Target<'a> {
    id: String,
    name: String,
    standing: Standing,
    /// Whether this is one of several targets and passes: then only its certificates are shown.
    brief: bool,
    /// Layer, cause, component and confidence, each with what it is, and the layer that showed it if that is another.
    place: Vec<(&'static str, &'static str)>,
    summary: String,
    also: String,
    why: String,
    /// The page of the cause.
    docs: &'a str,
    alternatives: Vec<Other>,
    labels: Vec<String>,
    remedies: Vec<(String, Option<String>)>,
    rungs: Vec<Rung>,
    waterfall: Option<Waterfall>,
    certificates: Vec<Card>,
    settings: Vec<(&'static str, String)>,
    time: String,
    colophon: String,
}

/// Another cause that is not excluded.
struct Other {
    cause: &'static str,
    component: &'static str,
    tell_apart: String,
}

/// One layer.
struct Rung {
    status: &'static str,
    sign: &'static str,
    layer: &'static str,
    time: String,
    /// Its part of the check's time, in percent.
    share: String,
    outcome: String,
    cause: Option<&'static str>,
    facts: Vec<(String, String)>,
    /// Whether the verdict is based on this layer.
    decisive: bool,
}

/// One certificate, or one revocation list, which has no subject.
struct Card {
    role: &'static str,
    nickname: Option<String>,
    subject: Option<String>,
    issuer: String,
    from: String,
    until: String,
    left: String,
    /// "expired", "soon" or "good".
    urgency: &'static str,
    /// The part of its validity that is over, in percent.
    over: String,
    sha256: String,
}

impl<'a> Target<'a> {
    fn of(index: usize, subject: &'a Subject, many: bool) -> Self {
        let report = &subject.report;
        let verdict = &report.verdict;
        let kinds = ["layer", "cause", "component", "confidence"];
        let seen_at = words::seen_at(report).map(|layer| ("shown at", layer.as_str()));
        let alternatives = words::alternatives(report).map(|other| Other {
            cause: other.cause.id(),
            component: other.component.as_str(),
            tell_apart: other.tell_apart.first().map(|how| printable(how)).unwrap_or_default(),
        });
        let remedies = verdict.remedies.iter().map(|it| (printable(&it.text), it.command.as_deref().map(printable)));
        Self {
            id: format!("target-{}", index + 1),
            name: printable(&subject.name),
            standing: Standing::of(report),
            brief: many && Standing::of(report) == Standing::Pass,
            place: kinds.into_iter().zip(words::place(report)).chain(seen_at).collect(),
            summary: printable(&verdict.summary),
            also: words::also(report).unwrap_or_default(),
            why: verdict.cause.map(|cause| words::why(report, cause)).unwrap_or_default(),
            docs: verdict.docs.as_deref().unwrap_or_default(),
            alternatives: alternatives.collect(),
            labels: subject.labels.iter().map(|(name, value)| printable(&format!("{name}={value}"))).collect(),
            remedies: remedies.collect(),
            rungs: rungs(report),
            waterfall: Waterfall::of(report),
            certificates: cards(report),
            settings: settings(report),
            time: format!("{:.1} s", subject.duration.as_secs_f64()),
            colophon: words::colophon(subject),
        }
    }
}

fn rungs(report: &Report) -> Vec<Rung> {
    let whole = report.probes.iter().map(|finding| finding.duration_us).sum::<u64>().max(1);
    let decisive: Vec<_> = words::grounds(report).into_iter().map(|finding| finding.layer).collect();
    let rung = |finding: &Finding| Rung {
        status: finding.status.as_str(),
        sign: words::sign(finding.status),
        layer: finding.layer.as_str(),
        time: words::time(finding),
        share: format!("{:.1}", finding.duration_us as f64 * 100.0 / whole as f64),
        outcome: printable(&words::outcome(finding)),
        cause: finding.cause.filter(|_| finding.status != Status::Skip).map(Cause::id),
        facts: words::facts(finding).iter().map(|(key, value)| (printable(key), printable(value))).collect(),
        decisive: decisive.contains(&finding.layer),
    };
    report.probes.iter().map(rung).collect()
}

fn cards(report: &Report) -> Vec<Card> {
    let certificates = report.certificates.iter().map(|certificate| card(certificate, report));
    certificates.chain(report.revocation_lists.iter().map(|list| card_of_list(list, report))).collect()
}

/// The part of the time between two dates that was over, in percent.
fn over(from: &str, until: &str, report: &Report) -> String {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let over = (|| {
        let (from, until, now) = (at(from)?, at(until)?, at(&report.started)?);
        Some(((now - from) / (until - from)).clamp(0.0, 1.0) * 100.0)
    })();
    format!("{:.1}", over.filter(|over| over.is_finite()).unwrap_or(100.0))
}

fn card_of_list(list: &SeenRevocationList, report: &Report) -> Card {
    let until = list.next_update.as_deref();
    let days = until.and_then(|date| words::days_until(date, report));
    Card {
        role: "revocation list",
        nickname: None,
        subject: None,
        issuer: printable(&list.issuer),
        from: printable(&list.this_update),
        until: until.map_or_else(|| "the next one".to_owned(), printable),
        left: days.map(words::days_in_words).unwrap_or_default(),
        urgency: match days {
            Some(..0) => "expired",
            _ if list.urgency.is_some() => "soon",
            _ => "good",
        },
        over: until.map_or_else(|| "0.0".to_owned(), |until| over(&list.this_update, until, report)),
        sha256: printable(&list.sha256),
    }
}

fn card(certificate: &SeenCertificate, report: &Report) -> Card {
    let days = words::days_left(certificate, report);
    Card {
        role: words::role(certificate, report),
        nickname: certificate.nickname.as_deref().map(printable),
        subject: Some(printable(&certificate.subject)),
        issuer: printable(&certificate.issuer),
        from: printable(&certificate.not_before),
        until: printable(&certificate.not_after),
        left: words::time_left(certificate, report),
        urgency: match days {
            _ if words::is_early(certificate, report) => "expired",
            Some(..0) => "expired",
            _ if certificate.urgency.is_some() => "soon",
            _ => "good",
        },
        over: over(&certificate.not_before, &certificate.not_after, report),
        sha256: printable(&certificate.sha256),
    }
}

/// What was checked, as far as it is known.
fn settings(report: &Report) -> Vec<(&'static str, String)> {
    let target = &report.target;
    let value = |setting: &Option<nssight_probes::target::Setting<String>>| {
        setting.as_ref().map(|setting| format!("{} (from {})", setting.value, setting.origin))
    };
    let tls = target.tls_min.zip(target.tls_max).map(|(low, high)| format!("{low} to {high}"));
    let configuration = (!target.config_files.is_empty()).then(|| target.config_files.join(", "));
    let rows = [
        ("Role", target.role.map(|role| role.to_string())),
        ("Configuration", configuration),
        ("Database", value(&target.database)),
        ("Nickname", value(&target.nickname)),
        ("Bridge", value(&target.bridge)),
        ("Server", value(&target.server)),
        ("User", value(&target.user)),
        ("TLS", tls),
        ("Password", Some(target.password_source.clone())),
    ];
    rows.into_iter().filter_map(|(name, value)| Some((name, printable(&value?)))).collect()
}
