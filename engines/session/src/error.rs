//! An error of the library that made a session.

use std::{fmt, io};

use crate::transport::End;

/// Whose number it is, and which.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// Of NSS, NSPR or libssl (`secerr.h`, `prerr.h`, `sslerr.h`); their numbers meet nowhere.
    Nss(i32),
    /// A reason of OpenSSL's libssl (`sslerr.h` of OpenSSL).
    OpenSsl(i32),
    /// Why OpenSSL does not take a chain (`x509_vfy.h`).
    Verify(i32),
    /// The operating system's, and 0 where nobody had one.
    System(i32),
}

impl Code {
    /// The number of the alert that was received, where this is OpenSSL's reason for one (`SSL_AD_REASON_OFFSET` of ssl.h).
    pub fn openssl_alert(self) -> Option<u8> {
        const ALERTS: i32 = 1000;
        match self {
            Self::OpenSsl(reason) => u8::try_from(reason - ALERTS).ok(),
            _ => None,
        }
    }
}

/// What decisions rest on, whichever library said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The deadline passed.
    TimedOut,
    /// Nothing is at hand just now.
    WouldBlock,
    /// The connection was reset.
    Reset,
    /// The connection ended.
    Ended,
    /// This host's policy leaves no version of TLS to offer.
    NoVersions,
    /// Another.
    Other,
}

/// A call that failed: what was being done, and what the library said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionError {
    /// What was being done, in words.
    pub step: &'static str,
    /// The number.
    pub code: Code,
    /// What it is, for decisions.
    pub kind: Kind,
    /// The library's name for it, or the number in words where it has none.
    pub name: String,
    /// The library's own sentence.
    pub text: String,
}

impl SessionError {
    /// The connection ended where something was to come.
    pub fn ended(step: &'static str) -> Self {
        let (name, text) = ("end of file".to_owned(), "the peer closed the connection".to_owned());
        Self { step, code: Code::System(0), kind: Kind::Ended, name, text }
    }

    /// A deadline passed without anything.
    pub fn timed_out(step: &'static str) -> Self {
        let (name, text) = ("deadline passed".to_owned(), "no data arrived before the deadline".to_owned());
        Self { step, code: Code::System(0), kind: Kind::TimedOut, name, text }
    }
}

impl Kind {
    /// What a transport that goes through a session says when that session failed: how it ended, and the error.
    pub fn carried(self) -> (End, io::ErrorKind) {
        match self {
            Self::TimedOut => (End::TimedOut, io::ErrorKind::TimedOut),
            Self::Reset => (End::Reset, io::ErrorKind::ConnectionReset),
            _ => (End::Failed(0), io::ErrorKind::Other),
        }
    }

    /// The same where nothing more could be sent.
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
