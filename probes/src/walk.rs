//! One walk: the probes in order, what they hand on to each other, and who is told.

use std::cell::{Cell, RefCell};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_nss::transport::Control;
use nssight_nss::{Certificate, ClientAuth, Nss, PrivateKey, Slot, TlsClient};
use nssight_sigul::request::Request;

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::verdict::judge_last;
use nssight_diagnosis::{CertificateRole, Finding, Layer, Notes, Status};

use crate::certificates::SeenCertificate;
use crate::plan::{Plan, Probe};
use crate::private_copy::{self, PrivateCopy};
use crate::secret::Password;
use crate::settings::Settings;
use crate::target::{Role, Target};
use crate::tunnel::Tunnel;
use crate::wire::{SessionLog, WireEvent};
use crate::x509;

/// Saying goodbye may take this long.
const CLOSING: Duration = Duration::from_millis(500);
/// A peer that had less time than this cannot be blamed for silence.
const WORTH_A_TRY: Duration = Duration::from_millis(500);

/// An established outer session.
pub struct OuterSession {
    /// The session.
    pub client: TlsClient,
    /// Its deadline.
    pub control: Rc<Control>,
    /// What went over it.
    pub log: Rc<RefCell<SessionLog>>,
    /// The moment that times on the wire count from.
    pub began: Instant,
}

/// An inner session, and the request that it belongs to.
pub struct InnerSession {
    /// The session.
    pub client: TlsClient,
    /// Whether it waits for the peer; until `bridge` has passed it must not.
    pub waits: Rc<Cell<bool>>,
    /// What went over it.
    pub log: Rc<RefCell<SessionLog>>,
    /// When it began.
    pub began: Instant,
    /// The request that was sent outside.
    pub request: Request,
}

/// Is told what happens in a walk while it happens.
pub trait Observer {
    /// A layer is about to be entered. Said before anything is done in it, so that a crash has a place.
    fn entering(&mut self, layer: Layer);
    /// A layer is done.
    fn found(&mut self, finding: &Finding);
    /// Something was seen on the wire.
    fn seen(&mut self, event: &WireEvent);
    /// A certificate was met.
    fn met(&mut self, certificate: &SeenCertificate);
    /// A TCP connection was opened; the number is the count so far.
    fn connected(&mut self, connections: u32);
}

/// What the probes have obtained so far. Everything in it stays in this process.
pub struct Walk<'a> {
    /// What was asked for.
    pub settings: &'a Settings,
    /// The findings so far.
    pub findings: Vec<Finding>,
    /// When the present layer must end.
    pub deadline: Instant,
    /// When the whole walk must end, if it must.
    pub end: Option<Instant>,
    /// The password, until it has been used.
    pub password: Option<Password>,
    /// NSS, from `nss-db` on.
    pub nss: Option<Nss>,
    /// The slot with the keys, from `nss-db` on.
    pub slot: Option<Slot>,
    /// Our certificate, from `certificate` on.
    pub certificate: Option<Certificate>,
    /// The certificate and its issuers. NSS keeps what it has read of a certificate, trust included, only while somebody
    /// holds it: letting go would have the integrity of all trust checked again in the handshake (7 PBKDF2 runs a CA).
    pub chain: Vec<Certificate>,
    /// Certificates met so far, for the report.
    pub met: Vec<SeenCertificate>,
    /// Its key, from `private-key` on.
    pub key: Option<PrivateKey>,
    /// Addresses of the bridge, from `resolve` on.
    pub addresses: Vec<SocketAddr>,
    /// The one connection, between `tcp` and `outer-handshake`, and the time it took to come up.
    pub connection: Option<(TcpStream, Duration)>,
    /// The inner session, between `bridge` and `request`; it ends before the tunnel that it runs through.
    pub inner: Option<InnerSession>,
    /// The two streams of the outer session, from `bridge` on.
    pub tunnel: Option<Rc<RefCell<Tunnel>>>,
    /// The outer session, between `outer-handshake` and `bridge`.
    pub outer: Option<OuterSession>,
    /// The administrator's password, for `request`.
    pub admin_password: Option<Password>,
    /// The walk goes on after the outer handshake, over the same session.
    pub goes_on: bool,
    /// TCP connections opened.
    pub connections: u32,
    /// What went over the wire, a log a TLS session.
    pub sessions: Vec<Rc<RefCell<SessionLog>>>,
    /// A private copy of the database that must live as long as NSS has it open.
    pub private_copy: Option<PrivateCopy>,
    /// Where it is made, if one is needed; whoever chose the place removes what is left there.
    pub copy_to: PathBuf,
}

impl<'a> Walk<'a> {
    /// A walk that has not begun.
    pub fn new(settings: &'a Settings, password: Option<Password>) -> Self {
        Self {
            settings,
            findings: Vec::new(),
            deadline: Instant::now(),
            end: None,
            password,
            nss: None,
            slot: None,
            certificate: None,
            chain: Vec::new(),
            met: Vec::new(),
            key: None,
            addresses: Vec::new(),
            connection: None,
            inner: None,
            tunnel: None,
            outer: None,
            admin_password: None,
            goes_on: false,
            connections: 0,
            sessions: Vec::new(),
            private_copy: None,
            copy_to: private_copy::place(),
        }
    }

    /// The target, once `config` has passed; the layers after it need that one.
    pub fn target(&self) -> &'a Target {
        match &self.settings.target {
            Ok(target) => target,
            Err(trouble) => unreachable!("a layer was walked without a configuration: {trouble}"),
        }
    }

    /// The finding on an earlier layer.
    pub fn finding(&self, layer: Layer) -> Option<&Finding> {
        self.findings.iter().find(|finding| finding.layer == layer)
    }

    /// Time left for the present layer.
    pub fn remaining(&self) -> Duration {
        self.deadline.saturating_duration_since(Instant::now())
    }

    /// Walks the layers of `plan` for which `chosen` is true, and tells `observer`.
    pub fn run(&mut self, plan: &Plan, chosen: impl Fn(Layer) -> bool, observer: &mut dyn Observer) {
        self.goes_on = plan.walks(Layer::Bridge);
        for probe in plan.probes().filter(|probe| chosen(probe.layer)) {
            let known = self.met.len();
            let finding = self.step(plan, probe, observer);
            self.met.iter().skip(known).for_each(|certificate| observer.met(certificate));
            for session in &self.sessions {
                session.borrow_mut().take_new().iter().for_each(|event| observer.seen(event));
            }
            self.findings.push(finding);
            judge_last(&mut self.findings);
            self.findings.last().into_iter().for_each(|finding| observer.found(finding));
        }
        self.close();
    }

    /// Ends what is still open, inner session first; nothing waits long for a peer that does not listen any more.
    fn close(&mut self) {
        if let Some(tunnel) = &self.tunnel {
            tunnel.borrow().set_deadline(Instant::now() + CLOSING);
        }
        if let Some(mut inner) = self.inner.take() {
            // close_notify and the end of the inner stream; a peer that is gone cannot be told.
            let _ = inner.client.finish();
        }
        self.tunnel = None;
        self.outer = None;
    }

    /// Notes our own certificate and its issuers.
    pub(crate) fn meet_own(&mut self) {
        let role = match self.target().role {
            Role::Client => CertificateRole::Client,
            Role::Server => CertificateRole::Server,
            Role::Bridge => CertificateRole::Bridge,
        };
        let chain: Vec<_> = self.chain.iter().map(|link| (link.nickname(), link.der())).collect();
        let chain = chain.iter().map(|(nickname, der)| (nickname.clone(), der.as_slice()));
        self.note_new(SeenCertificate::of_chain(role, chain));
    }

    /// Notes the chain that a peer sent.
    pub(crate) fn meet_peer(&mut self, role: CertificateRole, chain: &[Vec<u8>]) {
        self.note_new(SeenCertificate::of_chain(role, chain.iter().map(|der| (None, der.as_slice()))));
    }

    /// An authority is noted once, as it was met first: with its nickname where our database has it.
    fn note_new(&mut self, certificates: Vec<SeenCertificate>) {
        for certificate in certificates {
            if !self.met.iter().any(|known| known.is(&certificate)) {
                self.met.push(certificate);
            }
        }
    }

    /// Certificate and key for one more TLS session.
    pub(crate) fn client_auth(&self) -> Option<ClientAuth> {
        let (certificate, key) = (self.certificate.as_ref()?, self.key.as_ref()?);
        Some(ClientAuth { certificate: certificate.share(), key: key.share().ok()? })
    }

    /// Issuers of our chain, as DER names, the missing one included.
    pub(crate) fn our_cas(&self) -> Vec<Vec<u8>> {
        self.chain.iter().filter_map(|link| x509::issuer(&link.der())).collect()
    }

    fn step(&mut self, plan: &Plan, probe: &Probe, observer: &mut dyn Observer) -> Finding {
        if !plan.walks(probe.layer) {
            return Finding::skipped(probe.layer, None, "left out on request".to_owned());
        }
        if let Some((because, summary)) = self.obstacle(probe) {
            return Finding::skipped(probe.layer, because, summary);
        }
        observer.entering(probe.layer);
        let started = Instant::now();
        self.deadline = started + self.settings.timeout();
        if let Some(end) = self.end {
            if end.saturating_duration_since(started) < self.settings.timeout().min(WORTH_A_TRY) {
                let summary = format!("the time for the whole walk ended before {}", probe.layer);
                let notes = Notes::default().with(fact::ToolState::DeadlinePassed);
                return notes.fail(signal::TOOL_TIMEOUT, summary).into_finding(probe.layer, 0);
            }
            self.deadline = self.deadline.min(end);
        }
        let before = self.connections;
        let outcome = (probe.run)(self);
        if self.connections != before {
            observer.connected(self.connections);
        }
        let duration = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        outcome.into_finding(probe.layer, duration)
    }

    /// The layer in the way: the one that failed, however many skipped ones lie between.
    fn obstacle(&self, probe: &Probe) -> Option<(Option<Layer>, String)> {
        let in_the_way = probe.needs.iter().filter_map(|need| self.finding(*need));
        in_the_way.into_iter().find_map(|finding| match finding.status {
            Status::Fail => Some((Some(finding.layer), format!("{} failed", finding.layer))),
            Status::Skip => Some(match finding.skipped_because {
                Some(root) => (Some(root), format!("{root} failed")),
                None => (None, format!("{} was not walked: {}", finding.layer, finding.summary)),
            }),
            Status::Pass | Status::Warn => None,
        })
    }
}
