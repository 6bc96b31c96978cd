//! Packets of an established connection: whether only large packets are lost.

use crate::fact::fact::TcpFlow;

/// The kernel's statistics of a connection whose session failed in silence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Flow {
    /// Payload size of the largest packet that we send.
    pub send_mss: u64,
    /// Our bytes that were acknowledged.
    pub acknowledged: u64,
    /// Our bytes that were not.
    pub outstanding: u64,
    /// Our packets that arrived after a lost one.
    pub arrived_behind: u32,
    /// How often in a row the oldest packet was retransmitted in vain.
    pub timeouts: u8,
    /// The peer's bytes that arrived in order.
    pub received: u64,
    /// The peer's packets that arrived after a missing one.
    pub out_of_order: u32,
}

/// One packet may be lost by chance; repeated loss of the same packet is not chance.
const SURELY_LOST: u8 = 2;

/// Classifies the fate of the packets.
pub fn flow(seen: Flow) -> TcpFlow {
    if seen.outstanding > 0 && seen.timeouts >= SURELY_LOST {
        let oldest = seen.outstanding.min(seen.send_mss);
        // All acknowledged data was in smaller packets than the lost one, or smaller packets after it arrived.
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
    fn packet_sizes_distinguish_a_narrow_path_from_a_dead_one() {
        let hello = Flow { send_mss: 1448, acknowledged: 518, received: 2000, ..Flow::default() };
        let rows = [
            (hello, TcpFlow::Acknowledged),
            (Flow { received: 0, ..hello }, TcpFlow::Acknowledged),
            (Flow { outstanding: 1900, timeouts: 3, ..hello }, TcpFlow::OurLargeLost),
            (Flow { outstanding: 900, timeouts: 3, ..hello }, TcpFlow::OurLargeLost),
            // As large as a packet that arrived: size is not the reason.
            (Flow { outstanding: 300, timeouts: 3, ..hello }, TcpFlow::OursLost),
            (Flow { outstanding: 300, timeouts: 3, arrived_behind: 1, ..hello }, TcpFlow::OurLargeLost),
            (Flow { outstanding: 518, acknowledged: 0, received: 0, timeouts: 3, ..hello }, TcpFlow::OursLost),
            (Flow { outstanding: 1900, timeouts: 1, ..hello }, TcpFlow::UnderWay),
            (Flow { received: 0, out_of_order: 1, ..hello }, TcpFlow::PeersFirstLost),
            // The packet may have arrived since.
            (Flow { out_of_order: 1, ..hello }, TcpFlow::Acknowledged),
        ];
        for (seen, told) in rows {
            assert_eq!(flow(seen), told, "{seen:?}");
        }
    }
}
