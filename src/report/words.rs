//! What several formats say in the same words.

use nssight_probes::{Cause, CertificateRole, Finding, Outcome, Report, SeenCertificate, Status};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::Subject;

/// How a target came out; unlike the verdict's status it tells a pass with warnings from one without.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Pass,
    Warning,
    Flaky,
    Fail,
    Inconclusive,
}

impl Standing {
    pub(super) fn of(report: &Report) -> Self {
        match report.verdict.status {
            Outcome::Pass if warnings(report).next().is_some() => Self::Warning,
            Outcome::Pass => Self::Pass,
            Outcome::Flaky => Self::Flaky,
            Outcome::Fail => Self::Fail,
            Outcome::Inconclusive => Self::Inconclusive,
        }
    }

    /// For a headline.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Pass => "PASS",
            Self::Warning => "WARNING",
            Self::Flaky => "FLAKY",
            Self::Fail => "FAIL",
            Self::Inconclusive => "INCONCLUSIVE",
        }
    }

    /// For a style sheet.
    pub(super) fn class(self) -> String {
        self.word().to_lowercase()
    }

    /// Whether nothing failed in the end.
    pub(super) fn passes(self) -> bool {
        matches!(self, Self::Pass | Self::Warning | Self::Flaky)
    }

    /// For those who read it in one colour.
    pub(super) fn sign(self) -> &'static str {
        match self {
            Self::Pass => "✓",
            Self::Warning | Self::Flaky => "!",
            Self::Fail => "✗",
            Self::Inconclusive => "?",
        }
    }
}

/// Layer, cause, component and confidence; nothing for a pass.
pub(super) fn place(report: &Report) -> Vec<&'static str> {
    let verdict = &report.verdict;
    let layer = verdict.layer.map(|layer| layer.as_str());
    let component = verdict.component.map(|component| component.as_str());
    let confidence = verdict.cause.map(|_| verdict.confidence.as_str());
    layer.into_iter().chain(verdict.cause.map(Cause::id)).chain(component).chain(confidence).collect()
}

/// The findings that deserve attention without being failures.
pub(super) fn warnings(report: &Report) -> impl Iterator<Item = &Finding> {
    report.probes.iter().filter(|finding| finding.status == Status::Warn)
}

/// The findings that a verdict rests on: that of the layer it names, then those that failed.
pub(super) fn grounds(report: &Report) -> Vec<&Finding> {
    let named = report.probes.iter().filter(|finding| Some(finding.layer) == report.verdict.layer);
    let failed = report.probes.iter().filter(|finding| finding.status == Status::Fail);
    let mut grounds: Vec<&Finding> = named.chain(failed).collect();
    grounds.dedup_by_key(|finding| finding.layer);
    grounds
}

/// What is known of a layer, in the order it was seen, the library's error last.
pub(super) fn facts(finding: &Finding) -> Vec<(String, String)> {
    let evidence = finding.evidence.iter().map(|fact| (fact.key.clone(), fact.value.clone()));
    let error = finding
        .error
        .as_ref()
        .map(|error| (format!("{} error", error.library), format!("{} ({}): {}", error.name, error.code, error.text)));
    evidence.chain(error).collect()
}

/// One sentence on a layer; for one that was not walked, why.
pub(super) fn outcome(finding: &Finding) -> String {
    match (finding.status, finding.skipped_because) {
        (Status::Skip, Some(layer)) => format!("skipped, {layer} failed"),
        (Status::Skip, None) => format!("skipped: {}", finding.summary),
        _ => finding.summary.clone(),
    }
}

/// Time spent in a layer; nothing for one that was not walked.
pub(super) fn time(finding: &Finding) -> String {
    match (finding.status, finding.duration_us) {
        (Status::Skip, _) => String::new(),
        (_, micros @ 0..1_000_000) => format!("{:.1} ms", micros as f64 / 1000.0),
        (_, micros) => format!("{:.1} s", micros as f64 / 1_000_000.0),
    }
}

/// A sign for a status, for those who read it in one colour.
pub(super) fn sign(status: Status) -> &'static str {
    match status {
        Status::Pass => "✓",
        Status::Warn => "!",
        Status::Fail => "✗",
        Status::Skip => "–",
    }
}

/// What was opened and what did it.
pub(super) fn colophon(subject: &Subject) -> String {
    let report = &subject.report;
    let connections = match report.connections_opened {
        0 => "no connection was opened".to_owned(),
        1 => "one connection was opened".to_owned(),
        more => format!("{more} connections were opened"),
    };
    let tries = if subject.tries > 1 { format!(" in {} tries", subject.tries) } else { String::new() };
    let tool = &report.tool;
    format!(
        "nssight {} with NSS {}, NSPR {} and OpenSSL {}; walked at {} in {:.1} s{tries}; {connections}",
        tool.version,
        tool.nss,
        tool.nspr,
        tool.openssl,
        report.started,
        subject.duration.as_secs_f64()
    )
}

/// The last second of a certificate, in seconds since 1970.
pub(super) fn not_after(certificate: &SeenCertificate) -> Option<OffsetDateTime> {
    OffsetDateTime::parse(&certificate.not_after, &Rfc3339).ok()
}

/// Whole days that a certificate had left when the walk began; negative when it had expired. Not from the clock: the same
/// report gives the same page.
pub(super) fn days_left(certificate: &SeenCertificate, report: &Report) -> Option<i64> {
    let started = OffsetDateTime::parse(&report.started, &Rfc3339).ok()?;
    Some((not_after(certificate)? - started).as_seconds_f64().div_euclid(86_400.0) as i64)
}

/// The same in words; nothing where a date is none.
pub(super) fn time_left(certificate: &SeenCertificate, report: &Report) -> String {
    match days_left(certificate, report) {
        _ if is_early(certificate, report) => "not valid yet".to_owned(),
        None => String::new(),
        Some(days) => in_words(days),
    }
}

/// Whether the walk began before a certificate's first second.
pub(super) fn is_early(certificate: &SeenCertificate, report: &Report) -> bool {
    let at = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    at(&report.started).zip(at(&certificate.not_before)).is_some_and(|(started, first)| started < first)
}

fn in_words(days: i64) -> String {
    match days {
        ..-1 => format!("expired {} days ago", -days),
        -1 => "expired less than a day ago".to_owned(),
        0 => "expires in less than a day".to_owned(),
        1 => "1 day left".to_owned(),
        2.. => format!("{days} days left"),
    }
}

/// Our own certificate: the one that has our nickname and is no authority's.
pub(super) fn own(report: &Report) -> Option<&SeenCertificate> {
    let is_own = |it: &&SeenCertificate| it.nickname.is_some() && it.role != CertificateRole::Authority;
    report.certificates.iter().find(is_own)
}
