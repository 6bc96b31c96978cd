//! The chunks that carry two streams, outer and inner, through one TLS session.
//!
//! A chunk is a head of four bytes, big-endian, and data: bit 31 of the head names the stream (0 outer, 1 inner), bits
//! 0 to 30 the length of the data. Length 0 ends that stream in that direction.
//!
//! ```
//! use nssight_sigul::chunk::{Combiner, Event, Splitter, Stream};
//!
//! let mut wire = Vec::new();
//! let mut combiner = Combiner::new();
//! combiner.data(Stream::Outer, b"request", &mut wire)?;
//! combiner.end(Stream::Outer, &mut wire)?;
//! assert_eq!(wire, b"\0\0\0\x07request\0\0\0\0");
//!
//! let mut splitter = Splitter::new();
//! let mut input = wire.as_slice();
//! assert_eq!(splitter.next(&mut input), Ok(Some(Event::Data(Stream::Outer, b"request"))));
//! assert_eq!(splitter.next(&mut input), Ok(Some(Event::End(Stream::Outer))));
//! assert_eq!(splitter.next(&mut input), Ok(None));
//! # Ok::<(), nssight_sigul::chunk::StreamEnded>(())
//! ```

use std::fmt;

use crate::input::{Fixed, take};

/// Bytes of a chunk's head.
pub const HEAD: usize = 4;

/// The longest chunk that Sigul's programs send, head included (measured).
pub const LONGEST_SENT: usize = 4096;

/// The longest data that a head can announce.
pub const LONGEST_POSSIBLE: u32 = 0x7fff_ffff;

const INNER_BIT: u32 = 0x8000_0000;

/// One of the two streams of a TLS session with the bridge.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stream {
    /// What the bridge reads: requests and replies.
    Outer,
    /// What the bridge only copies: the TLS session of client and server.
    Inner,
}

impl Stream {
    fn index(self) -> usize {
        usize::from(self == Self::Inner)
    }
}

impl fmt::Display for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Outer => "outer",
            Self::Inner => "inner",
        })
    }
}

/// What arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event<'a> {
    /// Bytes of a stream: a chunk's data, or as much of it as has arrived.
    Data(Stream, &'a [u8]),
    /// The peer has ended this stream.
    End(Stream),
}

/// An invalid chunk. `offset` is the place of its head, in bytes from the start of the TLS session's data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the fields are explained above and by their names")]
pub enum ChunkError {
    /// More data on a stream that has ended.
    #[error("at byte {offset}: {length} bytes of the {stream} stream after its end")]
    DataAfterEnd { stream: Stream, length: u32, offset: u64 },
    /// A stream ended for the second time.
    #[error("at byte {offset}: the {stream} stream ends for the second time")]
    EndAfterEnd { stream: Stream, offset: u64 },
    /// More data in one chunk than the limit allows.
    #[error("at byte {offset}: a chunk of {length} bytes on the {stream} stream; the limit is {limit}")]
    TooLong { stream: Stream, length: u32, limit: u32, offset: u64 },
}

/// The position of a [`Splitter`] within the chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position {
    /// Between chunks: a TLS session may end here.
    Between,
    /// This many bytes into a head.
    InHead(usize),
    /// Inside a chunk, this many bytes of it still to come.
    InData(Stream, u32),
}

/// Splits the bytes of a TLS session into chunks, in whatever pieces they arrive. It holds four bytes at most.
#[derive(Debug, Clone)]
pub struct Splitter {
    head: Fixed<HEAD>,
    stream: Stream,
    missing: u32,
    ended: [bool; 2],
    limit: u32,
    consumed: u64,
    failed: Option<ChunkError>,
}

impl Default for Splitter {
    fn default() -> Self {
        Self::new()
    }
}

impl Splitter {
    /// Accepts chunks of any length that a head can announce.
    pub fn new() -> Self {
        Self::with_limit(LONGEST_POSSIBLE)
    }

    /// Refuses chunks with more than `limit` bytes of data.
    pub fn with_limit(limit: u32) -> Self {
        let (head, ended) = (Fixed::new(), [false; 2]);
        Self { head, stream: Stream::Outer, missing: 0, ended, limit, consumed: 0, failed: None }
    }

    /// The next event; `None` when all of `input` is consumed and more is needed.
    ///
    /// # Errors
    /// An invalid chunk; its data is not consumed, and every later call returns the same error.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Event<'a>>, ChunkError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        if self.missing > 0 {
            return Ok(self.data(input));
        }
        let before = input.len();
        let head = self.head.fill(input);
        self.consumed = self.consumed.saturating_add((before - input.len()) as u64);
        let Some(head) = head else { return Ok(None) };
        match self.begin(u32::from_be_bytes(head)) {
            Ok(None) => Ok(self.data(input)),
            Ok(end) => Ok(end),
            Err(error) => {
                self.failed = Some(error);
                Err(error)
            }
        }
    }

    /// The current position, which shows whether the session may end here.
    pub fn position(&self) -> Position {
        match (self.missing, self.head.have()) {
            (0, 0) => Position::Between,
            (0, have) => Position::InHead(have),
            (missing, _) => Position::InData(self.stream, missing),
        }
    }

    /// Whether the peer has ended this stream.
    pub fn ended(&self, stream: Stream) -> bool {
        self.ended[stream.index()]
    }

    /// Bytes consumed so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    fn begin<'a>(&mut self, head: u32) -> Result<Option<Event<'a>>, ChunkError> {
        let stream = if head & INNER_BIT == 0 { Stream::Outer } else { Stream::Inner };
        let length = head & !INNER_BIT;
        let offset = self.consumed.saturating_sub(HEAD as u64);
        let ended = &mut self.ended[stream.index()];
        match (*ended, length) {
            (true, 0) => Err(ChunkError::EndAfterEnd { stream, offset }),
            (true, _) => Err(ChunkError::DataAfterEnd { stream, length, offset }),
            (false, 0) => {
                *ended = true;
                Ok(Some(Event::End(stream)))
            }
            (false, _) if length > self.limit => Err(ChunkError::TooLong { stream, length, limit: self.limit, offset }),
            (false, _) => {
                (self.stream, self.missing) = (stream, length);
                Ok(None)
            }
        }
    }

    fn data<'a>(&mut self, input: &mut &'a [u8]) -> Option<Event<'a>> {
        let data = take(input, usize::try_from(self.missing).unwrap_or(usize::MAX));
        self.missing = self.missing.saturating_sub(u32::try_from(data.len()).unwrap_or(u32::MAX));
        self.consumed = self.consumed.saturating_add(data.len() as u64);
        (!data.is_empty()).then_some(Event::Data(self.stream, data))
    }
}

/// An attempt to send on a stream that this side has already ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the {0} stream has already ended in this direction")]
pub struct StreamEnded(pub Stream);

/// Makes chunks of at most [`LONGEST_SENT`] bytes.
#[derive(Debug, Clone, Default)]
pub struct Combiner {
    ended: [bool; 2],
}

impl Combiner {
    /// Both streams open.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends `bytes` to `out` as chunks of `stream`. Empty `bytes` make no chunk, since an empty chunk would end the stream.
    ///
    /// # Errors
    /// The stream is already ended; `out` is unchanged.
    pub fn data(&mut self, stream: Stream, bytes: &[u8], out: &mut Vec<u8>) -> Result<(), StreamEnded> {
        self.open(stream)?;
        for data in bytes.chunks(LONGEST_SENT - HEAD) {
            // At most 4092, so the cast is lossless.
            out.extend_from_slice(&head(stream, data.len() as u32));
            out.extend_from_slice(data);
        }
        Ok(())
    }

    /// Appends the end of `stream` to `out`.
    ///
    /// # Errors
    /// The stream is already ended; `out` is unchanged.
    pub fn end(&mut self, stream: Stream, out: &mut Vec<u8>) -> Result<(), StreamEnded> {
        self.open(stream)?;
        self.ended[stream.index()] = true;
        out.extend_from_slice(&head(stream, 0));
        Ok(())
    }

    fn open(&self, stream: Stream) -> Result<(), StreamEnded> {
        if self.ended[stream.index()] { Err(StreamEnded(stream)) } else { Ok(()) }
    }
}

fn head(stream: Stream, length: u32) -> [u8; HEAD] {
    let bit = if stream == Stream::Inner { INNER_BIT } else { 0 };
    (length | bit).to_be_bytes()
}
