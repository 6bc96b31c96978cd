//! Derives facts from a client's ClientHello.
use std::fmt::Display;

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact::{self, ClientOfferVersions as Versions};
use nssight_wire::{ClientHello, Summary};

/// Maximum number of list entries to name; a client may send any number.
const NAMED_AT_MOST: usize = 40;

/// Notes the client's first ClientHello, and whether it has a version in common with ours (lowest and highest, as on
/// the wire).
pub(super) fn note(wire: &Summary, ours: (u16, u16), notes: &mut Notes) {
    let Some(hello) = wire.client_hello.as_deref() else { return };
    notes.put(fact::SESSION_CLIENT_RANDOM.text(random(hello)));
    let (lowest, highest) = hello.offered_versions();
    let versions = match lowest {
        Some(_) => listed(&hello.supported_versions),
        None => format!("up to {highest}"),
    };
    notes.put(fact::CLIENT_HELLO_VERSIONS.text(versions));
    notes.put(if is_in_common(hello, ours) { Versions::InCommon } else { Versions::Apart });
    notes.put(fact::CLIENT_HELLO_SUITES.text(listed(&hello.selectable_suites().collect::<Vec<_>>())));
    if !hello.groups.is_empty() {
        notes.put(fact::CLIENT_HELLO_GROUPS.text(listed(&hello.groups)));
    }
    if !hello.signature_schemes.is_empty() {
        notes.put(fact::CLIENT_HELLO_SIGNATURES.text(listed(&hello.signature_schemes)));
    }
    notes.put(fact::CLIENT_HELLO_SERVER_NAME.text(hello.server_name.as_deref().unwrap_or("none")));
    if !hello.alpn.is_empty() {
        notes.put(fact::CLIENT_HELLO_PROTOCOLS.text(hello.alpn.join(" ")));
    }
}

/// In hexadecimal digits, as in key logs.
pub(crate) fn random(hello: &ClientHello) -> String {
    hello.random.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Without the extension a client accepts any version up to the one that it sends (RFC 5246, E.1).
fn is_in_common(hello: &ClientHello, (low, high): (u16, u16)) -> bool {
    match hello.supported_versions.as_slice() {
        // TLS 1.3 is offered only in the extension (RFC 8446, 4.2.1).
        [] => hello.legacy_version.0 >= low && low < 0x0304,
        offered => offered.iter().any(|version| (low..=high).contains(&version.0)),
    }
}

pub(crate) fn listed<T: Display>(all: &[T]) -> String {
    let mut words: Vec<String> = all.iter().take(NAMED_AT_MOST).map(ToString::to_string).collect();
    if all.len() > NAMED_AT_MOST {
        words.push(format!("and {} more", all.len() - NAMED_AT_MOST));
    }
    if words.is_empty() { "none".to_owned() } else { words.join(", ") }
}
