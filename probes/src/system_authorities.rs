//! The CAs of this system, as OpenSSL finds them if no others are named: a file and directories, built in or named by variables
//! (SSL_CTX_load_verify_locations(3)). OpenSSL silently ignores a missing one.

use std::env;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use nssight_diagnosis::Notes;
use nssight_diagnosis::fact::fact;
use openssl::x509::X509;

use crate::files::{self, PATIENCE};
use crate::openssl_configuration;

/// A bundle of all public CAs has a quarter of a megabyte.
const FILE_AT_MOST: u64 = 16 * 1024 * 1024;
/// Maximum number of directory entries to examine.
const ENTRIES_AT_MOST: usize = 5000;
/// The name of a certificate in a directory is the hash of its subject, in this many hexadecimal digits, and a number
/// (X509_LOOKUP_hash_dir(3)).
const HASH: usize = 8;

/// Notes the locations, and whether there are any CAs.
pub(crate) fn note(notes: &mut Notes) {
    let built_in = openssl_configuration::built_in();
    let home = built_in.parent().unwrap_or(Path::new("/"));
    let (file, directories) = (env::var_os("SSL_CERT_FILE"), env::var_os("SSL_CERT_DIR"));
    let is_named = file.is_some() || directories.is_some();
    let file = file.map_or_else(|| home.join("cert.pem"), PathBuf::from);
    let directories: Vec<PathBuf> = match &directories {
        Some(all) => env::split_paths(all).collect(),
        None => vec![home.join("certs")],
    };
    let of_file = files::within(&file, PATIENCE, certificates);
    let of_directories = directories.into_iter().map(|path| {
        let count = files::within(&path, PATIENCE, hashed);
        (path, count)
    });
    let all = std::iter::once((file, of_file)).chain(of_directories);
    let mut has_any = false;
    for (path, found) in all {
        let what = match &found {
            Ok(0) => "no certificate".to_owned(),
            Ok(1) => "1 certificate".to_owned(),
            Ok(count) => format!("{count} certificates"),
            Err(error) if error.kind() == io::ErrorKind::NotFound => "not there".to_owned(),
            Err(error) => error.to_string(),
        };
        // A location whose CAs cannot be counted may contain some.
        has_any |= !matches!(&found, Ok(0)) && !found.is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
        notes.put(fact::SYSTEM_AUTHORITIES.text(format!("{}: {what}", path.display())));
    }
    notes.put(if has_any { fact::SystemAuthoritiesState::There } else { fact::SystemAuthoritiesState::None });
    notes.put(if is_named {
        fact::SystemAuthoritiesSource::Environment
    } else {
        fact::SystemAuthoritiesSource::BuiltIn
    });
}

fn certificates(path: &Path) -> io::Result<usize> {
    let mut bytes = Vec::new();
    files::regular(path)?.take(FILE_AT_MOST).read_to_end(&mut bytes)?;
    Ok(X509::stack_from_pem(&bytes).map_or(0, |all| all.len()))
}

fn hashed(path: &Path) -> io::Result<usize> {
    let is_one = |name: &str| {
        let parts = name.split_once('.');
        parts.is_some_and(|(hash, number)| {
            let is_hash = hash.len() == HASH && hash.bytes().all(|it| it.is_ascii_hexdigit());
            is_hash && !number.is_empty() && number.bytes().all(|it| it.is_ascii_digit())
        })
    };
    let names = fs::read_dir(path)?.take(ENTRIES_AT_MOST).flatten().map(|entry| entry.file_name());
    Ok(names.filter(|name| name.to_str().is_some_and(is_one)).count())
}
