//! Derives one finding per layer from the recorded calls.

use std::time::Duration;

use nssight_diagnosis::fact::{Fact, Facts, Hop, SeenBy, Word, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Finding, Layer, Notes, Outcome, Status};
use nssight_nss::{ErrorCode, NssError, Step};
use nssight_probes::session_facts::{self, FailedSession, Seen};
use nssight_probes::trust_store::Opinion;
use nssight_probes::{SeenCertificate, error_info};
use nssight_wire::TlsVersion;

use crate::session::{Handshake, Session};
use crate::story::{Call, Story};
use crate::{Ending, local};

mod beyond;

/// The shortest wait that proves a missing answer.
pub(crate) const LEAST_WAIT_FOR_SILENCE: Duration = Duration::from_secs(1);

impl Story {
    /// One finding per layer, in the order of a check. `own` are the certificates of the program's own chain, as far as a check of its
    /// configuration has seen them.
    pub fn findings(&self, ending: Ending, own: &[SeenCertificate]) -> Vec<Finding> {
        let ending = self.of_the_client(ending);
        let mut findings: Vec<Finding> = Vec::new();
        for layer in Layer::ALL.iter().copied() {
            let failed = findings.iter().find(|finding| finding.status == Status::Fail).map(|finding| finding.layer);
            let mut finding = match failed {
                Some(failed) => Finding::skipped(layer, Some(failed), format!("{failed} failed")),
                None => match self.on(layer, ending, own) {
                    Some(outcome) => outcome.into_finding(layer, self.took(layer).as_micros().try_into().unwrap_or(0)),
                    None => Finding::skipped(layer, None, "the program made no call of this layer".to_owned()),
                },
            };
            if layer == Layer::Config && self.is_empty() {
                finding.facts.put(fact::TraceEnded::BeforeNss);
            }
            finding.facts.seen_by(SeenBy::Program);
            finding.signals.iter_mut().for_each(|shown| shown.said_by = SeenBy::Program);
            findings.push(finding);
        }
        findings
    }

    /// How long the program was in calls of a layer; for a session, until its handshake was settled. Zero where this has no meaning.
    fn took(&self, layer: Layer) -> Duration {
        let of = |session: &Session| self.until(session).saturating_sub(session.began_ns);
        Duration::from_nanos(match layer {
            Layer::OuterHandshake => self.outer().map_or(0, of),
            Layer::InnerHandshake => self.inner().map_or(0, of),
            Layer::ProcessModel => 0,
            _ => local::took_ns(self, layer),
        })
    }

    /// How the process with the TLS session ended, if known: a script may fail after its client succeeded.
    pub fn of_the_client(&self, ending: Ending) -> Ending {
        let session = self.inner().or_else(|| self.outer());
        let process = session.and_then(|session| self.processes.get(session.process));
        let is_root = process.map(|process| process.pid) == self.processes.first().map(|root| root.pid);
        match process {
            Some(process) if !is_root && process.status == Some(0) => Ending { exit: Some(0), signal: None },
            _ => ending,
        }
    }

    fn on(&self, layer: Layer, ending: Ending, own: &[SeenCertificate]) -> Option<Outcome> {
        let is_up = || self.outer().is_some_and(|outer| outer.handshake == Handshake::Done);
        match layer {
            Layer::Config | Layer::Environment => None,
            Layer::OuterHandshake => self.handshake(self.outer()?, Hop::Peer, ending, own),
            Layer::Bridge | Layer::InnerHandshake | Layer::Request if !is_up() => None,
            Layer::Bridge => self.bridge(ending),
            Layer::InnerHandshake => self.handshake(self.inner()?, Hop::Server, ending, own),
            Layer::Request => self.request(ending),
            Layer::ProcessModel => local::process_model(self),
            _ => local::finding(self, layer, ending.is_bad()),
        }
    }

    /// The session with an external peer. If there are several, the last one, since earlier ones were retried; but one that the program
    /// itself abandoned is used only if there is no other.
    pub(crate) fn outer(&self) -> Option<&Session> {
        let mut outer = self.sessions.iter().rev().filter(|session| !session.is_server && !self.is_inner(session));
        let given_up = |session: &&Session| !matches!(session.handshake, Handshake::Abandoned(_) | Handshake::NotTried);
        outer.clone().find(given_up).or_else(|| outer.next())
    }

    /// Whether a session with a server runs inside the session with the peer.
    pub fn is_double(&self) -> bool {
        self.inner().is_some()
    }

    /// The session over a socket between two traced processes.
    pub(crate) fn inner(&self) -> Option<&Session> {
        self.sessions.iter().rev().find(|session| self.is_inner(session) && !session.is_server)
    }

    /// Whether the session runs over a socket of the program's own without TLS, and another session may carry it. A client of a server in
    /// the same process tree also has a peer of the program's own, but is not an inner session.
    pub(crate) fn is_inner(&self, session: &Session) -> bool {
        self.has_own_peer(session)
            && !self.sessions.iter().any(|other| other.is_server && other.ends.own == session.ends.peer)
            && self.sessions.iter().any(|other| !other.is_server && !self.has_own_peer(other))
    }

    fn has_own_peer(&self, session: &Session) -> bool {
        session.ends.is_local || session.ends.peer.is_some_and(|peer| self.own_addresses.contains(&peer))
    }

    /// How long a session had been silent when it ended: without bytes in it, and without bytes received in the one that carries it. Bytes
    /// sent in the latter do not count, since they include the program's own end.
    fn silence(&self, session: &Session) -> Duration {
        let carrier = self.outer().filter(|_| self.is_inner(session)).and_then(|outer| outer.last_received_ns);
        let last = session.last_wire_ns.max(carrier).unwrap_or(session.began_ns);
        Duration::from_nanos(self.until(session).saturating_sub(last))
    }

    fn handshake(&self, session: &Session, hop: Hop, ending: Ending, own: &[SeenCertificate]) -> Option<Outcome> {
        let waited = self.silence(session).as_millis();
        let says_nothing = |summary: String| Some(proves_nothing(self.facts(session, hop, Facts::default()), summary));
        match (session.handshake, session.error()) {
            (Handshake::NotTried, _) => says_nothing("the program did not start the handshake".to_owned()),
            (Handshake::Abandoned(function), _) => says_nothing(format!(
                "the program itself closed the session ({function}) before the handshake was complete, {waited} ms after the \
                 last byte"
            )),
            (Handshake::EndedInHook(function), _) => says_nothing(format!(
                "the program ended inside its own callback ({function}), in the middle of the handshake"
            )),
            (_, None) => {
                // In TLS 1.3, a client learns only after its handshake that its certificate was refused (RFC 8446, 4.4.2.4).
                let refused = session.later_failure.filter(|_| session.moved[1] == 0 && session.reply_code.is_none());
                match refused.filter(|(_, code)| is_alert(*code) && ending.is_bad()) {
                    Some((function, code)) => {
                        let error = NssError::of(Step::Function(function.name()), code);
                        Some(self.failed(session, hop, &error, ending, own))
                    }
                    None => {
                        let facts = self.facts(session, hop, self.acceptance(session, hop));
                        Some(with(facts).pass("the handshake succeeded"))
                    }
                }
            }
            (_, Some(error)) if !ending.is_bad() => {
                says_nothing(format!("the handshake failed with {}, but the program ended successfully", error.name))
            }
            (_, Some(error)) => Some(self.failed(session, hop, &error, ending, own)),
        }
    }

    /// Facts common to every session, before its own observations.
    fn facts(&self, session: &Session, hop: Hop, seen: Facts) -> Facts {
        let mut facts = Facts::default();
        facts.put(fact::SESSION_PROCESS.text(format!("{}, thread {}", self.pid(session), session.tid)));
        if let Some(peer) = session.ends.peer {
            facts.put(fact::SESSION_PEER.text(peer));
        }
        facts.extend(seen);
        facts.put(match session.handshake {
            Handshake::NotTried => fact::SessionOutcome::NotBegun,
            Handshake::Abandoned(_) => fact::SessionOutcome::Abandoned,
            Handshake::Done => fact::SessionOutcome::Done,
            Handshake::Begun | Handshake::Failed(..) | Handshake::Hangs(_) | Handshake::EndedInHook(_) => {
                fact::SessionOutcome::Failed
            }
        });
        facts.place(hop);
        facts
    }

    /// The peer's reaction to the program's certificate in a completed handshake.
    fn acceptance(&self, session: &Session, hop: Hop) -> Facts {
        let mut facts = Facts::default();
        let wire = session.log.summary();
        let asked = wire.certificate_request.is_some() || session.gave_certificate.is_some();
        // The reply arrives outside the inner session, and only for a client whose inner session was accepted.
        let replied = || hop == Hop::Server && self.outer().is_some_and(|outer| outer.reply_code.is_some());
        let word = match (asked, session.hides_handshake()) {
            (false, true) if !session.has_client_auth => None,
            (false, _) => Some(fact::PeerAcceptedUs::NotAsked),
            (true, false) if wire.client_certificate_sent == Some(false) => Some(fact::PeerAcceptedUs::GoesWithout),
            (true, false) => Some(fact::PeerAcceptedUs::Yes),
            // A server may send unsolicited data before it has verified the client (RFC 8446, 2).
            (true, true) if replied() => Some(fact::PeerAcceptedUs::Yes),
            (true, true) => Some(fact::PeerAcceptedUs::Unconfirmed),
        };
        facts.extend(word.map(Fact::from));
        facts
    }

    fn failed(
        &self,
        session: &Session,
        hop: Hop,
        error: &NssError,
        ending: Ending,
        own: &[SeenCertificate],
    ) -> Outcome {
        let wire = session.log.summary();
        let says_nothing = |summary: String| proves_nothing(self.facts(session, hop, Facts::default()), summary);
        if wire.bytes_sent > 0 && wire.client_hello.is_none() {
            return says_nothing(
                "the program sent something other than a ClientHello, so it started no handshake".to_owned(),
            );
        }
        if session.refused_by_program && matches!(session.decision, Some(Err(_))) {
            return says_nothing(
                "the program's own callback rejected the peer's certificate; NSS was not asked, or accepted it"
                    .to_owned(),
            );
        }
        let silence = self.silence(session);
        let is_cut = matches!(error.code, ErrorCode::PR_END_OF_FILE_ERROR | ErrorCode::PR_CONNECT_RESET_ERROR);
        if hop == Hop::Server && is_cut && ending.is_interrupted() && silence < LEAST_WAIT_FOR_SILENCE {
            return says_nothing("a signal ended the program in the middle of the inner handshake".to_owned());
        }
        let learned = session.facts(error);
        // A chain that NSS accepted has no flaw of ours either.
        let is_accepted = matches!(learned.decision, Some(Ok(())));
        let database = local::database_of(self, session.process, session.began_ns).filter(|_| !is_accepted);
        let store = database.map(|database| Opinion::of_copies_in(&database, &learned.peer_chain));
        let outer_end = self.outer().filter(|_| hop == Hop::Server).and_then(Session::how_it_ended);
        let (peer, gone) = match hop {
            Hop::Server => ("the server", session_facts::gone(outer_end.map(|(end, _)| end))),
            Hop::Peer => ("the bridge", "the bridge"),
        };
        let seen = FailedSession {
            peer,
            gone,
            host: session.host.as_deref(),
            error: &error.into(),
            facts: &learned,
            log: &session.log,
            took: Duration::from_nanos(self.until(session).saturating_sub(session.began_ns)),
            our_cas: &[],
            signer: None,
            not_named: None,
            policy: None,
            store: store.unwrap_or_default(),
            figures: None,
        };
        let Seen { signal: shown, summary, facts } = seen.seen();
        let gave_up = facts.has(fact::SilenceKind::FromTheStart) || facts.has(fact::SilenceKind::Stalled);
        let facts = self.facts(session, hop, session.corrected(facts, own));
        if shown == signal::SILENCE && gave_up && silence < LEAST_WAIT_FOR_SILENCE {
            let text = format!(
                "the program gave up {} ms after the last byte, too soon to show that no answer comes",
                silence.as_millis()
            );
            return proves_nothing(facts, text);
        }
        let notes = with_end(with(facts), outer_end);
        notes.fail(shown, summary).error(error_info::of(error))
    }

    fn until(&self, session: &Session) -> u64 {
        match session.handshake {
            Handshake::Failed(..) | Handshake::Done => session.settled_ns,
            _ => self.until_ns,
        }
    }

    /// The duration of a call that never returned.
    pub(crate) fn waited(&self, call: &Call) -> Duration {
        Duration::from_nanos(self.until_ns.saturating_sub(call.event.at_ns))
    }

    pub(crate) fn pid(&self, session: &Session) -> u32 {
        self.processes.get(session.process).map_or(0, |process| process.pid)
    }
}

/// Adds how the session that carries another one ended.
fn with_end(notes: Notes, end: Option<(fact::OuterSessionEnd, u64)>) -> Notes {
    match end {
        Some((end, _)) => notes.with(end),
        None => notes,
    }
}

fn with(facts: Facts) -> Notes {
    let mut notes = Notes::default();
    notes.extend(facts);
    notes
}

/// A layer that was examined without a conclusion.
fn proves_nothing(facts: Facts, summary: String) -> Outcome {
    with(facts).with(fact::TraceShows::Nothing).skip(summary)
}

impl Session {
    /// TLS 1.3 encrypts the certificate request and the certificates.
    fn hides_handshake(&self) -> bool {
        self.log.summary().version.is_some_and(|version| version >= TlsVersion::TLS_1_3)
    }

    /// Removes facts that another process cannot observe, and adds those that only it can observe.
    fn corrected(&self, mut facts: Facts, own: &[SeenCertificate]) -> Facts {
        let wire = self.log.summary();
        if wire.certificate_request.is_none() {
            facts.retain(|fact| fact.id != fact::CERTIFICATE_REQUEST_AUTHORITIES.0);
        }
        // Without a hook, the request of the peer is not visible.
        if self.hides_handshake() && !self.has_client_auth && self.gave_certificate.is_none() {
            facts.retain(|fact| fact.id != fact::CertificateRequest::FACT);
        }
        if self.handshake == Handshake::Done {
            facts.retain(|fact| fact.id != fact::SessionPosition::FACT);
            facts.put(fact::SessionPosition::AfterHandshake);
        }
        let issuers: Vec<&str> = own.iter().map(|certificate| certificate.issuer.as_str()).collect();
        if issuers.is_empty() {
            return facts;
        }
        if let Some(chain) = &wire.server_certificates {
            let ours =
                chain.certificates.iter().filter_map(|link| link.issuer.as_deref()).any(|name| issuers.contains(&name));
            facts.put(if ours { fact::PeerChainIssuerIsOurs::Yes } else { fact::PeerChainIssuerIsOurs::No });
        }
        if let Some(request) = &wire.certificate_request {
            let listed = request.authorities.iter().any(|authority| issuers.contains(&authority.name.as_str()));
            facts.put(match (request.total_authorities, listed) {
                (0, _) => fact::OurCaListed::NoneNamed,
                (_, true) => fact::OurCaListed::Yes,
                (_, false) => fact::OurCaListed::No,
            });
        }
        facts
    }
}

/// SSL_ERROR_*_ALERT: an alert that the peer sent.
pub(crate) fn is_alert(code: ErrorCode) -> bool {
    Signal::of_nss(code.0).row().alert.is_some_and(|alert| alert != 0)
}
