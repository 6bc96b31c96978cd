//! A database that stays open for the next target: it is opened and logged in to once, and our own chain is verified once.
//!
//! The state of one target must never influence the verdict on another. So a database is kept only after a check without a failure, only
//! for a target with the same database and password, and only while its files are unchanged. It is never kept where NSS verifies with
//! libpkix, which caches the chains that peers have sent (pkix_tools.c, `pkix_CacheCertChain_Lookup`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nssight_diagnosis::Status;
use nssight_nss::library;
use nssight_nssdb::directory::parse_argument;

use crate::secret::Password;
use crate::target::{Engine, Target};
use crate::walk::{Opened, Own, Walk};

/// A directory with more entries than this does not belong to a database alone.
const ENTRIES_AT_MOST: usize = 64;
/// The time stamps of a file system have a limited resolution: a file that changed a moment ago may change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// The database and password that NSS uses. Two checks with equal keys get the same results from them.
#[derive(PartialEq)]
pub struct Key {
    argument: OsString,
    files: Files,
    password: Option<Password>,
}

impl Key {
    /// The key of a target; `None` if its database cannot be kept.
    pub fn of(target: &Target, password: Option<&Password>) -> Option<Self> {
        if !is_simple(target) {
            return None;
        }
        let argument = target.argument().to_owned();
        Some(Self { files: Files::of(&argument)?, argument, password: password.map(Password::again) })
    }
}

/// The database of the previous check.
pub struct Kept {
    /// The database that NSS has open.
    pub key: Key,
    pub(crate) opened: Opened,
    /// Our certificate, if that check had one.
    pub(crate) own: Option<Own>,
}

impl Walk<'_> {
    /// Takes the database for the next check with this key; the key was computed before the check. The caller has verified that this
    /// process has loaded no other module.
    pub fn keep(&mut self, key: Key) -> Option<Kept> {
        let is_well = self.findings.iter().all(|finding| finding.status != Status::Fail);
        if !is_well || self.private_copy.is_some() || library::verifies_by_pkix() {
            return None;
        }
        if Files::of(&key.argument).as_ref() != Some(&key.files) {
            return None;
        }
        let opened = self.opened.take().filter(|opened| opened.token.is_none() && !opened.slot.is_fips())?;
        self.own_before = None;
        let own = self.own.take();
        // NSS itself and its slot hold one reference each.
        let expected = 2 + own.as_ref().map_or(0, |own| 1 + own.chain.len() + usize::from(own.key.is_some()));
        (opened.nss.holders() == expected).then_some(Kept { key, opened, own })
    }
}

/// Whether only NSS uses the target's database: no module of others, no other library.
fn is_simple(target: &Target) -> bool {
    target.database().is_some() && !target.load_modules && target.engine() == Engine::Nss
}

/// The identity of the files of a database, without their content.
#[derive(PartialEq, Eq)]
struct Files(Vec<(OsString, [i64; 7])>);

impl Files {
    /// Identifies the files of the directory that NSS is given. `None` if one of them has just changed or cannot be examined.
    fn of(argument: &OsStr) -> Option<Self> {
        let (_, directory) = parse_argument(argument);
        let directory = fs::canonicalize(Path::new(&directory)).ok()?;
        let now = SystemTime::now();
        let mut files = vec![(directory.as_os_str().to_owned(), of_one(&directory, now)?)];
        for entry in fs::read_dir(&directory).ok()? {
            let entry = entry.ok()?;
            if files.len() > ENTRIES_AT_MOST {
                return None;
            }
            files.push((entry.file_name(), of_one(&entry.path(), now)?));
        }
        files.sort();
        Some(Self(files))
    }
}

/// Device, inode, length, and the times of content and inode.
fn of_one(path: &Path, now: SystemTime) -> Option<[i64; 7]> {
    let status = fs::metadata(path).ok()?;
    let settled = now.checked_sub(SETTLED)?.duration_since(SystemTime::UNIX_EPOCH).ok()?.as_secs();
    let latest = status.mtime().max(status.ctime());
    let number = |number: u64| i64::from_ne_bytes(number.to_ne_bytes());
    (u64::try_from(latest).ok()? < settled).then(|| {
        let (device, inode, length) = (number(status.dev()), number(status.ino()), number(status.size()));
        [device, inode, length, status.mtime(), status.mtime_nsec(), status.ctime(), status.ctime_nsec()]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_have_just_changed_are_not_known() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("cert9.db");
        fs::write(&path, b"1").unwrap();
        assert!(Files::of(directory.path().as_os_str()).is_none());
        let now = SystemTime::now() + 2 * SETTLED;
        let known = of_one(&path, now).unwrap();
        assert_eq!(of_one(&path, now), Some(known));
        fs::write(&path, b"22").unwrap();
        assert_ne!(of_one(&path, now), Some(known));
    }
}
