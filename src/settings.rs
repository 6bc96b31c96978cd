//! From the options of a command to the settings of a target, and the password that goes with them.

use std::path::{Path, PathBuf};
use std::time::Duration;

use nssight_diagnosis::Layer;
use nssight_probes::Settings;
use nssight_probes::secret::Password;
use nssight_probes::settings::{Overrides, Request};

use crate::cli::PasswordOptions;
use crate::password;

/// Reads the password from where the options say, or out of the configuration, and the configuration under the options.
/// What is wrong with the configuration is part of the settings; `until` is the last layer that needs any.
///
/// # Errors
/// In words, when the password cannot be read from where it was said to be.
pub(crate) fn load(
    config: Option<&Path>,
    overrides: &Overrides,
    password: &PasswordOptions,
    until: Layer,
    timeout: Duration,
) -> Result<(Settings, Option<Password>), String> {
    let source = password::source(password);
    let given = source.as_ref().map_or(Ok(None), password::read)?;
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let home = home.as_deref();
    let (settings, configured) = Settings::load(&Request { config, overrides, password: source, until, timeout, home });
    Ok((settings, given.or(configured)))
}
