//! One session.

use std::cell::RefCell;
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, Mutex, PoisonError};

use nssight_session::{Channel, Code, SeenAlert, SessionError, SessionFacts, TlsSession, Transport, protocol_list};
use openssl::error::ErrorStack;
use openssl::pkey::{PKey, Private};
use openssl::ssl::{
    ErrorCode, ShutdownState, Ssl, SslContext, SslContextBuilder, SslMethod, SslOptions, SslSessionCacheMode,
    SslStream, SslVerifyMode, SslVersion,
};
use openssl::x509::X509;
use openssl::x509::store::{X509Store, X509StoreBuilder};
use openssl::x509::verify::X509CheckFlags;

use crate::carrier::Carrier;
use crate::error::{of_session, of_stack, of_verification};
use crate::judge::{self, Judgement};
use crate::messages::Message;
use crate::record::{Part, Records};
use crate::sealed::Secrets;

/// Versions as on the wire.
const TLS_10: u16 = 0x0301;
const TLS_11: u16 = 0x0302;
const TLS_12: u16 = 0x0303;
const TLS_13: u16 = 0x0304;
/// From this security level on, OpenSSL 3.0 does not offer TLS 1.0, and from the next on no TLS 1.1 (ssl_security_default_callback
/// in ssl_cert.c).
const WITHOUT_TLS_10: u32 = 3;
const WITHOUT_TLS_11: u32 = 4;
/// From this release on, both versions are offered only at level 0.
const BOTH_AT_LEVEL_0: i64 = 0x3010_0000;
/// `X509_V_ERR_HOSTNAME_MISMATCH` and `X509_V_ERR_IP_ADDRESS_MISMATCH`.
const WRONG_NAME: [i32; 2] = [62, 64];

/// The version of the OpenSSL library that is linked.
pub fn version() -> &'static str {
    openssl::version::version()
}

/// Our certificate, its issuers, and its key.
pub struct Identity {
    /// The certificate.
    pub certificate: X509,
    /// The certificates sent with it.
    pub chain: Vec<X509>,
    /// The key.
    pub key: PKey<Private>,
}

/// The CAs that may have issued a peer's certificate.
pub enum Trust {
    /// The CAs that OpenSSL finds on its own: `SSL_CERT_FILE`, `SSL_CERT_DIR`, or the paths that it was built with.
    System,
    /// These CAs.
    These(Vec<X509>),
}

/// The settings of a client session.
pub struct Options<'a> {
    /// The name, or address, that the peer's certificate must have.
    pub host: &'a str,
    /// Sent as SNI; an address never is (RFC 6066, 3).
    pub server_name: Option<&'a str>,
    /// Lowest and highest version, as on the wire, if they differ from those of OpenSSL's configuration.
    pub versions: Option<(u16, u16)>,
    /// The certificate to send if the peer requests one.
    pub identity: Option<&'a Identity>,
    /// The trusted CAs.
    pub trust: Trust,
    /// The application protocols to offer, most preferred first.
    pub alpn: &'a [String],
}

/// A TLS session of OpenSSL.
pub struct Session {
    part: Part,
    stream: SslStream<Carrier>,
    versions: (u16, u16),
    records: Rc<RefCell<Records>>,
    judgement: judge::Shared,
    secrets: Arc<Mutex<Secrets>>,
    has_identity: bool,
    /// Whether the handshake was completed. A later message, such as a ticket in pieces, puts OpenSSL into a handshake again.
    is_up: bool,
    /// Alerts that OpenSSL reported as errors.
    told: RefCell<Vec<SeenAlert>>,
}

pub(crate) fn version_of(wire: u16) -> Option<SslVersion> {
    Some(match wire {
        TLS_10 => SslVersion::TLS1,
        TLS_11 => SslVersion::TLS1_1,
        TLS_12 => SslVersion::TLS1_2,
        TLS_13 => SslVersion::TLS1_3,
        _ => return None,
    })
}

fn wire_of(version: SslVersion) -> u16 {
    let known = [TLS_10, TLS_11, TLS_12, TLS_13];
    known.into_iter().find(|wire| version_of(*wire) == Some(version)).unwrap_or(0)
}

pub(crate) fn store(trust: Trust) -> Result<X509Store, ErrorStack> {
    let mut builder = X509StoreBuilder::new()?;
    match trust {
        Trust::System => builder.set_default_paths()?,
        Trust::These(certificates) => certificates.into_iter().try_for_each(|it| builder.add_cert(it))?,
    }
    Ok(builder.build())
}

/// A context, and the records that its callbacks make.
pub(crate) struct Made {
    pub(crate) context: SslContext,
    versions: (u16, u16),
    judgement: judge::Shared,
    secrets: Arc<Mutex<Secrets>>,
    has_identity: bool,
}

/// SSL_OP_NO_TX_CERTIFICATE_COMPRESSION and SSL_OP_NO_RX_CERTIFICATE_COMPRESSION of OpenSSL 3.2 (ssl.h): otherwise certificates are
/// sent in a message that other programs need not support (RFC 8879). Earlier versions lack these bits, and do not compress.
const CERTIFICATES_AS_THEY_ARE: u64 = 1 << 32 | 1 << 33;

/// The lowest version that OpenSSL offers at a security level.
fn lowest_at(level: u32) -> u16 {
    match level {
        1.. if openssl::version::number() >= BOTH_AT_LEVEL_0 => TLS_12,
        WITHOUT_TLS_11.. => TLS_12,
        WITHOUT_TLS_10 => TLS_11,
        _ => TLS_10,
    }
}

impl Made {
    /// A context with our certificate and the trusted CAs.
    pub(crate) fn of(
        mut context: SslContextBuilder,
        identity: Option<&Identity>,
        trust: Trust,
        mode: SslVerifyMode,
    ) -> Result<Self, ErrorStack> {
        let judgement = judge::Shared::default();
        let secrets = Arc::new(Mutex::new(Secrets::default()));
        // A diagnosis makes one connection, so there is nothing to resume.
        context.set_session_cache_mode(SslSessionCacheMode::OFF);
        context.set_options(SslOptions::from_bits_retain(CERTIFICATES_AS_THEY_ARE));
        context.set_verify_cert_store(store(trust)?)?;
        context.set_verify_callback(mode, judge::callback(&judgement));
        if let Some(identity) = identity {
            context.set_certificate(&identity.certificate)?;
            for certificate in &identity.chain {
                context.add_extra_chain_cert(certificate.clone())?;
            }
            context.set_private_key(&identity.key)?;
        }
        let log = Arc::clone(&secrets);
        context.set_keylog_callback(move |_, line| {
            log.lock().unwrap_or_else(PoisonError::into_inner).learn(line);
        });
        let (low, high) = (context.min_proto_version(), context.max_proto_version());
        let context = context.build();
        let lowest = lowest_at(context.security_level());
        let versions = (low.map_or(lowest, wire_of).max(lowest), high.map_or(TLS_13, wire_of));
        Ok(Self { context, versions, judgement, secrets, has_identity: identity.is_some() })
    }

    pub(crate) fn session(self, ssl: Ssl, transport: Box<dyn Transport>, part: Part) -> Result<Session, ErrorStack> {
        let records = Rc::new(RefCell::new(Records::of(part)));
        let carrier = Carrier { transport, records: Rc::clone(&records) };
        let stream = SslStream::new(ssl, carrier)?;
        let Self { versions, judgement, secrets, has_identity, .. } = self;
        Ok(Session {
            part,
            stream,
            versions,
            records,
            judgement,
            secrets,
            has_identity,
            is_up: false,
            told: RefCell::default(),
        })
    }
}

impl Session {
    /// Sets up a client session. Nothing is sent before [`TlsSession::handshake`].
    ///
    /// # Errors
    /// The error that OpenSSL reports.
    pub fn new(transport: Box<dyn Transport>, options: Options<'_>) -> Result<Self, SessionError> {
        const STEP: &str = "set up the session";
        Self::build(transport, options).map_err(|stack| of_stack(STEP, &stack))
    }

    fn build(transport: Box<dyn Transport>, options: Options<'_>) -> Result<Self, ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        if let Some((low, high)) = options.versions {
            context.set_min_proto_version(version_of(low))?;
            context.set_max_proto_version(version_of(high))?;
        }
        let made = Made::of(context, options.identity, options.trust, SslVerifyMode::PEER)?;
        let mut ssl = Ssl::new(&made.context)?;
        let parameters = ssl.param_mut();
        match options.host.parse::<IpAddr>() {
            Ok(address) => parameters.set_ip(address)?,
            Err(_) => {
                parameters.set_hostflags(X509CheckFlags::NO_PARTIAL_WILDCARDS);
                // A host name may end with the dot of the DNS root, which a certificate leaves out (RFC 6125, 6.4).
                parameters.set_host(options.host.trim_end_matches('.'))?;
            }
        }
        if let Some(name) = options.server_name {
            ssl.set_hostname(name)?;
        }
        if !options.alpn.is_empty() {
            ssl.set_alpn_protos(&protocol_list(options.alpn))?;
        }
        made.session(ssl, transport, Part::Client)
    }

    fn failed(&self, step: &'static str, error: &openssl::ssl::Error) -> SessionError {
        let judged = self.judged();
        let mut told = of_session(step, error);
        if let Some(description) = told.code.openssl_alert() {
            self.told.borrow_mut().push(SeenAlert { sent: false, level: 2, description });
        }
        // OpenSSL's own reason is only "certificate verify failed"; the callback recorded the actual error.
        if let (Some(Err(why)), true) = (judged, matches!(told.code, Code::OpenSsl(_))) {
            let is_ours = self.told.borrow().is_empty();
            if is_ours {
                told = SessionError { step, ..of_verification(why) };
            }
        }
        told
    }

    fn judged(&self) -> Option<Result<(), openssl::x509::X509VerifyResult>> {
        self.judgement.lock().unwrap_or_else(PoisonError::into_inner).decision
    }

    fn is_13(&self) -> bool {
        self.stream.ssl().version2() == Some(SslVersion::TLS1_3)
    }

    /// The security level in force (SSL_CTX_set_security_level(3)).
    pub fn security_level(&self) -> u32 {
        self.stream.ssl().ssl_context().security_level()
    }
}

/// Whether OpenSSL accepts the keys and signatures of our certificate and its issuers, which depends on its security level.
///
/// # Errors
/// The error for which OpenSSL rejects them.
pub fn takes(certificate: &X509, chain: &[X509]) -> Result<(), SessionError> {
    forget_errors();
    let try_them = || -> Result<(), ErrorStack> {
        let mut context = SslContext::builder(SslMethod::tls_client())?;
        context.set_certificate(certificate)?;
        // Unlike SSL_CTX_add_extra_chain_cert, this checks the security level, as every handshake does (ssl_security_cert_chain).
        let mut session = Ssl::new(&context.build())?;
        chain.iter().try_for_each(|it| session.add_chain_cert(it.clone()))
    };
    try_them().map_err(|stack| of_stack("load our certificate", &stack))
}

/// The security level that every session begins with; `None` if OpenSSL cannot create a session.
pub fn security_level() -> Option<u32> {
    SslContext::builder(SslMethod::tls_client()).ok().map(|context| context.build().security_level())
}

/// Drops what earlier calls left in this thread's queue of errors, as SSL_get_error(3) demands before each call of a session: a signature
/// that does not verify leaves an error there, and OpenSSL would take it for one of the session.
fn forget_errors() {
    drop(ErrorStack::get());
}

impl TlsSession for Session {
    fn versions(&self) -> (u16, u16) {
        self.versions
    }

    fn handshake(&mut self) -> Result<(), SessionError> {
        const STEP: &str = "TLS handshake";
        let result = match self.part {
            Part::Client => self.stream.connect(),
            Part::Server => self.stream.accept(),
        };
        match (result, self.judged()) {
            (Err(error), _) => Err(self.failed(STEP, &error)),
            // OpenSSL may report success after our callback has refused the peer; the session must not continue then.
            (Ok(()), Some(Err(why))) => Err(SessionError { step: STEP, ..of_verification(why) }),
            (Ok(()), _) => {
                self.is_up = true;
                Ok(())
            }
        }
    }

    fn read(&mut self, buffer: &mut [u8]) -> Result<usize, SessionError> {
        forget_errors();
        match self.stream.ssl_read(buffer) {
            Ok(count) => Ok(count),
            Err(error) if error.code() == ErrorCode::ZERO_RETURN => {
                // In TLS 1.2 only this shows a close_notify: the record is encrypted with a key that OpenSSL does not reveal.
                self.told.borrow_mut().push(SeenAlert { sent: false, level: 1, description: 0 });
                Ok(0)
            }
            Err(error) => match self.failed("read from the TLS session", &error) {
                // As with NSS: an end without close_notify is an end.
                SessionError { kind: nssight_session::Kind::Ended, .. } => Ok(0),
                error => Err(error),
            },
        }
    }

    fn write(&mut self, bytes: &[u8]) -> Result<usize, SessionError> {
        forget_errors();
        self.stream.ssl_write(bytes).map_err(|error| self.failed("write to the TLS session", &error))
    }

    fn finish(&mut self) -> Result<(), SessionError> {
        const STEP: &str = "end the TLS session";
        forget_errors();
        match self.stream.shutdown() {
            Ok(_) => {}
            // The peer is gone, or has refused us: the next read shows the reason.
            Err(error) if error.ssl_error().is_some() => {}
            Err(error) => return Err(of_session(STEP, &error)),
        }
        let ended = self.stream.get_mut().transport.finish();
        ended.map_err(|error| {
            let (code, text) = (Code::System(error.raw_os_error().unwrap_or(0)), error.to_string());
            SessionError { step: STEP, code, kind: nssight_session::Kind::Other, name: text.clone(), text }
        })
    }

    fn facts(&self) -> SessionFacts {
        let secrets = self.secrets.lock().unwrap_or_else(PoisonError::into_inner);
        let (records, is_13) = (self.records.borrow(), self.is_13());
        let (theirs, ours) = (records.of_peer(&secrets), records.of_us(&secrets));
        let judgement = self.judgement.lock().unwrap_or_else(PoisonError::into_inner);
        let Judgement { objections, chain, decision, .. } = &*judgement;
        let mut out = SessionFacts {
            peer_chain: theirs.iter().find_map(|message| message.certificates(is_13)).unwrap_or_default(),
            built_chain: chain.clone(),
            objections: objections.iter().map(|(_, objection)| objection.clone()).collect(),
            ..SessionFacts::default()
        };
        let of_server = if self.part == Part::Client { &theirs } else { &ours };
        out.asked_for_certificate = of_server.iter().find_map(|message| message.authorities(is_13));
        out.decision = decision.map(|decision| decision.map_err(of_verification));
        let wrong_name = objections.iter().find(|(error, _)| WRONG_NAME.contains(&error.as_raw()));
        out.name_error = wrong_name.map(|(_, objection)| objection.error.clone());
        out.sent_certificate = ours.iter().find_map(|message| message.certificates(is_13)).map(|all| !all.is_empty());
        out.gave_certificate = self.has_identity && out.asked_for_certificate.is_some();
        let alert = |sent: bool| {
            move |message: &Message| match message {
                Message::Alert(level, description) => {
                    Some(SeenAlert { sent, level: *level, description: *description })
                }
                Message::Handshake(..) => None,
            }
        };
        // In TLS 1.3 every alert but close_notify and user_canceled is fatal, whatever its level (RFC 8446, 6).
        let level = |alert: SeenAlert| {
            if is_13 && !matches!(alert.description, 0 | 90) { SeenAlert { level: 2, ..alert } } else { alert }
        };
        out.alerts =
            theirs.iter().filter_map(alert(false)).chain(ours.iter().filter_map(alert(true))).map(level).collect();
        for told in self.told.borrow().iter() {
            if !out.alerts.contains(told) {
                out.alerts.push(*told);
            }
        }
        out
    }

    fn channel(&self) -> Option<Channel> {
        let ssl = self.stream.ssl();
        if !self.is_up {
            return None;
        }
        let suite = ssl.current_cipher()?;
        let number = u16::from_be_bytes(suite.protocol_id());
        let key = ssl.peer_certificate().and_then(|certificate| certificate.public_key().ok());
        Some(Channel {
            version: wire_of(ssl.version2()?),
            suite: number,
            suite_name: suite.standard_name().unwrap_or(suite.name()).to_owned(),
            peer_key_bits: key.map_or(0, |key| key.bits()),
            alpn: ssl.selected_alpn_protocol().map(|name| String::from_utf8_lossy(name).into_owned()),
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // Ends an established session with close_notify; an error is ignored, since the peer may be gone.
        if self.is_up && !self.stream.get_shutdown().contains(ShutdownState::SENT) {
            let _ = self.stream.shutdown();
        }
    }
}
