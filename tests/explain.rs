//! `nssight explain`: every error constant, alert and cause is known, and pasted messages lead to the right entry.

mod common;

use std::collections::BTreeSet;
use std::fs;
use std::io::{Seek, Write};
use std::path::Path;
use std::process::Command;

use common::{Run, binary, hold_to_schema, run};

fn explain(words: &[&str]) -> Run {
    run(binary().args(["explain", "--format", "json"]).args(words))
}

/// The names in all explanations of one question.
fn names(question: &str) -> Vec<String> {
    let report = explain(&[question]).report();
    let explanations = report["answers"][0]["explanations"].as_array().unwrap();
    explanations.iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
}

fn causes(question: &str) -> Vec<String> {
    let report = explain(&[question]).report();
    let explanations = report["answers"][0]["explanations"].as_array().unwrap();
    let causes = explanations.iter().flat_map(|it| it["causes"].as_array().unwrap());
    causes.map(|cause| cause["cause"].as_str().unwrap().to_owned()).collect()
}

/// If a chain was refused without a reason, the most common reason comes first.
#[test]
fn a_refusal_without_a_reason_has_the_usual_one_first() {
    for message in ["certificate verify failed", "GNUTLS_E_CERTIFICATE_VERIFICATION_ERROR", "-8164"] {
        assert_eq!(causes(message)[0], "peer-cert-untrusted", "{message}");
    }
}

#[test]
fn options_may_stand_behind_the_message() {
    let before = explain(&["-5938"]);
    let behind = run(binary().args(["explain", "-5938", "--format", "json"]));
    assert_eq!((behind.code, behind.report()), (Some(0), before.report()));
    let message = ["tstclnt:", "-W", "file", "SSL_ERROR_UNKNOWN_CA_ALERT"];
    let behind = run(binary().arg("explain").args(message).args(["--format", "json"])).report();
    assert_eq!(behind["answers"][0]["asked"], message.join(" "));
    assert_eq!(behind, explain(&message).report());
}

fn include_directory(package: &str, header: &str) -> std::path::PathBuf {
    let output = Command::new("pkg-config").args(["--variable=includedir", package]).output().expect("pkg-config");
    Path::new(String::from_utf8_lossy(&output.stdout).trim()).join(header)
}

/// Error constants of the installed headers, with their numbers.
fn constants() -> Vec<(String, i64)> {
    let mut found = Vec::new();
    let text = fs::read_to_string(include_directory("nspr", "prerr.h")).unwrap();
    for line in text.lines().filter_map(|line| line.strip_prefix("#define PR_")) {
        let mut words = line.split_whitespace();
        let (Some(name), Some(number)) = (words.next(), words.next()) else { continue };
        if let Ok(number) = number.trim_matches(|c| "()L".contains(c)).parse() {
            found.push((format!("PR_{name}"), number));
        }
    }
    for (header, base) in [("secerr.h", -8192), ("sslerr.h", -12288)] {
        let text = fs::read_to_string(include_directory("nss", header)).unwrap();
        for line in text.lines() {
            let Some((name, rest)) = line.split_once('=') else { continue };
            let Some((_, offset)) = rest.split_once("_ERROR_BASE +") else { continue };
            let offset: i64 = offset.trim_matches(|c: char| !c.is_ascii_digit()).parse().unwrap();
            let name = name.split("/*").next().unwrap_or(name);
            found.push((name.trim().to_owned(), base + offset));
        }
    }
    // Neither is an error: one marks the start of the range, the other its end.
    found.retain(|(name, _)| name != "PR_NSPR_ERROR_BASE" && name != "PR_MAX_ERROR");
    found
}

#[test]
fn every_error_constant_of_the_installed_headers_is_known_with_its_number() {
    let constants = constants();
    assert!(constants.len() > 400, "only {} constants were found", constants.len());
    let listed = run(binary().args(["explain", "--list"])).stdout;
    let listed: BTreeSet<(String, String)> = listed
        .lines()
        .filter_map(|line| {
            let mut words = line.split_whitespace().skip(1);
            Some((words.next()?.to_owned(), words.next()?.to_owned()))
        })
        .collect();
    let missing: Vec<_> =
        constants.iter().filter(|(name, number)| !listed.contains(&(number.to_string(), name.clone()))).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for (name, number) in
        [("PR_END_OF_FILE_ERROR", -5938), ("SEC_ERROR_BAD_DATABASE", -8174), ("SSL_ERROR_NO_CYPHER_OVERLAP", -12286)]
    {
        assert_eq!(names(&number.to_string()), [name]);
        assert_eq!(names(&name.to_lowercase()), [name]);
    }
}

#[test]
fn every_alert_and_every_cause_is_known() {
    let listed = run(binary().args(["causes"])).stdout;
    let ids: Vec<&str> = listed.lines().filter_map(|line| line.split_whitespace().next()).collect();
    assert!(ids.len() > 80);
    let run = explain(&ids);
    assert_eq!(run.code, Some(0), "{run:#?}");
    let report = run.report();
    for (id, answer) in ids.iter().zip(report["answers"].as_array().unwrap()) {
        assert_eq!(
            (answer["asked"].as_str().unwrap(), answer["explanations"][0]["kind"].as_str().unwrap()),
            (*id, "cause")
        );
    }
    // The alerts of RFC 8446, 6 and B.2, and those of TLS 1.2.
    for (number, name) in [
        (0, "close_notify"),
        (10, "unexpected_message"),
        (20, "bad_record_mac"),
        (22, "record_overflow"),
        (40, "handshake_failure"),
        (42, "bad_certificate"),
        (43, "unsupported_certificate"),
        (44, "certificate_revoked"),
        (45, "certificate_expired"),
        (46, "certificate_unknown"),
        (47, "illegal_parameter"),
        (48, "unknown_ca"),
        (49, "access_denied"),
        (50, "decode_error"),
        (51, "decrypt_error"),
        (70, "protocol_version"),
        (71, "insufficient_security"),
        (80, "internal_error"),
        (86, "inappropriate_fallback"),
        (90, "user_canceled"),
        (100, "no_renegotiation"),
        (109, "missing_extension"),
        (110, "unsupported_extension"),
        (112, "unrecognized_name"),
        (113, "bad_certificate_status_response"),
        (115, "unknown_psk_identity"),
        (116, "certificate_required"),
        (120, "no_application_protocol"),
    ] {
        assert!(names(&number.to_string()).contains(&name.to_owned()), "{number}");
        assert_eq!(names(name)[0], name);
    }
}

#[test]
fn pasted_messages_are_explained_with_their_causes() {
    // A pasted text, its first explanation, and a cause that must be named.
    let rows = [
        ("I/O error: Unexpected EOF in NSPR", "unexpected eof in nspr", "server-link-dead"),
        ("Error: I/O error: NSPR connection reset", "nspr connection reset", "peer-reset"),
        ("NSPRError: (SUCCESS) Success", "(success) success", "cert-not-found"),
        ("PK11 password callback undefined", "pk11 password callback undefined", "thread-loses-password"),
        (
            "nss.error.NSPRError: (SEC_ERROR_BAD_PASSWORD) The security password entered is incorrect.",
            "SEC_ERROR_BAD_PASSWORD",
            "password-wrong",
        ),
        ("Incorrect password/PIN entered.", "incorrect password/pin entered", "password-wrong"),
        (
            "certutil: function failed: SEC_ERROR_BAD_DATABASE: security library: bad database.",
            "SEC_ERROR_BAD_DATABASE",
            "db-corrupt",
        ),
        (
            "certutil: function failed: SEC_ERROR_LEGACY_DATABASE: The certificate/key database is in an old, unsupported format.",
            "SEC_ERROR_LEGACY_DATABASE",
            "db-legacy-unsupported",
        ),
        (
            "The certificate/key database is in an old, unsupported format.",
            "SEC_ERROR_LEGACY_DATABASE",
            "db-legacy-unsupported",
        ),
        (
            "tstclnt: SSL_ForceHandshake failed: SSL_ERROR_BAD_CERT_DOMAIN: Unable to communicate securely with peer: requested domain name does not match the server's certificate.",
            "SSL_ERROR_BAD_CERT_DOMAIN",
            "peer-cert-name",
        ),
        (
            "tstclnt: write to SSL socket failed: SEC_ERROR_UNKNOWN_ISSUER: Peer's Certificate issuer is not recognized.",
            "SEC_ERROR_UNKNOWN_ISSUER",
            "peer-cert-untrusted",
        ),
        ("Peer's Certificate issuer is not recognized.", "SEC_ERROR_UNKNOWN_ISSUER", "peer-cert-untrusted"),
        (
            "Peer's certificate issuer has been marked as not trusted by the user.",
            "SEC_ERROR_UNTRUSTED_ISSUER",
            "ca-untrusted",
        ),
        ("Peer's Certificate has expired.", "SEC_ERROR_EXPIRED_CERTIFICATE", "peer-cert-expired"),
        (
            "read from socket failed: SSL_ERROR_HANDSHAKE_FAILURE_ALERT: SSL peer was unable to negotiate an acceptable set of security parameters.",
            "SSL_ERROR_HANDSHAKE_FAILURE_ALERT",
            "client-cert-not-sent",
        ),
        ("SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT", "SSL_ERROR_RX_CERTIFICATE_REQUIRED_ALERT", "client-cert-not-sent"),
        (
            "SSL_ERROR_UNKNOWN_CA_ALERT: Peer does not recognize and trust the CA that issued your certificate.",
            "SSL_ERROR_UNKNOWN_CA_ALERT",
            "client-cert-rejected",
        ),
        (
            "NSPRError: (PR_END_OF_FILE_ERROR) Encountered end of file.",
            "PR_END_OF_FILE_ERROR",
            "peer-closed-in-handshake",
        ),
        ("(PR_CONNECT_RESET_ERROR) TCP connection reset by peer.", "connection reset by peer", "peer-reset"),
        (
            "unable to connect (poll): PR_CONNECT_REFUSED_ERROR: Connection refused by peer",
            "connection refused",
            "tcp-refused",
        ),
        (
            "(PR_DIRECTORY_LOOKUP_ERROR) A directory lookup on a network address has failed",
            "PR_DIRECTORY_LOOKUP_ERROR",
            "name-unresolved",
        ),
        ("(PR_IO_TIMEOUT_ERROR) I/O operation timed out", "PR_IO_TIMEOUT_ERROR", "peer-silent"),
        (
            "error:0A000418:SSL routines:ssl3_read_bytes:tlsv1 alert unknown ca:SSL alert number 48",
            "unknown_ca",
            "client-cert-rejected",
        ),
        (
            "error:14094410:SSL routines:ssl3_read_bytes:sslv3 alert handshake failure",
            "handshake_failure",
            "client-cert-not-sent",
        ),
        (
            "error:0A00045C:SSL routines::tlsv13 alert certificate required",
            "certificate_required",
            "client-cert-not-sent",
        ),
        (
            "error:0A000415:SSL routines::sslv3 alert certificate expired",
            "certificate_expired",
            "client-cert-expired-at-peer",
        ),
        ("error:0A00042E:SSL routines::tlsv1 alert protocol version", "protocol_version", "tls-version-mismatch"),
        ("error:0A00010B:SSL routines::wrong version number", "wrong version number", "not-tls"),
        (
            "error:0A000126:SSL routines::unexpected eof while reading",
            "unexpected eof while reading",
            "peer-closed-in-handshake",
        ),
        ("error:0A000086:SSL routines::certificate verify failed", "certificate verify failed", "peer-cert-untrusted"),
        ("error:0A0000C1:SSL routines::no shared cipher", "no shared cipher", "tls-no-common-cipher"),
        (
            "error:0A0000C7:SSL routines::peer did not return a certificate",
            "peer did not return a certificate",
            "client-cert-not-sent",
        ),
        (
            "error:0B080074:x509 certificate routines:X509_check_private_key:key values mismatch",
            "key values mismatch",
            "key-mismatch",
        ),
        (
            "Verify return code: 20 (unable to get local issuer certificate)",
            "X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
            "peer-cert-untrusted",
        ),
        ("verify error:num=10:certificate has expired", "X509_V_ERR_CERT_HAS_EXPIRED", "peer-cert-expired"),
        (
            "curl: (35) OpenSSL SSL_connect: Connection reset by peer in connection to bridge.example:44334",
            "connection reset by peer",
            "peer-reset",
        ),
        (
            "curl: (7) Failed to connect to bridge.example port 44334: Connection refused",
            "connection refused",
            "tcp-refused",
        ),
        ("socket.gaierror: [Errno -2] Name or service not known", "name or service not known", "name-unresolved"),
        ("Error: Authentication failed", "authentication failed", "request-auth-failed"),
        (
            "Jan 01 10:00:00 bridge sigul_bridge[17]: WARNING: Invalid request",
            "invalid request",
            "bridge-rejected-request",
        ),
        (
            "SEC_ERROR_PKCS11_DEVICE_ERROR: A PKCS #11 module returned CKR_DEVICE_ERROR, indicating that a problem has occurred with the token or slot.",
            "SEC_ERROR_PKCS11_DEVICE_ERROR",
            "fork-breaks-nss",
        ),
        ("sqlite3.DatabaseError: file is not a database", "file is not a database", "db-corrupt"),
    ];
    assert!(rows.len() >= 40);
    for (message, first, cause) in rows {
        let (found, causes) = (names(message), causes(message));
        assert_eq!(found.first().map(String::as_str), Some(first), "{message}: {found:?}");
        assert!(causes.iter().any(|it| it == cause), "{message}: {causes:?}");
    }
}

#[test]
fn unknown_words_are_reported_with_suggestions() {
    let typo = run(binary().args(["explain", "SEC_ERROR_LEGACY_DATABSE"]));
    assert_eq!(typo.code, Some(1));
    assert!(typo.stdout.contains("did you mean SEC_ERROR_LEGACY_DATABASE"), "{typo:#?}");
    let nothing = run(binary().args(["explain", "the cat sat on the mat"]));
    assert_eq!(nothing.code, Some(1));
    assert!(nothing.stdout.contains("is unknown"), "{nothing:#?}");
    // Words of a message need no quotes; several names are several questions.
    assert_eq!(explain(&["Unexpected", "EOF", "in", "NSPR"]).report()["answers"].as_array().unwrap().len(), 1);
    assert_eq!(explain(&["unknown_ca", "-5938", "48"]).report()["answers"].as_array().unwrap().len(), 3);
    // A port, a line or a year in a message is not an error code.
    assert_eq!(names("connecting to bridge.example port 44334 at 2026"), Vec::<String>::new());
}

#[test]
fn the_pages_of_the_causes_are_those_of_the_catalogue() {
    let directory = tempfile::tempdir().unwrap();
    assert_eq!(run(binary().args(["causes", "--pages"]).arg(directory.path())).code, Some(0));
    let pages = |path: &Path| -> BTreeSet<(String, String)> {
        let entries = fs::read_dir(path).unwrap().flatten();
        entries.map(|it| (it.file_name().into_string().unwrap(), fs::read_to_string(it.path()).unwrap())).collect()
    };
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/causes");
    assert!(pages(directory.path()) == pages(&kept), "stale: run `nssight causes --pages docs/causes`");
}

#[test]
fn the_document_keeps_to_its_schema() {
    let questions = ["-5938", "unknown_ca", "Unexpected EOF in NSPR", "nonsense"];
    hold_to_schema("explain", &questions.map(|question| explain(&[question]).report()));
}

#[test]
fn a_message_is_read_from_standard_input() {
    let from = |text: &[u8]| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        file.rewind().unwrap();
        let output = binary().args(["explain", "--format", "json", "-"]).stdin(file).output().unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let (code, out) = from(b"connecting\nERROR: I/O error: Unexpected EOF in NSPR\n");
    assert_eq!(code, Some(0));
    let report: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["answers"][0]["judged"]["line"], 2, "{report:#}");
    // Empty input, and more input than any message has.
    assert_eq!(from(b" \n").0, Some(2));
    assert_eq!(from(&vec![b'x'; 2 << 20]).0, Some(2));
}
