//! The worker: a child of the same binary that does everything with NSS in it, so that a crash or a hang inside NSS
//! is a finding and not the end of the tool.
//!
//! It reads one line of JSON and then the password's bytes from standard input, and writes one line of JSON a message
//! to standard output.

use std::io::{self, BufRead, Read, Write};
use std::process::ExitCode;

use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Finding, Layer, Observer, Plan, Settings, Target, Walk};
use serde::{Deserialize, Serialize};

use crate::exit;

/// What the worker is told.
#[derive(Serialize, Deserialize)]
pub(crate) struct Task {
    pub(crate) target: Target,
    pub(crate) until: Layer,
    pub(crate) excluded: Vec<Layer>,
    /// Form and length of the password that follows the line.
    pub(crate) password: Option<(PasswordForm, usize)>,
}

/// What the worker tells.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Message {
    /// Before anything is done in the layer.
    Entering(Layer),
    /// The layer is done.
    Found(Box<Finding>),
    /// Something was on the wire.
    Wire(WireEvent),
    /// So many TCP connections were opened so far.
    Connected(u32),
    /// The walk is over; an end of the stream without this is a crash.
    Done,
}

/// A password is at most as long as the file it is read from.
const PASSWORD_AT_MOST: usize = nssight_probes::password_file::READ_AT_MOST;

pub(crate) fn run() -> ExitCode {
    protect();
    // Dies with its parent, whatever ends that one.
    let _ = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL));
    let (task, password) = match receive() {
        Ok(received) => received,
        Err(error) => return exit::usage(format!("the worker is started by nssight itself: {error}")),
    };
    let plan = match Plan::new(Some(task.until), task.excluded) {
        Ok(plan) => plan,
        Err(error) => return exit::usage(error),
    };
    let settings = Settings::of(task.target);
    let mut walk = Walk::new(&settings, password);
    walk.run(&plan, |layer| layer != Layer::Config, &mut Pipe);
    Pipe.say(&Message::Done);
    ExitCode::SUCCESS
}

/// No core dump, and no look into the memory for other processes of the same user.
pub(crate) fn protect() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

fn receive() -> io::Result<(Task, Option<Password>)> {
    let mut input = io::stdin().lock();
    let mut line = String::new();
    input.by_ref().take(1024 * 1024).read_line(&mut line)?;
    let task: Task = serde_json::from_str(&line)?;
    let password = match task.password {
        Some((form, length)) if length <= PASSWORD_AT_MOST => {
            let mut bytes = vec![0u8; length];
            input.read_exact(&mut bytes)?;
            Some(Password::new(form, bytes))
        }
        Some(_) => return Err(io::Error::other("the password is too long")),
        None => None,
    };
    Ok((task, password))
}

struct Pipe;

impl Pipe {
    /// A parent that is gone takes the worker with it; there is nobody to tell.
    fn say(&mut self, message: &Message) {
        let mut out = io::stdout().lock();
        if let Ok(mut line) = serde_json::to_vec(message) {
            line.push(b'\n');
            let _ = out.write_all(&line).and_then(|()| out.flush());
        }
    }
}

impl Observer for Pipe {
    fn entering(&mut self, layer: Layer) {
        self.say(&Message::Entering(layer));
    }

    fn found(&mut self, finding: &Finding) {
        self.say(&Message::Found(Box::new(finding.clone())));
    }

    fn seen(&mut self, event: &WireEvent) {
        self.say(&Message::Wire(event.clone()));
    }

    fn connected(&mut self, connections: u32) {
        self.say(&Message::Connected(connections));
    }
}
