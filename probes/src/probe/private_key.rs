//! `private-key`: does the key of our certificate exist, does it match, and can it sign now?

use nssight_diagnosis::fact::fact::{self, PrivateKeyState};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_nss::key::KeyKind;
use nssight_nss::{PrivateKey, library};
use nssight_nssdb::{Database, KeyMatch};

use crate::error_info;
use crate::probe::nss_db;
use crate::walk::{Probe, Walk};
use crate::x509;

/// Before a login NSS does not show private keys.
pub const PROBE: Probe =
    Probe { layer: Layer::PrivateKey, needs: &[Layer::Config, Layer::NssDb, Layer::Password, Layer::Certificate], run };

/// The key file, if it holds the private key of this certificate, compared by public value.
fn has_key_of(native: &Database, der: &[u8]) -> Option<&'static str> {
    let entry = native.certificates.iter().find(|entry| entry.der == der)?;
    (entry.key_match == KeyMatch::Matches).then(|| native.format.key_file())
}

/// Whether another certificate with the nickname of this one has its key. NSS returns the most recent certificate, with or without a key
/// (`PK11_FindCertFromNickname`, `CERT_IsNewer`); programs that ask for a certificate of the user get the other (`CERT_FindUserCertByUsage`).
fn a_namesake_has_its_key(native: &Database, der: &[u8]) -> bool {
    let Some(own) = native.certificates.iter().find(|entry| entry.der == der) else { return false };
    let mut others = native.certificates.iter().filter(|entry| entry.der != der && entry.has_private_key);
    others.any(|entry| entry.nicknames.iter().any(|it| own.nicknames.contains(it)))
}

/// A key that no function of this NSS can use: it counts as missing, whatever the files hold.
fn unknown_kind(walk: &Walk<'_>, nickname: &str, der: &[u8], notes: &mut Notes) -> Option<Outcome> {
    let kind = x509::newer_kind(der)?;
    let slot = walk.opened.as_ref()?.keys();
    if slot.does(kind.mechanism) {
        return None;
    }
    notes.put(fact::PRIVATE_KEY_KIND.text(kind.name));
    notes.put(PrivateKeyState::KindUnknownToNss);
    let (major, minor) = kind.since;
    let summary = format!(
        "the key of \"{nickname}\" is {}, which this NSS ({}) does not support; the key requires NSS {major}.{minor} or later",
        kind.name,
        library::nss_version()
    );
    Some(std::mem::take(notes).fail(signal::KEY_UNUSABLE, summary))
}

/// The key of this certificate as the previous check unwrapped it, from the same open database.
fn unwrapped_before(walk: &Walk<'_>, der: &[u8]) -> Option<PrivateKey> {
    let before = walk.own_before.as_ref().filter(|own| own.certificate.der() == der)?;
    before.key.as_ref()?.share().ok()
}

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(nickname) = walk.target().nickname().map(|nickname| nickname.value.as_str()) else {
        notes.put(PrivateKeyState::NotWanted);
        return notes.pass("no client certificate is used, so no key is needed");
    };
    let Some(certificate) = walk.own.as_ref().map(|own| &own.certificate) else {
        return notes.fail(signal::KEY_UNUSABLE, "no certificate was found, so nssight cannot look up its key");
    };
    // Checked before the lookup: NSS finds a key even if it does not support its kind.
    if let Some(outcome) = unknown_kind(walk, nickname, &certificate.der(), &mut notes) {
        return outcome;
    }
    let key = match PrivateKey::find(certificate) {
        Ok(key) => key,
        Err(error) => {
            if let Some(token) = walk.token() {
                notes.put(PrivateKeyState::Missing);
                let summary = format!("the token \"{}\" has no private key for \"{nickname}\"", token.token_name());
                return notes.fail(signal::KEY_UNUSABLE, summary).error(error_info::of(&error));
            }
            let native = nss_db::open_natively(walk);
            if let Some(file) = native.as_ref().and_then(|native| has_key_of(native, &certificate.der())) {
                let opinion = format!("{file}, read without NSS, has the key of this certificate");
                notes.put(fact::PRIVATE_KEY_SECOND_OPINION.text(opinion));
                notes.put(PrivateKeyState::IndexStale);
                let summary = format!("the private key of \"{nickname}\" is in {file}, but NSS does not find it");
                let outcome = notes.fail(signal::KEY_UNUSABLE, summary).error(error_info::of(&error));
                return nss_db::index_remedy(file, outcome);
            }
            let mut summary = format!("\"{nickname}\" has no private key in this database");
            nss_db::note_keys(native.as_ref(), &mut notes);
            let has_namesake = native.is_some_and(|native| a_namesake_has_its_key(&native, &certificate.der()));
            notes.put(if has_namesake { PrivateKeyState::OnlyOfNamesake } else { PrivateKeyState::Missing });
            if has_namesake {
                summary +=
                    ", but another certificate with that nickname has one, and some programs use that certificate";
            }
            return notes.fail(signal::KEY_UNUSABLE, summary).error(error_info::of(&error));
        }
    };
    let kind = match key.kind() {
        KeyKind::Rsa => "RSA".to_owned(),
        KeyKind::Dsa => "DSA".to_owned(),
        KeyKind::Ec => "EC".to_owned(),
        KeyKind::Other(number) => format!("kind {number}"),
    };
    notes.put(fact::PRIVATE_KEY_KIND.text(format!("{kind}, {} bits", certificate.key_bits())));
    // A failed copy proves nothing about the key: in this case the stored key itself is tested. Another token never exports its key.
    let in_session = |slot| unwrapped_before(walk, &certificate.der()).or_else(|| key.in_session(slot).ok());
    let key = walk.slot().filter(|_| walk.token().is_none()).and_then(in_session).unwrap_or(key);
    let outcome = match key.proves(certificate) {
        Ok(true) => {
            notes.put(fact::PRIVATE_KEY_CHALLENGE.text("signed with the private key, verified with the certificate"));
            notes.put(PrivateKeyState::Signs);
            notes.pass(format!("the {kind} key of \"{nickname}\" can sign"))
        }
        Ok(false) => {
            let summary =
                format!("the private key that NSS finds for \"{nickname}\" does not belong to the certificate");
            let challenge = "signed with the private key, but the signature does not verify with the certificate";
            notes.put(fact::PRIVATE_KEY_CHALLENGE.text(challenge));
            notes.put(PrivateKeyState::Mismatch);
            notes.fail(signal::KEY_UNUSABLE, summary)
        }
        Err(error) => {
            let summary = format!("the private key of \"{nickname}\" exists, but cannot sign: {}", error.name);
            notes.put(PrivateKeyState::CannotSign);
            notes.fail(signal::KEY_UNUSABLE, summary).error(error_info::of(&error))
        }
    };
    if let Some(own) = &mut walk.own {
        own.key = Some(key);
    }
    outcome
}
