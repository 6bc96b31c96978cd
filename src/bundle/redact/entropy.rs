//! Finds secrets without a name: words that look random and are not digests.

use regex::bytes::Regex;

use super::{Span, line_start};

/// People also make up shorter words.
const SHORTEST: usize = 20;
/// Minimum length of a part between separators that occur both in base64 and in names.
const SHORTEST_PART: usize = 16;
/// Hexadecimal digits of 16 bytes.
const SHORTEST_HEX: usize = 32;
/// Letters of only one case are harder to recognise as random.
const SHORTEST_LOWER: usize = 24;
/// Percentage of neighbours of different kinds, not counting a capital before a small letter. Random letters and digits of both cases have
/// 44 of these in 100; names that people make have 20.
const MIXED: usize = 26;
/// Random letters and digits of one case have 40.
const MIXED_LOWER: usize = 26;
/// A digest is labelled within this many bytes before it.
const NEAR: usize = 48;
/// Labels of values that anyone may see.
const DIGESTS: [&str; 27] = [
    ".git",
    "sha",
    "md5",
    "digest",
    "fingerprint",
    "thumbprint",
    "serial",
    "checksum",
    "hash",
    "commit",
    "revision",
    "buildid",
    "build",
    "uuid",
    "keyid",
    "key id",
    "ski",
    "aki",
    "subject key",
    "boot",
    "invocation",
    "machine",
    "session id",
    "session-id",
    "rsa ",
    "dsa ",
    "ec ",
];

pub(super) struct Words {
    word: Regex,
}

impl Words {
    pub(super) fn new() -> Result<Self, regex::Error> {
        Ok(Self { word: Regex::new(r"(?-u)[A-Za-z0-9+/_-]{20,}={0,2}")? })
    }

    pub(super) fn find(&self, text: &[u8], public: &[(usize, usize)], found: &mut Vec<Span>) {
        for word in self.word.find_iter(text) {
            if public.iter().any(|(start, end)| (*start..*end).contains(&word.start())) {
                continue;
            }
            // The parts of a path are checked one by one; any other word with slashes may be base64.
            let path = word.as_bytes().starts_with(b"/") || text[..word.start()].ends_with(b".");
            let mut at = word.start();
            let parts = word.as_bytes().split(|byte| path && *byte == b'/').map(|part| {
                let from = at;
                at += part.len() + 1;
                (from, part)
            });
            let random = parts.filter(|(_, part)| part.len() >= SHORTEST && is_random(text, word.start(), part));
            found.extend(random.map(|(from, part)| Span::new(from, from + part.len(), WHY)));
        }
    }
}

const WHY: &str = "a word that looks random";

/// Whether a word looks random.
fn is_random(text: &[u8], place: usize, word: &[u8]) -> bool {
    let word = word.trim_ascii();
    let end = word.iter().rev().take_while(|byte| **byte == b'=').count();
    let word = &word[..word.len() - end];
    if word.len() >= SHORTEST_HEX && word.iter().all(u8::is_ascii_hexdigit) {
        let mixed = word.iter().any(u8::is_ascii_digit) && word.iter().any(u8::is_ascii_alphabetic);
        return mixed && distinct(word) >= 8 && !names_a_digest(text, place);
    }
    // Names have many parts, each with a meaning; base64 has few, by chance.
    let parts = word.split(|byte| matches!(byte, b'-' | b'_' | b'/' | b'+'));
    let part = parts.max_by_key(|part| part.len()).unwrap_or_default();
    let kinds = [u8::is_ascii_lowercase, u8::is_ascii_uppercase, u8::is_ascii_digit];
    let kind = |byte: &u8| kinds.iter().position(|is| is(byte)).unwrap_or(kinds.len());
    let has = |number: usize| part.iter().any(|byte| kind(byte) == number);
    let changes = part.windows(2).map(|pair| (kind(&pair[0]), kind(&pair[1])));
    let changes = changes.filter(|(one, next)| one != next && (*one, *next) != (1, 0)).count();
    let share = changes * 100 / part.len().saturating_sub(1).max(1);
    let varied = distinct(part) * 5 >= part.len().min(40) * 2;
    if has(0) && has(1) {
        let enough = has(2) || part.len() >= SHORTEST_HEX;
        return part.len() >= SHORTEST_PART && enough && share >= MIXED && varied && !is_digest(text, place);
    }
    part.len() >= SHORTEST_LOWER && has(2) && (has(0) || has(1)) && share >= MIXED_LOWER && varied
}

fn distinct(word: &[u8]) -> usize {
    let mut seen = [false; 256];
    word.iter().for_each(|byte| seen[usize::from(*byte)] = true);
    seen.iter().filter(|seen| **seen).count()
}

/// Whether the label of a base64 digest stands directly before it, as OpenSSH writes it.
fn is_digest(text: &[u8], place: usize) -> bool {
    [&b"SHA256:"[..], b"sha256-", b"sha384-", b"sha512-", b"SHA1:"].iter().any(|name| text[..place].ends_with(name))
}

/// Whether the words directly before it label it as a digest, a number or a name.
fn names_a_digest(text: &[u8], place: usize) -> bool {
    let from = line_start(text, place).max(place.saturating_sub(NEAR));
    let before = String::from_utf8_lossy(&text[from..place]).to_ascii_lowercase();
    DIGESTS.iter().any(|word| before.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(line: &str) -> usize {
        let mut found = Vec::new();
        Words::new().unwrap().find(line.as_bytes(), &[], &mut found);
        found.len()
    }

    #[test]
    fn names_of_things_are_no_random_words() {
        for line in [
            "PK11_FindCertFromNickname SSL_ERROR_BAD_CERT_DOMAIN TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
            "/usr/lib/x86_64-linux-gnu/nss/libsoftokn3.so libnspr4_2:4.35-1+deb12u1_amd64",
            "org.apache.harmony.X509TrustManagerImpl SEC_PKCS12EnableCipherSuite getCertificateChain2048BitKeys",
            "sigul-1.2.0-4.fc39.x86_64 fedora-updates-testing-2026-11-28 2026-11-28T21:29:10.123456+00:00",
            "SHA-256 fingerprint 3f786850e387550fdab836ed7e6dc881de23001b3f786850e387550fdab836ed",
            "3F:78:68:50:E3:87:55:0F:DA:B8:36:ED:7E:6D:C8:81:DE:23:00:1B",
            "5b1c2c3e-5a1b-4c1d-8f3e-0a1b2c3d4e5f kworker/u16:3-events_unbound CN=bridge.releng.example.org,OU=Release",
            "00000000000000000000000000000000000000 ================================ --------------------------------",
            "X509v3ExtendedKeyUsageTlsWebServerAuthentication ssl3_HandleClientHelloPart2 NSS_3_87_1_RTM",
        ] {
            assert_eq!(found(line), 0, "{line}");
        }
    }

    #[test]
    fn random_words_are_found_without_a_name() {
        for line in [
            "got Zk9vYmFyQmF6MTIzNDU2Nzg5MGFiY2RlZg== from there",
            "wJalrXUtnFEMI/K7MDENG/bPxRfiCYzX9qLmNoPq",
            "a 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b there",
            "x k3j9d8f7g6h5j4k3l2m1n0b9v8c7 y",
        ] {
            assert_eq!(found(line), 1, "{line}");
        }
    }
}
