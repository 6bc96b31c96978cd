//! Runs checks: the worker that does the NSS work of one, its supervisor, deadlines, retries, and the targets of a file.

pub mod copies;
pub mod crew;
pub mod lines;
pub mod passwords;
pub mod retries;
pub mod stop;
pub mod supervisor;
pub mod targets;
pub mod tool;
pub mod turns;
pub mod walk;
pub mod worker;
