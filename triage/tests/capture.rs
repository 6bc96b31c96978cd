//! Captures of real peers on loopback, recorded with tcpdump, and hostile captures: what they show without any key.

use std::fs;
use std::path::Path;

use nssight_diagnosis::Confidence;
use nssight_triage::{Document, Triage, is_capture};

fn bytes(name: &str) -> Vec<u8> {
    fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/captures").join(name)).unwrap()
}

fn triage(name: &str, bytes: &[u8]) -> Document {
    let mut triage = Triage::default();
    triage.capture(name, bytes);
    triage.finish()
}

/// Cause and component of the verdict.
fn told(name: &str) -> (Option<&'static str>, Option<&'static str>) {
    let verdict = triage(name, &bytes(name)).verdict;
    assert_ne!(verdict.confidence, Confidence::Certain, "{name}");
    (verdict.cause.map(|cause| cause.id()), verdict.component.map(|component| component.as_str()))
}

#[test]
fn each_failed_connection_is_reported() {
    for (name, expected) in [
        ("none-12.pcap", Some("client-cert-not-sent")),
        ("other-ca-12.pcap", Some("client-cert-rejected")),
        ("other-ca-12.pcapng", Some("client-cert-rejected")),
        ("expired-12.pcap", Some("cert-expired")),
        ("server-expired-12.pcap", Some("peer-cert-expired")),
        ("server-untrusted-12.pcap", Some("peer-cert-untrusted")),
        ("version.pcap", Some("tls-version-mismatch")),
        ("not-tls.pcap", Some("not-tls")),
        ("refused.pcap", Some("tcp-refused")),
        // Without a key these cannot be determined.
        ("none-13.pcap", None),
        ("closed.pcap", None),
    ] {
        let document = triage(name, &bytes(name));
        assert_eq!(told(name).0, expected, "{name}: {:#?}", document.connections);
        assert_eq!(document.connections.len(), 1, "{name}: {:?}", document.captures);
        assert_eq!(document.captures[0].failed, 1, "{name}");
        assert_eq!(document.evidence.len(), 1, "{name}");
        assert!(document.next.is_some(), "{name}");
    }
}

#[test]
fn a_connection_that_works_is_counted() {
    for name in ["complete-12.pcap", "complete-13.pcap"] {
        let document = triage(name, &bytes(name));
        let summary = &document.captures[0];
        assert_eq!((summary.connections, summary.completed, summary.failed), (1, 1, 0), "{name}: {summary:?}");
        assert_eq!(document.verdict.cause, None, "{name}");
        assert!(document.connections.is_empty() && document.incidents.is_empty(), "{name}");
    }
}

#[test]
fn several_failures_get_separate_verdicts() {
    let mut triage = Triage::default();
    for name in ["complete-12.pcap", "expired-12.pcap", "version.pcap"] {
        triage.capture(name, bytes(name).as_slice());
    }
    let document = triage.finish();
    let causes: Vec<_> = document.connections.iter().filter_map(|it| it.cause).map(|cause| cause.id()).collect();
    assert_eq!(causes, ["cert-expired", "tls-version-mismatch"]);
    assert_eq!(document.captures.len(), 3);
}

/// A frame in the first capture format with this TCP segment.
fn frame(out: &mut Vec<u8>, port: u16, sequence: u32, flags: u8, payload: &[u8]) {
    let total = 40 + payload.len() as u16;
    let mut packet = vec![0x45, 0];
    packet.extend(total.to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 6, 0, 0, 127, 0, 0, 1, 127, 0, 0, 2]);
    packet.extend(port.to_be_bytes());
    packet.extend(443_u16.to_be_bytes());
    packet.extend(sequence.to_be_bytes());
    packet.extend([0, 0, 0, 0, 0x50, flags, 0, 0, 0, 0, 0, 0]);
    packet.extend(payload);
    for number in [0, 0, packet.len() as u32, packet.len() as u32] {
        out.extend(number.to_le_bytes());
    }
    out.extend(packet);
}

fn head() -> Vec<u8> {
    let mut out = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    out.extend(65535_u32.to_le_bytes());
    out.extend(101_u32.to_le_bytes());
    out
}

#[test]
fn truncated_and_damaged_captures_are_handled() {
    for name in ["complete-12.pcap", "expired-12.pcap", "other-ca-12.pcapng"] {
        let whole = bytes(name);
        assert!(is_capture(&whole));
        for cut in (0..whole.len().min(600)).step_by(5) {
            triage(name, &whole[..cut]);
        }
        for place in (0..whole.len().min(3000)).step_by(7) {
            let mut damaged = whole.clone();
            damaged[place] ^= 0xff;
            triage(name, &damaged);
        }
    }
}

#[test]
fn a_flood_of_connections_and_of_gaps_is_bounded() {
    let mut flood = head();
    for port in 1..60_000_u16 {
        frame(&mut flood, port, 7, 2, &[]);
    }
    let document = triage("flood.pcap", &flood);
    assert_eq!(document.captures[0].connections, 59_999);
    assert!(document.connections.len() <= 200);
    let mut gaps = head();
    frame(&mut gaps, 4000, 7, 2, &[]);
    for index in 0..20_000_u32 {
        frame(&mut gaps, 4000, 1000 + index * 3000, 16, &[22; 1400]);
    }
    let document = triage("gaps.pcap", &gaps);
    assert_eq!(document.captures[0].failed, 0);
    // A block whose length field is larger than any block.
    let mut long = head();
    for number in [0, 0, u32::MAX, u32::MAX] {
        long.extend(number.to_le_bytes());
    }
    long.extend(vec![0; 3 << 20]);
    assert!(!triage("long.pcap", &long).files[0].notes.is_empty());
}
