//! Converts OpenMetrics to Prometheus's text format 0.0.4. Programs that still read only this format (`promtool check metrics`, the
//! textfile collector) support no units, no infos and no end mark, and expect counters under the name of their samples.

use std::collections::HashMap;

pub(super) fn of(openmetrics: &str) -> String {
    let types: HashMap<&str, &str> =
        openmetrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' ')).collect();
    let suffix = |name: &str| match types.get(name) {
        Some(&"counter") => "_total",
        Some(&"info") => "_info",
        _ => "",
    };
    let mut text = String::with_capacity(openmetrics.len());
    for line in openmetrics.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("EOF" | "UNIT"), ..) => continue,
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                let kind = match kind {
                    "info" | "stateset" => "gauge",
                    "unknown" => "untyped",
                    kind => kind,
                };
                text.extend(["# TYPE ", name, suffix(name), " ", kind]);
            }
            (Some("#"), Some("HELP"), Some(name), help) => {
                text.extend(["# HELP ", name, suffix(name), " ", &help.unwrap_or_default().replace("\\\"", "\"")]);
            }
            _ => text.push_str(line),
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn counters_and_infos_get_the_names_of_their_samples() {
        let openmetrics = "# HELP a_seconds Time \\\"of\\\" a.\n# TYPE a_seconds counter\n# UNIT a_seconds seconds\n\
                           a_seconds_total{x=\"# EOF\"} 1\n# HELP build What it is.\n# TYPE build info\nbuild_info{v=\"1\"} 1\n\
                           # TYPE g gauge\ng 2\n# EOF\n";
        let text = "# HELP a_seconds_total Time \"of\" a.\n# TYPE a_seconds_total counter\n\
                    a_seconds_total{x=\"# EOF\"} 1\n# HELP build_info What it is.\n# TYPE build_info gauge\nbuild_info{v=\"1\"} 1\n\
                    # TYPE g gauge\ng 2\n";
        assert_eq!(super::of(openmetrics), text);
    }
}
