//! Databases whose two files do not fit each other, or whose password has a history.

mod common;

use common::{EC, Nss, RSA, state};
use nssight_nssdb::{Algorithm, Database, Error, FileState, Format, Pairing, PasswordCheck, PasswordState};
use openssl::x509::X509;
use std::fs;
use std::time::Duration;

const BUDGET: Duration = Duration::from_secs(60);

fn fast(password: &str) -> Nss {
    Nss::with_environment(Format::Sql, password, &[("NSS_MAX_MP_PBE_ITERATION_COUNT", "500")])
}

#[test]
fn a_key_database_of_another_certificate_database_is_reported() {
    let (mine, other) = (fast("mine"), fast("other"));
    mine.self_sign("mine", "CTu,Cu,u", EC);
    other.self_sign("other", "CTu,Cu,u", EC);
    fs::copy(other.dir().join("key4.db"), mine.dir().join("key4.db")).expect("copied");
    let database = mine.open();
    let report = database.pairing();
    assert_eq!(report.pairing, Pairing::NoKeyMatches, "{report:?}");
    assert_eq!((report.certificates_with_key, report.orphan_keys), (0, 1));
    let certificate = database.certificates.first().expect("certificate");
    // certutil still shows the user flag, from the public key in cert9.db.
    assert_eq!(mine.listed().get("mine").map(String::as_str), Some("CTu,Cu,u"));
    assert_eq!(certificate.certutil_letters(), "CTu,Cu,u");
    assert_eq!(certificate.trust.letters(), "CT,C,");
    assert!(!certificate.has_private_key);
    assert_eq!(database.check_password(b"mine"), PasswordCheck::Wrong);
    let unlocked = database.unlock(b"other").expect("unlocked");
    let signatures = unlocked.verify_signatures(BUDGET);
    assert!(signatures.missing + signatures.bad > 0, "{signatures:?}");
    // The key itself is intact.
    let key = database.private_keys.first().expect("key");
    assert!(unlocked.private_key(key).is_ok());
}

#[test]
fn an_empty_key_database_beside_user_certificates_is_reported() {
    let (mine, other) = (fast("mine"), fast("mine"));
    mine.self_sign("mine", "u,u,u", EC);
    fs::copy(other.dir().join("key4.db"), mine.dir().join("key4.db")).expect("copied");
    assert_eq!(mine.open().pairing().pairing, Pairing::KeyDbEmpty);
}

#[test]
fn signatures_of_another_database_are_reported_if_there_are_no_keys() {
    let (mine, other) = (fast("pw"), fast("pw"));
    mine.add("a CA", "CT,C,C", &common::certificate("one", 1, 0));
    other.add("another CA", "CT,C,C", &common::certificate("two", 2, 0));
    assert_eq!(mine.open().pairing().pairing, Pairing::NothingToPair);
    fs::copy(other.dir().join("key4.db"), mine.dir().join("key4.db")).expect("copied");
    let report = mine.open().pairing();
    assert_eq!(report.pairing, Pairing::SignaturesForeign, "{report:?}");
    let fresh = fast("pw");
    fs::copy(fresh.dir().join("key4.db"), mine.dir().join("key4.db")).expect("copied");
    let report = mine.open().pairing();
    assert_eq!(report.pairing, Pairing::SignaturesMissing, "{report:?}");
}

/// Trust rows as NSS wrote them: in its own class, or, since 3.114, in that of PKCS #11.
fn trust_rows(writer: &rusqlite::Connection, class: &str) -> i64 {
    let count = format!("SELECT count(*) FROM nssPublic WHERE a0 = x'{class}'");
    writer.query_row(&count, [], |row| row.get(0)).expect("a count")
}

const NSS_TRUST: &str = "ce534353";
const PKCS11_TRUST: &str = "0000000b";

#[test]
fn a_changed_trust_value_fails_its_signature() {
    let nss = fast("pw");
    nss.self_sign("ca", "p,,", EC);
    let path = nss.dir().join("cert9.db");
    let writer = rusqlite::Connection::open(&path).expect("opened");
    let (class, column, trusted_ca) = match trust_rows(&writer, NSS_TRUST) {
        0 => (PKCS11_TRUST, "a62c", "00000002"),
        _ => (NSS_TRUST, "ace536358", "ce534352"),
    };
    let change = format!("UPDATE nssPublic SET {column} = x'{trusted_ca}' WHERE a0 = x'{class}'");
    assert_eq!(writer.execute(&change, []), Ok(1));
    drop(writer);
    let database = nss.open();
    let certificate = database.certificates.first().expect("certificate");
    assert!(certificate.trust.ssl.is_trusted_ca());
    let report = database.unlock(b"pw").expect("unlocked").verify_signatures(BUDGET);
    assert_eq!((report.bad, report.missing), (1, 0), "{report:?}");
    assert!(report.good > 0);
    let none = database.unlock(b"pw").expect("unlocked").verify_signatures(Duration::ZERO);
    assert_eq!(none.good + none.bad + none.missing, 0);
    assert!(none.unchecked > 0);
}

#[test]
fn a_database_without_password_record_is_not_one_with_an_empty_password() {
    let source = fast("");
    let home = tempfile::tempdir().expect("directory");
    for name in ["cert9.db", "key4.db"] {
        fs::copy(source.dir().join(name), home.path().join(name)).expect("copied");
    }
    let database = Database::open(home.path(), Format::Sql).expect("read");
    assert_eq!(database.password, PasswordState::Empty);
    assert_eq!(database.check_password(b""), PasswordCheck::Right);
    let writer = rusqlite::Connection::open(home.path().join("key4.db")).expect("opened");
    writer.execute_batch("DROP TABLE metaData").expect("dropped");
    drop(writer);
    let database = Database::open(home.path(), Format::Sql).expect("read");
    assert_eq!(database.password, PasswordState::NotInitialised);
    assert_eq!(database.check_password(b""), PasswordCheck::NotInitialised);
    assert!(matches!(database.unlock(b""), Err(Error::NotInitialised)));
}

#[test]
fn one_missing_file_leaves_the_other_readable() {
    for format in common::FORMATS {
        let nss = Nss::new(format, "sekrit1");
        nss.self_sign("here", "u,u,u", EC);
        fs::remove_file(nss.dir().join(format.key_file())).expect("removed");
        let database = nss.open();
        assert!(database.partial);
        assert!(matches!(database.key_file, FileState::Failed(Error::Missing { .. })));
        assert!(matches!(database.password, PasswordState::Unreadable(_)));
        assert_eq!(database.certificates.len(), 1);
        assert_eq!(database.pairing().pairing, Pairing::Unknown);
        fs::remove_file(nss.dir().join(format.certificate_file())).expect("removed");
        assert!(matches!(Database::open(&nss.dir(), format), Err(Error::Missing { .. })));
    }
}

/// Until 3.117 at the latest, NSS copied the encrypted keys unchanged; 3.132 encrypts them again.
#[test]
fn keys_taken_over_from_the_legacy_format_are_read_however_they_are_encrypted() {
    let nss = Nss::new(Format::Dbm, "sekrit1");
    nss.self_sign("rsa", "u,u,u", RSA);
    nss.self_sign("ec", "CTu,u,u", EC);
    nss.certutil_as(Format::Sql, &["-K", "-X", "-f", &nss.password_file()]);
    let before = state(&nss.dir());
    let old = Database::open(&nss.dir(), Format::Dbm).expect("read");
    let new = Database::open(&nss.dir(), Format::Sql).expect("read");
    assert_eq!(old.certificates.len(), 2);
    let legacy = Algorithm::NssPbe3Des { iterations: 1 };
    let taken_over =
        if common::is_by_newer_nss(&new) { Algorithm::Pbes2Aes256 { iterations: 10_000 } } else { legacy.clone() };
    for (database, encryption) in [(&old, legacy), (&new, taken_over)] {
        let unlocked = database.unlock(b"sekrit1").expect("unlocked");
        for key in &database.private_keys {
            assert_eq!(key.encryption, encryption);
            let certificate = database
                .certificates
                .iter()
                .find(|certificate| certificate.cka_id == key.cka_id)
                .and_then(|certificate| X509::from_der(&certificate.der).ok())
                .expect("certificate");
            let opened = unlocked.private_key(key).expect("decrypted");
            assert!(opened.public_eq(&certificate.public_key().expect("key")));
        }
        let report = unlocked.verify_signatures(BUDGET);
        assert_eq!((report.bad, report.missing), (0, 0), "{report:?}");
    }
    assert_eq!(old.private_keys.len(), new.private_keys.len());
    let mut ids: Vec<_> = old.certificates.iter().map(|c| &c.cka_id).collect();
    ids.sort();
    let mut new_ids: Vec<_> = new.certificates.iter().map(|c| &c.cka_id).collect();
    new_ids.sort();
    assert_eq!(ids, new_ids);
    assert_eq!(before, state(&nss.dir()));

    fs::write(nss.dir().join("new-password"), "other\n").expect("file");
    let new_file = nss.dir().join("new-password").display().to_string();
    nss.certutil_as(Format::Sql, &["-W", "-f", &nss.password_file(), "-@", &new_file]);
    let new = Database::open(&nss.dir(), Format::Sql).expect("read");
    let unlocked = new.unlock(b"other").expect("unlocked");
    for key in &new.private_keys {
        assert_eq!(key.encryption, Algorithm::Pbes2Aes256 { iterations: 10_000 });
        assert!(unlocked.private_key(key).is_ok());
    }
}

#[test]
fn a_legacy_database_with_an_iteration_count_is_read() {
    let nss = Nss::with_environment(Format::Dbm, "sekrit1", &[("NSS_ALLOW_LEGACY_DBM_ITERATION_COUNT", "1")]);
    nss.self_sign("ec", "u,u,u", EC);
    let database = nss.open();
    let algorithm = Algorithm::NssPbe3Des { iterations: 10_000 };
    let salt_length = if common::is_by_newer_nss(&database) { 48 } else { 20 };
    assert_eq!(database.password, PasswordState::Set { iterations: 10_000, algorithm: algorithm.clone(), salt_length });
    let unlocked = database.unlock(b"sekrit1").expect("unlocked");
    let key = database.private_keys.first().expect("key");
    assert_eq!(key.encryption, algorithm);
    assert!(unlocked.private_key(key).is_ok());
    assert_eq!(database.check_password(b"sekrit2"), PasswordCheck::Wrong);
}

#[test]
fn a_long_salt_means_sha384_as_newer_versions_of_nss_write_it() {
    let nss = fast("pw");
    let path = nss.dir().join("key4.db");
    let writer = rusqlite::Connection::open(&path).expect("opened");
    let (salt, blob) = long_salt_record(b"pw");
    writer.execute("UPDATE metaData SET item1 = ?1, item2 = ?2 WHERE id = 'password'", (salt, blob)).expect("changed");
    drop(writer);
    let database = nss.open();
    assert_eq!(database.generation.salt_length, 48);
    assert!(matches!(database.password, PasswordState::Set { salt_length: 48, iterations: 3, .. }));
    assert_eq!(database.check_password(b"pw"), PasswordCheck::Right);
    assert_eq!(database.check_password(b"pw\0rest"), PasswordCheck::Right);
    assert_eq!(database.check_password(b"pwx"), PasswordCheck::Wrong);
}

/// A password record as NSS 3.118 writes it, put together here with OpenSSL.
fn long_salt_record(password: &[u8]) -> (Vec<u8>, Vec<u8>) {
    let salt: Vec<u8> = (0..48).collect();
    let mut hash = openssl::sha::Sha384::new();
    hash.update(&salt);
    hash.update(password);
    let pbkdf2_salt = [9; 32];
    let mut key = [0; 32];
    let sha256 = openssl::hash::MessageDigest::sha256();
    openssl::pkcs5::pbkdf2_hmac(&hash.finish(), &pbkdf2_salt, 3, sha256, &mut key).expect("key");
    let mut iv = vec![4, 14];
    iv.extend([0x21; 14]);
    let cipher = openssl::symm::Cipher::aes_256_cbc();
    let text = openssl::symm::encrypt(cipher, &key, Some(&iv), b"password-check").expect("text");
    let tlv = |tag: u8, parts: &[&[u8]]| {
        let body = parts.concat();
        let length = u8::try_from(body.len()).expect("short");
        let mut out = if length < 128 { vec![tag, length] } else { vec![tag, 0x81, length] };
        out.extend(body);
        out
    };
    let oid = |last: &[u8]| tlv(6, &[&[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d], last]);
    let prf = tlv(0x30, &[&oid(&[2, 9]), &[5, 0]]);
    let parameters = tlv(0x30, &[&tlv(4, &[&pbkdf2_salt]), &[2, 1, 3], &[2, 1, 32], &prf]);
    let kdf = tlv(0x30, &[&oid(&[1, 5, 12]), &parameters]);
    let aes = tlv(6, &[&[0x60, 0x86, 0x48, 1, 0x65, 3, 4, 1, 42]]);
    let scheme = tlv(0x30, &[&aes, &iv]);
    let both = tlv(0x30, &[&kdf, &scheme]);
    let identifier = tlv(0x30, &[&oid(&[1, 5, 13]), &both]);
    (salt, tlv(0x30, &[&identifier, &tlv(4, &[&text])]))
}

#[test]
fn an_absurd_iteration_count_is_refused_at_once() {
    let nss = fast("pw");
    let path = nss.dir().join("key4.db");
    let (salt, mut blob) = long_salt_record(b"pw");
    let at = blob.windows(3).position(|bytes| bytes == [2, 1, 3]).expect("the count");
    // The salt of 32 bytes shrinks by the three bytes by which the count grows.
    let salt_at = blob.windows(2).position(|b| b == [4, 32]).expect("salt");
    blob.splice(at..at + 3, [2, 4, 0x7f, 0xff, 0xff, 0xff]);
    blob.splice(salt_at..salt_at + 5, [4, 29]);
    let writer = rusqlite::Connection::open(&path).expect("opened");
    writer.execute("UPDATE metaData SET item1 = ?1, item2 = ?2 WHERE id = 'password'", (salt, blob)).expect("changed");
    drop(writer);
    let database = nss.open();
    assert!(matches!(database.password, PasswordState::Set { iterations: 0x7fff_ffff, .. }), "{:?}", database.password);
    let started = std::time::Instant::now();
    assert!(matches!(database.check_password(b"pw"), PasswordCheck::Unsupported(_)));
    // Two thousand million rounds would take minutes.
    assert!(started.elapsed() < Duration::from_secs(20));
}

/// The columns of trust in PKCS #11's class, which NSS adds since 3.114.
const PKCS11_COLUMNS: [&str; 6] = ["a62c", "a62d", "a62e", "a62f", "a635", "a8c"];

fn columns(writer: &rusqlite::Connection) -> Vec<String> {
    let mut listed = writer.prepare("SELECT name FROM pragma_table_info('nssPublic')").expect("a statement");
    listed.query_map([], |row| row.get(0)).expect("columns").map(|name| name.expect("a name")).collect()
}

/// Rewrites trust as NSS stored it before 3.114, if a later version wrote this database; `old` converts each value.
fn as_before(writer: &rusqlite::Connection) {
    if trust_rows(writer, NSS_TRUST) > 0 {
        return;
    }
    // Server, client, code and e-mail: a trusted delegator, or not trusted.
    let old = |new: &str| {
        format!("CASE {new} WHEN x'00000002' THEN x'ce534352' WHEN x'00000003' THEN x'ce53435a' ELSE x'ce534355' END")
    };
    let values: Vec<String> =
        [("ace536358", "a62c"), ("ace536359", "a62d"), ("ace53635a", "a62e"), ("ace53635b", "a62f")]
            .iter()
            .map(|(column, new)| format!("{column} = {}", old(new)))
            .collect();
    let gone: Vec<String> = PKCS11_COLUMNS.iter().map(|column| format!("{column} = NULL")).collect();
    let change = format!(
        "UPDATE nssPublic SET a0 = x'{NSS_TRUST}', {}, {} WHERE a0 = x'{PKCS11_TRUST}'",
        values.join(", "),
        gone.join(", ")
    );
    assert!(writer.execute(&change, []).expect("changed") > 0);
}

#[test]
fn trust_objects_of_newer_versions_are_preferred() {
    let nss = fast("pw");
    let certificate = common::certificate("ca", 7, 0);
    nss.add("ca", "p,p,p", &certificate);
    let der = certificate.to_der().expect("DER");
    let hash = openssl::sha::sha256(&der);
    let path = nss.dir().join("cert9.db");
    let writer = rusqlite::Connection::open(&path).expect("opened");
    as_before(&writer);
    let sha1 = openssl::sha::sha1(&der);
    writer.execute(&format!("UPDATE nssPublic SET ace5363b4 = ?1 WHERE a0 = x'{NSS_TRUST}'"), [sha1]).expect("a hash");
    let before = columns(&writer);
    let missing: Vec<&&str> = PKCS11_COLUMNS.iter().filter(|name| before.iter().all(|known| known != *name)).collect();
    for column in &missing {
        writer.execute_batch(&format!("ALTER TABLE nssPublic ADD COLUMN {column}")).expect("column");
    }
    let insert = "INSERT INTO nssPublic (id, a0, a81, a82, a62c, a62d, a62e, a62f, a635, a8c)
        SELECT id + ?1, x'0000000b', a81, a82, x'00000002', x'00000002', x'00000004', x'00000001', ?2, x'00000250'
        FROM nssPublic WHERE a0 = x'ce534353'";
    writer.execute(insert, (1000, [0u8; 32])).expect("inserted");
    let database = nss.open();
    assert_eq!(database.certificates[0].trust.letters(), "p,p,p");
    assert_eq!(database.problems.len(), 1, "{:?}", database.problems);
    writer.execute(insert, (2000, hash)).expect("inserted");
    let database = nss.open();
    assert_eq!(database.certificates[0].trust.letters(), "CT,P,");
    assert_eq!(database.generation.pkcs11_trust, 2);
    // The key column is not an attribute.
    assert_eq!(database.generation.certificate_columns, before.len() + missing.len());
}

#[test]
fn a_file_name_prefix_is_respected() {
    for format in common::FORMATS {
        let nss = Nss::new(format, "pw");
        nss.certutil(&["-N", "-P", "my-", "-f", &nss.password_file()]);
        nss.self_sign("in the prefixed one", "u,u,u", &["-k", "ec", "-q", "nistp256", "-P", "my-"]);
        assert_eq!(nss.open().certificates.len(), 0);
        let database = Database::open_with_prefix(&nss.dir(), "my-", format).expect("read");
        assert_eq!(database.certificates.len(), 1);
        assert_eq!(database.pairing().pairing, Pairing::Pair);
        let inventory = nssight_nssdb::Inventory::with_prefix(&nss.dir(), "my-");
        assert!(inventory.has_usable(format));
    }
}

#[test]
fn trust_without_the_hash_of_its_certificate_only_counts_as_distrust() {
    let nss = fast("pw");
    nss.add("trusted", "CT,C,C", &common::certificate("trusted", 1, 0));
    nss.add("distrusted", "p,p,p", &common::certificate("distrusted", 2, 0));
    let writer = rusqlite::Connection::open(nss.dir().join("cert9.db")).expect("opened");
    let agree = |class: &str, assignment: &str| {
        let changed = writer.execute(&format!("UPDATE nssPublic SET {assignment} WHERE a0 = x'{class}'"), []);
        assert_eq!(changed, Ok(2));
        let database = nss.open();
        let read: std::collections::BTreeMap<String, String> = database
            .certificates
            .iter()
            .map(|certificate| (certificate.nicknames[0].text.clone(), certificate.certutil_letters()))
            .collect();
        assert_eq!(read, nss.listed(), "{class}: {assignment}");
        assert!(!database.problems.is_empty());
    };
    if trust_rows(&writer, PKCS11_TRUST) > 0 {
        agree(PKCS11_TRUST, "a635 = NULL");
        agree(PKCS11_TRUST, "a635 = zeroblob(32)");
        as_before(&writer);
    }
    agree(NSS_TRUST, "ace5363b4 = NULL");
    agree(NSS_TRUST, "ace5363b4 = zeroblob(20)");
}

#[test]
fn a_signature_filed_in_the_old_place_is_found() {
    let nss = fast("pw");
    nss.self_sign("ec", "u,u,u", EC);
    let path = nss.dir().join("key4.db");
    let writer = rusqlite::Connection::open(&path).expect("opened");
    let private_value = "substr(id, 1, 8) = 'sig_key_' AND substr(id, 18) = '00000011'";
    let name: String = writer
        .query_row(&format!("SELECT id FROM metaData WHERE {private_value}"), [], |row| row.get(0))
        .expect("a signature");
    let object = u32::from_str_radix(&name[8..16], 16).expect("an object");
    let misfiled = format!("sig_key_{:08x}_00000011", object | 0xc000_0000);
    writer.execute("UPDATE metaData SET id = ?1 WHERE id = ?2", (misfiled, name)).expect("moved");
    drop(writer);
    let database = nss.open();
    let report = database.unlock(b"pw").expect("unlocked").verify_signatures(BUDGET);
    assert_eq!((report.bad, report.missing), (0, 0), "{report:?}");
}
