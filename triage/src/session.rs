//! Groups lines by the session ids that all programs of a deployment write, whatever the times of the lines. Two attempts at the same
//! moment keep their own lines; a line that may belong to either is not used.
//!
//! A program does not write the id in each of its lines. A server's line about an inner handshake follows the line about the connection,
//! without the id.

use std::collections::BTreeMap;

use nssight_diagnosis::signal::Family;

use crate::format::Format;
use crate::incident::{GAP, Group, Placed, SIDE_BY_SIDE};
use crate::scan::Event;
use crate::sign::{Role, Step};

/// Maximum distance of a line without an id from the line that begins its session.
const NEAR: u64 = 80;
/// The consequences of a first failure follow within this many lines.
const FOLLOWS: u64 = 2;

/// Assigns lines of trouble without an id to the session that their writer has begun, if it was in no other one.
pub(crate) fn of_what_follows(events: &mut [Event], file: Option<&'static Format>) {
    let mut writers: BTreeMap<&'static str, Writer> = BTreeMap::new();
    for event in events {
        match event.format.or(file).filter(|format| format.session.is_some()) {
            // Sessions of another program are unrelated.
            None => event.session = None,
            // A bridge writes the id in all lines that are about a session.
            Some(format) if format.role == Role::Bridge => {}
            Some(format) => writers.entry(format.name).or_default().read(event),
        }
    }
}

/// The present position of one program.
#[derive(Default)]
struct Writer {
    /// Sessions that have begun, each with its line, of which nothing more is known yet.
    begun: Vec<(u128, u64)>,
    /// The line at which the only session failed.
    failed: Option<u64>,
}

impl Writer {
    fn read(&mut self, event: &mut Event) {
        self.begun.retain(|(_, line)| event.line.saturating_sub(*line) <= NEAR);
        let is_past = |line: u64| event.sign.is(Step::Begins) || event.line.saturating_sub(line) > FOLLOWS;
        if self.failed.is_some_and(is_past) {
            *self = Self::default();
        }
        match event.session {
            Some(id) if event.sign.is(Step::Begins) => self.begun.push((id, event.line)),
            Some(id) => self.begun.retain(|(other, _)| *other != id),
            // A failure to reach the bridge belongs to no session.
            None if event.sign.shown().is_some_and(|signal| signal.row().family != Family::Network) => {
                if let [(id, _)] = self.begun.as_slice() {
                    event.session = Some(*id);
                    self.failed.get_or_insert(event.line);
                }
            }
            None => {}
        }
    }
}

/// A session with a failure.
#[derive(Debug)]
pub(crate) struct Session<'a> {
    id: u128,
    pub(crate) events: Vec<Placed<'a>>,
    /// From its first trouble with a time to its last one.
    span: Option<(i64, i64)>,
    joined_without_time: bool,
}

/// The sessions that a line without an id may belong to.
pub(crate) enum Near<'s, 'a> {
    None,
    One(&'s mut Session<'a>),
    Several,
}

/// Takes the lines of failed sessions out of all lines, and returns the sessions in the order of their times, or of their ids.
pub(crate) fn failed<'a, const N: usize>(all: [Vec<Placed<'a>>; N]) -> (Vec<Session<'a>>, [Vec<Placed<'a>>; N]) {
    let mut sessions: BTreeMap<u128, Vec<Placed<'a>>> = BTreeMap::new();
    for placed in all.iter().flatten().filter(|placed| placed.trouble().is_some()) {
        if let Some(id) = placed.event.session {
            sessions.entry(id).or_default();
        }
    }
    let rest = all.map(|mut events| {
        let is_others = |placed: &Placed<'a>| match placed.event.session.and_then(|id| sessions.get_mut(&id)) {
            Some(own) => {
                own.push(placed.clone());
                false
            }
            None => true,
        };
        events.retain(is_others);
        events
    });
    let session = |(id, events): (u128, Vec<Placed<'a>>)| {
        let times = || events.iter().filter(|it| it.trouble().is_some() && it.event.when.is_some()).map(Placed::at);
        let span = times().min().zip(times().max());
        Session { id, events, span, joined_without_time: false }
    };
    let mut sessions: Vec<Session<'a>> = sessions.into_iter().map(session).collect();
    sessions.sort_by_key(|session| session.span.map_or(i64::MAX, |(start, _)| start));
    (sessions, rest)
}

/// The failed sessions during which a line without an id was written, by a program that belongs to them.
pub(crate) fn near<'s, 'a>(sessions: &'s mut [Session<'a>], placed: &Placed<'_>) -> Near<'s, 'a> {
    let begun = |session: &Session<'_>| session.span.is_some_and(|(start, _)| start <= placed.at().saturating_add(GAP));
    let past = sessions.partition_point(begun);
    let is_near = |session: &&mut Session<'_>| {
        let in_time = session.span.is_some_and(|(_, end)| placed.at() - end <= GAP);
        in_time && session.events.first().is_some_and(|own| own.goes_with(placed))
    };
    let mut near = sessions[..past].iter_mut().rev().take(SIDE_BY_SIDE).filter(is_near);
    match (near.next(), near.next()) {
        (None, _) => Near::None,
        (Some(only), None) => Near::One(only),
        (Some(_), Some(_)) => Near::Several,
    }
}

/// The lines that may belong to a failure without a session: those of at most one session, and none if a bridge reports a connection that
/// never became a session.
pub(crate) fn of_at_most_one(mut events: Vec<Placed<'_>>) -> Vec<Placed<'_>> {
    let mut ids = events.iter().filter_map(|placed| placed.event.session);
    let first = ids.next();
    let several = ids.any(|id| Some(id) != first);
    if several || first.is_some() && events.iter().any(|placed| placed.trouble().is_some() && placed.is_outside()) {
        events.retain(|placed| placed.event.session.is_none());
    }
    events
}

impl<'a> Session<'a> {
    /// Takes the lines without times and without an id of programs that have no line with the session's id.
    pub(crate) fn take_without_time(&mut self, lines: &mut Vec<Placed<'a>>) {
        let is_there = |placed: &Placed<'_>| self.events.iter().any(|own| own.role == placed.role);
        let fits = |placed: &Placed<'_>| !is_there(placed) && self.events.iter().all(|own| own.goes_with(placed));
        let (taken, left): (Vec<_>, Vec<_>) = lines.drain(..).partition(fits);
        *lines = left;
        self.joined_without_time |= !taken.is_empty();
        self.events.extend(taken);
    }

    pub(crate) fn into_group(mut self) -> Group<'a> {
        self.events.sort_by_key(Placed::at);
        Group { events: self.events, session: Some(self.id), joined_without_time: self.joined_without_time }
    }
}
