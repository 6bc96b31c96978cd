//! The result of one client.

use std::ffi::OsStr;
use std::time::Duration;

use nssight_probes::target::{Endpoint, Target};
use schemars::JsonSchema;
use serde::Serialize;
use zeroize::Zeroizing;

/// Time for which a client waits after the handshake: a TLS 1.3 peer refuses the client's certificate in this time.
pub(super) const LISTEN: Duration = Duration::from_millis(400);
/// As `LISTEN`, if the first client saw no reaction to its certificate: slightly longer than that client waits.
pub(super) const LONG_REFUSAL_WAIT: Duration = Duration::from_millis(2500);

/// The input of all clients.
pub(super) struct Job<'a> {
    pub(super) target: &'a Target,
    /// The database, or a copy of it, for clients that would change a database or its directory, or load the modules that it names.
    pub(super) database: &'a OsStr,
    pub(super) host: &'a str,
    pub(super) port: u16,
    pub(super) password: Option<&'a Zeroizing<Vec<u8>>>,
    /// How long a client waits for a refusal after its handshake.
    pub(super) listen: Duration,
    /// An earlier client established a connection.
    pub(super) came_to_peer: bool,
}

impl Job<'_> {
    /// The peer in the form of options and URLs.
    pub(super) fn peer(&self) -> Endpoint {
        Endpoint { host: self.host.to_owned(), port: self.port }
    }
}

/// The name and release from OpenSSL's full version text, for example `OpenSSL 3.0.19`.
pub(super) fn release_of(version: &str) -> String {
    version.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// The result of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Outcome {
    /// The handshake succeeded, and no refusal followed.
    Pass,
    /// The client failed before it connected: database, password or key.
    FailedLocally,
    /// The TCP connection failed.
    FailedToConnect,
    /// The handshake failed, or the peer refused the client right after it.
    FailedInHandshake,
    /// The client is not installed on this host.
    Absent,
}

/// The result of one client.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub(crate) struct Attempt {
    pub(crate) client: &'static str,
    /// The TLS library, with its version if known.
    pub(crate) library: String,
    /// Whether it uses NSS, with its database and its policy.
    pub(crate) uses_nss: bool,
    /// The source of certificate and key.
    pub(crate) initialised: &'static str,
    /// The source of the password.
    pub(crate) password: &'static str,
    pub(crate) outcome: Outcome,
    /// Whether the TCP connection was established.
    pub(crate) connected: bool,
    /// Whether the handshake succeeded.
    pub(crate) handshake: bool,
    /// Whether the peer has gone on after our certificate, or goes without one; only nssight looks.
    pub(crate) confirmed: Option<bool>,
    /// Version and suite.
    pub(crate) agreed: Option<String>,
    pub(crate) error: Option<String>,
    pub(crate) duration_ms: u64,
}

impl Attempt {
    pub(super) fn new(client: &'static str, uses_nss: bool, initialised: &'static str, password: &'static str) -> Self {
        let (library, agreed, error) = (String::new(), None, None);
        Self {
            client,
            library,
            uses_nss,
            initialised,
            password,
            outcome: Outcome::FailedLocally,
            connected: false,
            handshake: false,
            confirmed: None,
            agreed,
            error,
            duration_ms: 0,
        }
    }

    /// Sets the outcome from the progress and the error.
    pub(super) fn settle(&mut self) {
        self.outcome = match (self.error.is_some(), self.connected, self.handshake) {
            (false, true, true) => Outcome::Pass,
            (_, true, _) => Outcome::FailedInHandshake,
            (true, false, _) if self.outcome == Outcome::FailedToConnect => Outcome::FailedToConnect,
            (_, false, _) => Outcome::FailedLocally,
        };
    }
}
