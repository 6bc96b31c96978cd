//! The double-TLS client of the tests, traced under every fault of the lab that it can meet: it behaves as it does untraced, and the trace
//! gives the verdict from the list of faults.

mod common;

use common::hold_to_schema;
use common::lab::{client, over_all};
use common::trace::{Needs, alike};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, PASSWORD};
use nssight_fixtures::fault::{self, Door, Fault, Named};
use serde_json::Value;

#[test]
fn every_fault_gets_its_verdict_and_the_client_behaves_as_without_a_trace() {
    let faults: Vec<Fault> =
        fault::here().unwrap().0.into_iter().filter(|fault| fault.must(Door::Trace).is_some()).collect();
    let runs = over_all(&faults, 6, |fault| {
        alike(fault, Needs::Fresh, &["--timeline", "--wire"], |lab| client(lab, &fault.client_options(), "list-users"))
    });
    let (mut others, mut other_behaviour) = (Vec::new(), Vec::new());
    let mut reports: Vec<Value> = Vec::new();
    for (fault, run) in runs {
        let report = match run {
            Ok(report) => report,
            Err(difference) => {
                other_behaviour.push(difference);
                continue;
            }
        };
        let given: Named = serde_json::from_value(report["verdict"].clone()).unwrap();
        if let Some(expected) = fault.must(Door::Trace).filter(|_| !fault.is_told_by(Door::Trace, &given)) {
            others.push(format!("{}: {given} instead of {expected}: {}", fault.id, report["verdict"]["summary"]));
        }
        let text = report.to_string();
        assert!(!text.contains(PASSWORD) && !text.contains(ADMIN_PASSWORD), "{text}");
        assert_eq!(report["events_lost"], 0, "{text}");
        reports.push(report);
    }
    assert!(others.is_empty(), "{}", others.join("\n"));
    assert_eq!(other_behaviour, Vec::<String>::new());
    hold_to_schema("trace", &reports);
}
