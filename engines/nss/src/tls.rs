//! A TLS session of libssl over a [`Transport`], with all results of its callbacks.

use std::cell::RefCell;
use std::ffi::{CStr, c_uint, c_void};
use std::mem::size_of;
use std::ptr::{self, NonNull};

use nss_sys::cert::CERTCertificate;
use nss_sys::nspr::{PR_Close, PR_Recv, PR_Send, PRBool, PRFileDesc, PRStatus};
use nss_sys::{
    SECStatus, SSL_AuthCertificateHook, SSL_ImportFD, SSL_NO_CACHE, SSL_OptionSet, SSL_PeerCertificate,
    SSL_PeerCertificateChain, SSL_SetURL, SSL_VersionRangeGet, SSL_VersionRangeSet, SSLVersionRange,
};

use nssight_session::{CaName, Channel, SeenAlert, Transport, protocol_list};

use crate::cert::{self, Certificate, ChainError, Usage};
use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi::{self, CERTDistNames, SECKEYPrivateKey, SSLAlert, Status};
use crate::init::Nss;
use crate::key::PrivateKey;
use crate::memory::{c_string, copy_item, take_string};
use crate::transport::descriptor;

/// A protocol's name has one byte for its length (RFC 7301, 3.1).
const PROTOCOL_AT_MOST: usize = 255;

/// The settings of a client session.
pub struct TlsOptions<'a> {
    /// Sent as SNI, and the name that the peer's certificate must have.
    pub host: &'a str,
    /// Lowest and highest version, as on the wire (0x0303 is TLS 1.2).
    pub versions: (u16, u16),
    /// The certificate to send if the peer requests one.
    pub client_auth: Option<Identity>,
    /// The application protocols to offer, most preferred first.
    pub alpn: &'a [String],
    /// Certificates that NSS finds only while they are held: trusted authorities, and issuers of our certificate.
    pub authorities: Vec<Certificate>,
}

/// The settings of a server session.
pub struct ServerOptions<'a> {
    /// Our certificate and its key. Clients also receive its issuers, as far as NSS finds them.
    pub identity: &'a Identity,
    /// Lowest and highest version, as on the wire.
    pub versions: (u16, u16),
}

/// Our certificate and its key.
pub struct Identity {
    /// The certificate.
    pub certificate: Certificate,
    /// Its private key.
    pub key: PrivateKey,
}

/// What libssl's callbacks recorded during a session.
#[derive(Debug, Clone, Default)]
pub struct HandshakeFacts {
    /// The peer's certificates as it sent them, leaf first.
    pub peer_chain: Vec<Vec<u8>>,
    /// The peer's certificate with its issuers, as NSS finds them among the received certificates and in the database.
    pub built_chain: Vec<Vec<u8>>,
    /// Everything that NSS objects to in the peer's chain, whatever the decision.
    pub objections: Vec<ChainError>,
    /// Set if the peer's certificate is not valid for the host name.
    pub name_error: Option<NssError>,
    /// NSS's decision on the peer's certificate, once there is one.
    pub decision: Option<std::result::Result<(), NssError>>,
    /// Set if the peer requested a certificate: the CAs that it accepts (empty: any).
    pub asked_for_certificate: Option<Vec<CaName>>,
    /// Whether the peer requested a certificate and libssl was given ours.
    pub gave_certificate: bool,
    /// Whether our certificate was sent, if the session itself reports that.
    pub sent_certificate: Option<bool>,
    /// All alerts, in order.
    pub alerts: Vec<SeenAlert>,
}

struct Shared {
    facts: RefCell<HandshakeFacts>,
    client_auth: Option<Identity>,
    #[allow(dead_code, reason = "held, so that NSS finds them")]
    authorities: Vec<Certificate>,
    nss: Nss,
}

/// A TLS session.
pub struct Session {
    fd: *mut PRFileDesc,
    // A box as a raw pointer, since libssl's callbacks keep its address and a `Box` must not be moved meanwhile; dropped after
    // `fd` is closed.
    shared: NonNull<Shared>,
}

impl Session {
    /// Sets up a client session. Nothing is sent before [`Session::handshake`].
    ///
    /// # Errors
    /// The error names the failed step; "set the range of TLS versions" fails without a useful number when the crypto policy
    /// forbids the whole range (measured on 3.87.1).
    pub fn client(nss: &Nss, transport: Box<dyn Transport>, options: TlsOptions<'_>) -> Result<Self> {
        let host = c_string(options.host, Step::SetHostName)?;
        let session = Self::over(nss, transport, options.client_auth, options.authorities)?;
        session.set_versions(options.versions)?;
        let fd = session.fd;
        // SAFETY: an open TLS descriptor; the argument of the callback lives in `session`, which outlives it.
        unsafe {
            ok(SSL_SetURL(fd, host.as_ptr()), Step::SetHostName)?;
            status(ffi::SSL_GetClientAuthDataHook(fd, Some(answer_request), session.arg()), Step::SetClientAuthHook)?;
            if let Some((last, others)) = options.alpn.split_last() {
                // NSS sends the first protocol last (sslsock.c and ssl3exthandle.c: in NPN the first was the fallback).
                let list = protocol_list(&[std::slice::from_ref(last), others].concat());
                let length = c_uint::try_from(list.len()).unwrap_or(0);
                status(ffi::SSL_SetNextProtoNego(fd, list.as_ptr(), length), Step::SetProtocols)?;
            }
            status(ffi::SSL_ResetHandshake(fd, 0), Step::PrepareHandshake)?;
        }
        Ok(session)
    }

    /// Sets up a server session that requests a certificate and refuses a client without one. [`Session::handshake`] waits
    /// for the client. The request lists the CAs that the database trusts for clients.
    ///
    /// # Errors
    /// As for [`Session::client`].
    pub fn server(nss: &Nss, transport: Box<dyn Transport>, options: ServerOptions<'_>) -> Result<Self> {
        let session = Self::over(nss, transport, None, Vec::new())?;
        session.set_versions(options.versions)?;
        let (fd, identity) = (session.fd, options.identity);
        // SAFETY: an open TLS descriptor; libssl takes references of its own to certificate and key, and NULL is documented as no
        // further data.
        unsafe {
            for (option, value) in [
                (ffi::SSL_REQUEST_CERTIFICATE, 1),
                (ffi::SSL_REQUIRE_CERTIFICATE, ffi::SSL_REQUIRE_ALWAYS),
                (ffi::SSL_ENABLE_RENEGOTIATION, ffi::SSL_RENEGOTIATE_NEVER),
            ] {
                ok(SSL_OptionSet(fd, option, value), Step::AskForCertificate)?;
            }
            let (certificate, key) = (identity.certificate.as_ptr(), identity.key.as_ptr());
            status(ffi::SSL_ConfigServerCert(fd, certificate, key, ptr::null(), 0), Step::SetServerCertificate)?;
            status(ffi::SSL_ResetHandshake(fd, 1), Step::PrepareHandshake)?;
        }
        Ok(session)
    }

    /// Puts TLS on the transport, with the callbacks that clients and servers share.
    fn over(
        nss: &Nss,
        transport: Box<dyn Transport>,
        client_auth: Option<Identity>,
        authorities: Vec<Certificate>,
    ) -> Result<Self> {
        let bottom = descriptor(transport)?;
        // SAFETY: an open descriptor, which libssl takes over when it succeeds.
        let fd = unsafe { SSL_ImportFD(ptr::null_mut(), bottom) };
        if fd.is_null() {
            let error = NssError::last(Step::ImportConnection);
            // SAFETY: still ours.
            unsafe { PR_Close(bottom) };
            return Err(error);
        }
        let facts = RefCell::new(HandshakeFacts::default());
        let shared = Box::new(Shared { facts, client_auth, authorities, nss: nss.clone() });
        let session = Self { fd, shared: NonNull::from(Box::leak(shared)) };
        let arg = session.arg();
        // SAFETY: an open TLS descriptor; the argument of the callbacks lives in `session`, which outlives it.
        unsafe {
            // A diagnosis makes one connection, so there is nothing to resume.
            ok(SSL_OptionSet(fd, SSL_NO_CACHE, 1), Step::DisableCache)?;
            ok(SSL_AuthCertificateHook(fd, Some(judge_peer), arg), Step::SetCertificateHook)?;
            status(ffi::SSL_AlertReceivedCallback(fd, Some(alert_received), arg), Step::SetAlertCallback)?;
            status(ffi::SSL_AlertSentCallback(fd, Some(alert_sent), arg), Step::SetAlertCallback)?;
        }
        Ok(session)
    }

    fn set_versions(&self, (min, max): (u16, u16)) -> Result<()> {
        // SAFETY: an open TLS descriptor; the range outlives the call.
        ok(unsafe { SSL_VersionRangeSet(self.fd, &SSLVersionRange { min, max }) }, Step::SetVersions)
    }

    fn arg(&self) -> *mut c_void {
        self.shared.as_ptr().cast()
    }

    /// The range of versions that will be offered, within the limits of the crypto policy.
    pub fn versions(&self) -> (u16, u16) {
        let mut range = SSLVersionRange { min: 0, max: 0 };
        // SAFETY: an open TLS descriptor; the output is writable.
        unsafe { SSL_VersionRangeGet(self.fd, &mut range) };
        (range.min, range.max)
    }

    /// Completes our side of the handshake.
    ///
    /// In TLS 1.3 that is before the peer has verified our certificate (RFC 8446, 4.4.2): only a read shows that the peer accepted it.
    pub fn handshake(&mut self) -> Result<()> {
        // SAFETY: an open TLS descriptor.
        status(unsafe { ffi::SSL_ForceHandshake(self.fd) }, Step::Handshake)
    }

    /// Reads application data; 0 at the end, with or without close_notify (see the alerts).
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize> {
        let amount = i32::try_from(buffer.len()).unwrap_or(i32::MAX);
        // SAFETY: an open TLS descriptor; the buffer has the room named.
        let count = unsafe { PR_Recv(self.fd, buffer.as_mut_ptr().cast(), amount, 0, u32::MAX) };
        usize::try_from(count).map_err(|_| NssError::last(Step::Read))
    }

    /// Writes some application data.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        let amount = i32::try_from(bytes.len()).unwrap_or(i32::MAX);
        // SAFETY: an open TLS descriptor; the bytes are readable.
        let count = unsafe { PR_Send(self.fd, bytes.as_ptr().cast(), amount, 0, u32::MAX) };
        usize::try_from(count).map_err(|_| NssError::last(Step::Write))
    }

    /// Sends close_notify and ends the sending direction.
    pub fn finish(&mut self) -> Result<()> {
        // SAFETY: an open TLS descriptor.
        match unsafe { ffi::PR_Shutdown(self.fd, ffi::PR_SHUTDOWN_SEND) } {
            PRStatus::PR_SUCCESS => Ok(()),
            PRStatus::PR_FAILURE => Err(NssError::last(Step::Finish)),
        }
    }

    /// The facts recorded so far.
    pub fn facts(&self) -> HandshakeFacts {
        let sent_certificate = self.sent_certificate();
        // SAFETY: alive until `drop`; only shared references to it exist.
        HandshakeFacts { sent_certificate, ..unsafe { self.shared.as_ref() }.facts.borrow().clone() }
    }

    /// Whether our certificate was sent, known once the handshake is complete on our side: in TLS 1.3 the wire does not show it.
    /// NSS does not send a certificate for whose key the peer accepts no signature scheme.
    fn sent_certificate(&self) -> Option<bool> {
        self.channel()?;
        // SAFETY: alive until `drop`; only shared references to it exist.
        let shared = unsafe { self.shared.as_ref() };
        // SAFETY: an open TLS descriptor; the certificate returned is ours.
        let sent = unsafe { Certificate::from_raw(ffi::SSL_LocalCertificate(self.fd).cast(), &shared.nss) };
        Some(sent.is_some())
    }

    /// The application protocol that the peer chose.
    fn protocol(&self) -> Option<String> {
        let (mut state, mut length, mut name) = (ffi::SSL_NEXT_PROTO_NO_SUPPORT, 0, [0u8; PROTOCOL_AT_MOST]);
        // SAFETY: an open TLS descriptor; the outputs have the sizes named.
        let result =
            unsafe { ffi::SSL_GetNextProto(self.fd, &mut state, name.as_mut_ptr(), &mut length, name.len() as c_uint) };
        let is_chosen = result == ffi::SUCCESS && state == ffi::SSL_NEXT_PROTO_SELECTED;
        let name = name.get(..length as usize).filter(|_| is_chosen)?;
        Some(String::from_utf8_lossy(name).into_owned())
    }

    /// The negotiated parameters; `None` before the handshake is complete.
    pub fn channel(&self) -> Option<Channel> {
        // SAFETY: plain integers and pointers, for which zero is a value; NSS fills in at most the size that it is given.
        unsafe {
            let mut info: ffi::SSLChannelInfo = std::mem::zeroed();
            let room = size_of::<ffi::SSLChannelInfo>() as u32;
            if ffi::SSL_GetChannelInfo(self.fd, &mut info, room) != ffi::SUCCESS || info.protocolVersion == 0 {
                return None;
            }
            let mut suite: ffi::SSLCipherSuiteInfo = std::mem::zeroed();
            let room = size_of::<ffi::SSLCipherSuiteInfo>() as u32;
            let known = ffi::SSL_GetCipherSuiteInfo(info.cipherSuite, &mut suite, room) == ffi::SUCCESS;
            let suite_name = if known && !suite.cipherSuiteName.is_null() {
                CStr::from_ptr(suite.cipherSuiteName).to_string_lossy().into_owned()
            } else {
                format!("0x{:04x}", info.cipherSuite)
            };
            Some(Channel {
                version: info.protocolVersion,
                suite: info.cipherSuite,
                suite_name,
                peer_key_bits: info.authKeyBits,
                alpn: self.protocol(),
            })
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: closes the session and the transport below it, once; the callbacks' argument is still alive.
        unsafe { PR_Close(self.fd) };
        // SAFETY: the box of `new`, once; no callback runs any more.
        drop(unsafe { Box::from_raw(self.shared.as_ptr()) });
    }
}

fn ok(result: SECStatus, step: Step) -> Result<()> {
    status(result as Status, step)
}

fn status(result: Status, step: Step) -> Result<()> {
    if result == ffi::SUCCESS { Ok(()) } else { Err(NssError::last(step)) }
}

/// # Safety
/// `arg` is what [`Session::arg`] returned, and the session is alive.
unsafe fn shared<'a>(arg: *mut c_void) -> &'a Shared {
    // SAFETY: promised by the caller; only shared references to it exist.
    unsafe { &*arg.cast::<Shared>() }
}

/// Records the chain and every objection to it, then decides exactly as NSS's default hook does.
unsafe extern "C" fn judge_peer(arg: *mut c_void, fd: *mut PRFileDesc, check: PRBool, server: PRBool) -> SECStatus {
    // SAFETY: libssl passes the argument that it was given, during a call on a live session.
    let shared = unsafe { shared(arg) };
    // SAFETY: as above.
    let decision = unsafe { decide(shared, fd, check, server) };
    let failed = decision.as_ref().err().map(|error| error.code);
    shared.facts.borrow_mut().decision = Some(decision);
    match failed {
        None => SECStatus::SECSuccess,
        Some(code) => {
            // libssl reads the error next, which must be the hook's own; releasing certificates may set another (measured on 3.132).
            // SAFETY: sets thread-local numbers.
            unsafe { nss_sys::nspr::PR_SetError(code.0, 0) };
            SECStatus::SECFailure
        }
    }
}

/// # Safety
/// `fd` is the live session of `shared`, during libssl's callback that verifies the peer's certificate.
unsafe fn decide(shared: &Shared, fd: *mut PRFileDesc, check: PRBool, server: PRBool) -> Result<()> {
    // SAFETY: both results of the session's getters are references that are ours.
    let (leaf, chain) = unsafe {
        let leaf = Certificate::from_raw(SSL_PeerCertificate(fd), &shared.nss);
        (leaf, cert::from_list(SSL_PeerCertificateChain(fd), &shared.nss))
    };
    // Held during both verifications: NSS drops the trust of an issuer without references, and reading it again takes PBKDF2.
    let built = leaf.as_ref().map(Certificate::chain).unwrap_or_default();
    if let Some(leaf) = &leaf {
        // A server verifies a client certificate.
        let objections = leaf.verify(if server == 0 { Usage::SslServer } else { Usage::SslClient });
        let mut facts = shared.facts.borrow_mut();
        facts.peer_chain = chain.iter().map(Certificate::der).collect();
        facts.built_chain = built.iter().map(Certificate::der).collect();
        facts.objections = objections;
    }
    // SAFETY: the default hook, with the argument that NSS itself passes.
    let decision = unsafe { ffi::SSL_AuthCertificate(ffi::CERT_GetDefaultCertDB().cast(), fd, check, server) };
    let decision = status(decision, Step::JudgePeer);
    if let Err(error) = &decision {
        let by_name = error.code == ErrorCode::SSL_ERROR_BAD_CERT_DOMAIN;
        shared.facts.borrow_mut().name_error = by_name.then(|| error.clone());
    }
    decision
}

/// Records the peer's request and returns our certificate, whatever CAs the request lists, as NSS_GetClientAuthData does
/// for a nickname.
unsafe extern "C" fn answer_request(
    arg: *mut c_void,
    _fd: *mut PRFileDesc,
    ca_names: *mut CERTDistNames,
    certificate: *mut *mut CERTCertificate,
    key: *mut *mut SECKEYPrivateKey,
) -> Status {
    // SAFETY: libssl passes the argument that it was given, during a call on a live session.
    let shared = unsafe { shared(arg) };
    let mut facts = shared.facts.borrow_mut();
    // SAFETY: `ca_names` and its items are valid during the callback.
    facts.asked_for_certificate = Some(unsafe { copy_names(ca_names) });
    let Some(ours) = &shared.client_auth else { return ffi::FAILURE };
    // SAFETY: both are alive; libssl gets references of its own, through pointers that it provided.
    unsafe {
        let key_copy = ffi::SECKEY_CopyPrivateKey(ours.key.as_ptr());
        if key_copy.is_null() {
            return ffi::FAILURE;
        }
        *key = key_copy;
        *certificate = ffi::CERT_DupCertificate(ours.certificate.as_ptr());
    }
    facts.gave_certificate = true;
    ffi::SUCCESS
}

/// # Safety
/// `names` is NULL or valid, with `nnames` items.
unsafe fn copy_names(names: *mut CERTDistNames) -> Vec<CaName> {
    if names.is_null() {
        return Vec::new();
    }
    // SAFETY: promised by the caller; the text returned is ours.
    unsafe {
        let count = usize::try_from((*names).nnames).unwrap_or(0);
        (0..count)
            .map(|index| {
                let item = (*names).names.add(index);
                let text =
                    take_string(ffi::CERT_DerNameToAscii(item)).unwrap_or_else(|| "(unreadable name)".to_owned());
                CaName { der: copy_item(item), text }
            })
            .collect()
    }
}

unsafe extern "C" fn alert_received(_fd: *const PRFileDesc, arg: *mut c_void, alert: *const SSLAlert) {
    // SAFETY: libssl passes the argument that it was given, and an alert, during a call on a live session.
    unsafe { record_alert(arg, alert, false) };
}

unsafe extern "C" fn alert_sent(_fd: *const PRFileDesc, arg: *mut c_void, alert: *const SSLAlert) {
    // SAFETY: as above.
    unsafe { record_alert(arg, alert, true) };
}

/// # Safety
/// As for [`shared`]; `alert` is valid.
unsafe fn record_alert(arg: *mut c_void, alert: *const SSLAlert, sent: bool) {
    // SAFETY: promised by the caller.
    let (shared, alert) = unsafe { (shared(arg), *alert) };
    let seen = SeenAlert { sent, level: alert.level, description: alert.description };
    // A peer may send alerts without end; the first hundred are enough.
    let mut facts = shared.facts.borrow_mut();
    if facts.alerts.len() < 100 {
        facts.alerts.push(seen);
    }
}
