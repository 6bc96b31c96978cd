//! Certificates with the same issuer and serial number (SEC_ERROR_REUSED_ISSUER_AND_SERIAL).

use nssight_diagnosis::fact::fact::{self, SerialTwin as Twin};
use nssight_nss::Certificate;

use super::{CHAIN_AT_MOST, Entry, NAMED_AT_MOST, Opinion, Stored};
use crate::walk::Walk;

/// Finds two of them, in our database and in the chain that the peer sent.
pub(super) fn same(walk: &Walk<'_>, sent: &[Vec<u8>]) -> Opinion {
    let mut opinion = Opinion::default();
    let stored = walk.slot().map(|slot| slot.certificates()).unwrap_or_default();
    if sent.is_empty() {
        return hidden(&stored);
    }
    let sent = sent.iter().take(CHAIN_AT_MOST).filter_map(|der| Entry::read(der, None)).collect::<Vec<_>>();
    let number = |entry: &Entry| entry.x509.serial_number().to_bn().map(|number| number.to_vec()).ok();
    for certificate in stored {
        let der = certificate.der();
        let Some(entry) = Entry::read(&der, Some(Stored::Database(certificate))) else { continue };
        let is_twin =
            |other: &&Entry| other.issuer == entry.issuer && number(other) == number(&entry) && other.der != der;
        let Some(other) = sent.iter().find(is_twin) else { continue };
        let is_own = walk.chain().first().is_some_and(|own| own.der() == der);
        opinion.facts.put(match (is_own, entry.subject == entry.issuer) {
            (true, _) => Twin::Own,
            (false, true) => Twin::StoredCa,
            (false, false) => Twin::Stored,
        });
        let serial = other.serial();
        opinion.facts.put(fact::SERIAL_CERTIFICATE.text(format!("{}, sent by the peer", other.shown())));
        opinion.facts.put(fact::SERIAL_CERTIFICATE.text(format!("{}, in the database", entry.shown())));
        opinion.says = Some(format!(
            "{} and {} in the database are different certificates with the same issuer and serial number {serial}",
            other.shown(),
            entry.shown()
        ));
        return opinion;
    }
    unseen(opinion)
}

fn unseen(mut opinion: Opinion) -> Opinion {
    opinion.facts.put(Twin::Unseen);
    let says = "another certificate in the database has the same issuer and serial number as one that the peer sent";
    opinion.says = Some(says.to_owned());
    opinion
}

/// TLS 1.3 encrypts the chain, and NSS drops it. The user can compare the stored serial numbers on the peer's host.
fn hidden(stored: &[Certificate]) -> Opinion {
    let mut opinion = Opinion::default();
    for certificate in stored.iter().take(NAMED_AT_MOST) {
        let Some(entry) = Entry::read(&certificate.der(), Some(Stored::Database(certificate.share()))) else {
            continue;
        };
        let (shown, serial) = (entry.shown(), entry.serial());
        let text = format!("perhaps that of {shown}, in the database: {serial}");
        opinion.facts.put(fact::SERIAL_CERTIFICATE.text(text));
    }
    unseen(opinion)
}
