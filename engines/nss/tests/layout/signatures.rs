//! Every function that is called and every callback that is given, with its signature.
//!
//! rustc compares each line with the Rust declaration, cc compares its translation with the C declaration.

use std::ffi::{CString, c_char, c_int, c_uint, c_ulong, c_void};

use nss_sys::cert::*;
use nss_sys::nspr::*;
use nss_sys::*;
use nssight_nss::ffi::*;

// C has enums here, which Rust declares as integers.
type SECOidTag = c_int;
type SECCertUsage = c_int;
type KeyType = c_int;
type SSLNextProtoState = c_uint;
type SSLExtraServerCertData = c_void;
type PRShutdownHow = PRIntn;

struct Signature {
    name: &'static str,
    arguments: Vec<&'static str>,
    result: &'static str,
}

macro_rules! functions {
    ($($name:ident($($argument:ty),*) $(-> $result:ty)?;)+) => {
        $(const _: unsafe extern "C" fn($($argument),*) $(-> $result)? = $name;)+

        fn functions() -> Vec<Signature> {
            vec![$(Signature {
                name: stringify!($name),
                arguments: vec![$(stringify!($argument)),*],
                result: concat!($(stringify!($result))?),
            }),+]
        }
    };
}

macro_rules! callbacks {
    ($($name:ident($($argument:ty),*) -> $result:ty;)+) => {
        $(const _: fn($name) -> Option<unsafe extern "C" fn($($argument),*) -> $result> = |callback| callback;)+

        fn callbacks() -> Vec<Signature> {
            vec![$(Signature {
                name: stringify!($name),
                arguments: vec![$(stringify!($argument)),*],
                result: stringify!($result),
            }),+]
        }
    };
}

functions! {
    PR_GetVersion() -> *const c_char;
    PR_CreateIOLayerStub(PRDescIdentity, *const PRIOMethods) -> *mut PRFileDesc;
    PR_GetDefaultIOMethods() -> *const PRIOMethods;
    PR_Now() -> PRTime;
    PR_Shutdown(*mut PRFileDesc, PRShutdownHow) -> PRStatus;
    NSS_GetVersion() -> *const c_char;
    NSS_Initialize(*const c_char, *const c_char, *const c_char, *const c_char, PRUint32) -> Status;
    NSS_InitContext(*const c_char, *const c_char, *const c_char, *const c_char, *mut NSSInitParameters, PRUint32) -> *mut NSSInitContext;
    NSS_ShutdownContext(*mut NSSInitContext) -> Status;
    NSS_Shutdown() -> Status;
    NSS_IsInitialized() -> PRBool;
    NSS_OptionGet(PRInt32, *mut PRInt32) -> Status;
    NSS_GetAlgorithmPolicy(SECOidTag, *mut PRUint32) -> Status;
    NSS_InitializePRErrorTable() -> Status;
    PORT_Free(*mut c_void);
    PORT_Alloc(usize) -> *mut c_void;
    SECOID_KnownCertExtenOID(*mut SECItem) -> PRBool;
    PORT_NewArena(c_ulong) -> *mut PLArenaPool;
    PORT_FreeArena(*mut PLArenaPool, PRBool);
    PK11_SetPasswordFunc(PK11PasswordFunc);
    PK11_GetInternalKeySlot() -> *mut PK11SlotInfo;
    PK11_FindSlotByName(*const c_char) -> *mut PK11SlotInfo;
    PK11_DoesMechanism(*mut PK11SlotInfo, c_ulong) -> PRBool;
    PK11_GetAllTokens(c_ulong, PRBool, PRBool, *mut c_void) -> *mut PK11SlotList;
    PK11_FreeSlotList(*mut PK11SlotList);
    PK11_GetFirstSafe(*mut PK11SlotList) -> *mut PK11SlotListElement;
    PK11_GetNextSafe(*mut PK11SlotList, *mut PK11SlotListElement, PRBool) -> *mut PK11SlotListElement;
    PK11_ReferenceSlot(*mut PK11SlotInfo) -> *mut PK11SlotInfo;
    PK11SDR_Encrypt(*mut SECItem, *mut SECItem, *mut SECItem, *mut c_void) -> Status;
    PK11_VerifyWithMechanism(*mut SECKEYPublicKey, c_ulong, *const SECItem, *const SECItem, *const SECItem, *mut c_void) -> Status;
    SECKEY_GetPublicKeyType(*const SECKEYPublicKey) -> KeyType;
    SECITEM_FreeItem(*mut SECItem, PRBool);
    PK11_FreeSlot(*mut PK11SlotInfo);
    PK11_GetTokenName(*mut PK11SlotInfo) -> *mut c_char;
    PK11_NeedLogin(*mut PK11SlotInfo) -> PRBool;
    PK11_NeedUserInit(*mut PK11SlotInfo) -> PRBool;
    PK11_IsLoggedIn(*mut PK11SlotInfo, *mut c_void) -> PRBool;
    PK11_IsReadOnly(*mut PK11SlotInfo) -> PRBool;
    PK11_IsFIPS() -> PRBool;
    PK11_Authenticate(*mut PK11SlotInfo, PRBool, *mut c_void) -> Status;
    PK11_CheckUserPassword(*mut PK11SlotInfo, *const c_char) -> Status;
    PK11_Logout(*mut PK11SlotInfo) -> Status;
    PK11_InitPin(*mut PK11SlotInfo, *const c_char, *const c_char) -> Status;
    PK11_GenerateRandom(*mut u8, c_int) -> Status;
    PK11_FindCertFromNickname(*const c_char, *mut c_void) -> *mut CERTCertificate;
    PK11_ListCertsInSlot(*mut PK11SlotInfo) -> *mut CERTCertList;
    PK11_ImportCRL(*mut PK11SlotInfo, *mut SECItem, *mut c_char, c_int, *mut c_void, PRInt32, *mut PLArenaPool, PRInt32) -> *mut CERTSignedCrl;
    SEC_DestroyCrl(*mut CERTSignedCrl) -> Status;
    PK11_FindGenericObjects(*mut PK11SlotInfo, c_ulong) -> *mut PK11GenericObject;
    PK11_GetNextGenericObject(*mut PK11GenericObject) -> *mut PK11GenericObject;
    PK11_ReadRawAttribute(c_uint, *mut c_void, c_ulong, *mut SECItem) -> Status;
    PK11_DestroyGenericObjects(*mut PK11GenericObject) -> Status;
    PK11_ImportCert(*mut PK11SlotInfo, *mut CERTCertificate, CK_OBJECT_HANDLE, *const c_char, PRBool) -> Status;
    CERT_GetUsePKIXForValidation() -> PRBool;
    CERT_GetDefaultCertDB() -> *mut CERTCertDBHandle;
    CERT_DupCertificate(*mut CERTCertificate) -> *mut CERTCertificate;
    CERT_NewTempCertificate(*mut CERTCertDBHandle, *mut SECItem, *mut c_char, PRBool, PRBool) -> *mut CERTCertificate;
    CERT_GetCertTrust(*const CERTCertificate, *mut CERTCertTrust) -> Status;
    CERT_ChangeCertTrust(*mut CERTCertDBHandle, *mut CERTCertificate, *mut CERTCertTrust) -> Status;
    CERT_DecodeTrustString(*mut CERTCertTrust, *const c_char) -> Status;
    CERT_VerifyCertificate(*mut CERTCertDBHandle, *mut CERTCertificate, PRBool, i64, PRTime, *mut c_void, *mut CERTVerifyLog, *mut i64) -> Status;
    CERT_FindCertIssuer(*mut CERTCertificate, PRTime, SECCertUsage) -> *mut CERTCertificate;
    CERT_NameToAscii(*mut CERTName) -> *mut c_char;
    CERT_DerNameToAscii(*mut SECItem) -> *mut c_char;
    CERT_ExtractPublicKey(*mut CERTCertificate) -> *mut SECKEYPublicKey;
    CERT_GetCertTimes(*const CERTCertificate, *mut PRTime, *mut PRTime) -> Status;
    PK11_FindKeyByAnyCert(*mut CERTCertificate, *mut c_void) -> *mut SECKEYPrivateKey;
    PK11_ImportDERPrivateKeyInfoAndReturnKey(*mut PK11SlotInfo, *mut SECItem, *mut SECItem, *mut SECItem, PRBool, PRBool, c_uint, *mut *mut SECKEYPrivateKey, *mut c_void) -> Status;
    PK11_ImportPublicKey(*mut PK11SlotInfo, *mut SECKEYPublicKey, PRBool) -> CK_OBJECT_HANDLE;
    PK11_CopyTokenPrivKeyToSessionPrivKey(*mut PK11SlotInfo, *mut SECKEYPrivateKey) -> *mut SECKEYPrivateKey;
    PK11_SignatureLen(*mut SECKEYPrivateKey) -> c_int;
    PK11_Sign(*mut SECKEYPrivateKey, *mut SECItem, *const SECItem) -> Status;
    PK11_Verify(*mut SECKEYPublicKey, *const SECItem, *const SECItem, *mut c_void) -> Status;
    SECKEY_CopyPrivateKey(*const SECKEYPrivateKey) -> *mut SECKEYPrivateKey;
    SECKEY_DestroyPrivateKey(*mut SECKEYPrivateKey);
    SECKEY_DestroyPublicKey(*mut SECKEYPublicKey);
    SECKEY_GetPrivateKeyType(*const SECKEYPrivateKey) -> KeyType;
    SECKEY_PublicKeyStrengthInBits(*const SECKEYPublicKey) -> c_uint;
    SECMOD_HasRootCerts() -> PRBool;
    SECMOD_RestartModules(PRBool) -> Status;
    NSSSSL_GetVersion() -> *const c_char;
    SSL_InheritMPServerSIDCache(*const c_char) -> Status;
    SSL_ForceHandshake(*mut PRFileDesc) -> Status;
    SSL_ResetHandshake(*mut PRFileDesc, PRBool) -> Status;
    SSL_GetClientAuthDataHook(*mut PRFileDesc, SSLGetClientAuthData, *mut c_void) -> Status;
    SSL_ConfigServerCert(*mut PRFileDesc, *mut CERTCertificate, *mut SECKEYPrivateKey, *const SSLExtraServerCertData, c_uint) -> Status;
    SSL_AuthCertificate(*mut c_void, *mut PRFileDesc, PRBool, PRBool) -> Status;
    SSL_LocalCertificate(*mut PRFileDesc) -> *mut CERTCertificate;
    SSL_AlertReceivedCallback(*mut PRFileDesc, SSLAlertCallback, *mut c_void) -> Status;
    SSL_AlertSentCallback(*mut PRFileDesc, SSLAlertCallback, *mut c_void) -> Status;
    SSL_SetNextProtoNego(*mut PRFileDesc, *const u8, c_uint) -> Status;
    SSL_GetNextProto(*mut PRFileDesc, *mut SSLNextProtoState, *mut u8, *mut c_uint, c_uint) -> Status;
    SSL_GetChannelInfo(*mut PRFileDesc, *mut SSLChannelInfo, PRUintn) -> Status;
    SSL_GetCipherSuiteInfo(PRUint16, *mut SSLCipherSuiteInfo, PRUintn) -> Status;
    // nss-sys
    PR_GetError() -> PRErrorCode;
    PR_GetOSError() -> PRInt32;
    PR_SetError(PRErrorCode, PRInt32);
    PR_ErrorToName(PRErrorCode) -> *const c_char;
    PR_ErrorToString(PRErrorCode, PRLanguageCode) -> *const c_char;
    PR_GetUniqueIdentity(*const c_char) -> PRDescIdentity;
    PR_Close(*mut PRFileDesc) -> PRStatus;
    PR_Recv(*mut PRFileDesc, *mut c_void, PRInt32, PRIntn, PRIntervalTime) -> PRInt32;
    PR_Send(*mut PRFileDesc, *const c_void, PRInt32, PRIntn, PRIntervalTime) -> PRInt32;
    CERT_DestroyCertificate(*mut CERTCertificate);
    CERT_DestroyCertList(*mut CERTCertList);
    CERT_VerifyCertName(*const CERTCertificate, *const c_char) -> SECStatus;
    SSL_ImportFD(*mut PRFileDesc, *mut PRFileDesc) -> *mut PRFileDesc;
    SSL_PeerCertificate(*mut PRFileDesc) -> *mut CERTCertificate;
    SSL_PeerCertificateChain(*mut PRFileDesc) -> *mut CERTCertList;
    SSL_AuthCertificateHook(*mut PRFileDesc, SSLAuthCertificate, *mut c_void) -> SECStatus;
    SSL_SetURL(*mut PRFileDesc, *const c_char) -> SECStatus;
    SSL_OptionSet(*mut PRFileDesc, PRInt32, PRBool) -> SECStatus;
    SSL_OptionSetDefault(PRInt32, PRBool) -> SECStatus;
    SSL_VersionRangeSet(*mut PRFileDesc, *const SSLVersionRange) -> SECStatus;
    SSL_VersionRangeGet(*mut PRFileDesc, *mut SSLVersionRange) -> SECStatus;
}

callbacks! {
    PK11PasswordFunc(*mut PK11SlotInfo, PRBool, *mut c_void) -> *mut c_char;
    SSLAuthCertificate(*mut c_void, *mut PRFileDesc, PRBool, PRBool) -> SECStatus;
    SSLGetClientAuthData(
        *mut c_void,
        *mut PRFileDesc,
        *mut CERTDistNames,
        *mut *mut CERTCertificate,
        *mut *mut SECKEYPrivateKey
    ) -> Status;
    PRCloseFN(*mut PRFileDesc) -> PRStatus;
    PRReadFN(*mut PRFileDesc, *mut c_void, PRInt32) -> PRInt32;
    PRWriteFN(*mut PRFileDesc, *const c_void, PRInt32) -> PRInt32;
    PRRecvFN(*mut PRFileDesc, *mut c_void, PRInt32, PRIntn, PRIntervalTime) -> PRInt32;
    PRSendFN(*mut PRFileDesc, *const c_void, PRInt32, PRIntn, PRIntervalTime) -> PRInt32;
    PRShutdownFN(*mut PRFileDesc, PRIntn) -> PRStatus;
    PRPollFN(*mut PRFileDesc, PRInt16, *mut PRInt16) -> PRInt16;
    PRGetpeernameFN(*mut PRFileDesc, *mut PRNetAddr) -> PRStatus;
    PRGetsocketoptionFN(*mut PRFileDesc, *mut PRSocketOptionData) -> PRStatus;
    PRSetsocketoptionFN(*mut PRFileDesc, *const PRSocketOptionData) -> PRStatus;
}

// A function type and not a pointer type in C (ssl.h).
const _: fn(SSLAlertCallback) -> Option<unsafe extern "C" fn(*const PRFileDesc, *mut c_void, *const SSLAlert)> =
    |callback| callback;
const ALERT_CALLBACK: &str = "void alert_seen(PRFileDesc const *fd, void *arg, SSLAlert const *alert);\n\
                              SSLAlertCallback alert_callback = alert_seen;\n";

pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    functions().into_iter().map(|function| function.name)
}

/// Arguments that are `const` in later headers and not in earlier ones (3.110 and 3.132): the function, and the index of the argument.
/// That makes another type in C, but no difference to a caller that does not rely on it.
const LATER_CONST: &[(&str, usize)] = &[("PK11_ImportDERPrivateKeyInfoAndReturnKey", 3)];

/// Assigns each function to a pointer of the type that Rust declares for it, and each callback likewise.
pub(crate) fn assignments() -> String {
    let mut source = String::from(ALERT_CALLBACK);
    for Signature { name, arguments, result } in functions() {
        let later = LATER_CONST.iter().find(|(function, _)| *function == name).map(|(_, place)| *place);
        let (result, written) = (c_type(result), c_arguments(&arguments, None));
        source += &match later {
            None => format!("{result} (*function_{name})({written}) = {name};\n"),
            Some(_) => {
                let later = c_arguments(&arguments, later);
                let is = |arguments: &str| {
                    format!("__builtin_types_compatible_p(__typeof__({name}), {result} ({arguments}))")
                };
                format!("_Static_assert({} || {}, \"{name}\");\n", is(&written), is(&later))
            }
        };
    }
    for Signature { name, arguments, result } in callbacks() {
        let (result, arguments) = (c_type(result), c_arguments(&arguments, None));
        source += &format!("extern {result} ours_{name}({arguments});\n{name} callback_{name} = ours_{name};\n");
    }
    source
}

/// The text between the parentheses; the argument at the index `constant` points to const data even if Rust's does not.
fn c_arguments(arguments: &[&str], constant: Option<usize>) -> String {
    let written = |(place, argument): (usize, &&str)| match argument.strip_prefix("*mut ") {
        Some(pointee) if constant == Some(place) => c_type(&format!("*const {pointee}")),
        _ => c_type(argument),
    };
    match arguments {
        [] => "void".to_owned(),
        arguments => arguments.iter().enumerate().map(written).collect::<Vec<_>>().join(", "),
    }
}

/// A Rust type in C. Names of NSS and NSPR are the same in both.
fn c_type(rust: &str) -> String {
    if let Some(pointee) = rust.strip_prefix("*mut ") {
        return format!("{} *", c_type(pointee));
    }
    if let Some(pointee) = rust.strip_prefix("*const ") {
        return format!("{} const *", c_type(pointee));
    }
    let c = match rust.trim() {
        "" | "c_void" => "void",
        "c_char" => "char",
        "c_int" => "int",
        "c_uint" => "unsigned int",
        "c_long" => "long",
        "c_ulong" => "unsigned long",
        "u8" => "unsigned char",
        "i64" => "PRInt64",
        "usize" => "size_t",
        "Status" => "SECStatus",
        name => name,
    };
    c.to_owned()
}

/// Whether the dynamic linker finds the name in the libraries that this test is linked with.
pub(crate) fn is_exported(name: &str) -> bool {
    let name = CString::new(name).expect("names hold no NUL");
    // SAFETY: looks a name up in the objects that are loaded already.
    !unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) }.is_null()
}
