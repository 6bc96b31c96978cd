//! The algorithms that a crypto policy removes from a ClientHello.

use crate::fact::fact::OfferByPolicy;

/// Algorithms that have been deprecated for years. A present-day peer rarely requires one of these.
const OLD: [&str; 6] =
    ["RSA key exchange", "DHE-RSA key exchange", "ffdhe2048", "AES-128-CBC", "AES-256-CBC", "HMAC-SHA1"];

/// Classifies the loss by the names of the algorithms that the policy removes.
pub fn offer(removed: &[&str]) -> OfferByPolicy {
    match (removed.is_empty(), removed.iter().any(|name| !OLD.contains(name))) {
        (true, _) => OfferByPolicy::AsItComes,
        (false, true) => OfferByPolicy::Cut,
        (false, false) => OfferByPolicy::WithoutOldOnes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deprecated_algorithms_are_distinguished_from_current_ones() {
        assert_eq!(offer(&[]), OfferByPolicy::AsItComes);
        assert_eq!(offer(&["AES-128-CBC", "HMAC-SHA1"]), OfferByPolicy::WithoutOldOnes);
        assert_eq!(offer(&["AES-128-CBC", "RSA-PSS signatures"]), OfferByPolicy::Cut);
    }
}
