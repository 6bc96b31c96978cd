//! Sessions with real TLS peers, in a separate process from the other tests on databases: errors become unreliable in a process that
//! opens NSS too often ([`Nss::is_worn_out`](nssight_nss::Nss::is_worn_out)).

mod client;
mod hostile;
mod sessions;
#[allow(dead_code)] // Shared with the other tests on databases.
#[path = "../behaviour/tools.rs"]
mod tools;
