//! Names, addresses, routes, filters and packet sizes, in networks that each test creates for itself. Each case has the verdict that a
//! check must give, and its maximum confidence.

mod common;

use common::situation::{PEER, PORT, Situation};
use common::{PKI, Run};
use nssight_fixtures::authority::{Spec, Usage};

/// The verdict: layer, cause, component, confidence.
fn verdict(run: &Run) -> [String; 4] {
    assert_eq!(run.code, Some(1), "{run:#?}");
    run.judged()
}

fn fact(run: &Run, id: &str) -> String {
    let report = run.report();
    let facts = report["probes"].as_array().unwrap().iter().flat_map(|probe| probe["facts"].as_array().unwrap());
    facts
        .filter(|fact| fact["id"] == id)
        .filter_map(|fact| fact["value"].as_str())
        .next_back()
        .unwrap_or("-")
        .to_owned()
}

fn alternatives(run: &Run) -> Vec<String> {
    let report = run.report();
    let all = report["verdict"]["alternatives"].as_array().unwrap();
    all.iter()
        .map(|other| format!("{} {}", other["cause"].as_str().unwrap(), other["component"].as_str().unwrap()))
        .collect()
}

fn passes(run: &Run) {
    assert_eq!((run.code, run.report()["verdict"]["status"].as_str()), (Some(0), Some("pass")), "{run:#?}");
}

/// Declares one case per line: the fault, the required verdict, and further requirements.
macro_rules! cases {
    ($($name:ident: [$layer:literal, $cause:literal, $component:literal, $confidence:literal] => $run:expr;)+) => {$(
        #[test]
        fn $name() {
            let run: Run = $run;
            assert_eq!(verdict(&run), [$layer, $cause, $component, $confidence], "{run:#?}");
        }
    )+};
}

/// An nft(8) table with one rule in a chain of this hook.
fn filter(place: &str, hook: &str, rule: &str) -> String {
    format!("filter '{place}' <<.\ntable inet lab {{ chain c {{ type filter hook {hook} priority 0; {rule}; }}; }}\n.")
}

fn at_the_peer() -> Situation {
    Situation::new(&["bridge.example", PEER]).serving()
}

/// A server on the peer's host, a name server with its name, and nothing else.
fn named() -> Situation {
    at_the_peer().with_setup(&format!("dns --host-record=bridge.example,{PEER}"))
}

mod connecting {
    use super::*;

    cases! {
        nobody_listens: ["tcp", "tcp-refused", "peer", "likely"] => {
            let run = Situation::new(&[PEER]).diagnose(PEER);
            assert_eq!(fact(&run, "tcp.told-by"), "reset");
            assert!(alternatives(&run).iter().any(|other| other.starts_with("tcp-filtered")), "{run:#?}");
            run
        };
        nobody_listens_on_this_very_host: ["tcp", "tcp-refused", "peer", "certain"] => {
            Situation::new(&[PEER]).diagnose("127.0.0.1")
        };
        a_filter_of_this_host_resets: ["tcp", "tcp-filtered", "client-host", "likely"] => {
            let rule = format!("tcp dport {PORT} reject with tcp reset");
            let run = Situation::new(&["127.0.0.1"]).with_setup(&format!("serve '' 127.0.0.1 {PORT}"))
                .with_setup(&filter("", "input", &rule)).diagnose("127.0.0.1");
            assert_eq!(fact(&run, "tcp.listener"), "present");
            run
        };
        a_filter_of_the_peer_resets: ["tcp", "tcp-refused", "peer", "likely"] => {
            let rule = format!("tcp dport {PORT} reject with tcp reset");
            let run = at_the_peer().with_setup(&filter("in_peer", "input", &rule)).diagnose(PEER);
            assert!(alternatives(&run).iter().any(|other| other.starts_with("tcp-filtered")), "{run:#?}");
            run
        };
        a_filter_of_the_peer_prohibits: ["tcp", "tcp-filtered", "network", "likely"] => {
            let rule = format!("tcp dport {PORT} reject with icmpx admin-prohibited");
            let run = at_the_peer().with_setup(&filter("in_peer", "input", &rule)).diagnose(PEER);
            assert_eq!([fact(&run, "tcp.icmp"), fact(&run, "tcp.told-by")], ["prohibited", "peer-address"]);
            run
        };
        a_router_prohibits: ["tcp", "tcp-filtered", "network", "certain"] => {
            let rule = format!("tcp dport {PORT} reject with icmpx admin-prohibited");
            let run = at_the_peer().with_setup(&filter("in_router", "forward", &rule)).diagnose(PEER);
            assert_eq!([fact(&run, "tcp.icmp"), fact(&run, "tcp.told-by")], ["prohibited", "router"]);
            assert!(run.stdout.contains("ICMP from 10.77.1.254"), "{run:#?}");
            run
        };
        a_router_prohibits_version_6: ["tcp", "tcp-filtered", "network", "certain"] => {
            let rule = format!("tcp dport {PORT} reject with icmpx admin-prohibited");
            at_the_peer().with_setup(&filter("in_router", "forward", &rule)).diagnose("[fd77:2::2]")
        };
        a_router_refuses_in_its_own_name: ["tcp", "tcp-filtered", "network", "certain"] => {
            let rule = format!("tcp dport {PORT} reject with icmpx port-unreachable");
            at_the_peer().with_setup(&filter("in_router", "forward", &rule)).diagnose(PEER)
        };
        a_router_resets: ["tcp", "tcp-refused", "peer", "likely"] => {
            let rule = format!("tcp dport {PORT} reject with tcp reset");
            at_the_peer().with_setup(&filter("in_router", "forward", &rule)).diagnose(PEER)
        };
        a_route_of_this_host_prohibits: ["tcp", "tcp-filtered", "client-host", "certain"] => {
            at_the_peer().with_setup("ip route add prohibit 10.77.2.0/24").diagnose(PEER)
        };
        a_rule_of_this_host_rejects: ["tcp", "tcp-filtered", "client-host", "certain"] => {
            let rule = format!("tcp dport {PORT} reject with icmpx admin-prohibited");
            at_the_peer().with_setup(&filter("", "output", &rule)).diagnose(PEER)
        };
        a_router_has_a_route_that_prohibits: ["tcp", "tcp-filtered", "network", "certain"] => {
            at_the_peer().with_setup("in_router ip route add prohibit 10.77.2.2/32").diagnose(PEER)
        };
        this_host_has_no_route: ["tcp", "tcp-unreachable", "client-host", "likely"] => {
            at_the_peer().with_setup("ip route delete default").diagnose(PEER)
        };
        this_host_has_a_black_hole: ["tcp", "tcp-unreachable", "client-host", "likely"] => {
            at_the_peer().with_setup("ip route add blackhole 10.77.2.0/24").diagnose(PEER)
        };
        this_host_has_no_version_6: ["tcp", "tcp-unreachable", "client-host", "likely"] => {
            let off = "for name in all near lo; do echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done";
            at_the_peer().with_setup(off).diagnose("[fd77:2::2]")
        };
        the_loopback_of_version_6_is_off: ["tcp", "tcp-unreachable", "client-host", "likely"] => {
            let off = "for name in all near lo; do echo 1 >/proc/sys/net/ipv6/conf/$name/disable_ipv6; done";
            at_the_peer().with_setup(off).diagnose("[::1]")
        };
        a_router_knows_no_way: ["tcp", "tcp-unreachable", "network", "likely"] => {
            let run = at_the_peer().with_setup("in_router ip route add unreachable 10.77.2.2/32").diagnose(PEER);
            assert_eq!([fact(&run, "tcp.icmp"), fact(&run, "tcp.told-by")], ["unreachable", "router"]);
            run
        };
        nobody_has_the_address_on_this_network: ["tcp", "tcp-unreachable", "peer", "likely"] => {
            let run = at_the_peer().diagnose("10.77.1.77");
            assert_eq!(fact(&run, "tcp.told-by"), "own-address");
            run
        };
        packets_vanish: ["tcp", "tcp-timeout", "network", "likely"] => {
            at_the_peer().with_setup("in_router ip route add blackhole 10.77.2.2/32").diagnose(PEER)
        };
        a_filter_drops: ["tcp", "tcp-timeout", "network", "likely"] => {
            at_the_peer().with_setup(&filter("in_peer", "input", &format!("tcp dport {PORT} drop"))).diagnose(PEER)
        };
        the_queue_is_full: ["tcp", "tcp-timeout", "peer", "likely"] => {
            let run = Situation::new(&["127.0.0.1"]).with_setup(&format!("queue '' 127.0.0.1 {PORT}")).diagnose("127.0.0.1");
            assert_eq!(fact(&run, "tcp.listener"), "queue-waits");
            run
        };
        no_local_port_is_left: ["tcp", "local-ports-exhausted", "client-host", "certain"] => {
            at_the_peer().with_setup(&format!(
                "echo '50000 50001' >/proc/sys/net/ipv4/ip_local_port_range\nhold {PEER} {PORT} 2"
            )).diagnose(PEER)
        };
        two_addresses_fail_in_two_ways: ["tcp", "tcp-timeout", "network", "likely"] => {
            let run = named().with_setup("in_router ip route add blackhole 10.77.2.77/32")
                .hosts("10.77.2.77 both.example\n10.77.2.2 both.example").diagnose_with("both.example:9", &[]);
            assert_eq!(fact(&run, "tcp.addresses"), "mixed");
            let summary = run.report()["verdict"]["summary"].as_str().unwrap().to_owned();
            assert!(summary.contains("10.77.2.77:9: no answer") && summary.contains("10.77.2.2:9: connection refused"), "{summary}");
            run
        };
    }

    #[test]
    fn a_dead_ipv6_route_does_not_stop_ipv4() {
        for setup in [
            "ip route add unreachable fd77:2::2/128",
            "ip route add prohibit fd77:2::2/128",
            "ip -6 route delete default",
            "in_router ip route add blackhole fd77:2::2/128",
        ] {
            passes(
                &at_the_peer()
                    .hosts("fd77:2::2 bridge.example\n10.77.2.2 bridge.example")
                    .with_setup(setup)
                    .diagnose("bridge.example"),
            );
        }
    }
}

mod naming {
    use super::*;

    cases! {
        a_stale_line_leads_to_silence: ["resolve", "name-stale-hosts", "client-host", "likely"] => {
            let run = named().hosts("10.77.2.99 bridge.example").with_setup("in_router ip route add blackhole 10.77.2.99/32")
                .diagnose("bridge.example");
            assert_eq!(run.report()["verdict"]["seen_at"], "tcp", "{run:#?}");
            run
        };
        a_line_leads_to_a_host_that_refuses: ["tcp", "tcp-refused", "peer", "likely"] => {
            let run = named().hosts("10.77.2.254 bridge.example").diagnose("bridge.example");
            assert!(alternatives(&run).contains(&"name-stale-hosts client-host".to_owned()), "{run:#?}");
            run
        };
        the_address_of_this_host_for_another_name: ["resolve", "name-stale-hosts", "client-host", "likely"] => {
            named().hosts("127.0.1.1 bridge.example").diagnose("bridge.example")
        };
        the_address_of_this_host_for_another_name_without_dns: ["resolve", "name-stale-hosts", "client-host", "likely"] => {
            at_the_peer().switch("files").hosts("127.0.1.1 bridge.example").diagnose("bridge.example")
        };
        this_hosts_own_name: ["tcp", "tcp-refused", "peer", "certain"] => { named().diagnose("signer") };
        a_stale_line_leads_to_another_server: ["resolve", "name-stale-hosts", "client-host", "likely"] => {
            let run = Situation::new(&["other.example"]).serving()
                .with_setup("dns --host-record=bridge.example,10.77.2.3 --host-record=other.example,10.77.2.2")
                .hosts("10.77.2.2 bridge.example").diagnose("bridge.example");
            assert_eq!(run.report()["verdict"]["seen_at"], "outer-handshake", "{run:#?}");
            run
        };
        a_stale_line_leads_to_a_server_of_another_ca: ["outer-handshake", "peer-cert-untrusted", "peer", "likely"] => {
            let spec = Spec::new("other", Usage::Server).names(&["other.example"]);
            let run = Situation::with(PKI.other_ca.issue(&spec).unwrap()).with_setup(&format!("serve in_peer {PEER} {PORT}"))
                .with_setup("dns --host-record=bridge.example,10.77.2.3").hosts("10.77.2.2 bridge.example").diagnose("bridge.example");
            assert!(alternatives(&run).contains(&"name-stale-hosts client-host".to_owned()), "{run:#?}");
            run
        };
        a_line_on_purpose_leads_to_a_server_of_another_ca: ["outer-handshake", "peer-cert-untrusted", "peer", "likely"] => {
            let spec = Spec::new("bridge", Usage::Server).names(&["bridge.example"]);
            Situation::with(PKI.other_ca.issue(&spec).unwrap()).with_setup(&format!("serve in_peer {PEER} {PORT}"))
                .with_setup("dns --host-record=bridge.example,10.77.2.3").hosts("10.77.2.2 bridge.example").diagnose("bridge.example")
        };
        a_line_that_the_resolver_did_not_use: ["tcp", "tcp-timeout", "network", "likely"] => {
            let run = named().switch("dns files").hosts("10.77.2.99 bridge.example")
                .with_setup("in_router ip route add blackhole 10.77.2.2/32").diagnose("bridge.example");
            assert_eq!(fact(&run, "name.source"), "hosts-unused");
            run
        };
        the_certificate_is_for_another_name: ["outer-handshake", "peer-cert-name", "peer", "likely"] => {
            let run = Situation::new(&["elsewhere.org"]).serving()
                .with_setup(&format!("dns --host-record=bridge.example,{PEER}")).diagnose("bridge.example");
            assert!(alternatives(&run).contains(&"peer-name-misconfigured client-config".to_owned()), "{run:#?}");
            run
        };
        a_misspelt_name_that_resolves: ["config", "peer-name-misconfigured", "client-config", "likely"] => {
            let run = named().with_setup("").hosts("10.77.2.2 brigde.example").diagnose("brigde.example");
            assert_eq!(fact(&run, "peer-name.relation"), "misspelt");
            run
        };
        a_short_name_that_a_search_domain_completes: ["config", "peer-name-misconfigured", "client-config", "likely"] => {
            let run = named().resolver("search example").diagnose("bridge");
            assert_eq!(fact(&run, "peer-name.relation"), "search-domain");
            run
        };
        an_alias: ["config", "peer-name-misconfigured", "client-config", "likely"] => {
            let run = named().with_setup("").resolver("").hosts("10.77.2.2 sign-service.example").diagnose("sign-service.example");
            assert_eq!(fact(&run, "peer-name.relation"), "same-address");
            run
        };
        an_address_where_the_certificate_has_names: ["config", "peer-name-misconfigured", "client-config", "likely"] => {
            Situation::new(&["bridge.example"]).serving().diagnose(PEER)
        };
        a_dot_behind_the_name: ["config", "peer-name-misconfigured", "client-config", "certain"] => {
            named().diagnose("bridge.example.")
        };
        a_name_that_nobody_has: ["resolve", "name-unresolved", "network", "likely"] => {
            let run = named().diagnose("no-such-host.example");
            assert!(alternatives(&run).contains(&"name-unresolved client-config".to_owned()), "{run:#?}");
            run
        };
        no_name_server: ["resolve", "name-unresolved", "network", "likely"] => { at_the_peer().diagnose("bridge.example") };
    }

    #[test]
    fn a_line_that_differs_on_purpose_is_no_fault() {
        // The inside and outside networks have different addresses, and the service works.
        let run = Situation::new(&["bridge.example"])
            .serving()
            .with_setup("dns --host-record=bridge.example,192.0.2.7")
            .hosts("10.77.2.2 bridge.example")
            .diagnose("bridge.example");
        passes(&run);
        assert_eq!(fact(&run, "name.source"), "hosts-differs");
    }

    #[test]
    fn names_in_any_source_pass() {
        passes(&named().diagnose("bridge.example"));
        passes(&named().diagnose("BRIDGE.Example"));
        passes(&named().switch("dns files").hosts("10.77.2.99 bridge.example").diagnose("bridge.example"));
        passes(&at_the_peer().switch("files").hosts("10.77.2.2 bridge.example").diagnose("bridge.example"));
    }
}

/// Paths with a smaller packet size than both ends assume, where the ICMP messages about it are lost.
mod packet_sizes {
    use super::*;

    /// A peer that accepts key shares of only one group.
    fn of_group(group: &str) -> Situation {
        let options = format!("-Verify 1 -verify_return_error -groups {group}");
        Situation::new(&["bridge.example", PEER]).with_setup(&format!("serve in_peer {PEER} {PORT} {options}"))
    }

    fn narrow(to: &str, mtu: u32) -> String {
        let silent = filter("in_router", "output", "meta l4proto { icmp, ipv6-icmp } drop");
        format!("in_router ip link set {to} mtu {mtu}\n{silent}")
    }

    /// Only packets to us are lost.
    fn narrow_to_us() -> String {
        filter("in_router", "forward", "oifname near meta length > 900 drop")
    }

    /// From NSS 3.132 on, our ClientHello itself is large: it has a key share of X25519MLKEM768.
    fn hello_is_large(run: &Run) -> bool {
        fact(run, "session.groups-offered").starts_with("X25519MLKEM768")
    }

    #[test]
    fn our_large_packets_vanish() {
        let run = at_the_peer().with_setup(&narrow("far", 900)).diagnose(PEER);
        let (flow, cause) =
            if hello_is_large(&run) { ("ours-lost", "peer-silent") } else { ("our-large-lost", "peer-stalled") };
        assert_eq!(fact(&run, "tcp.flow"), flow, "{run:#?}");
        assert_eq!(verdict(&run), ["outer-handshake", cause, "network", "likely"], "{run:#?}");
    }

    cases! {
        our_large_packets_vanish_in_tls_1_2: ["outer-handshake", "peer-stalled", "network", "likely"] => {
            let run = at_the_peer().with_setup(&narrow("far", 900)).diagnose_with(&format!("{PEER}:{PORT}"), &["--tls-max", "tls1.2"]);
            assert_eq!(fact(&run, "tcp.flow"), "our-large-lost", "{run:#?}");
            run
        };
        the_peers_large_packets_vanish: ["outer-handshake", "peer-silent", "network", "likely"] => {
            let run = of_group("X25519").with_setup(&narrow_to_us()).diagnose_with(&format!("{PEER}:{PORT}"), &["--tls-max", "tls1.2"]);
            assert_eq!(fact(&run, "tcp.flow"), "peers-first-lost", "{run:#?}");
            run
        };
        // The peer's request for another share fits in a small packet (RFC 8446, 4.1.4).
        large_packets_vanish_of_a_peer_that_asked_for_another_key_share:
            ["outer-handshake", "peer-stalled", "network", "likely"] => {
            let run = of_group("P-384").with_setup(&narrow_to_us()).diagnose(PEER);
            assert_eq!(fact(&run, "session.position"), "after-hello-retry", "{run:#?}");
            run
        };
        // The router's end of the link takes no packet as large as our ClientHello.
        our_packets_do_not_leave_this_host: ["outer-handshake", "peer-silent", "network", "likely"] => {
            let run = at_the_peer().with_setup(&narrow("near", 200)).diagnose(PEER);
            assert_eq!(fact(&run, "tcp.flow"), "ours-lost", "{run:#?}");
            run
        };
        a_peer_that_stopped_lost_nothing: ["outer-handshake", "peer-silent", "peer", "likely"] => {
            let run = at_the_peer().with_setup("in_peer true; stop_server").diagnose(PEER);
            assert_eq!(fact(&run, "tcp.flow"), "acknowledged", "{run:#?}");
            run
        };
    }

    #[test]
    fn a_narrow_path_with_icmp_messages_passes() {
        passes(
            &at_the_peer()
                .with_setup("in_router ip link set far mtu 900; in_peer ip link set far mtu 900")
                .diagnose(PEER),
        );
    }
}
