//! Compares a peer's chain with our own database. Every signature is verified, so that an issuer is found by its key and not only by its
//! name. NSS reports that it refuses a chain; this module shows the certificates that it had for its decision.

mod serial;

use std::cell::OnceCell;
use std::collections::VecDeque;
use std::ffi::OsStr;

use nssight_diagnosis::derive::trust::{self as derive, Above, Chain, Letters, Link, Loose, Namesake};
use nssight_diagnosis::fact::Facts;
use nssight_diagnosis::fact::fact::{
    self, PeerChainState as State, TrustStoreAnchors as Anchors, TrustStoreIssuer as Issuer,
};
use nssight_nss::{Certificate, ErrorCode, library};
use nssight_nssdb::{Database, Flags, TrustSource};
use nssight_session::{Code, SessionError, SessionFacts};
use nssight_wire::name_from_der;
use openssl::x509::X509;

use crate::probe::nss_db;
use crate::walk::Walk;
use crate::{own_copies, x509};

/// NSS itself follows a chain no further (seccomon.h, CERT_MAX_CERT_CHAIN); a peer may send any number.
const CHAIN_AT_MOST: usize = 20;
/// A chain with more branches than this was made to waste time.
const LINKS_AT_MOST: usize = 60;
/// Maximum number of certificates named as possible matches.
const NAMED_AT_MOST: usize = 10;
/// NSS reads records of class CKO_TRUST from this version on.
const READS_NEWER_TRUST: (u32, u32) = (3, 114);

/// The relation of a peer's chain to our own database.
#[derive(Default)]
pub struct Opinion {
    /// The facts.
    pub(crate) facts: Facts,
    /// The obstacle, as text.
    pub(crate) says: Option<String>,
    /// Whether it leads to a CA of our own chain; `None` if that CA itself is missing.
    pub(crate) issuer_is_ours: Option<bool>,
    /// A CA above the peer's certificate does not permit its names.
    pub(crate) is_outside: bool,
}

impl Opinion {
    /// Only the copies of CAs that this database can add to a chain, read without NSS.
    pub fn of_copies_in(argument: &OsStr, sent: &[Vec<u8>]) -> Self {
        let mut opinion = Self::default();
        if sent.is_empty() {
            return opinion;
        }
        let stored = nss_db::open(argument).map(|database| database.certificates);
        let stored: Vec<Vec<u8>> = stored.into_iter().flatten().map(|certificate| certificate.der).collect();
        opinion.facts.extend(own_copies::among(sent, &stored).map(Into::into));
        opinion
    }
}

/// Examines the chain of a failed session. `sent` is the chain on the wire, for a chain that NSS dropped before it stored it.
pub(crate) fn look(walk: &Walk<'_>, session: &SessionFacts, sent: &[Vec<u8>], error: &SessionError) -> Opinion {
    let chain = if session.peer_chain.is_empty() { sent } else { &session.peer_chain };
    if error.code == Code::Nss(ErrorCode::SEC_ERROR_REUSED_ISSUER_AND_SERIAL.0) {
        return serial::same(walk, chain);
    }
    let is_refused = matches!(session.decision, Some(Err(_)));
    let files = walk.files.as_ref().map(|files| files.authorities.as_deref());
    let stored: Vec<Stored> = match (files, is_refused, walk.slot()) {
        (Some(authorities), ..) => {
            let ders = authorities.unwrap_or_default().iter().filter_map(|it| it.to_der().ok());
            ders.map(Stored::File).collect()
        }
        (None, true, Some(slot)) => slot.certificates().into_iter().map(Stored::Database).collect(),
        // Only the issuer is of interest.
        _ => walk.chain().iter().map(Certificate::share).map(Stored::Database).collect(),
    };
    // The CAs of the system can be looked up one by one, but not enumerated.
    let is_known = files.map_or(walk.slot().is_some(), |authorities| authorities.is_some());
    let mut known = Known::new(chain, stored);
    let files = Files { walk, database: OnceCell::new() };
    known.climb(&files);
    let issuer_is_ours = known.leads_to_ours(walk);
    let mut opinion = Opinion { issuer_is_ours, ..Opinion::default() };
    if is_refused && !chain.is_empty() && is_known {
        known.judge(&files, &mut opinion);
    }
    opinion
}

/// A certificate in our store.
enum Stored {
    /// In the database.
    Database(Certificate),
    /// In a file of CAs, all of which are trusted.
    File(Vec<u8>),
}

impl Stored {
    fn der(&self) -> Vec<u8> {
        match self {
            Self::Database(certificate) => certificate.der(),
            Self::File(der) => der.clone(),
        }
    }
}

/// A certificate that was sent, is stored, or both.
struct Entry {
    der: Vec<u8>,
    x509: X509,
    subject: Vec<u8>,
    issuer: Vec<u8>,
    stored: Option<Stored>,
}

impl Entry {
    fn read(der: &[u8], stored: Option<Stored>) -> Option<Self> {
        let x509 = X509::from_der(der).ok()?;
        let (subject, issuer) = (x509.subject_name().to_der().ok()?, x509.issuer_name().to_der().ok()?);
        Some(Self { der: der.to_vec(), x509, subject, issuer, stored })
    }

    /// Whether this certificate's key made the signature of `other`.
    fn signed(&self, other: &Self) -> bool {
        x509::verified(|| other.x509.verify(&*self.x509.public_key()?)).unwrap_or(false)
    }

    fn is_self_signed(&self) -> bool {
        self.subject == self.issuer && self.signed(self)
    }

    fn key(&self) -> Option<Vec<u8>> {
        self.x509.public_key().ok()?.public_key_to_der().ok()
    }

    /// Why this certificate, which has the name of `other`'s issuer, did not sign `other`.
    fn namesake_of_issuer(&self, other: &Self) -> Namesake {
        let ids = other.x509.authority_key_id().zip(self.x509.subject_key_id());
        match ids.map(|(wanted, own)| wanted.as_slice() == own.as_slice()) {
            Some(false) => return Namesake::OtherKey,
            // A CA that was made anew may have kept its identifier.
            Some(true) if x509::identifies_its_key(&self.der) => return Namesake::SameKey,
            _ => {}
        }
        if x509::is_by_another_kind_of_key(&other.der, &self.der) { Namesake::OtherKey } else { Namesake::Unknown }
    }

    /// The issuer's own issuer, according to the authority key identifier. A CA may have several certificates, so another issuer proves that
    /// one is missing only if that issuer is the CA that is in our database.
    fn above(&self, all: &[Self]) -> Above {
        let names = self.x509.authority_issuer().into_iter().flatten();
        let name = names.filter_map(|name| name.directory_name()?.to_der().ok()).next();
        match name {
            Some(name) if name == self.issuer => Above::Itself,
            Some(name) if all.iter().any(|it| it.stored.is_some() && it.subject == name) => Above::Another,
            Some(_) => Above::PerhapsAnother,
            None => Above::Unsaid,
        }
    }

    fn shown(&self) -> String {
        let subject = name_from_der(&self.subject);
        match &self.stored {
            Some(Stored::File(_)) => format!("{subject} (trusted)"),
            Some(Stored::Database(stored)) => {
                let nickname = stored.nickname().map(|name| format!("\"{name}\", ")).unwrap_or_default();
                format!("{subject} ({nickname}trust {})", stored.trust())
            }
            None => subject,
        }
    }

    /// The serial number in hexadecimal digits.
    fn serial(&self) -> String {
        let digits = self.x509.serial_number().to_bn().and_then(|number| Ok(number.to_hex_str()?.to_string()));
        digits.unwrap_or_default()
    }
}

/// All certificates that were sent or are stored, and those above the peer's own.
struct Known {
    all: Vec<Entry>,
    /// Indexes in `all` of the certificates reached, the peer's own first.
    reached: Vec<usize>,
    chain: Chain,
}

impl Known {
    fn new(sent: &[Vec<u8>], stored: Vec<Stored>) -> Self {
        let mut all: Vec<Entry> = sent.iter().take(CHAIN_AT_MOST).filter_map(|der| Entry::read(der, None)).collect();
        for certificate in stored {
            let der = certificate.der();
            // A certificate may be sent twice, or stored under two nicknames.
            let same = all.iter_mut().find(|entry| entry.der == der);
            match same {
                Some(entry) => entry.stored = Some(certificate),
                None => all.extend(Entry::read(&der, Some(certificate))),
            }
        }
        Self { all, reached: Vec::new(), chain: Chain::default() }
    }

    /// Climbs from the peer's certificate along every signature.
    fn climb(&mut self, files: &Files<'_>) {
        if self.all.is_empty() {
            return;
        }
        let mut queue = VecDeque::from([0]);
        self.reached.push(0);
        while let Some(place) = queue.pop_front() {
            let entry = &self.all[place];
            let link = self.link(place, files);
            self.chain.links.push(link);
            if link.is_self_signed {
                let is_namesake = |other: &Entry| other.stored.is_some() && other.subject == entry.subject;
                self.chain.has_namesake_of_root |=
                    place != 0 && link.stored.is_none() && self.all.iter().any(is_namesake);
                continue;
            }
            let named: Vec<usize> = (0..self.all.len())
                .filter(|other| *other != place && self.all[*other].subject == entry.issuer)
                .collect();
            let (issuers, others): (Vec<usize>, Vec<usize>) =
                named.into_iter().partition(|other| self.all[*other].signed(entry));
            let own = self.chain.links.len() - 1;
            for issuer in &issuers {
                let at = self.reached.iter().position(|known| known == issuer).unwrap_or_else(|| {
                    self.reached.push(*issuer);
                    queue.push_back(*issuer);
                    self.reached.len() - 1
                });
                self.chain.signed.push((own, at));
            }
            if issuers.is_empty() && link.stored != Some(Letters::ForServers) {
                let kind = |other: &usize| self.all[*other].namesake_of_issuer(entry);
                let has_other_key =
                    |other: &&usize| self.all[**other].stored.is_some() && kind(other) != Namesake::SameKey;
                self.chain.loose.push(Loose {
                    namesakes: others.iter().map(kind).collect(),
                    is_named_here: others.iter().any(|other| has_other_key(&other)),
                    above: entry.above(&self.all),
                    issuer: name_from_der(&entry.issuer),
                });
            }
            if self.reached.len() > LINKS_AT_MOST {
                return;
            }
        }
    }

    fn link(&self, place: usize, files: &Files<'_>) -> Link {
        let entry = &self.all[place];
        let stored = entry.stored.as_ref().map(|stored| files.letters(stored, place == 0));
        Link {
            stored,
            is_self_signed: entry.is_self_signed(),
            is_ca: x509::is_ca(&entry.der),
            is_in_date: x509::is_in_date(&entry.der),
        }
    }

    /// By key; by name only if our own chain ends below the CA in question.
    fn leads_to_ours(&self, walk: &Walk<'_>) -> Option<bool> {
        let ours: Vec<Entry> = walk.chain().iter().skip(1).filter_map(|link| Entry::read(&link.der(), None)).collect();
        let top = walk.chain().last().filter(|top| top.is_self_issued());
        if self.all.is_empty() || top.is_none() && ours.is_empty() {
            return None;
        }
        let is_ours = |entry: &Entry| ours.iter().any(|own| own.subject == entry.subject && own.key() == entry.key());
        let found = self.reached.iter().any(|place| is_ours(&self.all[*place]));
        (found || top.is_some()).then_some(found)
    }

    fn judge(&self, files: &Files<'_>, opinion: &mut Opinion) {
        let (issuer, state) = (derive::issuer(&self.chain), derive::state(&self.chain));
        let anchors = files.anchors(issuer);
        let out = &mut opinion.facts;
        out.put(issuer);
        out.put(state);
        out.put(anchors);
        let here = self.reached.iter().filter(|place| self.all[**place].stored.is_some());
        for place in here.take(10) {
            out.put(fact::TRUST_STORE_CA.text(self.all[*place].shown()));
        }
        if let Some(loose) = self.chain.loose.first() {
            out.put(fact::PEER_CHAIN_MISSING_ISSUER.text(&loose.issuer));
        }
        opinion.says = self.says(issuer, state, anchors, files.store());
        let mut above = self.reached.iter().skip(1).map(|place| &self.all[*place]);
        opinion.is_outside = self.all.first().is_some_and(|leaf| above.any(|ca| !x509::permits(&ca.der, &leaf.der)));
    }

    /// The certificate with these trust letters, for a sentence.
    fn with(&self, wanted: impl Fn(&Link) -> bool) -> String {
        let links = self.chain.links.iter().zip(&self.reached);
        let found = links.filter(|(link, _)| wanted(link)).map(|(_, place)| self.all[*place].shown());
        found.last().unwrap_or_else(|| "a CA".to_owned())
    }

    fn says(&self, issuer: Issuer, state: State, anchors: Anchors, store: &str) -> Option<String> {
        let has = |letters: Letters| self.with(move |link| link.stored == Some(letters));
        let missing = || self.chain.loose.first().map_or_else(|| "its issuer".to_owned(), |loose| loose.issuer.clone());
        Some(match (issuer, state) {
            (Issuer::Distrusted, _) => {
                format!("{} is explicitly distrusted in {store}", has(Letters::Distrusted))
            }
            (_, State::Broken) => "a signature in its chain does not verify with the issuer's key".to_owned(),
            (_, State::PerhapsBroken) => {
                format!("its signature does not verify with the key of the {} on this host", missing())
            }
            (_, State::IssuerNoCa) => "the issuer of a certificate in its chain is not a CA".to_owned(),
            (Issuer::WithoutTrust | Issuer::ForClientsOnly, _) => {
                let is_root = |link: &Link| link.stored.is_some() && link.is_self_signed;
                let is_expired = |link: &Link| is_root(link) && !link.is_in_date;
                if self.chain.links.iter().any(is_expired)
                    && !self.chain.links.iter().any(|it| is_root(it) && it.is_in_date)
                {
                    let copy = self.with(is_expired);
                    return Some(format!(
                        "{store} has only a copy of its CA {copy} that is out of date, without trust for servers"
                    ));
                }
                let root = self.with(|link| is_root(link) && link.is_in_date);
                format!("its chain leads to {root}, which {store} does not trust for servers")
            }
            (Issuer::ExpiredCopy, _) => {
                let copy = self.with(|link| link.stored == Some(Letters::ForServers) && !link.is_in_date);
                format!("{store} has a copy of its CA {copy} that has expired or is not yet valid")
            }
            (Issuer::NewerTrust, _) => {
                format!("its CA {} is trusted in a form that only NSS 3.114 and later read", has(Letters::ForNewer))
            }
            (Issuer::Absent | Issuer::OtherKey | Issuer::RootMissing, _) if anchors == Anchors::Empty => {
                format!("{store} contains no certificate")
            }
            (Issuer::Absent | Issuer::OtherKey | Issuer::RootMissing, _) if anchors == Anchors::None => {
                format!("{store} trusts no CA for servers")
            }
            (_, State::IntermediateUnsent) => {
                format!("the intermediate CA {} was not sent, and is not in {store}", missing())
            }
            (Issuer::OtherKey, State::RootSent) => {
                let root = self.with(|link| link.is_self_signed);
                format!("its chain leads to {root}, but the CA with that name in {store} has a different key")
            }
            (Issuer::OtherKey, _) => format!("the {} in {store} has a different key from its issuer", missing()),
            (_, State::IssuerUnsent | State::RootUnsent | State::PerhapsIntermediateUnsent) => {
                format!("its issuer {} was not sent, and is not in {store}", missing())
            }
            (_, State::SelfSigned) => format!("it is self-signed, and not in {store}"),
            (Issuer::Absent | Issuer::RootMissing, State::RootSent) => {
                let root = self.with(|link| link.is_self_signed);
                format!("its chain leads to the root {root}, which is not in {store}")
            }
            _ => return None,
        })
    }
}

/// Our database, through NSS and through the reader without NSS.
struct Files<'a> {
    walk: &'a Walk<'a>,
    /// Read once, on first use.
    database: OnceCell<Option<Database>>,
}

impl Files<'_> {
    fn database(&self) -> Option<&Database> {
        self.database.get_or_init(|| nss_db::open_natively(self.walk)).as_ref()
    }

    /// The store of trusted certificates, as the subject of a sentence.
    fn store(&self) -> &'static str {
        if self.walk.files.is_some() { "the file of trusted CAs" } else { "the database" }
    }

    fn letters(&self, stored: &Stored, is_leaf: bool) -> Letters {
        let stored = match stored {
            Stored::Database(stored) => stored,
            // OpenSSL requires the root, whatever other part of a chain is in the file (X509_V_FLAG_PARTIAL_CHAIN in
            // X509_VERIFY_PARAM_set_flags(3)).
            Stored::File(der) if x509::is_signed_by(der, der) => return Letters::ForServers,
            Stored::File(_) => return Letters::Plain,
        };
        let trust = stored.trust();
        if trust.distrusted() {
            Letters::Distrusted
        } else if trust.trusts_servers() || is_leaf && trust.trusted_peer() {
            Letters::ForServers
        } else if self.is_trusted_by_newer(stored) {
            Letters::ForNewer
        } else if trust.trusts_clients() {
            Letters::ForClients
        } else {
            Letters::Plain
        }
    }

    /// Whether the file has trust in a record that the NSS in this process does not read.
    fn is_trusted_by_newer(&self, stored: &Certificate) -> bool {
        if nss_db::nss_is_at_least(READS_NEWER_TRUST) {
            return false;
        }
        let der = stored.der();
        let entries = self.database().into_iter().flat_map(|database| &database.certificates);
        let mut newer = entries.filter(|entry| entry.trust.source == TrustSource::Pkcs11Trust && entry.der == der);
        newer.any(|entry| entry.trust.ssl.is_trusted_ca())
    }

    /// Whether anything at all is trusted. Read from the file, since reading all trust through NSS costs 7 PBKDF2 runs per CA.
    fn anchors(&self, issuer: Issuer) -> Anchors {
        if let Some(files) = &self.walk.files {
            let is_empty = files.authorities.as_ref().is_some_and(Vec::is_empty);
            return if is_empty { Anchors::Empty } else { Anchors::Some };
        }
        if issuer == Issuer::Trusted || library::has_root_certs() {
            return Anchors::Some;
        }
        let Some(database) = self.database().filter(|database| !database.partial) else { return Anchors::Some };
        let is_anchor =
            |entry: &nssight_nssdb::Certificate| entry.trust.ssl.is_trusted_ca() || entry.trust.ssl.has(Flags::TRUSTED);
        match database.certificates.as_slice() {
            [] => Anchors::Empty,
            some if some.iter().any(is_anchor) => Anchors::Some,
            _ => Anchors::None,
        }
    }
}
