//! Handshake messages and alerts, as far as they describe a client's session (RFC 8446, 4; RFC 5246, 7.4).

use nssight_session::CaName;

use crate::record::{ALERT, HANDSHAKE};

const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const CERTIFICATE_REQUEST: u8 = 13;
pub(crate) const FINISHED: u8 = 20;
pub(crate) const KEY_UPDATE: u8 = 24;

/// Longer messages are skipped: no certificate chain in use is that long.
const MESSAGE_AT_MOST: usize = 256 * 1024;
/// Maximum number of messages reported for one direction.
const MESSAGES_AT_MOST: usize = 1000;
/// Maximum number of CA names kept from a request.
const NAMES_AT_MOST: usize = 1000;
/// Extensions (RFC 8446, 4.2).
const SUPPORTED_VERSIONS: u16 = 43;
const CERTIFICATE_AUTHORITIES: u16 = 47;

/// A handshake message or an alert.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Message {
    /// Its type and body.
    Handshake(u8, Vec<u8>),
    /// Level and description.
    Alert(u8, u8),
}

/// The parameters that a ServerHello selects.
pub(crate) struct Hello {
    pub(crate) version: u16,
    pub(crate) suite: u16,
}

impl Message {
    pub(crate) fn server_hello(&self) -> Option<Hello> {
        let Self::Handshake(SERVER_HELLO, body) = self else { return None };
        let mut bytes = Bytes(body);
        let version = bytes.u16()?;
        bytes.take(32)?;
        bytes.vector8()?;
        let suite = bytes.u16()?;
        bytes.take(1)?;
        let mut extensions = Bytes(bytes.vector16().unwrap_or_default());
        let mut chosen = None;
        while let (Some(kind), Some(body)) = (extensions.u16(), extensions.vector16()) {
            if kind == SUPPORTED_VERSIONS {
                chosen = Bytes(body).u16();
            }
        }
        Some(Hello { version: chosen.unwrap_or(version), suite })
    }

    /// The certificates of a Certificate message, leaf first; an empty one has none.
    pub(crate) fn certificates(&self, is_13: bool) -> Option<Vec<Vec<u8>>> {
        let Self::Handshake(CERTIFICATE, body) = self else { return None };
        let mut bytes = Bytes(body);
        if is_13 {
            bytes.vector8()?;
        }
        let mut list = Bytes(bytes.vector24()?);
        let mut all = Vec::new();
        while let Some(der) = list.vector24() {
            all.push(der.to_vec());
            if is_13 {
                list.vector16()?;
            }
        }
        Some(all)
    }

    /// The names of the CAs that a CertificateRequest accepts.
    pub(crate) fn authorities(&self, is_13: bool) -> Option<Vec<CaName>> {
        let Self::Handshake(CERTIFICATE_REQUEST, body) = self else { return None };
        let mut bytes = Bytes(body);
        bytes.vector8()?;
        let names = if is_13 {
            let mut extensions = Bytes(bytes.vector16().unwrap_or_default());
            let mut names = None;
            while let (Some(kind), Some(body)) = (extensions.u16(), extensions.vector16()) {
                if kind == CERTIFICATE_AUTHORITIES {
                    names = Bytes(body).vector16();
                }
            }
            names.unwrap_or_default()
        } else {
            // Skips the signature algorithms. TLS 1.1 has none, so its CA names are not read; peers that use it list few CAs.
            bytes.vector16()?;
            bytes.vector16().unwrap_or_default()
        };
        let mut list = Bytes(names);
        let mut all = Vec::new();
        while let (Some(der), true) = (list.vector16(), all.len() < NAMES_AT_MOST) {
            all.push(CaName { der: der.to_vec(), text: nssight_wire::name_from_der(der) });
        }
        Some(all)
    }
}

/// Puts messages together from fragments.
#[derive(Debug, Default, Clone)]
pub(crate) struct Reader {
    partial: Vec<u8>,
    /// Set after a message that is too long, since the messages after it cannot be found.
    is_lost: bool,
}

impl Reader {
    pub(crate) fn feed(&mut self, content: u8, fragment: &[u8], out: &mut Vec<Message>) {
        if out.len() >= MESSAGES_AT_MOST {
            return;
        }
        if content == ALERT {
            out.extend(fragment.chunks_exact(2).take(10).map(|alert| Message::Alert(alert[0], alert[1])));
        }
        if content != HANDSHAKE || self.is_lost {
            return;
        }
        self.partial.extend_from_slice(fragment);
        let mut at = 0;
        loop {
            let mut rest = Bytes(self.partial.get(at..).unwrap_or_default());
            let Some(kind) = rest.take(1) else { break };
            let Some(length) = rest.u24() else { break };
            if length > MESSAGE_AT_MOST {
                self.is_lost = true;
                break;
            }
            let Some(body) = rest.take(length) else { break };
            out.push(Message::Handshake(kind[0], body.to_vec()));
            at += 4 + length;
        }
        self.partial.drain(..at);
    }
}

/// Reads from the front.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (front, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(front)
    }

    fn u16(&mut self) -> Option<u16> {
        Some(u16::from_be_bytes(self.take(2)?.try_into().ok()?))
    }

    fn u24(&mut self) -> Option<usize> {
        let bytes = self.take(3)?;
        Some(bytes.iter().fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    }

    fn vector8(&mut self) -> Option<&'a [u8]> {
        let length = self.take(1)?[0];
        self.take(length.into())
    }

    fn vector16(&mut self) -> Option<&'a [u8]> {
        let length = self.u16()?;
        self.take(length.into())
    }

    fn vector24(&mut self) -> Option<&'a [u8]> {
        let length = self.u24()?;
        self.take(length)
    }
}
