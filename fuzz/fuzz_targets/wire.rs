//! A conversation of two strangers, in any fragmentation: a story, and the same one whole and in pieces.
#![no_main]

use libfuzzer_sys::fuzz_target;
use nssight_wire::{Conversation, Direction, End};

fn story(bytes: &[u8], size: usize) -> Vec<String> {
    let mut conversation = Conversation::new();
    // The first byte of each run of up to 64 says whose it is.
    for run in bytes.chunks(65) {
        let Some((whose, data)) = run.split_first() else { continue };
        let direction = if whose & 1 == 0 { Direction::Sent } else { Direction::Received };
        for piece in data.chunks(size) {
            conversation.feed(direction, 0, piece);
        }
    }
    conversation.ended(Direction::Received, 0, End::Fin);
    let _ = conversation.summary().one_line();
    conversation.events().iter().map(|event| event.what.to_string()).collect()
}

fuzz_target!(|bytes: &[u8]| {
    assert_eq!(story(bytes, usize::MAX), story(bytes, 3));
});
