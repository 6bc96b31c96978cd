//! Sessions with real TLS peers. In another process than the other tests on databases, since NSS wears out a process in which it is opened
//! too often ([`Nss::is_worn_out`](nssight_nss::Nss::is_worn_out)).

mod client;
mod hostile;
mod sessions;
#[allow(dead_code)] // Shared with the other tests on databases.
#[path = "../behaviour/tools.rs"]
mod tools;
