//! `inner-handshake`: TLS between client and server, through the bridge.

use std::time::{Duration, Instant};

use nssight_diagnosis::fact::{Hop, fact};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{CertificateRole, Layer, Notes, Outcome};
use nssight_session::{Channel, Kind, SessionError, SessionFacts};

use crate::client_certificate::{sent, withheld};
use crate::policy;
use crate::session_facts::{self, FailedSession};
use crate::target::TlsVersion;
use crate::trust_store;
use crate::walk::{InnerSession, Probe, Waits, Walk};

use super::outer_handshake::SHORT_RECORD;

/// `bridge` has started the session.
pub const PROBE: Probe = Probe {
    layer: Layer::InnerHandshake,
    needs: &[Layer::Config, Layer::PrivateKey, Layer::OuterHandshake, Layer::Bridge],
    run,
};

/// In TLS 1.3, how long to wait for the server's reaction to our certificate if no request follows.
const PATIENCE: Duration = Duration::from_millis(500);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let (Some(mut inner), Some(passage)) = (walk.inner.take(), &walk.passage) else {
        return notes.skip("no inner session exists");
    };
    let host = walk.target().server.as_ref().map(|server| server.value.clone()).unwrap_or_default();
    passage.set_deadline(walk.deadline);
    inner.waits.set(Waits::Always);
    let result = inner.client.handshake().and_then(|()| {
        let is_13 = inner.client.channel().is_some_and(|channel| channel.version >= TlsVersion::Tls13.wire());
        if is_13 && walk.admin_password.is_none() {
            passage.set_deadline(Instant::now() + PATIENCE);
            wait_for_peer_reaction(&mut inner)
        } else {
            Ok(false)
        }
    });
    inner.waits.set(Waits::Always);
    let facts = inner.client.facts();
    walk.record_peer_chain(CertificateRole::Server, &facts.peer_chain);
    match (result, inner.client.channel()) {
        (Ok(has_ticket), Some(channel)) => {
            let version = TlsVersion::name_of(channel.version);
            let accepted = accepted(&channel, &facts, has_ticket);
            let wire = inner.log.borrow().summary();
            let our_cas = walk.our_cas();
            let ours = (our_cas.as_slice(), walk.signer());
            notes.extend(session_facts::up(&channel, &facts, ours, &wire, accepted, Hop::Server));
            if sent(&facts, &wire) == fact::OurCertificateSent::Empty {
                notes.put(fact::SessionPosition::AfterHandshake);
                return notes.fail(signal::CERTIFICATE_WITHHELD, withheld("the server"));
            }
            walk.inner = Some(inner);
            notes.pass(match accepted {
                fact::PeerAcceptedUs::Unconfirmed => {
                    format!("{version} with {host} through the bridge; whether the server accepts our certificate is unconfirmed")
                }
                _ => format!("{version} with {host} through the bridge, trusted in both directions"),
            })
        }
        (Ok(_), None) => notes.fail(signal::SSL_ERROR, "the inner handshake ended without a session"),
        (Err(error), _) => failed(walk, &inner, &host, &error, &facts, notes),
    }
}

/// The server's reaction to our certificate when the handshake is over for us. In TLS 1.3 the server has not verified it yet at this moment
/// (RFC 8446, 4.4.2); a later ticket, or a reply to the request, shows the result.
fn accepted(channel: &Channel, facts: &SessionFacts, has_ticket: bool) -> fact::PeerAcceptedUs {
    match (&facts.asked_for_certificate, channel.version < TlsVersion::Tls13.wire() || has_ticket) {
        (None, _) => fact::PeerAcceptedUs::NotAsked,
        (Some(_), true) if facts.sent_certificate == Some(false) => fact::PeerAcceptedUs::GoesWithout,
        (Some(_), true) => fact::PeerAcceptedUs::Yes,
        (Some(_), false) => fact::PeerAcceptedUs::Unconfirmed,
    }
}

/// A refusal shows as a read error, an acceptance as a ticket, whatever follows it; silence proves nothing.
fn wait_for_peer_reaction(inner: &mut InnerSession) -> Result<bool, SessionError> {
    let done = inner.log.borrow().place();
    loop {
        inner.waits.set(Waits::Once);
        let read = inner.client.read(&mut [0; 1024]);
        let has_ticket = inner.log.borrow().received_more_than_behind(SHORT_RECORD, done);
        match read {
            Err(error) if error.kind == Kind::WouldBlock && !has_ticket => {}
            Err(error) if error.kind == Kind::WouldBlock => return Ok(true),
            Err(error) if error.kind == Kind::TimedOut => return Ok(has_ticket),
            Err(error) if error.kind == Kind::Ended && has_ticket => return Ok(true),
            Err(error) => return Err(error),
            Ok(0) if has_ticket => return Ok(true),
            Ok(0) => return Err(SessionError::ended("wait for the peer to accept our certificate")),
            // The server may have sent this data before it verified our certificate.
            Ok(_) => return Ok(false),
        }
    }
}

fn failed(
    walk: &Walk<'_>,
    inner: &InnerSession,
    host: &str,
    error: &SessionError,
    facts: &SessionFacts,
    mut notes: Notes,
) -> Outcome {
    notes.put(fact::OuterSessionState::Passed);
    if let Some(broken) = walk.passage.as_ref().and_then(|passage| passage.broken()) {
        notes = match session_facts::damaged_carrier(notes, "the bridge", &broken) {
            Ok(outcome) => return outcome,
            Err(notes) => notes,
        };
    }
    let end = walk.passage.as_ref().and_then(|passage| passage.how_it_ended());
    if let Some(end) = end {
        notes.put(end);
    }
    let log = inner.log.borrow();
    let failed = FailedSession {
        peer: "the server",
        gone: session_facts::gone(end),
        host: Some(host),
        error,
        facts,
        log: &log,
        took: inner.began.elapsed(),
        our_cas: &walk.our_cas(),
        signer: walk.signer(),
        not_named: walk.not_named(),
        policy: policy::of_session(walk.target().engine(), &log.summary()),
        store: trust_store::look(walk, facts, &log.server_certificates(), error),
        figures: None,
    };
    failed.outcome(Hop::Server, notes)
}
