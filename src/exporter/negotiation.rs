//! Reads the format and the timeout from a scrape's headers.

use std::time::Duration;

use axum::http::header::ACCEPT;
use axum::http::{HeaderMap, HeaderName};

/// The format of the metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenMetrics,
    /// Prometheus's text format 0.0.4, which every client reads.
    Text,
}

impl Dialect {
    pub(super) fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// OpenMetrics if the request names it and does not prefer text (RFC 9110, 12.5.1); text for all other clients, including browsers.
    pub(super) fn asked_for(headers: &HeaderMap) -> Self {
        let lists = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let (mut openmetrics, mut text) = (0.0f32, 0.0f32);
        for range in lists.flat_map(|list| list.split(',')) {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = parts.filter_map(|part| part.split_once('=')).collect();
            let value = |name: &str| {
                let found = parameters.iter().find(|(key, _)| key.trim().eq_ignore_ascii_case(name));
                found.map(|(_, value)| value.trim().trim_matches('"'))
            };
            let weight = value("q").map_or(1.0, |q| q.parse::<f32>().ok().filter(|q| q.is_finite()).unwrap_or(0.0));
            match kind.as_str() {
                "application/openmetrics-text" if matches!(value("version"), None | Some("1.0.0" | "0.0.1")) => {
                    openmetrics = openmetrics.max(weight);
                }
                "text/plain" => text = text.max(weight),
                _ => {}
            }
        }
        if openmetrics > 0.0 && openmetrics >= text { Self::OpenMetrics } else { Self::Text }
    }
}

/// Prometheus sends its timeout in this header.
const SCRAPE_TIMEOUT: HeaderName = HeaderName::from_static("x-prometheus-scrape-timeout-seconds");
/// A scrape without this header may wait this long, and no scrape may wait longer.
const LONGEST: Duration = Duration::from_secs(120);
/// Time for the answer to reach the client.
const MARGIN: Duration = Duration::from_millis(500);

/// The time for an answer that the scrape allows.
pub(super) fn patience(headers: &HeaderMap) -> Duration {
    let said =
        headers.get(SCRAPE_TIMEOUT).and_then(|value| value.to_str().ok()).and_then(|text| text.parse::<f64>().ok());
    let said = said.filter(|seconds| *seconds > 0.0).and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
    match said {
        Some(wanted) => wanted.min(LONGEST).saturating_sub(MARGIN.min(wanted / 4)),
        None => LONGEST,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepting(text: &str) -> Dialect {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, text.parse().unwrap());
        Dialect::asked_for(&headers)
    }

    #[test]
    fn prometheus_gets_openmetrics_and_everybody_else_text() {
        let newer = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
                     text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(accepting(newer), Dialect::OpenMetrics);
        assert_eq!(accepting("application/openmetrics-text; version=1.0.0"), Dialect::OpenMetrics);
        for text in [
            "text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.1",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=2.0.0",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "application/openmetrics-text;q=NaN",
            ";;,=,q",
            "",
        ] {
            assert_eq!(accepting(text), Dialect::Text, "{text}");
        }
        assert_eq!(Dialect::asked_for(&HeaderMap::new()), Dialect::Text);
    }

    #[test]
    fn an_answer_comes_before_the_scrape_gives_up() {
        let said = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(SCRAPE_TIMEOUT, text.parse().unwrap());
            patience(&headers)
        };
        assert_eq!(said("10"), Duration::from_millis(9500));
        assert_eq!(said("1"), Duration::from_millis(750));
        assert_eq!(said("86400"), LONGEST - MARGIN);
        for nonsense in ["", "-1", "0", "inf", "NaN", "1e300", "ten"] {
            assert_eq!(said(nonsense), LONGEST, "{nonsense}");
        }
    }
}
