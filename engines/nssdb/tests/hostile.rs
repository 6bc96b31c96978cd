//! Damaged databases: whatever the bytes are, reading ends soon and without a panic.

mod common;

use common::{EC, Nss, Random, certificate};
use nssight_nssdb::{Database, Format, Inventory};
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::time::{Duration, Instant};

fn sample(format: Format) -> Nss {
    let nss = Nss::with_environment(format, "pw", &[("NSS_MAX_MP_PBE_ITERATION_COUNT", "2")]);
    nss.self_sign("own", "u,u,u", EC);
    nss.add("large", "CT,C,C", &certificate("large", 1, 9_000));
    nss.add("name", "p,,", &certificate("name", 2, 15_000));
    nss
}

/// Everything the crate can do with a database, with the results thrown away.
fn exercise(database: &Database) {
    database.pairing();
    for certificate in &database.certificates {
        certificate.certutil_letters();
        certificate.issuer_and_serial();
    }
    for problem in &database.problems {
        assert!(!problem.to_string().is_empty());
    }
    if let Ok(unlocked) = database.unlock(b"pw") {
        unlocked.verify_signatures(Duration::from_millis(50));
        for key in &database.private_keys {
            let _refused_or_not = unlocked.private_key(key);
        }
    }
}

/// Changes a byte, sometimes several, or cuts the file.
fn mutate(original: &[u8], interesting: &[usize], random: &mut Random) -> Vec<u8> {
    let mut bytes = original.to_vec();
    match random.below(10) {
        0 => bytes.truncate(random.below(original.len())),
        1 => {
            let (from, to) = (random.below(bytes.len()), random.below(bytes.len()));
            let length = random.below(64).min(bytes.len() - from.max(to));
            bytes.copy_within(from..from + length, to);
        }
        changes => {
            for _ in 0..(changes / 4).max(1) {
                // Most of a database file is empty space; aim at bytes with content.
                let at = interesting[random.below(interesting.len())];
                bytes[at] = match random.below(4) {
                    0 => 0xff,
                    1 => 0,
                    2 => bytes[at] ^ 1 << random.below(8),
                    _ => u8::try_from(random.below(256)).expect("a byte"),
                };
            }
        }
    }
    bytes
}

fn survive(format: Format, name: &str, rounds: usize, seed: u64) {
    let nss = sample(format);
    let path = nss.dir().join(name);
    let original = fs::read(&path).expect("file");
    let interesting: Vec<usize> = (0..original.len()).filter(|at| *at < 300 || original[*at] != 0).collect();
    let before: BTreeSet<OsString> =
        fs::read_dir(nss.dir()).expect("listing").flatten().map(|it| it.file_name()).collect();
    let mut random = Random(seed);
    let mut damaged = 0;
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let bytes = mutate(&original, &interesting, &mut random);
        fs::write(&path, &bytes).expect("file");
        let started = Instant::now();
        match Database::open(&nss.dir(), format) {
            Ok(database) => {
                damaged += usize::from(database.partial || !database.problems.is_empty());
                exercise(&database);
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
        if round % 16 == 0 {
            Inventory::of(&nss.dir());
        }
        slowest = slowest.max(started.elapsed());
        let names: BTreeSet<OsString> =
            fs::read_dir(nss.dir()).expect("listing").flatten().map(|it| it.file_name()).collect();
        assert_eq!(names, before, "reading made or removed a file");
        assert_eq!(fs::read(&path).expect("file"), bytes, "reading changed the file");
    }
    println!("{name}: {damaged} of {rounds} were noticed, the slowest took {slowest:?}");
    assert!(damaged > rounds / 50, "{damaged} of {rounds} were noticed");
    // Milliseconds, when nothing else runs.
    assert!(slowest < Duration::from_secs(20), "{slowest:?}");
}

#[test]
fn mutated_cert9_is_survived() {
    survive(Format::Sql, "cert9.db", 10_000, 0x1234_5678_9abc_def1);
}

#[test]
fn mutated_key4_is_survived() {
    survive(Format::Sql, "key4.db", 10_000, 0x2234_5678_9abc_def1);
}

#[test]
fn mutated_cert8_is_survived() {
    survive(Format::Dbm, "cert8.db", 10_000, 0x3234_5678_9abc_def1);
}

#[test]
fn mutated_key3_is_survived() {
    survive(Format::Dbm, "key3.db", 10_000, 0x4234_5678_9abc_def1);
}

#[test]
fn a_schema_that_would_run_for_ever_is_not_run() {
    let home = tempfile::tempdir().expect("directory");
    let hostile = "CREATE VIEW nssPublic AS
        WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, id AS a0 FROM n;
        CREATE VIEW metaData AS
        WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id, id AS item1, id AS item2 FROM n;";
    for name in ["cert9.db", "key4.db"] {
        let connection = rusqlite::Connection::open(home.path().join(name)).expect("created");
        connection.execute_batch(hostile).expect("schema");
    }
    let started = Instant::now();
    let database = Database::open(home.path(), Format::Sql).expect("read");
    assert!(database.partial);
    assert!(database.certificates.is_empty());
    assert_eq!(Inventory::of(home.path()).key4_initialised, Some(false));

    // A generated column that requires a gigabyte is refused, not computed.
    let home = tempfile::tempdir().expect("directory");
    let connection = rusqlite::Connection::open(home.path().join("cert9.db")).expect("created");
    connection
        .execute_batch(
            "CREATE TABLE nssPublic (id, a0, a11 AS (zeroblob(900000000)));
             INSERT INTO nssPublic VALUES (1, x'00000001');",
        )
        .expect("schema");
    drop(connection);
    fs::write(home.path().join("key4.db"), b"").expect("file");
    let read = Database::open(home.path(), Format::Sql);
    assert!(read.is_err() || read.is_ok_and(|database| database.partial));
    assert!(started.elapsed() < Duration::from_secs(30));
}
