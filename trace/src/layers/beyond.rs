//! The layers after the handshake with a bridge: whether a server answers through it, and whether a reply arrives.

use std::time::Duration;

use nssight_diagnosis::derive::close::close_cost;
use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::vocabulary::Peer;
use nssight_diagnosis::{Notes, Outcome};
use nssight_nss::{NssError, Step};
use nssight_probes::profile::Profile;
use nssight_probes::session_facts::damaged_carrier;
use nssight_session::End;

use super::{LEAST_WAIT_FOR_SILENCE, proves_nothing, with_end};
use crate::Ending;
use crate::session::Handshake;
use crate::story::Story;

const ENDED_BEFORE_SERVER: &str =
    "the outer session succeeded, but the inner session ended before the server sent anything";

impl Story {
    /// The layer `bridge`: did any data of the inner session arrive through the outer one?
    pub(super) fn bridge(&self, ending: Ending) -> Option<Outcome> {
        let (outer, inner) = (self.outer()?, self.inner()?);
        let wire = inner.log.summary();
        let mut notes = Notes::default();
        notes.put(fact::INNER_BYTES_SENT.number(wire.bytes_sent));
        notes.put(fact::INNER_BYTES_RECEIVED.number(wire.bytes_received));
        let ends = match outer.inner_ends {
            0 => None,
            1 => Some(fact::BridgeInnerEnds::One),
            _ => Some(fact::BridgeInnerEnds::Several),
        };
        if let Some(ends) = ends {
            notes.put(ends);
        }
        if !ending.is_bad() || inner.handshake == Handshake::Done {
            return Some(notes.pass("data of the inner session arrived"));
        }
        if ends == Some(fact::BridgeInnerEnds::Several) {
            return Some(notes.fail(signal::CHUNKS_GARBLED, "the bridge ended the inner stream more than once"));
        }
        // A program that waits for a whole frame has forwarded nothing of a truncated one. And a bridge that ends the inner stream in order
        // must have had an inner stream.
        if wire.bytes_received > 0 || outer.inner_chunks > 0 || ends.is_some() {
            return Some(notes.pass("something of data of the inner session arrived"));
        }
        if ending.is_interrupted() && self.silence(inner) < LEAST_WAIT_FOR_SILENCE {
            let summary = "a signal ended the program before the server could answer";
            return Some(proves_nothing(notes.facts().clone(), summary.to_owned()));
        }
        if let Some((function, code)) = outer.later_failure {
            let error = NssError::of(Step::Function(function.name()), code);
            notes = match damaged_carrier(notes, "the bridge", &(&error).into()) {
                Ok(outcome) => return Some(outcome),
                Err(notes) => notes,
            };
        }
        let end = outer.how_it_ended();
        let (answer, shown, summary) = match (end.map(|(how, _)| how), inner.log.end) {
            (Some(fact::OuterSessionEnd::CloseNotify), _) => {
                (fact::BridgeFirstAnswer::CloseNotify, signal::ENDED, ENDED_BEFORE_SERVER)
            }
            (Some(fact::OuterSessionEnd::Fin), _) => (fact::BridgeFirstAnswer::Fin, signal::ENDED, ENDED_BEFORE_SERVER),
            (Some(fact::OuterSessionEnd::Reset), _) => {
                (fact::BridgeFirstAnswer::Reset, signal::RESET, ENDED_BEFORE_SERVER)
            }
            (None, Some(End::Closed)) => (fact::BridgeFirstAnswer::Broken, signal::ENDED, ENDED_BEFORE_SERVER),
            (None, Some(End::Reset)) => (fact::BridgeFirstAnswer::Broken, signal::RESET, ENDED_BEFORE_SERVER),
            (None, Some(End::TimedOut | End::Failed(_)) | None) => (
                fact::BridgeFirstAnswer::Silence,
                signal::SILENCE,
                "the outer session succeeded, but no data from the server arrived through it",
            ),
        };
        // The transit time of a packet is not visible and is left out: both a close and a handshake then seem longer.
        if let (fact::BridgeFirstAnswer::CloseNotify, Some(asked), Some(ended)) =
            (answer, outer.sent_before_ns, end.map(|(_, at_ns)| at_ns))
        {
            let handshake = Duration::from_nanos(outer.settled_ns.saturating_sub(outer.began_ns));
            let waited = Duration::from_nanos(ended.saturating_sub(asked));
            if let Some(cost) = close_cost(waited, handshake, Duration::ZERO) {
                notes.put(cost);
            }
        }
        notes.put(answer);
        Some(notes.fail(shown, summary))
    }

    /// The state of the reply, which arrives outside the inner session.
    pub(super) fn request(&self, ending: Ending) -> Option<Outcome> {
        let (outer, inner) = (self.outer()?, self.inner()?);
        if inner.handshake != Handshake::Done {
            return None;
        }
        let mut notes = Notes::default();
        notes.put(if outer.reply_whole { fact::ReplyCame::Whole } else { fact::ReplyCame::NotWhole });
        if let Some(code) = outer.reply_code {
            notes.put(fact::REPLY_CODE.number(code));
        }
        if !ending.is_bad() {
            return Some(notes.pass("the program accepted the reply"));
        }
        let is_silent = outer.outer_ends == 0 && (outer.log.end.is_none() || outer.closed_before_peer());
        let silence = outer.last_received_ns.map_or(0, |last| self.until_ns.saturating_sub(last));
        let hung = is_silent && Duration::from_nanos(silence) >= LEAST_WAIT_FOR_SILENCE;
        if is_silent && !hung && !outer.reply_whole && (ending.is_interrupted() || ending.is_its_own_deadline()) {
            let summary = if ending.is_interrupted() {
                "a signal ended the program before the reply was complete"
            } else {
                "the program's own deadline passed before the reply was complete"
            };
            return Some(proves_nothing(notes.facts().clone(), summary.to_owned()));
        }
        let signal_of = Profile::of(Peer::Bridge).details().refusal;
        let refusal = outer.reply_code.filter(|code| *code != 0);
        let refusal = refusal.map(|code| signal_of.map_or(signal::REQUEST_REFUSED, |signal_of| signal_of(code.into())));
        let (state, shown, summary) = match refusal {
            Some(signal::REQUEST_AUTHENTICATION_FAILED) => {
                (None, signal::REQUEST_AUTHENTICATION_FAILED, "the server answered that authentication failed")
            }
            Some(shown) => (None, shown, "the server answered with an error"),
            // Derived from the program's next action, which may have had another reason.
            None if outer.reply_whole => (
                Some(fact::ReplyState::WholeAndFailed),
                signal::REPLY_UNEXPECTED,
                "the complete reply arrived, but the program failed after it",
            ),
            None if hung => (Some(fact::ReplyState::Silent), signal::SILENCE, "the reply did not arrive in time"),
            None if outer.outer_chunks == 0 => (
                Some(fact::ReplyState::None),
                if outer.log.end == Some(End::Reset) { signal::RESET } else { signal::ENDED },
                "the session ended before the first byte of a reply",
            ),
            None => (Some(fact::ReplyState::Cut), signal::REPLY_CUT, "the reply ended before it was complete"),
        };
        if let Some(state) = state {
            notes.put(state);
        }
        Some(with_end(notes, outer.how_it_ended()).fail(shown, summary))
    }
}
