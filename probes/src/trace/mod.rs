//! What a traced program did, told in the layers and causes of a diagnosis.
//!
//! Events become a story (processes, sessions, calls), a story becomes findings, and findings are judged by the same rules
//! as a walk's.

mod address;
mod against;
mod differences;
mod document;
mod layers;
mod local;
mod process;
mod session;
mod story;

pub use against::{Against, Pair, Side};
pub use document::{Difference, FailedCall, ProcessSummary, Program, SessionSummary, TimelineEntry, TraceReport};
pub use layers::merge;
pub use story::Story;

/// How the traced program ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ending {
    /// Its exit status, if it ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
}

impl Ending {
    /// Whether the program itself says that something went wrong.
    pub fn is_bad(self) -> bool {
        self.exit != Some(0)
    }
}
