//! From configuration files and flags to a [`Target`].
//!
//! Files are read in Sigul's own order: the system's file first, then the user's or the one named with `-c`; a later
//! value wins. Flags win over both. Every value keeps the place it came from.

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nssight_diagnosis::Layer;
use nssight_diagnosis::fact::Fact;
use nssight_diagnosis::fact::fact::{ConfigPasswordExposed, ConfigState};
use nssight_sigul::config::{self, ConfigError, Layered, SigulConfig, Surroundings};
use rustix::fs::OFlags;
use secrecy::ExposeSecret;
use zeroize::Zeroizing;

use crate::secret::{Password, PasswordForm};
use crate::target::{self, Database, Endpoint, PasswordSource, Role, Setting, Target, TlsVersion};

/// Where Sigul keeps the system's configuration.
const SYSTEM_DIRECTORY: &str = "/etc/sigul";
/// A configuration is a page or two; nothing larger is read.
const CONFIG_AT_MOST: u64 = 1024 * 1024;
/// The port that a Sigul bridge keeps for servers.
pub const SERVER_PORT: u16 = 44333;
/// The port that it keeps for clients.
pub const BRIDGE_PORT: u16 = 44334;

/// What the command line says; each wins over the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--db`
    pub database: Option<OsString>,
    /// `--nickname`
    pub nickname: Option<String>,
    /// `--bridge`
    pub bridge: Option<Endpoint>,
    /// `--server`
    pub server: Option<String>,
    /// `--user`
    pub user: Option<String>,
    /// `--tls-min`
    pub tls_min: Option<TlsVersion>,
    /// `--tls-max`
    pub tls_max: Option<TlsVersion>,
    /// `--connect`
    pub connect: bool,
    /// `--load-modules`
    pub load_modules: bool,
    /// `--patience`
    pub patience: Option<Duration>,
}

/// Why there is no target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{summary}")]
pub struct ConfigTrouble {
    /// What was seen.
    pub state: ConfigState,
    /// One line, with file, line and key where there are any.
    pub summary: String,
}

impl ConfigTrouble {
    fn invalid(summary: impl Into<String>) -> Self {
        Self { state: ConfigState::Invalid, summary: summary.into() }
    }
}

/// A remark on a configuration that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Warning {
    /// What was seen.
    pub fact: Fact,
    /// One sentence.
    pub summary: String,
}

/// Everything that `config` learned.
pub struct Settings {
    /// The target, or why there is none.
    pub target: Result<Target, ConfigTrouble>,
    /// What deserves attention although it works.
    pub warnings: Vec<Warning>,
    /// Time that one layer may take.
    timeout: Duration,
    /// Why the walk must not use the network, if it must not.
    pub no_network: Option<String>,
}

/// What is asked of [`Settings::load`].
pub struct Request<'a> {
    /// `-c`
    pub config: Option<&'a Path>,
    /// The other flags.
    pub overrides: &'a Overrides,
    /// A password source named on the command line.
    pub password: Option<PasswordSource>,
    /// The last layer of the walk: what lies behind it need not be configured.
    pub until: Layer,
    /// Time that one layer may take.
    pub timeout: Duration,
    /// `$HOME`
    pub home: Option<&'a Path>,
}

impl Settings {
    /// Settings around a target that was checked before, for a worker.
    pub fn of(target: Target) -> Self {
        let timeout = target.timeout;
        Self { no_network: target.no_network.clone(), target: Ok(target), warnings: Vec::new(), timeout }
    }

    /// Time that one layer may take.
    pub fn timeout(&self) -> Duration {
        self.timeout
    }

    /// Reads the configuration, lays the flags over it, and gives the password out of it where no other source was
    /// named.
    pub fn load(request: &Request<'_>) -> (Self, Option<Password>) {
        let mut warnings = Vec::new();
        let loaded = read_files(request, &mut warnings).and_then(|files| {
            let (target, password) = build(request, files)?;
            check_port(&target, request)?;
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

/// The configuration as read, with the files it came from.
struct Files {
    config: Option<SigulConfig>,
    paths: Vec<PathBuf>,
}

fn read_files(request: &Request<'_>, warnings: &mut Vec<Warning>) -> Result<Files, ConfigTrouble> {
    let mut paths: Vec<PathBuf> = Vec::new();
    match request.config {
        Some(named) => paths.push(named.to_owned()),
        // Flags alone serve any client of NSS; a Sigul configuration that happens to be here has no say then.
        None if request.overrides.database.is_some() => return Ok(Files { config: None, paths }),
        None => {
            let system = Path::new(SYSTEM_DIRECTORY).join("client.conf");
            let user = request.home.map(|home| home.join(".sigul/client.conf"));
            paths.extend([Some(system), user].into_iter().flatten().filter(|path| path.exists()));
            if paths.is_empty() {
                let summary = "there is neither /etc/sigul/client.conf nor ~/.sigul/client.conf, and neither -c nor --db was given";
                return Err(ConfigTrouble { state: ConfigState::Missing, summary: summary.to_owned() });
            }
        }
    }
    let mut layered = Layered::default();
    for path in &paths {
        add_file(&mut layered, path, warnings)?;
    }
    if let Some(system) = system_file(request, &layered) {
        let mut all = Layered::default();
        add_file(&mut all, &system, warnings)?;
        for path in &paths {
            add_file(&mut all, path, &mut Vec::new())?;
        }
        layered = all;
        paths.insert(0, system);
    }
    let login = std::env::var("LOGNAME").or_else(|_| std::env::var("USER")).ok();
    let around = Surroundings { home: request.home, login_name: login.as_deref() };
    let config = SigulConfig::read(&layered, &around).map_err(|errors| {
        ConfigTrouble::invalid(errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("; "))
    })?;
    Ok(Files { config: Some(config), paths })
}

/// With `-c`, Sigul still reads the system's file of the same role first.
fn system_file(request: &Request<'_>, layered: &Layered) -> Option<PathBuf> {
    let named = request.config?;
    let role = config::Role::of(layered).ok()?;
    let path = Path::new(SYSTEM_DIRECTORY).join(format!("{}.conf", role.section()));
    let same = path.canonicalize().ok()? == named.canonicalize().ok()?;
    (!same).then_some(path)
}

fn add_file(layered: &mut Layered, path: &Path, warnings: &mut Vec<Warning>) -> Result<(), ConfigTrouble> {
    let (bytes, mode) = read_file(path)?;
    let ini = config::parse(path, &bytes).map_err(invalid)?;
    let has_password = ini.own("nss", "nss-password").is_some();
    if has_password && mode & 0o004 != 0 {
        let summary = format!("{} holds nss-password and may be read by everybody (mode {mode:04o})", path.display());
        warnings.push(Warning { fact: ConfigPasswordExposed::Yes.into(), summary });
    }
    layered.push(ini);
    Ok(())
}

fn invalid(error: ConfigError) -> ConfigTrouble {
    ConfigTrouble::invalid(error.to_string())
}

/// The content of a configuration file and its permission bits. Only a regular file of sane size is opened.
fn read_file(path: &Path) -> Result<(Zeroizing<Vec<u8>>, u32), ConfigTrouble> {
    let shown = path.display();
    let trouble = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => {
            ConfigTrouble { state: ConfigState::Missing, summary: format!("{shown} does not exist") }
        }
        _ => ConfigTrouble { state: ConfigState::Unreadable, summary: format!("{shown} cannot be read: {error}") },
    };
    let meta = std::fs::metadata(path).map_err(trouble)?;
    if !meta.is_file() {
        let kind = if meta.is_dir() { "a directory" } else { "no regular file" };
        return Err(ConfigTrouble::invalid(format!("{shown} is {kind}: name a configuration file")));
    }
    if meta.size() > CONFIG_AT_MOST {
        let summary =
            format!("{shown} has {} bytes; a configuration is at most {CONFIG_AT_MOST} bytes long", meta.size());
        return Err(ConfigTrouble::invalid(summary));
    }
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = File::options().read(true).custom_flags(nonblocking).open(path).map_err(trouble)?;
    // Room for everything at once: a buffer that grows leaves copies of a password behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(usize::try_from(CONFIG_AT_MOST).unwrap_or(0) + 1));
    file.take(CONFIG_AT_MOST + 1).read_to_end(&mut bytes).map_err(trouble)?;
    Ok((bytes, meta.permissions().mode() & 0o7777))
}

fn build(request: &Request<'_>, files: Files) -> Result<(Target, Option<Password>), ConfigTrouble> {
    let (flags, mut config) = (request.overrides, files.config);
    let flag = |name: &str| format!("--{name}");
    let database = match (&flags.database, &config) {
        (Some(argument), _) => Setting::new(Database { argument: argument.clone() }, flag("db")),
        (None, Some(config)) => {
            let argument = config.nss_dir.value.clone().into_os_string();
            Setting::new(Database { argument }, config.nss_dir.origin.to_string())
        }
        (None, None) => return Err(ConfigTrouble::invalid("no database was named: give -c or --db")),
    };
    if database.value.argument.is_empty() {
        return Err(ConfigTrouble::invalid("the name of the database directory is empty"));
    }
    let nickname = match (&flags.nickname, &config) {
        (Some(nickname), _) => Some(Setting::new(nickname.clone(), flag("nickname"))),
        (None, Some(config)) => Some(Setting::new(config.nickname.value.clone(), config.nickname.origin.to_string())),
        // A client of NSS need not have a certificate.
        (None, None) => None,
    };
    let role = config.as_ref().map_or(Role::Client, |config| role(config.role));
    let bridge = match (&flags.bridge, &config) {
        (Some(bridge), _) => Some(Setting::new(bridge.clone(), flag("bridge"))),
        (None, Some(config)) => config.bridge_hostname.as_ref().map(|host| {
            let (port, port_origin) = match &config.bridge_port {
                Some(port) => (port.value, port.origin.to_string()),
                None => (BRIDGE_PORT, "default".to_owned()),
            };
            Setting::new(Endpoint { host: host.value.clone(), port }, format!("{}, port {port_origin}", host.origin))
        }),
        (None, None) => None,
    };
    let network = request.until >= Layer::Resolve;
    if bridge.is_none() && network && role == Role::Client {
        return Err(ConfigTrouble::invalid(
            "no bridge was named: give --bridge HOST:PORT, or end with --until private-key",
        ));
    }
    let server =
        override_or(&flags.server, "server", config.as_ref().and_then(|config| config.server_hostname.as_ref()));
    let user = override_or(&flags.user, "user", config.as_ref().and_then(|config| config.user_name.as_ref()));
    for host in [bridge.as_ref().map(|b| &b.value.host), server.as_ref().map(|s| &s.value)].into_iter().flatten() {
        target::check_host(host).map_err(ConfigTrouble::invalid)?;
    }
    let tls = tls_range(flags, config.as_ref())?;
    let (password, bytes) = password(request, config.as_mut());
    let no_network = match role {
        Role::Client => None,
        _ if flags.connect => None,
        Role::Server => Some(
            "as a server this host would take the place of the real one in the bridge's queue; --connect does it all the same",
        ),
        Role::Bridge => Some("a bridge listens and does not dial out; --connect with --bridge dials all the same"),
    };
    let target = Target {
        role,
        config_files: files.paths,
        database,
        nickname,
        bridge,
        server,
        user,
        tls,
        password,
        timeout: request.timeout,
        no_network: no_network.map(str::to_owned),
        load_modules: flags.load_modules,
        patience: flags.patience,
    };
    Ok((target, bytes))
}

fn override_or(
    flag: &Option<String>,
    name: &str,
    setting: Option<&config::Setting<String>>,
) -> Option<Setting<String>> {
    let from_flag = flag.clone().map(|value| Setting::new(value, format!("--{name}")));
    from_flag.or_else(|| setting.map(|setting| Setting::new(setting.value.clone(), setting.origin.to_string())))
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Client => Role::Client,
        config::Role::Server => Role::Server,
        config::Role::Bridge => Role::Bridge,
    }
}

/// Sigul speaks TLS 1.2 and nothing else unless told otherwise; a client that is given by flags alone speaks what NSS
/// enables by itself.
fn tls_range(
    flags: &Overrides,
    config: Option<&SigulConfig>,
) -> Result<Setting<(TlsVersion, TlsVersion)>, ConfigTrouble> {
    let (mut low, mut high, mut origin) = match config {
        Some(config) => {
            let (low, high) = (&config.tls_min, &config.tls_max);
            (version(low.value)?, version(high.value)?, format!("{}, {}", low.origin, high.origin))
        }
        None => (TlsVersion::Tls12, TlsVersion::Tls13, "default".to_owned()),
    };
    if flags.tls_min.is_some() || flags.tls_max.is_some() {
        low = flags.tls_min.unwrap_or(low.min(flags.tls_max.unwrap_or(low)));
        high = flags.tls_max.unwrap_or(high.max(low));
        "--tls-min, --tls-max".clone_into(&mut origin);
    }
    match low <= high {
        true => Ok(Setting::new((low, high), origin)),
        false => Err(ConfigTrouble::invalid(format!("the lowest TLS version {low} is above the highest {high}"))),
    }
}

fn version(version: config::TlsVersion) -> Result<TlsVersion, ConfigTrouble> {
    version.to_string().parse().map_err(ConfigTrouble::invalid)
}

fn password(request: &Request<'_>, config: Option<&mut SigulConfig>) -> (PasswordSource, Option<Password>) {
    if let Some(source) = &request.password {
        return (source.clone(), None);
    }
    match config.and_then(|config| config.nss_password.take()) {
        Some(password) => {
            let bytes = password.value.expose_secret().as_bytes().to_vec();
            (PasswordSource::Config(password.origin.to_string()), Some(Password::new(PasswordForm::Literal, bytes)))
        }
        None => (PasswordSource::None, None),
    }
}

/// A client on the port that the bridge keeps for servers is taken for a server, and breaks the next client.
fn check_port(target: &Target, request: &Request<'_>) -> Result<(), ConfigTrouble> {
    let Some(bridge) = &target.bridge else { return Ok(()) };
    if target.role != Role::Client || request.overrides.connect || request.until < Layer::Tcp {
        return Ok(());
    }
    let (state, why) = match bridge_conf_at_hand(request) {
        Some((file, port)) if port == bridge.value.port => {
            (ConfigState::PortForServers, format!("{} gives that port to servers", file.display()))
        }
        _ if bridge.value.port == SERVER_PORT => {
            (ConfigState::PortUsuallyForServers, "a Sigul bridge keeps that port for servers".to_owned())
        }
        _ => return Ok(()),
    };
    let (port, origin) = (bridge.value.port, &bridge.origin);
    let summary = format!(
        "port {port} ({origin}) is not for clients: {why}. Connecting there would break the next client; --connect does it all the same"
    );
    Err(ConfigTrouble { state, summary })
}

/// The server port of a bridge.conf beside the client's configuration or in the system's directory.
fn bridge_conf_at_hand(request: &Request<'_>) -> Option<(PathBuf, u16)> {
    let beside = request.config.and_then(Path::parent).map(|directory| directory.join("bridge.conf"));
    let system = Path::new(SYSTEM_DIRECTORY).join("bridge.conf");
    [beside, Some(system)].into_iter().flatten().find_map(|path| {
        let (bytes, _) = read_file(&path).ok()?;
        let ini = config::parse(&path, &bytes).ok()?;
        let port = ini.own("bridge", "server-listen-port")?.text().trim().parse().ok()?;
        Some((path, port))
    })
}
