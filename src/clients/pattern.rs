//! The conclusion from the clients that succeed and those that fail.

use schemars::JsonSchema;
use serde::Serialize;

use super::attempt::{Attempt, Outcome};
use super::{double_tls, sigul_v1};

/// The pattern of the results, and the conclusion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Pattern {
    pub(crate) kind: Kind,
    pub(crate) text: String,
}

/// The clients that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// No client failed.
    AllPass,
    /// All clients failed before they connected.
    AllFailLocally,
    /// All clients failed, at least one of them on the network.
    AllFail,
    /// All NSS clients failed, and no others.
    OnlyNssFails,
    /// All clients without NSS failed, and no others.
    OnlyOthersFail,
    /// One client failed.
    OnlyOneFails,
    /// Only the clients that continue through the bridge to the server failed.
    OnlyTheWholeWayFails,
    /// Some clients failed, without a pattern.
    SomeFail,
    /// This host has too few clients for a comparison.
    TooFew,
}

impl Pattern {
    pub(super) fn of(attempts: &[Attempt]) -> Self {
        let here: Vec<&Attempt> = attempts.iter().filter(|attempt| attempt.outcome != Outcome::Absent).collect();
        let came_to_it = here.iter().any(|attempt| attempt.connected);
        let (silent, tried): (Vec<&Attempt>, Vec<&Attempt>) =
            here.into_iter().partition(|attempt| came_to_it && proves_nothing(attempt));
        let libraries = |uses_nss: bool| tried.iter().any(|attempt| attempt.connected && attempt.uses_nss == uses_nss);
        let failed: Vec<&Attempt> = tried.iter().copied().filter(|attempt| attempt.outcome != Outcome::Pass).collect();
        let (kind, text) = match (tried.len(), failed.len()) {
            (0 | 1, _) if silent.is_empty() => {
                (Kind::TooFew, "nothing to compare: this host has no other client".to_owned())
            }
            (0 | 1, _) => (Kind::TooFew, "nothing to compare: no other client reached the peer".to_owned()),
            (_, 0) if tried.iter().any(|attempt| attempt.confirmed == Some(false)) => (
                Kind::AllPass,
                "every client completes its side of the handshake, but no client saw the peer's reaction to the certificate: \
                 nssight does not see a later refusal, or a refusal by the application. Password, key, network and the peer's own certificate work"
                    .to_owned(),
            ),
            (_, 0) => (
                Kind::AllPass,
                "every client completes the handshake, and the peer continues after it: password, key, network and the peer's \
                 own certificate work. If another client fails, that client is at fault, or the application refuses that client, which nssight does not see"
                    .to_owned(),
            ),
            (all, count) if all == count && failed.iter().all(|it| it.outcome == Outcome::FailedLocally) => (
                Kind::AllFailLocally,
                "every client fails before it connects, with every library: password, key or certificate is at fault. No client \
                 reached a handshake with this certificate, so the peer is not at fault"
                    .to_owned(),
            ),
            (all, count) if all == count && libraries(true) && libraries(false) => (
                Kind::AllFail,
                "every client fails, with two different TLS libraries: the peer, the network, or the certificate that they \
                 share is at fault. No single application is at fault"
                    .to_owned(),
            ),
            (all, count) if all == count => (
                Kind::AllFail,
                "every client that reached the peer fails, but all use one TLS library: the peer, the network, the certificate \
                 that they share, or that library with its policy is at fault"
                    .to_owned(),
            ),
            (_, count)
                if count > 0
                    && failed.iter().all(|it| failed_beyond_the_bridge(it))
                    && tried.iter().filter(|it| continues_through_bridge(it)).count() == count =>
            {
                (
                    Kind::OnlyTheWholeWayFails,
                    "every handshake with the bridge succeeds, but every client that continues through the bridge fails: the \
                     part behind the bridge, or the request, is at fault; `nssight diagnose` with the administrator's password shows which"
                        .to_owned(),
                )
            }
            (_, 1) => {
                let only = failed[0];
                let hint = match only.client {
                    "tstclnt -w FILE" => ": -w takes the password itself, -W takes a file",
                    _ => "",
                };
                (
                    if only.uses_nss || tried.iter().filter(|it| !it.uses_nss).count() > 1 {
                        Kind::OnlyOneFails
                    } else {
                        Kind::OnlyOthersFail
                    },
                    format!(
                        "only {} fails, and the others succeed with the same certificate: that application, its arguments, \
                         or its own configuration is at fault{hint}",
                        only.client
                    ),
                )
            }
            _ if tried.iter().all(|it| it.uses_nss == (it.outcome != Outcome::Pass)) => (
                Kind::OnlyNssFails,
                "every NSS client fails, but OpenSSL succeeds with the same certificate, key and peer: the NSS database as \
                 NSS reads it, or NSS's own policy, is at fault"
                    .to_owned(),
            ),
            _ => {
                let names: Vec<&str> = failed.iter().map(|attempt| attempt.client).collect();
                (Kind::SomeFail, format!("{} fail and the others do not: compare their errors", names.join(", ")))
            }
        };
        let silent: Vec<&str> = silent.iter().map(|attempt| attempt.client).collect();
        let text = match silent.as_slice() {
            [] => text,
            names => format!("{text}. {} never reached the peer, which proves nothing", names.join(" and ")),
        };
        Self { kind, text }
    }
}

/// If other clients connected to the peer, a client without a connection may have met a transient failure. A client that only got an
/// extract of the database lacks keys on a token, or keys of a kind that the reader does not support. An NSS client that fails before it
/// connects, however, shows how NSS handles the same database.
fn proves_nothing(attempt: &Attempt) -> bool {
    match attempt.outcome {
        Outcome::FailedToConnect => true,
        Outcome::FailedLocally => !attempt.uses_nss,
        Outcome::Pass | Outcome::FailedInHandshake | Outcome::Absent => false,
    }
}

fn continues_through_bridge(attempt: &Attempt) -> bool {
    [double_tls::NAME, sigul_v1::NAME].contains(&attempt.client)
}

/// For the python-nss client it is unknown how far it came after its connection.
fn failed_beyond_the_bridge(attempt: &Attempt) -> bool {
    continues_through_bridge(attempt)
        && if attempt.client == double_tls::NAME { attempt.connected } else { attempt.handshake }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attempt(client: &'static str, uses_nss: bool, outcome: Outcome) -> Attempt {
        let connected = matches!(outcome, Outcome::Pass | Outcome::FailedInHandshake);
        Attempt { outcome, connected, ..Attempt::new(client, uses_nss, "", "") }
    }

    #[test]
    fn the_whole_way_fails_if_every_client_beyond_the_bridge_fails() {
        use Outcome::{Absent, FailedInHandshake, Pass};
        let of = |forking: Outcome, siguldry: Outcome, handshake: bool| {
            let others = [attempt("nssight", true, Pass), attempt("openssl", false, Pass)];
            let siguldry = Attempt { handshake, ..attempt(sigul_v1::NAME, false, siguldry) };
            Pattern::of(&[&others[..], &[attempt(double_tls::NAME, true, forking), siguldry]].concat()).kind
        };
        assert_eq!(of(FailedInHandshake, FailedInHandshake, true), Kind::OnlyTheWholeWayFails);
        assert_eq!(of(FailedInHandshake, Absent, false), Kind::OnlyTheWholeWayFails);
        assert_eq!(of(Absent, FailedInHandshake, true), Kind::OnlyTheWholeWayFails);
        // The other client gets to the server, or the bridge itself was not passed.
        assert_eq!(of(FailedInHandshake, Pass, true), Kind::OnlyOneFails);
        assert_eq!(of(Pass, FailedInHandshake, true), Kind::OnlyOneFails);
        assert_eq!(of(Absent, FailedInHandshake, false), Kind::OnlyOneFails);
    }

    #[test]
    fn a_client_that_never_connected_proves_nothing() {
        use Outcome::{FailedInHandshake, FailedLocally, FailedToConnect, Pass};
        let of = |nss: Outcome, openssl: Outcome, tstclnt: Outcome| {
            let all =
                [attempt("nssight", true, nss), attempt("openssl", false, openssl), attempt("tstclnt", true, tstclnt)];
            Pattern::of(&all)
        };
        let reader = of(Pass, FailedLocally, Pass);
        assert_eq!(reader.kind, Kind::AllPass);
        assert!(reader.text.contains("openssl never reached the peer"), "{}", reader.text);
        let refused = of(FailedInHandshake, FailedLocally, FailedInHandshake);
        assert_eq!(refused.kind, Kind::AllFail);
        assert!(!refused.text.contains("two different TLS libraries"), "{}", refused.text);
        assert_eq!(of(Pass, Pass, FailedToConnect).kind, Kind::AllPass);
        assert_eq!(of(Pass, FailedLocally, FailedToConnect).kind, Kind::TooFew);
        // The question is how NSS handles the database.
        assert_eq!(of(Pass, Pass, FailedLocally).kind, Kind::OnlyOneFails);
        assert_eq!(of(FailedLocally, Pass, FailedLocally).kind, Kind::OnlyNssFails);
        assert_eq!(of(FailedLocally, FailedLocally, FailedLocally).kind, Kind::AllFailLocally);
        let both = of(FailedInHandshake, FailedInHandshake, FailedInHandshake);
        assert!(both.text.contains("two different TLS libraries"), "{}", both.text);
    }
}
