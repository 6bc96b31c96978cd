//! Headers: the key-value pairs that requests and replies begin with.
//!
//! A header is one byte, the number of pairs, and for each pair `keylen, key, vallen, value`, both lengths one byte.
//! Keys are printable ASCII of 1 to 255 bytes, and each occurs once; values are 0 to 255 bytes of any kind.

use std::fmt;

use zeroize::Zeroizing;

mod decode;

pub use decode::{Decoder, HeaderError, HeaderFault};

/// Maximum number of pairs in a header.
pub const MOST_PAIRS: usize = 255;

/// The longest header, in bytes: 255 pairs of 255-byte keys and values.
pub const LONGEST: usize = 1 + MOST_PAIRS * (2 + 255 + 255);

/// Key-value pairs in the order of the wire.
///
/// Values may be secrets: they are wiped when dropped, and `Debug` shows keys and lengths only. The same pairs in the
/// same order have one encoding, so [`Header::encode`] returns the bytes that are hashed or signed at any time.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Header {
    pairs: Vec<(String, Zeroizing<Vec<u8>>)>,
}

/// Why a header cannot hold a pair.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The key is empty.
    #[error("a key is empty")]
    KeyEmpty,
    /// The key has more than 255 bytes.
    #[error("a key of {0} bytes; the maximum is 255")]
    KeyTooLong(usize),
    /// The key has characters other than printable ASCII.
    #[error("a key that is not printable ASCII")]
    KeyNotPrintable,
    /// The key is already present.
    #[error("duplicate key \"{0}\"")]
    KeyTwice(String),
    /// The value has more than 255 bytes.
    #[error("the value of \"{key}\" has {length} bytes; the maximum is 255")]
    ValueTooLong {
        /// The key of the value.
        key: String,
        /// The length of the value, in bytes.
        length: usize,
    },
    /// There are 255 pairs already.
    #[error("the header already has 255 pairs, the maximum")]
    Full,
}

/// A value that is missing or not of the requested kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FieldError {
    /// There is no such key.
    #[error("field \"{0}\" is missing")]
    Missing(String),
    /// Not one byte, 0 or 1.
    #[error("field \"{0}\" is not a boolean (one byte, 0 or 1)")]
    NotBool(String),
    /// Not four bytes.
    #[error("field \"{0}\" is not a number (four bytes)")]
    NotNumber(String),
    /// Not printable ASCII.
    #[error("field \"{0}\" is not printable ASCII")]
    NotText(String),
}

impl Header {
    /// No pairs.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a pair at the end.
    ///
    /// # Errors
    /// A pair that a header cannot hold; the header is unchanged.
    pub fn insert(&mut self, key: &str, value: &[u8]) -> Result<(), PairError> {
        if key.is_empty() {
            return Err(PairError::KeyEmpty);
        }
        if key.len() > 255 {
            return Err(PairError::KeyTooLong(key.len()));
        }
        if !is_printable(key.as_bytes()) {
            return Err(PairError::KeyNotPrintable);
        }
        if self.get(key).is_some() {
            return Err(PairError::KeyTwice(key.to_owned()));
        }
        if value.len() > 255 {
            return Err(PairError::ValueTooLong { key: key.to_owned(), length: value.len() });
        }
        if self.pairs.len() == MOST_PAIRS {
            return Err(PairError::Full);
        }
        self.pairs.push((key.to_owned(), Zeroizing::new(value.to_vec())));
        Ok(())
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&[u8]> {
        self.pairs.iter().find(|(name, _)| name == key).map(|(_, value)| value.as_slice())
    }

    /// The value of `key` as a truth value: one byte, 0 or 1.
    ///
    /// # Errors
    /// The value is missing, or something else.
    pub fn bool(&self, key: &str) -> Result<bool, FieldError> {
        match self.required(key)? {
            [0] => Ok(false),
            [1] => Ok(true),
            _ => Err(FieldError::NotBool(key.to_owned())),
        }
    }

    /// The value of `key` as a number: four bytes, big-endian.
    ///
    /// # Errors
    /// The value is missing, or has another length.
    pub fn u32(&self, key: &str) -> Result<u32, FieldError> {
        let bytes = self.required(key)?.try_into().map_err(|_| FieldError::NotNumber(key.to_owned()))?;
        Ok(u32::from_be_bytes(bytes))
    }

    /// The value of `key` as text: printable ASCII.
    ///
    /// # Errors
    /// The value is missing, or contains other bytes.
    pub fn str(&self, key: &str) -> Result<&str, FieldError> {
        let value = self.required(key)?;
        let text = std::str::from_utf8(value).ok().filter(|text| is_printable(text.as_bytes()));
        text.ok_or_else(|| FieldError::NotText(key.to_owned()))
    }

    /// The pairs in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_slice()))
    }

    /// How many pairs there are.
    pub fn len(&self) -> usize {
        self.pairs.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// The header as on the wire, wiped when dropped.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        // Allocated at full size: a vector that grows leaves copies of secrets behind.
        let length = 1 + self.iter().map(|(key, value)| 2 + key.len() + value.len()).sum::<usize>();
        let mut out = Zeroizing::new(Vec::with_capacity(length));
        // `insert` keeps the number of pairs and both lengths within one byte.
        out.push(self.pairs.len() as u8);
        for (key, value) in self.iter() {
            out.push(key.len() as u8);
            out.extend_from_slice(key.as_bytes());
            out.push(value.len() as u8);
            out.extend_from_slice(value);
        }
        out
    }

    fn required(&self, key: &str) -> Result<&[u8], FieldError> {
        self.get(key).ok_or_else(|| FieldError::Missing(key.to_owned()))
    }
}

impl fmt::Debug for Header {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let length = |value: &[u8]| format!("{} bytes", value.len());
        f.debug_map().entries(self.iter().map(|(key, value)| (key, length(value)))).finish()
    }
}

/// Whether all bytes are printable ASCII, including the blank.
pub(crate) fn is_printable(bytes: &[u8]) -> bool {
    bytes.iter().all(|byte| matches!(byte, 0x20..=0x7e))
}
