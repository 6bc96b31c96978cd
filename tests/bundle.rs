//! A bundle contains what support needs and no secret, in no form and under no name, and gives the same verdict on
//! another host.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use common::{binary, fingerprint, hold_to_schema, run, unpack};
use nssight_fixtures::deployment::{ADMIN_PASSWORD, Deployment, PASSWORD};
use nssight_fixtures::fault;
use nssight_fixtures::nssdb::DbFormat;
use serde_json::Value;

/// The same text in other forms, made by an implementation other than that of the redaction.
fn forms(secret: &str) -> Vec<String> {
    let script = "import sys,base64,urllib.parse,json\n\
        s=sys.argv[1]; b=s.encode()\n\
        print(s); print(urllib.parse.quote(s)); print(urllib.parse.quote_plus(s)); print(urllib.parse.quote(s,safe=''))\n\
        print(base64.b64encode(b).decode()); print(base64.urlsafe_b64encode(b).decode())\n\
        n=len(b)\n\
         print(base64.b64encode(b'x'+b+b'end').decode()[2:(n+1)*8//6]); print(base64.b64encode(b'xy'+b+b'end').decode()[3:(n+2)*8//6])\n\
        print(b.hex()); print(b.hex().upper()); print(b.hex(':')); print(json.dumps(s)[1:-1])\n";
    let output = Command::new("/usr/bin/python3").args(["-c", script, secret]).output().expect("python3 is there");
    String::from_utf8(output.stdout).unwrap().lines().filter(|line| line.len() >= 6).map(str::to_owned).collect()
}

fn secrets() -> Vec<String> {
    let made = [
        "koji pass&phrase/1",
        "tok+en%2021",
        "url-secret-3",
        "pin-918273",
        "cred=\"quoted\"7",
        "Zürich-geheim",
        "env-secret-88",
        "AUTHTOKEN9==",
    ];
    made.iter().map(|secret| (*secret).to_owned()).chain([PASSWORD.to_owned(), ADMIN_PASSWORD.to_owned()]).collect()
}

#[test]
fn ten_planted_secrets_are_in_no_file_in_no_form() {
    let directory = tempfile::tempdir().unwrap();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "server-name").unwrap();
    let lab = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let secrets = secrets();
    assert_eq!(secrets.len(), 10);
    // In a separate configuration file they are found by their keys; in the log every form of them is found by value.
    let extra = directory.path().join(format!("{PASSWORD}-extra.conf"));
    let keys = [
        "koji-passphrase",
        "api-token",
        "proxy-password",
        "pin",
        "credential",
        "ort-passwort-password",
        "env-secret",
        "auth-token",
    ];
    let lines: String = keys.iter().zip(&secrets).map(|(key, secret)| format!("{key} = {secret}\n")).collect();
    fs::write(&extra, format!("[other]\nharmless = stays\n{lines}")).unwrap();
    let log = directory.path().join(format!("log-{ADMIN_PASSWORD}.log"));
    let planted: String =
        secrets.iter().flat_map(|secret| forms(secret)).map(|form| format!("a line with {form} in it\n")).collect();
    fs::write(&log, format!("{planted}Authorization: Basic QWxhZGRpbjpvcGVu\nERROR: NSPR error\n")).unwrap();

    let database = directory.path().join("client");
    let before = fingerprint(&database);
    let bundle = directory.path().join("out.tar.zst");
    let bundling = |more: &[&str]| {
        let mut command = binary();
        command.args(["bundle", "-c"]).arg(lab.config()).arg("--admin-password-file").arg(lab.admin_password_file());
        command.arg("--add-config").arg(&extra).arg("--log").arg(&log).arg("-o").arg(&bundle);
        command.env("NSS_SECRET_TOKEN", &secrets[6]).args(more);
        run(&mut command)
    };
    // First a preview: nothing is written, and no connection is opened.
    let shown = bundling(&["--dry-run"]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    assert!(!bundle.exists() && lab.connections() == 0);
    assert!(shown.stdout.contains("harmless = stays") && shown.stdout.contains("1 connection"), "{}", shown.stdout);
    let done = bundling(&[]);
    assert_eq!(done.code, Some(0), "{done:#?}");
    assert_eq!(lab.connections(), 1);
    assert_eq!(fs::metadata(&bundle).unwrap().permissions().mode() & 0o777, 0o600);
    assert!(before == fingerprint(&database), "the database was changed");
    assert!(!directory.path().join("out.tar.zst.partial").exists());

    let files = unpack(&bundle);
    let names: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
    for part in [
        "MANIFEST.json",
        "report.json",
        "database.json",
        "environment.txt",
        "libraries.txt",
        "resolver.txt",
        "crypto-policy.txt",
        "config/1-client.conf",
    ] {
        assert!(names.iter().any(|name| name.ends_with(part)), "{part} in {names:?}");
    }
    assert!(!names.iter().any(|name| name.contains("key4") || name.contains("key3") || name.contains("pkcs11")));
    for secret in &secrets {
        for form in forms(secret) {
            for (name, content) in &files {
                let text = String::from_utf8_lossy(content);
                let at = text.to_lowercase().find(&form.to_lowercase());
                assert!(
                    at.is_none() && !name.contains(&form),
                    "{form} of {secret} in {name}: {:.300}",
                    &text[at.unwrap_or(0)..]
                );
            }
            assert!(!shown.stdout.contains(&form), "{form} is shown");
        }
    }
    let of =
        |part: &str| files.iter().find(|(name, _)| name.contains(part)).map(|(_, content)| content.clone()).unwrap();
    assert!(String::from_utf8(of("extra.conf")).unwrap().contains("harmless = stays"));
    let manifest: Value = serde_json::from_slice(&of("MANIFEST.json")).unwrap();
    hold_to_schema("bundle", std::slice::from_ref(&manifest));
    let listed = manifest["files"].as_array().unwrap();
    assert_eq!(listed.len() + 1, files.len());
    for entry in listed {
        let content = of(entry["name"].as_str().unwrap());
        let sum: String = sha256sum(&content);
        assert_eq!(entry["sha256"], sum.as_str(), "{entry}");
    }
    assert!(listed.iter().any(|entry| !entry["redacted"].as_object().unwrap().is_empty()));
    let libraries = String::from_utf8(of("libraries.txt")).unwrap();
    assert!(libraries.contains("libnss3") && libraries.contains("softokn"), "{libraries}");

    // On another host: packed and unpacked, without the files of this host.
    let report: Value = serde_json::from_slice(&of("report.json")).unwrap();
    assert_eq!(report["verdict"]["cause"], "server-cert-name");
    let elsewhere = tempfile::tempdir().unwrap();
    for (name, content) in &files {
        let path = elsewhere.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
    }
    for place in [bundle.as_path(), elsewhere.path()] {
        let triage = run(binary().args(["triage", "--format", "json"]).arg(place)).report();
        assert_eq!(triage["verdict"], report["verdict"], "{triage:#}");
    }
}

/// Our certificate in files: the report contains what they hold, except for any key.
#[test]
fn a_bundle_of_a_client_with_files_has_no_key() {
    let directory = tempfile::tempdir().unwrap();
    let change = fault::Change { target: fault::Target::Files, ..toml::from_str("bridge = 'other-ca'").unwrap() };
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).unwrap();
    let words = lab.words();
    let key = words.iter().skip_while(|word| *word != "--key").nth(1).unwrap();
    let key = openssl::pkey::PKey::private_key_from_pem(&fs::read(key).unwrap()).unwrap();
    let bundle = directory.path().join("out.tar.zst");
    let done = run(binary().arg("bundle").args(words).arg("-o").arg(&bundle));
    assert_eq!(done.code, Some(0), "{done:#?}");
    let files = unpack(&bundle);
    // The secret number of an EC key: whole, as in PEM, and as text tools print it.
    let number = key.ec_key().unwrap().private_key().to_vec();
    let hex: String = number.iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, content) in &files {
        let text = String::from_utf8_lossy(content).to_lowercase();
        assert!(!text.contains("private key-----") && !text.replace(':', "").contains(&hex), "{name}");
        assert!(!content.windows(number.len()).any(|part| part == number), "{name}");
    }
    let report = files.iter().find(|(name, _)| name.ends_with("report.json")).unwrap();
    let report: Value = serde_json::from_slice(&report.1).unwrap();
    assert_eq!(report["verdict"]["cause"], "peer-cert-untrusted", "{report:#}");
    let triage = run(binary().args(["triage", "--format", "json"]).arg(&bundle)).report();
    assert_eq!(triage["verdict"], report["verdict"], "{triage:#}");
}

fn sha256sum(content: &[u8]) -> String {
    let mut child = Command::new("sha256sum")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("sha256sum is part of coreutils");
    std::io::Write::write_all(&mut child.stdin.take().unwrap(), content).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split_whitespace().next().unwrap().to_owned()
}

#[test]
fn a_bundle_that_cannot_be_written_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("missing/out.tar.zst");
    let done = run(binary().args(["bundle", "--until", "config", "-o"]).arg(&target));
    assert_eq!(done.code, Some(3), "{done:#?}");
    assert!(done.stderr.contains("cannot write"), "{done:#?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_bundle_retries_on_request() {
    let directory = tempfile::tempdir().unwrap();
    let fault = fault::all().unwrap().into_iter().find(|fault| fault.id == "stale-server-link").unwrap();
    let lab = Deployment::start(directory.path(), &fault.change, DbFormat::Sql).unwrap();
    let bundle = directory.path().join("out.tar.zst");
    let done = run(binary().args(["bundle", "--retries", "1", "-c"]).arg(lab.config()).arg("-o").arg(&bundle));
    assert_eq!((done.code, lab.connections()), (Some(0), 2), "{done:#?}");
    let files = unpack(&bundle);
    let (_, report) = files.iter().find(|(name, _)| name.ends_with("report.json")).unwrap();
    let report: Value = serde_json::from_slice(report).unwrap();
    assert_eq!(report["verdict"]["status"], "flaky", "{report:#}");
}

#[test]
fn a_bundle_overwrites_nothing_unasked_and_follows_no_link() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name);
    let bundle = |output: &Path, flags: &[&str]| {
        run(binary().args(["bundle", "--until", "config", "-o"]).arg(output).args(flags))
    };
    let victim = path("victim");
    fs::write(&victim, "mine").unwrap();
    symlink(&victim, path("out.tar.zst")).unwrap();
    symlink(&victim, path("out.tar.zst.partial")).unwrap();
    let refused = bundle(&path("out.tar.zst"), &[]);
    assert_eq!(refused.code, Some(2), "{refused:#?}");
    assert!(refused.stderr.contains("--force"), "{refused:#?}");
    // With --force the link itself is replaced, not its target.
    assert_ne!(bundle(&path("out.tar.zst"), &["--force"]).code, Some(2));
    assert_eq!(fs::read_to_string(&victim).unwrap(), "mine");
    let written = fs::symlink_metadata(path("out.tar.zst")).unwrap();
    assert!(written.is_file());
    assert_eq!(written.permissions().mode() & 0o777, 0o600);
    // The file name must match the compression.
    let other = bundle(&path("out.tar.gz"), &[]);
    assert_eq!((other.code, path("out.tar.gz").exists()), (Some(2), false), "{other:#?}");
}

#[test]
fn a_bundle_without_a_name_is_named_after_host_and_time() {
    let directory = tempfile::tempdir().unwrap();
    let done = run(binary().current_dir(directory.path()).args(["bundle", "--until", "config"]));
    let names: Vec<String> = fs::read_dir(directory.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(names.len(), 1, "{done:#?}");
    assert!(names[0].starts_with("nssight-") && names[0].ends_with("Z.tar.zst"), "{names:?}");
}

/// Whether a process has a file open for writing in the directory, with or without a name.
fn writes_into(process: u32, directory: &Path) -> bool {
    let open = fs::read_dir(format!("/proc/{process}/fd")).into_iter().flatten().flatten();
    let mut files = open.filter_map(|entry| fs::read_link(entry.path()).ok());
    files.any(|file| file.starts_with(directory) && !file.ends_with("client.log"))
}

#[test]
fn a_bundle_that_is_killed_leaves_nothing() {
    use rustix::process::{Pid, Signal, kill_process};
    use std::time::Duration;
    let directory = tempfile::tempdir().unwrap();
    let log = directory.path().join("client.log");
    fs::write(&log, "a healthy line of a log\n".repeat(20_000)).unwrap();
    let output = directory.path().join("out.tar.zst");
    let orders: [&[Signal]; 4] = [&[Signal::KILL], &[Signal::TERM], &[Signal::INT], &[Signal::STOP, Signal::KILL]];
    for number in 0..60_u64 {
        let mut command = binary();
        command
            .args(["bundle", "--until", "environment", "--db", "/nonexistent", "--log"])
            .arg(&log)
            .arg("-o")
            .arg(&output);
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        if number % 8 < 4 {
            // Moments throughout the run, the same in every test run,
            std::thread::sleep(Duration::from_millis(number * 2_654_435_761 % 600));
        } else {
            // and the moment at which there is a file that could be left behind.
            while child.try_wait().unwrap().is_none() && !writes_into(child.id(), directory.path()) {}
        }
        for signal in orders[usize::try_from(number % 4).unwrap()] {
            // The process may have ended already.
            let _ = kill_process(Pid::from_child(&child), *signal);
        }
        child.wait().unwrap();
        let mut left: Vec<String> = fs::read_dir(directory.path())
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != "client.log")
            .collect();
        // A finished bundle is complete.
        if left == ["out.tar.zst"] {
            assert!(unpack(&output).len() > 5);
            fs::remove_file(&output).unwrap();
            left.clear();
        }
        assert!(left.is_empty(), "{number}: {left:?}");
    }
}

#[test]
fn bundles_of_the_same_second_have_different_names() {
    let directory = tempfile::tempdir().unwrap();
    let host = rustix::system::uname().nodename().to_string_lossy().into_owned();
    let format = time::macros::format_description!("[year][month][day]T[hour][minute][second]Z");
    // Every name of the next minutes is taken.
    for second in 0..900 {
        let time = (time::OffsetDateTime::now_utc() + time::Duration::seconds(second)).format(format).unwrap();
        fs::write(directory.path().join(format!("nssight-{host}-{time}.tar.zst")), "taken").unwrap();
    }
    fs::write(directory.path().join("client.log"), "ERROR: NSPR error\n").unwrap();
    for number in 2..4 {
        let mut command = binary();
        command.args(["bundle", "--until", "config", "--log", "client.log"]).current_dir(directory.path());
        let done = run(command.env("HOME", directory.path()));
        let names = fs::read_dir(directory.path()).unwrap().flatten().map(|it| it.file_name().into_string().unwrap());
        let more: Vec<String> =
            names.filter(|name| name.ends_with("-2.tar.zst") || name.ends_with("-3.tar.zst")).collect();
        assert_eq!(more.len(), number - 1, "{done:#?} {more:?}");
    }
}
