//! `bridge`: does the bridge accept our header, and does it have a server for us? It acknowledges a valid header when it has both sides,
//! and answers an invalid one at once.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::fact::fact::{self, SiguldryAcknowledgement as Ack};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_session::{Kind, SessionError};

use crate::session_facts::{FailedSession, damaged_carrier};
use crate::walk::{InnerSession, OuterSession, Probe, Waits, Walk};
use crate::wire::{Session, SessionLog};
use crate::{error_info, open_session, policy, trust_store, x509};

use super::carried::{Ended, InnerTransport, Outer};
use super::header::{self, ACKNOWLEDGEMENT, Acknowledged};
use super::request::Asked;

/// All layers before must have passed.
pub(super) const PROBE: Probe = Probe { layer: Layer::Bridge, needs: &[Layer::Config, Layer::OuterHandshake], run };

/// Time for the last data that the bridge sent before it disconnected.
const LAST_WORD: Duration = Duration::from_millis(200);

/// The answer to our header.
enum Answer {
    Whole(Box<[u8; ACKNOWLEDGEMENT]>),
    /// The number of bytes, and the error after them.
    Short(usize, Ended),
}

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(server) = walk.target().server.as_ref().map(|server| server.value.clone()) else {
        return notes.skip("no server behind the bridge is configured");
    };
    let Some(OuterSession { client, control, log: outer_log, began, .. }) = walk.outer.take() else {
        return notes.skip("no outer session exists");
    };
    notes.put(fact::SIGULDRY_HEADER.text(format!("SIGULDRY, version {}, as a client", header::VERSION)));
    if let Some(user) = our_name(walk) {
        notes.put(fact::SIGULDRY_USER.text(user));
    }
    control.set_deadline(walk.deadline);
    let outer = Rc::new(RefCell::new(Outer::new(client, control)));
    let asked = Instant::now();
    let answer = ask(&mut outer.borrow_mut());
    notes.put(fact::SIGULDRY_WAITED.number(asked.elapsed().as_micros()));
    let (count, how) = match answer {
        Answer::Whole(bytes) => {
            let acknowledged = header::acknowledgement(&bytes);
            return match acknowledged {
                Some(Acknowledged { status: Ack::Ok, session, .. }) => begin(walk, &server, outer, session, notes),
                Some(refused) => refusal(&refused, notes),
                None => {
                    notes.put(Ack::Garbled);
                    notes.fail(signal::HEADER_REFUSED, "the bridge sent something other than an acknowledgement")
                }
            };
        }
        Answer::Short(count, how) => (count, how),
    };
    if let Ended::Failed(error) = &how {
        let facts = outer.borrow().session().facts();
        if facts.alerts.iter().any(|alert| !alert.sent && alert.description != 0) {
            let log = outer_log.borrow();
            let failed = FailedSession {
                peer: "the bridge",
                gone: "the bridge",
                host: walk.target().peer_name(),
                error,
                facts: &facts,
                log: &log,
                took: began.elapsed(),
                our_cas: &walk.our_cas(),
                signer: walk.signer(),
                not_named: walk.not_named(),
                policy: policy::of_session(walk.target().engine(), &log.summary()),
                store: trust_store::look(walk, &facts, &[], error),
                figures: None,
            };
            return failed.outcome(Hop::Peer, notes);
        }
    }
    ended(count, how, notes)
}

/// The user that the server will see.
fn our_name(walk: &Walk<'_>) -> Option<String> {
    x509::common_name(&walk.identity()?.certificate.to_der().ok()?)
}

fn ask(outer: &mut Outer) -> Answer {
    if let Err(error) = outer.write(&header::of_client()) {
        // The data that the bridge sent before, which can still be read, shows how it ended.
        outer.set_deadline(Instant::now() + LAST_WORD);
        return match read(outer) {
            Answer::Short(count, Ended::Failed(_)) => Answer::Short(count, Ended::Failed(error)),
            answer => answer,
        };
    }
    read(outer)
}

fn read(outer: &mut Outer) -> Answer {
    let (mut bytes, mut count) = (Box::new([0; ACKNOWLEDGEMENT]), 0);
    while let Some(room) = bytes.get_mut(count..).filter(|room| !room.is_empty()) {
        match outer.read(room) {
            Ok(more) => count += more,
            Err(ended) => return Answer::Short(count, ended),
        }
    }
    Answer::Whole(bytes)
}

fn refusal(refused: &Acknowledged, mut notes: Notes) -> Outcome {
    notes.put(refused.status);
    notes.put(fact::SIGULDRY_SESSION_ID.text(&refused.session));
    notes.put(fact::SIGULDRY_ACKNOWLEDGEMENT_DETAIL.text(format!("status {}", refused.number)));
    let (shown, summary) = match refused.status {
        Ack::Version => {
            (signal::HEADER_OF_OTHER_VERSION, "the bridge speaks another version of the protocol (status 1)".to_owned())
        }
        Ack::Role => {
            (signal::HEADER_OF_OTHER_ROLE, "the bridge says that this port is not for clients (status 2)".to_owned())
        }
        Ack::CommonName => (
            signal::CERTIFICATE_NAMELESS,
            "the bridge says that our certificate has no common name (status 3)".to_owned(),
        ),
        Ack::Magic => (
            signal::HEADER_REFUSED,
            "the bridge says that our header does not begin with the magic number (status 4)".to_owned(),
        ),
        _ => {
            let number = refused.number;
            let summary = format!("the bridge refused our header with the unknown status {number}");
            (signal::HEADER_REFUSED, summary)
        }
    };
    notes.fail(shown, summary)
}

fn ended(count: usize, how: Ended, notes: Notes) -> Outcome {
    let (shown, word, summary) = match &how {
        Ended::Failed(error) if error.kind == Kind::TimedOut => (
            signal::SILENCE,
            Ack::Silence,
            "the bridge accepted our session but does not acknowledge our header; it does so only when it has a server for us",
        ),
        Ended::Failed(error) if error.kind == Kind::Reset => {
            (signal::RESET, Ack::Reset, "the bridge reset the connection after our header, without an acknowledgement")
        }
        Ended::InOrder => (
            signal::ENDED,
            Ack::CloseNotify,
            "the bridge closed the session with close_notify after our header, without an acknowledgement",
        ),
        _ => (signal::ENDED, Ack::Fin, "the bridge's connection ended after our header, without an acknowledgement"),
    };
    let notes = match &how {
        Ended::Failed(error) => match damaged_carrier(notes, "the bridge", error) {
            Ok(outcome) => return outcome,
            Err(kept) => kept,
        },
        _ => notes,
    };
    let (word, summary) =
        if count > 0 { (Ack::Cut, "the acknowledgement of the bridge was truncated") } else { (word, summary) };
    let outcome = notes.with(word).fail(shown, summary);
    match &how {
        Ended::Failed(error) => outcome.error(error_info::of_session(error)),
        _ => outcome,
    }
}

/// Creates the inner session, without sending anything yet.
fn begin(walk: &mut Walk<'_>, server: &str, outer: Rc<RefCell<Outer>>, session: String, mut notes: Notes) -> Outcome {
    notes.put(Ack::Ok);
    notes.put(fact::SIGULDRY_SESSION_ID.text(&session));
    let began = Instant::now();
    let log = Rc::new(RefCell::new(SessionLog::new(Session::Inner, began)));
    walk.sessions.push(log.clone());
    let waits = Rc::new(Cell::new(Waits::Never));
    let transport = InnerTransport::new(outer.clone(), log.clone(), waits.clone());
    let opened: Result<_, SessionError> = open_session::open(walk, server, Box::new(transport), &mut notes);
    walk.passage = Some(Box::new(Asked { outer, session }));
    match opened {
        Ok(client) => {
            walk.inner = Some(InnerSession { client, waits, log, began });
            notes.pass("the bridge accepted our header and has a server for us")
        }
        Err(error) => {
            notes.put(fact::SessionPosition::BeforeHello);
            let summary = format!("cannot start the inner session: {}", error.name);
            notes.fail(error_info::signal(&error), summary).error(error_info::of_session(&error))
        }
    }
}
