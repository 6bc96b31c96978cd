//! A target as a report shows it.

use std::path::PathBuf;

use nssight_diagnosis::fact::Hop;
use nssight_diagnosis::verdict::Names;
use nssight_diagnosis::vocabulary::Peer;
use nssight_diagnosis::{Component, Layer};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Role, Setting, Target, TlsVersion};
use crate::expiry::Thresholds;
use crate::profile::Profile;

/// The storage of our certificates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CredentialsKind {
    /// An NSS database. Reports that do not say knew no other.
    #[default]
    Database,
    /// Files.
    Files,
}

/// The target in a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TargetSummary {
    /// The kind of deployment; absent in reports of version 1.
    #[serde(default)]
    pub profile: Profile,
    /// The role of this host.
    pub role: Option<Role>,
    /// Whether this host is checked as a server.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub serves: bool,
    /// Configuration files that were read.
    pub config_files: Vec<String>,
    /// The database argument, as NSS gets it.
    pub database: Option<Setting<String>>,
    /// Nickname of the certificate.
    pub nickname: Option<Setting<String>>,
    /// The storage of our certificates.
    #[serde(default)]
    pub credentials: CredentialsKind,
    /// The file with our certificate, if it is in a file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_file: Option<Setting<String>>,
    /// The file with our key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<Setting<String>>,
    /// The file with the trusted CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities_file: Option<Setting<String>>,
    /// The directory with the trusted CAs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub authorities_directory: Option<Setting<String>>,
    /// The name that the peer's certificate must contain, if it differs from the host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_name: Option<Setting<String>>,
    /// Host and port of the bridge.
    pub bridge: Option<Setting<String>>,
    /// Host name of the server behind the bridge.
    pub server: Option<Setting<String>>,
    /// User name of the request.
    pub user: Option<Setting<String>>,
    /// Lowest TLS version.
    pub tls_min: Option<TlsVersion>,
    /// Highest TLS version.
    pub tls_max: Option<TlsVersion>,
    /// The source of the password.
    pub password_source: String,
    /// The last layer of the check.
    pub until: Layer,
    /// Time that one layer may take, in milliseconds.
    pub timeout_ms: u64,
    /// Thresholds for expiring certificates.
    #[serde(default)]
    pub thresholds: Thresholds,
}

impl Target {
    /// The summary for a report.
    pub fn summary(&self, until: Layer) -> TargetSummary {
        let path = |path: &Option<Setting<PathBuf>>| {
            path.as_ref().map(|path| Setting::new(path.value.display().to_string(), path.origin.clone()))
        };
        let files = self.files().cloned().unwrap_or_default();
        let database = self.database();
        TargetSummary {
            profile: self.profile(),
            role: Some(self.role),
            serves: self.serves,
            config_files: self.config_files.iter().map(|path| path.display().to_string()).collect(),
            database: database.map(|it| Setting::new(it.value.argument.display().to_string(), it.origin.clone())),
            nickname: self.nickname().cloned(),
            credentials: if self.files().is_some() { CredentialsKind::Files } else { CredentialsKind::Database },
            certificate_file: path(&files.certificate),
            key_file: path(&files.key),
            authorities_file: path(&files.authorities),
            authorities_directory: path(&files.directory),
            server_name: self.server_name.clone(),
            bridge: self.bridge.as_ref().map(|bridge| Setting::new(bridge.value.to_string(), bridge.origin.clone())),
            server: self.server.clone(),
            user: self.user.clone(),
            tls_min: Some(self.tls.value.0),
            tls_max: Some(self.tls.value.1),
            password_source: self.password.to_string(),
            until,
            thresholds: self.thresholds,
            timeout_ms: u64::try_from(self.timeout.as_millis()).unwrap_or(u64::MAX),
        }
    }
}

/// A section of the path to the server. Each fact and wire event belongs to one section.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct NamedHop {
    /// The session, as named in facts.
    pub hop: Hop,
    /// The name of the far end: "peer", "bridge" or "server".
    pub name: String,
    /// The address of the far end, as configured: host and port of the peer, or the host of the server behind it.
    pub address: Option<String>,
}

impl TargetSummary {
    /// The hops of its profile, in order.
    pub fn hops(&self) -> Vec<NamedHop> {
        let address = |hop: Hop| match hop {
            Hop::Peer => self.bridge.as_ref().map(|bridge| bridge.value.clone()),
            Hop::Server => self.server.as_ref().map(|server| server.value.clone()),
        };
        let hops = self.profile.details().hops.iter();
        hops.map(|(hop, name)| NamedHop { hop: *hop, name: (*name).to_owned(), address: address(*hop) }).collect()
    }

    /// The target's own names, for the advice of a cause.
    pub fn names(&self) -> Names {
        let peer = self.bridge.as_ref().and_then(|bridge| bridge.value.rsplit_once(':'));
        Names {
            database: self.database.as_ref().map(|database| database.value.clone()),
            nickname: self.nickname.as_ref().map(|nickname| nickname.value.clone()),
            certificate_file: self.certificate_file.as_ref().map(|file| file.value.clone()),
            key_file: self.key_file.as_ref().map(|file| file.value.clone()),
            authorities_file: self.authorities_file.as_ref().map(|file| file.value.clone()),
            config: self.config_files.last().cloned(),
            host: peer.map(|(host, _)| host.trim_start_matches('[').trim_end_matches(']').to_owned()),
            port: peer.map(|(_, port)| port.to_owned()),
            peer: match (self.profile.details().peer, self.credentials) {
                (_, CredentialsKind::Database) if self.serves => Peer::Clients,
                (_, CredentialsKind::Files) if self.serves => Peer::ClientsOfFiles,
                (Peer::Plain, CredentialsKind::Files) => Peer::Files,
                (Peer::Bridge, CredentialsKind::Files) => Peer::BridgeOfFiles,
                (peer, _) => peer,
            },
            ours: match self.role {
                Some(Role::Bridge) => Some(Component::Bridge),
                Some(Role::Server) => Some(Component::Server),
                Some(Role::Client) | None => None,
            },
        }
    }
}
