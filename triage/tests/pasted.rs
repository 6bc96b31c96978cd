//! Pasted text: several lines are judged together, and the decisive one is named.

use nssight_triage::{Judged, Role, explain};

fn judged(text: &str) -> Option<Judged> {
    explain(text).judged
}

fn causes(judged: &Judged) -> Vec<&'static str> {
    judged.causes.iter().map(|candidate| candidate.cause.id()).collect()
}

#[test]
fn the_decisive_line_is_named_and_harmless_lines_do_not_decide() {
    let bad_database = "certutil: function failed: SEC_ERROR_BAD_DATABASE: security library: bad database.";
    for (lines, decides, cause) in [
        // A lookup without a result leaves behind the error code of an earlier NSS call.
        ([bad_database, "could not find certificate named a"], 2, "cert-not-found"),
        (["could not find certificate named a", bad_database], 1, "cert-not-found"),
        // NSS reports a certificate that was not sent as a key that was not found.
        (
            ["SSL error -12285", "Client did not provide any certificate while we require one"],
            2,
            "client-cert-not-sent",
        ),
        (
            ["Client did not provide any certificate while we require one", "SSL error -12285"],
            1,
            "client-cert-not-sent",
        ),
        // An end of file follows every failure, and an operation that would block is not a failure.
        (
            ["NSPRError: (PR_END_OF_FILE_ERROR) Encountered end of file.", "(SSL_ERROR_BAD_CERT_ALERT) x"],
            2,
            "client-cert-rejected",
        ),
        (["SSL_read: PR_WOULD_BLOCK_ERROR (-5998)", "SSL_ForceHandshake failed: -8179"], 2, "peer-cert-untrusted"),
        (
            ["NSS error -8179 (SEC_ERROR_UNKNOWN_ISSUER)", "Peer's Certificate issuer is not recognized."],
            1,
            "peer-cert-untrusted",
        ),
        // An error that a start of NSS leaves behind says nothing about the handshake.
        (
            ["PR_LOAD_LIBRARY_ERROR: Failure to load dynamic library", "handshake failed: SSL_ERROR_BAD_CERT_DOMAIN"],
            2,
            "peer-cert-name",
        ),
        // A line that only reports a failure is outranked by one with a reason.
        (
            ["error:0A000086:SSL routines::certificate verify failed", "verify error:num=10:certificate has expired"],
            2,
            "peer-cert-expired",
        ),
        (
            [
                "nss.error.NSPRError: (SEC_ERROR_BAD_PASSWORD) The security password entered is incorrect.",
                "PK11 password callback undefined",
            ],
            2,
            "thread-loses-password",
        ),
    ] {
        let text = lines.join("\n");
        let judged = judged(&text).unwrap_or_else(|| panic!("{text}: not judged"));
        assert_eq!((judged.line, causes(&judged).first().copied()), (decides, Some(cause)), "{text}: {judged:#?}");
        assert_eq!(judged.text, lines[decides as usize - 1]);
        // The decisive item is explained first, and nothing that was named is left out.
        let explained = explain(&text).explanations;
        assert!(explained[0].causes.iter().any(|it| it.cause.id() == cause), "{text}: {:?}", explained[0]);
    }
}

#[test]
fn a_line_of_a_server_is_read_for_its_client() {
    for (line, cause) in [
        (
            "AH02039: Certificate Verification: Error (20): unable to get local issuer certificate",
            "client-cert-rejected",
        ),
        (
            "2026/11/28 10:00:00 [info] 7#7: *3 client SSL certificate verify error: (10:certificate has expired) while reading client request headers",
            "cert-expired",
        ),
    ] {
        let judged = judged(line).unwrap_or_else(|| panic!("{line}: not judged"));
        assert_eq!((judged.role, causes(&judged).first().copied()), (Role::Peer, Some(cause)), "{line}");
    }
    // A line of a client, or of an unknown writer, is explained without a verdict.
    for line in ["curl: (60) SSL certificate problem: certificate has expired", "-8179", "SEC_ERROR_UNKNOWN_ISSUER"] {
        assert!(judged(line).is_none() && !explain(line).explanations.is_empty(), "{line}");
    }
}

#[test]
fn a_failure_that_was_overcome_is_reported_with_its_line() {
    let failed = "curl: (35) OpenSSL/3.0.19: error:0A00042E:SSL routines::tlsv1 alert protocol version";
    let judged = judged(&format!("{failed}\n* Connected to a (10.0.0.1)\n< HTTP/1.1 200 OK")).unwrap();
    assert_eq!((judged.line, judged.causes.len()), (3, 0));
    assert!(judged.summary.contains("succeeded"), "{}", judged.summary);
}

#[test]
fn names_alone_are_not_a_failure() {
    let names = "SEC_ERROR_EXPIRED_CERTIFICATE\nSEC_ERROR_UNKNOWN_ISSUER\nSSL_ERROR_BAD_CERT_DOMAIN\nSSL_ERROR_UNKNOWN_CA_ALERT";
    let explained = explain(names);
    assert_eq!((explained.judged, explained.explanations.len()), (None, 4));
    assert_eq!(explain("the cat\nsat on the mat").judged, None);
}
