//! A targets file: targets, or one line about what is wrong.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nssight_runner::targets::TargetsFile;

fuzz_target!(|bytes: &[u8]| {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    match TargetsFile::parse("targets.toml", text, Path::new("/etc/nssight")) {
        Ok(file) => assert!(!file.targets.is_empty()),
        Err(error) => assert!(!error.is_empty()),
    }
});
