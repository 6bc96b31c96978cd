//! Lines of a log, and a document: whatever they hold, there is a verdict that can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_triage::Triage;

fuzz_target!(|bytes: &[u8]| {
    let mut triage = Triage::default();
    match bytes.split_first() {
        Some((0, rest)) => drop(triage.document("report.json", rest)),
        _ => triage.log("client.log", bytes),
    }
    let _ = serde_json::to_string(&triage.finish()).expect("a document of text and numbers");
});
