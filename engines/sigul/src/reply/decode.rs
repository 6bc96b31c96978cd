//! Reading and checking a reply.

use std::fmt;

use super::{ErrorCode, ReplyKeys};
use crate::header::{self, Header, HeaderError};
use crate::hmac::{DIGEST, Hmac};
use crate::input::{Fixed, take_u64};
use crate::message;

/// A part of a reply, in the order of the wire.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part {
    /// The error code, four bytes.
    ErrorCode,
    /// The header.
    Header,
    /// The HMAC of error code and header, 64 bytes.
    HeaderHmac,
    /// The payload's length, eight bytes.
    Length,
    /// The payload.
    Payload,
    /// The payload's HMAC, 64 bytes.
    PayloadHmac,
    /// The end of the outer stream.
    EndOfStream,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ErrorCode => "error code",
            Self::Header => "header",
            Self::HeaderHmac => "header HMAC",
            Self::Length => "payload length",
            Self::Payload => "payload",
            Self::PayloadHmac => "payload HMAC",
            Self::EndOfStream => "end-of-stream mark",
        })
    }
}

/// What is wrong with a reply.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are explained by the message")]
pub enum ReplyError {
    /// A header that cannot be read; nothing of the reply was authenticated.
    #[error("reply header: {0}")]
    Header(#[from] HeaderError),
    /// Error code and header are not what the server sent. `claimed` must not be trusted.
    #[error("the header HMAC does not match: the server did not send this code and header (claimed code: {claimed})")]
    HeaderTampered { claimed: ErrorCode },
    /// The payload is not what the server sent.
    #[error("the payload HMAC does not match: the server did not send this payload")]
    PayloadTampered,
    /// More payload than the limit allows.
    #[error("the header announces a payload of {length} bytes; the maximum is {limit}")]
    PayloadTooLong { length: u64, limit: u64 },
    /// More bytes after the reply.
    #[error("the outer stream continues after the reply")]
    TrailingData,
    /// The stream or the connection ended at `part`, after `consumed` bytes of the reply.
    #[error("the reply ends before its {part} is complete, after {consumed} bytes")]
    Truncated { part: Part, consumed: u64 },
}

/// What arrived.
#[derive(Debug, PartialEq, Eq)]
pub enum Event<'a> {
    /// Error code and header; their HMAC matches.
    Head {
        /// The result of the request.
        code: ErrorCode,
        /// The reply's fields.
        header: Header,
    },
    /// The next bytes of the payload. Not to be trusted before [`Event::Authentic`].
    Payload(&'a [u8]),
    /// The payload's HMAC matches: all of the reply is the server's.
    Authentic,
}

enum Step {
    Code(Fixed<4>),
    Header(header::Decoder),
    HeaderHmac(Header, Fixed<DIGEST>),
    Length(Fixed<8>),
    Payload { missing: u64 },
    PayloadHmac(Fixed<DIGEST>),
    Done,
}

/// The parts of a reply.
pub struct Parts {
    step: Step,
    keys: ReplyKeys,
    code: ErrorCode,
    payload: Hmac,
    limit: u64,
}

/// Reads one reply, in whatever pieces it arrives.
pub type Decoder = message::Decoder<Parts>;

impl Decoder {
    /// Expects a reply that is authenticated by `keys`; accepts payloads of at most `limit` bytes.
    pub fn new(keys: ReplyKeys, limit: u64) -> Self {
        let payload = Hmac::new(keys.payload());
        Self::of(Parts { step: Step::Code(Fixed::new()), keys, code: ErrorCode::OK, payload, limit })
    }

    /// To be called when the server ends the outer stream.
    ///
    /// # Errors
    /// The reply is incomplete, or had an error before.
    pub fn end_of_stream(&self) -> Result<(), ReplyError> {
        match self.part() {
            Ok(Part::EndOfStream) => Ok(()),
            Ok(part) => Err(ReplyError::Truncated { part, consumed: self.consumed() }),
            Err(error) => Err(error),
        }
    }

    /// To be called when the connection ends without the end of the outer stream. Reports where the reply stopped:
    /// at [`Part::EndOfStream`] if only that is missing.
    pub fn connection_closed(&self) -> ReplyError {
        match self.part() {
            Ok(part) => ReplyError::Truncated { part, consumed: self.consumed() },
            Err(error) => error,
        }
    }

    /// The part that is not complete yet.
    fn part(&self) -> Result<Part, ReplyError> {
        self.sound()?;
        Ok(match &self.parts.step {
            Step::Code(_) => Part::ErrorCode,
            Step::Header(_) => Part::Header,
            Step::HeaderHmac(..) => Part::HeaderHmac,
            Step::Length(_) => Part::Length,
            Step::Payload { missing: 0 } | Step::PayloadHmac(_) => Part::PayloadHmac,
            Step::Payload { .. } => Part::Payload,
            Step::Done => Part::EndOfStream,
        })
    }
}

impl message::Parts for Parts {
    type Event<'a> = Event<'a>;
    type Error = ReplyError;

    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, ReplyError> {
        loop {
            match &mut self.step {
                Step::Code(code) => {
                    let Some(code) = code.fill(input) else { return Ok(None) };
                    self.code = ErrorCode(u32::from_be_bytes(code));
                    self.step = Step::Header(header::Decoder::new());
                }
                Step::Header(decoder) => match decoder.next(input)? {
                    None => return Ok(None),
                    Some(header) => self.step = Step::HeaderHmac(header, Fixed::new()),
                },
                Step::HeaderHmac(header, claimed) => {
                    let Some(claimed) = claimed.fill(input) else { return Ok(None) };
                    let mut hmac = Hmac::new(self.keys.header());
                    hmac.update(&self.code.0.to_be_bytes());
                    hmac.update(&header.encode());
                    if !hmac.verify(&claimed) {
                        return Err(ReplyError::HeaderTampered { claimed: self.code });
                    }
                    let header = std::mem::take(header);
                    self.step = Step::Length(Fixed::new());
                    return Ok(Some(Event::Head { code: self.code, header }));
                }
                Step::Length(length) => {
                    let Some(length) = length.fill(input).map(u64::from_be_bytes) else { return Ok(None) };
                    if length > self.limit {
                        return Err(ReplyError::PayloadTooLong { length, limit: self.limit });
                    }
                    self.step = Step::Payload { missing: length };
                }
                Step::Payload { missing: 0 } => self.step = Step::PayloadHmac(Fixed::new()),
                Step::Payload { missing } => {
                    let payload = take_u64(input, *missing);
                    *missing = missing.saturating_sub(payload.len() as u64);
                    self.payload.update(payload);
                    return Ok((!payload.is_empty()).then_some(Event::Payload(payload)));
                }
                Step::PayloadHmac(claimed) => {
                    let Some(claimed) = claimed.fill(input) else { return Ok(None) };
                    let payload = std::mem::replace(&mut self.payload, Hmac::new(&[]));
                    if !payload.verify(&claimed) {
                        return Err(ReplyError::PayloadTampered);
                    }
                    self.step = Step::Done;
                    return Ok(Some(Event::Authentic));
                }
                Step::Done if input.is_empty() => return Ok(None),
                Step::Done => return Err(ReplyError::TrailingData),
            }
        }
    }
}
