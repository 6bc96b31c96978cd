//! The password on its way to NSS: wiped when dropped, never printed.

use secrecy::{ExposeSecret, SecretSlice};

/// How to interpret the bytes of a password source.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PasswordForm {
    /// The bytes are the password.
    Literal,
    /// The bytes are the content of a password file, to be read as NSS's own tools read it.
    File,
}

/// A password as given, not yet parsed.
pub struct Password {
    /// How to read the bytes.
    pub form: PasswordForm,
    bytes: SecretSlice<u8>,
}

impl Password {
    /// Takes ownership of the bytes.
    pub fn new(form: PasswordForm, bytes: Vec<u8>) -> Self {
        Self { form, bytes: SecretSlice::from(bytes.into_boxed_slice()) }
    }

    /// A copy of the password, for another attempt.
    #[must_use]
    pub fn again(&self) -> Self {
        Self::new(self.form, self.expose().to_vec())
    }

    /// The bytes, for the code that must pass them on.
    pub fn expose(&self) -> &[u8] {
        self.bytes.expose_secret()
    }
}

impl PartialEq for Password {
    fn eq(&self, other: &Self) -> bool {
        self.form == other.form && self.expose() == other.expose()
    }
}

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Password").field("form", &self.form).finish_non_exhaustive()
    }
}
