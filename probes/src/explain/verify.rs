//! Verify codes of OpenSSL (x509_vfy.h): number, name, meaning, and the causes that show them in TLS.

use crate::catalogue::Cause;

/// One code.
pub(super) struct VerifyCode {
    pub(super) code: i64,
    pub(super) name: &'static str,
    pub(super) meaning: &'static str,
    pub(super) causes: &'static [Cause],
}

const UNTRUSTED: &[Cause] = &[Cause::BridgeCertUntrusted, Cause::ServerCertUntrusted, Cause::CaMissing];
const EXPIRED: &[Cause] = &[Cause::BridgeCertExpired, Cause::ServerCertExpired, Cause::CertExpired, Cause::ClockSkew];
const USAGE: &[Cause] = &[Cause::BridgeCertUsage, Cause::CertWrongUsage];
const WEAK: &[Cause] = &[Cause::BridgeCertWeak, Cause::CertWeakPolicy];
const NAME: &[Cause] = &[Cause::BridgeCertName, Cause::ServerCertName];

const fn code(code: i64, name: &'static str, meaning: &'static str, causes: &'static [Cause]) -> VerifyCode {
    VerifyCode { code, name, meaning, causes }
}

pub(super) const CODES: &[VerifyCode] = &[
    code(0, "X509_V_OK", "nothing is wrong with the chain; a handshake that fails all the same fails elsewhere", &[]),
    code(2, "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT", "an issuer in the middle of the chain is not at hand", UNTRUSTED),
    code(7, "X509_V_ERR_CERT_SIGNATURE_FAILURE", "a signature in the chain does not verify", UNTRUSTED),
    code(
        9,
        "X509_V_ERR_CERT_NOT_YET_VALID",
        "a certificate begins in the future, by this host's clock",
        &[Cause::CertNotYetValid, Cause::ClockSkew],
    ),
    code(10, "X509_V_ERR_CERT_HAS_EXPIRED", "a certificate has expired, by this host's clock", EXPIRED),
    code(
        18,
        "X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT",
        "the peer's certificate is signed with its own key and not trusted",
        UNTRUSTED,
    ),
    code(19, "X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN", "the chain ends at a root that is not trusted here", UNTRUSTED),
    code(
        20,
        "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
        "the issuer is not among the trusted certificates here, or an intermediate was not sent",
        UNTRUSTED,
    ),
    code(
        21,
        "X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE",
        "only one certificate came and its issuer is not at hand",
        UNTRUSTED,
    ),
    code(22, "X509_V_ERR_CERT_CHAIN_TOO_LONG", "the chain is longer than allowed", UNTRUSTED),
    code(23, "X509_V_ERR_CERT_REVOKED", "the certificate was revoked by its issuer", &[Cause::ClientCertRevokedAtPeer]),
    code(24, "X509_V_ERR_INVALID_CA", "a certificate that issued another is none of a CA", UNTRUSTED),
    code(25, "X509_V_ERR_PATH_LENGTH_EXCEEDED", "a CA stands deeper than its own issuer allows", UNTRUSTED),
    code(26, "X509_V_ERR_INVALID_PURPOSE", "the certificate's usages do not allow this role", USAGE),
    code(27, "X509_V_ERR_CERT_UNTRUSTED", "the root is not trusted for this purpose", UNTRUSTED),
    code(28, "X509_V_ERR_CERT_REJECTED", "the root is marked to be rejected for this purpose", UNTRUSTED),
    code(47, "X509_V_ERR_PERMITTED_VIOLATION", "a name is outside of what the CA may issue for", UNTRUSTED),
    code(48, "X509_V_ERR_EXCLUDED_VIOLATION", "a name is among those that the CA may not issue for", UNTRUSTED),
    code(62, "X509_V_ERR_HOSTNAME_MISMATCH", "the certificate is not for the host that was asked for", NAME),
    code(64, "X509_V_ERR_IP_ADDRESS_MISMATCH", "the certificate is not for the address that was asked for", NAME),
    code(66, "X509_V_ERR_EE_KEY_TOO_SMALL", "the key is smaller than the security level allows", WEAK),
    code(67, "X509_V_ERR_CA_KEY_TOO_SMALL", "a CA's key is smaller than the security level allows", WEAK),
    code(68, "X509_V_ERR_CA_MD_TOO_WEAK", "a certificate is signed over a hash that the security level refuses", WEAK),
];
