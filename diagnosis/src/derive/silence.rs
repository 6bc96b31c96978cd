//! A wait that ended at a deadline: no data arrived, the data stopped, or it arrived too slowly.

use std::time::Duration;

use crate::fact::fact::SilenceKind;

/// The arrival of bytes in a session before its deadline.
#[derive(Debug, Clone, Copy, Default)]
pub struct Arrivals {
    /// The first arrival, since the start of the session.
    pub first: Option<Duration>,
    /// The last arrival.
    pub last: Option<Duration>,
    /// The number of arrivals.
    pub count: u64,
}

/// NSS rejects handshake messages longer than this (ssl3con.c, MAX_HANDSHAKE_MSG_LEN).
const LONGEST_MESSAGE: u32 = 0x1_ffff;

/// Classifies the silence, `took` after the start of the session; `announced` is the length of a message that had begun to arrive.
pub fn silence(arrivals: Arrivals, took: Duration, announced: Option<u32>) -> SilenceKind {
    let Some(last) = arrivals.last else { return SilenceKind::FromTheStart };
    if announced.is_some_and(|length| length > LONGEST_MESSAGE) {
        return SilenceKind::EndlessMessage;
    }
    let quiet = took.saturating_sub(last);
    // Bytes spread over the whole time are a trickle; a long silence after the last one is a stall.
    let spread = last.saturating_sub(arrivals.first.unwrap_or_default());
    if arrivals.count >= 3 && quiet < took / 2 && spread >= took / 4 {
        SilenceKind::Trickle
    } else {
        SilenceKind::Stalled
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stall_is_no_trickle() {
        let at = |first: u64, last: u64, count| Arrivals {
            first: Some(Duration::from_millis(first)),
            last: Some(Duration::from_millis(last)),
            count,
        };
        let took = Duration::from_secs(3);
        assert_eq!(silence(Arrivals::default(), took, None), SilenceKind::FromTheStart);
        assert_eq!(silence(at(1, 20, 9), took, None), SilenceKind::Stalled);
        assert_eq!(silence(at(1, 2900, 2), took, None), SilenceKind::Stalled);
        assert_eq!(silence(at(1, 2900, 30), took, None), SilenceKind::Trickle);
        assert_eq!(silence(at(1, 2900, 30), took, Some(0x2_0000)), SilenceKind::EndlessMessage);
        assert_eq!(silence(at(1, 20, 1), took, Some(0x1_ffff)), SilenceKind::Stalled);
    }
}
