//! Extracts the TCP segment from a captured frame. Every length comes from the sender and is checked against the actual data.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

/// Maximum number of IPv6 extension headers to skip.
const EXTENSIONS: usize = 8;
/// Maximum number of VLAN tags to skip.
const TAGS: usize = 4;

/// One TCP segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Segment<'a> {
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    pub(super) syn: bool,
    pub(super) ack: bool,
    pub(super) fin: bool,
    pub(super) reset: bool,
    pub(super) payload: &'a [u8],
    /// Number of its bytes that the capture left out.
    pub(super) missing: usize,
}

/// The segment in a frame of this link type (the numbers are tcpdump.org's LINKTYPE_ ones).
pub(super) fn segment(link: i32, frame: &[u8]) -> Option<Segment<'_>> {
    match link {
        0 | 108 => packet(frame.get(4..)?),
        1 => ethernet(frame),
        12 | 14 | 101 | 228 | 229 => packet(frame),
        113 => of_type(number(frame, 14)?, frame.get(16..)?),
        276 => of_type(number(frame, 0)?, frame.get(20..)?),
        _ => None,
    }
}

fn number(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn ethernet(frame: &[u8]) -> Option<Segment<'_>> {
    let mut at = 12;
    for _ in 0..TAGS {
        match number(frame, at)? {
            0x8100 | 0x88a8 | 0x9100 => at += 4,
            kind => return of_type(kind, frame.get(at + 2..)?),
        }
    }
    None
}

fn of_type(kind: u16, rest: &[u8]) -> Option<Segment<'_>> {
    matches!(kind, 0x0800 | 0x86dd).then(|| packet(rest)).flatten()
}

fn packet(bytes: &[u8]) -> Option<Segment<'_>> {
    match bytes.first()? >> 4 {
        4 => ipv4(bytes),
        6 => ipv6(bytes),
        _ => None,
    }
}

fn ipv4(bytes: &[u8]) -> Option<Segment<'_>> {
    let header = usize::from(bytes[0] & 15) * 4;
    // A packet may have length 0 if the network card segments it (RFC 791; measured with segmentation offload).
    let total = match number(bytes, 2)? {
        0 => bytes.len(),
        total => usize::from(total),
    };
    let fragment = number(bytes, 6)? & 0x1fff;
    if header < 20 || fragment != 0 || *bytes.get(9)? != 6 {
        return None;
    }
    let address = |at: usize| Some(IpAddr::from(Ipv4Addr::from(<[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok()?)));
    let present = bytes.get(header..total.min(bytes.len()))?;
    tcp(present, total.checked_sub(header)?, address(12)?, address(16)?)
}

fn ipv6(bytes: &[u8]) -> Option<Segment<'_>> {
    let address = |at: usize| Some(IpAddr::from(Ipv6Addr::from(<[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok()?)));
    let total = match number(bytes, 4)? {
        0 => bytes.len(),
        payload => 40 + usize::from(payload),
    };
    let (mut next, mut at) = (*bytes.get(6)?, 40);
    for _ in 0..EXTENSIONS {
        match next {
            6 => {
                let present = bytes.get(at..total.min(bytes.len()))?;
                return tcp(present, total.checked_sub(at)?, address(8)?, address(24)?);
            }
            // Hop by hop, routing, destination (RFC 8200 section 4).
            0 | 43 | 60 => {
                next = *bytes.get(at)?;
                at += 8 + 8 * usize::from(*bytes.get(at + 1)?);
            }
            _ => return None,
        }
    }
    None
}

fn tcp(bytes: &[u8], announced: usize, from: IpAddr, to: IpAddr) -> Option<Segment<'_>> {
    let header = usize::from(bytes.get(12)? >> 4) * 4;
    let flags = *bytes.get(13)?;
    if header < 20 {
        return None;
    }
    let payload = bytes.get(header..).unwrap_or_default();
    Some(Segment {
        from: SocketAddr::new(from, number(bytes, 0)?),
        to: SocketAddr::new(to, number(bytes, 2)?),
        sequence: u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?),
        syn: flags & 2 != 0,
        ack: flags & 16 != 0,
        fin: flags & 1 != 0,
        reset: flags & 4 != 0,
        payload,
        missing: announced.saturating_sub(header).saturating_sub(payload.len()),
    })
}
