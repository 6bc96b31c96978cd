//! What a line can say, and the words by which it is recognised. What went wrong is a signal of the catalogue, in whichever
//! of its spellings; what happens in every request is said by a few programs only, in the words of their formats.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use nssight_diagnosis::signal::{CODES, Code, Family, Library, Signal, TEXTS, signal};
use schemars::JsonSchema;
use serde::Serialize;

use crate::format::STEPS;

/// Who wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Nobody that is known.
    Unknown,
    /// A client of a deployment with a bridge, or its parent process.
    Client,
    /// The bridge.
    Bridge,
    /// The server behind the bridge.
    Server,
    /// Another TLS server: what it says is about its clients.
    Peer,
    /// Another TLS client.
    Tool,
    /// A report of nssight.
    Nssight,
}

impl Role {
    /// Whether it is at the client's end of a session, as far as is known.
    pub(crate) fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Tool | Self::Unknown)
    }
}

/// What happens in every attempt, and what says whose lines follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// Its writer begins to serve somebody.
    Begins,
    /// It accepted the client.
    Accepts,
    /// It read the request.
    Reads,
    /// It works on the request.
    Starts,
    /// A certificate was looked for by its nickname.
    LooksUp,
    /// It has done with the request.
    Ends,
    /// What follows is the child's.
    ChildFollows,
    /// What follows is the process's own.
    OwnFollows,
}

/// What a line says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// Nothing that went wrong.
    Step(Step),
    /// What went wrong, in its writer's view.
    Shown(Signal),
}

impl Sign {
    /// Whether it is this.
    pub(crate) fn is(self, step: Step) -> bool {
        self == Self::Step(step)
    }

    /// What went wrong.
    pub(crate) fn shown(self) -> Option<Signal> {
        match self {
            Self::Shown(signal) => Some(signal),
            Self::Step(_) => None,
        }
    }

    /// Whether something went wrong.
    pub(crate) fn is_trouble(self) -> bool {
        self.shown().is_some()
    }

    /// An end of file or a reset, which says that the other side went and nothing else.
    pub(crate) fn is_end(self) -> bool {
        self.shown().is_some_and(|signal| signal.row().family == Family::End)
    }

    /// Words that any program of a host may write: they count in the log of a known writer only. A library's own name or
    /// number for an error is nobody else's word.
    pub(crate) fn is_anybodys(self) -> bool {
        self.shown().is_some_and(|signal| {
            matches!(signal.row().family, Family::Local | Family::Network | Family::Request | Family::Silence)
        })
    }
}

/// How what stands at a mark is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A word of this one meaning, spelled like this.
    Step(Step),
    /// A phrase of the catalogue, in any case.
    Phrase(Signal),
    /// A name around `_ERROR`.
    Name,
    /// A negative number behind it.
    Number,
    AlertNumber,
    VerifyNumber,
}

/// Words that are sought beside the catalogue's phrases.
const WORDS: &[(&str, Mark)] = &[
    ("_ERROR", Mark::Name),
    ("rror (-", Mark::Number),
    ("rror -", Mark::Number),
    ("rror code: -", Mark::Number),
    ("alert number ", Mark::AlertNumber),
    ("erify return code: ", Mark::VerifyNumber),
    ("erify error:num=", Mark::VerifyNumber),
];

/// Everything that is sought, and what each of it is. The catalogue's phrases are in lower case.
pub(crate) fn marks() -> impl Iterator<Item = (&'static str, Mark)> {
    let phrases = TEXTS.iter().filter(|(_, signal)| *signal != signal::NOTHING_WRONG);
    let steps = STEPS.iter().map(|(word, step)| (*word, Mark::Step(*step)));
    WORDS.iter().copied().chain(steps).chain(phrases.map(|(text, signal)| (*text, Mark::Phrase(*signal))))
}

/// The names that NSPR, NSS and libssl have for errors. OpenSSL has names with `_ERROR` in them that tell nothing.
static NAMES: LazyLock<HashMap<&'static str, Signal>> = LazyLock::new(|| {
    let of_nss = |code: &&Code| matches!(code.library, Library::Nspr | Library::Nss | Library::Ssl);
    let wrong = CODES.iter().filter(of_nss).filter(|code| code.signal != signal::NOTHING_WRONG);
    wrong.map(|code| (code.name, code.signal)).collect()
});

/// What was read at a mark, and how telling it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sign: Sign,
    /// By a library's name or number, not in a program's own words.
    pub(crate) by_code: bool,
    length: usize,
}

impl Reading {
    /// Where a line has several, the greatest counts: what went wrong before what happens in every request, a code before a
    /// phrase, a long phrase before a short one. An end of file comes last, for it is what all the others bring about.
    pub(crate) fn telling(self) -> impl Ord {
        (self.sign.is_trouble(), !self.sign.is_end(), self.by_code, self.length)
    }
}

/// Reads what stands at a mark of a line.
pub(crate) fn read(mark: Mark, word: &str, line: &[u8], Range { start, end }: Range<usize>) -> Option<Reading> {
    let number = |most: usize| {
        let digits: Vec<u8> = line[end..].iter().copied().take_while(u8::is_ascii_digit).take(most).collect();
        std::str::from_utf8(&digits).ok()?.parse::<i32>().ok()
    };
    let signal = match mark {
        Mark::Step(step) => {
            let spelled = &line[start..end] == word.as_bytes();
            return spelled.then_some(Reading { sign: Sign::Step(step), by_code: false, length: word.len() });
        }
        Mark::Phrase(signal) => {
            return Some(Reading { sign: Sign::Shown(signal), by_code: false, length: word.len() });
        }
        Mark::Number => {
            let code = -number(6)?;
            Signal::of_nss(Some(code).filter(|code| (-12999..=-5000).contains(code))?)
        }
        Mark::AlertNumber => Signal::of_alert(u8::try_from(number(3)?).ok()?),
        Mark::VerifyNumber => {
            let code = number(4)?;
            Signal::of_code(Library::Verify, code.into()).unwrap_or(signal::VERIFY_ERROR)
        }
        Mark::Name => {
            let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
            let from = line[..start].iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at + 1);
            let to = line[end..].iter().position(|byte| !is_name(byte)).map_or(line.len(), |at| end + at);
            *NAMES.get(std::str::from_utf8(&line[from..to]).ok()?)?
        }
    };
    let reading = Reading { sign: Sign::Shown(signal), by_code: true, length: end - start };
    Some(reading).filter(|_| signal != signal::NOTHING_WRONG)
}
