//! Headers: encoding, decoding in pieces, faults, typed values.

use nssight_sigul::header::{Decoder, FieldError, Header, HeaderError, HeaderFault, LONGEST, PairError};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

fn header(pairs: &[(&str, &[u8])]) -> Header {
    let mut header = Header::new();
    for (key, value) in pairs {
        header.insert(key, value).unwrap();
    }
    header
}

fn fault(bytes: &[u8]) -> HeaderError {
    Decoder::new().next(&mut &*bytes).expect_err("it should be refused")
}

/// Feeds `bytes` in pieces of `size`; returns the result and the number of bytes left over.
fn decode(bytes: &[u8], size: usize) -> (Result<Option<Header>, HeaderError>, usize) {
    let mut decoder = Decoder::new();
    let mut done = 0;
    for piece in bytes.chunks(size) {
        let mut input = piece;
        match decoder.next(&mut input) {
            Ok(None) => assert!(input.is_empty()),
            other => return (other, bytes.len() - done - piece.len() + input.len()),
        }
        done += piece.len();
    }
    (Ok(None), 0)
}

proptest! {
    #[test]
    fn a_header_survives_in_any_pieces(
        pairs in btree_map("[ -~]{1,255}", vec(any::<u8>(), 0..256), 0..12),
        size in 1_usize..300,
        tail in vec(any::<u8>(), 0..9),
    ) {
        let mut header = Header::new();
        for (key, value) in pairs.iter().rev() {
            header.insert(key, value).unwrap();
        }
        let encoded = header.encode();
        let wire = [encoded.as_slice(), &tail].concat();
        let (decoded, left) = decode(&wire, size);
        prop_assert_eq!(decoded.clone(), Ok(Some(header)));
        prop_assert_eq!(left, tail.len());
        prop_assert_eq!(decoded.unwrap().unwrap().encode(), encoded);
    }

    #[test]
    fn fragmentation_does_not_change_the_result_of_hostile_bytes(
        bytes in vec(prop_oneof![0_u8..4, Just(b'a'), Just(b'b'), any::<u8>()], 0..80),
        size in 1_usize..9,
    ) {
        prop_assert_eq!(decode(&bytes, size).0, decode(&bytes, 1_000).0);
    }
}

#[test]
fn the_wire_is_as_described() {
    let header = header(&[("op", b"list-users"), ("e", b"")]);
    assert_eq!(header.encode().as_slice(), b"\x02\x02op\x0alist-users\x01e\x00");
    assert_eq!(Header::new().encode().as_slice(), [0]);
    let mut input = [0, 7].as_slice();
    assert_eq!(Decoder::new().next(&mut input), Ok(Some(Header::new())));
    assert_eq!(input, [7]);
}

#[test]
fn a_decoder_reads_one_header_after_the_other() {
    let (first, second) = (header(&[("a", b"1")]), header(&[("a", b"2"), ("b", b"")]));
    let wire = [first.encode().as_slice(), second.encode().as_slice()].concat();
    let (mut decoder, mut input) = (Decoder::new(), wire.as_slice());
    assert_eq!(decoder.next(&mut input), Ok(Some(first)));
    assert_eq!(decoder.next(&mut input), Ok(Some(second)));
    assert_eq!((decoder.next(&mut input), decoder.consumed()), (Ok(None), 0));
}

#[test]
fn faults_are_named_with_their_place() {
    assert_eq!(fault(b"\x01\x00"), HeaderError { offset: 1, fault: HeaderFault::KeyEmpty });
    assert_eq!(fault(b"\x01\x03a\nb\x00"), HeaderError { offset: 3, fault: HeaderFault::KeyNotPrintable(b'\n') });
    let twice = fault(b"\x02\x02op\x01x\x02op\x01y");
    assert_eq!(twice, HeaderError { offset: 7, fault: HeaderFault::KeyTwice("op".to_owned()) });
    assert_eq!(twice.to_string(), "at byte 7 of the header: duplicate key \"op\"");
    let mut decoder = Decoder::new();
    let first = decoder.next(&mut b"\x01\x00".as_slice());
    assert_eq!(decoder.next(&mut b"".as_slice()), first);
    assert_eq!(decoder.next(&mut b"\x00".as_slice()), first);
}

#[test]
fn a_header_refuses_pairs_that_do_not_fit() {
    let mut header = header(&[("a", b"1")]);
    let before = header.encode();
    assert_eq!(header.insert("", b""), Err(PairError::KeyEmpty));
    assert_eq!(header.insert(&"k".repeat(256), b""), Err(PairError::KeyTooLong(256)));
    assert_eq!(header.insert("ö", b""), Err(PairError::KeyNotPrintable));
    assert_eq!(header.insert("a", b"2"), Err(PairError::KeyTwice("a".to_owned())));
    assert_eq!(header.insert("b", &[0; 256]), Err(PairError::ValueTooLong { key: "b".to_owned(), length: 256 }));
    assert_eq!(header.encode(), before);
    let mut full = Header::new();
    for number in 0..255 {
        full.insert(&format!("{number:0>255}"), &[0; 255]).unwrap();
    }
    assert_eq!(full.insert("one more", b""), Err(PairError::Full));
    let encoded = full.encode();
    assert_eq!(encoded.len(), LONGEST);
    assert_eq!(decode(&encoded, 4092), (Ok(Some(full)), 0));
}

#[test]
fn values_have_types() {
    let header =
        header(&[("yes", &[1]), ("no", &[0]), ("two", &[2]), ("n", &[0, 0, 1, 2]), ("t", b"a b"), ("raw", b"\xff")]);
    assert_eq!((header.bool("yes"), header.bool("no")), (Ok(true), Ok(false)));
    assert_eq!(header.bool("two"), Err(FieldError::NotBool("two".to_owned())));
    assert_eq!(header.bool("n"), Err(FieldError::NotBool("n".to_owned())));
    assert_eq!(header.u32("n"), Ok(258));
    assert_eq!(header.u32("yes"), Err(FieldError::NotNumber("yes".to_owned())));
    assert_eq!(header.str("t"), Ok("a b"));
    assert_eq!(header.str("raw"), Err(FieldError::NotText("raw".to_owned())));
    assert_eq!(header.str("none"), Err(FieldError::Missing("none".to_owned())));
    assert_eq!((header.get("raw"), header.len(), header.is_empty()), (Some([0xff].as_slice()), 6, false));
}

#[test]
fn debug_shows_no_values() {
    let shown = format!("{:?}", header(&[("password", b"hunter2")]));
    assert_eq!(shown, r#"{"password": "7 bytes"}"#);
}
