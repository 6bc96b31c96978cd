//! Explains an error code, a name, an alert or a pasted message, with possible causes: the judge with only a signal.

use std::collections::BTreeSet;
use std::iter;

use schemars::JsonSchema;
use serde::Serialize;

use crate::cause::{Cause, Text};
use crate::judge::{self, tell_apart};
use crate::signal::{CODES, Code, Library, NOTES, Note, REPLIES, Replies, Signal, TEXTS, signal};
use crate::spelling::{self, Spelling};
use crate::vocabulary::{Layer, Peer};

/// The type of the explained item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A cause of the catalogue.
    Cause,
    /// A message of a program.
    Message,
    /// An error of NSPR (prerr.h).
    Nspr,
    /// An error of NSS (secerr.h).
    Nss,
    /// An error of libssl3 (sslerr.h).
    Ssl,
    /// A TLS alert.
    Alert,
    /// A verify code of OpenSSL.
    Verify,
    /// An error code in a server's reply, after the handshake.
    Reply,
    /// An error of OpenSSL.
    Openssl,
    /// An error of the system, or of its resolver.
    System,
}

/// A cause that explains a symptom, and how to confirm it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Candidate {
    /// The id of the cause.
    pub cause: Cause,
    /// The layer of the cause.
    pub layer: Layer,
    /// The cause in one sentence.
    pub title: &'static str,
    /// A step that confirms the cause.
    pub check: Option<&'static str>,
    /// The command for that step.
    pub command: Option<&'static str>,
    /// Ways to distinguish this cause from the first candidate.
    pub tell_apart: Vec<String>,
}

/// The explanation of one error, alert, cause or message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// The type of the explained item.
    pub kind: Kind,
    /// The name of the explained item.
    pub name: String,
    /// The number of the error; absent for an item without a number.
    pub code: Option<i64>,
    /// The meaning of the item, and the situation in which it occurs.
    pub meaning: String,
    /// The library or side that raises the error.
    pub library: &'static str,
    /// The signal that the error shows; absent for a cause.
    pub signal: Option<Signal>,
    /// Layers where the error can occur.
    pub layers: Vec<Layer>,
    /// Possible causes, the most likely first.
    pub causes: Vec<Candidate>,
}

fn kind(library: Library) -> Kind {
    match library {
        Library::Nspr => Kind::Nspr,
        Library::Nss => Kind::Nss,
        Library::Ssl => Kind::Ssl,
        Library::Verify => Kind::Verify,
        Library::Reply(_) => Kind::Reply,
        Library::Openssl => Kind::Openssl,
        Library::Errno | Library::Resolver => Kind::System,
    }
}

/// Signals that are alerts, with name and number.
fn alerts() -> impl Iterator<Item = (Signal, &'static str, u8)> {
    Signal::all().filter_map(|signal| {
        let row = signal.row();
        Some((signal, row.alert_name?, row.alert?))
    })
}

/// Names of everything that can be explained.
pub fn names() -> Vec<(Kind, String, Option<i64>)> {
    let causes = Cause::ALL.iter().map(|cause| (Kind::Cause, cause.id().to_owned(), None));
    let codes = CODES.iter().map(|code| (kind(code.library), code.name.to_owned(), Some(code.number)));
    let alerts = alerts().map(|(_, name, number)| (Kind::Alert, name.to_owned(), Some(i64::from(number))));
    causes.chain(codes).chain(alerts).collect()
}

/// Explains everything in a text, the most specific item first; empty if nothing is known.
pub fn explain(text: &str) -> Vec<Explanation> {
    explain_by(text, None)
}

/// As [`explain`], for a text whose decisive line is known.
pub fn explain_by(text: &str, line: Option<&str>) -> Vec<Explanation> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return by_number(number);
    }
    let whole = by_name(text);
    if !whole.is_empty() {
        return whole;
    }
    in_message(text, line)
}

/// Numbers without context: those of NSS, TLS, OpenSSL's verify codes and replies. An errno is too small to be distinguished from these.
fn by_number(number: i64) -> Vec<Explanation> {
    let wanted = |library: Library| {
        let rows = CODES.iter().filter(move |code| code.library == library && code.number == number);
        rows.take(1).map(of_code)
    };
    let mut found: Vec<Explanation> =
        [Library::Nspr, Library::Nss, Library::Ssl].into_iter().flat_map(wanted).collect();
    if found.is_empty() && NSS_NUMBERS.iter().any(|range| range.contains(&number)) {
        found.push(of_newer(number));
    }
    found.extend(alerts().filter(|(_, _, alert)| i64::from(*alert) == number).map(of_alert));
    let replies = REPLIES.iter().map(|it| Library::Reply(it.profile));
    found.extend(iter::once(Library::Verify).chain(replies).flat_map(wanted));
    found
}

/// The number ranges of NSS and libssl, including numbers not assigned yet.
const NSS_NUMBERS: [std::ops::RangeInclusive<i64>; 2] = [-8192..=-7993, -12288..=-12089];

/// A number in NSS's ranges for which this version of nssight has no name.
fn of_newer(number: i64) -> Explanation {
    let ssl = number < -12000;
    let (kind, name) = if ssl { (Kind::Ssl, "SSL_ERROR") } else { (Kind::Nss, "SEC_ERROR") };
    let meaning = "An error of a newer NSS, unknown here; look it up with that version of NSS.".to_owned();
    explanation(kind, name, Some(number), meaning, if ssl { signal::SSL_ERROR } else { signal::NSS_ERROR })
}

/// Explains a word that is the name of an item.
fn by_name(text: &str) -> Vec<Explanation> {
    if let Ok(cause) = text.parse::<Cause>() {
        return vec![of_cause(cause)];
    }
    // The name of a reply's success code is an ordinary word.
    let known = |code: &&Code| !matches!(code.library, Library::Reply(_)) || code.signal != signal::NOTHING_WRONG;
    let named = CODES.iter().filter(|code| code.name.eq_ignore_ascii_case(text)).filter(known);
    let mut found: Vec<Explanation> = named.map(of_code).collect();
    found.extend(alerts().filter(|(_, name, _)| name.eq_ignore_ascii_case(text)).map(of_alert));
    // An exact match comes first: TLS and OpenSSL have the same names in lower and in upper case.
    found.sort_by_key(|explanation| explanation.name != text);
    found
}

/// The parts of a message: messages of programs, names and numbers, sentences of the libraries, and alerts in OpenSSL's notation. The
/// decisive item comes first; of several lines, it is the most specific one.
fn in_message(text: &str, line: Option<&str>) -> Vec<Explanation> {
    let decisive = line.and_then(read).or_else(|| decisive(text));
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut found: Vec<Explanation> = lines.flat_map(in_line).collect();
    if let Some((line, Spelling { signal, .. })) = decisive {
        if !found.iter().any(|it| it.signal == Some(signal)) {
            let lower = line.to_lowercase();
            let phrase = TEXTS.iter().find(|(text, own)| *own == signal && lower.contains(text));
            found.push(of_phrase(phrase.map_or(line, |(text, _)| text), signal));
        }
        found.sort_by_key(|it| it.signal != Some(signal));
    }
    let mut seen = BTreeSet::new();
    found.retain(|explanation| seen.insert((explanation.kind, explanation.name.clone())));
    found
}

/// The line that is most specific about the failure, and its item; the first of equals.
fn decisive(text: &str) -> Option<(&str, Spelling)> {
    let found = text.lines().map(str::trim).filter_map(read);
    found.reduce(|best, next| if next.1.weight() > best.1.weight() { next } else { best })
}

fn read(line: &str) -> Option<(&str, Spelling)> {
    Some((line, spelling::in_line(line)?))
}

fn in_line(text: &str) -> Vec<Explanation> {
    let lower = text.to_lowercase();
    let mut found: Vec<Explanation> = Vec::new();
    found.extend(NOTES.iter().filter(|note| lower.contains(note.text)).map(of_note));
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
    for word in words.filter(|word| word.len() > 3) {
        // A number is an error only in the context of its line.
        if word.parse::<i64>().is_err() && word.contains(['_', '-']) {
            found.extend(by_name(word));
        }
    }
    found.extend(spelling::codes_in(text).into_iter().map(of_code));
    found.extend(CODES.iter().filter(|code| says(code, &lower)).map(of_code));
    found.extend(alert_in(&lower));
    found.extend(verify_in(&lower));
    found
}

/// Whether a line contains the library's sentence for a code of NSS, in lower case. Short sentences also occur in other texts.
fn says(code: &Code, lower: &str) -> bool {
    let own = matches!(code.library, Library::Nspr | Library::Nss | Library::Ssl);
    own && code.text.len() > 12 && lower.contains(code.text.trim_end_matches('.').to_lowercase().as_str())
}

/// `tlsv1 alert unknown ca`, `SSL alert number 48`.
fn alert_in(lower: &str) -> Option<Explanation> {
    if let Some((_, rest)) = lower.split_once("alert number ") {
        let number: u8 = leading(rest)?;
        return alerts().find(|(_, _, alert)| *alert == number).map(of_alert);
    }
    let (_, rest) = lower.split_once("alert ")?;
    // The longest matching name: "certificate unknown" and not "certificate".
    let fits = alerts().filter(|(_, name, _)| rest.starts_with(name.replace('_', " ").as_str()));
    fits.max_by_key(|(_, name, _)| name.len()).map(of_alert)
}

/// `Verify return code: 20 (…)`, `verify error:num=20:`.
fn verify_in(lower: &str) -> Option<Explanation> {
    let rest = ["verify return code: ", "verify error:num=", "verification error: "]
        .iter()
        .find_map(|mark| lower.split_once(mark).map(|(_, rest)| rest))?;
    let number: i64 = leading(rest)?;
    CODES.iter().find(|code| code.library == Library::Verify && code.number == number).map(of_code)
}

/// The number at the beginning of a text.
fn leading<N: std::str::FromStr>(text: &str) -> Option<N> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

fn explanation(kind: Kind, name: &str, code: Option<i64>, meaning: String, signal: Signal) -> Explanation {
    let causes = of_signal(signal);
    let layers: BTreeSet<Layer> = causes.iter().map(|candidate| candidate.layer).collect();
    let layers = if layers.is_empty() { usual_layers(kind) } else { layers.into_iter().collect() };
    let library = match kind {
        Kind::Nspr => "NSPR, below TLS: sockets, files, names",
        Kind::Nss => "NSS: databases, tokens, certificates",
        Kind::Ssl => "NSS's libssl3, in a handshake or a session",
        Kind::Alert => "TLS: sent by one of the two peers, about the other",
        Kind::Verify => "OpenSSL, when it verifies a chain",
        Kind::Reply => "a server, in a reply",
        Kind::Openssl => "OpenSSL",
        Kind::System => "the system",
        Kind::Message => "a program, in its own words",
        Kind::Cause => "nssight's catalogue",
    };
    Explanation { kind, name: name.to_owned(), code, meaning, library, signal: Some(signal), layers, causes }
}

fn of_code(code: &Code) -> Explanation {
    let text = match (code.library, code.text.trim_end()) {
        (Library::Verify, text) => format!("When verifying the peer's certificate: {}", sentence(text)),
        (Library::Reply(profile), text) => match Replies::of(profile) {
            Some(replies) => format!("{}: {}", replies.place, sentence(text)),
            None => sentence(text),
        },
        (_, text) => sentence(text),
    };
    let text = match code.newer_than {
        Some((without, with)) => format!("{text} NSS {without} does not have it yet, and NSS {with} does."),
        None => text,
    };
    // A program's note on the same signal explains what is misleading about it.
    let mut meaning = text;
    let says_more = matches!(code.library, Library::Nspr | Library::Nss | Library::Ssl);
    if let Some(note) = NOTES.iter().find(|note| says_more && note.text == code.name.to_lowercase()) {
        meaning = format!("{meaning} {}", note.says);
    }
    let explanation = explanation(kind(code.library), code.name, Some(code.number), meaning, code.signal);
    match code.library {
        Library::Reply(profile) => {
            Explanation { library: Replies::of(profile).map_or(explanation.library, |it| it.by), ..explanation }
        }
        _ => explanation,
    }
}

fn sentence(text: &str) -> String {
    match text {
        "" => "The library has no text for this error.".to_owned(),
        text if text.ends_with('.') => text.to_owned(),
        text => format!("{text}."),
    }
}

fn of_alert((signal, name, number): (Signal, &'static str, u8)) -> Explanation {
    explanation(Kind::Alert, name, Some(number.into()), signal.row().says.to_owned(), signal)
}

fn of_note(note: &Note) -> Explanation {
    explanation(Kind::Message, note.text, None, note.says.to_owned(), note.signal)
}

fn of_phrase(line: &str, signal: Signal) -> Explanation {
    let text: String = line.chars().filter(|c| !c.is_control()).take(120).collect();
    explanation(Kind::Message, &text, None, signal.row().says.to_owned(), signal)
}

fn of_cause(cause: Cause) -> Explanation {
    let entry = cause.entry();
    Explanation {
        kind: Kind::Cause,
        name: cause.id().to_owned(),
        code: None,
        meaning: format!("{} {}", entry.title.plain(), entry.why.plain()),
        library: "nssight's catalogue",
        signal: None,
        layers: vec![entry.layer],
        causes: entry.see_also.iter().map(|other| candidate(other.cause, Some(cause))).collect(),
    }
}

fn usual_layers(kind: Kind) -> Vec<Layer> {
    match kind {
        Kind::Nspr | Kind::Message | Kind::System => {
            vec![Layer::Resolve, Layer::Tcp, Layer::OuterHandshake, Layer::Bridge, Layer::InnerHandshake]
        }
        Kind::Nss => vec![Layer::NssDb, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::OuterHandshake],
        Kind::Reply => vec![Layer::Request],
        _ => vec![Layer::OuterHandshake, Layer::InnerHandshake],
    }
}

/// Causes that show a signal, the most likely first.
pub fn of_signal(signal: Signal) -> Vec<Candidate> {
    candidates(&judge::of_signal(signal).iter().map(|it| it.cause).collect::<Vec<_>>())
}

/// Describes causes, and the difference of each from the first.
pub fn candidates(causes: &[Cause]) -> Vec<Candidate> {
    let first = causes.first().copied();
    causes.iter().map(|cause| candidate(*cause, first.filter(|first| first != cause))).collect()
}

fn candidate(cause: Cause, beside: Option<Cause>) -> Candidate {
    let entry = cause.entry();
    let first = entry.confirm(Peer::Plain).next();
    Candidate {
        cause,
        layer: entry.layer,
        title: entry.title.plain(),
        check: first.map(|step| step.text.plain()),
        command: first.and_then(|step| step.command).map(Text::plain),
        tell_apart: beside.map(|first| tell_apart(first, cause, Peer::Plain)).unwrap_or_default(),
    }
}
