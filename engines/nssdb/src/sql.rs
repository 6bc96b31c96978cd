//! `cert9.db` and `key4.db`.

pub(crate) mod attribute;
mod cert9;
mod journal;
mod key4;
mod page;
mod snapshot;
mod table;
mod wal;

use crate::error::{Error, Place, Problem};
use crate::model::{Database, FileState, Generation, PasswordState};
use crate::problems::Problems;
use crate::{Format, join, unlock};
pub(crate) use page::{SQLITE_HEADER, SQLITE_MAGIC};
use rusqlite::Connection;
use snapshot::Snapshot;
use std::path::Path;

/// Whether the database has a `metaData` table.
pub(crate) fn has_metadata(path: &Path) -> Result<bool, Error> {
    open(path).and_then(|connection| table::exists(&connection, "metaData").map_err(|error| sqlite_error(path, &error)))
}

/// Reads both files. Fails only if neither can be opened.
pub(crate) fn load(dir: &Path, prefix: &str) -> Result<Database, Error> {
    let name = |base: &str| format!("{prefix}{base}");
    let (certificate_name, key_name) = (name("cert9.db"), name("key4.db"));
    let mut problems = (Problems::of(&certificate_name), Problems::of(&key_name));
    let certificates = read(&dir.join(certificate_name), &mut problems.0, cert9::read);
    let keys = read(&dir.join(key_name), &mut problems.1, key4::read);
    let (certificates, certificate_file) = match (certificates, &keys) {
        (Err(error), Err(_)) => return Err(error),
        (Ok(found), _) => {
            let state = state(found.complete);
            (found, state)
        }
        (Err(error), Ok(_)) => (cert9::Certificates::default(), FileState::Failed(error)),
    };
    let (mut keys, key_file) = match keys {
        Ok(found) => {
            let state = state(found.complete);
            (found, state)
        }
        Err(error) => {
            let mut none = key4::Keys::default();
            none.store.unreadable = Some(error.to_string());
            (none, FileState::Failed(error))
        }
    };
    let mut not_understood = certificates.not_understood;
    for (kind, count) in keys.not_understood {
        *not_understood.entry(kind).or_default() += count;
    }
    keys.store.signed.extend(certificates.signed);
    let mut merged = certificates.merged;
    merged.extend(keys.merged);
    merged.sort();
    merged.dedup();
    let mut database = Database {
        directory: dir.to_owned(),
        prefix: prefix.to_owned(),
        format: Format::Sql,
        partial: !matches!(certificate_file, FileState::Read) || !matches!(key_file, FileState::Read),
        certificate_file,
        key_file,
        certificates: certificates.certificates,
        private_keys: keys.private_keys,
        public_keys: certificates.public_keys,
        crls: certificates.crls,
        stray_trust: 0,
        password: PasswordState::NotInitialised,
        generation: Generation {
            certificate_columns: certificates.columns,
            key_columns: keys.columns,
            pkcs11_trust: certificates.trust.iter().filter(|row| row.preferred).count(),
            salt_length: keys.store.global_salt.len(),
            merged,
            key3_version: None,
        },
        not_understood,
        problems: Vec::new(),
        key_store: keys.store,
    };
    database.password = unlock::state(&database.key_store);
    database.stray_trust = join::trust(&mut database.certificates, certificates.trust, &mut problems.0);
    join::keys(&mut database);
    database.problems = problems.0.into_vec();
    database.problems.extend(problems.1.into_vec());
    Ok(database)
}

fn state(complete: bool) -> FileState {
    if complete { FileState::Read } else { FileState::Partial }
}

fn open(path: &Path) -> Result<Connection, Error> {
    Snapshot::take(path)?.open().map_err(|error| sqlite_error(path, &error))
}

fn read<T>(
    path: &Path,
    problems: &mut Problems,
    reader: fn(&Connection, &mut Problems) -> Result<T, rusqlite::Error>,
) -> Result<T, Error> {
    let connection = open(path)?;
    reader(&connection, problems).map_err(|error| sqlite_error(path, &error))
}

fn sqlite_error(path: &Path, error: &rusqlite::Error) -> Error {
    Error::Corrupt(Problem { file: crate::file::name(path), place: Place::File, what: error.to_string() })
}
