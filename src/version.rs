//! The output of `nssight --version`.

use std::sync::LazyLock;

use nssight_probes::report::Tool;
use nssight_runner::tool::tool;

/// What `--version` prints after the name.
pub(crate) fn long() -> &'static str {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        let Tool { version, nss, nspr, openssl } = tool();
        format!("{version}\nNSS {nss}\nNSPR {nspr}\nOpenSSL {openssl}")
    });
    &TEXT
}
