//! Output for people: colours, widths, wrapping, tables, and foreign text made harmless.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use comfy_table::{ContentArrangement, Table, presets};
use nssight_diagnosis::in_words;
use serde::Serialize;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use crate::Colour;
pub use crate::harmless::Kind;
use crate::harmless::{self, Harmless};

/// Lines longer than this are hard to read, whatever the terminal has.
const WIDEST: usize = 140;
/// The width used if there is no terminal.
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
    written(stdout(Kind::Json), |out| {
        serde_json::to_writer_pretty(&mut *out, document)?;
        writeln!(out)
    })
}

/// Prints one line on standard error, in which foreign content is only text. If it cannot be printed, it is dropped.
pub fn say(text: impl Display) {
    say_as("nssight", text);
}

/// The same for a part that has a name of its own.
pub fn say_as(who: &str, text: impl Display) {
    let _ = writeln!(io::stderr(), "{who}: {}", printable(&in_words(&text.to_string())));
}

/// Prints text without a name in front of it: the description of a usage error takes several lines.
pub fn say_lines(text: &str) {
    let mut error = io::stderr().lock();
    for line in text.lines() {
        let _ = writeln!(error, "{}", printable(line));
    }
}

/// Standard error, for output that is written piece by piece.
pub fn stderr(kind: Kind) -> impl Write {
    Harmless::new(io::stderr(), kind)
}

/// Writes one line to standard output.
///
/// # Errors
/// As for write(2); a reader that closed the pipe is not an error.
pub fn line(text: impl Display) -> io::Result<()> {
    output(|out| writeln!(out, "{}", printable(&text.to_string())))
}

/// Standard output, for output that is written piece by piece.
pub fn stdout(kind: Kind) -> impl Write {
    Harmless::new(io::stdout(), kind)
}

/// Writes to standard output in large pieces. A reader that closed the pipe is not an error.
pub fn output(write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    written(stdout(Kind::Text), write)
}

fn written(out: impl Write, write: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> io::Result<()> {
    let mut out = BufWriter::new(out);
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

/// A table without lines, at most as wide as the terminal; in a pipe it is never wrapped.
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
    let names = rows.iter().map(|[name, _]| columns_of(name)).max().unwrap_or(0);
    for [name, value] in rows {
        paragraph(out, &format!("  {}  ", padded(name, names)), names + 4, value)?;
    }
    Ok(())
}

/// A text beside its names needs this many columns; with fewer, it is put below them.
const BESIDE: usize = 40;

/// Writes a list: names in columns, followed by a text. A pipe gets one line per row; a terminal gets the text wrapped.
pub fn list<const N: usize>(out: &mut dyn Write, rows: &[([&str; N], String)]) -> io::Result<()> {
    let width = io::stdout().is_terminal().then(|| width(true));
    list_in(out, rows, width)
}

fn list_in<const N: usize>(out: &mut dyn Write, rows: &[([&str; N], String)], width: Option<usize>) -> io::Result<()> {
    let widest = |column: usize| rows.iter().map(|(names, _)| columns_of(names[column])).max().unwrap_or(0);
    let columns: [usize; N] = std::array::from_fn(widest);
    let indent: usize = columns.iter().map(|columns| columns + 2).sum();
    for (names, text) in rows {
        let head: String = names.iter().zip(columns).map(|(name, columns)| padded(name, columns + 2)).collect();
        let Some(width) = width else {
            writeln!(out, "{}", format!("{head}{text}").trim_end())?;
            continue;
        };
        let below = width < indent + BESIDE;
        let (mut head, indent) = if below { (String::new(), 4) } else { (head, indent) };
        if below {
            writeln!(out, "{}", names.join("  "))?;
            head = " ".repeat(indent);
        }
        for line in wrap(text, width.saturating_sub(indent)) {
            writeln!(out, "{}", format!("{head}{line}").trim_end())?;
            head = " ".repeat(indent);
        }
    }
    Ok(())
}

/// Writes one item of a list.
pub fn item(out: &mut dyn Write, text: &str) -> io::Result<()> {
    paragraph(out, "  · ", 4, text)
}

/// Writes wrapped text after a head; further lines are indented.
pub fn paragraph(out: &mut dyn Write, head: &str, indent: usize, text: &str) -> io::Result<()> {
    let width = width(io::stdout().is_terminal());
    for (index, line) in wrap(&shortened(text, LONG), width.saturating_sub(indent)).iter().enumerate() {
        match index {
            0 => writeln!(out, "{}", format!("{head}{line}").trim_end())?,
            _ => writeln!(out, "{:indent$}{line}", "")?,
        }
    }
    Ok(())
}

/// Names and first bytes come from outside. Nothing in them reaches the terminal that is a control character, changes the
/// reading direction, ends a line, or is a code point that XML does not allow.
pub fn printable(text: &str) -> String {
    text.chars().map(|c| if harmless::is_hidden(c) { '\u{fffd}' } else { c }).collect()
}

/// The number of characters of one value that are shown to readers who want to see what happened,
pub const SHORT: usize = 2_000;
/// and to readers who want to see everything.
pub const LONG: usize = 20_000;
/// The length limit of a word, above that of any name and any digest; a table's columns are laid out letter by letter.
const WORD: usize = 300;

/// The beginning of a value, harmless, and how much is left out: of the whole, and of each word that is too long for a line.
pub fn shortened(text: &str, at_most: usize) -> String {
    let word_at_most = if at_most == LONG { SHORT } else { WORD };
    let (mut short, mut word, mut left_out) = (String::new(), 0, 0_usize);
    let end_of_word = |short: &mut String, left_out: &mut usize| {
        if *left_out > 0 {
            short.push_str(&format!("… ({left_out} more)"));
            *left_out = 0;
        }
    };
    let mut count = 0;
    for c in in_words(text).chars() {
        count += 1;
        if count > at_most {
            continue;
        }
        if c == ' ' || c == '\n' {
            end_of_word(&mut short, &mut left_out);
            word = 0;
        }
        word += 1;
        if word > word_at_most { left_out += 1 } else { short.push(c) }
    }
    left_out += count.saturating_sub(at_most);
    end_of_word(&mut short, &mut left_out);
    printable(&short)
}

/// A value in a table.
pub fn cell(text: &str) -> String {
    shortened(text, SHORT)
}

/// Breaks at blanks; a word longer than the line gets a line of its own.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let options = textwrap::Options::new(width)
        .break_words(false)
        .word_separator(textwrap::WordSeparator::AsciiSpace)
        .word_splitter(textwrap::WordSplitter::NoHyphenation);
    textwrap::wrap(&text, options).into_iter().map(String::from).collect()
}

/// The columns that a text takes: two for each letter of Chinese, Japanese and Korean, none for a combining mark (UAX #11).
pub fn columns_of(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// The text with blanks after it, up to this many columns.
pub fn padded(text: &str, columns: usize) -> String {
    format!("{text}{:1$}", "", columns.saturating_sub(columns_of(text)))
}

/// The text if it fits, otherwise its beginning with an ellipsis.
pub fn cut(text: &str, columns: usize) -> String {
    if columns_of(text) <= columns {
        return text.to_owned();
    }
    let mut room = columns.saturating_sub(1);
    let begins = text.chars().take_while(|c| {
        let width = c.width().unwrap_or(0);
        let fits = width <= room;
        room = room.saturating_sub(width);
        fits
    });
    begins.chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_word_is_cut_and_a_long_text_loses_its_last_words() {
        let word = "w".repeat(100_000);
        let short = shortened(&format!("before {word} after"), SHORT);
        assert!(short.len() < 400 && short.starts_with("before www") && !short.contains("after"), "{short}");
        assert!(shortened(&word, LONG).len() > shortened(&word, SHORT).len());
        assert_eq!(shortened("a b\tc", SHORT), "a b\u{fffd}c");
        let text = "word ".repeat(10_000);
        let short = shortened(&text, SHORT);
        assert!(short.chars().count() < SHORT + 40 && short.ends_with("more)"), "{short}");
        let whole = "a sentence of usual length".to_owned();
        assert_eq!(shortened(&whole, SHORT), whole);
    }

    #[test]
    fn wide_and_combining_letters_take_the_columns_that_a_terminal_gives_them() {
        assert_eq!((columns_of("署名鍵"), columns_of("e\u{301}té"), columns_of("key")), (6, 3, 3));
        assert_eq!(padded("署名", 6), "署名  ");
        assert_eq!(
            (cut("署名鍵", 6), cut("署名鍵", 5), cut("署名鍵", 4)),
            ("署名鍵".into(), "署名…".into(), "署…".into())
        );
        assert_eq!(wrap("署名鍵 署名鍵 key", 10), ["署名鍵", "署名鍵 key"]);
    }

    #[test]
    fn a_list_wraps_beside_its_names_or_below_them_and_stays_whole_in_a_pipe() {
        let rows = [(["certificate-expired", "certificate"], "The certificate of the client has expired.".to_owned())];
        let written = |width| {
            let mut out = Vec::new();
            list_in(&mut out, &rows, width).unwrap();
            String::from_utf8(out).unwrap()
        };
        assert_eq!(written(None), "certificate-expired  certificate  The certificate of the client has expired.\n");
        let indent = " ".repeat(34);
        let wide = format!("certificate-expired  certificate  The certificate of the client has\n{indent}expired.\n");
        assert_eq!(written(Some(74)), wide);
        let narrow = "certificate-expired  certificate\n    The certificate of the client has\n    expired.\n";
        assert_eq!(written(Some(40)), narrow);
    }
}
