//! Faults of name, TCP and outer handshake, each with the layer and the cause that a diagnosis must name. Each run is
//! held to one connection, to its deadline, and to leaving the database as it was.

mod common;

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::Duration;

use common::{Case, NICKNAME, PASSWORD, PKI, Run, diagnose, run_beside};
use nssight_fixtures::authority::{DAY, Identity, KeyKind, Spec, Usage};
use nssight_fixtures::endpoint::{Behaviour, ClientAuth, Endpoint, Leave, Options, fatal_alert};
use nssight_fixtures::nssdb::{DbBuilder, DbFormat};
use openssl::hash::MessageDigest;
use openssl::ssl::SslVersion;

/// A walk may take this long: the deadline of 3 s of the layer that hangs, and everything else.
const AT_MOST: Duration = Duration::from_secs(6);

fn well() -> Options {
    Options::new(&PKI.bridge, &PKI.ca)
}

fn against(case: &Case, options: Options) -> Run {
    against_with(case, options, &PKI.client, &[])
}

fn misbehaving(case: &Case, behaviour: Behaviour) -> Run {
    against(case, well().behaving(behaviour))
}

/// With an identity of ours and more flags.
fn against_with(case: &Case, options: Options, identity: &Identity, flags: &[&str]) -> Run {
    let endpoint = Endpoint::start(options).unwrap();
    let database = case.database_of(DbFormat::Sql, identity, &[("lab-ca", &PKI.ca, "CT,C,C")]);
    let password = case.password_file();
    let run = run_beside(diagnose(&database, &password, endpoint.port()).args(flags), &database);
    assert_eq!(endpoint.connections(), 1, "{run:#?}");
    assert_eq!(run.report()["connections_opened"], 1, "{run:#?}");
    assert!(run.took < AT_MOST, "{run:#?}");
    run
}

fn with_server(case: &Case, identity: &Identity) -> Run {
    against(case, Options::new(identity, &PKI.ca))
}

/// A policy as NSS reads it from the module list. CA and client have EC keys, the bridge an RSA key of 2048 bits.
fn with_policy(case: &Case, rules: &str, flags: &[&str]) -> Run {
    let bridge = PKI.other_ca.issue(&localhost("bridge").key(KeyKind::Rsa(2048))).unwrap();
    let endpoint = Endpoint::start(Options::new(&bridge, &PKI.other_ca)).unwrap();
    let database = case.database_of(DbFormat::Sql, &PKI.stranger, &[("lab-ca", &PKI.other_ca, "CT,C,C")]);
    let modules = database.join("pkcs11.txt");
    let mut text = std::fs::read_to_string(&modules).unwrap();
    text.push_str(&format!("\nlibrary=\nname=Policy\nNSS=flags=policyOnly,moduleDB\nconfig=\"{rules}\"\n\n"));
    std::fs::write(&modules, text).unwrap();
    let password = case.password_file();
    run_beside(diagnose(&database, &password, endpoint.port()).args(flags), &database)
}

/// Without a nickname there is no certificate to show.
fn without_certificate(case: &Case, options: Options) -> Run {
    let endpoint = Endpoint::start(options).unwrap();
    let database = case.database(DbFormat::Sql);
    let mut command = common::binary();
    command.args([
        "diagnose",
        "--format",
        "json",
        "--timeout",
        "3",
        "--bridge",
        &format!("localhost:{}", endpoint.port()),
        "--db",
    ]);
    let run = run_beside(command.arg(&database).arg("--password-file").arg(case.password_file()), &database);
    assert_eq!(endpoint.connections(), 1, "{run:#?}");
    run
}

fn server(spec: &Spec) -> Identity {
    PKI.ca.issue(spec).unwrap()
}

fn localhost(common_name: &str) -> Spec {
    Spec::new(common_name, Usage::Server).names(&["localhost"])
}

fn to_host(case: &Case, host: &str, port: u16) -> Run {
    let database = case.database(DbFormat::Sql);
    let password = case.password_file();
    run_beside(diagnose(&database, &password, port).args(["--bridge", &format!("{host}:{port}")]), &database)
}

/// A ServerHello that never ends: record of 16 KiB, handshake message of 2^24-1 bytes (RFC 8446, 4).
fn endless_message() -> Vec<u8> {
    [&[22, 3, 3, 0x40, 0][..], &[2, 0xff, 0xff, 0xff], &[0; 1000]].concat()
}

faults! {
    name_without_an_address: "resolve", "name-unresolved" => |case| { to_host(&case, "no-such-host.invalid", 44334) }
    port_closed: "tcp", "tcp-refused" => |case| {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        to_host(&case, "127.0.0.1", port)
    }
    listener_that_takes_nobody_more: "tcp", "tcp-timeout" => |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        rustix::net::listen(&listener, 0).unwrap();
        // The queue holds one or two; after that the kernel drops what asks (listen(2)).
        let patience = Duration::from_millis(200);
        let address = listener.local_addr().unwrap();
        let queued: Vec<TcpStream> = (0..8).map_while(|_| TcpStream::connect_timeout(&address, patience).ok()).collect();
        assert!(queued.len() < 8 && listener.as_raw_fd() > 0);
        to_host(&case, "127.0.0.1", port)
    }

    closes_after_the_client_hello: "outer-handshake", "peer-closed-in-handshake" => |case| {
        misbehaving(&case, Behaviour::Answer(Vec::new(), Leave::Close))
    }
    closes_without_reading: "outer-handshake", "peer-reset" => |case| { misbehaving(&case, Behaviour::CloseAtOnce) }
    resets_after_the_client_hello: "outer-handshake", "peer-reset" => |case| {
        misbehaving(&case, Behaviour::Answer(Vec::new(), Leave::Reset))
    }
    never_answers: "outer-handshake", "peer-silent" => |case| {
        misbehaving(&case, Behaviour::Answer(Vec::new(), Leave::Stall))
    }
    never_accepts: "outer-handshake", "peer-silent" => |case| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        to_host(&case, "127.0.0.1", listener.local_addr().unwrap().port())
    }
    ssh_banner_and_silence: "outer-handshake", "not-tls" => |case| {
        misbehaving(&case, Behaviour::SpeakFirst(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec(), Leave::Stall))
    }
    ssh_banner_and_close: "outer-handshake", "not-tls" => |case| {
        misbehaving(&case, Behaviour::SpeakFirst(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec(), Leave::Close))
    }
    http_answer: "outer-handshake", "not-tls" => |case| {
        misbehaving(&case, Behaviour::Answer(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec(), Leave::Close))
    }
    smtp_greeting: "outer-handshake", "not-tls" => |case| {
        misbehaving(&case, Behaviour::SpeakFirst(b"220 mail.example ESMTP\r\n".to_vec(), Leave::Stall))
    }
    a_megabyte_of_garbage: "outer-handshake", "not-tls" => |case| {
        let garbage = (0u32..1 << 20).map(|index| (index.wrapping_mul(2_654_435_761) >> 24) as u8 | 0x80).collect();
        misbehaving(&case, Behaviour::Answer(garbage, Leave::Stall))
    }
    a_handshake_message_without_end: "outer-handshake", "handshake-garbled" => |case| {
        misbehaving(&case, Behaviour::AnswerForEver(endless_message(), 64))
    }
    a_record_longer_than_tls_allows: "outer-handshake", "handshake-garbled" => |case| {
        misbehaving(&case, Behaviour::Answer(vec![22, 3, 3, 0xff, 0xff, 2, 0, 0, 80], Leave::Stall))
    }
    one_byte_now_and_then: "outer-handshake", "handshake-too-slow" => |case| {
        misbehaving(&case, Behaviour::Drip(Duration::from_millis(250)))
    }
    closes_in_its_flight: "outer-handshake", "peer-closed-in-handshake" => |case| {
        against(&case, well().tls12().behaving(Behaviour::CutFlight(500, Leave::Close)))
    }
    resets_in_its_flight: "outer-handshake", "peer-reset" => |case| {
        against(&case, well().tls12().behaving(Behaviour::CutFlight(500, Leave::Reset)))
    }
    stalls_in_its_flight: "outer-handshake", "peer-stalled" => |case| {
        against(&case, well().tls12().behaving(Behaviour::CutFlight(500, Leave::Stall)))
    }
    stalls_after_our_certificate: "outer-handshake", "peer-stalled" => |case| {
        against(&case, well().tls12().behaving(Behaviour::LeaveAfterCertificate(Leave::Stall)))
    }
    close_notify_for_an_answer: "outer-handshake", "peer-closed-in-handshake" => |case| {
        misbehaving(&case, Behaviour::Answer(vec![21, 3, 3, 0, 2, 2, 0], Leave::Close))
    }
    alert_internal_error: "outer-handshake", "peer-alert" => |case| {
        misbehaving(&case, Behaviour::Answer(fatal_alert(80).to_vec(), Leave::Close))
    }
    alert_handshake_failure_for_an_answer: "outer-handshake", "tls-no-common-cipher" => |case| {
        misbehaving(&case, Behaviour::Answer(fatal_alert(40).to_vec(), Leave::Close))
    }
    no_version_in_common: "outer-handshake", "tls-version-mismatch" => |case| {
        against_with(&case, well().tls12(), &PKI.client, &["--tls-min", "tls1.3"])
    }
    server_of_an_older_version: "outer-handshake", "tls-version-mismatch" => |case| {
        let options = Options { versions: (SslVersion::TLS1, SslVersion::TLS1_1), ..well() };
        against(&case, options)
    }
    no_suite_in_common: "outer-handshake", "tls-no-common-cipher" => |case| {
        let options = Options { suites: "ECDHE-RSA-CAMELLIA256-SHA384:@SECLEVEL=0".to_owned(), ..well().tls12() };
        against(&case, options)
    }
    policy_without_the_versions: "outer-handshake", "tls-policy-blocked" => |case| {
        with_policy(&case, "allow=tls-version-min=tls1.3", &["--tls-max", "tls1.2"])
    }
    policy_above_the_peers_key: "outer-handshake", "tls-policy-blocked" => |case| {
        with_policy(&case, "allow=RSA-MIN=3072", &[])
    }

    bridge_of_another_ca: "outer-handshake", "peer-cert-untrusted" => |case| {
        with_server(&case, &PKI.other_ca.issue(&localhost("bridge")).unwrap())
    }
    bridge_self_signed: "outer-handshake", "peer-cert-untrusted" => |case| {
        with_server(&case, &Identity::self_signed(&localhost("bridge")).unwrap())
    }
    bridge_without_its_intermediate: "outer-handshake", "peer-chain-incomplete" => |case| {
        let intermediate = PKI.ca.issue(&Spec::new("Intermediate", Usage::Authority)).unwrap();
        let options = Options { sends_chain: false, ..Options::new(&intermediate.issue(&localhost("bridge")).unwrap(), &PKI.ca) };
        against(&case, options)
    }
    bridge_expired: "outer-handshake", "peer-cert-expired" => |case| {
        with_server(&case, &server(&localhost("bridge").valid(-20 * DAY, -DAY)))
    }
    bridge_with_another_name: "outer-handshake", "peer-cert-name" => |case| {
        let run = with_server(&case, &server(&Spec::new("bridge", Usage::Server).names(&["bridge.example"])));
        assert!(run.stdout.contains("bridge.example"), "{run:#?}");
        run
    }
    bridge_with_the_name_only_as_common_name_beside_others: "outer-handshake", "peer-cert-name" => |case| {
        with_server(&case, &server(&Spec::new("localhost", Usage::Server).names(&["bridge.example"])))
    }
    bridge_with_a_clients_certificate: "outer-handshake", "peer-cert-usage" => |case| {
        with_server(&case, &server(&Spec::new("bridge", Usage::Client).names(&["localhost"])))
    }
    bridge_with_a_tiny_key: "outer-handshake", "peer-cert-weak" => |case| {
        against(&case, Options::new(&server(&localhost("bridge").key(KeyKind::Rsa(768))), &PKI.ca).tls12())
    }
    bridge_signed_over_md5: "outer-handshake", "peer-cert-weak" => |case| {
        with_server(&case, &server(&localhost("bridge").digest(MessageDigest::md5())))
    }

    no_client_certificate_tls12: "outer-handshake", "client-cert-missing" => |case| { without_certificate(&case, well().tls12()) }
    no_client_certificate_tls13: "outer-handshake", "client-cert-missing" => |case| { without_certificate(&case, well().tls13()) }
    client_of_another_ca_tls12: "outer-handshake", "client-cert-rejected" => |case| {
        against_with(&case, well().tls12(), &PKI.stranger, &[])
    }
    client_of_another_ca_tls13: "outer-handshake", "client-cert-rejected" => |case| {
        against_with(&case, well().tls13(), &PKI.stranger, &[])
    }
    client_refused_without_an_alert: "outer-handshake", "client-cert-rejected" => |case| {
        against(&case, well().tls12().behaving(Behaviour::LeaveAfterCertificate(Leave::Close)))
    }
    client_refused_without_an_alert_tls13: "outer-handshake", "client-cert-rejected" => |case| {
        against(&case, well().tls13().behaving(Behaviour::LeaveAfterCertificate(Leave::Close)))
    }
    client_refused_with_a_reset: "outer-handshake", "client-cert-rejected" => |case| {
        against(&case, well().tls12().behaving(Behaviour::LeaveAfterCertificate(Leave::Reset)))
    }
    client_refused_with_a_reset_tls13: "outer-handshake", "client-cert-rejected" => |case| {
        against(&case, well().tls13().behaving(Behaviour::LeaveAfterCertificate(Leave::Reset)))
    }
    client_ca_not_on_the_list: "outer-handshake", "client-ca-not-acceptable" => |case| {
        let options = Options { advertised: Some(vec![PKI.other_ca.certificate.clone()]), ..well().tls12() };
        against(&case, options.behaving(Behaviour::LeaveAfterCertificate(Leave::Close)))
    }
    client_found_expired_by_the_peer: "outer-handshake", "client-cert-expired-at-peer" => |case| {
        against(&case, well().tls12().behaving(Behaviour::RefuseCertificate(45)))
    }
    client_found_revoked_by_the_peer: "outer-handshake", "client-cert-revoked-at-peer" => |case| {
        against(&case, well().tls12().behaving(Behaviour::RefuseCertificate(44)))
    }
    client_found_unsuitable_by_the_peer: "outer-handshake", "client-cert-rejected" => |case| {
        against(&case, well().tls12().behaving(Behaviour::RefuseCertificate(43)))
    }
    authority_of_both_missing_beside_another: "certificate", "ca-missing" => |case| {
        let endpoint = Endpoint::start(well()).unwrap();
        let database = case.database_of(DbFormat::Sql, &PKI.client, &[("other", &PKI.other_ca, "CT,C,C")]);
        let password = case.password_file();
        run_beside(&mut diagnose(&database, &password, endpoint.port()), &database)
    }
    authority_of_both_untrusted_beside_another: "certificate", "ca-untrusted" => |case| {
        let endpoint = Endpoint::start(well()).unwrap();
        let database = case.path("db");
        DbBuilder::new(DbFormat::Sql).password(PASSWORD.as_bytes())
            .x509_identity(NICKNAME, &PKI.client.certificate, &PKI.client.key, "").unwrap()
            .x509("lab-ca", &PKI.ca.certificate, ",,").unwrap()
            .x509("other", &PKI.other_ca.certificate, "CT,C,C").unwrap().build(&database).unwrap();
        let password = case.password_file();
        run_beside(&mut diagnose(&database, &password, endpoint.port()), &database)
    }
}

/// What looks odd and is healthy must pass.
mod odd_but_healthy {
    use super::*;

    fn passes(run: &Run) {
        assert_eq!(run.code, Some(0), "{run:#?}");
        assert_eq!(run.report()["verdict"]["status"], "pass", "{run:#?}");
    }

    fn authentication(run: &Run) -> String {
        let report = run.report();
        let probes = report["probes"].as_array().unwrap();
        let handshake = probes.iter().find(|probe| probe["layer"] == "outer-handshake").unwrap();
        let facts = handshake["facts"].as_array().unwrap();
        let fact = facts.iter().find(|fact| fact["id"] == "peer.accepted-us").unwrap();
        fact["value"].as_str().unwrap().to_owned()
    }

    #[test]
    fn tls_1_2_and_1_3() {
        for options in [well().tls12(), well().tls13()] {
            let run = against(&Case::new(), options);
            passes(&run);
            assert_eq!(authentication(&run), "yes");
        }
    }

    #[test]
    fn a_peer_that_asks_for_no_certificate() {
        let run = against(&Case::new(), Options { client_auth: ClientAuth::None, ..well() });
        passes(&run);
        assert_eq!(authentication(&run), "not-asked");
    }

    #[test]
    fn a_slow_peer_and_one_that_sends_byte_by_byte() {
        passes(&against(&Case::new(), well().behaving(Behaviour::Delay(Duration::from_millis(200)))));
        passes(&against(&Case::new(), well().tls12().behaving(Behaviour::Drip(Duration::ZERO))));
    }

    #[test]
    fn a_peer_behind_an_intermediate_that_it_sends() {
        let intermediate = PKI.ca.issue(&Spec::new("Intermediate", Usage::Authority)).unwrap();
        passes(&with_server(&Case::new(), &intermediate.issue(&localhost("bridge")).unwrap()));
    }

    #[test]
    fn an_ec_client_and_one_with_the_name_in_the_common_name_only() {
        let client = PKI.ca.issue(&Spec::new("client", Usage::Unlimited)).unwrap();
        passes(&against_with(&Case::new(), well(), &client, &[]));
        passes(&with_server(&Case::new(), &server(&Spec::new("localhost", Usage::Server))));
    }

    #[test]
    fn a_client_of_another_ca_that_the_peer_takes() {
        let options = Options { client_cas: vec![PKI.other_ca.certificate.clone()], ..well() };
        passes(&against_with(&Case::new(), options, &PKI.stranger, &[]));
    }

    #[test]
    fn an_authority_with_the_one_flag_that_a_client_needs() {
        let endpoint = Endpoint::start(well()).unwrap();
        let case = Case::new();
        let database = case.database_of(DbFormat::Sql, &PKI.client, &[("lab-ca", &PKI.ca, "C,,")]);
        let password = case.password_file();
        passes(&run_beside(&mut diagnose(&database, &password, endpoint.port()), &database));
    }

    #[test]
    fn a_database_in_wal_mode_is_left_as_it_is() {
        let endpoint = Endpoint::start(well()).unwrap();
        let case = Case::new();
        let database = case.database(DbFormat::Sql);
        for name in ["cert9.db", "key4.db"] {
            let script = "import sqlite3, sys\nc = sqlite3.connect(sys.argv[1])\nc.execute('pragma journal_mode=wal')\nc.close()";
            common::tool("/usr/bin/python3", ["-c".as_ref(), script.as_ref(), database.join(name).as_os_str()]);
        }
        let password = case.password_file();
        passes(&run_beside(&mut diagnose(&database, &password, endpoint.port()), &database));
    }

    #[test]
    fn odd_names_everywhere() {
        let endpoint = Endpoint::start(well()).unwrap();
        let case = Case::new();
        let nickname = "client's \"best\" – ü";
        let database = case.path("data base 'ü'");
        DbBuilder::new(DbFormat::Sql)
            .password(PASSWORD.as_bytes())
            .x509_identity(nickname, &PKI.client.certificate, &PKI.client.key, "")
            .unwrap()
            .x509("lab-ca", &PKI.ca.certificate, "CT,C,C")
            .unwrap()
            .build(&database)
            .unwrap();
        let password = case.password_file();
        passes(&run_beside(diagnose(&database, &password, endpoint.port()).args(["--nickname", nickname]), &database));
    }
}
