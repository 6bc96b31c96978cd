//! Siguldry's configuration, as settings of a target.

use std::path::{Path, PathBuf};

use nssight_diagnosis::fact::fact::ConfigState;
use toml::Spanned;

use crate::settings::{self, ConfigTrouble, Configured, Request, Warning};
use crate::target::{Credentials, Endpoint, Files, Role, Setting, TlsVersion};

use super::document::{self, Client, Document, line_of};

/// systemd.exec(5), "CREDENTIALS".
const DIRECTORY: &str = "CREDENTIALS_DIRECTORY";
const ONLY_13: &str = "Siguldry supports no other";
const AS_A_SERVER: &str = "the bridge takes a connection to its port for servers for a real server, and assigns it to the next client; nssight \
                           opens none";
const AS_A_BRIDGE: &str = "a bridge listens and opens no connections";

/// Reads the file that the command line names.
///
/// # Errors
/// If there is no file, or it cannot be used.
pub(super) fn read(request: &Request<'_>, _warnings: &mut Vec<Warning>) -> Result<Configured, ConfigTrouble> {
    let path = request.config.ok_or_else(|| ConfigTrouble::of(ConfigState::Missing, "give -c client.toml"))?;
    let (bytes, _) = settings::read_file(path)?;
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| ConfigTrouble::invalid(format!("{} is no UTF-8: {error}", path.display())))?;
    let own = Own { path, text };
    match document::read(path, text).map_err(ConfigTrouble::invalid)? {
        Document::Client(client) => of_client(&own, &client, request),
        Document::Server(server) => {
            let peer = own.endpoint(&server.bridge_hostname, &server.bridge_port);
            let no_network = (!request.overrides.connect).then_some(AS_A_SERVER);
            Ok(own.configured(Role::Server, &server.credentials, request, Some(peer), None, no_network))
        }
        Document::Bridge(bridge) => {
            let no_network = (!request.overrides.connect).then_some(AS_A_BRIDGE);
            Ok(own.configured(Role::Bridge, &bridge.credentials, request, None, None, no_network))
        }
    }
}

fn of_client(own: &Own<'_>, client: &Client, request: &Request<'_>) -> Result<Configured, ConfigTrouble> {
    for key in &client.keys {
        own.passphrase(&key.key_name, &key.passphrase_path)?;
    }
    let peer = own.endpoint(&client.bridge_hostname, &client.bridge_port);
    let server = own.setting(&client.server_hostname, Clone::clone);
    Ok(own.configured(Role::Client, &client.credentials, request, Some(peer), Some(server), None))
}

/// A file that was read.
struct Own<'a> {
    path: &'a Path,
    text: &'a str,
}

impl Own<'_> {
    fn place<T>(&self, value: &Spanned<T>) -> String {
        format!("{}:{}", self.path.display(), line_of(self.text, value.span().start))
    }

    fn setting<T, U>(&self, value: &Spanned<T>, of: impl FnOnce(&T) -> U) -> Setting<U> {
        Setting::new(of(value.get_ref()), self.place(value))
    }

    fn endpoint(&self, host: &Spanned<String>, port: &Spanned<u16>) -> Setting<Endpoint> {
        let endpoint = Endpoint { host: host.get_ref().clone(), port: *port.get_ref() };
        Setting::new(endpoint, format!("{}, port {}", self.place(host), self.place(port)))
    }

    /// A relative path is relative to the credentials directory, if there is one.
    fn file(&self, path: &Spanned<PathBuf>, request: &Request<'_>) -> Setting<PathBuf> {
        let place = self.place(path);
        let flag = request.overrides.credentials_directory.clone().map(|it| (it, "--credentials-directory".to_owned()));
        let variable = || std::env::var_os(DIRECTORY).map(|it| (PathBuf::from(it), format!("${DIRECTORY}")));
        match flag.or_else(variable).filter(|_| path.get_ref().is_relative()) {
            Some((directory, origin)) => Setting::new(directory.join(path.get_ref()), format!("{place}, in {origin}")),
            None => Setting::new(path.get_ref().clone(), place),
        }
    }

    /// A client reads the passphrases of its keys before it connects; relative paths of these are always relative to the directory in the
    /// variable.
    fn passphrase(&self, key: &str, path: &Spanned<PathBuf>) -> Result<(), ConfigTrouble> {
        let place = self.place(path);
        let trouble =
            |what: String| Err(ConfigTrouble::invalid(format!("{place}: the passphrase of the key \"{key}\": {what}")));
        let file = match std::env::var_os(DIRECTORY) {
            _ if path.get_ref().is_absolute() => path.get_ref().clone(),
            Some(directory) => Path::new(&directory).join(path.get_ref()),
            None => return trouble(format!("its path is relative, but {DIRECTORY} is not set")),
        };
        match std::fs::metadata(&file) {
            Ok(meta) if meta.len() == 0 => trouble(format!("{} is empty", file.display())),
            Ok(_) => Ok(()),
            Err(error) => trouble(format!("{}: {error}", file.display())),
        }
    }

    fn configured(
        &self,
        role: Role,
        credentials: &document::Credentials,
        request: &Request<'_>,
        peer: Option<Setting<Endpoint>>,
        server: Option<Setting<String>>,
        no_network: Option<&'static str>,
    ) -> Configured {
        Configured {
            paths: vec![self.path.to_owned()],
            role,
            credentials: Credentials::Files(Files {
                certificate: Some(self.file(&credentials.certificate, request)),
                key: Some(self.file(&credentials.private_key, request)),
                authorities: Some(self.file(&credentials.ca_certificate, request)),
                directory: None,
                // `SSL_CTX_use_certificate_file` reads only one certificate (measured).
                sends_first_only: true,
            }),
            peer,
            server,
            user: None,
            tls: Setting::new((TlsVersion::Tls13, TlsVersion::Tls13), ONLY_13),
            password: None,
            no_network,
        }
    }
}
