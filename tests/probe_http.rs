//! `--probe http`: the reaction of a plain peer's application after the handshake. nginx completes every handshake and refuses a
//! certificate in HTTP; Apache requires one only for a part of a site.

mod common;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{Case, NICKNAME, PKI, Run, binary, run};
use nssight_fixtures::authority::Identity;
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;

/// A server of another project, ended when this value is dropped.
struct Server {
    child: Child,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn started(case: &Case, port: u16, command: &mut Command) -> Server {
    let said = fs::File::create(case.path("said")).unwrap();
    let child = command.stdin(Stdio::null()).stdout(said.try_clone().unwrap()).stderr(said).spawn();
    let mut server = Server { child: child.expect("nginx and Apache must be installed (make deps)"), port };
    let until = Instant::now() + Duration::from_secs(20);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let said = || fs::read_to_string(case.path("said")).unwrap();
        assert!(server.child.try_wait().unwrap().is_none() && Instant::now() < until, "{}", said());
        std::thread::sleep(Duration::from_millis(10));
    }
    server
}

fn files(case: &Case) {
    case.file("server.pem", PKI.bridge.certificate.to_pem().unwrap());
    case.file("server.key", PKI.bridge.key.private_key_to_pem_pkcs8().unwrap());
    case.file("ca.pem", PKI.ca.certificate.to_pem().unwrap());
}

/// The paths on Debian and Fedora.
fn first(places: &[&'static str]) -> &'static str {
    places.iter().find(|place| Path::new(place).exists()).expect("nginx and Apache must be installed (make deps)")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// nginx that requires a certificate, with this version of TLS and additional lines for its site.
fn nginx(case: &Case, version: &str, site: &str) -> Server {
    files(case);
    let (directory, port) = (case.dir.path().display(), free_port());
    let text = format!(
        "daemon off; master_process off; pid {directory}/pid; error_log stderr; events {{ }}
http {{ access_log off; client_body_temp_path {directory}/a; proxy_temp_path {directory}/b; fastcgi_temp_path {directory}/c;
uwsgi_temp_path {directory}/d; scgi_temp_path {directory}/e;
server {{ listen 127.0.0.1:{port} ssl; ssl_protocols {version}; ssl_certificate {directory}/server.pem; ssl_certificate_key {directory}/server.key;
ssl_client_certificate {directory}/ca.pem; {site} }} }}\n"
    );
    let config = case.file("nginx.conf", text);
    started(case, port, Command::new("/usr/sbin/nginx").arg("-c").arg(config).args(["-e", "stderr"]))
}

/// Apache with these lines for its site.
fn apache(case: &Case, version: &str, site: &str) -> Server {
    files(case);
    let (directory, port, modules) =
        (case.dir.path().display(), free_port(), first(&["/usr/lib/apache2/modules", "/etc/httpd/modules"]));
    let text = format!(
        "ServerRoot {directory}\nServerName localhost\nListen 127.0.0.1:{port}\nPidFile {directory}/pid\nErrorLog /dev/stderr\n\
         Mutex file:{directory}\nLoadModule mpm_event_module {modules}/mod_mpm_event.so\n\
         LoadModule authz_core_module {modules}/mod_authz_core.so\n\
         LoadModule socache_shmcb_module {modules}/mod_socache_shmcb.so\nLoadModule ssl_module {modules}/mod_ssl.so\n\
         SSLEngine on\nSSLProtocol {version}\nSSLCertificateFile {directory}/server.pem\nSSLCertificateKeyFile {directory}/server.key\n\
         SSLCACertificateFile {directory}/ca.pem\nSSLVerifyDepth 5\nSSLSessionCache none\n{site}\n"
    );
    let config = case.file("httpd.conf", text);
    started(case, port, Command::new(first(&["/usr/sbin/apache2", "/usr/sbin/httpd"])).arg("-X").arg("-f").arg(config))
}

/// Sends the request to the server at this port, with this certificate or none.
fn asked(case: &Case, port: u16, identity: Option<&Identity>) -> Run {
    let database = case.database_of(DbFormat::Sql, identity.unwrap_or(&PKI.client), &[("lab-ca", &PKI.ca, "CT,C,C")]);
    let mut command = binary();
    command
        .args(["diagnose", &format!("localhost:{port}"), "--format", "json", "--probe", "http", "--db"])
        .arg(database);
    if identity.is_some() {
        command.args(["--nickname", NICKNAME]);
    }
    let run = run(command.arg("--password-file").arg(case.password_file()));
    assert_eq!(run.report()["connections_opened"], 1, "{run:#?}");
    run
}

fn told(run: &Run) -> String {
    let verdict = run.report()["verdict"].clone();
    let text = |name: &str| verdict[name].as_str().unwrap_or("-").to_owned();
    ["status", "cause", "component", "confidence"].map(text).join(" ")
}

fn fact(run: &Run, id: &str) -> String {
    let report = run.report();
    let facts =
        report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap().clone());
    let found = facts.filter(|fact| fact["id"] == id).map(|fact| fact["value"].to_string()).next_back();
    found.unwrap_or_default().trim_matches('"').to_owned()
}

const VERSIONS: [&str; 2] = ["TLSv1.2", "TLSv1.3"];

#[test]
fn an_answer_confirms_the_certificate() {
    for version in VERSIONS {
        let case = Case::new();
        let server = nginx(&case, version, "ssl_verify_client on; location / { return 204; }");
        let run = asked(&case, server.port, Some(&PKI.client));
        assert_eq!(told(&run), "pass - - certain", "{version} {run:#?}");
        assert_eq!([fact(&run, "application.answer"), fact(&run, "application.status")], ["answered", "204"]);
    }
}

#[test]
fn a_certificate_that_nginx_refuses_in_http_is_told() {
    for version in VERSIONS {
        let case = Case::new();
        let server = nginx(&case, version, "ssl_verify_client on; location / { return 204; }");
        let stranger = asked(&case, server.port, Some(&PKI.stranger));
        assert!(told(&stranger).starts_with("fail client-c"), "{version} {stranger:#?}");
        assert_eq!(told(&stranger), "fail client-ca-not-acceptable client-db likely", "{version} {stranger:#?}");
        assert_eq!(fact(&stranger, "application.status"), "400");
        let case = Case::new();
        let none = asked(&case, server.port, None);
        assert_eq!(told(&none), "fail client-cert-missing client-config likely", "{version} {none:#?}");
    }
}

#[test]
fn the_codes_for_certificates_are_known() {
    let case = Case::new();
    let site = "ssl_verify_client optional_no_ca; location / { if ($ssl_client_verify != SUCCESS) { return 495; } return 204; }";
    let server = nginx(&case, "TLSv1.3", site);
    let run = asked(&case, server.port, Some(&PKI.stranger));
    assert!(told(&run).starts_with("fail client-c"), "{run:#?}");
}

#[test]
fn a_page_that_is_forbidden_is_no_failure() {
    for (version, how) in [("TLSv1.2", "nginx"), ("TLSv1.3", "nginx"), ("TLSv1.2", "apache"), ("TLSv1.3", "apache")] {
        let case = Case::new();
        let server = match how {
            "nginx" => nginx(&case, version, "ssl_verify_client on; location / { return 403; }"),
            _ => apache(&case, version, "SSLVerifyClient require\n<Location />\nRequire all denied\n</Location>"),
        };
        let run = asked(&case, server.port, Some(&PKI.client));
        assert!(told(&run).starts_with("pass - - "), "{how} {version} {run:#?}");
        assert_eq!(fact(&run, "application.answer"), "forbidden", "{how} {version} {run:#?}");
        let warned =
            run.report()["probes"].as_array().unwrap().iter().any(|probe| probe["cause"] == "application-refused");
        assert!(warned, "{run:#?}");
    }
}

#[test]
fn apache_answers_and_refuses() {
    for version in VERSIONS {
        let case = Case::new();
        let server = apache(&case, version, "SSLVerifyClient require");
        let run = asked(&case, server.port, Some(&PKI.client));
        assert_eq!(told(&run), "pass - - certain", "{version} {run:#?}");
        let case = Case::new();
        let stranger = asked(&case, server.port, Some(&PKI.stranger));
        assert!(told(&stranger).starts_with("fail client-c"), "{version} {stranger:#?}");
        assert!(told(&stranger).ends_with("likely"), "{version} {stranger:#?}");
    }
}

/// A peer that is not an HTTP server is not at fault for that, and has not judged our certificate.
#[test]
fn a_peer_with_another_protocol_is_healthy() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let run = asked_briefly(&case, endpoint.port());
    assert!(told(&run).starts_with("pass"), "{run:#?}");
    assert_eq!(fact(&run, "application.answer"), "none");
}

fn asked_briefly(case: &Case, port: u16) -> Run {
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{port}"), "--format", "json", "--probe", "http", "--timeout", "2"]);
    command.args(["--nickname", NICKNAME, "--db"]).arg::<&Path>(&database);
    run(command.arg("--password-file").arg(case.password_file()))
}

/// Without the option no request is sent, and the report has no such layer.
#[test]
fn no_request_is_sent_without_the_option() {
    let case = Case::new();
    let server = nginx(&case, "TLSv1.3", "ssl_verify_client on; location / { return 204; }");
    let database = case.database(DbFormat::Sql);
    let mut command = binary();
    command.args(["diagnose", &format!("localhost:{}", server.port), "--format", "json", "--nickname", NICKNAME]);
    let run = run(command.arg("--db").arg(database).arg("--password-file").arg(case.password_file()));
    let report = run.report();
    assert!(report["probes"].as_array().unwrap().iter().all(|probe| probe["layer"] != "request"), "{run:#?}");
}
