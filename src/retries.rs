//! `--retries`: what failed in transport is tried again. Another try also tells a dead server link from a rejected request,
//! since a dead link is used up by the first.

use std::time::Duration;

use nssight_probes::{Cause, CertificateRole, Confidence, Layer, Outcome, Report};

/// Time between two tries: a server that was refused dials again after five seconds, one that was used at once.
pub(crate) const SPACING: Duration = Duration::from_secs(2);

/// Failures of transport that may pass by themselves. A refusal is not among them, nor what may be one without saying so:
/// it stays, and a client that is locked out or limited makes things worse.
const PASSING: &[Cause] = &[
    Cause::TcpRefused,
    Cause::TcpTimeout,
    Cause::TcpUnreachable,
    Cause::BridgeStalled,
    Cause::PeerStalled,
    Cause::PeerReset,
    Cause::PeerClosedInHandshake,
    Cause::HandshakeTooSlow,
    Cause::ServerAbsent,
    Cause::ServerLinkDead,
    Cause::ServerStalled,
    Cause::InnerClosed,
    Cause::ReplyTruncated,
];
/// A name server that cannot answer now may answer later (getaddrinfo(3)); one that knows no such name will not.
const TRY_AGAIN: &str = "EAI_AGAIN";

/// Whether another try may come out better.
pub(crate) fn is_worth_it(report: &Report) -> bool {
    let verdict = &report.verdict;
    match verdict.cause {
        Some(Cause::NameUnresolved) => report.probes.iter().any(|finding| {
            finding.layer == Layer::Resolve && finding.error.as_ref().is_some_and(|error| error.name == TRY_AGAIN)
        }),
        Some(cause) => verdict.status == Outcome::Fail && PASSING.contains(&cause),
        None => false,
    }
}

/// What two tries prove together. The findings and the wire are those of the later one, unless that one could not finish, and
/// so are the certificates as far as it came.
pub(crate) fn combine(mut first: Report, mut next: Report) -> Report {
    // What was seen before stands, whatever became of the tool.
    if next.verdict.status == Outcome::Inconclusive {
        return Report { connections_opened: next.connections_opened, ..first };
    }
    let met_later: Vec<CertificateRole> = next.certificates.iter().map(|certificate| certificate.role).collect();
    let only_before = first.certificates.drain(..).filter(|certificate| !met_later.contains(&certificate.role));
    next.certificates.extend(only_before);
    let dead_link = first.verdict.cause == Some(Cause::ServerLinkDead);
    let same_close = dead_link && closed_in_order(&first) && closed_in_order(&next);
    match next.verdict.status {
        Outcome::Pass => {
            let why = if dead_link { ", so the dead link was used up by the first" } else { "" };
            let summary = format!("{}; the next try passed{why}", first.verdict.summary);
            next.verdict = first.verdict;
            next.verdict.status = Outcome::Flaky;
            next.verdict.summary = summary;
            if dead_link {
                next.verdict.confidence = Confidence::Certain;
            }
        }
        _ if same_close && next.verdict.cause == Some(Cause::ServerLinkDead) => {
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

#[cfg(test)]
mod tests {
    use nssight_probes::Component;

    use super::*;

    #[test]
    fn nothing_that_may_be_a_refusal_is_tried_again() {
        for cause in PASSING {
            let entry = cause.entry();
            assert!(
                matches!(entry.component, Component::Network | Component::Bridge | Component::Server),
                "{}",
                cause.id()
            );
            assert!(entry.layer >= Layer::Tcp, "{}", cause.id());
            let refusals = ["cert", "rejected", "auth", "alert", "version", "cipher", "tampered", "name", "untrusted"];
            assert!(!refusals.iter().any(|word| cause.id().contains(word)), "{}", cause.id());
        }
    }
}
