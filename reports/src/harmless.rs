//! The last filter before a terminal: whatever was not escaped earlier, only nssight's own colours can control the terminal.

use std::io::{self, Write};

use crate::terminal;

/// What is written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text, in colours if those are used.
    Text,
    /// JSON, whose strings can escape any character (RFC 8259, 7).
    Json,
}

/// Whether a character can affect a terminal or mislead its reader: controls, characters that change the reading direction or end a
/// line, and code points that XML does not allow.
pub(crate) fn is_hidden(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    let ends_or_is_none = matches!(c, '\u{2028}' | '\u{2029}' | '\u{fffe}' | '\u{ffff}');
    c.is_control() || turns || ends_or_is_none
}

/// Passes on only what cannot affect a terminal. Every piece that is written holds complete characters and complete colours.
pub(crate) struct Harmless<W> {
    out: W,
    kind: Kind,
}

impl<W: Write> Harmless<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W, kind: Kind) -> Self {
        Self { out, kind }
    }

    fn pass(&mut self, mut text: &str) -> io::Result<()> {
        while let Some(at) = text.find(|c| is_hidden(c) && !matches!(c, '\n' | '\t' | '\r')) {
            self.out.write_all(&text.as_bytes()[..at])?;
            text = &text[at..];
            let length = match (self.kind, colour(text)) {
                (Kind::Text, Some(length)) if terminal::in_colour() => {
                    self.out.write_all(&text.as_bytes()[..length])?;
                    length
                }
                (kind, _) => {
                    let c = text.chars().next().unwrap_or_default();
                    match kind {
                        Kind::Text => self.out.write_all("\u{fffd}".as_bytes())?,
                        Kind::Json => {
                            c.encode_utf16(&mut [0; 2])
                                .iter()
                                .try_for_each(|unit| write!(self.out, "\\u{unit:04x}"))?;
                        }
                    }
                    c.len_utf8()
                }
            };
            text = &text[length..];
        }
        self.out.write_all(text.as_bytes())
    }
}

/// The length of a colour that a text begins with: `ESC [`, numbers, `m` (ECMA-48, 8.3.117).
fn colour(text: &str) -> Option<usize> {
    let numbers = text.strip_prefix("\u{1b}[")?;
    let end = numbers.find(|c: char| !c.is_ascii_digit() && c != ';')?;
    numbers[end..].starts_with('m').then_some("\u{1b}[".len() + end + 1)
}

impl<W: Write> Write for Harmless<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let whole = match std::str::from_utf8(bytes) {
            Ok(text) => return self.pass(text).map(|()| bytes.len()),
            // A piece may end within a character, whose rest comes with the next.
            Err(error) if error.error_len().is_none() && error.valid_up_to() > 0 => error.valid_up_to(),
            Err(_) => bytes.len(),
        };
        self.pass(&String::from_utf8_lossy(&bytes[..whole]))?;
        Ok(whole)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(kind: Kind, text: &str) -> String {
        let mut out = Vec::new();
        // Piece by piece, as from a buffer.
        let mut harmless = io::BufWriter::with_capacity(7, Harmless::new(&mut out, kind));
        harmless.write_all(text.as_bytes()).unwrap();
        drop(harmless);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn only_harmless_text_is_written() {
        terminal::choose_colours(crate::Colour::Never, false);
        assert_eq!(
            written(Kind::Text, "a\u{1b}[32mb\u{9b}2J\tc\nä\u{202e}d"),
            "a\u{fffd}[32mb\u{fffd}2J\tc\nä\u{fffd}d"
        );
        assert_eq!(written(Kind::Json, "\"ä\u{9b}2J\u{202e}\""), "\"ä\\u009b2J\\u202e\"");
        assert_eq!(colour("\u{1b}[1;38;5;9mx"), Some(11));
        assert_eq!(colour("\u{1b}[2J"), None);
        assert_eq!(colour("\u{1b}]0;title\u{7}"), None);
    }
}
