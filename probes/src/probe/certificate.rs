//! `certificate`: is the nickname there, in date, chained to a trusted CA, usable for a TLS client?

use nssight_diagnosis::derive::dates::{self as derive, Validity};
use nssight_diagnosis::derive::nickname::near_miss;
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::fact::fact::{self, ClockState, OurCertificateState as State, OwnChainState as Chain};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome, Status, shell};
use nssight_nss::{Certificate, ChainError, ErrorCode, Trust, Usage, library};
use nssight_nssdb::{Certificate as Entry, Database};
use time::OffsetDateTime;

use crate::error_info;
use crate::policy::Policy;
use crate::probe::nss_db;
use crate::profile::Profile;
use crate::target::{Role, Target};
use crate::token;
use crate::trust_store;
use crate::walk::{Probe, Walk};
use crate::x509;

/// Certificates are readable without a login.
pub const PROBE: Probe =
    Probe { layer: Layer::Certificate, needs: &[Layer::Config, Layer::Environment, Layer::NssDb], run };

fn run(walk: &mut Walk<'_>) -> Outcome {
    let notes = Notes::default();
    let Some(nss) = walk.nss.clone() else {
        return notes.fail(signal::NSS_NOT_INITIALISED, "NSS is not initialised");
    };
    let Some(nickname) = walk.target().nickname.as_ref().map(|nickname| nickname.value.as_str()) else {
        let mut notes = notes.with(State::NotWanted).with(Chain::None);
        nss_db::with_key(walk).iter().for_each(|name| notes.put(fact::OUR_CERTIFICATE_AT_HAND.text(name)));
        return notes.pass("no nickname was given: the walk goes on without a client certificate");
    };
    let locked = walk.finding(Layer::Password).is_some_and(|password| password.status == Status::Fail);
    if let Some(token) = walk.token.as_ref().filter(|_| locked) {
        // As a rule a token shows nothing before the login.
        return notes.skip(format!("the token \"{}\" was not logged in to", token.token_name()));
    }
    match Certificate::find(nickname, &nss) {
        Ok(certificate) => {
            let chain = certificate.chain();
            let outcome = judge(walk, nickname, &certificate, &chain, notes);
            walk.certificate = Some(certificate);
            walk.chain = chain;
            walk.meet_own();
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
    notes.put(match trust_store::is_ca(&certificate.der()) {
        true => fact::OurCertificateKind::Authority,
        false => fact::OurCertificateKind::EndEntity,
    });
    let now = OffsetDateTime::now_utc();
    let issuers: Vec<Option<Validity>> = chain.iter().skip(1).map(|ca| dates(ca).map(validity)).collect();
    let objections = objections(walk.target().role, certificate, &mut notes);
    let dated = by_dates(walk, nickname, certificate, &issuers, now, &mut notes);
    let by_use = || by_use(walk.target(), nickname, certificate, chain, &objections);
    let own = match dated {
        // What is bad for another reason as well is bad for that one.
        Some((State::BeginsSoon, _)) => by_use().or(dated),
        None => by_use(),
        bad => bad,
    };
    // Whatever the certificate itself is: what is known of its chain excludes causes.
    let above = look_above(walk, nickname, chain, derive::first_expired(&issuers, now.unix_timestamp()), &mut notes);
    let above = match above.state {
        Chain::Good | Chain::SelfSigned => does_not_hold(nickname, chain, &objections).unwrap_or(above),
        _ => above,
    };
    notes.put(own.as_ref().map_or(State::Good, |(state, _)| *state));
    if matches!(own, Some((State::Weak, _))) {
        // What NSS as it comes would take, only this host's policy calls weak.
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
        // Whoever has to accept it decides: a peer may judge by another list, or by less.
        (_, Chain::Invalid | Chain::Revoked) => notes.warn(signal::CERTIFICATE_REMARK, above.summary),
        (_, Chain::IssuerMissing | Chain::Untrusted | Chain::CaExpired) => {
            without_trust(walk, chain, above, now, notes)
        }
        (_, _) => notes.fail(signal::CERTIFICATE_UNUSABLE, above.summary),
    }
}

/// What is odd, and may well work: the peer decides.
fn is_a_remark(state: State) -> bool {
    matches!(state, State::BeginsSoon | State::ForServersOnly)
}

/// What the dates of the certificate say against it.
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
            format!(
                "\"{nickname}\" is valid only from {start} on, the clock says {now}, before NSS itself was installed"
            )
        }
        State::NotYetValidByClock => {
            format!("\"{nickname}\" and its CA are both valid only from {start} on, the clock says {now}")
        }
        State::BeginsSoon => format!(
            "\"{nickname}\" is valid only from {start} on, the clock says {now}: NSS takes it a day early, others do not; \
             this clock may be behind"
        ),
        _ => format!("\"{nickname}\" is valid only from {start} on, the clock says {now}"),
    };
    Some((state, summary))
}

/// What NSS has against our chain for what this role does.
fn objections(role: Role, certificate: &Certificate, notes: &mut Notes) -> Vec<ChainError> {
    let objections: Vec<_> = usages(role).iter().flat_map(|usage| certificate.verify(*usage)).collect();
    for objection in &objections {
        let place = match objection.depth {
            0 => "the certificate".to_owned(),
            depth => format!("its issuer {depth} up"),
        };
        let (name, subject) = (&objection.error.name, &objection.subject);
        notes.put(fact::OUR_CERTIFICATE_OBJECTION.text(format!("{name} to {place} ({subject})")));
    }
    objections
}

/// Whether an issuer of the chain is a CA of the right name with another kind of key. NSS takes an issuer by its name where no key
/// identifier speaks against it, and such a key for an algorithm that it does not allow.
fn has_namesake(chain: &[Certificate]) -> bool {
    chain.windows(2).any(|pair| x509::is_by_another_kind_of_key(&pair[0].der(), &pair[1].der()))
}

/// Whether each certificate of the chain was signed by the one above it.
fn signatures_verify(chain: &[Certificate]) -> bool {
    chain.windows(2).all(|pair| x509::is_signed_by(&pair[0].der(), &pair[1].der()))
}

/// A chain that reaches its root and does not hold, by NSS's own judgement. Every peer over NSS refuses it.
fn does_not_hold(nickname: &str, chain: &[Certificate], objections: &[ChainError]) -> Option<Above> {
    objections.iter().find_map(|objection| {
        let state = match objection.error.code {
            ErrorCode::SEC_ERROR_REVOKED_CERTIFICATE => Chain::Revoked,
            ErrorCode::SEC_ERROR_UNKNOWN_CRITICAL_EXTENSION
            | ErrorCode::SEC_ERROR_CERT_NOT_IN_NAME_SPACE
            | ErrorCode::SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID => Chain::Invalid,
            // In FIPS mode without a login NSS says so of good ones (measured on 3.87.1).
            ErrorCode::SEC_ERROR_BAD_SIGNATURE if !signatures_verify(chain) => Chain::Invalid,
            ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED if has_namesake(chain) => Chain::Invalid,
            _ => return None,
        };
        let (name, subject) = (&objection.error.name, &objection.subject);
        let summary = format!("the chain of \"{nickname}\" does not hold: NSS says {name} to {subject}");
        Some(Above { state, summary, ca: None })
    })
}

/// What the certificate itself, whoever issued it, may not be used for.
fn by_use(
    target: &Target,
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    objections: &[ChainError],
) -> Option<(State, String)> {
    let trouble = usage_trouble(nickname, certificate, chain, objections);
    // Nobody said what this host is: that it is a client is only assumed, and a server's own database is in order with this.
    let assumed = target.role == Role::Client && target.profile() == Profile::Tls;
    let wrong = matches!(trouble, Some((State::WrongUsage, _)));
    let as_a_server = || usage_trouble(nickname, certificate, chain, &certificate.verify(Usage::SslServer));
    if assumed && wrong && as_a_server().is_none() {
        let summary = format!("\"{nickname}\" allows a server only: a peer that asks for a certificate refuses it");
        return Some((State::ForServersOnly, summary));
    }
    trouble
}

fn usages(role: Role) -> &'static [Usage] {
    match role {
        Role::Client => &[Usage::SslClient],
        Role::Bridge => &[Usage::SslServer],
        Role::Server => &[Usage::SslClient, Usage::SslServer],
    }
}

/// Of what NSS objects to, that which concerns the certificate itself.
fn usage_trouble(
    nickname: &str,
    certificate: &Certificate,
    chain: &[Certificate],
    objections: &[ChainError],
) -> Option<(State, String)> {
    let own = |code: ErrorCode| objections.iter().any(|it| it.depth == 0 && it.error.code == code);
    if own(ErrorCode::SEC_ERROR_INADEQUATE_CERT_TYPE) || own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) {
        let what = if own(ErrorCode::SEC_ERROR_INADEQUATE_KEY_USAGE) { "key usage" } else { "extended key usage" };
        return Some((State::WrongUsage, format!("the {what} of \"{nickname}\" does not allow what this role does")));
    }
    if own(ErrorCode::SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED) && !has_namesake(chain) {
        let summary = format!("\"{nickname}\" is signed with an algorithm that NSS's policy refuses");
        return Some((State::Weak, summary));
    }
    // Only RSA and DH keys have a least size in the policy; every EC curve NSS knows is longer than 127 bits.
    let (bits, least) = (certificate.key_bits(), library::policy_limits().rsa_min?);
    let too_small = bits >= 256 * 2 && i64::from(bits) < i64::from(least);
    too_small.then(|| {
        let summary = format!("the key of \"{nickname}\" has {bits} bits, NSS's policy wants at least {least}");
        (State::Weak, summary)
    })
}

/// Which flags an anchor needs depends on whose certificates this host judges.
fn anchors(role: Role, trust: Trust) -> bool {
    match role {
        Role::Client => trust.trusts_servers(),
        Role::Bridge => trust.trusts_clients(),
        Role::Server => trust.trusts_servers() && trust.trusts_clients(),
    }
}

/// What is above our certificate in its chain, in a sentence.
struct Above {
    state: Chain,
    summary: String,
    /// The CA that lacks trust.
    ca: Option<Certificate>,
}

/// The CA that issued our certificate is, as a rule, the one that the peer's certificate comes from. `expired` is the place
/// of an issuer that is out of date.
fn look_above(
    walk: &Walk<'_>,
    nickname: &str,
    chain: &[Certificate],
    expired: Option<usize>,
    notes: &mut Notes,
) -> Above {
    if let Some(expired) = expired.and_then(|place| chain.get(place + 1)) {
        let end = dates(expired).map(|(_, end)| stamp(end)).unwrap_or_default();
        return Above {
            state: Chain::CaExpired,
            summary: format!("the CA {} expired on {end}", expired.subject()),
            ca: None,
        };
    }
    let role = walk.target().role;
    let anchor = chain
        .iter()
        .enumerate()
        .find(|(depth, link)| anchors(role, link.trust()) || (*depth == 0 && link.trust().trusted_peer()));
    let is_distrusted = chain.iter().any(|link| link.trust().distrusted());
    if let Some((_, anchor)) = anchor.filter(|_| !is_distrusted) {
        let summary = format!("\"{nickname}\" is in date and chains to {}", anchor.subject());
        return Above { state: Chain::Good, summary, ca: None };
    }
    let top = &chain[chain.len() - 1];
    if chain.len() == 1 && top.is_self_issued() {
        // Nothing above it that could be trusted, and trust would make a CA of it.
        let summary = format!("\"{nickname}\" is in date, and signed with its own key");
        return Above { state: Chain::SelfSigned, summary, ca: None };
    }
    if let Some(above) = issuer_that_is_no_ca(walk, nickname, top, notes) {
        return above;
    }
    if !top.is_self_issued() {
        notes.put(fact::OWN_CHAIN_TROUBLE.text(top.issuer_name()));
        let summary = format!(
            "the chain of \"{nickname}\" ends at {}: its issuer {} is not in the database",
            top.subject(),
            top.issuer_name()
        );
        return Above { state: Chain::IssuerMissing, summary, ca: None };
    }
    if let Some(newer) = newer_trust(walk, top, role) {
        notes.put(fact::OWN_CHAIN_TRUST_ROWS.text(newer));
        let summary = format!("{} is trusted in a way that only NSS 3.114 and later can read", top.subject());
        return Above { state: Chain::TrustTooNew, summary, ca: None };
    }
    notes.put(fact::OWN_CHAIN_TROUBLE.text(top.subject()));
    let (flags, wanted) = (top.trust(), if role == Role::Bridge { "T" } else { "C" });
    let summary =
        format!("the CA {} is in the database with trust {flags}, without the {wanted} it needs", top.subject());
    Above { state: Chain::Untrusted, summary, ca: Some(top.share()) }
}

/// NSS does not find an issuer that neither its extensions nor its trust make a CA. It is here all the same.
fn issuer_that_is_no_ca(walk: &Walk<'_>, nickname: &str, top: &Certificate, notes: &mut Notes) -> Option<Above> {
    if top.is_self_issued() {
        return None;
    }
    let (der, stored) = (top.der(), walk.slot.as_ref()?.certificates());
    let issuer = stored
        .iter()
        .find(|stored| stored.subject() == top.issuer_name() && x509::is_signed_by(&der, &stored.der()))?;
    let subject = issuer.subject();
    notes.put(fact::OWN_CHAIN_TROUBLE.text(&subject));
    if !issuer.is_self_issued() {
        let summary = format!("the chain of \"{nickname}\" does not hold: its issuer {subject} is no CA's certificate");
        return Some(Above { state: Chain::Invalid, summary, ca: None });
    }
    if let Some(newer) = newer_trust(walk, issuer, walk.target().role) {
        notes.put(fact::OWN_CHAIN_TRUST_ROWS.text(newer));
        let summary = format!("{subject} is trusted in a way that only NSS 3.114 and later can read");
        return Some(Above { state: Chain::TrustTooNew, summary, ca: None });
    }
    let summary = format!(
        "the CA {subject} is in the database with trust {}, and without basic constraints only trust makes it a CA",
        issuer.trust()
    );
    Some(Above { state: Chain::Untrusted, summary, ca: Some(issuer.share()) })
}

/// A client only needs the CA of its peer. While another CA is trusted, the peer may well be judged good, and this is a
/// warning; the handshake decides.
fn without_trust(
    walk: &Walk<'_>,
    chain: &[Certificate],
    above: Above,
    now: OffsetDateTime,
    mut notes: Notes,
) -> Outcome {
    let role = walk.target().role;
    let others = walk.slot.as_ref().map(|slot| slot.certificates()).unwrap_or_default();
    let other = others.iter().find(|other| {
        let peer = other.trust().trusted_peer() && other.der() != chain[0].der();
        let in_date = dates(other).is_some_and(|(start, end)| start <= now && now <= end);
        in_date && (anchors(role, other.trust()) || peer)
    });
    let other = match other {
        Some(other) => Some(other.subject()),
        None => library::has_root_certs().then(|| "a module with public root certificates".to_owned()),
    };
    let (text, command) = remedy(walk, &above, &chain[chain.len() - 1]);
    let outcome = match other {
        Some(other) => {
            notes.put(fact::OWN_CHAIN_OTHER_TRUSTED_CA.text(other));
            notes.warn(signal::CERTIFICATE_REMARK, above.summary)
        }
        // Any peer may come from another CA than ours. Which one this database lacks, the peer's chain shows.
        None if role == Role::Client && walk.target().profile() == Profile::Tls => {
            let summary = format!("{}, and no other CA is trusted there", above.summary);
            match walk.connects {
                true => notes.warn(signal::CERTIFICATE_REMARK, summary),
                false => notes.fail(signal::NOTHING_TRUSTED, summary),
            }
        }
        None => notes.fail(signal::CERTIFICATE_UNUSABLE, above.summary),
    };
    // A client's own CA needs no trust: that is for the CA of its peer.
    match outcome.status() {
        Status::Warn if role == Role::Client && walk.target().profile() == Profile::Tls => outcome,
        _ => outcome.remedy(text, command),
    }
}

fn remedy(walk: &Walk<'_>, above: &Above, top: &Certificate) -> (String, Option<String>) {
    let database = shell::quote(&walk.target().database.value.argument.display().to_string());
    if above.state == Chain::CaExpired {
        let text = "Import the renewed certificate of the CA beside the expired one; while another CA is trusted, the peer decides";
        return (text.to_owned(), None);
    }
    if let Some(ca) = above.ca.as_ref().filter(|ca| ca.trust().distrusted()) {
        let text = format!(
            "{} is marked as one that must not be trusted (p): find out why before you change it",
            ca.subject()
        );
        return (text, None);
    }
    if let Some(ca) = &above.ca {
        let nickname = shell::quote(&ca.nickname().unwrap_or_else(|| ca.subject()));
        let command = format!("certutil -M -d {database} -n {nickname} -t CT,C,C");
        return ("Trust the CA for TLS, after a copy of the database was put aside".to_owned(), Some(command));
    }
    let command = format!("certutil -A -d {database} -n <CA-NICKNAME> -t CT,C,C -i <CA.pem>");
    (format!("Get the certificate of {} from whoever runs it and import it", top.issuer_name()), Some(command))
}

/// Trust that newer NSS wrote as PKCS#11 trust objects, which older NSS cannot see.
fn newer_trust(walk: &Walk<'_>, ca: &Certificate, role: Role) -> Option<String> {
    if nss_db::nss_is_at_least((3, 114)) {
        return None;
    }
    let database = nss_db::open_natively(walk)?;
    let der = ca.der();
    let entry = database.certificates.iter().find(|entry| entry.der == der)?;
    let letters = entry.trust.letters();
    let needed = if role == Role::Bridge { 'T' } else { 'C' };
    let there = letters.split(',').next().is_some_and(|ssl| ssl.contains(needed));
    (there && database.generation.pkcs11_trust > 0)
        .then(|| format!("{} PKCS#11 trust objects; this CA has {letters} there", database.generation.pkcs11_trust))
}

/// There is no certificate that could be used, and so no chain; this is what was seen instead.
fn missing(mut notes: Notes, state: State, summary: impl Into<String>) -> Outcome {
    notes.put(state);
    notes.put(Chain::None);
    notes.fail(signal::CERTIFICATE_UNUSABLE, summary)
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

fn not_found(walk: &Walk<'_>, wanted: &str, mut notes: Notes) -> Outcome {
    let own = walk.slot.as_ref();
    let present = token::certificates([own, walk.token.as_ref()]);
    let nicknames: Vec<String> = present.iter().filter_map(Certificate::nickname).collect();
    let stored = token::in_database(wanted, own);
    if let Some(elsewhere) = nss_db::other_format_has(walk, stored) {
        notes.put(fact::OUR_CERTIFICATE_OTHER_FORMAT.text(&elsewhere));
        let summary = format!("\"{wanted}\" is not in the database that NSS reads, but {elsewhere}");
        return missing(notes, State::InOtherFormat, summary);
    }
    notes.put(fact::OUR_CERTIFICATE_IN_DATABASE.number(nicknames.len() as u64));
    let native = nss_db::open_natively(walk);
    if let Some(native) = &native {
        let file = native.format.certificate_file();
        if native.certificates.iter().any(|entry| entry.nicknames.iter().any(|name| name.text == stored)) {
            let opinion = format!("read without NSS, {file} has it under just this nickname");
            notes.put(fact::OUR_CERTIFICATE_SECOND_OPINION.text(opinion));
            if let Some((token, _)) = stored.split_once(':') {
                return token_looked_for(wanted, token, file, notes);
            }
            let summary = format!("\"{wanted}\" is in {file}, yet NSS does not find it by its nickname");
            return nss_db::index_remedy(file, missing(notes, State::IndexStale, summary));
        }
        if !native.partial && walk.token.is_none() {
            let opinion = format!("read without NSS, {file} does not have it either");
            notes.put(fact::OUR_CERTIFICATE_SECOND_OPINION.text(opinion));
        }
    }
    let near: Vec<(String, String)> = present
        .iter()
        .filter_map(|certificate| {
            let nickname = certificate.nickname()?;
            let how = near_miss(wanted, &nickname, &certificate.subject())?;
            Some((format!("\"{nickname}\" ({how})"), nickname))
        })
        .collect();
    // A copy of the certificate beside a token that is not there is no way to its key.
    let has_key = |nickname: &str| {
        let named = |entry: &&Entry| entry.nicknames.iter().any(|name| name.text == token::in_database(nickname, own));
        native.iter().flat_map(|native| &native.certificates).filter(named).any(|entry| entry.has_private_key)
    };
    let absent = token::word(stored).filter(|_| walk.token.is_none());
    if let Some(word) = absent.filter(|_| !near.iter().any(|(_, nickname)| has_key(nickname))) {
        return token_absent(walk, wanted, word, notes);
    }
    if let Some((first, _)) = near.first() {
        for (candidate, _) in near.iter().take(5) {
            notes.put(fact::OUR_CERTIFICATE_NEAR_MISS.text(candidate));
        }
        let summary = format!("there is no \"{wanted}\", but there is {first}");
        return missing(notes, State::NearMiss, summary);
    }
    for nickname in nicknames.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_NICKNAME.text(nickname));
    }
    if let Some(token) = &walk.token {
        let summary = format!("the token \"{}\" has no certificate that \"{wanted}\" leads to", token.token_name());
        return missing(notes, State::NotFound, summary);
    }
    if let Some(outcome) = native.and_then(|native| request_outstanding(&native, wanted, &mut notes)) {
        return outcome;
    }
    let summary = format!("there is no certificate with the nickname \"{wanted}\" in this database");
    missing(notes, State::NotFound, summary)
}

/// Between `certutil -R` and the import of what the CA issues, a key is there without a certificate.
fn request_outstanding(native: &Database, wanted: &str, notes: &mut Notes) -> Option<Outcome> {
    let has_own = native.certificates.iter().any(|entry| entry.has_private_key);
    let waiting = native.pairing().orphan_keys;
    if waiting == 0 || native.partial {
        return None;
    }
    notes.put(fact::DB_KEYS_WITHOUT_CERTIFICATE.number(waiting as u64));
    if has_own {
        return None;
    }
    let keys = if waiting == 1 {
        "a private key waits for its".to_owned()
    } else {
        format!("{waiting} private keys wait for their")
    };
    let summary =
        format!("there is no \"{wanted}\" in this database yet, and {keys} certificate, as after certutil -R");
    Some(missing(std::mem::take(notes), State::RequestOutstanding, summary))
}

/// A smart card that is not in its reader, or a module that was not loaded.
fn token_absent(walk: &Walk<'_>, wanted: &str, word: &str, mut notes: Notes) -> Outcome {
    let there = walk.nss.as_ref().map(token::names).unwrap_or_default();
    for name in there.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_TOKEN.text(format!("{name}: there")));
    }
    let gone = nss_db::missing_modules(walk);
    for library in gone.iter().take(10) {
        notes.put(fact::OUR_CERTIFICATE_TOKEN.text(format!("module {library}: listed, and there is no such file")));
    }
    let (summary, remedy) = match gone.first() {
        Some(library) => (
            format!(
                "\"{wanted}\" is to be on the token \"{word}\", which is not there; the module {library} is listed and there is no such file"
            ),
            "Install the library of the module, or correct its path in the list of modules",
        ),
        None => (
            format!("\"{wanted}\" is to be on the token \"{word}\", and NSS has no token of this name"),
            "See which modules and tokens NSS has: the module may be missing in the list, the card not in its reader, or the token may have another name",
        ),
    };
    let directory = shell::quote(&walk.target().database.value.argument.display().to_string());
    missing(notes, State::TokenAbsent, summary).remedy(remedy, Some(format!("modutil -list -dbdir {directory}")))
}

/// NSS takes "token:nickname" apart before it looks (pk11cert.c, find_certs_from_nickname).
fn token_looked_for(wanted: &str, token: &str, file: &str, notes: Notes) -> Outcome {
    let summary =
        format!("\"{wanted}\" is in {file}, but NSS takes \"{token}\" for the name of a token, which does not exist");
    let remedy = "Import the certificate and its key again, under a nickname without a colon";
    missing(notes, State::TokenName, summary).remedy(remedy, None)
}
