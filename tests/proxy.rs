//! An HTTP proxy between nssight and its peer: answers, refusals, and no effect on anything else.

mod common;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{Change, Target};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// A real proxy, on a port that the kernel chose.
struct Proxy {
    process: Child,
    port: u16,
}

impl Proxy {
    fn start(directory: &Path, more: &str) -> Self {
        // Another process may take the port before the proxy does; the proxy then ends at once.
        for _ in 0..20 {
            let port = free_port();
            let configuration = directory.join("tinyproxy.conf");
            let text = format!("Port {port}\nListen 127.0.0.1\nTimeout 60\nMaxClients 10\n{more}\n");
            fs::write(&configuration, text).expect("a configuration");
            let mut command = Command::new("tinyproxy");
            command.arg("-d").arg("-c").arg(&configuration).stdin(Stdio::null()).stdout(Stdio::null());
            let mut proxy = Self { process: command.stderr(Stdio::null()).spawn().expect("tinyproxy"), port };
            if proxy.listens() {
                return proxy;
            }
        }
        panic!("tinyproxy does not start");
    }

    fn listens(&mut self) -> bool {
        let until = Instant::now() + Duration::from_secs(60);
        while Instant::now() < until && matches!(self.process.try_wait(), Ok(None)) {
            if TcpStream::connect(("127.0.0.1", self.port)).is_ok() {
                return true;
            }
            thread::sleep(Duration::from_millis(20));
        }
        false
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("its number").port()
}

/// A check of the lab's plain peer, with these changes, and these options after the target's own.
fn walk(change: &str, words: &[&str]) -> Value {
    let directory = tempfile::tempdir().expect("a directory");
    let change = Change { target: Target::Files, ..toml::from_str(change).expect("a change") };
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).expect("a lab");
    let mut command = binary();
    run(command.arg("diagnose").args(lab.words()).args(["--format", "json", "--timeout", "5"]).args(words)).report()
}

fn told(report: &Value) -> [&str; 4] {
    ["status", "cause", "component", "confidence"].map(|key| report["verdict"][key].as_str().unwrap_or("-"))
}

fn fact<'a>(report: &'a Value, id: &str) -> Option<&'a str> {
    let mut facts =
        report["probes"].as_array()?.iter().flat_map(|probe| probe["facts"].as_array().into_iter().flatten());
    facts.find(|fact| fact["id"] == id)?["text"].as_str()
}

#[test]
fn a_healthy_peer_is_healthy_through_a_proxy() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(directory.path(), "");
    for engine in ["openssl", "nss"] {
        let report = walk("", &["--proxy", &format!("localhost:{}", proxy.port), "--engine", engine]);
        assert_eq!(told(&report), ["pass", "-", "-", "certain"], "{engine}: {report:#}");
        assert_eq!(report["connections_opened"], 1);
        assert_eq!(fact(&report, "proxy.answered"), Some("connected"));
    }
}

#[test]
fn faults_behind_a_proxy_get_the_same_verdict_as_without_one() {
    let directory = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(directory.path(), "");
    let through = format!("127.0.0.1:{}", proxy.port);
    for change in [
        "client = 'other-ca'",
        "client = 'expired'\nbridge-tls = 'tls1.3'",
        "bridge = 'other-ca'",
        "bridge = 'other-name'",
        "bridge = 'expired'",
        "outer = 'ssh'",
        "outer = 'alert'\nnumber = 40",
        "outer = 'silent-after-hello'",
    ] {
        let (with, without) = (walk(change, &["--proxy", &through]), walk(change, &[]));
        assert_eq!(told(&with), told(&without), "{change}: {with:#}");
        assert_ne!(told(&with)[0], "pass", "{change}");
    }
}

#[test]
fn a_proxy_that_does_not_connect_is_not_the_peer() {
    let directory = tempfile::tempdir().unwrap();
    let open = Proxy::start(directory.path(), "");
    let narrow_place = tempfile::tempdir().unwrap();
    let narrow = Proxy::start(narrow_place.path(), "ConnectPort 443");
    let locked_place = tempfile::tempdir().unwrap();
    let locked = Proxy::start(locked_place.path(), "BasicAuth user secret");
    let [open, narrow, locked] = [&open, &narrow, &locked].map(|proxy| format!("127.0.0.1:{}", proxy.port));
    let nobody = format!("127.0.0.1:{}", free_port());
    let cases = [
        ("", narrow.as_str(), ["fail", "proxy-refused", "network", "certain"]),
        ("", &locked, ["fail", "proxy-refused", "client-config", "certain"]),
        ("port = 'closed'", &open, ["fail", "proxy-refused", "peer", "likely"]),
        ("", &nobody, ["fail", "proxy-unreachable", "client-config", "likely"]),
        ("", "nowhere.invalid:3128", ["fail", "name-unresolved", "network", "likely"]),
    ];
    for (change, proxy, expected) in cases {
        let report = walk(change, &["--proxy", proxy]);
        assert_eq!(told(&report), expected, "{change} {proxy}: {report:#}");
    }
}

#[test]
fn a_peer_that_is_not_a_proxy_is_reported() {
    // The lab's peer with an SSH greeting takes the place of the proxy, and a second peer behind it is never reached.
    let directory = tempfile::tempdir().unwrap();
    let change = Change { target: Target::Files, ..toml::from_str("outer = 'ssh'").unwrap() };
    let ssh = Deployment::start(directory.path(), &change, DbFormat::Sql).unwrap();
    let words = ssh.words();
    let peer = words.iter().map(|word| word.to_string_lossy()).find(|word| word.contains(':')).expect("HOST:PORT");
    let report = walk("", &["--proxy", &peer]);
    assert_eq!(told(&report)[1..3], ["proxy-refused", "client-config"], "{report:#}");
    assert_eq!(fact(&report, "proxy.said").map(|said| said.starts_with("SSH-2.0")), Some(true));
}

#[test]
fn an_unencrypted_greeting_passes_the_proxy() {
    // The lab's peer with a mail greeting gets a request in the clear to start TLS, and does not answer it.
    let directory = tempfile::tempdir().unwrap();
    let proxy = Proxy::start(directory.path(), "");
    let through = format!("127.0.0.1:{}", proxy.port);
    let words = ["--starttls", "smtp"];
    let with = walk("outer = 'smtp'", &[words[0], words[1], "--proxy", &through]);
    let without = walk("outer = 'smtp'", &words);
    assert_eq!(told(&with), told(&without), "{with:#}");
    assert_eq!(told(&with)[1], "starttls-refused");
}
