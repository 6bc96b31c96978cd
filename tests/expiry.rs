//! Certificates and revocation lists that expire soon: a warning in every format, and critical for a monitor.

mod common;

use std::path::PathBuf;

use common::{Case, NICKNAME, PKI, binary, run};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::crl::List;
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

/// A client whose certificate has one whole day left, or another number of days.
struct Expiring {
    case: Case,
    database: PathBuf,
}

impl Expiring {
    fn in_days(days: i64) -> Self {
        let valid = (-DAY, days * DAY + DAY / 2);
        let client = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(valid.0, valid.1)).unwrap();
        let case = Case::new();
        let database = case.database_of(DbFormat::Sql, &client, &[("lab-ca", &PKI.ca, "CT,C,C")]);
        case.password_file();
        Self { case, database }
    }

    fn walk(&self, words: &[&str]) -> common::Run {
        let mut command = binary();
        command.args(["diagnose", "--until", "private-key", "--nickname", NICKNAME, "--db"]).arg(&self.database);
        run(command.arg("--password-file").arg(self.case.path("pw")).args(words))
    }
}

#[test]
fn one_day_left_is_critical_for_a_monitor_and_never_a_plain_pass() {
    let case = Expiring::in_days(1);
    let human = case.walk(&[]);
    assert_eq!(human.code, Some(0), "{human:#?}");
    assert!(human.stdout.contains("\nWARN\n") && !human.stdout.contains("PASS"), "{human:#?}");
    assert!(human.stdout.contains("expires in 1 day"), "{human:#?}");
    assert!(case.walk(&["--short"]).stdout.starts_with("warn: "));
    assert_eq!(case.walk(&["--strict"]).code, Some(1));
    let nagios = case.walk(&["--format", "nagios"]);
    assert_eq!(nagios.code, Some(2), "{nagios:#?}");
    assert!(nagios.stdout.starts_with("NSSIGHT CRITICAL - "), "{nagios:#?}");
    assert!(
        [" days=1;30;7;; ", " client_certificate_days=1;30;7;;"].iter().all(|it| nagios.stdout.contains(it)),
        "{nagios:#?}"
    );
    let report = case.walk(&["--format", "json"]).report();
    assert_eq!(
        (&report["verdict"]["status"], &report["certificates"][0]["urgency"]),
        (&"pass".into(), &"critical".into())
    );
    assert_eq!(report["target"]["thresholds"]["warn_days"], 30);
    common::hold_to_schema("report", std::slice::from_ref(&report));
    for (format, said) in [
        ("github", "::error title="),
        ("junit", "expires in 1 day"),
        ("markdown", "WARNING"),
        ("html", "WARNING"),
        ("openmetrics", "nssight_certificate_not_before_timestamp_seconds{role=\"client\""),
    ] {
        let run = case.walk(&["--format", format]);
        assert!(run.stdout.contains(said), "{format}: {run:#?}");
    }
}

#[test]
fn the_user_can_set_thresholds() {
    let case = Expiring::in_days(20);
    let state = |words: &[&str]| {
        let run = case.walk(&[&["--format", "nagios"], words].concat());
        let state = run.stdout.split(' ').nth(1).unwrap_or_default().to_owned();
        (run.code, state)
    };
    let is = |code, word: &str| (Some(code), word.to_owned());
    assert_eq!(state(&[]), is(1, "WARNING"));
    assert_eq!(state(&["--warn-days", "19"]), is(0, "OK"));
    assert_eq!(state(&["--critical-days", "20"]), is(2, "CRITICAL"));
    assert_eq!(state(&["--warn-days", "5", "--critical-days", "6"]), is(3, "UNKNOWN"));
    let file = |keys: &str| {
        let database = format!("db = {:?}\nnickname = {NICKNAME:?}\npassword-file = \"pw\"\n", case.database);
        let text = format!("[[target]]\nname = \"one\"\nuntil = \"private-key\"\n{database}{keys}");
        let path = case.case.file("targets.toml", text);
        run(binary().args(["check", "--format", "nagios"]).arg(path)).stdout.split(' ').nth(1).unwrap().to_owned()
    };
    assert_eq!(file(""), "WARNING");
    assert_eq!(file("warn-days = 10\n"), "OK");
    assert_eq!(file("critical-days = 25\n"), "CRITICAL");
}

/// The peer's certificate, and the CA above it.
#[test]
fn certificates_of_the_peer_count_too() {
    let spec = Spec::new("expiring intermediate", Usage::Authority).valid(-DAY, 3 * DAY + DAY / 2);
    let intermediate: Identity = PKI.ca.issue(&spec).unwrap();
    let server = intermediate.issue(&Spec::new("server", Usage::Server).names(&["localhost"])).unwrap();
    let endpoint = Endpoint::start(Options::new(&server, &PKI.ca)).unwrap();
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let peer = format!("localhost:{}", endpoint.port());
    let mut command = binary();
    command.args(["diagnose", &peer, "--nickname", NICKNAME, "--format", "json", "--db"]).arg(&database);
    let report = run(command.arg("--password-file").arg(case.password_file())).report();
    assert_eq!(report["verdict"]["status"], "pass", "{report:#}");
    let certificates = report["certificates"].as_array().unwrap();
    let urgent: Vec<_> = certificates.iter().filter(|it| it.get("urgency").is_some()).collect();
    assert_eq!(urgent.len(), 1, "{report:#}");
    assert!(urgent[0]["subject"].as_str().unwrap().contains("expiring intermediate"));
    assert_eq!((&urgent[0]["role"], &urgent[0]["urgency"]), (&"authority".into(), &"critical".into()));
}

/// NSS still uses an expired list, and then nobody notices later revocations.
#[test]
fn a_revocation_list_counts_if_its_ca_issued_a_certificate_here() {
    let stranger = Identity::self_signed(&Spec::new("stranger CA", Usage::Authority)).unwrap();
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let walk = |days: i64, words: &[&str]| {
            let case = Case::new();
            let list = |days: i64| List { revoked: &[], updates: (-99 * DAY, days * DAY + DAY / 2), is_broken: false };
            let builder = DbBuilder::new(format).password(common::PASSWORD.as_bytes());
            let builder = builder.x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap();
            let builder = builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap();
            let builder = builder.revocation_list(&list(days).signed_by(&PKI.ca).unwrap());
            builder.revocation_list(&list(-3).signed_by(&stranger).unwrap()).build(&case.path("db")).unwrap();
            let mut command = binary();
            command.args(["diagnose", "--until", "private-key", "--nickname", NICKNAME, "--db"]).arg(case.path("db"));
            run(command.arg("--password-file").arg(case.password_file()).args(words))
        };
        assert!(walk(40, &[]).stdout.contains("\nPASS\n"), "{format:?}");
        assert_eq!(walk(40, &["--strict"]).code, Some(0), "{format:?}");
        for (days, left, code) in
            [(20, "expires in 20 days", 1), (1, "expires in 1 day", 2), (-2, "expired 2 days ago", 2)]
        {
            let human = walk(days, &[]);
            assert_eq!(human.code, Some(0), "{human:#?}");
            assert!(human.stdout.contains("\nWARN\n"), "{human:#?}");
            assert!(human.stdout.contains("the revocation list of ") && human.stdout.contains(left), "{human:#?}");
            assert!(!human.stdout.contains("stranger"), "{human:#?}");
            assert_eq!(walk(days, &["--strict"]).code, Some(1));
            let nagios = walk(days, &["--format", "nagios"]);
            assert_eq!(nagios.code, Some(code), "{nagios:#?}");
            assert!(nagios.stdout.contains(&format!(" revocation_list_days={days};30;7;;")), "{nagios:#?}");
        }
        let report = walk(1, &["--format", "json"]).report();
        assert_eq!(report["revocation_lists"].as_array().unwrap().len(), 1, "{report:#}");
        assert_eq!(report["revocation_lists"][0]["urgency"], "critical");
        assert_eq!(report["revocation_lists"][0]["issuer"], report["certificates"][0]["issuer"]);
        common::hold_to_schema("report", std::slice::from_ref(&report));
        for (kind, said) in [
            ("github", "::error title="),
            ("junit", "expires in 1 day"),
            ("markdown", "| revocation list | |"),
            ("html", "revocation list"),
            ("openmetrics", "nssight_revocation_list_next_update_timestamp_seconds{issuer=\"CN="),
        ] {
            let run = walk(1, &["--format", kind]);
            assert!(run.stdout.contains(said), "{kind}: {run:#?}");
        }
    }
}
