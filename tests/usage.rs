//! Common mistakes on the command line: each gets its exit code, at most three lines, and no report.

mod common;

use std::ffi::OsStr;
use std::process::Stdio;

use common::{Case, binary, tool};

/// The command line cannot be carried out.
const USAGE: i32 = 2;
/// A named input cannot be read, or does not suffice.
const INCONCLUSIVE: i32 = 3;

/// The arguments of `nssight`, and the exit code. DB is a database directory, PEM a certificate, LOG a text file, and MISSING does not
/// exist.
const MISTAKES: &[(&str, i32)] = &[
    ("", USAGE),
    ("diagnos db.example:636", USAGE),
    ("chek targets.toml", USAGE),
    ("verify", USAGE),
    ("diagnose", USAGE),
    ("diagnose --db DB", USAGE),
    ("diagnose --db DB --server sign.example:44334", USAGE),
    ("diagnose db.example --server sign.example:1", USAGE),
    ("diagnose -c DB/cert9.db", USAGE),
    ("diagnose -c DB/key4.db", USAGE),
    ("diagnose -c DB", USAGE),
    ("diagnose -c PEM", USAGE),
    ("diagnose -c a.conf -c b.conf", USAGE),
    ("diagnose db.example --until process-model", USAGE),
    ("diagnose db.example --until handshake", USAGE),
    ("diagnose db.example --until", USAGE),
    ("diagnose db.example --exclude nonsense", USAGE),
    ("diagnose db.example:99999", USAGE),
    ("diagnose db.example:0", USAGE),
    ("diagnose db.example:https", USAGE),
    ("diagnose db.example:", USAGE),
    ("diagnose :636", USAGE),
    ("diagnose gopher://db.example", USAGE),
    ("diagnose https://", USAGE),
    ("diagnose db.example 636", USAGE),
    ("diagnose db.example --port 636", USAGE),
    ("diagnose db.example --timeout 0", USAGE),
    ("diagnose db.example --timeout ten", USAGE),
    ("diagnose db.example --timeout 2d", USAGE),
    ("diagnose db.example --retries -1", USAGE),
    ("diagnose db.example --retries many", USAGE),
    ("diagnose db.example --cert", USAGE),
    ("diagnose db.example --key client.key", USAGE),
    ("diagnose db.example --cert PEM --db DB", USAGE),
    ("diagnose db.example --cert pkcs11:object=web", USAGE),
    ("diagnose db.example --nickname web", USAGE),
    ("diagnose db.example --json", USAGE),
    ("diagnose db.example --format yaml", USAGE),
    ("diagnose db.example --color sometimes", USAGE),
    ("diagnose db.example --output", USAGE),
    ("diagnose db.example -q -v", USAGE),
    ("diagnose db.example --tls-min ssl3", USAGE),
    ("diagnose db.example --tls-min tls1.3 --tls-max tls1.2", USAGE),
    ("diagnose db.example --starttls telnet", USAGE),
    ("diagnose db.example --engine gnutls", USAGE),
    ("diagnose db.example --engine nss", USAGE),
    ("diagnose db.example --proxy :3128", USAGE),
    ("diagnose db.example -4 -6", USAGE),
    ("diagnose db.example --password-env NSSIGHT_NO_SUCH_VARIABLE", USAGE),
    ("diagnose db.example --password-file MISSING", USAGE),
    ("diagnose db.example --password-file LOG --password-stdin", USAGE),
    ("diagnose db.example --password secret", USAGE),
    ("diagnose db.example --untill tcp", USAGE),
    ("diagnose db.example --why-not no-such-cause", USAGE),
    ("diagnose --role server", USAGE),
    ("diagnose --role server db.example", USAGE),
    ("diagnose --role bridge", USAGE),
    ("check", USAGE),
    ("check MISSING", USAGE),
    ("check LOG", USAGE),
    ("check a.toml b.toml", USAGE),
    ("check DB", USAGE),
    ("check targets.toml --jobs 0", USAGE),
    ("check targets.toml --label prod", USAGE),
    ("clients", USAGE),
    ("process-model", USAGE),
    ("process-model --only thread", USAGE),
    ("db", USAGE),
    ("db inspect", USAGE),
    ("db inspect MISSING", INCONCLUSIVE),
    ("db inspect PEM", INCONCLUSIVE),
    ("db inspect DB --nickname nobody", USAGE),
    ("db compare DB", USAGE),
    ("db compare DB MISSING", INCONCLUSIVE),
    ("listen", USAGE),
    ("listen 8443 --cert PEM", USAGE),
    ("compare a.json", USAGE),
    ("compare MISSING MISSING", INCONCLUSIVE),
    ("compare LOG LOG", INCONCLUSIVE),
    ("explain", USAGE),
    ("trace", USAGE),
    ("trace sigul", USAGE),
    ("trace -- no-such-program-here", USAGE),
    ("triage MISSING", USAGE),
    ("exporter", USAGE),
    ("exporter MISSING", USAGE),
    ("exporter targets.toml --listen 9744", USAGE),
    ("exporter targets.toml --web-config MISSING", USAGE),
    ("exporter targets.toml --web-config PEM", USAGE),
    ("exporter --check-config", USAGE),
    ("exporter targets.toml --log-level loud", USAGE),
    ("bundle -c MISSING", USAGE),
    ("bundle db.example -o out.zip", USAGE),
    ("lab", USAGE),
    ("lab run --fault no-such-fault", USAGE),
    ("lab up --profile postgres", USAGE),
    ("selftest --only no-such-fault", USAGE),
    ("schema nothing", USAGE),
    ("completion tcsh", USAGE),
    ("causes --format xml", USAGE),
];

#[test]
fn usual_mistakes_get_a_short_answer() {
    assert!(MISTAKES.len() >= 90);
    let case = Case::new();
    let database = case.path("db");
    std::fs::create_dir(&database).unwrap();
    let directory = format!("sql:{}", database.display());
    tool("certutil", ["-N", "--empty-password", "-d", &directory].map(OsStr::new));
    let pem = case.file("client.pem", common::PKI.client.certificate.to_pem().unwrap());
    let log = case.file("a.log", "nothing of interest\n");
    let missing = case.path("missing");
    let mut wrong = Vec::new();
    for (line, code) in MISTAKES {
        let words = line.split_whitespace().map(|word| {
            let word = word.replace("DB", database.to_str().unwrap()).replace("PEM", pem.to_str().unwrap());
            word.replace("LOG", log.to_str().unwrap()).replace("MISSING", missing.to_str().unwrap())
        });
        let mut command = binary();
        // No configuration of the user is read.
        command.args(words).env("HOME", case.path("nobody")).current_dir(case.dir.path()).stdin(Stdio::null());
        let output = command.output().unwrap();
        let (told, report) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
        let is_short = (1..=3).contains(&told.lines().count()) && report.is_empty();
        let names_rust = ["os error", "..=", "expected ident", "Error {"].iter().any(|it| told.contains(it));
        if output.status.code() != Some(*code) || !is_short || names_rust {
            wrong.push(format!("{line}: {:?}: {told}{report}", output.status.code()));
        }
        if *code == USAGE && !told.contains("for example: nssight ") {
            wrong.push(format!("{line} has no example: {told}"));
        }
    }
    let left = std::fs::read_dir(case.dir.path()).unwrap().count();
    assert_eq!(left, 3, "something was written");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
