//! Hosts that are unusual but correct: an oddity is only a remark, and the peer decides.

mod common;

use std::path::{Path, PathBuf};

use common::servers::selfserv;
use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, diagnose, run_beside};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

fn probe(run: &Run, layer: &str) -> Value {
    let report = run.report();
    let found = report["probes"].as_array().unwrap().iter().find(|probe| probe["layer"] == layer);
    found.unwrap_or_else(|| panic!("{report:#}")).clone()
}

/// Requires a pass with a remark at `certificate`, with this cause.
fn remarked(run: &Run, cause: &str) {
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(run.report()["verdict"]["status"], "pass", "{run:#?}");
    let certificate = probe(run, "certificate");
    assert_eq!((&certificate["status"], &certificate["cause"]), (&"warn".into(), &cause.into()), "{run:#?}");
}

fn local(case: &Case, database: &Path) -> Run {
    let password = case.password_file();
    let mut command = diagnose(database, &password, 9);
    run_beside(command.args(["--until", "private-key"]), database)
}

/// Our CA, whose copy in our database is expired, and the renewed one that the peer has.
fn expired_copy() -> (Identity, Identity, Identity) {
    let old = Identity::self_signed(&Spec::new("Own CA", Usage::Authority).valid(-60 * DAY, -DAY)).unwrap();
    let renewed = old.issue_for(&Spec::new("Own CA", Usage::Authority), &old.key).unwrap();
    let renewed = Identity { chain: Vec::new(), ..renewed };
    let client = renewed.issue(&Spec::new("client", Usage::Client)).unwrap();
    (old, renewed, client)
}

#[test]
fn an_expired_copy_of_our_ca_is_a_remark_while_the_peer_has_the_renewed_one() {
    let (old, renewed, client) = expired_copy();
    let case = Case::new();
    let database =
        case.database_of(DbFormat::Sql, &client, &[("own-ca", &old, "CT,C,C"), ("lab-ca", &PKI.ca, "CT,C,C")]);
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &renewed)).unwrap();
    let password = case.password_file();
    let run = run_beside(&mut diagnose(&database, &password, endpoint.port()), &database);
    remarked(&run, "ca-expired");
}

#[test]
fn an_expired_copy_of_our_ca_stops_where_no_other_ca_is_trusted_and_in_date() {
    let (old, _, client) = expired_copy();
    let gone = Identity::self_signed(&Spec::new("Gone CA", Usage::Authority).valid(-60 * DAY, -DAY)).unwrap();
    for authorities in [vec![("own-ca", &old, "CT,C,C")], vec![("own-ca", &old, "CT,C,C"), ("gone", &gone, "CT,C,C")]] {
        let case = Case::new();
        let database = case.database_of(DbFormat::Sql, &client, &authorities);
        // The peer's certificate may come from another CA, which is missing as well.
        assert_eq!(local(&case, &database).judged(), ["certificate", "ca-expired", "client-db", "likely"]);
    }
}

fn beginning_in(seconds: i64) -> (Case, PathBuf) {
    let case = Case::new();
    let client = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(seconds, 20 * DAY)).unwrap();
    let database = case.database_of(DbFormat::Sql, &client, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    (case, database)
}

/// Issued by a clock that is ahead, or verified by one that is behind. NSS accepts it.
#[test]
fn a_certificate_valid_in_a_few_minutes_works_with_an_nss_peer() {
    let (case, database) = beginning_in(600);
    for version in ["tls1.2", "tls1.3"] {
        let beside = Case::new();
        let server = selfserv(&beside, version);
        let password = case.password_file();
        let run = run_beside(&mut diagnose(&database, &password, server.port), &database);
        remarked(&run, "clock-skew");
        assert!(probe(&run, "certificate")["summary"].as_str().unwrap().contains("clock"), "{run:#?}");
    }
}

/// OpenSSL does not accept it.
#[test]
fn a_stricter_peer_decides_on_a_certificate_that_is_valid_soon() {
    let (case, database) = beginning_in(600);
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let password = case.password_file();
    let run = run_beside(&mut diagnose(&database, &password, endpoint.port()), &database);
    assert_eq!(run.judged()[..2], ["certificate", "cert-not-yet-valid"], "{run:#?}");
    assert_ne!(run.judged()[3], "certain", "{run:#?}");
}

#[test]
fn a_certificate_that_begins_in_some_days_does_not_work() {
    let (case, database) = beginning_in(3 * DAY);
    assert_eq!(local(&case, &database).judged(), ["certificate", "cert-not-yet-valid", "client-db", "certain"]);
}

/// No key is used without a nickname, so no client logs in.
#[test]
fn an_unneeded_password_is_not_required() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let walk = |more: &[&str]| {
        let mut command = binary();
        command.args(["diagnose", "--format", "json", "--until", "private-key", "--db"]).arg(&database);
        run_beside(command.args(more), &database)
    };
    let run = walk(&[]);
    assert_eq!(run.code, Some(0), "{run:#?}");
    assert_eq!(probe(&run, "password")["status"], "pass", "{run:#?}");
    let run = walk(&["--nickname", NICKNAME]);
    assert_eq!(run.judged(), ["password", "password-missing", "client-config", "certain"], "{run:#?}");
}

fn server_only() -> (Case, PathBuf) {
    let case = Case::new();
    let server = PKI.ca.issue(&Spec::new("www.example", Usage::Server).names(&["www.example"])).unwrap();
    let database = case.database_of(DbFormat::Sql, &server, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    (case, database)
}

/// A web server's own database: nothing shows that this host is a client.
#[test]
fn a_server_certificate_in_a_plain_database_is_no_fault() {
    let (case, database) = server_only();
    remarked(&local(&case, &database), "cert-wrong-usage");
}

/// A client that sends it is refused, and a host that is configured as a client will send it.
#[test]
fn a_server_certificate_of_a_client_is_the_wrong_one() {
    let (case, database) = server_only();
    let server = selfserv(&case, "tls1.3");
    let password = case.password_file();
    let run = run_beside(&mut diagnose(&database, &password, server.port), &database);
    assert_eq!(run.judged()[..3], ["certificate", "cert-wrong-usage", "client-db"], "{run:#?}");
    let text = format!(
        "[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n[client]\nbridge-hostname: localhost\nserver-hostname: s\n\
         client-cert-nickname: {NICKNAME}\n",
        database.display()
    );
    let config = case.file("client.conf", text);
    let run = run_beside(binary().args(["diagnose", "--format", "json", "-c"]).arg(config), &database);
    assert_eq!(run.judged(), ["certificate", "cert-wrong-usage", "client-db", "certain"], "{run:#?}");
}

/// The password of a database that is only used for its certificates is often unknown.
#[test]
fn a_database_with_only_cas_needs_no_password() {
    let case = Case::new();
    let database = case.path("db");
    let builder = DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes());
    builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--until", "private-key", "--db"]).arg(&database);
    let run = run_beside(&mut command, &database);
    assert_eq!(run.code, Some(0), "{run:#?}");
}

/// Types the password at the prompt, like a user at a terminal.
const PASSWORD_TYPING_SCRIPT: &str = r#"
import os, pty, sys, termios, time
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[2], sys.argv[2:])
seen, typed = b"", False
while True:
    try:
        more = os.read(terminal, 4096)
    except OSError:
        break
    if not more:
        break
    seen += more
    if b"assword of the NSS database" in seen and not typed:
        typed = True
        # Somebody types when the prompt is there, and by then nothing is shown of it.
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.001)
        os.write(terminal, sys.argv[1].encode() + b"\n")
sys.stdout.buffer.write(b"asked\n" if typed else b"not asked\n")
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

fn typing(text: &str, config: &Path) -> Run {
    let mut command = std::process::Command::new("/usr/bin/python3");
    command.args([
        "-c",
        PASSWORD_TYPING_SCRIPT,
        text,
        env!("CARGO_BIN_EXE_nssight"),
        "diagnose",
        "--until",
        "private-key",
        "--short",
        "-c",
    ]);
    common::run(command.arg(config).stdin(std::process::Stdio::null()))
}

/// Sigul prompts if its configuration has no `nss-password`, and so does nssight; without a terminal no prompt is possible.
#[test]
fn a_password_missing_from_the_configuration_is_prompted_for_at_a_terminal() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let config = |path: &Path| {
        let client = "bridge-hostname: localhost\nserver-hostname: s\nclient-cert-nickname";
        let text = format!("[nss]\nnss-dir: {}\n[client]\n{client}: {NICKNAME}\n", path.display());
        case.file("client.conf", text)
    };
    let path = config(&database);
    let right = typing(PASSWORD, &path);
    assert!(right.code == Some(0) && right.stdout.starts_with("asked"), "{right:#?}");
    let wrong = typing("something else", &path);
    assert!(wrong.code == Some(1) && wrong.stdout.contains("password-wrong"), "{wrong:#?}");
    let mut nobody = binary();
    let run = run_beside(nobody.args(["diagnose", "--format", "json", "-c"]).arg(&path), &database);
    assert_eq!(run.judged(), ["password", "password-missing", "client-config", "certain"], "{run:#?}");
    // There is no prompt for an empty password.
    let empty = case.path("empty");
    let builder = DbBuilder::new(DbFormat::Sql).password(b"");
    let builder = builder.x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap();
    builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&empty).unwrap();
    let run = typing(PASSWORD, &config(&empty));
    assert!(run.code == Some(0) && run.stdout.starts_with("not asked"), "{run:#?}");
}

/// In FIPS mode no session starts before a login, whether it uses a key of ours or not.
#[test]
fn a_database_in_fips_mode_needs_its_password_even_if_no_key_is_used() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let argument = format!("sql:{}", database.display());
    common::tool("modutil", ["-dbdir", &argument, "-fips", "true", "-force"].map(std::ffi::OsStr::new));
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let mut command = binary();
    command.args(["diagnose", "--format", "json", &format!("localhost:{}", endpoint.port()), "--db"]).arg(&database);
    let run = common::run(command.stdin(std::process::Stdio::null()));
    assert_eq!(run.judged()[..2], ["password", "password-missing"], "{run:#?}");
    assert_eq!(endpoint.connections(), 0);
}
