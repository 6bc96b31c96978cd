//! The judge over its own data: parity, totality, and golden tables.

use std::collections::BTreeSet;

use nssight_diagnosis::cause::{Effect, Grade};
use nssight_diagnosis::explain;
use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::judge::{self, Case, judge};
use nssight_diagnosis::signal::{CODES, Family, Shown, Signal, TEXTS, signal};
use nssight_diagnosis::{Cause, Component, Confidence, Layer};

fn case<'a>(shown: &'a Shown, facts: &'a [Fact]) -> Case<'a> {
    Case { shown: vec![shown], facts: facts.iter().collect() }
}

/// First cause, component and confidence of a signal at a layer among facts.
fn first(shown: Signal, layer: Layer, facts: &[Fact]) -> (Option<Cause>, Option<Component>, Confidence) {
    let shown = Shown::new(shown).at(layer);
    let judgement = judge(&case(&shown, facts));
    let first = judgement.first();
    (first.map(|first| first.cause), first.map(|first| first.component), judgement.confidence)
}

#[test]
fn what_a_place_shows_is_among_what_the_signal_shows_anywhere() {
    for shown in Signal::all() {
        let anywhere: BTreeSet<Cause> = explain::of_signal(shown).into_iter().map(|it| it.cause).collect();
        for layer in Layer::ALL {
            let here = Shown::new(shown).at(*layer);
            for candidate in judge(&case(&here, &[])).candidates {
                assert!(anywhere.contains(&candidate.cause), "{} at {layer}: {}", shown.id(), candidate.cause);
            }
        }
    }
}

#[test]
fn nothing_is_certain_without_a_fact() {
    for shown in Signal::all() {
        let nowhere = Shown::new(shown);
        let places = Layer::ALL.iter().map(|layer| Shown::new(shown).at(*layer)).chain([nowhere]);
        for shown in places {
            let judgement = judge(&case(&shown, &[]));
            // What an observer of our own saw, and what a peer says of itself, is a fact.
            let proven = judgement.first().is_some_and(|first| first.grade == Grade::Proof);
            assert!(proven || judgement.confidence != Confidence::Certain, "{shown:?}");
        }
    }
}

#[test]
fn every_alert_and_every_error_of_a_handshake_has_a_candidate() {
    for shown in Signal::all().filter(|shown| matches!(shown.row().family, Family::Alert | Family::Chain | Family::End))
    {
        assert!(!judge::of_signal(shown).is_empty(), "{}", shown.id());
    }
}

#[test]
fn every_cause_has_something_that_shows_it() {
    for cause in Cause::ALL {
        let rules = &cause.entry().rules;
        assert!(!rules.shows.is_empty(), "{cause}");
        if rules.effect != Effect::Warns {
            continue;
        }
        assert!(!rules.transient, "{cause}");
    }
}

#[test]
fn every_spelling_leads_to_its_signal() {
    for code in CODES.iter().filter(|code| code.number != 0) {
        let found = explain::explain(code.name);
        assert!(found.iter().any(|it| it.signal == Some(code.signal)), "{}: {found:?}", code.name);
    }
    for (text, shown) in TEXTS {
        assert_eq!(Signal::in_line(text), Some(*shown), "{text}");
    }
}

/// The three rows that had three answers.
#[test]
fn one_alert_after_our_certificate_has_one_answer() {
    let facts: Vec<Fact> = vec![
        fact::SessionPosition::AfterOurCertificate.into(),
        fact::CertificateRequest::Seen.into(),
        fact::OurCertificateSent::Yes.into(),
        fact::OurCertificateState::Good.into(),
        fact::OwnChainState::Good.into(),
        fact::ClockState::Plausible.into(),
    ];
    for (alert, cause) in [
        (signal::ALERT_DECRYPT_ERROR, Cause::ClientCertRejected),
        (signal::ALERT_UNSUPPORTED_CERTIFICATE, Cause::ClientCertRejected),
        (signal::ALERT_CERTIFICATE_EXPIRED, Cause::ClientCertExpiredAtPeer),
    ] {
        let (given, _, confidence) = first(alert, Layer::OuterHandshake, &facts);
        assert_eq!((given, confidence), (Some(cause), Confidence::Likely), "{}", alert.id());
        let explained: Vec<Cause> = explain::of_signal(alert).into_iter().map(|it| it.cause).collect();
        assert!(explained.contains(&cause), "{}: {explained:?}", alert.id());
    }
}

#[test]
fn golden_outer_handshake() {
    use Confidence::{Certain, Likely};
    let before: &[Fact] = &[fact::SessionPosition::AfterOurHello.into(), fact::CertificateRequest::None.into()];
    let refused = |more: &[Fact]| [&[fact::PeerChainDecision::Refused.into()][..], more].concat();
    let good =
        [fact::OwnChainState::Good.into(), fact::ClockState::Plausible.into(), fact::OurCertificateState::Good.into()];
    let plain =
        refused(&[&good[..], &[fact::PolicyHashes::AsItComes.into(), fact::PolicyRsaMin::AsItComes.into()]].concat());
    let rows: &[(Signal, &[Fact], Cause, Confidence)] = &[
        (
            signal::NOT_TLS,
            &[fact::PeerProtocol::Other.into(), fact::ConfigState::Usable.into(), fact::NameSource::Dns.into()],
            Cause::NotTls,
            Certain,
        ),
        (signal::GARBLED, &[fact::PeerProtocol::Misframed.into()], Cause::HandshakeGarbled, Certain),
        (signal::VERSIONS_BLOCKED, &[], Cause::TlsPolicyBlocked, Certain),
        (signal::CHAIN_UNKNOWN_ISSUER, &plain, Cause::PeerCertUntrusted, Likely),
        (signal::CHAIN_EXPIRED, &plain, Cause::PeerCertExpired, Likely),
        (signal::CHAIN_WRONG_USAGE, &plain, Cause::PeerCertUsage, Certain),
        (signal::CHAIN_WEAK_KEY, &plain, Cause::PeerCertWeak, Certain),
        (signal::CHAIN_WEAK_KEY, &refused(&[fact::PolicyRsaMin::Stricter.into()]), Cause::TlsPolicyBlocked, Certain),
        (signal::ALERT_INTERNAL_ERROR, before, Cause::PeerAlert, Certain),
        (
            signal::ENDED,
            &[before, &[fact::SessionEnd::Fin.into(), fact::ConfigState::Usable.into()]].concat(),
            Cause::PeerClosedInHandshake,
            Likely,
        ),
        (
            signal::RESET,
            &[before, &[fact::SessionEnd::Reset.into(), fact::ConfigState::Usable.into()]].concat(),
            Cause::PeerReset,
            Likely,
        ),
    ];
    for (shown, facts, cause, confidence) in rows {
        let (given, _, sure) = first(*shown, Layer::OuterHandshake, facts);
        assert_eq!((given, sure), (Some(*cause), *confidence), "{} {facts:?}", shown.id());
    }
}

/// Signal, facts, and what comes of them.
type Row = (Signal, Vec<Fact>, Cause, Option<Component>, Confidence);

/// What NSS refused, by what our own database has of it.
#[test]
fn golden_trust() {
    use Confidence::{Certain, Likely, Possible};
    use fact::{PeerChainDecision, PeerChainState as State, TrustStoreAnchors as Anchors, TrustStoreIssuer as Issuer};
    // As a walk knows them whose own chain is in order, under another CA.
    let walk = || -> Vec<Fact> {
        vec![
            fact::DbState::Works.into(),
            fact::OwnChainState::Good.into(),
            fact::PeerChainIssuerIsOurs::No.into(),
            fact::PolicyHashes::AsItComes.into(),
            fact::PolicyRsaMin::AsItComes.into(),
            fact::NameSource::Dns.into(),
            fact::PeerChainDates::Valid.into(),
            PeerChainDecision::Refused.into(),
        ]
    };
    let with = |more: &[Fact]| [&walk()[..], more].concat();
    let looked = |issuer: Issuer, state: State| with(&[Anchors::Some.into(), issuer.into(), state.into()]);
    let none = with(&[
        fact::OwnChainState::SelfSigned.into(),
        Anchors::None.into(),
        Issuer::Absent.into(),
        State::RootSent.into(),
    ]);
    let rows: &[Row] = &[
        (signal::CHAIN_REFUSED, walk(), Cause::PeerCertUntrusted, None, Possible),
        (
            signal::CHAIN_UNTRUSTED_ISSUER,
            looked(Issuer::WithoutTrust, State::Whole),
            Cause::CaUntrusted,
            Some(Component::ClientDb),
            Certain,
        ),
        (
            signal::CHAIN_UNKNOWN_ISSUER,
            looked(Issuer::ForClientsOnly, State::Whole),
            Cause::CaUntrusted,
            Some(Component::ClientDb),
            Certain,
        ),
        (
            signal::CHAIN_UNTRUSTED_ISSUER,
            looked(Issuer::Distrusted, State::Whole),
            Cause::PeerCertDistrusted,
            Some(Component::ClientDb),
            Certain,
        ),
        (
            signal::CHAIN_ISSUER_EXPIRED,
            looked(Issuer::ExpiredCopy, State::Whole),
            Cause::CaExpired,
            Some(Component::ClientDb),
            Certain,
        ),
        (
            signal::CHAIN_UNTRUSTED_ISSUER,
            looked(Issuer::NewerTrust, State::Whole),
            Cause::TrustTooNew,
            Some(Component::ClientDb),
            Certain,
        ),
        (signal::CHAIN_UNTRUSTED_ISSUER, none, Cause::CaMissing, Some(Component::ClientDb), Certain),
        (
            signal::CHAIN_UNTRUSTED_ISSUER,
            looked(Issuer::Absent, State::RootSent),
            Cause::PeerCertUntrusted,
            None,
            Likely,
        ),
        (signal::CHAIN_CA_INVALID, looked(Issuer::Absent, State::SelfSigned), Cause::PeerCertUntrusted, None, Likely),
        (
            signal::CHAIN_UNKNOWN_ISSUER,
            looked(Issuer::Absent, State::IntermediateUnsent),
            Cause::PeerChainIncomplete,
            Some(Component::Peer),
            Certain,
        ),
        (
            signal::CHAIN_UNKNOWN_ISSUER,
            looked(Issuer::Absent, State::PerhapsIntermediateUnsent),
            Cause::PeerChainIncomplete,
            None,
            Likely,
        ),
        (
            signal::CHAIN_UNKNOWN_ISSUER,
            looked(Issuer::Trusted, State::IssuerNoCa),
            Cause::PeerCertInvalid,
            Some(Component::Peer),
            Certain,
        ),
        (
            signal::CHAIN_BAD_SIGNATURE,
            looked(Issuer::Absent, State::Broken),
            Cause::PeerCertInvalid,
            Some(Component::Peer),
            Certain,
        ),
        (
            signal::CHAIN_BAD_SIGNATURE,
            looked(Issuer::OtherKey, State::PerhapsBroken),
            Cause::PeerCertInvalid,
            None,
            Likely,
        ),
        (
            signal::CHAIN_NAME_CONSTRAINTS,
            looked(Issuer::Trusted, State::Whole),
            Cause::PeerCertInvalid,
            Some(Component::Peer),
            Certain,
        ),
        (
            signal::CHAIN_REVOKED,
            looked(Issuer::Trusted, State::Whole),
            Cause::PeerCertRevoked,
            Some(Component::Peer),
            Certain,
        ),
        (
            signal::CHAIN_WEAK_SIGNATURE,
            looked(Issuer::OtherKey, State::IssuerUnsent),
            Cause::PeerCertUntrusted,
            None,
            Likely,
        ),
        (
            signal::CHAIN_WEAK_SIGNATURE,
            looked(Issuer::Trusted, State::Whole),
            Cause::PeerCertWeak,
            Some(Component::Peer),
            Certain,
        ),
    ];
    for (shown, facts, cause, component, confidence) in rows {
        let (given, whose, sure) = first(*shown, Layer::OuterHandshake, facts);
        assert_eq!((given, sure), (Some(*cause), *confidence), "{} {facts:?}", shown.id());
        assert!(component.is_none() || whose == *component, "{} {facts:?}: {whose:?}", shown.id());
    }
}
