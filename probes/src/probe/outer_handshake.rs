//! `outer-handshake`: TLS between client and peer, in both directions of trust.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::signatures::Signer;
use nssight_diagnosis::fact::fact::{NameSource, PeerNameRelation, TcpFlow};
use nssight_diagnosis::fact::{Fact, Hop, fact};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{CertificateRole, Layer, Notes, Outcome};
use nssight_nss::kernel::tcp_info;
use nssight_session::{Channel, Control, Kind, SessionError, SessionFacts, TcpTransport, TlsSession};

use crate::client_certificate::{sent, withheld};
use crate::session_facts::{self, FailedSession};
use crate::starttls::{self, StartTls, Trouble};
use crate::target::{Engine, Role, TlsVersion};
use crate::trust_store;
use crate::walk::{OuterSession, Probe, Walk};
use crate::wire::{Session, SessionLog};
use crate::{flow, open_session, peer_name, policy};

/// Needs the connection, and both our certificate and our key.
pub const PROBE: Probe =
    Probe { layer: Layer::OuterHandshake, needs: &[Layer::Certificate, Layer::PrivateKey, Layer::Tcp], run };

/// If the check continues, the bridge's answer proves that it accepted us; this is how long to wait for a refusal before that.
const REFUSAL_WAIT_BEFORE_BRIDGE: Duration = Duration::from_millis(150);
/// A refusal rarely takes the peer longer than this: it needs a look into a directory, or at a revocation list.
const LEAST_PATIENCE: Duration = Duration::from_secs(2);
/// The handshake shows how slow the peer is.
const HANDSHAKES: u32 = 10;
/// In TLS 1.2 the peer's Finished has arrived. A peer that judges our certificate only after that does so at once, and sends the result in
/// the next packet.
const REFUSAL_WAIT_TLS12: Duration = Duration::from_millis(250);
/// The handshake also shows how slow such a peer is.
const BEHIND_HANDSHAKES: u32 = 3;
/// After a session ticket: the handshake is complete for the peer too, but some servers with GnuTLS verify our certificate only then, and send
/// the result in the next packet. At least this, and at most as long as in TLS 1.2.
const REFUSAL_WAIT_AFTER_TICKET: Duration = Duration::from_millis(5);
/// After our own end, a peer that had not yet read our flight may still refuse it.
const AFTERWARDS: Duration = Duration::from_millis(500);
/// An alert or a KeyUpdate is shorter than this, including its content type and authentication tag (RFC 8446, 5.2, 4.6.3 and 6); a ticket
/// is longer.
pub(crate) const SHORT_RECORD: u16 = 40;
/// A server's greeting is shorter, and a server that never stops sending is not read to its end.
const SAID_AT_MOST: usize = 256 * 1024;
const AWAITING: &str = "wait for the peer to accept our certificate";

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some((stream, round_trip)) = walk.connection.take() else {
        return notes.skip("no connection for TLS exists");
    };
    if walk.opened.is_none() && walk.files.is_none() {
        return notes.skip("neither a database nor files are configured for TLS");
    }
    if walk.client_auth().is_none() && walk.identity().is_none() && walk.target().has_certificate() {
        return notes.skip("no certificate or no key for TLS is available");
    }
    let (our_cas, signer, not_named) = (walk.our_cas(), walk.signer(), walk.not_named());
    let addresses = undoubted_addresses(walk);
    let target = walk.target();
    let host = target.peer_name().unwrap_or_default().to_owned();
    if let Some(protocol) = target.starttls {
        notes = match begin_tls(protocol, &stream, &host, walk.deadline, notes) {
            Ok(notes) => notes,
            Err(outcome) => return *outcome,
        };
    }
    let target = walk.target();
    let started = Instant::now();
    let log = Rc::new(RefCell::new(SessionLog::new(Session::Outer, started)));
    walk.sessions.push(log.clone());
    let control = Control::until(walk.deadline);
    let role = target.role;
    let is_bridge = target.server.is_some();
    let goes_on = walk.goes_on && (is_bridge || target.question.is_some());
    let peer = target.peer();
    notes.put(if target.server.is_some() { fact::PeerPlace::BeforeAServer } else { fact::PeerPlace::Last });
    let patience = target.patience;
    let mut attempt = Attempt {
        goes_on,
        is_bridge,
        patience,
        peer,
        engine: target.engine(),
        host,
        started,
        log,
        control,
        our_cas,
        signer,
        not_named,
        addresses,
    };
    // With a proxy, it is the proxy's host that acknowledges the data for the peer.
    let figures = if target.proxy.is_some() { |_: &TcpStream| None } else { tcp_info };
    let transport = match TcpTransport::new(stream, attempt.control.clone(), attempt.log.clone(), figures) {
        Ok(transport) => transport,
        Err(error) => {
            let summary = format!("the connection was lost before TLS began: {error}");
            notes.put(fact::SessionEnd::Reset);
            return notes.fail(signal::RESET, summary).error(&error);
        }
    };
    if !target.alpn.is_empty() {
        notes.put(fact::ALPN_OFFERED.text(target.alpn.join(", ")));
    }
    let session = open_session::open(walk, &attempt.host, Box::new(transport), &mut notes);
    let mut client = match session {
        Ok(client) => client,
        Err(error) => return attempt.failed(walk, &error, &SessionFacts::default(), notes),
    };
    note_versions(&*client, target.tls.value, &mut notes);
    let result = client.handshake();
    let took = started.elapsed();
    let result = result.and_then(|()| attempt.wait_for_peer_reaction(&mut *client, &mut notes));
    let facts = client.facts();
    walk.record_peer_chain(CertificateRole::Bridge, &facts.peer_chain);
    let outcome = match (result, client.channel()) {
        (Ok(word), Some(channel)) => {
            if !walk.target().alpn.is_empty() {
                notes.put(fact::ALPN_CHOSEN.text(channel.alpn.as_deref().unwrap_or("none")));
            }
            attempt.passed(&*client, &channel, word, role, notes)
        }
        (Ok(_), None) => notes.fail(signal::SSL_ERROR, "the handshake ended without a session"),
        (Err(error), _) => attempt.failed(walk, &error, &facts, notes),
    };
    if attempt.goes_on {
        let (control, log, began) = (attempt.control, attempt.log, attempt.started);
        walk.outer = Some(OuterSession { client, control, log, began, took, round_trip });
    }
    // Otherwise the session is dropped. An orderly end costs the bridge the least: it reads close_notify and FIN and returns to its queue.
    outcome
}

/// Requests in the clear that the peer start TLS.
fn begin_tls(
    protocol: StartTls,
    stream: &TcpStream,
    host: &str,
    deadline: Instant,
    mut notes: Notes,
) -> Result<Notes, Box<Outcome>> {
    notes.put(fact::STARTTLS_PROTOCOL.text(protocol));
    let trouble = match starttls::begin(protocol, stream, host, deadline) {
        Ok(()) => {
            notes.put(fact::StarttlsState::Done);
            return Ok(notes);
        }
        Err(trouble) => trouble,
    };
    let (state, shown, summary) = match trouble {
        Trouble::Refused(answer) => {
            notes.put(fact::STARTTLS_ANSWER.text(&answer));
            let summary = format!("the peer does not start TLS; its reply to the {protocol} request: {answer}");
            (fact::StarttlsState::Refused, signal::STARTTLS_REFUSED, summary)
        }
        Trouble::Unexpected(answer) => {
            notes.put(fact::STARTTLS_ANSWER.text(&answer));
            let summary = format!("the peer does not speak {protocol}; its reply: {answer}");
            (fact::StarttlsState::Unexpected, signal::STARTTLS_REFUSED, summary)
        }
        Trouble::Silent => {
            let summary =
                format!("the peer accepted the connection, but did not answer the {protocol} request to start TLS");
            (fact::StarttlsState::Silent, signal::STARTTLS_REFUSED, summary)
        }
        Trouble::Ended(error) => {
            let is_reset = error.kind() == ErrorKind::ConnectionReset;
            let how = if is_reset { "reset" } else { "closed" };
            let summary = format!("the peer {how} the connection after the {protocol} request to start TLS");
            (fact::StarttlsState::Ended, signal::STARTTLS_REFUSED, summary)
        }
    };
    notes.put(state);
    notes.put(fact::SessionPosition::BeforeHello);
    Err(Box::new(notes.fail(shown, summary)))
}

/// Addresses from a doubtful line say nothing about the names that lead to them.
fn undoubted_addresses(walk: &Walk<'_>) -> Vec<IpAddr> {
    let facts = walk.finding(Layer::Resolve).map(|finding| &finding.facts);
    if walk.target().proxy.is_some() {
        return Vec::new();
    }
    let doubted = [NameSource::HostsDiffers, NameSource::HostsLoopbackOfAnother];
    if facts.is_some_and(|facts| doubted.into_iter().any(|source| facts.has(source))) {
        Vec::new()
    } else {
        walk.addresses.iter().map(SocketAddr::ip).collect()
    }
}

fn note_versions(client: &dyn TlsSession, asked: (TlsVersion, TlsVersion), notes: &mut Notes) {
    let offered = client.versions();
    let range = |(low, high): (u16, u16)| format!("{} to {}", TlsVersion::name_of(low), TlsVersion::name_of(high));
    notes.put(fact::SESSION_VERSIONS_OFFERED.text(range(offered)));
    notes.put(match offered {
        (low, high) if low != high => fact::OfferSpan::Several,
        (low, _) if low >= TlsVersion::Tls13.wire() => fact::OfferSpan::Tls13Alone,
        _ => fact::OfferSpan::OlderAlone,
    });
    let asked = (asked.0.wire(), asked.1.wire());
    // If the user requests no version, OpenSSL may offer older ones as well.
    if offered.0 <= asked.0 && offered.1 >= asked.1 {
        notes.put(fact::OfferVersions::AsAsked);
    } else {
        notes.put(fact::OfferVersions::CutByPolicy);
        notes.put(fact::SESSION_VERSIONS_ASKED.text(range(asked)));
    }
}

/// The peer's reaction to our certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Word {
    /// The handshake cannot complete without acceptance (TLS 1.2), or the peer sent a session ticket after it had requested a certificate.
    Accepted,
    /// The peer requested no certificate.
    NotAsked,
    /// The peer requested a certificate, received none, and continues.
    GoesWithout,
    /// The peer sent nothing that proves that it verified our certificate.
    Unconfirmed,
}

struct Attempt {
    /// The session is used after the handshake.
    goes_on: bool,
    /// The peer is a bridge, which uses the same library as its clients.
    is_bridge: bool,
    /// The configured time to wait for a reaction to our certificate.
    patience: Option<Duration>,
    /// The peer, as the subject of a sentence.
    peer: &'static str,
    /// The TLS library of the session.
    engine: Engine,
    host: String,
    started: Instant,
    log: Rc<RefCell<SessionLog>>,
    control: Rc<Control>,
    our_cas: Vec<Vec<u8>>,
    signer: Option<Signer>,
    not_named: Option<Vec<String>>,
    /// The addresses of the peer's name, unless a line of the hosts file is doubtful.
    addresses: Vec<IpAddr>,
}

/// Whether the peer sent a close_notify, or another alert.
fn heard_alert(client: &dyn TlsSession, is_close: bool) -> bool {
    client.facts().alerts.iter().any(|alert| !alert.sent && (alert.description == 0) == is_close)
}

impl Attempt {
    /// Waits for the peer's reaction to our certificate. In TLS 1.3 the handshake is over for us before the peer has verified it (RFC 8446,
    /// 4.4.2 and 6.2). A refusal is an alert, or an end without one. A session ticket after a certificate request is an acceptance:
    /// OpenSSL, NSS, GnuTLS and Go derive it from a handshake that is complete on their side. Data and close_notify prove nothing, since a
    /// server may send both before it reads our flight (RFC 8446, 2). In TLS 1.2 the handshake cannot complete before the peer has read our
    /// certificate; but some servers with GnuTLS, such as slapd and Exim, verify it only afterwards, in both versions.
    fn wait_for_peer_reaction(&mut self, client: &mut dyn TlsSession, notes: &mut Notes) -> Result<Word, SessionError> {
        let facts = client.facts();
        if facts.asked_for_certificate.is_none() {
            return Ok(Word::NotAsked);
        }
        let goes_on = match facts.sent_certificate {
            Some(false) => Word::GoesWithout,
            _ => Word::Accepted,
        };
        let is_13 = client.channel().is_some_and(|channel| channel.version >= TlsVersion::Tls13.wire());
        if self.goes_on && !is_13 {
            return Ok(goes_on);
        }
        let took = self.started.elapsed();
        let usual = match (self.goes_on, is_13) {
            (true, _) => REFUSAL_WAIT_BEFORE_BRIDGE,
            (false, true) => LEAST_PATIENCE.max(took * HANDSHAKES),
            (false, false) => (took * BEHIND_HANDSHAKES).clamp(REFUSAL_WAIT_TLS12, LEAST_PATIENCE),
        };
        // The remaining time of the layer must also cover the end of the session.
        let left = self.control.left().saturating_sub(AFTERWARDS);
        let patience = self.patience.unwrap_or(usual).min(left);
        notes.put(fact::SESSION_WAITED.number(patience.as_micros()));
        self.control.set_deadline(Instant::now() + patience);
        if self.listen(client)? {
            return Ok(goes_on);
        }
        let quiet = if is_13 { Word::Unconfirmed } else { goes_on };
        // A peer that has ended in order sends nothing more, and may no longer receive our own end.
        let has_ended = heard_alert(client, true);
        if self.goes_on || has_ended {
            return Ok(quiet);
        }
        if self.is_lost() {
            return Err(SessionError::timed_out(AWAITING));
        }
        // Silence. An orderly end makes the peer process everything that we have sent before it answers.
        self.control.set_deadline(Instant::now() + AFTERWARDS);
        client.finish()?;
        self.log.borrow_mut().finished();
        Ok(if self.listen(client)? { goes_on } else { quiet })
    }

    /// Whether our certificate did not even reach the peer's host: its kernel acknowledges all data, whatever the peer does.
    fn is_lost(&self) -> bool {
        let flow = self.control.last_figures().map(|figures| flow::of(&figures));
        matches!(flow, Some(TcpFlow::OursLost | TcpFlow::OurLargeLost))
    }

    /// Reads until the peer's reaction is known, or until the deadline; returns whether the peer has continued.
    fn listen(&mut self, client: &mut dyn TlsSession) -> Result<bool, SessionError> {
        let (since, mut said) = (self.started.elapsed(), 0);
        loop {
            self.control.stop_when_idle(true);
            let mut buffer = [0u8; 4096];
            let result = client.read(&mut buffer);
            self.control.stop_when_idle(false);
            let told = |sent_close: bool| heard_alert(client, sent_close);
            let ours_is_over = self.log.borrow().we_finished;
            // A ticket and the end may arrive in one packet: a record that is longer than an alert and is not application data can only be
            // a ticket.
            let has_ticket = || said == 0 && self.log.borrow().received_more_than(SHORT_RECORD, since);
            return match result {
                // Data that the peer sent before it verified our certificate. A peer that sends this much is not read to its end.
                Ok(count @ 1..) => {
                    said += count;
                    if said > SAID_AT_MOST {
                        return Ok(false);
                    }
                    continue;
                }
                Ok(0) if told(true) || ours_is_over => Ok(has_ticket()),
                // An end without an alert is a refusal by the peer, or a crash.
                Ok(_) => Err(SessionError::ended(AWAITING)),
                // Records arrived without application data: these are tickets.
                Err(error) if error.kind == Kind::WouldBlock && self.goes_on => Ok(true),
                Err(error) if error.kind == Kind::WouldBlock => self.listen_behind_ticket(client, since),
                Err(error) if error.kind == Kind::TimedOut => Ok(false),
                Err(error) if told(false) => Err(error),
                // The peer ended in order, and was gone when we answered.
                Err(_) if told(true) => Ok(has_ticket()),
                Err(error) if !ours_is_over => Err(error),
                Err(_) => Ok(false),
            };
        }
    }

    /// Reads on for a while after a ticket: only an alert is still a refusal. `took` is the time of the handshake.
    fn listen_behind_ticket(&mut self, client: &mut dyn TlsSession, took: Duration) -> Result<bool, SessionError> {
        let wait = took.clamp(REFUSAL_WAIT_AFTER_TICKET, REFUSAL_WAIT_TLS12).min(self.control.left());
        self.control.set_deadline(Instant::now() + wait);
        let (mut buffer, mut said) = ([0u8; 4096], 0);
        while said <= SAID_AT_MOST {
            match client.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => said += count,
                Err(error) if heard_alert(client, false) => return Err(error),
                Err(_) => break,
            }
        }
        Ok(true)
    }

    fn passed(&self, client: &dyn TlsSession, channel: &Channel, word: Word, role: Role, mut notes: Notes) -> Outcome {
        let facts = client.facts();
        let version = TlsVersion::name_of(channel.version);
        let accepted = match word {
            Word::Accepted => fact::PeerAcceptedUs::Yes,
            Word::NotAsked => fact::PeerAcceptedUs::NotAsked,
            Word::GoesWithout => fact::PeerAcceptedUs::GoesWithout,
            Word::Unconfirmed => fact::PeerAcceptedUs::Unconfirmed,
        };
        let wire = self.log.borrow().summary();
        let ours = (self.our_cas.as_slice(), self.signer);
        notes.extend(session_facts::up(channel, &facts, ours, &wire, accepted, Hop::Peer));
        if sent(&facts, &wire) == fact::OurCertificateSent::Empty {
            notes.put(fact::SessionPosition::AfterHandshake);
            return notes.fail(signal::CERTIFICATE_WITHHELD, withheld(self.peer));
        }
        let summary = format!("{version} with {}, trusted in both directions", self.host);
        match word {
            Word::Accepted if self.is_bridge => notes.pass(summary),
            // A server may complete every handshake and refuse in its application.
            Word::Accepted => notes.pass(format!(
                "{version} with {}; the handshake is complete, but the application may still refuse the client",
                self.host
            )),
            Word::GoesWithout => {
                notes.pass(format!("{version} with {}, which continues without our certificate", self.host))
            }
            Word::Unconfirmed => {
                notes.pass(format!("{version} with {}; whether it accepts our certificate is unconfirmed", self.host))
            }
            Word::NotAsked if role == Role::Bridge => notes.pass(summary),
            Word::NotAsked => {
                notes.pass(format!("{version} with {}, which did not request our certificate", self.host))
            }
        }
    }

    fn failed(&self, walk: &Walk<'_>, error: &SessionError, facts: &SessionFacts, mut notes: Notes) -> Outcome {
        let log = self.log.borrow();
        if self.is_bridge && self.engine == Engine::Nss && log.summary().certificate_request.is_none() {
            notes.put(fact::PeerLibrary::Nss);
        }
        let failed = FailedSession {
            peer: self.peer,
            gone: self.peer,
            host: Some(&self.host),
            error,
            facts,
            log: &log,
            took: self.started.elapsed(),
            our_cas: &self.our_cas,
            signer: self.signer,
            not_named: self.not_named.clone(),
            policy: policy::of_session(self.engine, &log.summary()),
            store: trust_store::look(walk, facts, &log.server_certificates(), error),
            figures: self.control.last_figures(),
        };
        let outcome = failed.outcome(Hop::Peer, notes);
        match peer_name::by_address(&self.host, &facts.peer_chain, &self.addresses, self.control.left()) {
            Some(PeerNameRelation::SameAddress) => {
                outcome.fact(Fact { hop: Some(Hop::Peer), ..PeerNameRelation::SameAddress.into() })
            }
            _ => outcome,
        }
    }
}
