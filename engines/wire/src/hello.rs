//! ClientHello, ServerHello and HelloRetryRequest (RFC 8446 section 4.1, RFC 5246 section 7.4.1).

use std::fmt;

use crate::foreign::escape_bytes;
use crate::limits::MAX_ALPN;
use crate::numbers::is_grease;
use crate::reader::{Reader, numbers};
use crate::{CipherSuite, NamedGroup, SignatureScheme, TlsVersion};

/// SHA-256 of "HelloRetryRequest": a ServerHello with this random is one (RFC 8446 section 4.1.3).
const RETRY_RANDOM: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91, 0xc2, 0xa2, 0x11,
    0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

const SERVER_NAME: u16 = 0;
const SUPPORTED_GROUPS: u16 = 10;
const SIGNATURE_ALGORITHMS: u16 = 13;
const ALPN: u16 = 16;
const SUPPORTED_VERSIONS: u16 = 43;
const KEY_SHARE: u16 = 51;

/// What a client offers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientHello {
    /// The version field, which stays at TLS 1.2 in TLS 1.3 (RFC 8446 section 4.1.2)
    pub legacy_version: TlsVersion,
    /// The client random; a TLS key log is indexed by it
    pub random: [u8; 32],
    /// The versions of the supported_versions extension, GREASE left out; empty when the extension is absent
    pub supported_versions: Vec<TlsVersion>,
    /// The requested server name (SNI, RFC 6066 section 3), escaped for display
    pub server_name: Option<String>,
    /// Every suite number in the client's order, signals and GREASE included
    pub cipher_suites: Vec<CipherSuite>,
    /// The signature schemes accepted, in the client's order
    pub signature_schemes: Vec<SignatureScheme>,
    /// The key exchange groups accepted, in the client's order
    pub groups: Vec<NamedGroup>,
    /// Application protocols (RFC 7301), escaped for display; at most [`MAX_ALPN`]
    pub alpn: Vec<String>,
}

impl ClientHello {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut hello = ClientHello {
            legacy_version: TlsVersion(reader.u16()?),
            random: reader.array()?,
            supported_versions: Vec::new(),
            server_name: None,
            cipher_suites: Vec::new(),
            signature_schemes: Vec::new(),
            groups: Vec::new(),
            alpn: Vec::new(),
        };
        let _session_id = reader.vector8()?;
        hello.cipher_suites = numbers(reader.vector16()?)?.into_iter().map(CipherSuite).collect();
        let _compression_methods = reader.vector8()?;
        for_each_extension(reader, |number, data| hello.extension(number, data))?;
        Some(hello)
    }

    fn extension(&mut self, number: u16, data: &[u8]) -> Option<()> {
        let mut reader = Reader::new(data);
        match number {
            SERVER_NAME => {
                let mut names = Reader::new(reader.vector16()?);
                let host_name = 0;
                if names.u8()? == host_name {
                    self.server_name = Some(escape_bytes(names.vector16()?, 255));
                }
            }
            SUPPORTED_VERSIONS => {
                let offered = numbers(reader.vector8()?)?.into_iter();
                self.supported_versions = offered.filter(|number| !is_grease(*number)).map(TlsVersion).collect();
            }
            SIGNATURE_ALGORITHMS => {
                self.signature_schemes = numbers(reader.vector16()?)?.into_iter().map(SignatureScheme).collect();
            }
            SUPPORTED_GROUPS => self.groups = numbers(reader.vector16()?)?.into_iter().map(NamedGroup).collect(),
            ALPN => self.alpn = protocols(reader.vector16()?)?,
            _ => {}
        }
        Some(())
    }

    /// The lowest and the highest version on offer. Without supported_versions the client only states its highest,
    /// and the lowest is `None`.
    pub fn offered_versions(&self) -> (Option<TlsVersion>, TlsVersion) {
        let lowest = self.supported_versions.iter().min().copied();
        (lowest, self.supported_versions.iter().max().copied().unwrap_or(self.legacy_version))
    }

    /// The suites that the server may choose: without signals (RFC 5746, RFC 7507) and GREASE.
    pub fn selectable_suites(&self) -> impl Iterator<Item = CipherSuite> {
        self.cipher_suites.iter().copied().filter(|suite| suite.is_selectable())
    }
}

impl fmt::Display for ClientHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClientHello {}", self.legacy_version)?;
        match self.offered_versions() {
            (None, highest) => write!(f, " (offers up to {})", highest.number())?,
            (Some(lowest), highest) if lowest == highest => write!(f, " (offers {})", highest.number())?,
            (Some(lowest), highest) => write!(f, " (offers {}–{})", lowest.number(), highest.number())?,
        }
        match &self.server_name {
            Some(name) => write!(f, ", SNI {name}")?,
            None => f.write_str(", no SNI")?,
        }
        let suites = self.selectable_suites().count();
        write!(f, ", {suites} {}", if suites == 1 { "suite" } else { "suites" })?;
        if !self.alpn.is_empty() {
            write!(f, ", ALPN {}", self.alpn.join(" "))?;
        }
        Ok(())
    }
}

/// A server's half of a key exchange.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyShare {
    /// The group that it belongs to
    pub group: NamedGroup,
    /// The public value, whatever its length
    pub value: Vec<u8>,
}

impl KeyShare {
    /// Group, length and value; the length has two bytes if `wide`, otherwise one.
    pub(crate) fn parse(mut reader: Reader<'_>, wide: bool) -> Option<Self> {
        let group = NamedGroup(reader.u16()?);
        let value = if wide { reader.vector16() } else { reader.vector8() };
        Some(KeyShare { group, value: value.unwrap_or_default().to_vec() })
    }
}

/// What a server chose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerHello {
    /// The version negotiated, taken from supported_versions if present (RFC 8446 section 4.2.1)
    pub version: TlsVersion,
    /// The server random
    pub random: [u8; 32],
    /// The suite chosen
    pub cipher_suite: CipherSuite,
    /// The server's key share, in TLS 1.3
    pub share: Option<KeyShare>,
    /// The application protocol chosen, escaped for display; TLS 1.3 encrypts it
    pub alpn: Option<String>,
    /// Whether the server's random shows that it supports a higher version than it chose (RFC 8446 section 4.1.3): something
    /// made the client offer less, or the client is limited to less
    pub could_do_more: bool,
}

/// A request to send the ClientHello again, with other parameters (RFC 8446 section 4.1.4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HelloRetryRequest {
    /// The version that the server will choose
    pub version: TlsVersion,
    /// The suite that the server will choose
    pub cipher_suite: CipherSuite,
    /// The group that the client is to send a key share for
    pub group: Option<NamedGroup>,
}

/// The two messages that share handshake type 2.
pub(crate) enum ServerAnswer {
    Hello(ServerHello),
    Retry(HelloRetryRequest),
}

impl ServerAnswer {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut version = TlsVersion(reader.u16()?);
        let random: [u8; 32] = reader.array()?;
        let _session_id = reader.vector8()?;
        let cipher_suite = CipherSuite(reader.u16()?);
        let _compression_method = reader.u8()?;
        let mut share = None;
        let mut alpn = None;
        for_each_extension(reader, |number, data| {
            let mut reader = Reader::new(data);
            match number {
                SUPPORTED_VERSIONS => version = TlsVersion(reader.u16()?),
                // A HelloRetryRequest names only the group.
                KEY_SHARE => share = KeyShare::parse(reader, true),
                ALPN => alpn = protocols(reader.vector16()?)?.into_iter().next(),
                _ => {}
            }
            Some(())
        })?;
        if random == RETRY_RANDOM {
            let group = share.map(|share| share.group);
            return Some(ServerAnswer::Retry(HelloRetryRequest { version, cipher_suite, group }));
        }
        let could_do_more = random.ends_with(b"DOWNGRD\x01") || random.ends_with(b"DOWNGRD\x00");
        Some(ServerAnswer::Hello(ServerHello { version, random, cipher_suite, share, alpn, could_do_more }))
    }
}

impl fmt::Display for ServerHello {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServerHello {}, {}", self.version, self.cipher_suite)?;
        if let Some(share) = &self.share {
            write!(f, ", {}", share.group)?;
        }
        if let Some(alpn) = &self.alpn {
            write!(f, ", ALPN {alpn}")?;
        }
        Ok(())
    }
}

impl fmt::Display for HelloRetryRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HelloRetryRequest {}, {}", self.version, self.cipher_suite)?;
        match self.group {
            Some(group) => write!(f, ", requests a key share for {group}"),
            None => Ok(()),
        }
    }
}

/// Calls `each` with the extensions at the end of a hello, which may be missing altogether (RFC 5246 section 7.4.1.2).
/// `None` when the block is broken or bytes are left over. An extension whose own content is broken is skipped, since
/// the rest of the hello is still useful.
fn for_each_extension(mut reader: Reader<'_>, mut each: impl FnMut(u16, &[u8]) -> Option<()>) -> Option<()> {
    if reader.is_empty() {
        return Some(());
    }
    let mut extensions = Reader::new(reader.vector16()?);
    while !extensions.is_empty() {
        let number = extensions.u16()?;
        let _ = each(number, extensions.vector16()?);
    }
    reader.is_empty().then_some(())
}

fn protocols(list: &[u8]) -> Option<Vec<String>> {
    let mut reader = Reader::new(list);
    let mut protocols = Vec::new();
    while !reader.is_empty() && protocols.len() < MAX_ALPN {
        protocols.push(escape_bytes(reader.vector8()?, 255));
    }
    Some(protocols)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server_hello(random: [u8; 32], extensions: &[u8]) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend(random);
        body.extend([0, 0x13, 0x02, 0]);
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
        body
    }

    #[test]
    fn a_hello_retry_request_is_distinguished_from_a_server_hello_by_its_random() {
        let extensions = [0, 43, 0, 2, 3, 4, 0, 51, 0, 2, 0, 24];
        let Some(ServerAnswer::Retry(retry)) = ServerAnswer::parse(&server_hello(RETRY_RANDOM, &extensions)) else {
            panic!("not a HelloRetryRequest");
        };
        assert_eq!(
            retry.to_string(),
            "HelloRetryRequest TLS 1.3, TLS_AES_256_GCM_SHA384, requests a key share for secp384r1"
        );
        let Some(ServerAnswer::Hello(hello)) = ServerAnswer::parse(&server_hello([7; 32], &extensions)) else {
            panic!("not a ServerHello");
        };
        assert_eq!(hello.version, TlsVersion::TLS_1_3);
        assert!(!hello.could_do_more);
    }

    #[test]
    fn the_downgrade_mark_is_noticed() {
        let mut random = [7; 32];
        random[24..].copy_from_slice(b"DOWNGRD\x01");
        let Some(ServerAnswer::Hello(hello)) = ServerAnswer::parse(&server_hello(random, &[])) else {
            panic!("not a ServerHello");
        };
        assert_eq!(hello.version, TlsVersion::TLS_1_2);
        assert!(hello.could_do_more);
    }

    #[test]
    fn a_hello_without_extensions_is_complete_and_one_with_bytes_left_over_is_not() {
        let mut body = vec![3, 1];
        body.extend([1; 32]);
        body.extend([0, 0, 4, 0x00, 0x2f, 0x00, 0xff, 1, 0]);
        let hello = ClientHello::parse(&body).expect("a TLS 1.0 hello needs no extensions");
        assert_eq!(hello.to_string(), "ClientHello TLS 1.0 (offers up to 1.0), no SNI, 1 suite");
        body.extend([0, 0, 9]);
        assert_eq!(ClientHello::parse(&body), None);
    }

    #[test]
    fn a_broken_extension_does_not_affect_the_others() {
        let mut body = vec![3, 3];
        body.extend([1; 32]);
        body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0, 0, 18]);
        body.extend([0, 0, 0, 2, 0xff, 0xff]); // server_name whose list ends early
        body.extend([0, 43, 0, 5, 4, 0x1a, 0x1a, 3, 3]); // supported_versions: GREASE, TLS 1.2
        body.extend([0, 1, 0]); // an extension header cut short
        assert_eq!(ClientHello::parse(&body), None);
        body.truncate(body.len() - 3);
        let length = body.len() - 15 - 2;
        body[length..length + 2].copy_from_slice(&[0, 15]);
        let hello = ClientHello::parse(&body).expect("the block itself is whole");
        assert_eq!(hello.to_string(), "ClientHello TLS 1.2 (offers 1.2), no SNI, 1 suite");
    }
}
