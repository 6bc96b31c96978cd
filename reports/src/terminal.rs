//! Writing for people: colours, widths, wrapping, tables, and strangers' text made harmless.

use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

use crate::Colour;

/// Lines longer than this are hard to read, whatever the terminal has.
const WIDEST: usize = 140;
/// The width taken where there is no terminal to ask.
const WITHOUT_TERMINAL: usize = 100;

/// Decides about colours for the rest of the process. `terminal`: whether the output goes to one.
pub fn choose_colours(wanted: Colour, terminal: bool) {
    colored::control::set_override(match wanted {
        Colour::Always => true,
        Colour::Never => false,
        Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
    });
}

/// Writes a document as JSON to standard output.
pub fn json(document: &impl Serialize) -> io::Result<()> {
    output(|out| {
        serde_json::to_writer_pretty(&mut *out, document)?;
        writeln!(out)
    })
}

/// Writes to standard output in large pieces. A reader that went away has seen what it wanted.
pub fn output(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match write(&mut out).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Whether colours are used.
pub fn in_colour() -> bool {
    colored::control::SHOULD_COLORIZE.should_colorize()
}

/// The width for text: the terminal's, or a fixed one.
pub fn width(on_terminal: bool) -> usize {
    whole_width(on_terminal).clamp(40, WIDEST)
}

fn whole_width(on_terminal: bool) -> usize {
    let terminal = on_terminal.then(|| Table::new().width()).flatten().map(usize::from);
    terminal.unwrap_or(WITHOUT_TERMINAL)
}

/// A table without lines, as wide as the terminal at most; wider than a pipe's reader expects it never wraps.
pub fn table(columns: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    if io::stdout().is_terminal() {
        table.set_content_arrangement(ContentArrangement::Dynamic);
        table.set_width(u16::try_from(whole_width(true).saturating_sub(2)).unwrap_or(u16::MAX));
    }
    if in_colour() {
        table.enforce_styling();
    } else {
        table.force_no_tty();
    }
    table
        .set_header(columns.iter().map(|name| comfy_table::Cell::new(name).add_attribute(comfy_table::Attribute::Dim)));
    table
}

/// Writes a table, indented by two.
pub fn write_table(out: &mut dyn Write, table: &Table) -> io::Result<()> {
    table.lines().try_for_each(|line| writeln!(out, "  {}", line.trim_end()))
}

/// Writes names and values in two columns.
pub fn pairs(out: &mut dyn Write, rows: &[[String; 2]]) -> io::Result<()> {
    let names = rows.iter().map(|[name, _]| name.chars().count()).max().unwrap_or(0);
    for [name, value] in rows {
        paragraph(out, &format!("  {name:<names$}  "), names + 4, value)?;
    }
    Ok(())
}

/// Writes one item of a list.
pub fn item(out: &mut dyn Write, text: &str) -> io::Result<()> {
    paragraph(out, "  · ", 4, text)
}

/// Writes wrapped text behind a head; further lines are indented.
pub fn paragraph(out: &mut dyn Write, head: &str, indent: usize, text: &str) -> io::Result<()> {
    let width = width(io::stdout().is_terminal());
    for (index, line) in wrap(&printable(text), width.saturating_sub(indent)).iter().enumerate() {
        match index {
            0 => writeln!(out, "{}", format!("{head}{line}").trim_end())?,
            _ => writeln!(out, "{:indent$}{line}", "")?,
        }
    }
    Ok(())
}

/// Names and first bytes come from strangers: no control character of theirs reaches the terminal, nothing that turns the
/// reading direction or ends a line, and no code point that XML has no place for.
pub fn printable(text: &str) -> String {
    let turns =
        |c| matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_or_is_none = |c| matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}');
    let hidden = |c: char| c.is_control() || turns(c) || ends_or_is_none(c);
    text.chars().map(|c| if hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// Breaks at blanks; a word longer than the line stands alone on its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if used > 0 && used + 1 + length > width {
            lines.push(String::new());
            used = 0;
        }
        if let Some(line) = lines.last_mut() {
            if used > 0 {
                line.push(' ');
                used += 1;
            }
            line.push_str(word);
            used += length;
        }
    }
    lines
}
