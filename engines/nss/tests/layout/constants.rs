//! Every number that has a name in Rust, with its name in C.

use nss_sys::nspr::{
    PR_CONNECT_RESET_ERROR, PR_INVALID_ARGUMENT_ERROR, PR_IO_ERROR, PR_IO_TIMEOUT_ERROR, PR_WOULD_BLOCK_ERROR,
};
use nss_sys::{SSL_NO_CACHE, SSL_V2_COMPATIBLE_HELLO};

use crate::sources;

macro_rules! from_nss_sys {
    ($($name:ident),* $(,)?) => { [$((stringify!($name), $name)),*] };
}

pub(crate) fn assertions() -> String {
    let ours = sources::declared_constants().into_iter().map(|(name, value)| (c_name(&name), value));
    let theirs = from_nss_sys![
        PR_CONNECT_RESET_ERROR,
        PR_INVALID_ARGUMENT_ERROR,
        PR_IO_ERROR,
        PR_IO_TIMEOUT_ERROR,
        PR_WOULD_BLOCK_ERROR,
        SSL_NO_CACHE,
        SSL_V2_COMPATIBLE_HELLO,
    ];
    let theirs = theirs.into_iter().map(|(name, value)| (name.to_owned(), value.to_string()));
    ours.chain(theirs)
        .map(|(name, value)| format!("_Static_assert(({name}) == ({value}), \"value of {name}\");\n"))
        .collect()
}

/// `SECStatus` has other names here, since its values are not of a Rust enum.
fn c_name(name: &str) -> String {
    match name {
        "SUCCESS" => "SECSuccess".to_owned(),
        "FAILURE" => "SECFailure".to_owned(),
        "WOULD_BLOCK" => "SECWouldBlock".to_owned(),
        other => other.to_owned(),
    }
}
