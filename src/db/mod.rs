//! `nssight db`: NSS databases read from their bytes, without NSS.

mod compare_table;
mod inspect_table;

use std::ffi::{OsStr, OsString};
use std::io::{self, IsTerminal};
use std::path::PathBuf;
use std::process::ExitCode;

use nssight_inventory::compare::Comparison;
use nssight_inventory::load::Loaded;
use nssight_inventory::pem::PemFiles;
use nssight_inventory::views::{CertificateView, Inspection};
use nssight_nssdb::Database;
use nssight_probes::target::PasswordSource;
use nssight_reports::terminal;
use nssight_runner::passwords;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use crate::cli::{CompareOptions, DbCommand, InspectOptions, TableFormat};
use crate::{exit, password};

pub(crate) fn run(command: &DbCommand) -> ExitCode {
    match command {
        DbCommand::Inspect(options) => inspect(options),
        DbCommand::Compare(options) => compare(options),
    }
}

/// The inventory of a database as a JSON document, without a password.
pub(crate) fn inventory(argument: &OsStr, now: OffsetDateTime) -> Result<String, String> {
    let loaded = Loaded::from(argument);
    let database = loaded.database.as_ref().map_err(ToString::to_string)?;
    let inspection = Inspection::of(&loaded, database, None, now);
    serde_json::to_string_pretty(&inspection).map_err(|error| error.to_string())
}

fn inspect(options: &InspectOptions) -> ExitCode {
    let source = password::source(&options.password);
    let password = match source.as_ref().map_or(Ok(None), passwords::read) {
        Ok(password) => password.as_ref().and_then(passwords::bytes),
        Err(error) => return exit::usage(error),
    };
    let loaded = Loaded::from(&options.directory);
    let database = match &loaded.database {
        Ok(database) => database,
        Err(error) => return unreadable(&options.directory, error),
    };
    let inspection =
        Inspection::of(&loaded, database, password.as_deref().map(Vec::as_slice), OffsetDateTime::now_utc());
    let names = |view: &&CertificateView| {
        let nickname = options.nickname.as_deref();
        nickname.is_some()
            && (view.nickname.as_deref() == nickname || view.nicknames.iter().any(|it| Some(it.as_str()) == nickname))
    };
    let shown = match &options.nickname {
        None => None,
        Some(nickname) => match inspection.certificates.iter().filter(names).collect::<Vec<_>>() {
            none if none.is_empty() => {
                return exit::usage(format!("this database has no certificate \"{nickname}\""));
            }
            found => Some(found),
        },
    };
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&inspection),
        TableFormat::Human => {
            terminal::output(|out| inspect_table::write(out, &inspection, shown.as_deref(), options.output.verbose))
        }
    };
    let code = match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if inspection.partial => ExitCode::from(exit::INCONCLUSIVE),
        // The content that needs the password was not checked.
        Ok(()) if inspection.password.given == Some("wrong") => ExitCode::from(exit::INCONCLUSIVE),
        Ok(()) => ExitCode::from(exit::PASSED),
    };
    // The process ends here. To free a hundred thousand certificates one by one takes a tenth of its run time, and nothing in them is
    // secret: the password and the keys are wiped by now, or on return.
    std::mem::forget((inspection, loaded));
    code
}

fn compare(options: &CompareOptions) -> ExitCode {
    let source = password::source(&options.password);
    let read = |source| match source {
        Some(source) => passwords::read(&source).map(|password| password.as_ref().and_then(passwords::bytes)),
        None => Ok(None),
    };
    let passwords = [source, options.other_password_file.clone().map(PasswordSource::File)].map(read);
    let [Ok(first), Ok(second)] = &passwords else {
        let trouble = passwords.into_iter().find_map(Result::err);
        return exit::usage(trouble.unwrap_or_default());
    };
    let second: Option<&Zeroizing<Vec<u8>>> = second.as_ref().or(first.as_ref());
    let (a, now) = (Loaded::from(&options.a), OffsetDateTime::now_utc());
    let database = match &a.database {
        Ok(database) => database,
        Err(error) => return unreadable(&options.a, error),
    };
    let comparison = match options.b.as_slice() {
        [b] => match Loaded::from(b).database {
            Ok(other) => {
                let passwords = [first.as_ref(), second].map(|password| password.map(|password| password.as_slice()));
                Comparison::of([database, &other], passwords, now)
            }
            Err(_) if PemFiles::are_in(b.as_ref()) => with_files(database, &options.b, now),
            Err(error) => return unreadable(b, &error),
        },
        several => with_files(database, several, now),
    };
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&comparison),
        TableFormat::Human => terminal::output(|out| compare_table::write(out, &comparison, options.output.verbose)),
    };
    match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if comparison.partial => ExitCode::from(exit::INCONCLUSIVE),
        Ok(()) if comparison.differences.is_empty() => ExitCode::from(exit::PASSED),
        Ok(()) => ExitCode::from(exit::FAILED),
    }
}

fn with_files(database: &Database, named: &[OsString], now: OffsetDateTime) -> Comparison {
    let paths: Vec<PathBuf> = named.iter().map(PathBuf::from).collect();
    Comparison::with_files(database, &PemFiles::read(&paths), now)
}

/// Prints why there is no output.
fn unreadable(argument: &OsStr, error: &nssight_nssdb::Error) -> ExitCode {
    terminal::say(format_args!("no database could be read at {}: {error}", argument.display()));
    ExitCode::from(exit::INCONCLUSIVE)
}
