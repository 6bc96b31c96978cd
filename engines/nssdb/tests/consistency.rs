//! Databases with a write-ahead log, with an open transaction, and with a writer at work.

mod common;

use common::state;
use nssight_nssdb::{Database, Format, Inventory};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// A certificate table whose rows only carry a class, a label and a value.
fn create(dir: &Path, journal: &str) -> Connection {
    let connection = Connection::open(dir.join("cert9.db")).expect("created");
    connection.pragma_update(None, "journal_mode", journal).expect("journal mode");
    connection
        .execute_batch("CREATE TABLE nssPublic (id PRIMARY KEY UNIQUE ON CONFLICT ABORT, a0, a3, a11, a102);")
        .expect("table");
    connection
}

fn insert(connection: &Connection, id: u32, label: &str) {
    let value = [id.to_be_bytes().as_slice(), &[0; 3000]].concat();
    connection
        .execute(
            "INSERT INTO nssPublic VALUES (?1, x'00000001', ?2, ?3, ?4)",
            (id, label.as_bytes(), value, id.to_be_bytes()),
        )
        .expect("inserted");
}

fn relabel(connection: &Connection, label: &str) {
    connection.execute("UPDATE nssPublic SET a3 = ?1", [label.as_bytes()]).expect("updated");
}

fn labels(dir: &Path) -> Vec<String> {
    let database = Database::open(dir, Format::Sql).expect("read");
    database.certificates.iter().map(|certificate| certificate.nicknames[0].text.clone()).collect()
}

/// What SQLite reads from a copy of the directory, recovery included.
fn according_to_sqlite(dir: &Path) -> Vec<String> {
    let copy = tempfile::tempdir().expect("directory");
    for entry in fs::read_dir(dir).expect("listing").flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    let connection = Connection::open(copy.path().join("cert9.db")).expect("opened");
    let mut statement = connection.prepare("SELECT CAST(a3 AS TEXT) FROM nssPublic").expect("query");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.map(|row| row.expect("row")).collect()
}

#[test]
fn content_only_in_the_write_ahead_log_is_read() {
    let home = tempfile::tempdir().expect("directory");
    let connection = create(home.path(), "wal");
    connection.pragma_update(None, "wal_autocheckpoint", 0).expect("pragma");
    for id in 1..40 {
        insert(&connection, id, "first");
    }
    relabel(&connection, "second");
    let before = state(home.path());
    let expected = according_to_sqlite(home.path());
    assert_eq!(expected.len(), 39);
    assert_eq!(labels(home.path()), expected);
    let inventory = Inventory::of(home.path());
    assert!(inventory.file("cert9.db-wal").is_some());
    assert!(inventory.file("cert9.db-shm").is_some());
    // Not the -shm file: its owner is this process, and its bytes are not ours to compare.
    let after = state(home.path());
    for name in ["cert9.db", "cert9.db-wal"] {
        let path = home.path().join(name);
        assert_eq!(before[&path], after[&path]);
    }
    assert_eq!(before.len(), after.len());

    connection.execute_batch("BEGIN").expect("begun");
    relabel(&connection, "not committed");
    assert_eq!(labels(home.path()), expected);
    connection.execute_batch("ROLLBACK").expect("ended");
    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).expect("checkpoint");
    relabel(&connection, "third");
    let expected = according_to_sqlite(home.path());
    assert_eq!(expected[0], "third");
    assert_eq!(labels(home.path()), expected);
}

#[test]
fn a_log_cut_anywhere_is_read_as_sqlite_reads_it() {
    let home = tempfile::tempdir().expect("directory");
    let connection = create(home.path(), "wal");
    connection.pragma_update(None, "wal_autocheckpoint", 0).expect("pragma");
    for id in 1..12 {
        insert(&connection, id, &format!("row {id}"));
    }
    let copy = tempfile::tempdir().expect("directory");
    let log = fs::read(home.path().join("cert9.db-wal")).expect("log");
    fs::copy(home.path().join("cert9.db"), copy.path().join("cert9.db")).expect("copied");
    let mut sizes = BTreeSet::new();
    for cut in (0..=log.len()).rev().step_by(1371) {
        fs::write(copy.path().join("cert9.db-wal"), &log[..cut]).expect("log");
        // An empty log leaves no table at all.
        let read = Database::open(copy.path(), Format::Sql).map_or(0, |database| database.certificates.len());
        let expected = rows_according_to_sqlite(copy.path());
        assert_eq!(read, expected, "log cut at {cut} of {}", log.len());
        sizes.insert(read);
    }
    assert!(sizes.len() > 5, "{sizes:?}");
}

fn rows_according_to_sqlite(dir: &Path) -> usize {
    let copy = tempfile::tempdir().expect("directory");
    for entry in fs::read_dir(dir).expect("listing").flatten() {
        fs::copy(entry.path(), copy.path().join(entry.file_name())).expect("copied");
    }
    let connection = Connection::open(copy.path().join("cert9.db")).expect("opened");
    let rows: u32 = connection.query_row("SELECT count(*) FROM nssPublic", [], |row| row.get(0)).unwrap_or(0);
    rows.try_into().expect("a size")
}

#[test]
fn a_transaction_that_died_half_written_is_undone() {
    let home = tempfile::tempdir().expect("directory");
    let connection = create(home.path(), "delete");
    for id in 1..120 {
        insert(&connection, id, "before");
    }
    // A cache of a few pages makes SQLite write to the database before the commit.
    connection.execute_batch("PRAGMA cache_size = 4; PRAGMA cache_spill = ON; BEGIN").expect("begun");
    relabel(&connection, "after");
    for id in 200..240 {
        insert(&connection, id, "after");
    }
    let crashed = tempfile::tempdir().expect("directory");
    for name in ["cert9.db", "cert9.db-journal"] {
        fs::copy(home.path().join(name), crashed.path().join(name)).expect("copied");
    }
    connection.execute_batch("ROLLBACK").expect("ended");
    let torn = fs::read(crashed.path().join("cert9.db")).expect("bytes");
    assert!(torn.windows(5).any(|bytes| bytes == b"after"), "the transaction reached the database");
    let before = state(crashed.path());
    let read = labels(crashed.path());
    assert_eq!(before, state(crashed.path()));
    assert_eq!(read, vec!["before"; 119]);
    assert_eq!(read, according_to_sqlite(crashed.path()));

    // A journal with a cleared header belongs to a transaction that has ended.
    let journal = crashed.path().join("cert9.db-journal");
    let mut bytes = fs::read(&journal).expect("journal");
    fs::copy(home.path().join("cert9.db"), crashed.path().join("cert9.db")).expect("copied");
    bytes[..28].fill(0);
    fs::write(&journal, bytes).expect("journal");
    assert_eq!(labels(crashed.path()), vec!["before"; 119]);
}

/// Every transaction gives all rows one label, so a reader that sees two labels has seen an unfinished transaction.
fn never_half(journal: &str) {
    let home = tempfile::tempdir().expect("directory");
    let connection = create(home.path(), journal);
    for id in 1..60 {
        insert(&connection, id, "round 0");
    }
    let stop = AtomicBool::new(false);
    let mut seen = BTreeSet::new();
    let mut busy = 0;
    std::thread::scope(|scope| {
        let stop = &stop;
        scope.spawn(move || {
            let mut round = 0;
            while !stop.load(Ordering::Relaxed) {
                round += 1;
                relabel(&connection, &format!("round {round}"));
                // A pause as between the operations of a program; without any the reader gives up as busy.
                std::thread::sleep(Duration::from_millis(3));
            }
        });
        let end = Instant::now() + Duration::from_secs(2);
        while Instant::now() < end {
            match Database::open(home.path(), Format::Sql) {
                Ok(database) => {
                    let labels: BTreeSet<String> =
                        database.certificates.iter().map(|certificate| certificate.nicknames[0].text.clone()).collect();
                    assert_eq!(database.certificates.len(), 59);
                    assert_eq!(labels.len(), 1, "{labels:?}");
                    seen.extend(labels);
                }
                Err(nssight_nssdb::Error::Busy { .. }) => busy += 1,
                Err(error) => panic!("{error}"),
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert!(seen.len() > 3, "{} states seen, busy {busy} times", seen.len());
}

#[test]
fn no_unfinished_transaction_is_read_with_a_journal() {
    never_half("delete");
}

#[test]
fn no_unfinished_transaction_is_read_with_a_log() {
    never_half("wal");
}
