//! Golden tables of the layers before TLS: from what their probes put to the cause, with every fact of the layers before.

use nssight_diagnosis::fact::{Fact, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::verdict::{Names, diagnose, judge_last};
use nssight_diagnosis::{Cause, Component, Confidence, Finding, Layer, Notes, Verdict};

/// What the layers before `layer` put where they work.
fn before(layer: Layer) -> Vec<Finding> {
    let put = |facts: &[Fact]| facts.iter().cloned().fold(Notes::default(), Notes::with);
    let works: [(Layer, Vec<Fact>); 7] = [
        (Layer::Config, vec![fact::ConfigState::Usable.into(), fact::ConfigPasswordExposed::No.into()]),
        (Layer::Environment, vec![fact::ClockState::Plausible.into()]),
        (Layer::NssDb, vec![fact::DbState::Works.into()]),
        (Layer::Password, vec![fact::PasswordState::Right.into()]),
        (Layer::Certificate, vec![fact::OurCertificateState::Good.into(), fact::OwnChainState::Good.into()]),
        (Layer::PrivateKey, vec![fact::PrivateKeyState::Signs.into()]),
        (Layer::Resolve, vec![fact::NameState::Resolved.into(), fact::NameSource::Dns.into()]),
    ];
    let earlier = works.iter().filter(|(at, _)| *at < layer);
    earlier.map(|(at, facts)| put(facts).pass("works").into_finding(*at, 0)).collect()
}

fn verdict(layer: Layer, shown: Signal, facts: &[Fact]) -> Verdict {
    let mut findings = before(layer);
    let notes = facts.iter().cloned().fold(Notes::default(), Notes::with);
    findings.push(notes.fail(shown, "it does not work").into_finding(layer, 0));
    judge_last(&mut findings);
    diagnose(&findings, &Names::default())
}

/// The cause of a layer that failed, and how sure.
fn cause(layer: Layer, shown: Signal, facts: &[Fact]) -> (Option<Cause>, Confidence) {
    let verdict = verdict(layer, shown, facts);
    (verdict.cause, verdict.confidence)
}

/// The cause of a layer that works with a remark.
fn remark(layer: Layer, shown: Signal, facts: &[Fact]) -> Option<Cause> {
    let mut findings = before(layer);
    let notes = facts.iter().cloned().fold(Notes::default(), Notes::with);
    findings.push(notes.warn(shown, "it works").into_finding(layer, 0));
    judge_last(&mut findings);
    findings.last().and_then(|finding| finding.cause)
}

#[test]
fn configuration() {
    use Confidence::{Certain, Likely};
    use fact::ConfigState as State;
    for (state, expected, sure) in [
        (State::Missing, Cause::ConfigMissing, Certain),
        (State::Unreadable, Cause::ConfigUnreadable, Certain),
        (State::Invalid, Cause::ConfigInvalid, Certain),
        (State::PortForServers, Cause::WrongPort, Certain),
        (State::PortUsuallyForServers, Cause::WrongPort, Likely),
    ] {
        let given = cause(Layer::Config, signal::CONFIG_UNUSABLE, &[state.into()]);
        assert_eq!(given, (Some(expected), sure), "{state:?}");
    }
    let exposed = [fact::ConfigState::Usable.into(), fact::ConfigPasswordExposed::Yes.into()];
    assert_eq!(remark(Layer::Config, signal::CONFIG_REMARK, &exposed), Some(Cause::ConfigWorldReadablePassword));
    let early = [fact::ClockState::BeforeInstallation.into()];
    assert_eq!(remark(Layer::Environment, signal::HOST_REMARK, &early), Some(Cause::ClockSkew));
}

#[test]
fn database() {
    use Confidence::{Certain, Likely, Possible};
    use fact::DbState as State;
    for (state, expected, sure) in [
        (State::DirectoryMissing, Cause::DbMissing, Certain),
        (State::NotADirectory, Cause::DbMissing, Certain),
        (State::NoDatabase, Cause::DbMissing, Certain),
        (State::HalfMissing, Cause::DbMissing, Certain),
        (State::DirectoryUnreadable, Cause::DbUnreadable, Certain),
        (State::FileUnreadable, Cause::DbUnreadable, Certain),
        (State::NotARegularFile, Cause::DbUnreadable, Certain),
        (State::FileEmpty, Cause::DbCorrupt, Certain),
        (State::FileCut, Cause::DbCorrupt, Certain),
        (State::FileGarbage, Cause::DbCorrupt, Certain),
        (State::PartlyDamaged, Cause::DbCorrupt, Certain),
        (State::Damaged, Cause::DbCorrupt, Certain),
        (State::OtherFormatUnderName, Cause::DbTypeMismatch, Certain),
        (State::OtherFormatAsked, Cause::DbTypeMismatch, Certain),
        (State::EnvironmentAsksOtherFormat, Cause::DbTypeMismatch, Certain),
        (State::Multiaccess, Cause::DbTypeMismatch, Certain),
        (State::LegacyUnsupported, Cause::DbLegacyUnsupported, Certain),
        (State::Locked, Cause::DbLocked, Certain),
        (State::HotJournal, Cause::DbHotJournal, Certain),
        (State::RefusedThoughReadable, Cause::NssInitFailed, Possible),
        (State::ModuleForeign, Cause::ModuleForeign, Certain),
        (State::Uncopied, Cause::ToolNoCopy, Certain),
        (State::Uninitialised, Cause::DbUninitialised, Certain),
        (State::HalfUpgraded, Cause::DbHalfUpgraded, Certain),
        (State::KeysForeign, Cause::DbPairMismatch, Certain),
        (State::KeysPerhapsForeign, Cause::DbPairMismatch, Likely),
    ] {
        let given = cause(Layer::NssDb, signal::DATABASE_UNUSABLE, &[state.into()]);
        assert_eq!(given, (Some(expected), sure), "{state:?}");
    }
    for (state, expected) in
        [(State::HalfUpgradedInUse, Cause::DbHalfUpgraded), (State::BothFormats, Cause::DbMixedFormats)]
    {
        assert_eq!(remark(Layer::NssDb, signal::DATABASE_REMARK, &[state.into()]), Some(expected), "{state:?}");
    }
    let renamed = verdict(Layer::NssDb, signal::DATABASE_UNUSABLE, &[State::OtherFormatUnderName.into()]);
    assert_eq!(renamed.component, Some(Component::ClientDb));
}

#[test]
fn password() {
    use Confidence::{Certain, Likely, Possible};
    use fact::PasswordState as State;
    for (state, expected, sure) in [
        (State::NoneGiven, Cause::PasswordMissing, Certain),
        (State::SourceUnreadable, Cause::PasswordMissing, Certain),
        (State::SourceEmpty, Cause::PasswordMissing, Certain),
        (State::NotTaken, Cause::PasswordMissing, Possible),
        (State::Wrong, Cause::PasswordWrong, Certain),
        (State::WrongUnchecked, Cause::PasswordWrong, Likely),
        (State::Repairable, Cause::PasswordFileFormat, Certain),
        (State::SaltTooNew, Cause::PasswordSaltTooNew, Certain),
        (State::SaltTooNewUnverified, Cause::PasswordSaltTooNew, Likely),
        (State::FitsOnDisk, Cause::DbCorrupt, Possible),
        (State::LoginFailed, Cause::NssInitFailed, Possible),
        (State::NoSlot, Cause::NssInitFailed, Possible),
    ] {
        let given = cause(Layer::Password, signal::LOGIN_FAILED, &[state.into()]);
        assert_eq!(given, (Some(expected), sure), "{state:?}");
    }
}

#[test]
fn certificate() {
    use Confidence::{Certain, Likely};
    use fact::OurCertificateState as State;
    use fact::OwnChainState as Chain;
    let unusable = |state: State, chain: Chain| {
        cause(Layer::Certificate, signal::CERTIFICATE_UNUSABLE, &[state.into(), chain.into()])
    };
    for (state, chain, expected, sure) in [
        (State::NotFound, Chain::None, Cause::CertNotFound, Certain),
        (State::TokenName, Chain::None, Cause::CertNotFound, Certain),
        (State::NearMiss, Chain::None, Cause::CertNicknameNearMiss, Certain),
        (State::InOtherFormat, Chain::None, Cause::DbMixedFormats, Certain),
        (State::IndexStale, Chain::None, Cause::DbCorrupt, Likely),
        (State::NotYetValid, Chain::Good, Cause::CertNotYetValid, Certain),
        (State::NotYetValidByClock, Chain::Good, Cause::ClockSkew, Likely),
        // Whose it is, the kind of the certificate and the policy of the host tell.
        (State::WrongUsage, Chain::Good, Cause::CertWrongUsage, Likely),
        (State::Weak, Chain::Good, Cause::CertWeakPolicy, Likely),
        (State::Good, Chain::CaExpired, Cause::CaExpired, Certain),
        (State::Good, Chain::IssuerMissing, Cause::CaMissing, Certain),
        (State::Good, Chain::Untrusted, Cause::CaUntrusted, Certain),
        (State::Good, Chain::TrustTooNew, Cause::TrustTooNew, Certain),
    ] {
        assert_eq!(unusable(state, chain), (Some(expected), sure), "{state:?} {chain:?}");
    }
    for (chain, expected) in [(Chain::IssuerMissing, Cause::CaMissing), (Chain::Untrusted, Cause::CaUntrusted)] {
        let given = remark(Layer::Certificate, signal::CERTIFICATE_REMARK, &[State::Good.into(), chain.into()]);
        assert_eq!(given, Some(expected), "{chain:?}");
    }
    // The certificate's own trouble goes before whatever is wrong above it.
    for chain in [Chain::Good, Chain::IssuerMissing, Chain::Untrusted, Chain::TrustTooNew, Chain::CaExpired] {
        assert_eq!(unusable(State::Expired, chain), (Some(Cause::CertExpired), Certain), "{chain:?}");
        assert_eq!(unusable(State::WrongUsage, chain), (Some(Cause::CertWrongUsage), Likely), "{chain:?}");
    }
}

#[test]
fn private_key() {
    use Confidence::{Certain, Likely};
    use fact::PrivateKeyState as State;
    for (state, expected, sure) in [
        (State::Missing, Cause::KeyMissing, Certain),
        (State::IndexStale, Cause::DbCorrupt, Likely),
        (State::Mismatch, Cause::KeyMismatch, Certain),
        (State::CannotSign, Cause::KeyUnusable, Likely),
    ] {
        let given = cause(Layer::PrivateKey, signal::KEY_UNUSABLE, &[state.into()]);
        assert_eq!(given, (Some(expected), sure), "{state:?}");
    }
}

#[test]
fn name_and_connection() {
    use Confidence::{Certain, Likely};
    use fact::{LocalPortsFree, NameSource, NameState, TcpAddresses, TcpIcmp, TcpListener, TcpState, TcpToldBy};
    for (state, shown) in [
        (NameState::NoAddress, signal::NAME_NOT_FOUND),
        (NameState::NotFound, signal::NAME_NOT_FOUND),
        (NameState::TryAgain, signal::NAME_TRY_AGAIN),
        (NameState::NoAnswer, signal::NAME_TRY_AGAIN),
    ] {
        // The name may be the mistake.
        assert_eq!(cause(Layer::Resolve, shown, &[state.into()]), (Some(Cause::NameUnresolved), Likely), "{state:?}");
    }
    let with_port = [fact::ConfigState::NameWithPort.into()];
    let given = cause(Layer::Config, signal::CONFIG_UNUSABLE, &with_port);
    assert_eq!(given, (Some(Cause::PeerNameMisconfigured), Certain));
    let differs = [NameState::Resolved.into(), NameSource::HostsDiffers.into()];
    assert_eq!(remark(Layer::Resolve, signal::NAME_REMARK, &differs), Some(Cause::NameStaleHosts));
    let (refused, one): (Fact, Fact) = (TcpState::Refused.into(), TcpAddresses::One.into());
    let reset: Fact = TcpToldBy::Reset.into();
    let nobody: Fact = TcpListener::None.into();
    let router: Fact = TcpToldBy::Router.into();
    let rows: [(&[Fact], Signal, Cause, Confidence); 14] = [
        (std::slice::from_ref(&refused), signal::REFUSED, Cause::TcpRefused, Likely),
        (&[refused.clone(), one.clone(), reset.clone()], signal::REFUSED, Cause::TcpRefused, Likely),
        (&[refused.clone(), one.clone(), reset.clone(), nobody.clone()], signal::REFUSED, Cause::TcpRefused, Certain),
        (
            &[refused.clone(), TcpAddresses::Mixed.into(), reset.clone(), nobody.clone()],
            signal::REFUSED,
            Cause::TcpRefused,
            Likely,
        ),
        (
            &[refused.clone(), one.clone(), reset, nobody, NameSource::HostsDiffers.into()],
            signal::REFUSED,
            Cause::TcpRefused,
            Likely,
        ),
        (
            &[refused.clone(), one.clone(), router.clone(), TcpIcmp::PortUnreachable.into()],
            signal::REFUSED,
            Cause::TcpFiltered,
            Certain,
        ),
        (&[refused.clone(), NameSource::HostsLoopbackOfAnother.into()], signal::REFUSED, Cause::NameStaleHosts, Likely),
        (&[TcpState::Forbidden.into(), one.clone(), router], signal::UNREACHABLE, Cause::TcpFiltered, Certain),
        (&[TcpState::Forbidden.into(), one.clone()], signal::UNREACHABLE, Cause::TcpFiltered, Likely),
        (&[TcpState::NoAnswer.into(), one.clone()], signal::CONNECT_TIMEOUT, Cause::TcpTimeout, Likely),
        (
            &[TcpState::NoAnswer.into(), one.clone(), NameSource::HostsDiffers.into()],
            signal::CONNECT_TIMEOUT,
            Cause::NameStaleHosts,
            Likely,
        ),
        (&[TcpState::Unreachable.into(), one.clone()], signal::UNREACHABLE, Cause::TcpUnreachable, Likely),
        (
            &[TcpState::NoLocalPort.into(), one.clone(), LocalPortsFree::None.into()],
            signal::NO_LOCAL_PORT,
            Cause::LocalPortsExhausted,
            Certain,
        ),
        (&[TcpState::NoLocalPort.into(), one], signal::NO_LOCAL_PORT, Cause::LocalPortsExhausted, Likely),
    ];
    for (facts, shown, expected, sure) in rows {
        assert_eq!(cause(Layer::Tcp, shown, facts), (Some(expected), sure), "{facts:?}");
    }
    // What only the system's own words tell has no cause of its own.
    assert_eq!(cause(Layer::Tcp, signal::SYSTEM_ERROR, &[TcpState::FailedOtherwise.into()]).0, None);
}
