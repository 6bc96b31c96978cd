//! From a story to a finding a layer.

use std::time::Duration;

use nssight_nss::transport::End;
use nssight_nss::{ErrorCode, NssError};

use super::session::{Handshake, Session};
use super::story::Story;
use super::{Ending, local};
use crate::catalogue::Cause;
use crate::finding::{Finding, Notes, Outcome};
use crate::handshake::Trouble;
use crate::probe::{inner_handshake, outer_handshake};
use crate::session_notes::FailedSession;
use crate::vocabulary::{Confidence, Layer, Status};

/// SIGALRM, SIGTERM, SIGINT and SIGKILL (signal(7)): somebody's patience ended.
const PATIENCE: [i32; 4] = [14, 15, 2, 9];

impl Story {
    /// A finding a layer, in the order of a walk.
    pub fn findings(&self, ending: Ending) -> Vec<Finding> {
        let mut findings: Vec<Finding> = Vec::new();
        for layer in Layer::ALL.iter().copied() {
            let failed = findings.iter().find(|finding| finding.status == Status::Fail).map(|finding| finding.layer);
            let finding = match failed {
                Some(failed) => Finding::skipped(layer, Some(failed), format!("{failed} failed")),
                None => match self.on(layer, ending) {
                    Some(outcome) => outcome.into_finding(layer, self.took(layer).as_micros().try_into().unwrap_or(0)),
                    None => Finding::skipped(layer, None, "the program made no call that belongs to it".to_owned()),
                },
            };
            findings.push(finding);
        }
        findings
    }

    /// How long the program was in a layer's calls; of a session, until its handshake was settled. Zero where that has no
    /// meaning.
    fn took(&self, layer: Layer) -> Duration {
        let of = |session: &Session| self.until(session).saturating_sub(session.began_ns);
        Duration::from_nanos(match layer {
            Layer::OuterHandshake => self.outer().map_or(0, of),
            Layer::InnerHandshake => self.inner().map_or(0, of),
            Layer::ProcessModel => 0,
            _ => local::took_ns(self, layer),
        })
    }

    fn on(&self, layer: Layer, ending: Ending) -> Option<Outcome> {
        match layer {
            Layer::Config | Layer::Environment => None,
            Layer::OuterHandshake => self.handshake(self.outer()?, layer, ending),
            Layer::Bridge => self.bridge(ending),
            Layer::InnerHandshake => self.handshake(self.inner()?, layer, ending),
            Layer::Request => self.request(ending),
            Layer::ProcessModel => local::process_model(self),
            _ => local::finding(self, layer, ending.is_bad()),
        }
    }

    /// The session to a peer that is none of the traced processes. The last one: earlier ones were tried again.
    pub(super) fn outer(&self) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| !self.is_inner(session) && !session.is_server)
    }

    /// The session through a socket between two traced processes.
    pub(super) fn inner(&self) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| self.is_inner(session) && !session.is_server)
    }

    pub(super) fn is_inner(&self, session: &Session) -> bool {
        session.ends.is_local || session.ends.peer.is_some_and(|peer| self.own_addresses.contains(&peer))
    }

    fn handshake(&self, session: &Session, layer: Layer, ending: Ending) -> Option<Outcome> {
        let mut notes = Notes::default();
        notes.add("process", format!("{}, thread {}", self.pid(session), session.tid));
        if let Some(peer) = session.ends.peer {
            notes.add("peer", peer);
        }
        match (&session.host, session.error()) {
            (_, None) => {
                if session.handshake == Handshake::NotTried {
                    return Some(notes.skip("the program did not begin the handshake"));
                }
                // TLS 1.3 tells the client last that its certificate was refused (RFC 8446, 4.4.2.4).
                let refused = session.later_failure.filter(|_| session.moved[1] == 0 && session.reply_code.is_none());
                match refused.filter(|(_, code)| is_alert(*code) && ending.is_bad()) {
                    Some((function, code)) => {
                        Some(self.failed(session, layer, &NssError::of(function.name(), code), notes))
                    }
                    None => Some(notes.pass("the handshake was done")),
                }
            }
            (_, Some(_)) if !ending.is_bad() => Some(notes.pass("the program got over a handshake that failed")),
            (_, Some(error)) => Some(self.failed(session, layer, &error, notes)),
        }
    }

    fn failed(&self, session: &Session, layer: Layer, error: &NssError, mut notes: Notes) -> Outcome {
        let is_inner = layer == Layer::InnerHandshake;
        let peer = if is_inner { "the server" } else { "the bridge" };
        let facts = session.facts(error);
        let took = Duration::from_nanos(self.until(session).saturating_sub(session.began_ns));
        let host = session.host.as_deref().unwrap_or("a name that was not set");
        let log = &session.log;
        let judged = FailedSession { peer, host, error, facts: &facts, log, took, our_cas: &[] }.judge(&mut notes);
        if session.host.is_none() && judged.trouble == Trouble::PeerName {
            let summary = "the program set no name to compare the peer's certificate with";
            return notes.fail(Cause::HostNameNotSet, Confidence::Certain, summary).error(error);
        }
        if !is_inner {
            return notes.fail(outer_handshake::cause(judged.trouble), judged.confidence, judged.summary).error(error);
        }
        let alert = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
        match inner_handshake::cause(judged.trouble, alert) {
            Some(cause) => notes.fail(cause, judged.confidence, judged.summary).error(error),
            None => {
                let summary = "the server's side went away in the middle of the inner handshake";
                notes.fail(Cause::InnerClosed, Confidence::Likely, summary).error(error)
            }
        }
    }

    fn until(&self, session: &Session) -> u64 {
        match session.handshake {
            Handshake::Failed(..) | Handshake::Done => session.settled_ns,
            _ => self.until_ns,
        }
    }

    pub(super) fn pid(&self, session: &Session) -> u32 {
        self.processes.get(session.process).map_or(0, |process| process.pid)
    }

    /// Did anything of the inner session come through the outer one?
    fn bridge(&self, ending: Ending) -> Option<Outcome> {
        let (outer, inner) = (self.outer()?, self.inner()?);
        let wire = inner.log.summary();
        let mut notes = Notes::default();
        notes.add("inner bytes sent", wire.bytes_sent);
        notes.add("inner bytes received", wire.bytes_received);
        if !ending.is_bad() || inner.handshake == Handshake::Done {
            return Some(notes.pass("the inner session came through"));
        }
        if outer.inner_ends > 1 {
            let summary = "the bridge ended the inner stream more than once";
            return Some(notes.fail(Cause::BridgeGarbled, Confidence::Certain, summary));
        }
        // A program that waits for a whole frame has passed on nothing of one that was cut; and a bridge that ends the inner
        // stream in order has had something to end.
        if wire.bytes_received > 0 || outer.inner_chunks > 0 || outer.inner_ends > 0 {
            return Some(notes.pass("something of the inner session came through"));
        }
        let summary = match inner.log.end {
            Some(End::Closed | End::Reset) => {
                "the outer session came up, and the inner one ended before the server said anything"
            }
            _ => "the outer session came up, and nothing of the server ever came through it",
        };
        Some(notes.fail(Cause::ServerLinkDead, Confidence::Likely, summary))
    }

    /// What became of the reply, which comes outside of the inner session.
    fn request(&self, ending: Ending) -> Option<Outcome> {
        let (outer, inner) = (self.outer()?, self.inner()?);
        if inner.handshake != Handshake::Done {
            return None;
        }
        let mut notes = Notes::default();
        notes.add("reply", if outer.reply_whole { "whole" } else { "not whole" });
        if let Some(code) = outer.reply_code {
            notes.add("reply code", code);
        }
        if !ending.is_bad() {
            return Some(notes.pass("the program was content with the reply"));
        }
        let hung = ending.signal.is_some_and(|signal| PATIENCE.contains(&signal))
            && outer.outer_ends == 0
            && outer.log.end.is_none();
        let (cause, confidence, summary) = match (outer.reply_code, outer.reply_whole) {
            (Some(3), _) => {
                (Cause::RequestAuthFailed, Confidence::Certain, "the server answered that authentication failed")
            }
            (Some(code), _) if code != 0 => {
                (Cause::RequestRejected, Confidence::Certain, "the server answered with an error")
            }
            // It is told by what the program did next, which may have had another reason.
            (_, true) => {
                notes.add("alternative", "the program took the reply and failed at something else afterwards");
                (
                    Cause::ReplyTampered,
                    Confidence::Possible,
                    "the reply came whole, and the program did not end well after it",
                )
            }
            (_, false) if hung => (Cause::ServerStalled, Confidence::Likely, "the reply did not come in time"),
            (_, false) => (Cause::ReplyTruncated, Confidence::Likely, "the reply ended before it was whole"),
        };
        Some(notes.fail(cause, confidence, summary))
    }
}

/// SSL_ERROR_*_ALERT: an alert that the peer sent.
fn is_alert(code: ErrorCode) -> bool {
    (0..=u8::MAX).any(|alert| ErrorCode::of_alert(alert) == Some(code))
}

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
    if is_later || was_taken || (reason.layer == Layer::Password && passed(Layer::Password)) {
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
