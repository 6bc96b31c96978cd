//! The restrictions of a crypto policy beyond the TLS library's defaults.
use nssight_diagnosis::derive::offer::offer;
use nssight_diagnosis::fact::{Facts, fact};
use nssight_nss::library;
use nssight_wire::{ClientHello, Summary, TlsVersion};

use crate::target::Engine;

/// NSS accepts RSA keys from this size on by default (measured on 3.87.1 and 3.123).
const DEFAULT_RSA_MIN: i32 = 1023;
/// Hashes that NSS refuses in certificates by default.
const REJECTED_BY_DEFAULT: [&str; 1] = ["MD5"];

/// The security level of OpenSSL as most systems build it (`OPENSSL_TLS_SECURITY_LEVEL`).
const DEFAULT_SECURITY_LEVEL: u32 = 2;
/// From this level on SHA-256 is too weak for a signature (SSL_CTX_set_security_level(3)): the level requires 192 bits.
const LEVEL_WITHOUT_128_BITS: u32 = 4;
/// Groups that present-day servers require, by their numbers on the wire (RFC 8446, 4.2.3, 4.2.7 and B.4; RFC 9325, 4.2).
const GROUPS: [(u16, &str); 2] = [(29, "X25519"), (23, "P-256")];
const SIGNATURES: [(u16, &str); 3] =
    [(0x0403, "ECDSA with SHA-256"), (0x0804, "RSA-PSS with SHA-256"), (0x0401, "RSA with SHA-256")];
const SUITES_OF_13: [(u16, &str); 1] = [(0x1301, "TLS_AES_128_GCM_SHA256")];
const SUITES_BEFORE: [(u16, &str); 2] =
    [(0xc02b, "ECDHE-ECDSA with AES-128-GCM"), (0xc02f, "ECDHE-RSA with AES-128-GCM")];

/// The policy of a session's library; `None` without a session.
pub(crate) fn of_session(engine: Engine, wire: &Summary) -> Option<Policy> {
    Some(match engine {
        Engine::Nss => Policy::of_this_process(),
        Engine::Openssl => Policy::of_openssl(nssight_openssl::security_level()?, wire.client_hello.as_deref()),
    })
}

/// The restrictions of the session's library beyond NSS's defaults.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Minimum size of an RSA key, if it is stricter than the default.
    pub rsa_min: Option<i32>,
    /// Further hashes that the policy refuses in certificates.
    pub hashes: Vec<&'static str>,
    /// The algorithms that the policy excludes from a ClientHello.
    pub removed: Vec<&'static str>,
}

impl Policy {
    /// The policy of the NSS in this process.
    pub fn of_this_process() -> Self {
        let refused = library::hashes_refused_in_certificates();
        Self {
            rsa_min: library::policy_limits().rsa_min.filter(|least| *least > DEFAULT_RSA_MIN),
            hashes: refused.into_iter().filter(|hash| !REJECTED_BY_DEFAULT.contains(hash)).collect(),
            removed: library::refused_in_tls(),
        }
    }

    /// The policy of OpenSSL in this process, according to its level and to the ClientHello that it sent. Only its configuration removes
    /// anything from the ClientHello.
    pub(crate) fn of_openssl(level: u32, hello: Option<&ClientHello>) -> Self {
        // RSA key size of the same strength as the level (NIST SP 800-57, table 2).
        let rsa_min = match level {
            0..=DEFAULT_SECURITY_LEVEL => None,
            3 => Some(3072),
            4 => Some(7680),
            _ => Some(15360),
        };
        let hashes = if level >= LEVEL_WITHOUT_128_BITS { vec!["SHA-256"] } else { Vec::new() };
        let mut policy = Self { rsa_min, hashes, removed: Vec::new() };
        let Some(hello) = hello else { return policy };
        let mut lacks = |offered: &[u16], wanted: &[(u16, &'static str)]| {
            policy.removed.extend(wanted.iter().filter(|(number, _)| !offered.contains(number)).map(|(_, name)| *name));
        };
        lacks(&hello.groups.iter().map(|group| group.0).collect::<Vec<_>>(), &GROUPS);
        lacks(&hello.signature_schemes.iter().map(|scheme| scheme.0).collect::<Vec<_>>(), &SIGNATURES);
        let suites: Vec<u16> = hello.cipher_suites.iter().map(|suite| suite.0).collect();
        let versions = &hello.supported_versions;
        if versions.contains(&TlsVersion::TLS_1_3) {
            lacks(&suites, &SUITES_OF_13);
        }
        if versions.is_empty() || versions.iter().any(|version| *version < TlsVersion::TLS_1_3) {
            lacks(&suites, &SUITES_BEFORE);
        }
        policy
    }

    pub(crate) fn is_stricter(&self) -> bool {
        self.rsa_min.is_some() || !self.hashes.is_empty()
    }

    pub(crate) fn facts(&self, out: &mut Facts) {
        out.put(match self.rsa_min {
            Some(_) => fact::PolicyRsaMin::Stricter,
            None => fact::PolicyRsaMin::AsItComes,
        });
        if let Some(bits) = self.rsa_min {
            out.put(fact::POLICY_RSA_MIN_BITS.number(bits));
        }
        out.put(if self.hashes.is_empty() { fact::PolicyHashes::AsItComes } else { fact::PolicyHashes::Stricter });
        out.put(offer(&self.removed));
        self.removed.iter().for_each(|name| out.put(fact::OFFER_REMOVED.text(name)));
    }
}
