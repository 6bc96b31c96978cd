//! Maps the calls of a traced program to the layers of a check.
//!
//! Events become a story (processes, sessions, calls), and the story becomes findings with facts and signals. These
//! findings are merged with those of a check of the program's configuration, and judged by the same rules.

mod address;
mod against;
mod differences;
mod document;
mod layers;
mod local;
mod merge;
mod overcome;
mod process;
mod session;
mod story;

pub use against::{Against, Pair, Side};
pub use document::{Difference, FailedCall, ProcessSummary, Program, SessionSummary, TimelineEntry, TraceReport};
pub use merge::merge;
pub use story::Story;

/// How the traced program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// The exit status, if the program ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Ending {
    /// Whether the program itself reports a failure.
    pub fn is_bad(self) -> bool {
        self.exit != Some(0)
    }

    /// Whether it was ended from outside: SIGHUP, SIGINT, SIGQUIT, SIGKILL or SIGTERM (signal(7)), or the exit codes of a shell and
    /// timeout(1) for these.
    pub fn is_interrupted(self) -> bool {
        const SIGNALS: [i32; 5] = [1, 2, 3, 9, 15];
        const OF_TIMEOUT: i32 = 124;
        let by = |signal: i32| SIGNALS.contains(&signal);
        self.signal.is_some_and(by) || self.exit.is_some_and(|code| code == OF_TIMEOUT || by(code - 128))
    }

    /// Whether an alarm that it had set itself ended it.
    pub fn is_its_own_deadline(self) -> bool {
        const ALARM: i32 = 14;
        self.signal == Some(ALARM) || self.exit == Some(128 + ALARM)
    }
}
