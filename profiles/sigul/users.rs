//! Whether the account under which a daemon is configured to run exists.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use nix::unistd::{Group, User};
use nssight_sigul::config::{Setting, SigulConfig};

/// A directory service that does not answer within this time is ignored.
const PATIENCE: Duration = Duration::from_secs(2);

/// A mistake in `unix-user` or `unix-group`: a daemon with an unknown account does not start.
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
    // If no account has this name, Sigul takes a number as the account itself, whether or not it has a name.
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
        // After a failed lookup the account may exist.
        Ok(Ok(true) | Err(_)) | Err(_) => Ok(()),
    }
}
