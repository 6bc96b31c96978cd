//! Replies: error code, header, payload, and the two HMACs that a bridge cannot forge.
//!
//! On the outer stream: the error code (four bytes), a header, the HMAC-SHA-512 of both, the length of the payload
//! (eight bytes), the payload, and the HMAC-SHA-512 of the payload; then the end of the stream. The keys of the HMACs
//! went to the server inside the inner TLS session ([`crate::request::Request::secrets`]).

use zeroize::Zeroizing;

use crate::header::Header;
use crate::hmac::{DIGEST, Hmac};

mod code;
mod decode;
mod names;

pub use code::ErrorCode;
pub use decode::{Decoder, Event, Part, ReplyError};
pub use names::{NamesError, key_names, user_names};

/// The keys that authenticate a reply. Wiped when dropped, and without `Debug`.
#[derive(Clone)]
pub struct ReplyKeys {
    header: Zeroizing<Vec<u8>>,
    payload: Zeroizing<Vec<u8>>,
}

impl ReplyKeys {
    /// Keys for one request: `header-auth-key` and `payload-auth-key`, each 64 fresh random bytes.
    pub fn new(header: &[u8; 64], payload: &[u8; 64]) -> Self {
        Self::from_slices(header, payload)
    }

    pub(crate) fn from_slices(header: &[u8], payload: &[u8]) -> Self {
        Self { header: Zeroizing::new(header.to_vec()), payload: Zeroizing::new(payload.to_vec()) }
    }

    pub(crate) fn header(&self) -> &[u8] {
        &self.header
    }

    pub(crate) fn payload(&self) -> &[u8] {
        &self.payload
    }
}

/// A reply to send.
#[derive(Debug, Clone)]
pub struct Reply {
    /// The result of the request.
    pub code: ErrorCode,
    /// The reply's fields.
    pub header: Header,
    /// The payload.
    pub payload: Vec<u8>,
}

impl Reply {
    /// A reply without fields and payload, as a refusal is.
    pub fn new(code: ErrorCode) -> Self {
        Self { code, header: Header::new(), payload: Vec::new() }
    }

    /// The bytes for the outer stream, which then ends.
    pub fn encode(&self, keys: &ReplyKeys) -> Vec<u8> {
        let mut out = self.code.0.to_be_bytes().to_vec();
        out.extend_from_slice(&self.header.encode());
        let header_hmac = hmac(keys.header(), &out);
        out.extend_from_slice(&header_hmac);
        out.extend_from_slice(&(self.payload.len() as u64).to_be_bytes());
        out.extend_from_slice(&self.payload);
        out.extend_from_slice(&hmac(keys.payload(), &self.payload));
        out
    }
}

fn hmac(key: &[u8], bytes: &[u8]) -> [u8; DIGEST] {
    let mut hmac = Hmac::new(key);
    hmac.update(bytes);
    hmac.finish()
}
