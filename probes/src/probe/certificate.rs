//! `certificate`: does the nickname exist, and is its certificate in date, chained to a trusted CA, and usable for a TLS client?

mod above;
mod absent;

use nssight_diagnosis::derive::dates::{self as derive, Validity};
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::fact::fact::{self, ClockState, OurCertificateState as State, OwnChainState as Chain};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome, Status};
use nssight_nss::{Certificate, ChainError, ErrorCode, Usage, library};
use time::OffsetDateTime;

use self::above::{Above, look_above, without_trust};
use self::absent::not_found;
use crate::error_info;
use crate::policy::Policy;
use crate::probe::{nss_db, serving};
use crate::profile::Profile;
use crate::target::{Role, Target};
use crate::walk::{Own, Probe, Walk};
use crate::x509;

/// Certificates are readable without a login.
pub const PROBE: Probe =
    Probe { layer: Layer::Certificate, needs: &[Layer::Config, Layer::Environment, Layer::NssDb], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    let notes = Notes::default();
    let Some(nss) = walk.opened.as_ref().map(|opened| opened.nss.clone()) else {
        return notes.fail(signal::NSS_NOT_INITIALISED, "NSS is not initialised");
    };
    walk.meet_lists();
    let Some(nickname) = walk.target().nickname().map(|nickname| nickname.value.as_str()) else {
        let mut notes = notes.with(State::NotWanted).with(Chain::None);
        nss_db::with_key(walk).iter().for_each(|name| notes.put(fact::OUR_CERTIFICATE_AT_HAND.text(name)));
        return notes.pass("no nickname was given: the check continues without a client certificate");
    };
    let locked = walk.finding(Layer::Password).is_some_and(|password| password.status == Status::Fail);
    if let Some(token) = walk.token().filter(|_| locked) {
        // A token usually shows nothing before the login.
        return notes.skip(format!("nssight did not log in to the token \"{}\"", token.token_name()));
    }
    match Certificate::find(nickname, &nss) {
        Ok(certificate) => {
            let chain = certificate.chain();
            let outcome = judge(walk, nickname, &certificate, &chain, notes);
            walk.own = Some(Own { certificate, chain, key: None });
            walk.record_own_certificates();
            outcome
        }
        Err(error) => not_found(walk, nickname, notes).error(error_info::of(&error)),
    }
}

fn judge(
    walk: &Walk<'_>,
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    mut notes: Notes,
) -> Outcome {
    notes.put(fact::OUR_CERTIFICATE_SUBJECT.text(certificate.subject()));
    notes.put(fact::OUR_CERTIFICATE_ISSUER.text(certificate.issuer_name()));
    notes.put(fact::OUR_CERTIFICATE_TRUST.text(certificate.trust()));
    notes.put(fact::OUR_CERTIFICATE_CHAIN.text(chain.iter().map(link).collect::<Vec<_>>().join(" <- ")));
    notes.put(if x509::is_ca(&certificate.der()) {
        fact::OurCertificateKind::Authority
    } else {
        fact::OurCertificateKind::EndEntity
    });
    let now = OffsetDateTime::now_utc();
    let issuers: Vec<Option<Validity>> = chain.iter().skip(1).map(|ca| dates(ca).map(validity)).collect();
    let objections = objections(walk.target(), certificate, &mut notes);
    let dated = by_dates(walk, nickname, certificate, &issuers, now, &mut notes);
    let by_use = || by_use(walk.target(), nickname, certificate, chain, &objections);
    let own = match dated {
        // Another problem takes precedence over this one.
        Some((State::BeginsSoon, _)) => by_use().or(dated),
        None => by_use(),
        bad => bad,
    };
    if walk.target().serves {
        let own = own.unwrap_or_else(|| {
            (State::Good, format!("\"{nickname}\" is valid at this time and allows use as a server"))
        });
        let expired = derive::first_expired(&issuers, now.unix_timestamp()).and_then(|place| chain.get(place + 1));
        let trouble = match expired {
            Some(ca) => {
                let end = dates(ca).map(|(_, end)| stamp(end)).unwrap_or_default();
                Some((Chain::CaExpired, format!("the CA {} expired on {end}", ca.subject())))
            }
            None => does_not_hold(nickname, chain, &objections).map(|above| (above.state, above.summary)),
        };
        return serving::of_database(walk, own, trouble, chain, notes);
    }
    // Independent of the certificate's own state: knowledge about its chain excludes causes.
    let above = look_above(walk, nickname, chain, derive::first_expired(&issuers, now.unix_timestamp()), &mut notes);
    let above = match above.state {
        Chain::Good | Chain::SelfSigned => does_not_hold(nickname, chain, &objections).unwrap_or(above),
        _ => above,
    };
    notes.put(own.as_ref().map_or(State::Good, |(state, _)| *state));
    if matches!(own, Some((State::Weak, _))) {
        // If NSS accepts it by default, only the policy of this host calls it weak.
        let mut policy = Facts::default();
        Policy::of_this_process().facts(&mut policy);
        notes.extend(policy);
    }
    notes.put(above.state);
    match (own, above.state) {
        (Some((state, summary)), Chain::Good | Chain::SelfSigned) if is_a_remark(state) => {
            notes.warn(signal::CERTIFICATE_REMARK, summary)
        }
        (Some((state, summary)), _) if !is_a_remark(state) => notes.fail(signal::CERTIFICATE_UNUSABLE, summary),
        (_, Chain::Good | Chain::SelfSigned) => notes.pass(above.summary),
        // The peer decides: it may use another revocation list, or weaker rules.
        (_, Chain::Invalid | Chain::Revoked) => notes.warn(signal::CERTIFICATE_REMARK, above.summary),
        (_, Chain::IssuerMissing | Chain::Untrusted | Chain::CaExpired) => {
            without_trust(walk, chain, above, now, notes)
        }
        (_, _) => notes.fail(signal::CERTIFICATE_UNUSABLE, above.summary),
    }
}

/// Problems that may do no harm, because the peer decides.
fn is_a_remark(state: State) -> bool {
    matches!(state, State::BeginsSoon | State::ForServersOnly)
}

/// The problem with the certificate's dates, if any.
fn by_dates(
    walk: &Walk<'_>,
    nickname: &str,
    certificate: &Certificate,
    issuers: &[Option<Validity>],
    now: OffsetDateTime,
    notes: &mut Notes,
) -> Option<(State, String)> {
    let (start, end) = dates(certificate)?;
    let days = (end - now).whole_days();
    notes.put(fact::OUR_CERTIFICATE_VALID.text(format!("{} to {} ({days} days left)", stamp(start), stamp(end))));
    let is_early = walk
        .finding(Layer::Environment)
        .is_some_and(|environment| environment.facts.has(ClockState::BeforeInstallation));
    let clock = if is_early { ClockState::BeforeInstallation } else { ClockState::Plausible };
    let state = derive::dates(validity((start, end)), issuers, now.unix_timestamp(), clock)?;
    let (start, now) = (stamp(start), stamp(now));
    let summary = match state {
        State::Expired => format!("\"{nickname}\" expired on {}", stamp(end)),
        State::NotYetValidByClock if is_early => {
            format!("\"{nickname}\" becomes valid at {start}; the clock shows {now}, a time before NSS was installed")
        }
        State::NotYetValidByClock => {
            format!("\"{nickname}\" and its CA both become valid at {start}; the clock shows {now}")
        }
        State::BeginsSoon => format!(
            "\"{nickname}\" becomes valid at {start}; the clock shows {now}. NSS accepts it one day early, other libraries \
             do not; this clock may be slow"
        ),
        _ => format!("\"{nickname}\" becomes valid at {start}; the clock shows {now}"),
    };
    Some((state, summary))
}

/// NSS's objections to our chain for this role.
fn objections(target: &Target, certificate: &Certificate, notes: &mut Notes) -> Vec<ChainError> {
    let objections: Vec<_> = usages(target).iter().flat_map(|usage| certificate.verify(*usage)).collect();
    for objection in &objections {
        let place = match objection.depth {
            0 => "the certificate".to_owned(),
            depth => format!("the issuer at depth {depth}"),
        };
        let (name, subject) = (&objection.error.name, &objection.subject);
        notes.put(fact::OUR_CERTIFICATE_OBJECTION.text(format!("{name} for {place} ({subject})")));
    }
    objections
}

/// Whether an issuer of the chain is a CA of the right name with another kind of key. NSS selects an issuer by its name if no key
/// identifier contradicts this, and then reports such a key as an algorithm that is not allowed.
fn has_namesake(chain: &[Certificate]) -> bool {
    chain.windows(2).any(|pair| x509::is_by_another_kind_of_key(&pair[0].der(), &pair[1].der()))
}

/// Whether a CA of the chain does not permit the names of the certificate.
fn is_outside(chain: &[Certificate]) -> bool {
    let [leaf, above @ ..] = chain else { return false };
    above.iter().any(|ca| !x509::permits(&ca.der(), &leaf.der()))
}

/// Whether each certificate of the chain was signed by the one above it.
fn signatures_verify(chain: &[Certificate]) -> bool {
    chain.windows(2).all(|pair| x509::is_signed_by(&pair[0].der(), &pair[1].der()))
}

/// Detects a chain that reaches its root and is invalid according to NSS. Every peer with NSS refuses it.
fn does_not_hold(nickname: &str, chain: &[Certificate], objections: &[ChainError]) -> Option<Above> {
    objections.iter().find_map(|objection| {
        let state = match objection.error.code {
            ErrorCode::SEC_ERROR_REVOKED_CERTIFICATE => Chain::Revoked,
            ErrorCode::SEC_ERROR_UNKNOWN_CRITICAL_EXTENSION
            | ErrorCode::SEC_ERROR_CERT_NOT_IN_NAME_SPACE
            | ErrorCode::SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID => Chain::Invalid,
            // In FIPS mode without a login, NSS also reports this for valid signatures (measured on 3.87.1).
            ErrorCode::SEC_ERROR_BAD_SIGNATURE if !signatures_verify(chain) => Chain::Invalid,
            ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED if has_namesake(chain) => Chain::Invalid,
            // libpkix has no error code for a name that a CA above does not permit (measured on 3.110).
            ErrorCode::SEC_ERROR_INVALID_ARGS | ErrorCode::SEC_ERROR_UNKNOWN_ISSUER if is_outside(chain) => {
                Chain::Invalid
            }
            _ => return None,
        };
        let (name, subject) = (&objection.error.name, &objection.subject);
        let summary = format!("the chain of \"{nickname}\" is invalid: NSS reports {name} for {subject}");
        Some(Above { state, summary, ca: None })
    })
}

/// The uses that the certificate itself does not allow.
fn by_use(
    target: &Target,
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    objections: &[ChainError],
) -> Option<(State, String)> {
    let trouble = usage_trouble(nickname, certificate, chain, objections);
    // The role of this host is not configured but assumed to be a client, and a server's own database may be correct with this.
    let assumed = target.role == Role::Client && target.profile() == Profile::Tls;
    let wrong = matches!(trouble, Some((State::WrongUsage, _)));
    let as_a_server = || usage_trouble(nickname, certificate, chain, &certificate.verify(Usage::SslServer));
    if assumed && wrong && as_a_server().is_none() {
        let summary =
            format!("\"{nickname}\" allows use only as a server: a peer that requests a client certificate rejects it");
        return Some((State::ForServersOnly, summary));
    }
    trouble
}

fn usages(target: &Target) -> &'static [Usage] {
    match target.role {
        // A signing server also connects to others.
        Role::Server if target.profile() == Profile::Tls => &[Usage::SslServer],
        Role::Client => &[Usage::SslClient],
        Role::Bridge => &[Usage::SslServer],
        Role::Server => &[Usage::SslClient, Usage::SslServer],
    }
}

/// NSS's objections that concern the certificate itself.
fn usage_trouble(
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    objections: &[ChainError],
) -> Option<(State, String)> {
    let own = |code: ErrorCode| objections.iter().any(|it| it.depth == 0 && it.error.code == code);
    if own(ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE) || own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) {
        let what = if own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) { "key usage" } else { "extended key usage" };
        return Some((State::WrongUsage, format!("the {what} of \"{nickname}\" does not allow this role")));
    }
    if own(ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED) && !has_namesake(chain) {
        let summary = format!("\"{nickname}\" has a signature with an algorithm that NSS's policy rejects");
        return Some((State::Weak, summary));
    }
    // The policy has a minimum size only for RSA and DH keys; every EC curve that NSS supports is longer than 127 bits.
    let (bits, least) = (certificate.key_bits(), library::policy_limits().rsa_min?);
    let too_small = bits >= 256 * 2 && i64::from(bits) < i64::from(least);
    too_small.then(|| {
        let summary = format!("the key of \"{nickname}\" has {bits} bits, but NSS's policy requires at least {least}");
        (State::Weak, summary)
    })
}

fn validity((start, end): (OffsetDateTime, OffsetDateTime)) -> Validity {
    Validity { from: start.unix_timestamp(), until: end.unix_timestamp() }
}

fn link(certificate: &Certificate) -> String {
    format!("{} ({})", certificate.subject(), certificate.trust())
}

fn dates(certificate: &Certificate) -> Option<(OffsetDateTime, OffsetDateTime)> {
    let at = |micros: i64| OffsetDateTime::from_unix_timestamp(micros.div_euclid(1_000_000)).ok();
    let (start, end) = certificate.validity().ok()?;
    Some((at(start)?, at(end)?))
}

fn stamp(time: OffsetDateTime) -> String {
    let format = time::macros::format_description!("[year]-[month]-[day] [hour]:[minute]:[second] UTC");
    time.format(format).unwrap_or_else(|_| time.to_string())
}
