//! What `nssight exporter` survives: hostile and careless peers, signals, and a full disk.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::exporter::{Exporter, Metrics, children_of};
use common::{Case, NICKNAME, PKI, binary};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::DbFormat;
use rustix::net::sockopt;
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, setrlimit, test_kill_process};

/// A healthy target, checked once so that its result is in the cache.
fn walked(case: &Case) -> (Endpoint, Exporter) {
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let exporter = Exporter::start(&targets(case, endpoint.port()), &[]);
    assert_eq!(exporter.probe("t").value("probe_success"), Some(1.0));
    (endpoint, exporter)
}

fn targets(case: &Case, port: u16) -> PathBuf {
    case.database(DbFormat::Sql);
    case.password_file();
    let text = format!(
        "[[target]]\nname = \"t\"\ndb = \"db\"\nnickname = \"{NICKNAME}\"\npassword-file = \"pw\"\nbridge = \"localhost:{port}\"\n\
         until = \"outer-handshake\"\ntimeout = 30\n"
    );
    case.file("targets.toml", text)
}

/// A scrape like Prometheus's must be answered long before it gives up, even on a machine that is busy with other
/// tests.
fn scrape(exporter: &Exporter) {
    let answer = exporter.get_with("/probe?target=t", &[("X-Prometheus-Scrape-Timeout-Seconds", "10")]);
    assert!(answer.status == 200 && answer.took < Duration::from_secs(10), "{answer:#?}");
    assert_eq!(Metrics::read(&answer.body).value("probe_success"), Some(1.0));
}

fn until(patience: u64, what: &str, mut is: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(patience);
    while !is() {
        assert!(Instant::now() < end, "{what} does not happen");
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_thousand_idle_connections_hold_up_nobody() {
    let case = Case::new();
    // The exporter has the usual number of descriptors; this end of a thousand connections needs more.
    let (endpoint, mut command) =
        (Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap(), Command::new("prlimit"));
    command.arg("--nofile=1024:1024").arg(env!("CARGO_BIN_EXE_nssight")).args(["exporter", "--listen", "127.0.0.1:0"]);
    let exporter = Exporter::spawn(command.arg(targets(&case, endpoint.port())));
    assert_eq!(exporter.probe("t").value("probe_success"), Some(1.0));
    let limit = getrlimit(Resource::Nofile);
    assert!(limit.maximum.is_none_or(|hard| hard >= 4096), "this test needs 4096 descriptors (ulimit -Hn): {limit:?}");
    setrlimit(Resource::Nofile, Rlimit { current: Some(4096), ..limit }).unwrap();
    let idle: Vec<TcpStream> = (0..1000)
        .map(|number| {
            let mut stream = TcpStream::connect(exporter.address).unwrap();
            // Some have begun a request and do not continue.
            if number % 3 == 0 {
                stream.write_all(b"GET /probe?target=t HTTP/1.1\r\nHost: lo").unwrap();
            }
            stream
        })
        .collect();
    for _ in 0..10 {
        scrape(&exporter);
    }
    let metrics = exporter.metrics();
    assert!(metrics.value("nssight_exporter_connections_evicted_total").unwrap() > 400.0, "{metrics:#?}");
    // They are closed automatically after their time limit.
    until(60, "the end of idle connections", || {
        exporter.get("/metrics").body.contains("nssight_exporter_connections 1\n")
    });
    drop(idle);
    scrape(&exporter);
}

#[test]
fn slow_readers_are_disconnected() {
    let case = Case::new();
    let (_endpoint, exporter) = walked(&case);
    let readers: Vec<TcpStream> = (0..20)
        .map(|_| {
            let mut stream = TcpStream::connect(exporter.address).unwrap();
            sockopt::set_socket_recv_buffer_size(&stream, 4096).unwrap();
            // More answers than the kernel buffers for a client that does not read.
            let requests = "GET /report?target=t HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(150);
            stream.set_write_timeout(Some(Duration::from_millis(200))).unwrap();
            let _ = stream.write_all(requests.as_bytes());
            stream
        })
        .collect();
    let over = Arc::new(AtomicBool::new(false));
    let trickle = std::thread::spawn({
        let (mut slowest, over) = (readers[0].try_clone().unwrap(), over.clone());
        move || {
            // A client that reads a byte now and then gets no more time.
            while !over.load(Ordering::SeqCst) && slowest.read(&mut [0; 1]).is_ok_and(|count| count > 0) {
                std::thread::sleep(Duration::from_millis(300));
            }
        }
    });
    for _ in 0..5 {
        scrape(&exporter);
        std::thread::sleep(Duration::from_millis(200));
    }
    until(60, "the end of slow readers", || exporter.get("/metrics").body.contains("nssight_exporter_connections 1\n"));
    over.store(true, Ordering::SeqCst);
    trickle.join().unwrap();
    scrape(&exporter);
}

#[test]
fn malformed_requests_are_refused_and_change_nothing() {
    let case = Case::new();
    let (endpoint, mut exporter) = walked(&case);
    let long = "a".repeat(64 * 1024);
    let requests: Vec<Vec<u8>> = vec![
        b"\r\n\r\n\r\n".to_vec(),
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec(),
        b"GET\r\n\r\n".to_vec(),
        b"GET / HTTP/9.9\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nHost\r\n\r\n".to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        b"GET /probe?target=%zz HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET http://127.0.0.1:1/ HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"CONNECT 127.0.0.1:1 HTTP/1.1\r\nHost: a\r\n\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n".to_vec(),
        b"POST /probe HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\n".to_vec(),
        b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\nzzz".to_vec(),
        format!("GET /{long} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: a\r\nX: {long}\r\n\r\n").into_bytes(),
        format!("GET / HTTP/1.1\r\nHost: a\r\n{}\r\n", "X: y\r\n".repeat(5000)).into_bytes(),
        format!("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n{long}").into_bytes(),
        [&b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n"[..], &(0..=255).cycle().take(100_000).collect::<Vec<u8>>()]
            .concat(),
        (0..200_000u32).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8).collect(),
    ];
    for request in &requests {
        let mut stream = TcpStream::connect(exporter.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(15))).unwrap();
        stream.set_write_timeout(Some(Duration::from_secs(5))).unwrap();
        // The request may be refused before it is complete.
        let _ = stream.write_all(request);
        let _ = stream.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        match stream.read_to_end(&mut answer) {
            Ok(_) => {}
            Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{}", request.escape_ascii()),
        }
        let shown = request[..request.len().min(80)].escape_ascii();
        assert!(answer.is_empty() || answer.starts_with(b"HTTP/1."), "{shown}: {}", answer.escape_ascii());
        assert_eq!(exporter.child.try_wait().unwrap(), None, "{shown} ended it");
    }
    scrape(&exporter);
    assert_eq!(endpoint.connections(), 1);
    assert!(exporter.log().lines().count() <= 3, "strangers do not fill the log: {}", exporter.log());
    assert!(exporter.metrics().value("process_resident_memory_bytes").unwrap() < 100e6);
}

/// A check that hangs in the handshake, with its worker.
fn hanging(case: &Case) -> (TcpListener, Exporter, Vec<u32>) {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let exporter = Exporter::start(&targets(case, silent.local_addr().unwrap().port()), &[]);
    let answer = exporter.get_with("/probe?target=t", &[("X-Prometheus-Scrape-Timeout-Seconds", "0.5")]);
    assert!(answer.body.contains("nssight_result_stale 1"), "{answer:#?}");
    until(60, "the walk's connection", || {
        silent.set_nonblocking(true).unwrap();
        silent.accept().is_ok_and(|(stream, _)| {
            // Kept open until the end of the test.
            std::mem::forget(stream);
            true
        })
    });
    let children = exporter.children();
    assert!(!children.is_empty());
    (silent, exporter, children)
}

#[test]
fn a_signal_in_the_middle_of_a_walk_ends_it_and_leaves_no_child() {
    for signal in [Signal::TERM, Signal::INT] {
        let case = Case::new();
        let (_silent, mut exporter, children) = hanging(&case);
        // A request that waits for the check is answered all the same.
        let address = exporter.address;
        let waiting = std::thread::spawn(move || common::exporter::get(address, "/probe?target=t", &[]));
        std::thread::sleep(Duration::from_millis(200));
        let signalled = Instant::now();
        exporter.signal(signal);
        let status = exporter.wait(Duration::from_secs(5)).expect("it ends within 5 s");
        assert!(status.success(), "{status}");
        assert!(signalled.elapsed() < Duration::from_secs(5));
        assert!(waiting.join().unwrap().body.contains("nssight_result_stale 1"));
        for child in children {
            let pid = Pid::from_raw(i32::try_from(child).unwrap()).unwrap();
            assert!(test_kill_process(pid).is_err(), "worker {child} is still there");
        }
        assert!(TcpStream::connect(address).is_err());
    }
}

#[test]
fn an_unresponsive_configuration_blocks_only_its_own_target() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let targets = targets(&case, endpoint.port());
    // A pipe without a writer stands for a file server that does not respond.
    rustix::fs::mkfifoat(rustix::fs::CWD, case.path("away.conf"), rustix::fs::Mode::RUSR).unwrap();
    let mut text = fs::read_to_string(&targets).unwrap();
    for number in 0..8 {
        text.push_str(&format!("[[target]]\nname = \"away{number}\"\nconfig = \"away.conf\"\n"));
    }
    fs::write(&targets, text).unwrap();
    let mut exporter = Exporter::start(&targets, &["--jobs", "1"]);
    for number in 0..8 {
        let hurried = [("X-Prometheus-Scrape-Timeout-Seconds", "0.2")];
        let answer = exporter.get_with(&format!("/probe?target=away{number}"), &hurried);
        assert_eq!(Metrics::read(&answer.body).value("probe_success"), Some(0.0));
    }
    scrape(&exporter);
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(5)).expect("it ends within 5 s").success());
}

#[test]
fn a_crash_of_the_exporter_leaves_no_child_either() {
    let case = Case::new();
    let (_silent, mut exporter, children) = hanging(&case);
    exporter.signal(Signal::KILL);
    exporter.wait(Duration::from_secs(5)).unwrap();
    until(60, "the worker's end", || {
        children.iter().all(|child| !Path::new(&format!("/proc/{child}")).exists() || is_zombie(*child))
    });
}

/// Whether a process has ended and was not waited for by the process that inherited it.
fn is_zombie(process: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_none_or(|(_, rest)| rest.starts_with('Z'))
}

/// The exporter continues, and reports the failure once, and its end once.
fn outlives_a_full_disk(exporter: &Exporter) {
    for round in 0..3 {
        let before = exporter.metrics().value("nssight_exporter_walks_total{outcome=\"pass\"}").unwrap_or(0.0);
        assert_eq!(exporter.probe("t").value("probe_success"), Some(1.0), "round {round}");
        std::thread::sleep(Duration::from_millis(150));
        assert!(exporter.metrics().value("nssight_exporter_walks_total{outcome=\"pass\"}").unwrap() > before);
    }
    let metrics = exporter.metrics();
    assert_eq!(metrics.value("nssight_exporter_state_writable"), Some(0.0));
    assert!(metrics.value("nssight_exporter_state_write_failures_total").unwrap() >= 3.0);
    assert_eq!(exporter.log().matches("cannot save results").count(), 1, "{}", exporter.log());
}

#[test]
fn a_full_disk_for_the_state_is_reported_once_and_survived() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let targets = targets(&case, endpoint.port());
    let state = case.path("state");
    fs::create_dir(&state).unwrap();
    // A separate file system that is full except for the data written now and then.
    let script = "mount -t tmpfs -o size=256k none \"$1\" && head -c 262144 /dev/zero > \"$1/full\"; \
                  exec \"$2\" exporter --listen 127.0.0.1:0 --cache 0.1 --state \"$1\" \"$3\"";
    let mut command = Command::new("unshare");
    command.args(["--mount", "--map-root-user", "sh", "-c", script, "sh"]);
    command.arg(&state).arg(env!("CARGO_BIN_EXE_nssight")).arg(&targets);
    let exporter = Exporter::spawn(&mut command);
    outlives_a_full_disk(&exporter);
    // Accessed through the exporter's own root, since only the exporter sees that file system.
    let inside = Path::new("/proc").join(exporter.child.id().to_string()).join("root");
    let inside = inside.join(state.strip_prefix("/").unwrap());
    let left = |()| fs::read_dir(&inside).unwrap().flatten().map(|entry| entry.file_name()).collect::<Vec<_>>();
    assert_eq!(left(()), ["full"], "nothing half written is left");
    fs::write(inside.join("full"), "").unwrap();
    let writable = || exporter.metrics().value("nssight_exporter_state_writable") == Some(1.0);
    until(60, "the disk's recovery", || exporter.probe("t").value("probe_success") == Some(1.0) && writable());
    assert_eq!(exporter.log().matches("can be saved again").count(), 1, "{}", exporter.log());
}

#[test]
fn a_limit_on_the_size_of_files_is_survived_too() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let targets = targets(&case, endpoint.port());
    let mut command = Command::new("prlimit");
    command.arg("--fsize=1024").arg(env!("CARGO_BIN_EXE_nssight")).args(["exporter", "--listen", "127.0.0.1:0"]);
    command.args(["--cache", "0.1", "--state"]).arg(case.path("state")).arg(&targets);
    outlives_a_full_disk(&Exporter::spawn(&mut command));
}

#[test]
fn a_damaged_state_is_left_aside() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let targets = targets(&case, endpoint.port());
    let state = case.path("state");
    let option = ["--state", state.to_str().unwrap()];
    drop(walked_at(&targets, &option));
    let kept = fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    let whole = fs::read(&kept).unwrap();
    let other_kind = String::from_utf8(whole.clone()).unwrap().replace("exporter-state/1", "exporter-state/2");
    for damaged in
        [&whole[..whole.len() / 2], b"", b"null", &[0xff; 4096], "[".repeat(100_000).as_bytes(), other_kind.as_bytes()]
    {
        fs::write(&kept, damaged).unwrap();
        let before = endpoint.connections();
        let exporter = walked_at(&targets, &option);
        assert_eq!(endpoint.connections(), before + 1);
        assert!(exporter.log().contains("ignoring the result"), "{}", exporter.log());
    }
}

fn walked_at(targets: &Path, options: &[&str]) -> Exporter {
    let exporter = Exporter::start(targets, options);
    assert_eq!(exporter.probe("t").value("probe_success"), Some(1.0));
    exporter
}

#[test]
fn the_exporter_runs_without_a_usable_log() {
    let case = Case::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let targets = targets(&case, endpoint.port());
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut command = binary();
    command.args(["exporter", "--listen", &port.to_string()]).arg(targets);
    command.stderr(fs::File::options().write(true).open("/dev/full").unwrap()).arg0("nssight");
    let mut child = command.spawn().unwrap();
    until(60, "that it listens", || TcpStream::connect(port).is_ok());
    let answer = common::exporter::get(port, "/probe?target=t", &[]);
    let children = children_of(child.id());
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answer.body.contains("probe_success 1"), "{answer:#?}, {children:?}");
}

#[test]
fn an_unresponsive_targets_file_blocks_neither_scrapes_nor_the_end() {
    let case = Case::new();
    let (_endpoint, mut exporter) = walked(&case);
    let targets = case.path("targets.toml");
    fs::remove_file(&targets).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &targets, rustix::fs::Mode::RUSR).unwrap();
    exporter.signal(Signal::HUP);
    let until = Instant::now() + Duration::from_secs(20);
    while exporter.metrics().value("nssight_exporter_config_last_reload_successful") != Some(0.0) {
        assert!(Instant::now() < until, "{}", exporter.log());
        std::thread::sleep(Duration::from_millis(20));
    }
    scrape(&exporter);
    exporter.signal(Signal::HUP);
    exporter.signal(Signal::TERM);
    let status = exporter.wait(Duration::from_secs(20));
    assert!(status.is_some_and(|status| status.success()), "{}", exporter.log());
}

#[test]
fn an_unresponsive_state_file_is_ignored() {
    let case = Case::new();
    let (_endpoint, exporter) = walked(&case);
    drop(exporter);
    let state = case.path("state");
    let targets = case.path("targets.toml");
    let options = ["--state", state.to_str().unwrap()];
    let mut exporter = Exporter::start(&targets, &options);
    assert_eq!(exporter.probe("t").value("probe_success"), Some(1.0));
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(20)).is_some());
    let kept = fs::read_dir(&state).unwrap().next().unwrap().unwrap().path();
    fs::remove_file(&kept).unwrap();
    rustix::fs::mkfifoat(rustix::fs::CWD, &kept, rustix::fs::Mode::RUSR).unwrap();
    let mut exporter = Exporter::start(&targets, &options);
    assert_eq!(exporter.get("/healthz").status, 200);
    exporter.signal(Signal::TERM);
    assert!(exporter.wait(Duration::from_secs(20)).is_some_and(|status| status.success()), "{}", exporter.log());
}

/// The status of an answer to a request with these lines.
fn asked(exporter: &Exporter, lines: &str) -> u16 {
    let mut stream = TcpStream::connect(exporter.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(format!("{lines}Connection: close\r\n\r\n").as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or_else(|| panic!("{lines}: {answer:?}"))
}

#[test]
fn a_browser_under_dns_rebinding_reads_nothing() {
    let case = Case::new();
    let (_endpoint, exporter) = walked(&case);
    let port = exporter.address.port();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    for path in ["/", "/report?target=t", "/metrics", "/probe?target=t", "/sd"] {
        for name in [
            "evil.example",
            "evil.example:80",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "192.0.2.7",
            "",
            "[::ffff:192.0.2.7]",
        ] {
            let status = asked(&exporter, &format!("GET {path} HTTP/1.1\r\nHost: {name}\r\n"));
            assert!(matches!(status, 400 | 421), "{path} for {name:?}: {status}");
        }
        let two = asked(&exporter, &format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n"));
        assert!(matches!(two, 400 | 421), "{path}: {two}");
        let absolute = asked(&exporter, &format!("GET http://evil.example{path} HTTP/1.1\r\nHost: localhost\r\n"));
        assert_eq!(absolute, 421, "{path}");
        for name in ["localhost", "LOCALHOST.", "127.0.0.1", "[::1]", &host] {
            for port in [String::new(), format!(":{port}")] {
                assert_eq!(
                    asked(&exporter, &format!("GET {path} HTTP/1.1\r\nHost: {name}{port}\r\n")),
                    200,
                    "{path} for {name}{port}"
                );
            }
        }
    }
    drop(exporter);
    let exporter = Exporter::start(
        &case.path("targets.toml"),
        &["--allow-host", "metrics.example", "--allow-host", "other.example"],
    );
    for (name, status) in [("metrics.example", 200), ("Other.Example:9744", 200), ("evil.example", 421)] {
        assert_eq!(asked(&exporter, &format!("GET /metrics HTTP/1.1\r\nHost: {name}\r\n")), status, "{name}");
    }
}
