//! The forms in which a secret can appear in a log or a report.

use zeroize::Zeroizing;

/// Minimum number of base64 characters that depend only on the secret.
const SHORTEST_BASE64: usize = 6;

/// Every form of a value: plain, escaped as in JSON or a string literal, URL-encoded, hex, and base64 at each of the three offsets that it
/// can have in a longer text.
pub(super) fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![value.to_vec(), value.escape_ascii().to_string().into_bytes()];
    if let Ok(text) = std::str::from_utf8(value) {
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&json);
        forms.push(json.as_bytes().to_vec());
        // Some writers escape everything outside ASCII (RFC 8259, 7).
        for upper in [false, true] {
            let unit = |unit: u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            let one = |c: char| {
                if c.is_ascii() {
                    c.to_string()
                } else {
                    c.encode_utf16(&mut [0; 2]).iter().map(|code| unit(*code)).collect()
                }
            };
            forms.push(json.chars().map(one).collect::<String>().into_bytes());
        }
        forms.push(text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").into_bytes());
    }
    let hex = |upper: bool, between: &str| {
        let digits = value.iter().map(|byte| if upper { format!("{byte:02X}") } else { format!("{byte:02x}") });
        digits.collect::<Vec<_>>().join(between).into_bytes()
    };
    for between in ["", ":", " ", "%", "\\x"] {
        forms.extend([hex(false, between), hex(true, between)]);
    }
    let url = |keep: &str, space: &str, upper: bool| {
        let one = |byte: &u8| match *byte {
            b' ' => space.to_owned(),
            byte if byte.is_ascii_alphanumeric() || keep.as_bytes().contains(&byte) => char::from(byte).to_string(),
            byte if upper => format!("%{byte:02X}"),
            byte => format!("%{byte:02x}"),
        };
        value.iter().map(one).collect::<String>().into_bytes()
    };
    for keep in ["-_.~", "-_.~/", "-_.!~*'()", "", "-_."] {
        for space in ["%20", "+"] {
            forms.extend([url(keep, space, true), url(keep, space, false)]);
        }
    }
    for offset in 0..3 {
        let shifted = [&[0_u8; 3][..offset], value].concat();
        let text = openssl::base64::encode_block(&shifted);
        // Characters that contain no bit of a neighbouring byte.
        let own = text.get((offset * 8).div_ceil(6)..shifted.len() * 8 / 6).unwrap_or_default();
        if own.len() >= SHORTEST_BASE64.min(value.len()) {
            // At the end of a text, the last character and the padding belong to the secret, too.
            let last = text.get((offset * 8).div_ceil(6)..).unwrap_or_default();
            for form in [own, last.trim_end_matches('='), last] {
                forms.push(form.as_bytes().to_vec());
                forms.push(form.replace('+', "-").replace('/', "_").into_bytes());
            }
        }
    }
    forms.into_iter().map(Zeroizing::new).collect()
}
