//! A database that stays open for the next target: opened and logged in to once, with its own chain verified once.
//!
//! Nothing of one target may reach the verdict on another. So a database is kept only after a check without a failure, for a target
//! with the very same database and password, while its files stay as they were, and never where NSS verifies with libpkix, which
//! remembers the chains that peers have sent (pkix_tools.c, `pkix_CacheCertChain_Lookup`).

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::{Duration, SystemTime};

use nssight_diagnosis::Status;
use nssight_nss::{Asked, library};
use nssight_nssdb::directory::parse_argument;

use crate::secret::Password;
use crate::target::{Engine, Target};
use crate::walk::{Opened, Own, Walk};

/// A directory with more in it than this is no database's own.
const ENTRIES_AT_MOST: usize = 64;
/// File systems count time in steps: a file that changed a moment ago may change again without a new time.
const SETTLED: Duration = Duration::from_secs(2);

/// The database of the check before.
pub struct Kept {
    argument: OsString,
    pub(crate) files: Files,
    password: Option<Password>,
    pub(crate) opened: Opened,
    /// Our certificate, if that check had one.
    pub(crate) own: Option<Own>,
    /// How NSS asked for the password when it logged in.
    pub(crate) asked: Option<Asked>,
}

impl Kept {
    /// Whether a target would get the same from NSS, opened anew.
    pub fn fits(&self, target: &Target, password: Option<&Password>) -> bool {
        is_simple(target)
            && self.argument == target.argument()
            && is_same(self.password.as_ref(), password)
            && Files::of(&self.argument).as_ref() == Some(&self.files)
    }
}

impl Walk<'_> {
    /// Takes what the next target with this database and password can go on with. Whoever keeps it has seen that NSS has no other
    /// module in this process.
    pub fn keep(&mut self, password: Option<Password>) -> Option<Kept> {
        let target = self.settings.target.as_ref().ok()?;
        let is_well = self.findings.iter().all(|finding| finding.status != Status::Fail);
        if !is_well || !is_simple(target) || self.private_copy.is_some() || library::verifies_by_pkix() {
            return None;
        }
        let argument = target.argument().to_owned();
        let files = self.files_at_opening.take().filter(|files| Files::of(&argument).as_ref() == Some(files))?;
        let opened = self.opened.take().filter(|opened| opened.token.is_none() && !opened.slot.is_fips())?;
        (self.own_before, self.kept) = (None, None);
        let own = self.own.take();
        // NSS itself and its slot hold one each.
        let expected = 2 + own.as_ref().map_or(0, |own| 1 + own.chain.len() + usize::from(own.key.is_some()));
        let is_alone = opened.nss.holders() == expected;
        is_alone.then(|| Kept { argument, files, password, opened, own, asked: self.asked.take() })
    }
}

/// Whether a target's database is NSS's alone: no module of others, no other library.
fn is_simple(target: &Target) -> bool {
    target.database().is_some() && !target.load_modules && target.engine() == Engine::Nss
}

fn is_same(one: Option<&Password>, other: Option<&Password>) -> bool {
    match (one, other) {
        (None, None) => true,
        (Some(one), Some(other)) => one.form == other.form && one.expose() == other.expose(),
        _ => false,
    }
}

/// What the files of a database are, without a look into them.
#[derive(PartialEq, Eq)]
pub(crate) struct Files(Vec<(OsString, [i64; 7])>);

impl Files {
    /// Of the directory that NSS is told. `None` while something in it has just changed, or where it cannot be looked at.
    pub(crate) fn of(argument: &OsStr) -> Option<Self> {
        let (_, directory) = parse_argument(argument);
        let directory = fs::canonicalize(Path::new(&directory)).ok()?;
        let now = SystemTime::now();
        let mut files = vec![(directory.clone().into_os_string(), of_one(&directory, now)?)];
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
