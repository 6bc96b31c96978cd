//! Merges the results of a program's calls with those of a check of its configuration without a connection.
//!
//! The calls show which layer fails. A check may find out why: its failure replaces theirs if its cause explains what the calls show.

use std::cmp::Ordering;

use nssight_diagnosis::fact::{Word, fact};
use nssight_diagnosis::judge::{self, Case};
use nssight_diagnosis::{Finding, Layer, Status, verdict};

/// The findings on a program, combined from those of its calls and those of a check without a connection, and judged.
pub fn merge(mut trace: Vec<Finding>, walked: &[Finding]) -> Vec<Finding> {
    let passed: Vec<Layer> =
        trace.iter().filter(|finding| finding.status == Status::Pass).map(|finding| finding.layer).collect();
    unite(&mut trace, walked);
    if let Some(reason) = walked.iter().find(|finding| finding.status == Status::Fail)
        && let Some(link) = link(reason, &trace, &passed)
    {
        trace = with_reason(trace, reason, link);
    }
    judged(trace)
}

/// Fills in the causes, in the order of the layers.
fn judged(trace: Vec<Finding>) -> Vec<Finding> {
    let mut findings = Vec::with_capacity(trace.len());
    for finding in trace {
        findings.push(finding);
        verdict::judge_last(&mut findings);
    }
    findings
}

fn is_looked_at(finding: &Finding) -> bool {
    finding.skipped_because.is_none()
}

/// Combines the observations of the check with those of the calls for each layer: the check's facts come first, and its warnings are kept
/// where the calls show no failure. The program's own observations take precedence, except for who answered its resolver, which no call
/// shows.
fn unite(trace: &mut [Finding], walked: &[Finding]) {
    let knows_source = walked.iter().any(|finding| finding.fact(fact::NameSource::FACT).is_some());
    for finding in trace.iter_mut().filter(|finding| is_looked_at(finding)) {
        if knows_source {
            finding.facts.retain(|fact| fact.id != fact::NameSource::FACT);
        }
        let Some(seen) = walked.iter().find(|seen| seen.layer == finding.layer && seen.status != Status::Skip) else {
            continue;
        };
        let calls = std::mem::replace(&mut finding.facts, seen.facts.clone());
        finding.facts.extend(calls);
        if seen.status == Status::Warn && matches!(finding.status, Status::Pass | Status::Skip) {
            *finding = Finding { facts: std::mem::take(&mut finding.facts), ..seen.clone() };
        }
    }
}

/// How the check's failure made the program fail, if it did. `passed` are the layers that its own calls passed.
fn link(reason: &Finding, trace: &[Finding], passed: &[Layer]) -> Option<fact::TraceLink> {
    // Credentials that the peer has accepted in a handshake are good enough, whatever the check found; so is a password that NSS has
    // accepted.
    let taken =
        passed.contains(&Layer::OuterHandshake) || reason.layer == Layer::Password && passed.contains(&Layer::Password);
    let inferred = match trace.iter().find(|finding| finding.status == Status::Fail) {
        _ if taken => false,
        Some(call) if call.layer < reason.layer => false,
        Some(call) if shows(reason, call, trace) => return Some(fact::TraceLink::Shown),
        Some(call) => leads_to(reason, call),
        None => trace.iter().any(|finding| finding.facts.has(fact::TraceEnded::BeforeNss)) && is_setting(reason),
    };
    inferred.then_some(fact::TraceLink::Inferred)
}

/// Whether the check's cause can show what the call showed, and no fact contradicts it.
fn shows(reason: &Finding, call: &Finding, trace: &[Finding]) -> bool {
    let facts = trace.iter().flat_map(|finding| &finding.facts).collect();
    let judgement = judge::judge(&Case { shown: call.signals.iter().collect(), facts });
    judgement.candidates.iter().any(|candidate| Some(candidate.cause) == reason.cause)
}

/// Whether one failure is a consequence of the other in the order of steps.
fn leads_to(reason: &Finding, call: &Finding) -> bool {
    let sent_none = call.facts.has(fact::OurCertificateSent::No) || call.facts.has(fact::OurCertificateSent::Empty);
    match reason.layer {
        // A program with unusable settings may fail anywhere.
        Layer::Config => true,
        // A program without access to its certificate or key continues without it, and fails if the peer requests it.
        Layer::Password | Layer::Certificate | Layer::PrivateKey => sent_none,
        // No other consequences were observed.
        _ => false,
    }
}

/// Whether the failure is one of settings: a program that has not called NSS can only have failed at these.
fn is_setting(reason: &Finding) -> bool {
    use fact::PasswordState::{NoneGiven, SourceEmpty, SourceUnreadable};
    reason.layer == Layer::Config
        || [NoneGiven, SourceEmpty, SourceUnreadable].into_iter().any(|state| reason.facts.has(state))
}

/// Puts the check's failure in its layer, together with the consequence that the call showed; later findings do not matter.
fn with_reason(trace: Vec<Finding>, reason: &Finding, link: fact::TraceLink) -> Vec<Finding> {
    let layer = reason.layer;
    let call = trace.iter().find(|finding| finding.status == Status::Fail).cloned();
    let place = |finding: Finding| match finding.layer.cmp(&layer) {
        Ordering::Less => finding,
        Ordering::Greater => Finding::skipped(finding.layer, Some(layer), format!("{layer} failed")),
        Ordering::Equal => {
            let mut reason = Finding { facts: finding.facts, ..reason.clone() };
            reason.facts.put(link);
            if let Some(call) = &call {
                if call.layer != layer {
                    reason.facts.extend(call.facts.iter().cloned());
                }
                reason.signals.extend(call.signals.iter().cloned());
                reason.error = reason.error.or_else(|| call.error.clone());
            }
            reason
        }
    };
    trace.into_iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use nssight_diagnosis::fact::Fact;
    use nssight_diagnosis::signal::{Signal, signal};
    use nssight_diagnosis::verdict::{self, Names, Verdict};
    use nssight_diagnosis::vocabulary::Confidence;
    use nssight_diagnosis::{Cause, Notes};

    use super::*;

    fn notes(facts: &[Fact]) -> Notes {
        facts.iter().cloned().fold(Notes::default(), Notes::with)
    }

    fn failed(layer: Layer, shown: Signal, facts: &[Fact]) -> Finding {
        notes(facts).fail(shown, "it failed").into_finding(layer, 0)
    }

    fn passed(layer: Layer) -> Finding {
        Notes::default().pass("it works").into_finding(layer, 0)
    }

    fn not_called(layer: Layer) -> Finding {
        Finding::skipped(layer, None, "no call".to_owned())
    }

    /// A failure of a check, judged as in a check that has looked for ignored keys.
    fn walked(layer: Layer, shown: Signal, facts: &[Fact]) -> Vec<Finding> {
        let facts = [facts, &[fact::ConfigIgnored::None.into()]].concat();
        judged(vec![failed(layer, shown, &facts)])
    }

    fn verdict_on(trace: Vec<Finding>, walked: &[Finding]) -> (Option<Layer>, Option<Cause>, Confidence) {
        let mut findings = merge(trace, walked);
        let unread = |finding: &Finding| finding.facts.has(fact::TraceComplete::No);
        for finding in findings.iter_mut().filter(|finding| finding.status == Status::Fail && !unread(finding)) {
            finding.facts.put(fact::TraceComplete::Yes);
        }
        let mut verdict: Verdict = verdict::diagnose(&findings, &Names::default());
        verdict::doubted(&mut findings, &mut verdict);
        (verdict.layer, verdict.cause, verdict.confidence)
    }

    fn expired() -> Vec<Finding> {
        walked(Layer::Certificate, signal::CERTIFICATE_UNUSABLE, &[fact::OurCertificateState::Expired.into()])
    }

    #[test]
    fn a_walk_explains_what_its_cause_shows() {
        let call = failed(Layer::OuterHandshake, signal::ALERT_CERTIFICATE_EXPIRED, &[]);
        let said = verdict_on(vec![not_called(Layer::Certificate), call], &expired());
        assert_eq!(said, (Some(Layer::Certificate), Some(Cause::CertExpired), Confidence::Certain));
    }

    #[test]
    fn a_walk_does_not_explain_another_failure() {
        let facts = [fact::TcpState::Refused.into(), fact::NameSource::Unseen.into()];
        let call = failed(Layer::Tcp, signal::REFUSED, &facts);
        let findings = merge(vec![not_called(Layer::Certificate), call], &expired());
        assert_eq!(findings[1].cause, Some(Cause::TcpRefused));
        assert!(findings[0].facts.has(fact::OurCertificateState::Expired), "it is told beside it");
        assert_eq!(findings[0].status, Status::Skip);
    }

    #[test]
    fn what_the_peer_has_taken_is_good_enough() {
        let call = failed(Layer::InnerHandshake, signal::ALERT_CERTIFICATE_EXPIRED, &[]);
        let trace = vec![not_called(Layer::Certificate), passed(Layer::OuterHandshake), call];
        let statuses: Vec<Status> = merge(trace.clone(), &expired()).iter().map(|finding| finding.status).collect();
        assert_eq!(statuses, [Status::Skip, Status::Pass, Status::Fail]);
        let (layer, cause, _) = verdict_on(trace, &expired());
        assert_eq!((layer, cause), (Some(Layer::InnerHandshake), Some(Cause::InnerClientCertRejected)));
    }

    #[test]
    fn consequences_of_an_earlier_layer_are_inferred() {
        let missing = walked(Layer::PrivateKey, signal::KEY_UNUSABLE, &[fact::PrivateKeyState::Missing.into()]);
        let facts = [fact::CertificateRequest::Seen.into(), fact::OurCertificateSent::No.into()];
        let call = failed(Layer::OuterHandshake, signal::ALERT_HANDSHAKE_FAILURE, &facts);
        let said = verdict_on(vec![not_called(Layer::PrivateKey), call], &missing);
        assert_eq!(said, (Some(Layer::PrivateKey), Some(Cause::KeyMissing), Confidence::Likely));
    }

    #[test]
    fn a_program_without_nss_calls_failed_at_a_setting_or_not_at_all() {
        let before = || vec![not_called(Layer::Config), not_called(Layer::Password), not_called(Layer::Certificate)];
        let mut ended = before();
        ended[0].facts.put(fact::TraceEnded::BeforeNss);
        let none = walked(Layer::Password, signal::LOGIN_FAILED, &[fact::PasswordState::NoneGiven.into()]);
        let said = verdict_on(ended.clone(), &none);
        assert_eq!(said, (Some(Layer::Password), Some(Cause::PasswordMissing), Confidence::Likely));
        assert_eq!(verdict_on(ended, &expired()).0, None);
        // The program called NSS, and none of its calls failed.
        assert_eq!(verdict_on(before(), &none).0, None);
    }

    #[test]
    fn unread_events_lower_the_confidence() {
        let facts = [fact::OurCertificateLookedUp::NotFound.into(), fact::TraceComplete::No.into()];
        let call = failed(Layer::Certificate, signal::CERTIFICATE_NOT_FOUND, &facts);
        let said = verdict_on(vec![call], &[]);
        assert_eq!(said, (Some(Layer::Certificate), Some(Cause::CertNotFound), Confidence::Possible));
    }

    #[test]
    fn the_check_determines_who_answered_the_resolver() {
        let mut resolve = notes(&[fact::NameSource::HostsDiffers.into()]);
        resolve.put(fact::NameState::Resolved);
        let warned = judged(vec![resolve.warn(signal::NAME_REMARK, "DNS differs").into_finding(Layer::Resolve, 0)]);
        let facts = [fact::TcpState::NoAnswer.into(), fact::NameSource::Unseen.into()];
        let trace = vec![passed(Layer::Resolve), failed(Layer::Tcp, signal::CONNECT_TIMEOUT, &facts)];
        let said = verdict_on(trace, &warned);
        assert_eq!(said.1, Some(Cause::NameStaleHosts), "{said:?}");
    }
}
