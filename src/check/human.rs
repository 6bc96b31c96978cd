//! Text output: one line per finished target, and a summary in which targets with the same cause share one entry.

use std::io::{self, Write};
use std::time::Duration;

use colored::{Color, Colorize};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_probes::report::Subject;
use nssight_reports::terminal::{columns_of, cut, padded, printable, wrap};

use super::tally::{CauseCount, Tally, warned};

/// A longer name is truncated on a terminal; otherwise it moves the rest of the line to the right.
const NAME_AT_MOST: usize = 32;
/// Maximum number of names per cause.
const NAMES_AT_MOST: usize = 20;
/// Sign, name, and time with the blanks between them.
const BEFORE_TEXT: usize = 14;

/// How lines are laid out.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    name: usize,
    /// Width of the terminal, at which lines are truncated. Output to a pipe is not truncated.
    width: Option<usize>,
    verbose: bool,
}

impl Layout {
    pub(super) fn of(names: &[String], width: Option<usize>, verbose: bool) -> Self {
        let longest = names.iter().map(|name| columns_of(name)).max().unwrap_or(0);
        Self { name: longest.min(NAME_AT_MOST), width, verbose }
    }

    /// The line of a finished target.
    pub(super) fn line(self, subject: &Subject) -> String {
        let verdict = &subject.report.verdict;
        let (sign, colour) = sign(verdict.status, warned(subject));
        let name = printable(&subject.name);
        let name = if self.width.is_some() { cut(&name, NAME_AT_MOST) } else { name };
        let head = format!("{} {:>8}", padded(&name, self.name), time(subject.duration));
        let place = [verdict.layer.map(|layer| layer.as_str()), verdict.cause.map(|cause| cause.id())];
        let place: Vec<&str> = place.into_iter().flatten().collect();
        let mut text = match verdict.status {
            Outcome::Pass if !warned(subject) => String::new(),
            Outcome::Pass => match subject.report.expiring().first() {
                Some((expiring, _)) => {
                    let day = expiring.date().get(..10).unwrap_or_default();
                    format!("warning: {} expires on {day}", expiring.name())
                }
                None => format!("warning: {}", verdict.summary),
            },
            Outcome::Flaky => format!("flaky: {}, {} attempts", place.join(" · "), subject.tries),
            Outcome::Fail => format!("{}: {}", place.join(" · "), verdict.summary),
            Outcome::Inconclusive => format!("inconclusive: {}: {}", place.join(" · "), verdict.summary),
        };
        text = printable(&text);
        if let Some(width) = self.width {
            text = cut(&text, width.saturating_sub(self.name + BEFORE_TEXT));
        }
        format!("{} {head}  {text}", sign.color(colour)).trim_end().to_owned()
    }

    /// The summary of all results.
    pub(super) fn summary(self, tally: &Tally, names: &[String], out: &mut dyn Write) -> io::Result<()> {
        let width = self.width.unwrap_or(100);
        for cause in tally.causes(names) {
            writeln!(out)?;
            self.cause(&cause, width, out)?;
        }
        writeln!(out)?;
        let mut parts = vec![format!("{} pass", tally.count(Outcome::Pass))];
        if tally.warned > 0 {
            parts[0] += &format!(" ({} with a warning)", tally.warned);
        }
        for (status, word) in
            [(Outcome::Flaky, "flaky"), (Outcome::Fail, "fail"), (Outcome::Inconclusive, "inconclusive")]
        {
            let count = tally.count(status);
            if count > 0 {
                parts.push(format!("{count} {word}").color(sign(status, false).1).to_string());
            }
        }
        if tally.not_walked() > 0 {
            let why = tally.interrupted.map(|signal| format!(" ({signal})")).unwrap_or_default();
            parts.push(format!("{} not checked{why}", tally.not_walked()));
        }
        let count = if tally.targets == 1 { "1 target".to_owned() } else { format!("{} targets", tally.targets) };
        let line = format!("{count} in {}: {}", time(tally.began.elapsed()), parts.join(", "));
        writeln!(out, "{}", line.bold())
    }

    fn cause(self, cause: &CauseCount, width: usize, out: &mut dyn Write) -> io::Result<()> {
        let (sign, colour) = sign(cause.status, false);
        let place = [
            cause.layer.map(|layer| layer.as_str()),
            cause.cause.map(|cause| cause.id()),
            cause.component.map(|component| component.as_str()),
        ];
        let place: Vec<&str> = place.into_iter().flatten().collect();
        let count = if cause.count == 1 { "1 target".to_owned() } else { format!("{} targets", cause.count) };
        let status = match cause.status {
            Outcome::Fail => String::new(),
            other => format!("{other}: "),
        };
        writeln!(out, "{} {}", sign.color(colour), format!("{status}{}: {count}", place.join(" · ")).bold())?;
        if let Some(entry) = cause.cause.map(|cause| cause.entry()) {
            for line in wrap(entry.title.plain(), width.saturating_sub(2)) {
                writeln!(out, "  {line}")?;
            }
        }
        let shown = if self.verbose { cause.targets.len() } else { NAMES_AT_MOST };
        let mut names: Vec<String> = cause.targets.iter().take(shown).map(|name| printable(name)).collect();
        if cause.targets.len() > shown {
            names.push(format!("and {} more (-v names them)", cause.targets.len() - shown));
        }
        for line in wrap(&names.join(", "), width.saturating_sub(2)) {
            writeln!(out, "  {}", line.dimmed())?;
        }
        if let Some(cause) = cause.cause {
            writeln!(out, "  {}", format!("nssight explain {}", cause.id()).cyan())?;
        }
        Ok(())
    }
}

fn sign(status: Outcome, warned: bool) -> (&'static str, Color) {
    match status {
        Outcome::Pass if warned => ("!", Color::Yellow),
        Outcome::Pass => ("✓", Color::Green),
        Outcome::Flaky => ("~", Color::Yellow),
        Outcome::Fail => ("✗", Color::Red),
        Outcome::Inconclusive => ("?", Color::Magenta),
    }
}

fn time(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds => format!("{} min {:02} s", seconds / 60, seconds % 60),
    }
}
