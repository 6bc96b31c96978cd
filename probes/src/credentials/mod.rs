//! Certificates and keys in files: the type of a file according to its content, and the content itself.

mod content;
mod der;

pub use content::{Block, Content, Fault};

use nssight_diagnosis::fact::fact::CertificateFileOrder as Order;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

/// A private key from a file.
pub enum Key {
    /// The key was not encrypted, or was decrypted.
    Open(PKey<Private>),
    /// It is encrypted: PEM or DER of a key, or a PKCS#12 file.
    Locked(Zeroizing<Vec<u8>>),
}

impl Found {
    /// Whether our certificate is the first one of its file, as it must be; known only with the key and if there are several certificates.
    /// With a sentence if it is not the first.
    pub(crate) fn order(&self) -> Option<(Order, Option<String>)> {
        let (Some(Key::Open(key)), [first, rest @ ..]) = (&self.key, self.chain.as_slice()) else { return None };
        let is_its = |certificate: &X509| certificate.public_key().is_ok_and(|public| public.public_eq(key));
        if is_its(first) {
            return Some((Order::OursFirst, None));
        }
        let place = rest.iter().position(is_its)? + 2;
        let summary = format!(
            "our key belongs to certificate {place} of the file, but programs use the first certificate as ours"
        );
        Some((Order::AnotherFirst, Some(summary)))
    }
}

/// The content of all files.
#[derive(Default)]
pub struct Found {
    /// Our certificate, and those after it in its file.
    pub chain: Vec<X509>,
    /// Our key.
    pub key: Option<Key>,
    /// A PKCS#12 file that is not decrypted yet.
    pub packed: Option<Zeroizing<Vec<u8>>>,
    /// The trusted CAs; if `None`, those of this system are trusted.
    pub authorities: Option<Vec<X509>>,
}
