//! Requests: what a client sends, what a bridge and a server check.
//!
//! On the outer stream a request is its version, a header (`op`, `user` and the operation's fields), the length of the
//! payload, and the payload. On the inner stream, inside the TLS session of client and server, one more header follows:
//! the digests that bind the two streams together, the keys for the reply, and the password.

use std::fmt;

use openssl::memcmp;
use openssl::sha::{Sha512, sha512};
use zeroize::Zeroizing;

use crate::header::{FieldError, Header, PairError};
use crate::hmac::DIGEST;
use crate::reply::ReplyKeys;

mod decode;
mod operation;

pub use decode::{Decoder, Event, Part, RequestError};
pub use operation::{Field, Kind, OPERATIONS, Operation, Rejection};

/// The version of the protocol; there is no other.
pub const VERSION: u32 = 1;

const HEADER_DIGEST: &str = "header-auth-sha512";
const PAYLOAD_DIGEST: &str = "payload-auth-sha512";
const HEADER_KEY: &str = "header-auth-key";
const PAYLOAD_KEY: &str = "payload-auth-key";
const PASSWORD: &str = "password";

/// A request to send.
#[derive(Debug, Clone)]
pub struct Request {
    header: Header,
    payload: Vec<u8>,
}

impl Request {
    /// A request without fields of its own and without payload. Any operation and user are accepted here:
    /// [`Head::validate`] decides whether a bridge accepts them.
    ///
    /// # Errors
    /// The operation or the user does not fit into a header.
    pub fn new(op: &str, user: &str) -> Result<Self, PairError> {
        Self { header: Header::new(), payload: Vec::new() }
            .with_field("op", op.as_bytes())?
            .with_field("user", user.as_bytes())
    }

    /// `list-users`: the names of all users, for an administrator.
    ///
    /// # Errors
    /// The user does not fit into a header.
    pub fn list_users(user: &str) -> Result<Self, PairError> {
        Self::new("list-users", user)
    }

    /// Adds a field at the end of the header.
    ///
    /// # Errors
    /// It does not fit into the header.
    pub fn with_field(mut self, key: &str, value: &[u8]) -> Result<Self, PairError> {
        self.header.insert(key, value)?;
        Ok(self)
    }

    /// Sets the payload.
    pub fn with_payload(mut self, payload: Vec<u8>) -> Self {
        self.payload = payload;
        self
    }

    /// The bytes for the outer stream.
    pub fn outer(&self) -> Vec<u8> {
        let mut out = VERSION.to_be_bytes().to_vec();
        out.extend_from_slice(&self.header.encode());
        out.extend_from_slice(&(self.payload.len() as u64).to_be_bytes());
        out.extend_from_slice(&self.payload);
        out
    }

    /// The header for the inner stream, to be sent by [`Header::encode`]. `keys` will authenticate the reply and must be
    /// fresh random bytes. `password` is an administrator's.
    ///
    /// # Errors
    /// The password is longer than 255 bytes.
    pub fn secrets(&self, keys: &ReplyKeys, password: Option<&[u8]>) -> Result<Header, PairError> {
        let mut secrets = Header::new();
        secrets.insert(HEADER_DIGEST, &head_sha512(&self.header))?;
        secrets.insert(PAYLOAD_DIGEST, &sha512(&self.payload))?;
        secrets.insert(HEADER_KEY, keys.header())?;
        secrets.insert(PAYLOAD_KEY, keys.payload())?;
        if let Some(password) = password {
            secrets.insert(PASSWORD, password)?;
        }
        Ok(secrets)
    }
}

/// What precedes a request's payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// `op`, `user` and the operation's fields.
    pub header: Header,
    /// Bytes of the payload, as announced.
    pub payload_length: u64,
}

impl Head {
    /// What a server checks once it has the whole request and the inner header: that the client of the inner TLS
    /// session has sent what the bridge passed on. `payload_sha512` is from [`Event::End`].
    ///
    /// # Errors
    /// A digest that differs, or an inner header without a required field.
    pub fn verify(&self, payload_sha512: &[u8; DIGEST], secrets: &Header) -> Result<Verified, Unverified> {
        let digest = |key| -> Result<[u8; DIGEST], Unverified> {
            let value = required(secrets, key)?;
            value.try_into().map_err(|_| Unverified::DigestLength { key, length: value.len() })
        };
        if !memcmp::eq(&digest(HEADER_DIGEST)?, &head_sha512(&self.header)) {
            return Err(Unverified::HeaderDiffers);
        }
        if !memcmp::eq(&digest(PAYLOAD_DIGEST)?, payload_sha512) {
            return Err(Unverified::PayloadDiffers);
        }
        let key = |key| -> Result<&[u8], Unverified> {
            let value = required(secrets, key)?;
            if value.len() < DIGEST {
                return Err(Unverified::KeyLength { key, length: value.len() });
            }
            Ok(value)
        };
        let keys = ReplyKeys::from_slices(key(HEADER_KEY)?, key(PAYLOAD_KEY)?);
        let password = secrets.get(PASSWORD).map(|password| Zeroizing::new(password.to_vec()));
        Ok(Verified { keys, password })
    }
}

/// The content of the inner header of a verified request. `Debug` shows none of it.
pub struct Verified {
    /// The keys to authenticate the reply with.
    pub keys: ReplyKeys,
    /// The administrator's password, as sent.
    pub password: Option<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Verified {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Verified").field("has_password", &self.password.is_some()).finish_non_exhaustive()
    }
}

/// Why a server does not accept that a request is from the client of the inner session.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are the inner header's key and the bytes of its value")]
pub enum Unverified {
    /// The inner header lacks a field.
    #[error("inner header: {0}")]
    Field(#[from] FieldError),
    /// A digest that is not 64 bytes.
    #[error("inner header: \"{key}\" has {length} bytes; a SHA-512 digest has 64")]
    DigestLength { key: &'static str, length: usize },
    /// A key below 64 bytes.
    #[error("inner header: \"{key}\" has {length} bytes; the minimum is 64")]
    KeyLength { key: &'static str, length: usize },
    /// Version or header are not what the client sent.
    #[error("the request's header is not the one that the client sent")]
    HeaderDiffers,
    /// The payload is not what the client sent.
    #[error("the request's payload is not the one that the client sent")]
    PayloadDiffers,
}

fn required<'a>(secrets: &'a Header, key: &str) -> Result<&'a [u8], FieldError> {
    secrets.get(key).ok_or_else(|| FieldError::Missing(key.to_owned()))
}

/// SHA-512 of everything before the payload's length: version and header.
fn head_sha512(header: &Header) -> [u8; DIGEST] {
    let mut hash = Sha512::new();
    hash.update(&VERSION.to_be_bytes());
    hash.update(&header.encode());
    hash.finish()
}
