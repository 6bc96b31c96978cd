//! Notations: the ways in which programs, libraries and tools write errors. A line is searched for marks. The text at a mark
//! is a phrase of the table, a library's own sentence, a name, or a number in one of its notations.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::LazyLock;

use crate::signal::{CODES, Code, Family, Library, Signal, TEXTS, TOGETHER, code, signal};

/// How to read the text at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// A phrase of the table, or a library's own sentence, in any case.
    Phrase(Signal),
    /// The mark is part of the name of an error: `SEC_ERROR_…`, `X509_V_ERR_…`.
    Name,
    /// The name of OpenSSL's reason follows: `[SSL: …]`.
    Reason,
    /// An error number of NSPR, NSS or libssl follows, without its sign.
    Number,
    /// The beginning of a negative number, which is an error only near words that mark it as one.
    Bare,
    /// The number of an alert follows.
    AlertNumber,
    /// A verify code of OpenSSL follows.
    VerifyNumber,
    /// The mark is part of OpenSSL's packed number: `error:0A000418`.
    Packed,
}

/// Marks in addition to the table's phrases.
const MARKS: &[(&str, Mark)] = &[
    ("_ERROR", Mark::Name),
    ("X509_V_ERR_", Mark::Name),
    ("[SSL: ", Mark::Reason),
    ("rror (-", Mark::Number),
    ("rror -", Mark::Number),
    ("rror code: -", Mark::Number),
    ("-59", Mark::Bare),
    ("-60", Mark::Bare),
    ("-80", Mark::Bare),
    ("-81", Mark::Bare),
    ("-120", Mark::Bare),
    ("-121", Mark::Bare),
    ("-122", Mark::Bare),
    ("alert number ", Mark::AlertNumber),
    ("defined fatal alert code is ", Mark::AlertNumber),
    ("erify return code: ", Mark::VerifyNumber),
    ("erify error:num=", Mark::VerifyNumber),
    ("erification: Error (", Mark::VerifyNumber),
    ("erification error: ", Mark::VerifyNumber),
    ("certificate verify error: (", Mark::VerifyNumber),
    ("error:0a", Mark::Packed),
    ("error:14", Mark::Packed),
    ("error:80", Mark::Packed),
    ("error:02", Mark::Packed),
];

/// Sentences of a library for its errors. Short ones also occur in other texts, and NSPR's occur in any program.
fn sentence(code: &Code) -> Option<String> {
    let own = match code.library {
        Library::Nss | Library::Ssl => true,
        // A sentence of two words may be from any program: "connection aborted".
        Library::Nspr => {
            let family = code.signal.row().family;
            matches!(family, Family::End | Family::Silence | Family::Network)
                && code.text.split_whitespace().count() > 2
        }
        _ => false,
    };
    let text = code.text.trim().trim_end_matches('.').to_lowercase();
    (own && text.len() > 12 && !is_phrase(&text)).then_some(text)
}

fn is_phrase(text: &str) -> bool {
    TEXTS.iter().any(|(phrase, _)| *phrase == text)
}

static SENTENCES: LazyLock<Vec<(String, Signal)>> = LazyLock::new(|| {
    let mut all: Vec<(String, Signal)> = CODES.iter().filter_map(|code| Some((sentence(code)?, code.signal))).collect();
    // Two spellings of one number share one sentence.
    all.sort_by(|one, other| one.0.cmp(&other.0));
    all.dedup_by(|later, earlier| later.0 == earlier.0);
    all
});

/// Every string to search for in a line, in any case, and how to read the text there.
pub fn marks() -> impl Iterator<Item = (&'static str, Mark)> {
    let phrases = TEXTS.iter().filter(|(_, signal)| *signal != signal::NOTHING_WRONG);
    let phrases = phrases.map(|(text, signal)| (*text, Mark::Phrase(*signal)));
    let sentences = SENTENCES.iter().filter(|(_, signal)| *signal != signal::NOTHING_WRONG);
    let sentences = sentences.map(|(text, signal)| (text.as_str(), Mark::Phrase(*signal)));
    MARKS.iter().copied().chain(phrases).chain(sentences)
}

/// The number or text that was read at a mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spelling {
    /// The signal.
    pub signal: Signal,
    /// It was a library's name or number, not a phrase.
    pub by_code: bool,
    /// The length of the text.
    pub length: usize,
    /// It only means that something failed.
    pub vague: bool,
}

impl Spelling {
    /// How specific the signal is, whoever reports it: more than that the other side disconnected, and more than that there was an error.
    pub fn weight(self) -> impl Ord {
        (self.signal != signal::NO_REASON, self.signal.row().family != Family::End, !self.vague)
    }

    /// The order of several items in a line, the greatest of which counts. From the least to the greatest: a mere failure; an end of file,
    /// since every other failure leads to it; items that only report an error; phrases, from short to long; and codes.
    pub fn telling(self) -> impl Ord {
        (self.weight(), self.by_code, self.length)
    }
}

/// Whether a signal means that a certificate was refused, an alert arrived or a handshake failed, without the reason. A peer sends
/// handshake_failure for half a dozen reasons.
pub fn says_no_reason(shown: Signal) -> bool {
    [signal::CHAIN_REFUSED, signal::ALERT_OTHER, signal::ALERT_HANDSHAKE_FAILURE, signal::NO_REASON].contains(&shown)
}

/// Whether the item only means that something failed. A name or number of NSS is exact, even if nothing more is known about it.
fn is_unspecific(mark: Mark, shown: Signal) -> bool {
    let exact = matches!(mark, Mark::Name | Mark::Number | Mark::Bare);
    let vague = says_no_reason(shown) && shown != signal::ALERT_HANDSHAKE_FAILURE;
    vague || !exact && shown.row().family == Family::Other
}

/// The libraries' names for errors. OpenSSL has names with `_ERROR` in them that mean nothing.
static NAMES: LazyLock<HashMap<&'static str, Signal>> = LazyLock::new(|| {
    let named = |code: &&Code| !matches!(code.library, Library::Openssl | Library::Reply(_));
    let wrong = CODES.iter().filter(named).filter(|code| code.signal != signal::NOTHING_WRONG);
    wrong.map(|code| (code.name, code.signal)).collect()
});

/// OpenSSL's names for its reasons.
static REASONS: LazyLock<HashMap<&'static str, Signal>> = LazyLock::new(|| {
    let own = CODES.iter().filter(|code| code.library == Library::Openssl);
    own.map(|code| (code.name, code.signal)).collect()
});

/// Reads the text at a mark of a line.
pub fn read(mark: Mark, line: &[u8], place: Range<usize>) -> Option<Spelling> {
    let Range { start, end } = place;
    let signal = match mark {
        Mark::Phrase(signal) => {
            return Some(Spelling { signal, by_code: false, length: end - start, vague: is_unspecific(mark, signal) });
        }
        Mark::Name => *NAMES.get(name_around(line, start, end)?)?,
        Mark::Reason => *REASONS.get(name_around(line, end, end)?)?,
        Mark::Number => {
            let code = -number::<i32>(line, end, 6)?;
            Signal::of_nss(Some(code).filter(|code| (-12999..=-5000).contains(code))?)
        }
        Mark::Bare => bare(line, start)?,
        Mark::AlertNumber => Signal::of_alert(number(line, end, 3)?),
        Mark::VerifyNumber => {
            let code = number::<u16>(line, end, 4)?;
            Signal::of_code(Library::Verify, code.into()).unwrap_or(signal::VERIFY_ERROR)
        }
        Mark::Packed => packed(line.get(start + "error:".len()..)?)?,
    };
    let vague = is_unspecific(mark, signal);
    Some(Spelling { signal, by_code: true, length: end - start, vague }).filter(|_| signal != signal::NOTHING_WRONG)
}

fn number<N: std::str::FromStr>(line: &[u8], from: usize, most: usize) -> Option<N> {
    let digits = line[from..].iter().take_while(|byte| byte.is_ascii_digit()).take(most).count();
    std::str::from_utf8(&line[from..from + digits]).ok()?.parse().ok()
}

fn name_around(line: &[u8], start: usize, end: usize) -> Option<&str> {
    let is_name = |byte: &u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || *byte == b'_';
    let from = line[..start].iter().rposition(|byte| !is_name(byte)).map_or(0, |at| at + 1);
    let to = line[end..].iter().position(|byte| !is_name(byte)).map_or(line.len(), |at| end + at);
    std::str::from_utf8(&line[from..to]).ok()
}

/// Words near a number that make it an error.
const ERROR_WORDS: &[&[u8]] = &[
    b"err", b"fail", b"nss", b"nspr", b"ssl", b"tls", b"status", b"code", b"cert", b"rv=", b"rc=", b"ret", b"pr_",
    b"reason",
];
/// Units after a number that is not an error.
const UNITS: &[&str] = &[
    "ms", "us", "ns", "s", "sec", "secs", "second", "seconds", "bytes", "kb", "mb", "kib", "mib", "px", "db", "ppm",
    "ppb",
];
/// Maximum distance of these words.
const NEAR: usize = 48;

/// An error of NSS without any introducing word. Its number is one that NSS has, stands alone, and is not a quantity.
fn bare(line: &[u8], start: usize) -> Option<Signal> {
    let digits = line[start + 1..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let end = start + 1 + digits;
    let before = start.checked_sub(1).map(|at| line[at]);
    let alone = before.is_none_or(|byte| byte.is_ascii_whitespace() || b"([{=:,;'\"<".contains(&byte));
    let rest = &line[end..];
    // A full stop may end a sentence; a digit after it continues a fraction.
    let ends = match rest.first() {
        None => true,
        Some(b'.') => !rest.get(1).is_some_and(u8::is_ascii_digit),
        Some(byte) => !byte.is_ascii_alphanumeric() && !b"-_/%".contains(byte),
    };
    if !(4..=5).contains(&digits) || !alone || !ends {
        return None;
    }
    let number = -number::<i64>(line, start + 1, 5)?;
    let known = [Library::Nss, Library::Ssl, Library::Nspr].into_iter().find_map(|library| code(library, number))?;
    let unit: String = rest
        .trim_ascii_start()
        .iter()
        .take_while(|byte| byte.is_ascii_alphabetic())
        .map(|byte| char::from(*byte))
        .collect();
    if UNITS.contains(&unit.to_lowercase().as_str()) {
        return None;
    }
    let lone = line[..start].trim_ascii().is_empty() && rest.trim_ascii().is_empty();
    let around = line[start.saturating_sub(NEAR)..(end + NEAR / 2).min(line.len())].to_ascii_lowercase();
    let says = ERROR_WORDS.iter().any(|word| around.windows(word.len()).any(|at| at == *word));
    (lone || says).then_some(known.signal)
}

/// A number of OpenSSL: version 3 has the library in the bits from 23 on and the system's errors above them, version 1 has the
/// library in the first byte and the reason in the last three digits (`ERR_PACK` in err.h of both).
fn packed(text: &[u8]) -> Option<Signal> {
    let digits = std::str::from_utf8(text.get(..8)?).ok()?;
    let number = i64::from(u32::from_str_radix(digits, 16).ok()?);
    let (library, reason) = match number >> 24 {
        0x0a => (Library::Openssl, number & 0x7f_ffff),
        0x14 => (Library::Openssl, number & 0xfff),
        0x80 => (Library::Errno, number & 0x7fff_ffff),
        0x02 => (Library::Errno, number & 0xfff),
        _ => return None,
    };
    Signal::of_code(library, reason)
}

/// The meaning of a code together with these words in one line, if it differs from the meaning of the code alone. The line is in lower
/// case.
pub fn beside(found: Signal, lower: &str) -> Signal {
    let means = TOGETHER.iter().find(|it| it.signal == found && it.words.iter().any(|word| lower.contains(word)));
    means.map_or(found, |it| it.means)
}

/// The codes of NSPR, NSS and libssl whose numbers are in a line.
pub fn codes_in(line: &str) -> Vec<&'static Code> {
    let lower = line.to_ascii_lowercase();
    let numbers = MARKS.iter().filter(|(_, mark)| matches!(mark, Mark::Number | Mark::Bare));
    let places = numbers.flat_map(|(word, mark)| {
        let found: Vec<usize> = lower.match_indices(*word).map(|(at, _)| at).collect();
        found.into_iter().map(move |at| (*mark, at, at + word.len()))
    });
    let read = places.filter(|(mark, start, end)| read(*mark, line.as_bytes(), *start..*end).is_some());
    let numbers = read.filter_map(|(mark, start, end)| {
        let from = if mark == Mark::Bare { start + 1 } else { end };
        Some(-number::<i64>(line.as_bytes(), from, 6)?)
    });
    let mut codes: Vec<&Code> = numbers
        .filter_map(|number| [Library::Nss, Library::Ssl, Library::Nspr].into_iter().find_map(|own| code(own, number)))
        .collect();
    codes.dedup_by_key(|code| code.number);
    codes
}

/// The most specific item in one line of text.
pub fn in_line(line: &str) -> Option<Spelling> {
    let lower = line.to_ascii_lowercase();
    let found = marks().flat_map(|(word, mark)| {
        let word = word.to_ascii_lowercase();
        let places: Vec<usize> = lower.match_indices(word.as_str()).map(|(at, _)| at).collect();
        places.into_iter().filter_map(move |at| Some((at, read(mark, line.as_bytes(), at..at + word.len())?)))
    });
    let best = found.max_by(|one, other| {
        // Of equals, the first in the line counts.
        one.1.telling().cmp(&other.1.telling()).then(other.0.cmp(&one.0))
    });
    best.map(|(_, found)| Spelling { signal: beside(found.signal, &lower), ..found })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_notation_of_a_code_is_read() {
        for (line, expected) in [
            ("-8181", signal::CHAIN_EXPIRED),
            ("handshake failed (-12271)", signal::ALERT_BAD_CERTIFICATE),
            ("ldap_sasl_bind: err=-8179 text=", signal::CHAIN_UNKNOWN_ISSUER),
            ("connection closed (err -12285)", signal::NO_CERTIFICATE_OR_KEY),
            ("SSL_ForceHandshake failed, errno -12195 (SSL_x)", signal::ALERT_UNKNOWN_CA),
            ("NSS error -12195", signal::ALERT_UNKNOWN_CA),
            ("TLS: can't connect: TLS error -8172:x", signal::CHAIN_UNTRUSTED_ISSUER),
            ("error:0A00045C:SSL routines::x", signal::ALERT_CERTIFICATE_REQUIRED),
            ("error:14094418:SSL routines:ssl3_read_bytes:x", signal::ALERT_UNKNOWN_CA),
            ("error:1416F086:SSL routines:tls_process_server_certificate:x", signal::CHAIN_REFUSED),
            ("error:8000006F:system library::x", signal::REFUSED),
            ("[SSL: TLSV1_ALERT_UNKNOWN_CA] x", signal::ALERT_UNKNOWN_CA),
            (
                "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
                signal::CHAIN_UNKNOWN_ISSUER,
            ),
            ("AH02039: Certificate Verification: Error (20): x", signal::CHAIN_UNKNOWN_ISSUER),
            ("client SSL certificate verify error: (10:x)", signal::CHAIN_EXPIRED),
            ("X509_V_ERR_CERT_HAS_EXPIRED", signal::CHAIN_EXPIRED),
            ("The TLS protocol defined fatal alert code is 48.", signal::ALERT_UNKNOWN_CA),
        ] {
            assert_eq!(in_line(line).map(|it| it.signal), Some(expected), "{line}");
        }
    }

    #[test]
    fn a_number_with_the_digits_of_a_code_is_not_always_a_code() {
        for line in [
            "2026-12-08 -8181 x",
            "System clock wrong by -8174 seconds, error in time",
            "request 4f1c-8179-4a2e failed",
            "ssl error at ip-10-80-8181",
            "status: -8179.5",
            "certificate of host-8181 was read",
            "error at -8181ms",
        ] {
            assert_eq!(in_line(line), None, "{line}");
        }
    }
}
