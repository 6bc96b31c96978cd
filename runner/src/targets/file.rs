//! The targets file as it is written: TOML, every key known, every error with its line.
//!
//! Messages quote keys and never values: a password may have been written where a file's name belongs.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use nssight_diagnosis::Layer;
use nssight_probes::peer_argument::PeerArgument;
use nssight_probes::settings::BRIDGE_PORT;
use nssight_probes::starttls::StartTls;
use nssight_probes::target::{Endpoint, Engine, Protocols, Proxy, Question, TlsVersion};
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use toml::Spanned;

/// The whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct File {
    #[serde(default)]
    pub(crate) defaults: Entry,
    #[serde(default)]
    pub(crate) target: Vec<Spanned<Entry>>,
}

/// One `[[target]]`, or the `[defaults]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub(crate) struct Entry {
    pub(crate) name: Option<Spanned<Name>>,
    pub(crate) labels: BTreeMap<Label, String>,
    pub(crate) config: Option<PathBuf>,
    pub(crate) db: Option<String>,
    pub(crate) nickname: Option<String>,
    pub(crate) cert: Option<PathBuf>,
    pub(crate) key: Option<PathBuf>,
    pub(crate) cacert: Option<PathBuf>,
    pub(crate) capath: Option<PathBuf>,
    pub(crate) role: Option<Part>,
    pub(crate) peer: Option<Spanned<Parsed<PeerArgument>>>,
    pub(crate) servername: Option<Parsed<Host>>,
    pub(crate) starttls: Option<Parsed<StartTls>>,
    pub(crate) proxy: Option<Parsed<Proxy>>,
    pub(crate) alpn: Option<Parsed<Protocols>>,
    pub(crate) engine: Option<Parsed<Engine>>,
    pub(crate) bridge: Option<Parsed<Endpoint>>,
    pub(crate) server: Option<Parsed<Host>>,
    pub(crate) user: Option<String>,
    pub(crate) tls_min: Option<Parsed<TlsVersion>>,
    pub(crate) tls_max: Option<Parsed<TlsVersion>>,
    pub(crate) password_file: Option<Spanned<PathBuf>>,
    pub(crate) password_env: Option<Spanned<Parsed<Variable>>>,
    pub(crate) admin_password_file: Option<Spanned<PathBuf>>,
    pub(crate) admin_password_env: Option<Spanned<Parsed<Variable>>>,
    pub(crate) until: Option<Spanned<Parsed<Layer>>>,
    pub(crate) exclude: Option<Vec<Parsed<Layer>>>,
    pub(crate) connect: Option<bool>,
    pub(crate) load_modules: Option<bool>,
    pub(crate) timeout: Option<Seconds>,
    pub(crate) patience: Option<Seconds>,
    pub(crate) probe: Option<Asks>,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) retries: Option<Retries>,
    pub(crate) retry_spacing: Option<Spacing>,
    pub(crate) warn_days: Option<u16>,
    pub(crate) critical_days: Option<u16>,
}

/// The role of the host: it connects, or it is connected to.
#[derive(Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    Client,
    Server,
}

/// What is requested of a plain peer after the handshake.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Asks {
    Http,
    None,
}

impl Asks {
    /// The same as a target holds it.
    pub(crate) fn question(self) -> Option<Question> {
        match self {
            Self::Http => Some(Question::Http),
            Self::None => None,
        }
    }
}

/// The known keys, in the order of the documentation.
pub(crate) const KEYS: &[&str] = &[
    "defaults",
    "target",
    "name",
    "labels",
    "config",
    "db",
    "nickname",
    "cert",
    "key",
    "cacert",
    "capath",
    "role",
    "peer",
    "servername",
    "starttls",
    "proxy",
    "alpn",
    "engine",
    "bridge",
    "server",
    "user",
    "tls-min",
    "tls-max",
    "password-file",
    "password-env",
    "admin-password-file",
    "admin-password-env",
    "until",
    "exclude",
    "connect",
    "load-modules",
    "timeout",
    "patience",
    "probe",
    "deadline",
    "retries",
    "retry-spacing",
    "warn-days",
    "critical-days",
];
/// Below this similarity (Jaro-Winkler) a suggestion is a guess.
const ALIKE: f64 = 0.8;
/// A longer name is of no use, and a hostile file must not fill the memory with it.
const NAME_AT_MOST: usize = 200;
const RETRIES_AT_MOST: u32 = 100;

/// Reads the text.
///
/// # Errors
/// The message contains `origin` and the line.
pub(crate) fn parse(origin: &str, text: &str) -> Result<File, String> {
    toml::from_str(text).map_err(|error| {
        let message = explain(error.message());
        error.span().map_or_else(|| format!("{origin}: {message}"), |span| at(origin, text, &span, &message))
    })
}

/// A message with its place in the file.
pub(crate) fn at(origin: &str, text: &str, span: &Range<usize>, message: &str) -> String {
    format!("{origin}:{}: {message}", line(text, span))
}

/// The line, from 1, that a span begins in.
pub(crate) fn line(text: &str, span: &Range<usize>) -> usize {
    let before = text.get(..span.start).unwrap_or(text);
    before.bytes().filter(|byte| *byte == b'\n').count() + 1
}

/// The parser's message, reworded to be clear at first reading.
fn explain(message: &str) -> String {
    if let Some(key) = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`')).map(|(key, _)| key)
    {
        let shown: String = key.chars().take(60).collect();
        if ["password", "nss-password", "admin-password", "passwd", "pw"].contains(&key) {
            let kind = if key.starts_with("admin") { "admin-password" } else { "password" };
            return format!(
                "{shown:?} is not allowed: this file must not contain a password; name a password file with {kind}-file, or a variable with {kind}-env"
            );
        }
        let alike = |known: &&&str| strsim::jaro_winkler(&key.replace('_', "-").to_lowercase(), known);
        let near = KEYS.iter().max_by(|a, b| alike(a).total_cmp(&alike(b))).filter(|known| alike(known) >= ALIKE);
        return match near {
            Some(near) => format!("unknown key {shown:?}; did you mean {near:?}?"),
            None => format!("unknown key {shown:?}; known keys: {}", KEYS.join(", ")),
        };
    }
    // "invalid type: string "…", expected …": the value itself stays out.
    match message.strip_prefix("invalid type: ").and_then(|rest| rest.rsplit_once(", expected ")) {
        Some((found, expected)) => {
            let kind = found.split([' ', '`']).next().unwrap_or(found);
            let expected = match expected {
                "a sequence" => "a list in [ ]",
                "a map" | "struct Entry" | "struct File" => "a table",
                other => other,
            };
            format!("expected {expected}, found a value of type {kind}")
        }
        None => message.lines().next().unwrap_or(message).to_owned(),
    }
}

/// The name of a target.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Name(pub(crate) String);

impl TryFrom<String> for Name {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.trim().is_empty() {
            return Err("the name is empty".to_owned());
        }
        match text.chars().count() {
            0..=NAME_AT_MOST => Ok(Self(text)),
            count => Err(format!("the name has {count} characters; the maximum is {NAME_AT_MOST}")),
        }
    }
}

/// The name of a label: one that Prometheus accepts too, since the exporter passes labels on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub(crate) struct Label(pub(crate) String);

impl TryFrom<String> for Label {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match is_word(&text) && !text.starts_with("__") && text.len() <= NAME_AT_MOST {
            true => Ok(Self(text)),
            false => {
                Err("the name of a label must have only letters, digits and _, and must not begin with a digit or __"
                    .to_owned())
            }
        }
    }
}

/// The name of an environment variable.
pub(crate) struct Variable(pub(crate) String);

impl FromStr for Variable {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match is_word(text) {
            true => Ok(Self(text.to_owned())),
            // The text may be the password itself.
            false => {
                Err("this value must be the name of an environment variable (letters, digits and _), never a password"
                    .to_owned())
            }
        }
    }
}

/// A host name that could exist, or an address.
pub(crate) struct Host(pub(crate) String);

impl FromStr for Host {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        nssight_probes::target::check_host(text).map(|()| Self(text.to_owned()))
    }
}

fn is_word(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
        && !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
}

/// A value that the command line accepts, written as a string.
pub(crate) struct Parsed<T>(pub(crate) T);

/// How a value is read from a string.
trait FromText: Sized {
    fn from_text(text: &str) -> Result<Self, String>;
}

impl FromText for Endpoint {
    fn from_text(text: &str) -> Result<Self, String> {
        Endpoint::parse(text, BRIDGE_PORT)
    }
}

macro_rules! from_text {
    ($($name:ty),+) => { $(impl FromText for $name {
        fn from_text(text: &str) -> Result<Self, String> {
            text.parse().map_err(|error| format!("{error}"))
        }
    })+ };
}

from_text!(Layer, TlsVersion, Variable, Host, PeerArgument, StartTls, Proxy, Protocols, Engine);

impl<'de, T: FromText> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        T::from_text(&text).map(Self).map_err(de::Error::custom)
    }
}

/// For a layer: between 0.05 seconds and an hour.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);
/// For a target: between a second and a day.
#[derive(Clone, Copy)]
pub(crate) struct Deadline(pub(crate) Duration);
/// From zero to an hour.
#[derive(Clone, Copy)]
pub(crate) struct Spacing(pub(crate) Duration);
/// A small number.
#[derive(Clone, Copy)]
pub(crate) struct Retries(pub(crate) u32);

macro_rules! seconds {
    ($($name:ident: $least:literal to $most:literal),+) => { $(impl<'de> Deserialize<'de> for $name {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let number = deserializer.deserialize_any(Number("a number of seconds", $least, $most))?;
            Ok(Self(Duration::from_secs_f64(number)))
        }
    })+ };
}

seconds!(Seconds: 0.05 to 3600.0, Deadline: 1.0 to 86_400.0, Spacing: 0.0 to 3600.0);

impl<'de> Deserialize<'de> for Retries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(Number("a whole number", 0.0, f64::from(RETRIES_AT_MOST)))?;
        // Within 0 and 100 by now.
        (0..=RETRIES_AT_MOST)
            .find(|whole| f64::from(*whole) == number)
            .map(Self)
            .ok_or_else(|| de::Error::custom("expected a whole number"))
    }
}

/// What is expected, and the smallest and the largest value.
struct Number(&'static str, f64, f64);

impl Number {
    fn within<E: de::Error>(&self, number: f64) -> Result<f64, E> {
        match number >= self.1 && number <= self.2 {
            true => Ok(number),
            false => Err(E::custom(format!("expected {} between {} and {}", self.0, self.1, self.2))),
        }
    }
}

impl Visitor<'_> for Number {
    type Value = f64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<f64, E> {
        self.within(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<f64, E> {
        // Far outside the accepted range, exactness does not matter.
        self.within(i32::try_from(number).map_or(f64::MAX, f64::from))
    }
}
