//! `--password-channels`: the same password through every channel in which a client can get one, each tested with a login.
//!
//! The channels differ in what they take as the password: the last line of a file, the first line typed, everything including the line end,
//! or even the file's name. Each is read here as its real reader does it, and tested with NSS; nothing is put into an environment or an
//! argument.

use std::io;
use std::path::Path;

use nssight_inventory::load::Loaded;
use nssight_nssdb::PasswordCheck;
use nssight_probes::password_file::{self, Reading, Repair};
use nssight_probes::secret::{Password, PasswordForm};
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

use super::{Binding, Subject, attempt};
use crate::models::{Model, Step};

/// A source for a password.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Channel {
    /// The name of the source.
    pub(crate) channel: &'static str,
    /// The part of the content that this source uses as the password.
    pub(crate) takes: &'static str,
    /// Whether the login with this source works.
    pub(crate) ok: bool,
    /// The name of the error, if the login fails.
    pub(crate) error: Option<String>,
    /// The reason for the error, if the content shows it.
    pub(crate) why: Option<String>,
}

/// What a channel takes from the same bytes; `None` if it gets nothing.
type Take = fn(&[u8], &str) -> Option<Zeroizing<Vec<u8>>>;

const NOTHING: &str = "no data before the end of input";
const FILE: &str = "file (certutil -f, tstclnt -W, pk12util -k)";

const WAYS: [(&str, &str, Take); 7] = [
    ("callback", "the whole content", |content, _| whole(content)),
    ("callback that strips white space", "the whole content without surrounding white space", |content, _| {
        whole(content.trim_ascii())
    }),
    (FILE, "the last line, or the line of the token", last_line),
    ("environment", "the whole content without its last line end", |content, _| whole(without_newline(content))),
    ("descriptor", "the whole content without its last line end", |content, _| whole(without_newline(content))),
    ("standard input", "the whole content without its last line end", |content, _| whole(without_newline(content))),
    ("terminal", "the first line", |content, _| whole(content.split(|byte| *byte == b'\n').next().unwrap_or_default())),
];

/// Tests all channels. For a file this includes its name: `tstclnt -w` takes the password itself.
pub(super) fn try_all(subject: &Subject, given: &Password, file: Option<&Path>) -> io::Result<Vec<Channel>> {
    let token = "NSS Certificate DB";
    let mut channels = Vec::new();
    for (channel, takes, take) in WAYS {
        channels.push(channel_of(subject, given, (channel, takes), take(given.expose(), token))?);
    }
    if let Some(file) = file {
        let name = Zeroizing::new(file.as_os_str().as_encoded_bytes().to_vec());
        let mut channel = channel_of(subject, given, ("tstclnt -w FILE", "the file's name"), Some(name))?;
        if !channel.ok {
            channel.why = Some("-w takes the password itself; -W takes a file".to_owned());
        }
        channels.push(channel);
    }
    Ok(channels)
}

fn channel_of(
    subject: &Subject,
    given: &Password,
    (channel, takes): (&'static str, &'static str),
    password: Option<Zeroizing<Vec<u8>>>,
) -> io::Result<Channel> {
    let missing = password.is_none();
    let tried = Subject { database: subject.database.clone(), nickname: None, password, network: None };
    let row = attempt(Binding::C, Model::FreshProcess, &tried)?;
    let login = row.cell(Step::Login);
    let ok = login.ok > 0 && login.good();
    let why = match (ok, missing) {
        (true, _) => None,
        (false, true) => Some(NOTHING.to_owned()),
        (false, false) => tried.password.as_ref().and_then(|taken| explanation(channel, subject, given, taken)),
    };
    let error = (!ok).then(|| login.error.as_ref().map_or_else(|| "not tried".to_owned(), |error| error.name.clone()));
    Ok(Channel { channel, takes, ok, error, why })
}

/// The mistake in the content, if a similar password opens the key database on disk.
fn explanation(channel: &str, subject: &Subject, given: &Password, taken: &[u8]) -> Option<String> {
    let database = Loaded::from(&subject.database).database.ok()?;
    let fits = |password: &[u8]| database.check_password(password) == PasswordCheck::Right;
    if taken.last().is_some_and(u8::is_ascii_whitespace) && fits(taken.trim_ascii_end()) {
        return Some("the line end becomes part of the password".to_owned());
    }
    let token = "NSS Certificate DB";
    let repairs = password_file::repairs(given.expose(), token);
    let repair = repairs.into_iter().find(|(_, candidate)| fits(candidate)).map(|(repair, _)| repair)?;
    // Only a file is read line by line.
    match repair {
        Repair::NotTheLastLine if !channel.starts_with(FILE) => {
            Some("other lines become part of the password".to_owned())
        }
        repair => Some(repair.describe().to_owned()),
    }
}

/// The file channel, if it fails as NSS's tools read it although something similar works; for the conclusions.
pub(super) fn file_format(channels: &[Channel], form: PasswordForm) -> Option<&Channel> {
    let file = channels.iter().find(|channel| channel.channel.starts_with(FILE))?;
    let explained = file.why.as_ref().is_some_and(|why| why != NOTHING);
    (form == PasswordForm::File && !file.ok && explained).then_some(file)
}

fn whole(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    // The password is a C string to NSS.
    let text = content.split(|byte| *byte == 0).next().unwrap_or_default();
    (!content.is_empty()).then(|| Zeroizing::new(text.to_vec()))
}

fn last_line(content: &[u8], token: &str) -> Option<Zeroizing<Vec<u8>>> {
    match password_file::read(content, token) {
        Reading::Password(password) => Some(password),
        Reading::NoData => None,
    }
}

fn without_newline(content: &[u8]) -> &[u8] {
    let content = content.strip_suffix(b"\n").unwrap_or(content);
    content.strip_suffix(b"\r").unwrap_or(content)
}
