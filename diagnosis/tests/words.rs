//! Alerts that prove less than they seem to: other possible causes of an alert at its layer.

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::judge::{Case, judge};
use nssight_diagnosis::signal::{Shown, Signal, signal};
use nssight_diagnosis::{Cause, Component, Confidence, Layer};

/// The first cause with its confidence, and all other causes that are left.
fn judged(shown: Signal, facts: &[Fact]) -> (Option<Cause>, Confidence, Vec<Cause>) {
    let shown = Shown::new(shown).at(Layer::OuterHandshake);
    let judgement = judge(&Case { shown: vec![&shown], facts: facts.iter().collect() });
    let mut causes = judgement.candidates.iter().map(|candidate| candidate.cause);
    (causes.next(), judgement.confidence, causes.collect())
}

const ODD: [Signal; 5] = [
    signal::ALERT_DECODE_ERROR,
    signal::ALERT_INTERNAL_ERROR,
    signal::ALERT_ILLEGAL_PARAMETER,
    signal::ALERT_UNEXPECTED_MESSAGE,
    signal::ALERT_OTHER,
];

#[test]
fn any_alert_to_an_empty_certificate_may_be_about_that() {
    let facts: [Fact; 4] = [
        fact::SessionPosition::AfterOurCertificate.into(),
        fact::CertificateRequest::Seen.into(),
        fact::OurCertificateSent::No.into(),
        fact::OurCertificateState::NotWanted.into(),
    ];
    for alert in ODD {
        let (first, sure, others) = judged(alert, &facts);
        assert_eq!((first, sure), (Some(Cause::ClientCertMissing), Confidence::Likely), "{}", alert.id());
        assert!(others.contains(&Cause::PeerAlert), "{}: {others:?}", alert.id());
    }
}

#[test]
fn any_alert_after_our_certificate_may_be_about_that() {
    let facts: [Fact; 4] = [
        fact::SessionPosition::AfterOurCertificate.into(),
        fact::CertificateRequest::Seen.into(),
        fact::OurCertificateSent::Yes.into(),
        fact::OurCertificateState::Good.into(),
    ];
    for alert in ODD {
        let (first, sure, others) = judged(alert, &facts);
        assert_eq!((first, sure), (Some(Cause::PeerAlert), Confidence::Likely), "{}", alert.id());
        assert!(others.contains(&Cause::ClientCertRejected), "{}: {others:?}", alert.id());
    }
    // If the peer requested no certificate, the problem is the peer's own.
    let (first, sure, _) = judged(
        signal::ALERT_INTERNAL_ERROR,
        &[fact::SessionPosition::AfterServerHello.into(), fact::CertificateRequest::None.into()],
    );
    assert_eq!((first, sure), (Some(Cause::PeerAlert), Confidence::Certain));
}

#[test]
fn an_offer_of_one_version_may_lack_the_version() {
    let at_hello = |span: fact::OfferSpan, more: &[Fact]| {
        let facts: [Fact; 4] = [
            fact::SessionPosition::AfterOurHello.into(),
            fact::CertificateRequest::None.into(),
            fact::OfferByPolicy::AsItComes.into(),
            span.into(),
        ];
        judged(signal::ALERT_HANDSHAKE_FAILURE, &[&facts[..], more].concat())
    };
    // Every peer that supports TLS 1.3 supports its suites.
    let (first, sure, others) = at_hello(fact::OfferSpan::Tls13Alone, &[]);
    assert_eq!((first, sure), (Some(Cause::TlsVersionMismatch), Confidence::Likely));
    assert!(others.contains(&Cause::TlsNoCommonCipher));
    let (first, sure, others) = at_hello(fact::OfferSpan::OlderAlone, &[]);
    assert_eq!((first, sure), (Some(Cause::TlsNoCommonCipher), Confidence::Possible));
    assert!(others.contains(&Cause::TlsVersionMismatch));
    // NSS has another alert for versions.
    let (first, sure, others) = at_hello(fact::OfferSpan::OlderAlone, &[fact::PeerLibrary::Nss.into()]);
    assert_eq!((first, sure), (Some(Cause::TlsNoCommonCipher), Confidence::Likely));
    assert!(!others.contains(&Cause::TlsVersionMismatch));
    // Algorithms that our own policy removed rank before both.
    let (first, sure, _) = at_hello(fact::OfferSpan::OlderAlone, &[fact::OfferByPolicy::Cut.into()]);
    assert_eq!((first, sure), (Some(Cause::TlsPolicyBlocked), Confidence::Likely));
    let (first, sure, _) = at_hello(fact::OfferSpan::Several, &[]);
    assert_eq!((first, sure), (Some(Cause::TlsNoCommonCipher), Confidence::Likely));
}

/// A name that a server does not serve may be the client's mistake, or the server's.
#[test]
fn a_name_that_is_not_recognised_has_two_ends() {
    let facts: [Fact; 3] = [
        fact::SessionPosition::AfterOurHello.into(),
        fact::CertificateRequest::None.into(),
        fact::ConfigState::Usable.into(),
    ];
    let (first, sure, others) = judged(signal::ALERT_UNRECOGNIZED_NAME, &facts);
    assert_eq!((first, sure), (Some(Cause::PeerNameMisconfigured), Confidence::Possible));
    assert!(others.contains(&Cause::PeerAlert), "{others:?}");
}

/// The expired certificate is a copy in our own database, whatever its trust flags; the one that the peer sent is in date.
#[test]
fn an_expired_copy_of_ours_is_not_the_peers() {
    let facts = |whose: fact::PeerChainExpired| -> [Fact; 5] {
        [
            fact::PeerChainDecision::Refused.into(),
            fact::PeerChainDates::Past.into(),
            fact::OwnChainState::Good.into(),
            fact::TrustStoreIssuer::WithoutTrust.into(),
            whose.into(),
        ]
    };
    let (first, sure, others) = judged(signal::CHAIN_ISSUER_EXPIRED, &facts(fact::PeerChainExpired::OurRoot));
    assert_eq!((first, sure, others), (Some(Cause::CaExpired), Confidence::Certain, vec![]));
    // The peer should have sent the certificate, too.
    let (first, sure, others) = judged(signal::CHAIN_ISSUER_EXPIRED, &facts(fact::PeerChainExpired::OurIntermediate));
    assert_eq!((first, sure), (Some(Cause::PeerChainIncomplete), Confidence::Possible));
    assert_eq!(others, [Cause::CaExpired]);
    let (first, sure, _) = judged(signal::CHAIN_ISSUER_EXPIRED, &facts(fact::PeerChainExpired::Sent));
    assert_eq!((first, sure), (Some(Cause::PeerCertExpired), Confidence::Likely));
}

/// The first component and confidence at the layer of our certificate, if the configuration has no ignored key.
fn whose(facts: &[Fact]) -> (Option<Component>, Confidence) {
    let facts = [facts, &[fact::ConfigIgnored::None.into()]].concat();
    let shown = Shown::new(signal::CERTIFICATE_UNUSABLE).at(Layer::Certificate);
    let judgement = judge(&Case { shown: vec![&shown], facts: facts.iter().collect() });
    (judgement.first().map(|first| first.component), judgement.confidence)
}

#[test]
fn a_nickname_of_a_ca_is_the_mistake_of_the_settings() {
    let of = |kind: fact::OurCertificateKind| {
        whose(&[fact::OurCertificateState::WrongUsage.into(), fact::OwnChainState::Good.into(), kind.into()])
    };
    assert_eq!(of(fact::OurCertificateKind::Authority), (Some(Component::ClientConfig), Confidence::Certain));
    assert_eq!(of(fact::OurCertificateKind::EndEntity), (Some(Component::ClientDb), Confidence::Certain));
}

#[test]
fn a_rejection_only_by_this_policy_may_be_the_policys_fault() {
    let under = |hashes: fact::PolicyHashes| {
        let facts: [Fact; 5] = [
            fact::OurCertificateState::Weak.into(),
            fact::OwnChainState::Good.into(),
            hashes.into(),
            fact::PolicyRsaMin::AsItComes.into(),
            fact::OfferByPolicy::AsItComes.into(),
        ];
        whose(&facts).1
    };
    assert_eq!(under(fact::PolicyHashes::Stricter), Confidence::Likely);
    assert_eq!(under(fact::PolicyHashes::AsItComes), Confidence::Certain);
}

#[test]
fn a_connection_that_is_reset_as_it_comes_up_has_a_cause() {
    let shown = Shown::new(signal::RESET).at(Layer::Tcp);
    let judgement = judge(&Case { shown: vec![&shown], facts: Vec::new() });
    assert!(judgement.candidates.iter().any(|candidate| candidate.cause == Cause::PeerReset), "{judgement:?}");
}
