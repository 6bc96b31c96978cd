//! Many targets in the formats for machines: one that passes, one that is flaky, one that fails, one that nssight cannot judge in time, and
//! one with a name and labels that have a meaning in every format.

mod browser;
mod common;
mod readers;

use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::fault::{Change, Queue};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::{Value, json};

use browser::{Browser, Look, obstacles, overflowing};
use common::{Case, NICKNAME, PKI, Run, binary, run};
use readers::{HOSTILE, annotations, is_visible, junit, rendered, samples};

/// Checks all of them once; the lab's stale link makes one flaky.
fn check(case: &Case, format: &str, more: &[&str]) -> Run {
    let lab = case.path(&format!("lab-{format}"));
    std::fs::create_dir(&lab).unwrap();
    let stale = Change { queue: Queue::Stale, ..Change::default() };
    let flaky = Deployment::start(&lab, &stale, DbFormat::Sql).unwrap();
    let silent = Options::new(&PKI.bridge, &PKI.ca).behaving(Behaviour::Answer(Vec::new(), Leave::Stall));
    let silent = Endpoint::start(silent).unwrap();
    let database = case.path("db");
    if !database.exists() {
        case.database(DbFormat::Sql);
    }
    let own = json!({ "db": database, "nickname": NICKNAME, "password-file": case.password_file() });
    let with = |name: &str, more: Value| {
        let mut target = own.clone();
        target["name"] = name.into();
        more.as_object().unwrap().iter().for_each(|(key, value)| target[key] = value.clone());
        target
    };
    let targets = json!({ "target": [
        with("well", json!({ "until": "certificate", "labels": { "team": "releng", "target": "x" } })),
        { "name": "flaky", "config": flaky.config(), "retries": 1, "retry-spacing": 1 },
        with("gone", json!({ "db": "/nonexistent", "until": "certificate" })),
        with("silent", json!({ "bridge": format!("localhost:{}", silent.port()), "timeout": 1 })),
        with(HOSTILE, json!({ "until": "certificate", "nickname": "other", "labels": { "hostile": HOSTILE } })),
    ]});
    let file = case.file("targets.toml", toml::to_string(&targets).unwrap());
    let mut command = binary();
    command.arg("check").arg(file).args(["--format", format]).args(more).env_remove("GITHUB_STEP_SUMMARY");
    run(&mut command)
}

#[test]
fn junit_has_one_suite_per_target_and_shows_flaky_targets() {
    let run = check(&Case::new(), "junit", &[]);
    is_visible(&run.stdout);
    let value = |expression: &str| junit(&run.stdout, expression);
    assert_eq!(run.code, Some(1), "{run:#?}");
    assert_eq!(value("count(//testsuite)"), "5");
    assert_eq!(value("count(//testsuite[@name='well']//failure)"), "0");
    assert_eq!(
        value("string(//testsuite[@name='flaky']//testcase[@name='bridge']/flakyFailure/@type)"),
        "server-link-dead"
    );
    assert_eq!(value("string(//testsuite[@name='gone']//failure/@type)"), "db-missing");
    assert_eq!(value("string(//testsuite[@name='silent']//failure/@type)"), "peer-silent");
    assert_eq!(value("string(//testsuite[5]//failure/@type)"), "cert-not-found");
    assert!(value("string(//testsuite[5]/@name)").starts_with("a<script>alert(1)</script>&amp;]]>|x `tick`"));
    assert_eq!(value("string(//property[@name='label.team']/@value)"), "releng");
}

#[test]
fn metrics_of_many_carry_their_target() {
    let run = check(&Case::new(), "openmetrics", &[]);
    is_visible(&run.stdout);
    let samples = samples(&run.stdout);
    let of = |name: &str, target: &str| {
        let found = samples[name].iter().find(|(labels, _)| labels["target"].as_str().unwrap().starts_with(target));
        found.unwrap_or_else(|| panic!("{name} {target}: {run:#?}")).clone()
    };
    let success: Vec<f64> = samples["probe_success"].iter().map(|(_, value)| *value).collect();
    assert_eq!(success, [1.0, 1.0, 0.0, 0.0, 0.0]);
    assert_eq!(of("nssight_verdict_info", "flaky").0["status"], "flaky");
    assert_eq!(of("nssight_tries", "flaky").1, 2.0);
    let given = of("nssight_target_info", "well").0;
    assert_eq!(given, json!({ "target": "well", "team": "releng", "label_target": "x" }));
    assert!(of("nssight_target_info", "a<script>").0["hostile"].as_str().unwrap().starts_with("a<script>"));
    assert_eq!(of("nssight_certificate_not_after_timestamp_seconds", "silent").0["role"], "authority");
}

#[test]
fn a_plugin_line_of_many_targets_counts_them_and_names_failing_ones() {
    let run = check(&Case::new(), "nagios", &[]);
    is_visible(&run.stdout);
    let first = run.stdout.lines().next().unwrap();
    assert_eq!(run.code, Some(2), "{run:#?}");
    assert!(
        first.starts_with("NSSIGHT CRITICAL - 4 of 5 targets failing: flaky (server-link-dead), gone (db-missing), ")
    );
    let (_, data) = first.split_once(" | ").unwrap();
    assert!(data.starts_with("ok=1;;;0;5 warning=1;;;0;5 critical=3;;;0;5 unknown=0;;;0;5 cert_days_left_min="));
    assert!(first.len() < 1024 && run.stdout.lines().count() == 5, "{run:#?}");
}

#[test]
fn each_of_many_targets_has_one_annotation_and_the_summary_a_table() {
    let case = Case::new();
    let run = check(&case, "github", &[]);
    is_visible(&run.stdout);
    let found = annotations(&run.stdout);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["warning", "error", "error", "error"], "{run:#?}");
    assert!(found[3].1["title"].starts_with("a<script>alert(1)</script>&amp;]]>|x `tick`"), "{found:#?}");
    let page = check(&case, "markdown", &[]).stdout;
    is_visible(&page);
    let (text, tables) = rendered(&page);
    assert!(page.starts_with("# nssight: 2 of 5 targets pass\n"), "{page}");
    assert!(tables > 10 && text.contains("a<script>alert(1)</script>&amp;]]>|x `tick` ``two``"), "{page}");
}

#[test]
fn a_page_of_many_has_an_overview_and_is_accessible() {
    let case = Case::new();
    let page = case.path("many.html");
    let run = check(&case, "html", &["--output", page.to_str().unwrap()]);
    assert!(run.code == Some(1) && run.stdout.is_empty(), "{run:#?}");
    let browser = Browser::open();
    for look in [Look::WIDE, Look::DARK, Look::PHONE, Look::PAPER, Look { width: 320, ..Look::PHONE }] {
        browser.show(&page, look);
        assert_eq!(overflowing(&browser), json!([]), "{look:?}");
        assert_eq!(obstacles(&browser), Vec::<String>::new(), "{look:?}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{look:?}");
    }
    assert_eq!(browser.run("return document.title"), "2 of 5 targets pass · nssight");
    let links = "return [...document.querySelectorAll('.overview a')].every((a) => document.querySelector(a.hash))";
    assert_eq!(browser.run(links), true);
    // The hostile name is text, from its first character to the last.
    let name = browser.run("return document.querySelector('#target-5').textContent");
    assert!(name.as_str().unwrap().starts_with("a<script>alert(1)</script>&amp;]]>|x `tick`"), "{name}");
    if let Some(directory) = std::env::var_os("NSSIGHT_PICTURES") {
        browser.show(&page, Look { height: 2000, ..Look::WIDE });
        std::fs::write(std::path::Path::new(&directory).join("many.png"), browser.picture()).unwrap();
    }
}
