//! The signal that a failed session showed, and a sentence about it.

use nssight_diagnosis::derive::key_share::key_share;
use nssight_diagnosis::derive::silence::silence;
use nssight_diagnosis::fact::fact::TcpFlow;
use nssight_diagnosis::fact::{Facts, fact};
use nssight_diagnosis::signal::{Family, Signal, signal};
use nssight_nss::ErrorCode;
use nssight_session::{Code, Kind, SessionError};
use nssight_wire::{AlertDescription, Direction, Foreign, Protocol, RecordFault, Summary};

use super::{FailedSession, Policy, last_alert, micros};
use crate::client_certificate::{our_ca_is_listed, sent, withheld};
use crate::error_info::signal as signal_of;
use crate::starttls::StartTls;
use crate::x509;

impl FailedSession<'_> {
    /// The signal, and what was observed, in a sentence.
    pub(super) fn shown(&self, wire: &Summary, out: &mut Facts) -> (Signal, String) {
        self.foreign(wire, out)
            .or_else(|| self.damaged())
            .or_else(|| self.key_exchange(wire, out))
            .or_else(|| self.local_step(wire))
            .or_else(|| self.our_refusal())
            .or_else(|| self.alert(wire))
            .or_else(|| self.silence(wire, out))
            .unwrap_or_else(|| self.ending(wire))
    }

    fn foreign(&self, wire: &Summary, out: &mut Facts) -> Option<(Signal, String)> {
        let foreign = wire.foreign.as_ref()?;
        let peer = self.peer;
        out.put(fact::PEER_FIRST_BYTES.text(foreign));
        if is_misframed(foreign) {
            out.put(fact::PeerProtocol::Misframed);
            return Some((signal::GARBLED, format!("{peer} sent data that TLS does not allow: {foreign}")));
        }
        out.put(fact::PeerProtocol::Other);
        if let Some(greeting) = StartTls::of_greeting(&foreign.head).and_then(greeting) {
            out.put(greeting);
        }
        if foreign.protocol == Protocol::TlsClient {
            let summary = format!(
                "{peer} is not a TLS server: it sent a ClientHello, as a client does, or echoed our ClientHello"
            );
            return Some((signal::NOT_TLS, summary));
        }
        Some((signal::NOT_TLS, format!("{peer} does not speak TLS: {foreign}")))
    }

    /// A record of the peer failed verification, whatever it contained.
    fn damaged(&self) -> Option<(Signal, String)> {
        let is_damaged = signal_of(self.error) == signal::RECORD_DAMAGED;
        let summary = || format!("a record from {} cannot be decrypted: {}", self.peer, self.error.name);
        is_damaged.then(|| (signal::RECORD_DAMAGED, summary()))
    }

    /// The peer's half of the key exchange: NSS has the same code for an unusable share and for a problem with our private key.
    fn key_exchange(&self, wire: &Summary, out: &mut Facts) -> Option<(Signal, String)> {
        let state = wire.key_share.as_ref().and_then(|share| key_share(share.group.0, &share.value));
        if let (Some(share), Some(state)) = (&wire.key_share, state) {
            out.put(fact::KEY_SHARE_GROUP.text(format!("{}, {} bytes", share.group, share.value.len())));
            out.put(state);
        }
        let is_bad = state.is_some_and(|state| state != fact::KeyShareState::Sound);
        let is_about_keys = self.is(ErrorCode::SEC_ERROR_INVALID_KEY);
        let ours_was_used = self.facts.asked_for_certificate.is_some();
        let of_nss = signal_of(self.error).row().family;
        let gave_up = !matches!(of_nss, Family::End | Family::Silence | Family::Alert | Family::Chain);
        if is_bad && gave_up || is_about_keys && !ours_was_used {
            let summary = match &wire.key_share {
                Some(share) if is_bad => {
                    let (peer, group, length) = (self.peer, share.group, share.value.len());
                    match state {
                        Some(fact::KeyShareState::WrongLength) => {
                            format!("the key share of {peer} has {length} bytes, which is wrong for {group}")
                        }
                        _ => format!("the key share of {peer} yields no shared secret ({group}, {length} bytes)"),
                    }
                }
                _ => format!("the key share of {} cannot be used: {}", self.peer, self.error.name),
            };
            return Some((signal::KEY_SHARE_UNUSABLE, summary));
        }
        None
    }

    /// The library of the session.
    fn library(&self) -> &'static str {
        match self.error.code {
            Code::OpenSsl(_) | Code::Verify(_) => "OpenSSL",
            _ => "NSS",
        }
    }

    /// A failure before or without the peer.
    fn local_step(&self, wire: &Summary) -> Option<(Signal, String)> {
        if self.error.kind == Kind::NoVersions {
            let summary = "the crypto policy of this host allows none of the requested TLS versions".to_owned();
            return Some((signal::VERSIONS_BLOCKED, summary));
        }
        if self.is(ErrorCode::SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM) && wire.bytes_sent == 0 {
            let summary = "the crypto policy of this host leaves no signature algorithm to offer".to_owned();
            return Some((signal::NO_SIGNATURE_ALGORITHM, summary));
        }
        if let (Code::OpenSsl(_), 0, signal::NO_CIPHERS | signal::NO_COMMON_CIPHER) =
            (self.error.code, wire.bytes_sent, signal_of(self.error))
        {
            let summary = format!("OpenSSL has nothing to offer: {}", self.error.name);
            return Some((signal::NO_CIPHERS, summary));
        }
        let signs = self.is(ErrorCode::SEC_ERROR_INVALID_KEY) && self.facts.asked_for_certificate.is_some();
        signs.then(|| (signal::KEY_CANNOT_SIGN, "our private key could not sign in the handshake".to_owned()))
    }

    /// We refused the peer's certificate.
    fn our_refusal(&self) -> Option<(Signal, String)> {
        let peer = self.peer;
        if self.is(ErrorCode::SSL_ERROR_WEAK_SERVER_CERT_KEY) {
            let summary = match self.policy.as_ref().and_then(|policy| policy.rsa_min) {
                Some(least) => {
                    format!("{peer}'s key is smaller than the {least} bits that this host's crypto policy requires")
                }
                None => format!("{peer}'s key is too small for {}", self.library()),
            };
            return Some((signal::CHAIN_WEAK_KEY, summary));
        }
        let Some(Err(error)) = &self.facts.decision else { return None };
        let (shown, error) = self.reason(error);
        let subject = self.facts.objections.iter().find(|objection| objection.error.code == error.code);
        let whose = match subject {
            Some(objection) if objection.depth > 0 => format!("the CA {}", objection.subject),
            _ => format!("{peer}'s certificate"),
        };
        // OpenSSL has one number for every expired certificate, and reports the certificate separately.
        let is_above = subject.is_some_and(|objection| objection.depth > 0);
        let is_openssl = matches!(error.code, Code::Verify(_));
        let shown = match shown {
            signal::CHAIN_EXPIRED if is_above && is_openssl => signal::CHAIN_ISSUER_EXPIRED,
            shown => shown,
        };
        let summary = match shown {
            signal::CHAIN_EXPIRED => format!("{whose} is outside its validity period"),
            signal::CHAIN_ISSUER_EXPIRED if self.store.says.is_none() => {
                format!("a CA above {peer}'s certificate is outside its validity period")
            }
            signal::CHAIN_NAME_MISMATCH => self.wrong_name(),
            signal::CHAIN_WRONG_USAGE => format!("{whose} does not allow use as a TLS server ({})", error.name),
            signal::CHAIN_WEAK_SIGNATURE if self.store.says.is_none() => {
                if self.policy.as_ref().is_some_and(Policy::is_stricter) {
                    format!("{whose} is signed in a way that this host's crypto policy forbids")
                } else {
                    format!("{whose} is signed with an algorithm that {} refuses", self.library())
                }
            }
            signal::CHAIN_REVOKED => format!("a revocation list on this host revokes {whose} ({})", error.name),
            signal::CHAIN_NAME_CONSTRAINTS if is_nameless(error) => {
                format!("a CA above {peer}'s certificate does not permit its name ({})", error.name)
            }
            signal::CHAIN_NAME_CONSTRAINTS | signal::CHAIN_UNKNOWN_CRITICAL | signal::CHAIN_PATH_TOO_LONG => {
                format!("the chain of {peer}'s certificate is not valid: {} for {whose}", error.name)
            }
            _ => match &self.store.says {
                Some(says) => {
                    format!("{} does not trust {peer}'s certificate ({}): {says}", self.library(), error.name)
                }
                None if self.same_ca() => {
                    format!(
                        "{} does not trust {peer}'s certificate: {}; it comes from the same CA as our certificate",
                        self.library(),
                        error.name
                    )
                }
                None => format!("{} does not trust {peer}'s certificate: {}", self.library(), error.name),
            },
        };
        Some((shown, summary))
    }

    /// NSS's objection to the chain. From 3.110 on NSS reports an unknown issuer whenever a chain is invalid (measured with a path that is
    /// too long and with a name that is not permitted). If the issuer is present and trusted, its list of objections has the reason, or our
    /// own examination of the chain does.
    fn reason<'a>(&'a self, error: &'a SessionError) -> (Signal, &'a SessionError) {
        let chain = |error: &SessionError| Some(signal_of(error)).filter(|it| it.row().family == Family::Chain);
        if is_nameless(error) && self.store.facts.has(fact::TrustStoreIssuer::Trusted) {
            let holds_not = |shown: &Signal| {
                [signal::CHAIN_PATH_TOO_LONG, signal::CHAIN_NAME_CONSTRAINTS, signal::CHAIN_UNKNOWN_CRITICAL]
                    .contains(shown)
            };
            let named = self.facts.objections.iter().map(|objection| &objection.error);
            let mut named = named.filter_map(|error| Some((chain(error).filter(holds_not)?, error)));
            if let Some(found) = named.next() {
                return found;
            }
            if self.store.is_outside {
                return (signal::CHAIN_NAME_CONSTRAINTS, error);
            }
        }
        (chain(error).unwrap_or(signal::CHAIN_REFUSED), error)
    }

    fn wrong_name(&self) -> String {
        let Some(host) = self.host else {
            return "the program set no name to compare with the peer's certificate".to_owned();
        };
        let names = self.facts.peer_chain.first().map(|leaf| x509::names(leaf)).unwrap_or_default();
        // RFC 6125, 1.7.2: an address is compared only with entries of type iPAddress.
        if host.parse::<std::net::IpAddr>().is_ok() && names.iter().any(|name| name == host) {
            return format!(
                "{}'s certificate has {host} as a host name; an address needs an entry of the type iPAddress",
                self.peer
            );
        }
        match names.join(", ").as_str() {
            "" => format!("{}'s certificate is not valid for {host}", self.peer),
            names => format!("{}'s certificate is valid for {names}, not for {host}", self.peer),
        }
    }

    /// The certificates in the database, if none was configured.
    fn could_be_named(&self) -> String {
        let Some(names) = &self.not_named else { return String::new() };
        let quoted: Vec<String> = names.iter().take(5).map(|name| format!("\"{name}\"")).collect();
        match quoted.as_slice() {
            [] => "; no nickname was given, and no certificate in the database has a private key".to_owned(),
            names => format!("; no nickname was given, and the database has {}", names.join(", ")),
        }
    }

    /// The peer sent a reason as a TLS alert. A warning alert ends nothing.
    fn alert(&self, wire: &Summary) -> Option<(Signal, String)> {
        let number = last_alert(self.facts)?.description;
        let (peer, name) = (self.peer, AlertDescription(number).name().unwrap_or("unregistered"));
        let said = format!("{peer} answered with the alert {name} ({number})");
        let was_asked = self.facts.asked_for_certificate.is_some();
        let sent = sent(self.facts, wire);
        let summary = match number {
            0 => format!("{peer} ended the handshake with close_notify"),
            40 | 71 if wire.hello_retry.is_some() && wire.server_hello.is_none() => {
                format!("{said} to the second ClientHello, which it had requested")
            }
            40 | 71 if wire.server_hello.is_none() => {
                format!("{said} to our ClientHello: it accepts none of the offered parameters")
            }
            70 | 86 => format!("{said}: it does not support the versions offered"),
            20 | 21 if wire.server_hello.is_some() => format!("{said}: it could not decrypt what we sent"),
            40..=46 | 48 | 49 | 51 | 116 if was_asked => match sent {
                fact::OurCertificateSent::Yes => format!("{said} to our certificate"),
                fact::OurCertificateSent::Empty => format!("{said}; {}", withheld(peer)),
                fact::OurCertificateSent::No => {
                    format!("{said}: it requires a certificate but received none{}", self.could_be_named())
                }
            },
            40..=46 | 48 | 49 | 51 | 116 if wire.server_hello.is_none() && wire.hello_retry.is_none() => {
                format!("{said} to our ClientHello, before any certificate")
            }
            _ => said,
        };
        Some((Signal::of_alert(number), summary))
    }

    fn silence(&self, wire: &Summary, out: &mut Facts) -> Option<(Signal, String)> {
        if self.error.kind != Kind::TimedOut {
            return None;
        }
        let message = wire.incomplete_message.filter(|message| message.direction == Direction::Received);
        let arrivals = if wire.bytes_received == 0 { Default::default() } else { self.log.arrivals };
        let kind = silence(arrivals, self.took, message.map(|message| message.announced));
        out.put(kind);
        out.put(fact::SESSION_DEADLINE.number(micros(self.took)));
        let (peer, seconds) = (self.peer, self.took.as_secs_f64());
        let summary = match (kind, message) {
            (fact::SilenceKind::EndlessMessage, Some(message)) => {
                format!("{peer} announced a {} of {} bytes", message.kind, message.announced)
            }
            (fact::SilenceKind::FromTheStart, _) => {
                format!("{peer} accepted the connection but did not answer our ClientHello within {seconds:.1} s")
            }
            (fact::SilenceKind::Trickle, _) => {
                format!("{peer} sent {} bytes in {seconds:.1} s without finishing the handshake", wire.bytes_received)
            }
            _ => format!("{peer} stopped sending in the middle of the handshake, after {}", last_received(wire)),
        };
        let vanish = "but smaller ones are: the path MTU seems to be smaller than both ends assume";
        let summary = match (out.has(TcpFlow::OurLargeLost), out.has(TcpFlow::PeersFirstLost)) {
            (true, _) => format!("{summary}; our large packets are not acknowledged, {vanish}"),
            (_, true) => format!("{summary}; the first packet of its answer is missing, {vanish}"),
            _ => summary,
        };
        Some((signal::SILENCE, summary))
    }

    /// The connection ended without an alert.
    fn ending(&self, wire: &Summary) -> (Signal, String) {
        let (peer, gone) = (self.peer, self.gone);
        if self.is(ErrorCode::SSL_ERROR_UNSUPPORTED_VERSION) {
            return (signal::NO_COMMON_VERSION, format!("{peer} answered with a TLS version that we do not offer"));
        }
        let (shown, how) = match self.end() {
            Some(fact::SessionEnd::Reset) => (signal::RESET, "reset the connection"),
            Some(_) => (signal::ENDED, "closed the connection"),
            None => {
                let summary = match &self.store.says {
                    Some(says) => {
                        format!("{} refuses {peer}'s certificate ({}): {says}", self.library(), self.error.name)
                    }
                    None if wire.bytes_sent == 0 => {
                        format!("{} did not begin the handshake: {}", self.library(), self.error.name)
                    }
                    None => format!("{} refuses what {peer} sent: {}", self.library(), self.error.name),
                };
                return (signal_of(self.error), summary);
            }
        };
        let got_it = sent(self.facts, wire) == fact::OurCertificateSent::Yes;
        let summary = match (self.facts.asked_for_certificate.is_some(), got_it) {
            (true, false) => {
                format!("{peer} requested a certificate, received none, and {how}{}", self.could_be_named())
            }
            (true, true) if our_ca_is_listed(self.facts, self.our_cas) == Some(false) => {
                format!(
                    "{gone} {how} right after our certificate, without an alert; its list of acceptable CAs contains none of our CAs"
                )
            }
            (true, true) => format!("{gone} {how} right after our certificate, without an alert"),
            (false, _) if wire.bytes_received == 0 => format!("{gone} {how} after our ClientHello, without an answer"),
            (false, _) => format!("{gone} {how} in the middle of the handshake, after {}", last_received(wire)),
        };
        (shown, summary)
    }
}

/// The greeting of a protocol that starts TLS on request; some of these protocols have no greeting, because their servers wait for the
/// client.
fn greeting(protocol: StartTls) -> Option<fact::PeerGreeting> {
    Some(match protocol {
        StartTls::Smtp => fact::PeerGreeting::Smtp,
        StartTls::Lmtp => fact::PeerGreeting::Lmtp,
        StartTls::Imap => fact::PeerGreeting::Imap,
        StartTls::Pop3 => fact::PeerGreeting::Pop3,
        StartTls::Ftp => fact::PeerGreeting::Ftp,
        StartTls::Nntp => fact::PeerGreeting::Nntp,
        StartTls::Sieve => fact::PeerGreeting::Sieve,
        StartTls::Mysql => fact::PeerGreeting::Mysql,
        StartTls::Ldap | StartTls::Postgres | StartTls::Xmpp => return None,
    })
}

/// A peer that began with TLS, or with something similar to a record, is not another service.
fn is_misframed(foreign: &Foreign) -> bool {
    foreign.after_records > 0 || matches!(foreign.fault, RecordFault::Length(_))
}

/// Whether an error only means that no issuer was found.
fn is_nameless(error: &SessionError) -> bool {
    error.code == Code::Nss(ErrorCode::SEC_ERROR_UNKNOWN_ISSUER.0)
}

fn last_received(wire: &Summary) -> String {
    wire.last_received.as_ref().map_or_else(|| "nothing".to_owned(), ToString::to_string)
}
