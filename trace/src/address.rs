//! Both ends of a socket, as the tracer copies them from the kernel.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Length of each address in bytes.
const ADDRESS: usize = 28;
const AF_UNIX: u16 = 1;
const AF_INET: u16 = 2;
const AF_INET6: u16 = 10;

/// The local address of a socket, and the address of its peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Ends {
    pub(crate) own: Option<SocketAddr>,
    pub(crate) peer: Option<SocketAddr>,
    /// The connection does not leave this host, whatever its addresses are.
    pub(crate) is_local: bool,
}

/// Parses the text of an event about a socket.
pub(crate) fn ends(text: &[u8]) -> Option<Ends> {
    let (own, peer) = text.get(..2 * ADDRESS)?.split_at(ADDRESS);
    let is_local = family(own) == AF_UNIX;
    Some(Ends { own: address(own), peer: address(peer), is_local })
}

fn family(bytes: &[u8]) -> u16 {
    u16::from_ne_bytes([bytes[0], bytes[1]])
}

fn address(bytes: &[u8]) -> Option<SocketAddr> {
    let port = u16::from_be_bytes([bytes[2], bytes[3]]);
    let ip: IpAddr = match family(bytes) {
        AF_INET => Ipv4Addr::new(bytes[4], bytes[5], bytes[6], bytes[7]).into(),
        AF_INET6 => {
            let bytes: [u8; 16] = bytes.get(8..24)?.try_into().ok()?;
            Ipv6Addr::from(bytes).to_canonical()
        }
        _ => return None,
    };
    (port != 0).then_some(SocketAddr::new(ip, port))
}
