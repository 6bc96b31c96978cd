//! `nssight db compare`: two databases read without NSS, by the built binary.

mod common;

use std::path::PathBuf;

use common::stored::{build, compare, consequence, differences, password_of};
use common::{Case, NICKNAME, PASSWORD, PKI};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;
use nssight_nss::library::nss_release;
use serde_json::json;

#[test]
fn the_same_content_is_the_same_in_either_format() {
    let case = Case::new();
    let (a, b) = (case.path("a"), case.path("b"));
    let held = [("lab-ca", &PKI.ca, "CT,C,C"), ("peer", &PKI.bridge, "P,,")];
    build(&a, DbFormat::Sql, "", &held, None);
    build(&b, DbFormat::Dbm, "", &held, None);
    let same = compare(&a, &b, &[]);
    let report = same.report();
    let objects = trust_objects(&["lab-ca", "peer"]);
    assert_eq!(differences(&report), objects);
    assert_eq!(same.code, Some(i32::from(!objects.is_empty())), "{same:#?}");
    assert_eq!(report["schema"], "nssight/db-compare/1");
    assert_eq!((&report["in_both"], &report["password"]), (&json!(2), &json!("same")));
    // With a key there is a difference that the formats cannot avoid: its encryption.
    let (a, b) = (case.path("with-key"), case.path("with-key-too"));
    build(&a, DbFormat::Sql, PASSWORD, &held, Some(&PKI.client));
    build(&b, DbFormat::Dbm, PASSWORD, &held, Some(&PKI.client));
    let report = compare(&a, &b, &["--password-file", &password_of(&case)]).report();
    let mut expected = trust_objects(&["lab-ca", "peer"]);
    expected.push(("key-encryption-differs", NICKNAME, "note"));
    assert_eq!(sorted(differences(&report)), sorted(expected));
    assert_eq!(report["password"], "same");
}

fn sorted<T: Ord>(mut all: Vec<T>) -> Vec<T> {
    all.sort();
    all
}

/// From this release on NSS writes trust as objects that the legacy format does not have, with no equivalent of `c`.
const OBJECTS_OF_TRUST: (u32, u32) = (3, 114);

fn trust_objects<'a>(names: &[&'a str]) -> Vec<(&'static str, &'a str, &'static str)> {
    if nss_release() >= OBJECTS_OF_TRUST {
        names.iter().map(|name| ("trust-object-differs", *name, "notable")).collect()
    } else {
        Vec::new()
    }
}

#[test]
fn trust_is_compared_letter_by_letter_with_its_consequences() {
    let rows = [
        (
            "CT,,",
            ",,",
            "grave",
            "C only in A: with A, server certificates from this CA are accepted; with B, all server \
            certificates from this CA are rejected; T only in A",
        ),
        (
            ",,",
            "T,,",
            "grave",
            "T only in B: with B, client certificates from this CA are accepted; with A, all client",
        ),
        ("p,,", "C,,", "grave", "p only in A: with A, the certificate is rejected regardless of its issuer"),
        ("P,,", ",,", "grave", "P only in A: with A, the certificate is accepted as a peer by itself"),
        ("c,,", ",,", "notable", "c only in A"),
        ("C,C,", "C,,C", "note", "e-mail: \"C\" in A, \"\" in B (does not matter for TLS); code signing"),
    ];
    for (in_a, in_b, gravity, wanted) in rows {
        for formats in [[DbFormat::Sql, DbFormat::Sql], [DbFormat::Dbm, DbFormat::Sql]] {
            let case = Case::new();
            let (a, b) = (case.path("a"), case.path("b"));
            build(&a, formats[0], "", &[("sigul-ca", &PKI.ca, in_a)], None);
            build(&b, formats[1], "", &[("sigul-ca", &PKI.ca, in_b)], None);
            let compared = compare(&a, &b, &[]);
            if in_a == "c,," && nss_release() >= OBJECTS_OF_TRUST {
                // NSS writes no trust flag in either format, but an object where the format supports objects.
                let objects = if formats[0] == DbFormat::Sql { trust_objects(&["sigul-ca"]) } else { Vec::new() };
                assert_eq!(compared.code, Some(i32::from(!objects.is_empty())));
                assert_eq!(differences(&compared.report()), objects);
                continue;
            }
            assert_eq!(compared.code, Some(1));
            let report = compared.report();
            assert_eq!(differences(&report), [("trust-differs", "sigul-ca", gravity)], "{in_a} {in_b}");
            assert!(consequence(&report).contains(wanted), "{in_a} {in_b}: {}", consequence(&report));
        }
    }
}

#[test]
fn certificates_of_one_side_renewals_and_other_names_are_told_apart() {
    let renewed = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(-DAY, 90 * DAY)).unwrap();
    let expired = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(-30 * DAY, -DAY)).unwrap();
    let new_ca = Identity::self_signed(&Spec::new("Lab CA", Usage::Authority).valid(-DAY, 90 * DAY)).unwrap();
    // The certificates of A, those of B, and the expected differences.
    type Held<'a> = Vec<(&'a str, &'a Identity, &'a str)>;
    let rows: Vec<(Held<'_>, Held<'_>, &str, &str, &str)> = vec![
        (
            vec![("ca", &PKI.ca, "CT,,")],
            vec![],
            "only-in-a",
            "grave",
            "every server certificate from this CA is rejected",
        ),
        (
            vec![],
            vec![("x", &PKI.bridge, "")],
            "only-in-b",
            "notable",
            "are incomplete, unless the peer sends the CA certificate",
        ),
        (
            vec![("one", &PKI.ca, "")],
            vec![("other", &PKI.ca, "")],
            "nickname-differs",
            "notable",
            "does not find the certificate in B",
        ),
        (
            vec![("c", &PKI.client, "")],
            vec![("c", &renewed, "")],
            "renewed-in-b",
            "notable",
            "with a new key; the certificate of A is valid",
        ),
        (
            vec![("c", &renewed, "")],
            vec![("d", &expired, "")],
            "renewed-in-a",
            "grave",
            "the certificate of B expired on",
        ),
        (
            vec![("ca", &PKI.ca, "CT,,")],
            vec![("ca", &new_ca, "CT,,")],
            "renewed-in-b",
            "grave",
            "do not verify with the other",
        ),
        (
            vec![("x", &PKI.bridge, "")],
            vec![("x", &PKI.stranger, "")],
            "certificate-differs",
            "grave",
            "to peers it is a different identity",
        ),
    ];
    for (in_a, in_b, kind, gravity, wanted) in rows {
        let case = Case::new();
        let (a, b) = (case.path("a"), case.path("b"));
        build(&a, DbFormat::Sql, "", &in_a, None);
        build(&b, DbFormat::Sql, "", &in_b, None);
        let compared = compare(&a, &b, &[]);
        assert_eq!(compared.code, Some(1));
        let report = compared.report();
        let found = differences(&report);
        assert_eq!(found.len(), 1, "{report:#}");
        assert_eq!((found[0].0, found[0].2), (kind, gravity), "{report:#}");
        assert!(consequence(&report).contains(wanted), "{}", consequence(&report));
    }
}

#[test]
fn keys_and_passwords_are_compared() {
    let case = Case::new();
    let path = |name: &str| -> PathBuf { case.path(name) };
    build(&path("a"), DbFormat::Sql, PASSWORD, &[("lab-ca", &PKI.ca, "CT,,")], Some(&PKI.client));
    build(&path("other-password"), DbFormat::Sql, "another", &[("lab-ca", &PKI.ca, "CT,,")], Some(&PKI.client));
    build(&path("no-key"), DbFormat::Sql, PASSWORD, &[("lab-ca", &PKI.ca, "CT,,"), (NICKNAME, &PKI.client, "")], None);
    let given = ["--password-file", &password_of(&case)];
    let report = compare(&path("a"), &path("no-key"), &given).report();
    assert_eq!(differences(&report), [("key-only-in-a", NICKNAME, "grave")]);
    assert_eq!(report["password"], "same");
    let compared = compare(&path("a"), &path("other-password"), &[]);
    assert_eq!((compared.code, &compared.report()["password"]), (Some(0), &json!("unknown")), "{compared:#?}");
    let report = compare(&path("a"), &path("other-password"), &given).report();
    assert_eq!(differences(&report), [("password-differs", "password", "notable")]);
    let other = case.file("other-pw", "another\n");
    let more = [&given[..], &["--other-password-file", other.to_str().unwrap()]].concat();
    assert_eq!(compare(&path("a"), &path("other-password"), &more).report()["password"], "different");
    let wrong = ["--password-file", other.to_str().unwrap()];
    assert_eq!(compare(&path("a"), &path("no-key"), &wrong).report()["password"], "unknown");
}
