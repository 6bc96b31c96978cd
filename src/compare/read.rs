//! Reads reports of this and other versions of nssight.

use std::path::Path;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Layer, Status};
use nssight_probes::SeenCertificate;
use nssight_probes::files;
use nssight_probes::report::{SCHEMA, Tool};
use nssight_probes::target::TargetSummary;
use serde::Deserialize;

/// A report has a few hundred kilobytes; nothing larger than this is read.
const AT_MOST: u64 = 64 * 1024 * 1024;
/// Maximum number of reports to read from one file.
const REPORTS_AT_MOST: usize = 10_000;
/// The previous schema, whose facts are pairs of a label and a text.
pub(super) const BEFORE: &str = "nssight/report/1";

/// The compared parts of a report, of either schema; facts and causes of other versions of nssight included.
#[derive(Deserialize)]
pub(super) struct Report {
    pub(super) schema: String,
    pub(super) tool: Tool,
    pub(super) started: String,
    pub(super) target: TargetSummary,
    pub(super) verdict: Verdict,
    pub(super) probes: Vec<Finding>,
    #[serde(default)]
    pub(super) certificates: Vec<SeenCertificate>,
}

#[derive(Deserialize)]
pub(super) struct Verdict {
    pub(super) status: Outcome,
    pub(super) layer: Option<Layer>,
    pub(super) summary: String,
}

#[derive(Deserialize)]
pub(super) struct Finding {
    pub(super) layer: Layer,
    pub(super) status: Status,
    pub(super) duration_us: u64,
    pub(super) cause: Option<String>,
    #[serde(default)]
    pub(super) facts: Vec<Fact>,
    #[serde(default)]
    pub(super) evidence: Vec<Pair>,
}

#[derive(Deserialize)]
pub(super) struct Fact {
    pub(super) id: String,
    #[serde(default)]
    pub(super) value: serde_json::Value,
    pub(super) text: String,
}

/// A fact of the previous schema.
#[derive(Deserialize)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: String,
}

/// Reads the reports of a file: one document, or one report per line as `nssight listen` writes them.
pub(super) fn read(path: &Path) -> Result<Vec<Report>, (String, String)> {
    let named = |error: String| (path.display().to_string(), error);
    let text = files::whole(path, AT_MOST, files::regular_or_given).map_err(|error| named(error.to_string()))?;
    let Some(text) = text else {
        return Err(named(format!("it is too large: the maximum is {} MiB", AT_MOST >> 20)));
    };
    let documents = serde_json::Deserializer::from_slice(&text).into_iter::<serde_json::Value>();
    let documents: Result<Vec<_>, _> = documents.take(REPORTS_AT_MOST).collect();
    let reports = documents.map_err(|error| format!("line {} is not JSON", error.line()));
    let reports = reports.and_then(|documents| documents.into_iter().map(report).collect::<Result<Vec<_>, _>>());
    match reports {
        Ok(reports) if reports.is_empty() => Err(named("it is empty".to_owned())),
        Ok(reports) => Ok(reports),
        Err(error) => Err(named(error)),
    }
}

pub(super) fn report(document: serde_json::Value) -> Result<Report, String> {
    match document.get("schema").and_then(|schema| schema.as_str()) {
        Some(SCHEMA | BEFORE) => {}
        Some(other) => return Err(format!("its schema is \"{other}\"")),
        None => return Err("it does not name a schema".to_owned()),
    }
    serde_json::from_value(document).map_err(|error| error.to_string())
}
