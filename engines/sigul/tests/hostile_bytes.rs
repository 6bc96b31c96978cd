//! Arbitrary bytes cause errors, never a panic, and a decoder repeats the error that it returned.

use std::path::Path;

use nssight_sigul::config::{Layered, Role, SigulConfig, Surroundings, parse};
use nssight_sigul::reply::{self, ReplyKeys, user_names};
use nssight_sigul::{header::Header, request};
use proptest::collection::vec;
use proptest::prelude::*;

fn bytes() -> impl Strategy<Value = Vec<u8>> {
    // Mostly small numbers and letters, so that lengths and keys are plausible for a while.
    vec(prop_oneof![4 => 0_u8..4, 3 => b'a'..b'f', 1 => any::<u8>()], 0..400)
}

proptest! {
    #[test]
    fn a_configuration_of_any_bytes(mut file in vec(any::<u8>(), 0..300), sensible in any::<bool>()) {
        if sensible {
            file.retain(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace());
            file.splice(0..0, *b"[client]\n");
        }
        match parse(Path::new("x.conf"), &file) {
            Err(error) => prop_assert!(error.to_string().starts_with("x.conf:")),
            Ok(ini) => {
                let mut layers = Layered::new();
                layers.push(ini);
                if Role::of(&layers).is_ok() {
                    let faults = SigulConfig::read(&layers, &Surroundings::default()).unwrap_err();
                    prop_assert!(faults.iter().all(|fault| fault.to_string().lines().count() == 1));
                }
            }
        }
    }

    #[test]
    fn a_setting_of_any_text(text in "\\PC{0,40}") {
        let file = format!("[client]\nbridge-hostname: {text}\nbridge-port: {text}\nuser-name={text}\n[nss]\n\
            nss-dir:{text}\nnss-min-tls: {text}\nnss-password: {text}\n");
        if let Ok(ini) = parse(Path::new("x.conf"), file.as_bytes()) {
            let mut layers = Layered::new();
            layers.push(ini);
            let faults = SigulConfig::read(&layers, &Surroundings::default()).unwrap_err();
            prop_assert!(faults.iter().all(|fault| fault.to_string().lines().count() == 1));
        }
    }

    #[test]
    fn a_request_of_any_bytes(tail in bytes(), known in any::<bool>()) {
        let wire = if known { [b"\0\0\0\x01".as_slice(), &tail].concat() } else { tail };
        let mut decoder = request::Decoder::new(1_000);
        let mut input = wire.as_slice();
        let error = loop {
            match decoder.next(&mut input) {
                Ok(Some(request::Event::Head(head))) => drop(head.validate()),
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(error) => break Some(error),
            }
        };
        if let Some(error) = error {
            prop_assert_eq!(decoder.next(&mut [].as_slice()), Err(error.clone()));
            prop_assert_eq!(decoder.end_of_stream(), Err(error));
        } else {
            prop_assert!(input.is_empty());
        }
    }

    #[test]
    fn a_reply_of_any_bytes_is_never_authentic(wire in bytes()) {
        let mut decoder = reply::Decoder::new(ReplyKeys::new(&[7; 64], &[8; 64]), 1_000);
        let mut input = wire.as_slice();
        let result = decoder.next(&mut input);
        prop_assert!(matches!(result, Ok(None) | Err(_)));
        prop_assert!(decoder.end_of_stream().is_err());
    }

    #[test]
    fn a_list_of_names_of_any_bytes(payload in bytes(), number in 0_u32..9) {
        let mut header = Header::new();
        header.insert("num-users", &number.to_be_bytes()).unwrap();
        if let Ok(names) = user_names(&header, &payload) {
            prop_assert_eq!(names.len(), number as usize);
            prop_assert_eq!(names.iter().map(|name| name.len() + 1).sum::<usize>(), payload.len());
        }
    }
}
