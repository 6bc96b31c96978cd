//! The header at the start of a connection to the bridge, and its acknowledgement.
//!
//! Both are measured on siguldry 0.8.0. Its structures have no fixed layout, and the compiler puts the single byte first: role, magic,
//! version; and status, session id. Its documentation has the byte last. The acknowledgement is accepted in either order: its session id is
//! a UUID of version 7 (RFC 9562, 5.7), which has a recognisable form.

use std::fmt::Write;

use nssight_diagnosis::fact::fact::SiguldryAcknowledgement as Ack;

const MAGIC: &[u8; 8] = b"SIGULDRY";
/// The version of the protocol that this module implements.
pub(super) const VERSION: u32 = 2;
const CLIENT: u8 = 0;
/// Bytes of an acknowledgement.
pub(super) const ACKNOWLEDGEMENT: usize = 17;

/// A client's header.
pub(super) fn of_client() -> Vec<u8> {
    [&[CLIENT], &MAGIC[..], &VERSION.to_be_bytes()].concat()
}

/// An acknowledgement.
pub(super) struct Acknowledged {
    /// The meaning of its status.
    pub(super) status: Ack,
    /// The number of the status.
    pub(super) number: u8,
    /// The session's id, in the notation of logs.
    pub(super) session: String,
}

/// Parses an acknowledgement; `None` if the bytes are not one.
pub(super) fn acknowledgement(bytes: &[u8; ACKNOWLEDGEMENT]) -> Option<Acknowledged> {
    let [first, behind @ ..] = bytes;
    let (before, last) = bytes.split_last_chunk::<1>()?;
    let before: [u8; 16] = before.try_into().ok()?;
    let (number, id) = match (is_session(behind), is_session(&before)) {
        (true, _) => (*first, *behind),
        (false, true) => (last[0], before),
        (false, false) => return None,
    };
    let status = match number {
        0 => Ack::Ok,
        1 => Ack::Version,
        2 => Ack::Role,
        3 => Ack::CommonName,
        4 => Ack::Magic,
        _ => Ack::Unknown,
    };
    Some(Acknowledged { status, number, session: uuid(&id) })
}

/// Version 7, and the variant of RFC 9562.
fn is_session(id: &[u8; 16]) -> bool {
    id[6] >> 4 == 7 && id[8] >> 6 == 0b10
}

fn uuid(id: &[u8; 16]) -> String {
    id.iter().enumerate().fold(String::new(), |mut text, (place, byte)| {
        if matches!(place, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        let _ = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::{Ack, acknowledgement, of_client};

    const ID: [u8; 16] = [1, 0xa2, 0x28, 5, 0xb7, 0xa5, 0x7c, 0xc2, 0x9b, 0x34, 0x8d, 0x5a, 0x36, 0x96, 8, 0x58];

    #[test]
    fn an_acknowledgement_is_read_with_its_status_at_either_end() {
        let status_first = [&[2][..], &ID].concat();
        let status_last = [&ID[..], &[2]].concat();
        for bytes in [status_first, status_last] {
            let read = acknowledgement(&bytes.try_into().unwrap()).unwrap();
            assert_eq!((read.status, read.number), (Ack::Role, 2));
            assert_eq!(read.session, "01a22805-b7a5-7cc2-9b34-8d5a36960858");
        }
        assert!(acknowledgement(b"HTTP/1.1 400 Bad ").is_none());
        assert_eq!(of_client(), b"\0SIGULDRY\0\0\0\x02");
    }
}
