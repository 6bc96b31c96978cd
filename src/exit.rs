//! Exit codes, the same in every format but that of a monitoring plugin.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use nssight_diagnosis::Status;
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::judge::{Case, judge};
use nssight_diagnosis::signal::{Shown, signal};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::report::Subject;
use nssight_probes::{Report, resources};
use nssight_reports::nagios::{self, State};
use nssight_reports::terminal;
use nssight_reports::terminal::Kind;

use crate::cli::Format;

/// Every layer walked passed, warnings allowed.
pub(crate) const PASSED: u8 = 0;
/// A layer failed; with `--strict`, or has a warning.
pub(crate) const FAILED: u8 = 1;
/// The command line cannot be carried out.
pub(crate) const USAGE: u8 = 2;
/// The tool itself could not finish.
pub(crate) const INCONCLUSIVE: u8 = 3;

/// The exit code for what the walks gave: the same in every format but that of a monitoring plugin, whose codes are those
/// of its convention. A target that fails weighs more than one that could not be judged.
pub(crate) fn of(subjects: &[Subject], format: Format, strict: bool) -> ExitCode {
    if format == Format::Nagios {
        return ExitCode::from(State::of(subjects).code());
    }
    let codes: Vec<u8> = subjects.iter().map(|subject| of_report(&subject.report, strict)).collect();
    let worst = [FAILED, INCONCLUSIVE].into_iter().find(|code| codes.contains(code));
    ExitCode::from(worst.unwrap_or(PASSED))
}

fn of_report(report: &Report, strict: bool) -> u8 {
    let warned = report.probes.iter().any(|finding| finding.status == Status::Warn);
    match report.verdict.status {
        Outcome::Pass if strict && warned => FAILED,
        Outcome::Flaky if strict => FAILED,
        Outcome::Pass | Outcome::Flaky => PASSED,
        Outcome::Fail => FAILED,
        Outcome::Inconclusive => INCONCLUSIVE,
    }
}

/// The same as [`usage`], in the format that was asked for: a monitor reads the first line of standard output.
pub(crate) fn usage_in(format: Format, message: impl std::fmt::Display) -> ExitCode {
    if format == Format::Nagios {
        // A reader that went away has seen what it wanted.
        let _ = writeln!(terminal::stdout(Kind::Text), "{}", nagios::unknown(&message.to_string()));
        return ExitCode::from(State::Unknown.code());
    }
    usage(message)
}

/// Ends the process over a command line that clap does not take, or asks for help in.
pub(crate) fn refused(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    if error.use_stderr() {
        terminal::say_lines(&text);
    } else {
        // A reader that went away has seen what it wanted.
        let _ = write!(terminal::stdout(Kind::Text), "{text}");
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let nagios = words.iter().any(|word| word == "--format=nagios")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "nagios");
    match error.use_stderr() {
        true if nagios => {
            let message = error.to_string();
            let first = message.lines().next().unwrap_or_default();
            usage_in(Format::Nagios, first.trim_start_matches("error: "))
        }
        true => ExitCode::from(USAGE),
        false => ExitCode::SUCCESS,
    }
}

/// Says on standard error why the command line cannot be carried out.
pub(crate) fn usage(message: impl std::fmt::Display) -> ExitCode {
    terminal::say(format_args!("{message}"));
    ExitCode::from(USAGE)
}

/// Says on standard error why nothing came of it: the command line, or a host that is short of something.
pub(crate) fn failed(error: &std::io::Error) -> ExitCode {
    match resources::missing(error) {
        Some(short) => {
            let shown = Shown::new(signal::HOST_RESOURCES);
            let mut facts = Facts::default();
            facts.put(short);
            let judgement = judge(&Case { shown: vec![&shown], facts: facts.iter().collect() });
            match judgement.first() {
                Some(first) => terminal::say(format_args!("{}: {error}", first.cause)),
                None => terminal::say(format_args!("{error}")),
            }
            ExitCode::from(INCONCLUSIVE)
        }
        None => usage(error),
    }
}

/// Says on standard error that the result could not be written.
pub(crate) fn not_written(error: &std::io::Error) -> ExitCode {
    if resources::missing(error).is_some() {
        return failed(error);
    }
    terminal::say(format_args!("the report could not be written: {error}"));
    ExitCode::from(INCONCLUSIVE)
}
