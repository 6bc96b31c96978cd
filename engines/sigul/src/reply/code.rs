//! A reply's error code.

use std::fmt;

/// The error code of a reply. Any number can arrive; 0 to 16 have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub u32);

/// Name and meaning, by number.
const KNOWN: [(&str, &str); 17] = [
    ("ok", "the server carried out the request"),
    ("unknown-version", "the server does not support this version of the protocol"),
    ("unknown-op", "the server does not support this operation"),
    (
        "authentication-failed",
        "unknown user, wrong password or passphrase, or missing permission: the server does not report which",
    ),
    ("already-exists", "a user or key with this name already exists"),
    ("user-not-found", "no user has this name"),
    ("user-has-key-accesses", "the user still has access to keys; this access must be revoked first"),
    ("key-user-not-found", "this user has no access to this key"),
    ("key-not-found", "no key has this name"),
    ("unknown-error", "the server failed; only its log shows the reason"),
    ("only-one-key-user", "the last user of a key cannot be removed"),
    ("corrupt-rpm", "the package is damaged"),
    ("unauthenticated-rpm", "the package is not the one that the client requested"),
    ("invalid-import", "the data to import is not a usable key"),
    ("import-passphrase-error", "the passphrase does not decrypt the key to import"),
    ("decrypt-failed", "the server could not decrypt the data"),
    ("unsupported-key-type", "the operation does not support this type of key"),
];

impl ErrorCode {
    /// Success.
    pub const OK: Self = Self(0);
    /// Unknown user or wrong password.
    pub const AUTHENTICATION_FAILED: Self = Self(3);
    /// A failure on the server's side.
    pub const UNKNOWN_ERROR: Self = Self(9);

    /// Whether the request was carried out.
    pub fn is_ok(self) -> bool {
        self == Self::OK
    }

    /// The name of the code, when it has one.
    pub fn name(self) -> Option<&'static str> {
        self.known().map(|(name, _)| name)
    }

    /// The meaning of the code, as a sentence without its full stop.
    pub fn meaning(self) -> &'static str {
        self.known().map_or("this code is unknown; the server may be newer than nssight", |(_, meaning)| meaning)
    }

    fn known(self) -> Option<(&'static str, &'static str)> {
        KNOWN.get(usize::try_from(self.0).ok()?).copied()
    }
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} ({name})", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}
