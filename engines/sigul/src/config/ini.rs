//! The syntax of one file.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use super::error::ConfigError;
use super::text::{Line, is_comment, is_space, line_number, lines, strip};
use super::value::Value;

/// The longest line that is read, in bytes.
pub const MAX_LINE: usize = 65_536;

/// Maximum number of sections and keys together in one file.
pub const MAX_ENTRIES: usize = 16_384;

/// The section whose keys apply wherever other sections lack them.
pub(super) const DEFAULT_SECTION: &str = "DEFAULT";

#[derive(Debug)]
pub(super) struct Section {
    pub(super) line: usize,
    pub(super) keys: BTreeMap<String, Value>,
}

/// One file, parsed. Key names are lower case; section names are as written. `Debug` shows no secrets.
#[derive(Debug)]
pub struct Ini {
    file: Arc<Path>,
    pub(super) sections: BTreeMap<String, Section>,
}

impl Ini {
    /// The file, as named to [`parse`].
    pub fn file(&self) -> &Path {
        &self.file
    }

    /// The sections and the line (from 1) of each, in alphabetical order, `DEFAULT` not among them.
    pub fn sections(&self) -> impl Iterator<Item = (&str, usize)> {
        self.sections.iter().filter(|(name, _)| *name != DEFAULT_SECTION).map(|(name, section)| (&**name, section.line))
    }

    /// The value that `section` itself gives `key` (lower case); the `DEFAULT` section is not consulted.
    pub fn own(&self, section: &str, key: &str) -> Option<&Value> {
        self.sections.get(section)?.keys.get(key)
    }

    /// Every value with its section and key, `DEFAULT` as a section like any other.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        self.sections
            .iter()
            .flat_map(|(name, section)| section.keys.iter().map(move |(key, value)| (&**name, &**key, value)))
    }
}

/// Reads one file. `file` is only the name for messages: nothing is opened.
///
/// # Errors
/// The first fault of the file, with its line.
pub fn parse(file: &Path, bytes: &[u8]) -> Result<Ini, ConfigError> {
    let path = || file.to_path_buf();
    let text = std::str::from_utf8(bytes).map_err(|error| {
        let offset = error.valid_up_to();
        ConfigError::NotUtf8 { file: path(), line: line_number(&bytes[..offset]), offset }
    })?;
    if text.starts_with('\u{feff}') {
        return Err(ConfigError::ByteOrderMark { file: path() });
    }
    if let Some(offset) = text.find('\0') {
        return Err(ConfigError::NulByte { file: path(), line: line_number(&bytes[..offset]), offset });
    }
    let mut parser = Parser::new(file, text);
    for (index, line) in lines(text).enumerate() {
        parser.line(index + 1, &line)?;
    }
    parser.finish_value();
    Ok(Ini { file: parser.file, sections: parser.sections })
}

/// A key whose value may still continue.
struct Open<'t> {
    key: String,
    line: usize,
    first: &'t str,
    rest_start: usize,
    rest_end: usize,
    continued: Option<usize>,
}

struct Parser<'t> {
    text: &'t str,
    file: Arc<Path>,
    sections: BTreeMap<String, Section>,
    entries: usize,
    section: Option<String>,
    open: Option<Open<'t>>,
    indent: usize,
}

impl<'t> Parser<'t> {
    fn new(file: &Path, text: &'t str) -> Self {
        Self {
            text,
            file: Arc::from(file),
            sections: BTreeMap::new(),
            entries: 0,
            section: None,
            open: None,
            indent: 0,
        }
    }

    fn line(&mut self, number: usize, line: &Line<'t>) -> Result<(), ConfigError> {
        if line.text.len() > MAX_LINE {
            return Err(ConfigError::LineTooLong { file: self.path(), line: number, bytes: line.text.len() });
        }
        let content = strip(line.text);
        if content.is_empty() || is_comment(content) {
            return Ok(());
        }
        let indent = line.text.chars().take_while(|&c| is_space(c)).count();
        if let Some(open) = self.open.as_mut().filter(|_| indent > self.indent) {
            open.rest_end = line.end();
            open.continued.get_or_insert(number);
            return Ok(());
        }
        self.indent = indent;
        self.finish_value();
        match section_name(content) {
            Some(name) => self.enter_section(number, name),
            None => self.key(number, content, line.end()),
        }
    }

    fn enter_section(&mut self, line: usize, name: &str) -> Result<(), ConfigError> {
        self.count(line)?;
        match self.sections.entry(name.to_owned()) {
            Entry::Occupied(first) if name != DEFAULT_SECTION => {
                return Err(ConfigError::DuplicateSection {
                    file: self.file.to_path_buf(),
                    line,
                    section: name.to_owned(),
                    first: first.get().line,
                });
            }
            Entry::Occupied(_) => {}
            Entry::Vacant(slot) => {
                slot.insert(Section { line, keys: BTreeMap::new() });
            }
        }
        self.section = Some(name.to_owned());
        Ok(())
    }

    fn key(&mut self, line: usize, content: &'t str, line_end: usize) -> Result<(), ConfigError> {
        let Some(section) = self.section.as_ref() else {
            return Err(ConfigError::NoSection { file: self.path(), line });
        };
        let Some((name, first)) = content.split_once(['=', ':']) else {
            return Err(ConfigError::NoDelimiter { file: self.path(), line, section: section.clone() });
        };
        let key = name.trim_end_matches(is_space).to_lowercase();
        if key.is_empty() {
            return Err(ConfigError::NoKey { file: self.path(), line, section: section.clone() });
        }
        if let Some(first) = self.sections.get(section).and_then(|section| section.keys.get(&key)) {
            let (file, section, first) = (self.path(), section.clone(), first.line());
            return Err(ConfigError::DuplicateKey { file, line, section, key, first });
        }
        self.count(line)?;
        self.open =
            Some(Open { key, line, first: strip(first), rest_start: line_end, rest_end: line_end, continued: None });
        Ok(())
    }

    fn finish_value(&mut self) {
        let Some(open) = self.open.take() else { return };
        let Some(section) = self.section.as_ref().and_then(|name| self.sections.get_mut(name)) else { return };
        // The first character of `rest` is the end of the key's own line: it holds no line of its own.
        let rest = self.text.get(open.rest_start..open.rest_end).unwrap_or_default();
        let rest = rest.strip_prefix("\r\n").or_else(|| rest.strip_prefix(['\n', '\r'])).unwrap_or(rest);
        let value = Value::new(&open.key, open.first, rest, open.continued, Arc::clone(&self.file), open.line);
        section.keys.insert(open.key, value);
    }

    fn count(&mut self, line: usize) -> Result<(), ConfigError> {
        self.entries += 1;
        if self.entries > MAX_ENTRIES {
            return Err(ConfigError::TooManyEntries { file: self.path(), line });
        }
        Ok(())
    }

    fn path(&self) -> std::path::PathBuf {
        self.file.to_path_buf()
    }
}

/// The name in a section line: everything between the first `[` and the last `]`, at least one character; what follows the
/// last `]` is ignored.
fn section_name(content: &str) -> Option<&str> {
    let inside = content.strip_prefix('[')?;
    inside.rfind(']').filter(|&end| end > 0).and_then(|end| inside.get(..end))
}
