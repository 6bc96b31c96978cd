//! Reading a header from bytes that come in pieces.

use zeroize::Zeroizing;

use super::Header;
use crate::input::take;

/// What is wrong with a header, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("at byte {offset} of the header: {fault}")]
pub struct HeaderError {
    /// The place of the first wrong byte, from the start of the header.
    pub offset: usize,
    /// What is wrong.
    pub fault: HeaderFault,
}

/// What can be wrong with a header's bytes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderFault {
    /// A key of no bytes.
    #[error("a key of length 0")]
    KeyEmpty,
    /// A key that is not printable ASCII; this is the first byte that is not.
    #[error("byte 0x{0:02x} in a key; keys are printable ASCII")]
    KeyNotPrintable(u8),
    /// A key that occurs for the second time.
    #[error("duplicate key \"{0}\"")]
    KeyTwice(String),
}

#[derive(Debug)]
enum Step {
    Count,
    KeyLength,
    Key { missing: u8 },
    ValueLength,
    Value { missing: u8 },
    Failed(HeaderError),
}

/// Reads one header, in whatever pieces it arrives. It holds the received bytes, 130 561 at most.
#[derive(Debug)]
pub struct Decoder {
    step: Step,
    header: Header,
    pairs_left: u8,
    offset: usize,
    key: String,
    value: Zeroizing<Vec<u8>>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder {
    /// At the start of a header.
    pub fn new() -> Self {
        let (header, key, value) = (Header::new(), String::new(), Zeroizing::default());
        Self { step: Step::Count, header, pairs_left: 0, offset: 0, key, value }
    }

    /// The header, once it is complete; bytes of `input` after it are not consumed. `None` when all of `input` is
    /// consumed and more is needed. After a header, the decoder is ready for another.
    ///
    /// # Errors
    /// The first fault of the header.
    pub fn next(&mut self, input: &mut &[u8]) -> Result<Option<Header>, HeaderError> {
        while !input.is_empty() {
            if let Err(error) = self.step(input) {
                self.step = Step::Failed(error.clone());
                return Err(error);
            }
            if self.pairs_left == 0 && matches!(self.step, Step::KeyLength) {
                let whole = std::mem::take(self);
                return Ok(Some(whole.header));
            }
        }
        match &self.step {
            Step::Failed(error) => Err(error.clone()),
            _ => Ok(None),
        }
    }

    /// Bytes of the header consumed so far.
    pub fn consumed(&self) -> usize {
        self.offset
    }

    fn step(&mut self, input: &mut &[u8]) -> Result<(), HeaderError> {
        match self.step {
            Step::Count => {
                self.pairs_left = self.byte(input);
                self.step = Step::KeyLength;
            }
            Step::KeyLength => match self.byte(input) {
                0 => return Err(HeaderError { offset: self.offset - 1, fault: HeaderFault::KeyEmpty }),
                missing => self.step = Step::Key { missing },
            },
            Step::Key { missing } => self.key(input, missing)?,
            Step::ValueLength => {
                let missing = self.byte(input);
                // At most 255 bytes, allocated at once: a vector that grows leaves copies of secrets behind.
                self.value = Zeroizing::new(Vec::with_capacity(usize::from(missing)));
                self.step = Step::Value { missing };
                self.value(input, missing);
            }
            Step::Value { missing } => self.value(input, missing),
            Step::Failed(ref error) => return Err(error.clone()),
        }
        Ok(())
    }

    fn key(&mut self, input: &mut &[u8], missing: u8) -> Result<(), HeaderError> {
        let taken = take(input, usize::from(missing));
        for (index, &byte) in taken.iter().enumerate() {
            if !super::is_printable(&[byte]) {
                let offset = self.offset + index;
                return Err(HeaderError { offset, fault: HeaderFault::KeyNotPrintable(byte) });
            }
            self.key.push(char::from(byte));
        }
        self.offset += taken.len();
        self.step = match missing - taken.len() as u8 {
            0 if self.header.get(&self.key).is_some() => {
                let offset = self.offset - self.key.len();
                return Err(HeaderError { offset, fault: HeaderFault::KeyTwice(std::mem::take(&mut self.key)) });
            }
            0 => Step::ValueLength,
            missing => Step::Key { missing },
        };
        Ok(())
    }

    fn value(&mut self, input: &mut &[u8], missing: u8) {
        let taken = take(input, usize::from(missing));
        self.value.extend_from_slice(taken);
        self.offset += taken.len();
        let missing = missing - taken.len() as u8;
        self.step = Step::Value { missing };
        if missing == 0 {
            let (key, value) = (std::mem::take(&mut self.key), std::mem::take(&mut self.value));
            self.header.pairs.push((key, value));
            self.pairs_left -= 1;
            self.step = Step::KeyLength;
        }
    }

    fn byte(&mut self, input: &mut &[u8]) -> u8 {
        let byte = take(input, 1).first().copied().unwrap_or_default();
        self.offset += 1;
        byte
    }
}
