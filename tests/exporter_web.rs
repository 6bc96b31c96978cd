//! The exporter with a web configuration file: real curl over TLS, with passwords and with certificates; and the exporter's log.

mod common;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::exporter::Exporter;
use common::{Case, PKI, binary, run};
use nssight_fixtures::authority::{Identity, Spec, Usage};
use rustix::process::Signal;
use serde_json::Value;

const USER: &str = "prometheus";
const PASSWORD: &str = "correct-horse-7Qx: staple";

/// The result of curl.
#[derive(Debug)]
struct Fetched {
    /// curl's own exit code.
    code: i32,
    status: String,
    text: String,
}

/// Fetches a page with curl, which gets its options on standard input, as required for a password.
fn curl(exporter: &Exporter, path: &str, options: &str) -> Fetched {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--include", "--max-time", "120", "--config", "-"]);
    command.env_remove("https_proxy").env_remove("HTTPS_PROXY").args(["--noproxy", "*"]);
    let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut child = child.expect("curl must be installed (make deps)");
    let scheme = if exporter.log().contains("https://") { "https" } else { "http" };
    let config = format!("url = \"{scheme}://{}{path}\"\n{options}\n", exporter.address);
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), config.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let text = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let status = text.split(' ').nth(1).filter(|_| text.starts_with("HTTP/1.1 ")).unwrap_or_default().to_owned();
    Fetched { code: output.status.code().unwrap(), status, text }
}

fn user(password: &str) -> String {
    format!("user = \"{USER}:{password}\"")
}

fn pem(case: &Case, name: &str, identity: &Identity) {
    case.file(&format!("{name}.pem"), identity.certificate.to_pem().unwrap());
    case.file(&format!("{name}.key"), identity.key.private_key_to_pem_pkcs8().unwrap());
}

fn hash(cost: u32) -> String {
    bcrypt::hash(PASSWORD, cost).unwrap()
}

const TLS: &str = "tls_server_config:\n  cert_file: server.pem\n  key_file: server.key\n";

/// A case with a server certificate, client certificates and a target.
fn case() -> (Case, PathBuf) {
    let case = Case::new();
    pem(&case, "server", &PKI.bridge);
    pem(&case, "client", &PKI.client);
    pem(&case, "stranger", &PKI.stranger);
    case.file("ca.pem", PKI.ca.certificate.to_pem().unwrap());
    let targets = case.file("targets.toml", "[[target]]\nname = \"a\"\nconfig = \"a.conf\"\n");
    (case, targets)
}

fn start(case: &Case, targets: &Path, web: &str) -> Exporter {
    let web = case.file("web.yml", web);
    Exporter::start(targets, &["--web-config", web.to_str().unwrap()])
}

fn trusting(case: &Case) -> String {
    format!("cacert = \"{}\"", case.path("ca.pem").display())
}

fn with_certificate(case: &Case, name: &str) -> String {
    let path = case.path(name);
    format!("{}\ncert = \"{}.pem\"\nkey = \"{}.key\"", trusting(case), path.display(), path.display())
}

#[test]
fn over_tls_every_page_except_the_health_check_needs_a_password() {
    let (case, targets) = case();
    let headers = "http_server_config:\n  headers:\n    Strict-Transport-Security: max-age=60\n    Content-Security-Policy: default-src *\n";
    let web = format!("{TLS}{headers}basic_auth_users:\n  {USER}: \"{}\"\n", hash(4));
    let exporter = start(&case, &targets, &web);
    assert!(exporter.log().contains("listening on https://"), "{}", exporter.log());
    let trusting = trusting(&case);
    let ask = |path: &str, options: &str| curl(&exporter, path, &format!("{trusting}\n{options}"));
    for path in ["/", "/metrics", "/sd", "/probe?target=a", "/report?target=a", "/nowhere"] {
        let without = ask(path, "");
        assert!(without.status == "401" && without.text.contains("Basic realm=\"nssight\""), "{path}: {without:#?}");
        for wrong in
            [user("wrong"), user(""), "user = \"nobody:x\"".to_owned(), format!("user = \"nobody:{PASSWORD}\"")]
        {
            let refused = ask(path, &wrong);
            assert!(refused.status == "401" && !refused.text.contains("nssight_"), "{path}: {refused:#?}");
        }
    }
    assert_eq!(ask("/healthz", "").status, "200");
    let page = ask("/", &user(PASSWORD));
    assert!(page.status == "200" && page.text.contains("No target was checked yet"), "{page:#?}");
    // The policy of a page is stricter than that of the file, which applies to answers without one.
    assert!(page.text.contains("max-age=60") && !page.text.contains("default-src *"), "{page:#?}");
    assert!(ask("/metrics", &user(PASSWORD)).text.contains("default-src *"));
    // A correct password is accepted and a wrong one refused, whether remembered or not.
    for _ in 0..2 {
        assert_eq!(ask("/probe?target=a", &user(PASSWORD)).status, "200");
        assert_eq!(ask("/probe?target=a", &user("wrong")).status, "401");
    }
    // The host check still applies, and comes first.
    assert_eq!(ask("/healthz", "header = \"Host: evil.example\"").status, "421");
    // curl trusts no other CA.
    assert_eq!(curl(&exporter, "/healthz", "").code, 60);
    // A client without TLS gets nothing.
    let plain = run(Command::new("curl")
        .args(["--silent", "--max-time", "60"])
        .arg(format!("http://{}/healthz", exporter.address)));
    assert!(plain.code != Some(0) && plain.stdout.is_empty(), "{plain:#?}");
    let log = exporter.log();
    assert!(!log.contains("correct-horse") && !log.contains("$2"), "{log}");
}

#[test]
fn client_certificates_are_asked_for_and_verified() {
    let (case, targets) = case();
    // The type, and the results without a certificate, with one of ours, and with a stranger's.
    for (kind, without, with, stranger) in [
        ("RequireAndVerifyClientCert", false, true, false),
        ("VerifyClientCertIfGiven", true, true, false),
        ("RequireAnyClientCert", false, true, true),
        ("RequestClientCert", true, true, true),
    ] {
        for version in ["TLS12", "TLS13"] {
            let authority = if kind.contains("Verify") { "  client_ca_file: ca.pem\n" } else { "" };
            let web = format!(
                "{TLS}  client_auth_type: {kind}\n{authority}  min_version: {version}\n  max_version: {version}\n"
            );
            let exporter = start(&case, &targets, &web);
            let gets = |options: &str| {
                let fetched = curl(&exporter, "/metrics", options);
                assert_eq!(fetched.code == 0, fetched.status == "200", "{kind} {version}: {fetched:#?}");
                fetched.code == 0
            };
            assert_eq!(gets(&trusting(&case)), without, "{kind} {version}");
            assert_eq!(gets(&with_certificate(&case, "client")), with, "{kind} {version}");
            assert_eq!(gets(&with_certificate(&case, "stranger")), stranger, "{kind} {version}");
            // A supervisor has no certificate, and still detects that the exporter is running. In TLS 1.3 its request follows at once,
            // so a close with this request unread would now and then replace the alert by a reset.
            for _ in 0..if version == "TLS13" && !without { 40 } else { 1 } {
                let asked = run(binary()
                    .args(["exporter", "--healthcheck", "--listen", &exporter.address.to_string(), "--web-config"])
                    .arg(case.path("web.yml")));
                assert_eq!(asked.code, Some(0), "{kind} {version}: {asked:#?}");
            }
        }
    }
}

#[test]
fn versions_and_suites_are_those_of_the_file() {
    let (case, targets) = case();
    let web = format!("{TLS}  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n");
    let exporter = start(&case, &targets, &web);
    let with = |options: &str| curl(&exporter, "/healthz", &format!("{}\n{options}", trusting(&case))).code == 0;
    assert!(with("") && with("ciphers = \"ECDHE-RSA-AES256-GCM-SHA384\""));
    assert!(!with("tlsv1.3") && !with("ciphers = \"ECDHE-RSA-AES128-GCM-SHA256\""));
}

#[test]
fn guessing_passwords_holds_up_nobody() {
    let (case, targets) = case();
    // In a test build each password check takes seconds.
    let exporter = start(&case, &targets, &format!("basic_auth_users:\n  {USER}: \"{}\"\n", hash(11)));
    assert_eq!(curl(&exporter, "/metrics", &user(PASSWORD)).status, "200");
    let (refused, busy) = (AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for number in 0..40 {
            let (exporter, refused, busy) = (&exporter, &refused, &busy);
            scope.spawn(move || match curl(exporter, "/metrics", &user(&format!("guess {number}"))).status.as_str() {
                "401" => refused.fetch_add(1, Ordering::SeqCst),
                "503" => busy.fetch_add(1, Ordering::SeqCst),
                other => panic!("{other}"),
            });
        }
        let until = Instant::now() + Duration::from_secs(60);
        while busy.load(Ordering::SeqCst) == 0 {
            assert!(Instant::now() < until, "nobody was put off");
            std::thread::sleep(Duration::from_millis(10));
        }
        // More rounds of the event loop than waiting passwords: if the loop checked them itself, all would be checked by then.
        for _ in 0..10 {
            assert_eq!(exporter.get("/healthz").status, 200);
            let known = openssl::base64::encode_block(format!("{USER}:{PASSWORD}").as_bytes());
            assert_eq!(exporter.get_with("/metrics", &[("Authorization", &format!("Basic {known}"))]).status, 200);
        }
        assert!(refused.load(Ordering::SeqCst) < 8, "the pages had to wait for the guesses");
    });
    assert_eq!(refused.load(Ordering::SeqCst) + busy.load(Ordering::SeqCst), 40);
    assert!(refused.load(Ordering::SeqCst) > 0);
}

#[test]
fn a_renewed_certificate_and_other_users_are_picked_up() {
    let (case, targets) = case();
    let exporter = start(&case, &targets, &format!("{TLS}basic_auth_users:\n  {USER}: \"{}\"\n", hash(4)));
    let trusting = trusting(&case);
    let status = |password: &str| curl(&exporter, "/sd", &format!("{trusting}\n{}", user(password))).status;
    assert_eq!((status(PASSWORD).as_str(), status("another").as_str()), ("200", "401"));
    let until_logged = |what: &str| {
        let until = Instant::now() + Duration::from_secs(30);
        exporter.signal(Signal::HUP);
        while !exporter.log().contains(what) {
            assert!(Instant::now() < until, "{what}: {}", exporter.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    };
    // An unusable file changes nothing.
    case.file("web.yml", "tls_server_config: {}\n");
    until_logged("the web configuration remains unchanged");
    assert_eq!(status(PASSWORD), "200");
    let renewed = PKI.ca.issue(&Spec::new("renewed", Usage::Server).names(&["127.0.0.1"])).unwrap();
    pem(&case, "server", &renewed);
    let other = bcrypt::hash("another", 4).unwrap();
    case.file("web.yml", format!("{TLS}basic_auth_users:\n  {USER}: \"{other}\"\n"));
    until_logged("reloaded the web configuration");
    assert_eq!((status(PASSWORD).as_str(), status("another").as_str()), ("401", "200"));
    let seen = curl(&exporter, "/healthz", &format!("{trusting}\nverbose"));
    assert!(seen.text.contains("CN=renewed"), "{seen:#?}");
}

#[test]
fn a_configuration_is_checked_without_a_start() {
    let (case, targets) = case();
    let checked = |web: Option<&str>, targets: &Path| {
        let mut command = binary();
        // Nothing listens on this address, which belongs to no host.
        command.args(["exporter", "--check-config", "--listen", "192.0.2.1:1", "--state"]).arg(case.path("never"));
        if let Some(web) = web {
            command.arg("--web-config").arg(case.file("web.yml", web));
        }
        run(command.arg(targets))
    };
    let good = checked(None, &targets);
    assert!(
        good.code == Some(0) && good.stdout.ends_with("targets.toml: 1 target\n") && good.stderr.is_empty(),
        "{good:#?}"
    );
    let users = format!("basic_auth_users:\n  a: \"{}\"\n  b: \"{}\"\n", hash(4), hash(4));
    for (web, says) in [
        (String::new(), "web.yml: no TLS, no passwords\n"),
        (format!("{TLS}{users}"), "web.yml: TLS, 2 users\n"),
        (
            format!("{TLS}  client_auth_type: RequireAnyClientCert\n"),
            "web.yml: TLS, with client certificates, no passwords\n",
        ),
    ] {
        let run = checked(Some(&web), &targets);
        assert!(run.code == Some(0) && run.stdout.ends_with(says), "{web}: {run:#?}");
    }
    let broken = case.file("broken.toml", "[[target]]\nname = 7\n");
    let wrong = checked(Some("tls_config: {}\n"), &broken);
    assert!(wrong.code == Some(2) && wrong.stderr.lines().count() == 3, "{wrong:#?}");
    assert!(wrong.stderr.contains("broken.toml:2") && wrong.stderr.contains("web.yml:1: "), "{wrong:#?}");
    case.file("empty.pem", "");
    let other = "tls_server_config:\n  cert_file: server.pem\n  key_file: client.key\n".to_owned();
    for (web, says) in [
        (
            "tls_server_config:\n  cert_file: missing.pem\n  key_file: server.key\n".to_owned(),
            "missing.pem: No such file",
        ),
        (
            "tls_server_config:\n  cert_file: empty.pem\n  key_file: server.key\n".to_owned(),
            "empty.pem: it has no certificate",
        ),
        ("tls_server_config:\n  cert_file: server.pem\n  key_file: server.pem\n".to_owned(), "no PEM private key"),
        (other, "does not belong to"),
        (format!("{TLS}  client_auth_type: Maybe\n"), "Maybe"),
        (format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n"), "needs a client_ca_file"),
        (format!("{TLS}  client_ca_file: ca.pem\n"), "needs a client_auth_type"),
        (
            format!("{TLS}  client_auth_type: VerifyClientCertIfGiven\n  client_ca_file: empty.pem\n"),
            "it has no certificate",
        ),
        (format!("{TLS}  min_version: TLS11\n"), "TLS11"),
        (format!("{TLS}  min_version: TLS13\n  max_version: TLS12\n"), "above max_version"),
        (format!("{TLS}  cipher_suites: [TLS_RSA_WITH_RC4_128_SHA]\n"), "TLS_RSA_WITH_RC4_128_SHA is not supported"),
        (format!("{TLS}  client_allowed_sans: [a]\n"), "client_allowed_sans"),
        ("http_server_config:\n  headers:\n    Set-Cookie: a\n".to_owned(), "Set-Cookie cannot be set"),
        ("http_server_config:\n  headers:\n    X-Frame-Options: \"a\\nb\"\n".to_owned(), "X-Frame-Options"),
        ("basic_auth_users:\n  a: plain-text-4Wz\n".to_owned(), "\"a\" is not a bcrypt hash"),
        (format!("basic_auth_users:\n  a: \"{}\"\n", hash(4).replacen("$04$", "$31$", 1)), "has cost 31"),
        ("rate_limit:\n  burst: 1\n".to_owned(), "rate_limit"),
    ] {
        let run = checked(Some(&web), &targets);
        assert!(run.code == Some(2) && run.stdout.is_empty() && run.stderr.contains(says), "{web}: {run:#?}");
        assert!(run.stderr.lines().count() == 2 && run.stderr.contains("web.yml"), "{web}: {run:#?}");
        assert!(!run.stderr.contains("plain-text-4Wz"), "{run:#?}");
    }
    assert!(!case.path("never").exists(), "nothing was started");
}

#[test]
fn the_log_has_levels_and_json() {
    let (case, _) = case();
    let name = "odd\u{202e}\u{1b}[31m\nname";
    let text = format!("[[target]]\nname = {name:?}\nconfig = \"missing.conf\"\n")
        .replace("\\u{202e}", "\\u202e")
        .replace("\\u{1b}", "\\u001b");
    let targets = case.file("odd.toml", text);
    let encoded: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/probe?target={encoded}");
    let json = Exporter::start(&targets, &["--log-format", "json", "--log-level", "debug"]);
    assert_eq!(json.get(&path).status, 200);
    let logged = |exporter: &Exporter, what: &str| {
        let until = Instant::now() + Duration::from_secs(20);
        while !exporter.log().contains(what) {
            assert!(Instant::now() < until, "{what}: {}", exporter.log());
            std::thread::sleep(Duration::from_millis(20));
        }
        exporter.log()
    };
    let log = logged(&json, "GET /probe");
    let events: Vec<Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect();
    let first = events.iter().find(|event| event["message"] == "first verdict").unwrap_or_else(|| panic!("{log}"));
    assert_eq!((&first["level"], &first["verdict"]), (&"INFO".into(), &"fail config config-missing".into()));
    assert!(first["timestamp"].is_string() && first["checked"].as_str().unwrap().starts_with("odd"), "{first}");
    let text = Exporter::start(&targets, &[]);
    assert_eq!(text.get(&path).status, 200);
    let shown = logged(&text, "first verdict");
    assert!(!shown.contains("GET ") && shown.contains(" INFO "), "{shown}");
    for log in [&log, &shown] {
        assert!(!log.contains('\u{202e}') && !log.contains('\u{1b}'), "{log:?}");
    }
    let lines: Vec<&str> = shown.lines().collect();
    assert!(lines.iter().all(|line| line.starts_with("20")), "an event is one line: {shown}");
    // At level error a healthy exporter logs nothing, so its port is unknown: the previous one is used.
    let quiet = case.path("quiet.log");
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut child = common::fresh();
    child.args(["exporter", "--log-level", "error", "--listen", &port.to_string()]).arg(&targets);
    let mut child = child.stderr(fs::File::create(&quiet).unwrap()).spawn().unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    while run(binary().args(["exporter", "--healthcheck", "--listen", &port.to_string()])).code != Some(0) {
        assert!(Instant::now() < until, "it does not answer");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(fs::read_to_string(&quiet).unwrap(), "");
}
