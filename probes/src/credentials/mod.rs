//! Certificates and keys in files: what a file is, by its content, and what is in it.

mod content;
mod der;

pub use content::{Block, Content, Fault};

use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

/// A private key on its way out of its file.
pub enum Key {
    /// It lay there in the clear, or was opened.
    Open(PKey<Private>),
    /// It is encrypted: PEM or DER of a key, or a PKCS#12 file.
    Locked(Zeroizing<Vec<u8>>),
}

/// What the files gave.
#[derive(Default)]
pub struct Found {
    /// Our certificate, and those after it in its file.
    pub chain: Vec<X509>,
    /// Our key.
    pub key: Option<Key>,
    /// A PKCS#12 file, still packed.
    pub packed: Option<Zeroizing<Vec<u8>>>,
    /// The CAs that are trusted; where none are named, those of this system are.
    pub authorities: Option<Vec<X509>>,
}
