//! client.toml, server.toml and bridge.toml, with the line of each value. A mistake that Siguldry refuses is refused here, too: an unknown
//! key, or a missing one without a default.

use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroU64};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use toml::Spanned;

/// Keys that identify a Siguldry file, each at the beginning of a line.
const OWN: [&[u8]; 4] =
    [b"server_hostname", b"client_listening_address", b"connection_pool_size", b"signer_socket_path"];

/// Whether a file is a Siguldry configuration.
pub(super) fn is_in(content: &[u8]) -> bool {
    let lines = || content.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    lines().any(|line| line == b"[credentials]") && lines().any(|line| OWN.iter().any(|key| line.starts_with(key)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Credentials {
    pub(super) private_key: Spanned<PathBuf>,
    pub(super) certificate: Spanned<PathBuf>,
    pub(super) ca_certificate: Spanned<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a value of the wrong type is refused")]
pub(super) struct Client {
    pub(super) server_hostname: Spanned<String>,
    pub(super) bridge_hostname: Spanned<String>,
    pub(super) bridge_port: Spanned<u16>,
    idle_timeout: Option<NonZeroU64>,
    request_timeout: Option<NonZeroU64>,
    pub(super) credentials: Credentials,
    proxy_concurrency: Option<usize>,
    pub(super) keys: Vec<UnlockedKey>,
}

/// A key that the client unlocks when it connects. Siguldry accepts additional keys here.
#[derive(Deserialize)]
pub(super) struct UnlockedKey {
    pub(super) key_name: String,
    pub(super) passphrase_path: Spanned<PathBuf>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a value of the wrong type is refused")]
pub(super) struct Bridge {
    server_listening_address: SocketAddr,
    client_listening_address: SocketAddr,
    pub(super) credentials: Credentials,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "read so that a value of the wrong type is refused")]
pub(super) struct Server {
    state_directory: Option<PathBuf>,
    signer_socket_path: Option<PathBuf>,
    pub(super) bridge_hostname: Spanned<String>,
    pub(super) bridge_port: Spanned<u16>,
    connection_pool_size: usize,
    idle_client_timeout: Option<NonZeroU64>,
    connection_watchdog_timeout: Option<NonZeroU64>,
    user_password_length: NonZeroU16,
    pub(super) credentials: Credentials,
    certificate_subject: toml::Table,
    openpgp_user_id: String,
    pkcs11_bindings: Option<Vec<toml::Table>>,
}

pub(super) enum Document {
    Client(Client),
    Bridge(Bridge),
    Server(Server),
}

/// Parses a file; the program that it belongs to follows from the keys that only this program has.
///
/// # Errors
/// A message with the line.
pub(super) fn read(path: &Path, text: &str) -> Result<Document, String> {
    let has = |key: &str| text.lines().any(|line| line.trim_start().starts_with(key));
    let document = if has("client_listening_address") || has("server_listening_address") {
        toml::from_str(text).map(Document::Bridge)
    } else if has("connection_pool_size") || has("signer_socket_path") || has("state_directory") {
        toml::from_str(text).map(Document::Server)
    } else {
        toml::from_str(text).map(Document::Client)
    };
    document.map_err(|error: toml::de::Error| {
        let line = error.span().map_or(1, |span| line_of(text, span.start));
        let message = error.message().trim().replace('\n', " ");
        format!("{}:{line}: {message}", path.display())
    })
}

/// The number of the line with this byte.
pub(super) fn line_of(text: &str, at: usize) -> usize {
    1 + text.bytes().take(at).filter(|byte| *byte == b'\n').count()
}
