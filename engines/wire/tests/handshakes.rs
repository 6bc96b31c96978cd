//! Real TLS 1.2 and TLS 1.3 handshakes, good and bad, and what is seen of them.

mod common;

use common::{Setup, identity, refragment, timeless, watch, watch_in_pieces};
use nssight_wire::{Alert, CipherSuite, Conversation, Direction, NamedGroup, Summary, TlsVersion, What};
use openssl::ssl::SslVersion;

const TLS12: SslVersion = SslVersion::TLS1_2;
const TLS13: SslVersion = SslVersion::TLS1_3;

/// The events, each as an arrow and a name.
fn names(conversation: &Conversation) -> Vec<String> {
    let arrow = |direction| if direction == Direction::Sent { '>' } else { '<' };
    conversation.events().iter().map(|event| format!("{} {}", arrow(event.direction), event.what.name())).collect()
}

fn received_alert(summary: &Summary) -> Option<Alert> {
    summary.refusal(Direction::Received)
}

const SERVER_FLIGHT: [&str; 6] = [
    "> ClientHello",
    "< ServerHello",
    "< Certificate",
    "< ServerKeyExchange",
    "< CertificateRequest",
    "< ServerHelloDone",
];

/// Group and length of the server's half of the key exchange.
fn share(summary: &Summary) -> Option<(NamedGroup, usize)> {
    let share = summary.server_hello.as_ref()?.share.as_ref()?;
    Some((share.group, share.value.len()))
}

#[test]
fn mutual_tls_1_2_is_reported_message_by_message() {
    let setup = Setup::new(TLS12);
    let conversation = watch(&setup.run());
    let rest = [
        "> Certificate",
        "> ClientKeyExchange",
        "> CertificateVerify",
        "> ChangeCipherSpec",
        "> encrypted handshake record",
        "< NewSessionTicket",
        "< ChangeCipherSpec",
        "< encrypted handshake record",
        "> application data",
        "< application data",
        "< encrypted alert",
        "< FIN",
    ];
    assert_eq!(names(&conversation), [&SERVER_FLIGHT[..], &rest].concat());

    let summary = conversation.summary();
    let hello = summary.client_hello.as_ref().expect("seen");
    assert_eq!(hello.server_name.as_deref(), Some("bridge.example"));
    assert_eq!(hello.groups, [NamedGroup(29), NamedGroup(23), NamedGroup(24)]);
    assert!(!hello.signature_schemes.is_empty());
    let suites = hello.selectable_suites().count();
    assert_eq!(
        hello.to_string(),
        format!("ClientHello TLS 1.2 (offers up to 1.2), SNI bridge.example, {suites} suites")
    );
    let server_hello = summary.server_hello.as_ref().expect("seen");
    assert_eq!(server_hello.cipher_suite.name(), Some("TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"));
    assert_eq!(summary.version, Some(TlsVersion::TLS_1_2));

    let request = summary.certificate_request.as_ref().expect("seen");
    assert_eq!(request.authorities.len(), 1);
    assert_eq!(request.authorities[0].name, r"CN=Test CA,O=Example\, Inc.");
    assert_eq!(request.authorities[0].der, setup.authority.certificate.subject_name().to_der().unwrap());
    let chain = &summary.server_certificates.as_ref().expect("seen").certificates;
    assert_eq!(chain.len(), 2);
    assert_eq!(chain[1].der, setup.authority.certificate.to_der().unwrap());
    assert_eq!(chain[0].subject.as_deref(), Some(r"CN=bridge,O=Example\, Inc."));
    assert_eq!(chain[0].issuer.as_deref(), Some(r"CN=Test CA,O=Example\, Inc."));
    let client = &summary.client_certificates.as_ref().expect("seen").certificates;
    assert_eq!(client[0].der, setup.client_identity.as_ref().unwrap().certificate.to_der().unwrap());

    assert_eq!(summary.client_certificate_sent, Some(true));
    assert_eq!(summary.handshake_complete, Some(true));
    assert!(summary.client_finished_flight && summary.server_finished);
    assert!(summary.encrypted_alert_received && !summary.encrypted_alert_sent);
    assert_eq!(summary.who_ended_first, Some(Direction::Received));
    assert_eq!((summary.incomplete_message, summary.incomplete_record), (None, None));
    assert_eq!(
        summary.one_line(),
        "TLS 1.2 handshake complete (TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384); the peer sent an encrypted alert; \
         the peer closed the connection (FIN) after 1 ms"
    );
}

#[test]
fn details_of_the_key_exchange_and_the_proof_are_read() {
    let conversation = watch(&Setup::new(TLS12).run());
    let told: Vec<_> = conversation.events().iter().map(|event| event.what.to_string()).collect();
    assert!(told.contains(&"ServerKeyExchange, x25519".to_owned()), "{told:#?}");
    assert!(told.contains(&"CertificateVerify, ecdsa_secp256r1_sha256".to_owned()), "{told:#?}");
    assert!(told.contains(&r"Certificate 2: CN=bridge,O=Example\, Inc., CN=Test CA,O=Example\, Inc.".to_owned()));
}

#[test]
fn a_tls_1_2_client_without_a_certificate_is_seen_to_send_none() {
    let conversation = watch(&Setup { client_identity: None, ..Setup::new(TLS12) }.run());
    let summary = conversation.summary();
    assert_eq!(summary.client_certificate_sent, Some(false));
    assert!(names(&conversation).contains(&"> an empty Certificate".to_owned()));
    assert_eq!(received_alert(&summary).and_then(|alert| alert.description.name()), Some("handshake_failure"));
    assert!(summary.client_finished_flight && !summary.server_finished);
    assert_eq!(
        summary.one_line(),
        "sent everything up to Finished, with an empty Certificate; the peer sent alert fatal handshake_failure (40); \
         the peer closed the connection (FIN) after 1 ms"
    );
}

#[test]
fn a_tls_1_2_client_of_another_authority_is_refused_in_the_clear() {
    let stranger = identity("Other CA", None);
    let setup = Setup { client_identity: Some(identity("client", Some(&stranger))), ..Setup::new(TLS12) };
    let summary = watch(&setup.run()).summary();
    assert_eq!(summary.client_certificate_sent, Some(true));
    assert_eq!(received_alert(&summary).map(|alert| alert.to_string()).as_deref(), Some("fatal unknown_ca (48)"));
    assert_eq!(summary.handshake_complete, Some(false));
    let request = summary.certificate_request.as_ref().expect("seen");
    let sent = summary.client_certificates.as_ref().expect("seen");
    assert_ne!(Some(request.authorities[0].name.as_str()), sent.certificates[0].issuer.as_deref());
}

#[test]
fn a_tls_1_2_client_that_distrusts_the_server_says_so_in_the_clear() {
    let conversation = watch(&Setup { client_trusts_server: false, ..Setup::new(TLS12) }.run());
    assert_eq!(names(&conversation)[..6], SERVER_FLIGHT);
    let summary = conversation.summary();
    assert_eq!(summary.refusal(Direction::Sent).and_then(|alert| alert.description.name()), Some("unknown_ca"));
    assert_eq!(received_alert(&summary), None);
    assert_eq!(summary.client_certificate_sent, None);
    assert_eq!(
        summary.one_line(),
        "sent alert fatal unknown_ca (48); last received ServerHelloDone; the peer closed the connection (FIN) after 1 ms"
    );
}

#[test]
fn tls_1_3_hides_all_but_the_hellos() {
    let conversation = watch(&Setup::new(TLS13).run());
    let seen = names(&conversation);
    assert_eq!(seen[..3], ["> ClientHello", "< ServerHello", "< ChangeCipherSpec"]);
    assert!(seen.contains(&"> ChangeCipherSpec".to_owned()));
    let hidden = |name: &&String| !name.contains("Hello") && !name.contains("ChangeCipherSpec");
    let hidden: Vec<_> = seen.iter().filter(hidden).cloned().collect();
    let (last, hidden) = hidden.split_last().expect("there is more");
    assert_eq!(last, "< FIN");
    assert!(hidden.iter().all(|name| name.ends_with("encrypted record")), "{hidden:?}");

    let summary = conversation.summary();
    assert_eq!(summary.version, Some(TlsVersion::TLS_1_3));
    assert_eq!(summary.server_hello.as_ref().map(|hello| hello.cipher_suite), Some(CipherSuite(0x1302)));
    assert_eq!(share(&summary), Some((NamedGroup(29), 32)));
    assert_eq!(summary.client_certificate_sent, None);
    assert_eq!(summary.handshake_complete, None);
    assert!(!summary.client_finished_flight && !summary.server_finished);
    assert!(summary.last_received.as_ref().is_some_and(What::is_as_long_as_an_alert), "close_notify");
}

#[test]
fn a_tls_1_3_refusal_shows_as_a_record_as_long_as_an_alert() {
    let summary = watch(&Setup { client_identity: None, ..Setup::new(TLS13) }.run()).summary();
    assert!(summary.alerts.is_empty());
    assert_eq!(summary.client_certificate_sent, None);
    assert!(summary.last_received.as_ref().is_some_and(What::is_as_long_as_an_alert));
    assert!(summary.one_line().contains("as long as an alert, and encrypted"), "{}", summary.one_line());
}

#[test]
fn a_hello_retry_request_is_distinguished_from_the_server_hello_that_follows() {
    let conversation = watch(&Setup { server_groups: Some("P-384"), ..Setup::new(TLS13) }.run());
    let seen: Vec<_> = names(&conversation).into_iter().filter(|name| !name.ends_with("ChangeCipherSpec")).collect();
    assert_eq!(seen[..4], ["> ClientHello", "< HelloRetryRequest", "> ClientHello", "< ServerHello"]);
    let summary = conversation.summary();
    assert_eq!(summary.hello_retry.as_ref().and_then(|retry| retry.group), Some(NamedGroup(24)));
    assert_eq!(share(&summary), Some((NamedGroup(24), 97)));
    assert_eq!(summary.handshake_complete, None);
}

#[test]
fn no_common_version_and_no_common_suite_have_their_own_alerts() {
    let setup = Setup { server_versions: (TLS13, TLS13), ..Setup::new(TLS12) };
    let summary = watch(&setup.run()).summary();
    assert_eq!(received_alert(&summary).and_then(|alert| alert.description.name()), Some("protocol_version"));
    assert_eq!(summary.version, None);

    let setup = Setup { server_ciphers: Some("ECDHE-RSA-AES128-GCM-SHA256"), ..Setup::new(TLS12) };
    let summary = watch(&setup.run()).summary();
    assert_eq!(received_alert(&summary).and_then(|alert| alert.description.name()), Some("handshake_failure"));
    assert_eq!(summary.server_hello, None);
}

#[test]
fn a_tls_1_3_server_limited_to_1_2_by_the_client_sets_the_downgrade_mark() {
    let setup = Setup { server_versions: (TLS12, TLS13), ..Setup::new(TLS12) };
    let hello = watch(&setup.run()).summary().server_hello.expect("seen");
    assert_eq!(hello.version, TlsVersion::TLS_1_2);
    assert!(hello.could_do_more);
}

#[test]
fn a_client_of_two_versions_offers_both() {
    let setup = Setup { client_versions: (TLS12, TLS13), ..Setup::new(TLS12) };
    let hello = watch(&setup.run()).summary().client_hello.expect("seen");
    assert_eq!(hello.offered_versions(), (Some(TlsVersion::TLS_1_2), TlsVersion::TLS_1_3));
    assert!(hello.to_string().starts_with("ClientHello TLS 1.2 (offers 1.2–1.3), SNI bridge.example"), "{hello}");
}

#[test]
fn the_same_is_seen_byte_by_byte() {
    for setup in [
        Setup::new(TLS12),
        Setup::new(TLS13),
        Setup { client_identity: None, ..Setup::new(TLS12) },
        Setup { server_groups: Some("P-384"), ..Setup::new(TLS13) },
    ] {
        let log = setup.run();
        let (whole, bytes) = (watch(&log), watch_in_pieces(&log, &mut |_| 1));
        assert_eq!(timeless(&whole), timeless(&bytes));
        assert_eq!(whole.summary().bytes_received, bytes.summary().bytes_received);
        assert_eq!(whole.summary().first_received, bytes.summary().first_received);
    }
}

#[test]
fn the_same_messages_are_seen_however_they_are_cut_into_records() {
    let log = Setup::new(TLS12).run();
    let what =
        |conversation: &Conversation| conversation.events().iter().map(|event| event.what.clone()).collect::<Vec<_>>();
    let whole = what(&watch(&log));
    for most in [1, 3, 100] {
        assert_eq!(what(&watch(&refragment(&log, most))), whole, "records of {most} bytes");
    }
}

#[test]
fn server_observations_of_the_client_are_reported() {
    for (version, expected) in [(TLS12, 2), (TLS13, 0)] {
        let log = Setup::new(version).run();
        let turned = |direction| if direction == Direction::Sent { Direction::Received } else { Direction::Sent };
        let log = log.iter().map(|(direction, bytes)| (turned(*direction), bytes.clone())).collect();
        let conversation = watch(&log);
        let told: Vec<String> = conversation.events().iter().map(|event| event.what.to_string()).collect();
        let encrypted = told.iter().filter(|what| what.starts_with("encrypted handshake record")).count();
        assert_eq!(encrypted, expected, "{told:#?}");
        let odd = |what: &What| matches!(what, What::Oversized { .. } | What::Malformed { .. } | What::Stray { .. });
        assert!(!conversation.events().iter().any(|event| odd(&event.what)), "{told:#?}");
    }
}
