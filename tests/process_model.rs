//! `nssight process-model`: what this NSS does in threads and after forks, cell by cell.

mod common;

use common::{Case, Run, binary, run, run_beside};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

const OWN_STEPS: [&str; 6] = ["init", "login", "find-certificate", "find-key", "sign", "random"];

fn models(case: &Case, format: DbFormat, more: &[&str]) -> Run {
    let database = case.database(format);
    let mut command = binary();
    command.args(["process-model", "--format", "json", "--nickname", common::NICKNAME, "--db"]).arg(&database);
    command.arg("--password-file").arg(case.password_file()).args(more);
    run_beside(&mut command, &database)
}

fn row<'a>(report: &'a Value, model: &str) -> &'a Value {
    let rows = report["models"].as_array().unwrap();
    rows.iter().find(|row| row["binding"] == "c" && row["model"] == model).unwrap_or_else(|| panic!("no {model}"))
}

/// One word a step: `ok`, `repeated`, the error's name, `hung`, `crashed`, or `-` where nobody came to it.
fn words(row: &Value) -> Vec<String> {
    let word = |cell: &Value| {
        let count = |what: &str| cell[what].as_u64().unwrap();
        match () {
            () if count("hung") > 0 => "hung".to_owned(),
            () if count("crashed") > 0 => "crashed".to_owned(),
            () if count("failed") > 0 => cell["error"]["name"].as_str().unwrap().to_owned(),
            () if count("repeated") > 0 => "repeated".to_owned(),
            () if count("ok") > 0 => "ok".to_owned(),
            () => "-".to_owned(),
        }
    };
    row["steps"].as_array().unwrap().iter().map(word).collect()
}

fn causes(report: &Value) -> Vec<&str> {
    report["conclusions"].as_array().unwrap().iter().filter_map(|conclusion| conclusion["cause"].as_str()).collect()
}

#[test]
fn every_cell_of_the_models_that_do_not_race_is_as_measured() {
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let case = Case::new();
        let run = models(&case, format, &[]);
        assert_eq!(run.code, Some(0), "{run:#?}");
        let report = run.report();
        assert_eq!(report["schema"], "nssight/process-model/1");
        let own = ["ok"; 6];
        let inherited = |random| ["-", "ok", "ok", "ok", "ok", random];
        let rows = [
            ("fresh-process", own, "-"),
            ("same-thread", ["ok"; 6], "ok"),
            ("another-thread", inherited("ok"), "ok"),
            ("fork-before-init", own, "ok"),
            ("fork-after-init", inherited("repeated"), "ok"),
            ("fork-after-login", inherited("repeated"), "ok"),
            ("fork-shutdown-init", own, "ok"),
            ("fork-restart-modules", own, "ok"),
            ("fork-from-thread", inherited("repeated"), "ok"),
            ("double-tls", own, "ok"),
        ];
        for (model, steps, again) in rows {
            let mut expected: Vec<&str> = steps.to_vec();
            if model == "same-thread" {
                expected[0] = "-";
            }
            expected.push(again);
            let row = row(&report, model);
            assert_eq!(words(row), expected, "{model}: {row:#}");
            assert_eq!((&row["runs"], &row["trouble"]), (&Value::from(1), &Value::Null), "{model}");
            let steps: Vec<&str> =
                row["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap()).collect();
            assert_eq!(steps, [&OWN_STEPS[..], &["parent-again"]].concat());
        }
        assert_eq!(causes(&report)[0], "fork-duplicates-randomness");
        let repeating = &report["conclusions"][0]["models"];
        assert_eq!(repeating, &serde_json::json!(["fork-after-init", "fork-after-login", "fork-from-thread"]));
    }
}

#[test]
fn children_of_a_busy_parent_hang_and_the_tool_does_not() {
    let case = Case::new();
    let started = std::time::Instant::now();
    let report = models(&case, DbFormat::Sql, &[]).report();
    assert!(started.elapsed().as_secs() < 20);
    let row = row(&report, "fork-while-busy");
    assert_eq!(row["runs"], 50);
    let hung: u64 = row["steps"].as_array().unwrap().iter().map(|cell| cell["hung"].as_u64().unwrap()).sum();
    assert!(hung > 0, "{row:#}");
    assert_eq!(words(row).last().map(String::as_str), Some("ok"), "the parent goes on");
    assert!(causes(&report).contains(&"fork-deadlocks"), "{report:#}");
    assert_eq!(models(&Case::new(), DbFormat::Sql, &["--strict"]).code, Some(1));
}

#[test]
fn what_fails_in_a_fresh_process_is_not_blamed_on_processes() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let wrong = case.file("wrong", "something else\n");
    let mut command = binary();
    command.args(["process-model", "--format", "json", "--nickname", common::NICKNAME, "--db"]).arg(&database);
    let run = run(command.arg("--password-file").arg(wrong));
    assert_eq!(run.code, Some(1), "{run:#?}");
    let report = run.report();
    assert_eq!(words(row(&report, "fresh-process"))[1], "SEC_ERROR_BAD_PASSWORD");
    assert_eq!(causes(&report), Vec::<&str>::new());
    assert!(report["conclusions"][0]["text"].as_str().unwrap().contains("no matter of processes and threads"));
}

#[test]
fn the_document_keeps_to_its_schema_and_shows_no_password() {
    let case = Case::new();
    let output = models(&case, DbFormat::Sql, &[]);
    assert!(!output.stdout.contains(common::PASSWORD) && !output.stderr.contains(common::PASSWORD));
    let printed = run(binary().args(["schema", "process-model"]));
    let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/process-model.schema.json");
    assert_eq!(printed.stdout, std::fs::read_to_string(file).unwrap());
    let schema: Value = serde_json::from_str(&printed.stdout).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<String> = validator.iter_errors(&output.report()).map(|error| error.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
}
