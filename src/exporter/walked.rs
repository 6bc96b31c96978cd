//! The stored result of a check.

use std::time::{Duration, SystemTime};

use nssight_diagnosis::{CertificateRole, Layer, Status};
use nssight_probes::report::Subject;
use nssight_probes::{Report, SeenCertificate};
use nssight_reports::{self as report, Standing};

use super::history::History;
use crate::cli::Format;

/// The report of a check, and its time.
pub(super) struct Walked {
    pub(super) subject: Subject,
    /// The end of the check.
    pub(super) ended: SystemTime,
    /// Certificates of an earlier check that this one did not reach.
    pub(super) remembered: Vec<SeenCertificate>,
    /// The earlier verdicts and this one.
    pub(super) history: History,
    /// The metrics of this result in OpenMetrics, with the dates of remembered certificates and without the end mark.
    pub(super) metrics: String,
}

impl Walked {
    /// A check that has just ended, with the results of the previous check that still matter.
    pub(super) fn now(subject: Subject, before: Option<&Self>) -> Self {
        let remembered = before.map(|before| remembered(&subject.report, before)).unwrap_or_default();
        let history = before.map(|before| before.history.clone()).unwrap_or_default();
        let mut walked = Self::of(subject, SystemTime::now(), remembered, history);
        let verdict = walked.verdict();
        walked.history.add(walked.ended, walked.standing(), &verdict);
        walked
    }

    pub(super) fn of(
        mut subject: Subject,
        ended: SystemTime,
        remembered: Vec<SeenCertificate>,
        history: History,
    ) -> Self {
        let seen = subject.report.certificates.len();
        // The metrics show the dates of all certificates; a report shows only those that its check saw.
        subject.report.certificates.extend(remembered.iter().cloned());
        let metrics = metrics(&subject);
        subject.report.certificates.truncate(seen);
        Self { subject, ended, remembered, history, metrics }
    }

    /// A cache cannot use a result from the future, after the clock was set back.
    pub(super) fn age(&self) -> Duration {
        self.ended.elapsed().unwrap_or(Duration::MAX)
    }

    /// Seconds since 1970.
    pub(super) fn timestamp(&self) -> f64 {
        self.ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
    }

    /// The result.
    pub(super) fn standing(&self) -> Standing {
        Standing::of(&self.subject.report)
    }

    /// The status, layer and cause.
    pub(super) fn verdict(&self) -> String {
        let verdict = &self.subject.report.verdict;
        let layer = verdict.layer.map(|layer| format!(" {layer}")).unwrap_or_default();
        let cause = verdict.cause.map(|cause| format!(" {}", cause.id())).unwrap_or_default();
        format!("{}{layer}{cause}", verdict.status)
    }
}

fn metrics(subject: &Subject) -> String {
    let mut bytes = Vec::new();
    // A write to a vector does not fail.
    let _ = report::write(Format::Openmetrics, std::slice::from_ref(subject), &mut bytes);
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    text.truncate(text.strip_suffix("# EOF\n").map_or(text.len(), str::len));
    text
}

/// An unreachable peer keeps its last dates, including those of the CAs that it sent; so does a database that is temporarily unreadable. A
/// nickname that is missing from a readable database is forgotten.
fn remembered(report: &Report, before: &Walked) -> Vec<SeenCertificate> {
    let nss_db = report.probes.iter().find(|finding| finding.layer == Layer::NssDb);
    let readable = nss_db.is_some_and(|finding| matches!(finding.status, Status::Pass | Status::Warn));
    let known = || before.subject.report.certificates.iter().chain(&before.remembered);
    let of_a_peer = |it: &SeenCertificate| matches!(it.role, CertificateRole::Bridge | CertificateRole::Server);
    let is_seen = |role: CertificateRole| report.certificates.iter().any(|certificate| certificate.role == role);
    let is_away = known().any(|it| of_a_peer(it) && !is_seen(it.role));
    let worth_it = known().filter(|it| {
        // Our own CAs have a nickname in the database.
        if is_away && it.role == CertificateRole::Authority && it.nickname.is_none() {
            return !report.certificates.iter().any(|seen| seen.sha256 == it.sha256);
        }
        !is_seen(it.role) && (of_a_peer(it) || !readable)
    });
    worth_it.cloned().collect()
}
