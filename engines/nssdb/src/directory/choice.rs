//! Which database NSS would open, and why. Measured on NSS 3.87.1; the default before 3.35 from its release notes.

use crate::Format;
use serde::Serialize;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

/// The type in front of a database directory, as in `sql:/etc/pki/nssdb`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TypePrefix {
    /// No type given: the environment or the default of the NSS version decides.
    None,
    /// `sql:`
    Sql,
    /// `extern:`, which today is the same as `sql:`.
    Extern,
    /// `dbm:`
    Dbm,
    /// `multiaccess:`, which needs a library of its own that hardly any system has.
    MultiAccess,
}

/// Splits an argument such as `sql:/etc/pki/nssdb` the way NSS does.
///
/// The types are case-sensitive and `rdb:` is not one of them: it stays part of the directory name.
pub fn parse_argument(argument: &OsStr) -> (TypePrefix, OsString) {
    let bytes = argument.as_bytes();
    for (name, prefix) in [
        ("sql:", TypePrefix::Sql),
        ("extern:", TypePrefix::Extern),
        ("dbm:", TypePrefix::Dbm),
        ("multiaccess:", TypePrefix::MultiAccess),
    ] {
        if let Some(rest) = bytes.strip_prefix(name.as_bytes()) {
            return (prefix, OsString::from_vec(rest.to_vec()));
        }
    }
    (TypePrefix::None, argument.to_owned())
}

/// How NSS is initialised.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Access {
    /// With `NSS_INIT_READONLY`, as most tools do for reading.
    ReadOnly,
    /// Without it.
    ReadWrite,
}

/// The input of [`choose`] that does not come from the directory.
#[derive(Clone, Debug)]
pub struct Question<'a> {
    /// Type given in front of the directory.
    pub prefix: TypePrefix,
    /// Value of `NSS_DEFAULT_DB_TYPE`; NSS ignores it in setuid programs.
    pub default_db_type: Option<&'a str>,
    /// How NSS is initialised.
    pub access: Access,
    /// Version of NSS, major and minor.
    pub nss: (u32, u32),
}

/// What is in the directory, as far as the choice depends on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Present {
    /// The directory exists.
    pub directory: bool,
    /// At least one of `cert9.db` and `key4.db` exists.
    pub sql_files: bool,
    /// Both exist, can be read and are SQLite databases.
    pub sql_usable: bool,
    /// `cert8.db` and `key3.db` exist, can be read and are hash files.
    pub legacy_usable: bool,
    /// `key4.db` has no `metaData` table and the legacy files are there.
    pub half_upgraded: bool,
}

/// What NSS would do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Choice {
    /// The format that NSS tries to open.
    pub asked: Format,
    /// The format that certificates and keys really come from; `None` when NSS fails or starts an empty database.
    pub reads: Option<Format>,
    /// The code NSS_Initialize fails with, if it fails.
    pub error: Option<i32>,
    /// The reason, as text.
    pub reason: String,
}

/// SEC_ERROR_BAD_DATABASE
const BAD_DATABASE: i32 = -8174;
/// SEC_ERROR_LEGACY_DATABASE
const LEGACY_DATABASE: i32 = -8015;

/// What NSS would open. A pure function of its arguments.
///
/// Reading a legacy database requires `libnssdbm3`, which this function assumes is installed.
pub fn choose(present: Present, question: &Question<'_>) -> Choice {
    let (asked, because) = match asked(question) {
        Ok(asked) => asked,
        Err(reason) => {
            return Choice { asked: Format::Dbm, reads: None, error: Some(LEGACY_DATABASE), reason };
        }
    };
    let (reads, error, what) = match asked {
        _ if !present.directory => (None, Some(BAD_DATABASE), "the directory does not exist"),
        Format::Sql => sql(present, question.access),
        Format::Dbm => dbm(present, question.access),
    };
    Choice { asked, reads, error, reason: format!("{because}; {what}") }
}

fn asked(question: &Question<'_>) -> Result<(Format, String), String> {
    Ok(match question.prefix {
        TypePrefix::Sql => (Format::Sql, "the prefix sql: was given".into()),
        TypePrefix::Extern => (Format::Sql, "the prefix extern: was given, which means the same as sql:".into()),
        TypePrefix::Dbm => (Format::Dbm, "the prefix dbm: was given".into()),
        TypePrefix::MultiAccess => {
            return Err("the prefix multiaccess: was given, which needs a separate database library".into());
        }
        TypePrefix::None => match question.default_db_type {
            Some(kind @ ("sql" | "extern")) => {
                (Format::Sql, format!("no prefix was given, and NSS_DEFAULT_DB_TYPE is {kind}"))
            }
            Some("dbm") => (Format::Dbm, "no prefix was given, and NSS_DEFAULT_DB_TYPE is dbm".into()),
            _ if question.nss < (3, 35) => {
                (Format::Dbm, "no prefix was given, and the default of NSS before 3.35 is dbm".into())
            }
            _ => (Format::Sql, "no prefix was given, and the default of NSS since 3.35 is sql".into()),
        },
    })
}

fn sql(present: Present, access: Access) -> (Option<Format>, Option<i32>, &'static str) {
    if present.half_upgraded {
        return (
            Some(Format::Dbm),
            None,
            "key4.db was never initialised, so NSS reads cert8.db and key3.db until a login with write access",
        );
    }
    if present.sql_usable {
        return (Some(Format::Sql), None, "cert9.db and key4.db exist");
    }
    match access {
        Access::ReadOnly if present.legacy_usable => (
            Some(Format::Dbm),
            None,
            "cert9.db and key4.db are not both usable, so NSS silently reads cert8.db and key3.db",
        ),
        Access::ReadOnly => (
            None,
            Some(BAD_DATABASE),
            "cert9.db and key4.db are not both usable, and no legacy database exists to fall back to",
        ),
        Access::ReadWrite if present.sql_files => (
            None,
            None,
            "cert9.db and key4.db are not both usable; when NSS opens them for writing, it creates a missing file and fails on a damaged one",
        ),
        Access::ReadWrite if present.legacy_usable => (
            Some(Format::Dbm),
            None,
            "only cert8.db and key3.db exist; when NSS opens them for writing, it creates cert9.db and key4.db, and copies the content at the first login",
        ),
        Access::ReadWrite => {
            (None, None, "no database exists; when NSS opens the directory for writing, it creates an empty one")
        }
    }
}

fn dbm(present: Present, access: Access) -> (Option<Format>, Option<i32>, &'static str) {
    match access {
        _ if present.legacy_usable => (Some(Format::Dbm), None, "cert8.db and key3.db exist"),
        Access::ReadOnly => (None, Some(LEGACY_DATABASE), "cert8.db and key3.db are not both usable"),
        Access::ReadWrite => (
            None,
            None,
            "cert8.db and key3.db are not both usable; when NSS opens them for writing, it creates a missing file",
        ),
    }
}
