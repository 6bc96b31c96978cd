//! The meanings of a line, and the words by which they are recognised. A failure is a signal of the catalogue, in any of its spellings;
//! events of every request have the specific messages of a few programs, from their formats.

use std::ops::Range;

use nssight_diagnosis::signal::{Family, Signal, TOGETHER};
use nssight_diagnosis::spelling::{self, Spelling};
use schemars::JsonSchema;
use serde::Serialize;

use crate::format::STEPS;

/// The program that wrote a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// An unknown program.
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
    /// Whether it is at the client's end of a session, if known.
    pub(crate) fn is_client(self) -> bool {
        matches!(self, Self::Client | Self::Tool | Self::Unknown)
    }
}

/// Events of every attempt, and lines that identify the writer of the next lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The program starts to serve a connection.
    Begins,
    /// The bridge waits for the client.
    Waits,
    /// The bridge accepted the client.
    Accepts,
    /// The bridge read the request.
    Reads,
    /// The server processes the request.
    Starts,
    /// A certificate lookup by nickname.
    LooksUp,
    /// The program finished the request.
    Ends,
    /// The operation succeeded.
    Succeeds,
    /// The line names the address of a connection.
    Reaches,
    /// The next lines come from the child process.
    ChildFollows,
    /// The next lines come from the process itself.
    OwnFollows,
}

/// The meaning of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Sign {
    /// An event that is not a failure.
    Step(Step),
    /// The error, from the writer's point of view.
    Shown(Signal),
}

impl Sign {
    /// Whether this is the given step.
    pub(crate) fn is(self, step: Step) -> bool {
        self == Self::Step(step)
    }

    /// The error.
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

    /// An end of file or a reset, which only means that the other side disconnected.
    pub(crate) fn is_end(self) -> bool {
        self.shown().is_some_and(|signal| signal.row().family == Family::End)
    }

    /// Whether any program of a host may write this message: then it only counts in the log of a known writer. A library's own name or
    /// number for an error is unambiguous.
    pub(crate) fn is_generic(self) -> bool {
        self.shown().is_some_and(|signal| {
            matches!(signal.row().family, Family::Local | Family::Network | Family::Request | Family::Silence)
        })
    }
}

/// How to read the text at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A word of a format with exactly this spelling.
    Step(Step),
    /// The error, in one of its notations.
    Spelled(spelling::Mark),
}

/// Every string to search for, with its meaning.
pub(crate) fn marks() -> impl Iterator<Item = (&'static str, Mark)> {
    let steps = STEPS.iter().map(|(word, step)| (*word, Mark::Step(*step)));
    steps.chain(spelling::marks().map(|(word, mark)| (word, Mark::Spelled(mark))))
}

/// The number or text that was read at a mark, and how specific it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reading {
    pub(crate) sign: Sign,
    /// It was a library's name or number, not a message of a program.
    pub(crate) by_code: bool,
    spelling: Option<Spelling>,
}

impl Reading {
    /// The order of several items in a line, the greatest of which counts: a failure outranks an event of every attempt.
    pub(crate) fn telling(self) -> impl Ord {
        self.spelling.map(Spelling::telling)
    }
}

/// Reads the text at a mark of a line.
pub(crate) fn read(mark: Mark, word: &str, line: &[u8], place: Range<usize>) -> Option<Reading> {
    match mark {
        Mark::Step(step) => {
            let spelled = &line[place] == word.as_bytes();
            spelled.then_some(Reading { sign: Sign::Step(step), by_code: false, spelling: None })
        }
        Mark::Spelled(mark) => {
            let read = spelling::read(mark, line, place)?;
            Some(Reading { sign: Sign::Shown(read.signal), by_code: read.by_code, spelling: Some(read) })
        }
    }
}

/// The meaning of a line together with its other words.
pub(crate) fn beside(reading: Reading, line: &[u8]) -> Reading {
    let Sign::Shown(found) = reading.sign else { return reading };
    let means = if TOGETHER.iter().any(|it| it.signal == found) {
        spelling::beside(found, &String::from_utf8_lossy(line).to_ascii_lowercase())
    } else {
        found
    };
    Reading { sign: Sign::Shown(means), ..reading }
}
