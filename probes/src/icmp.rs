//! Which host reported that a connection is impossible: the kernel's error queue of a socket (IP_RECVERR, ip(7)).

use std::io::IoSliceMut;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use nix::cmsg_space;
use nix::libc::{SO_EE_ORIGIN_ICMP, SO_EE_ORIGIN_ICMP6, sock_extended_err};
use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use nssight_diagnosis::fact::fact::TcpIcmp;
use socket2::{Domain, Socket};

/// An ICMP message that ended an attempt to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Message {
    /// The reported error.
    pub(crate) says: TcpIcmp,
    /// The address that it came from.
    pub(crate) from: IpAddr,
}

/// Makes the kernel queue the ICMP messages for this socket, or not. An established connection must not queue them: it would break at a
/// message that TCP ignores (RFC 1122, 4.2.3.9; ip(7)).
pub(crate) fn keep(socket: &Socket, domain: Domain, on: bool) {
    // A kernel without this option queues nothing, and then the sender is unknown.
    let _ = match domain {
        Domain::IPV6 => setsockopt(socket, Ipv6RecvErr, &on),
        _ => setsockopt(socket, Ipv4RecvErr, &on),
    };
}

/// The message in the queue, if one arrived.
pub(crate) fn kept(socket: &Socket) -> Option<Message> {
    let mut room = [0_u8; 256];
    let mut parts = [IoSliceMut::new(&mut room)];
    let mut control = cmsg_space!([u8; 64]);
    let flags = MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT;
    let message = recvmsg::<SockaddrStorage>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags).ok()?;
    message.cmsgs().ok()?.find_map(|part| match part {
        ControlMessageOwned::Ipv4RecvErr(error, from) if error.ee_origin == SO_EE_ORIGIN_ICMP => {
            Some(Message { says: version_4(&error), from: IpAddr::V4(from?.sin_addr.s_addr.to_ne_bytes().into()) })
        }
        ControlMessageOwned::Ipv6RecvErr(error, from) if error.ee_origin == SO_EE_ORIGIN_ICMP6 => {
            Some(Message { says: version_6(&error), from: IpAddr::V6(from?.sin6_addr.s6_addr.into()) })
        }
        _ => None,
    })
}

/// Destination unreachable is type 3; its codes are in RFC 792, RFC 1122 (3.2.2.1) and RFC 1812 (5.2.7.1).
fn version_4(error: &sock_extended_err) -> TcpIcmp {
    match (error.ee_type, error.ee_code) {
        (3, 3) => TcpIcmp::PortUnreachable,
        (3, 9 | 10 | 13) => TcpIcmp::Prohibited,
        (3, 0 | 1 | 5..=8 | 11 | 12) => TcpIcmp::Unreachable,
        _ => TcpIcmp::Other,
    }
}

/// Destination unreachable is type 1 (RFC 4443, 3.1); code 5 means prohibited by a policy, and code 6 by a route.
fn version_6(error: &sock_extended_err) -> TcpIcmp {
    match (error.ee_type, error.ee_code) {
        (1, 4) => TcpIcmp::PortUnreachable,
        (1, 1 | 5 | 6) => TcpIcmp::Prohibited,
        (1, 0 | 2 | 3) => TcpIcmp::Unreachable,
        _ => TcpIcmp::Other,
    }
}
