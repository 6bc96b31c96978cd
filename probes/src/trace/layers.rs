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

/// Who has waited for less cannot say that nobody answers.
const WORTH_WAITING: Duration = Duration::from_secs(1);

impl Story {
    /// A finding a layer, in the order of a walk.
    pub fn findings(&self, ending: Ending) -> Vec<Finding> {
        let ending = self.of_the_client(ending);
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

    /// How the process that speaks TLS ended, where that is known: a script may end badly after a client that did well.
    pub fn of_the_client(&self, ending: Ending) -> Ending {
        let session = self.inner().or_else(|| self.outer());
        let process = session.and_then(|session| self.processes.get(session.process));
        let is_root = process.map(|process| process.pid) == self.processes.first().map(|root| root.pid);
        match process {
            Some(process) if !is_root && process.status == Some(0) => Ending { exit: Some(0), signal: None },
            _ => ending,
        }
    }

    fn on(&self, layer: Layer, ending: Ending) -> Option<Outcome> {
        let is_up = || self.outer().is_some_and(|outer| outer.handshake == Handshake::Done);
        match layer {
            Layer::Config | Layer::Environment => None,
            Layer::OuterHandshake => self.handshake(self.outer()?, layer, ending),
            Layer::Bridge | Layer::InnerHandshake | Layer::Request if !is_up() => None,
            Layer::Bridge => self.bridge(ending),
            Layer::InnerHandshake => self.handshake(self.inner()?, layer, ending),
            Layer::Request => self.request(ending),
            Layer::ProcessModel => local::process_model(self),
            _ => local::finding(self, layer, ending.is_bad()),
        }
    }

    /// The session to a peer outside. The last one, as earlier ones were tried again; but one that the program itself gave up
    /// only where there is no other.
    pub(super) fn outer(&self) -> Option<&Session> {
        let mut outer = self.sessions.iter().rev().filter(|session| !session.is_server && !self.is_inner(session));
        let given_up = |session: &&Session| !matches!(session.handshake, Handshake::Abandoned(_) | Handshake::NotTried);
        outer.clone().find(given_up).or_else(|| outer.next())
    }

    /// The session through a socket between two traced processes.
    pub(super) fn inner(&self) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| self.is_inner(session) && !session.is_server)
    }

    /// Whether the peer is a socket of the program's own without TLS on it, and there is another session that may carry this
    /// one. A client of a server in the same tree has a peer of the program's own, too, and is nobody's inner session.
    pub(super) fn is_inner(&self, session: &Session) -> bool {
        self.has_own_peer(session)
            && !self.sessions.iter().any(|other| other.is_server && other.ends.own == session.ends.peer)
            && self.sessions.iter().any(|other| !other.is_server && !self.has_own_peer(other))
    }

    fn has_own_peer(&self, session: &Session) -> bool {
        session.ends.is_local || session.ends.peer.is_some_and(|peer| self.own_addresses.contains(&peer))
    }

    /// How long nothing had gone over a session when it ended, or come through the one that carries it: what goes there is
    /// also that the program leaves.
    fn silence(&self, session: &Session) -> Duration {
        let carrier = self.outer().filter(|_| self.is_inner(session)).and_then(|outer| outer.last_received_ns);
        let last = session.last_wire_ns.max(carrier).unwrap_or(session.began_ns);
        Duration::from_nanos(self.until(session).saturating_sub(last))
    }

    fn handshake(&self, session: &Session, layer: Layer, ending: Ending) -> Option<Outcome> {
        let mut notes = Notes::default();
        notes.add("process", format!("{}, thread {}", self.pid(session), session.tid));
        if let Some(peer) = session.ends.peer {
            notes.add("peer", peer);
        }
        let waited = self.silence(session).as_millis();
        match (session.handshake, session.error()) {
            (Handshake::NotTried, _) => Some(notes.skip("the program did not begin the handshake")),
            (Handshake::Abandoned(function), _) => Some(notes.skip(format!(
                "the program itself closed the session ({function}) before its handshake was done, {waited} ms after the last \
                 byte"
            ))),
            (Handshake::EndedInHook(function), _) => {
                Some(notes.skip(format!("the program ended inside of its own hook ({function}), in the middle of the handshake")))
            }
            (_, None) => {
                // TLS 1.3 tells the client last that its certificate was refused (RFC 8446, 4.4.2.4).
                let refused = session.later_failure.filter(|_| session.moved[1] == 0 && session.reply_code.is_none());
                match refused.filter(|(_, code)| is_alert(*code) && ending.is_bad()) {
                    Some((function, code)) => {
                        Some(self.failed(session, layer, &NssError::of(function.name(), code), notes, ending))
                    }
                    None => Some(notes.pass("the handshake was done")),
                }
            }
            (_, Some(error)) if !ending.is_bad() => {
                let text = format!("the handshake failed with {}, and the program ended well all the same", error.name);
                Some(notes.skip(text))
            }
            (_, Some(error)) => Some(self.failed(session, layer, &error, notes, ending)),
        }
    }

    fn failed(&self, session: &Session, layer: Layer, error: &NssError, mut notes: Notes, ending: Ending) -> Outcome {
        let is_inner = layer == Layer::InnerHandshake;
        let wire = session.log.summary();
        if wire.bytes_sent > 0 && wire.client_hello.is_none() {
            return notes.skip("the program sent something else than a ClientHello, so it began no handshake");
        }
        if session.refused_by_program && matches!(session.decision, Some(Err(_))) {
            return notes
                .skip("the program's own hook refused the peer's certificate; NSS was not asked, or had accepted it");
        }
        let silence = self.silence(session);
        let is_cut = matches!(error.code, ErrorCode::PR_END_OF_FILE_ERROR | ErrorCode::PR_CONNECT_RESET_ERROR);
        if is_inner && is_cut && ending.is_interrupted() && silence < WORTH_WAITING {
            return notes.skip("somebody ended the program in the middle of the inner handshake");
        }
        let peer = if is_inner { "the server" } else { "the bridge" };
        let facts = session.facts(error);
        let took = Duration::from_nanos(self.until(session).saturating_sub(session.began_ns));
        let host = session.host.as_deref().unwrap_or("a name that was not set");
        let log = &session.log;
        let judged = FailedSession { peer, host, error, facts: &facts, log, took, our_cas: &[] }.judge(&mut notes);
        if matches!(judged.trouble, Trouble::Silent | Trouble::Stalled) && silence < WORTH_WAITING {
            let text = format!(
                "the program gave up {} ms after the last byte, too soon to say that nobody answers",
                silence.as_millis()
            );
            return notes.skip(text);
        }
        if session.host.is_none() && judged.trouble == Trouble::PeerName {
            let summary = "the program set no name to compare the peer's certificate with";
            return notes.fail(Cause::HostNameNotSet, Confidence::Certain, summary).error(error);
        }
        // Which of both sides is at fault, the own database and the own clock would say.
        let confidence = match judged.trouble {
            Trouble::PeerUntrusted => {
                notes.add("alternative", "ca-missing or ca-untrusted, in the program's own database");
                at_most_likely(judged.confidence)
            }
            Trouble::PeerExpired => {
                notes.add("alternative", "clock-skew, on this host");
                at_most_likely(judged.confidence)
            }
            _ => judged.confidence,
        };
        if !is_inner {
            return notes.fail(outer_handshake::cause(judged.trouble), confidence, judged.summary).error(error);
        }
        let alert = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
        match inner_handshake::cause(judged.trouble, alert) {
            Some(cause) => notes.fail(cause, confidence, judged.summary).error(error),
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
        if ending.is_interrupted() && self.silence(inner) < WORTH_WAITING {
            return Some(notes.skip("somebody ended the program before the server could answer"));
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
        let is_silent = outer.outer_ends == 0 && outer.log.end.is_none();
        let silence = outer.last_received_ns.map_or(0, |last| self.until_ns.saturating_sub(last));
        let hung = is_silent && Duration::from_nanos(silence) >= WORTH_WAITING;
        if is_silent && !hung && ending.is_interrupted() && !outer.reply_whole {
            return Some(notes.skip("somebody ended the program before the reply was whole"));
        }
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

fn at_most_likely(confidence: Confidence) -> Confidence {
    if confidence == Confidence::Certain { Confidence::Likely } else { confidence }
}
