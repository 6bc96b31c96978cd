//! The holders of SQLite's locks on a file, from `/proc/locks`. Reading them takes no lock.

use rustix::fs::{major, minor};
use serde::Serialize;
use std::fs::{File, Metadata};
use std::io::Read;
use std::os::unix::fs::MetadataExt;

/// Maximum number of bytes read from `/proc/locks`.
const MAX_TABLE: u64 = 4 << 20;

/// Lock bytes of SQLite (`PENDING_BYTE` and its neighbours in os.h of SQLite).
const PENDING: u64 = 0x4000_0000;
const RESERVED: u64 = PENDING + 1;
const SHARED_FIRST: u64 = PENDING + 2;

/// What a lock of SQLite means for others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum LockKind {
    /// A process is reading; every process may read, none may finish writing.
    Shared,
    /// A process is preparing to write; reading continues.
    Reserved,
    /// A process waits for the readers to finish; no new reader is admitted.
    Pending,
    /// A process is writing: NSS cannot read and gives up after about a second.
    Exclusive,
}

/// A lock on a database file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Lock {
    /// Process that holds it; `None` when it belongs to an open file or to another PID namespace.
    pub pid: Option<u32>,
    /// Its kind.
    pub kind: LockKind,
}

/// The lock table at one moment.
pub(super) struct LockTable(String);

impl LockTable {
    /// Reads the table; empty where `/proc` does not show it.
    pub(super) fn read() -> LockTable {
        let mut text = String::new();
        if let Ok(file) = File::open("/proc/locks")
            && file.take(MAX_TABLE).read_to_string(&mut text).is_err()
        {
            text.clear();
        }
        LockTable(text)
    }

    /// Locks on this file. On file systems that show different device numbers to processes and to the lock
    /// table (overlays, some network ones) none are found.
    pub(super) fn of(&self, meta: &Metadata) -> Vec<Lock> {
        let file = format!("{:02x}:{:02x}:{}", major(meta.dev()), minor(meta.dev()), meta.ino());
        let mut locks: Vec<Lock> = self.0.lines().filter_map(|line| parse(line, &file)).collect();
        locks.sort_by_key(|lock| std::cmp::Reverse(lock.kind));
        locks
    }
}

/// Reads `1: POSIX  ADVISORY  WRITE 3568 fd:01:131329 1073741826 1073742335`. Lines of waiting processes have an arrow after
/// the number and do not match.
fn parse(line: &str, file: &str) -> Option<Lock> {
    let mut words = line.split_whitespace().skip(1);
    let style = words.next()?;
    if !matches!(style, "POSIX" | "OFDLCK") {
        return None;
    }
    words.next()?;
    let write = words.next()? == "WRITE";
    let pid = words.next()?.parse().ok().filter(|pid| *pid != 0);
    if words.next()? != file {
        return None;
    }
    let first: u64 = words.next()?.parse().ok()?;
    let last = words.next()?.parse().unwrap_or(u64::MAX);
    let covers = |byte: u64| first <= byte && byte <= last;
    let kind = if covers(SHARED_FIRST) || first > SHARED_FIRST {
        if write { LockKind::Exclusive } else { LockKind::Shared }
    } else if covers(RESERVED) {
        LockKind::Reserved
    } else if covers(PENDING) {
        LockKind::Pending
    } else {
        return None;
    };
    Some(Lock { pid, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_lock_table_are_understood() {
        let file = "fd:01:77";
        let kind = |line: &str| parse(line, file).map(|lock| (lock.pid, lock.kind));
        assert_eq!(
            kind("1: POSIX  ADVISORY  WRITE 35 fd:01:77 1073741826 1073742335"),
            Some((Some(35), LockKind::Exclusive))
        );
        assert_eq!(
            kind("2: POSIX  ADVISORY  READ 36 fd:01:77 1073741826 1073742335"),
            Some((Some(36), LockKind::Shared))
        );
        assert_eq!(
            kind("3: OFDLCK ADVISORY  WRITE -1 fd:01:77 1073741825 1073741825"),
            Some((None, LockKind::Reserved))
        );
        assert_eq!(
            kind("4: POSIX  ADVISORY  WRITE 35 fd:01:77 1073741824 1073741824"),
            Some((Some(35), LockKind::Pending))
        );
        assert_eq!(
            kind("5: POSIX  ADVISORY  WRITE 35 fd:01:77 1073741824 1073742335"),
            Some((Some(35), LockKind::Exclusive))
        );
        for other in [
            "6: POSIX  ADVISORY  WRITE 35 fd:01:78 1073741826 1073742335",
            "6: -> POSIX  ADVISORY  WRITE 35 fd:01:77 1073741826 1073742335",
            "6: FLOCK  ADVISORY  WRITE 35 fd:01:77 0 EOF",
            "6: POSIX  ADVISORY  WRITE 35 fd:01:77 0 9",
            "",
        ] {
            assert_eq!(kind(other), None, "{other}");
        }
    }
}
