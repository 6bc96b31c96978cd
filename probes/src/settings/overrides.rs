//! Settings of a target from the command line or a targets file.
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::expiry::Thresholds;
use crate::starttls::StartTls;
use crate::target::{Endpoint, Engine, Family, Question, TlsVersion};

/// Settings from the command line; each overrides the configuration.
#[derive(Debug, Clone, Default)]
pub struct Overrides {
    /// `--db`
    pub database: Option<OsString>,
    /// `--nickname`
    pub nickname: Option<String>,
    /// `--credentials-directory`
    pub credentials_directory: Option<PathBuf>,
    /// `--cert`, `--key`, `--cacert` and `--capath`.
    pub files: FileOverrides,
    /// The peer was named directly, as any TLS server: the usual configuration is not read.
    pub plain: bool,
    /// `--role server`
    pub serves: bool,
    /// `--servername`
    pub server_name: Option<String>,
    /// `--starttls`
    pub starttls: Option<StartTls>,
    /// `--proxy`
    pub proxy: Option<Endpoint>,
    /// `--alpn`
    pub alpn: Vec<String>,
    /// `--engine`
    pub engine: Option<Engine>,
    /// `--show-certs`
    pub shows_certificates: bool,
    /// `-4`, `-6`
    pub family: Option<Family>,
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
    /// `--allow-disruption`
    pub connect: bool,
    /// `--load-modules`
    pub load_modules: bool,
    /// `--patience`
    pub patience: Option<Duration>,
    /// `--probe`
    pub question: Option<Question>,
    /// `--warn-days` and `--critical-days`
    pub thresholds: Thresholds,
}

impl Overrides {
    /// Whether these options place the certificates in files.
    pub fn has_files(&self) -> bool {
        self.files.any() || self.plain && self.database.is_none()
    }

    /// Checks that the options are consistent: the library, and the place of our identity. `config`: a configuration is used as well.
    ///
    /// # Errors
    /// A message for the user.
    pub fn fits_together(&self, config: bool) -> Result<(), String> {
        let is_uri = |path: &PathBuf| path.as_os_str().as_encoded_bytes().starts_with(b"pkcs11:");
        if [&self.files.certificate, &self.files.key].into_iter().flatten().any(is_uri) {
            return Err(
                "a PKCS#11 URI is not a file: give it as --nickname, with the --db whose modules have the token"
                    .to_owned(),
            );
        }
        let names_authorities = self.files.authorities.is_some() || self.files.directory.is_some();
        match self.engine {
            Some(Engine::Nss) if self.has_files() && !names_authorities => {
                Err("NSS does not use the system's trusted CAs: with --engine nss and files, give --cacert or --capath"
                    .to_owned())
            }
            Some(Engine::Openssl) if config || self.server.is_some() => {
                Err("sessions with a bridge need NSS: use --engine openssl only for a plain peer".to_owned())
            }
            _ => Ok(()),
        }
    }
}

/// Files that the command line names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileOverrides {
    /// `--cert`
    pub certificate: Option<PathBuf>,
    /// `--key`
    pub key: Option<PathBuf>,
    /// `--cacert`
    pub authorities: Option<PathBuf>,
    /// `--capath`
    pub directory: Option<PathBuf>,
}

impl FileOverrides {
    /// Whether any file is named.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }
}
