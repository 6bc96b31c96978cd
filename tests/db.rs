//! `nssight db inspect`: databases read without NSS, by the built binary.

mod common;

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};

use common::stored::{FORMATS, build, compare, inspect, named, password_of, remarks};
use common::{Case, NICKNAME, PASSWORD, PKI, binary, hold_to_schema, run, run_beside};
use nssight_fixtures::authority::{Spec, Usage};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use openssl::hash::MessageDigest;
use serde_json::{Value, json};

#[test]
fn certificates_and_keys_are_shown_with_what_they_say() {
    for format in FORMATS {
        let case = Case::new();
        let database = case.database(format);
        let run = inspect(&database, &["--password-file", &password_of(&case)]);
        assert_eq!(run.code, Some(0), "{run:#?}");
        let report = run.report();
        assert_eq!(report["schema"], "nssight/db-inspect/1");
        let (client, ca) = (named(&report, NICKNAME), named(&report, "lab-ca"));
        let digest = PKI.client.certificate.digest(MessageDigest::sha256()).unwrap();
        let hex: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(client["sha256"], json!(hex));
        assert!(client["subject"].as_str().unwrap().contains("CN=client"));
        assert!(client["issuer"].as_str().unwrap().contains("CN=Lab CA"));
        assert_eq!(client["trust"], "u,u,u");
        assert_eq!(client["has_private_key"], true);
        assert_eq!(client["private_key"], "matches");
        assert_eq!(client["key"], json!({"type": "RSA", "bits": 2048}));
        assert_eq!(client["extended_key_usage"], json!(["TLS client"]));
        assert_eq!(client["issuer_sha256"], ca["sha256"]);
        assert_eq!(client["days_left"], 59);
        let end = client["not_after"].as_str().unwrap();
        assert!(end.ends_with('Z') && end.len() == 20, "{end}");
        assert_eq!(
            (&ca["trust"], &ca["is_ca"], &ca["has_private_key"]),
            (&json!("CT,C,C"), &json!(true), &json!(false))
        );
        let keys = report["private_keys"].as_array().unwrap();
        assert_eq!(keys.len(), 1);
        assert_eq!(keys[0]["certificates"], json!([NICKNAME]));
        assert_eq!(keys[0]["decrypted"], "belongs to its certificate");
        assert_eq!(report["password"]["given"], "right");
        assert_eq!(report["signatures"].is_null(), format == DbFormat::Dbm);
        assert!(!run.stdout.contains(PASSWORD) && !run.stderr.contains(PASSWORD));
    }
}

#[test]
fn a_wrong_password_and_none_leave_the_keys_closed() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let wrong = case.file("wrong", "something else\n");
    let report = inspect(&database, &["--password-file", wrong.to_str().unwrap()]).report();
    assert_eq!(report["password"]["given"], "wrong");
    assert_eq!(report["private_keys"][0]["decrypted"], Value::Null);
    let report = inspect(&database, &[]).report();
    assert_eq!(report["password"]["given"], Value::Null);
    assert_eq!((&report["password"]["state"], &report["password"]["iterations"]), (&json!("set"), &json!(10000)));
}

#[test]
fn oddities_are_reported() {
    let case = Case::new();
    // certutil still shows "u" after the key is gone.
    let database = case.database(DbFormat::Sql);
    let empty = case.path("empty");
    build(&empty, DbFormat::Sql, PASSWORD, &[], None);
    fs::copy(empty.join("key4.db"), database.join("key4.db")).unwrap();
    let report = inspect(&database, &[]).report();
    assert_eq!(named(&report, NICKNAME)["trust"], "u,u,u");
    assert_eq!(named(&report, NICKNAME)["has_private_key"], false);
    assert!(remarks(&report).contains(&"user-without-key"), "{report:#}");
    assert!(remarks(&report).contains(&"not-a-pair"), "{report:#}");

    // A key that waits for its certificate, readable for all users, in a directory with both formats.
    let both = case.path("both");
    DbBuilder::new(DbFormat::Sql).password(b"").pkey("waiting", &PKI.client.key).unwrap().build(&both).unwrap();
    build(&both, DbFormat::Dbm, "", &[("lab-ca", &PKI.ca, "CT,C,C")], None);
    fs::set_permissions(both.join("key4.db"), fs::Permissions::from_mode(0o644)).unwrap();
    let report = inspect(&both, &[]).report();
    assert_eq!(report["format"], "sql");
    for remark in ["both-formats", "key-without-certificate", "keys-readable"] {
        assert!(remarks(&report).contains(&remark), "{remark}: {report:#}");
    }
    let report = run(binary().args(["db", "inspect", "--format", "json"]).arg(DbFormat::Dbm.directory(&both))).report();
    assert_eq!((&report["format"], named(&report, "lab-ca")["trust"].as_str()), (&json!("dbm"), Some("CT,C,C")));
    assert!(remarks(&report).contains(&"legacy-format"));

    // A legacy key without a certificate shows its kind only after decryption.
    let alone = case.path("alone");
    DbBuilder::new(DbFormat::Dbm)
        .password(PASSWORD.as_bytes())
        .pkey("alone", &PKI.client.key)
        .unwrap()
        .build(&alone)
        .unwrap();
    let closed = inspect(&alone, &[]).report();
    assert_eq!(closed["private_keys"][0]["type"], "known only after decryption");
    let open = inspect(&alone, &["--password-file", &password_of(&case)]).report();
    assert_eq!(
        (&open["private_keys"][0]["type"], &open["private_keys"][0]["decrypted"]),
        (&json!("RSA"), &json!("readable"))
    );

    // Two certificates of one subject, and one in place of another.
    let renewed = case.path("renewed");
    let again = PKI.ca.issue(&Spec::new("client", Usage::Client)).unwrap();
    build(&renewed, DbFormat::Sql, "", &[("one", &again, ""), ("one", &PKI.client, "")], None);
    assert!(remarks(&inspect(&renewed, &[]).report()).contains(&"nickname-renewed"));
}

#[test]
fn a_half_upgraded_directory_is_named_and_the_old_pair_is_shown() {
    let case = Case::new();
    let database = case.database(DbFormat::Dbm);
    // Opened for writing without a login: this is how such a database comes about.
    let mut opened = Command::new("certutil");
    opened.args(["-M", "-n", "nobody", "-t", ",,", "-d"]).arg(DbFormat::Sql.directory(&database));
    opened.stdin(Stdio::null()).output().unwrap();
    assert!(database.join("cert9.db").exists());
    let report = inspect(&database, &[]).report();
    assert!(remarks(&report).contains(&"half-upgraded"), "{report:#}");
    assert_eq!(report["format"], "dbm");
    assert_eq!(named(&report, NICKNAME)["has_private_key"], true);
}

#[test]
fn a_nickname_is_shown_with_its_chain() {
    let case = Case::new();
    let intermediate = PKI.ca.issue(&Spec::new("Intermediate", Usage::Authority)).unwrap();
    let leaf = intermediate.issue(&Spec::new("leaf", Usage::Client)).unwrap();
    let database = case.path("db");
    let held = [("root", &PKI.ca, "CT,,"), ("middle", &intermediate, ""), ("leaf", &leaf, "")];
    build(&database, DbFormat::Sql, "", &held, None);
    let shown = run(binary().args(["db", "inspect", "-n", "leaf"]).arg(&database));
    assert_eq!(shown.code, Some(0));
    let tree = "  chain\n    root [CT,,]\n    └─ middle [,,]\n       └─ leaf [,,]\n";
    assert!(shown.stdout.contains(tree), "{}", shown.stdout);
    let without_root = case.path("without-root");
    build(&without_root, DbFormat::Sql, "", &held[1..], None);
    let shown = run(binary().args(["db", "inspect", "-n", "leaf"]).arg(&without_root));
    assert!(shown.stdout.contains("CN=Lab CA,O=nssight lab (not in this database)\n    └─ middle"), "{}", shown.stdout);
    let none = run(binary().args(["db", "inspect", "-n", "nobody"]).arg(&database));
    assert_eq!(none.code, Some(2));
    assert!(none.stderr.contains("no certificate \"nobody\""));
}

#[test]
fn untrusted_names_are_escaped_for_the_terminal() {
    let case = Case::new();
    let database = case.path("db");
    build(&database, DbFormat::Sql, "", &[("red \u{1b}[31m alert", &PKI.ca, "CT,,")], None);
    let shown = run(binary().args(["db", "inspect"]).arg(&database));
    assert!(shown.stdout.contains("alert") && !shown.stdout.contains('\u{1b}'), "{:?}", shown.stdout);
    let other = case.path("other");
    build(&other, DbFormat::Sql, "", &[("blue", &PKI.ca, "CT,,")], None);
    let compared = run(binary().args(["db", "compare"]).arg(&database).arg(&other));
    assert!(compared.stdout.contains("alert") && !compared.stdout.contains('\u{1b}'), "{:?}", compared.stdout);
}

#[test]
fn unreadable_parts_exit_with_3_and_readable_parts_are_shown() {
    let case = Case::new();
    let database = case.database(DbFormat::Dbm);
    for (a, b) in [(&case.path("nowhere"), &database), (&database, &case.path("nowhere"))] {
        let compared = run(binary().args(["db", "compare"]).arg(a).arg(b));
        assert_eq!(compared.code, Some(3), "{compared:#?}");
        assert!(compared.stderr.contains("does not exist"), "{compared:#?}");
    }
    let missing = run(binary().args(["db", "inspect"]).arg(case.path("nowhere")));
    assert_eq!(missing.code, Some(3));
    fs::write(database.join("key3.db"), "garbage").unwrap();
    let partial = inspect(&database, &[]);
    assert_eq!(partial.code, Some(3));
    let report = partial.report();
    assert_eq!((&report["partial"], report["certificates"].as_array().unwrap().len()), (&json!(true), 2));
    assert!(report["problems"][0].as_str().unwrap().contains("key3.db"), "{report:#}");
}

/// Makes the empty directory accessible for `nobody`, if this is root.
fn open_to_all(case: &Case) {
    fs::set_permissions(case.dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn reading_needs_no_permission_to_write() {
    for format in FORMATS {
        let case = Case::new();
        let database = case.database(format);
        open_to_all(&case);
        for entry in fs::read_dir(&database).unwrap() {
            fs::set_permissions(entry.unwrap().path(), fs::Permissions::from_mode(0o444)).unwrap();
        }
        fs::set_permissions(&database, fs::Permissions::from_mode(0o555)).unwrap();
        // The binary may be in a directory that other users cannot enter.
        let copy = case.path("nssight");
        common::copy_nssight(&copy);
        let mut command = Command::new(copy);
        command.args(["db", "inspect", "--format", "json"]).arg(&database);
        if rustix::process::geteuid().is_root() {
            chown(&database, Some(0), Some(0)).unwrap();
            command.uid(65534).gid(65534);
        }
        let run = run_beside(&mut command, &database);
        fs::set_permissions(&database, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert_eq!(run.report()["certificates"].as_array().unwrap().len(), 2);
    }
}

#[test]
fn a_read_only_mount_and_a_path_through_a_link_are_read() {
    for format in FORMATS {
        let case = Case::new();
        let database = case.database(format);
        let link = case.path("link");
        std::os::unix::fs::symlink(&database, &link).unwrap();
        let linked = run_beside(binary().args(["db", "inspect", "--format", "json"]).arg(&link), &database);
        assert_eq!(linked.code, Some(0), "{linked:#?}");
        // In a separate mount namespace, which ends with the command.
        let script = "mount --bind \"$1\" \"$1\" && mount -o remount,ro,bind \"$1\" && ! touch \"$1/x\" 2>/dev/null && \
                      exec \"$2\" db inspect --format json \"$1\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]).arg(&database);
        command.arg(env!("CARGO_BIN_EXE_nssight"));
        let mounted = run_beside(&mut command, &database);
        assert_eq!(mounted.code, Some(0), "{mounted:#?}");
        assert_eq!(mounted.report()["certificates"], linked.report()["certificates"]);
    }
}

#[test]
fn a_database_that_another_process_writes_to_is_read_consistently() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let certificate = case.file("ca.der", PKI.other_ca.certificate.to_der().unwrap());
    let script = "for number in $(seq 40); do certutil -A -d \"$1\" -n other -t C,, -i \"$2\" -f \"$3\" && \
                  certutil -D -d \"$1\" -n other -f \"$3\" || exit 1; done";
    let mut writer = Command::new("sh");
    writer
        .args(["-c", script, "sh"])
        .arg(DbFormat::Sql.directory(&database))
        .arg(certificate)
        .arg(case.password_file());
    let mut writer = writer.stdin(Stdio::null()).spawn().unwrap();
    let mut seen = std::collections::BTreeSet::new();
    let mut rounds = 0;
    while writer.try_wait().unwrap().is_none() {
        let run = run(binary().args(["db", "inspect", "--format", "json"]).arg(&database));
        // A report that the database is busy is acceptable; half of a transaction would not be.
        if run.code == Some(3) {
            assert!(run.stderr.contains("another process is writing to"), "{run:#?}");
            continue;
        }
        let report = run.report();
        assert_eq!((run.code, &report["partial"]), (Some(0), &json!(false)), "{report:#}");
        seen.insert(report["certificates"].as_array().unwrap().len());
        rounds += 1;
    }
    assert!(writer.wait().unwrap().success());
    assert!(rounds > 20, "{rounds} rounds");
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [2, 3], "with and without the one that comes and goes");
}

#[test]
fn documents_keep_to_their_schemas() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let other = case.path("other");
    build(&other, DbFormat::Dbm, "", &[("lab-ca", &PKI.ca, ",,")], None);
    let documents = [
        ("db-inspect", inspect(&database, &["--password-file", &password_of(&case)]).report()),
        ("db-inspect", inspect(&other, &[]).report()),
        ("db-compare", compare(&database, &other, &[]).report()),
    ];
    for (name, document) in documents {
        hold_to_schema(name, &[document]);
    }
}
