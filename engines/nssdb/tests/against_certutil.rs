//! Databases written by certutil, read natively: both must agree.

mod common;

use common::{EC, EC384, FORMATS, Nss, RSA, certificate, certificate_for, ec_key, hex, is_by_newer_nss, state};
use nssight_nssdb::{
    Algorithm, Database, Error, FileState, Format, KeyKind, KeyMatch, Pairing, PasswordCheck, PasswordState,
};
use openssl::pkey::PKey;
use openssl::rsa::Rsa;
use openssl::x509::X509;
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

const PASSWORDS: [&str; 4] = [
    "",
    "sekrit 1",
    "pässwörd-пароль",
    "long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-long-password",
];

/// Compares everything certutil can list with what was read.
fn agree(nss: &Nss) -> Database {
    let before = state(&nss.dir());
    let database = nss.open();
    assert!(matches!(database.certificate_file, FileState::Read), "{:?}", database.problems);
    assert!(!database.partial);
    assert_eq!(database.problems, []);
    let read: BTreeMap<String, String> = database
        .certificates
        .iter()
        .flat_map(|certificate| {
            certificate.nicknames.iter().map(|nickname| (nickname.text.clone(), certificate.certutil_letters()))
        })
        .collect();
    let unlocked = database.unlock(nss.password.as_bytes()).expect("unlocked");
    for key in &database.private_keys {
        let opened = unlocked.private_key(key).expect("the key decrypts");
        let certificate =
            database.certificates.iter().find(|certificate| certificate.cka_id == key.cka_id).expect("its certificate");
        assert!(certificate.has_private_key);
        assert_eq!(certificate.key_match, KeyMatch::Matches);
        let public =
            X509::from_der(&certificate.der).and_then(|certificate| certificate.public_key()).expect("certificate");
        assert!(opened.public_eq(&public), "{:?}", key.nickname);
        match key.kind {
            KeyKind::Rsa => assert!(opened.rsa().is_ok_and(|key| key.check_key().unwrap_or(false))),
            KeyKind::Ec => assert!(opened.ec_key().is_ok_and(|key| key.check_key().is_ok())),
            KeyKind::Dsa => assert!(opened.dsa().is_ok()),
            other => panic!("unexpected kind {other:?}"),
        }
    }
    drop(unlocked);
    assert_eq!(before, state(&nss.dir()), "reading changed the directory");

    assert_eq!(read, nss.listed());
    let keys: Vec<String> = database.private_keys.iter().map(|key| hex(&key.cka_id)).collect();
    let listed = nss.listed_keys();
    assert_eq!(keys.len(), listed.len());
    for id in keys {
        assert!(listed.contains_key(&id), "{id} is not among {listed:?}");
    }
    database
}

/// The length of the password's salt in bytes, read with SQLite: 20, or 48 since 3.118.
fn length_of_salt(nss: &Nss) -> usize {
    let reader = rusqlite::Connection::open(nss.dir().join("key4.db")).expect("opened");
    let length = "SELECT length(item1) FROM metaData WHERE id = 'password'";
    let length: i64 = reader.query_row(length, [], |row| row.get(0)).expect("a salt");
    assert!([20, 48].contains(&length), "{length}");
    usize::try_from(length).expect("48 at most")
}

#[test]
fn nicknames_trust_and_keys_agree_with_certutil_for_every_kind_of_password() {
    for format in FORMATS {
        for password in PASSWORDS {
            let nss = Nss::new(format, password);
            nss.self_sign("plain-ec", "u,u,u", EC);
            nss.self_sign("with some blanks", "CTu,Cu,u", EC384);
            nss.self_sign("it's \"quoted\"", ",,", EC);
            nss.self_sign("Zürich ключ", "Pu,,", EC);
            if password == PASSWORDS[1] {
                nss.self_sign("rsa one", "CTu,,", RSA);
                nss.self_sign("dsa one", "u,,", &["-k", "dsa", "-g", "1024"]);
            }
            let database = agree(&nss);
            assert_eq!(database.pairing().pairing, Pairing::Pair);
            let wrong = format!("{password}x");
            assert_eq!(database.check_password(password.as_bytes()), PasswordCheck::Right);
            assert_eq!(database.check_password(wrong.as_bytes()), PasswordCheck::Wrong);
            assert!(matches!(database.unlock(wrong.as_bytes()), Err(Error::WrongPassword)));
            match (&database.password, password.is_empty()) {
                (PasswordState::Empty, true) => {}
                (PasswordState::Set { iterations, algorithm, salt_length }, false) => match format {
                    Format::Sql => {
                        assert_eq!(*salt_length, length_of_salt(&nss));
                        assert_eq!(*iterations, 10_000);
                        assert_eq!(*algorithm, Algorithm::Pbes2Aes256 { iterations: 10_000 });
                    }
                    Format::Dbm => {
                        // 48 since 3.118.
                        assert!([20, 48].contains(salt_length), "{salt_length}");
                        assert_eq!(*algorithm, Algorithm::NssPbe3Des { iterations: 1 });
                    }
                },
                other => panic!("{format} {password:?}: {other:?}"),
            }
            let report =
                database.unlock(password.as_bytes()).expect("unlocked").verify_signatures(Duration::from_secs(60));
            assert_eq!((report.bad, report.missing, report.unchecked), (0, 0, 0), "{report:?}");
            assert_eq!(report.good > 10, format == Format::Sql, "{report:?}");
        }
    }
}

#[test]
fn every_trust_string_reads_back_as_certutil_shows_it() {
    let strings = [
        ",,", "C,,", "CT,C,C", "P,P,P", "p,p,p", "c,c,c", "T,,", "T,T,T", "CP,,", "CT,c,p", "CTP,P,p", "c,C,P",
        "w,w,w", "Tp,p,c",
    ];
    for format in FORMATS {
        let nss = Nss::new(format, "sekrit1");
        for (serial, trust) in (1..).zip(strings) {
            let nickname = format!("trust {trust}");
            nss.add(&nickname, trust, &certificate(&nickname, serial, 0));
        }
        let database = agree(&nss);
        assert_eq!(database.certificates.len(), strings.len());
        assert_eq!(database.pairing().pairing, Pairing::NothingToPair);
        let changed = format!("trust {}", strings[1]);
        let change = nss.run("certutil", format, &["-M", "-n", &changed, "-t", ",,", "-f", &nss.password_file()]);
        // Later versions (3.132, not yet 3.110) change no trust in the legacy format.
        if format == Format::Dbm && is_by_newer_nss(&nss.open()) {
            let said = String::from_utf8_lossy(&change.stderr).into_owned();
            assert!(!change.status.success() && said.contains("SEC_ERROR_READ_ONLY"), "{said}");
            assert_eq!(nss.listed().get(&changed).map(String::as_str), Some(strings[1]));
        } else {
            assert!(change.status.success(), "{}", String::from_utf8_lossy(&change.stderr));
            assert_eq!(nss.listed().get(&changed).map(String::as_str), Some(",,"));
        }
        agree(&nss);
    }
}

#[test]
fn keys_imported_with_pk12util_are_read() {
    for format in FORMATS {
        let nss = Nss::new(format, "sekrit1");
        let ec = ec_key();
        let rsa = PKey::from_rsa(Rsa::generate(2048).expect("RSA")).expect("RSA");
        for (serial, (name, key)) in (1..).zip([("p12 ec", &ec), ("p12 rsa", &rsa)]) {
            nss.import(name, key, &certificate_for(key, name, serial, 0, 0));
        }
        let database = agree(&nss);
        let unlocked = database.unlock(b"sekrit1").expect("unlocked");
        for (name, key) in [("p12 ec", &ec), ("p12 rsa", &rsa)] {
            let certificate = database
                .certificates
                .iter()
                .find(|certificate| certificate.nicknames.iter().any(|n| n.text == name))
                .expect("certificate");
            let read = database
                .private_keys
                .iter()
                .find(|key| key.cka_id == certificate.cka_id)
                .and_then(|key| unlocked.private_key(key).ok())
                .expect("key");
            assert_eq!(read.private_key_to_pkcs8().expect("PKCS #8"), key.private_key_to_pkcs8().expect("PKCS #8"));
        }
    }
}

#[test]
fn a_revocation_list_is_read() {
    for format in FORMATS {
        let nss = Nss::new(format, "sekrit1");
        nss.self_sign("issuer", "CT,C,C", EC);
        let crl = nss.dir().with_file_name("list.crl").display().to_string();
        let script = nss.dir().with_file_name("script");
        fs::write(&script, "update=20250101000000Z\nnextupdate=20390101000000Z\n").expect("file");
        let script = script.display().to_string();
        let password = nss.password_file();
        let made = nss.run("crlutil", format, &["-G", "-n", "issuer", "-f", &password, "-o", &crl, "-c", &script]);
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
        let database = nss.open();
        assert_eq!(database.crls.len(), 1, "{:?}", database.not_understood);
        assert!(!database.crls[0].is_krl);
        let list = openssl::x509::X509Crl::from_der(&database.crls[0].der);
        assert!(list.is_ok_and(|list| list.get_revoked().is_none()));
    }
}
