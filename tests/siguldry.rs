//! Checks of a deployment of the real Siguldry: the verdict, a single connection, and the effect on the next real
//! client.

mod common;

use std::fs;

use common::siguldry::{Identities, SERVER, Stack, USER, Without, until};
use common::{Run, binary, run};
use nssight_fixtures::authority::{DAY, Identity, Spec, Usage};
use nssight_fixtures::ports;
use rustix::process::Signal;

fn diagnose(stack: &Stack) -> Run {
    let mut command = binary();
    command.args(["diagnose", "--format", "json", "--timeout", "4", "-c"]).arg(stack.path("client.toml"));
    run(command.arg("--credentials-directory").arg(stack.directory.path()))
}

/// The number of connections to the client port of the bridge, according to its log.
fn clients(stack: &Stack) -> usize {
    ["role=Client", "Failed to accept new client connection"].map(|it| stack.count_in("bridge", it)).iter().sum()
}

/// Requires a failure with this layer, cause, component and confidence, after one connection.
fn fails(stack: &Stack, wanted: [&str; 4]) -> Run {
    let before = clients(stack);
    let walked = diagnose(stack);
    assert_eq!(walked.judged(), wanted.map(str::to_owned), "{walked:#?}\n{}", stack.text_of("bridge"));
    assert_eq!(walked.report()["connections_opened"], 1, "{walked:#?}");
    until("the bridge's word on us", || clients(stack) > before);
    assert_eq!(clients(stack), before + 1, "{}", stack.text_of("bridge"));
    walked
}

fn well() -> Stack {
    Stack::start(&Identities::new(), Without::default())
}

#[test]
fn twenty_walks_pass_and_the_real_client_is_greeted_after_each() {
    let stack = well();
    for turn in 1..=20 {
        let before = clients(&stack);
        let walked = diagnose(&stack);
        assert_eq!(walked.code, Some(0), "{turn}: {walked:#?}\n{}", stack.text_of("server"));
        let report = walked.report();
        assert_eq!(
            (&report["verdict"]["status"], &report["verdict"]["confidence"]),
            (&"pass".into(), &"certain".into())
        );
        assert_eq!(report["target"]["profile"], "siguldry");
        assert_eq!(report["connections_opened"], 1);
        assert_eq!(clients(&stack), before + 1, "{turn}: {}", stack.text_of("bridge"));
        assert!(stack.greets(), "{turn}: {}", stack.text_of("server"));
    }
    // The session's id is the same in both logs.
    let id = diagnose(&stack).word("siguldry.session-id").unwrap();
    until("the end of our session", || stack.text_of("server").contains(&id));
    assert!(stack.text_of("bridge").contains(&id));
    until("our goodbye", || stack.text_of("server").contains("Connection completed successfully"));
}

#[test]
fn faults_of_the_client_are_reported_and_do_not_affect_the_next_client() {
    let identities = Identities::new();
    let stack = Stack::start(&identities, Without::default());
    let own = |identity: &Identity| {
        fs::write(stack.path("client.pem"), identity.certificate.to_pem().unwrap()).unwrap();
        fs::write(stack.path("client.key"), identity.key.private_key_to_pem_pkcs8().unwrap()).unwrap();
    };
    let again = || {
        own(&identities.client);
        fs::write(stack.path("ca.pem"), identities.authority.certificate.to_pem().unwrap()).unwrap();
        stack.write_client(|text| text);
        assert!(stack.greets(), "{}\n{}", stack.text_of("bridge"), stack.text_of("server"));
    };
    let others = Identity::authority("Other CA").unwrap();

    own(&identities.authority.issue(&Spec::new("", Usage::Client)).unwrap());
    fails(&stack, ["certificate", "common-name-missing", "client-files", "certain"]);
    again();
    own(&others.issue(&Spec::new(USER, Usage::Client)).unwrap());
    fails(&stack, ["outer-handshake", "client-cert-rejected", "client-files", "likely"]);
    again();
    own(&identities.authority.issue(&Spec::new("mallory", Usage::Client)).unwrap());
    fails(&stack, ["request", "user-unknown", "server", "possible"]);
    again();
    fs::write(stack.path("ca.pem"), others.certificate.to_pem().unwrap()).unwrap();
    fails(&stack, ["outer-handshake", "peer-cert-untrusted", "bridge", "likely"]);
    again();
    stack.write_client(|text| text.replace("bridge_hostname = \"localhost\"", "bridge_hostname = \"127.0.0.1\""));
    fails(&stack, ["config", "peer-name-misconfigured", "client-config", "likely"]);
    again();
    stack.write_client(|text| text.replace(SERVER, "other.example.com"));
    fails(&stack, ["inner-handshake", "server-cert-name", "server", "likely"]);
    again();

    // Faults that are found before any connection.
    let alone = |wanted: [&str; 4]| {
        let before = clients(&stack);
        let walked = diagnose(&stack);
        assert_eq!(walked.judged(), wanted.map(str::to_owned), "{walked:#?}");
        assert_eq!(clients(&stack), before);
        again();
    };
    own(&identities.authority.issue(&Spec::new(USER, Usage::Client).valid(-30 * DAY, -DAY)).unwrap());
    alone(["certificate", "cert-expired", "client-files", "certain"]);
    fs::remove_file(stack.path("client.key")).unwrap();
    alone(["credentials", "credentials-missing", "client-config", "likely"]);
    stack.write_client(|text| text.replace("keys = []\n", ""));
    alone(["config", "config-invalid", "client-config", "certain"]);
    let closed = ports::listen().unwrap().local_addr().unwrap().port();
    stack.write_client(|text| text.replace(&stack.client_port.to_string(), &closed.to_string()));
    alone(["tcp", "tcp-refused", "bridge", "certain"]);
}

#[test]
fn a_client_on_the_server_port_is_reported_and_does_no_harm() {
    let stack = well();
    stack.write_client(|text| text.replace(&stack.client_port.to_string(), &stack.server_port.to_string()));
    let walked = diagnose(&stack);
    assert_eq!(walked.judged(), ["config", "port-for-servers", "client-config", "certain"], "{walked:#?}");
    assert_eq!(walked.report()["connections_opened"], 1);
    stack.write_client(|text| text);
    assert!(stack.greets());
}

#[test]
fn bridge_and_server_are_checked_on_their_hosts_without_a_connection() {
    let stack = well();
    for (name, role) in [("bridge.toml", "bridge"), ("server.toml", "server")] {
        let mut command = binary();
        command.args(["diagnose", "--format", "json", "--credentials-directory"]);
        let walked = run(command.arg(stack.directory.path()).arg("-c").arg(stack.path(name)));
        assert_eq!(walked.code, Some(0), "{walked:#?}");
        let report = walked.report();
        assert_eq!((&report["target"]["role"], &report["connections_opened"]), (&role.into(), &0.into()));
    }
    assert_eq!((clients(&stack), stack.count_in("bridge", "Failed to accept")), (0, 0));
}

#[test]
fn a_bridge_without_a_server_is_told_from_one_that_hangs() {
    let mut stack = Stack::start(&Identities::new(), Without { server: true, ..Without::default() });
    fails(&stack, ["bridge", "no-server-attached", "server", "likely"]);
    // The server that connects first gets our own connection, which has ended.
    stack.start_server();
    assert!(stack.greets(), "{}\n{}", stack.text_of("bridge"), stack.text_of("server"));
    stack.signal_server(Signal::STOP);
    fails(&stack, ["inner-handshake", "server-stalled", "server", "likely"]);
    stack.signal_server(Signal::CONT);
    assert!(stack.greets(), "{}\n{}", stack.text_of("bridge"), stack.text_of("server"));
}

#[test]
fn a_server_without_its_signer_drops_clients_like_unknown_ones() {
    let stack = Stack::start(&Identities::new(), Without { signer: true, ..Without::default() });
    let walked = fails(&stack, ["request", "user-unknown", "server", "possible"]);
    let report = walked.report();
    let others = report["verdict"]["alternatives"].as_array().unwrap();
    assert!(others.iter().any(|other| other["cause"] == "signer-absent"), "{report:#}");
    assert!(stack.text_of("server").contains("User authenticated"));
}

#[test]
fn bridge_and_server_certificates_are_each_judged_at_their_layer() {
    let mut identities = Identities::new();
    let bridge = Spec::new("bridge", Usage::Server).names(&["localhost"]);
    identities.bridge = identities.authority.issue(&bridge.valid(-30 * DAY, -DAY)).unwrap();
    let stack = Stack::start(&identities, Without { server: true, ..Without::default() });
    fails(&stack, ["outer-handshake", "peer-cert-expired", "bridge", "likely"]);

    let mut identities = Identities::new();
    let server = Spec::new("server", Usage::Client).names(&[SERVER]);
    identities.server = identities.authority.issue(&server).unwrap();
    let stack = Stack::start(&identities, Without::default());
    fails(&stack, ["inner-handshake", "server-cert-usage", "server", "certain"]);

    // The bridge rejects an expired certificate, so there is no server.
    let mut identities = Identities::new();
    let server = Spec::new("server", Usage::Both).names(&[SERVER]);
    identities.server = identities.authority.issue(&server.valid(-30 * DAY, -DAY)).unwrap();
    let mut stack = Stack::start(&identities, Without { server: true, ..Without::default() });
    let server = stack.spawn_server();
    stack.keep(server);
    until("the bridge's word on the server", || stack.count_in("bridge", "Failed to accept new server connection") > 0);
    fails(&stack, ["bridge", "no-server-attached", "server", "likely"]);
}
