//! One line for Nagios, Icinga and similar monitors, with performance data and the exit code of the plugin convention
//! (Monitoring Plugins Development Guidelines, "Plugin Output for Nagios" and "Plugin Return Codes").

use std::io::{self, Write};

use nssight_diagnosis::signal::signal;
use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Status};
use nssight_probes::Report;
use nssight_probes::expiry::{Thresholds, Urgency};
use nssight_probes::report::Subject;

use crate::terminal::printable;
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "One line for a monitoring plugin, with its exit codes";

/// NRPE accepts a kilobyte of output, performance data included.
const TEXT_AT_MOST: usize = 320;
/// A name in that text, in characters.
const NAME_AT_MOST: usize = 64;
/// Maximum number of targets in the first line; the others follow below.
const NAMED_AT_MOST: usize = 3;
/// Nagios keeps eight kilobytes of a plugin's output (nagios.h, MAX_PLUGIN_OUTPUT_LENGTH).
const LISTED_AT_MOST: usize = 30;

/// A service's state; its number is the exit code.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Everything passed.
    Ok = 0,
    /// A warning.
    Warning = 1,
    /// A layer failed.
    Critical = 2,
    /// The check gave no verdict.
    Unknown = 3,
}

impl State {
    /// For several targets: a failed one outweighs one without a verdict, which outweighs a warning.
    pub fn of<'a>(subjects: impl IntoIterator<Item = &'a Subject>) -> Self {
        let states = subjects.into_iter().map(|subject| Self::of_report(&subject.report));
        states.max_by_key(|state| state.weight()).unwrap_or(Self::Unknown)
    }

    /// A timeout is critical, even if nssight gave up; only a fault of nssight leads to UNKNOWN.
    fn of_report(report: &Report) -> Self {
        match Standing::of(report) {
            _ if report.verdict.status == Outcome::Pass && is_critical(report) => Self::Critical,
            Standing::Pass => Self::Ok,
            Standing::Warning | Standing::Flaky => Self::Warning,
            Standing::Fail => Self::Critical,
            Standing::Inconclusive if ran_out_of_time(report) => Self::Critical,
            Standing::Inconclusive => Self::Unknown,
        }
    }

    fn weight(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Warning => 1,
            Self::Unknown => 2,
            Self::Critical => 3,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::Warning => "WARNING",
            Self::Critical => "CRITICAL",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The exit code of the plugin.
    pub fn code(self) -> u8 {
        self as u8
    }
}

/// Whether a certificate has hardly any time left.
fn is_critical(report: &Report) -> bool {
    report.expiring().iter().any(|(_, urgency)| *urgency == Urgency::Critical)
}

/// Whether a layer did not finish in time.
fn ran_out_of_time(report: &Report) -> bool {
    let failed = report.probes.iter().find(|finding| finding.status == Status::Fail);
    failed.is_some_and(|finding| finding.signals.iter().any(|shown| shown.signal == signal::TOOL_TIMEOUT))
}

/// The line for a command line that cannot be carried out.
pub fn unknown(message: &str) -> String {
    format!("NSSIGHT UNKNOWN - {}", cut(&clean(message), TEXT_AT_MOST))
}

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let (text, data) = match subjects {
        [one] => (one_target(one), data_of_one(one)),
        many => (several(many), data_of_several(many)),
    };
    writeln!(out, "NSSIGHT {} - {text} | {data}", State::of(subjects).word())?;
    match subjects {
        [one] => details(one, out),
        many => troubled(many, out),
    }
}

/// One line per failing target, as many as a service's page shows.
fn troubled(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let troubled: Vec<(&Subject, State)> = in_trouble(subjects).collect();
    for (subject, state) in troubled.iter().take(LISTED_AT_MOST) {
        writeln!(out, "{}: {}", state.word(), one_target(subject))?;
    }
    match troubled.len().saturating_sub(LISTED_AT_MOST) {
        0 => Ok(()),
        more => writeln!(out, "and {more} more"),
    }
}

fn in_trouble(subjects: &[Subject]) -> impl Iterator<Item = (&Subject, State)> {
    let states = subjects.iter().map(|subject| (subject, State::of_report(&subject.report)));
    states.filter(|(_, state)| *state != State::Ok)
}

/// The verdict, and the time left on our certificate, whatever the state of the network.
fn one_target(subject: &Subject) -> String {
    let report = &subject.report;
    let mut text = format!("{}: ", cut(&subject.name, NAME_AT_MOST));
    if let (Some(layer), Some(cause)) = (report.verdict.layer, report.verdict.cause) {
        let flaky = if report.verdict.status == Outcome::Flaky { "flaky: " } else { "" };
        text += &format!("{flaky}{layer} {}: ", cause.id());
    }
    text += &report.verdict.summary;
    if let Some((_, expiring)) = words::expiring(report).next() {
        return clean(&format!("{}; {expiring}", cut(&text, TEXT_AT_MOST)));
    }
    if let Some(own) = words::own(report) {
        let nickname = cut(own.nickname.as_deref().unwrap_or_default(), NAME_AT_MOST);
        text = format!("{}; \"{nickname}\" {}", cut(&text, TEXT_AT_MOST), words::time_left(own, report));
        return clean(&text);
    }
    clean(&cut(&text, TEXT_AT_MOST))
}

fn several(subjects: &[Subject]) -> String {
    let troubled: Vec<&Subject> = in_trouble(subjects).map(|(subject, _)| subject).collect();
    if troubled.is_empty() {
        return format!("all {} targets pass", subjects.len());
    }
    let named: Vec<String> = troubled
        .iter()
        .take(NAMED_AT_MOST)
        .map(|subject| {
            let cause = subject.report.verdict.cause.map_or("warning", Cause::id);
            format!("{} ({cause})", clean(&cut(&subject.name, NAME_AT_MOST)))
        })
        .collect();
    let more = troubled.len().saturating_sub(NAMED_AT_MOST);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{} of {} targets failing: {}{more}", troubled.len(), subjects.len(), named.join(", "))
}

/// Seconds, and days that certificates and revocation lists have left. Labels are fixed: `'label'=value[unit];warn;crit;min;max`.
fn data_of_one(subject: &Subject) -> String {
    let report = &subject.report;
    let mut data = vec![format!("time={:.6}s;;;0", subject.duration.as_secs_f64())];
    let walked = report.probes.iter().filter(|finding| finding.status != Status::Skip);
    data.extend(walked.map(|finding| format!("'{}'={:.6}s;;;0", finding.layer, finding.duration_us as f64 / 1e6)));
    let thresholds = report.target.thresholds;
    let mut earliest = std::collections::BTreeMap::new();
    for certificate in &report.certificates {
        if let Some(days) = words::days_left(certificate, report) {
            let label = format!("{}_certificate", words::role(certificate, report));
            let known = earliest.entry(label).or_insert((days, thresholds));
            known.0 = days.min(known.0);
        }
    }
    // Labels without blanks, and both thresholds: the earliest of all certificates, then by role, then of the lists.
    let of_all = earliest.values().copied().min_by_key(|(days, _)| *days).map(|least| ("days".to_owned(), least));
    let lists = words::days_left_of_lists(report).min_by_key(|(days, _)| *days);
    let lists = lists.map(|(days, list)| ("revocation_list_days".to_owned(), (days, thresholds.of_list(list))));
    let by_role = earliest.into_iter().map(|(label, least)| (format!("{label}_days"), least));
    data.extend(of_all.into_iter().chain(by_role).chain(lists).map(|(label, (days, thresholds))| {
        let Thresholds { warn_days, critical_days } = thresholds;
        format!("{label}={days};{warn_days};{critical_days};;")
    }));
    data.join(" ")
}

fn data_of_several(subjects: &[Subject]) -> String {
    let count = |state| subjects.iter().filter(|subject| State::of_report(&subject.report) == state).count();
    let total = subjects.len();
    let states =
        [State::Ok, State::Warning, State::Critical, State::Unknown].map(|state| (state.word().to_lowercase(), state));
    let mut data: Vec<String> =
        states.iter().map(|(name, state)| format!("{name}={};;;0;{total}", count(*state))).collect();
    let days = subjects.iter().flat_map(|subject| {
        let report = &subject.report;
        report.certificates.iter().filter_map(|certificate| words::days_left(certificate, report))
    });
    data.extend(days.min().map(|days| format!("cert_days_left_min={days}")));
    data.join(" ")
}

/// The lines below the first one, for the page of the service.
fn details(subject: &Subject, out: &mut dyn Write) -> io::Result<()> {
    for finding in &subject.report.probes {
        let line = format!("{} {}: {}", words::sign(finding.status), finding.layer, words::outcome(finding));
        writeln!(out, "{}", cut(&clean(&line), TEXT_AT_MOST))?;
    }
    for line in words::beside(&subject.report) {
        writeln!(out, "{}", cut(&clean(&line), TEXT_AT_MOST))?;
    }
    for remedy in &subject.report.verdict.remedies {
        let command = remedy.command.as_ref().map(|command| format!(": {command}")).unwrap_or_default();
        writeln!(out, "-> {}", clean(&format!("{}{command}", remedy.text)))?;
    }
    writeln!(out, "{}", clean(&words::colophon(subject)))
}

/// A bar would begin performance data, and a line end the long output.
fn clean(text: &str) -> String {
    printable(text).replace('|', "¦")
}

fn cut(text: &str, at_most: usize) -> String {
    match text.char_indices().nth(at_most) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}
