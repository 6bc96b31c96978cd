//! Sigul's configuration: client.conf, server.conf and bridge.conf.
//!
//! Files are read in Sigul's own order: the system's file first, then the user's or the one named with `-c`; a later value wins.

use std::path::{Path, PathBuf};

use nssight_diagnosis::Layer;
use nssight_diagnosis::fact::fact::{
    CONFIG_IGNORED_DATABASE, CONFIG_IGNORED_KEY, CONFIG_IGNORED_NICKNAME, CONFIG_IGNORED_PASSWORD, CONFIG_IGNORED_PEER,
    CONFIG_IGNORED_SERVER, CONFIG_IGNORED_USER, CONFIG_IGNORED_VERSIONS, ConfigIgnored, ConfigKeyDatabase,
    ConfigKeyNickname, ConfigKeyPassword, ConfigKeyPeer, ConfigKeyServer, ConfigKeyUser, ConfigKeyVersions,
    ConfigPasswordExposed, ConfigState,
};
use nssight_diagnosis::fact::{Fact, Key, Word};
use nssight_sigul::config::{self, ConfigError, IgnoredKey, Layered, SigulConfig, Surroundings};
use secrecy::ExposeSecret;

use crate::secret::{Password, PasswordForm};
use crate::settings::{self, BRIDGE_PORT, ConfigTrouble, Configured, Request, Warning};
use crate::target::{Credentials, Database, Endpoint, Role, Setting, Target, TlsVersion};

use super::users;

/// The directory of the system's Sigul configuration.
const SYSTEM_DIRECTORY: &str = "/etc/sigul";
/// The port that a Sigul bridge keeps for servers.
const SERVER_PORT: u16 = 44333;

/// Whether a file is a Sigul configuration, according to its sections.
pub(super) fn is_in(content: &[u8]) -> bool {
    let has = |section: &[u8]| content.split(|byte| *byte == b'\n').any(|line| line.trim_ascii() == section);
    // Other programs, for example sssd, have a section [nss], too.
    has(b"[nss]") && [&b"[client]"[..], b"[server]", b"[bridge]"].into_iter().any(has)
}

/// Reads the files that the command line names, or otherwise the usual ones.
///
/// # Errors
/// If there is no file, or it cannot be used.
pub(super) fn read(request: &Request<'_>, warnings: &mut Vec<Warning>) -> Result<Configured, ConfigTrouble> {
    let (paths, mut config) = read_files(request, warnings)?;
    let text = |setting: &config::Setting<String>| Setting::new(setting.value.clone(), setting.origin.to_string());
    let peer = config.bridge_hostname.as_ref().map(|host| {
        let (port, port_origin) = match &config.bridge_port {
            Some(port) => (port.value, port.origin.to_string()),
            None => (BRIDGE_PORT, "default".to_owned()),
        };
        Setting::new(Endpoint { host: host.value.clone(), port }, format!("{}, port {port_origin}", host.origin))
    });
    let password = config.nss_password.take().map(|password| {
        let bytes = password.value.expose_secret().as_bytes().to_vec();
        Setting::new(Password::new(PasswordForm::Literal, bytes), password.origin.to_string())
    });
    let (low, high) = (&config.tls_min, &config.tls_max);
    let (role, no_network) = match config.role {
        config::Role::Client => (Role::Client, None),
        // A named peer cannot be a bridge's server port.
        config::Role::Server => {
            let named = request.overrides.connect && request.overrides.bridge.is_some();
            (Role::Server, (!named).then_some(AS_A_SERVER))
        }
        config::Role::Bridge => (Role::Bridge, (!request.overrides.connect).then_some(AS_A_BRIDGE)),
    };
    Ok(Configured {
        paths,
        role,
        credentials: Credentials::Database {
            database: Setting::new(
                Database { argument: config.nss_dir.value.clone().into_os_string() },
                config.nss_dir.origin.to_string(),
            ),
            nickname: Some(text(&config.nickname)),
        },
        peer,
        server: config.server_hostname.as_ref().map(text),
        user: config.user_name.as_ref().map(text),
        tls: Setting::new((version(low.value)?, version(high.value)?), format!("{}, {}", low.origin, high.origin)),
        password,
        no_network,
    })
}

const AS_A_SERVER: &str = "a bridge speaks TLS on its port for servers only to forward a client's request: a handshake \
                           there never completes, takes the real server's place, and makes the next client's request fail";
const AS_A_BRIDGE: &str = "a bridge listens and opens no connections; --allow-disruption with --bridge connects anyway";

fn version(version: config::TlsVersion) -> Result<TlsVersion, ConfigTrouble> {
    version.to_string().parse().map_err(ConfigTrouble::invalid)
}

fn read_files(
    request: &Request<'_>,
    warnings: &mut Vec<Warning>,
) -> Result<(Vec<PathBuf>, SigulConfig), ConfigTrouble> {
    let mut paths: Vec<PathBuf> = Vec::new();
    match request.config {
        Some(named) => paths.push(named.to_owned()),
        None => {
            let system = Path::new(SYSTEM_DIRECTORY).join("client.conf");
            let user = request.home.map(|home| home.join(".sigul/client.conf"));
            paths.extend([Some(system), user].into_iter().flatten().filter(|path| path.exists()));
            if paths.is_empty() {
                let summary = "nothing to check: give a peer as HOST:PORT, or -c FILE, or --db DIR";
                return Err(ConfigTrouble::of(ConfigState::Missing, summary).or_usage(true));
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
    let config = SigulConfig::read(&layered, &around).map_err(|errors| ConfigTrouble {
        role: config::Role::of(&layered).ok().map(role),
        ..ConfigTrouble::invalid(errors.iter().map(ConfigError::to_string).collect::<Vec<_>>().join("; "))
    })?;
    users::check(&config)
        .map_err(|summary| ConfigTrouble { role: Some(role(config.role)), ..ConfigTrouble::invalid(summary) })?;
    let mut missed: Vec<Key> = Vec::new();
    for key in &config.ignored {
        let meant = key.meant.and_then(|(_, meant)| setting_of(meant));
        let fact = meant.filter(|meant| is_missed(key, *meant, &config, request)).unwrap_or(CONFIG_IGNORED_KEY);
        let told = fact.text(key);
        // Of two keys for one setting, either is sufficient.
        let more = vec![if missed.contains(&fact) { CONFIG_IGNORED_KEY.text(key) } else { told }];
        missed.push(fact);
        warnings.push(Warning { fact: ConfigIgnored::Some.into(), more, summary: key.to_string() });
    }
    // For all other settings, no ignored key keeps them from their intended value.
    if let Some(warning) = warnings.iter_mut().find(|warning| warning.fact == ConfigIgnored::Some.into()) {
        warning.more.extend(effects(&missed));
    }
    Ok((paths, config))
}

fn role(role: config::Role) -> Role {
    match role {
        config::Role::Client => Role::Client,
        config::Role::Server => Role::Server,
        config::Role::Bridge => Role::Bridge,
    }
}

/// For each setting, whether a key intended for it is ignored.
fn effects(missed: &[Key]) -> [Fact; 7] {
    fn of<W: Word + Into<Fact>>(missed: bool, ignored: W, read: W) -> Fact {
        if missed { ignored.into() } else { read.into() }
    }
    let is_missed = |key: Key| missed.contains(&key);
    [
        of(is_missed(CONFIG_IGNORED_DATABASE), ConfigKeyDatabase::Ignored, ConfigKeyDatabase::Read),
        of(is_missed(CONFIG_IGNORED_NICKNAME), ConfigKeyNickname::Ignored, ConfigKeyNickname::Read),
        of(is_missed(CONFIG_IGNORED_PASSWORD), ConfigKeyPassword::Ignored, ConfigKeyPassword::Read),
        of(is_missed(CONFIG_IGNORED_PEER), ConfigKeyPeer::Ignored, ConfigKeyPeer::Read),
        of(is_missed(CONFIG_IGNORED_SERVER), ConfigKeyServer::Ignored, ConfigKeyServer::Read),
        of(is_missed(CONFIG_IGNORED_USER), ConfigKeyUser::Ignored, ConfigKeyUser::Read),
        of(is_missed(CONFIG_IGNORED_VERSIONS), ConfigKeyVersions::Ignored, ConfigKeyVersions::Read),
    ]
}

/// The fact for an ignored key that was intended for a setting; `None` if no connection depends on this setting.
fn setting_of(key: &str) -> Option<Key> {
    Some(match key {
        "nss-dir" => CONFIG_IGNORED_DATABASE,
        "nss-password" => CONFIG_IGNORED_PASSWORD,
        "nss-min-tls" | "nss-max-tls" => CONFIG_IGNORED_VERSIONS,
        "bridge-hostname" | "bridge-port" => CONFIG_IGNORED_PEER,
        "server-hostname" => CONFIG_IGNORED_SERVER,
        "user-name" => CONFIG_IGNORED_USER,
        _ if key.ends_with("-cert-nickname") => CONFIG_IGNORED_NICKNAME,
        _ => return None,
    })
}

/// Whether the effective value of the setting is the one that the configuration leaves, and differs from the value of the ignored key.
fn is_missed(key: &IgnoredKey, meant: Key, config: &SigulConfig, request: &Request<'_>) -> bool {
    let flags = request.overrides;
    let is_overridden = match meant {
        CONFIG_IGNORED_DATABASE => flags.database.is_some(),
        CONFIG_IGNORED_PASSWORD => request.password.is_some(),
        CONFIG_IGNORED_NICKNAME => flags.nickname.is_some(),
        CONFIG_IGNORED_VERSIONS => flags.tls_min.is_some() || flags.tls_max.is_some(),
        CONFIG_IGNORED_PEER => flags.bridge.is_some(),
        CONFIG_IGNORED_SERVER => flags.server.is_some(),
        CONFIG_IGNORED_USER => flags.user.is_some(),
        _ => false,
    };
    let in_force = match key.meant.map_or("", |(_, meant)| meant) {
        "nss-dir" => Some(config.nss_dir.value.display().to_string()),
        "nss-min-tls" => Some(config.tls_min.value.to_string()),
        "nss-max-tls" => Some(config.tls_max.value.to_string()),
        "bridge-hostname" => config.bridge_hostname.as_ref().map(|host| host.value.clone()),
        "bridge-port" => config.bridge_port.as_ref().map(|port| port.value.to_string()),
        "server-hostname" => config.server_hostname.as_ref().map(|host| host.value.clone()),
        "user-name" => config.user_name.as_ref().map(|user| user.value.clone()),
        nickname if nickname.ends_with("-cert-nickname") => Some(config.nickname.value.clone()),
        _ => None,
    };
    let written = key.value.as_deref().map(|written| match (written.strip_prefix("~/"), request.home) {
        (Some(below), Some(home)) => home.join(below).display().to_string(),
        _ => written.to_owned(),
    });
    !is_overridden && (written.is_none() || written != in_force)
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
    let (bytes, mode) = settings::read_file(path)?;
    let ini = config::parse(path, &bytes).map_err(invalid)?;
    let has_password = ini.own("nss", "nss-password").is_some();
    if has_password && mode & 0o004 != 0 {
        let summary = format!("{} holds nss-password and may be read by everybody (mode {mode:04o})", path.display());
        warnings.push(Warning { fact: ConfigPasswordExposed::Yes.into(), more: Vec::new(), summary });
    }
    layered.push(ini);
    Ok(())
}

fn invalid(error: ConfigError) -> ConfigTrouble {
    ConfigTrouble::invalid(error.to_string())
}

/// On the port that a bridge keeps for servers, a client is taken for a server, and the next client fails.
pub(super) fn check_port(target: &Target, request: &Request<'_>) -> Result<(), ConfigTrouble> {
    let Some(bridge) = &target.bridge else { return Ok(()) };
    if target.role != Role::Client || request.overrides.connect || request.until < Layer::Tcp {
        return Ok(());
    }
    let (state, why) = match bridge_conf_at_hand(request) {
        Some((file, port)) if port == bridge.value.port => {
            (ConfigState::PortForServers, format!("{} gives that port to servers", file.display()))
        }
        _ if bridge.value.port == SERVER_PORT => {
            (ConfigState::PortUsuallyForServers, "a Sigul bridge reserves that port for servers".to_owned())
        }
        _ => return Ok(()),
    };
    let (port, origin) = (bridge.value.port, &bridge.origin);
    let summary = format!(
        "port {port} ({origin}) is not for clients: {why}. A connection would make the next client fail; use --allow-disruption to connect anyway"
    );
    Err(ConfigTrouble::of(state, summary))
}

/// The server port of a bridge.conf next to the client's configuration or in the system's directory.
fn bridge_conf_at_hand(request: &Request<'_>) -> Option<(PathBuf, u16)> {
    let beside = request.config.and_then(Path::parent).map(|directory| directory.join("bridge.conf"));
    let system = Path::new(SYSTEM_DIRECTORY).join("bridge.conf");
    [beside, Some(system)].into_iter().flatten().find_map(|path| {
        let (bytes, _) = settings::read_file(&path).ok()?;
        let ini = config::parse(&path, &bytes).ok()?;
        let port = ini.own("bridge", "server-listen-port")?.text().trim().parse().ok()?;
        Some((path, port))
    })
}
