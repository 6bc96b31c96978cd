//! Servers of other projects with both versions of TLS, each healthy and with faults of its clients. `make truth` runs many more.

mod common;

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{Case, NICKNAME, binary, run};
use nssight_fixtures::authority::{Identity, Spec, Usage};
use nssight_fixtures::nssdb::DbFormat;
use nssight_peers::{Asks, SERVERS, Server, Setup, Tls};

struct Pki {
    ca: Identity,
    other: Identity,
    server: Identity,
    client: Identity,
    stranger: Identity,
}

static PKI: LazyLock<Pki> = LazyLock::new(|| {
    let ca = Identity::authority("Service CA").unwrap();
    let other = Identity::authority("Another CA").unwrap();
    Pki {
        server: ca.issue(&Spec::new("service", Usage::Server).names(&["localhost"])).unwrap(),
        client: ca.issue(&Spec::new("client", Usage::Client)).unwrap(),
        stranger: other.issue(&Spec::new("stranger", Usage::Client)).unwrap(),
        ca,
        other,
    }
});

/// The fault on the client's side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Nothing,
    Stranger,
    NoCertificate,
    OtherAuthority,
    WrongName,
    VersionsApart,
}

const FAULTS: [Fault; 6] = [
    Fault::Nothing,
    Fault::Stranger,
    Fault::NoCertificate,
    Fault::OtherAuthority,
    Fault::WrongName,
    Fault::VersionsApart,
];

/// The causes of which one must be found; empty if the handshake must succeed.
fn wanted(server: &Server, fault: Fault) -> &'static [&'static str] {
    match (fault, server.name) {
        (Fault::Nothing, _) => &[],
        // These servers refuse after the handshake: in HTTP, at the login, or when a user authenticates.
        (Fault::Stranger | Fault::NoCertificate, "nginx" | "dovecot") | (Fault::NoCertificate, "postgresql") => &[],
        (Fault::Stranger, _) => &["client-ca-not-acceptable", "client-cert-rejected"],
        (Fault::NoCertificate, _) => &["client-cert-missing"],
        (Fault::OtherAuthority, _) => &["peer-cert-untrusted"],
        (Fault::WrongName, _) => &["peer-cert-name", "peer-name-misconfigured"],
        // Some close without the specified alert, and GnuTLS sends another one.
        (Fault::VersionsApart, "dovecot" | "slapd" | "slapd-ldaps") => {
            &["tls-version-mismatch", "peer-closed-in-handshake"]
        }
        (Fault::VersionsApart, "exim" | "gnutls-serv") => &["tls-version-mismatch", "tls-no-common-cipher"],
        (Fault::VersionsApart, _) => &["tls-version-mismatch"],
    }
}

fn pem(directory: &Path, name: &str, identity: &Identity) {
    fs::write(directory.join(format!("{name}.pem")), identity.certificate.to_pem().unwrap()).unwrap();
    fs::write(directory.join(format!("{name}.key")), identity.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    Command::new("chmod").arg("600").arg(directory.join(format!("{name}.key"))).status().unwrap();
}

/// The options of nssight for this client.
fn words(command: &mut Command, directory: &Path, fault: Fault, version: Tls) {
    let (own, authority) = match fault {
        Fault::Stranger => ("stranger", "ca"),
        Fault::OtherAuthority => ("client", "other"),
        _ => ("client", "ca"),
    };
    command.arg("--cacert").arg(directory.join(format!("{authority}.pem")));
    if fault != Fault::NoCertificate {
        command.arg("--cert").arg(directory.join(format!("{own}.pem")));
        command.arg("--key").arg(directory.join(format!("{own}.key")));
    }
    if fault == Fault::VersionsApart {
        let other = if version == Tls::V12 { Tls::V13 } else { Tls::V12 };
        command.args(["--tls-min", other.as_str(), "--tls-max", other.as_str()]);
    }
}

fn diagnose(server: &Server, port: u16, fault: Fault) -> Command {
    let mut command = binary();
    let host = if fault == Fault::WrongName { "127.0.0.1" } else { "localhost" };
    command.args(["diagnose", &format!("{host}:{port}"), "--format", "json", "--timeout", "10"]);
    command.args(server.starttls.iter().flat_map(|protocol| ["--starttls", protocol]));
    command
}

/// The mistake in the result, if any.
fn objection(what: &str, mut command: Command, wanted: &[&str], foreign: &[&str]) -> Option<String> {
    let run = run(&mut command);
    let report = run.report();
    let verdict = &report["verdict"];
    let told = ["status", "cause", "component", "confidence"].map(|key| verdict[key].as_str().unwrap_or("-"));
    let is_right = match wanted {
        [] => told[0] == "pass",
        causes => told[0] == "fail" && causes.contains(&told[1]),
    };
    let is_once = report["connections_opened"] == 1;
    let words = ["summary", "why", "remedies", "alternatives"].map(|key| verdict[key].to_string().to_lowercase());
    let strange = foreign.iter().find(|word| words.iter().any(|text| text.contains(*word)));
    let is_wrong = !is_right || !is_once || strange.is_some();
    is_wrong.then(|| format!("{what}: {told:?} {strange:?}, wanted {wanted:?}: {}", verdict["summary"]))
}

/// Tests every fault of the client with one server.
fn try_out(server: &Server, version: Tls) -> Vec<String> {
    let (case, pki) = (Case::new(), &*PKI);
    let directory = case.path("server");
    fs::create_dir(&directory).unwrap();
    let setup =
        Setup { directory: &directory, identity: &pki.server, client_ca: &pki.ca, asks: Asks::Required, version };
    let running = server.start(&setup).unwrap_or_else(|error| panic!("{}: {error}", server.name));
    for (name, identity) in
        [("client", &pki.client), ("stranger", &pki.stranger), ("ca", &pki.ca), ("other", &pki.other)]
    {
        pem(case.dir.path(), name, identity);
    }
    let mut wrong = Vec::new();
    for fault in FAULTS {
        let mut command = diagnose(server, running.port, fault);
        words(&mut command, case.dir.path(), fault, version);
        let what = format!("{} {} {fault:?} over OpenSSL", server.name, version.as_str());
        // Words about things that a client with files does not have.
        let foreign = ["nss ", "sigul", "bridge", "certutil", "nickname"];
        wrong.extend(objection(&what, command, wanted(server, fault), &foreign));
    }
    let database = case.database_of(DbFormat::Sql, &pki.client, &[("service-ca", &pki.ca, "CT,C,C")]);
    for fault in [Fault::Nothing, Fault::WrongName] {
        let mut command = diagnose(server, running.port, fault);
        command.arg("--db").arg(&database).args(["--nickname", NICKNAME]);
        command.arg("--password-file").arg(case.password_file());
        let what = format!("{} {} {fault:?} over NSS", server.name, version.as_str());
        wrong.extend(objection(&what, command, wanted(server, fault), &["sigul", "the bridge"]));
    }
    wrong
}

#[test]
fn servers_of_others_are_diagnosed() {
    let work: Vec<(&Server, Tls)> =
        SERVERS.iter().flat_map(|server| [(server, Tls::V12), (server, Tls::V13)]).collect();
    let next = AtomicUsize::new(0);
    let wrong: Vec<String> = thread::scope(|scope| {
        let lane = || {
            let mut wrong = Vec::new();
            while let Some((server, version)) = work.get(next.fetch_add(1, Ordering::SeqCst)) {
                wrong.extend(try_out(server, *version));
            }
            wrong
        };
        let lanes: Vec<_> = (0..6).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}
