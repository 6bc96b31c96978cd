//! The exporter's log on standard error, as text or as JSON.

use std::fmt;

use clap::ValueEnum;
use nssight_diagnosis::in_words;
use nssight_reports::terminal::{self, Kind, printable};
use tracing::level_filters::LevelFilter;
use tracing::{Level, event};

/// The least important events that are logged.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogLevel {
    /// Log only failures of nssight itself
    Error,
    /// Also log events that need attention
    Warn,
    /// Also log changed verdicts, reloads, start and stop
    Info,
    /// Also log every request, connection and check
    Debug,
}

/// How an event is written.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    /// Time, level and message
    Text,
    /// One JSON object per line
    Json,
}

/// Starts the log. A log that cannot be written does not end the exporter.
pub(super) fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::ERROR,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Debug => LevelFilter::DEBUG,
    };
    let log = tracing_subscriber::fmt().with_max_level(level).with_target(false).log_internal_errors(false);
    // The process has one log, and this is the first call to set it.
    match format {
        LogFormat::Text => log.with_ansi(false).with_writer(|| terminal::stderr(Kind::Text)).init(),
        LogFormat::Json => {
            log.json()
                .flatten_event(true)
                .with_current_span(false)
                .with_span_list(false)
                .with_writer(|| terminal::stderr(Kind::Json))
                .init();
        }
    }
}

/// Untrusted text cannot contain control characters, and each event is one line.
fn harmless(text: fmt::Arguments<'_>) -> String {
    printable(&in_words(&text.to_string()))
}

pub(super) fn error(text: fmt::Arguments<'_>) {
    event!(Level::ERROR, "{}", harmless(text));
}

pub(super) fn warn(text: fmt::Arguments<'_>) {
    event!(Level::WARN, "{}", harmless(text));
}

pub(super) fn info(text: fmt::Arguments<'_>) {
    event!(Level::INFO, "{}", harmless(text));
}

/// The text is formatted only if the level is enabled.
pub(super) fn debug(text: fmt::Arguments<'_>) {
    event!(Level::DEBUG, "{}", harmless(text));
}

/// Logs that the result of a target has changed.
pub(super) fn verdict(name: &str, now: &str, before: Option<&str>) {
    let name = printable(name);
    match before {
        Some(was) => event!(Level::INFO, checked = name, verdict = now, was, "another verdict"),
        None => event!(Level::INFO, checked = name, verdict = now, "first verdict"),
    }
}
