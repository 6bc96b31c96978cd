//! Python's definitions of a line and of white space.

/// Whether Python's `str.isspace` and its regular expressions' `\s` accept `c`: Unicode white space, and also the four
/// information separators U+001C to U+001F.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}

/// `text` without white space around it, as `str.strip` returns it.
pub(super) fn strip(text: &str) -> &str {
    text.trim_matches(is_space)
}

/// Whether a stripped line is a comment: the whole line, introduced by `#` or `;`.
pub(super) fn is_comment(stripped: &str) -> bool {
    stripped.starts_with(['#', ';'])
}

/// One line: where it starts and ends in the whole text (terminator excluded), and its text.
pub(super) struct Line<'t> {
    pub(super) start: usize,
    pub(super) text: &'t str,
}

impl Line<'_> {
    pub(super) fn end(&self) -> usize {
        self.start + self.text.len()
    }
}

/// The lines of `text` as Python's text mode splits them: at LF, CR LF or a lone CR.
pub(super) fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = text.get(next..).filter(|rest| !rest.is_empty())?;
        let start = next;
        let (line, after) = match rest.split_once(['\n', '\r']) {
            None => (rest, rest.len()),
            Some((line, tail)) => {
                let crlf = rest[line.len()..].starts_with('\r') && tail.starts_with('\n');
                (line, line.len() + if crlf { 2 } else { 1 })
            }
        };
        next += after;
        Some(Line { start, text: line })
    })
}

/// The number of the line, from 1, that contains the byte after `before`.
pub(super) fn line_number(before: &[u8]) -> usize {
    let lone_cr = |pair: &[u8]| pair[0] == b'\r' && pair[1] != b'\n';
    let breaks = before.iter().filter(|&&b| b == b'\n').count() + before.windows(2).filter(|p| lone_cr(p)).count();
    1 + breaks + usize::from(before.last() == Some(&b'\r'))
}
