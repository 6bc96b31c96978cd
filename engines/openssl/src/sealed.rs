//! Decrypts the records of TLS 1.3 with the secrets of the session (RFC 8446, 5.2 and 7.3). The secrets come from OpenSSL's key log
//! and stay in memory.

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::PKey;
use openssl::sign::Signer;
use openssl::symm::{Cipher, decrypt_aead};

use crate::messages::{FINISHED, KEY_UPDATE, Message, Reader};
use crate::record::Sealed;

const TAG: usize = 16;
const NONCE: usize = 12;

/// Secrets of both directions: for each, that of the handshake, then that of the data after it. Empty where not known.
#[derive(Default)]
pub(crate) struct Secrets {
    pub(crate) client: [Vec<u8>; 2],
    pub(crate) server: [Vec<u8>; 2],
}

impl Secrets {
    /// Reads a line of the key log (the format of `SSLKEYLOGFILE`).
    pub(crate) fn learn(&mut self, line: &str) {
        let mut words = line.split(' ');
        let (Some(label), Some(_random), Some(secret)) = (words.next(), words.next(), words.next()) else { return };
        let place = match label {
            "CLIENT_HANDSHAKE_TRAFFIC_SECRET" => &mut self.client[0],
            "CLIENT_TRAFFIC_SECRET_0" => &mut self.client[1],
            "SERVER_HANDSHAKE_TRAFFIC_SECRET" => &mut self.server[0],
            "SERVER_TRAFFIC_SECRET_0" => &mut self.server[1],
            _ => return,
        };
        let digits = |at: usize| secret.get(at..at + 2).and_then(|two| u8::from_str_radix(two, 16).ok());
        *place = (0..secret.len()).step_by(2).filter_map(digits).collect();
    }
}

/// A cipher suite of TLS 1.3 (RFC 8446, B.4).
#[derive(Clone, Copy)]
pub(crate) struct Suite(pub(crate) u16);

impl Suite {
    fn parts(self) -> Option<(Cipher, MessageDigest)> {
        Some(match self.0 {
            0x1301 => (Cipher::aes_128_gcm(), MessageDigest::sha256()),
            0x1302 => (Cipher::aes_256_gcm(), MessageDigest::sha384()),
            0x1303 => (Cipher::chacha20_poly1305(), MessageDigest::sha256()),
            _ => return None,
        })
    }
}

/// HKDF-Expand-Label without context; the output is never longer than the hash (RFC 8446, 7.1).
fn expand(secret: &[u8], label: &str, length: usize, hash: MessageDigest) -> Result<Vec<u8>, ErrorStack> {
    let label = format!("tls13 {label}");
    let (wanted, label_length) = (u16::try_from(length).unwrap_or(0), u8::try_from(label.len()).unwrap_or(0));
    let info = [&wanted.to_be_bytes()[..], &[label_length], label.as_bytes(), &[0, 1]].concat();
    let key = PKey::hmac(secret)?;
    let mut block = Signer::new(hash, &key)?.sign_oneshot_to_vec(&info)?;
    block.truncate(length);
    Ok(block)
}

struct Keys {
    secret: Vec<u8>,
    key: Vec<u8>,
    iv: Vec<u8>,
    sequence: u64,
}

impl Keys {
    fn of(secret: &[u8], (cipher, hash): (Cipher, MessageDigest)) -> Option<Self> {
        if secret.is_empty() {
            return None;
        }
        let key = expand(secret, "key", cipher.key_len(), hash).ok()?;
        let iv = expand(secret, "iv", NONCE, hash).ok()?;
        Some(Self { secret: secret.to_vec(), key, iv, sequence: 0 })
    }

    /// The content type and the content of a record; `None` if these keys do not decrypt it.
    fn open(&mut self, record: &Sealed, cipher: Cipher) -> Option<(u8, Vec<u8>)> {
        let (sealed, tag) = record.fragment.split_at_checked(record.fragment.len().checked_sub(TAG)?)?;
        let mut nonce = self.iv.clone();
        for (byte, number) in nonce.iter_mut().rev().zip(self.sequence.to_be_bytes().iter().rev()) {
            *byte ^= number;
        }
        let mut plain = decrypt_aead(cipher, &self.key, Some(&nonce), &record.header, sealed, tag).ok()?;
        self.sequence += 1;
        // Zero padding follows the content type.
        while plain.last() == Some(&0) {
            plain.pop();
        }
        let content = plain.pop()?;
        Some((content, plain))
    }
}

/// Decrypts the records of one direction and appends their messages to `out`.
pub(crate) fn open(records: &[Sealed], suite: Suite, [handshake, after]: &[Vec<u8>; 2], out: &mut Vec<Message>) {
    let Some(parts) = suite.parts() else { return };
    let Some(mut keys) = Keys::of(handshake, parts) else { return };
    let mut reader = Reader::default();
    for record in records {
        let Some((content, plain)) = keys.open(record, parts.0) else { return };
        let known = out.len();
        reader.feed(content, &plain, out);
        let has = |kind: u8| out.iter().skip(known).any(|it| matches!(it, Message::Handshake(of, _) if *of == kind));
        let next = if has(FINISHED) {
            Keys::of(after, parts)
        } else if has(KEY_UPDATE) {
            expand(&keys.secret, "traffic upd", parts.1.size(), parts.1).ok().and_then(|next| Keys::of(&next, parts))
        } else {
            continue;
        };
        let Some(next) = next else { return };
        keys = next;
    }
}
