//! The protocol's registered numbers, with their names.

use std::fmt;

use crate::suites::SUITES;

/// The values that RFC 8701 reserves so that clients can offer meaningless ones on purpose.
pub(crate) fn is_grease(value: u16) -> bool {
    let [high, low] = value.to_be_bytes();
    high == low && low & 0x0f == 0x0a
}

/// Type of a record (RFC 8446 section 5.1, RFC 6520 for heartbeat).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentType {
    /// 20
    ChangeCipherSpec,
    /// 21
    Alert,
    /// 22
    Handshake,
    /// 23
    ApplicationData,
    /// 24
    Heartbeat,
}

impl ContentType {
    /// The type with this number, if there is one.
    pub fn from_number(number: u8) -> Option<Self> {
        Some(match number {
            20 => ContentType::ChangeCipherSpec,
            21 => ContentType::Alert,
            22 => ContentType::Handshake,
            23 => ContentType::ApplicationData,
            24 => ContentType::Heartbeat,
            _ => return None,
        })
    }
}

impl fmt::Display for ContentType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ContentType::ChangeCipherSpec => "change_cipher_spec",
            ContentType::Alert => "alert",
            ContentType::Handshake => "handshake",
            ContentType::ApplicationData => "application_data",
            ContentType::Heartbeat => "heartbeat",
        })
    }
}

/// Type of a handshake message (RFC 8446 section 4 and the IANA registry of TLS HandshakeTypes).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandshakeKind(pub u8);

impl HandshakeKind {
    /// ClientHello
    pub const CLIENT_HELLO: HandshakeKind = HandshakeKind(1);
    /// ServerHello, and HelloRetryRequest, which shares its number
    pub const SERVER_HELLO: HandshakeKind = HandshakeKind(2);
    /// Certificate
    pub const CERTIFICATE: HandshakeKind = HandshakeKind(11);
    /// ServerKeyExchange
    pub const SERVER_KEY_EXCHANGE: HandshakeKind = HandshakeKind(12);
    /// CertificateRequest
    pub const CERTIFICATE_REQUEST: HandshakeKind = HandshakeKind(13);
    /// ServerHelloDone
    pub const SERVER_HELLO_DONE: HandshakeKind = HandshakeKind(14);
    /// CertificateVerify
    pub const CERTIFICATE_VERIFY: HandshakeKind = HandshakeKind(15);
    /// ClientKeyExchange
    pub const CLIENT_KEY_EXCHANGE: HandshakeKind = HandshakeKind(16);

    /// The registered name, if there is one.
    pub fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            0 => "HelloRequest",
            1 => "ClientHello",
            2 => "ServerHello",
            3 => "HelloVerifyRequest",
            4 => "NewSessionTicket",
            5 => "EndOfEarlyData",
            6 => "HelloRetryRequest",
            8 => "EncryptedExtensions",
            11 => "Certificate",
            12 => "ServerKeyExchange",
            13 => "CertificateRequest",
            14 => "ServerHelloDone",
            15 => "CertificateVerify",
            16 => "ClientKeyExchange",
            20 => "Finished",
            21 => "CertificateUrl",
            22 => "CertificateStatus",
            23 => "SupplementalData",
            24 => "KeyUpdate",
            25 => "CompressedCertificate",
            67 => "NextProtocol",
            254 => "MessageHash",
            _ => return None,
        })
    }
}

impl fmt::Display for HandshakeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "unknown handshake message ({})", self.0),
        }
    }
}

/// A cipher suite number (IANA registry of TLS Cipher Suites).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CipherSuite(pub u16);

impl CipherSuite {
    /// The registered name, `TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256`, if there is one.
    pub fn name(self) -> Option<&'static str> {
        SUITES.binary_search_by_key(&self.0, |suite| suite.0).ok().map(|at| SUITES[at].1)
    }

    /// Whether the number is a suite that could be chosen: neither a GREASE value (RFC 8701) nor one of the two
    /// signals sent in place of a suite (RFC 5746 section 3.3, RFC 7507).
    pub fn is_selectable(self) -> bool {
        !is_grease(self.0) && !matches!(self.0, 0x00ff | 0x5600)
    }

    /// Whether the server names an elliptic curve in its ServerKeyExchange (RFC 8422 section 5.4).
    pub(crate) fn exchanges_curve(self) -> bool {
        self.name().is_some_and(|name| name.starts_with("TLS_ECDHE_") || name.starts_with("TLS_ECDH_anon_"))
    }
}

impl fmt::Display for CipherSuite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "cipher suite 0x{:04x}", self.0),
        }
    }
}

/// A signature scheme (RFC 8446 section 4.2.3), or in TLS 1.2 a pair of hash and signature (RFC 5246 7.4.1.4.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SignatureScheme(pub u16);

impl fmt::Display for SignatureScheme {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            0x0401 => "rsa_pkcs1_sha256",
            0x0501 => "rsa_pkcs1_sha384",
            0x0601 => "rsa_pkcs1_sha512",
            0x0403 => "ecdsa_secp256r1_sha256",
            0x0503 => "ecdsa_secp384r1_sha384",
            0x0603 => "ecdsa_secp521r1_sha512",
            0x0708 => "sm2sig_sm3",
            0x0804 => "rsa_pss_rsae_sha256",
            0x0805 => "rsa_pss_rsae_sha384",
            0x0806 => "rsa_pss_rsae_sha512",
            0x0807 => "ed25519",
            0x0808 => "ed448",
            0x0809 => "rsa_pss_pss_sha256",
            0x080a => "rsa_pss_pss_sha384",
            0x080b => "rsa_pss_pss_sha512",
            0x081a => "ecdsa_brainpoolP256r1tls13_sha256",
            0x081b => "ecdsa_brainpoolP384r1tls13_sha384",
            0x081c => "ecdsa_brainpoolP512r1tls13_sha512",
            0x0904 => "mldsa44",
            0x0905 => "mldsa65",
            0x0906 => "mldsa87",
            0x0911 => "slhdsa_sha2_128s",
            0x0912 => "slhdsa_sha2_128f",
            0x0913 => "slhdsa_sha2_192s",
            0x0914 => "slhdsa_sha2_192f",
            0x0915 => "slhdsa_sha2_256s",
            0x0916 => "slhdsa_sha2_256f",
            0x0917 => "slhdsa_shake_128s",
            0x0918 => "slhdsa_shake_128f",
            0x0919 => "slhdsa_shake_192s",
            0x091a => "slhdsa_shake_192f",
            0x091b => "slhdsa_shake_256s",
            0x091c => "slhdsa_shake_256f",
            other => return hash_and_signature(f, other),
        };
        f.write_str(name)
    }
}

fn hash_and_signature(f: &mut fmt::Formatter<'_>, value: u16) -> fmt::Result {
    let [hash, signature] = value.to_be_bytes();
    let hash = match hash {
        1 => "md5",
        2 => "sha1",
        3 => "sha224",
        4 => "sha256",
        5 => "sha384",
        6 => "sha512",
        _ => return write!(f, "signature scheme 0x{value:04x}"),
    };
    match signature {
        1 => write!(f, "rsa_pkcs1_{hash}"),
        2 => write!(f, "dsa_{hash}"),
        3 => write!(f, "ecdsa_{hash}"),
        _ => write!(f, "signature scheme 0x{value:04x}"),
    }
}

/// A key exchange group (RFC 8446 section 4.2.7, RFC 8422 section 5.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct NamedGroup(pub u16);

impl fmt::Display for NamedGroup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            19 => "secp192r1",
            21 => "secp224r1",
            22 => "secp256k1",
            23 => "secp256r1",
            24 => "secp384r1",
            25 => "secp521r1",
            26 => "brainpoolP256r1",
            27 => "brainpoolP384r1",
            28 => "brainpoolP512r1",
            29 => "x25519",
            30 => "x448",
            31 => "brainpoolP256r1tls13",
            32 => "brainpoolP384r1tls13",
            33 => "brainpoolP512r1tls13",
            41 => "curveSM2",
            0x0100 => "ffdhe2048",
            0x0101 => "ffdhe3072",
            0x0102 => "ffdhe4096",
            0x0103 => "ffdhe6144",
            0x0104 => "ffdhe8192",
            0x0200 => "MLKEM512",
            0x0201 => "MLKEM768",
            0x0202 => "MLKEM1024",
            0x11eb => "SecP256r1MLKEM768",
            0x11ec => "X25519MLKEM768",
            0x11ed => "SecP384r1MLKEM1024",
            0x6399 => "X25519Kyber768Draft00",
            other => return write!(f, "group 0x{other:04x}"),
        };
        f.write_str(name)
    }
}

/// A kind of client certificate that a server requests (RFC 5246 section 7.4.4, RFC 8422 section 5.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CertificateType(pub u8);

impl fmt::Display for CertificateType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            1 => "rsa_sign",
            2 => "dss_sign",
            3 => "rsa_fixed_dh",
            4 => "dss_fixed_dh",
            64 => "ecdsa_sign",
            65 => "rsa_fixed_ecdh",
            66 => "ecdsa_fixed_ecdh",
            67 => "gost_sign256",
            68 => "gost_sign512",
            other => return write!(f, "certificate type {other}"),
        };
        f.write_str(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registered_numbers_have_their_names() {
        assert_eq!(CipherSuite(0xc02f).to_string(), "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256");
        assert_eq!(CipherSuite(0x1301).to_string(), "TLS_AES_128_GCM_SHA256");
        assert_eq!(CipherSuite(0x1a1a).to_string(), "cipher suite 0x1a1a");
        assert_eq!(SignatureScheme(0x0804).to_string(), "rsa_pss_rsae_sha256");
        assert_eq!(SignatureScheme(0x0201).to_string(), "rsa_pkcs1_sha1");
        assert_eq!(SignatureScheme(0x0402).to_string(), "dsa_sha256");
        assert_eq!(SignatureScheme(0x091b).to_string(), "slhdsa_shake_256s");
        assert_eq!(NamedGroup(29).to_string(), "x25519");
        assert_eq!(NamedGroup(0x0202).to_string(), "MLKEM1024");
        assert_eq!(HandshakeKind(99).to_string(), "unknown handshake message (99)");
    }

    #[test]
    fn openssl_has_the_same_names_for_its_suites() {
        let listed = std::process::Command::new("openssl")
            .args(["ciphers", "-V", "-stdname", "ALL:COMPLEMENTOFALL:@SECLEVEL=0"])
            .output()
            .expect("openssl must be installed (make deps)");
        let listed = String::from_utf8(listed.stdout).unwrap();
        // "0xC0,0x2C - TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384 - ECDHE-ECDSA-AES256-GCM-SHA384 TLSv1.2 …"
        let suites = listed.lines().map(|line| {
            let words: Vec<&str> = line.split_whitespace().collect();
            let number = words[0].replace("0x", "").replace(',', "");
            (CipherSuite(u16::from_str_radix(&number, 16).unwrap()), words[2].to_owned())
        });
        let suites: Vec<_> = suites.collect();
        assert!(suites.len() > 100, "{listed}");
        for (suite, name) in suites {
            assert_eq!(suite.name(), Some(name.as_str()), "{suite:?}");
        }
    }

    #[test]
    fn signals_and_grease_are_not_selectable_suites() {
        assert!(CipherSuite(0xc02f).is_selectable());
        for signal in [0x00ff, 0x5600, 0x0a0a, 0xfafa] {
            assert!(!CipherSuite(signal).is_selectable(), "{signal:04x}");
        }
        assert!(!is_grease(0x0a1a));
    }

    #[test]
    fn only_suites_with_an_ephemeral_curve_name_one() {
        assert!(CipherSuite(0xc02f).exchanges_curve());
        assert!(!CipherSuite(0x009c).exchanges_curve());
        assert!(!CipherSuite(0xffff).exchanges_curve());
    }
}
