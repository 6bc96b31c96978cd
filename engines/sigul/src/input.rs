//! Taking bytes from the front of an input.

/// The first `most` bytes of `input`, or all there are; `input` is left with the rest.
pub(crate) fn take<'a>(input: &mut &'a [u8], most: usize) -> &'a [u8] {
    let (taken, rest) = input.split_at(most.min(input.len()));
    *input = rest;
    taken
}

/// The same with a length that may be above what an address space holds.
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

    /// Takes what is missing from `input`; gives the field once it is whole, and is empty again then.
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

    /// How many bytes of it are there.
    pub(crate) fn have(&self) -> usize {
        self.have
    }
}
