//! Lines of both ends, from the client's point of view.

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::{Cause, Confidence, Facts, Layer};
use nssight_triage::{Document, Triage};

/// Logs with these names, each line at a given second of the same minute.
fn of(logs: &[(&str, &[(u32, &str)])]) -> Document {
    let mut triage = Triage::default();
    for (name, lines) in logs {
        let text: String = lines.iter().map(|(at, line)| format!("2026-11-24 05:00:{at:02},000 {line}\n")).collect();
        triage.log(name, text.as_bytes());
    }
    triage.finish()
}

fn facts(document: &Document) -> &Facts {
    &document.incidents[0].facts
}

const CONNECTED: &str = "INFO: Client with CN 'a' connected";
const REQUEST: &str = "INFO: Request: op='list-users', user='a'";
const ENDED: &str = "INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.";

#[test]
fn an_error_in_the_bridges_log_is_a_refusal_for_its_client() {
    for (line, expected, reason) in [
        ("(SEC_ERROR_UNKNOWN_ISSUER) x", signal::ALERT_UNKNOWN_CA, fact::PeerLogReason::UnknownIssuer),
        ("(SEC_ERROR_INADEQUATE_CERT_TYPE) x", signal::ALERT_UNSUPPORTED_CERTIFICATE, fact::PeerLogReason::Usage),
        ("(SEC_ERROR_REVOKED_CERTIFICATE) x", signal::ALERT_CERTIFICATE_REVOKED, fact::PeerLogReason::Revoked),
        ("(SSL_ERROR_NO_CERTIFICATE) x", signal::CERTIFICATE_NOT_GIVEN, fact::PeerLogReason::NoneGiven),
        ("Peer's certificate has expired, rejecting x", signal::ALERT_CERTIFICATE_EXPIRED, fact::PeerLogReason::Dates),
        ("(SEC_ERROR_BAD_SIGNATURE) x", signal::ALERT_BAD_CERTIFICATE, fact::PeerLogReason::Other),
    ] {
        let document = of(&[("bridge.log", &[(1, line)])]);
        let shown = document.incidents[0].shown.as_ref().unwrap();
        assert_eq!((shown.signal, shown.layer), (expected, Some(Layer::OuterHandshake)), "{line}");
        assert!(
            facts(&document).has(fact::PeerLogRefusedOurCertificate::Yes) && facts(&document).has(reason),
            "{line}"
        );
    }
    // After the bridge has accepted the client, the line is not about the client's certificate.
    let document = of(&[("bridge.log", &[(1, CONNECTED), (2, "(SEC_ERROR_UNKNOWN_ISSUER) x")])]);
    assert_eq!(document.incidents[0].shown, None);
    assert!(facts(&document).has(fact::PeerLogRefusedOurCertificate::No));
    // At the server the line is about the inner session.
    let document = of(&[("server.log", &[(1, "NSPR error: (SEC_ERROR_UNKNOWN_ISSUER) x")])]);
    let shown = document.incidents[0].shown.as_ref().unwrap();
    assert_eq!((shown.signal, shown.layer), (signal::ALERT_UNKNOWN_CA, Some(Layer::InnerHandshake)));
}

#[test]
fn an_alert_that_a_server_received_was_sent_by_its_client() {
    let document = of(&[("bridge.log", &[(1, "NSPR I/O error: (SSL_ERROR_UNKNOWN_CA_ALERT) x")])]);
    assert_eq!(document.incidents[0].shown.as_ref().unwrap().signal, signal::CHAIN_UNKNOWN_ISSUER);
    assert!(facts(&document).has(fact::PeerLogAlertHeard::UnknownCa));
    // This alert does not show the client's objection.
    let document = of(&[("bridge.log", &[(1, "NSPR I/O error: (SSL_ERROR_BAD_CERT_ALERT) x")])]);
    assert_eq!((&document.incidents[0].shown, document.verdict.cause), (&None, None));
}

#[test]
fn only_a_statement_of_both_ends_at_the_same_time_proves_a_cause() {
    let refused = "NSPR I/O error: (SEC_ERROR_UNKNOWN_ISSUER) x";
    let told = "nss.error.NSPRError: (SSL_ERROR_UNKNOWN_CA_ALERT) x";
    let both = of(&[("client.log", &[(1, told)]), ("bridge.log", &[(1, refused)])]);
    assert!(facts(&both).has(fact::LogsAgree::Yes) && facts(&both).has(fact::LogsJoined::ByTime));
    let alone = of(&[("client.log", &[(1, told)])]);
    assert!(!facts(&alone).has(fact::LogsAgree::Yes) && !facts(&alone).has(fact::LogsJoined::ByTime));
    let mut triage = Triage::default();
    triage.log("client.log", told.as_bytes());
    triage.log("bridge.log", format!("2026-11-24 05:00:01,000 {refused}\n").as_bytes());
    let joined = triage.finish();
    assert!(facts(&joined).has(fact::LogsJoined::WithoutTime) && !joined.against.is_empty());
    // An alert of the peer is as certain as in a check; a log line about an alert is not.
    let line = "nss.error.NSPRError: (SSL_ERROR_INTERNAL_ERROR_ALERT) x";
    let document = of(&[("client.log", &[(1, line)])]);
    assert_eq!((document.verdict.cause.is_some(), document.verdict.confidence), (true, Confidence::Likely));
}

#[test]
fn a_disconnect_is_judged_by_the_progress_of_the_request() {
    let dead = of(&[("bridge.log", &[(1, CONNECTED), (1, REQUEST), (1, ENDED)])]);
    assert!(facts(&dead).has(fact::BridgeClose::AtOnce) && facts(&dead).has(fact::BridgeEnd::NsprError));
    assert!(facts(&dead).has(fact::BridgeRequest::Read) && facts(&dead).has(fact::BridgeRefusal::NotSaid));
    assert_eq!(dead.verdict.cause.map(Cause::id), Some("server-link-dead"));
    let late = of(&[("bridge.log", &[(1, CONNECTED), (1, REQUEST), (4, ENDED)])]);
    assert!(late.incidents.iter().all(|incident| incident.cause.is_none()));
    // The server had begun to process the request, so it was not a dead connection.
    let begun: &[(u32, &str)] = &[(1, "DEBUG: Started processing a request")];
    let bridge: &[(u32, &str)] = &[(1, CONNECTED), (1, REQUEST), (1, ENDED)];
    let document = of(&[("bridge.log", bridge), ("server.log", begun)]);
    assert_ne!(document.verdict.cause, dead.verdict.cause);
    let client: &[(u32, &str)] = &[(1, "ERROR: I/O error: Unexpected EOF in NSPR")];
    let document = of(&[("client.log", client), ("bridge.log", bridge), ("server.log", begun)]);
    assert_eq!(document.incidents[0].shown.as_ref().unwrap().layer, Some(Layer::InnerHandshake));
    assert!(facts(&document).has(fact::ServerRequest::Begun));
}

#[test]
fn a_request_that_was_served_is_not_the_one_that_failed() {
    let client = b"ERROR: I/O error: Unexpected EOF in NSPR\n";
    let mut triage = Triage::default();
    triage.log("client.log", &client[..]);
    let served = [CONNECTED, REQUEST, "DEBUG: Request handling finished"];
    let served: String = served.iter().map(|line| format!("2026-11-24 05:00:01,000 {line}\n")).collect();
    triage.log("bridge.log", served.as_bytes());
    let document = triage.finish();
    assert_eq!(document.verdict.cause, None);
    assert!(!facts(&document).has(fact::BridgeRequest::Read));
}

fn of_text(text: &str) -> Document {
    let mut triage = Triage::default();
    triage.log("messages", text.as_bytes());
    triage.finish()
}

#[test]
fn a_text_about_errors_is_no_failure() {
    for text in [
        "SSL_ERROR_UNKNOWN_CA_ALERT means that the peer does not trust the CA of your certificate.\n",
        "SEC_ERROR_EXPIRED_CERTIFICATE\nSEC_ERROR_UNKNOWN_ISSUER\nSSL_ERROR_BAD_CERT_DOMAIN\nSSL_ERROR_UNKNOWN_CA_ALERT\n",
    ] {
        let document = of_text(text);
        assert_eq!((document.verdict.cause, document.incidents.len()), (None, 0), "{text}");
    }
    assert!(of_text("x: SSL_ERROR_UNKNOWN_CA_ALERT\n").verdict.cause.is_some());
}

#[test]
fn programs_and_connections_of_one_journal_are_told_apart() {
    let haproxy = "2026-11-24 05:00:01,000 host haproxy[1]: 10.0.0.4:51 tls/1: SSL handshake failure (error:0A000418:SSL routines::x)\n";
    let nginx = |at: &str, connection: u32, text: &str| {
        format!("2026-11-24 05:00:{at} host nginx[2]: *{connection} {text}, client: 10.0.0.5\n")
    };
    let none = "client sent no required SSL certificate while reading client request headers";
    let document = of_text(&(haproxy.to_owned() + &nginx("01,100", 7, none)));
    let mut causes: Vec<_> = document.incidents.iter().filter_map(|it| it.cause).map(Cause::id).collect();
    causes.sort_unstable();
    assert_eq!(causes, ["client-cert-not-sent", "peer-cert-untrusted"]);
    // Two connections of one server at the same time are two failures.
    let expired = "client SSL certificate verify error: (10:x) while reading client request headers";
    let document = of_text(&(nginx("01,000", 7, none) + &nginx("01,100", 8, expired)));
    assert_eq!(document.incidents.len(), 2);
    assert!(document.incidents.iter().all(|it| it.lines.len() == 1));
}

#[test]
fn a_failure_with_a_successful_retry_does_not_count() {
    let failed = "curl: (35) OpenSSL/3.0.19: error:0A00042E:SSL routines::tlsv1 alert protocol version\n";
    assert!(of_text(failed).verdict.cause.is_some());
    let document = of_text(&(failed.to_owned() + "* Connected to a (10.0.0.1)\n< HTTP/1.1 200 OK\n"));
    assert_eq!(document.verdict.cause, None);
    assert!(document.verdict.summary.contains("succeeded") && !document.evidence.is_empty());
}

#[test]
fn only_a_success_with_the_same_target_is_a_retry() {
    let curl = |host: &str, end: &str| format!("* Connected to {host} (10.0.0.1) port 443 (#0)\n{end}\n");
    let wget = |host: &str, end: &str| format!("Connecting to {host} ({host})|10.0.0.1|:443... connected.\n{end}\n");
    let expired = "curl: (60) SSL certificate problem: certificate has expired";
    let unknown = "ERROR: cannot verify a.example's certificate, issued by ‘CN=ca’:\n  Issued certificate has expired.";
    for (failed, same, other) in [
        (curl("a.example", expired), curl("a.example", "< HTTP/1.1 200 OK"), curl("b.example", "< HTTP/1.1 200 OK")),
        (
            wget("a.example", unknown),
            wget("a.example", "HTTP request sent, awaiting response... 200 OK"),
            wget("b.example", "HTTP request sent, awaiting response... 200 OK"),
        ),
    ] {
        let alone = of_text(&failed);
        let again = of_text(&(failed.clone() + &same));
        assert_eq!((again.verdict.cause, again.incidents.len()), (None, 0), "{failed}{same}");
        assert!(again.verdict.summary.contains("succeeded"), "{}", again.verdict.summary);
        // An earlier success, and a success with another host, say nothing about the failure.
        for text in [failed.clone() + &other, same.clone() + &failed, other.clone() + &failed] {
            let document = of_text(&text);
            assert_eq!(document.verdict.cause, alone.verdict.cause, "{text}");
            assert!(document.verdict.cause.is_some() && document.against.is_empty(), "{text}: {:?}", document.against);
        }
    }
}

fn of_logs(logs: &[(&str, &str)]) -> nssight_triage::Document {
    let mut triage = nssight_triage::Triage::default();
    logs.iter().for_each(|(name, text)| triage.log(name, text.as_bytes()));
    triage.finish()
}

#[test]
fn a_request_that_ended_later_was_not_lost() {
    let server = "2026-11-28 10:00:00,100 DEBUG: Waiting for a request\n\
                  2026-11-28 10:00:01,100 DEBUG: Started processing a request\n\
                  2026-11-28 10:02:31,200 DEBUG: Request handling finished\n";
    let client = "2026-11-28 10:00:30,000 ERROR: I/O error: Unexpected EOF in NSPR\n";
    let document = of_logs(&[("client.log", client), ("server.log", server)]);
    assert_eq!(document.against, ["the request succeeded anyway: server.log:3"]);
    let before = server.replace("10:02:31", "10:00:02");
    assert!(of_logs(&[("client.log", client), ("server.log", &before)]).against.is_empty());
}

#[test]
fn a_log_with_a_line_near_a_failure_is_not_called_silent() {
    let bridge = "2026-11-28 10:00:00,000 DEBUG: Waiting for the client to connect\n\
                  2026-11-28 10:00:01,000 INFO: Client with CN 'a' connected\n\
                  2026-11-28 10:00:01,001 INFO: Request: op='list-users', user='a'\n\
                  2026-11-28 10:00:01,003 INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.\n";
    let silent = "the server's log has no lines for the time of the failure".to_owned();
    for (time, expected) in [("10:00:01,018", false), ("09:10:00,000", true)] {
        let server = format!("2026-11-28 {time} DEBUG: Waiting for a request\n");
        let document = of_logs(&[("bridge.log", bridge), ("server.log", &server)]);
        assert_eq!(document.against.contains(&silent), expected, "{time}: {:?}", document.against);
    }
}

#[test]
fn bare_connections_are_named_with_their_port() {
    let beat = |minute: u32| {
        format!(
            "2026-11-28 10:{minute:02}:00,000 DEBUG: Waiting for the client to connect\n\
             2026-11-28 10:{minute:02}:30,000 INFO: NSPR I/O error: (PR_END_OF_FILE_ERROR) Encountered end of file.\n"
        )
    };
    let log: String = (0..8).map(beat).collect();
    let document = of_logs(&[("bridge.log", &log)]);
    assert_eq!(document.verdict.cause.map(|cause| cause.id()), Some("bare-connections"));
    let summary = &document.verdict.summary;
    assert!(summary.contains("every 60 s") && summary.contains("44334"), "{summary}");
}
