//! A password file: one reading, and a few ways in which it may have been meant.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_probes::password_file;

fuzz_target!(|bytes: &[u8]| {
    let token = "NSS Certificate DB";
    let _ = password_file::read(bytes, token);
    assert!(password_file::repairs(bytes, token).len() < 100);
});
