//! Replies in any fragmentation: none that was not authenticated is taken for authentic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_sigul::reply::{Decoder, Event, ReplyKeys};

fuzz_target!(|bytes: &[u8]| {
    let Some((size, rest)) = bytes.split_first() else { return };
    let keys = ReplyKeys::new(&[0x17; 64], &[0x71; 64]);
    let mut decoder = Decoder::new(keys, 64 * 1024);
    for mut piece in rest.chunks(usize::from(*size).max(1)) {
        loop {
            match decoder.next(&mut piece) {
                Ok(None) => break,
                // A fuzzer does not find HMAC-SHA-512 by chance.
                Ok(Some(Event::Head { .. } | Event::Authentic)) => panic!("an unauthenticated reply was taken"),
                Ok(Some(Event::Payload(_))) => {}
                Err(_) => return,
            }
        }
    }
    let _ = decoder.end_of_stream();
});
