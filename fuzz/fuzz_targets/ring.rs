//! The ring of a traced program's events, as a hostile program may leave it.
#![no_main]

use std::fs::File;
use std::os::unix::fs::FileExt;

use libfuzzer_sys::fuzz_target;
use nssight_tracer::reader::Reader;

fuzz_target!(|bytes: &[u8]| {
    let mut reader = Reader::new().expect("a ring");
    let ring = File::from(reader.descriptor().try_clone_to_owned().expect("its memory"));
    // The first bytes say where the others go; what is beyond the end is refused by the seals.
    let Some((place, rest)) = bytes.split_at_checked(2) else { return };
    let place = u64::from(u16::from_le_bytes([place[0], place[1]])) * 8;
    let _ = ring.write_all_at(rest, place);
    reader.drain(|event| drop(format!("{event:?}")));
    let _ = reader.lost();
});
