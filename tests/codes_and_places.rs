//! The meaning of a code and an alert depends on the point in the session: at the ClientHello, after a HelloRetryRequest, in the outer or
//! the inner session. And silence is not an end.

mod common;

use std::path::{Path, PathBuf};

use common::{Case, PKI, Run, diagnose, run_beside};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options, fatal_alert};
use nssight_fixtures::nssdb::DbFormat;

fn well() -> Options {
    Options::new(&PKI.bridge, &PKI.ca)
}

fn against(options: Options, flags: &[&str]) -> Run {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    beside(&case, &database, options, flags)
}

fn beside(case: &Case, database: &Path, options: Options, flags: &[&str]) -> Run {
    let endpoint = Endpoint::start(options).unwrap();
    run_beside(diagnose(database, &case.password_file(), endpoint.port()).args(flags), database)
}

fn summary(run: &Run) -> String {
    run.report()["verdict"]["summary"].as_str().unwrap().to_owned()
}

#[test]
fn an_alert_at_the_client_hello_is_no_verdict_on_a_certificate() {
    for alert in [41, 42, 43, 44, 45, 46, 48, 49, 51, 116] {
        let run = against(well().behaving(Behaviour::Answer(fatal_alert(alert).to_vec(), Leave::Close)), &[]);
        run.is("peer-alert", "peer", "likely");
        assert!(summary(&run).contains("before any certificate"), "{run:#?}");
    }
}

#[test]
fn an_alert_after_a_hello_retry_request_is_not_about_the_first_client_hello() {
    // The first ClientHello of NSS has shares of x25519 and P-256.
    for (alert, cause) in [(40, "peer-alert"), (71, "tls-no-common-cipher")] {
        let options = Options { groups: Some("P-384".to_owned()), ..well().tls13() };
        let run = against(options.behaving(Behaviour::RefuseCertificate(alert)), &["--tls-max", "tls1.3"]);
        assert_eq!(run.judged()[1], cause, "{run:#?}");
        assert_ne!(run.judged()[3], "certain", "{run:#?}");
        assert_eq!(run.word("session.position").as_deref(), Some("after-hello-retry"), "{run:#?}");
        assert!(summary(&run).contains("second ClientHello"), "{run:#?}");
    }
    // A peer that requests another share and then continues is healthy.
    let options = Options { groups: Some("P-384".to_owned()), ..well().tls13() };
    assert_eq!(against(options, &["--tls-max", "tls1.3"]).code, Some(0));
}

/// A database with a crypto policy in its list of modules.
fn with_policy(case: &Case, rules: &str) -> PathBuf {
    let database = case.database(DbFormat::Sql);
    let modules = database.join("pkcs11.txt");
    let mut text = std::fs::read_to_string(&modules).unwrap();
    text.push_str(&format!("\nlibrary=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"{rules}\"\n\n"));
    std::fs::write(&modules, text).unwrap();
    database
}

fn under(rules: &str, options: Options, flags: &[&str]) -> Run {
    let case = Case::new();
    let database = with_policy(&case, rules);
    beside(&case, &database, options, flags)
}

#[test]
fn algorithms_removed_by_our_policy_are_our_fault() {
    let only_13 = ["--tls-min", "tls1.3", "--tls-max", "tls1.3"];
    let suites = |list: &str| Options { suites: format!("{list}:@SECLEVEL=0"), ..well().tls12() };
    let groups = |list: &str| Options { groups: Some(list.to_owned()), ..well() };
    let rows: [(&str, Options, &[&str]); 4] = [
        // In TLS 1.3 a server with an RSA key can use no other signature.
        ("disallow=RSA-PSS", well().tls13(), &only_13),
        ("disallow=AES128-GCM:AES256-GCM:CHACHA20-POLY1305", suites("ECDHE+AESGCM"), &["--tls-max", "tls1.2"]),
        ("disallow=CURVE25519:SECP384R1", groups("X25519").tls13(), &only_13),
        ("disallow=ECDHE-RSA", suites("ECDHE-RSA-AES256-GCM-SHA384"), &["--tls-max", "tls1.2"]),
    ];
    for (rules, options, flags) in rows {
        let run = under(rules, options, flags);
        run.is("tls-policy-blocked", "client-db", "likely");
        assert_eq!(run.word("offer.by-policy").as_deref(), Some("cut"), "{rules}: {run:#?}");
        assert!(run.word("offer.removed").is_some(), "{run:#?}");
    }
    let run = under("allow=tls-version-max=tls1.2", well().tls13(), &["--tls-max", "tls1.3"]);
    assert_eq!(run.judged()[1], "tls-policy-blocked", "{run:#?}");
}

#[test]
fn a_policy_that_removed_nothing_useful_is_not_blamed() {
    let camellia = || Options { suites: "ECDHE-RSA-CAMELLIA256-SHA384:@SECLEVEL=0".to_owned(), ..well().tls12() };
    under("disallow=AES128-CBC:AES256-CBC", camellia(), &[]).is("tls-no-common-cipher", "peer", "likely");
    let run = against(camellia(), &[]);
    run.is("tls-no-common-cipher", "peer", "likely");
    assert_eq!(run.word("offer.by-policy").as_deref(), Some("as-it-comes"), "{run:#?}");
    let others = run.report()["verdict"]["alternatives"].to_string();
    assert!(!others.contains("tls-policy-blocked"), "{run:#?}");
    // A policy that forbids algorithms this peer does not need lets the check pass.
    assert_eq!(under("disallow=RSA-PSS:SECP521R1", well().tls12(), &[]).code, Some(0));
}

/// The report has the lists of our ClientHello, and the algorithms that a policy removed.
#[test]
fn our_offers_are_evidence() {
    let offered = |run: &Run, id: &str| -> Vec<String> {
        let report = run.report();
        let probes = report["probes"].as_array().unwrap().iter();
        let mut facts = probes.flat_map(|probe| probe["facts"].as_array().unwrap());
        let list = facts.find(|fact| fact["id"] == id).unwrap_or_else(|| panic!("{id} in {report:#}"));
        list["value"].as_str().unwrap().split(", ").map(str::to_owned).collect()
    };
    let has = |run: &Run, id: &str, name: &str| offered(run, id).iter().any(|it| it == name);
    let usual = against(well(), &[]);
    let restricted = under("disallow=CURVE25519:RSA-PSS", well(), &["--tls-max", "tls1.2"]);
    for (id, name) in [("session.groups-offered", "x25519"), ("session.signatures-offered", "rsa_pss_rsae_sha256")] {
        assert!(has(&usual, id, name), "{usual:#?}");
        assert!(!has(&restricted, id, name), "{restricted:#?}");
    }
    assert!(has(&restricted, "session.groups-offered", "secp256r1"), "{restricted:#?}");
}

const MALFORMED: &str = "SSL_ERROR_RX_MALFORMED_KEY_SHARE";

#[test]
fn a_bad_key_share_of_the_peer_is_not_our_key() {
    let small_order = [&[1][..], &[0; 31]].concat();
    for share in [vec![0; 32], small_order, vec![9; 31], vec![9; 33], Vec::new()] {
        for is_13 in [false, true] {
            let options = if is_13 { well().tls13() } else { well().tls12() };
            let flags: &[&str] = if is_13 { &["--tls-max", "tls1.3"] } else { &["--tls-max", "tls1.2"] };
            let run = against(options.behaving(Behaviour::KeyShare(share.clone())), flags);
            run.is("key-share-invalid", "peer", "certain");
        }
    }
    // A share of the right form from a peer that cannot complete the key exchange: nothing is known about keys.
    let run = against(well().tls13().behaving(Behaviour::KeyShare(vec![9; 32])), &["--tls-max", "tls1.3"]);
    // Unless NSS itself, for example 3.132, reports the share as malformed.
    let [_, cause, _, confidence] = run.judged();
    if run.report()["probes"].as_array().unwrap().iter().any(|probe| probe["error"]["name"] == MALFORMED) {
        assert_eq!([cause.as_str(), &confidence], ["key-share-invalid", "likely"], "{run:#?}");
    } else {
        assert_ne!(cause, "key-share-invalid", "{run:#?}");
    }
    assert_ne!(cause, "key-unusable", "{run:#?}");
}

#[test]
fn a_record_changed_in_transit_is_reported_as_damaged() {
    for options in [well().tls12(), well().tls13()] {
        let run = against(options.behaving(Behaviour::DamageSecondFlight), &["--tls-max", "tls1.3"]);
        assert_eq!(run.report()["verdict"]["layer"], "outer-handshake", "{run:#?}");
        run.is("record-damaged", "network", "likely");
    }
    // The peer could not decrypt our data.
    let run = against(well().tls12().behaving(Behaviour::RefuseCertificate(20)), &[]);
    run.is("record-damaged", "network", "likely");
    // Before any encryption this alert has no such meaning.
    let run = against(well().behaving(Behaviour::Answer(fatal_alert(20).to_vec(), Leave::Close)), &[]);
    run.is("peer-alert", "peer", "likely");
}

/// A CA and a server certificate of it, valid from this many days from now.
fn from_day(day: i64) -> (Identity, Identity) {
    let when = |spec: Spec| spec.valid(day * DAY, (day + 60) * DAY);
    let authority = Identity::self_signed(&when(Spec::new("Their CA", Usage::Authority))).unwrap();
    let server = Spec::new("peer", Usage::Server).names(&["localhost"]).key(KeyKind::Rsa(2048));
    let server = authority.issue(&when(server)).unwrap();
    (authority, server)
}

fn to_peer_of(authority: &Identity, server: &Identity) -> Run {
    let case = Case::new();
    let authorities = [("lab-ca", &PKI.ca, "CT,C,C"), ("their-ca", authority, "CT,C,C")];
    let database = case.database_of(DbFormat::Sql, &PKI.client, &authorities);
    beside(&case, &database, Options::new(server, &PKI.ca), &[])
}

#[test]
fn a_chain_in_use_that_is_entirely_in_the_future_is_blamed_on_our_clock() {
    let (authority, server) = from_day(3);
    let run = to_peer_of(&authority, &server);
    run.is("clock-skew", "client-host", "likely");
    assert_eq!(run.word("peer-chain.dates").as_deref(), Some("all-future"), "{run:#?}");
    assert!(run.word("clock.synchronised").is_some(), "{run:#?}");
    // Only the server's own certificate is early: its CA is already valid.
    let early = Spec::new("peer", Usage::Server).names(&["localhost"]).valid(3 * DAY, 60 * DAY);
    let run = to_peer_of(&PKI.other_ca, &PKI.other_ca.issue(&early).unwrap());
    assert_eq!(run.judged()[1], "peer-cert-expired", "{run:#?}");
    assert_ne!(run.judged()[3], "certain", "{run:#?}");
    // An expired certificate is out of date according to any clock that is not ahead.
    let (authority, server) = from_day(-70);
    let run = to_peer_of(&authority, &server);
    assert_eq!(run.judged()[1..3], ["peer-cert-expired", "peer"], "{run:#?}");
}

#[test]
fn silence_is_not_called_an_end() {
    let stalls = [
        Behaviour::Answer(Vec::new(), Leave::Stall),
        Behaviour::CutFlight(500, Leave::Stall),
        Behaviour::LeaveAfterCertificate(Leave::Stall),
    ];
    for behaviour in stalls {
        let case = Case::new();
        let endpoint = Endpoint::start(well().tls12().behaving(behaviour.clone())).unwrap();
        let database = case.database(DbFormat::Sql);
        let mut command = diagnose(&database, &case.password_file(), endpoint.port());
        let run = run_beside(command.args(["--timeout", "1.5"]), &database);
        let report = run.report();
        let probes = report["probes"].as_array().unwrap();
        let told = probes.iter().map(|probe| format!("{} {}", probe["summary"], probe["facts"])).collect::<String>();
        assert!(!told.contains("closed") && !told.contains("reset"), "{behaviour:?}: {told}");
        assert!(!summary(&run).contains("closed"), "{run:#?}");
    }
}
