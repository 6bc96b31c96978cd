//! Headers in any fragmentation; what is read is written again as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_sigul::header::Decoder;

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first() else { return };
    let mut decoder = Decoder::new();
    for piece in rest.chunks(usize::from(*size).max(1)) {
        let mut piece = piece;
        match decoder.next(&mut piece) {
            Ok(None) => {}
            Ok(Some(header)) => {
                let encoded = header.encode();
                assert!(rest.starts_with(&encoded), "{header:?}");
                return;
            }
            Err(_) => return,
        }
    }
});
