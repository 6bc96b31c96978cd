//! One pass over a log: the buffer is searched for all words at once, and only lines that have one are looked at.

use std::io::{ErrorKind, Read};
use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};

use crate::line::{self, When};
use crate::sign::{self, Mark, Reading, Role, Routine, Sign};

/// Read at a time.
const BUFFER: usize = 1 << 20;
/// Of a longer line only so much is looked at.
const LINE: usize = 1 << 16;
/// Events kept of one file: the first ones, and the last ones; the rest is counted.
const FIRST: usize = 500;
const LAST: usize = 3500;
/// Lines of a traceback belong to the line that announces it, as long as they are so near.
const TRACEBACK: u64 = 60;

/// A line that says something.
#[derive(Debug, Clone)]
pub(crate) struct Event {
    pub(crate) line: u64,
    pub(crate) when: Option<When>,
    pub(crate) role: Option<Role>,
    /// Announced as the child's.
    pub(crate) child: bool,
    pub(crate) sign: Sign,
    /// It was said by a library's name or number.
    pub(crate) by_code: bool,
    pub(crate) text: Text,
}

/// The beginning of a line, kept without an allocation: most are never shown.
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

    /// Whether it is the last word of a Sigul client's run: what its parent process logs, or the end of its traceback.
    pub(crate) fn ends_a_run(&self) -> bool {
        let last_words = [&b"ERROR: "[..], b"Error: ", b"nss.error.NSPRError"];
        last_words.iter().any(|words| self.as_bytes().starts_with(words))
    }

    /// Whether it is the child's by its own word.
    pub(crate) fn names_child(&self) -> bool {
        names_child(self.as_bytes())
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

/// What one log gave.
#[derive(Debug)]
pub(crate) struct Scanned {
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) bytes: u64,
    pub(crate) count: u64,
    pub(crate) events: Vec<Event>,
    /// Times of ends of file, for a heartbeat.
    pub(crate) ends: Vec<When>,
    pub(crate) notes: Vec<String>,
}

impl Scanned {
    pub(crate) fn new(name: &str) -> Self {
        let role = by_name(name);
        let (events, ends, notes) = (Vec::new(), Vec::new(), Vec::new());
        Self { name: name.to_owned(), role, bytes: 0, count: 0, events, ends, notes }
    }
}

/// Ends of file whose times are kept.
const ENDS: usize = 4096;

/// Whose log a file is by its name alone: `client.log`, `sigul_bridge.log-20261124`, `1-sigul-server-1.log`. A webserver.log
/// or client_golang.log is somebody else's.
fn by_name(name: &str) -> Role {
    let file = name.rsplit(['/', ':']).next().unwrap_or(name).to_lowercase();
    let stem = file.split('.').next().unwrap_or(&file);
    let says_nothing = |word: &&str| *word != "sigul" && !word.bytes().all(|byte| byte.is_ascii_digit());
    let words: Vec<&str> = stem.split(['-', '_']).filter(says_nothing).collect();
    match words.as_slice() {
        ["bridge"] => Role::Bridge,
        ["server"] => Role::Server,
        ["client"] => Role::Client,
        _ if ["tstclnt", "openssl", "s_client", "curl"].iter().any(|tool| file.contains(tool)) => Role::Tool,
        _ => Role::Unknown,
    }
}

/// The words that are sought, in whatever case they stand; for measuring against `grep`.
pub fn patterns() -> Vec<&'static str> {
    sign::marks().map(|(word, _)| word).collect()
}

/// Everything that is sought, at once.
struct Search {
    automaton: AhoCorasick,
    marks: Vec<(&'static str, Mark)>,
}

static SEARCH: LazyLock<Search> = LazyLock::new(|| {
    let marks: Vec<(&'static str, Mark)> = sign::marks().collect();
    // The words are constants; a test builds this.
    let automaton = AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .ascii_case_insensitive(true)
        .build(marks.iter().map(|(word, _)| word))
        .expect("the words can be sought");
    Search { automaton, marks }
});

pub(crate) fn scan(name: &str, mut input: impl Read) -> Scanned {
    let mut scan = Scan { out: Scanned::new(name), ring: 0, line: 1, context: None, named: false, long: false };
    scan.named = scan.out.role != Role::Unknown;
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
            // A line that never ends is looked at in its beginning only.
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
    /// Where the next event goes, once all places are taken.
    ring: usize,
    line: u64,
    /// Whose the lines of a traceback are, when, and up to which line.
    context: Option<(bool, Option<When>, u64)>,
    named: bool,
    /// In the rest of a line that was looked at.
    long: bool,
}

impl Scan {
    /// Whole lines.
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
                self.hit(line, first, hit.pattern().as_usize());
            }
            at = end + 1;
        }
        self.line += memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
    }

    /// The beginning of a line that is too long.
    fn part(&mut self, line: &[u8]) {
        if let Some(hit) = SEARCH.automaton.find(line) {
            self.hit(line, hit.range(), hit.pattern().as_usize());
        }
    }

    fn hit(&mut self, line: &[u8], first: Range<usize>, pattern: usize) {
        let Some(Reading { sign, by_code, .. }) = reading(line, first, pattern) else { return };
        let announces = matches!(sign, Sign::Routine(Routine::ChildContext | Routine::OwnContext));
        if !sign.is_trouble() && !announces && sign != Sign::Routine(Routine::NicknameLookup) {
            return self.routine(line, sign);
        }
        let when = line::when(line);
        let role = line::role(line);
        let own_head = when.is_some() || starts_level(line);
        if announces {
            self.context = Some((sign == Sign::Routine(Routine::ChildContext), when, self.line + TRACEBACK));
        } else if own_head {
            self.context = None;
        }
        let context = self.context.filter(|(_, _, until)| !own_head && self.line <= *until);
        let child = context.is_some_and(|(child, _, _)| child) || names_child(line);
        let when = when.or(context.and_then(|(_, when, _)| when));
        if let (Some(when), true) = (when, sign.is_end() && self.out.ends.len() < ENDS) {
            self.out.ends.push(when);
        }
        if !self.named {
            self.recognise(sign, role, line);
        }
        self.keep(Event { line: self.line, when, role, child, sign, by_code, text: Text::new(line) });
    }

    /// What every request writes is most of a log, and most of it is overwritten: its time and writer are read at the end.
    fn routine(&mut self, line: &[u8], sign: Sign) {
        self.context = None;
        if !self.named {
            self.recognise(sign, line::role(line), line);
        }
        let (when, role, child, by_code) = (None, None, false, false);
        self.keep(Event { line: self.line, when, role, child, sign, by_code, text: Text::new(line) });
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

    /// Whose log it is, by a prefix, or by what only one of them writes.
    fn recognise(&mut self, sign: Sign, role: Option<Role>, line: &[u8]) {
        if let Some(found) = role.or_else(|| sign::writer(sign, line)) {
            self.out.role = found;
            self.named = true;
        }
    }

    fn finish(mut self) -> Scanned {
        if self.out.events.len() == FIRST + LAST {
            self.out.events[FIRST..].rotate_left(self.ring);
        }
        for event in self.out.events.iter_mut().filter(|event| event.when.is_none() && !event.child) {
            event.when = line::when(event.text.as_bytes());
            event.role = line::role(event.text.as_bytes());
        }
        if self.out.ends.len() == ENDS {
            self.out.notes.push(format!("only its first {ENDS} ends of file were looked at for a rhythm"));
        }
        let dropped = self.out.count - self.out.events.len() as u64;
        if dropped > 0 {
            self.out.notes.push(format!("{dropped} lines in its middle were counted and not looked at"));
        }
        self.out
    }
}

fn starts_level(line: &[u8]) -> bool {
    [&b"ERROR: "[..], b"WARNING: ", b"INFO: ", b"DEBUG: ", b"CRITICAL: "].iter().any(|level| line.starts_with(level))
}

fn names_child(line: &[u8]) -> bool {
    memchr::memmem::find(line, b"(child)").is_some()
}

/// What a line says: the most telling of its words.
fn reading(line: &[u8], first: Range<usize>, pattern: usize) -> Option<Reading> {
    let read = |place: Range<usize>, pattern: usize| {
        let (word, mark) = SEARCH.marks[pattern];
        sign::read(mark, word, line, place)
    };
    // The line of a routine message has nothing else to say.
    if let Some(routine) = read(first, pattern).filter(|reading| !reading.sign.is_trouble()) {
        return Some(routine);
    }
    let all = SEARCH.automaton.find_overlapping_iter(line);
    let all = all.filter_map(|hit| read(hit.range(), hit.pattern().as_usize()));
    // Of equals the first counts.
    all.reduce(|best, next| if next.telling() > best.telling() { next } else { best })
}
