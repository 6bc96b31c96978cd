//! Packed logs and archives of them, in one another: read so far as the budget goes, and there is a verdict that can be written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_triage::Triage;

#[path = "../../src/triage/open.rs"]
#[allow(dead_code, unreachable_pub, reason = "a directory is none of its bytes")]
mod open;
#[path = "../../src/unpack.rs"]
mod unpack;

fuzz_target!(|bytes: &[u8]| {
    let mut triage = Triage::default();
    open::stream(&mut triage, "logs.tar", bytes, &unpack::Budget::default());
    let _ = serde_json::to_string(&triage.finish()).expect("a document of text and numbers");
});
