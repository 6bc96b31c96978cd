//! `certificate`, for files: is our certificate in date and usable for a TLS client?

use nssight_diagnosis::derive::dates::{self as derive, Validity};
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::fact::fact::{self, ClockState, OurCertificateState as State, OwnChainState};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{CertificateRole, Layer, Notes, Outcome};
use openssl::x509::X509;
use time::OffsetDateTime;

use crate::certificates::SeenCertificate;
use crate::error_info;
use crate::policy::Policy;
use crate::probe::serving;
use crate::target::Role;
use crate::walk::{Probe, Walk};
use crate::x509;

/// The content of a PKCS#12 file is known only after decryption.
pub const PROBE: Probe =
    Probe { layer: Layer::Certificate, needs: &[Layer::Config, Layer::Credentials, Layer::Password], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(found) = &walk.files else { return notes.skip("no credential files were read") };
    let Some(own) = found.chain.first() else {
        if walk.target().has_certificate() {
            notes.put(State::NotFound);
            return notes.fail(signal::CERTIFICATE_UNUSABLE, "the named file has no certificate");
        }
        notes.put(State::NotWanted);
        return notes.pass("no certificate was given: the check continues without a client certificate");
    };
    let ders: Vec<Vec<u8>> = found.chain.iter().filter_map(|it| it.to_der().ok()).collect();
    let Some(der) = ders.first().cloned() else { return notes.skip("our certificate cannot be encoded") };
    notes.put(fact::OUR_CERTIFICATE_SUBJECT.text(x509::subject(&der)));
    notes.put(
        fact::OUR_CERTIFICATE_CHAIN.text(ders.iter().map(|der| x509::subject(der)).collect::<Vec<_>>().join(" <- ")),
    );
    notes.put(if x509::is_ca(&der) {
        fact::OurCertificateKind::Authority
    } else {
        fact::OurCertificateKind::EndEntity
    });
    let seen = SeenCertificate::of_chain(CertificateRole::Client, ders.iter().map(|der| (None, der.as_slice())));
    if walk.target().serves {
        let dated = by_dates(&der, &issuers(own, &found.chain), &mut notes);
        // Only NSS clients accept a certificate up to a day early.
        let early = |state| if state == State::BeginsSoon { State::NotYetValid } else { state };
        let dated = dated.map(|(state, summary)| (early(state), summary));
        let outcome = serving::of_files(walk.target(), found, &ders, dated, notes);
        walk.note_new(SeenCertificate::of_chain(
            CertificateRole::Server,
            ders.iter().map(|der| (None, der.as_slice())),
        ));
        return outcome;
    }
    let path = upwards(&ders);
    let expired = first_expired(&path);
    if expired.is_some() {
        notes.put(OwnChainState::CaExpired);
    } else if leads_to_trusted(&path, found.authorities.as_deref().unwrap_or_default()) {
        notes.put(OwnChainState::Good);
    }
    let (state, summary) = judge(walk.target().role, &der, &issuers(own, &found.chain), &mut notes);
    let too_weak = if state == State::Good { too_weak(own, &found.chain, &mut notes) } else { None };
    let outcome = match state {
        State::Good if too_weak.is_some() => {
            notes.with(State::Weak).fail(signal::CERTIFICATE_UNUSABLE, too_weak.unwrap_or_default())
        }
        State::Good => match expired {
            // The peer decides: it may have the renewed certificate of this CA.
            Some(ca) => notes.with(state).warn(
                signal::CERTIFICATE_REMARK,
                format!("the file of our certificate has an expired certificate of the CA {}", x509::subject(ca)),
            ),
            None => notes.with(state).pass(summary),
        },
        State::BeginsSoon | State::ForServersOnly => notes.with(state).warn(signal::CERTIFICATE_REMARK, summary),
        _ => notes.with(state).fail(signal::CERTIFICATE_UNUSABLE, summary),
    };
    walk.note_new(seen);
    outcome
}

/// Why OpenSSL rejects our certificate, or one above it, for its key or its signature.
fn too_weak(own: &X509, chain: &[X509], notes: &mut Notes) -> Option<String> {
    let why = weakness(own, chain)?;
    let level = nssight_openssl::security_level()?;
    notes.put(fact::OPENSSL_SECURITY_LEVEL.number(level));
    let mut facts = Facts::default();
    Policy::of_openssl(level, None).facts(&mut facts);
    notes.extend(facts);
    Some(format!("OpenSSL rejects our certificate at security level {level}: {why}"))
}

/// OpenSSL's reason to reject a certificate, or one of these above it, as too weak.
pub(super) fn weakness(own: &X509, chain: &[X509]) -> Option<String> {
    let above: Vec<X509> = chain.iter().filter(|it| *it != own).cloned().collect();
    let error = nssight_openssl::takes(own, &above).err()?;
    error_info::is_too_weak(&error).then_some(error.name)
}

/// Our certificate and the issuers above it in its file. Of several certificates of an issuer, one that is valid now; a CA that was renewed has
/// another with the same key.
fn upwards(chain: &[Vec<u8>]) -> Vec<&Vec<u8>> {
    /// No real chain is longer.
    const LINKS_AT_MOST: usize = 10;
    let mut path: Vec<&Vec<u8>> = chain.first().into_iter().collect();
    while let Some(last) = path.last().copied().filter(|_| path.len() <= LINKS_AT_MOST) {
        let issuers = || chain.iter().skip(1).filter(|der| *der != last && x509::is_signed_by(last, der));
        let Some(issuer) = issuers().find(|der| x509::is_in_date(der)).or_else(|| issuers().next()) else {
            break;
        };
        path.push(issuer);
    }
    path
}

/// The first issuer above our certificate that has expired, in a chain upwards.
fn first_expired<'a>(path: &[&'a Vec<u8>]) -> Option<&'a Vec<u8>> {
    let issuers: Vec<Option<Validity>> = path.iter().skip(1).map(|der| x509::validity(der)).collect();
    let place = derive::first_expired(&issuers, OffsetDateTime::now_utc().unix_timestamp())?;
    path.get(place + 1).copied()
}

/// Whether our certificate comes from a CA that is trusted here. This is not required, but usually the peer's certificate comes from the
/// same CA.
fn leads_to_trusted(path: &[&Vec<u8>], authorities: &[X509]) -> bool {
    let authorities: Vec<Vec<u8>> = authorities.iter().filter_map(|it| it.to_der().ok()).collect();
    let is_valid = |(place, der): &(usize, &&Vec<u8>)| *place == 0 || x509::is_in_date(der);
    let mut valid = path.iter().enumerate().take_while(is_valid).map(|(_, der)| *der);
    valid.any(|der| authorities.iter().any(|ca| x509::is_signed_by(der, ca) && x509::is_in_date(ca)))
}

/// The dates of the issuers of our certificate, as far as they are in its file.
fn issuers(own: &X509, chain: &[X509]) -> Vec<Option<Validity>> {
    let above = chain.iter().filter(|it| *it != own);
    above.map(|it| it.to_der().ok().and_then(|der| x509::validity(&der))).collect()
}

fn judge(role: Role, der: &[u8], issuers: &[Option<Validity>], notes: &mut Notes) -> (State, String) {
    if let Some(dated) = by_dates(der, issuers, notes) {
        return dated;
    }
    // A bridge acts as a server to both sides, and never as a client.
    match x509::client_usage(der) {
        _ if role == Role::Bridge => (State::Good, format!("{} is valid at this time", x509::subject(der))),
        x509::ClientUsage::Fit => (State::Good, format!("{} is valid at this time", x509::subject(der))),
        x509::ClientUsage::ServersOnly => (
            State::ForServersOnly,
            "our certificate allows use only as a server: a peer may reject it as a client certificate".to_owned(),
        ),
        x509::ClientUsage::Unfit(what) => {
            (State::WrongUsage, format!("our certificate does not allow use as a TLS client: {what}"))
        }
    }
}

/// The problem with the dates, if any.
fn by_dates(der: &[u8], issuers: &[Option<Validity>], notes: &mut Notes) -> Option<(State, String)> {
    let now = OffsetDateTime::now_utc();
    let day =
        |at: i64| OffsetDateTime::from_unix_timestamp(at).map_or_else(|_| at.to_string(), |at| at.date().to_string());
    let validity = x509::validity(der)?;
    let days = (validity.until - now.unix_timestamp()) / 86_400;
    let (from, until) = (day(validity.from), day(validity.until));
    notes.put(fact::OUR_CERTIFICATE_VALID.text(format!("{from} to {until} ({days} days left)")));
    match derive::dates(validity, issuers, now.unix_timestamp(), ClockState::Plausible)? {
        State::Expired => Some((State::Expired, format!("our certificate expired on {until}"))),
        state => Some((state, format!("our certificate becomes valid at {from}; the clock shows {}", now.date()))),
    }
}
