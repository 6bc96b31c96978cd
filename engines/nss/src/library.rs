//! The libraries themselves: versions, where they were loaded from, and the crypto policy in force.

use std::ffi::{CStr, OsStr, c_char, c_int, c_void};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use nss_sys::nspr::PRUint32;

use crate::ffi;
use crate::memory::copy_string;

/// Version of NSS in use, such as "3.87.1".
pub fn nss_version() -> String {
    // SAFETY: a static string.
    first_word(unsafe { copy_string(ffi::NSS_GetVersion()) })
}

/// Major and minor version of NSS in use, such as (3, 87).
pub fn nss_release() -> (u32, u32) {
    let text = nss_version();
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

/// Version of NSPR in use.
pub fn nspr_version() -> String {
    // SAFETY: a static string.
    first_word(unsafe { copy_string(ffi::PR_GetVersion()) })
}

/// Version of libssl3 in use; the same as NSS's unless two installations are mixed.
pub fn ssl_version() -> String {
    // SAFETY: a static string.
    first_word(unsafe { copy_string(ffi::NSSSSL_GetVersion()) })
}

/// Whether any code has initialised NSS in this process. After a shutdown that found references still held, NSS stays initialised.
pub fn is_initialised() -> bool {
    // SAFETY: reads a flag.
    unsafe { ffi::NSS_IsInitialized() != 0 }
}

/// Debug builds append " Basic ECC" and the like.
fn first_word(text: Option<String>) -> String {
    text.as_deref().and_then(|text| text.split_whitespace().next()).unwrap_or("unknown").to_owned()
}

/// Files of the libraries, as the dynamic linker found them: name and path.
pub fn paths() -> Vec<(&'static str, PathBuf)> {
    let symbols: [(&str, *const c_void); 4] = [
        ("nss", ffi::NSS_GetVersion as *const c_void),
        ("ssl", ffi::NSSSSL_GetVersion as *const c_void),
        ("nssutil", ffi::NSS_InitializePRErrorTable as *const c_void),
        ("nspr", ffi::PR_GetVersion as *const c_void),
    ];
    symbols.into_iter().filter_map(|(name, symbol)| Some((name, path_of(symbol)?))).collect()
}

fn path_of(symbol: *const c_void) -> Option<PathBuf> {
    // SAFETY: dladdr fills the struct or returns 0; its file name is a string of the loaded object.
    unsafe {
        let mut info: libc::Dl_info = std::mem::zeroed();
        if libc::dladdr(symbol, &mut info) == 0 || info.dli_fname.is_null() {
            return None;
        }
        let name: *const c_char = info.dli_fname;
        Some(PathBuf::from(OsStr::from_bytes(CStr::from_ptr(name).to_bytes())))
    }
}

/// Smallest RSA and DH keys (bits) and the range of TLS versions that the policy in force allows. Needs an open NSS,
/// since the policy is read with the module list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Bits.
    pub rsa_min: Option<i32>,
    /// Bits.
    pub dh_min: Option<i32>,
    /// As on the wire.
    pub tls_min: Option<i32>,
    /// As on the wire.
    pub tls_max: Option<i32>,
}

/// The policy's limits.
pub fn policy_limits() -> PolicyLimits {
    let option = |which| {
        let mut value = 0;
        // SAFETY: the output is writable.
        (unsafe { ffi::NSS_OptionGet(which, &mut value) } == ffi::SUCCESS).then_some(value)
    };
    PolicyLimits {
        rsa_min: option(ffi::NSS_RSA_MIN_KEY_SIZE),
        dh_min: option(ffi::NSS_DH_MIN_KEY_SIZE),
        tls_min: option(ffi::NSS_TLS_VERSION_MIN_POLICY),
        tls_max: option(ffi::NSS_TLS_VERSION_MAX_POLICY),
    }
}

/// What the policy in force removes from the ClientHello that NSS would send by default. Each algorithm is looked up for the use
/// for which libssl looks it up (ssl3con.c, ssl3_ApplyNSSPolicy; sslgrp.c; ssl_SchemePolicyOK).
pub fn refused_in_tls() -> Vec<&'static str> {
    let kx = ffi::NSS_USE_ALG_IN_SSL_KX;
    let record = ffi::NSS_USE_ALG_IN_SSL;
    let algorithms = [
        ("RSA-PSS signatures", ffi::SEC_OID_PKCS1_RSA_PSS_SIGNATURE, kx),
        ("ECDSA signatures", ffi::SEC_OID_ANSIX962_EC_PUBLIC_KEY, kx),
        ("SHA-256", ffi::SEC_OID_SHA256, kx),
        ("SHA-384", ffi::SEC_OID_SHA384, kx),
        ("SHA-512", ffi::SEC_OID_SHA512, kx),
        ("ECDHE-RSA key exchange", ffi::SEC_OID_TLS_ECDHE_RSA, kx),
        ("ECDHE-ECDSA key exchange", ffi::SEC_OID_TLS_ECDHE_ECDSA, kx),
        ("DHE-RSA key exchange", ffi::SEC_OID_TLS_DHE_RSA, kx),
        ("RSA key exchange", ffi::SEC_OID_TLS_RSA, kx),
        ("x25519", ffi::SEC_OID_CURVE25519, kx),
        ("secp256r1", ffi::SEC_OID_ANSIX962_EC_PRIME256V1, kx),
        ("secp384r1", ffi::SEC_OID_SECG_EC_SECP384R1, kx),
        ("secp521r1", ffi::SEC_OID_SECG_EC_SECP521R1, kx),
        ("ffdhe2048", ffi::SEC_OID_TLS_FFDHE_2048, kx),
        ("AES-128-GCM", ffi::SEC_OID_AES_128_GCM, record),
        ("AES-256-GCM", ffi::SEC_OID_AES_256_GCM, record),
        ("ChaCha20-Poly1305", ffi::SEC_OID_CHACHA20_POLY1305, record),
        ("AES-128-CBC", ffi::SEC_OID_AES_128_CBC, record),
        ("AES-256-CBC", ffi::SEC_OID_AES_256_CBC, record),
        ("HMAC-SHA1", ffi::SEC_OID_HMAC_SHA1, record),
    ];
    algorithms.into_iter().filter(|(_, tag, usage)| refuses(*tag, *usage)).map(|(name, ..)| name).collect()
}

/// Whether the policy in force forbids an algorithm for a use.
fn refuses(tag: c_int, usage: PRUint32) -> bool {
    let mut policy = 0;
    // SAFETY: the output is writable.
    unsafe { ffi::NSS_GetAlgorithmPolicy(tag, &mut policy) == ffi::SUCCESS && policy & usage == 0 }
}

/// Hash algorithms that the policy in force refuses in signatures of certificates.
pub fn hashes_refused_in_certificates() -> Vec<&'static str> {
    let hashes = [
        ("MD5", ffi::SEC_OID_MD5),
        ("SHA-1", ffi::SEC_OID_SHA1),
        ("SHA-256", ffi::SEC_OID_SHA256),
        ("SHA-384", ffi::SEC_OID_SHA384),
        ("SHA-512", ffi::SEC_OID_SHA512),
    ];
    let refused = |tag: c_int| refuses(tag, ffi::NSS_USE_ALG_IN_CERT_SIGNATURE);
    hashes.into_iter().filter(|(_, tag)| refused(*tag)).map(|(name, _)| name).collect()
}

/// Whether NSS verifies chains with libpkix, the default of later versions, which has no limit for their length.
pub fn verifies_by_pkix() -> bool {
    // SAFETY: reads a flag.
    unsafe { ffi::CERT_GetUsePKIXForValidation() != 0 }
}

/// Whether a module with public root certificates (libnssckbi or its replacement) is loaded.
pub fn has_root_certs() -> bool {
    // SAFETY: reads the module list of an initialised NSS under its own lock.
    unsafe { ffi::SECMOD_HasRootCerts() != 0 }
}

/// Fills a buffer from NSS's random number generator. Needs an open NSS.
pub fn random(buffer: &mut [u8]) -> crate::Result<()> {
    const STEP: crate::Step = crate::Step::DrawRandom;
    let length = i32::try_from(buffer.len()).map_err(|_| crate::NssError::of(STEP, crate::ErrorCode(0)))?;
    // SAFETY: `length` bytes are writable.
    match unsafe { ffi::PK11_GenerateRandom(buffer.as_mut_ptr(), length) } {
        ffi::SUCCESS => Ok(()),
        _ => Err(crate::NssError::last(STEP)),
    }
}

/// Initialises the modules again, as a forked child may. Without `force`, only those that do not respond.
pub fn restart_modules(force: bool) -> crate::Result<()> {
    // SAFETY: NSS takes its own lock; objects found before stay valid as far as NSS guarantees it.
    match unsafe { ffi::SECMOD_RestartModules(i32::from(force)) } {
        ffi::SUCCESS => Ok(()),
        _ => Err(crate::NssError::last(crate::Step::RestartModules)),
    }
}
