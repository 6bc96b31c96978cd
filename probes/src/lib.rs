//! Settings, plan and probes: what is observed about each layer.
//!
//! Data moves in one direction: settings → plan → probes → findings → judge → report. A probe neither draws conclusions nor prints; it
//! returns facts and, after a failure, a signal. Only `nssight-diagnosis` interprets them.

pub mod ask;
pub mod certificates;
pub(crate) mod client_certificate;
pub mod credentials;
pub mod error_info;
pub mod expiry;
pub mod files;
mod flow;
mod hosts;
mod icmp;
pub mod kept;
pub mod modules;
pub mod open_session;
pub mod openssl_configuration;
mod own_copies;
pub mod password_file;
pub mod peer_argument;
mod peer_name;
pub mod plan;
mod policy;
pub mod private_copy;
pub mod probe;
pub mod profile;
mod proxy;
pub mod reception;
pub mod report;
pub mod resources;
pub mod revocation_lists;
pub mod run;
pub mod secret;
pub mod session_facts;
pub mod settings;
mod sockets;
pub mod starttls;
mod system_authorities;
pub mod target;
mod token;
pub mod trust_store;
pub mod walk;
pub mod wire;
pub mod x509;

pub use certificates::SeenCertificate;
pub use plan::{Plan, PlanError};
pub use profile::Profile;
pub use report::Report;
pub use revocation_lists::SeenRevocationList;
pub use run::Observer;
pub use settings::Settings;
pub use target::Target;
pub use walk::{Probe, Walk};
