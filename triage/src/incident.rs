//! Sorts events of all files by time, and groups the events of each failure.

use std::collections::HashSet;

use nssight_diagnosis::Signal;

use crate::Heartbeat;
use crate::Quote;
use crate::format::Format;
use crate::line::{self, When};
use crate::scan::{Event, Scanned};
use crate::session::{self, Near, Session};
use crate::sign::{Role, Step};

/// Maximum distance of two lines of one failure, in microseconds.
pub(crate) const GAP: i64 = 2_000_000;
/// How far before a failure to look for its origin, in microseconds.
const BEFORE: i64 = 3_000_000;
/// Maximum duration of a request, in microseconds.
const LONGEST: i64 = 120_000_000;
/// Maximum delay of a retry, in microseconds.
const AGAIN: i64 = 120_000_000;
/// In a log without times, this many lines before the last trouble belong to it.
const NEAR: u64 = 80;
/// This many last lines of programs without trouble are placed next to a failure without times.
const LATEST: usize = 8;
/// A single failure has fewer different errors than this.
const LIST: usize = 4;
/// Maximum number of simultaneous failures to distinguish.
pub(crate) const SIDE_BY_SIDE: usize = 64;
/// Maximum number of incidents to judge, counted back from the last.
const MOST: usize = 500;

fn format_of(file: &Scanned, event: &Event) -> Option<&'static Format> {
    // A file named after a program has no lines of another program of the same deployment.
    if file.by_name && event.format.is_none_or(|own| own.profile == file.format.and_then(|it| it.profile)) {
        return file.format;
    }
    let tells = |format: &&Format| format.role != Role::Unknown || format.nobodys;
    event.format.filter(tells).or(file.format.filter(tells)).or(event.format).or(file.format)
}

fn role_of(file: &Scanned, event: &Event) -> Role {
    let by_line = event.role.filter(|role| *role != Role::Unknown && !file.by_name);
    by_line.or_else(|| format_of(file, event).map(|format| format.role)).unwrap_or(Role::Unknown)
}

/// The target that an event is about: from its own line, or otherwise from the last line before it that names one.
fn target<'a>(file: &'a Scanned, event: &Event) -> Option<&'a [u8]> {
    let own = file.events.partition_point(|other| other.line <= event.line);
    let near = file.events[..own].iter().rev().take_while(|other| other.line + NEAR >= event.line);
    near.filter_map(|other| format_of(file, other)?.target_in(other.text.as_bytes())).next()
}

/// An event with the information about its file.
#[derive(Debug, Clone)]
pub(crate) struct Placed<'a> {
    pub(crate) file: &'a Scanned,
    pub(crate) role: Role,
    pub(crate) event: &'a Event,
}

impl Placed<'_> {
    pub(crate) fn quote(&self) -> Quote {
        Quote {
            file: self.file.name.clone(),
            line: self.event.line,
            time: self.event.when.and_then(line::shown),
            role: self.role,
            text: line::quote(self.event.text.as_bytes()),
        }
    }

    /// The failure from its writer's point of view. Messages that any program may write count only from a known writer, and messages about
    /// errors that did not happen never count.
    pub(crate) fn trouble(&self) -> Option<Signal> {
        let format = self.format();
        let known = self.role != Role::Unknown || format.is_some() || self.file.asked;
        let counts = known || self.event.by_code || !self.event.sign.is_generic();
        self.event.sign.shown().filter(|_| counts && !format.is_some_and(|format| format.nobodys))
    }

    /// Whether the line belongs to no session with an id: a bridge writes the id in all lines of a session.
    pub(crate) fn is_outside(&self) -> bool {
        let names_them = self.role == Role::Bridge && self.format().is_some_and(|format| format.session.is_some());
        names_them && self.event.session.is_none()
    }

    /// Whether both events may belong to one session: the programs in a file, and the connections of a program, have separate sessions.
    pub(crate) fn goes_with(&self, other: &Self) -> bool {
        match (self.event.session, other.event.session) {
            (Some(one), Some(two)) => return one == two,
            (Some(_), None) if other.is_outside() => return false,
            (None, Some(_)) if self.is_outside() => return false,
            _ => {}
        }
        let (Some(one), Some(two)) = (self.format(), other.format()) else { return true };
        let same = one.name == two.name && one.profile == two.profile;
        let of_one_deployment = one.profile.is_some() && one.profile == two.profile;
        let connections = (self.event.connection, other.event.connection);
        let one_connection = !matches!(connections, (Some(one), Some(two)) if one != two);
        if std::ptr::eq(self.file, other.file) {
            of_one_deployment || same && one_connection
        } else {
            same || self.role != other.role || one.profile.is_some()
        }
    }

    fn has_format_of(&self, other: &Self) -> bool {
        matches!((self.format(), other.format()), (Some(one), Some(two)) if std::ptr::eq(one, two))
    }

    /// The format of the line, or otherwise of the file. A library's message does not identify the writer of a line if the file does.
    pub(crate) fn format(&self) -> Option<&'static Format> {
        format_of(self.file, self.event)
    }

    /// Whether a server's line is about its own credentials, and not about a client.
    pub(crate) fn is_about_itself(&self) -> bool {
        !self.role.is_client() && self.format().is_some_and(|it| it.is_about_itself(self.event.text.as_bytes()))
    }

    pub(crate) fn at(&self) -> i64 {
        self.event.when.map_or(i64::MAX, |when| when.0)
    }
}

/// The events of one failure, in the order of their times.
#[derive(Debug, Default)]
pub(crate) struct Group<'a> {
    pub(crate) events: Vec<Placed<'a>>,
    /// The id that all its lines share.
    pub(crate) session: Option<u128>,
    /// Lines without times were placed next to lines with times.
    pub(crate) joined_without_time: bool,
}

impl Group<'_> {
    /// Whether the log of this role has this step.
    pub(crate) fn has(&self, role: Role, step: Step) -> bool {
        self.events.iter().any(|placed| placed.role == role && placed.event.sign.is(step))
    }

    /// The success of the same program after its trouble, so soon that it is a retry of the same attempt. A server's next success belongs
    /// to another client.
    pub(crate) fn overcome(&self) -> Option<Placed<'_>> {
        self.next_success()
            .filter(|(last, next)| {
                last.role.is_client()
                    && match (last.event.when, next.event.when) {
                        (Some(last), Some(next)) => next.0 - last.0 <= AGAIN,
                        _ => next.event.line - last.event.line <= NEAR,
                    }
            })
            .map(|(_, next)| next)
    }

    /// The last trouble, and the next success of its writer in the same log.
    pub(crate) fn next_success(&self) -> Option<(&Placed<'_>, Placed<'_>)> {
        let last = self.events.iter().rev().find(|placed| placed.trouble().is_some())?;
        let next = last.file.events.iter().find(|event| {
            let placed = Placed { file: last.file, role: role_of(last.file, event), event };
            let is_next = event.line > last.event.line && event.sign.is(Step::Succeeds) && last.has_format_of(&placed);
            is_next
                && match (target(last.file, last.event), target(last.file, event)) {
                    (Some(one), Some(two)) => one == two,
                    _ => true,
                }
        })?;
        Some((last, Placed { file: last.file, role: role_of(last.file, next), event: next }))
    }

    /// Whether a log has any line at the time of this failure; `true` if the failure has no times.
    pub(crate) fn is_beside(&self, file: &Scanned) -> bool {
        let times = || self.events.iter().filter_map(|placed| placed.event.when);
        let (Some(first), Some(last)) = (times().min(), times().max()) else { return true };
        let near = |when: When| when.0 >= first.0 - BEFORE && when.0 <= last.0 + GAP;
        file.events.iter().any(|event| event.when.is_none_or(near))
    }

    /// The line in the log of the bridge or the server which shows that the request ended in order after its client had given up.
    pub(crate) fn finished_later<'b>(&self, files: &'b [Scanned]) -> Option<Placed<'b>> {
        let of_client = |placed: &&Placed<'_>| placed.role.is_client() && placed.trouble().is_some();
        let last = self.events.iter().rev().find(of_client)?.event.when?;
        let theirs = files.iter().filter(|file| matches!(file.role(), Role::Bridge | Role::Server));
        let end_in = |file: &'b Scanned| {
            let begins = |event: &Event| event.sign.is(Step::Reads) || event.sign.is(Step::Starts);
            let before = |event: &Event| event.when.is_some_and(|when| when <= last);
            let begun = file.events.iter().rposition(|event| begins(event) && before(event))?;
            let mut later = file.events[begun + 1..].iter();
            let end = later.find(|event| event.sign.is(Step::Ends) || event.sign.is_trouble() || begins(event))?;
            let is_later = end.when.is_some_and(|when| when > last);
            (end.sign.is(Step::Ends) && is_later).then(|| Placed { file, role: role_of(file, end), event: end })
        };
        theirs.into_iter().find_map(end_in)
    }

    /// The time of its last line with trouble; later than all times if there is none.
    fn at(&self) -> i64 {
        self.events.iter().filter(|placed| placed.trouble().is_some()).map(Placed::at).max().unwrap_or(i64::MAX)
    }

    /// Whether the log of this role has any line in the group.
    pub(crate) fn heard(&self, role: Role) -> bool {
        self.events.iter().any(|placed| placed.role == role)
    }
}

pub(crate) fn group<'a>(files: &'a [Scanned], heartbeats: &[Heartbeat]) -> Vec<Group<'a>> {
    let placed =
        |file: &'a Scanned| file.events.iter().map(move |event| Placed { file, role: role_of(file, event), event });
    let all: Vec<Placed<'a>> = files.iter().flat_map(placed).collect();
    let (mut timed, untimed): (Vec<_>, Vec<_>) = all.into_iter().partition(|placed| placed.event.when.is_some());
    timed.sort_by_key(Placed::at);
    let (mut sessions, [timed, untimed]) = session::failed([timed, untimed]);
    let mut groups = by_time(&timed, heartbeats, &mut sessions);
    let mut last = last_of_each(&untimed);
    if let [only] = sessions.as_mut_slice()
        && groups.is_empty()
    {
        only.take_without_time(&mut last);
    }
    let is_last = last.iter().any(|placed| placed.trouble().is_some());
    let of_session = !sessions.is_empty();
    groups.extend(sessions.into_iter().map(Session::into_group));
    groups.sort_by_key(Group::at);
    groups.drain(..groups.len().saturating_sub(MOST));
    if is_last {
        // A client without times: its last failure is joined with the last failure of the others. If the sessions of the failures are
        // known, that would be a guess.
        let mut group = if of_session { Group::default() } else { groups.pop().unwrap_or_default() };
        if group.events.is_empty() && !of_session {
            group.events.extend(unfinished(&timed));
        }
        group.joined_without_time = !group.events.is_empty();
        group.events.extend(last);
        groups.push(group);
    }
    groups
}

fn by_time<'a>(timed: &[Placed<'a>], heartbeats: &[Heartbeat], sessions: &mut [Session<'a>]) -> Vec<Group<'a>> {
    let is_beat = |placed: &Placed<'_>| {
        let when = placed.event.when;
        placed.event.sign.is_end()
            && when.is_some_and(|when| heartbeats.iter().any(|beat| beat.covers(&placed.file.name, when)))
    };
    let trouble = |placed: &Placed<'_>| placed.trouble().is_some() && !is_beat(placed);
    let mut spans: Vec<Span<'a, '_>> = Vec::new();
    let mut given: HashSet<usize> = HashSet::new();
    for (index, placed) in timed.iter().enumerate().filter(|(_, placed)| trouble(placed)) {
        let near = |span: &&mut Span<'_, '_>| placed.at() - span.end <= GAP && span.last.goes_with(placed);
        let span = spans.iter_mut().rev().take(SIDE_BY_SIDE).find(near);
        match (span, session::near(sessions, placed)) {
            (Some(span), Near::None) => (span.end, span.last) = (placed.at(), placed),
            (Some(span), _) if std::ptr::eq(span.last.file, placed.file) => {
                (span.end, span.last) = (placed.at(), placed);
            }
            (None, Near::One(session)) => {
                session.events.push(placed.clone());
                given.insert(index);
            }
            _ => spans.push(Span { start: placed.at(), end: placed.at(), last: placed }),
        }
    }
    let skipped = spans.len().saturating_sub(MOST);
    let within = |Span { start, end, last }: Span<'a, '_>| {
        let past = timed.partition_point(|placed| placed.at() <= end);
        let begun: Vec<(&Scanned, i64)> = request_start_before(&timed[..past], start);
        let earliest = begun.iter().map(|(_, at)| *at).fold(start - BEFORE, i64::min);
        let first = timed.partition_point(|placed| placed.at() < earliest);
        let is_near = |placed: &Placed<'_>| {
            let begun_at = begun.iter().find(|(file, _)| std::ptr::eq(*file, placed.file)).map(|(_, at)| *at);
            placed.at() >= begun_at.unwrap_or(start - BEFORE).min(start - BEFORE)
        };
        let own = (first..past).filter(|index| !given.contains(index)).map(|index| &timed[index]);
        let own = own.filter(|placed| is_near(placed) && !is_beat(placed) && last.goes_with(placed));
        let events = session::of_at_most_one(own.cloned().collect());
        Group { events: since_last_request(events, start), ..Group::default() }
    };
    spans.into_iter().skip(skipped).map(within).collect()
}

/// For the logs with trouble from `start` on: the start of the request in which it happened. The request may have waited for a long time.
fn request_start_before<'a>(timed: &[Placed<'a>], start: i64) -> Vec<(&'a Scanned, i64)> {
    let mut begun: Vec<(&Scanned, i64)> = Vec::new();
    let from = timed.partition_point(|placed| placed.at() < start);
    for (index, placed) in timed.iter().enumerate().skip(from).filter(|(_, placed)| placed.trouble().is_some()) {
        if begun.iter().any(|(file, _)| std::ptr::eq(*file, placed.file)) {
            continue;
        }
        let recent = timed[..index].iter().rev().take_while(|earlier| earlier.at() >= start - LONGEST);
        let mut own = recent.filter(|earlier| std::ptr::eq(earlier.file, placed.file));
        let is_bound =
            |earlier: &&Placed<'_>| [Step::Begins, Step::Ends].into_iter().any(|it| earlier.event.sign.is(it));
        if let Some(begin) = own.find(is_bound).filter(|earlier| earlier.event.sign.is(Step::Begins)) {
            begun.push((placed.file, begin.at()));
        }
    }
    begun
}

/// From the first to the last trouble of a failure.
struct Span<'a, 'b> {
    start: i64,
    end: i64,
    last: &'b Placed<'a>,
}

/// Lines before and after the failed request belong to other requests: times alone do not separate them.
fn since_last_request<'a>(events: Vec<Placed<'a>>, start: i64) -> Vec<Placed<'a>> {
    let of_request = |role: Role| {
        let own = |placed: &Placed<'_>| placed.role == role;
        let trouble = events.iter().position(|it| own(it) && it.trouble().is_some());
        // The order of two lines of the same millisecond is unknown: a request that began in it may have failed in it.
        let first =
            trouble.or_else(|| events.iter().rposition(|it| own(it) && it.at() <= start)).unwrap_or(events.len());
        let is_begin = |it: &Placed<'_>| own(it) && it.event.sign.is(Step::Begins);
        let begin = events.iter().take(first).rposition(is_begin).unwrap_or(0);
        // Trouble after the end of a request belongs to another one. A program without trouble may have ended the very request that failed.
        let is_past = |it: &Placed<'_>| own(it) && it.event.sign.is(Step::Ends);
        let past = events.iter().take(trouble.unwrap_or(0)).rposition(is_past).map_or(0, |end| end + 1);
        let from = begin.max(past);
        let to = events.iter().skip(first).position(is_begin).map_or(events.len(), |after| first + after);
        from..to
    };
    let bridge = of_request(Role::Bridge);
    let server = of_request(Role::Server);
    let kept = |(index, placed): &(usize, Placed<'a>)| match placed.role {
        Role::Bridge => bridge.contains(index),
        Role::Server => server.contains(index),
        _ => true,
    };
    events.into_iter().enumerate().filter(kept).map(|(_, placed)| placed).collect()
}

/// The last lines of programs without trouble. A request that they have ended is not the failed one.
fn unfinished<'a>(timed: &[Placed<'a>]) -> Vec<Placed<'a>> {
    let is_past = |placed: &Placed<'_>| {
        let ends = |later: &Placed<'_>| later.role == placed.role && later.event.sign.is(Step::Ends);
        timed.iter().any(|later| ends(later) && later.at() >= placed.at())
    };
    timed.iter().rev().take(LATEST).rev().filter(|placed| !is_past(placed)).cloned().collect()
}

/// Whether lines without times and without a known writer contain so many different errors that they are a text about errors.
fn is_a_list(events: &[Placed<'_>]) -> bool {
    let named = events.iter().filter(|placed| placed.format().is_none() && placed.event.by_code);
    let mut named: Vec<Signal> = named.filter_map(Placed::trouble).collect();
    named.sort_unstable();
    named.dedup();
    named.len() >= LIST
}

/// The last failure of every file without times.
fn last_of_each<'a>(untimed: &[Placed<'a>]) -> Vec<Placed<'a>> {
    let of_one_file = |events: &'_ [Placed<'a>]| {
        let last = events.iter().filter(|placed| placed.trouble().is_some()).map(|placed| placed.event.line).max();
        let near = |placed: &&Placed<'_>| last.is_some_and(|last| placed.event.line + NEAR >= last);
        if is_a_list(events) {
            return Vec::new();
        }
        let kept = session::of_at_most_one(events.iter().filter(near).cloned().collect());
        // A line that ended an earlier run does not belong to this one.
        let ends = |placed: &Placed<'_>| {
            let event = placed.event;
            placed.trouble().is_some()
                && Format::ends_a_run(event.text.as_bytes())
                && (!event.child || Format::names_child(event.text.as_bytes()))
        };
        let earlier = |placed: &Placed<'_>| ends(placed) && Some(placed.event.line) < last;
        let from = kept.iter().rposition(earlier).map_or(0, |end| end + 1);
        kept[from..].to_vec()
    };
    untimed.chunk_by(|one, next| std::ptr::eq(one.file, next.file)).flat_map(of_one_file).collect()
}
