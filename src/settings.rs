//! Derives the settings and the password of a target from the options.

use std::ffi::OsStr;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nssight_diagnosis::Layer;
use nssight_inventory::load::Loaded;
use nssight_nssdb::PasswordState;
use nssight_probes::secret::Password;
use nssight_probes::settings::{Overrides, Request};
use nssight_probes::target::{PasswordSource, Target};
use nssight_probes::{Plan, Settings};
use nssight_runner::passwords::{self, Passwords};

use crate::cli::{PasswordOptions, WalkedOptions};
use crate::password;

/// The settings to load.
#[derive(Clone, Copy)]
pub(crate) struct Wanted<'a> {
    /// `-c`
    pub(crate) config: Option<&'a Path>,
    /// The other flags.
    pub(crate) overrides: &'a Overrides,
    /// Where the password is.
    pub(crate) password: &'a PasswordOptions,
    /// The last layer that needs any settings.
    pub(crate) until: Layer,
    /// Time that one layer may take.
    pub(crate) timeout: Duration,
}

/// Reads the password from the source that the options name, or from the configuration; then reads the configuration, with the options
/// taking precedence. Mistakes in the configuration are part of the settings.
///
/// # Errors
/// A message, if the password cannot be read from its source.
pub(crate) fn load(wanted: Wanted<'_>) -> Result<(Settings, Option<Password>), String> {
    let Wanted { config, overrides, password, until, timeout } = wanted;
    let source = password::source(password);
    let given = source.as_ref().map_or(Ok(None), passwords::read)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.as_deref();
    let (settings, configured) = Settings::load(&Request { config, overrides, password: source, until, timeout, home });
    Ok((settings, given.or(configured)))
}

/// As [`load`]. If a configuration has no password, it prompts for one at a terminal, as the programs of this configuration do.
///
/// # Errors
/// As [`load`].
pub(crate) fn load_or_ask(wanted: Wanted<'_>) -> Result<(Settings, Option<Password>), String> {
    let (mut settings, given) = load(wanted)?;
    let asks = |target: &&mut Target| {
        let missing = target.password == PasswordSource::None && !target.config_files.is_empty();
        missing
            && wanted.until >= Layer::Password
            && io::stdin().is_terminal()
            && target.database().is_some_and(|database| has_password(&database.value.argument))
    };
    let Some(target) = settings.target.as_mut().ok().filter(asks) else { return Ok((settings, given)) };
    target.password = PasswordSource::Prompt;
    let typed = passwords::read(&PasswordSource::Prompt)?;
    Ok((settings, typed))
}

/// Whether the key database has a password that a user must type.
fn has_password(argument: &OsStr) -> bool {
    Loaded::from(argument).database.is_ok_and(|database| matches!(database.password, PasswordState::Set { .. }))
}

/// The settings that result from the options, and the passwords. A mistake on the command line is not a finding about this host.
///
/// # Errors
/// A message, if the command line cannot be carried out or a password cannot be read.
pub(crate) fn of_walk(options: &WalkedOptions, plan: &Plan) -> Result<(Settings, Passwords), String> {
    let (settings, passwords) = of_walk_or_none(options, plan)?;
    match &settings.target {
        Err(trouble) if trouble.by_flags => Err(trouble.summary.clone()),
        _ => Ok((settings, passwords)),
    }
}

/// As [`of_walk`], for a command that is useful even without a target.
pub(crate) fn of_walk_or_none(options: &WalkedOptions, plan: &Plan) -> Result<(Settings, Passwords), String> {
    let (config, overrides) = (options.config(), options.overrides());
    overrides.fits_together(config.is_some())?;
    let load = if plan.walks(Layer::Password) { load_or_ask } else { load };
    let (password, until, timeout) = (&options.password, plan.until, options.walk.timeout);
    let (settings, database) = load(Wanted { config, overrides: &overrides, password, until, timeout })?;
    Ok((settings, Passwords { database, admin: password::admin(&options.admin)? }))
}
