//! One pass over a log: the buffer is searched for all words at once, and only lines with a match are examined.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::format::{About, Format};
use crate::frames;
use crate::line::{self, When};
use crate::session;
use crate::sign::{self, Mark, Reading, Role, Sign, Step};

/// Size of one read.
const BUFFER: usize = 1 << 20;
/// Maximum length to examine of a line.
pub(crate) const LINE: usize = 1 << 16;
/// Number of events kept per file: the first and the last ones; the rest is only counted.
const FIRST: usize = 500;
const LAST: usize = 3500;
/// Lines of a traceback belong to the line that announces it if they are within this distance.
pub(crate) const TRACEBACK: u64 = 60;

/// A line with a meaning.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) line: u64,
    pub(crate) when: Option<When>,
    /// The program that wrote the line, according to its words.
    pub(crate) format: Option<&'static Format>,
    /// The writer's role in the session that the line is about, if the line shows it.
    pub(crate) role: Option<Role>,
    /// The connection that the line is about, as its writer numbers it.
    pub(crate) connection: Option<u64>,
    /// The session that the line is about, by the id that all programs of its deployment write.
    pub(crate) session: Option<u128>,
    /// An earlier line announced it as the child's.
    pub(crate) child: bool,
    /// The session that the traceback above the line is about.
    pub(crate) about: Option<About>,
    pub(crate) sign: Sign,
    /// Whether a library's name or number identified the signal.
    pub(crate) by_code: bool,
    pub(crate) text: Text,
}

/// The beginning of a line, kept without an allocation because most are never shown.
#[derive(Clone)]
pub(crate) struct Text {
    bytes: [u8; 200],
    length: u8,
}

impl Text {
    fn new(line: &[u8]) -> Self {
        let mut bytes = [0; 200];
        let length = line.len().min(200);
        bytes[..length].copy_from_slice(&line[..length]);
        Self { bytes, length: length as u8 }
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.length)]
    }
}

impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&line::quote(self.as_bytes()))
    }
}

/// The events of one log.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) name: String,
    pub(crate) format: Option<&'static Format>,
    /// Whether the file's name identified the program.
    pub(crate) by_name: bool,
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    pub(crate) events: Vec<Event>,
    /// Times of ends of file, for a heartbeat.
    pub(crate) ends: Vec<When>,
    pub(crate) notes: Vec<String>,
    /// A user asks for its meaning, so every word in it counts, whoever wrote it.
    pub(crate) asked: bool,
}

impl Scanned {
    pub(crate) fn new(name: &str) -> Self {
        let format = Format::of_file(name);
        let (events, ends, notes) = (Vec::new(), Vec::new(), Vec::new());
        let by_name = format.is_some_and(|format| format.profile.is_some());
        Self { name: name.to_owned(), format, by_name, bytes: 0, count: 0, events, ends, notes, asked: false }
    }

    /// The writer's role.
    pub(crate) fn role(&self) -> Role {
        self.format.map_or(Role::Unknown, |format| format.role)
    }
}

/// Maximum number of end-of-file times to keep.
const ENDS: usize = 4096;

/// The words to search for, ignoring case; for measurements against `grep`.
pub fn patterns() -> Vec<&'static str> {
    sign::marks().map(|(word, _)| word).collect()
}

/// The search for all words at once.
struct Search {
    automaton: AhoCorasick,
    marks: Vec<(&'static str, Mark)>,
}

static SEARCH: LazyLock<Search> = LazyLock::new(|| {
    let marks: Vec<(&'static str, Mark)> = sign::marks().collect();
    // The words are constants, and a test builds this automaton.
    let automaton = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .build(marks.iter().map(|(word, _)| word))
        .expect("the words can be sought");
    Search { automaton, marks }
});

pub(crate) fn scan(name: &str, mut input: impl Read) -> Scanned {
    let mut scan =
        Scan { out: Scanned::new(name), ring: 0, line: 1, context: None, named: false, timed: false, long: false };
    scan.named = scan.out.format.is_some();
    let mut buffer = vec![0; BUFFER];
    let mut held = 0;
    loop {
        let count = match input.read(&mut buffer[held..]) {
            Ok(count) => count,
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => {
                scan.out.notes.push(format!("reading stopped after {} bytes: {error}", scan.out.bytes));
                0
            }
        };
        scan.out.bytes += count as u64;
        let filled = held + count;
        if count == 0 {
            scan.lines(&buffer[..filled]);
            break;
        }
        match memchr::memrchr(b'\n', &buffer[held..filled]).map(|at| held + at) {
            Some(end) => {
                scan.lines(&buffer[..=end]);
                buffer.copy_within(end + 1..filled, 0);
                held = filled - end - 1;
            }
            // Of an endless line only the beginning is examined.
            None if filled > LINE => {
                if !scan.long {
                    scan.part(&buffer[..LINE]);
                }
                scan.long = true;
                held = 0;
            }
            None => held = filled,
        }
    }
    scan.finish()
}

struct Scan {
    out: Scanned,
    /// The place of the next event, once all places are taken.
    ring: usize,
    line: u64,
    /// The writer of the lines of a traceback, its time, and its last line number.
    context: Option<(bool, Option<When>, u64)>,
    named: bool,
    /// The lines have times.
    timed: bool,
    /// In the rest of a line that was already examined.
    long: bool,
}

impl Scan {
    /// Processes whole lines.
    fn lines(&mut self, mut bytes: &[u8]) {
        if self.long {
            let Some(end) = memchr::memchr(b'\n', bytes) else { return };
            bytes = &bytes[end + 1..];
            self.line += 1;
            self.long = false;
        }
        let (mut at, mut counted) = (0, 0);
        while let Some(hit) = bytes.get(at..).and_then(|rest| SEARCH.automaton.find(rest)) {
            let start = memchr::memrchr(b'\n', &bytes[..at + hit.start()]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &bytes[at + hit.end()..]).map_or(bytes.len(), |far| at + hit.end() + far);
            self.line += memchr::memchr_iter(b'\n', &bytes[counted..start]).count() as u64;
            counted = start;
            let line = &bytes[start..end.min(start + LINE)];
            let first = at + hit.start() - start..at + hit.end() - start;
            if first.end <= line.len() {
                self.hit([&bytes[..start], &bytes[end..]], line, first, hit.pattern().as_usize());
            }
            at = end + 1;
        }
        self.line += memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
    }

    /// Processes the beginning of a line that is too long.
    fn part(&mut self, line: &[u8]) {
        if let Some(hit) = SEARCH.automaton.find(line) {
            self.hit([&[], &[]], line, hit.range(), hit.pattern().as_usize());
        }
    }

    /// Processes a line with a match, with the text before and after it.
    fn hit(&mut self, [before, behind]: [&[u8]; 2], line: &[u8], first: Range<usize>, pattern: usize) {
        let Some(Reading { sign, by_code, .. }) = reading(line, first, pattern) else { return };
        let announces = matches!(sign, Sign::Step(Step::ChildFollows | Step::OwnFollows));
        if !sign.is_trouble() && !announces && !sign.is(Step::LooksUp) {
            return self.step(line, sign);
        }
        let when = line::when(line);
        let format = Format::of_line(line);
        let format = format.or_else(|| self.out.format.is_none().then(|| frames::writer_above(before)).flatten());
        let own_head = when.is_some() || starts_level(line);
        if announces {
            self.context = Some((sign.is(Step::ChildFollows), when, self.line + TRACEBACK));
        } else if own_head {
            self.context = None;
        }
        let context = self.context.filter(|(_, _, until)| !own_head && self.line <= *until);
        let child = context.is_some_and(|(child, _, _)| child) || Format::names_child(line);
        let when = when.or(context.and_then(|(_, when, _)| when));
        let (since, about) =
            if when.is_none() && !own_head && self.timed { frames::head_above(before) } else { (None, None) };
        let when = when.or(since);
        self.timed |= when.is_some();
        if let (Some(when), true) = (when, sign.is_end() && self.out.ends.len() < ENDS) {
            self.out.ends.push(when);
        }
        self.recognise(format);
        let known = format.or(self.out.format);
        let (role, connection) = place(known, line);
        let by_frames = || known.and_then(|format| frames::side(format, line, before, behind));
        let role = if role == Some(Role::Unknown) { by_frames().or(role) } else { role };
        self.keep(Event { when, format, role, connection, child, about, by_code, ..self.plain(line, sign) });
    }

    /// An event of a line of which only the sign and the session were read: the session id may stand after the part that is kept.
    fn plain(&self, line: &[u8], sign: Sign) -> Event {
        Event {
            line: self.line,
            when: None,
            format: None,
            role: None,
            connection: None,
            session: Format::session_id_in(line),
            child: false,
            about: None,
            sign,
            by_code: false,
            text: Text::new(line),
        }
    }

    /// Messages of every request are the greatest part of a log, and most of them are overwritten: their time and writer are determined at
    /// the end.
    fn step(&mut self, line: &[u8], sign: Sign) {
        self.context = None;
        if !self.named {
            self.recognise(Format::of_line(line));
        }
        self.timed = self.timed || line::when(line).is_some();
        self.keep(self.plain(line, sign));
    }

    fn keep(&mut self, event: Event) {
        self.out.count += 1;
        if self.out.events.len() < FIRST + LAST {
            self.out.events.push(event);
        } else {
            self.out.events[FIRST + self.ring] = event;
            self.ring = (self.ring + 1) % LAST;
        }
    }

    /// Determines the program of the log. A program of a deployment is more specific than a library or tool that it consists of.
    fn recognise(&mut self, found: Option<&'static Format>) {
        let is_more = |found: &&Format| {
            found.profile.is_some()
                || self.out.format.is_none_or(|own| own.role == Role::Unknown && found.role != Role::Unknown)
        };
        let found = found.filter(|found| !found.nobodys);
        if let Some(found) = found.filter(|_| !self.named).filter(is_more) {
            self.out.format = Some(found);
            self.named = found.profile.is_some();
        }
    }

    fn finish(mut self) -> Scanned {
        if self.out.events.len() == FIRST + LAST {
            self.out.events[FIRST..].rotate_left(self.ring);
        }
        let file = self.out.format;
        for event in self.out.events.iter_mut().filter(|event| event.when.is_none() && !event.child) {
            let text = event.text.as_bytes();
            event.when = line::when(text);
            event.format = event.format.or_else(|| Format::of_line(text));
            let (role, connection) = place(event.format.or(file), text);
            event.role = event.role.or(role);
            event.connection = event.connection.or(connection);
        }
        one_side_a_connection(&mut self.out.events, file);
        session::of_what_follows(&mut self.out.events, file);
        if self.out.ends.len() == ENDS {
            self.out.notes.push(format!("only the first {ENDS} ends of file were checked for a regular interval"));
        }
        let dropped = self.out.count - self.out.events.len() as u64;
        if dropped > 0 {
            self.out.notes.push(format!("{dropped} lines in its middle were counted, but not checked"));
        }
        self.out
    }
}

/// Maximum distance of two lines of one connection.
const CONNECTION: u64 = 80;

/// If a program is at one end of each connection, a line that shows which end determines it for all lines of that connection.
fn one_side_a_connection(events: &mut [Event], file: Option<&'static Format>) {
    let format = |event: &Event| event.format.or(file).filter(|format| format.one_sided);
    let told = |event: &Event| {
        let (role, usual) = (event.role?, format(event)?.role);
        (role != usual).then_some((event.connection?, (event.line, role)))
    };
    let mut sides: HashMap<u64, Vec<(u64, Role)>> = HashMap::new();
    events.iter().filter_map(told).for_each(|(connection, side)| sides.entry(connection).or_default().push(side));
    for event in events.iter_mut().filter(|event| format(event).is_some()) {
        let Some(sides) = event.connection.and_then(|connection| sides.get(&connection)) else { continue };
        // The events are in the order of their lines, and the line that shows the end comes last.
        let next = sides.partition_point(|(line, _)| *line < event.line);
        if let Some((_, role)) = sides.get(next).filter(|(line, _)| line - event.line <= CONNECTION) {
            event.role = Some(*role);
        }
    }
}

/// The role of a line's writer in its session, and the connection that the line is about.
fn place(format: Option<&'static Format>, line: &[u8]) -> (Option<Role>, Option<u64>) {
    let Some(format) = format else { return (None, None) };
    let hash = |name: &[u8]| {
        let mut hasher = std::hash::DefaultHasher::new();
        name.hash(&mut hasher);
        hasher.finish()
    };
    (Some(format.role_in(line)), format.connection_in(line).map(hash))
}

pub(crate) fn starts_level(line: &[u8]) -> bool {
    [&b"ERROR: "[..], b"WARNING: ", b"INFO: ", b"DEBUG: ", b"CRITICAL: "].iter().any(|level| line.starts_with(level))
}

/// The meaning of a line: its most specific words.
fn reading(line: &[u8], first: Range<usize>, pattern: usize) -> Option<Reading> {
    let read = |place: Range<usize>, pattern: usize| {
        let (word, mark) = SEARCH.marks[pattern];
        sign::read(mark, word, line, place)
    };
    // The line of a step has no other meaning. But a line about a success may also report an exception, and one that names the target may
    // also report the result.
    let open = |sign: Sign| sign.is_trouble() || sign.is(Step::Succeeds) || sign.is(Step::Reaches);
    let plain = |reading: &Reading| !open(reading.sign);
    if let Some(step) = read(first, pattern).filter(plain) {
        return Some(step);
    }
    let all = SEARCH.automaton.find_overlapping_iter(line);
    let all = all.filter_map(|hit| read(hit.range(), hit.pattern().as_usize()));
    // Of equals the first counts.
    let best = all.reduce(|best, next| if next.telling() > best.telling() { next } else { best });
    best.map(|best| sign::beside(best, line))
}
