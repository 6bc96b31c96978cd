//! Converts OpenSSL's errors to session errors.

use std::io::ErrorKind;

use nssight_session::{Code, Kind, SessionError};
use openssl::error::ErrorStack;
use openssl::ssl;
use openssl::x509::X509VerifyResult;

/// `SSL_R_UNEXPECTED_EOF_WHILE_READING` of sslerr.h: the connection ended without close_notify.
const UNEXPECTED_EOF: i32 = 294;
/// `SSL_R_NO_PROTOCOLS_AVAILABLE`.
const NO_PROTOCOLS: i32 = 191;
/// The reason of an error without its library (`ERR_GET_REASON` of err.h, OpenSSL 3).
const REASON: std::ffi::c_ulong = 0x7f_ffff;
/// The reasons of libssl are below this; those above are common to all libraries.
const REASONS_OF_SSL: i32 = 4096;

/// An error of a call on a session.
pub(crate) fn of_session(step: &'static str, error: &ssl::Error) -> SessionError {
    if let Some(stack) = error.ssl_error() {
        return of_stack(step, stack);
    }
    let Some(io) = error.io_error() else {
        return match error.code() {
            ssl::ErrorCode::WANT_READ | ssl::ErrorCode::WANT_WRITE => plain(step, Kind::WouldBlock, 0, "would block"),
            // An end of file below TLS, as OpenSSL before version 3 reports it.
            _ => SessionError::ended(step),
        };
    };
    let number = io.raw_os_error().unwrap_or(0);
    match io.kind() {
        ErrorKind::TimedOut => SessionError::timed_out(step),
        ErrorKind::WouldBlock => plain(step, Kind::WouldBlock, number, "would block"),
        ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => plain(step, Kind::Reset, number, "connection reset"),
        ErrorKind::UnexpectedEof => SessionError::ended(step),
        _ => plain(step, Kind::Other, number, &io.to_string()),
    }
}

fn plain(step: &'static str, kind: Kind, number: i32, text: &str) -> SessionError {
    SessionError { step, code: Code::System(number), kind, name: text.to_owned(), text: text.to_owned() }
}

/// The errors that a call left behind; the first one of libssl is used.
pub(crate) fn of_stack(step: &'static str, stack: &ErrorStack) -> SessionError {
    let of_ssl = |error: &&openssl::error::Error| error.library() == Some("SSL routines");
    let Some(error) = stack.errors().iter().find(of_ssl).or_else(|| stack.errors().first()) else {
        return plain(step, Kind::Other, 0, "OpenSSL gives no reason");
    };
    let text = error.reason().unwrap_or("unknown reason").to_owned();
    let number = i32::try_from(error.code() & REASON).unwrap_or(0);
    let code = if of_ssl(&error) && number < REASONS_OF_SSL { Code::OpenSsl(number) } else { Code::System(0) };
    let kind = match code {
        Code::OpenSsl(UNEXPECTED_EOF) => Kind::Ended,
        Code::OpenSsl(NO_PROTOCOLS) => Kind::NoVersions,
        _ => Kind::Other,
    };
    SessionError { step, code, kind, name: text.clone(), text }
}

/// Why a chain is rejected.
pub(crate) fn of_verification(result: X509VerifyResult) -> SessionError {
    let (code, text) = (Code::Verify(result.as_raw()), result.error_string().to_owned());
    SessionError { step: "verify the peer's certificate", code, kind: Kind::Other, name: text.clone(), text }
}
