//! Distinguished names as text.

use std::fmt::Write as _;

use x509_parser::asn1_rs::{Any, Tag, ToDer as _};
use x509_parser::prelude::{AttributeTypeAndValue, FromDer as _, X509Name};

use crate::limits::MAX_NAME;

/// The keywords of RFC 4514 section 3, and `E`, which NSS prints for e-mail addresses.
const KEYWORDS: &[(&str, &str)] = &[
    ("2.5.4.3", "CN"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "STREET"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "E"),
];

/// The DER name `der` as an RFC 4514 string (most specific part first), safe to print: control and invisible
/// characters are escaped, and a name beyond the limit is cut off. Bytes that are not a name are reported as such.
pub fn name_from_der(der: &[u8]) -> String {
    match X509Name::from_der(der) {
        Ok(([], name)) => name_to_string(&name),
        _ => format!("(unreadable name, {} bytes)", der.len()),
    }
}

/// A parsed name as an RFC 4514 string.
pub(crate) fn name_to_string(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let mut out = String::new();
    for (position, part) in parts.iter().rev().enumerate() {
        for (index, attribute) in part.iter().enumerate() {
            if index > 0 {
                out.push('+');
            } else if position > 0 {
                out.push(',');
            }
            write_attribute(&mut out, attribute);
        }
        if out.len() > MAX_NAME {
            return format!("{}…", cut(&out, MAX_NAME));
        }
    }
    out
}

/// The start of `text`, at most `most` bytes.
pub(crate) fn cut(text: &str, most: usize) -> &str {
    let end = (0..=most.min(text.len())).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
    text.get(..end).unwrap_or_default()
}

fn write_attribute(out: &mut String, attribute: &AttributeTypeAndValue<'_>) {
    let oid = attribute.attr_type().to_id_string();
    let keyword = KEYWORDS.iter().find(|(known, _)| *known == oid).map(|(_, keyword)| *keyword);
    let _ = write!(out, "{}=", keyword.unwrap_or(&oid));
    // RFC 4514 section 2.4: a type without a keyword, and a value that is not a string, are given as the hexadecimal DER.
    match text(attribute.attr_value()) {
        Some(text) if keyword.is_some() => write_escaped(out, &text),
        _ => {
            out.push('#');
            for byte in attribute.attr_value().to_der_vec_raw().unwrap_or_default() {
                let _ = write!(out, "{byte:02x}");
            }
        }
    }
}

fn text(value: &Any<'_>) -> Option<String> {
    match value.tag() {
        Tag::Utf8String | Tag::PrintableString | Tag::Ia5String | Tag::NumericString | Tag::VisibleString => {
            std::str::from_utf8(value.data).ok().map(str::to_owned)
        }
        // Issuers have long put Latin-1 into T.61 strings.
        Tag::T61String => Some(value.data.iter().map(|byte| char::from(*byte)).collect()),
        Tag::BmpString => {
            let (pairs, rest) = value.data.as_chunks::<2>();
            let units = pairs.iter().map(|pair| u16::from_be_bytes(*pair));
            rest.is_empty().then(|| char::decode_utf16(units).collect::<Result<_, _>>().ok()).flatten()
        }
        _ => None,
    }
}

/// RFC 4514 section 2.4, and hexadecimal for what would be invisible or would look like something else.
fn write_escaped(out: &mut String, text: &str) {
    let last = text.chars().count().saturating_sub(1);
    for (index, character) in text.chars().enumerate() {
        match character {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => out.extend(['\\', character]),
            '#' if index == 0 => out.push_str("\\#"),
            ' ' if index == 0 || index == last => out.push_str("\\ "),
            _ if hides(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    let _ = write!(out, "\\{byte:02x}");
                }
            }
            _ => out.push(character),
        }
    }
}

/// Control characters, and those that have no width or change the reading direction (Unicode UAX 9).
pub(crate) fn hides(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        assert!(content.len() < 128);
        [&[tag, u8::try_from(content.len()).unwrap()], content].concat()
    }

    fn attribute(oid: &[u8], tag: u8, value: &[u8]) -> Vec<u8> {
        tlv(0x30, &[tlv(6, oid), tlv(tag, value)].concat())
    }

    const CN: &[u8] = &[0x55, 4, 3];
    const O: &[u8] = &[0x55, 4, 10];

    #[test]
    fn the_most_specific_part_comes_first_and_parts_of_one_set_are_joined() {
        let name = tlv(
            0x30,
            &[
                tlv(0x31, &attribute(O, 12, b"Koji")),
                tlv(0x31, &[attribute(CN, 12, b"bridge"), attribute(&[0x55, 4, 11], 12, b"signing")].concat()),
            ]
            .concat(),
        );
        assert_eq!(name_from_der(&name), "CN=bridge+OU=signing,O=Koji");
    }

    #[test]
    fn special_and_invisible_characters_are_escaped() {
        let value = " #a,b+c\"\\<>;\u{202e}d\n ";
        let name = tlv(0x30, &tlv(0x31, &attribute(CN, 12, value.as_bytes())));
        assert_eq!(name_from_der(&name), r#"CN=\ #a\,b\+c\"\\\<\>\;\e2\80\aed\0a\ "#);
        let name = tlv(0x30, &tlv(0x31, &attribute(CN, 12, b"#x")));
        assert_eq!(name_from_der(&name), r"CN=\#x");
    }

    #[test]
    fn types_without_a_keyword_and_values_that_are_no_string_are_hexadecimal() {
        let name = tlv(0x30, &tlv(0x31, &attribute(&[0x2a, 3], 12, b"Q")));
        assert_eq!(name_from_der(&name), "1.2.3=#0c0151");
        let name = tlv(0x30, &tlv(0x31, &attribute(CN, 4, b"\x01")));
        assert_eq!(name_from_der(&name), "CN=#040101");
    }

    #[test]
    fn old_string_types_are_read() {
        let name = tlv(0x30, &tlv(0x31, &attribute(CN, 20, b"M\xfcller")));
        assert_eq!(name_from_der(&name), "CN=Müller");
        let name = tlv(0x30, &tlv(0x31, &attribute(CN, 30, b"\0h\0i")));
        assert_eq!(name_from_der(&name), "CN=hi");
    }

    #[test]
    fn a_name_beyond_the_limit_is_cut_at_a_character() {
        let part = tlv(0x31, &attribute(O, 12, "é".repeat(50).as_bytes()));
        let parts = part.repeat(100);
        let name = [&[0x30, 0x82][..], &u16::try_from(parts.len()).unwrap().to_be_bytes(), &parts].concat();
        let text = name_from_der(&name);
        assert!(text.ends_with("é…") && text.len() <= MAX_NAME + "…".len(), "{} bytes", text.len());
        assert_eq!(cut("aé", 2), "a");
    }

    #[test]
    fn bytes_that_are_not_a_name_are_reported_as_such() {
        assert_eq!(name_from_der(b"\x30\x05abc"), "(unreadable name, 5 bytes)");
        assert_eq!(name_from_der(&tlv(0x30, &[])), "");
    }
}
