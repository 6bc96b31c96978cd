//! The two passwords of a check, and reading them from their sources.

use std::fs::File;
use std::io::{self, IsTerminal, Read};
use std::path::Path;
use std::time::Instant;

use nssight_probes::files;
use nssight_probes::password_file::{self, READ_AT_MOST, Reading};
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::target::PasswordSource;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::retry_on_intr;
use zeroize::Zeroizing;

/// The two passwords of a check.
#[derive(Default)]
pub struct Passwords {
    /// Of the NSS database.
    pub database: Option<Password>,
    /// Of the administrator, for the request.
    pub admin: Option<Password>,
}

impl Passwords {
    /// A copy, for another attempt.
    pub fn again(&self) -> Self {
        Self { database: self.database.as_ref().map(Password::again), admin: self.admin.as_ref().map(Password::again) }
    }
}

/// Reads an administrator's password: a file up to its first line end, anything else as [`read`] does.
pub fn read_admin(source: &PasswordSource) -> Result<Option<Password>, String> {
    let PasswordSource::File(path) = source else { return read(source) };
    let bytes = file(path).map_err(|error| format!("the administrator's password file {}: {error}", path.display()))?;
    let line = bytes.split(|byte| matches!(byte, b'\n' | b'\r' | 0)).next().unwrap_or_default();
    Ok(Some(Password::new(PasswordForm::Literal, line.to_vec())))
}

/// Reads the password of a source named on the command line. An unreadable source is a usage error.
pub fn read(source: &PasswordSource) -> Result<Option<Password>, String> {
    let bytes = match source {
        PasswordSource::None | PasswordSource::Config(_) => return Ok(None),
        PasswordSource::File(path) => {
            let bytes = file(path).map_err(|error| format!("the password file {}: {error}", path.display()))?;
            return Ok(Some(Password::new(PasswordForm::File, bytes.to_vec())));
        }
        PasswordSource::Env(name) => {
            use std::os::unix::ffi::OsStringExt;
            let value = std::env::var_os(name).ok_or(format!("the environment variable {name} is not set"))?;
            Zeroizing::new(value.into_vec())
        }
        PasswordSource::Fd(fd) => {
            // Through /proc the descriptor is opened again, so that no unsafe code is needed to take it over.
            let path = format!("/proc/self/fd/{fd}");
            let file = File::open(&path).map_err(|error| format!("descriptor {fd}: {error}"))?;
            to_end(file).map_err(|error| format!("descriptor {fd}: {error}"))?
        }
        PasswordSource::Stdin => {
            // Not through std's stdin: its buffer would keep the password.
            let fd = rustix::stdio::stdin().try_clone_to_owned().map_err(|error| format!("standard input: {error}"))?;
            to_end(File::from(fd)).map_err(|error| format!("standard input: {error}"))?
        }
        PasswordSource::Prompt => {
            let typed = rpassword::prompt_password("Password of the NSS database: ");
            Zeroizing::new(typed.map_err(|error| format!("no terminal for the password prompt: {error}"))?.into_bytes())
        }
    };
    Ok(Some(Password::new(PasswordForm::Literal, without_newline(&bytes).to_vec())))
}

/// The token that a password file may name; NSS calls the slot with the keys so, unless it is in FIPS mode.
const TOKEN: &str = "NSS Certificate DB";

/// A given password as the bytes that NSS would try for its own token; none from an empty file.
pub fn bytes(password: &Password) -> Option<Zeroizing<Vec<u8>>> {
    bytes_for(password, None)
}

/// As [`bytes`], for the token that a nickname names (`token:nickname`).
pub fn bytes_for(password: &Password, nickname: Option<&str>) -> Option<Zeroizing<Vec<u8>>> {
    let token = nickname.and_then(|nickname| nickname.split_once(':')).map_or(TOKEN, |(token, _)| token);
    match password.form {
        PasswordForm::Literal => Some(Zeroizing::new(password.expose().to_vec())),
        PasswordForm::File => match password_file::read(password.expose(), token) {
            Reading::Password(secret) => Some(secret),
            Reading::NoData => None,
        },
    }
}

/// A single read, as NSS's tools do. A pipe makes sense only where the caller made it.
fn file(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    files::within(path, files::PATIENCE, |path| {
        let mut file = files::regular_or_given(path)?;
        if !file.metadata()?.is_file() {
            return to_end(file);
        }
        let mut buffer = Zeroizing::new(vec![0u8; READ_AT_MOST]);
        let count = file.read(&mut buffer)?;
        buffer.truncate(count);
        Ok(buffer)
    })
}

/// A program that passes a password through a pipe does so soon; only people take their time.
fn to_end(mut source: File) -> io::Result<Zeroizing<Vec<u8>>> {
    let end = (!source.is_terminal()).then(|| Instant::now() + files::PATIENCE);
    // No usable password is longer: NSS accepts at most 500 bytes.
    let mut bytes = Zeroizing::new(vec![0; READ_AT_MOST]);
    let mut count = 0;
    while count < bytes.len() {
        if let Some(end) = end {
            let left = Timespec::try_from(end.saturating_duration_since(Instant::now())).unwrap_or_default();
            if retry_on_intr(|| poll(&mut [PollFd::new(&source, PollFlags::IN)], Some(&left)))? == 0 {
                return Err(io::Error::new(io::ErrorKind::TimedOut, "no password arrived before the deadline"));
            }
        }
        match source.read(&mut bytes[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    bytes.truncate(count);
    Ok(bytes)
}

/// Removes what `echo`, `printf` and here-documents leave at the end.
fn without_newline(bytes: &[u8]) -> &[u8] {
    let bytes = bytes.strip_suffix(b"\n").unwrap_or(bytes);
    bytes.strip_suffix(b"\r").unwrap_or(bytes)
}
