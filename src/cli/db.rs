//! Options of `nssight db`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PasswordOptions, TableOptions};

#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Print the contents of a database, and show how NSS reads it
    Inspect(InspectOptions),
    /// Compare two databases, or a database with PEM files, and explain each difference. Exit with 0 if A and B are
    /// equal, 1 if A and B differ, 3 if A or B is unreadable
    Compare(CompareOptions),
}

#[derive(Args)]
pub(crate) struct InspectOptions {
    /// Database directory; the prefix sql: or dbm: selects the format
    #[arg(value_name = "DIR")]
    pub(crate) directory: OsString,
    /// Print the details and the chain of the certificates with this nickname
    #[arg(short, long, value_name = "NAME")]
    pub(crate) nickname: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

#[derive(Args)]
pub(crate) struct CompareOptions {
    /// Database directory
    #[arg(value_name = "A")]
    pub(crate) a: OsString,
    /// Second database directory; or PEM files, or a directory of PEM files, to check which certificates of A these files contain
    #[arg(value_name = "B", required = true)]
    pub(crate) b: Vec<OsString>,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// Read the password of B from this file, if the passwords of A and B differ
    #[arg(long, value_name = "FILE", help_heading = "Password")]
    pub(crate) other_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}
