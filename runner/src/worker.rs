//! The worker: a child of the same binary that does everything with NSS in it, so that a crash or a hang inside NSS
//! is a finding and not the end of the tool.
//!
//! From standard input it reads the length of its task (4 bytes, big-endian), the task as JSON, and the passwords' bytes;
//! to standard output it writes one line of JSON per message.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use nssight_diagnosis::{Finding, Layer};
use nssight_nss::{Nss, library};
use nssight_nssdb::Format;
use nssight_nssdb::directory::parse_argument;
use nssight_nssdb::modules::listed;
use nssight_probes::kept::{Kept, Key};
use nssight_probes::password_file::READ_AT_MOST;
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Observer, Plan, SeenCertificate, SeenRevocationList, Settings, Target, Walk};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::passwords::Passwords;

/// The task of a worker.
#[derive(Serialize, Deserialize)]
pub struct Task {
    /// What is checked.
    pub target: Target,
    /// The last layer of the plan.
    pub until: Layer,
    /// Layers that are left out.
    pub excluded: Vec<Layer>,
    /// Where a private copy of the database is made, if one is needed; the parent removes what is left there.
    pub copy_to: PathBuf,
    /// Time left for the whole check.
    pub time: Option<Duration>,
    /// There may be another check, for which a database can stay open.
    pub is_kept: bool,
    /// Form and length of the password that follows the task.
    pub password: Option<(PasswordForm, usize)>,
    /// Form and length of the administrator's password, which follows the other one.
    pub admin_password: Option<(PasswordForm, usize)>,
}

/// A message of the worker.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Message {
    /// Before anything is done in the layer.
    Entering(Layer),
    /// The layer is done.
    Found(Box<Finding>),
    /// Something was on the wire.
    Wire(WireEvent),
    /// A certificate was seen.
    Met(SeenCertificate),
    /// A revocation list was found in the database.
    Listed(SeenRevocationList),
    /// The number of TCP connections opened so far.
    Connected(u32),
    /// The check is over; an end of the stream without this message is a crash.
    Done {
        /// Everything of the check was released, NSS included, or kept for the next one: this process can do another check.
        reusable: bool,
    },
}

/// A task is a target; its longest parts are paths.
const TASK_AT_MOST: u64 = 1024 * 1024;
/// A password is at most as long as the file it is read from.
pub const PASSWORD_AT_MOST: usize = READ_AT_MOST;

/// The worker's whole life: a check for each task on standard input, until the input ends.
///
/// # Errors
/// A text, when standard input holds no task.
pub fn run() -> Result<(), String> {
    protect();
    let mut kept = None;
    loop {
        match receive() {
            Ok(Some((task, passwords))) => kept = walk(task, passwords, kept)?,
            Ok(None) => return Ok(()),
            Err(error) => return Err(format!("only nssight itself starts the worker: {error}")),
        }
    }
}

/// One check, with what the previous one has kept for it; returns what it keeps for the next.
fn walk(task: Task, passwords: Passwords, kept: Option<Kept>) -> Result<Option<Kept>, String> {
    let plan = Plan::new(Some(task.until), task.excluded).map_err(|error| error.to_string())?;
    // Before NSS opens it: a database that changes in the meantime has another key afterwards.
    let key = if task.is_kept { Key::of(&task.target, passwords.database.as_ref()) } else { None };
    let kept = kept.filter(|kept| Some(&kept.key) == key.as_ref());
    // If initialised once more, NSS would keep the database that it has. This worker then sends nothing, and another does the task.
    if kept.is_none() && library::is_initialised() {
        return Err("NSS did not release the database of the previous check".to_owned());
    }
    let settings = Settings::of(task.target);
    let mut walk = Walk::new(&settings, passwords.database);
    walk.kept = kept;
    walk.admin_password = passwords.admin;
    walk.copy_to = task.copy_to;
    walk.end = task.time.map(|time| Instant::now() + time);
    walk.run(&plan, |layer| layer != Layer::Config, &mut Pipe);
    let alone = settings.target.as_ref().is_ok_and(only_own_module);
    let kept = key.filter(|_| alone).and_then(|key| walk.keep(key));
    drop(walk);
    let is_given_back = kept.is_some() || !library::is_initialised();
    Pipe.say(&Message::Done { reusable: alone && is_given_back && !Nss::is_worn_out() });
    Ok(kept)
}

/// Whether NSS loads only its own module for this database. Another module may leave something behind at its end, or be unable
/// to start again, which only a fresh process avoids.
fn only_own_module(target: &Target) -> bool {
    if target.files().is_some() {
        return true;
    }
    let (_, directory) = parse_argument(target.argument());
    let directory = PathBuf::from(directory);
    let listed = listed(&directory, Format::Sql).is_ok_and(|all| all.is_empty());
    // Whatever the format that NSS chooses: a directory with a list of the old format gets fresh processes.
    listed && !directory.join("secmod.db").exists()
}

/// Prevents core dumps, and access to the memory by other processes of the same user.
pub fn protect() {
    let none = rustix::process::Rlimit { current: Some(0), maximum: Some(0) };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
}

/// The next task; `None` when there will be no other.
fn receive() -> io::Result<Option<(Task, Passwords)>> {
    // Not through std's stdin: its buffer would keep the password.
    let mut input = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let mut waiting = [PollFd::new(&input, PollFlags::IN)];
    while rustix::event::poll(&mut waiting, None) == Err(Errno::INTR) {}
    if !waiting[0].revents().contains(PollFlags::IN) {
        return Ok(None);
    }
    let task: Task = read_task(&mut input)?;
    let passwords =
        Passwords { database: secret(&mut input, task.password)?, admin: secret(&mut input, task.admin_password)? };
    Ok(Some((task, passwords)))
}

/// A length in 4 bytes, big-endian, and that many bytes of JSON.
pub fn read_task<T: DeserializeOwned>(input: &mut File) -> io::Result<T> {
    let mut length = [0; 4];
    input.read_exact(&mut length)?;
    let mut text = Vec::new();
    input.take(u64::from(u32::from_be_bytes(length)).min(TASK_AT_MOST)).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// Writes what [`read_task`] reads.
pub fn write_task(output: &mut dyn Write, task: &impl Serialize) -> io::Result<()> {
    let text = serde_json::to_vec(task)?;
    let length = u32::try_from(text.len()).map_err(io::Error::other)?;
    output.write_all(&[&length.to_be_bytes()[..], &text].concat())
}

fn secret(input: &mut File, announced: Option<(PasswordForm, usize)>) -> io::Result<Option<Password>> {
    match announced {
        Some((form, length)) if length <= PASSWORD_AT_MOST => {
            let mut bytes = vec![0u8; length];
            input.read_exact(&mut bytes)?;
            Ok(Some(Password::new(form, bytes)))
        }
        Some(_) => Err(io::Error::other("the password is too long")),
        None => Ok(None),
    }
}

struct Pipe;

impl Pipe {
    /// Errors are ignored: if the parent is gone, the worker ends with it, and nothing reads the message.
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

    fn met(&mut self, certificate: &SeenCertificate) {
        self.say(&Message::Met(certificate.clone()));
    }

    fn listed(&mut self, list: &SeenRevocationList) {
        self.say(&Message::Listed(list.clone()));
    }

    fn connected(&mut self, connections: u32) {
        self.say(&Message::Connected(connections));
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use nssight_probes::settings::{Overrides, Request};

    use super::*;

    #[test]
    fn a_database_with_foreign_modules_gets_fresh_processes() {
        let directory = tempfile::tempdir().unwrap();
        let overrides = Overrides { database: Some(directory.path().into()), ..Overrides::default() };
        let request = Request {
            config: None,
            overrides: &overrides,
            password: None,
            until: Layer::NssDb,
            timeout: Duration::from_secs(1),
            home: None,
        };
        let target = Settings::load(&request).0.target.unwrap();
        assert!(only_own_module(&target), "no list at all");
        let list = directory.path().join("pkcs11.txt");
        fs::write(&list, "library=\nname=NSS Internal PKCS #11 Module\n\n").unwrap();
        assert!(only_own_module(&target));
        fs::write(&list, "library=\nname=NSS\n\nlibrary=/usr/lib/opensc-pkcs11.so\nname=OpenSC\n").unwrap();
        assert!(!only_own_module(&target));
        fs::write(&list, "library=\n").unwrap();
        fs::write(directory.path().join("secmod.db"), "").unwrap();
        assert!(!only_own_module(&target));
    }
}
