//! `password`, for keys in files: does the password from this source decrypt the key or the PKCS#12 file?

use nssight_diagnosis::fact::fact::{self, CertificateFileState, KeyPasswordState as State};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use openssl::error::ErrorStack;
use openssl::pkcs12::Pkcs12;
use openssl::pkey::{PKey, Private};
use zeroize::Zeroizing;

use crate::credentials::{Found, Key};
use crate::secret::{Password, PasswordForm};
use crate::walk::{Probe, Walk};

/// The files must have been read.
pub const PROBE: Probe = Probe { layer: Layer::Password, needs: &[Layer::Config, Layer::Credentials], run };

/// The line of a password file that OpenSSL uses: the first one, without its line end (openssl-passphrase-options(1)).
fn secret(given: Option<&Password>) -> Option<Zeroizing<Vec<u8>>> {
    let given = given?;
    let bytes = given.expose();
    let line = match given.form {
        PasswordForm::File => bytes.split(|byte| *byte == b'\n').next().unwrap_or_default(),
        PasswordForm::Literal => bytes,
    };
    Some(Zeroizing::new(line.strip_suffix(b"\r").unwrap_or(line).to_vec()))
}

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let given = walk.password.take();
    notes.put(fact::PASSWORD_SOURCE.text(&walk.target().password));
    let source = walk.target().password.to_string();
    let Some(found) = &mut walk.files else { return notes.skip("no credential files were read") };
    let secret = secret(given.as_ref());
    if let Some(packed) = found.packed.take() {
        return unpack(found, &packed, secret.as_deref(), &source, notes);
    }
    match found.key.take() {
        Some(Key::Locked(bytes)) => unlock(found, bytes, secret.as_deref(), &source, notes),
        other => {
            found.key = other;
            notes.put(State::NotNeeded);
            notes.pass("no key is encrypted, so no password is needed")
        }
    }
}

/// The start of a key in PEM (RFC 7468).
const PEM: &[u8] = b"-----BEGIN ";

fn open(bytes: &[u8], secret: &[u8]) -> Result<PKey<Private>, ErrorStack> {
    // Only the error for the actual form is useful.
    if bytes.windows(PEM.len()).any(|window| window == PEM) {
        PKey::private_key_from_pem_passphrase(bytes, secret)
    } else {
        PKey::private_key_from_pkcs8_passphrase(bytes, secret)
    }
}

fn unlock(
    found: &mut Found,
    bytes: Zeroizing<Vec<u8>>,
    secret: Option<&Vec<u8>>,
    source: &str,
    mut notes: Notes,
) -> Outcome {
    let Some(secret) = secret else {
        notes.put(State::NoneGiven);
        found.key = Some(Key::Locked(bytes));
        return notes.fail(signal::CREDENTIALS_LOCKED, "the private key is encrypted, and no password was given");
    };
    match open(&bytes, secret) {
        Ok(key) => {
            notes.put(State::Right);
            found.key = Some(Key::Open(key));
            let summary = format!("the password from {source} decrypts the private key");
            let Some((order, trouble)) = found.order() else { return notes.pass(summary) };
            notes.put(order);
            match trouble {
                // This was unknown before decryption.
                Some(trouble) => notes.fail_of(Layer::Credentials, signal::CERTIFICATES_DISORDERED, trouble),
                None => notes.pass(summary),
            }
        }
        Err(errors) if is_unsupported(&errors) => {
            found.key = Some(Key::Locked(bytes));
            let summary = "the private key is encrypted with an algorithm that this OpenSSL does not support";
            refused(&errors, summary, notes)
        }
        Err(_) => {
            notes.put(State::Wrong);
            found.key = Some(Key::Locked(bytes));
            notes.fail(
                signal::CREDENTIALS_LOCKED,
                format!("the password from {source} does not decrypt the private key"),
            )
        }
    }
}

/// Whether OpenSSL does not offer such an algorithm: since version 3, the algorithms of old programs are in a separate provider.
fn is_unsupported(errors: &ErrorStack) -> bool {
    errors.errors().iter().any(|error| error.reason().is_some_and(|reason| reason.contains("unsupported")))
}

/// Whether the file has no MAC to verify a password with (RFC 7292, 4).
fn is_without_code(errors: &ErrorStack) -> bool {
    errors.errors().iter().any(|error| error.reason() == Some("mac absent"))
}

/// No password was tested.
fn refused(errors: &ErrorStack, summary: &str, mut notes: Notes) -> Outcome {
    notes.put(State::NotTried);
    let why = errors.errors().iter().filter_map(|error| error.reason()).collect::<Vec<_>>().join("; ");
    notes.put(fact::CREDENTIALS_TROUBLE.text(why));
    notes.fail(signal::PKCS12_REFUSED, summary)
}

fn unpack(found: &mut Found, packed: &[u8], secret: Option<&Vec<u8>>, source: &str, mut notes: Notes) -> Outcome {
    let text = match secret.map(|secret| std::str::from_utf8(secret)) {
        Some(Ok(text)) => text,
        Some(Err(_)) | None => "",
    };
    let opened = Pkcs12::from_der(packed).and_then(|file| file.parse2(text));
    let file = match opened {
        Ok(file) => file,
        Err(errors) if is_unsupported(&errors) => {
            let summary = "the PKCS#12 file is encrypted with an algorithm that this OpenSSL does not support";
            return refused(&errors, summary, notes);
        }
        Err(errors) if is_without_code(&errors) => {
            let summary = "the PKCS#12 file has no MAC to check the password with, and this OpenSSL cannot read a file without a MAC";
            return refused(&errors, summary, notes);
        }
        Err(_) if secret.is_none() => {
            notes.put(State::NoneGiven);
            let summary = "the PKCS#12 file has a password, but none was given";
            return notes.fail(signal::CREDENTIALS_LOCKED, summary);
        }
        Err(_) => {
            notes.put(State::Wrong);
            let summary = format!("the password from {source} does not decrypt the PKCS#12 file");
            return notes.fail(signal::CREDENTIALS_LOCKED, summary);
        }
    };
    found.chain.extend(file.cert);
    found.chain.extend(file.ca.into_iter().flatten());
    if found.key.is_none() {
        found.key = file.pkey.map(Key::Open);
    }
    notes.put(State::Right);
    if found.chain.is_empty() {
        notes.put(CertificateFileState::WithoutCertificate);
        let summary = "the PKCS#12 file has no certificate";
        return notes.fail_of(Layer::Credentials, signal::CREDENTIALS_UNUSABLE, summary);
    }
    notes.pass("the PKCS#12 file is readable")
}
