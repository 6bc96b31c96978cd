//! `nssight db compare` of a database with PEM files: which certificates were copied from NSS to a program with
//! OpenSSL.

mod common;

use std::fs;
use std::path::Path;

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, fingerprint, hold_to_schema, run};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;
use openssl::symm::Cipher;
use rustix::fs::{CWD, Mode, mkfifoat};
use serde_json::{Value, json};

/// Compares, and requires that the database is unchanged.
fn compare(database: &Path, files: &[&Path]) -> Run {
    let before = fingerprint(database);
    let run = run(binary().args(["db", "compare", "--format", "json"]).arg(database).args(files));
    assert_eq!(fingerprint(database), before, "comparing changed the database");
    run
}

/// The fate of each certificate: its name, result, files and key.
fn moved(report: &Value) -> Vec<[String; 4]> {
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let files = |it: &Value| it.as_array().unwrap().iter().map(text).collect::<Vec<_>>().join(" ");
    let of = |it: &Value| [text(&it["name"]), text(&it["fate"]), files(&it["files"]), text(&it["key_file"])];
    let mut all: Vec<[String; 4]> = report["moved"].as_array().unwrap().iter().map(of).collect();
    all.sort();
    all
}

fn differences(report: &Value) -> Vec<[&str; 3]> {
    let all = report["differences"].as_array().unwrap();
    all.iter().map(|it| ["kind", "name", "gravity"].map(|key| it[key].as_str().unwrap())).collect()
}

fn pem(identity: &Identity) -> Vec<u8> {
    identity.certificate.to_pem().unwrap()
}

fn key(identity: &Identity) -> Vec<u8> {
    identity.key.private_key_to_pem_pkcs8().unwrap()
}

/// A directory with these files.
fn files<const N: usize>(case: &Case, name: &str, content: [(&str, Vec<u8>); N]) -> std::path::PathBuf {
    let directory = case.path(name);
    fs::create_dir(&directory).unwrap();
    content.iter().for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
    directory
}

#[test]
fn a_complete_export_is_no_difference_for_a_directory_or_files() {
    for database in [|case: &Case| case.database_by_tools(DbFormat::Sql), |case: &Case| case.database(DbFormat::Dbm)] {
        let case = Case::new();
        let database = database(&case);
        let content = [("client.pem", pem(&PKI.client)), ("client.key", key(&PKI.client)), ("ca.pem", pem(&PKI.ca))];
        let directory = files(&case, "pki", content);
        // Files that are not PEM are ignored, and files that could block are not opened.
        fs::write(directory.join("server.toml"), "bridge_port = 44333\n").unwrap();
        fs::create_dir(directory.join("state")).unwrap();
        mkfifoat(CWD, directory.join("pipe"), Mode::RUSR).unwrap();
        let given = ["ca.pem", "client.key", "client.pem"].map(|name| directory.join(name));
        for files in [vec![directory.as_path()], given.iter().map(|path| path.as_path()).collect()] {
            let compared = compare(&database, &files);
            assert_eq!(compared.code, Some(0), "{compared:#?}");
            let report = compared.report();
            let expected = [
                ["lab-ca", "same-certificate", "ca.pem", "-"],
                [NICKNAME, "same-certificate", "client.pem", "client.key"],
            ];
            assert_eq!(moved(&report), expected);
            assert_eq!((&report["in_both"], &report["password"]), (&json!(2), &json!("not-compared")));
            assert_eq!(report["b"]["format"], "pem");
            hold_to_schema("db-compare", &[report]);
        }
    }
}

#[test]
fn renewed_foreign_and_missing_certificates_are_distinguished() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let same_key = PKI.ca.certify(&PKI.client, &Spec::new("client", Usage::Client).valid(-DAY, 300 * DAY)).unwrap();
    let expired = PKI.ca.certify(&PKI.client, &Spec::new("client", Usage::Client).valid(-9 * DAY, -DAY)).unwrap();
    let renamed = PKI.ca.certify(&PKI.client, &Spec::new("alice", Usage::Client)).unwrap();
    let other_key = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(-DAY, 300 * DAY)).unwrap();
    let other_authority = Spec::new("Lab CA", Usage::Authority).valid(-DAY, 3000 * DAY);
    let other_authority = Identity::self_signed(&other_authority).unwrap();
    let grave = |kind, name| [kind, name, "grave"];
    let notable = |kind, name| [kind, name, "notable"];
    let gone = ["lab-ca", "missing", "", "-"];
    let authority = ["lab-ca", "same-certificate", "ca.pem", "-"];
    let (ca, own_key) = (pem(&PKI.ca), key(&PKI.client));
    let locked = PKI.client.key.private_key_to_pem_pkcs8_passphrase(Cipher::aes_256_cbc(), b"x").unwrap();
    let both = [ca.clone(), pem(&PKI.client)].concat();
    type Row<'a> = (&'a str, Vec<(&'a str, Vec<u8>)>, Vec<[&'a str; 4]>, Vec<[&'a str; 3]>);
    let rows: Vec<Row<'_>> = vec![
        (
            "renewed with its key",
            vec![("ca.pem", ca.clone()), ("c.pem", pem(&same_key)), ("c.key", own_key.clone())],
            vec![authority, [NICKNAME, "same-key", "c.pem", "c.key"]],
            vec![notable("renewed-in-b", NICKNAME)],
        ),
        (
            "an expired one",
            vec![("ca.pem", ca.clone()), ("c.pem", pem(&expired)), ("c.key", own_key.clone())],
            vec![authority, [NICKNAME, "same-key", "c.pem", "c.key"]],
            vec![grave("renewed-in-a", NICKNAME)],
        ),
        (
            "the same key with another subject",
            vec![("ca.pem", ca.clone()), ("c.pem", pem(&renamed)), ("c.key", own_key.clone())],
            vec![authority, [NICKNAME, "same-key", "c.pem", "c.key"]],
            vec![grave("certificate-differs", NICKNAME)],
        ),
        (
            "the same subject with another key",
            vec![("ca.pem", ca.clone()), ("c.pem", pem(&other_key)), ("c.key", key(&other_key))],
            vec![authority, [NICKNAME, "same-subject", "c.pem", "c.key"]],
            vec![notable("renewed-in-b", NICKNAME)],
        ),
        (
            "a CA of the same name",
            vec![("ca.pem", pem(&other_authority)), ("c.pem", pem(&PKI.client)), ("c.key", own_key.clone())],
            vec![["lab-ca", "same-subject", "ca.pem", "-"], [NICKNAME, "same-certificate", "c.pem", "c.key"]],
            vec![grave("renewed-in-b", "lab-ca")],
        ),
        (
            "no key",
            vec![("all.pem", both.clone())],
            vec![["lab-ca", "same-certificate", "all.pem", "-"], [NICKNAME, "same-certificate", "all.pem", "-"]],
            vec![grave("key-only-in-a", NICKNAME)],
        ),
        (
            "a key of somebody else",
            vec![("all.pem", both.clone()), ("c.key", key(&PKI.bridge))],
            vec![["lab-ca", "same-certificate", "all.pem", "-"], [NICKNAME, "same-certificate", "all.pem", "-"]],
            vec![grave("key-only-in-a", NICKNAME)],
        ),
        (
            "a key behind a passphrase",
            vec![("all.pem", both), ("c.key", locked)],
            vec![["lab-ca", "same-certificate", "all.pem", "-"], [NICKNAME, "same-certificate", "all.pem", "-"]],
            vec![notable("key-only-in-a", NICKNAME)],
        ),
        (
            "nothing of it, and another",
            vec![("b.pem", pem(&PKI.bridge))],
            vec![gone, [NICKNAME, "missing", "", "-"]],
            vec![
                grave("only-in-a", "lab-ca"),
                grave("only-in-a", NICKNAME),
                notable("only-in-b", "CN=bridge,O=nssight lab"),
            ],
        ),
    ];
    for (at, (what, content, fates, wanted)) in rows.into_iter().enumerate() {
        let directory = case.path(&format!("pki-{at}"));
        fs::create_dir(&directory).unwrap();
        content.iter().for_each(|(name, bytes)| fs::write(directory.join(name), bytes).unwrap());
        let compared = compare(&database, &[&directory]);
        assert_eq!(compared.code, Some(1), "{what}: {compared:#?}");
        let report = compared.report();
        assert_eq!(moved(&report), fates, "{what}: {report:#}");
        assert_eq!(differences(&report), wanted, "{what}: {report:#}");
        hold_to_schema("db-compare", &[report]);
    }
}

#[test]
fn unreadable_input_exits_with_3() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let whole = [("client.pem", pem(&PKI.client)), ("client.key", key(&PKI.client)), ("ca.pem", pem(&PKI.ca))];
    let well = files(&case, "well", whole.clone());
    let text = case.file("text", "see the wiki\n");
    let cut = case.file("cut.pem", &pem(&PKI.ca)[..200]);
    let garbled = case.file("garbled.pem", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n");
    for (odd, says) in [
        (case.path("nowhere"), "No such file"),
        (text, "not a PEM file"),
        (cut, "the file is truncated"),
        (garbled, "garbled.pem"),
    ] {
        let given = whole.clone().map(|(name, _)| well.join(name));
        let all: Vec<&Path> = given.iter().map(|path| path.as_path()).chain([odd.as_path()]).collect();
        let compared = compare(&database, &all);
        assert_eq!(compared.code, Some(3), "{compared:#?}");
        let report = compared.report();
        assert_eq!(report["partial"], true);
        assert!(report["problems"][0].as_str().unwrap().contains(says), "{report:#}");
        assert_eq!(report["in_both"], 2, "{report:#}");
    }
    // A directory with neither is not a valid side.
    let empty = files(&case, "empty", []);
    let compared = run(binary().args(["db", "compare"]).arg(&database).arg(&empty));
    assert_eq!((compared.code, compared.stdout.as_str()), (Some(3), ""), "{compared:#?}");
}

#[test]
fn text_output_shows_copied_certificates_and_no_escape_sequence() {
    let case = Case::new();
    let odd = PKI.ca.issue(&Spec::new("alert\u{1b}[31m", Usage::Client)).unwrap();
    let database = case.database_of(DbFormat::Sql, &odd, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    let content = [("alert\u{1b}[1m.pem", pem(&odd)), ("ca.pem", pem(&PKI.ca))];
    let directory = files(&case, "pki", content);
    let compared = run(binary().args(["db", "compare"]).arg(&database).arg(&directory));
    assert_eq!(compared.code, Some(1), "{compared:#?}");
    assert!(!compared.stdout.contains('\u{1b}') && !compared.stdout.contains(PASSWORD), "{:?}", compared.stdout);
    for part in ["lab-ca", "the same certificate in ca.pem", "1 difference: 1 grave", "its private key is missing"] {
        assert!(compared.stdout.contains(part), "{part}: {}", compared.stdout);
    }
}
