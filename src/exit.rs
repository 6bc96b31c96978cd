//! Exit codes, the same in every format.

use std::process::ExitCode;

use nssight_probes::{Outcome, Status, report::Report};

/// Every layer walked passed, warnings allowed.
pub(crate) const PASSED: u8 = 0;
/// A layer failed; with `--strict`, or has a warning.
pub(crate) const FAILED: u8 = 1;
/// The command line cannot be carried out.
pub(crate) const USAGE: u8 = 2;
/// The tool itself could not finish.
pub(crate) const INCONCLUSIVE: u8 = 3;

/// The exit code for a report.
pub(crate) fn of(report: &Report, strict: bool) -> ExitCode {
    let warned = report.probes.iter().any(|finding| finding.status == Status::Warn);
    ExitCode::from(match report.verdict.status {
        Outcome::Pass if strict && warned => FAILED,
        Outcome::Flaky if strict => FAILED,
        Outcome::Pass | Outcome::Flaky => PASSED,
        Outcome::Fail => FAILED,
        Outcome::Inconclusive => INCONCLUSIVE,
    })
}

/// Says on standard error why the command line cannot be carried out.
pub(crate) fn usage(message: impl std::fmt::Display) -> ExitCode {
    eprintln!("nssight: {message}");
    ExitCode::from(USAGE)
}

/// Says on standard error that the result could not be written.
pub(crate) fn not_written(error: &std::io::Error) -> ExitCode {
    eprintln!("nssight: the report could not be written: {error}");
    ExitCode::from(INCONCLUSIVE)
}
