//! Facts of a connection that only system calls provide.

use std::net::TcpStream;
use std::os::fd::AsRawFd;

use nssight_session::TcpInfo;

/// The kernel's figures for a TCP connection: TCP_INFO (tcp(7)); `None` if the kernel does not provide them.
pub fn tcp_info(stream: &TcpStream) -> Option<TcpInfo> {
    let mut raw = [0_u8; TcpInfo::ROOM];
    let mut length = libc::socklen_t::try_from(TcpInfo::ROOM).ok()?;
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
    (told == 0).then(|| TcpInfo::read(&raw))
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_connection_has_the_expected_tcp_info() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut stream = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (mut other, _) = listener.accept().unwrap();
        stream.write_all(&[7; 1000]).unwrap();
        other.read_exact(&mut [0; 1000]).unwrap();
        other.write_all(&[7; 300]).unwrap();
        stream.read_exact(&mut [0; 300]).unwrap();
        let info = tcp_info(&stream).unwrap();
        assert_eq!((info.bytes_sent, info.bytes_received, info.retransmitted), (1000, 300, 0), "{info:?}");
        assert!((1000..=1001).contains(&info.bytes_acknowledged), "{info:?}");
        assert!(info.send_mss > 1000 && info.path_mtu > info.send_mss, "{info:?}");
    }
}
