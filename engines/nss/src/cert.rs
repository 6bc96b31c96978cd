//! Certificates in NSS: nickname, trust, chain, and NSS's own verification.

use std::ptr::{self, NonNull};

use nss_sys::cert::{
    CERT_DestroyCertList, CERT_DestroyCertificate, CERT_VerifyCertName, CERTCertList, CERTCertListNode,
};
use nss_sys::cert::{CERTCertTrust, CERTCertificate};
use nss_sys::nspr::PRTime;

use crate::error::{ErrorCode, NssError, Result, Step};
use crate::ffi;
use crate::init::Nss;
use crate::memory::{BorrowedItem, c_string, copy_item, copy_string};
use crate::trust::Trust;

/// What a certificate is checked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// Authenticating a TLS client; its CA needs `T`.
    SslClient,
    /// Authenticating a TLS server; its CA needs `C`.
    SslServer,
}

/// One objection of NSS to a chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ChainError {
    /// 0 is the certificate itself, 1 its issuer, …
    pub depth: u32,
    /// The error.
    pub error: NssError,
    /// Subject of the certificate objected to.
    pub subject: String,
}

/// A certificate known to NSS.
///
/// Its fields are read one by one through the pointer: `nss-sys`'s struct lacks the last one (tests/layout).
pub struct Certificate {
    cert: NonNull<CERTCertificate>,
    nss: Nss,
}

impl Certificate {
    /// Takes ownership of a reference.
    ///
    /// # Safety
    /// `cert` is NULL or a reference that nothing else releases.
    pub(crate) unsafe fn from_raw(cert: *mut CERTCertificate, nss: &Nss) -> Option<Self> {
        NonNull::new(cert).map(|cert| Self { cert, nss: nss.clone() })
    }

    pub(crate) fn as_ptr(&self) -> *mut CERTCertificate {
        self.cert.as_ptr()
    }

    pub(crate) fn nss(&self) -> &Nss {
        &self.nss
    }

    /// The certificate with this nickname; `token:nickname` reaches other tokens.
    pub fn find(nickname: &str, nss: &Nss) -> Result<Self> {
        const STEP: Step = Step::FindCertificate;
        let text = c_string(nickname, STEP)?;
        // NSS sets no error for an absent nickname: without this reset, the error of an earlier call would be reported.
        // SAFETY: writes thread-local numbers.
        unsafe { nss_sys::nspr::PR_SetError(0, 0) };
        // SAFETY: NSS is initialised, the string outlives the call, the reference returned is ours.
        unsafe { Self::from_raw(ffi::PK11_FindCertFromNickname(text.as_ptr(), ptr::null_mut()), nss) }
            .ok_or_else(|| NssError::last(STEP))
    }

    /// A certificate parsed from DER, not stored anywhere.
    pub fn from_der(der: &[u8], nss: &Nss) -> Result<Self> {
        let mut item = BorrowedItem::new(der);
        // SAFETY: NSS copies the DER (copyDER); the reference returned is ours.
        unsafe {
            let db = ffi::CERT_GetDefaultCertDB();
            Self::from_raw(ffi::CERT_NewTempCertificate(db, item.as_ptr(), ptr::null_mut(), 0, 1), nss)
        }
        .ok_or_else(|| NssError::last(Step::ReadCertificate))
    }

    /// The DER encoding.
    pub fn der(&self) -> Vec<u8> {
        // SAFETY: the item belongs to the certificate.
        unsafe { copy_item(&raw const (*self.as_ptr()).derCert) }
    }

    /// The nickname, prefixed with the token's name if the certificate is on another token.
    pub fn nickname(&self) -> Option<String> {
        // SAFETY: the string belongs to the certificate.
        unsafe { copy_string((*self.as_ptr()).nickname) }
    }

    /// The subject, as NSS writes it (RFC 1485 style).
    pub fn subject(&self) -> String {
        // SAFETY: the string belongs to the certificate.
        unsafe { copy_string((*self.as_ptr()).subjectName) }.unwrap_or_default()
    }

    /// The issuer, as NSS writes it.
    pub fn issuer_name(&self) -> String {
        // SAFETY: the string belongs to the certificate.
        unsafe { copy_string((*self.as_ptr()).issuerName) }.unwrap_or_default()
    }

    /// Whether issuer and subject are the same name.
    pub fn is_self_issued(&self) -> bool {
        // SAFETY: the items belong to the certificate.
        unsafe {
            let cert = self.as_ptr();
            copy_item(&raw const (*cert).derIssuer) == copy_item(&raw const (*cert).derSubject)
        }
    }

    /// Whether it has a critical extension that NSS does not support (certxutl.c, `cert_HasUnknownCriticalExten`).
    fn has_unknown_critical_extension(&self) -> bool {
        // SAFETY: the list ends with a null pointer, and belongs to the certificate with all that it leads to.
        unsafe {
            let mut next = (*self.as_ptr()).extensions;
            while !next.is_null() && !(*next).is_null() {
                let extension = *next;
                // An absent BOOLEAN is false.
                let is_critical = copy_item(&raw const (*extension).critical).first().is_some_and(|byte| *byte != 0);
                if is_critical && ffi::SECOID_KnownCertExtenOID(&raw mut (*extension).id) == 0 {
                    return true;
                }
                next = next.add(1);
            }
        }
        false
    }

    /// First and last second of validity, in microseconds since 1970.
    pub fn validity(&self) -> Result<(i64, i64)> {
        let (mut not_before, mut not_after): (PRTime, PRTime) = (0, 0);
        // SAFETY: the certificate is alive; both outputs are writable.
        match unsafe { ffi::CERT_GetCertTimes(self.as_ptr(), &mut not_before, &mut not_after) } {
            ffi::SUCCESS => Ok((not_before, not_after)),
            _ => Err(NssError::last(Step::ReadValidity)),
        }
    }

    /// The trust flags; a certificate without a trust record has `,,`.
    pub fn trust(&self) -> Trust {
        let mut trust = CERTCertTrust { sslFlags: 0, emailFlags: 0, objectSigningFlags: 0 };
        // SAFETY: the certificate is alive; the output is writable. A failure means that there is no trust record.
        unsafe { ffi::CERT_GetCertTrust(self.as_ptr(), &mut trust) };
        Trust { ssl: trust.sslFlags, email: trust.emailFlags, object_signing: trust.objectSigningFlags }
    }

    /// The issuer's certificate, if NSS finds it.
    pub fn issuer(&self) -> Option<Certificate> {
        // SAFETY: the certificate is alive; the reference returned is ours.
        unsafe {
            Self::from_raw(ffi::CERT_FindCertIssuer(self.as_ptr(), ffi::PR_Now(), ffi::certUsageAnyCA), &self.nss)
        }
    }

    /// The chain from this certificate upwards, as far as NSS finds issuers. At most 100 certificates: of NSS's two verifiers, the older
    /// one stops at 20, and libpkix has no limit.
    pub fn chain(&self) -> Vec<Certificate> {
        let mut chain: Vec<Certificate> = vec![self.share()];
        while let Some(last) = chain.last().filter(|last| !last.is_self_issued() && chain.len() < 100) {
            match last.issuer() {
                // Two CAs may have certified each other.
                Some(issuer) if chain.iter().all(|known| known.as_ptr() != issuer.as_ptr()) => chain.push(issuer),
                _ => break,
            }
        }
        chain
    }

    /// Another owner of the same certificate.
    #[must_use]
    pub fn share(&self) -> Certificate {
        // SAFETY: the certificate is alive; the new reference is ours.
        unsafe { ffi::CERT_DupCertificate(self.as_ptr()) };
        // CERT_DupCertificate returns the same object with one more reference (stanpcertdb.c).
        Certificate { cert: self.cert, nss: self.nss.clone() }
    }

    /// Size of the public key in bits; 0 if NSS cannot read the key.
    pub fn key_bits(&self) -> u32 {
        // SAFETY: the certificate is alive; the key returned is ours and is freed.
        unsafe {
            let key = ffi::CERT_ExtractPublicKey(self.as_ptr());
            if key.is_null() {
                return 0;
            }
            let bits = ffi::SECKEY_PublicKeyStrengthInBits(key);
            ffi::SECKEY_DestroyPublicKey(key);
            bits
        }
    }

    /// Verifies the certificate for a usage at the current time, and returns everything that NSS objects to; empty if NSS accepts it.
    pub fn verify(&self, usage: Usage) -> Vec<ChainError> {
        let usages = match usage {
            Usage::SslClient => ffi::certificateUsageSSLClient,
            Usage::SslServer => ffi::certificateUsageSSLServer,
        };
        // SAFETY: the log is on an arena of ours that outlives the call, and each node holds a reference to a
        // certificate which is released here (CERT_AddToVerifyLog, certvfy.c).
        unsafe {
            let arena = ffi::PORT_NewArena(512);
            if arena.is_null() {
                return vec![self.objection(NssError::last(Step::VerifyCertificate))];
            }
            let mut log = ffi::CERTVerifyLog { arena, count: 0, head: ptr::null_mut(), tail: ptr::null_mut() };
            let db = ffi::CERT_GetDefaultCertDB();
            let now = ffi::PR_Now();
            let none = ptr::null_mut();
            let status =
                ffi::CERT_VerifyCertificate(db, self.as_ptr(), 1, usages, now, none, &mut log, ptr::null_mut());
            let failure = (status != ffi::SUCCESS).then(|| NssError::last(Step::VerifyCertificate));
            let mut objections = Vec::new();
            let mut node = log.head;
            let chain = if node.is_null() { Vec::new() } else { self.chain() };
            while !node.is_null() {
                let entry = &*node;
                let code = ErrorCode(entry.error as i32);
                let (mut subject, mut place) = if entry.cert.is_null() {
                    (String::new(), None)
                } else {
                    let der = copy_item(&raw const (*entry.cert).derCert);
                    let place = chain.iter().position(|certificate| certificate.der() == der);
                    (copy_string((*entry.cert).subjectName).unwrap_or_default(), place)
                };
                // libpkix checks the extensions of a chain only when it has reached the anchor, and logs the anchor (pkix_build.c).
                let has_one = |place: usize| chain[place].has_unknown_critical_extension();
                if code == ErrorCode::SEC_ERROR_UNKNOWN_CRITICAL_EXTENSION
                    && !place.is_some_and(has_one)
                    && let Some(other) = (0..chain.len()).find(|place| has_one(*place))
                {
                    (subject, place) = (chain[other].subject(), Some(other));
                }
                // The logged depth is not always that of the logged certificate. For a name that a CA does not permit, the older of
                // NSS's two verifiers logs the CA's depth (certvfy.c, cert_VerifyCertChainOld). For an issuer without trust, libpkix,
                // the default of later versions, logs a depth that is one too high (certvfypkix.c).
                let is_by_name = code == ErrorCode::SEC_ERROR_CERT_NOT_IN_NAME_SPACE;
                let depth = match place.and_then(|place| u32::try_from(place).ok()) {
                    // NSS reports the errors of a self-issued certificate against its issuer, which is the same certificate.
                    Some(0) if self.is_self_issued() && !is_by_name => entry.depth.min(1),
                    Some(place) => place,
                    None => entry.depth,
                };
                objections.push(ChainError { depth, error: NssError::of(Step::VerifyCertificate, code), subject });
                if !entry.cert.is_null() {
                    CERT_DestroyCertificate(entry.cert);
                }
                node = entry.next;
            }
            ffi::PORT_FreeArena(arena, 0);
            match failure {
                Some(error) if objections.is_empty() => vec![self.objection(error)],
                _ => objections,
            }
        }
    }

    fn objection(&self, error: NssError) -> ChainError {
        ChainError { depth: 0, error, subject: self.subject() }
    }

    /// Whether NSS accepts the certificate for this host name.
    pub fn valid_for_host(&self, host: &str) -> Result<()> {
        const STEP: Step = Step::CompareName;
        let host = c_string(host, STEP)?;
        // SAFETY: the certificate is alive, the string outlives the call.
        match unsafe { CERT_VerifyCertName(self.as_ptr(), host.as_ptr()) } {
            nss_sys::SECStatus::SECSuccess => Ok(()),
            _ => Err(NssError::last(STEP)),
        }
    }
}

impl Drop for Certificate {
    fn drop(&mut self) {
        // SAFETY: our reference, released once.
        unsafe { CERT_DestroyCertificate(self.cert.as_ptr()) };
    }
}

/// Takes ownership of a list and of each certificate in it.
///
/// # Safety
/// `list` is NULL or a list that nothing else destroys.
pub(crate) unsafe fn from_list(list: *mut CERTCertList, nss: &Nss) -> Vec<Certificate> {
    let mut certificates = Vec::new();
    if list.is_null() {
        return certificates;
    }
    // SAFETY: the list is circular and ends at its own head (cert.h, CERT_LIST_END); each certificate is shared before
    // the list, which holds the other reference, is destroyed.
    unsafe {
        let end = ptr::from_ref(&(*list).list).cast::<CERTCertListNode>();
        let mut node = (*list).list.next.cast::<CERTCertListNode>();
        while !node.is_null() && !ptr::eq(node, end) {
            certificates.extend(Certificate::from_raw(ffi::CERT_DupCertificate((*node).cert), nss));
            node = (*node).links.next.cast();
        }
        CERT_DestroyCertList(list);
    }
    certificates
}
