//! The server side: one client that connected, its handshake with us, and how each side judged the other.

mod client;
mod hello;
mod shown;

use std::cell::RefCell;
use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::fact::{self, ClientCertificateState, ClientPosition};
use nssight_diagnosis::verdict::judge_last;
use nssight_diagnosis::{CertificateRole, Finding, Layer, Notes, Outcome, Status};
use nssight_nss::kernel::tcp_info;
use nssight_nss::{Certificate, Nss, PrivateKey};
use nssight_openssl::{Identity, ServerOptions, Session as OpenSslSession, Trust};
use nssight_session::{Channel, Control, SessionError, TcpTransport, TlsSession, Transport};
use openssl::x509::X509;

use crate::certificates::SeenCertificate;
use crate::target::{Target, TlsVersion};
use crate::walk::Walk;
use crate::wire::{Session, SessionLog, WireEvent};
use crate::{error_info, x509};

pub(crate) use hello::{listed, random};

/// A client that sends data after the handshake does so at once.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// Data still in transit when a session ends is read for this long and up to a limit; otherwise our alert would be lost with it.
const LINGER: Duration = Duration::from_millis(500);
const LINGER_AT_MOST: usize = 256 * 1024;
/// A report with more events than this is not useful.
const EVENTS_AT_MOST: usize = 2000;
/// The answer to an HTTP client.
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 31\r\nConnection: close\r\n\r\n\
                      nssight: the handshake is done\n";

/// The server's identity and its trusted CAs, shared by all connections.
pub struct ListenServer {
    seat: ListenEngine,
    /// Our certificate and the issuers sent to clients, as DER, leaf first.
    chain: Ders,
    /// The CAs trusted for clients, as DER; empty if the system's CAs are used.
    authorities: Ders,
    /// The findings about the identity, for the judge.
    findings: Vec<Finding>,
}

/// The library that makes the sessions, with what it needs.
enum ListenEngine {
    /// OpenSSL with the identity of files. If no CAs are named for clients, those of the system are used; if no versions are given, those
    /// of OpenSSL's configuration apply.
    Files { identity: Identity, clients: Option<Vec<X509>>, versions: Option<(TlsVersion, TlsVersion)> },
    /// NSS with its open database, which contains the CAs trusted for clients.
    Database { versions: (TlsVersion, TlsVersion) },
}

/// Certificates as DER.
type Ders = Vec<Vec<u8>>;

impl ListenServer {
    /// Builds a server with the identity that a check has examined; `None` if certificate or key cannot be used. The check must outlive the
    /// server, because it keeps the database open.
    pub fn of(walk: &Walk<'_>) -> Option<Self> {
        let target = walk.settings.target.as_ref().ok()?;
        let (seat, chain, authorities) = match &walk.opened {
            Some(opened) => {
                let own = walk.own.as_ref().filter(|own| own.key.is_some())?;
                let chain = own.chain.iter().map(Certificate::der).collect();
                let all = opened.slot.certificates();
                let clients = all.iter().filter(|it| it.trust().trusts_clients()).map(Certificate::der).collect();
                (ListenEngine::Database { versions: target.tls.value }, chain, clients)
            }
            None => Self::of_files(walk, target)?,
        };
        // A problem of the identity must not stop the server here: the question is how clients react to it.
        let as_remark = |finding: &Finding| Finding {
            status: if finding.status == Status::Fail { Status::Warn } else { finding.status },
            ..finding.clone()
        };
        Some(Self { seat, chain, authorities, findings: walk.findings.iter().map(as_remark).collect() })
    }

    fn of_files(walk: &Walk<'_>, target: &Target) -> Option<(ListenEngine, Ders, Ders)> {
        // If the certificate is unfit for another reason, the key was not checked.
        let fits =
            |identity: &Identity| identity.certificate.public_key().is_ok_and(|public| public.public_eq(&identity.key));
        let identity = walk.identity().filter(fits)?;
        let is_asked = target.tls.origin != crate::settings::DEFAULT_ORIGIN;
        let clients = walk.files.as_ref().and_then(|files| files.authorities.clone());
        let chain = [&identity.certificate].into_iter().chain(&identity.chain).filter_map(|it| it.to_der().ok());
        let chain = chain.collect();
        let authorities = clients.iter().flatten().filter_map(|it| it.to_der().ok()).collect();
        Some((
            ListenEngine::Files { identity, clients, versions: is_asked.then_some(target.tls.value) },
            chain,
            authorities,
        ))
    }

    /// Creates a session that waits for a client over this transport.
    fn session(&self, transport: Box<dyn Transport>) -> Result<Box<dyn TlsSession>, SessionError> {
        let wire = |(low, high): (TlsVersion, TlsVersion)| (low.wire(), high.wire());
        match &self.seat {
            ListenEngine::Files { identity, clients, versions } => {
                let clients = clients.clone().map_or(Trust::System, Trust::These);
                let options = ServerOptions { identity, clients, versions: versions.map(wire) };
                Ok(Box::new(OpenSslSession::server(transport, options)?))
            }
            ListenEngine::Database { versions } => {
                let nss = Nss::inherited()?;
                let certificate = Certificate::from_der(self.chain.first().map_or(&[][..], Vec::as_slice), &nss)?;
                let identity = nssight_nss::Identity { key: PrivateKey::find(&certificate)?, certificate };
                let options = nssight_nss::ServerOptions { identity: &identity, versions: wire(*versions) };
                Ok(Box::new(nssight_nss::Session::server(&nss, transport, options)?))
            }
        }
    }
}

/// The result of a connection.
pub struct Reception {
    /// The findings about our identity, the connection and the handshake.
    pub findings: Vec<Finding>,
    /// The events on the wire.
    pub wire: Vec<WireEvent>,
    /// Our certificate and the client's chain.
    pub certificates: Vec<SeenCertificate>,
}

/// Serves a client that has connected. Every wait ends after `time`.
pub fn receive(chair: &ListenServer, stream: TcpStream, from: SocketAddr, time: Duration) -> Reception {
    let began = Instant::now();
    let mut findings = chair.findings.clone();
    let arrived = Notes::default().with(fact::CLIENT_ADDRESS.text(from));
    findings.push(arrived.pass(format!("{from} connected")).into_finding(Layer::Tcp, 0));
    let log = Rc::new(RefCell::new(SessionLog::of_server(Session::Outer, began)));
    let own = chair.chain.iter().map(|der| (None, der.as_slice()));
    let mut certificates = SeenCertificate::of_chain(CertificateRole::Server, own);
    let lingering = stream.try_clone();
    let outcome = attend(chair, stream, began + time, &log, &mut certificates);
    if let Ok(stream) = lingering {
        linger(&stream);
    }
    let duration = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
    findings.push(outcome.into_finding(Layer::OuterHandshake, duration));
    judge_last(&mut findings);
    let wire = log.borrow_mut().take_new().into_iter().take(EVENTS_AT_MOST).collect();
    Reception { findings, wire, certificates }
}

fn attend(
    chair: &ListenServer,
    stream: TcpStream,
    end: Instant,
    log: &Rc<RefCell<SessionLog>>,
    certificates: &mut Vec<SeenCertificate>,
) -> Outcome {
    let mut notes = Notes::default();
    let control = Control::until(end);
    let transport = TcpTransport::new(stream, control.clone(), log.clone(), tcp_info);
    let session = match transport {
        Ok(transport) => chair.session(Box::new(transport)),
        Err(error) => {
            notes.put(ClientPosition::NothingSent);
            let summary = format!("the connection was lost before TLS began: {error}");
            return notes.fail(nssight_diagnosis::signal::signal::CLIENT_LEFT, summary).error(&error);
        }
    };
    let mut session = match session {
        Ok(session) => session,
        Err(error) => return shown::not_set_up(&error, notes),
    };
    let result = session.handshake();
    let facts = session.facts();
    hello::note(&log.borrow().summary(), session.versions(), &mut notes);
    client::note(chair, &facts, &mut notes);
    let chain = facts.peer_chain.iter().map(|der| (None, der.as_slice()));
    let met = SeenCertificate::of_chain(CertificateRole::Client, chain);
    for certificate in met {
        if !certificates.iter().any(|known| known.is(&certificate)) {
            certificates.push(certificate);
        }
    }
    match (result, session.channel()) {
        (Ok(()), Some(channel)) => {
            let subject = facts.peer_chain.first().map(|der| x509::subject(der)).unwrap_or_default();
            let outcome = taken(&channel, &subject, notes);
            control.set_deadline(end.min(Instant::now() + AFTERWARDS));
            outcome.fact(fact::CLIENT_AFTERWARDS.text(farewell(session.as_mut())))
        }
        (Ok(()), None) => shown::not_set_up(&SessionError::ended("TLS handshake"), notes),
        (Err(error), _) => {
            let log = log.borrow();
            let shown = shown::shown(&error, &facts, &log, &mut notes);
            let (signal, summary) = shown;
            notes.fail(signal, summary).error(error_info::of_session(&error))
        }
    }
}

fn taken(channel: &Channel, subject: &str, mut notes: Notes) -> Outcome {
    let version = TlsVersion::name_of(channel.version);
    notes.put(fact::SESSION_AGREED.text(format!("{version}, {}", channel.suite_name)));
    notes.put(fact::SESSION_AGREED_VERSION.text(&version));
    notes.put(ClientCertificateState::Taken);
    notes.put(ClientPosition::Done);
    // The client continues only after it has verified our certificate (RFC 8446, 4.4.4; RFC 5246, 7.4.9).
    notes.put(fact::SessionOutcome::Done);
    notes.pass(format!("{version} with {subject}, trusted in both directions"))
}

/// Reads what a client sends after the handshake, answers an HTTP request, and ends the session in order.
fn farewell(session: &mut dyn TlsSession) -> String {
    let mut buffer = [0u8; 4096];
    let said = match session.read(&mut buffer) {
        Ok(0) => "the client ended the session".to_owned(),
        Ok(count) => {
            let said = buffer.get(..count).unwrap_or_default();
            let first = said.split(|byte| *byte == b'\n').next().unwrap_or_default();
            // The rest of the request line may contain a secret.
            let method = first.split(|byte| *byte == b' ').next().unwrap_or_default();
            let method = nssight_wire::escape_bytes(method, 8);
            if is_http(first) && session.write(ANSWER.as_bytes()).is_ok() {
                format!("the client sent an HTTP request ({method}), and received a response")
            } else {
                format!("the client sent {count} bytes")
            }
        }
        Err(error) => match error.kind {
            nssight_session::Kind::TimedOut => "the client sent nothing".to_owned(),
            _ => format!("the client ended the session: {}", error.name),
        },
    };
    // Errors do not matter if the client is gone.
    let _ = session.finish();
    said
}

/// Whether the bytes received so far begin an HTTP request.
fn is_http(line: &[u8]) -> bool {
    [&b"GET "[..], b"HEAD ", b"POST ", b"OPTIONS ", b"PUT "].into_iter().any(|method| {
        let length = method.len().min(line.len());
        length > 2 && line.get(..length) == method.get(..length)
    })
}

/// Reads what is still in transit: closing a socket with unread bytes resets the connection, which discards an alert.
fn linger(stream: &TcpStream) {
    let until = Instant::now() + LINGER;
    let _ = stream.shutdown(Shutdown::Write);
    let (mut buffer, mut taken) = ([0u8; 4096], 0);
    let mut stream = stream;
    while let Some(left) = until.checked_duration_since(Instant::now()).filter(|left| !left.is_zero()) {
        if stream.set_read_timeout(Some(left)).is_err() || taken >= LINGER_AT_MOST {
            return;
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return,
            Ok(count) => taken += count,
        }
    }
}
