//! Derives facts and one signal from a TLS session: from any session, with any peer, of nssight or of a traced program.
//!
//! There are three sources: the library's error, the results of its callbacks, and the bytes on the wire. None of them is sufficient alone:
//! an EOF is the same error whatever came before it, only an early alert is unencrypted on the wire, and only the callback receives the
//! reason why a chain was refused. What the bytes prove takes precedence over what an error number suggests.

mod shown;

use std::time::Duration;

use nssight_diagnosis::derive::dates;
use nssight_diagnosis::derive::signatures::Signer;
use nssight_diagnosis::fact::{Fact, Facts, Hop, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_nss::ErrorCode;
use nssight_session::{Channel, Code, End, Kind, SeenAlert, SessionError, SessionFacts, TcpInfo};
use nssight_wire::{AlertDescription, Direction, Summary};
use time::OffsetDateTime;

use crate::client_certificate::request;
use crate::error_info;
pub use crate::policy::Policy;
use crate::reception::{listed, random};
use crate::target::TlsVersion;
use crate::trust_store::Opinion;
use crate::wire::SessionLog;
use crate::x509;
use crate::{flow, own_copies, peer_name};

/// Which component ended an inner session, given how the outer session ended: a bridge closes its own session in order when a server has
/// gone.
pub fn gone(carrier: Option<fact::OuterSessionEnd>) -> &'static str {
    match carrier {
        Some(fact::OuterSessionEnd::Fin | fact::OuterSessionEnd::Reset) => "the bridge",
        _ => "the server",
    }
}

/// A session that failed to start or broke, with all data about it.
pub struct FailedSession<'a> {
    /// The peer, as the subject of a sentence: "the bridge".
    pub peer: &'a str,
    /// The component that ended the session without an alert: the peer, or the one that relayed its bytes.
    pub gone: &'a str,
    /// The requested name; `None` if the program set none.
    pub host: Option<&'a str>,
    /// The library's error.
    pub error: &'a SessionError,
    /// The results of the callbacks.
    pub facts: &'a SessionFacts,
    /// The parsed conversation on the wire.
    pub log: &'a SessionLog,
    /// Time between the first byte and the error.
    pub took: Duration,
    /// Issuers of our chain, as DER names.
    pub our_cas: &'a [Vec<u8>],
    /// Our key, if known.
    pub signer: Option<Signer>,
    /// If no certificate was configured: certificates in the database with a private key.
    pub not_named: Option<Vec<String>>,
    /// The policy of the library that made the session, if known.
    pub policy: Option<Policy>,
    /// The relation of the peer's chain to our own database, if it was checked.
    pub store: Opinion,
    /// The kernel's statistics of the connection at its end.
    pub figures: Option<TcpInfo>,
}

/// The signal and the summary of a failed session.
pub struct Seen {
    /// The signal.
    pub signal: Signal,
    /// A summary in one sentence.
    pub summary: String,
    /// The related facts.
    pub facts: Facts,
}

impl FailedSession<'_> {
    /// Converts it to the outcome of the probe whose session on this hop it was.
    pub(crate) fn outcome(&self, hop: Hop, mut notes: Notes) -> Outcome {
        let mut seen = self.seen();
        seen.facts.place(hop);
        notes.extend(seen.facts);
        notes.fail(seen.signal, seen.summary).error(error_info::of_session(self.error))
    }

    /// Collects what the session showed.
    pub fn seen(&self) -> Seen {
        let wire = self.log.summary();
        let mut out = Facts::default();
        peer(self.facts, &mut out);
        request(self.facts, self.our_cas, self.signer, &wire, &mut out);
        alerts(self.facts, &mut out);
        out.put(fact::SESSION_WIRE.text(wire.one_line()));
        our_hello(&wire, &mut out);
        out.put(self.position(&wire));
        out.put(fact::SESSION_TOOK.number(micros(self.took)));
        out.put(if self.host.is_some() { fact::HostNameSet::Yes } else { fact::HostNameSet::No });
        if let Some(decision) = &self.facts.decision {
            let decision = match decision {
                Ok(()) => fact::PeerChainDecision::Accepted,
                Err(_) => fact::PeerChainDecision::Refused,
            };
            out.put(decision);
        }
        if let Some(relation) = self.host.and_then(|host| peer_name::by_certificate(host, &self.facts.peer_chain)) {
            out.put(relation);
        }
        if let (Some(figures), true) = (self.figures, self.error.kind == Kind::TimedOut) {
            out.put(flow::of(&figures));
            out.put(fact::TCP_FIGURES.text(flow::in_words(&figures)));
        }
        if !self.our_cas.is_empty() && !self.facts.peer_chain.is_empty() {
            out.put(if self.same_ca() { fact::PeerChainIssuerIsOurs::Yes } else { fact::PeerChainIssuerIsOurs::No });
        }
        out.extend(self.store.facts.clone());
        if let Some(policy) = &self.policy {
            policy.facts(&mut out);
        }
        if let Some(end) = self.end() {
            out.put(end);
        }
        let chain: Vec<_> = self.facts.built_chain.iter().filter_map(|der| x509::validity(der)).collect();
        out.extend(dates::peer_chain(&chain, OffsetDateTime::now_utc().unix_timestamp()).map(Into::into));
        out.extend(own_copies::facts(self.facts));
        let (signal, summary) = self.shown(&wire, &mut out);
        Seen { signal, summary, facts: out }
    }

    fn is(&self, code: ErrorCode) -> bool {
        self.error.code == Code::Nss(code.0)
    }

    /// Whether the peer's chain leads to an issuer of our own certificate; compared by key where possible.
    fn same_ca(&self) -> bool {
        if let Some(known) = self.store.issuer_is_ours {
            return known;
        }
        self.facts.peer_chain.iter().filter_map(|der| x509::issuer(der)).any(|issuer| self.our_cas.contains(&issuer))
    }

    /// How far the session came. In TLS 1.2 our answer to a certificate request is visible on the wire; in TLS 1.3 the call of the callback
    /// marks this moment.
    fn position(&self, wire: &Summary) -> fact::SessionPosition {
        if self.facts.asked_for_certificate.is_some() {
            fact::SessionPosition::AfterOurCertificate
        } else if wire.bytes_sent == 0 || self.only_sent_alert(wire) {
            fact::SessionPosition::BeforeHello
        } else if wire.server_hello.is_some() || wire.encrypted_records_received > 0 {
            fact::SessionPosition::AfterServerHello
        } else if wire.hello_retry.is_some() {
            fact::SessionPosition::AfterHelloRetry
        } else {
            fact::SessionPosition::AfterOurHello
        }
    }

    /// Whether an alert is the only data on the wire: OpenSSL 3.5 sends one when it finds nothing to offer.
    fn only_sent_alert(&self, wire: &Summary) -> bool {
        let has_said = wire.alerts.iter().any(|seen| seen.direction == Direction::Sent);
        wire.client_hello.is_none() && wire.bytes_received == 0 && has_said
    }

    fn end(&self) -> Option<fact::SessionEnd> {
        let reset = self.error.kind == Kind::Reset || self.log.end == Some(End::Reset);
        let closed = self.error.kind == Kind::Ended || self.log.end == Some(End::Closed);
        match (reset, last_alert(self.facts).map(|alert| alert.description)) {
            (true, _) => Some(fact::SessionEnd::Reset),
            (false, Some(0)) => Some(fact::SessionEnd::CloseNotify),
            (false, _) => closed.then_some(fact::SessionEnd::Fin),
        }
    }
}

/// Reports that the outer session broke because of a damaged record, whatever the inner session makes of it.
pub fn damaged_carrier(notes: Notes, peer: &str, error: &SessionError) -> Result<Outcome, Notes> {
    if error_info::signal(error) != signal::RECORD_DAMAGED {
        return Err(notes);
    }
    let summary = format!("a record from {peer} cannot be decrypted: {}", error.name);
    let notes = notes.with(Fact { hop: Some(Hop::Peer), ..fact::SessionPosition::AfterHandshake.into() });
    Ok(notes.fail_of(Layer::OuterHandshake, signal::RECORD_DAMAGED, summary).error(error_info::of_session(error)))
}

fn last_alert(facts: &SessionFacts) -> Option<&SeenAlert> {
    let ends = |alert: &&SeenAlert| !alert.sent && (alert.level == 2 || alert.description == 0);
    facts.alerts.iter().rfind(ends)
}

fn micros(span: Duration) -> i64 {
    i64::try_from(span.as_micros()).unwrap_or(i64::MAX)
}

fn alerts(facts: &SessionFacts, out: &mut Facts) {
    for alert in &facts.alerts {
        let name = AlertDescription(alert.description).name().unwrap_or("unregistered");
        let level = if alert.level == 2 { "fatal" } else { "warning" };
        let key = if alert.sent { fact::SESSION_ALERT_SENT } else { fact::SESSION_ALERT_RECEIVED };
        out.put(key.text(format!("{name} ({}), {level}", alert.description)));
    }
    let said = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
    out.put(if said { fact::PeerSaidAlert::Yes } else { fact::PeerSaidAlert::No });
}

/// The facts of an established session on this hop. `ours` are the issuers of our chain and the type of our key; `accepted` is the peer's
/// reaction to our certificate.
pub(crate) fn up(
    channel: &Channel,
    facts: &SessionFacts,
    ours: (&[Vec<u8>], Option<Signer>),
    wire: &Summary,
    accepted: fact::PeerAcceptedUs,
    hop: Hop,
) -> Facts {
    let mut out = Facts::default();
    let version = TlsVersion::name_of(channel.version);
    out.put(fact::SESSION_AGREED.text(format!("{version}, {}", channel.suite_name)));
    out.put(fact::SESSION_AGREED_VERSION.text(version));
    our_hello(wire, &mut out);
    peer(facts, &mut out);
    request(facts, ours.0, ours.1, wire, &mut out);
    out.put(accepted);
    out.put(fact::SessionOutcome::Done);
    out.place(hop);
    out
}

/// The offers in our ClientHello, and the random value by which a server's report matches the same connection.
fn our_hello(wire: &Summary, out: &mut Facts) {
    let Some(hello) = wire.client_hello.as_deref() else { return };
    out.put(fact::SESSION_CLIENT_RANDOM.text(random(hello)));
    if !hello.groups.is_empty() {
        out.put(fact::SESSION_GROUPS_OFFERED.text(listed(&hello.groups)));
    }
    if !hello.signature_schemes.is_empty() {
        out.put(fact::SESSION_SIGNATURES_OFFERED.text(listed(&hello.signature_schemes)));
    }
}

/// The peer's chain as sent, and all of NSS's objections to it.
fn peer(facts: &SessionFacts, out: &mut Facts) {
    for der in &facts.peer_chain {
        out.put(fact::PEER_CERTIFICATE.text(x509::one_line(der)));
    }
    if let Some(names) = facts.peer_chain.first().map(|der| x509::names(der)) {
        out.put(fact::PEER_NAMES.text(if names.is_empty() { "none".to_owned() } else { names.join(", ") }));
    }
    for objection in &facts.objections {
        out.put(fact::PEER_CHAIN_OBJECTION.text(format!("{} to {}", objection.error.name, objection.subject)));
    }
    if facts.name_error.is_some() {
        out.put(fact::PEER_CHAIN_OBJECTION.text("the certificate is not valid for this host name"));
    }
}
