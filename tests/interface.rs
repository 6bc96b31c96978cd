//! The stable interface for scripts and readers: exit codes, one JSON document, the schema, and the documented options.

mod common;

use std::process::Stdio;

use common::{Case, NICKNAME, PKI, binary, diagnose, hold_to_schema, run};
use nssight_fixtures::endpoint::{Behaviour, Endpoint, Leave, Options};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// Generated with `nssight schema`.
const SCHEMA: &str = include_str!("../docs/report.schema.json");
/// The pages that explain options.
const PAGES: &[&str] = &[
    include_str!("../docs/options.md"),
    include_str!("../docs/bundle.md"),
    include_str!("../docs/check.md"),
    include_str!("../docs/databases.md"),
    include_str!("../docs/lab.md"),
    include_str!("../docs/listen.md"),
    include_str!("../docs/monitoring.md"),
    include_str!("../docs/process-model.md"),
    include_str!("../docs/trace.md"),
    include_str!("../docs/triage.md"),
    include_str!("../docs/clients.md"),
];

fn well() -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap()
}

#[test]
fn the_schema_file_matches_the_types() {
    let printed: Value = serde_json::from_str(&run(binary().arg("schema")).stdout).unwrap();
    let kept: Value = serde_json::from_str(SCHEMA).unwrap();
    assert!(printed == kept, "docs/report.schema.json is stale: write `nssight schema` into it");
}

#[test]
fn reports_keep_to_the_schema() {
    let validator = jsonschema::validator_for(&serde_json::from_str(SCHEMA).unwrap()).unwrap();
    let case = Case::new();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let wrong = case.file("wrong", "nope\n");
    let silent = Options::new(&PKI.bridge, &PKI.ca).behaving(Behaviour::Answer(Vec::new(), Leave::Close));
    let (healthy, closing) = (well(), Endpoint::start(silent).unwrap());
    let runs = [
        run(&mut diagnose(&database, &password, healthy.port())),
        run(&mut diagnose(&database, &password, closing.port())),
        run(&mut diagnose(&database, &wrong, healthy.port())),
        run(binary().args(["diagnose", "--format", "json", "-c", "/nonexistent"])),
    ];
    for run in &runs {
        let report = run.report();
        let errors: Vec<String> = validator.iter_errors(&report).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?} in {run:#?}");
        assert_eq!(report["schema"], "nssight/report/2");
        assert!(run.stderr.is_empty(), "{run:#?}");
    }
    // A validator that accepts everything would pass too.
    assert!(!validator.is_valid(&serde_json::json!({ "schema": "nssight/report/2" })));
}

#[test]
fn the_same_input_gives_the_same_report() {
    let endpoint = well();
    let case = Case::new();
    let (database, password) = (case.database(DbFormat::Sql), case.password_file());
    let timeless = || {
        let run = run(diagnose(&database, &password, endpoint.port()).args(["--tls-max", "tls1.2"]));
        common::timeless(run.report())
    };
    assert_eq!(timeless(), timeless());
}

#[test]
fn usage_errors_exit_with_2_and_say_why_in_one_line() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let database = database.to_str().unwrap();
    let long = format!("{}:1", "a".repeat(300));
    let rows: &[&[&str]] = &[
        &["diagnose", "--bridge", "localhost:0"],
        &["diagnose", "--bridge", "localhost:70000"],
        &["diagnose", "--bridge", &long],
        &["diagnose", "--until", "tcp", "--db", database],
        &["diagnose", "--until", "nowhere"],
        &["diagnose", "--timeout", "-1"],
        &["diagnose", "--tls-min", "tls9"],
        &["diagnose", "--db", database, "--password-file", "/nonexistent"],
        &["diagnose", "--db", database, "--password-env", "NSSIGHT_NOT_SET"],
        &["diagnose", "--password-stdin", "--password-prompt"],
        &["frobnicate"],
        &["lab", "run", "--fault", "no-such-fault"],
    ];
    for arguments in rows {
        let run = run(binary().args(*arguments));
        assert_eq!(run.code, Some(2), "{arguments:?}: {run:#?}");
        assert!(run.stdout.is_empty() && !run.stderr.trim().is_empty(), "{arguments:?}: {run:#?}");
        assert!(run.stderr.lines().next().unwrap().len() < 500, "{run:#?}");
    }
}

#[test]
fn warnings_fail_with_strict_only() {
    let endpoint = well();
    let case = Case::new();
    let (database, password) =
        (case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.ca, "CT,C,C")]), case.password_file());
    let options = Options { client_cas: vec![PKI.other_ca.certificate.clone()], ..Options::new(&PKI.bridge, &PKI.ca) };
    let taking = Endpoint::start(options).unwrap();
    assert_eq!(run(&mut diagnose(&database, &password, taking.port())).code, Some(0));
    assert_eq!(run(diagnose(&database, &password, taking.port()).arg("--strict")).code, Some(1));
    drop(endpoint);
}

#[test]
fn every_option_is_explained_in_the_documents() {
    let helps = [
        &["diagnose", "--help"][..],
        &["db", "inspect", "--help"],
        &["triage", "--help"],
        &["bundle", "--help"],
        &["db", "compare", "--help"],
        &["process-model", "--help"],
        &["exporter", "--help"],
        &["listen", "--help"],
        &["check", "--help"],
        &["clients", "--help"],
        &["lab", "up", "--help"],
        &["trace", "--help"],
    ];
    let help: String = helps.iter().map(|help| run(binary().args(*help)).stdout).collect();
    let options =
        help.split_whitespace().filter_map(|word| word.trim_matches(|c: char| ",[]".contains(c)).strip_prefix("--"));
    let mut count = 0;
    for option in
        options.filter(|option| *option != "help" && option.chars().all(|c| c.is_ascii_lowercase() || c == '-'))
    {
        let named = format!("--{option}");
        assert!(PAGES.iter().any(|page| page.contains(&named)), "{named} is in none of the pages");
        count += 1;
    }
    assert!(count > 30, "only {count} options found in: {help}");
    let commands = run(binary().arg("--help")).stdout;
    assert!(!commands.contains("worker"), "{commands}");
}

#[test]
fn colours_keep_to_the_option_the_variable_and_the_pipe() {
    let escape = '\u{1b}';
    let lab = |arguments: &[&str]| {
        let mut command = binary();
        command.args(["lab", "run"]).args(arguments);
        command
    };
    assert!(!run(&mut lab(&[])).stdout.contains(escape));
    assert!(run(&mut lab(&["--color", "always"])).stdout.contains(escape));
    assert!(!run(lab(&["--color", "auto"]).env("NO_COLOR", "1")).stdout.contains(escape));
    assert!(!run(&mut lab(&["--color", "never"])).stdout.contains(escape));
}

#[test]
fn a_report_can_be_short_quiet_verbose_or_in_a_file() {
    let case = Case::new();
    let short = run(binary().args(["lab", "run", "--short", "--fault", "outer-closes-after-hello"]));
    assert_eq!(short.stdout.lines().count(), 1, "{short:#?}");
    assert!(short.stdout.starts_with("fail outer-handshake peer-closed-in-handshake"), "{short:#?}");
    let quiet = run(binary().args(["lab", "run", "--quiet"]));
    assert!(quiet.stdout.lines().count() < 5, "{quiet:#?}");
    let verbose = run(binary().args(["lab", "run", "--verbose"]));
    assert!(verbose.stdout.contains("Lab CA") && verbose.stdout.contains("ServerHello"), "{verbose:#?}");
    let path = case.path("report.json");
    let filed = run(binary().args(["lab", "run", "--format", "json", "--output"]).arg(&path));
    assert!(filed.stdout.is_empty(), "{filed:#?}");
    let report: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    assert_eq!(report["verdict"]["status"], "pass");
}

#[test]
fn a_dry_run_touches_nothing() {
    let endpoint = well();
    let run =
        run(diagnose(std::path::Path::new("/nonexistent"), std::path::Path::new("/nonexistent"), endpoint.port())
            .arg("--dry-run"));
    assert_eq!((run.code, endpoint.connections()), (Some(0), 0));
    assert!(run.stdout.contains("outer-handshake") && run.stdout.contains("1 connection"), "{run:#?}");
}

#[test]
fn lists_are_documents_too() {
    for (words, name, key) in [
        (&["checks"][..], "checks", "layers"),
        (&["causes"], "causes", "causes"),
        (&["lab", "list", "--profile", "tls"], "lab-list", "faults"),
        (&["selftest", "--only", "files-well"], "selftest", "faults"),
    ] {
        let listed = run(binary().args(words).args(["--format", "json"]));
        let document: Value = serde_json::from_str(&listed.stdout).unwrap();
        assert_eq!((listed.code, &document["schema"]), (Some(0), &format!("nssight/{name}/1").into()), "{document:#}");
        assert!(!document[key].as_array().unwrap().is_empty(), "{document:#}");
        hold_to_schema(name, &[document]);
    }
}

#[test]
fn a_closed_pipe_is_no_crash() {
    let mut child = binary().args(["causes"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(output.status.code() == Some(0) && output.stderr.is_empty(), "{output:?}");
    assert!(run(binary().args(["causes"])).stdout.contains("client-cert-rejected"));
    assert!(run(binary().args(["checks", "--list"])).stdout.contains("outer-handshake"));
    assert_eq!(NICKNAME, "sigul-client-cert");
}
