//! The content of a directory, and how NSS would treat it.

mod common;

use common::{EC, Nss, state};
use nssight_nssdb::directory::{
    Access, DirectoryState, FileKind, LockKind, Magic, Present, Question, TypePrefix, choose, parse_argument,
};
use nssight_nssdb::{Format, Inventory};
use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

fn question(prefix: TypePrefix) -> Question<'static> {
    Question { prefix, default_db_type: None, access: Access::ReadOnly, nss: (3, 87) }
}

#[test]
fn a_fresh_database_is_described_and_not_touched() {
    let nss = Nss::new(Format::Sql, "sekrit1");
    let before = state(&nss.dir());
    let inventory = Inventory::of(&nss.dir());
    assert_eq!(before, state(&nss.dir()));
    assert_eq!(inventory.directory, DirectoryState::Usable);
    assert!(inventory.writable);
    assert_eq!(inventory.formats(), [Format::Sql]);
    for name in ["cert9.db", "key4.db"] {
        let file = inventory.file(name).expect("listed");
        assert_eq!(file.kind, FileKind::Regular);
        assert_eq!(file.mode, 0o600);
        assert_eq!(file.magic, Some(Magic::SqliteDb { wal: false }));
    }
    let modules = inventory.file("pkcs11.txt").expect("listed");
    assert_eq!(modules.magic, Some(Magic::Text));
    assert_eq!(inventory.file("key3.db").map(|file| file.kind), Some(FileKind::Absent));
    assert_eq!(inventory.key4_initialised, Some(true));
    let choice = inventory.choose(&question(TypePrefix::None));
    assert_eq!((choice.reads, choice.error), (Some(Format::Sql), None));
    let choice = inventory.choose(&question(TypePrefix::Dbm));
    assert_eq!((choice.reads, choice.error), (None, Some(-8015)));
}

#[test]
fn legacy_files_are_recognised_and_read_through_sql() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    let inventory = Inventory::of(&nss.dir());
    assert_eq!(inventory.formats(), [Format::Dbm]);
    for name in ["cert8.db", "key3.db", "secmod.db"] {
        let file = inventory.file(name).expect("listed");
        assert!(matches!(file.magic, Some(Magic::BerkeleyHash { version: 2, .. })), "{file:?}");
    }
    for prefix in [TypePrefix::Sql, TypePrefix::None, TypePrefix::Dbm] {
        let choice = inventory.choose(&question(prefix));
        assert_eq!(choice.reads, Some(Format::Dbm), "{choice:?}");
    }
}

#[test]
fn opening_a_legacy_directory_for_writing_without_login_leaves_it_half_upgraded() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    nss.self_sign("the one", "u,u,u", EC);
    let wrong = nss.dir().join("wrong");
    fs::write(&wrong, "not it\n").expect("file");
    let output = nss.run("certutil", Format::Sql, &["-K", "-X", "-f", &wrong.display().to_string()]);
    assert!(!output.status.success());
    let inventory = Inventory::of(&nss.dir());
    assert_eq!(inventory.key4_initialised, Some(false));
    assert!(inventory.half_upgraded);
    assert_eq!(inventory.formats(), [Format::Sql, Format::Dbm]);
    let choice = inventory.choose(&question(TypePrefix::Sql));
    assert_eq!(choice.asked, Format::Sql);
    assert_eq!(choice.reads, Some(Format::Dbm));
    assert!(nss.certutil_as(Format::Sql, &["-L"]).contains("the one"));

    nss.certutil_as(Format::Sql, &["-K", "-X", "-f", &nss.password_file()]);
    let inventory = Inventory::of(&nss.dir());
    assert!(!inventory.half_upgraded);
    assert_eq!(inventory.choose(&question(TypePrefix::Sql)).reads, Some(Format::Sql));
}

#[test]
fn no_kind_of_file_in_the_directory_causes_a_hang() {
    let home = tempfile::tempdir().expect("directory");
    let dir = home.path();
    let fifo = Command::new("mkfifo").arg(dir.join("cert9.db")).status();
    assert!(fifo.is_ok_and(|status| status.success()));
    fs::create_dir(dir.join("key4.db")).expect("directory");
    let _socket = UnixListener::bind(dir.join("pkcs11.txt")).expect("socket");
    symlink("nowhere", dir.join("cert8.db")).expect("link");
    symlink("/dev/zero", dir.join("key3.db")).expect("link");
    fs::write(dir.join("secmod.db"), [0xff; 300]).expect("file");
    fs::write(dir.join("other-cert9.db"), b"").expect("file");
    fs::write(dir.join("my-key3.db"), [0, 6, 0x15, 0x61, 0, 0]).expect("file");
    fs::write(dir.join("x-cert9.db"), b"SQLite format 3\0").expect("file");
    fs::write(dir.join("cert9.db-wal"), b"x").expect("file");
    let started = Instant::now();
    let inventory = Inventory::of(dir);
    assert!(started.elapsed() < Duration::from_secs(30));
    let kinds: Vec<FileKind> = inventory.files.iter().map(|file| file.kind).collect();
    assert_eq!(
        kinds[..6],
        [
            FileKind::Fifo,
            FileKind::Directory,
            FileKind::Socket,
            FileKind::BrokenLink,
            FileKind::Device,
            FileKind::Regular,
        ]
    );
    let magic = |name: &str| inventory.file(name).and_then(|file| file.magic.clone());
    assert_eq!(magic("secmod.db"), Some(Magic::Garbage { first: vec![0xff; 16] }));
    assert_eq!(magic("other-cert9.db"), Some(Magic::Empty));
    assert_eq!(magic("my-key3.db"), Some(Magic::Truncated { expected: 260 }));
    assert_eq!(magic("x-cert9.db"), Some(Magic::Truncated { expected: 100 }));
    assert!(inventory.file("cert9.db-wal").is_some());
    let link = inventory.file("key3.db").and_then(|file| file.link.clone());
    assert_eq!(link.as_deref(), Some("/dev/zero"));
    for format in common::FORMATS {
        let error = nssight_nssdb::Database::open(dir, format).map(|_| ());
        assert!(error.is_err());
    }
    assert!(started.elapsed() < Duration::from_secs(30));
}

#[test]
fn missing_and_mistaken_directories_are_distinguished() {
    let home = tempfile::tempdir().expect("directory");
    let missing = Inventory::of(&home.path().join("missing"));
    assert_eq!(missing.directory, DirectoryState::Missing);
    assert_eq!(missing.choose(&question(TypePrefix::Sql)).error, Some(-8174));
    let file = home.path().join("file");
    fs::write(&file, b"x").expect("file");
    assert!(matches!(Inventory::of(&file).directory, DirectoryState::NotADirectory { .. }));
    let empty = Inventory::of(home.path());
    assert_eq!(empty.directory, DirectoryState::Usable);
    assert_eq!(empty.formats(), []);
    assert!(matches!(
        Inventory::of(&file.join("below")).directory,
        DirectoryState::NotSearchable(error) if error.code == 20
    ));
}

#[test]
fn a_truncated_database_is_distinguished_from_a_whole_one() {
    let nss = Nss::new(Format::Sql, "sekrit1");
    let path = nss.dir().join("key4.db");
    let bytes = fs::read(&path).expect("file");
    fs::write(&path, &bytes[..bytes.len() - 4096]).expect("file");
    let inventory = Inventory::of(&nss.dir());
    assert_eq!(
        inventory.file("key4.db").and_then(|file| file.magic.clone()),
        Some(Magic::Truncated { expected: bytes.len() as u64 })
    );
    assert!(!inventory.has_usable(Format::Sql));
}

#[test]
fn permissions_are_tried_and_not_guessed() {
    let nss = Nss::new(Format::Sql, "sekrit1");
    let path = nss.dir().join("key4.db");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).expect("chmod");
    let inventory = Inventory::of(&nss.dir());
    let file = inventory.file("key4.db").expect("listed");
    assert_eq!(file.mode, 0);
    // The superuser can read the file anyway, which only an attempt shows.
    match fs::File::open(&path) {
        Ok(_) => assert!(file.is_readable()),
        Err(error) => assert_eq!(file.open_error.as_ref().map(|error| error.code), error.raw_os_error()),
    }
}

#[test]
fn directories_that_cannot_be_listed_or_searched_are_distinguished() {
    let nss = Nss::new(Format::Sql, "sekrit1");
    let set = |mode| {
        let mode = fs::Permissions::from_mode(mode);
        fs::set_permissions(nss.dir(), mode).expect("chmod");
    };
    // Modes do not restrict the superuser, so the expected result is what the system calls return.
    set(0o100);
    let inventory = Inventory::of(&nss.dir());
    assert_eq!(matches!(inventory.directory, DirectoryState::NotListable(_)), fs::read_dir(nss.dir()).is_err());
    assert!(inventory.has_usable(Format::Sql));
    set(0o600);
    let inventory = Inventory::of(&nss.dir());
    let reachable = fs::metadata(nss.dir().join("cert9.db")).is_ok();
    assert_eq!(matches!(inventory.directory, DirectoryState::NotSearchable(_)), !reachable);
    assert_eq!(inventory.has_usable(Format::Sql), reachable);
    set(0o500);
    let inventory = Inventory::of(&nss.dir());
    assert!(inventory.has_usable(Format::Sql));
    assert_eq!(inventory.writable, fs::write(nss.dir().join("probe"), b"").is_ok());
    set(0o700);
}

#[test]
fn a_lock_on_a_database_is_seen_with_its_holder() {
    let nss = Nss::new(Format::Sql, "sekrit1");
    let path = nss.dir().join("key4.db");
    // Locked by another process: a lock of this process would end when the inventory closes the file after reading it.
    let script = "import sqlite3, sys; connection = sqlite3.connect(sys.argv[1], isolation_level=None); \
                  connection.execute('BEGIN EXCLUSIVE'); print('locked', flush=True); sys.stdin.read()";
    let mut holder = Command::new("/usr/bin/python3");
    holder.args(["-c", script]).arg(&path).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut holder = holder.spawn().expect("python3");
    let mut line = String::new();
    BufReader::new(holder.stdout.take().expect("a pipe")).read_line(&mut line).expect("a line");
    assert_eq!(line, "locked\n");
    let inventory = Inventory::of(&nss.dir());
    let locks = inventory.locks();
    let lock = locks.iter().find(|(file, _)| file.name == "key4.db").and_then(|(_, locks)| locks.first().cloned());
    let lock = lock.expect("a lock");
    assert_eq!(lock.kind, LockKind::Exclusive);
    assert_eq!(lock.pid, Some(holder.id()));
    assert_eq!(locks.len(), 1);
    drop(holder.stdin.take());
    holder.wait().expect("the end of the holder");
    assert!(inventory.locks().is_empty());
}

#[test]
fn the_type_in_front_of_a_directory_is_split_as_nss_does() {
    for (argument, prefix, rest) in [
        ("sql:/a b", TypePrefix::Sql, "/a b"),
        ("dbm:/x", TypePrefix::Dbm, "/x"),
        ("extern:x", TypePrefix::Extern, "x"),
        ("/plain", TypePrefix::None, "/plain"),
        ("SQL:/x", TypePrefix::None, "SQL:/x"),
        ("rdb:sql", TypePrefix::None, "rdb:sql"),
    ] {
        let (found, directory) = parse_argument(OsStr::new(argument));
        assert_eq!((found, directory.to_str()), (prefix, Some(rest)));
    }
}

#[test]
fn environment_and_version_decide_only_without_a_type() {
    let both =
        Present { directory: true, sql_files: true, sql_usable: true, legacy_usable: true, half_upgraded: false };
    let ask = |prefix, default_db_type, nss| {
        let question = Question { prefix, default_db_type, access: Access::ReadOnly, nss };
        choose(both, &question).reads
    };
    let (sql, dbm) = (Some(Format::Sql), Some(Format::Dbm));
    assert_eq!(ask(TypePrefix::None, None, (3, 87)), sql);
    assert_eq!(ask(TypePrefix::None, None, (3, 34)), dbm);
    assert_eq!(ask(TypePrefix::None, Some("dbm"), (3, 87)), dbm);
    assert_eq!(ask(TypePrefix::None, Some("DBM"), (3, 87)), sql);
    assert_eq!(ask(TypePrefix::None, Some("sql"), (3, 34)), sql);
    assert_eq!(ask(TypePrefix::Sql, Some("dbm"), (3, 34)), sql);
    assert_eq!(ask(TypePrefix::Dbm, Some("sql"), (3, 87)), dbm);
}

/// certutil -L opens read-only; what it lists is what NSS chose.
#[test]
fn the_choice_is_the_one_certutil_makes() {
    let legacy = Nss::new(Format::Dbm, "sekrit1");
    legacy.self_sign("from legacy", ",,", EC);
    let sql = Nss::new(Format::Sql, "sekrit1");
    sql.self_sign("from sql", ",,", EC);
    let copy = |nss: &Nss, name: &str| {
        fs::copy(nss.dir().join(name), legacy.dir().join(name)).expect("copied");
    };
    let check = |what: &str| {
        let choice = Inventory::of(&legacy.dir()).choose(&question(TypePrefix::Sql));
        let listed = legacy.certutil_as(Format::Sql, &["-L"]);
        let expected = match choice.reads {
            Some(Format::Sql) => "from sql",
            Some(Format::Dbm) => "from legacy",
            None => "nothing",
        };
        assert!(listed.contains(expected), "{what}: {choice:?}\n{listed}");
    };
    check("legacy files alone");
    copy(&sql, "cert9.db");
    check("cert9.db without key4.db");
    fs::write(legacy.dir().join("key4.db"), b"").expect("file");
    check("cert9.db with an empty key4.db");
    copy(&sql, "key4.db");
    check("both formats whole");
    fs::write(legacy.dir().join("cert9.db"), [0x55; 9000]).expect("file");
    check("garbage in cert9.db");
}
