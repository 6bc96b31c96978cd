//! Taking bytes from the front of an input.

/// The first `most` bytes of `input`, or all there are; `input` is left with the rest.
pub(crate) fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// The same with a length that may exceed the address space.
pub(crate) fn take_u64<'a>(input: &mut &'a [u8], most: u64) -> &'a [u8] {
    take(input, usize::try_from(most).unwrap_or(usize::MAX))
}

/// A field of `N` bytes that may arrive in pieces.
#[derive(Debug, Clone)]
pub(crate) struct Fixed<const N: usize> {
    bytes: [u8; N],
    have: usize,
}

impl<const N: usize> Fixed<N> {
    pub(crate) fn new() -> Self {
        Self { bytes: [0; N], have: 0 }
    }

    /// Takes the missing bytes from `input`; returns the field once it is complete, and is then empty again.
    pub(crate) fn fill(&mut self, input: &mut &[u8]) -> Option<[u8; N]> {
        let taken = take(input, N - self.have);
        if let Some(free) = self.bytes.get_mut(self.have..self.have + taken.len()) {
            free.copy_from_slice(taken);
        }
        self.have += taken.len();
        (self.have == N).then(|| {
            self.have = 0;
            self.bytes
        })
    }

    /// How many bytes of it have arrived.
    pub(crate) fn have(&self) -> usize {
        self.have
    }
}
