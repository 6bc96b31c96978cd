//! Selects the targets of a run, and applies command-line overrides.

use std::collections::HashMap;

use globset::{Glob, GlobMatcher};
use nssight_probes::expiry::Thresholds;
use nssight_runner::targets::{CheckTarget, TargetsFile};

use crate::cli::{CheckOptions, CheckWalkOptions, ExpiryOptions, SelectionOptions};

/// Below this similarity (Jaro-Winkler) a suggestion would be a guess.
const ALIKE: f64 = 0.8;

/// The targets that the options select.
///
/// # Errors
/// If the file cannot be used, or no target matches.
pub(super) fn targets(options: &CheckOptions) -> Result<Vec<CheckTarget>, String> {
    let file = match &options.file {
        Some(path) => TargetsFile::load(path)?,
        None => TargetsFile::of_configs(&options.config)?,
    };
    let mut targets = selected(file.targets, &options.selection)?;
    targets.iter_mut().for_each(|target| apply(target, &options.walks));
    let ExpiryOptions { warn_days, critical_days } = options.expiry;
    let thresholds = Thresholds::of(warn_days, critical_days)?;
    if warn_days.or(critical_days).is_some() {
        targets.iter_mut().for_each(|target| target.overrides.thresholds = thresholds);
    }
    Ok(targets)
}

fn selected(mut targets: Vec<CheckTarget>, options: &SelectionOptions) -> Result<Vec<CheckTarget>, String> {
    let wanted = options.only.iter().map(|name| Wanted::of(name)).collect::<Result<Vec<_>, _>>()?;
    if let Some(wanted) = wanted.iter().find(|wanted| !targets.iter().any(|target| wanted.takes(&target.name))) {
        return Err(no_such(wanted.text, &targets));
    }
    if !wanted.is_empty() {
        targets.retain(|target| wanted.iter().any(|wanted| wanted.takes(&target.name)));
    }
    let mut labels: HashMap<&str, Vec<&str>> = HashMap::new();
    for (key, value) in &options.label {
        labels.entry(key).or_default().push(value);
    }
    targets.retain(|target| {
        labels.iter().all(|(key, values)| target.labels.get(*key).is_some_and(|own| values.contains(&own.as_str())))
    });
    if targets.is_empty() { Err("no target has these labels".to_owned()) } else { Ok(targets) }
}

/// A name, or a pattern of names.
struct Wanted<'a> {
    text: &'a str,
    pattern: GlobMatcher,
}

impl<'a> Wanted<'a> {
    fn of(text: &'a str) -> Result<Self, String> {
        let pattern = Glob::new(text).map_err(|error| format!("--only {text}: {}", error.kind()))?.compile_matcher();
        Ok(Self { text, pattern })
    }

    /// A name that looks like a pattern also matches literally.
    fn takes(&self, name: &str) -> bool {
        self.text == name || self.pattern.is_match(name)
    }
}

fn no_such(wanted: &str, targets: &[CheckTarget]) -> String {
    let alike = |target: &&CheckTarget| strsim::jaro_winkler(&wanted.to_lowercase(), &target.name.to_lowercase());
    let near = targets.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|target| alike(target) >= ALIKE);
    match near {
        Some(near) => format!("no target is called {wanted:?}; did you mean {:?}?", near.name),
        None => format!("no target is called {wanted:?}; --dry-run lists the names"),
    }
}

fn apply(target: &mut CheckTarget, options: &CheckWalkOptions) {
    target.timeout = options.timeout.unwrap_or(target.timeout);
    target.deadline = options.deadline.unwrap_or(target.deadline);
    target.retries = options.retries.unwrap_or(target.retries);
    target.retry_spacing = options.retry_spacing.unwrap_or(target.retry_spacing);
    target.wait = options.wait;
    target.overrides.load_modules |= options.load_modules;
}
