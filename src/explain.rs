//! `nssight explain`: an error code, a name, an alert, or a pasted message.

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;

use colored::Colorize;
use nssight_diagnosis::explain::{self, Candidate, Explanation};
use nssight_reports::terminal;
use nssight_triage::{Explained, Judged};
use schemars::JsonSchema;
use serde::Serialize;

use crate::cli::{ExplainOptions, TableFormat};
use crate::exit;

/// Causes shown without `-v`.
const CAUSES: usize = 6;
/// How similar a name must be for a suggestion (Jaro-Winkler, 0 to 1).
const ALIKE: f64 = 0.85;
const SUGGESTIONS: usize = 3;
/// The input is one message of a program, not its log; `triage` reads logs.
const MESSAGE_AT_MOST: u64 = 1024 * 1024;

/// The document, schema `nssight/explain/1`.
#[derive(Serialize, JsonSchema)]
pub(crate) struct Document {
    schema: &'static str,
    /// One entry per argument.
    answers: Vec<Answer>,
}

/// An argument, and its explanation.
#[derive(Serialize, JsonSchema)]
struct Answer {
    asked: String,
    #[serde(flatten)]
    explained: Explained,
    /// Similar names; only for an unknown argument.
    suggestions: Vec<String>,
}

pub(crate) fn run(options: &ExplainOptions) -> ExitCode {
    if options.list {
        return list();
    }
    let (words, output) = options.parted();
    let asked = match words {
        [word] if word == "-" => match standard_input() {
            Ok(text) => vec![text],
            Err(error) => return exit::usage(format_args!("cannot read standard input: {error}")),
        },
        words => questions(words),
    };
    let answers: Vec<Answer> = asked.into_iter().map(answer).collect();
    let unknown = answers.iter().any(|answer| answer.explained.explanations.is_empty());
    terminal::choose_colours(output.color, io::stdout().is_terminal());
    let written = match output.format {
        TableFormat::Json => terminal::json(&Document { schema: "nssight/explain/1", answers }),
        TableFormat::Human => terminal::output(|out| human(out, &answers, output.verbose)),
    };
    match written {
        Err(error) => exit::not_written(&error),
        Ok(()) if unknown => ExitCode::from(exit::FAILED),
        Ok(()) => ExitCode::from(exit::PASSED),
    }
}

/// Reads standard input as one message.
fn standard_input() -> io::Result<String> {
    let mut bytes = Vec::new();
    io::stdin().lock().take(MESSAGE_AT_MOST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MESSAGE_AT_MOST {
        return Err(io::Error::other("it is longer than 1 MiB; `nssight triage -` reads logs of any length"));
    }
    match String::from_utf8_lossy(&bytes).trim() {
        "" => Err(io::Error::other("it is empty")),
        text => Ok(text.to_owned()),
    }
}

/// Several words are several questions if each one is known; otherwise they form one message.
fn questions(words: &[String]) -> Vec<String> {
    let single = |word: &String| !word.contains(char::is_whitespace) && !explain::explain(word).is_empty();
    if words.len() > 1 && !words.iter().all(single) { vec![words.join(" ")] } else { words.to_vec() }
}

fn answer(asked: String) -> Answer {
    let explained = nssight_triage::explain(&asked);
    let suggestions = if explained.explanations.is_empty() { suggestions(&asked) } else { Vec::new() };
    Answer { asked, explained, suggestions }
}

fn suggestions(asked: &str) -> Vec<String> {
    let asked = asked.to_lowercase();
    let alike = |name: &String| strsim::jaro_winkler(&asked, &name.to_lowercase());
    let mut near: Vec<(f64, String)> = explain::names().into_iter().map(|(_, name, _)| (alike(&name), name)).collect();
    near.retain(|(alike, _)| *alike >= ALIKE);
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.into_iter().take(SUGGESTIONS).map(|(_, name)| name).collect()
}

fn list() -> ExitCode {
    let written = terminal::output(|out| {
        explain::names().iter().try_for_each(|(kind, name, code)| {
            let code = code.map(|code| code.to_string()).unwrap_or_default();
            writeln!(out, "{:<8} {code:>6}  {name}", format!("{kind:?}").to_lowercase())
        })
    });
    match written {
        Ok(()) => ExitCode::from(exit::PASSED),
        Err(error) => exit::not_written(&error),
    }
}

fn human(out: &mut dyn Write, answers: &[Answer], verbose: bool) -> io::Result<()> {
    for (index, answer) in answers.iter().enumerate() {
        if index > 0 {
            writeln!(out)?;
        }
        let Explained { judged, explanations } = &answer.explained;
        if explanations.is_empty() {
            let near = if answer.suggestions.is_empty() {
                "`nssight explain --list` shows all names; paste messages as whole lines".to_owned()
            } else {
                format!("did you mean {}?", answer.suggestions.join(", "))
            };
            terminal::paragraph(out, "", 2, &format!("\"{}\" is unknown: {near}", answer.asked))?;
        }
        if let Some(judged) = judged {
            together(out, judged, verbose)?;
        }
        for (index, explanation) in explanations.iter().enumerate() {
            if index > 0 || judged.is_some() {
                writeln!(out)?;
            }
            one(out, explanation, verbose)?;
        }
    }
    Ok(())
}

/// The verdict on all lines, and the decisive line.
fn together(out: &mut dyn Write, judged: &Judged, verbose: bool) -> io::Result<()> {
    writeln!(out, "{}", format!("Line {} decides", judged.line).bold())?;
    terminal::paragraph(out, "  ", 2, &judged.text)?;
    terminal::paragraph(out, "  ", 2, judged.summary.trim_start_matches("cannot tell: "))?;
    candidates(out, &judged.causes, verbose)
}

fn candidates(out: &mut dyn Write, causes: &[Candidate], verbose: bool) -> io::Result<()> {
    let shown = if verbose { causes.len() } else { CAUSES };
    causes.iter().take(shown).try_for_each(|it| candidate(out, it, verbose))?;
    if causes.len() > shown {
        writeln!(out, "  and {} more causes; -v shows them", causes.len() - shown)?;
    }
    Ok(())
}

fn one(out: &mut dyn Write, explanation: &Explanation, verbose: bool) -> io::Result<()> {
    let code = explanation.code.map(|code| format!(" ({code})")).unwrap_or_default();
    writeln!(out, "{}{code}", terminal::printable(&explanation.name).bold())?;
    terminal::paragraph(out, "  ", 2, &explanation.meaning)?;
    let layers: Vec<&str> = explanation.layers.iter().map(|layer| layer.as_str()).collect();
    terminal::pairs(
        out,
        &[["from".to_owned(), explanation.library.to_owned()], ["layers".to_owned(), layers.join(", ")]],
    )?;
    candidates(out, &explanation.causes, verbose)
}

fn candidate(out: &mut dyn Write, candidate: &Candidate, verbose: bool) -> io::Result<()> {
    writeln!(out, "  {} ({})", candidate.cause.id().bold(), candidate.layer)?;
    terminal::paragraph(out, "      ", 6, candidate.title)?;
    // A step that distinguishes a candidate from the first is worth more than one that confirms it. Where neither is
    // known, there is only one step.
    let shown = if verbose { candidate.tell_apart.len() } else { 1 };
    for how in candidate.tell_apart.iter().take(shown).filter(|how| candidate.check != Some(how.as_str())) {
        terminal::paragraph(out, "      ", 6, &format!("To distinguish this cause from the first: {how}"))?;
    }
    if let Some(check) = candidate.check {
        terminal::paragraph(out, "      ", 6, check)?;
    }
    match candidate.command {
        Some(command) => writeln!(out, "        {}", command.cyan()),
        None => Ok(()),
    }
}
