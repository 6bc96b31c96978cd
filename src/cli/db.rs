//! Options of `nssight db`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{PasswordOptions, TableOptions};

#[derive(Subcommand)]
pub(crate) enum DbCommand {
    /// Show what is in a database directory, and what NSS makes of it
    Inspect(InspectOptions),
    /// Say what differs between two databases, and what follows from it: exit code 0 same, 1 different, 3 unreadable
    Compare(CompareOptions),
}

#[derive(Args)]
pub(crate) struct InspectOptions {
    /// The directory, with sql: or dbm: in front if the format matters
    #[arg(value_name = "DIR")]
    pub(crate) directory: OsString,
    /// Show the certificates of this nickname in detail, with their chain
    #[arg(short, long, value_name = "NAME")]
    pub(crate) nickname: Option<String>,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}

#[derive(Args)]
pub(crate) struct CompareOptions {
    /// One directory
    #[arg(value_name = "A")]
    pub(crate) a: OsString,
    /// The other one
    #[arg(value_name = "B")]
    pub(crate) b: OsString,
    #[command(flatten)]
    pub(crate) password: PasswordOptions,
    /// A file with the password of B, where it has another one
    #[arg(long, value_name = "FILE", help_heading = "Password")]
    pub(crate) other_password_file: Option<PathBuf>,
    #[command(flatten)]
    pub(crate) output: TableOptions,
}
