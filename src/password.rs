//! Reading the password from where the command line says.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use nssight_probes::password_file::{self, READ_AT_MOST, Reading};
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::target::PasswordSource;
use rustix::fs::OFlags;
use zeroize::Zeroizing;

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

/// Reads an administrator's password: a file up to its first line end, anything else as [`read`] does.
pub(crate) fn read_admin(source: &PasswordSource) -> Result<Option<Password>, String> {
    let PasswordSource::File(path) = source else { return read(source) };
    let bytes = file(path).map_err(|error| format!("the administrator's password file {}: {error}", path.display()))?;
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r' | 0)).next().unwrap_or_default();
    Ok(Some(Password::new(PasswordForm::Literal, line.to_vec())))
}

/// Reads the password of a source named on the command line. An unreadable source is a usage error.
pub(crate) fn read(source: &PasswordSource) -> Result<Option<Password>, String> {
    let bytes = match source {
        PasswordSource::None | PasswordSource::Config(_) => return Ok(None),
        PasswordSource::File(path) => {
            let bytes = file(path).map_err(|error| format!("the password file {}: {error}", path.display()))?;
            return Ok(Some(Password::new(PasswordForm::File, bytes.to_vec())));
        }
        PasswordSource::Env(name) => {
            use std::os::unix::ffi::OsStringExt;
            let value = std::env::var_os(name).ok_or(format!("there is no environment variable {name}"))?;
            Zeroizing::new(value.into_vec())
        }
        PasswordSource::Fd(fd) => {
            // Through /proc the descriptor is opened anew, so that nothing unsafe is needed to take it over.
            let path = format!("/proc/self/fd/{fd}");
            let mut file = File::open(&path).map_err(|error| format!("descriptor {fd}: {error}"))?;
            to_end(&mut file).map_err(|error| format!("descriptor {fd}: {error}"))?
        }
        PasswordSource::Stdin => {
            // Not through std's stdin: its buffer would keep the password.
            let fd = rustix::stdio::stdin().try_clone_to_owned().map_err(|error| format!("standard input: {error}"))?;
            to_end(&mut File::from(fd)).map_err(|error| format!("standard input: {error}"))?
        }
        PasswordSource::Prompt => {
            let typed = rpassword::prompt_password("Password of the NSS database: ");
            Zeroizing::new(typed.map_err(|error| format!("no terminal to ask at: {error}"))?.into_bytes())
        }
    };
    Ok(Some(Password::new(PasswordForm::Literal, without_newline(&bytes).to_vec())))
}

/// The token that a password file may name; NSS calls the slot with the keys so, unless it is in FIPS mode.
const TOKEN: &str = "NSS Certificate DB";

/// A given password as the bytes that NSS would try; none from an empty file.
pub(crate) fn bytes(password: &Password) -> Option<Zeroizing<Vec<u8>>> {
    match password.form {
        PasswordForm::Literal => Some(Zeroizing::new(password.expose().to_vec())),
        PasswordForm::File => match password_file::read(password.expose(), TOKEN) {
            Reading::Password(secret) => Some(secret),
            Reading::NoData => None,
        },
    }
}

/// One read, as NSS's tools do it. Opened without blocking, so that a FIFO without a writer is an answer too.
fn file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_dir() {
        return Err(io::Error::other("it is a directory"));
    }
    let mut buffer = Zeroizing::new(vec![0u8; READ_AT_MOST]);
    let mut options = File::options();
    options.read(true);
    if !kind.is_fifo() {
        options.custom_flags(OFlags::NONBLOCK.bits().cast_signed());
    }
    let count = options.open(path)?.read(&mut buffer)?;
    buffer.truncate(count);
    Ok(buffer)
}

/// Nobody has a longer password: NSS takes at most 500 bytes.
fn to_end(source: &mut dyn Read) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(READ_AT_MOST));
    source.take(READ_AT_MOST as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What `echo`, `printf` and here-documents leave at the end.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
