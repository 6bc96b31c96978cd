//! TLS of the exporter itself, by OpenSSL.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use openssl::pkey::PKey;
use openssl::ssl::{Ssl, SslAcceptor, SslContext, SslContextBuilder, SslMethod, SslOptions, SslVerifyMode, SslVersion};
use openssl::x509::X509;
use openssl::x509::store::X509StoreBuilder;
use serde::Deserialize;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_openssl::SslStream;

/// `tls_server_config`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TlsFile {
    pub(super) cert_file: String,
    pub(super) key_file: String,
    #[serde(default)]
    client_auth_type: ClientAuth,
    pub(super) client_ca_file: Option<String>,
    #[serde(default)]
    min_version: Option<Version>,
    #[serde(default)]
    max_version: Option<Version>,
    cipher_suites: Option<Vec<String>>,
    prefer_server_cipher_suites: Option<bool>,
}

/// What a client must present.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Version {
    #[serde(rename = "TLS12")]
    Tls12,
    #[serde(rename = "TLS13")]
    Tls13,
}

impl From<Version> for SslVersion {
    fn from(version: Version) -> Self {
        match version {
            Version::Tls12 => Self::TLS1_2,
            Version::Tls13 => Self::TLS1_3,
        }
    }
}

/// Suites by their names in RFC 5288, 5289 and 7905, with OpenSSL's names. Those without authenticated encryption are left out.
const SUITES: [(&str, &str); 8] = [
    ("TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384", "ECDHE-ECDSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256", "ECDHE-RSA-AES128-GCM-SHA256"),
    ("TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "ECDHE-RSA-AES256-GCM-SHA384"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305", "ECDHE-RSA-CHACHA20-POLY1305"),
    ("TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256", "ECDHE-RSA-CHACHA20-POLY1305"),
];
/// TLS 1.3 suites have only one name.
const SUITES_13: [&str; 3] = ["TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"];

/// A refused client has this time and these bytes until the exporter closes the connection.
const LINGER: Duration = Duration::from_secs(2);
const LINGER_BYTES: usize = 64 * 1024;

/// A configuration that is ready to accept sessions.
pub(in crate::exporter) struct Tls {
    context: SslContext,
    /// Clients without a certificate are refused.
    pub(in crate::exporter) wants_certificate: bool,
}

/// Accepts a session.
///
/// # Errors
/// Errors of OpenSSL or of the connection.
pub(in crate::exporter) async fn accept(tls: &Tls, stream: TcpStream) -> io::Result<SslStream<TcpStream>> {
    let mut stream = SslStream::new(Ssl::new(&tls.context)?, stream)?;
    let accepted = Pin::new(&mut stream).accept().await;
    if let Err(error) = accepted {
        let _ = tokio::time::timeout(LINGER, linger(stream.get_mut())).await;
        return Err(io::Error::other(error));
    }
    Ok(stream)
}

/// Ends our direction, and reads what a refused client still sends. If this end closed the socket with unread bytes, the kernel would
/// send a reset, which can overtake the alert: a TLS 1.3 client sends its request right after its Finished. Of 300 clients without the
/// required certificate, 79 saw only the reset on a loaded host.
async fn linger(stream: &mut TcpStream) -> io::Result<()> {
    stream.shutdown().await?;
    let mut unread = [0; 4096];
    let mut left = LINGER_BYTES;
    while left > 0 {
        match stream.read(&mut unread).await? {
            0 => break,
            count => left = left.saturating_sub(count),
        }
    }
    Ok(())
}

impl TlsFile {
    /// Builds the configuration; `read` returns the bytes of a file.
    ///
    /// # Errors
    /// One line that names the key.
    pub(super) fn ready(&self, mut read: impl FnMut(&str) -> Result<Vec<u8>, String>) -> Result<Tls, String> {
        use ClientAuth::{RequireAndVerifyClientCert, VerifyClientCertIfGiven};
        let of_openssl = |error: openssl::error::ErrorStack| reason(&error);
        let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).map_err(of_openssl)?;
        self.identity(&mut builder, &mut read)?;
        let verifies = matches!(self.client_auth_type, VerifyClientCertIfGiven | RequireAndVerifyClientCert);
        match &self.client_ca_file {
            Some(_) if self.client_auth_type == ClientAuth::NoClientCert => {
                return Err("client_ca_file needs a client_auth_type".to_owned());
            }
            None if verifies => {
                return Err(format!("client_auth_type {:?} needs a client_ca_file", self.client_auth_type));
            }
            Some(path) => {
                trust(&mut builder, &read(path)?).map_err(|error| format!("client_ca_file {path}: {error}"))?
            }
            None => {}
        }
        let (peer, required) = (SslVerifyMode::PEER, SslVerifyMode::PEER | SslVerifyMode::FAIL_IF_NO_PEER_CERT);
        match self.client_auth_type {
            ClientAuth::NoClientCert => builder.set_verify(SslVerifyMode::NONE),
            ClientAuth::RequestClientCert => builder.set_verify_callback(peer, |_, _| true),
            ClientAuth::RequireAnyClientCert => builder.set_verify_callback(required, |_, _| true),
            VerifyClientCertIfGiven => builder.set_verify(peer),
            RequireAndVerifyClientCert => builder.set_verify(required),
        }
        // OpenSSL resumes sessions of clients with certificates only if a session id context is set.
        builder.set_session_id_context(b"nssight exporter").map_err(of_openssl)?;
        let least = self.min_version.unwrap_or(Version::Tls12);
        builder.set_min_proto_version(Some(least.into())).map_err(of_openssl)?;
        builder.set_max_proto_version(self.max_version.map(Into::into)).map_err(of_openssl)?;
        if matches!((least, self.max_version), (Version::Tls13, Some(Version::Tls12))) {
            return Err("min_version is above max_version".to_owned());
        }
        match self.prefer_server_cipher_suites {
            Some(false) => builder.clear_options(SslOptions::CIPHER_SERVER_PREFERENCE),
            _ => builder.set_options(SslOptions::CIPHER_SERVER_PREFERENCE),
        };
        self.suites(&mut builder)?;
        let wants_certificate =
            matches!(self.client_auth_type, ClientAuth::RequireAnyClientCert | RequireAndVerifyClientCert);
        Ok(Tls { context: builder.build().into_context(), wants_certificate })
    }

    fn identity(
        &self,
        builder: &mut SslContextBuilder,
        read: &mut impl FnMut(&str) -> Result<Vec<u8>, String>,
    ) -> Result<(), String> {
        let at = |key: &str, path: &str, error: &str| format!("{key} {path}: {error}");
        let chain = X509::stack_from_pem(&read(&self.cert_file)?)
            .map_err(|error| at("cert_file", &self.cert_file, &reason(&error)))?;
        let Some((leaf, above)) = chain.split_first() else {
            return Err(at("cert_file", &self.cert_file, "it has no certificate"));
        };
        let pem = zeroize::Zeroizing::new(read(&self.key_file)?);
        // A key with a passphrase is refused, because nobody is present to enter it.
        let key = PKey::private_key_from_pem_callback(&pem, |_| Ok(0))
            .map_err(|_| at("key_file", &self.key_file, "it has no PEM private key, or the key has a passphrase"))?;
        if !leaf.public_key().is_ok_and(|public| public.public_eq(&key)) {
            return Err(format!(
                "the private key in {} does not belong to the first certificate in {}",
                self.key_file, self.cert_file
            ));
        }
        let set = (|| {
            builder.set_certificate(leaf)?;
            above.iter().try_for_each(|certificate| builder.add_extra_chain_cert(certificate.clone()))?;
            builder.set_private_key(&key)
        })();
        set.map_err(|error| at("cert_file", &self.cert_file, &reason(&error)))
    }

    fn suites(&self, builder: &mut SslContextBuilder) -> Result<(), String> {
        let Some(wanted) = &self.cipher_suites else { return Ok(()) };
        let (mut older, mut newer) = (Vec::new(), Vec::new());
        for name in wanted {
            if let Some((_, own)) = SUITES.iter().find(|(suite, _)| suite == name) {
                older.push(*own);
            } else if SUITES_13.contains(&name.as_str()) {
                newer.push(name.as_str());
            } else {
                let known: Vec<&str> = SUITES.iter().map(|(suite, _)| *suite).chain(SUITES_13).collect();
                return Err(format!("cipher_suites: {name} is not supported; supported: {}", known.join(", ")));
            }
        }
        // Suites of one version do not restrict the other.
        if !older.is_empty() {
            builder.set_cipher_list(&older.join(":")).map_err(|error| format!("cipher_suites: {}", reason(&error)))?;
        }
        if !newer.is_empty() {
            builder.set_ciphersuites(&newer.join(":")).map_err(|error| format!("cipher_suites: {}", reason(&error)))?;
        }
        Ok(())
    }

    /// All files that the configuration names.
    pub(super) fn files(&mut self) -> impl Iterator<Item = &mut String> {
        [&mut self.cert_file, &mut self.key_file].into_iter().chain(&mut self.client_ca_file)
    }
}

/// Trusts these CAs, and no others, to issue client certificates.
fn trust(builder: &mut SslContextBuilder, pem: &[u8]) -> Result<(), String> {
    let authorities = X509::stack_from_pem(pem).map_err(|error| reason(&error))?;
    if authorities.is_empty() {
        return Err("it has no certificate".to_owned());
    }
    let set = (|| {
        let mut store = X509StoreBuilder::new()?;
        for authority in authorities {
            builder.add_client_ca(&authority)?;
            store.add_cert(authority)?;
        }
        builder.set_verify_cert_store(store.build())
    })();
    set.map_err(|error| reason(&error))
}

/// OpenSSL's first error.
fn reason(error: &openssl::error::ErrorStack) -> String {
    let first = error.errors().first().and_then(|error| error.reason()).unwrap_or("OpenSSL cannot use it");
    first.to_owned()
}

/// Makes a path relative to the directory of the configuration.
pub(super) fn beside(directory: &Path, file: &mut String) {
    *file = directory.join(&file).display().to_string();
}
