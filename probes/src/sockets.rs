//! The sockets of this host, as the kernel lists them (proc(5), /proc/net/tcp and tcp6).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;

use nssight_diagnosis::fact::fact::{LocalPortsFree, TcpListener};

/// A line has about 150 bytes; this is more sockets than a host has ports.
const AT_MOST: u64 = 32 * 1024 * 1024;
/// The state of a socket that listens (include/net/tcp_states.h).
const LISTENS: u8 = 10;

/// One socket of the list.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    state: u8,
    /// For a listening socket: the number of waiting connections.
    waiting: u32,
}

/// All sockets; `None` if a list cannot be read completely.
fn all() -> Option<Vec<Socket>> {
    let mut sockets = Vec::new();
    for path in ["/proc/net/tcp", "/proc/net/tcp6"] {
        let Ok(file) = File::open(path) else { continue };
        let mut lines = BufReader::new(file.take(AT_MOST));
        let mut line = String::new();
        lines.read_line(&mut line).ok()?;
        loop {
            line.clear();
            if lines.read_line(&mut line).ok()? == 0 {
                break;
            }
            sockets.push(read(&line)?);
        }
    }
    Some(sockets)
}

/// `sl local_address rem_address st tx_queue:rx_queue …`, in hexadecimal.
fn read(line: &str) -> Option<Socket> {
    let mut words = line.split_whitespace().skip(1);
    let (local, remote) = (end(words.next()?)?, end(words.next()?)?);
    let state = u8::from_str_radix(words.next()?, 16).ok()?;
    let (_, waiting) = words.next()?.split_once(':')?;
    Some(Socket { local, remote, state, waiting: u32::from_str_radix(waiting, 16).ok()? })
}

/// An address is a sequence of 32-bit words, each in the byte order of this machine.
fn end(text: &str) -> Option<SocketAddr> {
    let (address, port) = text.split_once(':')?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let word = |at: usize| Some(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    let address = match address.len() {
        8 => IpAddr::V4(word(0)?.into()),
        32 => {
            let mut bytes = [0; 16];
            for (index, four) in bytes.chunks_exact_mut(4).enumerate() {
                four.copy_from_slice(&word(index * 8)?);
            }
            IpAddr::V6(Ipv6Addr::from(bytes)).to_canonical()
        }
        _ => return None,
    };
    Some(SocketAddr::new(address, port))
}

/// Which socket listens at a loopback address: such traffic stays on this host, so the list is complete. For other
/// addresses there is no answer, since a packet filter rule may redirect them.
pub(crate) fn listener(address: &SocketAddr) -> Option<TcpListener> {
    if !address.ip().is_loopback() {
        return None;
    }
    let listeners: Vec<Socket> = all()?.into_iter().filter(|socket| socket.state == LISTENS).collect();
    let on_port = || listeners.iter().filter(|socket| socket.local.port() == address.port());
    let any: IpAddr = match address {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let mine = on_port().find(|socket| [address.ip(), any].contains(&socket.local.ip()));
    match mine {
        Some(socket) if socket.waiting > 0 => Some(TcpListener::QueueWaits),
        Some(_) => Some(TcpListener::Present),
        // A socket for all IPv6 addresses may accept IPv4 as well; the list does not show this.
        None if on_port().any(|socket| socket.local.ip().is_unspecified()) => None,
        None => Some(TcpListener::None),
    }
}

/// Whether a local port is left for a connection to this address: each port can have only one connection to it.
pub(crate) fn local_ports(address: &SocketAddr) -> Option<LocalPortsFree> {
    let setting = |name: &str| std::fs::read_to_string(format!("/proc/sys/net/ipv4/{name}")).ok();
    let range = setting("ip_local_port_range")?;
    let (low, high) = range.trim().split_once(char::is_whitespace)?;
    let reserved = ranges(setting("ip_local_reserved_ports").unwrap_or_default().trim());
    let mut free: BTreeSet<u16> = (low.parse::<u16>().ok()?..=high.trim().parse::<u16>().ok()?)
        .filter(|port| !reserved.iter().any(|range| range.contains(port)))
        .collect();
    for socket in all()? {
        let to_there = socket.remote == SocketAddr::new(address.ip().to_canonical(), address.port());
        if to_there || socket.state == LISTENS {
            free.remove(&socket.local.port());
        }
    }
    Some(if free.is_empty() { LocalPortsFree::None } else { LocalPortsFree::Some })
}

/// `8080,9000-9010`.
fn ranges(text: &str) -> Vec<RangeInclusive<u16>> {
    let one = |part: &str| {
        let (low, high) = part.split_once('-').unwrap_or((part, part));
        Some(low.trim().parse().ok()?..=high.trim().parse().ok()?)
    };
    text.split(',').filter_map(one).collect()
}

/// Whether this host has an IPv6 address from which it can connect to this one.
pub(crate) fn has_address_for(address: &SocketAddr) -> bool {
    let list = std::fs::read_to_string("/proc/net/if_inet6").unwrap_or_default();
    let is_local = |line: &str| line.starts_with("00000000000000000000000000000001");
    match address {
        SocketAddr::V4(_) => true,
        SocketAddr::V6(v6) if v6.ip().is_loopback() => list.lines().any(is_local),
        SocketAddr::V6(_) => list.lines().any(|line| !is_local(line)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listeners_of_this_host_are_seen() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        assert_eq!(listener(&address), Some(TcpListener::Present));
        let waits = std::net::TcpStream::connect(address).unwrap();
        assert_eq!(listener(&address), Some(TcpListener::QueueWaits));
        drop((waits, socket));
        assert_eq!(listener(&address), Some(TcpListener::None));
        assert_eq!(listener(&"192.0.2.1:1".parse().unwrap()), None);
    }

    #[test]
    fn a_line_of_the_list_is_read() {
        let line = "   0: 0100007F:1F90 0200000A:01BB 01 00000000:00000002 00:00000000 00000000     0        0 1 1 0\n";
        let expected = if cfg!(target_endian = "little") { "127.0.0.1:8080" } else { "1.0.0.127:8080" };
        let socket = read(line).unwrap();
        assert_eq!((socket.local.to_string().as_str(), socket.state, socket.waiting), (expected, 1, 2));
        assert!(read("   0: xyz").is_none() && read("").is_none());
        assert_eq!(ranges("8080,9000-9010,x"), [8080..=8080, 9000..=9010]);
    }
}
