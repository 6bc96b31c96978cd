//! What nssight is made of.

use std::sync::LazyLock;

use nssight_nss::library;
use nssight_probes::report::Tool;

/// Its own version, and those of the libraries that this process has loaded.
pub(crate) fn tool() -> Tool {
    Tool {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        nss: library::nss_version(),
        nspr: library::nspr_version(),
        openssl: openssl::version::version().split_whitespace().nth(1).unwrap_or("unknown").to_owned(),
    }
}

/// What `--version` prints after the name.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let Tool { version, nss, nspr, openssl } = tool();
        format!("{version}\nNSS {nss}\nNSPR {nspr}\nOpenSSL {openssl}")
    });
    &TEXT
}
