//! Records of both directions, kept until their content is requested: the secrets of TLS 1.3 are known only after the records
//! that need them have arrived.

use crate::messages::{Message, Reader};
use crate::sealed::{Secrets, Suite, open};

/// Maximum number of bytes of encrypted records kept per direction; a handshake and what directly follows it take less.
const KEPT_AT_MOST: usize = 512 * 1024;
/// Maximum length of a record's fragment (RFC 5246, 6.2.3).
const FRAGMENT_AT_MOST: usize = (1 << 14) + 2048;
const HEADER: usize = 5;

/// Content types (RFC 8446, B.1).
pub(crate) const CHANGE_CIPHER_SPEC: u8 = 20;
pub(crate) const ALERT: u8 = 21;
pub(crate) const HANDSHAKE: u8 = 22;
pub(crate) const APPLICATION_DATA: u8 = 23;
/// `supported_versions` of ServerHello names TLS 1.3.
const TLS_13: u16 = 0x0304;

/// A record that is encrypted, as it was on the wire.
pub(crate) struct Sealed {
    pub(crate) header: [u8; HEADER],
    pub(crate) fragment: Vec<u8>,
}

#[derive(Default)]
struct Side {
    partial: Vec<u8>,
    plain: Reader,
    messages: Vec<Message>,
    sealed: Vec<Sealed>,
    kept: usize,
    /// Set by ChangeCipherSpec in TLS 1.2: what follows is encrypted.
    is_encrypted: bool,
    /// Set if the bytes are not TLS records.
    is_lost: bool,
}

impl Side {
    fn feed(&mut self, bytes: &[u8], is_13: bool) {
        if self.is_lost {
            return;
        }
        self.partial.extend_from_slice(bytes);
        let mut at = 0;
        while let Some(header) = self.partial.get(at..at + HEADER).and_then(|it| <[u8; HEADER]>::try_from(it).ok()) {
            let length = usize::from(u16::from_be_bytes([header[3], header[4]]));
            if length > FRAGMENT_AT_MOST {
                self.is_lost = true;
                break;
            }
            let from = at + HEADER;
            let Some(fragment) = self.partial.get(from..from + length).map(<[u8]>::to_vec) else { break };
            at = from + length;
            // A server sends its ServerHello and the encrypted records after it at once.
            let is_13 = is_13 || self.suite_of_13().is_some();
            self.record(header, fragment, is_13);
        }
        self.partial.drain(..at.min(self.partial.len()));
    }

    /// The suite of the ServerHello on this side, if its version is TLS 1.3.
    fn suite_of_13(&self) -> Option<Suite> {
        let hello = self.messages.iter().rev().find_map(Message::server_hello)?;
        (hello.version == TLS_13).then_some(Suite(hello.suite))
    }

    fn record(&mut self, header: [u8; HEADER], fragment: Vec<u8>, is_13: bool) {
        match header[0] {
            // In TLS 1.3 this record is only for middleboxes (RFC 8446, D.4).
            CHANGE_CIPHER_SPEC => self.is_encrypted |= !is_13,
            HANDSHAKE | ALERT if !self.is_encrypted => {
                self.plain.feed(header[0], &fragment, &mut self.messages);
            }
            APPLICATION_DATA if !self.is_encrypted && self.kept + fragment.len() <= KEPT_AT_MOST => {
                self.kept += fragment.len();
                self.sealed.push(Sealed { header, fragment });
            }
            _ => {}
        }
    }
}

/// Which side of the session is ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Part {
    Client,
    Server,
}

/// Both directions of one connection.
pub(crate) struct Records {
    ours: Part,
    sent: Side,
    received: Side,
}

impl Records {
    pub(crate) fn of(ours: Part) -> Self {
        Self { ours, sent: Side::default(), received: Side::default() }
    }

    pub(crate) fn sent(&mut self, bytes: &[u8]) {
        let is_13 = self.suite().is_some();
        self.sent.feed(bytes, is_13);
    }

    pub(crate) fn received(&mut self, bytes: &[u8]) {
        let is_13 = self.suite().is_some();
        self.received.feed(bytes, is_13);
    }

    /// The negotiated suite, if the version is TLS 1.3.
    fn suite(&self) -> Option<Suite> {
        let of_server = if self.ours == Part::Client { &self.received } else { &self.sent };
        of_server.suite_of_13()
    }

    /// The messages that the peer sent, in order: those in the clear, and those that the secrets decrypt.
    pub(crate) fn of_peer(&self, secrets: &Secrets) -> Vec<Message> {
        self.all(&self.received, if self.ours == Part::Client { &secrets.server } else { &secrets.client })
    }

    /// The messages that we sent.
    pub(crate) fn of_us(&self, secrets: &Secrets) -> Vec<Message> {
        self.all(&self.sent, if self.ours == Part::Client { &secrets.client } else { &secrets.server })
    }

    fn all(&self, side: &Side, secrets: &[Vec<u8>; 2]) -> Vec<Message> {
        let mut all = side.messages.clone();
        if let Some(suite) = self.suite() {
            open(&side.sealed, suite, secrets, &mut all);
        }
        all
    }
}
