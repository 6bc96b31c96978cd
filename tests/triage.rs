//! Logs of the lab under every fault, logs of other programs, and hostile logs: each gets the right verdict or none.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::lab::{client, over_all, to_its_end, words};
use common::{Case, Run, binary, hold_to_schema, run};
use nssight_fixtures::deployment::{BRIDGE_LOG, Deployment, SERVER_LOG};
use nssight_fixtures::fault::{self, Door, Fault, Named};
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

fn triage(files: &[PathBuf]) -> Run {
    run(binary().args(["triage", "--format", "json"]).args(files))
}

fn of_text(name: &str, text: &str) -> Value {
    let case = Case::new();
    triage(&[case.file(name, text)]).report()
}

fn said(document: &Value) -> (Option<&str>, Option<&str>, &str) {
    let verdict = &document["verdict"];
    (verdict["layer"].as_str(), verdict["cause"].as_str(), verdict["confidence"].as_str().unwrap())
}

/// The reference client's log under this fault, in a file.
fn record(fault: &Fault, directory: &Path) -> Vec<PathBuf> {
    let lab = Deployment::start(directory, &fault.change, DbFormat::Sql).unwrap();
    let client_log = directory.join("client.log");
    fs::write(&client_log, "").unwrap();
    fs::set_permissions(&client_log, PermissionsExt::from_mode(0o666)).unwrap();
    let mut options = fault.client_options();
    options.extend(["--log", client_log.to_str().unwrap()]);
    let mut command = words(&[], &client(&lab, &options, "list-users"));
    command.envs(&fault.environment);
    if let Some(user) = lab.run_as() {
        command.uid(user).gid(user);
    }
    to_its_end(command);
    drop(lab);
    [client_log, directory.join(BRIDGE_LOG), directory.join(SERVER_LOG)]
        .into_iter()
        .filter(|path| path.exists())
        .collect()
}

/// The mistake in the verdict, if it is not the required one.
fn objection(fault: &Fault, door: Door, run: &Run) -> Option<String> {
    let document = run.report();
    let verdict = &document["verdict"];
    let (given, expected): (Named, Named) =
        (serde_json::from_value(verdict.clone()).unwrap(), fault.must(door).unwrap());
    let code = if given.cause.is_some() { 1 } else { 3 };
    if !fault.is_told_by(door, &given) || run.code != Some(code) {
        let incidents = &document["incidents"];
        return Some(format!("{} {door}: {given} ({:?}) instead of {expected}: {incidents:#}", fault.id, run.code));
    }
    let others = verdict["alternatives"].as_array().unwrap();
    let names = |cause: &str| others.iter().any(|other| other["cause"] == cause);
    let own = fault.cause.as_deref();
    match (given.cause.as_deref(), own) {
        (Some(_), _) if document["evidence"].as_array().unwrap().is_empty() => {
            Some(format!("{} {door}: no line is shown for it", fault.id))
        }
        (None, _) if !document["next"]["text"].is_string() => Some(format!("{} {door}: nothing to collect", fault.id)),
        // The verdict lists similar causes.
        (Some(ours), Some(own)) if ours != own && given.confidence == "possible" && !names(own) => {
            Some(format!("{} {door}: {own} is not named beside {ours}: {others:#?}", fault.id))
        }
        _ => None,
    }
}

#[test]
fn logs_of_every_fault_prove_what_they_can_and_no_more() {
    let faults: Vec<Fault> =
        fault::here().unwrap().0.into_iter().filter(|fault| fault.must(Door::Triage).is_some()).collect();
    let run = |fault: &Fault| {
        let directory = tempfile::tempdir().unwrap();
        let logs = record(fault, directory.path());
        (triage(&logs), triage(&logs[..1]))
    };
    let mut objections = Vec::new();
    for (fault, (all, client)) in over_all(&faults, 6, run) {
        assert_eq!(all.report()["schema"], "nssight/triage/1");
        objections.extend(objection(fault, Door::Triage, &all));
        objections.extend(objection(fault, Door::TriageClient, &client));
    }
    assert!(objections.is_empty(), "{}", objections.join("\n"));
}

#[test]
fn messages_of_other_programs_are_recognised() {
    for (name, text, layer, cause) in [
        (
            "tstclnt.txt",
            "tstclnt: write to SSL socket failed: SSL_ERROR_UNKNOWN_CA_ALERT: Peer does not recognize and trust the CA that issued your certificate.",
            "outer-handshake",
            "client-cert-rejected",
        ),
        (
            "a.log",
            "Incorrect password/PIN entered.\ntstclnt: read from socket failed: SSL_ERROR_BAD_CERT_ALERT: SSL peer cannot verify your certificate.",
            "password",
            "password-wrong",
        ),
        (
            "a.log",
            "CONNECTED(00000003)\ndepth=0 CN = bridge\nverify error:num=20:unable to get local issuer certificate\nVerify return code: 20 (unable to get local issuer certificate)",
            "outer-handshake",
            "peer-cert-untrusted",
        ),
        (
            "a.log",
            "40F7C1:error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:ssl/record/rec_layer_s3.c:1600:SSL alert number 48",
            "outer-handshake",
            "client-cert-rejected",
        ),
        (
            "a.log",
            "40F7C1:error:0A00010B:SSL routines:ssl3_get_record:wrong version number:ssl/record/ssl3_record.c:354:",
            "outer-handshake",
            "not-tls",
        ),
        (
            "a.log",
            "curl: (7) Failed to connect to bridge port 44334 after 0 ms: Couldn't connect to server",
            "tcp",
            "tcp-refused",
        ),
        ("a.log", "curl: (6) Could not resolve host: bridge.example.com", "resolve", "name-unresolved"),
        ("a.log", "* NSS error -12276 (SSL_ERROR_BAD_CERT_DOMAIN)", "outer-handshake", "peer-cert-name"),
        ("a.log", "nss.error.NSPRError: error (-12156) unknown", "outer-handshake", "peer-cert-weak"),
        (
            "x.log",
            "Nov 24 05:05:05 host sigul_bridge[77]: DEBUG: Waiting for the client to connect\nNov 24 05:05:06 host sigul_bridge[77]: INFO: Client with CN 'c' connected\nNov 24 05:05:06 host sigul_bridge[77]: INFO: Request: op='x'\nNov 24 05:05:06 host sigul_bridge[77]: WARNING: Invalid request: Unknown op value",
            "bridge",
            "bridge-rejected-request",
        ),
        (
            "k.log",
            "2025-11-24T05:05:06.000000000Z stderr F ERROR: Provided NSS password is incorrect",
            "password",
            "password-wrong",
        ),
        (
            "j.log",
            "{\"log\":\"ERROR: I/O error: Unexpected EOF\\n\",\"time\":\"2025-11-24T05:05:06Z\"}\n{\"log\":\"ERROR: 'x' does not contain a valid NSS database\\n\",\"time\":\"2025-11-24T05:05:06.1Z\"}",
            "nss-db",
            "db-missing",
        ),
        (
            "s.txt",
            "selfserv: HDX PR_Read returned error -12285:\nUnable to find the certificate or key necessary for authentication.",
            "outer-handshake",
            "client-cert-not-sent",
        ),
        (
            "c.txt",
            "curl: (60) SSL: no alternative certificate subject name matches target host name 'x'",
            "outer-handshake",
            "peer-cert-name",
        ),
        (
            "client.log",
            "nss.error.NSPRError: (SSL_ERROR_RX_UNKNOWN_RECORD_TYPE) x",
            "outer-handshake",
            "handshake-garbled",
        ),
        ("client.log", "ERROR: Connection refused", "tcp", "tcp-refused"),
        (
            "client.log",
            "  File \"client.py\", line 1\n    cert = nss.nss.find_cert_from_nickname(n)\nnss.error.NSPRError: (SUCCESS) Success",
            "certificate",
            "cert-not-found",
        ),
    ] {
        let document = of_text(name, text);
        let (given, of, confidence) = said(&document);
        assert_eq!((given, of), (Some(layer), Some(cause)), "{text}: {document:#}");
        assert_ne!(confidence, "certain", "{text}");
    }
}

#[test]
fn one_line_of_a_client_is_not_enough() {
    for text in ["ERROR: I/O error: Unexpected EOF in NSPR", "ERROR: I/O error: NSPR connection reset", "hello", ""] {
        let document = of_text("client.log", text);
        assert_eq!(said(&document).1, None, "{text}: {document:#}");
        assert!(document["next"]["text"].is_string(), "{document:#}");
        assert!(document["verdict"]["summary"].as_str().unwrap().starts_with("cannot tell"), "{document:#}");
    }
    // Any program may write these messages; without a TLS client they are about something else.
    for text in [
        "2026-11-24 05:00:00,000 nginx: connect() failed (111: Connection refused) while connecting to upstream",
        "postfix: connect to mx: Connection timed out",
        "FileNotFoundError: [Errno 2] No such file or directory: '/x'",
        "2026-11-24 05:00:00,000 INFO: Connection to the bridge refused",
    ] {
        assert_eq!(said(&of_text("messages", text)).1, None, "{text}");
    }
    // A verify code of 0 proves nothing, and is not an error either.
    assert_eq!(said(&of_text("s_client.txt", "Verify return code: 0 (ok)")).1, None);
}

#[test]
fn an_earlier_run_and_an_earlier_request_do_not_count() {
    let wrong = "ERROR: Provided NSS password is incorrect\n";
    let untrusted = "WARNING: Exception in child\nnss.error.NSPRError: (SEC_ERROR_UNTRUSTED_ISSUER) x\n\
        ERROR: I/O error: NSPR connection reset\n";
    let name = "ERROR: NSPR error\nTraceback\nnss.error.NSPRError: (SSL_ERROR_BAD_CERT_DOMAIN) x\n";
    for (text, cause) in [
        ([wrong, untrusted].concat(), "ca-untrusted"),
        ([untrusted, wrong].concat(), "password-wrong"),
        ([wrong, name].concat(), "server-cert-name"),
        ([name, wrong, untrusted].concat(), "ca-untrusted"),
    ] {
        let document = of_text("client.log", &text);
        assert_eq!(said(&document).1, Some(cause), "{text}: {document:#}");
    }
    // The bridge has finished a request, or a second has passed: the next end of file belongs to another client.
    let line = |time: &str, text: &str| format!("2026-11-24 05:00:0{time} {text}\n");
    let served = line("0,000", "INFO: Client with CN 'a' connected") + &line("0,001", "INFO: Request: op='list-users'");
    let finished = line("0,100", "DEBUG: Request handling finished");
    let end = |time| line(time, "INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.");
    for text in [served.clone() + &finished + &end("0,200"), served.clone() + &end("2,500")] {
        assert_eq!(said(&of_text("sigul_bridge.log", &text)).1, None, "{text}");
    }
    assert_eq!(said(&of_text("sigul_bridge.log", &(served + &end("0,021")))).1, Some("server-link-dead"));
}

/// Two hosts write in the same millisecond: the server had begun to process the request that failed in it.
#[test]
fn lines_of_one_millisecond_have_no_order() {
    let case = Case::new();
    let at = |time: &str, text: &str| format!("2026-11-29 17:32:{time} {text}\n");
    let client = case.file("client.log", "ERROR: I/O error: Unexpected EOF in NSPR\n");
    let bridge = [
        at("52,709", "DEBUG: Waiting for the client to connect"),
        at("52,947", "INFO: Client with CN 'admin' connected"),
        at("52,950", "INFO: Request: op='list-users', user='admin'"),
        at("52,952", "INFO: Unexpected EOF: EOFError()"),
        at("52,952", "DEBUG: Request handling finished"),
    ];
    for begun in ["52,951", "52,952"] {
        let server = [
            at("52,708", "DEBUG: Waiting for a request"),
            at(begun, "DEBUG: Started processing a request"),
            at(begun, "DEBUG: Request handling finished"),
            at(begun, "DEBUG: Waiting for a request"),
        ];
        let bridge = case.file("sigul_bridge.log", bridge.concat());
        let document = triage(&[client.clone(), bridge, case.file("sigul_server.log", server.concat())]).report();
        assert_eq!(said(&document).1, Some("inner-closed"), "{begun}: {document:#}");
    }
}

#[test]
fn a_part_of_a_file_name_does_not_identify_a_log() {
    let issuer = "2026-11-24 05:00:00 [error] SSL Library Error: -8179 SEC_ERROR_UNKNOWN_ISSUER";
    for name in ["webserver.log", "observer.log", "web-server.log"] {
        assert_ne!(said(&of_text(name, issuer)).0, Some("inner-handshake"), "{name}");
    }
    assert_eq!(said(&of_text("client_golang.log", "dial tcp: connect: connection refused")).1, None);
    for name in ["server.log", "sigul_server.log", "1-sigul-server-2.log"] {
        assert_eq!(
            said(&of_text(name, "WARNING: NSPR error: (SEC_ERROR_UNKNOWN_ISSUER) x")).0,
            Some("inner-handshake")
        );
    }
}

#[test]
fn a_heartbeat_is_named_by_its_period() {
    let line = |second: u32, text: &str| format!("2026-11-24 05:{:02}:{:02},003 {text}\n", second / 60, second % 60);
    let beats: String = (0..30).map(|n| line(n * 10, "INFO: Unexpected EOF: EOFError()")).collect();
    let document = of_text("sigul_bridge.log", &beats);
    assert_eq!(said(&document), (Some("bridge"), Some("bare-connections"), "likely"), "{document:#}");
    assert_eq!(document["heartbeats"][0]["period_s"], 10.0);
    // A request that failed in between is a separate failure, and the heartbeat explains it.
    let dead = line(123, "INFO: Client with CN 'c' connected")
        + &line(123, "INFO: Request: op='list-users'")
        + &line(124, "INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.");
    let document = of_text("sigul_bridge.log", &(beats.clone() + &dead));
    assert_eq!(said(&document).1, Some("server-link-dead"), "{document:#}");
    assert!(document["verdict"]["summary"].as_str().unwrap().contains("every 10 s"), "{document:#}");
    // Irregular ends of file are not a heartbeat.
    let odd: String = [0, 3, 4, 31, 33, 90, 97, 300].map(|at| line(at, "INFO: Unexpected EOF: EOFError()")).concat();
    assert_eq!(of_text("sigul_bridge.log", &odd)["heartbeats"].as_array().unwrap().len(), 0);
}

#[test]
fn compressed_files_directories_and_standard_input_are_read_alike() {
    let case = Case::new();
    let dir = case.path("logs");
    fs::create_dir(&dir).unwrap();
    let text = b"ERROR: Provided NSS password is incorrect\n";
    let gz = |out| {
        let mut gz = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
        gz.write_all(text).unwrap();
        gz.finish().unwrap()
    };
    let xz = {
        let options = lzma_rust2::XzOptions::with_preset(1);
        let mut xz = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        xz.write_all(text).unwrap();
        xz.finish().unwrap()
    };
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(text.len() as u64);
    header.set_cksum();
    tar.append_data(&mut header, "logs/client.log", &text[..]).unwrap();
    let tar = zstd::encode_all(tar.into_inner().unwrap().as_slice(), 1).unwrap();
    for (name, bytes) in
        [("a.gz", gz(Vec::new())), ("a.xz", xz), ("a.zst", zstd::encode_all(&text[..], 1).unwrap()), ("a.tar.zst", tar)]
    {
        let document = triage(&[case.file(name, &bytes)]).report();
        assert_eq!(said(&document).1, Some("password-wrong"), "{name}: {document:#}");
        // A truncated file is read as far as possible.
        let document = triage(&[case.file(name, &bytes[..bytes.len() - 9])]).report();
        assert!(!document["files"][0]["notes"].as_array().unwrap().is_empty() || said(&document).1.is_some(), "{name}");
    }
    fs::write(dir.join("client.log"), text).unwrap();
    assert_eq!(said(&triage(std::slice::from_ref(&dir)).report()).1, Some("password-wrong"));
    let mut command = binary();
    command.args(["triage", "--format", "json", "-"]).stdin(fs::File::open(dir.join("client.log")).unwrap());
    assert_eq!(said(&run(&mut command).report()).1, Some("password-wrong"));
    let missing = triage(&[dir.join("client.log"), case.path("nothing")]).report();
    let notes: Vec<&Value> =
        missing["files"].as_array().unwrap().iter().flat_map(|file| file["notes"].as_array().unwrap()).collect();
    assert!(notes.iter().any(|note| note.as_str().unwrap().contains("cannot be read")), "{missing:#}");
}

#[test]
fn a_report_of_nssight_keeps_its_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "server-expired").unwrap();
    let lab = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let report = run(binary().args(["diagnose", "--format", "json", "-c"]).arg(lab.config())).report();
    let file = directory.path().join("report.json");
    fs::write(&file, report.to_string()).unwrap();
    let document = triage(std::slice::from_ref(&file)).report();
    assert_eq!(document["verdict"], report["verdict"]);
    // Another day's log is not evidence for it.
    let log = directory.path().join("sigul_bridge.log");
    let line = |text: &str| format!("2026-11-24 05:00:01,000 {text}\n");
    let refused =
        line("DEBUG: Waiting for the client to connect") + &line("INFO: NSPR I/O error: (SEC_ERROR_UNKNOWN_ISSUER) x");
    fs::write(&log, refused).unwrap();
    let document = triage(&[file, log]).report();
    assert_eq!(document["verdict"], report["verdict"]);
    assert_eq!(document["evidence"].as_array().unwrap().len(), 1, "{document:#}");
}

#[test]
fn hostile_logs_are_survived_in_bounded_memory() {
    use std::os::unix::process::ExitStatusExt;
    let case = Case::new();
    let last = "\nERROR: Provided NSS password is incorrect\n";
    let long = case.path("long");
    {
        let mut file = fs::File::create(&long).unwrap();
        (0..100).for_each(|_| file.write_all(&[b'x'; 1 << 20]).unwrap());
        file.write_all(last.as_bytes()).unwrap();
    }
    let bytes: Vec<u8> = (0..1_u32 << 20).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let noise = case.file("noise", [bytes.as_slice(), last.as_bytes()].concat());
    let nul = case.file("nul", [&[0_u8; 1 << 20][..], last.as_bytes()].concat());
    for file in [&long, &noise, &nul] {
        let document = triage(std::slice::from_ref(file)).report();
        assert_eq!(said(&document).1, Some("password-wrong"), "{}: {document:#}", file.display());
    }
    // A gigabyte of zeros in a few kilobytes, compressed twice.
    let mut zeros = zstd::Encoder::new(Vec::new(), 1).unwrap();
    (0..1024).for_each(|_| zeros.write_all(&[0; 1 << 20]).unwrap());
    let bomb = zeros.finish().unwrap();
    let bomb = case.file("bomb.zst", zstd::encode_all(bomb.as_slice(), 1).unwrap());
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "ulimit -v 1500000; exec \"$0\" triage --format json \"$1\""]);
    let output = command.arg(env!("CARGO_BIN_EXE_nssight")).arg(&bomb).output().unwrap();
    assert_eq!(output.status.signal(), None, "{output:?}");
    let document: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(document["files"][0]["notes"][0].as_str().unwrap().contains("times its size"), "{document:#}");
}

#[test]
fn the_document_keeps_to_its_schema() {
    let texts = ["", "ERROR: Provided NSS password is incorrect", "ERROR: I/O error: Unexpected EOF in NSPR"];
    hold_to_schema("triage", &texts.map(|text| of_text("client.log", text)));
}
