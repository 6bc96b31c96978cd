//! `bridge`: does the bridge take the request, and does it hold a live server behind it?
//!
//! A bridge says neither. What shows is the first byte of the inner stream, which comes from the server: so the request
//! and the inner ClientHello are sent, as a client sends them, and that byte is waited for.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::Instant;

use nssight_nss::{ErrorCode, NssError, TlsClient, TlsOptions};
use nssight_sigul::chunk::Stream;
use nssight_sigul::request::Request;

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::plan::Probe;
use crate::probe::outer_handshake;
use crate::session_notes::FailedSession;
use crate::tunnel::{Arrival, InnerTransport, Tunnel};
use crate::vocabulary::{Confidence, Layer};
use crate::walk::{InnerSession, OuterSession, Walk};
use crate::wire::{Session, SessionLog};

/// Everything up to here must have come out well.
pub const PROBE: Probe = Probe {
    layer: Layer::Bridge,
    needs: &[Layer::Config, Layer::OuterHandshake],
    causes: &[
        Cause::ServerLinkDead,
        Cause::BridgeRejectedRequest,
        Cause::BridgeGarbled,
        Cause::ClientCertRejected,
        Cause::ClientCertExpiredAtPeer,
        Cause::ClientCertRevokedAtPeer,
        Cause::ClientCertNotSent,
        Cause::ClientCaNotAcceptable,
        Cause::PeerAlert,
        Cause::TlsPolicyBlocked,
        Cause::ConfigInvalid,
    ],
    run,
};

/// Used where neither flag nor configuration names a user; a bridge looks at its form only.
const NOBODY: &str = "nssight";

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let target = walk.target();
    let Some(server) = target.server.as_ref().map(|server| server.value.clone()) else {
        return notes.skip("no server behind the peer was named (--server, or a Sigul configuration)");
    };
    let (Some(outer), Some(nss)) = (walk.outer.take(), walk.nss.clone()) else {
        return notes.skip("there is no outer session to go through");
    };
    let user = target.user.as_ref().map_or(NOBODY, |user| user.value.as_str());
    let request = match Request::list_users(user) {
        Ok(request) => request,
        Err(error) => {
            let summary = format!("no request can be made for the user name given: {error}");
            return notes.fail(Cause::ConfigInvalid, Confidence::Certain, summary);
        }
    };
    notes.add("request", format!("list-users by {user}, protocol version 1"));
    let OuterSession { client, control, log: outer_log, began } = outer;
    control.set_deadline(walk.deadline);
    let tunnel = Rc::new(RefCell::new(Tunnel::new(client, control)));
    walk.tunnel = Some(tunnel.clone());
    let asked = Instant::now();
    let sent = tunnel.borrow_mut().send(Stream::Outer, &request.outer());
    if let Err(error) = sent {
        notes.add("first answer", &error.name);
        return dead_link(notes, "the connection broke while the bridge was given the request").error(&error);
    }
    let log = Rc::new(RefCell::new(SessionLog::new(Session::Inner, began)));
    walk.sessions.push(log.clone());
    let waits = Rc::new(Cell::new(false));
    let transport = InnerTransport::new(tunnel.clone(), log.clone(), waits.clone());
    let versions = (target.tls.value.0.wire(), target.tls.value.1.wire());
    let options = TlsOptions { host: &server, versions, client_auth: walk.client_auth() };
    let inner = TlsClient::new(&nss, Box::new(transport), options).and_then(|mut client| match client.handshake() {
        // The ClientHello is out, and nothing is waited for yet.
        Err(error) if error.code == ErrorCode::PR_WOULD_BLOCK_ERROR => Ok(client),
        Err(error) => Err(error),
        Ok(()) => Ok(client),
    });
    let client = match inner {
        Ok(client) => client,
        Err(error) if is_local(&error) => {
            let summary = format!("the inner session could not begin: {}", error.name);
            return notes.fail(Cause::TlsPolicyBlocked, Confidence::Certain, summary).error(&error);
        }
        // A bridge that goes away at once is noticed here already, by the write of the ClientHello.
        Err(error) => {
            notes.add("first answer", &error.name);
            return dead_link(notes, "the connection broke after the request, before any byte of a server")
                .error(&error);
        }
    };
    walk.inner = Some(InnerSession { client, waits, log, began: asked, request });
    let arrival = wait_for_the_server(&mut tunnel.borrow_mut());
    let took = asked.elapsed();
    notes.add("waited", format!("{:.1} ms after the request", took.as_secs_f64() * 1000.0));
    match arrival {
        Arrival::Something => {
            notes.add("first answer", "bytes of the inner stream: a live server is behind the bridge");
            notes.pass("the bridge took the request and passes on what a server says")
        }
        Arrival::Ended { in_order } => {
            notes.add(
                "first answer",
                if in_order { "close_notify, and no byte before it" } else { "FIN without close_notify" },
            );
            dead_link(notes, "the bridge took our session and closed it after the request, before any byte of a server")
        }
        Arrival::Garbled(what) => {
            notes.add("first answer", &what);
            let summary = format!("what the bridge sends are no chunks: {what}");
            notes.fail(Cause::BridgeGarbled, Confidence::Certain, summary)
        }
        Arrival::Failed(error) if error.code == ErrorCode::PR_IO_TIMEOUT_ERROR => {
            notes.add("first answer", format!("none within {:.1} s", took.as_secs_f64()));
            dead_link(
                notes,
                "the bridge took the request and nothing came back: what stands in the server's place is silent",
            )
            .error(&error)
        }
        Arrival::Failed(error) => {
            let tunnel = tunnel.borrow();
            let facts = tunnel.outer().facts();
            let refused = facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0);
            if refused {
                let (log, our_cas) = (outer_log.borrow(), walk.our_cas());
                let failed = FailedSession {
                    peer: "the bridge",
                    host: "the bridge",
                    error: &error,
                    facts: &facts,
                    log: &log,
                    took: began.elapsed(),
                    our_cas: &our_cas,
                };
                let judgement = failed.judge(&mut notes);
                let cause = outer_handshake::cause(judgement.trouble);
                return notes.fail(cause, judgement.confidence, judgement.summary).error(&error);
            }
            notes.add("first answer", &error.name);
            dead_link(notes, "the connection broke after the request, before any byte of a server").error(&error)
        }
    }
}

/// Trouble of our own, before a byte of the inner session was sent.
fn is_local(error: &NssError) -> bool {
    error.step != "TLS handshake" || error.code == ErrorCode::SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM
}

/// Until the inner stream has something, or nothing more can come.
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

/// On the wire a dead server link and a rejected request look the same (measured on a real bridge). Ours is valid by
/// construction, so one of them is likely and the other is named.
fn dead_link(mut notes: Notes, what: &str) -> Outcome {
    notes.add(
        "how that comes about",
        "a bridge takes whatever connects to its server port for the server and keeps it in its queue; a health probe, a \
         scan or a client on that port leaves a dead connection there, which the next client meets",
    );
    notes.add(
        "alternative",
        "bridge-rejected-request: a bridge closes in the same way when it does not like the user name, the protocol \
         version or the operation; another try tells them apart, since a dead link is used up by the first",
    );
    notes.fail(Cause::ServerLinkDead, Confidence::Likely, what)
}
