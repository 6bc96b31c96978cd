//! The components of nssight.

use nssight_nss::library;
use nssight_probes::report::Tool;

/// The name of this host, as uname(2) returns it.
pub fn host() -> Option<String> {
    rustix::system::uname().nodename().to_str().ok().filter(|name| !name.is_empty()).map(str::to_owned)
}

/// Its own version, and those of the libraries that this process has loaded.
pub fn tool() -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nss: library::nss_version(),
        nspr: library::nspr_version(),
        openssl: openssl::version::version().split_whitespace().nth(1).unwrap_or("unknown").to_owned(),
    }
}
