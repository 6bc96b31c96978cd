//! What an observation means.
//!
//! Whoever observes gives [`fact`]s and, where something failed, a [`signal`]. The [`judge`] is the only place that names a
//! cause: it lists what could explain the signal, rules out what the facts exclude, and says what is left. All of its rules
//! are data, in `causes/`, one file for each cause, and its confidence is computed from them.
//!
//! This crate links no TLS library, opens no file, and reads neither clock nor environment.

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
