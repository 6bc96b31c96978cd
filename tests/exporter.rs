//! What `nssight exporter` serves: checks as metrics, results from its cache, and reports, and nothing that it should
//! not.

mod common;

use std::fs;
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::exporter::{Exporter, Metrics};
use common::{Case, NICKNAME, PASSWORD, PKI, binary, run};
use nssight_fixtures::authority::{Spec, Usage};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, Deployment, PASSWORD as LAB_PASSWORD};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::fault::{Change, Outer};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use rustix::process::Signal;

const OPENMETRICS: &str = "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

fn lab(directory: &Path, change: &Change) -> Deployment {
    fs::create_dir_all(directory).unwrap();
    Deployment::start(directory, change, DbFormat::Sql).unwrap()
}

/// A targets file with one target that passes all layers through the lab.
fn one_target(case: &Case) -> std::path::PathBuf {
    let text = "[[target]]\nname = \"sign-1\"\nconfig = \"lab/client.conf\"\nadmin-password-file = \"lab/admin-password\"\n\
                labels = { team = \"releng\" }\n";
    case.file("targets.toml", text)
}

/// Targets with these ports and the usual database that end at the outer handshake.
fn targets_at(case: &Case, ports: &[u16]) -> std::path::PathBuf {
    case.password_file();
    let mut text = format!(
        "[defaults]\ndb = \"db\"\nnickname = \"{NICKNAME}\"\npassword-file = \"pw\"\ntimeout = 4\ndeadline = 20\n"
    );
    for (number, port) in ports.iter().enumerate() {
        text.push_str(&format!(
            "[[target]]\nname = \"t{number}\"\nbridge = \"localhost:{port}\"\nuntil = \"outer-handshake\"\n"
        ));
    }
    case.file("targets.toml", text)
}

fn well() -> Endpoint {
    Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap()
}

#[test]
fn a_probe_runs_a_check_and_answers_in_the_requested_format() {
    let case = Case::new();
    let lab = lab(&case.path("lab"), &Change::default());
    let exporter = Exporter::start(&one_target(&case), &[]);
    let answer = exporter.get_with("/probe?target=sign-1", &[("Accept", OPENMETRICS)]);
    assert_eq!(answer.status, 200);
    assert!(
        answer.header("Content-Type").unwrap().starts_with("application/openmetrics-text; version=1.0.0"),
        "{answer:#?}"
    );
    assert!(answer.body.ends_with("# EOF\n") && answer.body.matches("# EOF").count() == 1, "{answer:#?}");
    let metrics = Metrics::read(&answer.body);
    assert_eq!(metrics.value("probe_success"), Some(1.0));
    assert!(metrics.value("probe_duration_seconds").unwrap() > 0.0);
    assert_eq!(metrics.label("nssight_verdict_info", "status").as_deref(), Some("pass"));
    assert_eq!(metrics.label("probe_tls_version_info", "version").as_deref(), Some("TLS 1.2"));
    for layer in ["config", "nss-db", "outer-handshake", "request"] {
        assert_eq!(metrics.value(&format!("nssight_layer_status{{layer=\"{layer}\"}}")), Some(1.0), "{metrics:#?}");
    }
    assert!(metrics.value("nssight_layer_duration_seconds{layer=\"request\"}").unwrap() > 0.0);
    for role in ["client", "bridge", "server"] {
        let end = metrics.value(&format!("nssight_certificate_not_after_timestamp_seconds{{role=\"{role}\"")).unwrap();
        assert!(end >= metrics.value("probe_ssl_earliest_cert_expiry").unwrap());
    }
    assert_eq!(metrics.value("nssight_result_stale"), Some(0.0));
    let text = exporter.get("/probe?target=sign-1");
    assert!(text.header("Content-Type").unwrap().starts_with("text/plain; version=0.0.4"), "{text:#?}");
    assert!(!text.body.contains("# EOF") && !text.body.contains("# UNIT"), "{text:#?}");
    assert_eq!(Metrics::read(&text.body).0, metrics.0);
    assert_eq!(lab.connections(), 1, "the second scrape is answered from the cache");
}

#[test]
fn only_targets_of_the_file_are_walked() {
    let case = Case::new();
    case.database(DbFormat::Sql);
    let endpoint = well();
    let exporter = Exporter::start(&targets_at(&case, &[endpoint.port()]), &[]);
    let own = format!("127.0.0.1:{}", endpoint.port());
    for unknown in ["nobody", &own, "t0%00", "t0%20", "T0", "", "..%2F..%2Fetc%2Fpasswd"] {
        let answer = exporter.get(&format!("/probe?target={unknown}"));
        assert_eq!(answer.status, 404, "{unknown}: {answer:#?}");
        assert_eq!(exporter.get(&format!("/report?target={unknown}")).status, 404);
    }
    for nonsense in ["/probe", "/probe?name=t0", "/probe?target=t0&target=t0", "/probe?target=%ff%fe", "/probe?target"]
    {
        let status = exporter.get(nonsense).status;
        assert!([400, 404].contains(&status), "{nonsense}: {status}");
    }
    assert_eq!(exporter.get("/nowhere").status, 404);
    assert_eq!(endpoint.connections(), 0);
    assert!(exporter.metrics().value("nssight_exporter_unknown_targets_total").unwrap() >= 14.0);
    assert_eq!(exporter.probe("t0").value("probe_success"), Some(1.0));
    assert_eq!(endpoint.connections(), 1);
}

#[test]
fn simultaneous_scrapes_share_one_check_and_later_ones_its_result() {
    let case = Case::new();
    let lab = lab(&case.path("lab"), &Change::default());
    let exporter = Exporter::start(&one_target(&case), &["--cache", "1"]);
    let scrape_by_twenty = || {
        std::thread::scope(|scope| {
            let scrapes: Vec<_> =
                (0..20).map(|_| scope.spawn(|| exporter.probe("sign-1").value("probe_success"))).collect();
            assert!(scrapes.into_iter().all(|scrape| scrape.join().unwrap() == Some(1.0)));
        });
    };
    scrape_by_twenty();
    assert_eq!(lab.connections(), 1);
    let metrics = exporter.metrics();
    let by =
        |result: &str| metrics.value(&format!("nssight_exporter_probes_total{{result=\"{result}\"}}")).unwrap_or(0.0);
    assert_eq!((by("walked"), by("shared") + by("cached")), (1.0, 19.0));
    std::thread::sleep(Duration::from_millis(1100));
    scrape_by_twenty();
    assert_eq!(lab.connections(), 2);
    assert_eq!(exporter.metrics().value("nssight_exporter_walks_total{outcome=\"pass\"}"), Some(2.0));
}

/// Accepts connections, holds each for a while, and counts simultaneous ones.
struct Slow {
    port: u16,
    most: Arc<AtomicUsize>,
    all: Arc<AtomicUsize>,
}

impl Slow {
    fn start(now: &Arc<AtomicUsize>, most: &Arc<AtomicUsize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let all = Arc::new(AtomicUsize::new(0));
        let (now, counted, kept) = (now.clone(), all.clone(), most.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                counted.fetch_add(1, Ordering::SeqCst);
                kept.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                let now = now.clone();
                std::thread::spawn(move || {
                    let mut stream = stream;
                    let _ = stream.read(&mut [0; 1024]);
                    std::thread::sleep(Duration::from_millis(400));
                    now.fetch_sub(1, Ordering::SeqCst);
                    drop(stream);
                });
            }
        });
        Self { port, most: most.clone(), all }
    }
}

#[test]
fn one_bridge_never_gets_two_checks_at_once_and_different_bridges_do() {
    let case = Case::new();
    case.database(DbFormat::Sql);
    let bridge = Slow::start(&Arc::default(), &Arc::default());
    let (now, most) = (Arc::default(), Arc::default());
    let others: Vec<Slow> = (0..3).map(|_| Slow::start(&now, &most)).collect();
    let mut ports = vec![bridge.port; 4];
    ports.extend(others.iter().map(|other| other.port));
    let exporter = Exporter::start(&targets_at(&case, &ports), &["--jobs", "4"]);
    std::thread::scope(|scope| {
        for number in 0..ports.len() {
            let exporter = &exporter;
            scope.spawn(move || assert_eq!(exporter.probe(&format!("t{number}")).value("probe_success"), Some(0.0)));
        }
    });
    assert_eq!((bridge.all.load(Ordering::SeqCst), bridge.most.load(Ordering::SeqCst)), (4, 1));
    assert!(others[0].most.load(Ordering::SeqCst) > 1, "three bridges are walked at the same time");
    // With one job there are no simultaneous connections.
    others[0].most.store(0, Ordering::SeqCst);
    let exporter = Exporter::start(&targets_at(&case, &ports[4..]), &["--jobs", "1"]);
    std::thread::scope(|scope| {
        for number in 0..others.len() {
            let exporter = &exporter;
            scope.spawn(move || exporter.probe(&format!("t{number}")));
        }
    });
    assert_eq!(others[0].most.load(Ordering::SeqCst), 1);
}

#[test]
fn a_target_that_hangs_holds_up_neither_its_scrape_nor_others() {
    let case = Case::new();
    case.database(DbFormat::Sql);
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = well();
    let targets = targets_at(&case, &[silent.local_addr().unwrap().port(), endpoint.port()]);
    let exporter = Exporter::start(&targets, &["--jobs", "2"]);
    let hurried = || {
        let answer = exporter.get_with("/probe?target=t0", &[("X-Prometheus-Scrape-Timeout-Seconds", "2")]);
        assert!(answer.status == 200 && answer.took < Duration::from_secs(8), "the target waits 10 s: {answer:#?}");
        Metrics::read(&answer.body)
    };
    let first = hurried();
    assert_eq!((first.value("probe_success"), first.value("nssight_result_stale")), (Some(0.0), Some(1.0)));
    assert_eq!(first.value("nssight_result_timestamp_seconds"), None);
    assert_eq!(exporter.probe("t1").value("probe_success"), Some(1.0));
    assert_eq!(exporter.metrics().value("nssight_exporter_walks_in_flight"), Some(1.0));
    // The check continues to its deadline, and its result is available for the next scrape.
    let walked = exporter.probe("t0");
    assert_eq!(walked.label("nssight_verdict_info", "status").as_deref(), Some("fail"), "{walked:#?}");
    assert!(walked.value("nssight_certificate_not_after_timestamp_seconds{role=\"client\"").is_some(), "{walked:#?}");
    assert_eq!(hurried().value("nssight_result_stale"), Some(0.0));
}

#[test]
fn dates_of_certificates_stay_known_while_the_network_fails_and_after_a_restart() {
    let case = Case::new();
    let healthy = lab(&case.path("healthy"), &Change::default());
    let refused = Change { outer: Outer::CloseAtOnce, ..Change::default() };
    let faulty = lab(&case.path("faulty"), &refused);
    symlink("healthy", case.path("lab")).unwrap();
    let state = case.path("state");
    let options = ["--cache", "0.2", "--state", state.to_str().unwrap()];
    let targets = one_target(&case);
    let mut exporter = Exporter::start(&targets, &options);
    let end = "nssight_certificate_not_after_timestamp_seconds{role=\"bridge\"";
    let known = exporter.probe("sign-1").value(end).unwrap();
    fs::remove_file(case.path("lab")).unwrap();
    symlink("faulty", case.path("lab")).unwrap();
    std::thread::sleep(Duration::from_millis(300));
    let failed = exporter.probe("sign-1");
    assert_eq!(failed.value("probe_success"), Some(0.0), "{failed:#?}");
    assert_eq!(failed.value(end), Some(known), "the bridge's date is that of the walk before");
    assert!(failed.value("nssight_certificate_not_after_timestamp_seconds{role=\"client\"").is_some(), "{failed:#?}");
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(5)).unwrap().success());

    // After a restart within the time of a longer cache, the exporter contacts no bridge and still has all results.
    let before = (healthy.connections(), faulty.connections());
    let exporter = Exporter::start(&targets, &["--state", state.to_str().unwrap()]);
    let again = exporter.probe("sign-1");
    assert_eq!((healthy.connections(), faulty.connections()), before);
    assert_eq!(again.0, failed.0);
    // The earlier state is known, too: the target passed, and fails now.
    let page = exporter.get("/").body;
    assert!(page.contains("The last 2 checks since ") && page.contains(": 1 failed, 1 passed"), "{page}");
    assert!(page.contains("CN=bridge"), "the bridge's certificate is on the page: {page}");
    assert_eq!(exporter.get("/report?target=sign-1").status, 200);
}

#[test]
fn a_database_that_is_replaced_is_picked_up() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let endpoint = well();
    let exporter = Exporter::start(&targets_at(&case, &[endpoint.port()]), &["--cache", "0.1"]);
    let end = "nssight_certificate_not_after_timestamp_seconds{role=\"client\"";
    let before = exporter.probe("t0").value(end).unwrap();
    let renewed = PKI.ca.issue(&Spec::new("client", Usage::Client).valid(-1, 5)).unwrap();
    let builder = DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes());
    let builder = builder.x509_identity(NICKNAME, &renewed.certificate, &renewed.key, "").unwrap();
    builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&case.path("new")).unwrap();
    fs::rename(&database, case.path("old")).unwrap();
    fs::rename(case.path("new"), &database).unwrap();
    std::thread::sleep(Duration::from_millis(150));
    let after = exporter.probe("t0");
    assert_eq!(after.value("probe_success"), Some(1.0), "{after:#?}");
    assert!(after.value(end).unwrap() < before - 86400.0, "{after:#?}");
}

#[test]
fn the_targets_file_is_read_again_on_a_hangup() {
    let case = Case::new();
    case.database(DbFormat::Sql);
    let (first, second) = (well(), well());
    let targets = targets_at(&case, &[first.port()]);
    let exporter = Exporter::start(&targets, &[]);
    assert_eq!(exporter.probe("t0").value("probe_success"), Some(1.0));
    let until = |what: &str, value: f64| {
        let patience = Instant::now() + Duration::from_secs(10);
        while exporter.metrics().value(what) != Some(value) {
            assert!(Instant::now() < patience, "{what} does not become {value}");
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    targets_at(&case, &[first.port(), second.port()]);
    exporter.signal(Signal::HUP);
    until("nssight_exporter_targets", 2.0);
    assert_eq!(exporter.probe("t1").value("probe_success"), Some(1.0));
    assert_eq!(exporter.probe("t0").value("probe_success"), Some(1.0));
    assert_eq!(first.connections(), 1, "what is known of a target stays");
    fs::write(&targets, "[[target]]\nname = 7\n").unwrap();
    exporter.signal(Signal::HUP);
    until("nssight_exporter_config_last_reload_successful", 0.0);
    assert_eq!(exporter.probe("t1").value("probe_success"), Some(1.0));
    assert!(exporter.log().contains("targets.toml:2"), "{}", exporter.log());
    targets_at(&case, &[first.port()]);
    exporter.signal(Signal::HUP);
    until("nssight_exporter_targets", 1.0);
    assert_eq!(exporter.get("/probe?target=t1").status, 404);
}

#[test]
fn browsers_get_a_list_and_the_last_reports() {
    let case = Case::new();
    let _lab = lab(&case.path("lab"), &Change::default());
    let exporter = Exporter::start(&one_target(&case), &[]);
    let list = exporter.get("/");
    assert!(list.status == 200 && list.body.contains("sign-1") && list.body.contains("Not checked yet"), "{list:#?}");
    assert_eq!(exporter.get("/report?target=sign-1").status, 404);
    exporter.probe("sign-1");
    let list = exporter.get("/");
    assert!(
        list.body.contains("href=\"report?target=sign-1\"") && list.body.contains("</span> PASS</span>"),
        "{list:#?}"
    );
    let report = exporter.get("/report?target=sign-1");
    assert!(report.body.starts_with("<!doctype html>") && report.body.contains("outer-handshake"), "{report:#?}");
    for page in [&list, &report] {
        assert!(page.header("Content-Type").unwrap().starts_with("text/html"), "{page:#?}");
        assert!(page.header("Content-Security-Policy").unwrap().contains("default-src 'none'"), "{page:#?}");
    }
    let found: serde_json::Value = serde_json::from_str(&exporter.get("/sd").body).unwrap();
    assert_eq!(found, serde_json::json!([{ "targets": ["sign-1"], "labels": { "team": "releng" } }]));
}

#[test]
fn a_name_is_escaped_wherever_it_is_shown() {
    let case = Case::new();
    let name = r#"<script>"\&'é"#;
    let text = format!(
        "[[target]]\nname = '''{name}'''\nconfig = \"missing.conf\"\nlabels = {{ job = \"x\", a = \"<b>\" }}\n"
    );
    let exporter = Exporter::start(&case.file("targets.toml", text), &[]);
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let metrics = exporter.probe(&encoded);
    assert_eq!(metrics.label("nssight_verdict_info", "cause").as_deref(), Some("config-missing"));
    for page in ["/".to_owned(), format!("/report?target={encoded}")] {
        let answer = exporter.get(&page);
        assert!(answer.status == 200 && !answer.body.contains(name) && !answer.body.contains("<b>"), "{answer:#?}");
    }
    let list = exporter.get("/").body;
    let link = list.split("report?target=").nth(1).and_then(|rest| rest.split('"').next()).unwrap();
    assert_eq!(exporter.get(&format!("/report?target={link}")).status, 200);
    assert!(exporter.get("/metrics").body.contains(r#"{target="<script>\"\\&'é"}"#));
    let found: serde_json::Value = serde_json::from_str(&exporter.get("/sd").body).unwrap();
    assert_eq!(found[0]["labels"]["label_job"], "x");
}

#[test]
fn no_password_is_served_logged_or_kept() {
    let case = Case::new();
    let _lab = lab(&case.path("lab"), &Change::default());
    case.file("wrong", "wrong-battery-5Kp\n");
    let text = "[[target]]\nname = \"well\"\nconfig = \"lab/client.conf\"\nadmin-password-file = \"lab/admin-password\"\n\
                [[target]]\nname = \"wrong\"\nconfig = \"lab/client.conf\"\npassword-file = \"wrong\"\n\
                [[target]]\nname = \"variable\"\nconfig = \"lab/client.conf\"\npassword-env = \"NSSIGHT_TEST_PW\"\nuntil = \"private-key\"\n\
                [[target]]\nname = \"refused\"\nconfig = \"lab/client.conf\"\nadmin-password-file = \"wrong\"\n";
    let (targets, state) = (case.file("targets.toml", text), case.path("state"));
    let mut command = binary();
    command.args(["exporter", "--listen", "127.0.0.1:0", "--state"]).arg(&state).arg(&targets);
    let mut exporter = Exporter::spawn(command.env("NSSIGHT_TEST_PW", LAB_PASSWORD));
    let mut seen = String::new();
    let outcomes = ["well", "wrong", "variable", "refused"].map(|target| {
        let metrics = exporter.get(&format!("/probe?target={target}")).body;
        let page = exporter.get(&format!("/report?target={target}"));
        assert_eq!(page.status, 200);
        seen.push_str(&metrics);
        seen.push_str(&page.body);
        Metrics::read(&metrics).label("nssight_verdict_info", "cause").unwrap()
    });
    assert_eq!(outcomes, ["", "password-wrong", "", "request-auth-failed"]);
    for path in ["/", "/metrics", "/sd", "/healthz", "/nowhere"] {
        seen.push_str(&exporter.get(path).body);
    }
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(5)).unwrap().success());
    seen.push_str(&exporter.log());
    let mut files = 0;
    for entry in fs::read_dir(&state).unwrap() {
        seen.push_str(&fs::read_to_string(entry.unwrap().path()).unwrap());
        files += 1;
    }
    assert_eq!(files, 4);
    for password in [LAB_PASSWORD, ADMIN_PASSWORD, "wrong-battery-5Kp"] {
        let hexadecimal: String = password.bytes().map(|byte| format!("{byte:02x}")).collect();
        let base64 = openssl::base64::encode_block(password.as_bytes());
        for form in [password, &hexadecimal, base64.trim_end_matches('=')] {
            assert!(!seen.contains(form), "{form} is shown");
        }
    }
}

#[test]
fn a_supervisor_can_check_the_health_with_a_command() {
    let case = Case::new();
    let exporter = Exporter::start(&case.file("targets.toml", "[[target]]\nname = \"a\"\nconfig = \"a.conf\"\n"), &[]);
    let address = exporter.address.to_string();
    let ask = |listen: &str| run(binary().args(["exporter", "--healthcheck", "--listen", listen]));
    assert_eq!(ask(&address).code, Some(0));
    assert_eq!(ask(&format!("0.0.0.0:{}", exporter.address.port())).code, Some(0));
    drop(exporter);
    let gone = ask(&address);
    assert!(gone.code == Some(1) && gone.stderr.contains("no exporter answers"), "{gone:#?}");
    let other = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = other.local_addr().unwrap().port();
    let speaking = std::thread::spawn(move || {
        let (mut stream, _) = other.accept().unwrap();
        let _ = stream.read(&mut [0; 1024]);
        let _ = std::io::Write::write_all(&mut stream, b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n");
    });
    let strange = ask(&format!("127.0.0.1:{port}"));
    assert!(strange.code == Some(1) && strange.stderr.contains("SSH-2.0"), "{strange:#?}");
    speaking.join().unwrap();
}

#[test]
fn impossible_options_are_rejected_at_start() {
    let case = Case::new();
    let targets = case.file("targets.toml", "[[target]]\nname = \"a\"\nconfig = \"a.conf\"\n");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let taken = taken.local_addr().unwrap().to_string();
    let (broken, targets) = (case.file("broken.toml", "[[targets]]\n"), targets.to_str().unwrap());
    let file = case.file("file", "");
    let rows: &[&[&str]] = &[
        &["exporter"],
        &["exporter", "/nonexistent.toml"],
        &["exporter", broken.to_str().unwrap()],
        &["exporter", "--listen", "host.example:9744", targets],
        &["exporter", "--listen", &taken, targets],
        &["exporter", "--cache", "0", targets],
        &["exporter", "--jobs", "0", targets],
        &["exporter", "--listen", "127.0.0.1:0", "--state", file.to_str().unwrap(), targets],
        &["exporter", "--healthcheck", targets],
    ];
    for arguments in rows {
        let run = run(binary().args(*arguments));
        assert!(run.code == Some(2) && run.stdout.is_empty() && !run.stderr.is_empty(), "{arguments:?}: {run:#?}");
    }
}
