//! Interprets observations.
//!
//! Other crates observe [`fact`]s and, after a failure, a [`signal`]. Only the [`judge`] names a cause: it lists the causes that could
//! explain the signal, and excludes those that the facts contradict. All of its rules are data in `causes/`, one file per cause, and its
//! confidence is computed from them.
//!
//! This crate links no TLS library, opens no file, and reads neither the clock nor the environment.

pub mod cause;
pub mod derive;
pub mod explain;
pub mod fact;
pub mod finding;
pub mod judge;
pub mod shell;
pub mod signal;
pub mod spelling;
pub mod verdict;
pub mod vocabulary;

pub use cause::{Cause, Entry, SeeAlso, Step};
pub use fact::{Fact, Facts};
pub use finding::{ErrorInfo, Finding, Notes, Outcome, Remedy, in_words};
pub use judge::{Alternative, Judgement};
pub use signal::{Shown, Signal};
pub use verdict::Verdict;
pub use vocabulary::{CertificateRole, Component, Confidence, Layer, Status};
