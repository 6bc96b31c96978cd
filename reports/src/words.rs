//! Text that several formats share.
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Alternative, Cause, CertificateRole, Fact, Finding, Layer, Status, verdict};
use nssight_probes::expiry::{self, Urgency};
use nssight_probes::profile::Profile;
use nssight_probes::report::{Expiring, Subject};
use nssight_probes::target::CredentialsKind;
use nssight_probes::{Report, SeenCertificate, SeenRevocationList};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use time::macros::format_description;

use crate::terminal::printable;

/// Maximum number of other causes in text; JSON has all.
const ALTERNATIVES: usize = 3;

/// The result of a target; unlike the verdict's status, it distinguishes a pass with warnings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Every layer passed.
    Pass,
    /// Every layer passed, with a warning.
    Warning,
    /// The target passed on a retry.
    Flaky,
    /// A layer failed.
    Fail,
    /// nssight itself could not finish.
    Inconclusive,
}

impl Standing {
    /// Of a report.
    pub fn of(report: &Report) -> Self {
        match report.verdict.status {
            Outcome::Pass if report.has_warnings() => Self::Warning,
            Outcome::Pass => Self::Pass,
            Outcome::Flaky => Self::Flaky,
            Outcome::Fail => Self::Fail,
            Outcome::Inconclusive => Self::Inconclusive,
        }
    }

    /// For a headline.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warning => "WARNING",
            Self::Flaky => "FLAKY",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }

    /// For a style sheet.
    pub fn class(self) -> String {
        self.word().to_lowercase()
    }

    /// Whether nothing failed in the end.
    pub fn passes(self) -> bool {
        matches!(self, Self::Pass | Self::Warning | Self::Flaky)
    }

    /// A sign, for readers without colours.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Warning | Self::Flaky => "!",
            Self::Fail => "✗",
            Self::Inconclusive => "?",
        }
    }
}

/// Layer, cause, component and confidence; nothing for a pass.
pub(crate) fn place(report: &Report) -> Vec<&'static str> {
    let verdict = &report.verdict;
    let layer = verdict.layer.map(|layer| layer.as_str());
    let component = verdict.component.map(|component| component.as_str());
    let confidence = verdict.cause.map(|_| verdict.confidence.as_str());
    layer.into_iter().chain(verdict.cause.map(Cause::id)).chain(component).chain(confidence).collect()
}

/// The layer at which the failure appeared, if the cause belongs to another layer.
pub(crate) fn seen_at(report: &Report) -> Option<Layer> {
    let verdict = &report.verdict;
    verdict.seen_at.filter(|layer| verdict.layer != Some(*layer))
}

/// Other causes that are not excluded, the nearest first.
pub(crate) fn alternatives(report: &Report) -> impl Iterator<Item = &Alternative> {
    report.verdict.alternatives.iter().take(ALTERNATIVES)
}

/// One of them in a line: the cause, the faulty component, and what would distinguish it.
pub(crate) fn alternative(other: &Alternative) -> String {
    let how = other.tell_apart.first().map(|how| format!(": {how}")).unwrap_or_default();
    format!("{} ({}){how}", other.cause, other.component)
}

/// Causes that were proven beside the one that is named, in one line; `None` if there are none.
pub(crate) fn also(report: &Report) -> Option<String> {
    let also = &report.verdict.also;
    let also: Vec<String> = also.iter().map(|other| format!("{} ({})", other.cause, other.component)).collect();
    (!also.is_empty()).then(|| also.join(", "))
}

/// The lines below the sentence of a verdict: where it showed, what else was proven, and what it may be instead.
pub(crate) fn beside(report: &Report) -> Vec<String> {
    let seen_at = seen_at(report).map(|layer| format!("the failure appeared at {layer}"));
    let also = also(report).map(|also| format!("also proven: {also}"));
    let others = alternatives(report).map(|other| format!("or {}", alternative(other)));
    let expiring = expiring(report).map(|(_, text)| text);
    seen_at.into_iter().chain(also).chain(others).chain(expiring).collect()
}

/// A sentence that explains why the verdict does not name this cause.
pub(crate) fn why_not(report: &Report, cause: Cause) -> String {
    if report.verdict.cause == Some(cause) {
        return format!("{cause} is the verdict.");
    }
    match verdict::why_not(&report.probes, cause) {
        None => format!("{cause} is not named, since no layer failed."),
        Some((_, Some(excluded))) => format!("{cause} is excluded: {}.", excluded.because),
        Some((Some(_), None)) => format!("{cause} is not excluded; it is one of the alternatives."),
        Some((None, None)) => format!("{cause} does not match what nssight observed here."),
    }
}

/// The findings with warnings.
pub(crate) fn warnings(report: &Report) -> impl Iterator<Item = &Finding> {
    report.probes.iter().filter(|finding| finding.status == Status::Warn)
}

/// The owner of a certificate, as this report names it: a peer without a server behind it is not a bridge.
pub fn role(certificate: &SeenCertificate, report: &Report) -> &'static str {
    match certificate.role {
        CertificateRole::Bridge if report.target.profile == Profile::Tls => "peer",
        role => role.as_str(),
    }
}

/// One sentence per certificate or revocation list that expires soon.
pub(crate) fn expiring(report: &Report) -> impl Iterator<Item = (Urgency, String)> {
    report
        .expiring()
        .into_iter()
        .map(|(expiring, urgency)| (urgency, format!("{} {}", what(expiring, report), when(expiring, report))))
}

fn what(expiring: Expiring<'_>, report: &Report) -> String {
    match expiring {
        Expiring::Certificate(it) => format!("the {} certificate {}", role(it, report), expiring.name()),
        Expiring::RevocationList(..) => expiring.name(),
    }
}

fn when(expiring: Expiring<'_>, report: &Report) -> String {
    let date = expiring.date();
    match days_until(date, report) {
        Some(1) => format!("expires in 1 day ({date})"),
        Some(days @ 2..) => format!("expires in {days} days ({date})"),
        Some(days) => format!("{} ({date})", days_in_words(days)),
        None => format!("expires at {date}"),
    }
}

/// The findings behind a verdict: that of its layer, then those of failed layers.
pub(crate) fn grounds(report: &Report) -> Vec<&Finding> {
    let named = report.probes.iter().filter(|finding| Some(finding.layer) == report.verdict.layer);
    let failed = report.probes.iter().filter(|finding| finding.status == Status::Fail);
    let mut grounds: Vec<&Finding> = named.chain(failed).collect();
    grounds.dedup_by_key(|finding| finding.layer);
    grounds
}

/// What a reader of the verdict needs of a layer, in the order it was seen, the library's error last.
pub(crate) fn facts(finding: &Finding) -> Vec<(String, String)> {
    rows(finding, |fact| !fact.is_usual())
}

/// All facts of a layer.
pub(crate) fn all_facts(finding: &Finding) -> Vec<(String, String)> {
    rows(finding, |_| true)
}

fn rows(finding: &Finding, wanted: impl Fn(&Fact) -> bool) -> Vec<(String, String)> {
    let facts = finding.facts.iter().filter(|fact| wanted(fact));
    let facts = facts.map(|fact| (fact.label().to_owned(), fact.text().into_owned()));
    let error = finding
        .error
        .as_ref()
        .map(|error| (format!("{} error", error.library), format!("{} ({}): {}", error.name, error.code, error.text)));
    facts.chain(error).collect()
}

/// Why this happens. A report from a version that did not yet write this gets the catalogue's text for any peer.
pub(crate) fn why(report: &Report, cause: Cause) -> String {
    report.verdict.why.as_deref().map_or_else(|| cause.entry().why.plain().to_owned(), printable)
}

/// One sentence on a layer; for a skipped layer, the reason.
pub(crate) fn outcome(finding: &Finding) -> String {
    match (finding.status, finding.skipped_because) {
        (Status::Skip, Some(layer)) => format!("skipped, {layer} failed"),
        (Status::Skip, None) => format!("skipped: {}", finding.summary),
        _ => finding.summary.clone(),
    }
}

/// Time spent in a layer; nothing for a skipped layer.
pub(crate) fn time(finding: &Finding) -> String {
    match (finding.status, finding.duration_us) {
        (Status::Skip, _) => String::new(),
        (_, micros @ 0..1_000_000) => format!("{:.1} ms", micros as f64 / 1000.0),
        (_, micros) => format!("{:.1} s", micros as f64 / 1_000_000.0),
    }
}

/// A sign for a status, for readers without colours.
pub(crate) fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Warn => "!",
        Status::Fail => "✗",
        Status::Skip => "–",
    }
}

/// The number of connections.
pub(crate) fn connections(report: &Report) -> String {
    match report.connections_opened {
        0 => "no connection was opened".to_owned(),
        1 => "one connection was opened".to_owned(),
        more => format!("{more} connections were opened"),
    }
}

/// The library that ran the session.
pub(crate) fn library(report: &Report) -> String {
    let tool = &report.tool;
    match report.target.credentials {
        CredentialsKind::Database => format!("NSS {}, NSPR {}", tool.nss, tool.nspr),
        CredentialsKind::Files => format!("OpenSSL {}", tool.openssl),
    }
}

/// The number of connections, and the library.
pub(crate) fn colophon(subject: &Subject) -> String {
    let report = &subject.report;
    let tries = if subject.tries > 1 { format!(" in {} attempts", subject.tries) } else { String::new() };
    let (library, connections) = (library(report), connections(report));
    let host = report.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
    format!(
        "nssight {} with {library}{host}; checked at {} in {:.1} s{tries}; {connections}",
        report.tool.version,
        report.started,
        subject.duration.as_secs_f64()
    )
}

/// When and where a report was made, and by which version.
pub(crate) fn stamp(report: &Report) -> String {
    let started = OffsetDateTime::parse(&report.started, &Rfc3339).ok();
    let at = started.and_then(|at| at.format(format_description!("[year]-[month]-[day] [hour]:[minute] UTC")).ok());
    let host = report.host.as_deref().map(|host| format!(" on {host}")).unwrap_or_default();
    printable(&format!("{}{host}, nssight {}", at.as_deref().unwrap_or(&report.started), report.tool.version))
}

/// The last second of a certificate.
pub fn not_after(certificate: &SeenCertificate) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&certificate.not_after, &Rfc3339).ok()
}

/// When the next revocation list is due; `None` if the list does not state it.
pub fn next_update(list: &SeenRevocationList) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(list.next_update.as_deref()?, &Rfc3339).ok()
}

/// The first second of a certificate.
pub fn not_before(certificate: &SeenCertificate) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&certificate.not_before, &Rfc3339).ok()
}

/// Whole days that a certificate had left when the check began; negative when it had expired. Not from the clock, so that the
/// same report gives the same page.
pub(crate) fn days_left(certificate: &SeenCertificate, report: &Report) -> Option<i64> {
    days_until(&certificate.not_after, report)
}

/// Whole days that the revocation lists have left, negative where they have expired.
pub(crate) fn days_left_of_lists(report: &Report) -> impl Iterator<Item = (i64, &SeenRevocationList)> {
    let lists = report.revocation_lists.iter();
    lists.filter_map(|list| Some((days_until(list.next_update.as_deref()?, report)?, list)))
}

/// Whole days from the beginning of the check to a date; negative where the date had passed.
pub(crate) fn days_until(date: &str, report: &Report) -> Option<i64> {
    expiry::days_until(date, &report.started)
}

/// The same as text; nothing if a date is invalid.
pub(crate) fn time_left(certificate: &SeenCertificate, report: &Report) -> String {
    match days_left(certificate, report) {
        _ if is_early(certificate, report) => "not valid yet".to_owned(),
        None => String::new(),
        Some(days) => days_in_words(days),
    }
}

/// Whether the check began before a certificate's first second.
pub(crate) fn is_early(certificate: &SeenCertificate, report: &Report) -> bool {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    at(&report.started).zip(at(&certificate.not_before)).is_some_and(|(started, first)| started < first)
}

/// How long a certificate has, by its whole days.
pub fn days_in_words(days: i64) -> String {
    match days {
        ..-1 => format!("expired {} days ago", -days),
        -1 => "expired less than a day ago".to_owned(),
        0 => "expires in less than a day".to_owned(),
        1 => "1 day left".to_owned(),
        2.. => format!("{days} days left"),
    }
}

/// Our own certificate: the one that has our nickname and is not a CA's.
pub(crate) fn own(report: &Report) -> Option<&SeenCertificate> {
    let is_own = |it: &&SeenCertificate| it.nickname.is_some() && it.role != CertificateRole::Authority;
    report.certificates.iter().find(is_own)
}
