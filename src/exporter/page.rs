//! `/`: the targets, how each came out last, and where its report is.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use nssight_reports::terminal::printable;
use nssight_runner::targets::CheckTarget;

use super::walked::Walked;

#[derive(Template)]
#[template(path = "exporter.html")]
struct Page {
    rows: Vec<Row>,
}

struct Row {
    name: String,
    labels: String,
    last: Option<Last>,
}

struct Last {
    status: &'static str,
    /// Layer and cause; empty for a pass.
    place: String,
    summary: String,
    age: String,
}

/// The page. Templates of HTML escape what they are given.
pub(super) fn write(targets: &[(Arc<CheckTarget>, Option<Arc<Walked>>)]) -> Result<String, askama::Error> {
    let rows = targets.iter().map(|(target, last)| {
        let labels: Vec<String> = target.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
        Row { name: target.name.clone(), labels: labels.join(", "), last: last.as_deref().map(Last::from) }
    });
    Page { rows: rows.collect() }.render()
}

impl From<&Walked> for Last {
    fn from(walked: &Walked) -> Self {
        let verdict = &walked.subject.report.verdict;
        let layer = verdict.layer.map(|layer| layer.as_str());
        let place: Vec<&str> = layer.into_iter().chain(verdict.cause.map(|cause| cause.id())).collect();
        Self {
            status: verdict.status.as_str(),
            place: place.join(" · "),
            summary: printable(&verdict.summary),
            age: coarse(walked.age()),
        }
    }
}

/// One number with the unit that suits it.
fn coarse(age: Duration) -> String {
    match age.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds @ 120..7_200 => format!("{} min", seconds / 60),
        seconds @ 7_200..172_800 => format!("{} h", seconds / 3_600),
        seconds => format!("{} days", seconds / 86_400),
    }
}
