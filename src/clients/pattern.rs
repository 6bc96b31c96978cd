//! What it proves that some clients get through and others do not.

use schemars::JsonSchema;
use serde::Serialize;

use super::attempt::{Attempt, Outcome};

/// The pattern, and what it proves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// Who failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Nobody.
    AllPass,
    /// Everybody, before a connection was opened.
    AllFailLocally,
    /// Everybody, and at least one on the network.
    AllFail,
    /// Everybody who uses NSS, and nobody else.
    OnlyNssFails,
    /// Whoever does not use NSS, and nobody else.
    OnlyOthersFail,
    /// Just one.
    OnlyOneFails,
    /// Just the one that goes through the bridge to the server.
    OnlyTheWholeWayFails,
    /// Some, without a pattern.
    SomeFail,
    /// Too few clients are on this host.
    TooFew,
}

impl Pattern {
    pub(super) fn of(attempts: &[Attempt]) -> Self {
        let tried: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.outcome != Outcome::Absent).collect();
        let failed: Vec<&Attempt> = tried.iter().copied().filter(|attempt| attempt.outcome != Outcome::Pass).collect();
        let (kind, text) = match (tried.len(), failed.len()) {
            (0 | 1, _) => (Kind::TooFew, "there is nothing to compare: no other client is on this host".to_owned()),
            (_, 0) if tried.iter().any(|attempt| attempt.confirmed == Some(false)) => (
                Kind::AllPass,
                "every client completes its side of the handshake, and nobody heard what the peer makes of the certificate: a \
                 refusal that comes later, or in the application, does not show here. Password, key, network and the peer's own \
                 certificate are in order"
                    .to_owned(),
            ),
            (_, 0) => (
                Kind::AllPass,
                "every client completes the handshake, and the peer goes on after it: password, key, network and the peer's own \
                 certificate are in order. What fails for another client is that client's own, or a refusal in the \
                 application, which does not show here"
                    .to_owned(),
            ),
            (all, count) if all == count && failed.iter().all(|it| it.outcome == Outcome::FailedLocally) => (
                Kind::AllFailLocally,
                "every client fails at the database, also the one that reads its files without NSS: password, key or \
                 certificate. Nobody came to a handshake with this certificate, so the peer is not to blame"
                    .to_owned(),
            ),
            (all, count) if all == count => (
                Kind::AllFail,
                "every client fails, with two different TLS libraries: it is the peer, the network, or what they all share, \
                 the certificate. No single application is to blame"
                    .to_owned(),
            ),
            (_, 1) if failed[0].client == super::double_tls::NAME && failed[0].connected => (
                Kind::OnlyTheWholeWayFails,
                "every handshake with the bridge succeeds, and the client that goes on through it fails: it is what lies behind \
                 the bridge, or the request; `nssight diagnose` with the administrator's password says which"
                    .to_owned(),
            ),
            (_, 1) => {
                let only = failed[0];
                let hint = match only.client {
                    "tstclnt -w FILE" => ": -w takes the password itself, and a file is given with -W",
                    _ => "",
                };
                (
                    if only.uses_nss || tried.iter().filter(|it| !it.uses_nss).count() > 1 {
                        Kind::OnlyOneFails
                    } else {
                        Kind::OnlyOthersFail
                    },
                    format!(
                        "only {} fails, and the others get through with the same certificate: it is that application, how it \
                         is called, or its own configuration{hint}",
                        only.client
                    ),
                )
            }
            _ if tried.iter().all(|it| it.uses_nss == (it.outcome != Outcome::Pass)) => (
                Kind::OnlyNssFails,
                "every client of NSS fails, and OpenSSL gets through with the same certificate and key to the same peer: it \
                 is the NSS database as NSS sees it, or NSS's own policy"
                    .to_owned(),
            ),
            _ => {
                let names: Vec<&str> = failed.iter().map(|attempt| attempt.client).collect();
                (Kind::SomeFail, format!("{} fail and the others do not: compare their errors", names.join(", ")))
            }
        };
        Self { kind, text }
    }
}
