//! The state that the probes of one check share.
use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::signatures::Signer;
use nssight_diagnosis::fact::fact::{self, OuterSessionEnd};
use nssight_diagnosis::{CertificateRole, Finding, Layer, Outcome};
use nssight_nss::{Asked, Certificate, Login, Nss, PrivateKey, Slot};
use nssight_session::{Control, SessionError, TlsSession};
use zeroize::Zeroizing;

use crate::certificates::SeenCertificate;
use crate::credentials::{self, Found};
use crate::kept::Kept;
use crate::private_copy::{self, PrivateCopy};
use crate::revocation_lists::{LISTS_AT_MOST, SeenRevocationList};
use crate::secret::Password;
use crate::settings::Settings;
use crate::target::{Role, Target};
use crate::wire::SessionLog;
use crate::x509;

/// An established outer session.
pub struct OuterSession {
    /// The session.
    pub client: Box<dyn TlsSession>,
    /// Its deadline.
    pub control: Rc<Control>,
    /// The recorded bytes.
    pub log: Rc<RefCell<SessionLog>>,
    /// The origin of all times on the wire.
    pub began: Instant,
    /// The duration of the handshake.
    pub took: Duration,
    /// The duration of the TCP connect.
    pub round_trip: Duration,
}

/// The way through the outer session to the server behind a bridge; a profile implements it.
pub trait Passage {
    /// Every wait ends at `deadline`.
    fn set_deadline(&self, deadline: Instant);
    /// The error by which the session with the bridge broke, if it did.
    fn broken(&self) -> Option<SessionError>;
    /// How the outer session ended, if it did.
    fn how_it_ended(&self) -> Option<OuterSessionEnd>;
    /// Sends the server a harmless request in the inner session: the layer `request`.
    fn ask(&mut self, walk: &mut Walk<'_>, inner: InnerSession) -> Outcome;
}

/// How the transport of an inner session waits for bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Waits {
    /// Not at all: a receive returns `WouldBlock`.
    Never,
    /// For the next bytes only.
    Once,
    /// Until the deadline.
    Always,
}

impl Waits {
    /// Whether a receive waits; `Once` then becomes `Never`.
    pub(crate) fn waits_this_time(turn: &Cell<Self>) -> bool {
        if turn.get() == Self::Once {
            return turn.replace(Self::Never) == Self::Once;
        }
        turn.get() == Self::Always
    }
}

/// An inner session.
pub struct InnerSession {
    /// The session.
    pub client: Box<dyn TlsSession>,
    /// How it waits for the peer; it must not wait until `bridge` has passed.
    pub waits: Rc<Cell<Waits>>,
    /// The recorded bytes.
    pub log: Rc<RefCell<SessionLog>>,
    /// The start of the session.
    pub began: Instant,
}

/// A database that NSS has open.
pub struct Opened {
    /// NSS.
    pub nss: Nss,
    /// The slot of the database's keys.
    pub slot: Slot,
    /// The slot of another token, if the nickname refers to one.
    pub token: Option<Slot>,
    /// How NSS requested the password, once it has.
    asked: Cell<Option<Asked>>,
}

impl Opened {
    /// An initialised NSS with the slot of its database.
    ///
    /// # Errors
    /// As [`Slot::internal_key`].
    pub fn of(nss: Nss) -> nssight_nss::Result<Self> {
        Ok(Self { slot: Slot::internal_key(&nss)?, nss, token: None, asked: Cell::default() })
    }

    /// Logs in to the slot of our key. A slot that is already logged in requests no password; in this case the way NSS requested it at that
    /// login counts.
    pub(crate) fn log_in(&self, password: &[u8]) -> (Login, Asked) {
        let (login, asked) = self.keys().authenticate(Some(password));
        let asked = self.asked.take().filter(|_| asked.times == 0).unwrap_or(asked);
        self.asked.set(Some(asked));
        (login, asked)
    }

    /// The slot of our key.
    pub fn keys(&self) -> &Slot {
        self.token.as_ref().unwrap_or(&self.slot)
    }
}

/// Our certificate.
pub struct Own {
    /// The certificate itself.
    pub certificate: Certificate,
    /// The certificate and its issuers. NSS caches what it has read of a certificate, trust included, only while a reference exists.
    /// Without one, the handshake would verify the integrity of all trust again (7 PBKDF2 runs per CA).
    pub chain: Vec<Certificate>,
    /// Its key, from `private-key` on.
    pub key: Option<PrivateKey>,
}

/// One layer's probe.
pub struct Probe {
    /// The layer of this probe.
    pub layer: Layer,
    /// Layers that must have passed before this one makes sense.
    pub needs: &'static [Layer],
    /// Checks the layer.
    pub run: fn(&mut Walk<'_>) -> Outcome,
}

/// What the probes have obtained so far. Everything in it stays in this process.
pub struct Walk<'a> {
    /// The target.
    pub settings: &'a Settings,
    /// The findings so far.
    pub findings: Vec<Finding>,
    /// The deadline of the present layer.
    pub deadline: Instant,
    /// The deadline of the whole check, if it has one.
    pub end: Option<Instant>,
    /// The password, until it has been used.
    pub password: Option<Password>,
    /// The password of the key database, if a library other than NSS needs the key.
    pub unlocked_by: Option<Zeroizing<Vec<u8>>>,
    /// The database that the previous check left open, until `nss-db`.
    pub kept: Option<Kept>,
    /// Our certificate and key of the previous check, held until the end of this one.
    pub own_before: Option<Own>,
    /// The database that NSS opened, from `nss-db` on.
    pub opened: Option<Opened>,
    /// The content of the files, from `credentials` on.
    pub files: Option<Found>,
    /// Our certificate, from `certificate` on.
    pub own: Option<Own>,
    /// Certificates seen so far, for the report.
    pub met: Vec<SeenCertificate>,
    /// Revocation lists of the database, from `certificate` on, for the report.
    pub lists: Vec<SeenRevocationList>,
    /// Addresses of the bridge, from `resolve` on.
    pub addresses: Vec<SocketAddr>,
    /// The only connection, between `tcp` and `outer-handshake`, and the time that it took to connect.
    pub connection: Option<(TcpStream, Duration)>,
    /// The inner session, between `bridge` and `request`; it ends before the passage that carries it.
    pub inner: Option<InnerSession>,
    /// The tunnel through the bridge, from `bridge` on.
    pub passage: Option<Box<dyn Passage>>,
    /// The outer session, between `outer-handshake` and `bridge`.
    pub outer: Option<OuterSession>,
    /// The administrator's password, for `request`.
    pub admin_password: Option<Password>,
    /// The check reaches the peer.
    pub connects: bool,
    /// The check continues after the outer handshake, over the same session.
    pub goes_on: bool,
    /// TCP connections opened.
    pub connections: u32,
    /// The events on the wire, one log per TLS session.
    pub sessions: Vec<Rc<RefCell<SessionLog>>>,
    /// A private copy of the database that must live as long as NSS has it open.
    pub private_copy: Option<PrivateCopy>,
    /// The path of the private copy, if one is needed; the process that chose the path removes what is left there.
    pub copy_to: PathBuf,
}

impl<'a> Walk<'a> {
    /// A new check.
    pub fn new(settings: &'a Settings, password: Option<Password>) -> Self {
        Self {
            settings,
            findings: Vec::new(),
            deadline: Instant::now(),
            end: None,
            password,
            unlocked_by: None,
            kept: None,
            own_before: None,
            opened: None,
            files: None,
            own: None,
            met: Vec::new(),
            lists: Vec::new(),
            addresses: Vec::new(),
            connection: None,
            inner: None,
            passage: None,
            outer: None,
            admin_password: None,
            connects: false,
            goes_on: false,
            connections: 0,
            sessions: Vec::new(),
            private_copy: None,
            copy_to: private_copy::place(),
        }
    }

    /// The target, once `config` has passed; later layers require it.
    pub fn target(&self) -> &'a Target {
        match &self.settings.target {
            Ok(target) => target,
            Err(trouble) => unreachable!("a layer was checked without a configuration: {trouble}"),
        }
    }

    /// The finding on an earlier layer.
    pub fn finding(&self, layer: Layer) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.layer == layer)
    }

    /// The slot of the database, once it is open.
    pub fn slot(&self) -> Option<&Slot> {
        self.opened.as_ref().map(|opened| &opened.slot)
    }

    /// The slot of another token, if the nickname refers to one.
    pub fn token(&self) -> Option<&Slot> {
        self.opened.as_ref()?.token.as_ref()
    }

    /// Our certificate and its issuers, as far as they were found.
    pub fn chain(&self) -> &[Certificate] {
        self.own.as_ref().map_or(&[], |own| &own.chain)
    }

    /// Time left for the present layer.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Notes our own certificate and its issuers.
    pub(crate) fn record_own_certificates(&mut self) {
        let role = match self.target().role {
            Role::Client => CertificateRole::Client,
            Role::Server => CertificateRole::Server,
            Role::Bridge => CertificateRole::Bridge,
        };
        let chain: Vec<_> = self.chain().iter().map(|link| (link.nickname(), link.der())).collect();
        let chain = chain.iter().map(|(nickname, der)| (nickname.clone(), der.as_slice()));
        self.note_new(SeenCertificate::of_chain(role, chain));
    }

    /// Notes the revocation lists of the database.
    pub(crate) fn meet_lists(&mut self) {
        let mut lists = Vec::new();
        if let Some(slot) = self.slot() {
            slot.each_revocation_list(LISTS_AT_MOST, |der| lists.extend(SeenRevocationList::read(der)));
        }
        self.lists = lists;
    }

    /// Notes the chain that a peer sent.
    pub(crate) fn record_peer_chain(&mut self, role: CertificateRole, chain: &[Vec<u8>]) {
        let seen = SeenCertificate::of_chain(role, chain.iter().map(|der| (None, der.as_slice())));
        self.note_new(seen);
        if self.target().shows_certificates {
            chain.iter().for_each(|der| self.met.iter_mut().for_each(|seen| seen.show(der)));
        }
    }

    /// Each CA is noted once, as first seen: with its nickname if our database has it.
    pub(crate) fn note_new(&mut self, certificates: Vec<SeenCertificate>) {
        for certificate in certificates {
            if !self.met.iter().any(|known| known.is(&certificate)) {
                self.met.push(certificate);
            }
        }
    }

    /// Certificate and key for one more TLS session.
    pub(crate) fn client_auth(&self) -> Option<nssight_nss::Identity> {
        let own = self.own.as_ref()?;
        Some(nssight_nss::Identity { certificate: own.certificate.share(), key: own.key.as_ref()?.share().ok()? })
    }

    /// Certificate and key of the files, for one more TLS session.
    pub(crate) fn identity(&self) -> Option<nssight_openssl::Identity> {
        let files = self.files.as_ref()?;
        let Some(credentials::Key::Open(key)) = &files.key else { return None };
        let (certificate, chain) = files.chain.split_first()?;
        let sends_first_only = self.target().files().is_some_and(|files| files.sends_first_only);
        let chain = if sends_first_only { Vec::new() } else { chain.to_vec() };
        Some(nssight_openssl::Identity { certificate: certificate.clone(), chain, key: key.clone() })
    }

    /// The type of our key, according to our certificate.
    pub(crate) fn signer(&self) -> Option<Signer> {
        match (&self.own, &self.files) {
            (Some(own), _) => x509::signer(&own.certificate.der()),
            (None, files) => x509::signer(&files.as_ref()?.chain.first()?.to_der().ok()?),
        }
    }

    /// If no certificate is configured: certificates in the database with a private key.
    pub(crate) fn not_named(&self) -> Option<Vec<String>> {
        if self.target().has_certificate() || self.files.is_some() {
            return None;
        }
        let facts = self.findings.iter().flat_map(|finding| &finding.facts);
        let names = facts.filter(|fact| fact.id == fact::OUR_CERTIFICATE_AT_HAND.0);
        Some(names.map(|fact| fact.text().into_owned()).collect())
    }

    /// Issuers of our chain, as DER names, the missing one included.
    pub(crate) fn our_cas(&self) -> Vec<Vec<u8>> {
        if let Some(files) = &self.files {
            return files.chain.iter().filter_map(|it| x509::issuer(&it.to_der().ok()?)).collect();
        }
        self.chain().iter().filter_map(|link| x509::issuer(&link.der())).collect()
    }
}
