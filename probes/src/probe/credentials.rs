//! `credentials`: do the files with our certificate, its key and the trusted CAs exist, and do they have the right content?

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use nssight_diagnosis::fact::fact::{
    self, AuthoritiesFileState as Authorities, CertificateFileState as Certificate, KeyFileState as KeyState,
};
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Layer, Notes, Outcome};
use openssl::x509::X509;
use zeroize::Zeroizing;

use crate::credentials::{Block, Content, Fault, Found, Key};
use crate::files::{self, PATIENCE};
use crate::system_authorities;
use crate::target::Files;
use crate::walk::{Probe, Walk};

/// The paths must be known, and OpenSSL must be able to read their content.
pub const PROBE: Probe = Probe { layer: Layer::Credentials, needs: &[Layer::Config, Layer::Environment], run };

/// A bundle of all public CAs has a quarter of a megabyte.
const FILE_AT_MOST: u64 = 16 * 1024 * 1024;
/// Maximum number of files of a CA directory to examine.
const FILES_AT_MOST: usize = 2000;
/// Users other than owner and group have read permission.
const OTHERS_READ: u32 = 0o004;

const OF_AUTHORITIES: Words = Words { ssh: "is an SSH key, not a certificate", other: "is neither PEM nor DER" };

/// Why a file could not be used.
enum Problem {
    Missing,
    Unreadable,
    Bad(Fault),
}

/// The terms for a file of one kind in messages.
struct Words {
    ssh: &'static str,
    other: &'static str,
}

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(files) = walk.target().files().cloned() else {
        return notes.skip("our certificate is in a database");
    };
    let mut found = Found::default();
    let certificate = certificate(&files, &mut found, &mut notes);
    let key = key(&files, &mut found, &mut notes);
    let authorities = authorities(&files, &mut found, &mut notes);
    let order = found.order().and_then(|(order, trouble)| {
        notes.put(order);
        trouble
    });
    let is_exposed = is_exposed(&files, &mut notes);
    if certificate.is_none() && files.certificate.is_some() {
        notes.put(if found.packed.is_some() { Certificate::Packed } else { Certificate::Usable });
    }
    if key.is_none() && files.certificate.is_some() && (files.key.is_some() || certificate.is_none()) {
        notes.put(match (&found.key, &found.packed) {
            (Some(Key::Open(_)), _) => KeyState::Usable,
            (Some(Key::Locked(_)), _) => KeyState::Encrypted,
            (None, Some(_)) => KeyState::Packed,
            (None, None) => KeyState::NotGiven,
        });
    }
    let has_authorities = found.authorities.is_some();
    walk.files = Some(found);
    let unusable = |summary| (signal::CREDENTIALS_UNUSABLE, summary);
    let disordered = order.map(|summary| (signal::CERTIFICATES_DISORDERED, summary));
    let others = key.or(authorities).map(unusable);
    match certificate.map(unusable).or(disordered).or(others) {
        Some((shown, summary)) => notes.fail(shown, summary),
        None if is_exposed => {
            let path = files.key.or(files.certificate).map(|path| path.value.display().to_string());
            let summary = format!("every user of this host can read the key in {}", path.unwrap_or_default());
            notes.warn(signal::CREDENTIALS_REMARK, summary)
        }
        None => notes.pass(match (&files.certificate, has_authorities) {
            (None, _) => "no client certificate is used",
            (Some(_), false) => "certificate and key are readable; nssight uses the CAs of this system",
            (Some(_), true) => "certificate, key and trusted CAs are readable",
        }),
    }
}

/// The content of a file of reasonable size; otherwise the reason why there is none, and a sentence.
fn read(path: &Path, words: &Words) -> Result<Content, (Problem, String)> {
    let shown = path.display().to_string();
    let bytes = files::within(path, PATIENCE, |path| {
        let file = files::regular(path)?;
        let mut bytes = Zeroizing::new(Vec::new());
        file.take(FILE_AT_MOST + 1).read_to_end(&mut bytes)?;
        Ok(bytes)
    });
    let bytes = bytes.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => (Problem::Missing, format!("{shown} does not exist")),
        _ => (Problem::Unreadable, format!("{shown} cannot be read: {}", plain(&error))),
    })?;
    if bytes.len() as u64 > FILE_AT_MOST {
        return Err((Problem::Unreadable, format!("{shown} is larger than {} MiB", FILE_AT_MOST >> 20)));
    }
    Content::of(&bytes).map_err(|fault| {
        let what = match &fault {
            Fault::Empty => "is empty".to_owned(),
            Fault::Damaged(why) => format!("is damaged: {why}"),
            Fault::JavaKeystore => "is a Java keystore, which only Java reads".to_owned(),
            Fault::SshKey => words.ssh.to_owned(),
            Fault::NotRecognised => words.other.to_owned(),
        };
        (Problem::Bad(fault), format!("{shown} {what}"))
    })
}

/// The system's message for an error, without its number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        _ => error.to_string(),
    }
}

/// Reads our certificate, and the key if it is in the same file; returns a sentence about a problem.
fn certificate(files: &Files, found: &mut Found, notes: &mut Notes) -> Option<String> {
    let Some(path) = &files.certificate else {
        notes.put(Certificate::NotGiven);
        return None;
    };
    let shown = path.value.display();
    let words = Words { ssh: "is an SSH key, not a certificate", other: "is neither PEM, nor DER, nor PKCS#12" };
    let blocks = match read(&path.value, &words) {
        Ok(Content::Blocks(blocks)) => blocks,
        Ok(Content::Pkcs12(packed)) => {
            notes.put(fact::CREDENTIALS_FILE.text(format!("{shown}: PKCS#12")));
            found.packed = Some(packed);
            return None;
        }
        Err((problem, summary)) => {
            notes.put(match problem {
                Problem::Missing => Certificate::Missing,
                Problem::Unreadable => Certificate::Unreadable,
                Problem::Bad(Fault::Empty) => Certificate::Empty,
                Problem::Bad(Fault::Damaged(_)) => Certificate::Damaged,
                Problem::Bad(Fault::JavaKeystore) => Certificate::JavaKeystore,
                Problem::Bad(Fault::SshKey) => Certificate::SshKey,
                Problem::Bad(Fault::NotRecognised) => Certificate::NotRecognised,
            });
            return Some(summary);
        }
    };
    notes.put(fact::CREDENTIALS_FILE.text(format!("{shown}: {}", in_words(&blocks))));
    let has = |wanted: fn(&Block) -> bool| blocks.iter().any(wanted);
    let (is_request, is_ssh) = (has(|it| matches!(it, Block::Request)), has(|it| matches!(it, Block::SshKey)));
    let is_key = has(|it| matches!(it, Block::Key(_) | Block::LockedKey(_)));
    for block in blocks {
        match block {
            Block::Certificate(certificate) => found.chain.push(certificate),
            Block::Key(key) if found.key.is_none() => found.key = Some(Key::Open(key)),
            Block::LockedKey(bytes) if found.key.is_none() => found.key = Some(Key::Locked(bytes)),
            _ => {}
        }
    }
    if !found.chain.is_empty() {
        return None;
    }
    let (state, what) = match (is_key, is_request, is_ssh) {
        (true, ..) => (Certificate::WithoutCertificate, "has a private key but no certificate"),
        (_, true, _) => (Certificate::Request, "is a certificate request, not a certificate"),
        (.., true) => (Certificate::SshKey, "is an SSH key, not a certificate"),
        _ => (Certificate::WithoutCertificate, "has no certificate"),
    };
    notes.put(state);
    Some(format!("{shown} {what}"))
}

/// Reads the key from its own file.
fn key(files: &Files, found: &mut Found, notes: &mut Notes) -> Option<String> {
    if files.certificate.is_none() {
        notes.put(KeyState::NotWanted);
        return None;
    }
    let Some(path) = &files.key else {
        // A key in a separate file is only needed if the layers of the key are checked.
        return None;
    };
    let shown = path.value.display();
    let words = Words { ssh: "is a key in SSH format", other: "is neither PEM nor DER" };
    let blocks = match read(&path.value, &words) {
        Ok(Content::Blocks(blocks)) => blocks,
        Ok(Content::Pkcs12(_)) => {
            notes.put(KeyState::NotRecognised);
            return Some(format!(
                "{shown} is a PKCS#12 file with certificate and key: give it as --cert, without --key"
            ));
        }
        Err((problem, summary)) => {
            notes.put(match problem {
                Problem::Missing => KeyState::Missing,
                Problem::Unreadable => KeyState::Unreadable,
                Problem::Bad(Fault::Empty) => KeyState::Empty,
                Problem::Bad(Fault::Damaged(_)) => KeyState::Damaged,
                Problem::Bad(Fault::JavaKeystore) => KeyState::JavaKeystore,
                Problem::Bad(Fault::SshKey) => KeyState::SshKey,
                Problem::Bad(Fault::NotRecognised) => KeyState::NotRecognised,
            });
            return Some(summary);
        }
    };
    notes.put(fact::CREDENTIALS_FILE.text(format!("{shown}: {}", in_words(&blocks))));
    let has = |wanted: fn(&Block) -> bool| blocks.iter().any(wanted);
    let (is_public, is_ssh) = (has(|it| matches!(it, Block::PublicKey)), has(|it| matches!(it, Block::SshKey)));
    let is_certificate = has(|it| matches!(it, Block::Certificate(_)));
    found.key = blocks.into_iter().find_map(|block| match block {
        Block::Key(key) => Some(Key::Open(key)),
        Block::LockedKey(bytes) => Some(Key::Locked(bytes)),
        _ => None,
    });
    if found.key.is_some() {
        return None;
    }
    let (state, what) = match (is_ssh, is_public, is_certificate) {
        (true, ..) => (KeyState::SshKey, "is a key in SSH format"),
        (_, _, true) => (KeyState::WithoutKey, "has a certificate but no private key"),
        (_, true, _) => (KeyState::PublicKey, "has a public key, but no private key"),
        _ => (KeyState::WithoutKey, "has no private key"),
    };
    notes.put(state);
    Some(format!("{shown} {what}"))
}

/// Reads the CAs of a file and of a directory.
fn authorities(files: &Files, found: &mut Found, notes: &mut Notes) -> Option<String> {
    if files.authorities.is_none() && files.directory.is_none() {
        notes.put(Authorities::Systems);
        system_authorities::note(notes);
        return None;
    }
    let mut all = Vec::new();
    if let Some(path) = &files.authorities
        && let Err((state, summary)) = bundle(&path.value, &mut all, notes)
    {
        notes.put(state);
        return Some(summary);
    }
    if let Some(path) = &files.directory
        && let Err((state, summary)) = directory(&path.value, &mut all)
    {
        notes.put(state);
        return Some(summary);
    }
    notes.put(Authorities::Usable);
    found.authorities = Some(all);
    None
}

fn bundle(path: &Path, all: &mut Vec<X509>, notes: &mut Notes) -> Result<(), (Authorities, String)> {
    let shown = path.display();
    let content = read(path, &OF_AUTHORITIES).map_err(|(problem, summary)| match problem {
        Problem::Missing => (Authorities::Missing, summary),
        Problem::Unreadable => (Authorities::Unreadable, summary),
        Problem::Bad(Fault::Empty) => (Authorities::Empty, summary),
        Problem::Bad(Fault::Damaged(_)) => (Authorities::Damaged, summary),
        Problem::Bad(Fault::JavaKeystore | Fault::SshKey | Fault::NotRecognised) => {
            (Authorities::NotRecognised, summary)
        }
    })?;
    let blocks = match content {
        Content::Blocks(blocks) => blocks,
        Content::Pkcs12(_) => {
            return Err((
                Authorities::NotRecognised,
                format!("{shown} is a PKCS#12 file, but CAs must be in PEM or DER"),
            ));
        }
    };
    notes.put(fact::CREDENTIALS_FILE.text(format!("{shown}: {}", in_words(&blocks))));
    let before = all.len();
    all.extend(certificates(blocks));
    if all.len() > before {
        Ok(())
    } else {
        Err((Authorities::WithoutCertificate, format!("{shown} has no certificate")))
    }
}

fn certificates(blocks: Vec<Block>) -> impl Iterator<Item = X509> {
    blocks.into_iter().filter_map(|block| match block {
        Block::Certificate(certificate) => Some(certificate),
        _ => None,
    })
}

/// The certificates of a directory. OpenSSL itself uses those that are named by their hashes: eight digits, a dot and a number.
fn directory(path: &Path, all: &mut Vec<X509>) -> Result<(), (Authorities, String)> {
    let shown = path.display().to_string();
    let listed = files::within(path, PATIENCE, |path| {
        let entries = fs::read_dir(path)?.take(FILES_AT_MOST).flatten();
        let is_hash = |name: &str| {
            let (hash, number) = name.split_once('.').unwrap_or_default();
            hash.len() == 8
                && hash.bytes().all(|it| it.is_ascii_hexdigit())
                && number.bytes().all(|it| it.is_ascii_digit())
        };
        Ok(entries.filter(|it| it.file_name().to_str().is_some_and(is_hash)).map(|it| it.path()).collect::<Vec<_>>())
    });
    let paths = listed.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => (Authorities::Missing, format!("{shown} does not exist")),
        _ => (Authorities::Unreadable, format!("{shown} cannot be read: {}", plain(&error))),
    })?;
    for path in &paths {
        // Unreadable files are ignored, as OpenSSL does.
        let Ok(Content::Blocks(blocks)) = read(path, &OF_AUTHORITIES) else { continue };
        all.extend(certificates(blocks));
    }
    if all.is_empty() {
        Err((
            Authorities::WithoutCertificate,
            format!(
                "{shown} has no certificate under a name that OpenSSL looks for (openssl rehash creates these names)"
            ),
        ))
    } else {
        Ok(())
    }
}

fn is_exposed(files: &Files, notes: &mut Notes) -> bool {
    let Some(path) = files.key.as_ref().or(files.certificate.as_ref()) else { return false };
    let meta = files::within(&path.value, PATIENCE, |path| fs::metadata(path));
    let Ok(mode) = meta.map(|meta| meta.permissions().mode() & 0o7777) else { return false };
    notes.put(fact::KEY_FILE_MODE.text(format!("{mode:04o}")));
    let is_exposed = files.key.is_some() && mode & OTHERS_READ != 0;
    notes.put(if is_exposed { fact::KeyFileExposed::Yes } else { fact::KeyFileExposed::No });
    is_exposed
}

/// "2 certificates, 1 private key".
fn in_words(blocks: &[Block]) -> String {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for block in blocks {
        let name = match block {
            Block::Certificate(_) => "certificate",
            Block::Key(_) => "private key",
            Block::LockedKey(_) => "encrypted private key",
            Block::PublicKey => "public key",
            Block::Request => "certificate request",
            Block::SshKey => "SSH key",
            Block::Other(label) => label,
        };
        match counts.iter_mut().find(|(known, _)| known == name) {
            Some((_, count)) => *count += 1,
            None => counts.push((name.to_owned(), 1)),
        }
    }
    let words = counts.iter().map(|(name, count)| format!("{count} {name}{}", if *count == 1 { "" } else { "s" }));
    let words: Vec<String> = words.collect();
    if words.is_empty() { "unknown content".to_owned() } else { words.join(", ") }
}
