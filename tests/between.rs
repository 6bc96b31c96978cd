//! Databases in transition: requests that wait for their certificate, saved logins, older and newer versions of NSS, and kinds of keys that
//! only some versions support.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, run, run_beside, tool};
use nssight_fixtures::authority::{KeyKind, Spec, Usage};
use nssight_fixtures::newer;
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

const FORMATS: [DbFormat; 2] = [DbFormat::Sql, DbFormat::Dbm];

/// A check up to the key, which needs no network.
fn local(case: &Case, argument: &OsStr, database: &Path) -> Run {
    let password = case.password_file();
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--until", "private-key", "--nickname", NICKNAME, "--db"]);
    run_beside(command.arg(argument).arg("--password-file").arg(password), database)
}

fn inspect(case: &Case, argument: &OsStr) -> Value {
    let password = case.password_file();
    run(binary().args(["db", "inspect", "--format", "json", "--password-file"]).arg(password).arg(argument)).report()
}

fn remarks(inspection: &Value) -> Vec<&str> {
    inspection["remarks"].as_array().unwrap().iter().filter_map(|remark| remark["id"].as_str()).collect()
}

/// The steps of an administrator: `certutil -N`, the CA, and a request for the CA.
fn with_request(case: &Case, format: DbFormat) -> PathBuf {
    let path = case.path("db");
    fs::create_dir(&path).unwrap();
    let directory = format.directory(&path);
    let password = case.password_file();
    let ca = case.file("ca.der", PKI.ca.certificate.to_der().unwrap());
    let noise = case.file("noise", [0x5a; 4096]);
    let certutil = |arguments: &[&OsStr]| {
        let all = [OsStr::new("-d"), &directory, OsStr::new("-f"), password.as_ref()];
        tool("certutil", all.into_iter().chain(arguments.iter().copied()))
    };
    certutil(&["-N".as_ref()]);
    certutil(
        &["-A", "-n", "lab-ca", "-t", "CT,C,C", "-i"]
            .map(OsStr::new)
            .into_iter()
            .chain([ca.as_ref()])
            .collect::<Vec<_>>(),
    );
    let request = case.path("request");
    certutil(&[
        "-R".as_ref(),
        "-s".as_ref(),
        "CN=client".as_ref(),
        "-z".as_ref(),
        noise.as_ref(),
        "-o".as_ref(),
        request.as_ref(),
    ]);
    path
}

#[test]
fn a_pending_certificate_request_is_reported_and_its_key_is_kept() {
    for format in FORMATS {
        let case = Case::new();
        let database = with_request(&case, format);
        let argument = format.directory(&database);
        let run = local(&case, &argument, &database);
        assert_eq!(run.judged(), ["certificate", "request-outstanding", "client-db", "likely"], "{format:?} {run:#?}");
        let remedies = run.report()["verdict"]["remedies"].to_string();
        assert!(remedies.contains("NSS finds the matching key") && !remedies.contains("certutil -N"), "{remedies}");
        let inspection = inspect(&case, &argument);
        assert_eq!(remarks(&inspection).iter().filter(|id| **id == "not-a-pair").count(), 0, "{inspection:#}");
        assert!(remarks(&inspection).contains(&"key-without-certificate"), "{inspection:#}");
        // A client that needs no certificate gets no warning about a pending one.
        let password = case.password_file();
        let mut command = binary();
        command.args(["diagnose", "--format", "json", "--until", "private-key", "--db"]).arg(&argument);
        let without = common::run(command.arg("--password-file").arg(password));
        assert_eq!(without.code, Some(0), "{without:#?}");
    }
}

#[test]
fn the_key_of_saved_logins_is_no_private_key() {
    for format in FORMATS {
        let case = Case::new();
        let database = case.path("db");
        let builder = DbBuilder::new(format).password(PASSWORD.as_bytes()).saved_logins();
        builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        let argument = format.directory(&database);
        let inspection = inspect(&case, &argument);
        assert_eq!(inspection["private_keys"], serde_json::json!([]), "{inspection:#}");
        assert_eq!(inspection["not_understood"]["secret key"], 1, "{inspection:#}");
        // No nickname, no key, and no wrong statement about the pair of files.
        let run = local(&case, &argument, &database);
        assert_eq!(run.judged()[..2], ["certificate", "cert-not-found"], "{run:#?}");
    }
}

#[test]
fn exchanged_keys_of_a_legacy_directory_are_not_certainly_foreign() {
    let (case, other) = (Case::new(), Case::new());
    let database = case.database(DbFormat::Dbm);
    let others = other.database_of(DbFormat::Dbm, &PKI.stranger, &[("ca", &PKI.other_ca, "CT,C,C")]);
    fs::copy(others.join("key3.db"), database.join("key3.db")).unwrap();
    let run = local(&case, &DbFormat::Dbm.directory(&database), &database);
    assert_eq!(run.judged(), ["nss-db", "db-pair-mismatch", "client-db", "likely"], "{run:#?}");
}

/// From this release on NSS writes and accepts salts of 48 bytes, with SHA-384.
const SALTS_OF_48_BYTES: (u32, u32) = (3, 118);

#[test]
fn a_password_of_a_newer_nss_is_told_in_both_formats() {
    for format in FORMATS {
        let case = Case::new();
        let database = case.database(format);
        newer::salt(&database, format, PASSWORD.as_bytes()).unwrap();
        let run = local(&case, &format.directory(&database), &database);
        let expected = match (format, nssight_nss::library::nss_release() >= SALTS_OF_48_BYTES) {
            // If the password is shown to be right, it cannot be wrong as well.
            (DbFormat::Dbm, false) => ["password", "password-salt-too-new", "client-db", "certain"],
            (DbFormat::Sql, false) => ["password", "password-salt-too-new", "client-db", "likely"],
            // The check value is still that of the old salt: no password matches it.
            (DbFormat::Sql, true) => ["password", "password-wrong", "client-config", "certain"],
            // The check value matches, but the keys are still those of the old salt: NSS ignores entries that it cannot decrypt, and the
            // file is damaged.
            (DbFormat::Dbm, true) => ["private-key", "db-corrupt", "client-db", "likely"],
        };
        assert_eq!(run.judged(), expected, "{format:?} {run:#?}");
    }
}

/// nssight in a separate mount namespace, in which the library for the legacy format is an empty file.
fn without_legacy_library(arguments: &[&OsStr]) -> Run {
    let mut command = Command::new("unshare");
    command.args(["--user", "--map-root-user", "--mount", "sh", "-c"]);
    command.arg(
        "for library in $(find -L /usr/lib /usr/lib64 -name libnssdbm3.so 2>/dev/null); do mount --bind /dev/null \"$library\" || exit 99; done; \
         exec \"$0\" \"$@\"",
    );
    command.arg(env!("CARGO_BIN_EXE_nssight")).args(arguments).stdin(std::process::Stdio::null());
    run(command.env_remove("NSS_DEFAULT_DB_TYPE"))
}

#[test]
fn a_legacy_directory_without_its_library_is_reported_as_unsupported() {
    let case = Case::new();
    let database = case.database(DbFormat::Dbm);
    for argument in [DbFormat::Dbm.directory(&database), database.clone().into_os_string()] {
        let arguments = ["diagnose", "--format", "json", "--until", "nss-db", "--db"].map(OsStr::new);
        let run = without_legacy_library(&arguments.into_iter().chain([argument.as_os_str()]).collect::<Vec<_>>());
        assert_eq!(run.judged(), ["nss-db", "db-legacy-unsupported", "client-db", "certain"], "{run:#?}");
    }
}

/// NSS reports SEC_ERROR_LEGACY_DATABASE for such files.
#[test]
fn legacy_files_that_are_damaged_inside_are_damaged() {
    for file in ["cert8.db", "key3.db"] {
        let case = Case::new();
        let database = case.database(DbFormat::Dbm);
        let mut bytes = fs::read(database.join(file)).unwrap();
        bytes[300..].fill(0x5a);
        fs::write(database.join(file), bytes).unwrap();
        for argument in [DbFormat::Dbm.directory(&database), database.clone().into_os_string()] {
            let run = local(&case, &argument, &database);
            assert_eq!(run.judged()[..3], ["nss-db", "db-corrupt", "client-db"], "{file} {run:#?}");
        }
    }
}

#[test]
fn certificates_from_before_the_legacy_format_are_named() {
    let case = Case::new();
    let database = case.database(DbFormat::Dbm);
    fs::rename(database.join("cert8.db"), database.join("cert7.db")).unwrap();
    for argument in [DbFormat::Dbm.directory(&database), database.clone().into_os_string()] {
        let run = local(&case, &argument, &database);
        assert_eq!(run.judged()[..2], ["nss-db", "db-legacy-unsupported"], "{run:#?}");
        assert!(run.report()["verdict"]["summary"].as_str().unwrap().contains("cert7.db"), "{run:#?}");
    }
    assert!(remarks(&inspect(&case, database.as_os_str())).contains(&"older-than-legacy"));
}

#[test]
fn error_texts_of_the_system_keep_their_case() {
    let case = Case::new();
    let database = case.path("db");
    DbBuilder::new(DbFormat::Sql).password(b"").build(&database).unwrap();
    fs::remove_file(database.join("pkcs11.txt")).unwrap();
    // A circular link cannot be opened by any user.
    std::os::unix::fs::symlink("pkcs11.txt", database.join("pkcs11.txt")).unwrap();
    let run = local(&case, database.as_os_str(), &database);
    let report = run.report();
    let facts = report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap());
    let file = facts.filter_map(|fact| fact["text"].as_str()).find(|text| text.starts_with("pkcs11.txt")).unwrap();
    assert!(file.contains("Too many levels"), "{report:#}");
}

/// `certutil --pss`: an RSA key whose certificate allows PSS only.
#[test]
fn a_key_of_a_pss_certificate_matches_it() {
    let case = Case::new();
    let database = case.path("db");
    fs::create_dir(&database).unwrap();
    let directory = DbFormat::Sql.directory(&database);
    let password = case.password_file();
    let noise = case.file("noise", [0x5a; 4096]);
    let certutil = |arguments: &[&str]| {
        let all = [OsStr::new("-d"), &directory, OsStr::new("-f"), password.as_ref()];
        tool("certutil", all.into_iter().chain(arguments.iter().map(OsStr::new)))
    };
    certutil(&["-N"]);
    let noise = noise.to_str().unwrap();
    certutil(&["-S", "-z", noise, "-n", NICKNAME, "-s", "CN=client", "-x", "--pss", "-Z", "SHA256", "-t", "Pu,u,u"]);
    let inspection = inspect(&case, &directory);
    assert_eq!(inspection["certificates"][0]["key"], serde_json::json!({ "type": "RSA-PSS", "bits": 2048 }));
    assert_eq!(inspection["private_keys"][0]["decrypted"], "belongs to its certificate", "{inspection:#}");
    assert!(!remarks(&inspection).contains(&"key-broken"), "{inspection:#}");
    let run = local(&case, &directory, &database);
    assert_eq!(run.code, Some(0), "{run:#?}");
}

#[test]
fn a_kind_of_key_newer_than_nss_is_named() {
    let case = Case::new();
    let stored = PKI.ca.issue(&Spec::new("client", Usage::Client).key(KeyKind::Ec)).unwrap();
    let database = case.database_of(DbFormat::Sql, &stored, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    newer::ed25519(&database, NICKNAME, &stored, &PKI.ca, &Spec::new("client", Usage::Client)).unwrap();
    let inspection = inspect(&case, database.as_os_str());
    let mine = inspection["certificates"].as_array().unwrap().iter().find(|it| it["nickname"] == NICKNAME).unwrap();
    assert_eq!(mine["key"]["type"], "Ed25519", "{inspection:#}");
    assert_eq!(inspection["private_keys"][0]["type"], "Ed25519", "{inspection:#}");
    assert_eq!(inspection["private_keys"][0]["decrypted"], "belongs to its certificate", "{inspection:#}");
    let is_old = nssight_nss::library::nss_release() < (3, 99);
    assert_eq!(remarks(&inspection).contains(&"kind-too-new"), is_old, "{inspection:#}");
    assert!(!remarks(&inspection).contains(&"key-broken"), "{inspection:#}");
    let run = local(&case, database.as_os_str(), &database);
    if is_old {
        assert_eq!(run.judged(), ["private-key", "key-unusable", "client-host", "certain"], "{run:#?}");
        assert!(run.report()["verdict"]["summary"].as_str().unwrap().contains("Ed25519"), "{run:#?}");
    }
}

fn compared(case: &[&Case; 2], databases: [&Path; 2]) -> Value {
    let passwords = case.map(|case| case.password_file());
    let mut command = binary();
    command.args(["db", "compare", "--format", "json", "--password-file"]).arg(&passwords[0]);
    run(command.args(databases)).report()
}

#[test]
fn a_salt_of_a_newer_nss_is_a_grave_difference() {
    for format in FORMATS {
        let (one, other) = (Case::new(), Case::new());
        let (a, b) = (one.database(format), other.database(format));
        newer::salt(&b, format, PASSWORD.as_bytes()).unwrap();
        let document = compared(&[&one, &other], [&a, &b]);
        let all = document["differences"].as_array().unwrap();
        let salts: Vec<_> = all.iter().filter(|it| it["kind"] == "salt-differs").map(|it| &it["gravity"]).collect();
        // An NSS that gives both databases such a salt leaves no difference.
        let expected: &[&str] = if nssight_nss::library::nss_release() >= SALTS_OF_48_BYTES { &[] } else { &["grave"] };
        assert_eq!(salts, expected, "{document:#}");
    }
}

#[test]
fn keys_of_saved_logins_and_of_requests_are_no_lost_keys() {
    let (one, other) = (Case::new(), Case::new());
    let build = |case: &Case, format: DbFormat, logins: bool, request: bool| {
        let mut builder = DbBuilder::new(format).password(PASSWORD.as_bytes());
        builder = builder.x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap();
        builder = if logins { builder.saved_logins() } else { builder };
        builder = if request { builder.pkey("", &PKI.stranger.key).unwrap() } else { builder };
        let path = case.path("db");
        builder.build(&path).unwrap();
        path
    };
    let (a, b) = (build(&one, DbFormat::Dbm, true, true), build(&other, DbFormat::Sql, false, false));
    let document = compared(&[&one, &other], [&a, &b]);
    let keys: Vec<&Value> =
        document["differences"].as_array().unwrap().iter().filter(|it| it["kind"] == "key-only-in-a").collect();
    assert_eq!(keys.len(), 1, "{document:#}");
    assert_eq!(keys[0]["gravity"], "notable", "{document:#}");
    assert!(document["differences"].as_array().unwrap().iter().all(|it| it["gravity"] != "grave"), "{document:#}");
}
