//! What both handshakes tell in the same words: the peer's chain, what it asked for, the alerts, and the judgement.

use std::time::Duration;

use nssight_nss::transport::End;
use nssight_nss::{HandshakeFacts, NssError, library};
use nssight_wire::AlertDescription;

use crate::finding::Notes;
use crate::handshake::{Judgement, Trouble, Witnesses};
use crate::wire::SessionLog;
use crate::x509;

/// NSS as it comes accepts RSA keys from this size on (measured on 3.87.1 and 3.123).
const RSA_MIN_AS_IT_COMES: i32 = 1023;
/// Hashes that NSS as it comes refuses in certificates.
const REFUSED_AS_IT_COMES: [&str; 1] = ["MD5"];

/// A handshake that failed, with everything that can be asked about it.
pub(crate) struct FailedSession<'a> {
    /// Who the peer is, as a subject: "the bridge".
    pub(crate) peer: &'a str,
    pub(crate) host: &'a str,
    pub(crate) error: &'a NssError,
    pub(crate) facts: &'a HandshakeFacts,
    pub(crate) log: &'a SessionLog,
    pub(crate) took: Duration,
    /// Issuers of our chain, as DER names.
    pub(crate) our_cas: &'a [Vec<u8>],
}

impl FailedSession<'_> {
    /// Notes what was seen and judges it.
    pub(crate) fn judge(&self, notes: &mut Notes) -> Judgement {
        let (facts, log) = (self.facts, self.log);
        let wire = log.summary();
        note_peer(facts, notes);
        note_request(facts, self.our_cas, notes);
        for alert in &facts.alerts {
            let description = AlertDescription(alert.description);
            let way = if alert.sent { "sent" } else { "received" };
            let name = description.name().unwrap_or("unregistered");
            notes.add(format!("alert {way}"), format!("{name} ({}), {}", alert.description, level(alert.level)));
        }
        notes.add("on the wire", wire.one_line());
        if let Some(foreign) = &wire.foreign {
            notes.add("first bytes", foreign);
        }
        if log.end == Some(End::TimedOut) {
            notes.add("deadline", format!("passed after {:.1} s", self.took.as_secs_f64()));
        }
        let refused = library::hashes_refused_in_certificates();
        let witnesses = Witnesses {
            peer: self.peer,
            host: self.host,
            error: self.error,
            facts,
            wire: &wire,
            arrivals: log.arrivals,
            end: log.end,
            took: self.took,
            our_ca_is_listed: our_ca_is_listed(facts, self.our_cas),
            stricter_rsa_min: library::policy_limits().rsa_min.filter(|least| *least > RSA_MIN_AS_IT_COMES),
            stricter_hashes: refused.into_iter().filter(|hash| !REFUSED_AS_IT_COMES.contains(hash)).collect(),
        };
        let mut judgement = witnesses.judge();
        if let (Trouble::PeerName, Some(leaf)) = (judgement.trouble, facts.peer_chain.first()) {
            judgement.summary = format!("{}, but for {}", judgement.summary, x509::names(leaf).join(", "));
        }
        judgement
    }
}

fn level(level: u8) -> &'static str {
    if level == 2 { "fatal" } else { "warning" }
}

/// The peer's chain as it was sent, and everything NSS has against it.
pub(crate) fn note_peer(facts: &HandshakeFacts, notes: &mut Notes) {
    for (depth, der) in facts.peer_chain.iter().enumerate() {
        let key = if depth == 0 { "peer certificate".to_owned() } else { format!("peer chain {depth}") };
        notes.add(key, x509::one_line(der));
    }
    if let Some(names) = facts.peer_chain.first().map(|der| x509::names(der)) {
        notes.add("names it is for", if names.is_empty() { "none".to_owned() } else { names.join(", ") });
    }
    for objection in &facts.objections {
        notes.add("NSS objects", format!("{} to {}", objection.error.name, objection.subject));
    }
    if facts.name_error.is_some() {
        notes.add("NSS objects", "the certificate is not for this host name");
    }
}

pub(crate) fn note_request(facts: &HandshakeFacts, our_cas: &[Vec<u8>], notes: &mut Notes) {
    let Some(names) = &facts.asked_for_certificate else {
        notes.add("certificate request", "none seen");
        return;
    };
    notes.add(
        "certificate request",
        match names.len() {
            0 => "yes, from any CA".to_owned(),
            count => format!("yes, from one of {count} CAs"),
        },
    );
    for name in names.iter().take(10) {
        notes.add("acceptable CA", &name.text);
    }
    if our_ca_is_listed(facts, our_cas) == Some(false) {
        notes.add("our CA", "is not on that list");
    }
    notes.add("our certificate", if facts.gave_certificate { "sent" } else { "not sent" });
}

/// `None` when the peer named no CAs, which means any (RFC 5246, 7.4.4).
pub(crate) fn our_ca_is_listed(facts: &HandshakeFacts, our_cas: &[Vec<u8>]) -> Option<bool> {
    let names = facts.asked_for_certificate.as_ref().filter(|names| !names.is_empty())?;
    Some(names.iter().any(|name| our_cas.contains(&name.der)))
}
