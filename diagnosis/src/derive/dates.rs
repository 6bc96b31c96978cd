//! Compares certificates with the clock, and the clock with the dates of installed files.

use crate::fact::fact::{ClockState, OurCertificateState, PeerChainDates};

/// Across time zones and mirrors, a file may be dated this many seconds ahead.
const DAY: i64 = 24 * 3600;

/// NSS accepts a peer's certificate up to a day before its validity begins (CERT_GetSlopTime in lib/certdb/certdb.c); an hour less, since
/// the peer's clock may differ.
const TAKEN_EARLY: i64 = DAY - 3600;

/// The validity of a certificate, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first valid second.
    pub from: i64,
    /// The last valid second.
    pub until: i64,
}

/// The problem with the dates of a certificate at `now`, if any; an issuer with unreadable dates is `None`. A whole chain from the future,
/// or a clock known to be slow, is evidence against the clock rather than the certificates.
pub fn dates(
    certificate: Validity,
    issuers: &[Option<Validity>],
    now: i64,
    clock: ClockState,
) -> Option<OurCertificateState> {
    if now > certificate.until {
        return Some(OurCertificateState::Expired);
    }
    if now >= certificate.from {
        return None;
    }
    if clock != ClockState::BeforeInstallation && certificate.from - now <= TAKEN_EARLY {
        return Some(OurCertificateState::BeginsSoon);
    }
    let chain_is_early = !issuers.is_empty() && issuers.iter().all(|issuer| issuer.is_some_and(|it| now < it.from));
    Some(if chain_is_early || clock == ClockState::BeforeInstallation {
        OurCertificateState::NotYetValidByClock
    } else {
        OurCertificateState::NotYetValid
    })
}

/// The index of the first issuer that is out of date at `now`.
pub fn first_expired(issuers: &[Option<Validity>], now: i64) -> Option<usize> {
    issuers.iter().position(|issuer| issuer.is_some_and(|issuer| now > issuer.until))
}

/// The dates of a chain that a peer sent, compared with `now`. The peer uses this chain, so a chain whose whole validity is more than a day
/// ahead is evidence against this clock. Certificates with unreadable dates prove nothing.
pub fn peer_chain(chain: &[Validity], now: i64) -> Option<PeerChainDates> {
    let from = chain.iter().map(|it| it.from).min()?;
    Some(if from > now.saturating_add(DAY) {
        PeerChainDates::AllFuture
    } else if chain.iter().any(|it| now > it.until) {
        PeerChainDates::Past
    } else if chain.iter().any(|it| now < it.from) {
        PeerChainDates::Future
    } else {
        PeerChainDates::Valid
    })
}

/// A clock that is earlier than the installation of the running program cannot be right.
pub fn clock(now: i64, installed: Option<i64>) -> ClockState {
    match installed {
        Some(installed) if installed > now.saturating_add(DAY) => ClockState::BeforeInstallation,
        _ => ClockState::Plausible,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn of(from: i64, until: i64) -> Validity {
        Validity { from, until }
    }
    const PAST: Validity = of(0, 10);
    const PRESENT: Validity = of(0, 100 + DAY);
    const FUTURE: Validity = of(60 + DAY, 100 + DAY);

    #[test]
    fn a_whole_chain_from_the_future_is_blamed_on_the_clock() {
        let at = |certificate, issuers: &[Option<Validity>]| dates(certificate, issuers, 50, ClockState::Plausible);
        assert_eq!(at(PAST, &[]), Some(OurCertificateState::Expired));
        assert_eq!(at(PRESENT, &[Some(FUTURE)]), None);
        assert_eq!(at(FUTURE, &[Some(PRESENT)]), Some(OurCertificateState::NotYetValid));
        assert_eq!(at(FUTURE, &[Some(FUTURE), Some(PRESENT)]), Some(OurCertificateState::NotYetValid));
        assert_eq!(at(FUTURE, &[None]), Some(OurCertificateState::NotYetValid));
        assert_eq!(at(FUTURE, &[]), Some(OurCertificateState::NotYetValid));
        assert_eq!(at(FUTURE, &[Some(FUTURE)]), Some(OurCertificateState::NotYetValidByClock));
    }

    #[test]
    fn the_first_and_the_last_second_are_valid() {
        let at = |now| dates(of(10, 20), &[], now, ClockState::Plausible);
        assert_eq!([at(9), at(10)], [Some(OurCertificateState::BeginsSoon), None]);
        assert_eq!([at(20), at(21)], [None, Some(OurCertificateState::Expired)]);
        assert_eq!(first_expired(&[Some(of(10, 20))], 20), None);
        assert_eq!(first_expired(&[Some(of(10, 20))], 21), Some(0));
    }

    #[test]
    fn nss_peers_accept_certificates_one_day_early() {
        let at = |from, clock| dates(of(from, 3 * DAY), &[Some(of(from, 3 * DAY))], 0, clock);
        let plausible = |from| at(from, ClockState::Plausible);
        assert_eq!(plausible(300), Some(OurCertificateState::BeginsSoon));
        assert_eq!(plausible(TAKEN_EARLY), Some(OurCertificateState::BeginsSoon));
        assert_eq!(plausible(TAKEN_EARLY + 1), Some(OurCertificateState::NotYetValidByClock));
        assert_eq!(at(300, ClockState::BeforeInstallation), Some(OurCertificateState::NotYetValidByClock));
    }

    #[test]
    fn an_early_clock_is_blamed_only_for_certificates_not_valid_yet() {
        let at = |certificate| dates(certificate, &[Some(PRESENT)], 50, ClockState::BeforeInstallation);
        assert_eq!(at(FUTURE), Some(OurCertificateState::NotYetValidByClock));
        assert_eq!(at(PAST), Some(OurCertificateState::Expired));
        assert_eq!(at(PRESENT), None);
    }

    #[test]
    fn the_first_issuer_that_is_out_of_date_is_named() {
        assert_eq!(first_expired(&[], 50), None);
        assert_eq!(first_expired(&[None, Some(PRESENT), Some(PAST), Some(PAST)], 50), Some(2));
    }

    #[test]
    fn a_peer_chain_not_yet_valid_is_distinguished_from_an_expired_one() {
        use PeerChainDates::{AllFuture, Future, Past, Valid};
        let (soon, later) = (of(60, 90), of(50 + DAY + 1, 90 + 2 * DAY));
        assert_eq!(peer_chain(&[], 50), None);
        assert_eq!(peer_chain(&[PRESENT, PRESENT], 50), Some(Valid));
        assert_eq!(peer_chain(&[PAST, PRESENT], 50), Some(Past));
        assert_eq!(peer_chain(&[PRESENT, PAST], 50), Some(Past));
        assert_eq!(peer_chain(&[soon, PRESENT], 50), Some(Future));
        assert_eq!(peer_chain(&[later, PRESENT], 50), Some(Future));
        assert_eq!(peer_chain(&[later, soon], 50), Some(Future));
        assert_eq!(peer_chain(&[later, later], 50), Some(AllFuture));
        assert_eq!(peer_chain(&[of(50 + DAY, 90 + DAY)], 50), Some(Future));
    }

    #[test]
    fn a_clock_may_be_a_day_behind_what_was_installed() {
        assert_eq!(clock(1_000_000, None), ClockState::Plausible);
        assert_eq!(clock(1_000_000, Some(900_000)), ClockState::Plausible);
        assert_eq!(clock(1_000_000, Some(1_000_000 + DAY)), ClockState::Plausible);
        assert_eq!(clock(1_000_000, Some(1_000_001 + DAY)), ClockState::BeforeInstallation);
    }
}
