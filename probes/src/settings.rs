//! Builds a [`Target`] from configuration files and flags. A profile reads its own configuration; flags take precedence. Every value keeps
//! its origin.

mod file;
mod overrides;

use std::path::{Path, PathBuf};
use std::time::Duration;

use nssight_diagnosis::Layer;
use nssight_diagnosis::derive::name::without_port;
use nssight_diagnosis::fact::Fact;
use nssight_diagnosis::fact::fact::ConfigState;

use crate::profile::{Configuration, Profile};
use crate::secret::Password;
use crate::target::{self, Credentials, Database, Endpoint, Files, PasswordSource, Role, Setting, Target, TlsVersion};

pub(crate) use self::file::read_file;
pub use self::overrides::{FileOverrides, Overrides};

/// The origin of a default setting.
pub(crate) const DEFAULT_ORIGIN: &str = "default";
/// The default port of a bridge.
pub const BRIDGE_PORT: u16 = 44334;

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct ConfigTrouble {
    /// The observed facts.
    pub state: ConfigState,
    /// The profile of the configuration, if known.
    pub role: Option<Role>,
    /// One line, with file, line and key if there are any.
    pub summary: String,
    /// The command line contradicts itself or lacks a setting, independently of this host.
    pub by_flags: bool,
}

impl ConfigTrouble {
    /// A mistake in this state, wherever it comes from.
    pub fn of(state: ConfigState, summary: impl Into<String>) -> Self {
        Self { state, role: None, summary: summary.into(), by_flags: false }
    }

    /// The command line cannot be carried out.
    pub fn usage(summary: impl Into<String>) -> Self {
        Self { by_flags: true, ..Self::invalid(summary) }
    }

    /// Marks the error as one of the command line alone if `is_usage`.
    pub fn or_usage(self, is_usage: bool) -> Self {
        Self { by_flags: is_usage, ..self }
    }

    /// The configuration is unusable.
    pub fn invalid(summary: impl Into<String>) -> Self {
        Self::of(ConfigState::Invalid, summary)
    }
}

/// A remark on a usable configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// The observed fact.
    pub fact: Fact,
    /// Further related facts.
    pub more: Vec<Fact>,
    /// One sentence.
    pub summary: String,
}

/// The complete result of the layer `config`.
pub struct Settings {
    /// The target, or the reason why there is none.
    pub target: Result<Target, ConfigTrouble>,
    /// A warning about a working configuration.
    pub warnings: Vec<Warning>,
    /// Time that one layer may take.
    timeout: Duration,
    /// Why the check must not use the network, if it must not.
    pub no_network: Option<String>,
}

/// The arguments of [`Settings::load`].
pub struct Request<'a> {
    /// `-c`
    pub config: Option<&'a Path>,
    /// The other flags.
    pub overrides: &'a Overrides,
    /// A password source named on the command line.
    pub password: Option<PasswordSource>,
    /// The last layer of the check: settings for later layers may be missing.
    pub until: Layer,
    /// Time that one layer may take.
    pub timeout: Duration,
    /// `$HOME`
    pub home: Option<&'a Path>,
}

impl Settings {
    /// Settings for a target that was verified before, for a worker.
    pub fn of(target: Target) -> Self {
        let timeout = target.timeout;
        Self { no_network: target.no_network.clone(), target: Ok(target), warnings: Vec::new(), timeout }
    }

    /// Time that one layer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads the configuration and applies the flags. Returns the password from the configuration if no other source was named.
    pub fn load(request: &Request<'_>) -> (Self, Option<Password>) {
        let mut warnings = Vec::new();
        let loaded = configured(request, &mut warnings).and_then(|configured| {
            let (target, password) = build(request, configured)?;
            target.profile().details().allows(&target, request)?;
            Ok((target, password))
        });
        let timeout = request.timeout;
        match loaded {
            Ok((target, password)) => {
                let no_network = target.no_network.clone();
                (Self { target: Ok(target), warnings, timeout, no_network }, password)
            }
            Err(trouble) => (Self { target: Err(trouble), warnings, timeout, no_network: None }, None),
        }
    }
}

/// The content of a configuration.
pub struct Configured {
    /// The files, in the order in which they were read.
    pub paths: Vec<PathBuf>,
    /// The role of this host.
    pub role: Role,
    /// Our identity and the trusted CAs.
    pub credentials: Credentials,
    /// The peer.
    pub peer: Option<Setting<Endpoint>>,
    /// The host name of the server behind it.
    pub server: Option<Setting<String>>,
    /// The user name of the request.
    pub user: Option<Setting<String>>,
    /// Lowest and highest TLS version.
    pub tls: Setting<(TlsVersion, TlsVersion)>,
    /// The password of the database.
    pub password: Option<Setting<Password>>,
    /// Why the check must not use the network, with the source of that rule.
    pub no_network: Option<&'static str>,
}

/// The configuration and its profile: the first profile that recognises the file; `None` if the flags alone count.
fn configured(
    request: &Request<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<Option<(Profile, Configured)>, ConfigTrouble> {
    // Flags alone describe a plain NSS client; then a configuration on this host is ignored.
    let flags = request.overrides;
    let is_flags_alone = flags.database.is_some() || flags.files.any() || flags.plain || flags.serves;
    if request.config.is_none() && is_flags_alone {
        return Ok(None);
    }
    let content = request.config.and_then(|path| read_file(path).ok()).map(|(content, _)| content);
    let is_its_own = |it: &Configuration| content.as_ref().is_some_and(|content| (it.is_in)(content));
    let is_named_so = |it: &Configuration| request.config.and_then(Path::extension).is_some_and(|end| end == it.suffix);
    let all = || Profile::ALL.iter().filter_map(|it| Some((*it, it.details().configuration.as_ref()?)));
    let known = all().find(|(_, it)| is_its_own(it)).or_else(|| all().find(|(_, it)| is_named_so(it)));
    let Some((profile, configuration)) = known.or_else(|| all().next()) else { return Ok(None) };
    Ok(Some((profile, (configuration.read)(request, warnings)?)))
}

fn build(
    request: &Request<'_>,
    configured: Option<(Profile, Configured)>,
) -> Result<(Target, Option<Password>), ConfigTrouble> {
    let flags = request.overrides;
    let (profile, mut configured) = configured.unzip();
    let config = configured.as_ref();
    let credentials = credentials(flags, config)?;
    let role = role(flags, config)?;
    if flags.serves {
        let has_certificate = match &credentials {
            Credentials::Database { nickname, .. } => nickname.is_some(),
            Credentials::Files(files) => files.certificate.is_some(),
        };
        if !has_certificate {
            return Err(ConfigTrouble::invalid(
                "a server needs a certificate: give --cert with --key, --db with --nickname, or -c",
            )
            .or_usage(config.is_none()));
        }
    }
    let bridge = flagged(&flags.bridge, "bridge").or_else(|| config?.peer.clone());
    let network = request.until >= Layer::Resolve;
    if bridge.is_none() && network && role == Role::Client {
        return Err(ConfigTrouble::invalid(
            "no peer was given: give HOST:PORT, or stop before the network with --until private-key",
        )
        .or_usage(config.is_none()));
    }
    let server = flagged(&flags.server, "server").or_else(|| config?.server.clone());
    let user = flagged(&flags.user, "user").or_else(|| config?.user.clone());
    for host in [bridge.as_ref().map(|b| &b.value.host), server.as_ref().map(|s| &s.value)].into_iter().flatten() {
        target::check_host(host).map_err(ConfigTrouble::invalid)?;
    }
    let bridge_host = bridge.as_ref().map(|bridge| (&bridge.value.host, &bridge.origin));
    let server_host = server.as_ref().map(|server| (&server.value, &server.origin));
    [bridge_host, server_host].into_iter().flatten().try_for_each(|(host, origin)| no_port_behind(host, origin))?;
    let tls = tls_range(flags, config.map(|config| &config.tls))?;
    let no_network = config.and_then(|config| config.no_network).map(str::to_owned);
    let config_files = config.map(|config| config.paths.clone()).unwrap_or_default();
    let (password, bytes) = match (&request.password, configured.as_mut().and_then(|config| config.password.take())) {
        (Some(source), _) => (source.clone(), None),
        (None, Some(Setting { value, origin })) => (PasswordSource::Config(origin), Some(value)),
        (None, None) => (PasswordSource::None, None),
    };
    let target = Target {
        role,
        serves: flags.serves,
        config_files,
        credentials,
        server_name: flagged(&flags.server_name, "servername"),
        family: flags.family,
        starttls: flags.starttls,
        proxy: flagged(&flags.proxy, "proxy"),
        alpn: flags.alpn.clone(),
        engine: flags.engine,
        shows_certificates: flags.shows_certificates,
        bridge,
        server,
        user,
        tls,
        password,
        timeout: request.timeout,
        no_network,
        load_modules: flags.load_modules,
        patience: flags.patience,
        question: flags.question,
        thresholds: flags.thresholds,
        configured: profile,
    };
    Ok((target, bytes))
}

/// The configuration's values, overridden by the command line.
fn role(flags: &Overrides, config: Option<&Configured>) -> Result<Role, ConfigTrouble> {
    match (flags.serves, config.map(|config| config.role)) {
        (true, Some(Role::Client)) => Err(ConfigTrouble::usage(
            "the configuration is for a client, but --role server needs server.conf or bridge.conf",
        )),
        (true, None) => Ok(Role::Server),
        (_, role) => Ok(role.unwrap_or(Role::Client)),
    }
}

/// A database takes precedence over files only if it was named explicitly: the two are never mixed.
fn credentials(flags: &Overrides, config: Option<&Configured>) -> Result<Credentials, ConfigTrouble> {
    let (configured, named, in_files) = match config.map(|config| &config.credentials) {
        Some(Credentials::Database { database, nickname }) => (Some(database), nickname.as_ref(), None),
        Some(Credentials::Files(files)) => (None, None, Some(files)),
        None => (None, None, None),
    };
    let database = flagged(&flags.database, "db").map(|it| Setting::new(Database { argument: it.value }, it.origin));
    let database = database.or_else(|| configured.cloned());
    match (database, flags.files.any()) {
        (Some(database), true) => Err(ConfigTrouble::usage(format!(
            "both files and an NSS database are named ({}): give --cert, --key, --cacert and --capath, or the database",
            database.origin
        ))),
        (Some(Setting { value: Database { argument }, .. }), false) if argument.is_empty() => {
            Err(ConfigTrouble::usage("the name of the database directory is empty"))
        }
        (Some(database), false) => Ok(Credentials::Database {
            database,
            // An NSS client need not have a certificate.
            nickname: flagged(&flags.nickname, "nickname").or_else(|| named.cloned()),
        }),
        (None, _) if flags.nickname.is_some() => Err(ConfigTrouble::usage(
            "--nickname names a certificate of an NSS database: give --db, or use --cert instead",
        )),
        (None, false) if !flags.plain && !flags.serves && in_files.is_none() => {
            Err(ConfigTrouble::usage("no database was given: give -c or --db"))
        }
        (None, _) => {
            let FileOverrides { certificate, key, authorities, directory } = &flags.files;
            if key.is_some() && certificate.is_none() && in_files.is_none() {
                return Err(ConfigTrouble::usage("--key names the key of a certificate: give --cert too"));
            }
            let usual = in_files.cloned().unwrap_or_default();
            Ok(Credentials::Files(Files {
                certificate: flagged(certificate, "cert").or(usual.certificate),
                key: flagged(key, "key").or(usual.key),
                authorities: flagged(authorities, "cacert").or(usual.authorities),
                directory: flagged(directory, "capath").or(usual.directory),
                sends_first_only: usual.sends_first_only,
            }))
        }
    }
}

/// A name with a port after it is a name that no certificate has.
fn no_port_behind(host: &str, origin: &str) -> Result<(), ConfigTrouble> {
    match without_port(host) {
        Some(name) => Err(ConfigTrouble::of(
            ConfigState::NameWithPort,
            format!("\"{host}\" ({origin}) includes a port; the host name is {name}"),
        )
        .or_usage(origin.starts_with("--"))),
        None => Ok(()),
    }
}

/// The value of a flag, if it was given.
fn flagged<T: Clone>(flag: &Option<T>, name: &str) -> Option<Setting<T>> {
    flag.clone().map(|value| Setting::new(value, format!("--{name}")))
}

/// NSS's default, unless a configuration or a flag overrides it.
fn tls_range(
    flags: &Overrides,
    config: Option<&Setting<(TlsVersion, TlsVersion)>>,
) -> Result<Setting<(TlsVersion, TlsVersion)>, ConfigTrouble> {
    let usual = || Setting::new((TlsVersion::Tls12, TlsVersion::Tls13), DEFAULT_ORIGIN.to_owned());
    let Setting { value: (mut low, mut high), mut origin } = config.cloned().unwrap_or_else(usual);
    if flags.tls_min.is_some() || flags.tls_max.is_some() {
        low = flags.tls_min.unwrap_or(low.min(flags.tls_max.unwrap_or(low)));
        high = flags.tls_max.unwrap_or(high.max(low));
        "--tls-min, --tls-max".clone_into(&mut origin);
    }
    if low <= high {
        Ok(Setting::new((low, high), origin))
    } else {
        let trouble = ConfigTrouble::invalid(format!("the lowest TLS version {low} is above the highest {high}"));
        Err(trouble.or_usage(flags.tls_min.is_some() && flags.tls_max.is_some()))
    }
}
