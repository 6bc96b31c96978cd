//! Healthy checks with real peers: NSS's selfserv and OpenSSL's s_server, with databases from NSS's tools and from our
//! own builders, by configuration and by flags.

mod common;

use std::path::Path;

use common::servers::{s_server, selfserv};
use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, diagnose, run_beside};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

fn passes(run: &Run) {
    assert_eq!(run.code, Some(0), "{run:#?}");
    let report = run.report();
    assert_eq!(report["verdict"]["status"], "pass", "{run:#?}");
    let probes = report["probes"].as_array().unwrap();
    let handshake = probes.iter().find(|probe| probe["layer"] == "outer-handshake");
    assert_eq!(handshake.unwrap()["status"], "pass", "{run:#?}");
}

/// By a configuration file like that of Sigul's client.
fn by_config(case: &Case, database: &Path, port: u16, maximum: &str) -> Run {
    let text = format!(
        "[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\nnss-max-tls: {maximum}\n\n[client]\nbridge-hostname = localhost\n\
         bridge-port = {port}\nserver-hostname = server.example\nclient-cert-nickname: {NICKNAME}\nuser-name: ann\n\n[koji]\nx: y\n",
        database.display()
    );
    let config = case.file("client.conf", text);
    std::fs::set_permissions(&config, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    run_beside(
        binary()
            .args(["diagnose", "--format", "json", "--timeout", "5", "--until", "outer-handshake", "-c"])
            .arg(config),
        database,
    )
}

#[test]
fn against_selfserv() {
    for version in ["tls1.2", "tls1.3"] {
        let case = Case::new();
        let server = selfserv(&case, version);
        let database = case.database(DbFormat::Sql);
        passes(&by_config(&case, &database, server.port, version));
    }
}

#[test]
fn against_s_server() {
    for (flag, version) in [("-tls1_2", "tls1.2"), ("-tls1_3", "tls1.3")] {
        let case = Case::new();
        let server = s_server(&case, flag);
        let database = case.database(DbFormat::Sql);
        passes(&by_config(&case, &database, server.port, version));
    }
}

#[test]
fn against_the_lab_by_configuration() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let database = case.database(DbFormat::Sql);
    passes(&by_config(&case, &database, endpoint.port(), "tls1.2"));
    assert_eq!((endpoint.connections(), endpoint.handshakes()), (1, 1));
    assert_eq!(endpoint.clients().len(), 1);
}

/// The findings without times and paths.
fn findings(run: &Run, case: &Case) -> Vec<(String, String, String, Vec<String>)> {
    let report = run.report();
    let here = case.dir.path().display().to_string();
    let probes = report["probes"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap_or_default().replace(&here, "DIR");
    probes
        .map(|probe| {
            let facts = probe["facts"].as_array().unwrap().iter();
            let keys = facts
                .filter(|fact| probe["layer"] == "certificate" || fact["id"] == "our-certificate.trust")
                .map(|fact| text(&fact["id"]));
            let summary = if probe["layer"] == "tcp" { String::new() } else { text(&probe["summary"]) };
            (text(&probe["layer"]), text(&probe["status"]), summary, keys.collect())
        })
        .collect()
}

#[test]
fn databases_by_the_tools_and_by_the_builders_give_the_same_findings() {
    for format in [DbFormat::Sql, DbFormat::Dbm] {
        let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
        let mut seen = Vec::new();
        for by_tools in [true, false] {
            let case = Case::new();
            let database = if by_tools { case.database_by_tools(format) } else { case.database(format) };
            let password = case.password_file();
            let argument = format.directory(&database);
            let run = run_beside(&mut diagnose(Path::new(&argument), &password, endpoint.port()), &database);
            passes(&run);
            let wrong = case.file("wrong", "nope\n");
            let failed = run_beside(&mut diagnose(Path::new(&argument), &wrong, endpoint.port()), &database);
            assert_eq!(failed.verdict().1, "password-wrong");
            seen.push((findings(&run, &case), findings(&failed, &case)));
        }
        assert_eq!(seen[0], seen[1], "{format:?}");
    }
}

#[test]
fn a_legacy_directory_is_read_without_being_upgraded() {
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let case = Case::new();
    let database = case.database(DbFormat::Dbm);
    let password = case.password_file();
    passes(&run_beside(&mut diagnose(&database, &password, endpoint.port()), &database));
    assert!(!database.join("cert9.db").exists());
}

#[test]
fn an_empty_password_needs_no_source() {
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let case = Case::new();
    let database = case.path("db");
    DbBuilder::new(DbFormat::Sql)
        .password(b"")
        .x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "")
        .unwrap()
        .x509("lab-ca", &PKI.ca.certificate, "CT,C,C")
        .unwrap()
        .build(&database)
        .unwrap();
    let mut command = binary();
    command.args([
        "diagnose",
        "--format",
        "json",
        "--nickname",
        NICKNAME,
        "--bridge",
        &format!("localhost:{}", endpoint.port()),
        "--db",
    ]);
    passes(&run_beside(command.arg(&database), &database));
}

#[test]
fn every_way_to_give_the_password() {
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let password = case.password_file();
    let plain = || {
        let mut command = binary();
        command.args([
            "diagnose",
            "--format",
            "json",
            "--nickname",
            NICKNAME,
            "--bridge",
            &format!("localhost:{}", endpoint.port()),
            "--db",
        ]);
        command.arg(&database);
        command
    };
    passes(&common::run(plain().arg("--password-file").arg(&password)));
    passes(&common::run(plain().args(["--password-env", "LAB_PASSWORD"]).env("LAB_PASSWORD", PASSWORD)));
    passes(&common::run(plain().arg("--password-stdin").stdin(std::fs::File::open(&password).unwrap())));
    passes(&common::run(plain().args(["--password-fd", "0"]).stdin(std::fs::File::open(&password).unwrap())));
}

#[test]
fn a_server_or_bridge_stops_before_the_network() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    for role in ["server", "bridge"] {
        let text = format!(
            "[daemon]\nunix-user:\nunix-group:\n[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n[{role}]\nbridge-hostname: localhost\n{role}-cert-nickname: {NICKNAME}\n",
            database.display()
        );
        let config = case.file(&format!("{role}.conf"), text);
        let run = run_beside(binary().args(["diagnose", "--format", "json", "-c"]).arg(config), &database);
        let report = run.report();
        assert_eq!(report["connections_opened"], 0, "{run:#?}");
        let resolve = report["probes"].as_array().unwrap().iter().find(|probe| probe["layer"] == "resolve").cloned();
        if let Some(resolve) = resolve.filter(|_| role == "server") {
            assert_eq!(resolve["status"], "skip");
            assert!(resolve["summary"].as_str().unwrap().contains("only to forward a client's request"), "{run:#?}");
        }
    }
}
