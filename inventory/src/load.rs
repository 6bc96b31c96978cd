//! Finds the database that an argument names, and reads it without NSS.

use std::ffi::OsStr;
use std::path::PathBuf;

use nssight_nss::library;
use nssight_nssdb::directory::{Access, Choice, Question, TypePrefix, parse_argument};
use nssight_nssdb::{Database, Error, Format, Inventory, PasswordCheck, PasswordState};

/// A directory, what NSS would open in it, and the database.
pub struct Loaded {
    /// Path without the prefix.
    pub directory: PathBuf,
    /// The files in it.
    pub inventory: Inventory,
    /// What NSS would open here.
    pub choice: Choice,
    /// The database that NSS would read; where NSS reads none, the one that can be read.
    pub database: Result<Database, Error>,
}

impl Loaded {
    /// Reads the database of an argument such as `sql:/etc/pki/nssdb`.
    pub fn from(argument: &OsStr) -> Self {
        let (prefix, directory) = parse_argument(argument);
        let directory = PathBuf::from(directory);
        let inventory = Inventory::of(&directory);
        let default = std::env::var("NSS_DEFAULT_DB_TYPE").ok();
        let question = Question {
            prefix,
            default_db_type: default.as_deref(),
            access: Access::ReadOnly,
            nss: library::nss_release(),
        };
        let choice = inventory.choose(&question);
        let first = choice.reads.unwrap_or(choice.asked);
        let other = if first == Format::Sql { Format::Dbm } else { Format::Sql };
        let database = match Database::open(&directory, first) {
            Err(error) if choice.reads.is_none() && prefix == TypePrefix::None => {
                Database::open(&directory, other).map_err(|_| error)
            }
            result => result,
        };
        Self { directory, inventory, choice, database }
    }
}

/// Whether the password, which may be empty, unlocks the database.
pub fn opens(database: &Database, password: &[u8]) -> bool {
    match database.password {
        PasswordState::Empty => password.is_empty(),
        _ => database.check_password(password) == PasswordCheck::Right,
    }
}
