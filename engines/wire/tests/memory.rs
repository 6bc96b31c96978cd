//! What is kept stays small whatever is sent. The only test of its process, since it reads the process's peak memory.

use nssight_wire::{Conversation, Direction};

/// Peak resident memory of this process, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

fn records(content: u8, bytes: &[u8]) -> Vec<u8> {
    let record = |part: &[u8]| [&[content, 3, 3], &(part.len() as u16).to_be_bytes()[..], part].concat();
    bytes.chunks(0x4000).flat_map(record).collect()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = (body.len() as u32).to_be_bytes();
    [&[kind], &length[1..], body].concat()
}

#[test]
fn memory_stays_bounded() {
    // If all of it were kept, either amount would be far beyond the limit: the large pieces by their bytes, the small ones
    // because each is an event of its own.
    const LARGE: usize = 48 << 20;
    const SMALL: usize = 2 << 20;
    const ALLOWED: usize = 8 << 20;

    let mut tiny_certificates = 0x3_fff0_u32.to_be_bytes()[1..].to_vec();
    tiny_certificates.resize(0x3_fff0 + 3, 0);
    let empty_names = [&[1, 1, 0, 2, 4, 3, 0xff, 0xfc][..], &[0, 2, 0x30, 0].repeat(0x3fff)].concat();
    let mut alpn_hello = vec![3, 3];
    alpn_hello.extend([0; 32]);
    alpn_hello.extend([0, 0, 2, 0xc0, 0x2f, 1, 0, 0xff, 0xfe, 0, 16, 0xff, 0xfa, 0xff, 0xf8]);
    alpn_hello.resize(alpn_hello.len() + 0xfff8, 0);
    let patterns = [
        ("a message without end", LARGE, records(22, &[&[11, 0xff, 0xff, 0xff][..], &[0; 0xffff]].concat())),
        ("certificates of no bytes", LARGE, records(22, &message(11, &tiny_certificates))),
        ("authorities of no name", LARGE, records(22, &message(13, &empty_names))),
        ("protocols of no name", LARGE, records(22, &message(1, &alpn_hello))),
        ("messages of no bytes", SMALL, records(22, &[14, 0, 0, 0].repeat(0x1000))),
        ("alerts", SMALL, records(21, &[1, 90].repeat(0x2000))),
        ("encrypted records", LARGE, records(23, &[0; 0x4000])),
        ("empty records", SMALL, [22, 3, 3, 0, 0].repeat(0x1000)),
        ("no TLS", LARGE, vec![b'x'; 0x4000]),
    ];
    let before = peak();
    for (name, total, pattern) in &patterns {
        let mut conversation = Conversation::new();
        for at in 0..total / pattern.len() {
            conversation.feed(Direction::Received, at as u64, pattern);
        }
        let summary = conversation.summary();
        assert!(!summary.one_line().is_empty());
        let grown = peak() - before;
        assert!(grown < ALLOWED, "{name}: {grown} bytes more at the peak");
    }
}
