//! What the pages of reports and other pages of nssight share.

/// Colours, light and dark, and the style of what is on every page.
pub const STYLE: &str = include_str!("../templates/base.css");

/// A source of a content security policy, by its hash (CSP Level 3, 2.3.1).
pub fn source(text: &str) -> String {
    format!("sha256-{}", openssl::base64::encode_block(&openssl::sha::sha256(text.as_bytes())))
}
