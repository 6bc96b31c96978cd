//! The formats for machines, each parsed by an independent reader, and the certificates that they monitor.

mod common;
mod readers;

use std::process::Command;

use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use serde_json::Value;

use common::{Case, PASSWORD, PKI, Run, binary, diagnose, hold_to_schema, run};
use readers::{HOSTILE, annotations, is_visible, junit, rendered, samples};

const FORMATS: [&str; 8] = ["human", "json", "junit", "markdown", "html", "nagios", "openmetrics", "github"];

fn lab(fault: &str, format: &str) -> Run {
    run(binary().args(["lab", "run", "--fault", fault, "--format", format]).env_remove("GITHUB_STEP_SUMMARY"))
}

/// A nickname that the database has; NSS would take text before a colon as the name of a token.
fn present() -> String {
    HOSTILE.replace(':', ";")
}

/// A check up to the certificate with a hostile nickname, without any network.
fn hostile(case: &Case, format: &str, nickname: &str) -> Command {
    let database = case.path("hostile-db");
    if !database.exists() {
        let builder = DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes());
        let builder = builder.x509_identity(&present(), &PKI.client.certificate, &PKI.client.key, "").unwrap();
        builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
    }
    let mut command = binary();
    command.args(["diagnose", "--until", "certificate", "--format", format, "--nickname", nickname]);
    command.arg("--db").arg(database).arg("--password-file").arg(case.password_file());
    command.env_remove("GITHUB_STEP_SUMMARY");
    command
}

#[test]
fn exit_codes_are_the_same_in_every_format_but_that_of_a_plugin() {
    for (fault, code, plugin) in [("healthy", 0, 0), ("client-other-ca", 1, 2), ("name-unresolved", 1, 2)] {
        for format in FORMATS {
            let run = lab(fault, format);
            let expected = if format == "nagios" { plugin } else { code };
            assert_eq!(run.code, Some(expected), "{fault} {format}: {run:#?}");
            assert!(run.stderr.is_empty() && !run.stdout.is_empty(), "{run:#?}");
        }
    }
}

#[test]
fn junit_matches_the_schema_and_has_one_case_per_layer() {
    let healthy = lab("healthy", "junit").stdout;
    assert_eq!(junit(&healthy, "count(//testcase)"), "12");
    assert_eq!(junit(&healthy, "count(//testcase/*)"), "0");
    let failed = lab("client-other-ca", "junit").stdout;
    assert_eq!(junit(&failed, "string(//failure/@type)"), "client-cert-rejected");
    assert_eq!(junit(&failed, "string(//failure/../@name)"), "outer-handshake");
    assert_eq!(junit(&failed, "count(//skipped)"), "3");
    assert!(junit(&failed, "string(//testcase[@name='certificate']/system-out)").starts_with("warning ca-missing: "));
    assert!(junit(&failed, "string(//testsuite/@name)").starts_with("localhost:"));
    // The verdict has the cause if the finding alone does not: a dead link that the first attempt did not use up.
    let rejected = run(binary().args(["lab", "run", "--fault", "bridge-rejects", "--format", "junit"]));
    assert_eq!(junit(&rejected.stdout, "string(//failure/@type)"), "server-link-dead");
}

#[test]
fn metrics_are_read_by_the_parser_of_prometheus() {
    let healthy = samples(&lab("healthy", "openmetrics").stdout);
    assert_eq!(healthy["probe_success"], [(serde_json::json!({}), 1.0)]);
    assert_eq!(healthy["probe_tls_version_info"], [(serde_json::json!({ "version": "TLS 1.2" }), 1.0)]);
    assert_eq!(healthy["nssight_layer_status"].len(), 12);
    let roles: Vec<&Value> =
        healthy["nssight_certificate_not_after_timestamp_seconds"].iter().map(|(labels, _)| &labels["role"]).collect();
    assert_eq!(roles, ["authority", "bridge", "client", "server"]);
    // Our own certificate is monitored even without a network.
    let closed = samples(&lab("port-closed", "openmetrics").stdout);
    assert_eq!(closed["probe_success"][0].1, 0.0);
    let verdict =
        serde_json::json!({ "layer": "tcp", "cause": "tcp-refused", "component": "bridge", "status": "fail" });
    assert_eq!(closed["nssight_verdict_info"], [(verdict, 1.0)]);
    let watched = &closed["nssight_certificate_not_after_timestamp_seconds"];
    let own = watched.iter().find(|(labels, _)| labels["role"] == "client").unwrap();
    assert_eq!(own.0["nickname"], "sigul-client-cert");
    assert_eq!(closed["probe_ssl_earliest_cert_expiry"][0].1, own.1);
    assert!(!closed.contains_key("probe_tls_version_info"));
}

#[test]
fn a_plugin_line_is_short_and_has_performance_data() {
    let datum = regex::Regex::new(r"^('[^'=]+'|[^' =]+)=-?[0-9.]+(s|%|B|c)?(;[0-9.]*){0,4}$").unwrap();
    let expectations = [
        ("healthy", "NSSIGHT OK - localhost:"),
        ("client-other-ca", "NSSIGHT CRITICAL - localhost:"),
        ("port-closed", "NSSIGHT CRITICAL - localhost:"),
        ("outer-silent", "NSSIGHT CRITICAL - localhost:"),
        ("db-directory-missing", "NSSIGHT CRITICAL - localhost:"),
    ];
    for (fault, beginning) in expectations {
        let run = lab(fault, "nagios");
        let line = run.stdout.lines().next().unwrap();
        assert!(line.starts_with(beginning) && line.len() < 1024, "{fault}: {line}");
        let (text, data) = line.split_once(" | ").unwrap();
        data.split(' ').for_each(|it| assert!(datum.is_match(it), "{fault}: {it}"));
        let knows =
            text.contains("\"sigul-client-cert\" 59 days left") && data.contains(" client_certificate_days=59;30;7;;");
        assert_eq!(knows, fault != "db-directory-missing", "{fault}: {line}");
        assert!(!run.stdout.lines().skip(1).any(|line| line.contains('|')), "{run:#?}");
    }
}

#[test]
fn a_plugin_reports_warnings_and_unknown_after_bad_arguments() {
    // The issuer of our certificate is missing here, and the peer accepts it all the same.
    let case = Case::new();
    let database = case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    let options = Options { client_cas: vec![PKI.other_ca.certificate.clone()], ..Options::new(&PKI.bridge, &PKI.ca) };
    let endpoint = Endpoint::start(options).unwrap();
    let warned = run(diagnose(&database, &case.password_file(), endpoint.port()).args(["--format", "nagios"]));
    assert!(warned.code == Some(1) && warned.stdout.starts_with("NSSIGHT WARNING - "), "{warned:#?}");
    let rows: &[&[&str]] = &[
        &["diagnose", "--format", "nagios", "--bogus"],
        &["diagnose", "--format=nagios", "--until", "tcp"],
        &["diagnose", "--timeout", "-1", "--format", "nagios"],
        &["diagnose", "--format", "nagios", "--db", "/x", "--password-file", "/nonexistent"],
    ];
    for arguments in rows {
        let run = run(binary().args(*arguments));
        assert_eq!(run.code, Some(3), "{arguments:?}: {run:#?}");
        assert!(run.stdout.starts_with("NSSIGHT UNKNOWN - ") && run.stdout.lines().count() == 1, "{run:#?}");
    }
    let asked = run(binary().args(["diagnose", "--format", "nagios", "--help"]));
    assert!(asked.code == Some(0) && asked.stdout.contains("Usage"), "{asked:#?}");
}

#[test]
fn annotations_and_the_step_summary_say_what_the_report_says() {
    let case = Case::new();
    let summary = case.file("summary.md", "before\n\n");
    let mut command = binary();
    command.args(["lab", "run", "--fault", "client-other-ca", "--format", "github"]);
    let log = run(command.env("GITHUB_STEP_SUMMARY", &summary)).stdout;
    let found = annotations(&log);
    let names: Vec<&str> = found.iter().map(|(name, ..)| name.as_str()).collect();
    assert_eq!(names, ["error", "warning"], "{log}");
    assert!(
        found[0].2.starts_with("the bridge answered with the alert unknown_ca (48) to our certificate\n→ "),
        "{log}"
    );
    assert!(found[0].1["title"].contains(": FAIL · outer-handshake · client-cert-rejected"), "{log}");
    let page = std::fs::read_to_string(&summary).unwrap();
    let (text, tables) = rendered(&page);
    assert!(page.starts_with("before\n\n## ✗ `localhost:"), "{page}");
    assert!(tables == 3 && text.contains("the bridge answered with the alert unknown_ca (48)"), "{text}");
    // A pass has no annotations, and without a file there is no summary.
    let healthy = lab("healthy", "github");
    assert_eq!(annotations(&healthy.stdout), [], "{healthy:#?}");
    // A file that cannot be written does not prevent the output.
    let mut command = binary();
    command.args(["lab", "run", "--format", "github"]).env("GITHUB_STEP_SUMMARY", "/nonexistent/summary.md");
    let run = run(&mut command);
    assert!(run.code == Some(3) && run.stderr.contains("cannot write"), "{run:#?}");
}

#[test]
fn a_page_of_markdown_has_the_verdict_the_layers_and_the_certificates() {
    for (fault, tables) in [("healthy", 2), ("stale-server-link", 3), ("db-directory-missing", 2)] {
        let page = lab(fault, "markdown").stdout;
        let (text, found) = rendered(&page);
        assert_eq!(found, tables, "{page}");
        assert!(text.contains("outer-handshake") && text.contains("nssight "), "{text}");
        is_visible(&page);
    }
}

#[test]
fn text_output_lists_alternative_causes() {
    // Only a closed session is visible: a dead link and a refusal look the same.
    let report = lab("stale-server-link", "json").report();
    let others = report["verdict"]["alternatives"].as_array().unwrap();
    let other = others.iter().find(|other| other["cause"] == "bridge-rejected-request").unwrap();
    let how = other["tell_apart"][0].as_str().unwrap();
    for format in FORMATS.into_iter().filter(|format| !["json", "openmetrics"].contains(format)) {
        let shown = lab("stale-server-link", format).stdout;
        let text = shown.split_whitespace().collect::<Vec<_>>().join(" ");
        assert!(text.contains("bridge-rejected-request") && text.contains(how), "{format}: {shown}");
    }
    // A failure that appears at another layer than its own names both layers.
    let shown = lab("db-both-formats", "human").stdout;
    assert!(
        shown.contains("FAIL  layer: nss-db  cause: db-mixed-formats")
            && shown.contains("The failure appeared at certificate."),
        "{shown}"
    );
    assert!(shown.contains("More: docs/causes/db-mixed-formats.md"), "{shown}");
}

#[test]
fn untrusted_text_is_never_markup_in_any_format() {
    let case = Case::new();
    for (nickname, is_there) in [(present(), true), (HOSTILE.to_owned(), false)] {
        let walk = |format: &str| run(&mut hostile(&case, format, &nickname));
        let report = walk("json").report();
        let summary = report["verdict"]["summary"].as_str().unwrap().to_owned();
        let shown: String = report["target"]["nickname"]["value"].as_str().unwrap().to_owned();
        assert_eq!((shown.as_str(), summary.is_empty()), (nickname.as_str(), false));
        hold_to_schema("report", &[report]);
        let text = "a<script>alert(1)</script>&amp;]]>|x `tick` ``two``";

        let document = walk("junit").stdout;
        is_visible(&document);
        let everything = junit(&document, "string(/*)");
        assert!(is_there || everything.contains(text), "{document}");

        let metrics = walk("openmetrics").stdout;
        is_visible(&metrics);
        let samples = samples(&metrics);
        assert_eq!(samples.contains_key("nssight_certificate_not_after_timestamp_seconds"), is_there);
        if let Some((labels, _)) = samples.get("nssight_certificate_not_after_timestamp_seconds").map(|all| &all[1]) {
            assert!(labels["nickname"].as_str().unwrap().starts_with(text), "{labels}");
        }

        let page = walk("markdown").stdout;
        is_visible(&page);
        assert!(rendered(&page).0.contains(text), "{page}");

        let line = walk("nagios").stdout;
        is_visible(&line);
        let first = line.lines().next().unwrap();
        assert!(first.matches('|').count() == 1 && first.len() < 1536, "{line}");
        // However long the names are, the line contains the certificate's time.
        assert_eq!(first.contains("days left |"), is_there, "{line}");
        assert!(!line.lines().any(|line| line.starts_with("::")), "{line}");

        let log = walk("github").stdout;
        is_visible(&log);
        let found = annotations(&log);
        assert!(!log.lines().any(|line| line.contains("##[") && !line.starts_with("::")), "{log}");
        assert_eq!(
            found.iter().map(|(name, ..)| name.as_str()).collect::<Vec<_>>(),
            if is_there { vec![] } else { vec!["error"] }
        );
        assert!(found.iter().all(|(.., message)| message.contains(text)), "{log}");

        let page = walk("html").stdout;
        is_visible(&page);
        assert!(!page.contains("<script>alert") && page.contains("a&#60;script&#62;alert(1)"), "{page}");
        is_visible(&walk("human").stdout);
    }
}

#[test]
fn every_hop_has_a_name() {
    let hops = |fault: &str| {
        let report = lab(fault, "json").report();
        let hops = report["hops"].as_array().unwrap().clone();
        let address = |setting: &str| report["target"][setting]["value"].clone();
        let addresses = [address("bridge"), address("server")];
        hold_to_schema("report", &[report]);
        assert!(hops.iter().zip(addresses).all(|(hop, address)| hop["address"] == address), "{hops:#?}");
        let words = |hop: &Value| ["hop", "name"].map(|key| hop[key].as_str().unwrap().to_owned());
        hops.iter().map(words).collect::<Vec<_>>()
    };
    let named = |all: &[[&str; 2]]| all.iter().map(|hop| hop.map(str::to_owned)).collect::<Vec<_>>();
    assert_eq!(hops("healthy"), named(&[["peer", "bridge"], ["server", "server"]]));
    assert_eq!(hops("plain-tls-1.3"), named(&[["peer", "peer"]]));
    // If nothing could be configured, no hop has an address.
    assert_eq!(hops("config-missing"), named(&[["peer", "bridge"], ["server", "server"]]));
}

#[test]
fn our_own_certificate_is_in_the_report_whatever_the_network_does() {
    let certificates = |fault: &str| {
        let report = lab(fault, "json").report();
        let all = report["certificates"].as_array().unwrap();
        let pair = |it: &Value| [it["role"].as_str().unwrap().to_owned(), it["subject"].as_str().unwrap().to_owned()];
        let pairs: Vec<[String; 2]> = all.iter().map(pair).collect();
        hold_to_schema("report", std::slice::from_ref(&report));
        pairs
    };
    let of = |role: &str, name: &str| [role.to_owned(), format!("CN={name},O=nssight lab")];
    let own = [of("client", "admin"), of("authority", "Lab CA")];
    for fault in ["name-unresolved", "port-closed", "outer-closes-after-hello"] {
        assert_eq!(certificates(fault), own, "{fault}");
    }
    let outer = [&own[..], &[of("bridge", "bridge")]].concat();
    assert_eq!(certificates("bridge-expired"), outer);
    let inner = [&outer[..], &[of("server", "server")]].concat();
    for fault in ["healthy", "server-hangs-in-inner", "server-expired", "admin-password-wrong"] {
        assert_eq!(certificates(fault), inner, "{fault}");
    }
    assert_eq!(certificates("db-directory-missing"), Vec::<[String; 2]>::new());
}
