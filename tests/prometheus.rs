//! The files for Prometheus, verified with Prometheus's own programs: Debian's server scrapes a running exporter.

mod common;

use std::fs;
use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use common::Case;
use common::exporter::{Exporter, request};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Takes};
use nssight_fixtures::nssdb::DbFormat;
use regex::Regex;
use serde_json::Value;

fn shipped(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/prometheus").join(name)
}

fn promtool(arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new("promtool");
    command
        .args(arguments)
        .current_dir(shipped(""))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn().expect("prometheus must be installed (make deps)");
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

fn assert_passes(arguments: &[&str], input: &str) {
    let output = promtool(arguments, input);
    let said = String::from_utf8_lossy(&[&output.stdout[..], &output.stderr].concat()).into_owned();
    assert!(output.status.success(), "promtool {arguments:?}: {said}\n{input}");
}

#[test]
fn promtool_passes_configuration_rules_and_their_tests() {
    assert_passes(&["check", "config", "prometheus.yml"], "");
    assert_passes(&["check", "rules", "nssight.rules.yml"], "");
    assert_passes(&["test", "rules", "nssight.rules.test.yml"], "");
    // A tool that accepts everything would accept the files, too.
    assert!(!promtool(&["check", "metrics"], "a 1\na 1\n# TYPE a_total gauge\na_total x\n").status.success());
}

#[test]
fn every_alert_has_a_test_and_its_metrics_are_served() {
    let rules = fs::read_to_string(shipped("nssight.rules.yml")).unwrap();
    let tests = fs::read_to_string(shipped("nssight.rules.test.yml")).unwrap();
    let alerts: Vec<&str> = rules.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect();
    assert!(alerts.len() > 10, "{alerts:?}");
    for alert in alerts {
        assert!(tests.contains(&format!("alertname: {alert}\n")), "{alert} has no test");
    }
    let case = Case::new();
    let (_lab, exporter) = deployed(&case);
    let served = exporter.get("/probe?target=sign-1").body + &exporter.get("/metrics").body;
    let dashboard = fs::read_to_string(shipped("../grafana/nssight.json")).unwrap();
    let names = Regex::new(r"(?-u:\b)(?:nssight|probe)_[a-z_]+(?-u:\b)").unwrap();
    for (file, text) in [("rules", &rules), ("dashboard", &dashboard)] {
        let found: Vec<&str> = names.find_iter(text).map(|name| name.as_str()).collect();
        assert!(found.len() > 10, "{found:?}");
        // The lab's database has no revocation list; tests/expiry.rs has one.
        for name in found.into_iter().filter(|name| !name.starts_with("nssight_revocation_list_")) {
            let is_served =
                served.lines().any(|line| line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' '])));
            assert!(is_served, "{name} of the {file} is not served: {served}");
        }
    }
}

#[test]
fn every_alert_leads_to_a_page_of_the_book() {
    const BASE: &str = "https://nssight.example/book/";
    let rules = fs::read_to_string(shipped("nssight.rules.yml")).unwrap();
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let monitoring = fs::read_to_string(docs.join("monitoring.md")).unwrap();
    for alert in rules.split("- alert: ").skip(1) {
        let name = alert.lines().next().unwrap();
        let urls: Vec<&str> = alert.split(BASE).skip(1).map(|rest| rest.lines().next().unwrap()).collect();
        let [url] = urls[..] else { panic!("{name}: {urls:?}") };
        assert!(alert.contains("runbook_url: "), "{name}");
        assert!(monitoring.contains(&format!("| `{name}` |")), "{name} is not in the table of alerts");
        match url.split_once('#') {
            Some(("monitoring.html", anchor)) => {
                assert_eq!(anchor, name.to_lowercase());
                assert!(monitoring.contains(&format!("\n#### {name}\n")), "{name} has no section");
            }
            // The rest is filled in when the alert fires; the tests of the rules contain the result.
            _ => assert!(url.starts_with("causes/") && alert.trim_end().contains(".html"), "{name}: {url}"),
        }
    }
    let tests = fs::read_to_string(shipped("nssight.rules.test.yml")).unwrap();
    let pages: Vec<&str> = tests
        .lines()
        .filter_map(|line| line.split_once(&format!("runbook_url: {BASE}")))
        .map(|(_, page)| page)
        .collect();
    assert!(pages.iter().filter(|page| page.starts_with("causes/")).count() > 5, "{pages:?}");
    for page in pages {
        let page = page.split('#').next().unwrap().replace(".html", ".md");
        assert!(docs.join(&page).is_file(), "{page}");
    }
    // Causes that no certificate of the tests leads to.
    for cause in Regex::new(r"[a-z-]+-expired").unwrap().find_iter(&rules) {
        assert!(docs.join(format!("causes/{}.md", cause.as_str())).is_file(), "{}", cause.as_str());
    }
}

/// A healthy lab and a target in it.
fn deployed(case: &Case) -> (Deployment, Exporter) {
    let healthy = case.path("healthy");
    fs::create_dir(&healthy).unwrap();
    let lab = Deployment::start(&healthy, &Change::default(), DbFormat::Sql).unwrap();
    symlink("healthy", case.path("lab")).unwrap();
    let text = "[[target]]\nname = \"sign-1\"\nconfig = \"lab/client.conf\"\nadmin-password-file = \"lab/admin-password\"\n\
                labels = { team = \"releng\" }\n\
                [[target]]\nname = \"missing\"\nconfig = \"missing.conf\"\n";
    let exporter = Exporter::start(&case.file("targets.toml", text), &["--cache", "0.5"]);
    (lab, exporter)
}

#[test]
fn promtool_passes_the_metrics() {
    let case = Case::new();
    let (_lab, exporter) = deployed(&case);
    for target in ["sign-1", "missing"] {
        let hurried = [("X-Prometheus-Scrape-Timeout-Seconds", "0.01")];
        assert_passes(&["check", "metrics"], &exporter.get_with(&format!("/probe?target={target}"), &hurried).body);
        assert_passes(&["check", "metrics"], &exporter.get(&format!("/probe?target={target}")).body);
    }
    assert_passes(&["check", "metrics"], &exporter.get("/metrics").body);
}

/// A running Prometheus, ended when this value is dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if std::thread::panicking() {
            eprintln!("prometheus:\n{}", fs::read_to_string(&self.log).unwrap_or_default());
        }
    }
}

impl Prometheus {
    /// With the shipped files; only times and the exporter's address are changed.
    fn start(case: &Case, exporter: SocketAddr) -> Self {
        let rules = fs::read_to_string(shipped("nssight.rules.yml")).unwrap();
        let waits = Regex::new(r"(?m)^( +for: )[0-9]+[mh]$").unwrap();
        assert!(waits.find_iter(&rules).count() > 8);
        case.file("nssight.rules.yml", waits.replace_all(&rules, "${1}2s").as_ref());
        let config = fs::read_to_string(shipped("prometheus.yml")).unwrap();
        let times = Regex::new(r"(?m)^( +(?:scrape_interval|scrape_timeout|refresh_interval): )[0-9]+s$").unwrap();
        assert_eq!(times.find_iter(&config).count(), 3);
        let config = times.replace_all(&config, "${1}1s").replace("127.0.0.1:9744", &exporter.to_string());
        let config = config.replace("global:\n", "global:\n  evaluation_interval: 1s\n");
        let config = case.file("prometheus.yml", config);
        // Prometheus does not accept port 0, so the kernel is asked for a free port first.
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let log = case.path("prometheus.log");
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", config.display()));
        command.arg(format!("--storage.tsdb.path={}", case.path("tsdb").display()));
        command.arg(format!("--web.listen-address={address}")).arg("--log.level=warn");
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(fs::File::create(&log).unwrap()).spawn();
        let child = child.expect("prometheus must be installed (make deps)");
        let prometheus = Self { child, address, log };
        prometheus.until("listens", || TcpStream::connect(address).is_ok());
        prometheus.until("is ready", || request(address, "HTTP/1.0", "/-/ready", &[]).status == 200);
        prometheus
    }

    fn until(&self, what: &str, mut is: impl FnMut() -> bool) {
        let patience = Instant::now() + Duration::from_secs(40);
        while !is() {
            assert!(Instant::now() < patience, "it does not come to that: {what}");
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    fn api(&self, path: &str) -> Value {
        let answer = request(self.address, "HTTP/1.0", path, &[]);
        serde_json::from_str(&answer.body).unwrap_or_else(|error| panic!("{error}: {answer:#?}"))
    }

    /// The value of an expression with one result.
    fn value(&self, expression: &str) -> Option<f64> {
        let encoded: String = expression.bytes().map(|byte| format!("%{byte:02x}")).collect();
        let found = self.api(&format!("/api/v1/query?query={encoded}"));
        found["data"]["result"][0]["value"][1].as_str().map(|value| value.parse().unwrap())
    }

    /// The firing alerts of this name.
    fn firing(&self, name: &str) -> Vec<Value> {
        let alerts = self.api("/api/v1/alerts")["data"]["alerts"].as_array().unwrap().clone();
        alerts.into_iter().filter(|alert| alert["labels"]["alertname"] == name && alert["state"] == "firing").collect()
    }

    fn of_sign_1(&self) -> Option<Value> {
        self.firing("NssightLayerFailed").into_iter().find(|alert| alert["labels"]["instance"] == "sign-1")
    }
}

#[test]
fn an_alert_fires_when_the_lab_gets_a_fault_and_clears_when_it_is_gone() {
    let case = Case::new();
    let (_healthy, exporter) = deployed(&case);
    let faulty = case.path("faulty");
    fs::create_dir(&faulty).unwrap();
    let change = Change { takes: Takes::BridgeOthers, ..Change::default() };
    let _faulty = Deployment::start(&faulty, &change, DbFormat::Sql).unwrap();
    let prometheus = Prometheus::start(&case, exporter.address);

    prometheus.until("sign-1 passes", || prometheus.value("probe_success{instance=\"sign-1\"}") == Some(1.0));
    prometheus.until("the exporter is up", || prometheus.value("up{job=\"nssight-exporter\"}") == Some(1.0));
    let left = "nssight:certificate_time_left:seconds{instance=\"sign-1\",role=\"client\",team=\"releng\"}";
    prometheus.until("the rule for certificates records", || prometheus.value(left).is_some_and(|left| left > 86400.0));
    // The other target, whose configuration is missing, fires from the beginning.
    prometheus.until("an alert fires", || !prometheus.firing("NssightLayerFailed").is_empty());
    assert!(prometheus.of_sign_1().is_none());

    let switch = |to: &str| {
        symlink(to, case.path("next")).unwrap();
        fs::rename(case.path("next"), case.path("lab")).unwrap();
    };
    switch("faulty");
    prometheus.until("the alert fires", || prometheus.of_sign_1().is_some());
    let alert = prometheus.of_sign_1().unwrap();
    let summary = alert["annotations"]["summary"].as_str().unwrap();
    assert_eq!(summary, "sign-1: layer outer-handshake fails, cause client-cert-rejected, component client-db");
    assert_eq!((&alert["labels"]["severity"], &alert["labels"]["team"]), (&"critical".into(), &"releng".into()));
    let bridge = "nssight_certificate_not_after_timestamp_seconds{instance=\"sign-1\",role=\"server\"}";
    assert!(prometheus.value(bridge).is_some(), "the server's date is known while the walk does not come to it");

    switch("healthy");
    prometheus.until("the alert clears", || prometheus.of_sign_1().is_none());
    prometheus.until("sign-1 passes again", || prometheus.value("probe_success{instance=\"sign-1\"}") == Some(1.0));

    assert!(prometheus.firing("NssightExporterDown").is_empty());
    drop(exporter);
    prometheus.until("the exporter is missed", || !prometheus.firing("NssightExporterDown").is_empty());
}
