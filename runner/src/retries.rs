//! `--retries`: what may pass by itself is tried again. What came of another try is a fact, too: it tells a dead server link
//! from a rejected request, since a dead link is used up by the first.

use std::time::Duration;

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{CertificateRole, Status, judge, verdict};
use nssight_probes::Report;

/// Time between two tries: a server that was refused dials again after five seconds, one that was used at once.
pub const SPACING: Duration = Duration::from_secs(2);

/// Whether another try may come out better.
pub fn is_worth_it(report: &Report) -> bool {
    let facts = report.probes.iter().flat_map(|finding| &finding.facts).collect();
    let verdict = &report.verdict;
    verdict.status == Outcome::Fail && verdict.cause.is_some_and(|cause| judge::may_pass(cause, facts))
}

/// The later of two tries, which is the state of a target that is waited for, with the connections of both.
pub fn latest(first: &Report, mut next: Report) -> Report {
    next.connections_opened += first.connections_opened;
    next
}

/// What two tries prove together. The findings and the wire are those of the later one, unless that one could not finish, and
/// so are the certificates as far as it came.
pub fn combine(mut first: Report, mut next: Report) -> Report {
    next.connections_opened += first.connections_opened;
    // What was seen before stands, whatever became of the tool.
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
            next.verdict.summary += "; the next try passed";
        }
        _ if closed_in_order(&first) && closed_in_order(&next) => {
            next.verdict = again(fact::RetryNext::ClosedAlike);
            next.verdict.summary += ", and did so again when tried again";
        }
        _ => {}
    }
    next
}

/// The peer closed its session in order, and no byte came before that.
fn closed_in_order(report: &Report) -> bool {
    let failed = report.probes.iter().find(|finding| finding.status == Status::Fail);
    failed.is_some_and(|finding| finding.facts.has(fact::BridgeFirstAnswer::CloseNotify))
}

#[cfg(test)]
mod tests {
    use nssight_diagnosis::{Cause, Component, Layer};

    use super::*;

    /// A refusal stays, and so does what may be one without saying so: a client that is locked out or limited makes things
    /// worse with every try.
    #[test]
    fn nothing_that_may_be_a_refusal_is_tried_again() {
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
