//! One pass over a log: the buffer is searched for all words at once, and only lines that have one are looked at.

use std::collections::HashMap;
use std::io::{ErrorKind, Read};
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind, MatchKind};
use nssight_nss::ErrorCode;

use super::line::{self, When};
use super::sign::{Mark, Role, Sign, WORDS};

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
pub(super) struct Event {
    pub(super) line: u64,
    pub(super) when: Option<When>,
    pub(super) role: Option<Role>,
    /// Announced as the child's.
    pub(super) child: bool,
    pub(super) sign: Sign,
    pub(super) text: Text,
}

/// The beginning of a line, kept without an allocation: most are never shown.
#[derive(Clone)]
pub(super) struct Text {
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
    pub(super) fn ends_a_run(&self) -> bool {
        let last_words = [&b"ERROR: "[..], b"Error: ", b"nss.error.NSPRError"];
        last_words.iter().any(|words| self.as_bytes().starts_with(words))
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
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
pub(super) struct Scanned {
    pub(super) name: String,
    pub(super) role: Role,
    pub(super) bytes: u64,
    pub(super) count: u64,
    pub(super) events: Vec<Event>,
    /// Times of ends of file, for a heartbeat.
    pub(super) ends: Vec<When>,
    pub(super) notes: Vec<String>,
}

impl Scanned {
    pub(super) fn new(name: &str) -> Self {
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

/// The words that are sought, as `grep -E` would take them; for measuring against it.
pub fn patterns() -> Vec<&'static str> {
    WORDS.iter().map(|(word, _)| *word).collect()
}

static SEARCH: LazyLock<AhoCorasick> = LazyLock::new(|| {
    let words = WORDS.iter().map(|(word, _)| word);
    // The words are constants; a test builds this.
    AhoCorasick::builder()
        .match_kind(MatchKind::Standard)
        .kind(Some(AhoCorasickKind::DFA))
        .build(words)
        .expect("the words can be sought")
});

static CODES: LazyLock<HashMap<String, ErrorCode>> = LazyLock::new(|| {
    let named = crate::explain::names().into_iter();
    named
        .filter_map(|(_, name, code)| Some((name, i32::try_from(code?).ok()?)))
        .filter(|(_, code)| *code < -5000)
        .map(|(name, code)| (name, ErrorCode(code)))
        .collect()
});

pub(super) fn scan(name: &str, mut input: impl Read) -> Scanned {
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
        while let Some(hit) = bytes.get(at..).and_then(|rest| SEARCH.find(rest)) {
            let start = memchr::memrchr(b'\n', &bytes[..at + hit.start()]).map_or(0, |end| end + 1);
            let end = memchr::memchr(b'\n', &bytes[at + hit.end()..]).map_or(bytes.len(), |far| at + hit.end() + far);
            self.line += memchr::memchr_iter(b'\n', &bytes[counted..start]).count() as u64;
            counted = start;
            let line = &bytes[start..end];
            self.hit(&line[..line.len().min(LINE)], hit.pattern().as_usize());
            at = end + 1;
        }
        self.line += memchr::memchr_iter(b'\n', &bytes[counted..]).count() as u64;
    }

    /// The beginning of a line that is too long.
    fn part(&mut self, line: &[u8]) {
        if let Some(hit) = SEARCH.find(line) {
            self.hit(line, hit.pattern().as_usize());
        }
    }

    fn hit(&mut self, line: &[u8], first: usize) {
        let Some(sign) = sign(line, first) else { return };
        let announces = matches!(sign, Sign::ChildContext | Sign::OwnContext);
        if !sign.is_trouble() && !announces && sign != Sign::NicknameLookup {
            return self.routine(line, sign);
        }
        let when = line::when(line);
        let role = line::role(line);
        let own_head = when.is_some() || starts_level(line);
        if announces {
            self.context = Some((sign == Sign::ChildContext, when, self.line + TRACEBACK));
        } else if own_head {
            self.context = None;
        }
        let context = self.context.filter(|(_, _, until)| !own_head && self.line <= *until);
        let child = context.is_some_and(|(child, _, _)| child)
            || sign == Sign::OursExpired
            || memchr::memmem::find(line, b"(child)").is_some();
        let when = when.or(context.and_then(|(_, when, _)| when));
        if let (Some(when), true) = (when, sign.is_end() && self.out.ends.len() < ENDS) {
            self.out.ends.push(when);
        }
        if !self.named {
            self.recognise(sign, role);
        }
        self.keep(Event { line: self.line, when, role, child, sign, text: Text::new(line) });
    }

    /// What every request writes is most of a log, and most of it is overwritten: its time and writer are read at the end.
    fn routine(&mut self, line: &[u8], sign: Sign) {
        self.context = None;
        if !self.named {
            self.recognise(sign, line::role(line));
        }
        self.keep(Event { line: self.line, when: None, role: None, child: false, sign, text: Text::new(line) });
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

    /// Whose log it is, by what only one of them writes.
    fn recognise(&mut self, sign: Sign, role: Option<Role>) {
        let found = match (sign, role) {
            (_, Some(role)) => role,
            (Sign::WaitsForServer | Sign::WaitsForClient | Sign::ClientConnected, _) => Role::Bridge,
            (Sign::WaitsForRequest | Sign::Started, _) => Role::Server,
            (Sign::Alert(_) | Sign::Verify(_), _) => Role::Tool,
            (Sign::NsprEof | Sign::NsprReset | Sign::WrongPassword | Sign::OursExpired | Sign::NoDatabase, _) => {
                Role::Client
            }
            _ => return,
        };
        self.out.role = found;
        self.named = true;
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

/// What a line says: the most telling of its words.
fn sign(line: &[u8], first: usize) -> Option<Sign> {
    // The line of a routine message has nothing else to say.
    if let Mark::Plain(sign) = WORDS[first].1
        && !sign.is_trouble()
    {
        return Some(sign);
    }
    let mut best: Option<(usize, Sign)> = None;
    for hit in SEARCH.find_overlapping_iter(line) {
        let index = hit.pattern().as_usize();
        if best.is_some_and(|(known, _)| known <= index) {
            continue;
        }
        if let Some(sign) = read(WORDS[index].1, line, hit.start(), hit.end()) {
            best = Some((index, sign));
        }
    }
    best.map(|(_, sign)| sign)
}

fn read(mark: Mark, line: &[u8], start: usize, end: usize) -> Option<Sign> {
    let number = |most: usize| {
        let digits: Vec<u8> = line[end..].iter().copied().take_while(u8::is_ascii_digit).take(most).collect();
        std::str::from_utf8(&digits).ok()?.parse::<i32>().ok()
    };
    Some(match mark {
        Mark::Plain(sign) => sign,
        Mark::Number => {
            let code = -number(6)?;
            if !(-12999..=-5000).contains(&code) {
                return None;
            }
            Sign::Code(ErrorCode(code))
        }
        Mark::AlertNumber => Sign::Alert(u8::try_from(number(3)?).ok()?),
        Mark::VerifyNumber => match u16::try_from(number(4)?).ok()? {
            0 => return None,
            code => Sign::Verify(code),
        },
        Mark::Name => {
            let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
            let from = line[..start].iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at + 1);
            let to = line[end..].iter().position(|byte| !is_name(byte)).map_or(line.len(), |at| end + at);
            Sign::Code(*CODES.get(std::str::from_utf8(&line[from..to]).ok()?)?)
        }
    })
}
