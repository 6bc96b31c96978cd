//! Opening databases: both formats, both functions of NSS, in sequence, from several threads, and what must not change.

use std::os::unix::fs::PermissionsExt;
use std::sync::Barrier;
use std::{fs, thread};

use nssight_fixtures::nssdb::{BuildError, DbBuilder, DbFormat};
use nssight_nss::{Certificate, ErrorCode, InitOptions, Nss, PrivateKey, Slot, Usage, library};

use crate::tools::{BOTH, Database, NICKNAME, PKI, usual};

fn nicknames(nss: &Nss) -> Vec<String> {
    let slot = Slot::internal_key(nss).expect("a slot");
    let mut names: Vec<String> = slot.certificates().iter().filter_map(Certificate::nickname).collect();
    names.sort();
    names
}

#[test]
fn databases_of_certutil_and_of_the_builder_open() {
    for format in BOTH {
        let made = Database::by_certutil(format, false);
        made.add_identity(NICKNAME, &PKI.client);
        made.add("ca", &PKI.ca, "CT,C,C");
        let built = Database::built(format, usual);
        for database in [made, built] {
            for file in format.files() {
                assert!(database.path().join(file).is_file(), "{format:?}: {file}");
            }
            assert_eq!(nicknames(&database.open()), ["ca", NICKNAME], "{format:?}");
        }
    }
}

#[test]
fn a_built_directory_is_private_to_its_owner() {
    let database = Database::built(DbFormat::Sql, usual);
    let mode = fs::metadata(database.path()).expect("the directory").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
}

#[test]
fn certutil_reads_what_the_builder_wrote() {
    for format in BOTH {
        let database = Database::built(format, |builder| {
            usual(builder)
                .pkey("a key alone", &PKI.ec_client.key)
                .and_then(|builder| builder.x509("a certificate alone", &PKI.stranger.certificate, ",,"))
                .expect("OpenSSL encodes what it made")
        });
        let listed = database.listed_by_certutil();
        assert_eq!(listed.get(NICKNAME).map(String::as_str), Some("u,u,u"), "{format:?}: {listed:?}");
        assert_eq!(listed.get("a certificate alone").map(String::as_str), Some(",,"), "{format:?}: {listed:?}");
        let keys = database.keys_listed_by_certutil();
        let kinds = |kind: &str| keys.lines().filter(|line| line.contains(kind)).count();
        assert_eq!((kinds(" rsa "), kinds(" ec ")), (1, 1), "{format:?}: {keys}");
        assert!(keys.contains("(orphan)") || keys.contains("a key alone"), "{format:?}: {keys}");
    }
}

#[test]
fn a_missing_directory_is_a_bad_database() {
    let root = tempfile::tempdir().expect("a directory");
    let nowhere = root.path().join("nowhere");
    let refused =
        |name: &std::ffi::OsStr| Nss::open(&InitOptions::read_only(name)).map(|_| ()).expect_err("not there").code;
    assert_eq!(refused(&DbFormat::Sql.directory(&nowhere)), ErrorCode::SEC_ERROR_BAD_DATABASE);
    assert_eq!(refused(nowhere.as_os_str()), ErrorCode::SEC_ERROR_BAD_DATABASE);
    assert_eq!(refused(&DbFormat::Dbm.directory(&nowhere)), ErrorCode::SEC_ERROR_LEGACY_DATABASE);
    assert!(!nowhere.exists(), "nothing is created");
}

#[test]
fn a_failed_open_does_not_affect_the_next() {
    let database = Database::built(DbFormat::Sql, usual);
    let nowhere = DbFormat::Sql.directory(&database.path().join("nowhere"));
    for context in [false, true, false, true] {
        let options = InitOptions { context, ..InitOptions::read_only(&nowhere) };
        Nss::open(&options).map(|_| ()).expect_err("not there");
        assert_eq!(nicknames(&database.open()), ["ca", NICKNAME]);
    }
}

#[test]
fn a_context_opens_the_same_database() {
    for format in BOTH {
        let database = Database::built(format, usual);
        for _ in 0..2 {
            let name = database.name();
            let nss = Nss::open(&InitOptions { context: true, ..InitOptions::read_only(&name) }).expect("it opens");
            assert_eq!(nicknames(&nss), ["ca", NICKNAME], "{format:?}");
            let slot = Slot::internal_key(&nss).expect("a slot");
            let (login, _) = slot.authenticate(Some(crate::tools::PASSWORD.as_bytes()));
            assert_eq!(login, nssight_nss::Login::Done, "{format:?}");
        }
    }
}

#[test]
fn databases_of_either_format_open_in_sequence() {
    let sql = Database::built(DbFormat::Sql, |builder| {
        builder.x509("only in sql", &PKI.ca.certificate, "C,,").expect("OpenSSL encodes what it made")
    });
    let dbm = Database::built(DbFormat::Dbm, |builder| {
        builder.x509("only in dbm", &PKI.other_ca.certificate, "C,,").expect("OpenSSL encodes what it made")
    });
    for _ in 0..3 {
        assert_eq!(nicknames(&sql.unlocked().0), ["only in sql"]);
        assert_eq!(nicknames(&dbm.unlocked().0), ["only in dbm"]);
    }
    assert_eq!(nicknames(&sql.open()), ["only in sql"]);
}

/// Each object keeps NSS open, in whatever order the objects are dropped.
#[test]
fn the_last_object_shuts_nss_down() {
    let database = Database::built(DbFormat::Sql, usual);
    let certificate = {
        let (nss, _slot) = database.unlocked();
        Certificate::find(NICKNAME, &nss).expect("it is there")
    };
    let key = PrivateKey::find(&certificate).expect("its key is there");
    drop(certificate);
    assert_eq!(key.kind(), nssight_nss::key::KeyKind::Rsa);
    drop(key);
    // With a reference left, NSS would refuse to shut down and then to start again.
    assert_eq!(nicknames(&database.open()), ["ca", NICKNAME]);
}

#[test]
fn a_second_open_on_the_same_thread_is_refused() {
    let database = Database::built(DbFormat::Sql, usual);
    let nss = database.open();
    let again = Nss::open(&InitOptions::read_only(&database.name())).map(|_| ()).expect_err("this thread holds one");
    assert_eq!(again.code, ErrorCode::SEC_ERROR_BUSY);
    drop(nss);
    assert_eq!(nicknames(&database.open()), ["ca", NICKNAME]);
}

#[test]
fn threads_wait_for_one_another() {
    let together = Barrier::new(4);
    thread::scope(|scope| {
        for index in 0..4 {
            let together = &together;
            scope.spawn(move || {
                let format = BOTH[index % 2];
                together.wait();
                for _ in 0..3 {
                    let database = Database::built(format, usual);
                    let (nss, slot) = database.unlocked();
                    let certificate = Certificate::find(NICKNAME, &nss).expect("it is there");
                    let key = PrivateKey::find(&certificate).expect("its key is there");
                    assert_eq!(key.proves(&certificate), Ok(true), "{format:?}");
                    slot.logout().expect("it logs out");
                }
            });
        }
    });
}

#[test]
fn reading_changes_nothing() {
    for format in BOTH {
        let database = Database::built(format, usual);
        let before = database.snapshot();
        for context in [false, true] {
            let name = database.name();
            let nss = Nss::open(&InitOptions { context, ..InitOptions::read_only(&name) }).expect("it opens");
            let slot = Slot::internal_key(&nss).expect("a slot");
            assert_eq!(slot.authenticate(Some(b"not this one")).0, nssight_nss::Login::Wrong);
            assert_eq!(slot.authenticate(Some(crate::tools::PASSWORD.as_bytes())).0, nssight_nss::Login::Done);
            let certificate = Certificate::find(NICKNAME, &nss).expect("it is there");
            assert_eq!(certificate.verify(Usage::SslClient), []);
            assert_eq!(certificate.chain().len(), 2);
            let key = PrivateKey::find(&certificate).and_then(|key| key.in_session(&slot)).expect("its key is there");
            assert_eq!(key.proves(&certificate), Ok(true));
        }
        assert!(before == database.snapshot(), "{format:?}: the directory has changed");
    }
}

#[test]
fn keys_and_trust_need_a_password() {
    for format in BOTH {
        let root = tempfile::tempdir().expect("a directory");
        let with_key = DbBuilder::new(format).pkey("key", &PKI.ec_client.key).expect("OpenSSL encodes what it made");
        assert!(matches!(with_key.build(root.path()), Err(BuildError::NeedsPassword)), "{format:?}");
        let with_trust =
            DbBuilder::new(format).x509("ca", &PKI.ca.certificate, "C,,").expect("OpenSSL encodes what it made");
        assert!(matches!(with_trust.build(root.path()), Err(BuildError::NeedsPassword)), "{format:?}");
    }
}

/// certutil is another program on the same library: if certutil can still change a database, our writing has not broken it.
#[test]
fn certutil_can_change_what_the_builder_wrote() {
    for format in BOTH {
        let database = Database::built(format, usual);
        // A database that certutil itself has filled is the reference: later versions (3.132, not yet 3.110) change no
        // trust in the legacy format, whichever program wrote it.
        let measure = Database::by_certutil(format, false);
        measure.add("ca", &PKI.ca, "CT,C,C");
        let changed = [&measure, &database].map(|database| {
            let refusal = database.changed_by_certutil("ca", "C,,").err();
            (database.listed_by_certutil().get("ca").cloned(), refusal)
        });
        assert_eq!(changed[0], changed[1], "{format:?}");
        let (letters, refusal) = &changed[1];
        let (want, allowed) = match (format, refusal) {
            (DbFormat::Dbm, Some(text)) => {
                ("CT,C,C", text.contains("SEC_ERROR_READ_ONLY") && library::nss_release() > (3, 110))
            }
            (_, refusal) => ("C,,", refusal.is_none()),
        };
        assert!(allowed, "{format:?}: {refusal:?}");
        assert_eq!(letters.as_deref(), Some(want), "{format:?}");
        let nss = database.open();
        let ca = Certificate::find("ca", &nss).expect("it is there");
        assert_eq!(ca.trust().to_string(), want, "{format:?}");
    }
}
