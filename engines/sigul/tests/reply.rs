//! Replies: their bytes, their HMACs, and where a broken one stops.

use nssight_sigul::header::{FieldError, Header, HeaderError};
use nssight_sigul::reply::{
    Decoder, ErrorCode, Event, NamesError, Part, Reply, ReplyError, ReplyKeys, key_names, user_names,
};
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u64 = 10_000;

fn keys() -> ReplyKeys {
    ReplyKeys::new(&[1; 64], &[2; 64])
}

fn users(names: &[u8], number: u32) -> Reply {
    let mut reply = Reply::new(ErrorCode::OK);
    reply.header.insert("num-users", &number.to_be_bytes()).unwrap();
    reply.payload = names.to_vec();
    reply
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    head: Option<(ErrorCode, Header)>,
    payload: Vec<u8>,
    authentic: bool,
}

fn feed(decoder: &mut Decoder, wire: &[u8], size: usize) -> Result<Seen, ReplyError> {
    let mut seen = Seen::default();
    for piece in wire.chunks(size) {
        let mut input = piece;
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Head { code, header } => seen.head = Some((code, header)),
                Event::Payload(bytes) => seen.payload.extend_from_slice(bytes),
                Event::Authentic => seen.authentic = true,
            }
        }
        assert!(input.is_empty());
    }
    Ok(seen)
}

fn decode(wire: &[u8], size: usize) -> Result<Seen, ReplyError> {
    let mut decoder = Decoder::new(keys(), LIMIT);
    let seen = feed(&mut decoder, wire, size)?;
    decoder.end_of_stream()?;
    assert!(seen.authentic, "a reply that is not authentic is not whole");
    Ok(seen)
}

fn openssl_hmac(key: &[u8], bytes: &[u8]) -> Vec<u8> {
    let key = PKey::hmac(key).unwrap();
    Signer::new(MessageDigest::sha512(), &key).unwrap().sign_oneshot_to_vec(bytes).unwrap()
}

#[test]
fn the_wire_is_as_described() {
    let wire = users(b"ann\0bob\0", 2).encode(&keys());
    let head = b"\0\0\0\0\x01\x09num-users\x04\0\0\0\x02";
    let expected = [
        head.as_slice(),
        &openssl_hmac(&[1; 64], head),
        &8_u64.to_be_bytes(),
        b"ann\0bob\0",
        &openssl_hmac(&[2; 64], b"ann\0bob\0"),
    ];
    assert_eq!(wire, expected.concat());
    let seen = decode(&wire, 11).unwrap();
    let (code, header) = seen.head.unwrap();
    assert!(code.is_ok());
    assert_eq!(user_names(&header, &seen.payload), Ok(vec!["ann", "bob"]));
}

#[test]
fn a_refusal_is_authenticated_too() {
    let seen = decode(&Reply::new(ErrorCode::AUTHENTICATION_FAILED).encode(&keys()), 3).unwrap();
    let (code, _) = seen.head.unwrap();
    assert_eq!((code.name(), code.is_ok()), (Some("authentication-failed"), false));
}

#[test]
fn a_truncated_reply_reports_the_part_that_is_incomplete() {
    let wire = users(b"ann\0", 1).encode(&keys());
    let ends = [
        (4, Part::ErrorCode),
        (20, Part::Header),
        (84, Part::HeaderHmac),
        (92, Part::Length),
        (96, Part::Payload),
        (160, Part::PayloadHmac),
    ];
    assert_eq!(wire.len(), 160);
    for length in 0..wire.len() {
        let part = ends.iter().find(|(end, _)| length < *end).unwrap().1;
        let expected = ReplyError::Truncated { part, consumed: length as u64 };
        let mut decoder = Decoder::new(keys(), LIMIT);
        feed(&mut decoder, &wire[..length], 9).unwrap();
        assert_eq!((decoder.end_of_stream(), decoder.connection_closed()), (Err(expected.clone()), expected));
    }
    let mut decoder = Decoder::new(keys(), LIMIT);
    feed(&mut decoder, &wire, 160).unwrap();
    assert_eq!(decoder.connection_closed(), ReplyError::Truncated { part: Part::EndOfStream, consumed: 160 });
    assert_eq!(decoder.end_of_stream(), Ok(()));
    assert_eq!(feed(&mut decoder, &[0], 1), Err(ReplyError::TrailingData));
    assert_eq!(decoder.end_of_stream(), Err(ReplyError::TrailingData));
}

#[test]
fn a_reply_changed_anywhere_is_not_accepted() {
    let wire = users(b"ann\0", 1).encode(&keys());
    for index in 0..wire.len() {
        for bit in 0..8 {
            let mut changed = wire.clone();
            changed[index] ^= 1 << bit;
            let error = decode(&changed, 160).expect_err("a changed reply");
            match index {
                0..4 => assert!(matches!(error, ReplyError::HeaderTampered { claimed } if !claimed.is_ok())),
                // The number of pairs and the lengths: the bytes after them are read as another field.
                4 | 5 | 15 => assert!(
                    matches!(
                        error,
                        ReplyError::Header(_) | ReplyError::HeaderTampered { .. } | ReplyError::Truncated { .. }
                    ),
                    "{index}: {error}"
                ),
                6..15 => {
                    assert!(matches!(error, ReplyError::Header(HeaderError { .. }) | ReplyError::HeaderTampered { .. }))
                }
                16..84 => assert_eq!(error, ReplyError::HeaderTampered { claimed: ErrorCode::OK }),
                84..92 => assert!(matches!(
                    error,
                    ReplyError::PayloadTooLong { .. }
                        | ReplyError::Truncated { .. }
                        | ReplyError::PayloadTampered
                        | ReplyError::TrailingData
                )),
                _ => assert_eq!(error, ReplyError::PayloadTampered),
            }
        }
    }
    let others = users(b"ann\0", 1).encode(&ReplyKeys::new(&[3; 64], &[2; 64]));
    assert_eq!(decode(&others, 160), Err(ReplyError::HeaderTampered { claimed: ErrorCode::OK }));
}

#[test]
fn a_payload_above_the_limit_is_refused_before_it_arrives() {
    let mut reply = users(b"", 0);
    reply.payload = vec![0; LIMIT as usize + 1];
    let wire = reply.encode(&keys());
    let expected = ReplyError::PayloadTooLong { length: LIMIT + 1, limit: LIMIT };
    assert_eq!(decode(&wire[..92], 92), Err(expected));
}

#[test]
fn every_documented_code_has_a_name_of_its_own() {
    let mut names: Vec<&str> = (0..=16).map(|code| ErrorCode(code).name().expect("a documented code")).collect();
    assert_eq!(
        (names[0], names[3], names[9], names[16]),
        ("ok", "authentication-failed", "unknown-error", "unsupported-key-type")
    );
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), 17);
    assert_eq!((ErrorCode(17).name(), ErrorCode(17).to_string()), (None, "17".to_owned()));
    assert_eq!(ErrorCode(5).to_string(), "5 (user-not-found)");
    assert!(ErrorCode(u32::MAX).meaning().contains("unknown"));
}

#[test]
fn a_list_of_names_must_agree_with_its_number() {
    let parse =
        |payload: &[u8], number| user_names(&users(payload, number).header, payload).map(|names| names.join(","));
    assert_eq!(parse(b"", 0), Ok(String::new()));
    assert_eq!(parse(b"ann\0", 1), Ok("ann".to_owned()));
    assert_eq!(parse(b"ann\0", 2), Err(NamesError::Count { announced: 2, found: 1 }));
    assert_eq!(parse(b"ann\0", u32::MAX), Err(NamesError::Count { announced: u32::MAX, found: 1 }));
    assert_eq!(parse(b"ann\0bob", 2), Err(NamesError::NotTerminated));
    assert_eq!(parse(b"ann\0\0", 2), Err(NamesError::BadName(2)));
    assert_eq!(parse(b"a\x1bn\0", 1), Err(NamesError::BadName(1)));
    let missing = key_names(&users(b"", 0).header, b"");
    assert_eq!(missing, Err(NamesError::Field(FieldError::Missing("num-keys".to_owned()))));
}

proptest! {
    #[test]
    fn a_reply_survives_in_any_pieces(
        code in any::<u32>(),
        value in vec(any::<u8>(), 0..256),
        payload in vec(any::<u8>(), 0..5_000),
        size in 1_usize..5_000,
    ) {
        let mut reply = Reply::new(ErrorCode(code));
        reply.header.insert("value", &value).unwrap();
        reply.payload = payload;
        let seen = decode(&reply.encode(&keys()), size).unwrap();
        prop_assert_eq!(seen.head, Some((reply.code, reply.header)));
        prop_assert_eq!(seen.payload, reply.payload);
    }
}
