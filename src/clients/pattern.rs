//! What it proves that some clients get through and others do not.

use schemars::JsonSchema;
use serde::Serialize;

use super::attempt::{Attempt, Outcome};
use super::{double_tls, sigul_v1};

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
    /// Just those that go through the bridge to the server.
    OnlyTheWholeWayFails,
    /// Some, without a pattern.
    SomeFail,
    /// Too few clients are on this host.
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
                (Kind::TooFew, "there is nothing to compare: no other client is on this host".to_owned())
            }
            (0 | 1, _) => (Kind::TooFew, "there is nothing to compare: no other client came to the peer".to_owned()),
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
                "every client fails before it connects, whatever library it reads the certificate and the key with: password, key \
                 or certificate. Nobody came to a handshake with this certificate, so the peer is not to blame"
                    .to_owned(),
            ),
            (all, count) if all == count && libraries(true) && libraries(false) => (
                Kind::AllFail,
                "every client fails, with two different TLS libraries: it is the peer, the network, or what they all share, \
                 the certificate. No single application is to blame"
                    .to_owned(),
            ),
            (all, count) if all == count => (
                Kind::AllFail,
                "every client fails that came to the peer, all of them with one TLS library: it is the peer, the network, what \
                 they all share, the certificate, or that library and its policy"
                    .to_owned(),
            ),
            (_, count)
                if count > 0
                    && failed.iter().all(|it| failed_beyond_the_bridge(it))
                    && tried.iter().filter(|it| goes_the_whole_way(it)).count() == count =>
            {
                (
                    Kind::OnlyTheWholeWayFails,
                    "every handshake with the bridge succeeds, and whoever goes on through it fails: it is what lies behind the \
                     bridge, or the request; `nssight diagnose` with the administrator's password says which"
                        .to_owned(),
                )
            }
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
        let silent: Vec<&str> = silent.iter().map(|attempt| attempt.client).collect();
        let text = match silent.as_slice() {
            [] => text,
            names => format!("{text}. {} never came to the peer, which proves nothing", names.join(" and ")),
        };
        Self { kind, text }
    }
}

/// Where others came to the peer: one that found no connection met something that may have passed, and one that NSS's files were only
/// read for was not given what NSS uses, such as a key on a token or of a kind that the reader does not know. A client of NSS that
/// fails before it connects shows what NSS makes of the same database.
fn proves_nothing(attempt: &Attempt) -> bool {
    match attempt.outcome {
        Outcome::FailedToConnect => true,
        Outcome::FailedLocally => !attempt.uses_nss,
        Outcome::Pass | Outcome::FailedInHandshake | Outcome::Absent => false,
    }
}

fn goes_the_whole_way(attempt: &Attempt) -> bool {
    [double_tls::NAME, sigul_v1::NAME].contains(&attempt.client)
}

/// Of the client in python-nss nobody knows how far behind its connection it came.
fn failed_beyond_the_bridge(attempt: &Attempt) -> bool {
    goes_the_whole_way(attempt)
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
    fn the_whole_way_fails_where_all_fail_that_go_it_and_have_passed_the_bridge() {
        use Outcome::{Absent, FailedInHandshake, Pass};
        let of = |forking: Outcome, siguldry: Outcome, handshake: bool| {
            let others = [attempt("nssight", true, Pass), attempt("openssl", false, Pass)];
            let siguldry = Attempt { handshake, ..attempt(sigul_v1::NAME, false, siguldry) };
            Pattern::of(&[&others[..], &[attempt(double_tls::NAME, true, forking), siguldry]].concat()).kind
        };
        assert_eq!(of(FailedInHandshake, FailedInHandshake, true), Kind::OnlyTheWholeWayFails);
        assert_eq!(of(FailedInHandshake, Absent, false), Kind::OnlyTheWholeWayFails);
        assert_eq!(of(Absent, FailedInHandshake, true), Kind::OnlyTheWholeWayFails);
        // The other one gets there, or the bridge itself was not passed.
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
        assert!(reader.text.contains("openssl never came to the peer"), "{}", reader.text);
        let refused = of(FailedInHandshake, FailedLocally, FailedInHandshake);
        assert_eq!(refused.kind, Kind::AllFail);
        assert!(!refused.text.contains("two different TLS libraries"), "{}", refused.text);
        assert_eq!(of(Pass, Pass, FailedToConnect).kind, Kind::AllPass);
        assert_eq!(of(Pass, FailedLocally, FailedToConnect).kind, Kind::TooFew);
        // What NSS makes of the database is what is asked.
        assert_eq!(of(Pass, Pass, FailedLocally).kind, Kind::OnlyOneFails);
        assert_eq!(of(FailedLocally, Pass, FailedLocally).kind, Kind::OnlyNssFails);
        assert_eq!(of(FailedLocally, FailedLocally, FailedLocally).kind, Kind::AllFailLocally);
        let both = of(FailedInHandshake, FailedInHandshake, FailedInHandshake);
        assert!(both.text.contains("two different TLS libraries"), "{}", both.text);
    }
}
