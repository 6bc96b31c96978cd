//! `nssight db`: databases with given content, and what is said of them.

use std::path::Path;

use nssight_fixtures::authority::Identity;
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

use super::{Case, NICKNAME, Run, binary, fingerprint, run, run_beside};

pub const FORMATS: [DbFormat; 2] = [DbFormat::Sql, DbFormat::Dbm];

pub fn inspect(database: &Path, more: &[&str]) -> Run {
    let mut command = binary();
    command.args(["db", "inspect", "--format", "json"]).arg(database).args(more);
    run_beside(&mut command, database)
}

pub fn compare(a: &Path, b: &Path, more: &[&str]) -> Run {
    let before = [a, b].map(fingerprint);
    let run = run(binary().args(["db", "compare", "--format", "json"]).arg(a).arg(b).args(more));
    assert_eq!(before, [a, b].map(fingerprint), "comparing changed a database");
    run
}

pub fn password_of(case: &Case) -> String {
    case.password_file().to_str().unwrap().to_owned()
}

/// A database with these certificates, and with the identity's key if given.
pub fn build(
    path: &Path,
    format: DbFormat,
    password: &str,
    certificates: &[(&str, &Identity, &str)],
    own: Option<&Identity>,
) {
    let mut builder = DbBuilder::new(format).password(password.as_bytes());
    if let Some(own) = own {
        builder = builder.x509_identity(NICKNAME, &own.certificate, &own.key, "").unwrap();
    }
    for (nickname, identity, trust) in certificates {
        builder = builder.x509(nickname, &identity.certificate, trust).unwrap();
    }
    builder.build(path).unwrap();
}

pub fn named<'a>(report: &'a Value, nickname: &str) -> &'a Value {
    report["certificates"].as_array().unwrap().iter().find(|entry| entry["nickname"] == nickname).unwrap()
}

pub fn remarks(report: &Value) -> Vec<&str> {
    report["remarks"].as_array().unwrap().iter().map(|remark| remark["id"].as_str().unwrap()).collect()
}

/// The kind, name and severity of each difference.
pub fn differences(report: &Value) -> Vec<(&str, &str, &str)> {
    report["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["kind"].as_str().unwrap(), it["name"].as_str().unwrap(), it["gravity"].as_str().unwrap()))
        .collect()
}

pub fn consequence(report: &Value) -> &str {
    report["differences"][0]["consequence"].as_str().unwrap()
}
