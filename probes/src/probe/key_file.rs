//! `private-key`, for files: does the key exist, does it belong to our certificate, and can it sign?

use nssight_diagnosis::fact::fact::{self, PrivateKeyState};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::pkey::{Id, PKey, Private};
use openssl::sign::{Signer, Verifier};
use openssl::x509::X509;

use crate::credentials::Key;
use crate::target::Engine;
use crate::walk::{Probe, Walk};
use crate::{error_info, open_session};

/// An encrypted key must have been decrypted.
pub const PROBE: Probe = Probe {
    layer: Layer::PrivateKey,
    needs: &[Layer::Config, Layer::Credentials, Layer::Password, Layer::Certificate],
    run,
};

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(own) = walk.files.as_ref().and_then(|files| files.chain.first()) else {
        notes.put(PrivateKeyState::NotWanted);
        return notes.pass("no client certificate is used, so no key is needed");
    };
    let Some(Key::Open(key)) = walk.files.as_ref().and_then(|files| files.key.as_ref()) else {
        notes.put(PrivateKeyState::Missing);
        let summary = "no private key was given, and the certificate file has none";
        return notes.fail(signal::KEY_UNUSABLE, summary);
    };
    notes.put(fact::PRIVATE_KEY_KIND.text(format!("{}, {} bits", kind(key.id()), key.bits())));
    if !own.public_key().is_ok_and(|public| public.public_eq(key)) {
        notes.put(PrivateKeyState::Mismatch);
        return notes.fail(signal::KEY_UNUSABLE, "the private key does not belong to our certificate");
    }
    let proof = proves(key, own);
    let by_nss = match (walk.target().engine(), walk.identity()) {
        (Engine::Nss, Some(identity)) => open_session::nss_takes(&identity),
        _ => Ok(()),
    };
    match (proof, by_nss) {
        (Ok(true), Err(error)) => {
            let is_usual = matches!(key.id(), Id::RSA | Id::RSA_PSS | Id::EC);
            notes.put(if is_usual { PrivateKeyState::CannotSign } else { PrivateKeyState::KindUnknownToNss });
            let summary = format!("NSS on this host rejects the {} key", kind(key.id()));
            notes.fail(signal::KEY_UNUSABLE, summary).error(error_info::of_session(&error))
        }
        (Ok(true), Ok(())) => {
            notes.put(PrivateKeyState::Signs);
            notes.put(fact::PRIVATE_KEY_CHALLENGE.text("signed with the private key, verified with the certificate"));
            notes.pass(format!("the {} key belongs to our certificate and signs", kind(key.id())))
        }
        (Ok(false), _) => {
            notes.put(PrivateKeyState::Mismatch);
            notes.fail(signal::KEY_UNUSABLE, "the private key's signature does not verify with our certificate")
        }
        (Err(error), _) => {
            notes.put(PrivateKeyState::CannotSign);
            let why = error.errors().first().and_then(|error| error.reason()).unwrap_or("no reason given").to_owned();
            notes.fail(signal::KEY_UNUSABLE, format!("the private key cannot sign: {why}"))
        }
    }
}

fn kind(id: Id) -> &'static str {
    match id {
        Id::RSA => "RSA",
        Id::RSA_PSS => "RSA-PSS",
        Id::EC => "EC",
        Id::DSA => "DSA",
        Id::ED25519 => "Ed25519",
        Id::ED448 => "Ed448",
        _ => "other",
    }
}

fn proves(key: &PKey<Private>, own: &X509) -> Result<bool, ErrorStack> {
    let challenge = b"a trial signature";
    let public = own.public_key()?;
    if matches!(key.id(), Id::ED25519 | Id::ED448) {
        let signature = Signer::new_without_digest(key)?.sign_oneshot_to_vec(challenge)?;
        return Verifier::new_without_digest(&public)?.verify_oneshot(&signature, challenge);
    }
    let hash = MessageDigest::sha256();
    let signature = Signer::new(hash, key)?.sign_oneshot_to_vec(challenge)?;
    Verifier::new(hash, &public)?.verify_oneshot(&signature, challenge)
}
