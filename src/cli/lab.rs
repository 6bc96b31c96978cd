//! `nssight lab` and `nssight selftest`.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};

use super::output::{OutputOptions, TableFormat};

#[derive(Subcommand)]
pub(crate) enum LabCommand {
    /// Start the lab, diagnose it and stop it
    Run {
        /// Inject this fault; may be repeated
        #[arg(long = "fault", value_name = "ID")]
        faults: Vec<String>,
        /// Deployment to set up
        #[arg(long, value_enum, default_value_t = LabProfile::Sigul)]
        profile: LabProfile,
        #[command(flatten)]
        output: OutputOptions,
    },
    /// Start the lab and leave it running until Ctrl-C
    Up {
        /// Inject this fault; may be repeated
        #[arg(long = "fault", value_name = "ID")]
        faults: Vec<String>,
        /// Deployment to set up
        #[arg(long, value_enum, default_value_t = LabProfile::Sigul)]
        profile: LabProfile,
        /// Put all files into this directory, and keep the directory
        #[arg(long, value_name = "DIR")]
        dir: Option<PathBuf>,
        /// Keep the temporary directory
        #[arg(long)]
        keep: bool,
        /// Format of the databases
        #[arg(long, value_enum, default_value_t = DbFormatOption::Cert9)]
        db_format: DbFormatOption,
    },
    /// List the faults that the lab can inject
    List {
        /// List only the faults of this profile
        #[arg(long, value_enum)]
        profile: Option<LabProfile>,
        /// Output format
        #[arg(long, value_enum, default_value_t = TableFormat::Human)]
        format: TableFormat,
    },
}

/// What the lab sets up.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LabProfile {
    /// A Sigul bridge with a server behind it
    Sigul,
    /// A Siguldry bridge with a server behind it
    Siguldry,
    /// A TLS server whose client has its certificate in files
    Tls,
}

impl LabProfile {
    /// The value on the command line.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Sigul => "sigul",
            Self::Siguldry => "siguldry",
            Self::Tls => "tls",
        }
    }

    /// The name of the profile in a sentence.
    pub(crate) fn title(self) -> &'static str {
        match self {
            Self::Sigul => "a Sigul deployment",
            Self::Siguldry => "a Siguldry deployment",
            Self::Tls => "a TLS server",
        }
    }
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
    /// Inject only this fault; may be repeated
    #[arg(long, value_name = "ID")]
    pub(crate) only: Vec<String>,
    /// Output format
    #[arg(long, value_enum, default_value_t = TableFormat::Human)]
    pub(crate) format: TableFormat,
}
