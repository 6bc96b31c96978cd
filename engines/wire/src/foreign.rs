//! Recognises what is not TLS.

use std::fmt;

use crate::limits::SHOWN_BYTES;

/// A protocol known by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// An SSH identification string (RFC 4253 section 4.2)
    Ssh,
    /// An HTTP response or request, or a bare HTML page
    Http,
    /// A `220` greeting: SMTP (RFC 5321 section 4.2) or FTP (RFC 959 section 5.4)
    SmtpOrFtp,
    /// An IMAP greeting (RFC 9051 section 7.1)
    Imap,
    /// A POP3 greeting (RFC 1939 section 3)
    Pop3,
    /// The head of a Sigul chunk, outside TLS: a 31-bit length of at most 4096 and a stream bit
    SigulChunk,
    /// TLS, but the peer sends a ClientHello too: both sides are clients
    TlsClient,
    /// Printable text of some other protocol
    Text,
    /// Anything else
    Unknown,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Protocol::Ssh => "an SSH server",
            Protocol::Http => "an HTTP server",
            Protocol::SmtpOrFtp => "an SMTP or FTP server",
            Protocol::Imap => "an IMAP server",
            Protocol::Pop3 => "a POP3 server",
            Protocol::SigulChunk => "Sigul's protocol without TLS",
            Protocol::TlsClient => "another TLS client",
            Protocol::Text => "an unknown text protocol",
            Protocol::Unknown => "an unknown protocol",
        })
    }
}

/// Why bytes are not a TLS record (RFC 8446 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RecordFault {
    /// The record type is not one of 20 to 24
    ContentType(u8),
    /// The version, as major and minor number, is not one that TLS has used
    Version(u8, u8),
    /// The length is above 2^14 + 2048, the most that RFC 5246 section 6.2.3 allows
    Length(u16),
    /// The record is valid, but the peer plays the wrong role
    WrongRole,
}

impl fmt::Display for RecordFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RecordFault::ContentType(number) => write!(f, "{number} is not a record type"),
            RecordFault::Version(major, minor) => write!(f, "{major}.{minor} is not a record version"),
            RecordFault::Length(length) => write!(f, "{length} exceeds the maximum record length"),
            RecordFault::WrongRole => f.write_str("the peer sent a ClientHello"),
        }
    }
}

/// Bytes where a TLS record from a server should have been.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Foreign {
    /// What the bytes look like
    pub protocol: Protocol,
    /// The first bytes, escaped for display; at most [`SHOWN_BYTES`] of them
    pub first_bytes: String,
    /// The same as they came
    pub head: Vec<u8>,
    /// Which rule of the record layer they break
    pub fault: RecordFault,
    /// Complete TLS records that came before, in the same direction. If above 0, the peer did speak TLS, and the stream was
    /// damaged or broken into later.
    pub after_records: u64,
}

impl Foreign {
    pub(crate) fn new(bytes: &[u8], fault: RecordFault, after_records: u64) -> Self {
        let protocol = if after_records > 0 {
            Protocol::Unknown
        } else if fault == RecordFault::WrongRole {
            Protocol::TlsClient
        } else {
            classify(bytes)
        };
        let head = bytes.iter().copied().take(SHOWN_BYTES).collect();
        Foreign { protocol, first_bytes: escape_bytes(bytes, SHOWN_BYTES), head, fault, after_records }
    }
}

impl fmt::Display for Foreign {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.after_records {
            0 => write!(f, "not TLS: \"{}\" ({})", self.first_bytes, self.protocol),
            1 => write!(f, "no longer TLS after 1 record: \"{}\" ({})", self.first_bytes, self.fault),
            more => write!(f, "no longer TLS after {more} records: \"{}\" ({})", self.first_bytes, self.fault),
        }
    }
}

fn classify(bytes: &[u8]) -> Protocol {
    const STARTS: &[(&[u8], Protocol)] = &[
        (b"SSH-", Protocol::Ssh),
        (b"HTTP/", Protocol::Http),
        (b"<!DOCTYPE", Protocol::Http),
        (b"<html", Protocol::Http),
        (b"<HTML", Protocol::Http),
        (b"GET ", Protocol::Http),
        (b"POST ", Protocol::Http),
        (b"HEAD ", Protocol::Http),
        (b"CONNECT ", Protocol::Http),
        (b"220 ", Protocol::SmtpOrFtp),
        (b"220-", Protocol::SmtpOrFtp),
        (b"* OK", Protocol::Imap),
        (b"* PREAUTH", Protocol::Imap),
        (b"* BYE", Protocol::Imap),
        (b"+OK", Protocol::Pop3),
        (b"-ERR", Protocol::Pop3),
    ];
    if let Some((_, protocol)) = STARTS.iter().find(|(start, _)| bytes.starts_with(start)) {
        return *protocol;
    }
    if is_sigul_chunk(bytes) {
        return Protocol::SigulChunk;
    }
    let printable = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t' | b'\r' | b'\n');
    if bytes.len() >= 4 && bytes.iter().all(printable) { Protocol::Text } else { Protocol::Unknown }
}

/// A chunk is a big-endian head, bit 31 for the inner stream and 31 bits of length; implementations keep to 4096 bytes
/// (measured). A head of length 0 ends a stream and is too little alone, so the end of the other stream must follow.
fn is_sigul_chunk(bytes: &[u8]) -> bool {
    let length = |head: &[u8; 4]| u32::from_be_bytes(*head) & 0x7fff_ffff;
    match bytes.as_chunks::<4>().0 {
        [[0, 0, 0, 0], [0x80, 0, 0, 0], ..] | [[0x80, 0, 0, 0], [0, 0, 0, 0], ..] => true,
        [head, ..] => (1..=4096).contains(&length(head)),
        [] => false,
    }
}

/// The first `most` bytes as printable ASCII, all other bytes as `\n`, `\r`, `\t` or `\xNN`; an ellipsis
/// stands for what is left out. Safe to put between double quotes in any report.
pub fn escape_bytes(bytes: &[u8], most: usize) -> String {
    let mut out = String::new();
    for byte in bytes.iter().take(most) {
        match byte {
            b'\'' => out.push('\''),
            other => out.extend(other.escape_ascii().map(char::from)),
        }
    }
    if bytes.len() > most {
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_known_by_their_first_bytes() {
        let cases: &[(&[u8], Protocol)] = &[
            (b"SSH-2.0-OpenSSH_9.2p1", Protocol::Ssh),
            (b"HTTP/1.1 400 Bad Request", Protocol::Http),
            (b"<html><body>", Protocol::Http),
            (b"220 mail.example ESMTP", Protocol::SmtpOrFtp),
            (b"* OK IMAP4rev1", Protocol::Imap),
            (b"+OK ready", Protocol::Pop3),
            (b"\0\0\x0f\xfcabc", Protocol::SigulChunk),
            (b"\x80\0\x07\x34\x16\x03\x03", Protocol::SigulChunk),
            (b"\0\0\0\0\x80\0\0\0", Protocol::SigulChunk),
            (b"\0\0\0\0\0\0\0\0", Protocol::Unknown),
            (b"\0\0\0", Protocol::Unknown),
            (b"\0\0\x20\0", Protocol::Unknown),
            (b"RFB 003.008\n", Protocol::Text),
            (b"\xff\xfd\x18", Protocol::Unknown),
            (b"", Protocol::Unknown),
        ];
        for (bytes, protocol) in cases {
            assert_eq!(classify(bytes), *protocol, "{}", escape_bytes(bytes, 64));
        }
    }

    #[test]
    fn bytes_are_shown_escaped_and_cut_off() {
        assert_eq!(escape_bytes(b"it's \"\x1b[31m\xff\r\n", 48), r#"it's \"\x1b[31m\xff\r\n"#);
        assert_eq!(escape_bytes(&[b'a'; 50], 48), format!("{}…", "a".repeat(48)));
    }
}
