//! The HTTP routes: `/probe`, `/report`, `/sd`, `/metrics`, `/healthz` and `/`.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, VARY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use nssight_reports as report;
use serde::{Deserialize, Serialize};
use tokio::sync::Semaphore;

use super::figures::Figures;
use super::figures::Origin;
use super::negotiation::{Dialect, patience};
use super::walks::{Answer, Walks};
use super::{classic, page};
use crate::cli::Format;

/// Reports contain their style and their copy buttons, and load nothing from elsewhere. Each report has a stricter policy of its own, with
/// hashes.
const HTML_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; img-src data:; base-uri 'none'; \
                           form-action 'none'; frame-ancestors 'none'";

#[derive(Clone)]
struct App {
    walks: Arc<Walks>,
    figures: Arc<Figures>,
    /// Only one page is written at a time: a client that requests many of them delays other readers of pages, but no scrape.
    pages: Arc<Semaphore>,
}

/// The name of a target. A request cannot give a host and a port: only targets in the file are checked.
#[derive(Deserialize)]
struct Wanted {
    target: String,
}

pub(super) fn router(walks: Arc<Walks>, figures: Arc<Figures>) -> Router {
    Router::new()
        .route("/", get(overview))
        .route("/probe", get(probe))
        .route("/report", get(last_report))
        .route("/sd", get(service_discovery))
        .route("/metrics", get(metrics))
        .route("/healthz", get(async || text(StatusCode::OK, "ok\n")))
        .fallback(async || {
            text(
                StatusCode::NOT_FOUND,
                "not found; available: /, /probe?target=NAME, /report?target=NAME, /sd, /metrics and /healthz\n",
            )
        })
        .with_state(App { walks, figures, pages: Arc::new(Semaphore::new(1)) })
}

async fn probe(State(app): State<App>, headers: HeaderMap, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(Wanted { target })) = wanted else { return no_target() };
    let started = Instant::now();
    let Some(answer) = app.walks.probe(&target, patience(&headers)).await else { return app.unknown() };
    app.figures.probed(answer.origin);
    let dialect = Dialect::asked_for(&headers);
    exposition(dialect, body(&answer, started.elapsed().as_secs_f64()))
}

/// The metrics of a result, and the origin of the result.
fn body(answer: &Answer, waited: f64) -> String {
    let mut text = match &answer.result {
        Some(walked) => walked.metrics.clone(),
        // The answer of a prober that ran out of time.
        None => format!(
            "# HELP probe_success Whether every layer that was checked passed\n# TYPE probe_success gauge\nprobe_success 0\n\
             # HELP probe_duration_seconds Time that this scrape waited for the check\n# TYPE probe_duration_seconds gauge\n\
             probe_duration_seconds {waited}\n"
        ),
    };
    if let Some(walked) = &answer.result {
        text.push_str("# HELP nssight_result_timestamp_seconds End of the check that gave these values, Unix time\n");
        text.push_str("# TYPE nssight_result_timestamp_seconds gauge\n");
        text.push_str(&format!("nssight_result_timestamp_seconds {}\n", walked.timestamp()));
    }
    text.push_str("# HELP nssight_result_stale Whether these values come from the previous check, because the present check did not finish in time\n");
    text.push_str("# TYPE nssight_result_stale gauge\n");
    text.push_str(&format!(
        "nssight_result_stale {}\n",
        u8::from(answer.origin == Origin::Stale || answer.result.is_none())
    ));
    text.push_str("# EOF\n");
    text
}

/// A group of targets in the format of Prometheus's `http_sd_configs`.
#[derive(Serialize)]
struct Group<'a> {
    targets: [&'a str; 1],
    labels: BTreeMap<String, &'a str>,
}

/// The targets of the file, with their labels.
async fn service_discovery(State(app): State<App>) -> Response {
    let targets = app.walks.overview();
    let groups = targets.iter().map(|(target, _)| Group {
        targets: [&target.name],
        // Labels that Prometheus itself sets are not overwritten: alerting rules depend on them.
        labels: target
            .labels
            .iter()
            .map(|(name, value)| match name.as_str() {
                "job" | "instance" => (format!("label_{name}"), value.as_str()),
                _ => (name.clone(), value.as_str()),
            })
            .collect(),
    });
    match serde_json::to_vec(&groups.collect::<Vec<_>>()) {
        Ok(list) => ([(CONTENT_TYPE, "application/json"), (CACHE_CONTROL, "no-store")], list).into_response(),
        Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the list: {error}\n")),
    }
}

async fn metrics(State(app): State<App>, headers: HeaderMap) -> Response {
    let dialect = Dialect::asked_for(&headers);
    exposition(dialect, app.figures.openmetrics())
}

fn exposition(dialect: Dialect, openmetrics: String) -> Response {
    let text = match dialect {
        Dialect::OpenMetrics => openmetrics,
        Dialect::Text => classic::of(&openmetrics),
    };
    ([(CONTENT_TYPE, dialect.content_type()), (VARY, "Accept"), (CACHE_CONTROL, "no-store")], text).into_response()
}

async fn last_report(State(app): State<App>, wanted: Result<Query<Wanted>, QueryRejection>) -> Response {
    let Ok(Query(Wanted { target })) = wanted else { return no_target() };
    let Some(last) = app.walks.last(&target) else { return app.unknown() };
    let Some(walked) = last else {
        return text(StatusCode::NOT_FOUND, "this target has not been checked yet; /probe?target=NAME checks it\n");
    };
    let write = move || {
        let mut page = Vec::new();
        report::write(Format::Html, std::slice::from_ref(&walked.subject), &mut page).map(|()| page)
    };
    app.page(HTML_POLICY, write).await
}

async fn overview(State(app): State<App>) -> Response {
    let targets = app.walks.overview();
    app.page(&page::POLICY, move || page::write(&targets).map(String::into_bytes).map_err(io::Error::other)).await
}

fn html(policy: &str, page: Vec<u8>) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, policy),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-store"),
    ];
    (headers, page).into_response()
}

impl App {
    /// Writes a page in a separate thread, because the event loop must answer scrapes.
    async fn page(&self, policy: &str, write: impl FnOnce() -> io::Result<Vec<u8>> + Send + 'static) -> Response {
        let turn = self.pages.clone().acquire_owned().await;
        let written = tokio::task::spawn_blocking(move || {
            let _held = turn;
            write()
        });
        match written.await.unwrap_or_else(|error| Err(io::Error::other(error))) {
            Ok(page) => html(policy, page),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, &format!("cannot write the page: {error}\n")),
        }
    }

    fn unknown(&self) -> Response {
        self.figures.asked_for_unknown();
        text(StatusCode::NOT_FOUND, "unknown target; the exporter checks only the targets in its file\n")
    }
}

fn no_target() -> Response {
    text(StatusCode::BAD_REQUEST, "name one target of the file: ?target=NAME\n")
}

fn text(status: StatusCode, text: &str) -> Response {
    let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    (status, headers, text.to_owned()).into_response()
}
