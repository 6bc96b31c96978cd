//! The settings of a Sigul client, server or bridge.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::error::{ConfigError, name};
use super::ignored::IgnoredKey;
use super::layered::Layered;

/// Which of Sigul's three programs a configuration is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Requests signatures; section `[client]`.
    Client,
    /// Holds the keys; section `[server]`.
    Server,
    /// Relays between client and server; section `[bridge]`.
    Bridge,
}

impl Role {
    /// All roles.
    pub const ALL: [Self; 3] = [Self::Client, Self::Server, Self::Bridge];

    /// The section that names this role, without brackets.
    pub fn section(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Bridge => "bridge",
        }
    }

    /// The role that follows from the sections.
    ///
    /// # Errors
    /// [`ConfigError::NoRole`] and [`ConfigError::SeveralRoles`], naming what was found.
    pub fn of(layers: &Layered) -> Result<Self, ConfigError> {
        let found: Vec<(Self, PathBuf, usize)> = Self::ALL
            .into_iter()
            .filter_map(|role| layers.section(role.section()).map(|(file, line)| (role, file.to_path_buf(), line)))
            .collect();
        match found.as_slice() {
            [(role, ..)] => Ok(*role),
            [] => Err(ConfigError::NoRole {
                files: layers.files().map(Path::to_path_buf).collect(),
                found: layers.section_names().into_iter().take(10).map(str::to_owned).collect(),
            }),
            _ => Err(ConfigError::SeveralRoles { found }),
        }
    }
}

/// A TLS version that `nss-min-tls` and `nss-max-tls` can name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum TlsVersion {
    /// TLS 1.0.
    Tls10,
    /// TLS 1.1.
    Tls11,
    /// TLS 1.2.
    Tls12,
    /// TLS 1.3.
    Tls13,
}

impl TlsVersion {
    /// The version with this spelling in a configuration file, in any case (measured on python-nss 1.0.1).
    pub fn from_spelling(text: &str) -> Option<Self> {
        let all = [Self::Tls10, Self::Tls11, Self::Tls12, Self::Tls13];
        all.into_iter().find(|version| version.spelling().eq_ignore_ascii_case(text))
    }

    /// The spelling of the configuration files: `tls1.2`.
    pub fn spelling(self) -> &'static str {
        match self {
            Self::Tls10 => "tls1.0",
            Self::Tls11 => "tls1.1",
            Self::Tls12 => "tls1.2",
            Self::Tls13 => "tls1.3",
        }
    }

    /// The number on the wire: 0x0303 for TLS 1.2 (RFC 8446 section 4.2.1).
    pub fn wire(self) -> u16 {
        match self {
            Self::Tls10 => 0x0301,
            Self::Tls11 => 0x0302,
            Self::Tls12 => 0x0303,
            Self::Tls13 => 0x0304,
        }
    }
}

impl fmt::Display for TlsVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.spelling())
    }
}

/// Where a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A file; `line` counts from 1.
    File {
        /// As named to [`super::parse`].
        path: PathBuf,
        /// The line of the key.
        line: usize,
    },
    /// No file has it; the text names the default and its reason.
    Default(&'static str),
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, line } => write!(f, "{}:{line}", name(path)),
            Self::Default(why) => write!(f, "default ({why})"),
        }
    }
}

/// A value and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Setting<T> {
    /// The value.
    pub value: T,
    /// Where it comes from.
    pub origin: Origin,
}

/// What the files do not contain and the caller provides.
#[derive(Debug, Clone, Copy, Default)]
pub struct Surroundings<'a> {
    /// The home directory that `~` stands for.
    pub home: Option<&'a Path>,
    /// The login name, a client's default `user-name`.
    pub login_name: Option<&'a str>,
}

/// The settings that affect a connection. What the role does not have is `None`.
#[derive(Debug, Clone)]
pub struct SigulConfig {
    /// Whose configuration this is.
    pub role: Role,
    /// `nss-dir`, with `~` expanded; a relative path is left relative.
    pub nss_dir: Setting<PathBuf>,
    /// `nss-password`. Without it the program prompts; an empty value is an empty password.
    pub nss_password: Option<Setting<SecretString>>,
    /// `nss-min-tls`.
    pub tls_min: Setting<TlsVersion>,
    /// `nss-max-tls`, never below the minimum.
    pub tls_max: Setting<TlsVersion>,
    /// `client-cert-nickname`, `server-cert-nickname` or `bridge-cert-nickname`.
    pub nickname: Setting<String>,
    /// `bridge-hostname`: client and server, which both must have it.
    pub bridge_hostname: Option<Setting<String>>,
    /// `bridge-port`: client and server.
    pub bridge_port: Option<Setting<u16>>,
    /// `server-hostname`: client, which must have it.
    pub server_hostname: Option<Setting<String>>,
    /// `user-name`: client, else the login name; `None` when the login name is not known either.
    pub user_name: Option<Setting<String>>,
    /// `passphrase-length`, in characters: client.
    pub passphrase_length: Option<Setting<u32>>,
    /// `client-listen-port`: bridge.
    pub client_listen_port: Option<Setting<u16>>,
    /// `server-listen-port`: bridge.
    pub server_listen_port: Option<Setting<u16>>,
    /// `unix-user` in `[daemon]`: server and bridge; `None` if it is empty, and the daemon keeps its user.
    pub unix_user: Option<Setting<String>>,
    /// `unix-group` in `[daemon]`: server and bridge, likewise.
    pub unix_group: Option<Setting<String>>,
    /// Keys that were meant to have an effect and have none.
    pub ignored: Vec<IgnoredKey>,
}
