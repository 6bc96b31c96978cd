//! The time between a request and the close of its connection.

use std::time::Duration;

use crate::fact::fact::{BridgeClose, BridgeCloseCost};

/// A bridge detects a dead connection the moment it writes to it (20 ms, measured); a later close has another reason.
const AT_ONCE: Duration = Duration::from_secs(1);

/// Whether the close came at once, this long after the request was read.
pub fn close(since_request: Duration) -> BridgeClose {
    if since_request <= AT_ONCE { BridgeClose::AtOnce } else { BridgeClose::Later }
}

/// Below this duration a close counts as immediate, however quick the handshake was.
const SURELY_QUICK: Duration = Duration::from_millis(10);
/// With a real bridge, a handshake with certificate verification took 112 ms, and a dead connection 1 ms (measured).
const SURELY_A_HANDSHAKE: Duration = Duration::from_millis(50);
/// A close that takes this much longer than our handshake includes a handshake, too, however long ours took. Load delays a close less than
/// a handshake, since a close is less work and waits less often for another process.
const SURELY_MORE: Duration = Duration::from_millis(500);

/// What a bridge did before a close, `waited` after the request. A handshake of the bridge takes as long as ours, minus its two round
/// trips; the close itself arrives one round trip later. Between the limits, no conclusion is possible.
pub fn close_cost(waited: Duration, handshake: Duration, round_trip: Duration) -> Option<BridgeCloseCost> {
    let own = handshake.saturating_sub(round_trip * 2);
    let cost = waited.saturating_sub(round_trip);
    if cost >= SURELY_A_HANDSHAKE.max(own + own.min(SURELY_MORE)) {
        Some(BridgeCloseCost::AHandshake)
    } else if cost <= SURELY_QUICK.max(own / 2) {
        Some(BridgeCloseCost::AtOnce)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_at_once_within_a_second() {
        assert_eq!(close(Duration::from_millis(20)), BridgeClose::AtOnce);
        assert_eq!(close(Duration::from_secs(1)), BridgeClose::AtOnce);
        assert_eq!(close(Duration::from_millis(1001)), BridgeClose::Later);
    }

    #[test]
    fn the_cost_of_a_close_is_relative_to_the_handshake_before_it() {
        let cost = |waited, handshake, round_trip| {
            let [waited, handshake, round_trip] = [waited, handshake, round_trip].map(Duration::from_millis);
            close_cost(waited, handshake, round_trip)
        };
        // On one host, as measured.
        assert_eq!(cost(1, 20, 0), Some(BridgeCloseCost::AtOnce));
        assert_eq!(cost(112, 20, 0), Some(BridgeCloseCost::AHandshake));
        // Over a long distance both arrive a round trip later.
        assert_eq!(cost(101, 220, 100), Some(BridgeCloseCost::AtOnce));
        assert_eq!(cost(212, 220, 100), Some(BridgeCloseCost::AHandshake));
        // A machine under load is slow at both.
        assert_eq!(cost(60, 200, 1), Some(BridgeCloseCost::AtOnce));
        assert_eq!(cost(120, 200, 1), None);
        assert_eq!(cost(30, 20, 0), None);
        // If our handshake took seconds, the bridge's need not take twice as long.
        assert_eq!(cost(3600, 3000, 0), Some(BridgeCloseCost::AHandshake));
        assert_eq!(cost(3400, 3000, 0), None);
        assert_eq!(cost(1400, 3000, 0), Some(BridgeCloseCost::AtOnce));
        assert_eq!(cost(1000, 500, 0), Some(BridgeCloseCost::AHandshake));
        assert_eq!(cost(999, 500, 0), None);
    }
}
