//! `--retries`: a failure that may pass is retried. The result of another attempt is a fact, too: it distinguishes a dead
//! server link from a rejected request, since the first attempt uses up a dead link.

use std::time::Duration;

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{CertificateRole, Status, judge, verdict};
use nssight_probes::Report;

/// Time between two attempts: a refused server reconnects after five seconds, a used one at once.
pub const SPACING: Duration = Duration::from_secs(2);

/// Whether another attempt may have a better result.
pub fn is_worth_it(report: &Report) -> bool {
    let facts = report.probes.iter().flat_map(|finding| &finding.facts).collect();
    let verdict = &report.verdict;
    verdict.status == Outcome::Fail && verdict.cause.is_some_and(|cause| judge::may_pass(cause, facts))
}

/// The later of two attempts, which is the state of a target that is waited for, with the connections of both.
pub fn latest(first: &Report, mut next: Report) -> Report {
    next.connections_opened += first.connections_opened;
    next
}

/// What two attempts prove together. The findings and the wire are those of the later one, unless that one could not finish. The
/// certificates are also those of the later one, as far as it got.
pub fn combine(mut first: Report, mut next: Report) -> Report {
    next.connections_opened += first.connections_opened;
    // What was seen before remains valid, whatever happened to the tool.
    if next.verdict.status == Outcome::Inconclusive {
        return Report { connections_opened: next.connections_opened, ..first };
    }
    let met_later: Vec<CertificateRole> = next.certificates.iter().map(|certificate| certificate.role).collect();
    let only_before = first.certificates.drain(..).filter(|certificate| !met_later.contains(&certificate.role));
    next.certificates.extend(only_before);
    let again = |came: fact::RetryNext| {
        let came: Fact = came.into();
        verdict::diagnose_with(&first.probes, &[came], &first.target.names())
    };
    match next.verdict.status {
        Outcome::Pass => {
            next.verdict = again(fact::RetryNext::Passed);
            next.verdict.status = Outcome::Flaky;
            next.verdict.summary += "; the next attempt passed";
        }
        _ if closed_in_order(&first) && closed_in_order(&next) => {
            next.verdict = again(fact::RetryNext::ClosedAlike);
            next.verdict.summary += ", and did the same on the next attempt";
        }
        _ => {}
    }
    next
}

/// Whether the peer closed its session in order, and no byte came before that.
fn closed_in_order(report: &Report) -> bool {
    let failed = report.probes.iter().find(|finding| finding.status == Status::Fail);
    failed.is_some_and(|finding| finding.facts.has(fact::BridgeFirstAnswer::CloseNotify))
}

#[cfg(test)]
mod tests {
    use nssight_diagnosis::{Cause, Component, Layer};

    use super::*;

    /// A refusal is permanent, and so is a failure that may be a hidden refusal: a client that is locked out or limited makes things
    /// worse with every attempt.
    #[test]
    fn nothing_that_may_be_a_refusal_is_retried() {
        let passing = Cause::ALL.iter().copied().filter(|cause| {
            let rules = &cause.entry().rules;
            rules.transient || !rules.transient_if.is_empty()
        });
        let mut count = 0;
        for cause in passing {
            count += 1;
            let entry = cause.entry();
            let elsewhere = |component: Component| {
                matches!(component, Component::Network | Component::Peer | Component::Bridge | Component::Server)
            };
            assert!(entry.layer >= Layer::Resolve && elsewhere(entry.component()), "{cause}");
            let refusals = ["cert", "rejected", "auth", "alert", "version", "cipher", "tampered", "untrusted"];
            assert!(!refusals.iter().any(|word| cause.id().contains(word)), "{cause}");
        }
        assert!(count > 5, "{count}");
    }

    #[test]
    fn a_name_server_that_cannot_answer_now_may_answer_later() {
        let unresolved: Cause = "name-unresolved".parse().unwrap();
        let may_pass = |state: fact::NameState| judge::may_pass(unresolved, vec![&state.into()]);
        assert!(may_pass(fact::NameState::TryAgain) && !may_pass(fact::NameState::NotFound));
        assert!(!judge::may_pass(unresolved, Vec::new()), "nobody looked");
    }
}
