//! `bridge`: does the bridge accept the request, and does it have a live server behind it?
//!
//! A bridge reports neither. The only evidence is the first byte of the inner stream, which comes from the server. So
//! this probe sends the request and the inner ClientHello like a client, and waits for that byte.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::close::close_cost;
use nssight_diagnosis::fact::{Hop, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_nss::{ErrorCode, NssError, Session as NssSession, Step, TlsOptions};
use nssight_session::{Kind, SessionError};
use nssight_sigul::chunk::Stream;
use nssight_sigul::request::Request;

use crate::error_info;
use crate::session_facts::{FailedSession, Policy, damaged_carrier};
use crate::trust_store;
use crate::walk::{InnerSession, OuterSession, Probe, Waits, Walk};
use crate::wire::{Session, SessionLog};

use super::request::Requested;
use super::tunnel::{Arrival, InnerTransport, Tunnel};

/// All layers before must have passed.
pub(super) const PROBE: Probe = Probe { layer: Layer::Bridge, needs: &[Layer::Config, Layer::OuterHandshake], run };

/// Used if neither flags nor configuration name a user; a bridge only checks its form.
const NOBODY: &str = "nssight";

/// Time for the last data that the bridge sent before it disconnected.
const LAST_WORD: Duration = Duration::from_millis(200);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let target = walk.target();
    let Some(server) = target.server.as_ref().map(|server| server.value.clone()) else {
        return notes.skip("no server behind the peer is configured (--server, or a Sigul configuration)");
    };
    let (Some(outer), Some(nss)) = (walk.outer.take(), walk.opened.as_ref().map(|opened| opened.nss.clone())) else {
        return notes.skip("no outer session exists");
    };
    let user = target.user.as_ref().map_or(NOBODY, |user| user.value.as_str());
    let request = match Request::list_users(user) {
        Ok(request) => request,
        Err(error) => {
            let summary = format!("cannot make a request with this user name: {error}");
            notes.put(fact::ConfigState::Invalid);
            return notes.fail(signal::CONFIG_UNUSABLE, summary);
        }
    };
    notes.put(fact::REQUEST_MADE.text(format!("list-users by {user}, protocol version 1")));
    // `Request` only builds valid requests.
    notes.put(fact::RequestForm::Valid);
    let OuterSession { client, control, log: outer_log, began, took: handshake, round_trip } = outer;
    control.set_deadline(walk.deadline);
    let tunnel = Rc::new(RefCell::new(Tunnel::new(client, control)));
    let asked = Instant::now();
    let sent = tunnel.borrow_mut().send(Stream::Outer, &request.outer());
    walk.passage = Some(Box::new(Requested { tunnel: tunnel.clone(), request }));
    if let Err(error) = sent {
        let arrival = last_word(&mut tunnel.borrow_mut(), error);
        return ended(notes, arrival, asked.elapsed(), handshake, round_trip);
    }
    let log = Rc::new(RefCell::new(SessionLog::new(Session::Inner, began)));
    walk.sessions.push(log.clone());
    let waits = Rc::new(Cell::new(Waits::Never));
    let transport = InnerTransport::new(tunnel.clone(), log.clone(), waits.clone());
    let versions = (target.tls.value.0.wire(), target.tls.value.1.wire());
    let options =
        TlsOptions { host: &server, versions, client_auth: walk.client_auth(), alpn: &[], authorities: Vec::new() };
    let inner =
        NssSession::client(&nss, Box::new(transport), options).and_then(|mut client| match client.handshake() {
            // The ClientHello was sent, and there is no wait yet.
            Err(error) if error.code == ErrorCode::PR_WOULD_BLOCK_ERROR => Ok(client),
            Err(error) => Err(error),
            Ok(()) => Ok(client),
        });
    let client = match inner {
        Ok(client) => client,
        Err(error) if is_local(&error) => {
            let summary = format!("cannot start the inner session: {}", error.name);
            notes.put(fact::SessionPosition::BeforeHello);
            let shown = match error.step {
                Step::SetVersions => signal::VERSIONS_BLOCKED,
                _ => Signal::of_nss(error.code.0),
            };
            return notes.fail(shown, summary).error(error_info::of(&error));
        }
        // A bridge that disconnects at once is noticed here, by the write of the ClientHello.
        Err(error) => {
            let arrival = last_word(&mut tunnel.borrow_mut(), error.into());
            return ended(notes, arrival, asked.elapsed(), handshake, round_trip);
        }
    };
    walk.inner = Some(InnerSession { client: Box::new(client), waits, log, began: asked });
    let arrival = wait_for_the_server(&mut tunnel.borrow_mut());
    let took = asked.elapsed();
    notes.put(fact::BRIDGE_WAITED.number(took.as_micros()));
    match arrival {
        Arrival::Something => {
            notes.put(fact::BridgeFirstAnswer::ServerBytes);
            notes.pass("the bridge accepted the request and forwards a server's data")
        }
        Arrival::Ended { .. } => ended(notes, arrival, took, handshake, round_trip),
        Arrival::Garbled(what) => {
            notes.put(fact::BridgeFirstAnswer::NoChunks);
            notes.put(fact::BRIDGE_FIRST_ANSWER_DETAIL.text(&what));
            notes.fail(signal::CHUNKS_GARBLED, format!("the bridge sent data that is not a chunk: {what}"))
        }
        Arrival::Failed(error) if error.kind == Kind::TimedOut => {
            notes.put(fact::BridgeFirstAnswer::Silence);
            let summary =
                "the bridge accepted the request, but no answer came: the program in the server's place is silent";
            notes.fail(signal::SILENCE, summary).error(error_info::of_session(&error))
        }
        Arrival::Failed(error) => {
            let tunnel = tunnel.borrow();
            let facts = tunnel.outer().facts();
            let refused = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
            if refused {
                let failed = FailedSession {
                    peer: "the bridge",
                    gone: "the bridge",
                    host: walk.target().bridge.as_ref().map(|bridge| bridge.value.host.as_str()),
                    error: &error,
                    facts: &facts,
                    log: &outer_log.borrow(),
                    took: began.elapsed(),
                    our_cas: &walk.our_cas(),
                    signer: walk.signer(),
                    not_named: walk.not_named(),
                    policy: Some(Policy::of_this_process()),
                    store: trust_store::look(walk, &facts, &[], &error),
                    figures: None,
                };
                return failed.outcome(Hop::Peer, notes.with(fact::BridgeFirstAnswer::Alert));
            }
            ended(notes, Arrival::Failed(error), took, handshake, round_trip)
        }
    }
}

/// The outer session ended without an answer, this long after the request.
fn ended(mut notes: Notes, arrival: Arrival, waited: Duration, handshake: Duration, round_trip: Duration) -> Outcome {
    if let Arrival::Failed(error) = &arrival
        && let Ok(outcome) = damaged_carrier(notes.clone().with(fact::BridgeFirstAnswer::Broken), "the bridge", error)
    {
        return outcome;
    }
    let (answer, shown, summary) = match &arrival {
        Arrival::Ended { in_order: true } => (
            fact::BridgeFirstAnswer::CloseNotify,
            signal::ENDED,
            "the bridge accepted our session, but closed it with close_notify after the request, before any byte from a server",
        ),
        Arrival::Ended { in_order: false } => (
            fact::BridgeFirstAnswer::Fin,
            signal::ENDED,
            "the bridge accepted our session, but its connection ended after the request without close_notify",
        ),
        Arrival::Failed(error) if error.kind == Kind::Reset => (
            fact::BridgeFirstAnswer::Reset,
            signal::RESET,
            "the bridge accepted our session, but its connection was reset after the request",
        ),
        // Whatever error the write or the read reported, the session has ended.
        _ => (
            fact::BridgeFirstAnswer::Broken,
            signal::ENDED,
            "the connection broke after the request, before any byte from a server",
        ),
    };
    notes.put(answer);
    if let (fact::BridgeFirstAnswer::CloseNotify, Some(cost)) = (answer, close_cost(waited, handshake, round_trip)) {
        notes.put(cost);
    }
    let Arrival::Failed(error) = arrival else { return notes.fail(shown, summary) };
    notes.put(fact::BRIDGE_FIRST_ANSWER_DETAIL.text(&error.name));
    notes.fail(shown, summary).error(error_info::of_session(&error))
}

/// A failed write only shows that the bridge has disconnected. The data that it sent before, which can still be read,
/// shows how.
fn last_word(tunnel: &mut Tunnel, error: SessionError) -> Arrival {
    tunnel.set_deadline(Instant::now() + LAST_WORD);
    match wait_for_the_server(tunnel) {
        ended @ Arrival::Ended { .. } => ended,
        _ => Arrival::Failed(error),
    }
}

/// Whether the error is our own, before the first byte of the inner session.
fn is_local(error: &NssError) -> bool {
    error.step != Step::Handshake || error.code == ErrorCode::SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM
}

/// Waits until the inner stream has data, or no more can arrive.
fn wait_for_the_server(tunnel: &mut Tunnel) -> Arrival {
    loop {
        if tunnel.has(Stream::Inner) {
            return Arrival::Something;
        }
        match tunnel.wait() {
            Arrival::Something => {}
            other => return other,
        }
    }
}
