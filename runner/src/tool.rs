//! What nssight is made of.

use nssight_nss::library;
use nssight_probes::report::Tool;

/// Its own version, and those of the libraries that this process has loaded.
pub fn tool() -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nss: library::nss_version(),
        nspr: library::nspr_version(),
        openssl: openssl::version::version().split_whitespace().nth(1).unwrap_or("unknown").to_owned(),
    }
}
