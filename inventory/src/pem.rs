//! Certificates and keys in PEM files (RFC 7468), which programs over OpenSSL are configured with: a directory of them, or given files.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use openssl::error::ErrorStack;
use openssl::pkey::PKey;
use openssl::x509::X509;

/// No program is configured with a larger file.
const FILE_AT_MOST: u64 = 4 * 1024 * 1024;
/// Maximum number of files read from one directory.
const FILES_AT_MOST: usize = 1000;
const BEGIN: &[u8] = b"-----BEGIN ";

/// The content of PEM files.
#[derive(Debug, Default)]
pub struct PemFiles {
    /// The named paths.
    pub named: Vec<PathBuf>,
    /// Each certificate once, by its DER, with the names of the files that have it.
    pub(crate) certificates: BTreeMap<Vec<u8>, Vec<String>>,
    /// Files with private keys, and the public key that belongs to each (SubjectPublicKeyInfo, DER).
    pub(crate) keys: Vec<(String, Vec<u8>)>,
    /// Files with private keys behind a passphrase, which nssight does not request.
    pub(crate) locked: Vec<String>,
    /// Unreadable files.
    pub(crate) problems: Vec<String>,
}

impl PemFiles {
    /// Whether this names PEM files: a file, or a directory that has some.
    pub fn are_in(path: &Path) -> bool {
        match fs::read_dir(path) {
            Ok(entries) => entries.flatten().take(FILES_AT_MOST).any(|entry| begins(&entry.path()).unwrap_or(false)),
            Err(_) => path.is_file(),
        }
    }

    /// Reads the named files and directories. Subdirectories are skipped, and so are files in a directory that are not PEM.
    pub fn read(named: &[PathBuf]) -> Self {
        let mut files = Self { named: named.to_vec(), ..Self::default() };
        for path in named {
            match fs::read_dir(path) {
                Ok(entries) => files.directory(path, entries),
                Err(_) => files.file(path, false),
            }
        }
        files
    }

    fn directory(&mut self, directory: &Path, entries: fs::ReadDir) {
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        if paths.len() > FILES_AT_MOST {
            self.problems.push(format!("{}: only its first {FILES_AT_MOST} files were read", directory.display()));
        }
        paths.iter().take(FILES_AT_MOST).for_each(|path| self.file(path, true));
    }

    /// Reads one file. A file found in a directory is skipped if it is not PEM.
    fn file(&mut self, path: &Path, found: bool) {
        match content(path) {
            Ok(Some(content)) => self.content(path, &content),
            Ok(None) if found => {}
            Ok(None) => self.problems.push(format!("{}: not a PEM file", path.display())),
            Err(error) => self.problems.push(format!("{}: {error}", path.display())),
        }
    }

    fn content(&mut self, path: &Path, content: &[u8]) {
        let name = path.file_name().map_or_else(|| path.display().to_string(), |it| it.to_string_lossy().into_owned());
        let blocks = blocks(content);
        for block in &blocks {
            let read = match block.label {
                label if label.ends_with(b"CERTIFICATE") => self.certificate(&name, block.whole),
                label if label.ends_with(b"PRIVATE KEY") => self.key(&name, block),
                // Parameters, requests and public keys.
                _ => Ok(()),
            };
            if let Err(error) = read {
                self.problems.push(format!("{}: {error}", path.display()));
            }
        }
        if blocks.is_empty() {
            self.problems.push(format!("{}: the file is truncated", path.display()));
        }
    }

    fn certificate(&mut self, name: &str, block: &[u8]) -> Result<(), ErrorStack> {
        let files = self.certificates.entry(X509::from_pem(block)?.to_der()?).or_default();
        if files.last().is_none_or(|last| last != name) {
            files.push(name.to_owned());
        }
        Ok(())
    }

    fn key(&mut self, name: &str, block: &Block<'_>) -> Result<(), ErrorStack> {
        // RFC 7468, 11, and the header of OpenSSL's older form.
        let is_locked = block.label.starts_with(b"ENCRYPTED")
            || memchr::memmem::find(block.whole, b"Proc-Type: 4,ENCRYPTED").is_some();
        if is_locked {
            self.locked.push(name.to_owned());
            return Ok(());
        }
        // With this callback, OpenSSL never prompts at the terminal.
        let key = PKey::private_key_from_pem_callback(block.whole, |_| Ok(0))?;
        self.keys.push((name.to_owned(), key.public_key_to_der()?));
        Ok(())
    }

    /// A file that has the private key of this public key.
    pub(crate) fn key_of(&self, public: &[u8]) -> Option<&str> {
        self.keys.iter().find(|(_, own)| own == public).map(|(name, _)| name.as_str())
    }
}

/// From BEGIN to END.
struct Block<'a> {
    label: &'a [u8],
    whole: &'a [u8],
}

fn blocks(content: &[u8]) -> Vec<Block<'_>> {
    let mut blocks = Vec::new();
    let mut rest = content;
    while let Some(begin) = memchr::memmem::find(rest, BEGIN) {
        rest = &rest[begin..];
        let Some(label) = memchr::memmem::find(&rest[BEGIN.len()..], b"-----").map(|it| &rest[BEGIN.len()..][..it])
        else {
            break;
        };
        let end = [b"-----END ", label, b"-----"].concat();
        let Some(length) = memchr::memmem::find(rest, &end).map(|at| at + end.len()) else { break };
        blocks.push(Block { label, whole: &rest[..length] });
        rest = &rest[length..];
    }
    blocks
}

/// A regular file, opened; `None` for any other kind, since opening it may hang or have effects.
fn opened(path: &Path) -> io::Result<Option<File>> {
    if !fs::metadata(path)?.is_file() {
        return Ok(None);
    }
    File::open(path).map(Some)
}

fn begins(path: &Path) -> io::Result<bool> {
    let mut start = Vec::new();
    let Some(file) = opened(path)? else { return Ok(false) };
    file.take(64 * 1024).read_to_end(&mut start)?;
    Ok(memchr::memmem::find(&start, BEGIN).is_some())
}

/// A PEM file's content, wiped when it is dropped.
fn content(path: &Path) -> io::Result<Option<zeroize::Zeroizing<Vec<u8>>>> {
    let Some(file) = opened(path)? else { return Ok(None) };
    let length = file.metadata()?.len();
    if length > FILE_AT_MOST {
        return Ok(None);
    }
    // Allocated at full size, so that no reallocation leaves a piece of a key behind.
    let mut content = zeroize::Zeroizing::new(Vec::with_capacity(length as usize + 1));
    file.take(FILE_AT_MOST).read_to_end(&mut content)?;
    Ok(memchr::memmem::find(&content, BEGIN).is_some().then_some(content))
}

#[cfg(test)]
mod tests {
    use super::blocks;

    #[test]
    fn a_block_ends_at_its_own_end_line() {
        let text = b"x\n-----BEGIN A-----\n1\n-----END A-----\n-----BEGIN B-----\n-----END A-----\n-----END B-----\n-----BEGIN C-----";
        let found: Vec<&[u8]> = blocks(text).iter().map(|block| block.label).collect();
        assert_eq!(found, [&b"A"[..], b"B"]);
        for hostile in [&b"-----BEGIN "[..], b"-----BEGIN -----", b"-----BEGIN -----END -----", b""] {
            blocks(hostile);
        }
    }
}
