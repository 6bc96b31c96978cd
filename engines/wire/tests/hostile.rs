//! No bytes cause a panic, and their fragmentation does not change what is seen.

mod common;

use std::sync::LazyLock;

use common::{Log, Setup, identity, timeless, watch, watch_in_pieces};
use nssight_wire::{Conversation, Direction, End, limits};
use openssl::ssl::SslVersion;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Real conversations to start from.
static LOGS: LazyLock<Vec<Log>> = LazyLock::new(|| {
    let stranger = identity("Other CA", None);
    let other_client = Some(identity("client", Some(&stranger)));
    vec![
        Setup::new(SslVersion::TLS1_2).run(),
        Setup::new(SslVersion::TLS1_3).run(),
        Setup { client_identity: None, ..Setup::new(SslVersion::TLS1_2) }.run(),
        Setup { client_identity: other_client, ..Setup::new(SslVersion::TLS1_2) }.run(),
        Setup { server_groups: Some("P-384"), ..Setup::new(SslVersion::TLS1_3) }.run(),
    ]
});

/// A change to a conversation.
#[derive(Clone, Debug)]
enum Change {
    Set { at: Index, to: u8 },
    Drop { at: Index, length: usize },
    Insert { at: Index, bytes: Vec<u8> },
    Repeat { write: Index },
    Turn { write: Index },
}

fn change() -> impl Strategy<Value = Change> {
    prop_oneof![
        (any::<Index>(), any::<u8>()).prop_map(|(at, to)| Change::Set { at, to }),
        (any::<Index>(), 1..40_usize).prop_map(|(at, length)| Change::Drop { at, length }),
        (any::<Index>(), vec(any::<u8>(), 1..40)).prop_map(|(at, bytes)| Change::Insert { at, bytes }),
        any::<Index>().prop_map(|write| Change::Repeat { write }),
        any::<Index>().prop_map(|write| Change::Turn { write }),
    ]
}

fn changed(log: &Log, changes: &[(Index, Change)]) -> Log {
    let mut log = log.clone();
    for (write, change) in changes {
        let write = write.index(log.len());
        let bytes = &mut log[write].1;
        let length = bytes.len();
        match change {
            _ if length == 0 => {}
            Change::Set { at, to } => bytes[at.index(length)] = *to,
            Change::Drop { at, length: gone } => {
                let at = at.index(length);
                bytes.drain(at..length.min(at + gone));
            }
            Change::Insert { at, bytes: more } => {
                let at = at.index(length);
                bytes.splice(at..at, more.iter().copied());
            }
            Change::Repeat { write } => {
                let again = log[write.index(log.len())].clone();
                log.push(again);
            }
            Change::Turn { write } => {
                let turned = write.index(log.len());
                log[turned].0 = log[turned].0.other();
            }
        }
    }
    log
}

/// Formats everything that can be reported, so that a panic in it is noticed, and checks the limits.
fn tell(conversation: &Conversation) -> String {
    let mut told = conversation.summary().one_line();
    for event in conversation.events() {
        told.push_str(&format!("\n{} {}", event.direction, event.what));
    }
    assert!(conversation.events().len() <= limits::MAX_EVENTS);
    assert!(!told.contains(['\x1b', '\0', '\u{202e}']), "{told:?}");
    told
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_bytes_are_survived(pieces in vec((any::<bool>(), vec(any::<u8>(), 0..200)), 0..20)) {
        let mut conversation = Conversation::new();
        for (sent, bytes) in &pieces {
            let direction = if *sent { Direction::Sent } else { Direction::Received };
            conversation.feed(direction, 0, bytes);
            conversation.ended(direction, u64::MAX, End::Reset);
        }
        tell(&conversation);
    }

    #[test]
    fn random_handshake_messages_are_survived(
        messages in vec((prop_oneof![1..=2_u8, 11..=16_u8, any::<u8>()], vec(any::<u8>(), 0..300)), 1..10),
        sent in any::<bool>(),
    ) {
        let mut conversation = Conversation::new();
        for (kind, body) in &messages {
            let length = (body.len() as u16).to_be_bytes();
            let message = [&[*kind, 0, length[0], length[1]], body.as_slice()].concat();
            let record = [&[22, 3, 3], &(message.len() as u16).to_be_bytes()[..], &message].concat();
            conversation.feed(if sent { Direction::Sent } else { Direction::Received }, 0, &record);
        }
        prop_assert_eq!(conversation.events().len(), messages.len());
        tell(&conversation);
    }

    #[test]
    fn damaged_conversations_are_survived_and_read_the_same_in_any_pieces(
        which in any::<Index>(),
        changes in vec((any::<Index>(), change()), 0..6),
        sizes in vec(1..300_usize, 1..20),
    ) {
        let log = changed(which.get(&LOGS), &changes);
        let whole = watch(&log);
        let mut sizes = sizes.iter().copied().cycle();
        let pieces = watch_in_pieces(&log, &mut |_| sizes.next().unwrap_or(1));
        prop_assert_eq!(timeless(&whole), timeless(&pieces));
        tell(&whole);
    }
}
