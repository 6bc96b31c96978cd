//! Layers, plan, probes, and the diagnosis with its catalogue of causes.
//!
//! Data moves one way: settings → plan → probes → findings → diagnosis → report. A probe does not print, a report does
//! not probe, and a diagnosis reads findings only.

pub mod catalogue;
pub mod certificates;
pub mod diagnosis;
pub mod explain;
pub mod finding;
pub mod handshake;
pub mod modules;
pub mod password_file;
pub mod plan;
pub mod private_copy;
pub mod probe;
pub mod report;
pub mod secret;
mod session_notes;
pub mod settings;
pub mod shell;
pub mod target;
pub mod trace;
pub mod triage;
pub mod tunnel;
pub mod vocabulary;
pub mod walk;
pub mod wire;
pub mod x509;

pub use catalogue::Cause;
pub use certificates::SeenCertificate;
pub use diagnosis::{Verdict, diagnose};
pub use finding::{ErrorInfo, Evidence, Finding, Remedy};
pub use plan::{PROBES, Plan, PlanError};
pub use report::Report;
pub use settings::Settings;
pub use target::Target;
pub use vocabulary::{CertificateRole, Component, Confidence, Layer, Outcome, Status};
pub use walk::{Observer, Walk};
