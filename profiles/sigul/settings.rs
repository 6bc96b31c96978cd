//! Sigul's configuration: client.conf, server.conf and bridge.conf.
//!
//! Files are read in Sigul's own order: the system's file first, then the user's or the one named with `-c`; a later value wins.

use std::path::{Path, PathBuf};

use nssight_diagnosis::Layer;
use nssight_diagnosis::fact::fact::{
    CONFIG_IGNORED_KEY, ConfigIgnored, ConfigIgnoredBearsOn, ConfigPasswordExposed, ConfigState,
};
use nssight_sigul::config::{self, ConfigError, Layered, SigulConfig, Surroundings};
use secrecy::ExposeSecret;

use crate::secret::{Password, PasswordForm};
use crate::settings::{self, BRIDGE_PORT, ConfigTrouble, Configured, Request, Warning};
use crate::target::{Endpoint, Role, Setting, Target, TlsVersion};

use super::users;

/// Where Sigul keeps the system's configuration.
const SYSTEM_DIRECTORY: &str = "/etc/sigul";
/// The port that a Sigul bridge keeps for servers.
const SERVER_PORT: u16 = 44333;

/// Reads what the command line names, or else the usual files.
///
/// # Errors
/// When there is none, or what it says cannot be used.
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
        // A peer that was named is no bridge's server port.
        config::Role::Server => {
            let named = request.overrides.connect && request.overrides.bridge.is_some();
            (Role::Server, (!named).then_some(AS_A_SERVER))
        }
        config::Role::Bridge => (Role::Bridge, (!request.overrides.connect).then_some(AS_A_BRIDGE)),
    };
    Ok(Configured {
        paths,
        role,
        database: Setting::new(config.nss_dir.value.clone().into_os_string(), config.nss_dir.origin.to_string()),
        nickname: Some(text(&config.nickname)),
        peer,
        server: config.server_hostname.as_ref().map(text),
        user: config.user_name.as_ref().map(text),
        tls: Setting::new((version(low.value)?, version(high.value)?), format!("{}, {}", low.origin, high.origin)),
        password,
        no_network,
    })
}

const AS_A_SERVER: &str = "a bridge speaks TLS on its port for servers only when it has a client's request to pass on: a \
                           handshake there never ends, takes the real server's place, and costs the next client its request";
const AS_A_BRIDGE: &str = "a bridge listens and does not dial out; --connect with --bridge dials all the same";

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
                let summary = "there is neither /etc/sigul/client.conf nor ~/.sigul/client.conf, and neither -c nor --db was given";
                return Err(ConfigTrouble::of(ConfigState::Missing, summary));
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
    for key in &config.ignored {
        let bears_on = key.meant.map_or(ConfigIgnoredBearsOn::Nothing, |(_, meant)| bears_on(meant));
        let more = vec![CONFIG_IGNORED_KEY.text(key), bears_on.into()];
        warnings.push(Warning { fact: ConfigIgnored::Some.into(), more, summary: key.to_string() });
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

/// The layer that would have used a key.
fn bears_on(key: &str) -> ConfigIgnoredBearsOn {
    match key {
        "nss-dir" => ConfigIgnoredBearsOn::NssDb,
        "nss-password" => ConfigIgnoredBearsOn::Password,
        "nss-min-tls" | "nss-max-tls" => ConfigIgnoredBearsOn::OuterHandshake,
        "bridge-hostname" | "bridge-port" => ConfigIgnoredBearsOn::Tcp,
        "server-hostname" => ConfigIgnoredBearsOn::InnerHandshake,
        "user-name" => ConfigIgnoredBearsOn::Request,
        _ if key.ends_with("-cert-nickname") => ConfigIgnoredBearsOn::Certificate,
        _ => ConfigIgnoredBearsOn::Nothing,
    }
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

/// A client on the port that the bridge keeps for servers is taken for a server, and breaks the next client.
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
            (ConfigState::PortUsuallyForServers, "a Sigul bridge keeps that port for servers".to_owned())
        }
        _ => return Ok(()),
    };
    let (port, origin) = (bridge.value.port, &bridge.origin);
    let summary = format!(
        "port {port} ({origin}) is not for clients: {why}. Connecting there would break the next client; --connect does it all the same"
    );
    Err(ConfigTrouble::of(state, summary))
}

/// The server port of a bridge.conf beside the client's configuration or in the system's directory.
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
