//! Our certificate as that of a server: its name, the chain that clients receive, and the CAs accepted for clients.

use std::cell::LazyCell;
use std::cmp::Ordering;

use nssight_diagnosis::derive::name::relation;
use nssight_diagnosis::fact::fact::{
    self, ClientAuthoritiesAsked as Asked, ClientAuthoritiesState as Clients, OurCertificateState as State,
    OurNameState as Name, OwnChainState as Chain, PeerNameRelation, SentChainState as Sent,
};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Notes, Outcome};
use nssight_nss::Certificate;
use openssl::stack::Stack;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509NameRef, X509PurposeId, X509StoreContext, X509VerifyResult};

use crate::credentials::Found;
use crate::probe::certificate_file::weakness;
use crate::target::Target;
use crate::walk::Walk;
use crate::x509;

/// No real chain is longer.
const LINKS_AT_MOST: usize = 20;
/// Maximum number of CAs to name.
const NAMED_AT_MOST: usize = 20;
type Trouble = (Signal, String);

/// Checks the certificate of a database. `own` is the state of the certificate itself, `trouble` a problem above it.
pub(crate) fn of_database(
    walk: &Walk<'_>,
    own: (State, String),
    trouble: Option<(Chain, String)>,
    chain: &[Certificate],
    mut notes: Notes,
) -> Outcome {
    let ders: Vec<Vec<u8>> = chain.iter().map(Certificate::der).collect();
    let all = walk.slot().map(|slot| slot.certificates()).unwrap_or_default();
    let known: Vec<Vec<u8>> = all.iter().map(Certificate::der).collect();
    let name = name(walk.target(), ders.first(), &mut notes);
    let sent = sent(&ders, &known, &mut notes);
    // Programs with a configuration request a certificate from every client.
    let is_configured = !walk.target().config_files.is_empty();
    notes.put(if is_configured { Asked::Always } else { Asked::Unknown });
    let clients = clients_of_database(&all, ders.first(), &mut notes);
    notes.put(trouble.as_ref().map_or(Chain::Good, |(state, _)| *state));
    outcome(own, trouble, [name, sent, clients], notes)
}

/// Checks the certificate of a file. `dated` is a problem with its dates.
pub(crate) fn of_files(
    target: &Target,
    found: &Found,
    ders: &[Vec<u8>],
    dated: Option<(State, String)>,
    mut notes: Notes,
) -> Outcome {
    let subject = ders.first().map(|der| x509::subject(der)).unwrap_or_default();
    let usage = || {
        let trouble = x509::server_trouble(ders.first()?)?;
        Some((State::WrongUsage, format!("our certificate does not allow use as a TLS server: {trouble}")))
    };
    let weak = || {
        let own = found.chain.first()?;
        let (what, why) = match weakness(own, &[]) {
            Some(why) => ("our certificate", why),
            None => ("the chain that we send", weakness(own, &found.chain)?),
        };
        Some((State::Weak, format!("OpenSSL on this host rejects {what}: {why}")))
    };
    let own = dated.or_else(usage).or_else(weak);
    let own =
        own.unwrap_or_else(|| (State::Good, format!("{subject} is valid at this time and allows use as a server")));
    let known = found.authorities.as_deref().unwrap_or_default().iter().filter_map(|it| it.to_der().ok());
    let name = name(target, ders.first(), &mut notes);
    let sent = sent(ders, &known.collect::<Vec<_>>(), &mut notes);
    for authority in found.authorities.iter().flatten().take(NAMED_AT_MOST) {
        let subject = authority.to_der().map(|der| x509::subject(&der));
        subject.into_iter().for_each(|subject| notes.put(fact::CLIENT_AUTHORITIES_TRUSTED.text(subject)));
    }
    notes.put(if found.authorities.is_some() { Clients::Trusted } else { Clients::NotGiven });
    let flaw = flaw(&found.chain, ders).or_else(|| unlinked(&found.chain));
    notes.put(flaw.as_ref().map_or(Chain::Good, |(state, _)| *state));
    outcome(own, flaw, [name, sent, None], notes)
}

/// What every client finds wrong with the chain that we send: OpenSSL verifies it up to its last certificate, whatever CAs a client has.
fn flaw(chain: &[X509], ders: &[Vec<u8>]) -> Option<(Chain, String)> {
    let (error, depth, subject) = x509::verified(|| {
        let (Some(own), Some(top)) = (chain.first(), top(ders)) else { return Ok(None) };
        let mut builder = X509StoreBuilder::new()?;
        builder.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        builder.set_purpose(X509PurposeId::SSL_SERVER)?;
        builder.add_cert(X509::from_der(top)?)?;
        let mut sent = Stack::new()?;
        chain.iter().skip(1).try_for_each(|ca| sent.push(ca.clone()))?;
        X509StoreContext::new()?.init(&builder.build(), own, &sent, |context| {
            if context.verify_cert()? {
                return Ok(None);
            }
            let subject = context.current_cert().and_then(|it| it.to_der().ok()).map(|der| x509::subject(&der));
            Ok(Some((context.error(), context.error_depth(), subject.unwrap_or_default())))
        })
    })??;
    // CERT_NOT_YET_VALID and CERT_HAS_EXPIRED of x509_vfy.h. The certificate's own dates and usages were judged before.
    let state = match (error.as_raw(), depth) {
        (9 | 10 | 26, 0) => return None,
        (9 | 10, _) => Chain::CaExpired,
        // UNHANDLED_CRITICAL_EXTENSION, INVALID_CA, INVALID_NON_CA, PATH_LENGTH_EXCEEDED, INVALID_PURPOSE, PERMITTED_VIOLATION, EXCLUDED_VIOLATION.
        (34 | 24 | 37 | 79 | 25 | 26 | 47 | 48, _) => Chain::Invalid,
        _ => return None,
    };
    Some((state, format!("clients reject the chain that this server sends: {} ({subject})", error.error_string())))
}

/// A certificate in the chain that we send which OpenSSL does not take for issued by the intermediate CA that signed it: its authority key
/// identifier has another key or serial number (RFC 5280, 4.2.1.1). Clients have root certificates of their own.
fn unlinked(chain: &[X509]) -> Option<(Chain, String)> {
    chain.iter().find_map(|issued| {
        let key_signed = |ca: &&X509| x509::verified(|| issued.verify(&*ca.public_key()?)).unwrap_or(false);
        let are_same = |a: &X509NameRef, b: &X509NameRef| a.try_cmp(b).is_ok_and(Ordering::is_eq);
        let is_above = |ca: &&X509| {
            are_same(ca.subject_name(), issued.issuer_name()) && !are_same(ca.subject_name(), ca.issuer_name())
        };
        let mut signers = chain.iter().filter(is_above).filter(key_signed).peekable();
        let first = signers.peek()?.issued(issued);
        if signers.any(|ca| ca.issued(issued) == X509VerifyResult::OK) {
            return None;
        }
        let subject = issued.to_der().map(|der| x509::subject(&der)).unwrap_or_default();
        let why = format!("OpenSSL does not link {subject} to the CA that signed it: {}", first.error_string());
        Some((Chain::Invalid, why))
    })
}

/// The first problem, in this order: the certificate itself, the chain above it, and then how clients treat it.
fn outcome(
    (state, summary): (State, String),
    above: Option<(Chain, String)>,
    troubles: [Option<Trouble>; 3],
    notes: Notes,
) -> Outcome {
    let notes = notes.with(state);
    if !matches!(state, State::Good | State::BeginsSoon) {
        return notes.fail(signal::CERTIFICATE_UNUSABLE, summary);
    }
    if let Some((state, trouble)) = above {
        let is_for_clients = state == Chain::Invalid;
        let shown = if is_for_clients { signal::SERVER_CERTIFICATE_UNFIT } else { signal::CERTIFICATE_UNUSABLE };
        return notes.fail(shown, trouble);
    }
    let is_remark = |(shown, _): &Trouble| *shown == signal::CERTIFICATE_REMARK;
    let (remarks, troubles): (Vec<_>, Vec<_>) = troubles.into_iter().flatten().partition(is_remark);
    match (troubles.into_iter().next(), remarks.into_iter().next()) {
        (Some((shown, trouble)), _) => notes.fail(shown, trouble),
        (None, Some((shown, remark))) => notes.warn(shown, remark),
        (None, None) if state == State::BeginsSoon => notes.warn(signal::CERTIFICATE_REMARK, summary),
        (None, None) => notes.pass(summary),
    }
}

/// Whether the certificate has the name that clients use, if one is given.
fn name(target: &Target, own: Option<&Vec<u8>>, notes: &mut Notes) -> Option<Trouble> {
    let names = own.map(|der| x509::plain_names(der)).unwrap_or_default();
    let shown = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    notes.put(fact::OUR_NAME_NAMES.text(&shown));
    let Some(wanted) = target.server_name.as_ref().map(|name| name.value.as_str()) else {
        notes.put(Name::NotAsked);
        return None;
    };
    notes.put(fact::OUR_NAME_WANTED.text(wanted));
    // The search domains of clients are unknown here, so only the exact name counts. Clients drop a trailing dot (RFC 6066, 3).
    let host = wanted.strip_suffix('.').unwrap_or(wanted);
    let is_covered = relation(host, &names, &[]) == PeerNameRelation::Same;
    if is_covered && own.is_some_and(|der| openssl_finds_name(der, host)) {
        notes.put(Name::Covered);
        return None;
    }
    notes.put(Name::NotCovered);
    let summary = if is_covered {
        format!("our certificate contains {wanted} only in a form that clients reject: its names are {shown}")
    } else {
        format!("our certificate does not contain {wanted}: its names are {shown}")
    };
    Some((signal::SERVER_CERTIFICATE_UNFIT, summary))
}

/// Whether OpenSSL finds the name in the certificate: not an address as a DNS name, and no star before a single label.
fn openssl_finds_name(der: &[u8], host: &str) -> bool {
    let error = x509::verified(|| {
        let own = X509::from_der(der)?;
        let mut wanted = X509VerifyParam::new()?;
        match host.parse() {
            Ok(address) => wanted.set_ip(address)?,
            Err(_) => wanted.set_host(host)?,
        }
        wanted.set_flags(X509VerifyFlags::PARTIAL_CHAIN)?;
        let mut builder = X509StoreBuilder::new()?;
        builder.add_cert(own.clone())?;
        builder.set_param(&wanted)?;
        let (none, mut error) = (Stack::new()?, X509VerifyResult::OK);
        X509StoreContext::new()?.init(&builder.build(), &own, &none, |context| {
            context.verify_cert()?;
            error = context.error();
            Ok(())
        })?;
        Ok(error)
    });
    // HOSTNAME_MISMATCH and IP_ADDRESS_MISMATCH of x509_vfy.h.
    !error.is_some_and(|error| matches!(error.as_raw(), 62 | 64))
}

/// The end of the chain that a client receives.
fn sent(ders: &[Vec<u8>], known: &[Vec<u8>], notes: &mut Notes) -> Option<Trouble> {
    let top = top(ders)?;
    let is_root = |der: &Vec<u8>| x509::is_signed_by(der, der);
    let system = LazyCell::new(system);
    // A CA may have a certificate of its own and others from further CAs, with the same key.
    let issuers = || known.iter().filter(|it| *it != top && x509::is_signed_by(top, it) && x509::is_ca(it));
    let state = match issuers().next() {
        _ if is_root(top) && ders.first() == Some(top) => Sent::SelfSigned,
        _ if is_root(top) => Sent::Whole,
        Some(_) if issuers().any(is_root) => Sent::Whole,
        Some(_) => Sent::LacksIntermediate,
        None if system.as_ref().is_some_and(|system| is_known_to(system, top)) => Sent::Whole,
        None if x509::is_below_an_intermediate(top) => Sent::LacksIntermediate,
        None => Sent::EndsUnknown,
    };
    notes.put(state);
    let issuer = x509::issuer(top).map(|name| nssight_wire::name_from_der(&name)).unwrap_or_default();
    match state {
        Sent::Whole | Sent::SelfSigned => None,
        Sent::LacksIntermediate => {
            notes.put(fact::SENT_CHAIN_TROUBLE.text(&issuer));
            let summary = format!("this server does not send {issuer}, an intermediate CA that clients need");
            Some((signal::SERVER_CERTIFICATE_UNFIT, summary))
        }
        Sent::EndsUnknown => {
            notes.put(fact::SENT_CHAIN_TROUBLE.text(&issuer));
            let summary = format!(
                "the chain that this server sends ends below {issuer}, which is unknown here: unless this CA is a root, the server must send it"
            );
            Some((signal::CERTIFICATE_REMARK, summary))
        }
    }
}

/// The last certificate reached upwards from the first one.
fn top(ders: &[Vec<u8>]) -> Option<&Vec<u8>> {
    let mut last = ders.first()?;
    for _ in 0..LINKS_AT_MOST {
        match ders.iter().find(|der| *der != last && x509::is_signed_by(last, der)) {
            Some(issuer) => last = issuer,
            None => break,
        }
    }
    Some(last)
}

/// The CAs that this system trusts.
fn system() -> Option<X509Store> {
    let mut builder = X509StoreBuilder::new().ok()?;
    builder.set_default_paths().ok()?;
    Some(builder.build())
}

/// Whether its issuer is among them. The validity of the chain does not matter here, only that it leads there.
fn is_known_to(store: &X509Store, der: &[u8]) -> bool {
    let found = x509::verified(|| {
        let certificate = X509::from_der(der)?;
        let (none, mut context) = (Stack::new()?, X509StoreContext::new()?);
        context.init(store, &certificate, &none, |context| {
            context.verify_cert()?;
            Ok(context.chain().is_some_and(|chain| chain.len() > 1))
        })
    });
    found.unwrap_or(false)
}

/// The CAs of a database with the flag T, by which NSS accepts clients.
fn clients_of_database(all: &[Certificate], own: Option<&Vec<u8>>, notes: &mut Notes) -> Option<Trouble> {
    let is_other = |it: &&Certificate| Some(&it.der()) != own;
    let (trusted, others): (Vec<_>, Vec<_>) = all.iter().filter(is_other).partition(|it| it.trust().trusts_clients());
    for ca in trusted.iter().take(NAMED_AT_MOST) {
        notes.put(fact::CLIENT_AUTHORITIES_TRUSTED.text(ca.subject()));
    }
    if !trusted.is_empty() {
        notes.put(Clients::Trusted);
        return None;
    }
    let is_ca = |it: &&&Certificate| x509::is_ca(&it.der()) || it.is_self_issued();
    let untrusted: Vec<String> =
        others.iter().filter(is_ca).map(|ca| format!("{} (trust {})", ca.subject(), ca.trust())).collect();
    for ca in untrusted.iter().take(NAMED_AT_MOST) {
        notes.put(fact::CLIENT_AUTHORITIES_UNTRUSTED.text(ca));
    }
    let summary = match untrusted.as_slice() {
        [] => {
            notes.put(Clients::None);
            "the database contains no CA for client certificates".to_owned()
        }
        [first, more @ ..] => {
            notes.put(Clients::WithoutTrust);
            let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
            format!(
                "no CA in the database has the trust flag T, which a CA needs for client certificates: {first}{more}"
            )
        }
    };
    Some((signal::NO_CLIENT_AUTHORITY, summary))
}
