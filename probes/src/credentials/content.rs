//! Determines the type of a file by its content, not by its name.
use openssl::base64::decode_block;
use openssl::pkey::{PKey, Private};
use openssl::x509::X509;
use zeroize::Zeroizing;

use super::der;

/// Maximum number of blocks to read; a bundle of all public CAs has a few hundred.
const BLOCKS_AT_MOST: usize = 10_000;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";
/// The first bytes of a Java keystore (JKS, JCEKS).
const KEYSTORES: [&[u8]; 2] = [b"\xfe\xed\xfe\xed", b"\xce\xce\xce\xce"];
const BEGIN: &str = "-----BEGIN ";
const END: &str = "-----END ";
const DASHES: &str = "-----";

/// One item in a file.
pub enum Block {
    /// A certificate.
    Certificate(X509),
    /// A private key.
    Key(PKey<Private>),
    /// An encrypted private key: PEM, or DER.
    LockedKey(Zeroizing<Vec<u8>>),
    /// A public key.
    PublicKey,
    /// A certificate request.
    Request,
    /// A key in the format of SSH.
    SshKey,
    /// Another well-formed block, by its label.
    Other(String),
}

/// Why a file is unusable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// The file is empty.
    Empty,
    /// The file is truncated or was changed, described as text.
    Damaged(String),
    /// A Java keystore.
    JavaKeystore,
    /// A key of PuTTY or SSH.
    SshKey,
    /// Anything else.
    NotRecognised,
}

/// The content of a file.
pub enum Content {
    /// PEM with its blocks, in order, or DER with one.
    Blocks(Vec<Block>),
    /// PKCS#12.
    Pkcs12(Zeroizing<Vec<u8>>),
}

impl Content {
    /// Recognises the content of a file.
    ///
    /// # Errors
    /// Why the file is unusable.
    pub fn of(bytes: &[u8]) -> Result<Self, Fault> {
        let bytes = bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes);
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Err(Fault::Empty);
        }
        if KEYSTORES.iter().any(|magic| bytes.starts_with(magic)) {
            return Err(Fault::JavaKeystore);
        }
        if bytes.starts_with(b"PuTTY-User-Key-File-") {
            return Err(Fault::SshKey);
        }
        if memchr::memmem::find(bytes, BEGIN.as_bytes()).is_some() {
            return pem(&String::from_utf8_lossy(bytes));
        }
        if bytes.first() == Some(&der::SEQUENCE) {
            return der::read(bytes);
        }
        Err(Fault::NotRecognised)
    }
}

/// All blocks of a PEM file (RFC 7468), framed as OpenSSL frames them (pem_lib.c, get_name and get_header_and_data): BEGIN and END are lines of
/// their own. Other lines between blocks are ignored, even if they mention a marker, as in a block that was commented out.
fn pem(text: &str) -> Result<Content, Fault> {
    let mut blocks = Vec::new();
    let mut rest = text;
    while let Some(line) = rest.split_inclusive('\n').next() {
        rest = &rest[line.len()..];
        let Some(label) = marked(line, BEGIN) else { continue };
        let number = blocks.len() + 1;
        let (inner, after) =
            inside(label, rest).map_err(|why| damaged(number, &format!("it begins with \"{label}\", but {why}")))?;
        blocks.push(block(label, inner).map_err(|why| damaged(number, &why))?);
        if blocks.len() >= BLOCKS_AT_MOST {
            break;
        }
        rest = after;
    }
    if !blocks.is_empty() {
        return Ok(Content::Blocks(blocks));
    }
    let why = match text.lines().find(|line| line.starts_with(BEGIN)) {
        _ if text.contains('\r') && !text.contains('\n') => "its lines end with a carriage return without a line feed",
        Some(_) => "its first line is incomplete",
        None => "\"-----BEGIN\" is not at the beginning of a line",
    };
    Err(damaged(1, why))
}

/// The label of a line that is a marker and nothing else, but for space at its end.
fn marked<'a>(line: &'a str, marker: &str) -> Option<&'a str> {
    line.trim_end().strip_prefix(marker)?.strip_suffix(DASHES).filter(|label| !label.contains(DASHES))
}

/// The content of a block up to its end line, and the text behind that line. Only a header, as in an encrypted key (RFC 1421), ends with an
/// empty line. No part of a key is copied.
fn inside<'a>(label: &str, rest: &'a str) -> Result<(&'a str, &'a str), &'static str> {
    let (mut length, mut may_end_header) = (0, true);
    for line in rest.split_inclusive('\n') {
        let inner = &rest[..length];
        if line.starts_with(END) {
            let is_own = marked(line, END) == Some(label);
            let after = &rest[length + line.len()..];
            return if is_own { Ok((inner, after)) } else { Err("its end line has another label or further text") };
        }
        if line.starts_with(BEGIN) {
            return Err("another block begins before its end line");
        }
        if line.trim_end().is_empty() {
            if !(may_end_header && inner.contains(':')) {
                return Err("it has an empty line inside");
            }
            may_end_header = false;
        }
        length += line.len();
    }
    Err("it has no end line")
}

fn damaged(number: usize, why: &str) -> Fault {
    Fault::Damaged(format!("block {number} of the file: {why}"))
}

fn block(label: &str, inner: &str) -> Result<Block, String> {
    let whole = || Zeroizing::new(format!("{BEGIN}{label}{DASHES}\n{inner}{END}{label}{DASHES}\n").into_bytes());
    let is_locked = inner.contains("Proc-Type:") && inner.contains("ENCRYPTED");
    let unreadable = |what: &str| format!("{what} cannot be read: its bytes are damaged");
    match label {
        // OpenSSL's own form, TRUSTED CERTIFICATE, has trust settings after the certificate.
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            let certificate = X509::from_der(&bytes(inner)?).map_err(|_| unreadable("the certificate"))?;
            Ok(Block::Certificate(certificate))
        }
        "ENCRYPTED PRIVATE KEY" => Ok(Block::LockedKey(whole())),
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" if is_locked => {
            Ok(Block::LockedKey(whole()))
        }
        "PRIVATE KEY" | "RSA PRIVATE KEY" | "EC PRIVATE KEY" | "DSA PRIVATE KEY" => {
            let key = PKey::private_key_from_pem(&whole()).map_err(|_| unreadable("the private key"))?;
            Ok(Block::Key(key))
        }
        "OPENSSH PRIVATE KEY" | "SSH2 ENCRYPTED PRIVATE KEY" => Ok(Block::SshKey),
        "PUBLIC KEY" | "RSA PUBLIC KEY" => Ok(Block::PublicKey),
        "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST" => Ok(Block::Request),
        other => Ok(Block::Other(other.chars().take(60).collect())),
    }
}

/// The bytes of a block.
fn bytes(inner: &str) -> Result<Vec<u8>, String> {
    let packed: String = inner.chars().filter(|it| !it.is_whitespace()).collect();
    decode_block(&packed).map_err(|_| "it is not valid base64".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(bytes: &[u8]) -> Option<Fault> {
        Content::of(bytes).err()
    }

    #[test]
    fn data_that_is_not_a_certificate_is_reported() {
        assert_eq!(fault(b" \n"), Some(Fault::Empty));
        assert_eq!(fault(b"\xfe\xed\xfe\xed\0\0\0\x02"), Some(Fault::JavaKeystore));
        assert_eq!(fault(b"PuTTY-User-Key-File-3: ssh-rsa"), Some(Fault::SshKey));
        assert_eq!(fault(b"hello"), Some(Fault::NotRecognised));
        for cut in [&b"-----BEGIN CERTIFICATE-----\nMIIB"[..], b"-----BEGIN CERTIFICATE", b"\x30\x82\x04\x00\x02"] {
            assert!(matches!(fault(cut), Some(Fault::Damaged(_))), "{cut:?}");
        }
        let twice =
            b"-----BEGIN CERTIFICATE-----\nMIIB\n-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";
        assert!(matches!(fault(twice), Some(Fault::Damaged(why)) if why.contains("another block begins")));
    }

    #[test]
    fn blocks_are_framed_as_openssl_frames_them() {
        const REQUEST: &str = "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n";
        let blocks = |text: &str| match Content::of(text.as_bytes()) {
            Ok(Content::Blocks(blocks)) => Ok(blocks.len()),
            Ok(Content::Pkcs12(_)) => Ok(0),
            Err(Fault::Damaged(why)) => Err(why),
            Err(other) => Err(format!("{other:?}")),
        };
        let commented = REQUEST.replace("-----BEGIN", "# -----BEGIN").replace("-----END", "# -----END");
        for healthy in [
            REQUEST.to_owned(),
            REQUEST.replace('\n', "\r\n"),
            REQUEST.replace("-----\n", "----- \t\n"),
            format!("{commented}{REQUEST}"),
            format!("see -----BEGIN below\n{REQUEST}"),
            REQUEST.trim_end().to_owned(),
        ] {
            assert_eq!(blocks(&healthy), Ok(1), "{healthy:?}");
        }
        for (broken, why) in [
            (format!("{}{REQUEST}", REQUEST.trim_end()), "end line"),
            (
                REQUEST.replace("-----END CERTIFICATE REQUEST-----", "-----END CERTIFICATE REQUEST----- # mine"),
                "end line",
            ),
            (REQUEST.replace("-----END CERTIFICATE", "-----END NEW CERTIFICATE"), "end line"),
            (REQUEST.replace("MIIB\n", "MI\n\nIB\n"), "empty line"),
            (REQUEST.replace('\n', "\r"), "carriage return"),
            (format!("  {}", REQUEST.replace('\n', "\n  ")), "beginning of a line"),
        ] {
            assert!(blocks(&broken).is_err_and(|said| said.contains(why)), "{broken:?}: {:?}", blocks(&broken));
        }
    }
}
