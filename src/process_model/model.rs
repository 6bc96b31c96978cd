//! Messages to and from the process that tests a process model.

use std::collections::BTreeMap;
use std::ffi::OsString;

use nssight_probes::Target;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::{Model, Step};

/// What the process that tries a model is told; the password's bytes follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) model: Model,
    /// As NSS is told it.
    pub(crate) database: OsString,
    pub(crate) nickname: Option<String>,
    /// Length of the password.
    pub(crate) password: Option<usize>,
    /// A child that says nothing for so long hangs.
    pub(crate) patience_ms: u64,
    /// Children of models that race.
    pub(crate) repeats: u32,
    /// Where the handshakes go, if they are to be tried.
    pub(crate) network: Option<Target>,
}

/// Whose steps these are.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    /// The process that was started, before anything special.
    Parent,
    /// Another thread of it.
    Thread,
    /// A child, by its number.
    Child(u32),
    /// The parent, after the children.
    Again,
}

/// An error in JSON output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Trouble {
    pub(crate) code: i64,
    pub(crate) name: String,
    pub(crate) text: String,
    /// Whether the connection to the peer failed, or the peer closed or did not answer; this says nothing about processes.
    #[serde(default)]
    pub(crate) transport: bool,
}

/// One line of what the trying process tells.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    /// A step begins; if nothing more is heard, it hung or crashed in it.
    Begin(Who, Step),
    /// A step is done; `random` has the bytes it drew.
    Done { who: Who, step: Step, error: Option<Trouble>, random: Option<String> },
    /// A child ended: by itself, by a signal, or killed because it hung.
    Ended(u32, Ending),
    /// What surrounds a process: ids, limits, descriptors.
    Context(Who, BTreeMap<String, String>),
    /// The model is over.
    Over,
}

/// How a process ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Ending {
    /// With an exit code.
    Code(i32),
    /// By a signal of its own.
    Signal(i32),
    /// It was killed because the client sent nothing for too long.
    Hung,
}
