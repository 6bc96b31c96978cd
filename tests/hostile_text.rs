//! Untrusted text reaches a terminal only as plain text, on both streams.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use common::{Case, PKI, binary};
use nssight_fixtures::authority::{KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use wait4::Wait4;

/// Green, a title, a cleared screen, a one-byte introducer, and a reversed reading direction.
const CONTROL_SEQUENCES: &str = "\u{1b}[32mverdict: PASS\u{1b}]0;owned\u{7}\u{1b}[2J\u{9b}31m\u{202e}\r\u{8}";

/// The output of one run on both streams.
fn said(command: &mut Command) -> (String, Option<i32>) {
    let output = command.stdin(Stdio::null()).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (String::from_utf8(text).expect("what is said is UTF-8"), output.status.code())
}

fn is_harmless(c: char) -> bool {
    let turns = matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    (!c.is_control() || matches!(c, '\n' | '\t')) && !turns
}

#[test]
fn untrusted_text_cannot_control_the_terminal() {
    let case = Case::new();
    let text = |before: &str, after: &str| format!("{before}{CONTROL_SEQUENCES}{after}");
    let json = serde_json::to_string(CONTROL_SEQUENCES).unwrap();
    let report = case.file("report.json", format!("{{\"schema\": {json}}}"));
    let raw = case.file("raw.json", text("{\"schema\": \"", "\"}"));
    let targets = case.file("targets.toml", text("[[target]]\nname = \"a\"\nconfig = ", "\n"));
    let keyed = case.file("keyed.toml", text("[[target]]\n\"", "\" = 1\n"));
    let named = case.file("named.toml", format!("[[target]]\nname = {json}\nconfig = \"missing.conf\"\n"));
    let log = case.file(
        "client.log",
        text("2026-11-28 ERROR: I/O error: (SSL_ERROR_BAD_CERT_ALERT) ", " SSL peer cannot verify\n"),
    );
    let config = case.file("client.conf", text("[client]\nbridge-hostname: ", "\n[nss]\nnss-dir: /x\n"));
    let section = case.file("section.conf", text("[client", "\nbroken\n"));
    // SQLite shows the part of a schema that it could not parse.
    let broken = case.path("broken");
    fs::create_dir(&broken).unwrap();
    let database = rusqlite::Connection::open(broken.join("cert9.db")).unwrap();
    database.execute_batch("CREATE TABLE t (a); PRAGMA writable_schema = 1;").unwrap();
    database.execute("UPDATE sqlite_schema SET sql = ?1", [text("CREATE TABLE ", " (")]).unwrap();
    drop(database);
    let named_so = case.path(&text("dir", "").replace(['\u{7}', '\r'], "_"));
    fs::create_dir(&named_so).unwrap();
    let identity = PKI.ca.issue(&Spec::new(CONTROL_SEQUENCES, Usage::Client)).unwrap();
    let nicknamed = case.path("nicknamed");
    let builder = DbBuilder::new(DbFormat::Sql)
        .password(b"pw")
        .x509_identity(CONTROL_SEQUENCES, &identity.certificate, &identity.key, "u,u,u")
        .unwrap();
    builder.build(&nicknamed).unwrap();
    let path = |path: &Path| path.as_os_str().to_owned();
    let rows: Vec<Vec<std::ffi::OsString>> = vec![
        vec!["compare".into(), path(&report), path(&report)],
        vec!["compare".into(), path(&raw), path(&named_so)],
        vec!["check".into(), path(&targets)],
        vec!["check".into(), path(&keyed)],
        vec!["check".into(), path(&named)],
        vec!["check".into(), "--format".into(), "json".into(), path(&named)],
        vec!["check".into(), "--format".into(), "ndjson".into(), path(&named)],
        vec!["check".into(), "--format".into(), "nagios".into(), path(&named)],
        vec!["check".into(), "--format".into(), "junit".into(), path(&named)],
        vec!["check".into(), "--format".into(), "markdown".into(), path(&named)],
        vec!["check".into(), "--format".into(), "html".into(), path(&named)],
        vec!["check".into(), "--format".into(), "github".into(), path(&named)],
        vec!["check".into(), "--format".into(), "openmetrics".into(), path(&named)],
        vec!["exporter".into(), path(&targets)],
        vec!["triage".into(), path(&log)],
        vec!["triage".into(), "-v".into(), path(&log), path(&named_so)],
        vec!["triage".into(), "--format".into(), "json".into(), path(&log)],
        vec!["diagnose".into(), "-c".into(), path(&config)],
        vec!["diagnose".into(), "-c".into(), path(&section), "-v".into()],
        vec!["diagnose".into(), "-c".into(), path(&config), "--format".into(), "json".into()],
        vec!["diagnose".into(), "--db".into(), path(&named_so), "--until".into(), "private-key".into()],
        vec!["diagnose".into(), "--db".into(), path(&broken), "--until".into(), "private-key".into()],
        vec![
            "diagnose".into(),
            "--db".into(),
            path(&nicknamed),
            "--nickname".into(),
            CONTROL_SEQUENCES.into(),
            "--until".into(),
            "private-key".into(),
            "-v".into(),
        ],
        vec!["db".into(), "inspect".into(), path(&broken)],
        vec!["db".into(), "inspect".into(), path(&nicknamed)],
        vec!["db".into(), "inspect".into(), "-v".into(), path(&nicknamed)],
        vec!["db".into(), "inspect".into(), "--format".into(), "json".into(), path(&nicknamed)],
        vec!["db".into(), "compare".into(), path(&nicknamed), path(&broken)],
        vec!["explain".into(), CONTROL_SEQUENCES.into()],
        vec![CONTROL_SEQUENCES.into()],
        vec!["diagnose".into(), format!("--{CONTROL_SEQUENCES}").into()],
        vec!["trace".into(), "--".into(), path(&named_so.join("program"))],
        vec![
            "bundle".into(),
            "--until".into(),
            "config".into(),
            "--dry-run".into(),
            "--log".into(),
            path(&log),
            "-v".into(),
        ],
    ];
    for row in rows {
        let (text, _) = said(binary().args(&row));
        let bad: Vec<String> =
            text.lines().filter(|line| !line.chars().all(is_harmless)).map(|line| format!("{line:?}")).collect();
        assert!(bad.is_empty(), "{row:?}\n{}", bad.join("\n"));
        assert!(!text.is_empty() && !text.contains("panicked"), "{row:?}: {text}");
    }
    // With colours enabled, the only sequences are colours.
    for row in [vec!["triage".into(), path(&log)], vec!["db".into(), "inspect".into(), path(&nicknamed)]] {
        let (text, _) = said(binary().args(&row).args(["--color", "always"]));
        for piece in text.split('\u{1b}').skip(1) {
            let end = piece.find('m').unwrap_or_else(|| panic!("{row:?}: {piece:?}"));
            assert!(piece[1..end].chars().all(|c| c.is_ascii_digit() || c == ';'), "{row:?}: {piece:?}");
        }
        assert!(
            !text.contains("\u{1b}[32mverdict") && !text.contains('\u{9b}') && !text.contains('\u{202e}'),
            "{text:?}"
        );
    }
}

#[test]
fn only_the_terminal_writer_prints() {
    let mut open = vec![
        PathBuf::from("src"),
        "reports/src".into(),
        "runner/src".into(),
        "probes/src".into(),
        "inventory/src".into(),
    ];
    open.extend(["trace/src", "triage/src", "diagnosis/src", "profiles"].map(PathBuf::from));
    let mut read = 0;
    while let Some(path) = open.pop() {
        if path.is_dir() {
            open.extend(fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path()));
            continue;
        }
        // The only writer, and two programs whose standard output is a pipe to nssight.
        let allowed = ["reports/src/terminal.rs", "runner/src/worker.rs", "src/process_model/run.rs"]
            .iter()
            .any(|it| path == Path::new(it));
        if allowed || path.extension().is_none_or(|it| it != "rs") {
            continue;
        }
        read += 1;
        for (number, line) in fs::read_to_string(&path).unwrap().lines().enumerate() {
            let prints = ["println!", "print!(", "stdout().lock", "io::stderr())", "(io::stdout()", "dbg!("]
                .iter()
                .any(|it| line.contains(it));
            let handed_on = line.contains("command.stdout(");
            assert!(!prints || handed_on, "{}:{}: {line}", path.display(), number + 1);
        }
    }
    assert!(read > 100, "{read} files were read");
}

/// Processor time of nssight and its worker, with a bridge whose certificate has a name of this many letters.
fn time_for(letters: usize, format: &[&str]) -> (Duration, String) {
    let name = "a".repeat(letters);
    let bridge = Spec::new(&name, Usage::Server).names(&["localhost"]).key(KeyKind::Rsa(2048));
    let bridge = PKI.ca.issue(&bridge).unwrap();
    let endpoint = Endpoint::start(Options::new(&bridge, &PKI.ca)).unwrap();
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let mut command = common::diagnose(&database, &case.password_file(), endpoint.port());
    let output = case.path("report");
    command.args(["--timeout", "60", "--until", "outer-handshake", "--output"]).arg(&output).args(format);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let used = child.wait4().unwrap();
    assert_eq!(used.status.code(), Some(0), "{letters} letters");
    (used.rusage.utime + used.rusage.stime, fs::read_to_string(output).unwrap())
}

/// Ten times the usual is far below the effect of quadratic time, which was a factor of more than fifty.
#[test]
fn a_name_of_100_000_letters_takes_no_time_that_matters() {
    for format in [&["--format", "human"][..], &["--format", "human", "-v"], &["--format", "markdown"]] {
        let (usual, _) = time_for(20, format);
        let (long, text) = time_for(100_000, format);
        assert!(long < usual * 10, "{format:?}: {long:?} after {usual:?}");
        // The certificate was seen, and verbose output shows the beginning of its name.
        assert!(!format.contains(&"-v") || text.contains(&"a".repeat(20)), "{format:?}: {text}");
        assert!(text.len() < 200_000, "{format:?}: {} bytes", text.len());
    }
}
