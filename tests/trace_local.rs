//! A traced client that continues without its certificate: the failed lookup or login is the layer, however far the client gets. In TLS 1.3
//! its handshake is complete before the peer refuses it.

mod common;

use std::process::Command;

use common::servers::s_server;
use common::{Case, NICKNAME, PASSWORD, PKI, run};
use nssight_fixtures::newer;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// The trace of tstclnt with a server that requires a certificate.
fn traced(case: &Case, arguments: &[&str], version: (&str, &str)) -> Value {
    let beside = Case::new();
    let server = s_server(&beside, version.0);
    let report = case.path("trace.json");
    let mut command = Command::new(env!("CARGO_BIN_EXE_nssight"));
    command
        .args(["trace", "--format", "json", "--output"])
        .arg(&report)
        .args(["--", "timeout", "20", "tstclnt", "-4", "-Q"]);
    command.args(["-V", &format!("{0}:{0}", version.1), "-h", "localhost", "-p", &server.port.to_string()]);
    let done = run(command.args(arguments).env_remove("NSS_DEFAULT_DB_TYPE").stdin(std::process::Stdio::null()));
    let text = std::fs::read_to_string(&report).unwrap_or_else(|error| panic!("{error}: {done:#?}"));
    assert!(!text.contains(PASSWORD), "{text}");
    let _ = std::fs::remove_file(&report);
    serde_json::from_str(&text).unwrap()
}

fn judged(report: &Value) -> [&str; 3] {
    ["layer", "cause", "component"].map(|name| report["verdict"][name].as_str().unwrap_or("-"))
}

const VERSIONS: [(&str, &str); 2] = [("-tls1_2", "tls1.2"), ("-tls1_3", "tls1.3")];

#[test]
fn the_first_failed_lookup_or_login_is_the_layer() {
    let case = Case::new();
    let database = DbFormat::Sql.directory(&case.database(DbFormat::Sql));
    let (database, password) = (database.to_str().unwrap(), case.password_file());
    let password = password.to_str().unwrap();
    let wrong: [(&[&str], [&str; 3]); 4] = [
        (&["-w", "wrong", "-n", NICKNAME], ["password", "password-wrong", "client-config"]),
        (&["-n", NICKNAME], ["password", "password-missing", "client-config"]),
        (&[], ["password", "password-missing", "client-config"]),
        (&["-W", password, "-n", "sigul-client-cret"], ["certificate", "cert-not-found", "client-db"]),
    ];
    for version in VERSIONS {
        for (arguments, expected) in wrong {
            let all: Vec<&str> = ["-d", database].into_iter().chain(arguments.iter().copied()).collect();
            let report = traced(&case, &all, version);
            assert_eq!(judged(&report), expected, "{version:?} {arguments:?} {report:#}");
        }
        let report = traced(&case, &["-d", database, "-W", password, "-n", NICKNAME], version);
        assert_eq!(report["verdict"]["status"], "pass", "{report:#}");
    }
}

/// The directory that the program gave to NSS is examined.
#[test]
fn a_password_that_this_nss_cannot_check_is_not_called_wrong() {
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let case = Case::new();
        let path = case.database(format);
        newer::salt(&path, format, PASSWORD.as_bytes()).unwrap();
        let (database, password) = (format.directory(&path), case.password_file());
        let arguments = ["-d", database.to_str().unwrap(), "-W", password.to_str().unwrap(), "-n", NICKNAME];
        let report = traced(&case, &arguments, VERSIONS[1]);
        let is_too_new = judged(&report) == ["password", "password-salt-too-new", "client-db"];
        // This release reads such salts; the check value is still that of the old salt.
        assert_eq!(is_too_new, nssight_nss::library::nss_release() < (3, 118), "{report:#}");
    }
}

/// A program without a Sigul configuration and without an inner session has a peer, not a bridge.
#[test]
fn a_plain_program_has_no_bridge() {
    let case = Case::new();
    let path = case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    let (database, password) = (DbFormat::Sql.directory(&path), case.password_file());
    let arguments = ["-d", database.to_str().unwrap(), "-W", password.to_str().unwrap(), "-n", NICKNAME];
    let report = traced(&case, &arguments, VERSIONS[0]);
    assert_eq!(report["verdict"]["cause"], "client-cert-rejected", "{report:#}");
    assert_eq!(report["target"]["profile"], "tls");
    let alternatives = report["verdict"]["alternatives"].as_array().unwrap();
    let components: Vec<_> = alternatives.iter().map(|it| it["component"].as_str().unwrap()).collect();
    assert!(components.contains(&"peer") && !components.contains(&"bridge"), "{components:?}");
}
