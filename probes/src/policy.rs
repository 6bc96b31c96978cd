//! What the crypto policy of an NSS wants beyond what NSS as it comes wants.

use nssight_diagnosis::derive::offer::offer;
use nssight_diagnosis::fact::{Facts, fact};
use nssight_nss::library;

/// NSS as it comes accepts RSA keys from this size on (measured on 3.87.1 and 3.123).
const RSA_MIN_AS_IT_COMES: i32 = 1023;
/// Hashes that NSS as it comes refuses in certificates.
const REFUSED_AS_IT_COMES: [&str; 1] = ["MD5"];

/// What the policy of the NSS that makes a session wants beyond what NSS as it comes wants.
#[derive(Debug, Clone, Default)]
pub struct Policy {
    /// Least size of an RSA key, where it is stricter.
    pub rsa_min: Option<i32>,
    /// Hashes in certificates that it refuses as well.
    pub hashes: Vec<&'static str>,
    /// What it keeps out of a ClientHello.
    pub removed: Vec<&'static str>,
}

impl Policy {
    /// That of the NSS in this process.
    pub fn of_this_process() -> Self {
        let refused = library::hashes_refused_in_certificates();
        Self {
            rsa_min: library::policy_limits().rsa_min.filter(|least| *least > RSA_MIN_AS_IT_COMES),
            hashes: refused.into_iter().filter(|hash| !REFUSED_AS_IT_COMES.contains(hash)).collect(),
            removed: library::refused_in_tls(),
        }
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
        out.put(match self.hashes.is_empty() {
            true => fact::PolicyHashes::AsItComes,
            false => fact::PolicyHashes::Stricter,
        });
        out.put(offer(&self.removed));
        self.removed.iter().for_each(|name| out.put(fact::OFFER_REMOVED.text(name)));
    }
}
