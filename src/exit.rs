//! Exit codes, the same in every format except that of a monitoring plugin.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use clap::error::ErrorKind;
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::judge::{Case, judge};
use nssight_diagnosis::signal::{Shown, signal};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::report::Subject;
use nssight_probes::{Report, resources};
use nssight_reports::nagios::{self, State};
use nssight_reports::terminal;
use nssight_reports::terminal::Kind;

use crate::cli::{self, Format};
use crate::signals::Interrupted;

/// Every layer that was checked passed; warnings are allowed.
pub(crate) const PASSED: u8 = 0;
/// A layer failed, or has a warning under `--strict`.
pub(crate) const FAILED: u8 = 1;
/// The command line cannot be carried out.
pub(crate) const USAGE: u8 = 2;
/// The tool itself could not finish.
pub(crate) const INCONCLUSIVE: u8 = 3;

/// The exit code for the results: the same in every format except that of a monitoring plugin, which has its own convention. A target that
/// fails outweighs one that could not be judged.
pub(crate) fn of(subjects: &[Subject], format: Format, strict: bool) -> ExitCode {
    if format == Format::Nagios {
        return ExitCode::from(State::of(subjects).code());
    }
    let codes: Vec<u8> = subjects.iter().map(|subject| of_report(&subject.report, strict)).collect();
    let worst = [FAILED, INCONCLUSIVE].into_iter().find(|code| codes.contains(code));
    ExitCode::from(worst.unwrap_or(PASSED))
}

/// As [`of`], for a run that a signal may have ended; the exit code is then that of the signal.
pub(crate) fn of_run(interrupted: &Interrupted, subjects: &[Subject], format: Format, strict: bool) -> ExitCode {
    match interrupted.code().filter(|_| format != Format::Nagios) {
        Some(code) => ExitCode::from(code),
        None => of(subjects, format, strict),
    }
}

fn of_report(report: &Report, strict: bool) -> u8 {
    let warned = report.has_warnings();
    match report.verdict.status {
        Outcome::Pass if strict && warned => FAILED,
        Outcome::Flaky if strict => FAILED,
        Outcome::Pass | Outcome::Flaky => PASSED,
        Outcome::Fail => FAILED,
        Outcome::Inconclusive => INCONCLUSIVE,
    }
}

/// As [`usage`], in the requested format: a monitor reads the first line of standard output.
pub(crate) fn usage_in(format: Format, message: impl std::fmt::Display) -> ExitCode {
    if format == Format::Nagios {
        // A closed pipe is not an error: the reader has finished.
        let _ = writeln!(terminal::stdout(Kind::Text), "{}", nagios::unknown(&message.to_string()));
        return ExitCode::from(State::Unknown.code());
    }
    usage(message)
}

/// Ends the process after a command line that clap rejects or that requests help.
pub(crate) fn refused(error: &clap::Error) -> ExitCode {
    if !error.use_stderr() {
        // A closed pipe is not an error: the reader has finished.
        let _ = write!(terminal::stdout(Kind::Text), "{}", error.render());
        return ExitCode::SUCCESS;
    }
    let words: Vec<OsString> = std::env::args_os().collect();
    let nagios = words.iter().any(|word| word == "--format=nagios")
        || words.windows(2).any(|pair| pair[0] == "--format" && pair[1] == "nagios");
    usage_in(if nagios { Format::Nagios } else { Format::Human }, in_one_line(error))
}

/// Joins clap's message of several paragraphs: what is wrong, and the nearest valid word.
fn in_one_line(error: &clap::Error) -> String {
    if error.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return "no command was given; nssight --help lists them".to_owned();
    }
    let text = error.render().to_string();
    let mut paragraphs = text.split("\n\n").map(|it| it.split_whitespace().collect::<Vec<_>>().join(" "));
    let first = paragraphs.next().unwrap_or_default();
    let first = first.strip_prefix("error: ").unwrap_or(&first).to_owned();
    // The parser names a range as Rust writes it.
    let first = match first.split_once(" is not in ") {
        Some((before, range)) => format!("{before} is not between {}", range.replacen("..=", " and ", 1)),
        None => first,
    };
    if first.contains("'--json'") {
        return format!("{first}; did you mean --format json?");
    }
    // Without a similar word, clap only explains how to pass the argument unchanged.
    let near = paragraphs.find_map(|it| Some(it.strip_prefix("tip: a similar ")?.to_owned()));
    match near.as_deref().and_then(|it| it.split_once(": ")).map(|(_, word)| word) {
        Some(word) => format!("{first}; did you mean {word}?"),
        None => first,
    }
}

/// Prints on standard error why the command line cannot be carried out, with an example of a valid one.
pub(crate) fn usage(message: impl std::fmt::Display) -> ExitCode {
    terminal::say(format_args!("{message}"));
    let words: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    terminal::say_lines(&format!("  for example: {}", cli::example_for(&words)));
    ExitCode::from(USAGE)
}

/// Prints on standard error why there is no result: because of the command line, or because the host lacks a resource.
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

/// The exit code of a command that only writes output.
pub(crate) fn written(result: std::io::Result<()>) -> ExitCode {
    after(result, ExitCode::from(PASSED))
}

/// The exit code of a command after its report was written. A reader that closes the pipe early (`| head`) is not an error.
pub(crate) fn after(written: std::io::Result<()>, code: ExitCode) -> ExitCode {
    match written {
        Ok(()) => code,
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => code,
        Err(error) => not_written(&error),
    }
}

/// Reports on standard error that the result could not be written.
pub(crate) fn not_written(error: &std::io::Error) -> ExitCode {
    if resources::missing(error).is_some() {
        return failed(error);
    }
    terminal::say(format_args!("cannot write the report: {error}"));
    ExitCode::from(INCONCLUSIVE)
}
