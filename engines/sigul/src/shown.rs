//! Makes foreign text fit for one line of a message.

use std::fmt::Write as _;

/// Maximum number of characters of a foreign text that a message repeats.
const LONGEST: usize = 80;

/// The first line of `text`, control characters escaped, cut at 80 characters.
pub(crate) fn shown(text: &str) -> String {
    let first = text.split('\n').next().unwrap_or_default();
    let mut out = String::new();
    for (count, c) in first.chars().enumerate() {
        if count == LONGEST {
            out.push('…');
            break;
        }
        if c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}') {
            // Direction marks and line separators would let a file rearrange the message around it.
            let _ = write!(out, "{}", c.escape_default());
        } else {
            out.push(c);
        }
    }
    out
}
