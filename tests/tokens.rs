//! Keys on tokens other than the database's own: SoftHSM, a PKCS #11 module in software.

mod common;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Case, NICKNAME, PASSWORD, PKI, Run, binary, run, run_beside};
use nssight_fixtures::endpoint::{Endpoint, Options};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};

const TOKEN: &str = "lab-token";
const PIN: &str = "right-pin-5Kd";
/// The paths on Debian and Fedora.
const MODULES: [&str; 3] =
    ["/usr/lib/softhsm/libsofthsm2.so", "/usr/lib64/softhsm/libsofthsm.so", "/usr/lib64/pkcs11/libsofthsm2.so"];

/// A database whose list of modules has SoftHSM, and our identity on a SoftHSM token; the database itself only contains the CA.
struct Hsm {
    case: Case,
    database: PathBuf,
    config: PathBuf,
}

impl Hsm {
    fn new() -> Self {
        let case = Case::new();
        let database = case.path("db");
        let builder = DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes());
        builder.x509("lab-ca", &PKI.ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        let tokens = case.path("tokens");
        std::fs::create_dir(&tokens).unwrap();
        let config = case.file("softhsm2.conf", format!("directories.tokendir = {}\n", tokens.display()));
        let hsm = Self { case, database, config };
        let module = MODULES.into_iter().find(|module| Path::new(module).exists()).expect("softhsm2 (make deps)");
        let directory = DbFormat::Sql.directory(&hsm.database);
        hsm.tool(
            "softhsm2-util",
            ["--init-token", "--free", "--label", TOKEN, "--pin", PIN, "--so-pin", "12345678"].map(OsStr::new),
        );
        let name = OsStr::new;
        hsm.tool(
            "modutil",
            [name("-force"), name("-add"), name("soft"), name("-libfile"), name(module), name("-dbdir"), &directory],
        );
        let both = hsm.both();
        let p12 = hsm.case.file("client.p12", PKI.client.pkcs12(NICKNAME, "transport").unwrap());
        let transport = hsm.case.file("transport", "transport\n");
        hsm.tool(
            "pk12util",
            [
                name("-i"),
                p12.as_ref(),
                name("-h"),
                name(TOKEN),
                name("-d"),
                &directory,
                name("-k"),
                both.as_ref(),
                name("-w"),
                transport.as_ref(),
            ],
        );
        hsm
    }

    /// A password file with one line per token.
    fn both(&self) -> PathBuf {
        self.case.file("both", format!("NSS Certificate DB:{PASSWORD}\n{TOKEN}:{PIN}\n"))
    }

    fn tool<const N: usize>(&self, name: &str, arguments: [&OsStr; N]) {
        let mut command = Command::new(name);
        command.args(arguments).env("SOFTHSM2_CONF", &self.config).stdin(std::process::Stdio::null());
        let output = command.output().unwrap_or_else(|error| panic!("{name} must be installed (make deps): {error}"));
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    }

    fn walk(&self, nickname: &str, more: &[&OsStr]) -> Run {
        let mut command = binary();
        command
            .args(["diagnose", "--format", "json", "--timeout", "5", "--nickname", nickname, "--db"])
            .arg(&self.database);
        let run = run_beside(command.args(more).env("SOFTHSM2_CONF", &self.config), &self.database);
        assert!(!run.stdout.contains(PIN), "{run:#?}");
        run
    }

    /// A check up to the key.
    fn local(&self, nickname: &str, password: Option<&Path>) -> Run {
        let mut more = vec![OsStr::new("--until"), OsStr::new("private-key")];
        if let Some(password) = password {
            more.extend([OsStr::new("--password-file"), password.as_os_str()]);
        }
        self.walk(nickname, &more)
    }
}

fn on_token(name: &str) -> String {
    format!("{TOKEN}:{name}")
}

fn summary(run: &Run) -> String {
    run.report()["verdict"]["summary"].as_str().unwrap_or_default().to_owned()
}

#[test]
fn a_key_on_a_token_authenticates() {
    let hsm = Hsm::new();
    let both = hsm.both();
    for nickname in [on_token(NICKNAME), format!("pkcs11:token={TOKEN};object={NICKNAME}")] {
        let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
        let peer = format!("localhost:{}", endpoint.port());
        let run = hsm.walk(&nickname, &["--password-file".as_ref(), both.as_ref(), "--bridge".as_ref(), peer.as_ref()]);
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert_eq!(run.report()["verdict"]["status"], "pass", "{run:#?}");
        assert_eq!(endpoint.connections(), 1);
    }
}

/// NSS's own client uses the token's line, too; OpenSSL has no access to the key, which proves nothing about the others.
#[test]
fn other_clients_use_the_token_and_one_that_cannot_proves_nothing() {
    let hsm = Hsm::new();
    let endpoint = Endpoint::start(Options::new(&PKI.bridge, &PKI.ca)).unwrap();
    let mut command = binary();
    command.args(["clients", "--format", "json", "--pause", "0.1", "--nickname", &on_token(NICKNAME), "--db"]);
    command.arg(&hsm.database).arg("--password-file").arg(hsm.both());
    command.args(["--bridge", &format!("localhost:{}", endpoint.port())]).env("SOFTHSM2_CONF", &hsm.config);
    let report = run(&mut command).report();
    let outcome = |client: &str| {
        let all = report["clients"].as_array().unwrap();
        all.iter().find(|it| it["client"] == client).unwrap()["outcome"].as_str().unwrap().to_owned()
    };
    assert_eq!([outcome("nssight"), outcome("tstclnt")], ["pass", "pass"], "{report:#}");
    assert_eq!(outcome("openssl"), "failed-locally", "{report:#}");
    assert_eq!(report["conclusion"]["kind"], "all-pass", "{report:#}");
    assert!(report["conclusion"]["text"].as_str().unwrap().contains("openssl never reached the peer"), "{report:#}");
}

/// One attempt per check: a token locks itself after several wrong attempts.
#[test]
fn a_wrong_pin_is_the_wrong_password_of_that_token() {
    let hsm = Hsm::new();
    let wrong = hsm.case.file("wrong", format!("NSS Certificate DB:{PASSWORD}\n{TOKEN}:{PIN}x\n"));
    let run = hsm.local(&on_token(NICKNAME), Some(&wrong));
    assert_eq!(run.judged(), ["password", "password-wrong", "client-config", "certain"], "{run:#?}");
    assert!(summary(&run).contains(TOKEN), "{run:#?}");
    let probes = run.report()["probes"].clone();
    let certificate = probes.as_array().unwrap().iter().find(|probe| probe["layer"] == "certificate").unwrap();
    assert_eq!(certificate["status"], "skip", "nothing is known of what a locked token has: {certificate:#}");
    let without_line = hsm.case.password_file();
    let run = hsm.local(&on_token(NICKNAME), Some(&without_line));
    assert_eq!(run.judged(), ["password", "password-wrong", "client-config", "certain"], "{run:#?}");
    assert!(summary(&run).contains(&format!("no line of the file begins with \"{TOKEN}:\"")), "{run:#?}");
    let run = hsm.local(&on_token(NICKNAME), None);
    assert_eq!(run.judged(), ["password", "password-missing", "client-config", "certain"], "{run:#?}");
    let right = hsm.local(&on_token(NICKNAME), Some(&hsm.both()));
    assert_eq!(right.code, Some(0), "{right:#?}");
}

#[test]
fn a_token_or_module_that_is_not_there_is_named() {
    let hsm = Hsm::new();
    let run = hsm.local("other-token:somebody", Some(&hsm.both()));
    assert_eq!(run.judged()[..2], ["certificate", "cert-not-found"], "{run:#?}");
    assert!(summary(&run).contains("NSS has no token with this name"), "{run:#?}");
    let run = hsm.local(&on_token("somebody"), Some(&hsm.both()));
    assert_eq!(run.judged()[..2], ["certificate", "cert-not-found"], "{run:#?}");
    assert!(summary(&run).contains(&format!("the token \"{TOKEN}\" has no certificate")), "{run:#?}");
    let list = hsm.database.join("pkcs11.txt");
    let text = std::fs::read_to_string(&list).unwrap();
    let module = MODULES.into_iter().find(|module| text.contains(module)).unwrap();
    std::fs::write(&list, text.replace(module, "/opt/gone/module.so")).unwrap();
    let run = hsm.local(&on_token(NICKNAME), Some(&hsm.both()));
    assert_eq!(run.judged()[..2], ["certificate", "cert-not-found"], "{run:#?}");
    assert!(summary(&run).contains("/opt/gone/module.so"), "{run:#?}");
}

#[test]
fn the_database_may_be_named_as_a_token() {
    let case = Case::new();
    let database = case.database(DbFormat::Sql);
    let password = case.password_file();
    let walk = |nickname: &str| {
        let mut command = binary();
        command
            .args(["diagnose", "--format", "json", "--until", "private-key", "--nickname", nickname, "--db"])
            .arg(&database);
        run(command.arg("--password-file").arg(&password))
    };
    let named = walk(&format!("NSS Certificate DB:{NICKNAME}"));
    assert_eq!(named.code, Some(0), "{named:#?}");
    let missing = walk("NSS Certificate DB:somebody-else");
    assert_eq!(missing.judged()[..2], ["certificate", "cert-not-found"], "{missing:#?}");
    assert!(summary(&missing).contains("no certificate with the nickname"), "{missing:#?}");
}
