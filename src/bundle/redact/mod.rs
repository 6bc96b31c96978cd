//! Removes secrets. It finds them by structure, after the name of a secret; by form, if the secret has a known form; by the randomness of a
//! word; and by value, for every known secret in every form that a log or a report may contain.

mod assignment;
mod entropy;
mod forms;
mod names;
mod shapes;

use std::collections::BTreeMap;

use aho_corasick::{AhoCorasick, MatchKind};
use zeroize::Zeroizing;

use assignment::{Assignments, Kind};
use entropy::Words;
use names::Name;
use shapes::Shapes;

/// Replaces a secret.
const MARK: &[u8] = b"[redacted]";
/// A shorter value would match within ordinary words.
const SHORTEST: usize = 4;

/// The reasons for redactions, with the number of redactions for each.
pub(super) type Reasons = BTreeMap<String, usize>;

/// The position of a secret, and the reason to remove it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Span {
    start: usize,
    end: usize,
    why: &'static str,
}

impl Span {
    const fn new(start: usize, end: usize, why: &'static str) -> Self {
        Self { start, end, why }
    }
}

/// All known secrets, and the means to find others.
pub(super) struct Redactor {
    values: Vec<Zeroizing<Vec<u8>>>,
    forms: Vec<Zeroizing<Vec<u8>>>,
    search: Option<AhoCorasick>,
    assignments: Assignments,
    shapes: Shapes,
    words: Words,
}

impl Redactor {
    pub(super) fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            values: Vec::new(),
            forms: Vec::new(),
            search: None,
            assignments: Assignments::new()?,
            shapes: Shapes::new()?,
            words: Words::new()?,
        })
    }

    /// Adds a known secret.
    pub(super) fn add(&mut self, value: &[u8]) {
        let value = value.trim_ascii();
        if value.len() >= SHORTEST && !self.values.iter().any(|known| known.as_slice() == value) {
            self.values.push(Zeroizing::new(value.to_vec()));
            self.forms.extend(forms::forms(value));
            self.forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
            self.forms.dedup();
            let builder = AhoCorasick::builder()
                .match_kind(MatchKind::LeftmostLongest)
                .build(self.forms.iter().map(|it| it.as_slice()));
            self.search = builder.ok();
        }
    }

    /// Adds the values that a configuration file has under the name of a secret.
    pub(super) fn learn(&mut self, config: &[u8]) {
        let mut found = Vec::new();
        self.assignments.find(config, Kind::Config, &mut found);
        for (span, _) in found.iter().filter(|(_, says)| *says == Name::Secret) {
            self.add(&config[span.start..span.end]);
        }
    }

    /// A configuration file without its secrets.
    pub(super) fn config(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        self.clean(text, Kind::Config, reasons)
    }

    /// Any text without its secrets.
    pub(super) fn text(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        self.clean(text, Kind::Log, reasons)
    }

    fn clean(&self, text: &[u8], kind: Kind, reasons: &mut Reasons) -> Vec<u8> {
        let mut assigned = Vec::new();
        self.assignments.find(text, kind, &mut assigned);
        let mut found: Vec<Span> = assigned.into_iter().map(|(span, _)| span).collect();
        self.shapes.find(text, &mut found);
        self.words.find(text, &self.shapes.public(text), &mut found);
        self.known(text, &mut found);
        without(text, found, reasons)
    }

    /// Redacts output of nssight itself. It removes only certain secrets, so that a document stays valid.
    pub(super) fn values(&self, text: &[u8], reasons: &mut Reasons) -> Vec<u8> {
        let mut found = Vec::new();
        self.shapes.tokens(text, &mut found);
        self.known(text, &mut found);
        without(text, found, reasons)
    }

    fn known(&self, text: &[u8], found: &mut Vec<Span>) {
        let hits = self.search.iter().flat_map(|search| search.find_iter(text));
        found.extend(hits.map(|hit| Span::new(hit.start(), hit.end(), "a value that is a known secret")));
    }

    /// Whether the bytes contain a known secret in any form.
    pub(super) fn is_in(&self, bytes: &[u8]) -> bool {
        self.search.as_ref().is_some_and(|search| search.find(bytes).is_some())
    }
}

/// The text with one mark in place of each secret, even if several rules found it.
fn without(text: &[u8], mut found: Vec<Span>, reasons: &mut Reasons) -> Vec<u8> {
    found.sort_unstable();
    let mut clean = Vec::with_capacity(text.len());
    let mut at = 0;
    for span in found {
        if span.end <= at {
            continue;
        }
        if span.start >= at && (span.start > at || at == 0) {
            clean.extend_from_slice(&text[at..span.start]);
            clean.extend_from_slice(MARK);
            *reasons.entry(span.why.to_owned()).or_default() += 1;
        }
        at = span.end;
    }
    clean.extend_from_slice(&text[at..]);
    clean
}

/// The start of the line that contains this position.
fn line_start(text: &[u8], at: usize) -> usize {
    memchr::memrchr(b'\n', &text[..at]).map_or(0, |newline| newline + 1)
}

/// The end of the line that contains this position, without the line end.
fn line_end(text: &[u8], at: usize) -> usize {
    let end = memchr::memchr(b'\n', &text[at..]).map_or(text.len(), |newline| at + newline);
    if end > at && text[end - 1] == b'\r' { end - 1 } else { end }
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
