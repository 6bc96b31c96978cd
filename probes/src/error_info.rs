//! An error of NSS or NSPR, as a report names it.

use nssight_diagnosis::ErrorInfo;
use nssight_diagnosis::signal::{self as table, Library, Signal, signal};
use nssight_nss::NssError;
use nssight_session::{Code, Kind, SessionError};

/// The error in the form of a report.
pub fn of(error: &NssError) -> ErrorInfo {
    // prerr.h's numbers start at -6000, secerr.h's and sslerr.h's are below -8000.
    let library = if error.code.0 > -8000 { "NSPR" } else { "NSS" };
    let (code, name, text) = (i64::from(error.code.0), error.name.clone(), error.text.clone());
    ErrorInfo { library: library.to_owned(), code, name, text }
}

/// The error of a session in the form of a report.
pub fn of_session(error: &SessionError) -> ErrorInfo {
    let (library, code) = match error.code {
        Code::Nss(code) if code > -8000 => ("NSPR", code),
        Code::Nss(code) => ("NSS", code),
        Code::OpenSsl(code) => ("OpenSSL", code),
        Code::Verify(code) => ("OpenSSL, verification", code),
        Code::System(code) => ("system", code),
    };
    let known = match error.code {
        Code::Verify(code) => table::code(Library::Verify, code.into()),
        Code::OpenSsl(code) => table::code(Library::Openssl, code.into()),
        _ => None,
    };
    let name = known.map_or_else(|| error.name.clone(), |known| known.name.to_owned());
    ErrorInfo { library: library.to_owned(), code: code.into(), name, text: error.text.clone() }
}

/// Whether a library rejects the key or the signature of a certificate as too weak.
pub fn is_too_weak(error: &SessionError) -> bool {
    [signal::CHAIN_WEAK_KEY, signal::CHAIN_WEAK_SIGNATURE].contains(&signal(error))
}

/// The signal of a session error.
pub fn signal(error: &SessionError) -> Signal {
    match (error.code, error.kind) {
        (Code::Nss(code), _) => Signal::of_nss(code),
        (_, Kind::Ended) => signal::ENDED,
        (_, Kind::Reset) => signal::RESET,
        (_, Kind::TimedOut) => signal::SILENCE,
        (Code::OpenSsl(code), _) => match error.code.openssl_alert() {
            Some(alert) => Signal::of_alert(alert),
            None => Signal::of_code(Library::Openssl, code.into()).unwrap_or(signal::SSL_ERROR),
        },
        (Code::Verify(code), _) => Signal::of_code(Library::Verify, code.into()).unwrap_or(signal::CHAIN_REFUSED),
        (Code::System(_), _) => signal::SSL_ERROR,
    }
}
