//! A failed call explains the program's failure only if the program did not recover from it.

use std::collections::HashMap;

use nssight_diagnosis::Layer;
use nssight_tracer::event::{Function, Library, Phase};

use crate::layers::is_alert;
use crate::local::{counts, layer};
use crate::session::{Handshake, Session};
use crate::story::{Call, Story};

/// The last time of each event in each process: one pass over the calls serves all failed calls.
pub(crate) struct Later<'a> {
    story: &'a Story,
    /// A completed call of a layer.
    of_layer: HashMap<(usize, Layer), u64>,
    /// A completed call of a function, for a name, and for any name.
    of_function: HashMap<(usize, Function, Option<&'a [u8]>), u64>,
    /// Any significant call of a layer.
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

    /// Whether the program continued after a failed call of this layer, or the call did not concern its TLS session at all.
    pub(crate) fn overcomes(&self, of: Layer, failed: &Call) -> bool {
        let (story, at) = (self.story, failed.event.at_ns);
        let process = story.processes.get(failed.process);
        // A process that exits with success has succeeded in spite of this failure.
        let ended_well = process.is_some_and(|process| process.status == Some(0));
        // The process had ended, and another one continued with NSS: a shell and its commands.
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

    /// Whether a retry succeeded: with the same name if the name matters, or with any call if only the layer matters.
    fn worked(&self, of: Layer, failed: &Call) -> bool {
        let name = (failed.event.length != 0).then(|| failed.event.text());
        let last = match of {
            Layer::NssDb | Layer::Resolve | Layer::Tcp => self.of_layer.get(&(failed.process, of)),
            _ => self.of_function.get(&(failed.process, failed.event.function, name)),
        };
        last.is_some_and(|last| *last > failed.event.at_ns)
    }

    /// Whether the later failure depends on this one. Without certificate or key a program may get as far as a peer that requests one; if
    /// that peer refuses it, the failed lookup or login is the reason. In TLS 1.3 the handshake is complete by then (RFC 8446, 4.4.2.4).
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

/// A name or a connection that follows the start of the handshake is unrelated.
fn is_beside(story: &Story, of: Layer, failed: &Call) -> bool {
    let had_begun = |session: &Session| session.had_started_handshake_by(failed.event.at_ns);
    matches!(of, Layer::Resolve | Layer::Tcp) && sessions_of(story, failed).any(had_begun)
}
