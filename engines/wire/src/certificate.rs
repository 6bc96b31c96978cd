//! Certificate and CertificateRequest as TLS 1.2 and earlier show them (RFC 5246 sections 7.4.2, 7.4.4 and 7.4.6).
//! TLS 1.3 encrypts both.

use std::fmt;

use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::limits::{MAX_AUTHORITIES, MAX_CERTIFICATES};
use crate::name::{cut, name_from_der, name_to_string};
use crate::reader::{Reader, numbers};
use crate::{CertificateType, SignatureScheme, TlsVersion};

/// One certificate of a Certificate message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerCertificate {
    /// The certificate as sent
    pub der: Vec<u8>,
    /// Its subject as an RFC 4514 string; `None` when the bytes are not an X.509 certificate
    pub subject: Option<String>,
    /// Its issuer as an RFC 4514 string; `None` when the bytes are not an X.509 certificate
    pub issuer: Option<String>,
}

impl PeerCertificate {
    fn new(der: &[u8]) -> Self {
        let parsed = X509Certificate::from_der(der).ok().map(|(_, certificate)| certificate);
        PeerCertificate {
            der: der.to_vec(),
            subject: parsed.as_ref().map(|certificate| name_to_string(certificate.subject())),
            issuer: parsed.as_ref().map(|certificate| name_to_string(certificate.issuer())),
        }
    }
}

/// A Certificate message. With an empty list, a client reports that it has none to offer (RFC 5246 section 7.4.6).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateMessage {
    /// The chain, leaf first; at most [`MAX_CERTIFICATES`]
    pub certificates: Vec<PeerCertificate>,
    /// How many certificates the message has
    pub total: usize,
}

impl CertificateMessage {
    pub(crate) fn parse(body: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(body);
        let mut list = Reader::new(reader.vector24()?);
        let mut message = CertificateMessage { certificates: Vec::new(), total: 0 };
        while !list.is_empty() {
            let der = list.vector24()?;
            message.total += 1;
            if message.certificates.len() < MAX_CERTIFICATES {
                message.certificates.push(PeerCertificate::new(der));
            }
        }
        reader.is_empty().then_some(message)
    }

    /// Whether the message has no certificate.
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }
}

impl fmt::Display for CertificateMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("Certificate, empty");
        }
        write!(f, "Certificate {}: ", self.total)?;
        for (index, certificate) in self.certificates.iter().take(4).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            match &certificate.subject {
                Some(subject) => write!(f, "{separator}{}", Shortened(subject))?,
                None => write!(f, "{separator}(not a certificate, {} bytes)", certificate.der.len())?,
            }
        }
        if self.total > 4 { write!(f, ", {} more", self.total - 4) } else { Ok(()) }
    }
}

/// An authority that a server names in its CertificateRequest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorityName {
    /// The name as an RFC 4514 string
    pub name: String,
    /// The name as sent, to compare with an issuer byte for byte
    pub der: Vec<u8>,
}

/// What a server accepts as a client certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateRequest {
    /// The kinds of key accepted
    pub certificate_types: Vec<CertificateType>,
    /// The signature schemes accepted; empty before TLS 1.2, which has none here
    pub signature_schemes: Vec<SignatureScheme>,
    /// The authorities accepted; at most [`MAX_AUTHORITIES`]. An empty list means any.
    pub authorities: Vec<AuthorityName>,
    /// How many authorities the message names
    pub total_authorities: usize,
}

impl CertificateRequest {
    pub(crate) fn parse(body: &[u8], version: Option<TlsVersion>) -> Option<Self> {
        let mut reader = Reader::new(body);
        let certificate_types = reader.vector8()?.iter().copied().map(CertificateType).collect();
        let has_schemes = version.is_none_or(|version| version >= TlsVersion::TLS_1_2);
        let signature_schemes = if has_schemes { numbers(reader.vector16()?)? } else { Vec::new() };
        let mut list = Reader::new(reader.vector16()?);
        let mut request = CertificateRequest {
            certificate_types,
            signature_schemes: signature_schemes.into_iter().map(SignatureScheme).collect(),
            authorities: Vec::new(),
            total_authorities: 0,
        };
        while !list.is_empty() {
            let der = list.vector16()?;
            request.total_authorities += 1;
            if request.authorities.len() < MAX_AUTHORITIES {
                request.authorities.push(AuthorityName { name: name_from_der(der), der: der.to_vec() });
            }
        }
        reader.is_empty().then_some(request)
    }
}

impl fmt::Display for CertificateRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CertificateRequest ")?;
        for (index, kind) in self.certificate_types.iter().take(8).enumerate() {
            write!(f, "{}{kind}", if index == 0 { "" } else { " " })?;
        }
        match self.authorities.first() {
            None => f.write_str(", any authority"),
            Some(first) if self.total_authorities == 1 => write!(f, ", 1 authority: {}", Shortened(&first.name)),
            Some(first) => write!(f, ", {} authorities, first {}", self.total_authorities, Shortened(&first.name)),
        }
    }
}

/// A name short enough for one line of a report.
struct Shortened<'a>(&'a str);

impl fmt::Display for Shortened<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = cut(self.0, 160);
        let ellipsis = if start.len() < self.0.len() { "…" } else { "" };
        write!(f, "{start}{ellipsis}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_certificate_message_is_not_a_broken_one() {
        let empty = CertificateMessage::parse(&[0, 0, 0]).expect("a list of no certificates");
        assert!(empty.is_empty());
        assert_eq!(empty.to_string(), "Certificate, empty");
        assert_eq!(CertificateMessage::parse(&[]), None);
        assert_eq!(CertificateMessage::parse(&[0, 0, 0, 1]), None);
    }

    #[test]
    fn bytes_that_are_no_certificate_are_kept_and_named_so() {
        let message = CertificateMessage::parse(&[0, 0, 6, 0, 0, 3, 1, 2, 3]).expect("one entry");
        assert_eq!(message.to_string(), "Certificate 1: (not a certificate, 3 bytes)");
        assert_eq!(message.certificates[0].der, [1, 2, 3]);
    }

    #[test]
    fn more_certificates_than_kept_are_counted() {
        let entries = [0, 0, 0].repeat(1000);
        let length = u32::try_from(entries.len()).unwrap().to_be_bytes();
        let message = CertificateMessage::parse(&[&length[1..], &entries].concat()).expect("a thousand empty entries");
        assert_eq!((message.certificates.len(), message.total), (MAX_CERTIFICATES, 1000));
        assert!(message.to_string().ends_with(", 996 more"));
    }

    #[test]
    fn a_request_before_tls_1_2_has_no_signature_schemes() {
        let old = CertificateRequest::parse(&[2, 1, 64, 0, 0], Some(TlsVersion::TLS_1_1)).expect("TLS 1.1 layout");
        assert_eq!(old.to_string(), "CertificateRequest rsa_sign ecdsa_sign, any authority");
        assert_eq!(CertificateRequest::parse(&[2, 1, 64, 0, 0], Some(TlsVersion::TLS_1_2)), None);
        let new = CertificateRequest::parse(&[1, 1, 0, 2, 4, 3, 0, 4, 0, 2, 0x30, 0], None).expect("TLS 1.2 layout");
        assert_eq!(new.signature_schemes, [SignatureScheme(0x0403)]);
        assert_eq!(new.authorities, [AuthorityName { name: String::new(), der: vec![0x30, 0] }]);
    }
}
