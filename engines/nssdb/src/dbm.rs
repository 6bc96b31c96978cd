//! `cert8.db` and `key3.db`.

mod bytes;
mod cert8;
mod hash;
mod key3;

use crate::error::{Error, Place, Problem};
use crate::model::{Database, FileState, Generation, PasswordState, SECRET_KEY};
use crate::problems::Problems;
use crate::{Format, file, join, unlock};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

/// Largest hash file read.
const MAX_FILE: u64 = 2 << 30;
/// How often a changing file is read again, and the pause between.
const ATTEMPTS: u32 = 25;
const PAUSE: Duration = Duration::from_millis(20);

/// Reads both files. Fails only if neither can be opened.
pub(crate) fn load(dir: &Path, prefix: &str) -> Result<Database, Error> {
    let certificate_path = dir.join(format!("{prefix}cert8.db"));
    let key_path = dir.join(format!("{prefix}key3.db"));
    let mut problems = (Problems::of(file::name(&certificate_path)), Problems::of(file::name(&key_path)));
    let certificates = read(&certificate_path, &mut problems.0, |contents, problems| {
        let found = cert8::read(&contents.pairs, cert8::blob_dir(&certificate_path), problems);
        let state = state(contents.complete && found.complete);
        (found, state)
    });
    let keys = read(&key_path, &mut problems.1, |contents, problems| {
        let mut found = key3::read(&contents.pairs, problems);
        if !contents.complete && found.store.check.is_none() {
            found.store.unreadable.get_or_insert("the file is damaged and no password record was found".into());
        }
        let state = state(contents.complete && found.complete);
        (found, state)
    });
    let (certificates, certificate_file) = match (certificates, &keys) {
        (Err(error), Err(_)) => return Err(error),
        (Ok((found, state)), _) => (Some(found), state),
        (Err(error), Ok(_)) => (None, FileState::Failed(error)),
    };
    let (keys, key_file) = match keys {
        Ok(found) => found,
        Err(error) => {
            let mut none = key3::Keys::default();
            none.store.unreadable = Some(error.to_string());
            (none, FileState::Failed(error))
        }
    };
    let (certificates, crls, mut not_understood) = match certificates {
        Some(found) => (found.certificates, found.crls, found.not_understood),
        None => (Vec::new(), Vec::new(), BTreeMap::new()),
    };
    if keys.secret_keys > 0 {
        not_understood.insert(SECRET_KEY.to_owned(), keys.secret_keys);
    }
    let mut database = Database {
        directory: dir.to_owned(),
        prefix: prefix.to_owned(),
        format: Format::Dbm,
        partial: !matches!(certificate_file, FileState::Read) || !matches!(key_file, FileState::Read),
        certificate_file,
        key_file,
        certificates,
        private_keys: keys.private_keys,
        public_keys: Vec::new(),
        crls,
        stray_trust: 0,
        password: PasswordState::NotInitialised,
        generation: Generation {
            salt_length: keys.store.global_salt.len(),
            key3_version: keys.version,
            ..Generation::default()
        },
        not_understood,
        problems: Vec::new(),
        key_store: keys.store,
    };
    database.password = unlock::state(&database.key_store);
    join::keys(&mut database);
    database.problems = problems.0.into_vec();
    database.problems.extend(problems.1.into_vec());
    Ok(database)
}

/// The libraries in a list of modules, `secmod.db` (`lg_DecodeSecMod` in lib/softoken/legacydb/pk11db.c).
///
/// # Errors
/// Also for a list that can be read only in part: the missing part may name a library.
pub(crate) fn libraries(path: &Path) -> Result<Vec<String>, Error> {
    let mut problems = Problems::of(file::name(path));
    read(path, &mut problems, |contents, _| {
        let all = contents.pairs.iter().map(|pair| library(&pair.value)).collect::<Option<Vec<_>>>();
        all.filter(|_| contents.complete)
    })?
    .map(|all| all.into_iter().filter(|library| !library.is_empty()).collect())
    .ok_or_else(|| {
        let what = "only part of the module list is readable".to_owned();
        Error::Corrupt(Problem { file: file::name(path), place: Place::File, what })
    })
}

/// The library in a record: the third field is the offset of the module's name, and the library follows the name. NSS's own
/// module has none.
fn library(record: &[u8]) -> Option<String> {
    let mut head = bytes::Fields::new(record);
    head.take(2)?;
    let mut fields = bytes::Fields::new(record.get(head.length()?..)?);
    let name = fields.length()?;
    fields.take(name)?;
    let library = fields.length()?;
    Some(String::from_utf8_lossy(fields.take(library)?).into_owned())
}

fn state(complete: bool) -> FileState {
    if complete { FileState::Read } else { FileState::Partial }
}

/// Reads a file whose pairs are interpreted while its bytes are in memory: most pairs are slices of them.
fn read<T>(
    path: &Path,
    problems: &mut Problems,
    interpret: impl FnOnce(&hash::Contents<'_>, &mut Problems) -> T,
) -> Result<T, Error> {
    let bytes = bytes(path)?;
    let contents = hash::read(&bytes, problems)
        .map_err(|what| Error::Corrupt(Problem { file: file::name(path), place: Place::File, what }))?;
    Ok(interpret(&contents, problems))
}

/// The bytes of a file that stayed the same while it was read. The format has no change counter and no journal;
/// only size and times reveal a writer.
fn bytes(path: &Path) -> Result<Vec<u8>, Error> {
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            std::thread::sleep(PAUSE);
        }
        let (bytes, before) = file::read(path, MAX_FILE)?;
        if file::stamp(path)? == Some(before) {
            return Ok(bytes);
        }
    }
    Err(Error::Busy {
        file: path.display().to_string(),
        what: format!("the file changed during each of {ATTEMPTS} attempts to read it"),
    })
}
