//! What an error code, a name, an alert, or a pasted message means, and which causes show it.

mod verify;

use std::collections::BTreeSet;
use std::sync::LazyLock;

use nssight_nss::ErrorCode;
use nssight_wire::AlertDescription;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalogue::Cause;
use crate::vocabulary::Layer;

/// What was explained.
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
    /// An error code in a reply of a Sigul server.
    Sigul,
}

/// A cause that shows a symptom, and how to be sure of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Candidate {
    /// Its id.
    pub cause: Cause,
    /// The layer that it belongs to.
    pub layer: Layer,
    /// In a sentence.
    pub title: String,
    /// What to look at, to tell it from the others.
    pub check: Option<String>,
    /// What to run for that.
    pub command: Option<String>,
}

/// One thing explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Explanation {
    /// What kind of thing it is.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// Its number, where it has one.
    pub code: Option<i64>,
    /// What it is, and when it is raised.
    pub meaning: String,
    /// Who raises it.
    pub library: &'static str,
    /// Layers that it can come from.
    pub layers: Vec<Layer>,
    /// Causes that show it, the most likely first.
    pub causes: Vec<Candidate>,
}

#[derive(Deserialize)]
struct Message {
    text: String,
    names: Vec<String>,
    #[serde(default)]
    causes: Vec<String>,
    meaning: String,
}

#[derive(Deserialize)]
struct Messages {
    message: Vec<Message>,
}

/// Part of the binary; a test reads it.
static MESSAGES: LazyLock<Vec<Message>> = LazyLock::new(|| {
    toml::from_str::<Messages>(include_str!("../../messages.toml")).map(|all| all.message).unwrap_or_default()
});

/// An error of the linked libraries.
struct Known {
    code: i32,
    name: String,
    text: String,
    kind: Kind,
}

/// The ranges of the error numbers: `PR_NSPR_ERROR_BASE`, `SEC_ERROR_BASE` and `SSL_ERROR_BASE` on.
const RANGES: [(Kind, i32); 3] = [(Kind::Nspr, -6000), (Kind::Nss, -8192), (Kind::Ssl, -12288)];

/// Every error that the linked NSPR and NSS have a name for.
static ERRORS: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let of_range = |(kind, base): (Kind, i32)| {
        (base..base + 1000).filter_map(move |code| {
            let error = ErrorCode(code);
            Some(Known { code, name: error.name()?, text: error.text(), kind })
        })
    };
    // The ranges of NSS and NSPR meet nowhere, but a thousand is more than any of them has.
    let mut errors: Vec<Known> = RANGES.into_iter().flat_map(of_range).collect();
    errors.sort_by_key(|known| known.code);
    errors.dedup_by_key(|known| known.code);
    for known in &mut errors {
        known.kind = match known.name.split('_').next() {
            Some("PR") => Kind::Nspr,
            Some("SSL") => Kind::Ssl,
            _ => Kind::Nss,
        };
    }
    errors
});

/// Names that sslerr.h has and the library's own table spells otherwise (NSS 3.87.1).
const HEADER_NAMES: [(&str, i32); 5] = [
    ("SSL_ERROR_MALFORMED_PRE_SHARED_KEY", -12141),
    ("SSL_ERROR_MALFORMED_EARLY_DATA", -12140),
    ("SSL_ERROR_END_OF_EARLY_DATA_ALERT", -12139),
    ("SSL_ERROR_MISSING_SUPPORTED_GROUPS_EXTENSION", -12136),
    ("SSL_ERROR_NO_TIMERS_FOUND", -12121),
];

/// Names of everything that can be explained.
pub fn names() -> Vec<(Kind, String, Option<i64>)> {
    let causes = Cause::ALL.iter().map(|cause| (Kind::Cause, cause.id().to_owned(), None));
    let errors = ERRORS.iter().map(|known| (known.kind, known.name.clone(), Some(i64::from(known.code))));
    let headers = HEADER_NAMES.iter().map(|(name, code)| (Kind::Ssl, (*name).to_owned(), Some(i64::from(*code))));
    let alerts = (0..=u8::MAX)
        .filter_map(|code| Some((Kind::Alert, AlertDescription(code).name()?.to_owned(), Some(i64::from(code)))));
    let verify = verify::CODES.iter().map(|known| (Kind::Verify, known.name.to_owned(), Some(known.code)));
    let sigul = (0..=16).filter_map(|code| {
        Some((Kind::Sigul, nssight_sigul::reply::ErrorCode(code).name()?.to_owned(), Some(i64::from(code))))
    });
    causes.chain(errors).chain(headers).chain(alerts).chain(verify).chain(sigul).collect()
}

/// Everything that a text names or shows, the most telling first; nothing where it is not known.
pub fn explain(text: &str) -> Vec<Explanation> {
    let text = text.trim();
    if let Ok(number) = text.parse::<i64>() {
        return by_number(number);
    }
    let whole = by_name(text);
    if !whole.is_empty() {
        return whole;
    }
    in_message(text)
}

fn by_number(number: i64) -> Vec<Explanation> {
    let mut found: Vec<Explanation> =
        ERRORS.iter().filter(|known| i64::from(known.code) == number).map(error).collect();
    if let Ok(small) = u8::try_from(number) {
        found.extend(alert(AlertDescription(small)));
        found.extend(verify::CODES.iter().filter(|known| known.code == number).map(verified));
        found.extend(sigul(u32::from(small)));
    }
    found
}

/// A word that is the name of something.
fn by_name(text: &str) -> Vec<Explanation> {
    if let Ok(cause) = text.parse::<Cause>() {
        return vec![of_cause(cause)];
    }
    let header = HEADER_NAMES.iter().find(|(name, _)| name.eq_ignore_ascii_case(text)).map(|(_, code)| *code);
    let named = |known: &&Known| known.name.eq_ignore_ascii_case(text) || header == Some(known.code);
    let mut found: Vec<Explanation> = ERRORS.iter().filter(named).map(error).collect();
    let alerts = (0..=u8::MAX).map(AlertDescription);
    found.extend(alerts.filter(|it| it.name().is_some_and(|name| name.eq_ignore_ascii_case(text))).filter_map(alert));
    found.extend(verify::CODES.iter().filter(|known| known.name.eq_ignore_ascii_case(text)).map(verified));
    let codes = (0..=16).filter(|code| {
        let name = nssight_sigul::reply::ErrorCode(*code).name();
        name.is_some_and(|name| name.eq_ignore_ascii_case(text) && name != "ok")
    });
    found.extend(codes.filter_map(sigul));
    found
}

/// What a message is made of: programs' own words, names and numbers in it, texts of errors, alerts as OpenSSL writes
/// them, and symptoms of the catalogue.
fn in_message(text: &str) -> Vec<Explanation> {
    let lower = text.to_lowercase();
    let mut found: Vec<Explanation> = Vec::new();
    for message in MESSAGES.iter().filter(|message| lower.contains(&message.text)) {
        found.push(of_message(message));
    }
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && !"_-".contains(c));
    for word in words.filter(|word| word.len() > 3) {
        // A bare number in a message may be a port, a line or a date; only those of errors are long and negative.
        let named = match word.parse::<i64>() {
            Ok(number) if number < -5000 => by_number(number),
            Ok(_) => Vec::new(),
            Err(_) if word.contains(['_', '-']) => by_name(word),
            Err(_) => Vec::new(),
        };
        found.extend(named);
    }
    for known in ERRORS.iter().filter(|known| known.text.len() > 12) {
        if lower.contains(known.text.trim_end_matches('.').to_lowercase().as_str()) {
            found.push(error(known));
        }
    }
    found.extend(openssl_alert(&lower));
    found.extend(verify_in(&lower));
    if found.is_empty() {
        found.extend(by_symptom(&lower));
    }
    let mut seen = BTreeSet::new();
    found.retain(|explanation| seen.insert((explanation.kind, explanation.name.clone())));
    found
}

/// `tlsv1 alert unknown ca`, `SSL alert number 48`.
fn openssl_alert(lower: &str) -> Option<Explanation> {
    if let Some((_, rest)) = lower.split_once("alert number ") {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        return digits.parse().ok().and_then(|number| alert(AlertDescription(number)));
    }
    let (_, rest) = lower.split_once("alert ")?;
    let named = (0..=u8::MAX).map(AlertDescription).filter_map(|it| Some((it, it.name()?.replace('_', " "))));
    // The longest name that fits: "certificate unknown" and not "certificate".
    let best = named.filter(|(_, name)| rest.starts_with(name.as_str())).max_by_key(|(_, name)| name.len());
    best.and_then(|(it, _)| alert(it))
}

/// `Verify return code: 20 (…)`, `verify error:num=20:`.
fn verify_in(lower: &str) -> Option<Explanation> {
    let rest = ["verify return code: ", "verify error:num=", "verification error: "]
        .iter()
        .find_map(|mark| lower.split_once(mark).map(|(_, rest)| rest))?;
    let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
    let number: i64 = digits.parse().ok()?;
    verify::CODES.iter().find(|known| known.code == number).map(verified)
}

fn by_symptom(lower: &str) -> Vec<Explanation> {
    let causes: Vec<Cause> = Cause::ALL
        .iter()
        .copied()
        .filter(|cause| cause.entry().symptoms.iter().any(|symptom| lower.contains(&symptom.to_lowercase())))
        .collect();
    causes.into_iter().map(of_cause).collect()
}

fn error(known: &Known) -> Explanation {
    let library = match known.kind {
        Kind::Nspr => "NSPR, below TLS: sockets, files, names",
        Kind::Ssl => "libssl3 of NSS, in a handshake or a session",
        _ => "NSS: databases, tokens, certificates",
    };
    let note = MESSAGES.iter().find(|message| message.names.contains(&known.name));
    let causes = showing(&known.name, &[]);
    let layers = match causes.is_empty() {
        true => usual_layers(known.kind),
        false => layers_of(&causes),
    };
    let meaning = match note {
        Some(note) => format!("{} {}", sentence(&known.text), note.meaning),
        None => sentence(&known.text),
    };
    Explanation {
        kind: known.kind,
        name: known.name.clone(),
        code: Some(known.code.into()),
        meaning,
        library,
        layers,
        causes,
    }
}

fn sentence(text: &str) -> String {
    match text.trim_end() {
        "" => "The library has no text for it.".to_owned(),
        text if text.ends_with('.') => text.to_owned(),
        text => format!("{text}."),
    }
}

fn usual_layers(kind: Kind) -> Vec<Layer> {
    match kind {
        Kind::Nspr => vec![Layer::Resolve, Layer::Tcp, Layer::OuterHandshake, Layer::Bridge, Layer::InnerHandshake],
        Kind::Nss => vec![Layer::NssDb, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::OuterHandshake],
        Kind::Sigul => vec![Layer::Request],
        _ => vec![Layer::OuterHandshake, Layer::InnerHandshake],
    }
}

fn alert(alert: AlertDescription) -> Option<Explanation> {
    let name = alert.name()?;
    // NSS has an error for most of them, whose symptoms are in the catalogue, and OpenSSL writes them with blanks.
    let nss = ErrorCode::of_alert(alert.0).and_then(ErrorCode::name);
    let causes = nss.map(|nss| showing(&nss, &[])).unwrap_or_default();
    let causes = if causes.is_empty() { showing(&format!("alert {}", name.replace('_', " ")), &[]) } else { causes };
    let layers = if causes.is_empty() { usual_layers(Kind::Alert) } else { layers_of(&causes) };
    Some(Explanation {
        kind: Kind::Alert,
        name: name.to_owned(),
        code: Some(alert.0.into()),
        meaning: alert.meaning().to_owned(),
        library: "TLS: sent by one of the two peers, about the other",
        layers,
        causes,
    })
}

fn verified(known: &verify::VerifyCode) -> Explanation {
    let causes: Vec<Candidate> = known.causes.iter().copied().map(candidate).collect();
    Explanation {
        kind: Kind::Verify,
        name: known.name.to_owned(),
        code: Some(known.code),
        meaning: format!("In verifying the peer's certificate: {}.", known.meaning),
        library: "OpenSSL, verifying a chain",
        layers: if causes.is_empty() { usual_layers(Kind::Verify) } else { layers_of(&causes) },
        causes,
    }
}

fn sigul(code: u32) -> Option<Explanation> {
    let code = nssight_sigul::reply::ErrorCode(code);
    let causes: &[Cause] = match code {
        it if it.is_ok() => &[],
        nssight_sigul::reply::ErrorCode::AUTHENTICATION_FAILED => &[Cause::RequestAuthFailed],
        _ => &[Cause::RequestRejected],
    };
    Some(Explanation {
        kind: Kind::Sigul,
        name: code.name()?.to_owned(),
        code: Some(code.0.into()),
        meaning: format!("In a Sigul server's reply: {}.", code.meaning()),
        library: "the Sigul server, in an authenticated reply",
        layers: vec![Layer::Request],
        causes: causes.iter().copied().map(candidate).collect(),
    })
}

fn of_message(message: &Message) -> Explanation {
    let own: Vec<Cause> = message.causes.iter().filter_map(|id| id.parse().ok()).collect();
    let mut causes: Vec<Candidate> = own.iter().copied().map(candidate).collect();
    for name in &message.names {
        causes.extend(showing(name, &own));
    }
    let layers = if causes.is_empty() { usual_layers(Kind::Nspr) } else { layers_of(&causes) };
    Explanation {
        kind: Kind::Message,
        name: message.text.clone(),
        code: None,
        meaning: message.meaning.clone(),
        library: "a program, in its own words",
        layers,
        causes,
    }
}

fn of_cause(cause: Cause) -> Explanation {
    let entry = cause.entry();
    let others = entry.see_also.iter().map(|other| candidate(other.cause)).collect();
    Explanation {
        kind: Kind::Cause,
        name: cause.id().to_owned(),
        code: None,
        meaning: format!("{} {}", entry.title, entry.why),
        library: "nssight's catalogue",
        layers: vec![entry.layer],
        causes: others,
    }
}

/// Causes that have this symptom: those for which it is the first first, in the order of the catalogue.
fn showing(symptom: &str, but: &[Cause]) -> Vec<Candidate> {
    let mut found: Vec<(usize, Cause)> = Cause::ALL
        .iter()
        .filter(|cause| !but.contains(cause))
        .filter_map(|cause| Some((cause.entry().symptoms.iter().position(|it| it == symptom)?, *cause)))
        .collect();
    found.sort_by_key(|(place, _)| *place);
    found.into_iter().map(|(_, cause)| candidate(cause)).collect()
}

fn candidate(cause: Cause) -> Candidate {
    let entry = cause.entry();
    let first = entry.confirm.first();
    Candidate {
        cause,
        layer: entry.layer,
        title: entry.title.clone(),
        check: first.map(|step| step.text.clone()),
        command: first.and_then(|step| step.command.clone()),
    }
}

fn layers_of(causes: &[Candidate]) -> Vec<Layer> {
    let layers: BTreeSet<Layer> = causes.iter().map(|candidate| candidate.layer).collect();
    layers.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_messages_parse_and_name_what_is_there() {
        let messages = toml::from_str::<Messages>(include_str!("../../messages.toml")).unwrap().message;
        assert!(messages.len() > 20);
        for message in &messages {
            assert_eq!(message.text, message.text.to_lowercase());
            for cause in &message.causes {
                assert!(cause.parse::<Cause>().is_ok(), "{cause}");
            }
            for name in &message.names {
                assert!(ERRORS.iter().any(|known| known.name == *name), "{name}");
            }
        }
    }
}
