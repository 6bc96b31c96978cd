//! `nssight triage`: reads logs and reports, and prints layer, cause and evidence.

mod open;
mod table;

use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::files;
use nssight_reports::terminal;
use nssight_triage::{self as triage, Triage};

use crate::cli::{TableFormat, TriageOptions};
use crate::exit;
use crate::unpack::Budget;

pub(crate) fn run(options: &TriageOptions) -> ExitCode {
    if options.patterns {
        let written = terminal::output(|out| triage::patterns().iter().try_for_each(|word| writeln!(out, "{word}")));
        return written.map_or_else(|error| exit::not_written(&error), |()| ExitCode::from(exit::PASSED));
    }
    if options.formats {
        let written = terminal::output(|out| write!(out, "{}", triage::page()));
        return written.map_or_else(|error| exit::not_written(&error), |()| ExitCode::from(exit::PASSED));
    }
    let mut triage = Triage::default();
    let budget = Budget::default();
    let stdin = Path::new("-");
    if options.files.is_empty() && io::stdin().is_terminal() {
        return exit::usage("no log was given: name files, or use standard input");
    }
    let is_missing = |file: &PathBuf| file != stdin && files::is_missing(file);
    if let Some(missing) = options.files.first().filter(|_| options.files.iter().all(is_missing)) {
        return exit::usage(format_args!("{}: no such file or directory", missing.display()));
    }
    let only_stdin = [stdin.to_owned()];
    let files = if options.files.is_empty() { only_stdin.as_slice() } else { options.files.as_slice() };
    for file in files {
        if file == stdin {
            open::stream(&mut triage, "stdin", io::stdin().lock(), &budget)
        } else {
            open::path(&mut triage, file, &budget)
        }
    }
    let document = triage.finish();
    terminal::choose_colours(options.output.color, io::stdout().is_terminal());
    let written = match options.output.format {
        TableFormat::Json => terminal::json(&document),
        TableFormat::Human => terminal::output(|out| table::write(out, &document, options.output.verbose)),
    };
    match (written, document.verdict.status) {
        (Err(error), _) => exit::not_written(&error),
        (Ok(()), Outcome::Pass | Outcome::Flaky) => ExitCode::from(exit::PASSED),
        (Ok(()), Outcome::Fail) => ExitCode::from(exit::FAILED),
        (Ok(()), Outcome::Inconclusive) => ExitCode::from(exit::INCONCLUSIVE),
    }
}
