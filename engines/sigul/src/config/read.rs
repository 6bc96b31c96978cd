//! From text to typed settings.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::{ConfigError, Problem};
use super::ignored::ignored;
use super::layered::Layered;
use super::settings::{Origin, Role, Setting, SigulConfig, Surroundings, TlsVersion};
use super::text::is_space;
use super::value::Value;

/// The longest host name in text form (RFC 1035 section 2.3.4: 255 octets on the wire).
const LONGEST_HOST: usize = 253;

/// The prefixes that NSS accepts before a directory (utilpars.c, NSSUTIL_DoModuleDBFunction).
const KINDS_OF_DATABASE: [&str; 5] = ["sql:", "dbm:", "extern:", "rdb:", "multiaccess:"];

const USUAL: &str = "Sigul's own";

impl SigulConfig {
    /// Reads the settings; the role is derived from the sections ([`Role::of`]). Unknown keys and sections
    /// are legal and ignored, as Sigul ignores them.
    ///
    /// # Errors
    /// Every fault found, at least one.
    pub fn read(layers: &Layered, around: &Surroundings<'_>) -> Result<Self, Vec<ConfigError>> {
        let role = Role::of(layers).map_err(|error| vec![error])?;
        let mut reader = Reader { layers, section: role.section(), role, faults: Vec::new() };
        let (client, bridge) = (role == Role::Client, role == Role::Bridge);
        let nss_dir = reader.nss_dir(around);
        let (tls_min, tls_max) = reader.tls_range();
        let nickname = reader.nickname();
        let bridge_hostname = if bridge { None } else { reader.required("bridge-hostname", host) };
        let bridge_port = match role {
            Role::Client => Some(reader.or_default("bridge-port", 44_334, port)),
            Role::Server => Some(reader.or_default("bridge-port", 44_333, port)),
            Role::Bridge => None,
        };
        let server_hostname = if client { reader.required("server-hostname", host) } else { None };
        let user_name = if client { reader.user_name(around) } else { None };
        let passphrase_length = client.then(|| reader.or_default("passphrase-length", 128, number));
        let client_listen_port = bridge.then(|| reader.or_default("client-listen-port", 44_334, port));
        let server_listen_port = bridge.then(|| reader.or_default("server-listen-port", 44_333, port));
        let unix_user = if client { None } else { reader.of_daemon("unix-user") };
        let unix_group = if client { None } else { reader.of_daemon("unix-group") };
        let nss_password = reader.optional("nss", "nss-password", |text| single(text).map(SecretString::from));
        let faults = reader.faults;
        match (nss_dir, faults.is_empty()) {
            (Some(nss_dir), true) => Ok(Self {
                role,
                nss_dir,
                nss_password,
                tls_min,
                tls_max,
                nickname,
                bridge_hostname,
                bridge_port,
                server_hostname,
                user_name,
                passphrase_length,
                client_listen_port,
                server_listen_port,
                unix_user,
                unix_group,
                ignored: ignored(layers, role),
            }),
            _ => Err(faults),
        }
    }
}

struct Reader<'a> {
    layers: &'a Layered,
    section: &'static str,
    role: Role,
    faults: Vec<ConfigError>,
}

impl Reader<'_> {
    fn optional<T>(
        &mut self,
        section: &str,
        key: &'static str,
        read: impl Fn(&str) -> Result<T, Problem>,
    ) -> Option<Setting<T>> {
        let value = self.layers.get(section, key)?;
        let checked =
            if !value.is_secret() && has_placeholder(value.text()) { Err(Problem::Placeholder) } else { Ok(()) };
        match checked.and_then(|()| read(value.text())) {
            Ok(typed) => Some(Setting { value: typed, origin: origin(value) }),
            Err(problem) => {
                self.faults.push(bad(value, key, problem));
                None
            }
        }
    }

    fn or_default<T>(
        &mut self,
        key: &'static str,
        default: T,
        read: impl Fn(&str) -> Result<T, Problem>,
    ) -> Setting<T> {
        self.optional(self.section, key, read).unwrap_or(usual(default))
    }

    fn required<T>(&mut self, key: &'static str, read: impl Fn(&str) -> Result<T, Problem>) -> Option<Setting<T>> {
        self.require(self.section, key);
        self.optional(self.section, key, read)
    }

    fn require(&mut self, section: &'static str, key: &'static str) {
        if self.layers.get(section, key).is_some() {
            return;
        }
        let (file, line) = match self.layers.section(section) {
            Some((file, line)) => (file, Some(line)),
            None => (self.layers.last().unwrap_or(Path::new("")), None),
        };
        let ignored = ignored(self.layers, self.role);
        let instead = ignored.into_iter().find(|ignored| ignored.meant == Some((section, key))).map(Box::new);
        self.faults.push(ConfigError::Missing { file: file.to_path_buf(), line, section, key, instead });
    }

    /// A daemon requires the line but accepts an empty value, with which it keeps its user. Sigul has the section even if no file
    /// has it, but no default for its keys: without the section, a daemon ends as it does without the line.
    fn of_daemon(&mut self, key: &'static str) -> Option<Setting<String>> {
        const SECTION: &str = "daemon";
        self.require(SECTION, key);
        let value = self.optional(SECTION, key, |text| single(text).map(str::to_owned))?;
        (!value.value.is_empty()).then_some(value)
    }

    fn nickname(&mut self) -> Setting<String> {
        let (key, default) = match self.role {
            Role::Client => ("client-cert-nickname", "sigul-client-cert"),
            Role::Server => ("server-cert-nickname", "sigul-server-cert"),
            Role::Bridge => ("bridge-cert-nickname", "sigul-bridge-cert"),
        };
        self.or_default(key, default.to_owned(), text)
    }

    fn user_name(&mut self, around: &Surroundings<'_>) -> Option<Setting<String>> {
        if self.layers.get(self.section, "user-name").is_some() {
            return self.optional(self.section, "user-name", user);
        }
        let login = around.login_name?.to_owned();
        Some(Setting { value: login, origin: Origin::Default("the login name") })
    }

    fn nss_dir(&mut self, around: &Surroundings<'_>) -> Option<Setting<PathBuf>> {
        const KEY: &str = "nss-dir";
        let expand = |text: &str| expand_home(text, around.home);
        if self.layers.get("nss", KEY).is_some() {
            return self.optional("nss", KEY, expand);
        }
        let default = match self.role {
            Role::Client => "~/.sigul",
            Role::Server | Role::Bridge => "/var/lib/sigul",
        };
        let origin = Origin::Default(USUAL);
        match expand(default) {
            Ok(value) => Some(Setting { value, origin }),
            Err(problem) => {
                let value = default.to_owned();
                self.faults.push(ConfigError::BadValue { origin, key: KEY, value, continued: None, problem });
                None
            }
        }
    }

    fn tls_range(&mut self) -> (Setting<TlsVersion>, Setting<TlsVersion>) {
        const MIN: &str = "nss-min-tls";
        const MAX: &str = "nss-max-tls";
        let faults_before = self.faults.len();
        let min = self.optional("nss", MIN, tls_version).unwrap_or(usual(TlsVersion::Tls12));
        let max = self.optional("nss", MAX, tls_version).unwrap_or(usual(TlsVersion::Tls12));
        if self.faults.len() > faults_before {
            return (min, max);
        }
        let fault = |key, setting: &Setting<TlsVersion>, problem| ConfigError::BadValue {
            origin: setting.origin.clone(),
            key,
            value: setting.value.to_string(),
            continued: None,
            problem,
        };
        if min.value < TlsVersion::Tls12 && self.role == Role::Client {
            self.faults.push(fault(MIN, &min, Problem::MinimumTooLow));
        }
        if min.value > max.value {
            let written = matches!(min.origin, Origin::File { .. });
            self.faults.push(if written {
                fault(MIN, &min, Problem::MinimumAboveMaximum(max.value))
            } else {
                fault(MAX, &max, Problem::MaximumBelowMinimum(min.value))
            });
        }
        (min, max)
    }
}

fn usual<T>(value: T) -> Setting<T> {
    Setting { value, origin: Origin::Default(USUAL) }
}

fn origin(value: &Value) -> Origin {
    Origin::File { path: value.file().to_path_buf(), line: value.line() }
}

fn bad(value: &Value, key: &'static str, problem: Problem) -> ConfigError {
    ConfigError::BadValue { origin: origin(value), key, value: value.shown(), continued: value.continued(), problem }
}

/// A whole number as Python's `int` reads one: a `+` and single underscores between digits are legal.
fn whole(text: &str) -> Option<u32> {
    let digits = text.strip_prefix('+').unwrap_or(text);
    let mut number = 0_u32;
    for part in digits.split('_') {
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        for digit in part.bytes() {
            number = number.checked_mul(10)?.checked_add(u32::from(digit - b'0'))?;
        }
    }
    Some(number)
}

fn port(text: &str) -> Result<u16, Problem> {
    let number = whole(text).and_then(|number| u16::try_from(number).ok());
    number.filter(|&port| port > 0).ok_or(Problem::NotAPort)
}

fn number(text: &str) -> Result<u32, Problem> {
    whole(text).filter(|&number| number > 0).ok_or(Problem::NotANumber)
}

fn tls_version(text: &str) -> Result<TlsVersion, Problem> {
    TlsVersion::from_spelling(text).ok_or(Problem::NotATlsVersion)
}

fn text(text: &str) -> Result<String, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    single(text).map(str::to_owned)
}

/// Whether the value has a placeholder that was meant to be replaced. Sigul's parser replaces none.
fn has_placeholder(text: &str) -> bool {
    text.split_once("${").is_some_and(|(_, rest)| rest.contains('}'))
}

/// Refuses a value of several lines. Such a value has swallowed the line after it, which may hold a password.
fn single(text: &str) -> Result<&str, Problem> {
    if text.contains('\n') { Err(Problem::SeveralLines) } else { Ok(text) }
}

fn user(text: &str) -> Result<String, Problem> {
    match text.len() {
        0 => Err(Problem::Empty),
        length @ 256.. => Err(Problem::TooLong(length)),
        _ if !text.bytes().all(|b| matches!(b, 0x20..=0x7e)) => Err(Problem::NotPrintable),
        _ => Ok(text.to_owned()),
    }
}

fn host(text: &str) -> Result<String, Problem> {
    let blank = |c: char| is_space(c) || c.is_control();
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    if let Some((_, after)) = text.split_once(blank) {
        return Err(if after.trim_start_matches(blank).starts_with(['#', ';']) {
            Problem::HostHasComment
        } else {
            Problem::HostHasBlank
        });
    }
    if text.contains('/') || has_port(text) {
        return Err(Problem::HostHasPort);
    }
    match text.strip_suffix('.').unwrap_or(text).len() {
        length if length > LONGEST_HOST => Err(Problem::HostTooLong(length)),
        _ => Ok(text.to_owned()),
    }
}

/// One colon introduces a port; an IPv6 address has at least two.
fn has_port(text: &str) -> bool {
    text.bytes().filter(|&b| b == b':').count() == 1 || text.starts_with('[')
}

/// Expands a leading `~` as Python's `os.path.expanduser` does for the current user's home.
fn expand_home(text: &str, home: Option<&Path>) -> Result<PathBuf, Problem> {
    if text.is_empty() {
        return Err(Problem::Empty);
    }
    let text = single(text)?;
    if KINDS_OF_DATABASE.iter().any(|kind| text.starts_with(kind)) {
        return Err(Problem::DirectoryHasPrefix);
    }
    let Some(rest) = text.strip_prefix('~') else { return Ok(PathBuf::from(text)) };
    if !rest.is_empty() && !rest.starts_with('/') {
        return Err(Problem::OtherHome);
    }
    let home = home.ok_or(Problem::HomeUnknown)?;
    Ok(match rest.trim_start_matches('/') {
        "" => home.to_path_buf(),
        below => home.join(below),
    })
}
