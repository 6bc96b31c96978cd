//! The certificates that a check saw, for reports that monitor their dates.

use openssl::sha::Sha256;
use openssl::x509::X509;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use time::format_description::well_known::Rfc3339;
use x509_parser::prelude::{FromDer, X509Certificate};

use nssight_diagnosis::CertificateRole;

use crate::expiry::Urgency;

/// NSS itself follows a chain no further (seccomon.h, CERT_MAX_CERT_CHAIN); a peer may send any number.
const CHAIN_AT_MOST: usize = 20;

/// A certificate: our own, a peer's, or one of a CA above them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SeenCertificate {
    /// The owner of the certificate.
    pub role: CertificateRole,
    /// Nickname in our database; `null` for what a peer sent.
    pub nickname: Option<String>,
    /// Subject, as in RFC 4514.
    pub subject: String,
    /// Issuer, as in RFC 4514.
    pub issuer: String,
    /// First second of its validity, RFC 3339 in UTC.
    pub not_before: String,
    /// Last second of its validity, RFC 3339 in UTC.
    pub not_after: String,
    /// SHA-256 of the DER, in hexadecimal.
    pub sha256: String,
    /// Urgency of the renewal; absent if no renewal is needed yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub urgency: Option<Urgency>,
    /// The certificate in PEM, if it was requested and a peer sent it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pem: Option<String>,
}

impl SeenCertificate {
    /// Parses the fields that a report shows of a certificate; `None` if this is not a certificate, or if its dates are
    /// invalid.
    pub fn read(role: CertificateRole, nickname: Option<String>, der: &[u8]) -> Option<Self> {
        let (_, certificate) = X509Certificate::from_der(der).ok()?;
        let validity = certificate.validity();
        Some(Self {
            role,
            nickname,
            subject: nssight_wire::name_from_der(certificate.subject().as_raw()),
            issuer: nssight_wire::name_from_der(certificate.issuer().as_raw()),
            not_before: validity.not_before.to_datetime().format(&Rfc3339).ok()?,
            not_after: validity.not_after.to_datetime().format(&Rfc3339).ok()?,
            sha256: fingerprint(der),
            urgency: None,
            pem: None,
        })
    }

    /// Parses a chain, leaf first. Every certificate above the leaf is a CA.
    pub(crate) fn of_chain<'a>(
        leaf: CertificateRole,
        chain: impl Iterator<Item = (Option<String>, &'a [u8])>,
    ) -> Vec<Self> {
        let roles = std::iter::once(leaf).chain(std::iter::repeat(CertificateRole::Authority));
        let links = roles.zip(chain.take(CHAIN_AT_MOST));
        links.filter_map(|(role, (nickname, der))| Self::read(role, nickname, der)).collect()
    }

    /// The name for readers: the nickname, or otherwise the subject.
    pub fn name(&self) -> &str {
        self.nickname.as_deref().unwrap_or(&self.subject)
    }

    /// Adds the PEM of the certificate if `der` is this certificate, for a report that shows it.
    pub(crate) fn show(&mut self, der: &[u8]) {
        if self.sha256 == fingerprint(der) {
            let pem = X509::from_der(der).and_then(|certificate| certificate.to_pem()).ok();
            self.pem = pem.and_then(|pem| String::from_utf8(pem).ok());
        }
    }

    /// Whether this is the same certificate in the same role.
    pub(crate) fn is(&self, other: &Self) -> bool {
        (self.role, &self.sha256) == (other.role, &other.sha256)
    }
}

pub(crate) fn fingerprint(der: &[u8]) -> String {
    // These functions need nothing else from OpenSSL: its initialisation takes a tenth of a check that uses NSS.
    let mut hash = Sha256::new();
    hash.update(der);
    hash.finish().iter().map(|byte| format!("{byte:02x}")).collect()
}
