//! What the kernel knows of a TCP connection: TCP_INFO (tcp(7)).

use std::mem::size_of;
use std::net::TcpStream;
use std::os::fd::AsRawFd;

/// Figures of one connection. A kernel that does not know one leaves it 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct TcpInfo {
    /// How often in a row the timer of the oldest unacknowledged packet ran out.
    pub timeouts: u8,
    /// Payload of the largest packet that is sent.
    pub send_mss: u32,
    /// Packets that were sent and not acknowledged.
    pub unacknowledged: u32,
    /// Of these, packets that arrived behind one that did not.
    pub selectively_acknowledged: u32,
    /// Size of the largest packet that the path is thought to take.
    pub path_mtu: u32,
    /// Packets that were sent again, since the connection began.
    pub retransmitted: u32,
    /// Bytes that were acknowledged.
    pub bytes_acknowledged: u64,
    /// Bytes that came in order.
    pub bytes_received: u64,
    /// Bytes that were sent, each time counted.
    pub bytes_sent: u64,
    /// Bytes that were sent again.
    pub bytes_retransmitted: u64,
    /// Packets that came out of order.
    pub out_of_order: u32,
}

/// The structure grows with the kernel; this is more than the part that is read.
const ROOM: usize = 256;

impl TcpInfo {
    /// Of a connection; nothing where the kernel does not tell.
    pub fn of(stream: &TcpStream) -> Option<Self> {
        let mut raw = [0_u8; ROOM];
        let mut length = libc::socklen_t::try_from(ROOM).ok()?;
        // SAFETY: the descriptor is open as long as `stream` is borrowed, and the kernel writes at most `length` bytes into `raw`.
        let told = unsafe {
            libc::getsockopt(
                stream.as_raw_fd(),
                libc::IPPROTO_TCP,
                libc::TCP_INFO,
                raw.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        (told == 0).then(|| Self::read(&raw))
    }

    /// Reads the kernel's `struct tcp_info` (include/uapi/linux/tcp.h), whose fields never move.
    fn read(raw: &[u8; ROOM]) -> Self {
        fn field<const N: usize>(raw: &[u8; ROOM], at: usize) -> [u8; N] {
            let mut bytes = [0; N];
            bytes.copy_from_slice(&raw[at..at + N]);
            bytes
        }
        let word = |at| u32::from_ne_bytes(field::<{ size_of::<u32>() }>(raw, at));
        let long = |at| u64::from_ne_bytes(field::<{ size_of::<u64>() }>(raw, at));
        Self {
            timeouts: raw[2],
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
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_is_told_by_its_figures() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        stream.write_all(&[7; 1000]).unwrap();
        other.read_exact(&mut [0; 1000]).unwrap();
        other.write_all(&[7; 300]).unwrap();
        stream.read_exact(&mut [0; 300]).unwrap();
        let info = TcpInfo::of(&stream).unwrap();
        assert_eq!((info.bytes_sent, info.bytes_received, info.retransmitted), (1000, 300, 0), "{info:?}");
        assert!((1000..=1001).contains(&info.bytes_acknowledged), "{info:?}");
        assert!(info.send_mss > 1000 && info.path_mtu > info.send_mss, "{info:?}");
    }
}
