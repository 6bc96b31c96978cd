//! Whether the account that a daemon is told to run as is there.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Group, User};
use nssight_sigul::config::{Setting, SigulConfig};

/// A directory service that does not answer by then is not waited for, and nothing is said.
const PATIENCE: Duration = Duration::from_secs(2);

/// What is wrong with `unix-user` or `unix-group`: a daemon whose account is not known does not start.
pub(crate) fn check(config: &SigulConfig) -> Result<(), String> {
    let user = |name: &str| User::from_name(name).map(|found| found.is_some());
    let group = |name: &str| Group::from_name(name).map(|found| found.is_some());
    known(config.unix_user.as_ref(), "unix-user", "user", user)?;
    known(config.unix_group.as_ref(), "unix-group", "group", group)
}

fn known(
    setting: Option<&Setting<String>>,
    key: &str,
    kind: &str,
    look_up: impl FnOnce(&str) -> nix::Result<bool> + Send + 'static,
) -> Result<(), String> {
    let Some(setting) = setting else { return Ok(()) };
    // Where no account has this name, Sigul takes a number for the account itself, whether or not it has a name.
    if setting.value.trim().parse::<i64>().is_ok() {
        return Ok(());
    }
    let (told, answer) = mpsc::channel();
    let name = setting.value.clone();
    if thread::Builder::new().spawn(move || told.send(look_up(&name))).is_err() {
        return Ok(());
    }
    match answer.recv_timeout(PATIENCE) {
        Ok(Ok(false)) => {
            let name = setting.value.escape_debug();
            Err(format!("{}: key \"{key}\": there is no {kind} \"{name}\" on this host", setting.origin))
        }
        // What cannot be looked up is not known to be absent.
        Ok(Ok(true) | Err(_)) | Err(_) => Ok(()),
    }
}
