//! A call that failed is the reason of a bad end only if the program did not get over it.

use nssight_diagnosis::Layer;
use nssight_tracer::event::{Library, Phase};

use crate::layers::is_alert;
use crate::local::{counts, layer};
use crate::session::{Handshake, Session};
use crate::story::{Call, Story};

/// Whether the program went on after a failed call of this layer, or the call was not about its TLS at all.
pub(crate) fn is_overcome(story: &Story, of: Layer, failed: &Call) -> bool {
    let at = failed.event.at_ns;
    let process = story.processes.get(failed.process);
    // Whoever says that all is well has said so about this, too.
    let ended_well = process.is_some_and(|process| process.status == Some(0));
    // It was over, and somebody else went on with NSS: a shell and its commands.
    let was_left_behind = process.and_then(|process| process.reaped_ns).is_some_and(|reaped| {
        story.calls.iter().any(|call| {
            let others = matches!(call.event.function.library(), Library::Nss | Library::Ssl);
            call.event.at_ns > reaped && others && call.process != failed.process
        })
    });
    if ended_well || was_left_behind {
        return true;
    }
    if hangs_on(story, of, failed) {
        return false;
    }
    let clients = || story.sessions.iter().filter(|session| !session.is_server);
    let a_session_came_up = clients().any(|session| session.handshake == Handshake::Done && session.settled_ns > at);
    a_session_came_up || worked_later(story, of, failed) || went_on(story, of, failed) || is_beside(story, of, failed)
}

/// The same was tried again and worked: the same name where it matters which, anything where only the layer matters.
fn worked_later(story: &Story, of: Layer, failed: &Call) -> bool {
    story.calls.iter().any(|call| {
        let any_will_do = matches!(of, Layer::NssDb | Layer::Resolve | Layer::Tcp);
        let is_the_same = failed.event.length == 0 || call.event.text() == failed.event.text();
        call.process == failed.process
            && call.event.at_ns > failed.event.at_ns
            && call.event.phase == Phase::Done
            && layer(call.event.function) == Some(of)
            && (any_will_do || is_the_same && call.event.function == failed.event.function)
    })
}

fn sessions_of<'a>(story: &'a Story, failed: &'a Call) -> impl Iterator<Item = &'a Session> {
    story.sessions.iter().filter(|session| session.process == failed.process && !session.is_server)
}

/// Without certificate or key a program may come far, to a peer that asks for one: where that peer refuses it, the look-up or the login
/// that failed is the reason. In TLS 1.3 the handshake is done by then (RFC 8446, 4.4.2.4).
fn hangs_on(story: &Story, of: Layer, failed: &Call) -> bool {
    let was_refused =
        |session: &Session| session.error().is_some() || session.later_failure.is_some_and(|(_, code)| is_alert(code));
    let has_no_certificate = |session: &Session| {
        let asked = session.gave_certificate.is_some() || session.log.summary().certificate_request.is_some();
        let sent = session.log.summary().client_certificate_sent.or(session.gave_certificate).unwrap_or(false);
        asked && !sent
    };
    matches!(of, Layer::Password | Layer::Certificate | Layer::PrivateKey)
        && !worked_later(story, of, failed)
        && sessions_of(story, failed).any(|session| has_no_certificate(session) && was_refused(session))
}

/// Its process came to a later layer.
fn went_on(story: &Story, of: Layer, failed: &Call) -> bool {
    let later = story.calls.iter().any(|call| {
        let is_later = layer(call.event.function).is_some_and(|layer| layer > of && layer <= Layer::Tcp);
        let is_call = call.event.phase != Phase::Note && counts(&call.event);
        call.process == failed.process && call.event.at_ns > failed.event.at_ns && is_call && is_later
    });
    later || sessions_of(story, failed).any(|session| session.was_used_after(failed.event.at_ns))
}

/// A name or a connection that comes after the handshake had begun is another one.
fn is_beside(story: &Story, of: Layer, failed: &Call) -> bool {
    let had_begun = |session: &Session| session.had_begun_by(failed.event.at_ns);
    matches!(of, Layer::Resolve | Layer::Tcp) && sessions_of(story, failed).any(had_begun)
}
