//! `--retries`: another try tells a dead server link from a rejected request, since a dead link is used up by the first.

use std::time::Duration;

use nssight_probes::{Cause, CertificateRole, Confidence, Outcome, Report};

/// Time between two tries: a server that was refused dials again after five seconds, one that was used at once.
pub(crate) const SPACING: Duration = Duration::from_secs(2);

/// Only what may pass by itself is tried again. A refusal is not: it stays, and a client that is locked out or limited
/// makes things worse.
pub(crate) fn is_worth_it(report: &Report) -> bool {
    report.verdict.cause == Some(Cause::ServerLinkDead)
}

/// What two tries prove together. The findings and the wire are those of the later one, and so are the certificates as far as
/// it came.
pub(crate) fn combine(mut first: Report, mut next: Report) -> Report {
    let met_later: Vec<CertificateRole> = next.certificates.iter().map(|certificate| certificate.role).collect();
    let only_before = first.certificates.drain(..).filter(|certificate| !met_later.contains(&certificate.role));
    next.certificates.extend(only_before);
    let same_close = closed_in_order(&first) && closed_in_order(&next);
    match next.verdict.status {
        Outcome::Pass => {
            let summary =
                format!("{}; the next try passed, so the dead link was used up by the first", first.verdict.summary);
            next.verdict = first.verdict;
            next.verdict.status = Outcome::Flaky;
            next.verdict.confidence = Confidence::Certain;
            next.verdict.summary = summary;
        }
        _ if same_close && is_worth_it(&next) => {
            let entry = Cause::BridgeRejectedRequest.entry();
            next.verdict.cause = Some(Cause::BridgeRejectedRequest);
            next.verdict.component = Some(entry.component);
            next.verdict.confidence = Confidence::Likely;
            next.verdict.summary = format!("{}, and did so again when tried again", next.verdict.summary);
            next.verdict.remedies = nssight_probes::diagnosis::remedies(Cause::BridgeRejectedRequest, &next.target);
        }
        _ => {}
    }
    next
}

/// The bridge closed its session in order, and no byte came before that.
fn closed_in_order(report: &Report) -> bool {
    let finding = report.probes.iter().find(|finding| Some(finding.layer) == report.verdict.layer);
    finding.and_then(|finding| finding.fact("first answer")).is_some_and(|fact| fact.starts_with("close_notify"))
}
