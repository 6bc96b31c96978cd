//! Reading a request from the outer stream.

use std::fmt;

use openssl::sha::Sha512;

use super::{Head, VERSION};
use crate::header::{self, Header, HeaderError};
use crate::hmac::DIGEST;
use crate::input::{Fixed, take_u64};
use crate::message;

/// A part of a request, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The version, four bytes.
    Version,
    /// The header.
    Header,
    /// The payload's length, eight bytes.
    Length,
    /// The payload.
    Payload,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Version => "version",
            Self::Header => "header",
            Self::Length => "payload length",
            Self::Payload => "payload",
        })
    }
}

/// What is wrong with a request as bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are numbers of bytes, explained by the message")]
pub enum RequestError {
    /// A version other than 1.
    #[error("protocol version {0}; only version 1 is supported")]
    UnknownVersion(u32),
    /// A header that cannot be read.
    #[error("request header: {0}")]
    Header(#[from] HeaderError),
    /// More payload than the limit allows.
    #[error("the header announces a payload of {length} bytes; the maximum is {limit}")]
    PayloadTooLong { length: u64, limit: u64 },
    /// More bytes after the payload.
    #[error("the outer stream continues after the payload")]
    TrailingData,
    /// The stream ended too early.
    #[error("the request ends in its {part}, after {consumed} bytes")]
    Truncated { part: Part, consumed: u64 },
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Everything before the payload.
    Head(Head),
    /// The next bytes of the payload.
    Payload(&'a [u8]),
    /// The request is complete.
    End {
        /// SHA-512 of the payload.
        payload_sha512: [u8; DIGEST],
    },
}

enum Step {
    Version(Fixed<4>),
    Header(header::Decoder),
    Length(Header, Fixed<8>),
    Payload { missing: u64 },
    Done,
}

/// The parts of a request.
pub struct Parts {
    step: Step,
    payload: Sha512,
    limit: u64,
}

/// Reads one request, in whatever pieces it arrives. [`Head::validate`] decides whether a bridge accepts it.
pub type Decoder = message::Decoder<Parts>;

impl Decoder {
    /// Accepts payloads of at most `limit` bytes.
    pub fn new(limit: u64) -> Self {
        Self::of(Parts { step: Step::Version(Fixed::new()), payload: Sha512::new(), limit })
    }

    /// To be called when the outer stream ends.
    ///
    /// # Errors
    /// The request is incomplete, or had an error before.
    pub fn end_of_stream(&self) -> Result<(), RequestError> {
        self.sound()?;
        let part = match &self.parts.step {
            Step::Version(_) => Part::Version,
            Step::Header(_) => Part::Header,
            Step::Length(..) => Part::Length,
            Step::Payload { missing: 0 } | Step::Done => return Ok(()),
            Step::Payload { .. } => Part::Payload,
        };
        Err(RequestError::Truncated { part, consumed: self.consumed() })
    }
}

impl message::Parts for Parts {
    type Event<'a> = Event<'a>;
    type Error = RequestError;

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, RequestError> {
        loop {
            match &mut self.step {
                Step::Version(version) => match version.fill(input).map(u32::from_be_bytes) {
                    None => return Ok(None),
                    Some(VERSION) => self.step = Step::Header(header::Decoder::new()),
                    Some(other) => return Err(RequestError::UnknownVersion(other)),
                },
                Step::Header(decoder) => match decoder.next(input)? {
                    None => return Ok(None),
                    Some(header) => self.step = Step::Length(header, Fixed::new()),
                },
                Step::Length(header, length) => {
                    let Some(length) = length.fill(input).map(u64::from_be_bytes) else { return Ok(None) };
                    if length > self.limit {
                        return Err(RequestError::PayloadTooLong { length, limit: self.limit });
                    }
                    let header = std::mem::take(header);
                    self.step = Step::Payload { missing: length };
                    return Ok(Some(Event::Head(Head { header, payload_length: length })));
                }
                Step::Payload { missing: 0 } => {
                    let payload_sha512 = std::mem::take(&mut self.payload).finish();
                    self.step = Step::Done;
                    return Ok(Some(Event::End { payload_sha512 }));
                }
                Step::Payload { missing } => {
                    let payload = take_u64(input, *missing);
                    *missing = missing.saturating_sub(payload.len() as u64);
                    self.payload.update(payload);
                    return Ok((!payload.is_empty()).then_some(Event::Payload(payload)));
                }
                Step::Done if input.is_empty() => return Ok(None),
                Step::Done => return Err(RequestError::TrailingData),
            }
        }
    }
}
