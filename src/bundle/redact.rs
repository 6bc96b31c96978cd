//! Secrets out: by structure, where a key says that a secret follows, and by value, for every secret that is known, in
//! every form that a log or a report may have it.

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use regex::bytes::{Captures, Regex};
use zeroize::Zeroizing;

/// What stands in a secret's place.
const MARK: &[u8] = b"[redacted]";
/// A shorter value would be found in every other word.
const SHORTEST: usize = 4;
/// So much of a base64 text must be the secret's own, in letters.
const SHORTEST_BASE64: usize = 6;

/// Why something was taken out, and how often.
pub(super) type Reasons = BTreeMap<String, usize>;

/// All that is known to be secret, and how it is found.
pub(super) struct Redactor {
    values: Vec<Zeroizing<Vec<u8>>>,
    forms: Vec<Zeroizing<Vec<u8>>>,
    search: Option<AhoCorasick>,
    structure: Vec<(&'static str, Regex)>,
    setting: Regex,
}

impl Redactor {
    pub(super) fn new() -> Result<Self, regex::Error> {
        let words = r"(?:password|passphrase|passwd|secret|token|credential)";
        let structure = vec![
            (
                "a private key",
                Regex::new(r"(?s)()-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\z)")?,
            ),
            (
                "a value of a secret's name",
                Regex::new(&format!(r#"(?i)({words}["']?[ \t]*[:=][ \t]*["']?)[^\s"',;&]+"#))?,
            ),
            ("an Authorization header", Regex::new(r"(?i)(authorization:[ \t]*\w+[ \t]+)\S+")?),
            ("a password in a URL", Regex::new(r"(://[^/\s:@]+:)[^@\s/]+@")?),
        ];
        // A key of a configuration file, and its value with the lines that continue it.
        let setting = format!(
            r"(?im)^([ \t]*[\w.-]*(?:{words}|\bpin\b)[\w.-]*[ \t]*[:=][ \t]*)([^\r\n]+(?:\r?\n[ \t]+[^\s][^\r\n]*)*)"
        );
        Ok(Self { values: Vec::new(), forms: Vec::new(), search: None, structure, setting: Regex::new(&setting)? })
    }

    /// Makes a value known.
    pub(super) fn add(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if value.len() >= SHORTEST && !self.values.iter().any(|known| known.as_slice() == value) {
            self.values.push(Zeroizing::new(value.to_vec()));
            self.forms.extend(forms(value));
            self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            self.forms.dedup();
            let builder = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(self.forms.iter().map(|it| it.as_slice()));
            self.search = builder.ok();
        }
    }

    /// Makes the values known that a configuration file has under a secret's name.
    pub(super) fn learn(&mut self, config: &[u8]) {
        let found: Vec<Zeroizing<Vec<u8>>> =
            self.setting.captures_iter(config).map(|it| Zeroizing::new(it[2].to_vec())).collect();
        for value in found {
            let bare = value.trim_ascii();
            self.add(bare);
            let unquoted = bare.strip_prefix(b"\"").and_then(|it| it.strip_suffix(b"\""));
            self.add(unquoted.unwrap_or(bare));
        }
    }

    /// A configuration file without its secrets.
    pub(super) fn config(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        let text = replace(&self.setting, text, "a setting of a secret's name", reasons);
        self.text(&text, reasons)
    }

    /// Any text without its secrets.
    pub(super) fn text(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        let mut text = text.to_vec();
        for (why, pattern) in &self.structure {
            text = replace(pattern, &text, why, reasons);
        }
        self.values(&text, reasons)
    }

    /// What nssight made itself: only values are sought, so that a document stays one.
    pub(super) fn values(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        let Some(search) = &self.search else { return text.to_vec() };
        let mut clean = Vec::with_capacity(text.len());
        let mut at = 0;
        for hit in search.find_iter(text) {
            clean.extend_from_slice(&text[at..hit.start()]);
            clean.extend_from_slice(MARK);
            at = hit.end();
            *reasons.entry("a value that is a known secret".to_owned()).or_default() += 1;
        }
        clean.extend_from_slice(&text[at..]);
        clean
    }

    /// Whether a known secret is in there, in any form.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.search.as_ref().is_some_and(|search| search.find(bytes).is_some())
    }
}

fn replace(pattern: &Regex, text: &[u8], why: &str, reasons: &mut Reasons) -> Vec<u8> {
    let mut count = 0;
    let clean = pattern.replace_all(text, |found: &Captures<'_>| {
        count += 1;
        [&found[1], MARK].concat()
    });
    if count > 0 {
        *reasons.entry(why.to_owned()).or_default() += count;
    }
    clean.into_owned()
}

/// Every form of a value: plain, as JSON and as an escaped string write it, URL, hex and base64, there at each of the three
/// places that it can have in a longer text.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![value.to_vec(), value.escape_ascii().to_string().into_bytes()];
    if let Ok(text) = std::str::from_utf8(value) {
        let json = serde_json::to_string(text).unwrap_or_default();
        let json = json.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(&json);
        forms.push(json.as_bytes().to_vec());
        // Some writers keep to ASCII (RFC 8259, 7).
        for upper in [false, true] {
            let unit = |unit: u16| if upper { format!("\\u{unit:04X}") } else { format!("\\u{unit:04x}") };
            let one = |c: char| match c.is_ascii() {
                true => c.to_string(),
                false => c.encode_utf16(&mut [0; 2]).iter().map(|code| unit(*code)).collect(),
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
        // Letters that no neighbour has a bit in.
        let own = text.get((offset * 8).div_ceil(6)..shifted.len() * 8 / 6).unwrap_or_default();
        if own.len() >= SHORTEST_BASE64.min(value.len()) {
            // At a text's end its last letter and the padding go, too.
            let last = text.get((offset * 8).div_ceil(6)..).unwrap_or_default();
            for form in [own, last.trim_end_matches('='), last] {
                forms.push(form.as_bytes().to_vec());
                forms.push(form.replace('+', "-").replace('/', "_").into_bytes());
            }
        }
    }
    forms.into_iter().map(Zeroizing::new).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"p\"a s&s/w+rd%1";

    fn redactor() -> Redactor {
        let mut redactor = Redactor::new().unwrap();
        redactor.add(SECRET);
        redactor
    }

    #[test]
    fn a_value_is_found_in_every_form() {
        let redactor = redactor();
        for form in [
            "p\"a s&s/w+rd%1".to_owned(),
            r#"{"x":"p\"a s&s/w+rd%1"}"#.to_owned(),
            "p%22a%20s%26s%2Fw%2Brd%251".to_owned(),
            "p%22a+s%26s%2fw%2brd%251".to_owned(),
            "702261207326732f772b72642531".to_owned(),
            "70:22:61:20:73:26:73:2F:77:2B:72:64:25:31".to_owned(),
            openssl::base64::encode_block(SECRET),
            openssl::base64::encode_block(&[b"user:", SECRET, b"tail"].concat()),
            openssl::base64::encode_block(&[b"admin:x", SECRET].concat()),
        ] {
            let clean = redactor.text(form.as_bytes(), &mut Reasons::new());
            assert_ne!(clean, form.as_bytes(), "{form}");
            assert!(!redactor.is_in(&clean), "{}", String::from_utf8_lossy(&clean));
        }
    }

    #[test]
    fn keys_that_hold_secrets_lose_their_values() {
        let mut redactor = Redactor::new().unwrap();
        let config = b"[nss]\nnss-dir: /x\nnss-password: hunter22\n  and-more\n[koji]\nkoji-passphrase=abcdef\npin: 123456\nuser: me\n";
        redactor.learn(config);
        let mut reasons = Reasons::new();
        let clean = String::from_utf8(redactor.config(config, &mut reasons)).unwrap();
        assert_eq!(
            clean,
            "[nss]\nnss-dir: /x\nnss-password: [redacted]\n[koji]\nkoji-passphrase=[redacted]\npin: [redacted]\nuser: me\n"
        );
        assert!(redactor.is_in(b"later, abcdef was used"));
        let log = b"login token=zzz; Authorization: Basic QWxhZGRpbg== https://me:pw@host/ -----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n";
        let clean = String::from_utf8(redactor.text(log, &mut reasons)).unwrap();
        for secret in ["zzz", "QWxhZGRpbg", ":pw", "AAAA"] {
            assert!(!clean.contains(secret), "{clean}");
        }
        assert!(clean.contains("host/"), "{clean}");
    }
}
