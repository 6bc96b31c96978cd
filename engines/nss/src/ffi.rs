//! Declarations that `nss-sys` lacks, named exactly as in NSS's headers.
//!
//! Statuses are plain integers here, since a Rust enum with an unknown value is undefined behaviour. Layouts and
//! signatures are compared with the installed headers by a C compiler in `tests/layout.rs`.
#![allow(missing_docs, non_camel_case_types, non_snake_case, non_upper_case_globals)] // Documented in NSS's headers, under these names.

use std::ffi::{c_char, c_int, c_long, c_uint, c_ulong, c_void};
use std::sync::Once;

use nss_sys::cert::{CERTCertDBHandle, CERTCertList, CERTCertTrust, CERTCertificate, CERTName};
use nss_sys::nspr::{
    PLArenaPool, PRBool, PRDescIdentity, PRFileDesc, PRIOMethods, PRInt32, PRIntn, PRStatus, PRTime, PRUint16,
    PRUint32, PRUintn,
};
use nss_sys::{PK11SlotInfo, SECItem};

/// `SECStatus` as the integer it is: 0 success, -1 failure, -2 would block (or, from `PK11_Authenticate`, wrong password).
pub type Status = c_int;
pub const SUCCESS: Status = 0;
pub const FAILURE: Status = -1;
pub const WOULD_BLOCK: Status = -2;

/// Declares C structs that are only ever used behind a pointer.
macro_rules! opaque {
    ($($name:ident)+) => { $(#[repr(C)] pub struct $name { _private: [u8; 0] })+ };
}

opaque! { SECKEYPrivateKey SECKEYPublicKey NSSInitContext NSSInitParameters PK11SlotList CERTSignedCrl PK11GenericObject }

/// The first fields of `PK11SlotListElement`; the fields after them are internal to the list.
#[repr(C)]
pub struct PK11SlotListElement {
    pub next: *mut PK11SlotListElement,
    pub prev: *mut PK11SlotListElement,
    pub slot: *mut PK11SlotInfo,
}

#[repr(C)]
pub struct CERTDistNames {
    pub arena: *mut PLArenaPool,
    pub nnames: c_int,
    pub names: *mut SECItem,
    pub head: *mut c_void,
}

#[repr(C)]
pub struct CERTVerifyLogNode {
    pub cert: *mut CERTCertificate,
    pub error: c_long,
    pub depth: c_uint,
    pub arg: *mut c_void,
    pub next: *mut CERTVerifyLogNode,
    pub prev: *mut CERTVerifyLogNode,
}

#[repr(C)]
pub struct CERTVerifyLog {
    pub arena: *mut PLArenaPool,
    pub count: c_uint,
    pub head: *mut CERTVerifyLogNode,
    pub tail: *mut CERTVerifyLogNode,
}

/// The first fields of `SSLChannelInfo`; NSS fills in no more bytes than the size that it is given.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SSLChannelInfo {
    pub length: PRUint32,
    pub protocolVersion: PRUint16,
    pub cipherSuite: PRUint16,
    pub authKeyBits: PRUint32,
    pub keaKeyBits: PRUint32,
    pub creationTime: PRUint32,
    pub lastAccessTime: PRUint32,
    pub expirationTime: PRUint32,
    pub sessionIDLength: PRUint32,
    pub sessionID: [u8; 32],
    pub compressionMethodName: *const c_char,
}

/// The first fields of `SSLCipherSuiteInfo`.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct SSLCipherSuiteInfo {
    pub length: PRUint16,
    pub cipherSuite: PRUint16,
    pub cipherSuiteName: *const c_char,
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct SSLAlert {
    pub level: u8,
    pub description: u8,
}

/// `PRNetAddr`: 112 bytes, in `nss-sys` an empty enum that cannot be allocated.
#[repr(C)]
#[derive(Clone, Copy)]
pub union NetAddr {
    pub family: PRUint16,
    pub inet: NetAddrInet,
    pub room: [u64; 14],
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct NetAddrInet {
    pub family: PRUint16,
    pub port: PRUint16,
    pub ip: PRUint32,
    pub pad: [c_char; 8],
}

/// `PRSocketOptionData`, in `nss-sys` a type without values. Its union contains addresses, so it starts at offset 8.
#[repr(C)]
pub struct SocketOption {
    pub option: c_int,
    pub value: SocketOptionValue,
}

/// The members of the union of `PRSocketOptionData` that this crate fills in.
#[repr(C)]
#[derive(Clone, Copy)]
pub union SocketOptionValue {
    pub non_blocking: PRBool,
    pub room: [u64; 28],
}
pub const PR_SockOpt_Nonblocking: c_int = 0;
/// `PRShutdownHow`.
pub const PR_SHUTDOWN_SEND: PRIntn = 1;

pub const NSS_INIT_READONLY: PRUint32 = 0x1;
pub const NSS_INIT_NOCERTDB: PRUint32 = 0x2;
pub const NSS_INIT_NOMODDB: PRUint32 = 0x4;
pub const NSS_INIT_FORCEOPEN: PRUint32 = 0x8;
pub const NSS_INIT_NOROOTINIT: PRUint32 = 0x10;
pub const NSS_INIT_OPTIMIZESPACE: PRUint32 = 0x20;

pub const SSL_NEXT_PROTO_NO_SUPPORT: c_uint = 0;
pub const SSL_NEXT_PROTO_SELECTED: c_uint = 3;

pub const certificateUsageSSLClient: i64 = 0x0001;
pub const certificateUsageSSLServer: i64 = 0x0002;
pub const certificateUsageSSLCA: i64 = 0x0008;
/// `SECCertUsage` of a CA of any kind.
pub const certUsageAnyCA: c_int = 11;

pub const NSS_RSA_MIN_KEY_SIZE: PRInt32 = 0x001;
pub const NSS_DH_MIN_KEY_SIZE: PRInt32 = 0x002;
pub const NSS_TLS_VERSION_MIN_POLICY: PRInt32 = 0x008;
pub const NSS_TLS_VERSION_MAX_POLICY: PRInt32 = 0x009;

/// Options of a server's session and their values (ssl.h).
pub const SSL_REQUEST_CERTIFICATE: PRInt32 = 3;
pub const SSL_REQUIRE_CERTIFICATE: PRInt32 = 10;
pub const SSL_REQUIRE_ALWAYS: PRBool = 1;
pub const SSL_ENABLE_RENEGOTIATION: PRInt32 = 20;
pub const SSL_RENEGOTIATE_NEVER: PRBool = 0;

pub const KU_DIGITAL_SIGNATURE: c_uint = 0x80;

/// `type`, `importOptions` and `decodeOptions` of `PK11_ImportCRL` (cert.h, secmodt.h).
pub const SEC_CRL_TYPE: c_int = 1;
pub const CRL_IMPORT_BYPASS_CHECKS: PRInt32 = 1;
pub const CRL_DECODE_DEFAULT_OPTIONS: PRInt32 = 0;
/// The objects of revocation lists and their DER, as the raw functions take them (pkcs11n.h, pkcs11t.h, secmodt.h).
pub const CKO_NSS_CRL: c_ulong = 0xce534351;
pub const CKA_VALUE: c_ulong = 0x11;
pub const PK11_TypeGeneric: c_uint = 0;

/// The handle that stands for no object (pkcs11t.h).
pub const CK_INVALID_HANDLE: c_ulong = 0;

/// `KeyType` of keyhi.h/keythi.h.
pub const rsaKey: c_int = 1;
pub const dsaKey: c_int = 2;
pub const ecKey: c_int = 6;
pub const rsaPssKey: c_int = 7;

/// Mechanisms of pkcs11t.h; in a request for a list of tokens, the last one stands for any.
pub const CKM_RSA_PKCS: c_ulong = 0x0001;
pub const CKM_INVALID_MECHANISM: c_ulong = 0xffffffff;

/// Flags and tags of secoidt.h, for `NSS_GetAlgorithmPolicy`.
pub const NSS_USE_ALG_IN_CERT_SIGNATURE: PRUint32 = 0x1;
pub const NSS_USE_ALG_IN_SSL_KX: PRUint32 = 0x4;
pub const NSS_USE_ALG_IN_SSL: PRUint32 = 0x8;
pub const SEC_OID_MD5: c_int = 3;
pub const SEC_OID_SHA1: c_int = 4;
pub const SEC_OID_SHA256: c_int = 191;
pub const SEC_OID_SHA384: c_int = 192;
pub const SEC_OID_SHA512: c_int = 193;
pub const SEC_OID_AES_128_CBC: c_int = 184;
pub const SEC_OID_AES_256_CBC: c_int = 188;
pub const SEC_OID_ANSIX962_EC_PUBLIC_KEY: c_int = 200;
pub const SEC_OID_ANSIX962_EC_PRIME256V1: c_int = 208;
pub const SEC_OID_SECG_EC_SECP384R1: c_int = 220;
pub const SEC_OID_SECG_EC_SECP521R1: c_int = 221;
pub const SEC_OID_HMAC_SHA1: c_int = 294;
pub const SEC_OID_PKCS1_RSA_PSS_SIGNATURE: c_int = 307;
pub const SEC_OID_AES_128_GCM: c_int = 318;
pub const SEC_OID_AES_256_GCM: c_int = 320;
pub const SEC_OID_TLS_RSA: c_int = 328;
pub const SEC_OID_TLS_DHE_RSA: c_int = 329;
pub const SEC_OID_TLS_ECDHE_ECDSA: c_int = 334;
pub const SEC_OID_TLS_ECDHE_RSA: c_int = 335;
pub const SEC_OID_CHACHA20_POLY1305: c_int = 346;
pub const SEC_OID_TLS_FFDHE_2048: c_int = 349;
pub const SEC_OID_CURVE25519: c_int = 355;

pub type PK11PasswordFunc =
    Option<unsafe extern "C" fn(slot: *mut PK11SlotInfo, retry: PRBool, arg: *mut c_void) -> *mut c_char>;
pub type SSLGetClientAuthData = Option<
    unsafe extern "C" fn(
        arg: *mut c_void,
        fd: *mut PRFileDesc,
        caNames: *mut CERTDistNames,
        pRetCert: *mut *mut CERTCertificate,
        pRetKey: *mut *mut SECKEYPrivateKey,
    ) -> Status,
>;
pub type SSLAlertCallback =
    Option<unsafe extern "C" fn(fd: *const PRFileDesc, arg: *mut c_void, alert: *const SSLAlert)>;

unsafe extern "C" {
    // nspr
    pub fn PR_GetVersion() -> *const c_char;
    pub fn PR_CreateIOLayerStub(ident: PRDescIdentity, methods: *const PRIOMethods) -> *mut PRFileDesc;
    pub fn PR_GetDefaultIOMethods() -> *const PRIOMethods;
    pub fn PR_Now() -> PRTime;
    pub fn PR_Shutdown(fd: *mut PRFileDesc, how: PRIntn) -> PRStatus;
    // nss3: start and end
    pub fn NSS_GetVersion() -> *const c_char;
    pub fn NSS_Initialize(
        configdir: *const c_char,
        certPrefix: *const c_char,
        keyPrefix: *const c_char,
        secmodName: *const c_char,
        flags: PRUint32,
    ) -> Status;
    pub fn NSS_InitContext(
        configdir: *const c_char,
        certPrefix: *const c_char,
        keyPrefix: *const c_char,
        secmodName: *const c_char,
        initParams: *mut NSSInitParameters,
        flags: PRUint32,
    ) -> *mut NSSInitContext;
    pub fn NSS_ShutdownContext(context: *mut NSSInitContext) -> Status;
    pub fn NSS_Shutdown() -> Status;
    pub fn NSS_IsInitialized() -> PRBool;
    pub fn NSS_OptionGet(which: PRInt32, value: *mut PRInt32) -> Status;
    pub fn NSS_GetAlgorithmPolicy(tag: c_int, value: *mut PRUint32) -> Status;
    // nssutil3
    pub fn NSS_InitializePRErrorTable() -> Status;
    // nss3: memory
    pub fn PORT_Free(ptr: *mut c_void);
    pub fn PORT_Alloc(bytes: usize) -> *mut c_void;
    pub fn SECOID_KnownCertExtenOID(extenOid: *mut SECItem) -> PRBool;
    pub fn SECITEM_FreeItem(item: *mut SECItem, freeIt: PRBool);
    pub fn PORT_NewArena(chunksize: c_ulong) -> *mut PLArenaPool;
    pub fn PORT_FreeArena(arena: *mut PLArenaPool, zero: PRBool);
    // nss3: slots and passwords
    pub fn PK11_SetPasswordFunc(func: PK11PasswordFunc);
    pub fn PK11_GetInternalKeySlot() -> *mut PK11SlotInfo;
    pub fn PK11_FindSlotByName(name: *const c_char) -> *mut PK11SlotInfo;
    pub fn PK11_DoesMechanism(slot: *mut PK11SlotInfo, kind: c_ulong) -> PRBool;
    pub fn PK11_GetAllTokens(kind: c_ulong, needRW: PRBool, loadCerts: PRBool, wincx: *mut c_void)
    -> *mut PK11SlotList;
    pub fn PK11_FreeSlotList(list: *mut PK11SlotList);
    pub fn PK11_GetFirstSafe(list: *mut PK11SlotList) -> *mut PK11SlotListElement;
    pub fn PK11_GetNextSafe(
        list: *mut PK11SlotList,
        element: *mut PK11SlotListElement,
        restart: PRBool,
    ) -> *mut PK11SlotListElement;
    pub fn PK11_ReferenceSlot(slot: *mut PK11SlotInfo) -> *mut PK11SlotInfo;
    pub fn PK11_FreeSlot(slot: *mut PK11SlotInfo);
    pub fn PK11_GetTokenName(slot: *mut PK11SlotInfo) -> *mut c_char;
    pub fn PK11_NeedLogin(slot: *mut PK11SlotInfo) -> PRBool;
    pub fn PK11_NeedUserInit(slot: *mut PK11SlotInfo) -> PRBool;
    pub fn PK11_IsLoggedIn(slot: *mut PK11SlotInfo, wincx: *mut c_void) -> PRBool;
    pub fn PK11_IsReadOnly(slot: *mut PK11SlotInfo) -> PRBool;
    pub fn PK11_IsFIPS() -> PRBool;
    pub fn PK11_Authenticate(slot: *mut PK11SlotInfo, loadCerts: PRBool, wincx: *mut c_void) -> Status;
    pub fn PK11_CheckUserPassword(slot: *mut PK11SlotInfo, pw: *const c_char) -> Status;
    pub fn PK11_Logout(slot: *mut PK11SlotInfo) -> Status;
    pub fn PK11SDR_Encrypt(keyid: *mut SECItem, data: *mut SECItem, result: *mut SECItem, cx: *mut c_void) -> Status;
    pub fn PK11_InitPin(slot: *mut PK11SlotInfo, ssopw: *const c_char, userpw: *const c_char) -> Status;
    pub fn PK11_GenerateRandom(data: *mut u8, len: c_int) -> Status;
    // nss3: certificates
    pub fn PK11_FindCertFromNickname(nickname: *const c_char, wincx: *mut c_void) -> *mut CERTCertificate;
    pub fn PK11_ListCertsInSlot(slot: *mut PK11SlotInfo) -> *mut CERTCertList;
    pub fn PK11_ImportCert(
        slot: *mut PK11SlotInfo,
        cert: *mut CERTCertificate,
        key: c_ulong,
        nickname: *const c_char,
        includeTrust: PRBool,
    ) -> Status;
    pub fn PK11_ImportCRL(
        slot: *mut PK11SlotInfo,
        derCRL: *mut SECItem,
        url: *mut c_char,
        kind: c_int,
        wincx: *mut c_void,
        importOptions: PRInt32,
        arena: *mut PLArenaPool,
        decodeOptions: PRInt32,
    ) -> *mut CERTSignedCrl;
    pub fn SEC_DestroyCrl(crl: *mut CERTSignedCrl) -> Status;
    pub fn PK11_FindGenericObjects(slot: *mut PK11SlotInfo, objClass: c_ulong) -> *mut PK11GenericObject;
    pub fn PK11_GetNextGenericObject(object: *mut PK11GenericObject) -> *mut PK11GenericObject;
    pub fn PK11_ReadRawAttribute(kind: c_uint, object: *mut c_void, attribute: c_ulong, item: *mut SECItem) -> Status;
    pub fn PK11_DestroyGenericObjects(objects: *mut PK11GenericObject) -> Status;
    pub fn CERT_GetUsePKIXForValidation() -> PRBool;
    pub fn CERT_GetDefaultCertDB() -> *mut CERTCertDBHandle;
    pub fn CERT_DupCertificate(cert: *mut CERTCertificate) -> *mut CERTCertificate;
    pub fn CERT_NewTempCertificate(
        handle: *mut CERTCertDBHandle,
        derCert: *mut SECItem,
        nickname: *mut c_char,
        isperm: PRBool,
        copyDER: PRBool,
    ) -> *mut CERTCertificate;
    pub fn CERT_GetCertTrust(cert: *const CERTCertificate, trust: *mut CERTCertTrust) -> Status;
    pub fn CERT_ChangeCertTrust(
        handle: *mut CERTCertDBHandle,
        cert: *mut CERTCertificate,
        trust: *mut CERTCertTrust,
    ) -> Status;
    pub fn CERT_DecodeTrustString(trust: *mut CERTCertTrust, trusts: *const c_char) -> Status;
    pub fn CERT_VerifyCertificate(
        handle: *mut CERTCertDBHandle,
        cert: *mut CERTCertificate,
        checkSig: PRBool,
        requiredUsages: i64,
        t: PRTime,
        wincx: *mut c_void,
        log: *mut CERTVerifyLog,
        returnedUsages: *mut i64,
    ) -> Status;
    pub fn CERT_FindCertIssuer(cert: *mut CERTCertificate, validTime: PRTime, usage: c_int) -> *mut CERTCertificate;
    pub fn CERT_NameToAscii(name: *mut CERTName) -> *mut c_char;
    pub fn CERT_DerNameToAscii(dername: *mut SECItem) -> *mut c_char;
    pub fn CERT_ExtractPublicKey(cert: *mut CERTCertificate) -> *mut SECKEYPublicKey;
    pub fn CERT_GetCertTimes(cert: *const CERTCertificate, notBefore: *mut PRTime, notAfter: *mut PRTime) -> Status;
    // nss3: keys
    pub fn PK11_FindKeyByAnyCert(cert: *mut CERTCertificate, wincx: *mut c_void) -> *mut SECKEYPrivateKey;
    pub fn PK11_ImportDERPrivateKeyInfoAndReturnKey(
        slot: *mut PK11SlotInfo,
        derPKI: *mut SECItem,
        nickname: *mut SECItem,
        publicValue: *mut SECItem,
        isPerm: PRBool,
        isPrivate: PRBool,
        usage: c_uint,
        privk: *mut *mut SECKEYPrivateKey,
        wincx: *mut c_void,
    ) -> Status;
    pub fn PK11_ImportPublicKey(slot: *mut PK11SlotInfo, pubKey: *mut SECKEYPublicKey, isToken: PRBool) -> c_ulong;
    pub fn PK11_CopyTokenPrivKeyToSessionPrivKey(
        destSlot: *mut PK11SlotInfo,
        privKey: *mut SECKEYPrivateKey,
    ) -> *mut SECKEYPrivateKey;
    pub fn PK11_SignatureLen(key: *mut SECKEYPrivateKey) -> c_int;
    pub fn PK11_Sign(key: *mut SECKEYPrivateKey, sig: *mut SECItem, hash: *const SECItem) -> Status;
    pub fn PK11_VerifyWithMechanism(
        key: *mut SECKEYPublicKey,
        mechanism: c_ulong,
        param: *const SECItem,
        sig: *const SECItem,
        hash: *const SECItem,
        wincx: *mut c_void,
    ) -> Status;
    pub fn PK11_Verify(
        key: *mut SECKEYPublicKey,
        sig: *const SECItem,
        hash: *const SECItem,
        wincx: *mut c_void,
    ) -> Status;
    pub fn SECKEY_CopyPrivateKey(key: *const SECKEYPrivateKey) -> *mut SECKEYPrivateKey;
    pub fn SECKEY_DestroyPrivateKey(key: *mut SECKEYPrivateKey);
    pub fn SECKEY_DestroyPublicKey(key: *mut SECKEYPublicKey);
    pub fn SECKEY_GetPrivateKeyType(key: *const SECKEYPrivateKey) -> c_int;
    pub fn SECKEY_GetPublicKeyType(key: *const SECKEYPublicKey) -> c_int;
    pub fn SECKEY_PublicKeyStrengthInBits(key: *const SECKEYPublicKey) -> c_uint;
    pub fn SECMOD_HasRootCerts() -> PRBool;
    pub fn SECMOD_RestartModules(force: PRBool) -> Status;
    // ssl3
    pub fn NSSSSL_GetVersion() -> *const c_char;
    pub fn SSL_InheritMPServerSIDCache(envString: *const c_char) -> Status;
    pub fn SSL_ForceHandshake(fd: *mut PRFileDesc) -> Status;
    pub fn SSL_ResetHandshake(fd: *mut PRFileDesc, asServer: PRBool) -> Status;
    pub fn SSL_GetClientAuthDataHook(fd: *mut PRFileDesc, f: SSLGetClientAuthData, arg: *mut c_void) -> Status;
    /// `data` may be NULL; then `data_len` is 0.
    pub fn SSL_ConfigServerCert(
        fd: *mut PRFileDesc,
        cert: *mut CERTCertificate,
        key: *mut SECKEYPrivateKey,
        data: *const c_void,
        data_len: c_uint,
    ) -> Status;
    pub fn SSL_AuthCertificate(arg: *mut c_void, fd: *mut PRFileDesc, checkSig: PRBool, isServer: PRBool) -> Status;
    pub fn SSL_LocalCertificate(fd: *mut PRFileDesc) -> *mut CERTCertificate;
    pub fn SSL_AlertReceivedCallback(fd: *mut PRFileDesc, cb: SSLAlertCallback, arg: *mut c_void) -> Status;
    pub fn SSL_AlertSentCallback(fd: *mut PRFileDesc, cb: SSLAlertCallback, arg: *mut c_void) -> Status;
    pub fn SSL_SetNextProtoNego(fd: *mut PRFileDesc, data: *const u8, length: c_uint) -> Status;
    pub fn SSL_GetNextProto(
        fd: *mut PRFileDesc,
        state: *mut c_uint,
        buf: *mut u8,
        bufLen: *mut c_uint,
        bufLenMax: c_uint,
    ) -> Status;
    pub fn SSL_GetChannelInfo(fd: *mut PRFileDesc, info: *mut SSLChannelInfo, len: PRUintn) -> Status;
    pub fn SSL_GetCipherSuiteInfo(suite: PRUint16, info: *mut SSLCipherSuiteInfo, len: PRUintn) -> Status;
}

/// Loads the SEC_* error table for `PR_ErrorToName`, once, so that errors can be explained without a database.
pub(crate) fn load_error_table() {
    static LOADED: Once = Once::new();
    LOADED.call_once(|| {
        // SAFETY: guarded by a PR_CallOnce inside; needs no initialised NSS.
        unsafe { NSS_InitializePRErrorTable() };
    });
}

/// Loads the SSL_* error table for `PR_ErrorToName`, once.
///
/// Starting libssl loads this table. At that moment libssl also takes over the crypto policy, which it does not read again until NSS
/// is shut down. If libssl is started before NSS is initialised, 3.87.1 offers suites that the policy forbids, and from 3.110 on no
/// session can be created for the rest of the process (both measured). Until NSS is initialised, this therefore takes the path that
/// those versions have for a server's session cache, which loads the table and does not start libssl.
pub(crate) fn load_ssl_error_table() {
    static LOADED: Once = Once::new();
    // SAFETY: all three are guarded by a PR_CallOnce inside. Setting an option to its current value changes nothing, and is the
    // shortest exported path into ssl_Init (sslsock.c, SSL_OptionSetDefault). The cache is looked up in the environment unless a
    // text is given; an empty text names no cache, and the table is loaded by then (sslsnce.c, SSL_InheritMPServerSIDCacheInstance).
    LOADED.call_once(|| unsafe {
        if NSS_IsInitialized() != 0 {
            nss_sys::SSL_OptionSetDefault(nss_sys::SSL_V2_COMPATIBLE_HELLO, 0);
        } else {
            SSL_InheritMPServerSIDCache(c"".as_ptr());
        }
    });
}
