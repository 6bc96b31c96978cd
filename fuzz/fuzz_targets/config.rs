//! A configuration of Sigul: any file is a configuration or an error, and every value comes back.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use nssight_sigul::config;

fuzz_target!(|bytes: &[u8]| {
    let Ok(ini) = config::parse(Path::new("client.conf"), bytes) else { return };
    for (section, key, value) in ini.entries() {
        let _ = (ini.own(section, key), format!("{value:?}"));
    }
});
