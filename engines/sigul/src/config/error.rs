//! What can be wrong with a configuration file.

use std::fmt;
use std::path::{Path, PathBuf};

use super::ignored::IgnoredKey;
use super::ini::{MAX_ENTRIES, MAX_LINE};
use super::settings::{Origin, Role, TlsVersion};
use crate::shown::shown;

/// A fault of a configuration file. `Display` is one line, led by file and line; no secret is in it.
///
/// Lines count from 1, `offset` counts bytes from the start of the file, from 0.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are explained above and by their names")]
pub enum ConfigError {
    /// A byte that is not UTF-8.
    NotUtf8 { file: PathBuf, line: usize, offset: usize },
    /// A NUL byte.
    NulByte { file: PathBuf, line: usize, offset: usize },
    /// The file begins with a byte order mark, which Python treats as text before the first section.
    ByteOrderMark { file: PathBuf },
    /// A line above [`MAX_LINE`] bytes.
    LineTooLong { file: PathBuf, line: usize, bytes: usize },
    /// More than [`MAX_ENTRIES`] sections and keys.
    TooManyEntries { file: PathBuf, line: usize },
    /// Text before the first section.
    NoSection { file: PathBuf, line: usize },
    /// A line that is neither a section nor has `=` or `:`.
    NoDelimiter { file: PathBuf, line: usize, section: String },
    /// A line that begins with `=` or `:`.
    NoKey { file: PathBuf, line: usize, section: String },
    /// A section that the same file already has at line `first`.
    DuplicateSection { file: PathBuf, line: usize, section: String, first: usize },
    /// A key that its section already has at line `first`.
    DuplicateKey { file: PathBuf, line: usize, section: String, key: String, first: usize },
    /// No section shows whether this is a client's, a server's or a bridge's configuration; `found` are the sections
    /// that are there, ten at most.
    NoRole { files: Vec<PathBuf>, found: Vec<String> },
    /// More than one of the sections that name a role.
    SeveralRoles { found: Vec<(Role, PathBuf, usize)> },
    /// A missing key that this role requires. Its section is at `line`, or in no file. `instead` is the key that was probably
    /// meant for it, if there is one.
    Missing {
        file: PathBuf,
        line: Option<usize>,
        section: &'static str,
        key: &'static str,
        instead: Option<Box<IgnoredKey>>,
    },
    /// A value that cannot be used. `value` is what [`super::Value::shown`] returns, `continued` the line on which the value
    /// continues.
    BadValue { origin: Origin, key: &'static str, value: String, continued: Option<usize>, problem: Problem },
}

/// Why a value cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Problem {
    /// It is empty.
    Empty,
    /// It continues on another line.
    SeveralLines,
    /// Not a whole number from 1 to 65535.
    NotAPort,
    /// Not a whole number from 1 up.
    NotANumber,
    /// Not one of `tls1.0`, `tls1.1`, `tls1.2`, `tls1.3`.
    NotATlsVersion,
    /// The minimum is above this maximum.
    MinimumAboveMaximum(TlsVersion),
    /// The maximum is below this minimum, which is the default.
    MaximumBelowMinimum(TlsVersion),
    /// A client refuses a minimum below TLS 1.2.
    MinimumTooLow,
    /// A host name of this many bytes, which is more than 253 (RFC 1035 section 2.3.4).
    HostTooLong(usize),
    /// A host name with white space or a control character in it.
    HostHasBlank,
    /// White space before what looks like a comment in a host name: Python allows no comment after a value.
    HostHasComment,
    /// A URL, or a host name with a port after it.
    HostHasPort,
    /// It contains characters other than printable ASCII.
    NotPrintable,
    /// More than 255 bytes, which do not fit into a request.
    TooLong(usize),
    /// It begins with `~`, and the home directory is not known.
    HomeUnknown,
    /// It begins with `~NAME`.
    OtherHome,
    /// A directory with the prefix that NSS treats as a type of database, such as `sql:`.
    DirectoryHasPrefix,
    /// It contains `${…}`, which Sigul uses literally.
    Placeholder,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => {
                f.write_str("is empty; give a value, or delete the line to get the default, if there is one")
            }
            Self::SeveralLines => f.write_str("continues on another line, which this value does not allow"),
            Self::NotAPort => f.write_str("is not a port; ports are whole numbers from 1 to 65535"),
            Self::NotANumber => f.write_str("is not a whole number above 0"),
            Self::NotATlsVersion => f.write_str("is not a TLS version; write tls1.0, tls1.1, tls1.2 or tls1.3"),
            Self::MinimumAboveMaximum(max) => write!(f, "is above the maximum, {max}: no TLS version is left to offer"),
            Self::MaximumBelowMinimum(min) => {
                write!(f, "is below the minimum, {min} by default: no TLS version is left to offer")
            }
            Self::MinimumTooLow => f.write_str("is too low: a client refuses a minimum below tls1.2"),
            Self::HostTooLong(bytes) => write!(f, "is {bytes} bytes long; the maximum for a host name is 253"),
            Self::HostHasBlank => f.write_str("is not a host name: it contains a blank"),
            Self::HostHasComment => f.write_str(
                "is not a host name: a comment after a value is part of the value; put the comment on its own line",
            ),
            Self::HostHasPort => f.write_str("contains more than a host name; set the port with its own key"),
            Self::NotPrintable => f.write_str("has characters other than printable ASCII"),
            Self::TooLong(bytes) => write!(f, "is {bytes} bytes long; the maximum in a request is 255"),
            Self::HomeUnknown => f.write_str("begins with ~, but the home directory is unknown; write the full path"),
            Self::DirectoryHasPrefix => {
                f.write_str("is not a plain directory, so Sigul refuses it; write the path without the prefix")
            }
            Self::Placeholder => f.write_str("contains ${…}, which Sigul does not expand"),
            Self::OtherHome => f.write_str("begins with another user's ~; write the full path"),
        }
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotUtf8 { file, line, offset } => {
                write!(f, "{}:{line}: the byte at offset {offset} is not UTF-8; save the file as UTF-8", name(file))
            }
            Self::NulByte { file, line, offset } => {
                write!(f, "{}:{line}: NUL byte at offset {offset}; is this a text file in UTF-8?", name(file))
            }
            Self::ByteOrderMark { file } => {
                write!(
                    f,
                    "{}:1: the file begins with a byte order mark, which Sigul refuses; save the file without it",
                    name(file)
                )
            }
            Self::LineTooLong { file, line, bytes } => {
                write!(f, "{}:{line}: the line has {bytes} bytes; the maximum is {MAX_LINE}", name(file))
            }
            Self::TooManyEntries { file, line } => {
                write!(f, "{}:{line}: more than {MAX_ENTRIES} sections and keys; is this the right file?", name(file))
            }
            Self::NoSection { file, line } => {
                write!(f, "{}:{line}: this line comes before the first [section]", name(file))
            }
            Self::NoDelimiter { file, line, section } => write!(
                f,
                "{}:{line}: in [{}]: no \":\" or \"=\" in this line; to continue the value above, indent it deeper",
                name(file),
                shown(section)
            ),
            Self::NoKey { file, line, section } => {
                write!(f, "{}:{line}: in [{}]: no key before the \":\" or \"=\"", name(file), shown(section))
            }
            Self::DuplicateSection { file, line, section, first } => {
                write!(f, "{}:{line}: section [{}] already appears at line {first}", name(file), shown(section))
            }
            Self::DuplicateKey { file, line, section, key, first } => write!(
                f,
                "{}:{line}: key \"{}\": section [{}] already contains this key at line {first}",
                name(file),
                shown(key),
                shown(section)
            ),
            Self::NoRole { files, found } => no_role(f, files, found),
            Self::SeveralRoles { found } => {
                f.write_str("a configuration has only one role, but these sections name several:")?;
                for (index, (role, file, line)) in found.iter().enumerate() {
                    let comma = if index == 0 { "" } else { "," };
                    write!(f, "{comma} [{}] at {}:{line}", role.section(), name(file))?;
                }
                Ok(())
            }
            Self::Missing { file, line, section, key, instead } => {
                let file = name(file);
                match line {
                    Some(line) => write!(f, "{file}:{line}: key \"{key}\": not in section [{section}]")?,
                    None => write!(f, "{file}: key \"{key}\": there is no section [{section}]")?,
                }
                f.write_str(", and has no default")?;
                match instead {
                    Some(instead) => write!(f, " ({instead})"),
                    None => Ok(()),
                }
            }
            Self::BadValue { origin, key, value, continued, problem } => {
                write!(f, "{origin}: key \"{key}\": \"{value}\" {problem}")?;
                match continued {
                    Some(line) => write!(f, " (line {line} is indented, so it continues this value)"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for ConfigError {}

fn no_role(f: &mut fmt::Formatter<'_>, files: &[PathBuf], found: &[String]) -> fmt::Result {
    let files: Vec<String> = files.iter().map(|file| name(file)).collect();
    let files = if files.is_empty() { "no file was read".to_owned() } else { files.join(", ") };
    write!(f, "{files}: no section [client], [server] or [bridge]; ")?;
    if found.is_empty() {
        return f.write_str("the file has no sections");
    }
    let found: Vec<String> = found.iter().map(|section| format!("[{}]", shown(section))).collect();
    write!(f, "found {}", found.join(", "))
}

/// A path as a message names it: on one line, whatever is in it.
pub(super) fn name(file: &Path) -> String {
    file.to_string_lossy()
        .chars()
        .flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] })
        .collect()
}
