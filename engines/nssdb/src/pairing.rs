//! Whether the two files of a database belong together.

use crate::model::{Database, FileState, KeyMatch, PasswordState, Table};
use serde::Serialize;
use std::collections::HashSet;

/// The verdict of [`Database::pairing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Pairing {
    /// At least one certificate has its private key, and nothing contradicts that.
    Pair,
    /// There are no private keys and no sign that there should be: a database of CA certificates.
    NothingToPair,
    /// The certificate database had keys of its own, or trust that must be signed; the key database has other keys, and none
    /// that belongs to one of the certificates.
    NoKeyMatches,
    /// No key belongs to a certificate, and nothing shows that one should: the keys are waiting for certificates, as between
    /// `certutil -R` and the import of the certificate that the CA issues.
    KeysWait,
    /// The certificate database refers to keys of its own (public keys, or user flags), but the key database has none.
    KeyDbEmpty,
    /// The signatures in the key database are for objects that the certificate database does not have, and the
    /// trust that it has is not signed: after the first login all trust will be lost.
    SignaturesForeign,
    /// The certificate database has trust that must be signed, and the key database, although initialised,
    /// holds no signature for any of it.
    SignaturesMissing,
    /// One of the files could not be read completely, so there is no verdict.
    Unknown,
}

/// The verdict of [`Database::pairing`] and its evidence.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PairingReport {
    /// The verdict.
    pub pairing: Pairing,
    /// Certificates that have their private key.
    pub certificates_with_key: usize,
    /// Private keys without certificate.
    pub orphan_keys: usize,
    /// Certificates whose key has the right identifier and another public value.
    pub differing_keys: usize,
    /// Signed objects of the certificate database.
    pub signed_objects: usize,
    /// How many of them have a signature in the key database.
    pub objects_with_signature: usize,
    /// Signatures for objects that the certificate database does not have.
    pub foreign_signatures: usize,
}

impl Database {
    /// Judges without the password whether certificate and key database belong together. The proof is
    /// [`crate::Unlocked::verify_signatures`].
    pub fn pairing(&self) -> PairingReport {
        let used: HashSet<&[u8]> = self
            .certificates
            .iter()
            .filter(|certificate| certificate.has_private_key)
            .map(|certificate| certificate.cka_id.as_slice())
            .collect();
        let signed: HashSet<u32> = self
            .key_store
            .signed
            .iter()
            .filter(|value| value.id.table == Table::Certificates)
            .map(|value| value.id.object)
            .collect();
        let signatures: HashSet<u32> =
            self.key_store.signatures.keys().filter(|id| id.table == Table::Certificates).map(|id| id.object).collect();
        let mut report = PairingReport {
            pairing: Pairing::Unknown,
            certificates_with_key: self.certificates.iter().filter(|certificate| certificate.has_private_key).count(),
            orphan_keys: self.private_keys.iter().filter(|key| !used.contains(key.cka_id.as_slice())).count(),
            differing_keys: self
                .certificates
                .iter()
                .filter(|certificate| certificate.key_match == KeyMatch::Differs)
                .count(),
            signed_objects: signed.len(),
            objects_with_signature: signed.intersection(&signatures).count(),
            foreign_signatures: signatures.difference(&signed).count(),
        };
        report.pairing = self.judge(&report);
        report
    }

    fn judge(&self, report: &PairingReport) -> Pairing {
        let read = |state: &FileState| matches!(state, FileState::Read);
        if !read(&self.certificate_file) || !read(&self.key_file) {
            return Pairing::Unknown;
        }
        let keys: HashSet<&[u8]> = self.private_keys.iter().map(|key| key.cka_id.as_slice()).collect();
        let lacks_keys = self.public_keys.iter().any(|public| !keys.contains(public.cka_id.as_slice()))
            || self.certificates.iter().any(|certificate| certificate.stored_user_flag && !certificate.has_private_key);
        // A key whose certificate is still missing has its public half in cert9.db, and trust that was set with this key database
        // has a signature in it: either shows that the two files belong together, whatever else is missing.
        let related = self.public_keys.iter().any(|public| keys.contains(public.cka_id.as_slice()))
            || report.objects_with_signature > 0;
        let initialised = self.password != PasswordState::NotInitialised;
        if self.private_keys.is_empty() && lacks_keys {
            return Pairing::KeyDbEmpty;
        }
        if report.signed_objects > 0 && report.objects_with_signature == 0 {
            if report.foreign_signatures > 0 {
                return if self.private_keys.is_empty() || report.certificates_with_key > 0 {
                    Pairing::SignaturesForeign
                } else {
                    Pairing::NoKeyMatches
                };
            }
            if initialised && report.certificates_with_key == 0 && !related {
                return if self.private_keys.is_empty() { Pairing::SignaturesMissing } else { Pairing::NoKeyMatches };
            }
        }
        if report.certificates_with_key > 0 {
            return Pairing::Pair;
        }
        if self.private_keys.is_empty() || self.certificates.is_empty() {
            return Pairing::NothingToPair;
        }
        if lacks_keys && !related { Pairing::NoKeyMatches } else { Pairing::KeysWait }
    }
}
