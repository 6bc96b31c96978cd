//! Splitting and combining the two streams.

use nssight_sigul::chunk::{ChunkError, Combiner, Event, HEAD, LONGEST_SENT, Position, Splitter, Stream, StreamEnded};
use proptest::collection::vec;
use proptest::prelude::*;

/// The output of a splitter: the bytes of both streams, and the order of their ends.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    outer: Vec<u8>,
    inner: Vec<u8>,
    ends: Vec<Stream>,
    error: Option<ChunkError>,
}

fn split(splitter: &mut Splitter, pieces: &[&[u8]]) -> Seen {
    let mut seen = Seen::default();
    for piece in pieces {
        let mut input = *piece;
        loop {
            match splitter.next(&mut input) {
                Ok(Some(Event::Data(Stream::Outer, data))) => seen.outer.extend_from_slice(data),
                Ok(Some(Event::Data(Stream::Inner, data))) => seen.inner.extend_from_slice(data),
                Ok(Some(Event::End(stream))) => seen.ends.push(stream),
                Ok(None) => break,
                Err(error) => {
                    seen.error = Some(error);
                    return seen;
                }
            }
        }
        assert!(input.is_empty(), "a splitter without fault takes everything");
    }
    seen
}

fn pieces<'a>(wire: &'a [u8], cuts: &[usize]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<usize> = cuts.iter().map(|cut| cut % (wire.len() + 1)).collect();
    cuts.extend([0, wire.len()]);
    cuts.sort_unstable();
    cuts.windows(2).map(|pair| &wire[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn combined_streams_are_split_again_at_any_boundaries(
        parts in vec((any::<bool>(), vec(any::<u8>(), 0..9_000)), 0..6),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let (mut combiner, mut wire, mut expected) = (Combiner::new(), Vec::new(), Seen::default());
        for (inner, data) in &parts {
            let stream = if *inner { Stream::Inner } else { Stream::Outer };
            combiner.data(stream, data, &mut wire).unwrap();
            if *inner { expected.inner.extend(data) } else { expected.outer.extend(data) }
        }
        for stream in [Stream::Inner, Stream::Outer] {
            combiner.end(stream, &mut wire).unwrap();
            expected.ends.push(stream);
        }
        let mut splitter = Splitter::with_limit((LONGEST_SENT - HEAD) as u32);
        prop_assert_eq!(split(&mut splitter, &pieces(&wire, &cuts)), expected);
        prop_assert_eq!(splitter.position(), Position::Between);
        prop_assert_eq!(splitter.consumed(), wire.len() as u64);
    }

    #[test]
    fn fragmentation_does_not_change_the_result_of_hostile_bytes(
        wire in vec(prop_oneof![Just(0), Just(0x80), 0_u8..9, any::<u8>()], 0..200),
        cuts in vec(any::<usize>(), 0..40),
    ) {
        let whole = split(&mut Splitter::with_limit(600), &[&wire]);
        let cut = split(&mut Splitter::with_limit(600), &pieces(&wire, &cuts));
        prop_assert_eq!(whole, cut);
    }
}

#[test]
fn the_wire_is_as_observed() {
    let mut wire = Vec::new();
    let mut combiner = Combiner::new();
    combiner.data(Stream::Inner, &[0xab; 0x734], &mut wire).unwrap();
    assert_eq!(wire[..5], [0x80, 0x00, 0x07, 0x34, 0xab]);
    wire.clear();
    combiner.data(Stream::Outer, b"", &mut wire).unwrap();
    assert!(wire.is_empty());
    combiner.data(Stream::Outer, &[1; 4093], &mut wire).unwrap();
    assert_eq!(
        (wire.len(), &wire[..4], &wire[4096..]),
        (4101, [0, 0, 0x0f, 0xfc].as_slice(), [0, 0, 0, 1, 1].as_slice())
    );
    wire.clear();
    combiner.end(Stream::Outer, &mut wire).unwrap();
    combiner.end(Stream::Inner, &mut wire).unwrap();
    assert_eq!(wire, [0, 0, 0, 0, 0x80, 0, 0, 0]);
    assert_eq!(combiner.data(Stream::Outer, b"x", &mut wire), Err(StreamEnded(Stream::Outer)));
    assert_eq!(combiner.end(Stream::Inner, &mut wire), Err(StreamEnded(Stream::Inner)));
    assert_eq!(wire.len(), 8);
}

#[test]
fn nothing_may_follow_the_end_of_a_stream() {
    let mut splitter = Splitter::new();
    let seen = split(&mut splitter, &[&[0, 0, 0, 0, 0x80, 0, 0, 1, 7, 0, 0, 0, 2, 1, 1]]);
    let after = ChunkError::DataAfterEnd { stream: Stream::Outer, length: 2, offset: 9 };
    assert_eq!((seen.inner.as_slice(), &seen.error), ([7].as_slice(), &Some(after)));
    assert!(splitter.ended(Stream::Outer) && !splitter.ended(Stream::Inner));
    assert_eq!(splitter.next(&mut [0, 0].as_slice()), Err(after));
    assert_eq!(after.to_string(), "at byte 9: 2 bytes of the outer stream after its end");
    let twice = split(&mut Splitter::new(), &[&[0x80, 0, 0, 0], &[0x80, 0, 0, 0]]);
    assert_eq!(twice.error, Some(ChunkError::EndAfterEnd { stream: Stream::Inner, offset: 4 }));
}

#[test]
fn a_chunk_above_the_limit_is_refused_at_its_head() {
    let seen = split(&mut Splitter::with_limit(3), &[&[0, 0, 0, 3, 1, 2, 3, 0xff, 0xff, 0xff, 0xff, 9]]);
    assert_eq!(seen.outer, [1, 2, 3]);
    let error = ChunkError::TooLong { stream: Stream::Inner, length: 0x7fff_ffff, limit: 3, offset: 7 };
    assert_eq!(seen.error, Some(error));
}

#[test]
fn the_position_shows_what_a_closed_connection_cut_off() {
    let mut splitter = Splitter::new();
    split(&mut splitter, &[&[0x80, 0, 0]]);
    assert_eq!(splitter.position(), Position::InHead(3));
    split(&mut splitter, &[&[5, 1, 2]]);
    assert_eq!(splitter.position(), Position::InData(Stream::Inner, 3));
    split(&mut splitter, &[&[3, 4, 5]]);
    assert_eq!(splitter.position(), Position::Between);
}
