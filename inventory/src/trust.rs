//! The meaning of trust flags, and the consequences of a difference between two databases.
use nssight_nssdb::{Flags, Trust};

use crate::difference::Gravity;

/// The effect of a trust flag for TLS.
struct Meaning {
    letter: char,
    bits: u16,
    /// The effect if the flag is set.
    with: &'static str,
    /// The effect if the flag is not set.
    without: &'static str,
    gravity: Gravity,
}

const TLS: [Meaning; 3] = [
    Meaning {
        letter: 'C',
        bits: Flags::TRUSTED_CA,
        with: "server certificates from this CA are accepted",
        without: "all server certificates from this CA are rejected",
        gravity: Gravity::Grave,
    },
    Meaning {
        letter: 'T',
        bits: Flags::TRUSTED_CLIENT_CA,
        with: "client certificates from this CA are accepted",
        without: "all client certificates from this CA are rejected",
        gravity: Gravity::Grave,
    },
    Meaning {
        letter: 'P',
        bits: Flags::TRUSTED,
        with: "the certificate is accepted as a peer by itself",
        without: "the certificate is accepted only if its issuer is trusted",
        gravity: Gravity::Grave,
    },
];

/// The consequences of different trust in A and B, flag by flag, with their seriousness.
pub(crate) fn consequence(a: &Trust, b: &Trust) -> (String, Gravity) {
    let mut parts = Vec::new();
    let mut gravity = Gravity::Note;
    for meaning in &TLS {
        let Some((with, without)) = sides(a.ssl.has(meaning.bits), b.ssl.has(meaning.bits)) else { continue };
        parts.push(format!(
            "{} only in {with}: with {with}, {}; with {without}, {}",
            meaning.letter, meaning.with, meaning.without
        ));
        gravity = gravity.min(meaning.gravity);
    }
    if let Some((with, without)) = sides(a.ssl.is_distrusted(), b.ssl.is_distrusted()) {
        parts.push(format!(
            "p only in {with}: with {with}, the certificate is rejected regardless of its issuer; with {without}, its issuer decides"
        ));
        gravity = Gravity::Grave;
    }
    let plain_ca = |trust: &Trust| trust.ssl.letters().contains('c');
    if let Some((with, without)) = sides(plain_ca(a), plain_ca(b))
        && parts.is_empty()
    {
        parts.push(format!(
            "c only in {with}: with {with}, the certificate counts as an untrusted CA; with {without}, its own extensions decide"
        ));
        gravity = Gravity::Notable;
    }
    for (name, here, there) in [("e-mail", a.email, b.email), ("code signing", a.object_signing, b.object_signing)] {
        if here.letters() != there.letters() {
            parts.push(format!(
                "{name}: \"{}\" in A, \"{}\" in B (does not matter for TLS)",
                here.letters(),
                there.letters()
            ));
        }
    }
    (parts.join("; "), gravity)
}

/// The side that has it and the side that does not, if they differ.
fn sides(a: bool, b: bool) -> Option<(&'static str, &'static str)> {
    match (a, b) {
        (true, false) => Some(("A", "B")),
        (false, true) => Some(("B", "A")),
        _ => None,
    }
}
