//! What a request and a reply have in common as streams of bytes.

/// The parts of one message, read in order.
pub trait Parts {
    /// A part that has arrived.
    type Event<'a>;
    /// What can be wrong with the message.
    type Error: Clone;

    /// The next event; `None` when all of `input` is consumed and more is needed, or the message is over.
    ///
    /// # Errors
    /// What is wrong with the message.
    fn advance<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<Self::Event<'a>>, Self::Error>;
}

/// Reads one message, in whatever pieces it arrives. It holds the header at most, never the payload, and reads nothing after an
/// error.
pub struct Decoder<P: Parts> {
    pub(crate) parts: P,
    consumed: u64,
    failed: Option<P::Error>,
}

impl<P: Parts> Decoder<P> {
    pub(crate) fn of(parts: P) -> Self {
        Self { parts, consumed: 0, failed: None }
    }

    /// The next event; `None` when all of `input` is consumed and more is needed, or the message is over.
    ///
    /// # Errors
    /// What is wrong with the message; the same error again at each later call.
    pub fn next<'a>(&mut self, input: &mut &'a [u8]) -> Result<Option<P::Event<'a>>, P::Error> {
        self.sound()?;
        let before = input.len();
        let result = self.parts.advance(input);
        self.consumed = self.consumed.saturating_add((before - input.len()) as u64);
        self.failed = result.as_ref().err().cloned();
        result
    }

    /// Bytes of the message consumed so far.
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether nothing was wrong with the message so far.
    pub(crate) fn sound(&self) -> Result<(), P::Error> {
        self.failed.clone().map_or(Ok(()), Err)
    }
}
