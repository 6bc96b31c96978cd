//! Errors of NSPR and NSS: number, symbolic name, text, and the failed step.

use std::ffi::CStr;
use std::fmt;

use nss_sys::nspr::{PR_ErrorToName, PR_ErrorToString, PR_GetError, PR_GetOSError};

use crate::ffi;

/// The result of a call into NSS.
pub type Result<T> = std::result::Result<T, NssError>;

/// An NSPR or NSS error number (`prerr.h`, `secerr.h`, `sslerr.h`); 0 means that none was set.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ErrorCode(pub i32);

/// Declares the error numbers that nssight's decisions depend on, under the names that NSS gives them.
macro_rules! codes {
    ($($name:ident = $code:literal,)+) => {
        #[allow(missing_docs)] // Names and meanings are those of prerr.h, secerr.h and sslerr.h.
        impl ErrorCode { $(pub const $name: Self = Self($code);)+ }

        #[cfg(test)]
        const NAMED: &[(&str, ErrorCode)] = &[$((stringify!($name), ErrorCode::$name),)+];
    };
}

codes! {
    PR_IO_TIMEOUT_ERROR = -5990,
    PR_WOULD_BLOCK_ERROR = -5998,
    PR_IN_PROGRESS_ERROR = -5934,
    PR_IO_ERROR = -5991,
    PR_CONNECT_RESET_ERROR = -5961,
    PR_END_OF_FILE_ERROR = -5938,
    PR_SOCKET_SHUTDOWN_ERROR = -5929,
    SEC_ERROR_IO = -8192,
    SEC_ERROR_EXPIRED_CERTIFICATE = -8181,
    SEC_ERROR_UNKNOWN_ISSUER = -8179,
    SEC_ERROR_BAD_PASSWORD = -8177,
    SEC_ERROR_BAD_DATABASE = -8174,
    SEC_ERROR_UNTRUSTED_ISSUER = -8172,
    SEC_ERROR_UNTRUSTED_CERT = -8171,
    SEC_ERROR_BAD_SIGNATURE = -8182,
    SEC_ERROR_EXPIRED_ISSUER_CERTIFICATE = -8162,
    SEC_ERROR_CA_CERT_INVALID = -8156,
    SEC_ERROR_PATH_LEN_CONSTRAINT_INVALID = -8155,
    SEC_ERROR_INVALID_ARGS = -8187,
    SEC_ERROR_INADEQUATE_KEY_USAGE = -8102,
    SEC_ERROR_INADEQUATE_CERT_TYPE = -8101,
    SEC_ERROR_CERT_NOT_IN_NAME_SPACE = -8080,
    SEC_ERROR_CERT_SIGNATURE_ALGORITHM_DISABLED = -8016,
    SEC_ERROR_LEGACY_DATABASE = -8015,
    SEC_ERROR_INVALID_KEY = -8152,
    SEC_ERROR_REUSED_ISSUER_AND_SERIAL = -8054,
    SEC_ERROR_BUSY = -8053,
    SEC_ERROR_REVOKED_CERTIFICATE = -8180,
    SEC_ERROR_UNKNOWN_CRITICAL_EXTENSION = -8151,
    SEC_ERROR_NOT_INITIALIZED = -8038,
    SSL_ERROR_NO_CERTIFICATE = -12285,
    SSL_ERROR_NO_CYPHER_OVERLAP = -12286,
    SSL_ERROR_BAD_CERT_DOMAIN = -12276,
    SSL_ERROR_WEAK_SERVER_CERT_KEY = -12156,
    SSL_ERROR_RX_RECORD_TOO_LONG = -12263,
    SSL_ERROR_UNSUPPORTED_VERSION = -12279,
    SSL_ERROR_NO_SUPPORTED_SIGNATURE_ALGORITHM = -12154,
    PR_HOST_UNREACHABLE_ERROR = -5927,
    PR_DIRECTORY_LOOKUP_ERROR = -5973,
    PR_LOAD_LIBRARY_ERROR = -5977,
    PR_CONNECT_TIMEOUT_ERROR = -5979,
    PR_NETWORK_UNREACHABLE_ERROR = -5980,
    PR_CONNECT_REFUSED_ERROR = -5981,
    SEC_ERROR_PKCS11_DEVICE_ERROR = -8023,
    SEC_ERROR_TOKEN_NOT_LOGGED_IN = -8037,
    SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT = -12107,
    SSL_ERROR_MISSING_EXTENSION_ALERT = -12145,
    SSL_ERROR_INAPPROPRIATE_FALLBACK_ALERT = -12157,
    SSL_ERROR_BAD_CERT_HASH_VALUE_ALERT = -12180,
    SSL_ERROR_BAD_CERT_STATUS_RESPONSE_ALERT = -12181,
    SSL_ERROR_UNRECOGNIZED_NAME_ALERT = -12182,
    SSL_ERROR_CERTIFICATE_UNOBTAINABLE_ALERT = -12183,
    SSL_ERROR_UNSUPPORTED_EXTENSION_ALERT = -12184,
    SSL_ERROR_NO_RENEGOTIATION_ALERT = -12186,
    SSL_ERROR_USER_CANCELED_ALERT = -12187,
    SSL_ERROR_INTERNAL_ERROR_ALERT = -12188,
    SSL_ERROR_INSUFFICIENT_SECURITY_ALERT = -12189,
    SSL_ERROR_PROTOCOL_VERSION_ALERT = -12190,
    SSL_ERROR_EXPORT_RESTRICTION_ALERT = -12191,
    SSL_ERROR_DECRYPT_ERROR_ALERT = -12192,
    SSL_ERROR_DECODE_ERROR_ALERT = -12193,
    SSL_ERROR_ACCESS_DENIED_ALERT = -12194,
    SSL_ERROR_UNKNOWN_CA_ALERT = -12195,
    SSL_ERROR_RECORD_OVERFLOW_ALERT = -12196,
    SSL_ERROR_DECRYPTION_FAILED_ALERT = -12197,
    SSL_ERROR_CERTIFICATE_UNKNOWN_ALERT = -12224,
    SSL_ERROR_UNSUPPORTED_CERT_ALERT = -12225,
    SSL_ERROR_ILLEGAL_PARAMETER_ALERT = -12226,
    SSL_ERROR_HANDSHAKE_FAILURE_ALERT = -12227,
    SSL_ERROR_DECOMPRESSION_FAILURE_ALERT = -12228,
    SSL_ERROR_HANDSHAKE_UNEXPECTED_ALERT = -12229,
    SSL_ERROR_RX_UNKNOWN_ALERT = -12231,
    SSL_ERROR_RX_MALFORMED_HELLO_REQUEST = -12261,
    SSL_ERROR_EXPIRED_CERT_ALERT = -12269,
    SSL_ERROR_REVOKED_CERT_ALERT = -12270,
    SSL_ERROR_BAD_CERT_ALERT = -12271,
    SSL_ERROR_BAD_MAC_ALERT = -12272,
}

impl ErrorCode {
    /// The symbolic name, from the linked library; `None` for a number that the library does not define.
    ///
    /// The first lookup of an `SSL_*` error starts older versions of libssl. Where the crypto policy matters, that must not happen
    /// before NSS is opened. A process that only explains errors may call this at any time; one that connects later opens NSS first.
    pub fn name(self) -> Option<String> {
        self.load_table();
        // SAFETY: PR_ErrorToName accepts any number and returns NULL or a static string.
        let name = unsafe { PR_ErrorToName(self.0) };
        // SAFETY: checked for NULL; the string is static and NUL-terminated.
        (!name.is_null()).then(|| unsafe { CStr::from_ptr(name) }.to_string_lossy().into_owned())
    }

    /// The library's own text for this error.
    pub fn text(self) -> String {
        self.load_table();
        // SAFETY: PR_ErrorToString accepts any number and never returns NULL (prerror.c falls back to a fixed text).
        let text = unsafe { PR_ErrorToString(self.0, 0) };
        if text.is_null() {
            return String::new();
        }
        // SAFETY: not NULL, NUL-terminated, static or thread-local and copied at once.
        unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
    }

    fn load_table(self) {
        /// `SSL_ERROR_BASE` and `SSL_ERROR_LIMIT` of sslerr.h.
        const SSL_ERRORS: std::ops::Range<i32> = -0x3000..-0x3000 + 1000;
        ffi::load_error_table();
        // SAFETY: PR_ErrorToName accepts any number.
        if SSL_ERRORS.contains(&self.0) && unsafe { PR_ErrorToName(self.0) }.is_null() {
            ffi::load_ssl_error_table();
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Declares the steps, each with its text.
macro_rules! steps {
    ($($name:ident = $words:literal,)+) => {
        /// What was being done when a call failed.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Step {
            $(#[doc = $words] $name,)+
            /// A C function, called by this or another program.
            Function(&'static str),
        }

        impl Step {
            /// The step as text.
            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $words,)+
                    Self::Function(name) => name,
                }
            }
        }
    };
}

steps! {
    Initialise = "initialise NSS",
    SetPassword = "set the database password",
    CheckPassword = "check the password",
    Unlock = "unlock the key database",
    LogOut = "log out",
    KeySlot = "get the internal key slot",
    FindToken = "find the token by its name",
    EncryptLogin = "encrypt a login",
    ImportPrivateKey = "import a private key",
    ImportPublicKey = "import a public key",
    ImportCertificate = "import a certificate",
    ImportCrl = "import a revocation list",
    SetTrust = "set the trust of a certificate",
    FindCertificate = "find the certificate by its nickname",
    ReadCertificate = "read a certificate",
    ReadValidity = "read the validity of the certificate",
    VerifyCertificate = "verify the certificate",
    CompareName = "compare the host name with the certificate",
    FindPrivateKey = "find the private key of the certificate",
    SharePrivateKey = "share the private key",
    UnwrapPrivateKey = "unwrap the private key",
    DrawChallenge = "generate a random challenge",
    ReadPublicKey = "read the public key of the certificate",
    SignChallenge = "sign a challenge with the private key",
    VerifySignature = "verify the signature",
    DrawRandom = "generate random bytes",
    RestartModules = "restart the modules",
    MakeDescriptor = "create an NSPR descriptor",
    ImportConnection = "add TLS to the connection",
    SetVersions = "set the range of TLS versions",
    SetProtocols = "offer application protocols",
    AskForCertificate = "request certificates from clients",
    SetServerCertificate = "set the server's certificate",
    DisableCache = "disable the session cache",
    SetHostName = "set the host name",
    SetCertificateHook = "set the certificate hook",
    SetClientAuthHook = "set the client certificate hook",
    SetAlertCallback = "set the alert callback",
    PrepareHandshake = "prepare the handshake",
    Handshake = "TLS handshake",
    Read = "read from the TLS session",
    Write = "write to the TLS session",
    Finish = "end the TLS session",
    AwaitAcceptance = "wait for the peer to accept our certificate",
    Authenticate = "authenticate the request",
    SendAfterEnd = "send on a closed stream",
    JudgePeer = "verify the peer's certificate",
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A failed call: what was being done, and the error that NSS reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NssError {
    /// What was being done.
    pub step: Step,
    /// The number that `PR_GetError` returned right after the call.
    pub code: ErrorCode,
    /// The symbolic name, or a text with the number if the library has no name for it.
    pub name: String,
    /// The library's own text.
    pub text: String,
    /// `errno` of the operating system, where NSPR kept one; 0 otherwise.
    pub os_error: i32,
}

impl NssError {
    /// Reads the error of the call that has just failed. Only meaningful after a failure: a successful
    /// `NSS_Initialize` leaves PR_LOAD_LIBRARY_ERROR behind (measured on 3.87.1).
    pub fn last(step: Step) -> Self {
        // SAFETY: both read thread-local numbers.
        let (code, os_error) = unsafe { (PR_GetError(), PR_GetOSError()) };
        Self { os_error, ..Self::of(step, ErrorCode(code)) }
    }

    /// An error with this number, at `step`.
    pub fn of(step: Step, code: ErrorCode) -> Self {
        let name = match code.name() {
            Some(name) => name,
            None if code.0 == 0 => "no error code set".to_owned(),
            None => format!("error {}", code.0),
        };
        Self { step, code, name, text: code.text(), os_error: 0 }
    }
}

impl fmt::Display for NssError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {} ({}): {}", self.step, self.name, self.code.0, self.text)
    }
}

impl std::error::Error for NssError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_its_name_in_the_library() {
        for (name, code) in NAMED {
            assert_eq!(code.name().as_deref(), Some(*name));
        }
    }
}
