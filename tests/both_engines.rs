//! The same fault with NSS and a database, and with OpenSSL and files: the verdict must not depend on the library, except for the
//! differences listed here. This test generates docs/engines.md.

mod common;

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use common::{binary, run};
use nssight_fixtures::deployment::Deployment;
use nssight_fixtures::fault::{self, Change, Target};
use nssight_fixtures::nssdb::DbFormat;

/// The changes of a fault that a client without NSS can meet: the certificates, the peer, and the path to it.
const NOT_OF_NSS: &[&str] = &[
    "target",
    "client",
    "bridge",
    "authority",
    "port",
    "outer",
    "bridge-tls",
    "suites",
    "client-auth",
    "acceptable",
    "number",
];

/// Changes that are not a fault of the list by themselves.
const MORE: &[&str] = &[
    "client = 'other-ca'\nbridge-tls = 'tls1.3'",
    "client = 'rsa'",
    "bridge = 'other-ca'\nbridge-tls = 'tls1.3'",
    "bridge = 'other-name'\nbridge-tls = 'tls1.3'",
    "bridge = 'self-signed'",
    "outer = 'smtp'",
    "outer = 'alert'\nnumber = 40",
    "outer = 'alert'\nnumber = 70",
    "outer = 'alert'\nnumber = 80",
    "outer = 'refuse-certificate'\nnumber = 42",
    "outer = 'refuse-certificate'\nnumber = 43",
    "outer = 'refuse-certificate'\nnumber = 44",
    "outer = 'refuse-certificate'\nnumber = 45",
    "outer = 'refuse-certificate'\nnumber = 46",
    "outer = 'refuse-certificate'\nnumber = 48",
    "outer = 'refuse-certificate'\nnumber = 51",
];

/// Differences between the libraries themselves, with the reasons.
const DIFFERENCES: &[(&str, &str)] = &[
    (
        "The bridge speaks TLS 1.1.",
        "OpenSSL offers TLS 1.1, but its default security level forbids TLS 1.1 signatures, so the handshake fails at \
         the signature. NSS offers the TLS versions that the client requests.",
    ),
    (
        "The bridge's certificate is signed with SHA-1, which NSS accepts by default.",
        "OpenSSL's security level requires 112 bits of security.",
    ),
    (
        "The bridge's key has 1024 bits, which NSS accepts by default.",
        "OpenSSL's security level requires RSA keys of 2048 bits.",
    ),
    (
        "A revocation list in the client's database revokes the bridge's certificate.",
        "A client with files has no revocation list.",
    ),
    (
        "The CA gave the bridge's certificate the same serial number as the client's certificate.",
        "OpenSSL does not check for duplicate serial numbers.",
    ),
    (
        "The client's certificate has an unknown critical extension.",
        "NSS, like the peer, rejects our own certificate; an OpenSSL client does not verify its own certificate.",
    ),
];

/// Differences that no fault of the table shows, each with a separate test: `trust`, `healthy`, `truth`.
const ELSEWHERE: &[(&str, &str)] = &[
    (
        "Validity within a day",
        "NSS accepts a certificate up to one day before its validity begins; OpenSSL does not. With either library, nssight only \
         warns if our own certificate becomes valid within a day, because the peer decides whether to accept the certificate.",
    ),
    (
        "Trust",
        "In a database, the trust flags of a CA may be empty; in a file, every CA is trusted. The causes `ca-untrusted` and \
         `peer-cert-distrusted` can occur only with a database.",
    ),
    (
        "An intermediate CA as trust anchor",
        "NSS ends a chain at any trusted CA. OpenSSL requires the root, so the verdict blames a file that contains only an \
         intermediate CA.",
    ),
    (
        "Revocation",
        "A database can contain revocation lists, and NSS checks them; nssight passes no revocation lists to OpenSSL.",
    ),
    (
        "A trailing dot",
        "NSS includes the dot in the comparison, so no name matches; OpenSSL clients remove the dot first.",
    ),
    (
        "An address instead of a name",
        "NSS does not match an address against a host name, and reports the certificate's name. OpenSSL has a separate error \
         number for an address that does not match.",
    ),
    (
        "Strength",
        "OpenSSL rejects keys and hashes below its security level. OpenSSL checks our own certificate too, before it sends any \
         data. By default, NSS accepts SHA-1 signatures, and RSA keys of at least 1023 bits, unless a policy forbids these \
         signatures or keys.",
    ),
    (
        "The serial number",
        "NSS rejects a second certificate with the issuer and serial number of a known certificate; OpenSSL does not compare \
         serial numbers.",
    ),
];

struct Row {
    name: String,
    change: Change,
}

fn rows() -> Vec<Row> {
    let usual = toml::Table::try_from(Change::default()).expect("a table");
    let mut rows = Vec::new();
    let mut known = Vec::new();
    let mut add = |name: String, change: Change| {
        let change = Change { target: Target::Plain, ..change };
        let all = toml::Table::try_from(&change).expect("a table");
        let changed: BTreeMap<_, _> = all.into_iter().filter(|(key, value)| usual.get(key) != Some(value)).collect();
        let fits = changed.keys().all(|key| NOT_OF_NSS.contains(&key.as_str()));
        if fits && !known.contains(&changed) {
            known.push(changed);
            rows.push(Row { name, change });
        }
    };
    for fault in fault::all().expect("the list").into_iter().filter(|fault| fault.flags.is_empty()) {
        // A line of a configuration is not an option.
        let is_of_options = fault.layer.as_deref() != Some("config");
        // A server that is itself checked is not a peer.
        let is_a_client = !matches!(fault.change.target, Target::Serving | Target::ServingFiles);
        if fault.environment.is_empty()
            && fault.nss_before.is_none()
            && fault.openssl_before.is_none()
            && is_of_options
            && is_a_client
        {
            add(fault.title, fault.change);
        }
    }
    for more in MORE {
        add(format!("`{}`", more.replace('\n', ", ").replace('\'', "")), toml::from_str(more).expect("a change"));
    }
    rows
}

/// Layer, cause, component and confidence; files and database are both the client's component.
fn verdict(change: &Change, target: Target) -> String {
    let change = Change { target, ..change.clone() };
    let directory = tempfile::tempdir().expect("a directory");
    let lab = Deployment::start(directory.path(), &change, DbFormat::Sql).expect("a lab");
    let report = run(binary().arg("diagnose").args(lab.words()).args(["--format", "json", "--timeout", "3"])).report();
    let verdict = &report["verdict"];
    let word = |key: &str| verdict[key].as_str().unwrap_or("-").replace("client-db", "client-files");
    if verdict["cause"].is_null() {
        format!("{}, {}", word("status"), word("confidence"))
    } else {
        ["layer", "cause", "component", "confidence"].map(word).join(", ")
    }
}

fn page(rows: &[Row], told: &[(String, String)]) -> String {
    let mut text = format!(
        "# Two engines, one verdict\n\nA client with a database uses NSS for its session; a client with files uses OpenSSL. This \
         page lists each lab fault that does not need NSS, with the verdict for each library: layer, cause, component and \
         confidence. In this table, \"client-files\" includes the client's database. `tests/both_engines.rs` generates this page, \
         and fails if the page is out of date.\n\nThe table has {} faults; the verdicts differ for {} of them.\n\n| fault | \
         verdict with either library |\n|---|---|\n",
        rows.len(),
        DIFFERENCES.len()
    );
    for (row, (nss, openssl)) in rows.iter().zip(told) {
        let cell = if nss == openssl { nss.clone() } else { format!("NSS: {nss}; OpenSSL: {openssl}") };
        let _ = writeln!(text, "| {} | {cell} |", row.name);
    }
    text.push_str("\n## Where the libraries differ\n\n");
    for (what, why) in DIFFERENCES.iter().chain(ELSEWHERE) {
        let _ = writeln!(text, "- **{}**: {why}", what.trim_end_matches('.'));
    }
    text
}

#[test]
fn the_verdict_does_not_depend_on_the_library() {
    let rows = rows();
    let next = AtomicUsize::new(0);
    let mut told: Vec<(usize, (String, String))> = thread::scope(|scope| {
        let lane = || {
            let mut told = Vec::new();
            loop {
                let place = next.fetch_add(1, Ordering::SeqCst);
                let Some(Row { change, .. }) = rows.get(place) else { return told };
                told.push((place, (verdict(change, Target::Plain), verdict(change, Target::Files))));
            }
        };
        let lanes: Vec<_> = (0..8).map(|_| scope.spawn(lane)).collect();
        lanes.into_iter().flat_map(|lane| lane.join().expect("a lane")).collect()
    });
    told.sort();
    let told: Vec<_> = told.into_iter().map(|(_, told)| told).collect();
    // The page describes the library versions that it was mostly written for; with newer ones a difference may disappear, but none is new.
    let is_of_the_page =
        nssight_nss::library::nss_release() == (3, 87) && openssl::version::version().starts_with("OpenSSL 3.0.");
    let is_written = |name: &str| DIFFERENCES.iter().any(|(known, _)| *known == name);
    let wrong: Vec<String> = rows
        .iter()
        .zip(&told)
        .filter(
            |(row, (nss, openssl))| {
                if nss == openssl { is_of_the_page && is_written(&row.name) } else { !is_written(&row.name) }
            },
        )
        .map(|(row, (nss, openssl))| format!("{}: {nss} over NSS, {openssl} over OpenSSL", row.name))
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
    if !is_of_the_page {
        return;
    }
    let page = page(&rows, &told);
    let (file, made) = (
        Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/engines.md"),
        Path::new(env!("CARGO_TARGET_TMPDIR")).join("engines.md"),
    );
    fs::write(&made, &page).expect("written");
    let is_current = fs::read_to_string(&file).is_ok_and(|known| known == page);
    assert!(is_current, "stale: cp {} {}", made.display(), file.display());
}
