//! Certificates and keys in files: what a file is, by its content, and what is in it.

mod content;
mod der;

pub use content::{Block, Content, Fault};

use nssight_diagnosis::fact::fact::CertificateFileOrder as Order;
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

impl Found {
    /// Whether our certificate is the first one of its file, as it must be; told where the key and several certificates are known. A
    /// sentence where it is not.
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
    /// A PKCS#12 file, still packed.
    pub packed: Option<Zeroizing<Vec<u8>>>,
    /// The CAs that are trusted; where none are named, those of this system are.
    pub authorities: Option<Vec<X509>>,
}
