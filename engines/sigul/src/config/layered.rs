//! Several files, of which a later one overrides an earlier one.

use std::collections::BTreeMap;
use std::path::Path;

use super::ini::{DEFAULT_SECTION, Ini};
use super::value::Value;

/// Files laid over each other: a key's value is that of the last file that has it, as when Python's parser reads
/// several files in turn. Each value records its file and line.
#[derive(Debug, Default)]
pub struct Layered {
    layers: Vec<Ini>,
}

impl Layered {
    /// No files yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Lays a file over those before it.
    pub fn push(&mut self, file: Ini) {
        self.layers.push(file);
    }

    /// The files, first read first.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        self.layers.iter().map(Ini::file)
    }

    /// The effective value of `key` (lower case) in `section`: that of the last file that has it there, else of the last
    /// file that has it in `DEFAULT`.
    pub fn get(&self, section: &str, key: &str) -> Option<&Value> {
        let last = |section| self.layers.iter().rev().find_map(|layer| layer.own(section, key));
        last(section).or_else(|| last(DEFAULT_SECTION))
    }

    /// The file and line (from 1) of the last appearance of `section`.
    pub fn section(&self, section: &str) -> Option<(&Path, usize)> {
        self.layers.iter().rev().find_map(|layer| Some((layer.file(), layer.sections.get(section)?.line)))
    }

    /// The file that overrides all others.
    pub fn last(&self) -> Option<&Path> {
        self.layers.last().map(Ini::file)
    }

    /// Every effective value, by section and key: those overridden by a later file are left out. `DEFAULT` is a
    /// section like any other here.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &str, &Value)> {
        let mut all = BTreeMap::new();
        for (section, key, value) in self.layers.iter().flat_map(Ini::entries) {
            all.insert((section, key), value);
        }
        all.into_iter().map(|((section, key), value)| (section, key, value))
    }

    /// The names of all sections, `DEFAULT` not among them, in alphabetical order.
    pub fn section_names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = self.layers.iter().flat_map(Ini::sections).map(|(name, _)| name).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}
