//! Packets of an established connection: whether only large packets are lost.

use crate::fact::fact::TcpFlow;

/// The kernel's figures of a connection whose session failed in silence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// Payload of the largest packet that we send.
    pub send_mss: u64,
    /// Bytes of ours that were acknowledged.
    pub acknowledged: u64,
    /// Bytes of ours that were not.
    pub outstanding: u64,
    /// Packets of ours that arrived behind one that did not.
    pub arrived_behind: u32,
    /// How often in a row the oldest packet was sent again for nothing.
    pub timeouts: u8,
    /// Bytes of the peer that came in order.
    pub received: u64,
    /// Packets of the peer that came before one that is missing.
    pub out_of_order: u32,
}

/// One packet may be lost by chance; one that is lost again and again is not.
const SURELY_LOST: u8 = 2;

/// What became of the packets.
pub fn flow(seen: Flow) -> TcpFlow {
    if seen.outstanding > 0 && seen.timeouts >= SURELY_LOST {
        let oldest = seen.outstanding.min(seen.send_mss);
        // Whatever was acknowledged was in smaller packets than the one that is lost, or smaller ones behind it arrived.
        return if seen.arrived_behind > 0 || seen.acknowledged > 0 && oldest > seen.acknowledged {
            TcpFlow::OurLargeLost
        } else {
            TcpFlow::OursLost
        };
    }
    if seen.received == 0 && seen.out_of_order > 0 {
        TcpFlow::PeersFirstLost
    } else if seen.outstanding == 0 {
        TcpFlow::Acknowledged
    } else {
        TcpFlow::UnderWay
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_tell_a_narrow_path_from_a_dead_one() {
        let hello = Flow { send_mss: 1448, acknowledged: 518, received: 2000, ..Flow::default() };
        let rows = [
            (hello, TcpFlow::Acknowledged),
            (Flow { received: 0, ..hello }, TcpFlow::Acknowledged),
            (Flow { outstanding: 1900, timeouts: 3, ..hello }, TcpFlow::OurLargeLost),
            (Flow { outstanding: 900, timeouts: 3, ..hello }, TcpFlow::OurLargeLost),
            // As large as what went through: no matter of size.
            (Flow { outstanding: 300, timeouts: 3, ..hello }, TcpFlow::OursLost),
            (Flow { outstanding: 300, timeouts: 3, arrived_behind: 1, ..hello }, TcpFlow::OurLargeLost),
            (Flow { outstanding: 518, acknowledged: 0, received: 0, timeouts: 3, ..hello }, TcpFlow::OursLost),
            (Flow { outstanding: 1900, timeouts: 1, ..hello }, TcpFlow::UnderWay),
            (Flow { received: 0, out_of_order: 1, ..hello }, TcpFlow::PeersFirstLost),
            // It may have come since.
            (Flow { out_of_order: 1, ..hello }, TcpFlow::Acknowledged),
        ];
        for (seen, told) in rows {
            assert_eq!(flow(seen), told, "{seen:?}");
        }
    }
}
