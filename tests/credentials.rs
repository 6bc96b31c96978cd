//! Credentials and OpenSSL configurations as openssl, certtool and keytool create them, and servers as on the public web: the verdict of a
//! check on each. The cases are data next to this file.

mod common;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::{Case as Place, binary, run};
use nssight_fixtures::ports;
use serde::Deserialize;
use serde_json::Value;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Cases {
    case: Vec<Case>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    /// For readers of the data.
    #[serde(rename = "title")]
    _title: String,
    /// A shell script that creates the files.
    make: String,
    /// The server's program.
    #[serde(default = "s_server")]
    program: String,
    /// Its options.
    #[serde(default = "usual_server")]
    serve: Vec<String>,
    /// The client's options.
    #[serde(default = "usual_client")]
    words: Vec<String>,
    #[serde(default)]
    environment: BTreeMap<String, String>,
    /// Layer, cause, component and confidence; `pass` and confidence where it works.
    expect: String,
    /// The result with a newer OpenSSL, if it differs.
    later: Option<Later>,
    /// Text in the verdict's summary.
    #[serde(default)]
    says: String,
}

/// The expected verdict from a release of OpenSSL on.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Later {
    /// Major and minor number.
    openssl: (i64, i64),
    expect: String,
}

impl Case {
    fn expected(&self) -> &str {
        let number = openssl::version::number();
        let release = (number >> 28, number >> 20 & 0xff);
        self.later.as_ref().filter(|later| release >= later.openssl).map_or(&self.expect, |later| &later.expect)
    }
}

fn words(text: &str) -> Vec<String> {
    text.split(' ').map(str::to_owned).collect()
}

fn s_server() -> String {
    "s_server".to_owned()
}

fn usual_server() -> Vec<String> {
    words("-cert $B/server.pem -key $B/server.key -CAfile $B/ca.pem -Verify 2 -verify_return_error")
}

fn usual_client() -> Vec<String> {
    words("--cert $B/client.pem --key $B/client.key --cacert $B/ca.pem")
}

struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/credentials");

fn script(text: &str, directory: &Path, base: &Path) {
    let functions = format!("{FOLDER}/functions.sh");
    let mut shell = Command::new("sh");
    shell.args(["-euc", text]).current_dir(directory).env("B", base).env("D", directory).env("F", functions);
    let output = shell.stdin(Stdio::null()).output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{text}: {}", String::from_utf8_lossy(&said));
}

fn listens(port: u16) -> bool {
    let wanted = format!(":{port:04X}");
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|table| fs::read_to_string(table).unwrap_or_default());
    // Local address, remote address, state; 0A is LISTEN (proc(5)).
    let row = |line: &str| line.split_whitespace().skip(1).take(3).map(str::to_owned).collect::<Vec<_>>();
    let mut rows = tables.iter().flat_map(|table| table.lines().map(row));
    rows.any(|row| row.len() == 3 && row[0].ends_with(&wanted) && row[2] == "0A")
}

fn serve(case: &Case, options: &[String], directory: &Path, base: &Path) -> (Server, u16) {
    let port = ports::listen().unwrap().local_addr().unwrap().port();
    let mut command = match case.program.as_str() {
        "s_server" => {
            let mut command = Command::new("openssl");
            command.args(["s_server", "-quiet", "-accept", &format!("127.0.0.1:{port}")]);
            command
        }
        program => {
            let mut command = Command::new(program);
            command.args(["--quiet", "--echo", "--port", &port.to_string()]);
            command
        }
    };
    let said = File::create(directory.join("server-said")).unwrap();
    command
        .env("OPENSSL_CONF", base.join("weak.cnf"))
        .args(options)
        .current_dir(directory)
        .stdout(said.try_clone().unwrap())
        .stderr(said);
    let child = command.stdin(Stdio::piped()).spawn();
    let mut server = Server(child.unwrap_or_else(|error| panic!("{} (make deps): {error}", case.program)));
    let until = Instant::now() + Duration::from_secs(60);
    while !listens(port) {
        let ended = server.0.try_wait().unwrap();
        let said = || fs::read_to_string(directory.join("server-said")).unwrap_or_default();
        assert!(ended.is_none() && Instant::now() < until, "{}: the server does not listen: {}", case.id, said());
        thread::sleep(Duration::from_millis(10));
    }
    (server, port)
}

/// Words about things that a client with files does not have.
const FOREIGN: [&str; 6] = ["nss ", "nss's", "sigul", "bridge", "certutil", "nickname"];

/// The mistake in the reported versions, if our ClientHello offers others.
fn misreported_offer(report: &Value) -> Option<String> {
    let said = report["probes"].as_array()?.iter().flat_map(|probe| probe["facts"].as_array().unwrap().iter());
    let said = said.filter(|fact| fact["id"] == "session.versions-offered").find_map(|fact| fact["text"].as_str())?;
    let events = report["wire"].as_array()?.iter();
    let hello = events.filter_map(|event| event["what"].as_str()).find(|what| what.starts_with("ClientHello"))?;
    let offers = hello.split_once("(offers ")?.1.split_once(')')?.0;
    let is_so = match (offers.strip_prefix("up to "), offers.split_once('–')) {
        // Without supported_versions a ClientHello contains only the highest version (RFC 5246, 7.4.1.2).
        (Some(high), _) => said.ends_with(&format!(" to TLS {high}")),
        (None, Some((low, high))) => said == format!("TLS {low} to TLS {high}"),
        (None, None) => said == format!("TLS {offers} to TLS {offers}"),
    };
    (!is_so).then(|| format!("\"{said}\" is said of {hello}"))
}

fn objections(case: &Case, base: &Path) -> Vec<String> {
    let place = Place::new();
    let directory = place.dir.path();
    script(&case.make, directory, base);
    let filled = |text: &String| text.replace("$B", base.to_str().unwrap()).replace("$D", directory.to_str().unwrap());
    let (_server, port) = serve(case, &case.serve.iter().map(filled).collect::<Vec<_>>(), directory, base);
    let diagnose = |format: &str| {
        let mut command = binary();
        command.args(["diagnose", &format!("localhost:{port}"), "--format", format, "--timeout", "10"]);
        command.args(case.words.iter().map(filled));
        for name in ["OPENSSL_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
            command.env_remove(name);
        }
        command.envs(case.environment.iter().map(|(name, value)| (name, filled(value))));
        run(&mut command)
    };
    let report = diagnose("json").report();
    let verdict = &report["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or("-").to_owned();
    let told = if verdict["cause"].is_null() {
        ["status", "confidence"].map(word).join(" ")
    } else {
        ["layer", "cause", "component", "confidence"].map(word).join(" ")
    };
    let mut objections = Vec::new();
    let expected = case.expected();
    if told != expected {
        objections.push(format!("{}: {told}, not {expected}: {}", case.id, verdict["summary"]));
    }
    objections.extend(misreported_offer(&report).map(|offer| format!("{}: {offer}", case.id)));
    if !word("summary").contains(&case.says) {
        objections.push(format!("{}: no word of \"{}\": {}", case.id, case.says, verdict["summary"]));
    }
    let text = diagnose("human").stdout.to_lowercase();
    // The name nssight itself contains one of these words.
    let text = text.replace("nssight", "");
    let strange = FOREIGN.iter().filter(|foreign| text.contains(*foreign));
    objections.extend(strange.map(|foreign| format!("{}: \"{foreign}\" in the report: {text}", case.id)));
    objections
}

fn hold(file: &str, at_least: usize) {
    let cases: Cases = toml::from_str(&fs::read_to_string(format!("{FOLDER}/{file}")).unwrap()).unwrap();
    assert!(cases.case.len() >= at_least, "{}", cases.case.len());
    let base = Place::new();
    script(&fs::read_to_string(format!("{FOLDER}/pki.sh")).unwrap(), base.dir.path(), base.dir.path());
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let lane = || {
            let mut wrong = Vec::new();
            while let Some(case) = cases.case.get(next.fetch_add(1, Ordering::SeqCst)) {
                wrong.extend(objections(case, base.dir.path()));
            }
            wrong
        };
        let lanes: Vec<_> = (0..3).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// In addition to the faults of the lab that begin with `files-`.
#[test]
fn credentials_and_configurations_get_their_verdicts() {
    hold("cases.toml", 50);
}

#[test]
fn servers_as_on_the_public_web_get_their_verdicts() {
    hold("badssl.toml", 18);
}
