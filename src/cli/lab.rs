//! `nssight lab` and `nssight selftest`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::output::{OutputOptions, TableFormat};

#[derive(Subcommand)]
pub(crate) enum LabCommand {
    /// Start the lab, diagnose it, and stop it
    Run {
        /// A fault to order; may be repeated
        #[arg(long = "fault", value_name = "ID")]
        faults: Vec<String>,
        /// What to set up: a Sigul deployment, or a TLS server whose client has its certificate in files
        #[arg(long, value_enum, default_value_t = LabProfile::Sigul)]
        profile: LabProfile,
        #[command(flatten)]
        output: OutputOptions,
    },
    /// Start the lab and leave it running until Ctrl-C
    Up {
        /// A fault to order; may be repeated
        #[arg(long = "fault", value_name = "ID")]
        faults: Vec<String>,
        /// What to set up: a Sigul deployment, or a TLS server whose client has its certificate in files
        #[arg(long, value_enum, default_value_t = LabProfile::Sigul)]
        profile: LabProfile,
        /// Put everything into this directory, which stays
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Keep the temporary directory
        #[arg(long)]
        keep: bool,
        /// Format of the databases
        #[arg(long, value_enum, default_value_t = DbFormatOption::Cert9)]
        db_format: DbFormatOption,
    },
    /// List the faults that can be ordered
    List {
        /// Only those of this profile
        #[arg(long, value_enum)]
        profile: Option<LabProfile>,
    },
}

/// What the lab sets up.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabProfile {
    /// A Sigul bridge and a server behind it
    Sigul,
    /// A TLS server that asks for a client certificate
    Tls,
}

/// A format of NSS's databases.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum DbFormatOption {
    /// cert9.db and key4.db
    Cert9,
    /// cert8.db and key3.db
    Cert8,
}

#[derive(Args)]
pub(crate) struct SelftestOptions {
    /// Only these faults
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// How to write the result
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
}
