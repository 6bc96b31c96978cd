//! Requests: their bytes, what a bridge refuses, what a server checks.

use nssight_sigul::header::{FieldError, Header, HeaderError, HeaderFault, PairError};
use nssight_sigul::reply::ReplyKeys;
use nssight_sigul::request::{
    Decoder, Event, Head, OPERATIONS, Part, Rejection, Request, RequestError, Unverified, Verified,
};
use openssl::sha::sha512;
use proptest::collection::vec;
use proptest::prelude::*;

const LIMIT: u64 = 10_000;

fn keys() -> ReplyKeys {
    ReplyKeys::new(&[1; 64], &[2; 64])
}

type Whole = (Option<Head>, Vec<u8>, Option<[u8; 64]>);

fn decode(wire: &[u8], size: usize) -> Result<Whole, RequestError> {
    let mut decoder = Decoder::new(LIMIT);
    let mut whole: Whole = (None, Vec::new(), None);
    for piece in wire.chunks(size) {
        let mut input = piece;
        while let Some(event) = decoder.next(&mut input)? {
            match event {
                Event::Head(head) => whole.0 = Some(head),
                Event::Payload(bytes) => whole.1.extend_from_slice(bytes),
                Event::End { payload_sha512 } => whole.2 = Some(payload_sha512),
            }
        }
        assert!(input.is_empty());
    }
    decoder.end_of_stream().map(|()| whole)
}

fn head(request: &Request) -> (Head, [u8; 64]) {
    let (head, _, digest) = decode(&request.outer(), 7).unwrap();
    (head.unwrap(), digest.unwrap())
}

fn rejection(request: &Request) -> Rejection {
    head(request).0.validate().expect_err("a bridge should refuse it")
}

fn verify(request: &Request, secrets: &Header) -> Result<Verified, Unverified> {
    let (head, digest) = head(request);
    head.verify(&digest, secrets)
}

/// `secrets` with one value changed or, without a value, left out.
fn changed(secrets: &Header, key: &str, value: Option<&[u8]>) -> Header {
    let mut out = Header::new();
    for (name, old) in secrets.iter() {
        match value {
            None if name == key => {}
            Some(new) if name == key => out.insert(name, new).unwrap(),
            _ => out.insert(name, old).unwrap(),
        }
    }
    out
}

#[test]
fn list_users_is_on_the_wire_as_described() {
    let request = Request::list_users("ann").unwrap();
    let expected = b"\0\0\0\x01\x02\x02op\x0alist-users\x04user\x03ann\0\0\0\0\0\0\0\0";
    assert_eq!(request.outer(), expected);
    let secrets = request.secrets(&keys(), Some(b"pw")).unwrap();
    let before_the_length = &expected[..expected.len() - 8];
    assert_eq!(secrets.get("header-auth-sha512"), Some(sha512(before_the_length).as_slice()));
    assert_eq!(secrets.get("payload-auth-sha512"), Some(sha512(b"").as_slice()));
    assert_eq!(secrets.get("header-auth-key"), Some([1; 64].as_slice()));
    assert_eq!(secrets.get("payload-auth-key"), Some([2; 64].as_slice()));
    assert_eq!(secrets.get("password"), Some(b"pw".as_slice()));
    assert_eq!(request.secrets(&keys(), None).unwrap().get("password"), None);
    let long = request.secrets(&keys(), Some(&[b'x'; 256])).unwrap_err();
    assert_eq!(long, PairError::ValueTooLong { key: "password".to_owned(), length: 256 });
}

#[test]
fn a_bridge_passes_on_what_it_knows() {
    for operation in OPERATIONS {
        let mut request = Request::new(operation.name, "ann").unwrap();
        for field in operation.fields.iter().filter(|field| field.required) {
            request = request.with_field(field.key, b"x").unwrap();
        }
        assert_eq!(head(&request).0.validate(), Ok(operation));
        let with_payload = head(&request.with_payload(vec![1])).0.validate();
        assert_eq!(with_payload.is_ok(), operation.payload, "{}", operation.name);
    }
    let names: Vec<&str> = OPERATIONS.iter().map(|operation| operation.name).collect();
    for name in ["list-users", "list-keys", "user-info"] {
        assert!(names.contains(&name));
    }
    let admin = Request::new("new-user", "ann").unwrap().with_field("name", b"bob").unwrap();
    assert!(head(&admin.clone().with_field("admin", &[1]).unwrap()).0.validate().is_ok());
    let two = admin.with_field("admin", &[2]).unwrap();
    assert_eq!(rejection(&two), Rejection::Field(FieldError::NotBool("admin".to_owned())));
}

#[test]
fn a_bridge_refuses_what_it_does_not_expect() {
    let list = || Request::list_users("ann").unwrap();
    let unexpected = Rejection::UnexpectedField { op: "list-users", key: "name".to_owned() };
    assert_eq!(rejection(&list().with_field("name", b"bob").unwrap()), unexpected);
    let payload = Rejection::UnexpectedPayload { op: "list-users", length: 3 };
    assert_eq!(rejection(&list().with_payload(b"abc".to_vec())), payload);
    let unknown = Rejection::UnknownOperation("list-cats".to_owned());
    assert_eq!(rejection(&Request::new("list-cats", "ann").unwrap()), unknown);
    let user = Rejection::Field(FieldError::NotText("user".to_owned()));
    assert_eq!(rejection(&Request::list_users("a\nb").unwrap()), user);
    assert_eq!(rejection(&Request::list_users("bøb").unwrap()), user);
    let name = Rejection::Field(FieldError::Missing("name".to_owned()));
    assert_eq!(rejection(&Request::new("user-info", "ann").unwrap()), name);
    let (no_op, ..) = decode(b"\0\0\0\x01\x01\x04user\x01a\0\0\0\0\0\0\0\0", 99).unwrap();
    let missing = no_op.unwrap().validate();
    assert_eq!(missing, Err(Rejection::Field(FieldError::Missing("op".to_owned()))));
}

#[test]
fn bytes_that_are_no_request_are_named() {
    let good = Request::new("sign-data", "ann").unwrap().with_payload(vec![7; 20]).outer();
    let mut version = good.clone();
    version[3] = 2;
    assert_eq!(decode(&version, 99).unwrap_err(), RequestError::UnknownVersion(2));
    let key = decode(b"\0\0\0\x01\x01\0", 99).unwrap_err();
    assert_eq!(key, RequestError::Header(HeaderError { offset: 1, fault: HeaderFault::KeyEmpty }));
    let mut trailing = good.clone();
    trailing.push(0);
    assert_eq!(decode(&trailing, 99).unwrap_err(), RequestError::TrailingData);
    let huge = [b"\0\0\0\x01\0".as_slice(), &[0xff; 8]].concat();
    assert_eq!(decode(&huge, 99).unwrap_err(), RequestError::PayloadTooLong { length: u64::MAX, limit: LIMIT });
    for length in 0..good.len() {
        let part = match length {
            0..4 => Part::Version,
            _ if length >= good.len() - 20 => Part::Payload,
            _ if length >= good.len() - 28 => Part::Length,
            _ => Part::Header,
        };
        let expected = RequestError::Truncated { part, consumed: length as u64 };
        assert_eq!(decode(&good[..length], 5).unwrap_err(), expected);
    }
}

#[test]
fn a_server_accepts_only_what_the_inner_client_sent() {
    let request = Request::new("sign-data", "ann").unwrap().with_payload(b"text".to_vec());
    let secrets = request.secrets(&keys(), Some(b"pw")).unwrap();
    let verified = verify(&request, &secrets).expect("it is genuine");
    assert_eq!(verified.password.unwrap().as_slice(), b"pw");
    let header = Request::new("sign-text", "ann").unwrap().with_payload(b"text".to_vec());
    let payload = request.clone().with_payload(b"texT".to_vec());
    let error = |request: &Request, secrets: &Header| verify(request, secrets).err();
    assert_eq!(error(&header, &secrets), Some(Unverified::HeaderDiffers));
    assert_eq!(error(&payload, &secrets), Some(Unverified::PayloadDiffers));
    for key in ["header-auth-sha512", "payload-auth-sha512", "header-auth-key", "payload-auth-key"] {
        let missing = error(&request, &changed(&secrets, key, None));
        assert_eq!(missing, Some(Unverified::Field(FieldError::Missing(key.to_owned()))));
        let short = error(&request, &changed(&secrets, key, Some(&[0; 63]))).unwrap();
        let expected = if key.ends_with("key") {
            Unverified::KeyLength { key, length: 63 }
        } else {
            Unverified::DigestLength { key, length: 63 }
        };
        assert_eq!(short, expected);
    }
    let without = verify(&request, &changed(&secrets, "password", None)).expect("a password is optional");
    assert!(without.password.is_none());
}

proptest! {
    #[test]
    fn a_request_survives_in_any_pieces(
        value in vec(any::<u8>(), 0..256),
        payload in vec(any::<u8>(), 0..5_000),
        size in 1_usize..5_000,
    ) {
        let request = Request::new("any", "ann").unwrap().with_field("value", &value).unwrap().with_payload(payload.clone());
        let (head, arrived, digest) = decode(&request.outer(), size).unwrap();
        let head = head.unwrap();
        prop_assert_eq!(head.header.get("value"), Some(value.as_slice()));
        prop_assert_eq!(head.payload_length, payload.len() as u64);
        prop_assert_eq!(digest, Some(sha512(&payload)));
        prop_assert_eq!(arrived, payload);
        let secrets = request.secrets(&keys(), None).unwrap();
        prop_assert!(head.verify(&digest.unwrap(), &secrets).is_ok());
    }
}
