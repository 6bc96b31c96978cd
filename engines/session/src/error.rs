//! An error of the library that runs a session.

use std::{fmt, io};

use crate::transport::End;

/// An error number, with the library that defines it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Of NSS, NSPR or libssl (`secerr.h`, `prerr.h`, `sslerr.h`); their ranges do not overlap.
    Nss(i32),
    /// A reason of OpenSSL's libssl (`sslerr.h` of OpenSSL).
    OpenSsl(i32),
    /// Why OpenSSL rejects a chain (`x509_vfy.h`).
    Verify(i32),
    /// The operating system's; 0 if there is none.
    System(i32),
}

impl Code {
    /// The number of the alert that was received, if this is OpenSSL's reason for one (`SSL_AD_REASON_OFFSET` of ssl.h).
    pub fn openssl_alert(self) -> Option<u8> {
        const ALERTS: i32 = 1000;
        match self {
            Self::OpenSsl(reason) => u8::try_from(reason - ALERTS).ok(),
            _ => None,
        }
    }
}

/// The kind of error that decisions depend on, whichever library reported it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The deadline passed.
    TimedOut,
    /// No data is available at the moment.
    WouldBlock,
    /// The connection was reset.
    Reset,
    /// The connection ended.
    Ended,
    /// This host's policy leaves no version of TLS to offer.
    NoVersions,
    /// Any other error.
    Other,
}

/// A call that failed: what was being done, and the error that the library reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionError {
    /// What was being done, as text.
    pub step: &'static str,
    /// The number.
    pub code: Code,
    /// The kind of error, for decisions.
    pub kind: Kind,
    /// The library's name for it, or a text with the number if there is no name.
    pub name: String,
    /// The library's own text.
    pub text: String,
}

impl SessionError {
    /// The connection ended where more data was expected.
    pub fn ended(step: &'static str) -> Self {
        let (name, text) = ("end of file".to_owned(), "the peer closed the connection".to_owned());
        Self { step, code: Code::System(0), kind: Kind::Ended, name, text }
    }

    /// A deadline passed without any data.
    pub fn timed_out(step: &'static str) -> Self {
        let (name, text) = ("deadline passed".to_owned(), "no data arrived before the deadline".to_owned());
        Self { step, code: Code::System(0), kind: Kind::TimedOut, name, text }
    }
}

impl Kind {
    /// How a transport that runs over a session reports a failure of that session: the end, and the error.
    pub fn carried(self) -> (End, io::ErrorKind) {
        match self {
            Self::TimedOut => (End::TimedOut, io::ErrorKind::TimedOut),
            Self::Reset => (End::Reset, io::ErrorKind::ConnectionReset),
            _ => (End::Failed(0), io::ErrorKind::Other),
        }
    }

    /// The error that such a transport returns if nothing more could be sent.
    pub fn unsent(self) -> io::ErrorKind {
        match self {
            Self::TimedOut => io::ErrorKind::TimedOut,
            _ => io::ErrorKind::ConnectionReset,
        }
    }
}

impl fmt::Display for SessionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.step, self.name, self.text)
    }
}

impl std::error::Error for SessionError {}
