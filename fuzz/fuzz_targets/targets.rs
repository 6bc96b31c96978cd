//! A targets file: targets, or one line about what is wrong.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use nssight_runner::targets::TargetsFile;
use tempfile::NamedTempFile;

static FILE: LazyLock<NamedTempFile> = LazyLock::new(|| {
    let builder = tempfile::Builder::new();
    builder.tempfile_in("/dev/shm").or_else(|_| builder.tempfile()).expect("a file")
});

fuzz_target!(|bytes: &[u8]| {
    std::fs::write(FILE.path(), bytes).expect("written");
    match TargetsFile::load(FILE.path()) {
        Ok(file) => assert!(!file.targets.is_empty()),
        Err(error) => assert!(!error.is_empty()),
    }
});
