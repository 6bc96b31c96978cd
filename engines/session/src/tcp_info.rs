//! The kernel's figures for a TCP connection: TCP_INFO (tcp(7)).

use std::mem::size_of;

/// Figures of one connection. A kernel that does not provide one leaves it 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// How many times in a row the timer of the oldest unacknowledged packet expired.
    pub timeouts: u8,
    /// How many times in a row the kernel tried in vain to send the oldest packet that has not left this host.
    pub probes: u8,
    /// Payload of the largest packet that is sent.
    pub send_mss: u32,
    /// Packets that were sent and not acknowledged.
    pub unacknowledged: u32,
    /// Of these, packets that arrived after a missing one.
    pub selectively_acknowledged: u32,
    /// Size of the largest packet that the path is believed to carry.
    pub path_mtu: u32,
    /// Packets that were sent again, since the connection began.
    pub retransmitted: u32,
    /// Bytes that were acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes that were received in order.
    pub bytes_received: u64,
    /// Bytes that were sent, retransmissions included.
    pub bytes_sent: u64,
    /// Bytes that were sent again.
    pub bytes_retransmitted: u64,
    /// Packets that arrived out of order.
    pub out_of_order: u32,
    /// Bytes that wait to be sent.
    pub not_sent: u32,
}

impl TcpInfo {
    /// Bytes of the structure that are requested. It grows with the kernel; this is more than the part that is read.
    pub const ROOM: usize = 256;

    /// Reads the kernel's `struct tcp_info` (include/uapi/linux/tcp.h), whose fields never move.
    pub fn read(raw: &[u8; Self::ROOM]) -> Self {
        fn field<const N: usize>(raw: &[u8; TcpInfo::ROOM], at: usize) -> [u8; N] {
            let mut bytes = [0; N];
            bytes.copy_from_slice(&raw[at..at + N]);
            bytes
        }
        let word = |at| u32::from_ne_bytes(field::<{ size_of::<u32>() }>(raw, at));
        let long = |at| u64::from_ne_bytes(field::<{ size_of::<u64>() }>(raw, at));
        Self {
            timeouts: raw[2],
            probes: raw[3],
            send_mss: word(16),
            unacknowledged: word(24),
            selectively_acknowledged: word(28),
            path_mtu: word(60),
            retransmitted: word(100),
            bytes_acknowledged: long(120),
            bytes_received: long(128),
            bytes_sent: long(200),
            bytes_retransmitted: long(208),
            out_of_order: word(224),
            not_sent: word(144),
        }
    }
}
