//! The double-TLS client of the tests, traced under every fault of the lab: it does what it does untraced, and the trace
//! names the layer that a diagnosis names.

mod common;

use common::hold_to_schema;
use common::lab::{client, over_all};
use common::trace::{Needs, alike};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, PASSWORD};
use nssight_fixtures::fault::{self, Fault};
use serde_json::Value;

/// The options of the fault that the client knows, and the seconds after which it gives up by itself.
fn options(fault: &Fault) -> Vec<&str> {
    let is_slow = fault.flags.iter().any(|flag| flag == "--timeout");
    let versions = fault.flags.chunks_exact(2).filter(|pair| pair[0].starts_with("--tls"));
    let versions = versions.flatten().map(String::as_str);
    ["--timeout", if is_slow { "10" } else { "4" }].into_iter().chain(versions).collect()
}

#[test]
fn the_trace_names_the_layer_of_every_fault_and_the_client_does_as_without_it() {
    let faults = fault::all().unwrap();
    let runs = over_all(&faults, 6, |fault| {
        alike(fault, Needs::Fresh, &["--timeline", "--wire"], |lab| client(lab, &options(fault), "list-users"))
    });
    let (mut other_layer, mut other_cause, mut other_behaviour) = (Vec::new(), Vec::new(), Vec::new());
    let mut reports: Vec<Value> = Vec::new();
    for (fault, run) in runs {
        let report = match run {
            Ok(report) => report,
            Err(difference) => {
                other_behaviour.push(difference);
                continue;
            }
        };
        let verdict = &report["verdict"];
        let (layer, cause) = (verdict["layer"].as_str(), verdict["cause"].as_str());
        let said = format!("{}: {layer:?} {cause:?} {}", fault.id, verdict["summary"]);
        if layer != fault.trace.as_deref().or(fault.layer.as_deref()) {
            other_layer.push(said);
        } else if cause != fault.cause.as_deref() {
            other_cause.push(said);
        }
        let text = report.to_string();
        assert!(!text.contains(PASSWORD) && !text.contains(ADMIN_PASSWORD), "{text}");
        assert_eq!(report["events_lost"], 0, "{text}");
        reports.push(report);
    }
    assert_eq!(other_layer, Vec::<String>::new());
    assert_eq!(other_behaviour, Vec::<String>::new());
    assert!(other_cause.len() * 20 <= faults.len(), "{} of {}: {other_cause:#?}", other_cause.len(), faults.len());
    hold_to_schema("trace", &reports);
}
