//! Reads frames with times and link types from pcap and pcapng.

use std::io::Read;

use pcap_parser::traits::{PcapNGPacketBlock, PcapReaderIterator};
use pcap_parser::{Block, LegacyPcapReader, PcapBlockOwned, PcapError, PcapNGReader};

/// Maximum length of a block, above the longest frame that tcpdump captures.
const BLOCK: usize = 1 << 20;
/// Maximum number of interfaces.
const INTERFACES: usize = 1024;
/// Maximum number of frames to examine.
const FRAMES: u64 = 20_000_000;

/// Receives a frame: its number, its time in microseconds since 1970, its link type, and its bytes.
pub(super) type OnFrame<'a> = dyn FnMut(u64, i64, i32, &[u8]) + 'a;

/// Whether these bytes begin a capture.
pub fn is_capture(head: &[u8]) -> bool {
    let begins =
        [[0xa1, 0xb2, 0xc3, 0xd4], [0xd4, 0xc3, 0xb2, 0xa1], [0xa1, 0xb2, 0x3c, 0x4d], [0x4d, 0x3c, 0xb2, 0xa1]];
    begins.iter().any(|magic| head.starts_with(magic)) || head.starts_with(&[0x0a, 0x0d, 0x0d, 0x0a])
}

/// Passes on every frame. Returns the problems found.
pub(super) fn frames(input: impl Read, on: &mut OnFrame<'_>) -> Vec<String> {
    let mut input = input;
    let mut head = [0; 4];
    if input.read_exact(&mut head).is_err() {
        return vec!["it ends within its first bytes".to_owned()];
    }
    let whole = head.as_slice().chain(input);
    let ng = head == [0x0a, 0x0d, 0x0d, 0x0a];
    // The parser requires the whole header in its first read.
    let whole = std::io::BufReader::with_capacity(1 << 16, Filled(whole));
    let result = if ng {
        PcapNGReader::new(BLOCK, whole).map(|mut reader| read(&mut reader, on))
    } else {
        LegacyPcapReader::new(BLOCK, whole).map(|mut reader| read(&mut reader, on))
    };
    result.unwrap_or_else(|error| vec![format!("it is not a readable capture: {}", said(&error))])
}

/// Reads until the buffer is full or nothing is left.
struct Filled<R>(R);

impl<R: Read> Read for Filled<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.0.read(&mut buffer[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) if filled == 0 => return Err(error),
                Err(_) => break,
            }
        }
        Ok(filled)
    }
}

fn said<I>(error: &PcapError<I>) -> &'static str {
    match error {
        PcapError::Eof | PcapError::UnexpectedEof | PcapError::Incomplete(_) => "it ends in the middle",
        PcapError::BufferTooSmall => "a block is longer than any frame",
        PcapError::ReadError => "reading failed",
        _ => "a block is damaged",
    }
}

/// The properties of an interface.
#[derive(Clone, Copy)]
struct Interface {
    link: i32,
    resolution: u64,
    offset: i64,
}

fn read<R: PcapReaderIterator>(reader: &mut R, on: &mut OnFrame<'_>) -> Vec<String> {
    let mut interfaces: Vec<Interface> = Vec::new();
    let (mut number, mut link, mut nano, mut last) = (0_u64, 0, false, 0_i64);
    loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                match block {
                    PcapBlockOwned::LegacyHeader(header) => {
                        (link, nano) = (header.network.0, header.is_nanosecond_precision())
                    }
                    PcapBlockOwned::Legacy(frame) => {
                        number += 1;
                        let fraction = i64::from(frame.ts_usec) / if nano { 1000 } else { 1 };
                        let data = &frame.data[..frame.data.len().min(frame.caplen as usize)];
                        on(number, i64::from(frame.ts_sec) * 1_000_000 + fraction, link, data);
                    }
                    PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
                    PcapBlockOwned::NG(Block::InterfaceDescription(it)) if interfaces.len() < INTERFACES => {
                        let resolution = it.ts_resolution().filter(|it| *it > 0).unwrap_or(1_000_000);
                        interfaces.push(Interface { link: it.linktype.0, resolution, offset: it.ts_offset() });
                    }
                    PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
                        number += 1;
                        if let Some(own) = interfaces.get(packet.if_id as usize) {
                            let ticks = u128::from(packet.ts_high) << 32 | u128::from(packet.ts_low);
                            let micros = ticks * 1_000_000 / u128::from(own.resolution);
                            let offset = own.offset.saturating_mul(1_000_000);
                            last = i64::try_from(micros).unwrap_or(i64::MAX).saturating_add(offset);
                            on(number, last, own.link, packet.packet_data());
                        }
                    }
                    PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
                        number += 1;
                        if let Some(own) = interfaces.first() {
                            on(number, last, own.link, packet.packet_data());
                        }
                    }
                    PcapBlockOwned::NG(_) => {}
                }
                used
            }
            Err(PcapError::Eof) => return Vec::new(),
            Err(PcapError::Incomplete(_)) => {
                let before = reader.data().len();
                if reader.refill().is_err() {
                    return vec![format!("reading stopped after {number} frames")];
                }
                if reader.data().len() == before && !reader.reader_exhausted() {
                    return vec![format!("after {number} frames, a block is longer than any frame")];
                }
                continue;
            }
            Err(error) => return vec![format!("after {number} frames {}", said(&error))],
        };
        if used == 0 || number >= FRAMES {
            return vec![format!("only its first {number} frames were read")];
        }
        reader.consume(used);
    }
}
