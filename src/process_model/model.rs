//! Messages to and from the process that tests a process model.

use std::collections::BTreeMap;
use std::ffi::OsString;

use nssight_probes::Target;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::models::{Model, Step};

/// The input of the process that tests a model; the bytes of the password follow.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) model: Model,
    /// The database argument as passed to NSS.
    pub(crate) database: OsString,
    pub(crate) nickname: Option<String>,
    /// Length of the password.
    pub(crate) password: Option<usize>,
    /// A child that is silent for this long hangs.
    pub(crate) patience_ms: u64,
    /// Number of children for models with a race.
    pub(crate) repeats: u32,
    /// Target of the handshakes, if requested.
    pub(crate) network: Option<Target>,
}

/// The process or thread of a step.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Who {
    /// The process that was started, before any fork or thread.
    Parent,
    /// Another thread of this process.
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

/// One line of the test process's output.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Line {
    /// A step begins; if no further line follows, the process hung or crashed in this step.
    Begin(Who, Step),
    /// A step is done; `random` has the bytes that it drew.
    Done { who: Who, step: Step, error: Option<Trouble>, random: Option<String> },
    /// A child ended: with an exit code, by a signal, or killed because it hung.
    Ended(u32, Ending),
    /// The environment of a process: ids, limits, descriptors.
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
    /// By a signal that nssight did not send.
    Signal(i32),
    /// It was killed because the client sent nothing for too long.
    Hung,
}
