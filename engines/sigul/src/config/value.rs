//! One value of a file, and its place.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use zeroize::Zeroizing;

use super::text::{is_comment, lines, strip};
use crate::shown::shown;

/// Whether a key holds a secret, by its (lower-case) name: passwords, passphrases, PINs and secrets.
pub fn is_secret_key(key: &str) -> bool {
    let words = ["password", "passphrase", "secret"];
    let named = words.iter().any(|word| key.contains(word)) || key.split(['-', '_']).any(|part| part == "pin");
    named && !key.ends_with("-length")
}

/// A value as written in the file, and its place. Wiped when dropped; `Debug` shows what [`Value::shown`] returns.
pub struct Value {
    text: Zeroizing<String>,
    file: Arc<Path>,
    line: usize,
    continued: Option<usize>,
    secret: bool,
}

impl Value {
    /// A value whose first line is `first`, continued in the lines of `rest`; `continued` is the first of these lines that is
    /// not blank.
    pub(super) fn new(
        key: &str,
        first: &str,
        rest: &str,
        continued: Option<usize>,
        file: Arc<Path>,
        line: usize,
    ) -> Self {
        // Allocated at full size: a string that grows leaves copies of a password behind.
        let mut text = Zeroizing::new(String::with_capacity(first.len() + rest.len() + 1));
        text.push_str(first);
        for line in lines(rest) {
            let part = strip(line.text);
            if !is_comment(part) {
                text.push('\n');
                text.push_str(part);
            }
        }
        Self { text, file, line, continued, secret: is_secret_key(key) }
    }

    /// The value itself, lines joined by LF. It may be a secret: see [`Value::is_secret`].
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The file that contains it, as named to [`super::parse`].
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The line of its key, from 1.
    pub fn line(&self) -> usize {
        self.line
    }

    /// The first line that continues it, by being indented deeper than its key.
    pub fn continued(&self) -> Option<usize> {
        self.continued
    }

    /// Whether its key names a secret ([`is_secret_key`]).
    pub fn is_secret(&self) -> bool {
        self.secret
    }

    /// What a message may show: nothing of a secret, and only the first line of any other value, because a password's
    /// line that is indented by mistake becomes part of the value before it.
    pub fn shown(&self) -> String {
        if self.secret { "(not shown)".to_owned() } else { shown(&self.text) }
    }
}

impl fmt::Debug for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {:?}", self.file.display(), self.line, self.shown())
    }
}
