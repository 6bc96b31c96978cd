//! `nssight process-model`: the behaviour of this NSS in threads and after forks, cell by cell.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;

use common::{Case, Run, binary, hold_to_schema, run, run_beside};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::Change;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

const STEPS: [&str; 9] = [
    "init",
    "login",
    "find-certificate",
    "find-key",
    "sign",
    "random",
    "outer-handshake",
    "inner-handshake",
    "parent-again",
];

fn models(case: &Case, format: DbFormat, more: &[&str]) -> Run {
    let database = case.database(format);
    let mut command = binary();
    command.args(["process-model", "--format", "json", "--nickname", common::NICKNAME, "--db"]).arg(&database);
    command.arg("--password-file").arg(case.password_file()).args(more);
    run_beside(&mut command, &database)
}

fn row<'a>(report: &'a Value, model: &str) -> &'a Value {
    row_of(report, "c", model)
}

fn row_of<'a>(report: &'a Value, binding: &str, model: &str) -> &'a Value {
    let rows = report["models"].as_array().unwrap();
    rows.iter().find(|row| row["binding"] == binding && row["model"] == model).unwrap_or_else(|| panic!("no {model}"))
}

/// One word per step: `ok`, `repeated`, the error's name, `hung`, `crashed`, or `-` if no run reached it.
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
            expected.extend(["-", "-", again]);
            let row = row(&report, model);
            assert_eq!(words(row), expected, "{model}: {row:#}");
            assert_eq!((&row["runs"], &row["trouble"]), (&Value::from(1), &Value::Null), "{model}");
            let steps: Vec<&str> =
                row["steps"].as_array().unwrap().iter().map(|it| it["step"].as_str().unwrap()).collect();
            assert_eq!(steps, STEPS);
        }
        assert_eq!(causes(&report)[0], "fork-duplicates-randomness");
        let repeating = report["conclusions"][0]["models"].as_array().unwrap();
        // Of many children of a busy parent, two may be forked between two draws.
        let repeating: Vec<&Value> = repeating.iter().filter(|model| *model != "fork-while-busy").collect();
        assert_eq!(repeating, ["fork-after-init", "fork-after-login", "fork-from-thread"]);
    }
}

#[test]
fn through_python_nss_a_thread_loses_the_password_and_a_fork_does_not() {
    let case = Case::new();
    let report = models(&case, DbFormat::Sql, &["--python", "/usr/bin/python3"]).report();
    let (bad, none) = ("SEC_ERROR_BAD_PASSWORD", "-");
    let rows = [
        ("fresh-process", ["ok", "ok", "ok", "ok", none, "ok"], none),
        ("same-thread", [none, "ok", "ok", "ok", none, "ok"], "ok"),
        ("another-thread", [none, bad, "ok", bad, none, "ok"], "ok"),
        ("fork-before-init", ["ok", "ok", "ok", "ok", none, "ok"], "ok"),
        ("fork-after-init", [none, "ok", "ok", "ok", none, "repeated"], "ok"),
        ("fork-after-login", [none, "ok", "ok", "ok", none, "repeated"], "ok"),
        ("fork-shutdown-init", ["ok", "ok", "ok", "ok", none, "ok"], "ok"),
        ("fork-from-thread", [none, bad, "ok", bad, none, "repeated"], "ok"),
        ("double-tls", ["ok", "ok", "ok", "ok", none, "ok"], "ok"),
    ];
    for (model, steps, again) in rows {
        let row = row_of(&report, "python", model);
        assert_eq!(words(row), [&steps[..], &["-", "-", again]].concat(), "{model}: {row:#}");
    }
    assert!(causes(&report).contains(&"thread-loses-password"), "{report:#}");
    let conclusions = report["conclusions"].as_array().unwrap();
    let lost = conclusions.iter().find(|conclusion| conclusion["cause"] == "thread-loses-password").unwrap();
    assert_eq!(lost["models"], serde_json::json!(["another-thread", "fork-from-thread"]));
}

#[test]
fn an_interpreter_without_python_nss_is_reported_as_such() {
    let case = Case::new();
    let run = models(&case, DbFormat::Sql, &["--python", "/bin/false"]);
    assert_eq!(run.code, Some(1));
    assert!(run.stdout.contains("cannot test the models through python-nss: the process ended early"), "{run:#?}");
}

#[test]
fn children_of_a_busy_parent_hang_and_the_tool_does_not() {
    let case = Case::new();
    let started = std::time::Instant::now();
    let report = models(&case, DbFormat::Sql, &[]).report();
    assert!(started.elapsed().as_secs() < 100, "fifty children that hang are waited for at once");
    let row = row(&report, "fork-while-busy");
    assert_eq!(row["runs"], 50);
    let hung: u64 = row["steps"].as_array().unwrap().iter().map(|cell| cell["hung"].as_u64().unwrap()).sum();
    assert!(hung > 0, "{row:#}");
    assert_eq!(words(row).last().map(String::as_str), Some("ok"), "the parent goes on");
    assert!(causes(&report).contains(&"fork-deadlocks"), "{report:#}");
    assert_eq!(models(&Case::new(), DbFormat::Sql, &["--strict"]).code, Some(1));
}

/// A directory with NSS's libraries, in which the softoken does `what` in a process that did not initialise it.
fn refusing_softoken(case: &Case, what: &str) -> Vec<(&'static str, String)> {
    let directory = case.path("nss");
    fs::create_dir(&directory).unwrap();
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("engines/nss/test-modules/refusing_softoken.rs");
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args(["--edition", "2024", "--crate-type", "cdylib", "-D", "warnings", "-o"]);
    let built = rustc.arg(directory.join("libsoftokn3.so")).arg(source).output().expect("rustc");
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let (_, nss) = nssight_nss::library::paths().into_iter().find(|(name, _)| *name == "nss").unwrap();
    let own = fs::canonicalize(nss).unwrap().parent().unwrap().to_owned();
    let origin =
        [own.clone(), own.join("nss")].into_iter().find(|place| place.join("libsoftokn3.so").exists()).unwrap();
    for entry in fs::read_dir(&own).unwrap().chain(fs::read_dir(&origin).unwrap()).flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        let wanted = ["libnss", "libssl3.so", "libsmime3.so", "libfreebl"].iter().any(|start| name.starts_with(start));
        let link = directory.join(&name);
        if wanted && name.ends_with(".so") && !link.exists() {
            std::os::unix::fs::symlink(entry.path(), link).unwrap();
        }
    }
    vec![
        ("LD_LIBRARY_PATH", directory.display().to_string()),
        ("REAL_SOFTOKEN", origin.join("libsoftokn3.so").display().to_string()),
        ("REFUSING_SOFTOKEN", what.to_owned()),
    ]
}

#[test]
fn a_softoken_that_refuses_forks_hangs_or_aborts_shows_in_its_cells() {
    let device = "SEC_ERROR_PKCS11_DEVICE_ERROR";
    // The results of a child that continues with the inherited state; after a hang or a crash there are none.
    let rows = [
        ("refuse", ["-", device, "no error code set", "-", "-", device], "fork-breaks-nss"),
        ("hang", ["-", "-", "-", "-", "-", "hung"], "fork-deadlocks"),
        ("abort", ["-", "-", "-", "-", "-", "crashed"], "fork-breaks-nss"),
    ];
    for (what, inherited, cause) in rows {
        let case = Case::new();
        let environment = refusing_softoken(&case, what);
        let database = case.database(DbFormat::Sql);
        let mut command = binary();
        command.args(["process-model", "--format", "json", "--nickname", common::NICKNAME, "--db"]).arg(&database);
        command.arg("--password-file").arg(case.password_file()).envs(environment);
        let run = run(&mut command);
        let report = run.report();
        for model in ["fork-after-init", "fork-after-login", "fork-from-thread"] {
            let row = row(&report, model);
            let expected = [&inherited[..], &["-", "-", "ok"]].concat();
            assert_eq!(words(row), expected, "{what}, {model}: {row:#}");
        }
        for model in ["fresh-process", "fork-before-init", "another-thread", "fork-restart-modules"] {
            assert!(words(row(&report, model)).iter().all(|word| word == "ok" || word == "-"), "{what}, {model}");
        }
        assert!(causes(&report).contains(&cause), "{what}: {report:#}");
        assert!(!causes(&report).contains(&"fork-duplicates-randomness"), "{what}");
        if what == "abort" {
            assert_eq!(row(&report, "fork-after-init")["steps"][5]["signal"], 6);
        }
    }
}

#[test]
fn every_channel_reads_the_same_password_in_its_own_way() {
    let (good, bad) = (None, Some("SEC_ERROR_BAD_PASSWORD"));
    let password = common::PASSWORD;
    // The channels: callback, callback that strips white space, file, environment, descriptor, standard input, terminal, tstclnt -w.
    type Row<'a> = (Vec<u8>, [Option<&'a str>; 8], Option<&'a str>);
    let rows: Vec<Row<'_>> = vec![
        (format!("{password}\n").into(), [bad, good, good, good, good, good, good, bad], None),
        (password.into(), [good, good, good, good, good, good, good, bad], None),
        (format!("{password}\r\n").into(), [bad, good, good, good, good, good, bad, bad], None),
        (format!("\u{feff}{password}\n").into(), [bad; 8], Some("byte order mark")),
        (
            format!("{password}\n# mine\n").into(),
            [bad, bad, bad, bad, bad, bad, good, bad],
            Some("not on the last line"),
        ),
        (format!("NSS Certificate DB:{password}\n").into(), [bad, bad, good, bad, bad, bad, bad, bad], None),
        (format!(" {password}\n").into(), [bad, good, bad, bad, bad, bad, bad, bad], Some("blanks precede")),
        (Vec::new(), [bad; 8], None),
    ];
    for (content, expected, format) in rows {
        let case = Case::new();
        let database = case.database(DbFormat::Sql);
        let file = case.file("pw", &content);
        let mut command = binary();
        command.args(["process-model", "--password-channels", "--only", "fresh-process", "--format", "json", "--db"]);
        command.arg(&database);
        let run = run(command.arg("--password-file").arg(file));
        assert!(!run.stdout.contains(password), "the password is in the report");
        let report = run.report();
        let channels = report["password_channels"].as_array().unwrap();
        let errors: Vec<Option<&str>> = channels.iter().map(|channel| channel["error"].as_str()).collect();
        assert_eq!(errors, expected, "{:?}: {channels:#?}", String::from_utf8_lossy(&content));
        let conclusions = report["conclusions"].as_array().unwrap();
        let named = conclusions.iter().find(|conclusion| conclusion["cause"] == "password-file-format");
        assert_eq!(named.is_some(), format.is_some(), "{content:?}");
        if let (Some(named), Some(why)) = (named, format) {
            assert!(named["text"].as_str().unwrap().contains(why), "{named}");
        }
        if content.is_empty() {
            assert_eq!(channels[0]["why"], "no data before the end of input");
        }
        assert_eq!(channels[7]["channel"], "tstclnt -w FILE");
    }
}

#[test]
fn a_failure_in_a_fresh_process_is_not_a_process_model_fault() {
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
    assert!(report["conclusions"][0]["text"].as_str().unwrap().contains("does not come from processes and threads"));
}

#[test]
fn the_document_keeps_to_its_schema_and_shows_no_password() {
    let case = Case::new();
    let output = models(&case, DbFormat::Sql, &[]);
    assert!(!output.stdout.contains(common::PASSWORD) && !output.stderr.contains(common::PASSWORD));
    hold_to_schema("process-model", &[output.report()]);
}

#[test]
fn with_connect_each_model_does_both_handshakes_over_one_connection() {
    let directory = tempfile::tempdir().unwrap();
    let lab = Deployment::start(directory.path(), &Change::default(), DbFormat::Sql).unwrap();
    let run = run(binary().args(["process-model", "--format", "json", "--connect", "-c"]).arg(lab.config()));
    assert!(run.stderr.contains("10 connections will be opened"), "{run:#?}");
    let report = run.report();
    for row in report["models"].as_array().unwrap() {
        let words = words(row);
        let expected = if row["model"] == "fork-while-busy" { "-" } else { "ok" };
        assert_eq!(words[6..8], [expected, expected], "{row:#}");
    }
    assert_eq!(lab.connections(), 10);
}

#[test]
fn transport_failures_prove_nothing_about_processes() {
    use nssight_fixtures::fault::{Queue, Relay};
    let over = |change: &Change| {
        let directory = tempfile::tempdir().unwrap();
        let lab = Deployment::start(directory.path(), change, DbFormat::Sql).unwrap();
        let mut command = binary();
        command.args(["process-model", "--format", "json", "--connect", "--only", "double-tls", "-c"]);
        let run = run(command.arg(lab.config()));
        (run, lab.connections())
    };
    // The first attempt meets a dead server link; the next one succeeds.
    let (once, connections) = over(&Change { queue: Queue::Stale, ..Change::default() });
    assert_eq!((once.code, connections), (Some(0), 2), "{once:#?}");
    assert_eq!(once.report()["conclusions"], serde_json::json!([]), "{once:#?}");
    // A failure of every attempt is left open.
    let (always, connections) = over(&Change { relay: Relay::Reject, ..Change::default() });
    assert_eq!((always.code, connections), (Some(3), 2), "{always:#?}");
    let conclusions = always.report()["conclusions"].as_array().unwrap().clone();
    assert!(conclusions.len() == 1 && conclusions[0]["cause"].is_null(), "{always:#?}");
    assert!(conclusions[0]["text"].as_str().unwrap().contains("not in processes"), "{always:#?}");
}
