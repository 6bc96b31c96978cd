//! Checks the form of a peer's key share.

use crate::fact::fact::KeyShareState;

/// Points of Curve25519 of small order, with which every key gives the secret zero (RFC 7748, 6.1). The topmost bit is ignored.
const SMALL_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    one(),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4, 0x6a, 0xda, 0x09,
        0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49, 0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef, 0x5b, 0x04, 0x44,
        0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f, 0x11, 0x57,
    ],
    near_prime(0xec),
    near_prime(0xed),
    near_prime(0xee),
];

const fn one() -> [u8; 32] {
    let mut point = [0; 32];
    point[0] = 1;
    point
}

/// 2^255 - 19 and its neighbours, by their lowest byte.
const fn near_prime(lowest: u8) -> [u8; 32] {
    let mut point = [0xff; 32];
    point[0] = lowest;
    point[31] = 0x7f;
    point
}

/// The length of a server's share for a group of IANA's registry, if it is fixed.
fn length(group: u16) -> Option<usize> {
    Some(match group {
        23 => 65,
        24 => 97,
        25 => 133,
        29 => 32,
        30 => 56,
        0x0100 => 256,
        0x0101 => 384,
        0x0102 => 512,
        0x0103 => 768,
        0x0104 => 1024,
        // An ML-KEM ciphertext followed by a point (draft-ietf-tls-ecdhe-mlkem).
        0x11eb => 1088 + 65,
        0x11ec => 1088 + 32,
        0x11ed => 1568 + 97,
        _ => return None,
    })
}

/// The state of a server's share; `None` for an unknown group.
pub fn key_share(group: u16, share: &[u8]) -> Option<KeyShareState> {
    if share.len() != length(group)? {
        return Some(KeyShareState::WrongLength);
    }
    let worthless = match (group, <[u8; 32]>::try_from(share)) {
        (29, Ok(mut point)) => {
            point[31] &= 0x7f;
            SMALL_ORDER.contains(&point)
        }
        // TLS allows only points in uncompressed form (RFC 8446, 4.2.8.2).
        _ if matches!(group, 23..=25) => share[0] != 4 || share[1..].iter().all(|byte| *byte == 0),
        _ => share.iter().all(|byte| *byte == 0),
    };
    Some(if worthless { KeyShareState::Worthless } else { KeyShareState::Sound })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_has_the_length_of_its_group_and_gives_a_secret() {
        use KeyShareState::{Sound, Worthless, WrongLength};
        let point = |first: u8, rest: u8, length: usize| [&[first][..], &vec![rest; length - 1]].concat();
        let rows = [
            (29, vec![9; 32], Some(Sound)),
            (29, vec![0; 32], Some(Worthless)),
            (29, point(1, 0, 32), Some(Worthless)),
            (29, point(0xed, 0xff, 32), Some(Worthless)),
            (29, vec![9; 31], Some(WrongLength)),
            (29, Vec::new(), Some(WrongLength)),
            (23, point(4, 7, 65), Some(Sound)),
            (23, point(4, 0, 65), Some(Worthless)),
            (23, point(2, 7, 65), Some(Worthless)),
            (23, point(2, 7, 33), Some(WrongLength)),
            (0x0100, vec![0; 256], Some(Worthless)),
            (0x11ec, vec![5; 1120], Some(Sound)),
            (0x1a1a, vec![5; 7], None),
        ];
        for (group, share, state) in rows {
            assert_eq!(key_share(group, &share), state, "{group}: {share:?}");
        }
    }
}
