//! Runs every command of the README and of the pages in docs/, in the order of its page, in an environment that has everything the page
//! names: a Sigul lab, a TLS server with a client's files, databases, logs and targets. tests/tutorial.rs runs the commands of the
//! tutorial, and also compares their output.

mod common;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Case, NICKNAME, PASSWORD, PKI, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Change};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};
use rustix::process::{Pid, Signal, kill_process_group};

/// The pages with commands, in the book's order.
fn pages() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut pages = vec![root.join("README.md")];
    let mut docs: Vec<PathBuf> = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path()).collect();
    docs.retain(|path| path.extension().is_some_and(|it| it == "md") && !path.ends_with("tutorial.md"));
    docs.sort();
    pages.append(&mut docs);
    let read = |path: PathBuf| (path.display().to_string(), fs::read_to_string(&path).unwrap());
    pages.into_iter().map(read).collect()
}

/// The lines of a page that a reader would type.
fn typed(text: &str) -> Vec<String> {
    let (mut lines, mut in_commands) = (Vec::new(), false);
    for event in Parser::new_ext(text, Options::ENABLE_TABLES) {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(name))) => {
                in_commands = ["sh", "console", "text"].contains(&&*name);
            }
            Event::End(TagEnd::CodeBlock) => in_commands = false,
            Event::Text(block) if in_commands => {
                let own =
                    block.lines().map(|line| line.trim_start_matches("$ ")).filter(|line| line.starts_with("nssight "));
                lines.extend(own.map(str::to_owned));
            }
            _ => {}
        }
    }
    lines
}

/// Names on a page, with their equivalents in the test environment. Longer names come before their prefixes.
fn here(line: &str, field: &Field) -> String {
    let port = field.port.as_str();
    let named = [
        ("db.example:5432 --starttls postgres", port),
        ("db.example:636", port),
        ("host.example:8443", port),
        ("host.example:443", port),
        ("www.example", "localhost"),
        ("localhost:34465", port),
        // No server listens on this port.
        ("diagnose localhost\n", "diagnose localhost:1\n"),
        ("0.0.0.0:8443", "127.0.0.1:0"),
        ("clients-ca.pem", "ca.pem"),
        ("lab/ca.pem", "ca.pem"),
        ("lab/client.pem", "client.pem"),
        ("lab/client.key", "client.key"),
        ("sql:lab/client", "sql:db"),
        ("/etc/sigul/client.conf", "client.conf"),
        ("~/.sigul/client.conf", "client.conf"),
        ("/etc/sigul/bridge.conf", "bridge.conf"),
        ("--admin-password-file FILE", "--admin-password-file admin-password"),
        ("sql:/etc/pki/nssdb", "sql:db"),
        ("/etc/pki/server", "db"),
        ("--nickname server-cert", "--nickname sigul-client-cert"),
        ("--nickname web", "--nickname sigul-client-cert"),
        ("~/.sigul", "db"),
        ("dbm:old", "dbm:old"),
        ("sql:new", "sql:db"),
        ("old new", "old db"),
        ("/etc/siguldry/pki", "."),
        // A test has no terminal to type at.
        ("--password-prompt", "--password-file pw"),
        ("/etc/nssight/targets.toml", "targets.toml"),
        ("fleet.toml", "targets.toml"),
        ("/var/lib/nssight", "state"),
        ("/var/log/sigul_client.log", "client.log"),
        ("sigul_bridge.log", "bridge.log"),
        ("/var/log/nginx capture.pcapng", "client.log capture.pcapng"),
        ("--repeat 20", "--repeat 2"),
        // The complete self-test is a test of its own.
        ("nssight selftest\n", "nssight selftest --only healthy\n"),
        ("--dir lab", "--dir another-lab"),
        ("~/.local/share", "share"),
    ];
    named.iter().fold(format!("{line}\n"), |line, (name, value)| line.replace(name, value)).trim().to_owned()
}

struct Field {
    case: Case,
    port: String,
    /// The labs end with the test.
    _labs: Vec<Deployment>,
}

impl Field {
    fn new() -> Self {
        let case = Case::new();
        let sigul = Deployment::start_with_hosts(&case.path("sigul"), &Change::default(), DbFormat::Sql).unwrap();
        let change = fault::all().unwrap().into_iter().find(|fault| fault.id == "files-well").unwrap().change;
        let files = Deployment::start(&case.path("files"), &change, DbFormat::Sql).unwrap();
        let port = files.words()[0].to_str().unwrap().to_owned();
        let copy = |from: &Path, to: &str| {
            fs::copy(from, case.path(to)).unwrap();
        };
        for name in ["ca.pem", "client.pem", "client.key"] {
            copy(&case.path("files").join(name), name);
        }
        // An identity that is valid for a server.
        case.file("server.pem", PKI.bridge.certificate.to_pem().unwrap());
        case.file("server.key", PKI.bridge.key.private_key_to_pem_pkcs8().unwrap());
        copy(sigul.config(), "client.conf");
        copy(sigul.admin_password_file(), "admin-password");
        let database = case.database(DbFormat::Sql);
        case.password_file();
        let builder = DbBuilder::new(DbFormat::Dbm).password(PASSWORD.as_bytes());
        let builder = builder.x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap();
        builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&case.path("old")).unwrap();
        let nss = format!("[nss]\nnss-dir: {}\nnss-password: {PASSWORD}\n", database.display());
        let daemon = "[daemon]\nunix-user:\nunix-group:\n";
        case.file("bridge.conf", format!("[bridge]\nbridge-cert-nickname: {NICKNAME}\n{nss}{daemon}"));
        case.file("targets.toml", "[[target]]\nname = 'signing'\nconfig = 'client.conf'\n");
        copy(&Path::new(env!("CARGO_MANIFEST_DIR")).join("triage/tests/captures/other-ca-12.pcapng"), "capture.pcapng");
        // The logs that docs/triage.md shows.
        case.file("client.log", "ERROR: I/O error: Unexpected EOF in NSPR\n");
        let request = "2026-11-24 07:04:37,313 INFO: Request: op='list-users', user='admin'\n";
        let end = "2026-11-24 07:04:37,316 INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file\n";
        case.file("bridge.log", format!("{request}{end}"));
        let nssight = Path::new(env!("CARGO_BIN_EXE_nssight"));
        let client = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/peers/double_tls_client.py");
        // The client that the pages call sigul.
        let script = format!("#!/bin/sh\nexec /usr/bin/python3 {client} --admin-password-file admin-password \"$@\"\n");
        fs::create_dir(case.path("bin")).unwrap();
        let sigul_client = case.file("bin/sigul", script);
        fs::set_permissions(&sigul_client, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(nssight, case.path("bin/nssight")).unwrap();
        Self { case, port, _labs: vec![sigul, files] }
    }

    fn command(&self, line: &str) -> Command {
        let path = format!("{}:{}", self.case.path("bin").display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("sh");
        command.args(["-c", line]).current_dir(self.case.dir.path()).env("PATH", path);
        command.env("HOME", self.case.dir.path()).env_remove("NSS_DEFAULT_DB_TYPE").stdin(Stdio::null());
        command
    }

    /// The exit code and output of a command that ends by itself.
    fn run(&self, line: &str) -> (Option<i32>, String) {
        let run = run(&mut self.command(line));
        (run.code, run.stderr)
    }

    /// The exit code and output of a command that serves. It ends after its only client, or on Ctrl-C once it has reported that it serves.
    fn serve(&self, line: &str) -> (Option<i32>, String) {
        let said = self.case.path("said");
        let out = File::create(&said).unwrap();
        // Foreground processes of a shell also receive the signal.
        let mut command = self.command(line);
        command.stdout(out.try_clone().unwrap()).stderr(out).process_group(0);
        let mut child = command.spawn().unwrap();
        let until = Instant::now() + Duration::from_secs(60);
        let text = loop {
            let text = fs::read_to_string(&said).unwrap();
            if text.contains("listening on") || text.contains("Ctrl-C ends") || child.try_wait().unwrap().is_some() {
                break text;
            }
            assert!(Instant::now() < until, "{line}: {text}");
            std::thread::sleep(Duration::from_millis(20));
        };
        if line.contains("--count 1") {
            let (_, port) = text.trim_end().rsplit_once(':').unwrap_or_else(|| panic!("{line}: {text}"));
            let client =
                format!("nssight diagnose localhost:{port} --cert client.pem --key client.key --cacert ca.pem");
            let (code, said) = self.run(&client);
            assert!(matches!(code, Some(0 | 1)), "{code:?}: {said}");
            return (child.wait().unwrap().code(), text);
        }
        let _ = kill_process_group(Pid::from_child(&child), Signal::INT);
        (child.wait().unwrap().code().or(Some(130)), text)
    }
}

/// Whether a command starts a Sigul client, which is a python-nss script in the test environment.
fn starts_a_client(command: &str) -> bool {
    ["-- sigul ", "--trace-against sigul "].iter().any(|words| command.contains(words))
}

/// Runs the selected commands, and returns their number.
fn all_run(wanted: fn(&str) -> bool) -> usize {
    let field = Field::new();
    let (mut count, mut wrong) = (0, Vec::new());
    for (page, text) in pages() {
        // A line with an ellipsis is not a command.
        for typed in typed(&text).into_iter().filter(|typed| !typed.contains('…') && wanted(typed)) {
            let line = here(&typed, &field);
            let serves = ["nssight listen", "nssight exporter", "nssight lab up"].iter().any(|it| line.starts_with(it));
            let (code, said) = if serves { field.serve(&line) } else { field.run(&line) };
            // The command worked, whatever it found: it reported neither a usage error nor a fault of nssight.
            let well = match code {
                Some(0 | 1) => true,
                Some(130) => serves,
                // A shell that has replaced itself by the command gives the code of nssight, which a signal ended before a client came.
                Some(3) => line.starts_with("nssight listen") && !line.contains("--count 1"),
                _ => false,
            };
            if !well {
                wrong.push(format!("{page}: {typed}\n  run as: {line}\n  {code:?}: {said}"));
            }
            count += 1;
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    count
}

#[test]
fn every_command_in_the_documents_runs() {
    let count = all_run(|command| !starts_a_client(command));
    assert!(count > 50, "only {count} commands were found");
}

#[test]
fn commands_that_start_a_sigul_client_run() {
    let count = all_run(starts_a_client);
    assert!(count >= 2, "only {count} commands were found");
}
