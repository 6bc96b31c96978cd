//! GitHub-flavoured Markdown, for tickets and step summaries. Text from outside never acts as markup in it.

use std::io::{self, Write};

use nssight_diagnosis::Status;
use nssight_probes::Report;
use nssight_probes::report::Subject;
use nssight_probes::wire::{Session, Way};

use crate::terminal::printable;
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "Markdown, for a ticket";

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    overview(subjects, out)?;
    detailed(subjects).try_for_each(|subject| section(subject, out))
}

/// For many targets, only those that do not pass.
pub(crate) fn detailed(subjects: &[Subject]) -> impl Iterator<Item = &Subject> {
    let all = subjects.len() == 1;
    subjects.iter().filter(move |subject| all || Standing::of(&subject.report) != Standing::Pass)
}

/// A table of all targets; nothing if there is only one.
pub(crate) fn overview(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    if subjects.len() == 1 {
        return Ok(());
    }
    let passed = subjects.iter().filter(|subject| Standing::of(&subject.report).passes()).count();
    writeln!(out, "# nssight: {passed} of {} targets pass\n", subjects.len())?;
    writeln!(out, "| | Target | Verdict | Summary | Time |\n|---|---|---|---|---:|")?;
    for subject in subjects {
        let report = &subject.report;
        let place = words::place(report).iter().map(|word| code(word)).collect::<Vec<_>>().join(" · ");
        let cells = [
            Standing::of(report).sign().to_owned(),
            cell(&code(&subject.name)),
            format!("**{}** {place}", Standing::of(report).word()),
            cell(&text(&report.verdict.summary)),
            format!("{:.1} s", subject.duration.as_secs_f64()),
        ];
        writeln!(out, "| {} |", cells.join(" | "))?;
    }
    writeln!(out)
}

/// Everything about one target.
pub(crate) fn section(subject: &Subject, out: &mut dyn Write) -> io::Result<()> {
    let report = &subject.report;
    let verdict = &report.verdict;
    writeln!(out, "## {} {}\n", Standing::of(report).sign(), code(&subject.name))?;
    let place: String = words::place(report).iter().map(|word| format!(" · {}", code(word))).collect();
    writeln!(out, "**{}**{place}\n\n> {}\n", Standing::of(report).word(), text(&verdict.summary))?;
    if let Some(layer) = words::seen_at(report) {
        writeln!(out, "The failure appeared at {}.\n", code(layer.as_str()))?;
    }
    if let Some(also) = words::also(report) {
        writeln!(out, "Also proven: {}.\n", text(&also))?;
    }
    if !subject.labels.is_empty() {
        let labels = subject.labels.iter().map(|(name, value)| code(&format!("{name}={value}")));
        writeln!(out, "Labels: {}\n", labels.collect::<Vec<_>>().join(" "))?;
    }
    if let Some(cause) = verdict.cause {
        writeln!(out, "### Why this happens\n\n{}\n", text(&words::why(report, cause)))?;
        if let Some(page) = &verdict.docs {
            writeln!(out, "More: {}\n", code(page))?;
        }
    }
    alternatives(report, out)?;
    remedies(report, out)?;
    layers(report, out)?;
    facts(report, out)?;
    certificates(report, out)?;
    wire(report, out)?;
    writeln!(out, "{}\n", text(&words::colophon(subject)))
}

fn alternatives(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for (index, other) in words::alternatives(report).enumerate() {
        if index == 0 {
            writeln!(out, "### Other possible causes\n")?;
        }
        let how = other.tell_apart.first().map(|how| format!(": {}", text(how))).unwrap_or_default();
        writeln!(out, "- {} · {}{how}", code(other.cause.id()), code(other.component.as_str()))?;
    }
    if report.verdict.alternatives.is_empty() { Ok(()) } else { writeln!(out) }
}

fn remedies(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.verdict.remedies.is_empty() {
        return Ok(());
    }
    writeln!(out, "### What to do\n")?;
    for (index, remedy) in report.verdict.remedies.iter().enumerate() {
        let mark = format!("{}. ", index + 1);
        writeln!(out, "{mark}{}", text(&remedy.text))?;
        if let Some(command) = &remedy.command {
            writeln!(out)?;
            fenced("sh", &[printable(command)], mark.len(), out)?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn layers(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "### Layers\n\n| | Layer | Time | Result |\n|---|---|---:|---|")?;
    for finding in &report.probes {
        let (sign, time) = (words::sign(finding.status), words::time(finding));
        let strong = if finding.status == Status::Fail { "**" } else { "" };
        let outcome = cell(&text(&words::outcome(finding)));
        writeln!(out, "| {sign} | {strong}{}{strong} | {time} | {outcome} |", finding.layer)?;
    }
    writeln!(out)
}

fn facts(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    for finding in words::grounds(report) {
        let facts = words::facts(finding);
        if facts.is_empty() {
            continue;
        }
        writeln!(out, "### Facts of {}\n\n| Fact | Value |\n|---|---|", finding.layer)?;
        for (key, value) in facts {
            writeln!(out, "| {} | {} |", cell(&text(&key)), cell(&code(&value)))?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn certificates(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.certificates.is_empty() {
        return Ok(());
    }
    writeln!(out, "### Certificates\n\n| Role | Subject | Issuer | Valid until | |\n|---|---|---|---|---|")?;
    for certificate in &report.certificates {
        let nickname = certificate.nickname.as_ref().map(|nickname| format!(" {}", cell(&code(nickname))));
        let left = words::time_left(certificate, report);
        let [subject, issuer] = [&certificate.subject, &certificate.issuer].map(|name| cell(&code(name)));
        let (role, nickname, end) =
            (words::role(certificate, report), nickname.unwrap_or_default(), &certificate.not_after);
        writeln!(out, "| {role}{nickname} | {subject} | {issuer} | {} | {left} |", text(end))?;
    }
    for list in &report.revocation_lists {
        let end = list.next_update.as_deref().unwrap_or_default();
        let left = words::days_until(end, report).map(words::days_in_words).unwrap_or_default();
        writeln!(out, "| revocation list | | {} | {} | {left} |", cell(&code(&list.issuer)), text(end))?;
    }
    writeln!(out)
}

fn wire(report: &Report, out: &mut dyn Write) -> io::Result<()> {
    if report.wire.is_empty() {
        return Ok(());
    }
    writeln!(out, "### On the wire\n")?;
    let lines = report.wire.iter().map(|event| {
        let arrow = if event.direction == Way::Sent { "->" } else { "<-" };
        let session = match (event.session, event.connection) {
            (Session::Inner, _) => "inner".to_owned(),
            (Session::Outer, Some(number)) => format!("outer #{number}"),
            (Session::Outer, None) => "outer".to_owned(),
        };
        format!("{:>10.1} ms  {session} {arrow} {}", event.at_us as f64 / 1000.0, printable(&event.what))
    });
    fenced("text", &lines.collect::<Vec<_>>(), 0, out)?;
    writeln!(out)
}

/// Lines between fences that are longer than any run of backticks in them (CommonMark 0.31, 4.5).
fn fenced(language: &str, lines: &[String], indent: usize, out: &mut dyn Write) -> io::Result<()> {
    let longest = lines.iter().map(|line| longest_run(line)).max().unwrap_or(0);
    let fence = "`".repeat(longest.max(2) + 1);
    writeln!(out, "{:indent$}{fence}{language}", "")?;
    for line in lines {
        writeln!(out, "{:indent$}{line}", "")?;
    }
    writeln!(out, "{:indent$}{fence}", "")
}

fn longest_run(text: &str) -> usize {
    text.split(|c| c != '`').map(str::len).max().unwrap_or(0)
}

/// A code span, which takes no markup, no mention and no link (CommonMark 0.31, 6.1).
fn code(value: &str) -> String {
    let value = words_of(value);
    if value.is_empty() {
        return String::new();
    }
    let fence = "`".repeat(longest_run(&value) + 1);
    let pad = if value.starts_with('`') || value.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{value}{pad}{fence}")
}

/// Running text: what could begin markup, a mention or a link is escaped.
fn text(value: &str) -> String {
    let value = words_of(value);
    let mut escaped = String::with_capacity(value.len());
    for (index, c) in value.char_indices() {
        let begins_block = index == 0 && matches!(c, '-' | '+' | '=')
            || matches!(c, '.' | ')') && value[..index].bytes().all(|byte| byte.is_ascii_digit());
        let begins_link = c == ':' && value[index..].starts_with("://");
        if begins_block || begins_link || r"\`*_[]<>|~&$#@^!".contains(c) {
            escaped.push('\\');
        }
        escaped.push(c);
    }
    escaped
}

/// In a cell a bar is escaped everywhere, also in code (GitHub Flavored Markdown 0.29, 4.10); [`text`] has already escaped its own.
fn cell(markup: &str) -> String {
    let mut cell = String::with_capacity(markup.len());
    let mut escaped = false;
    for c in markup.chars() {
        if c == '|' && !escaped {
            cell.push('\\');
        }
        escaped = c == '\\' && !escaped;
        cell.push(c);
    }
    cell
}

/// One line of visible characters.
fn words_of(value: &str) -> String {
    printable(&value.split_whitespace().collect::<Vec<_>>().join(" "))
}
