//! Derives the password sources from the options.

use nssight_probes::secret::Password;
use nssight_probes::target::PasswordSource;
use nssight_runner::passwords::read_admin;

use crate::cli::{AdminOptions, PasswordOptions};

/// The source that the options name; `None` leaves it to the configuration.
pub(crate) fn source(options: &PasswordOptions) -> Option<PasswordSource> {
    let file = options.password_file.clone().map(PasswordSource::File);
    file.or_else(|| options.password_env.clone().map(PasswordSource::Env))
        .or_else(|| options.password_fd.map(PasswordSource::Fd))
        .or_else(|| options.password_stdin.then_some(PasswordSource::Stdin))
        .or_else(|| options.password_prompt.then_some(PasswordSource::Prompt))
}

/// Reads the administrator's password, if one was given.
pub(crate) fn admin(options: &AdminOptions) -> Result<Option<Password>, String> {
    let file = options.admin_password_file.clone().map(PasswordSource::File);
    let env = file.or_else(|| options.admin_password_env.clone().map(PasswordSource::Env));
    let fd = env.or_else(|| options.admin_password_fd.map(PasswordSource::Fd));
    let source = fd.or_else(|| options.admin_password_stdin.then_some(PasswordSource::Stdin));
    source.map_or(Ok(None), |source| read_admin(&source))
}
