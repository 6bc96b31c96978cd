//! The states of a key database, and the handling of a password.

use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use nssight_nss::{Login, Slot};

use crate::tools::{BOTH, Database, PASSWORD, usual};

/// Opens the key slot and passes it to `look`.
fn with_slot(database: &Database, look: impl FnOnce(&Slot)) {
    let nss = database.open();
    look(&Slot::internal_key(&nss).expect("a slot"));
}

fn with_password(format: DbFormat) -> [Database; 2] {
    [Database::built(format, usual), Database::by_certutil(format, false)]
}

#[test]
fn the_right_password_unlocks() {
    for format in BOTH {
        for database in with_password(format) {
            with_slot(&database, |slot| {
                assert_eq!(slot.token_name(), "NSS Certificate DB");
                assert!(slot.needs_login() && !slot.needs_user_init() && !slot.is_logged_in() && !slot.is_fips());
                let (login, asked) = slot.authenticate(Some(PASSWORD.as_bytes()));
                assert_eq!((login, asked.times, asked.retries), (Login::Done, 1, 0), "{format:?}");
                assert!(slot.is_logged_in());
                let (login, asked) = slot.authenticate(Some(b"not asked for any more"));
                assert_eq!((login, asked.times), (Login::Done, 0), "{format:?}");
                slot.logout().expect("it logs out");
                assert!(!slot.is_logged_in());
            });
        }
    }
}

#[test]
fn a_wrong_password_is_tried_once() {
    for format in BOTH {
        for database in with_password(format) {
            with_slot(&database, |slot| {
                for wrong in [&b"correct hors"[..], b"correct horse ", b"", b"\xef\xbb\xbfcorrect horse"] {
                    let (login, asked) = slot.authenticate(Some(wrong));
                    assert_eq!((login, asked.times, asked.retries), (Login::Wrong, 2, 1), "{format:?}: {wrong:?}");
                }
                assert_eq!(slot.check_password("wrong"), Ok(false));
                assert_eq!(slot.authenticate(Some(PASSWORD.as_bytes())).0, Login::Done, "{format:?}: nothing locks");
            });
        }
    }
}

#[test]
fn no_password_is_not_a_wrong_one() {
    for format in BOTH {
        for database in with_password(format) {
            with_slot(&database, |slot| {
                let (login, asked) = slot.authenticate(None);
                assert_eq!((login, asked.times, asked.retries), (Login::NotGiven, 1, 0), "{format:?}");
            });
        }
    }
}

#[test]
fn a_password_is_checked_without_a_callback() {
    for format in BOTH {
        for database in with_password(format) {
            with_slot(&database, |slot| {
                assert_eq!(slot.check_password("wrong"), Ok(false), "{format:?}");
                assert_eq!(slot.check_password(PASSWORD), Ok(true), "{format:?}");
                assert!(slot.check_password("nul\0inside").is_err(), "cannot be handed to NSS");
            });
        }
    }
}

#[test]
fn an_empty_password_needs_no_login() {
    for format in BOTH {
        let built = Database::built_with(DbBuilder::new(format).password(b""), format, usual);
        for database in [built, Database::by_certutil(format, true)] {
            with_slot(&database, |slot| {
                assert!(!slot.needs_login() && !slot.needs_user_init(), "{format:?}");
                let (login, asked) = slot.authenticate(None);
                assert_eq!((login, asked.times), (Login::Done, 0), "{format:?}");
            });
        }
    }
}

#[test]
fn an_uninitialised_database_is_recognised() {
    for format in BOTH {
        let database = Database::built_with(DbBuilder::new(format), format, |builder| builder);
        with_slot(&database, |slot| {
            assert!(slot.needs_user_init(), "{format:?}");
            let (login, _) = slot.authenticate(Some(b"anything"));
            assert!(!matches!(login, Login::Done | Login::NotGiven), "{format:?}: {login:?}");
        });
    }
}

#[test]
fn a_password_may_contain_any_bytes() {
    let passwords: [&[u8]; 4] =
        ["Schlüssel für später".as_bytes(), b"latin-1: \xfc", b" blanks at both ends ", &[b'x'; 400]];
    for format in BOTH {
        for password in passwords {
            let database = Database::built_with(DbBuilder::new(format).password(password), format, usual);
            with_slot(&database, |slot| {
                assert_eq!(slot.authenticate(Some(b"x")).0, Login::Wrong, "{format:?}");
                assert_eq!(slot.authenticate(Some(password)).0, Login::Done, "{format:?}: {password:?}");
            });
        }
    }
}
