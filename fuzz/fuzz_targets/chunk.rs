//! Chunks in any fragmentation: the same events whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_sigul::chunk::{Event, Splitter, Stream};

/// Bytes and ends of both streams, and whether the input was refused.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> ([Vec<u8>; 2], Vec<Stream>, bool) {
    let (mut splitter, mut data, mut ends) = (Splitter::new(), [Vec::new(), Vec::new()], Vec::new());
    for mut piece in pieces {
        loop {
            match splitter.next(&mut piece) {
                Ok(None) => break,
                Ok(Some(Event::Data(stream, bytes))) => {
                    data[usize::from(stream == Stream::Inner)].extend_from_slice(bytes)
                }
                Ok(Some(Event::End(stream))) => ends.push(stream),
                Err(_) => return (data, ends, true),
            }
        }
    }
    (data, ends, false)
}

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first() else { return };
    let whole = read(std::iter::once(rest));
    let pieces = read(rest.chunks(usize::from(*size).max(1)));
    assert_eq!(whole, pieces);
});
