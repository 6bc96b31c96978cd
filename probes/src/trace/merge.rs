//! What a program's calls show, and what a walk of its configuration shows without a connection, put together.

use crate::catalogue::Cause;
use crate::finding::Finding;
use crate::vocabulary::{Layer, Status};

/// Puts what a walk of the same configuration found without a connection under what the calls show. A walk sees why, the
/// calls see what: where the walk fails at or before the calls do, its finding stands, with theirs as evidence.
pub fn merge(trace: Vec<Finding>, walked: &[Finding]) -> Vec<Finding> {
    let trace = warned(trace, walked);
    let passed = |layer| trace.iter().any(|finding| finding.layer == layer && finding.status == Status::Pass);
    let failing = |findings: &[Finding]| findings.iter().position(|finding| finding.status == Status::Fail);
    let Some(reason) = failing(walked).map(|index| &walked[index]) else { return untrusted(trace, walked) };
    let call = failing(&trace).map(|index| &trace[index]);
    let is_later = call.is_some_and(|call| call.layer < reason.layer);
    // What the peer has taken in a handshake is good enough, whatever a walk makes of it.
    let was_taken = passed(Layer::OuterHandshake);
    let explains = call.is_none_or(|call| may_explain(reason, call));
    if is_later || was_taken || !explains || (reason.layer == Layer::Password && passed(Layer::Password)) {
        return trace;
    }
    let mut reason = reason.clone();
    if let Some(call) = call {
        reason.evidence.extend(call.evidence.iter().cloned());
        reason.error = reason.error.or_else(|| call.error.clone());
    }
    let layer = reason.layer;
    trace
        .into_iter()
        .map(|finding| match finding.layer.cmp(&layer) {
            std::cmp::Ordering::Less => finding,
            std::cmp::Ordering::Equal => reason.clone(),
            std::cmp::Ordering::Greater => Finding::skipped(finding.layer, Some(layer), format!("{layer} failed")),
        })
        .collect()
}

/// What is wrong with a database or a certificate does not keep a name from being found or a connection from coming up, and
/// is not why a program does not like the peer's name.
fn may_explain(reason: &Finding, call: &Finding) -> bool {
    let is_local = matches!(reason.layer, Layer::NssDb | Layer::Password | Layer::Certificate | Layer::PrivateKey);
    let is_elsewhere = matches!(call.layer, Layer::Resolve | Layer::Tcp)
        || matches!(call.cause, Some(Cause::BridgeCertName | Cause::HostNameNotSet));
    !(is_local && is_elsewhere)
}

/// What a walk warns of before the layer that fails may be the reason for that.
fn warned(mut trace: Vec<Finding>, walked: &[Finding]) -> Vec<Finding> {
    let fine = |finding: &&mut Finding| {
        finding.status == Status::Pass || finding.status == Status::Skip && finding.skipped_because.is_none()
    };
    for finding in trace.iter_mut().filter(fine) {
        let warning = walked.iter().find(|walked| walked.layer == finding.layer && walked.status == Status::Warn);
        if let Some(warning) = warning {
            let calls = std::mem::replace(finding, warning.clone());
            finding.evidence.extend(calls.evidence);
        }
    }
    trace
}

/// A peer is not trusted for want of a CA at home more often than for a fault of its own.
fn untrusted(mut trace: Vec<Finding>, walked: &[Finding]) -> Vec<Finding> {
    let home = walked.iter().find(|finding| matches!(finding.cause, Some(Cause::CaMissing | Cause::CaUntrusted)));
    let Some(home) = home else { return trace };
    let outer = trace.iter_mut().find(|finding| finding.cause == Some(Cause::BridgeCertUntrusted));
    if let Some(outer) = outer {
        outer.cause = home.cause;
        outer.evidence.extend(home.evidence.iter().cloned());
        if let Some(place) = trace.iter_mut().find(|finding| finding.layer == home.layer) {
            *place = home.clone();
        }
    }
    trace
}
