//! A failed call explains the program's failure only if the program did not recover from it.

use std::collections::HashMap;

use nssight_diagnosis::Layer;
use nssight_tracer::event::{Function, Library, Phase};

use crate::layers::is_alert;
use crate::local::{counts, layer};
use crate::session::{Handshake, Session};
use crate::story::{Call, Story};

/// When what happened last in each process: a pass over the calls answers for every call that failed.
pub(crate) struct Later<'a> {
    story: &'a Story,
    /// A call of a layer that was done.
    of_layer: HashMap<(usize, Layer), u64>,
    /// A call of a function that was done, for a name, and for any.
    of_function: HashMap<(usize, Function, Option<&'a [u8]>), u64>,
    /// Any call of a layer that counts.
    reached: HashMap<(usize, Layer), u64>,
    /// A call of NSS.
    nss: HashMap<usize, u64>,
}

impl<'a> Later<'a> {
    pub(crate) fn of(story: &'a Story) -> Self {
        let mut later = Self {
            story,
            of_layer: HashMap::new(),
            of_function: HashMap::new(),
            reached: HashMap::new(),
            nss: HashMap::new(),
        };
        for call in &story.calls {
            let (process, event, at) = (call.process, &call.event, call.event.at_ns);
            let last = |known: &mut u64| *known = at.max(*known);
            if matches!(event.function.library(), Library::Nss | Library::Ssl) {
                last(later.nss.entry(process).or_default());
            }
            let Some(of) = layer(event.function) else { continue };
            if event.phase == Phase::Done {
                last(later.of_layer.entry((process, of)).or_default());
                last(later.of_function.entry((process, event.function, Some(event.text()))).or_default());
                last(later.of_function.entry((process, event.function, None)).or_default());
            }
            if event.phase != Phase::Note && counts(event) {
                last(later.reached.entry((process, of)).or_default());
            }
        }
        later
    }

    /// Whether the program went on after a failed call of this layer, or the call was not about its TLS at all.
    pub(crate) fn overcomes(&self, of: Layer, failed: &Call) -> bool {
        let (story, at) = (self.story, failed.event.at_ns);
        let process = story.processes.get(failed.process);
        // Whoever says that all is well has said so about this, too.
        let ended_well = process.is_some_and(|process| process.status == Some(0));
        // It was over, and somebody else went on with NSS: a shell and its commands.
        let was_left_behind = process
            .and_then(|process| process.reaped_ns)
            .is_some_and(|reaped| self.nss.iter().any(|(other, last)| *other != failed.process && *last > reaped));
        if ended_well || was_left_behind {
            return true;
        }
        if self.hangs_on(of, failed) {
            return false;
        }
        let clients = || story.sessions.iter().filter(|session| !session.is_server);
        let a_session_came_up =
            clients().any(|session| session.handshake == Handshake::Done && session.settled_ns > at);
        a_session_came_up
            || self.worked(of, failed)
            || self.reached_later_layer(of, failed)
            || is_beside(story, of, failed)
    }

    /// The same was tried again and worked: the same name where it matters which, anything where only the layer matters.
    fn worked(&self, of: Layer, failed: &Call) -> bool {
        let name = (failed.event.length != 0).then(|| failed.event.text());
        let last = match of {
            Layer::NssDb | Layer::Resolve | Layer::Tcp => self.of_layer.get(&(failed.process, of)),
            _ => self.of_function.get(&(failed.process, failed.event.function, name)),
        };
        last.is_some_and(|last| *last > failed.event.at_ns)
    }

    /// Without certificate or key a program may come far, to a peer that asks for one: where that peer refuses it, the look-up or the
    /// login that failed is the reason. In TLS 1.3 the handshake is done by then (RFC 8446, 4.4.2.4).
    fn hangs_on(&self, of: Layer, failed: &Call) -> bool {
        let was_refused = |session: &Session| {
            session.error().is_some() || session.later_failure.is_some_and(|(_, code)| is_alert(code))
        };
        let has_no_certificate = |session: &Session| {
            let asked = session.gave_certificate.is_some() || session.log.summary().certificate_request.is_some();
            let sent = session.log.summary().client_certificate_sent.or(session.gave_certificate).unwrap_or(false);
            asked && !sent
        };
        matches!(of, Layer::Password | Layer::Certificate | Layer::PrivateKey)
            && !self.worked(of, failed)
            && sessions_of(self.story, failed).any(|session| has_no_certificate(session) && was_refused(session))
    }

    /// Whether the process reached a later layer.
    fn reached_later_layer(&self, of: Layer, failed: &Call) -> bool {
        let is_after = |layer: &Layer| {
            let last = self.reached.get(&(failed.process, *layer));
            *layer > of && *layer <= Layer::Tcp && last.is_some_and(|last| *last > failed.event.at_ns)
        };
        Layer::ALL.iter().any(is_after)
            || sessions_of(self.story, failed).any(|session| session.was_used_after(failed.event.at_ns))
    }
}

fn sessions_of<'a>(story: &'a Story, failed: &'a Call) -> impl Iterator<Item = &'a Session> {
    story.sessions.iter().filter(|session| session.process == failed.process && !session.is_server)
}

/// A name or a connection that comes after the handshake had begun is another one.
fn is_beside(story: &Story, of: Layer, failed: &Call) -> bool {
    let had_begun = |session: &Session| session.had_started_handshake_by(failed.event.at_ns);
    matches!(of, Layer::Resolve | Layer::Tcp) && sessions_of(story, failed).any(had_begun)
}
