//! One direction: from bytes to records, handshake messages and alerts (RFC 8446 section 5.1, RFC 5246 section 6.2.1).

use crate::foreign::RecordFault;
use crate::limits::{FIRST_BYTES, MAX_HANDSHAKE_MESSAGE};
use crate::{Alert, ContentType, Direction, Foreign, HandshakeKind, TlsVersion};

/// Longest fragment of a record: RFC 5246 section 6.2.3. TLS 1.3 allows less, but an observer cannot refuse.
const MAX_FRAGMENT: u16 = (1 << 14) + 2048;

/// The head of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct RecordHeader {
    /// The content type that the record declares
    pub content: ContentType,
    /// The record's version field, which means little: TLS 1.3 keeps it at 1.2 (RFC 8446 section 5.1)
    pub version: TlsVersion,
    /// Length of the fragment that follows the head, in bytes
    pub length: u16,
}

/// A handshake message that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IncompleteMessage {
    /// Who was sending it
    pub direction: Direction,
    /// Its type
    pub kind: HandshakeKind,
    /// Length of its body as announced, in bytes
    pub announced: u32,
    /// Bytes of its body that arrived
    pub have: u32,
}

/// A record that is not complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IncompleteRecord {
    /// Who was sending it
    pub direction: Direction,
    /// Its head; `None` when not even that is complete
    pub header: Option<RecordHeader>,
    /// Bytes that arrived, of the fragment, or of the head if that is incomplete
    pub have: u16,
}

/// One item of a direction, before its content is interpreted.
pub(crate) enum Item {
    Message { kind: HandshakeKind, body: Vec<u8> },
    Oversized { kind: HandshakeKind, announced: u32 },
    Alert(Alert),
    ChangeCipherSpec,
    Sealed { content: ContentType, length: u16 },
    Stray { content: ContentType, length: u16 },
    NotTls(Foreign),
}

/// How the fragment of the current record is to be read.
#[derive(Clone, Copy, Debug)]
enum Body {
    Handshake,
    Alert,
    /// Only the length is used
    Skipped,
}

/// The record that is being read.
#[derive(Clone, Debug)]
struct Open {
    header: RecordHeader,
    body: Body,
    sealed: bool,
    remaining: u16,
}

/// Bytes that are not TLS.
#[derive(Clone, Debug)]
struct Lost {
    fault: RecordFault,
    first: Vec<u8>,
}

/// One direction of a connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stream {
    pub(crate) bytes: u64,
    pub(crate) records: u64,
    pub(crate) first: Vec<u8>,
    /// Set once ChangeCipherSpec has taken effect
    pub(crate) encrypted: bool,
    pub(crate) last_header: Option<RecordHeader>,
    header: Vec<u8>,
    open: Option<Open>,
    handshake: Reassembly,
    half_alert: Option<u8>,
    lost: Option<Lost>,
}

impl Stream {
    /// Counts bytes that are about to be read.
    pub(crate) fn note(&mut self, bytes: &[u8]) {
        self.bytes = self.bytes.saturating_add(bytes.len() as u64);
        keep_first(&mut self.first, bytes);
    }

    /// Reads on until there is something to report or `input` is used up.
    pub(crate) fn advance(&mut self, input: &mut &[u8]) -> Option<Item> {
        while !input.is_empty() {
            if let Some(lost) = &mut self.lost {
                keep_first(&mut lost.first, input);
                *input = &[];
                return None;
            }
            let item = match self.open.take() {
                Some(open) => self.read_body(open, input),
                None => self.read_header(input),
            };
            if item.is_some() {
                return item;
            }
        }
        None
    }

    /// What the bytes that are not TLS look like, as far as they have arrived.
    pub(crate) fn foreign(&self) -> Option<Foreign> {
        self.lost.as_ref().map(|lost| Foreign::new(&lost.first, lost.fault, self.records))
    }

    pub(crate) fn incomplete_message(&self, direction: Direction) -> Option<IncompleteMessage> {
        let (kind, announced) = self.handshake.announced()?;
        Some(IncompleteMessage { direction, kind, announced, have: self.handshake.have })
    }

    pub(crate) fn incomplete_record(&self, direction: Direction) -> Option<IncompleteRecord> {
        if let Some(open) = &self.open {
            let have = open.header.length - open.remaining;
            return Some(IncompleteRecord { direction, header: Some(open.header), have });
        }
        let have = self.header.len() as u16;
        (have > 0 && self.lost.is_none()).then_some(IncompleteRecord { direction, header: None, have })
    }

    fn read_header(&mut self, input: &mut &[u8]) -> Option<Item> {
        let (byte, rest) = input.split_first()?;
        *input = rest;
        self.header.push(*byte);
        // Each byte is judged as it arrives: a server that greets with three letters and waits never completes a head.
        let fault = match *self.header.as_slice() {
            [number] => ContentType::from_number(number).is_none().then_some(RecordFault::ContentType(number)),
            [_, major, ..] if major != 3 => Some(RecordFault::Version(major, 0)),
            [_, major, minor] if minor > 4 => Some(RecordFault::Version(major, minor)),
            [_, _, _, high, low] => {
                let length = u16::from_be_bytes([high, low]);
                (length > MAX_FRAGMENT).then_some(RecordFault::Length(length))
            }
            _ => None,
        };
        if let Some(fault) = fault {
            self.lost = Some(Lost { fault, first: std::mem::take(&mut self.header) });
            return self.foreign().map(Item::NotTls);
        }
        let [number, major, minor, high, low] = *self.header.as_slice() else { return None };
        self.header.clear();
        let content = ContentType::from_number(number)?;
        let version = TlsVersion(u16::from_be_bytes([major, minor]));
        let length = u16::from_be_bytes([high, low]);
        let header = RecordHeader { content, version, length };
        self.last_header = Some(header);
        // application_data is never sent in the clear: in TLS 1.3 it is the outer type of every encrypted record, including early
        // data, which comes before any ServerHello.
        let sealed = self.encrypted || content == ContentType::ApplicationData;
        let body = match content {
            ContentType::Handshake if !sealed => Body::Handshake,
            ContentType::Alert if !sealed => Body::Alert,
            _ => Body::Skipped,
        };
        let open = Open { header, body, sealed, remaining: length };
        if length > 0 {
            self.open = Some(open);
            return None;
        }
        self.records += 1;
        Some(whole_record(&open))
    }

    fn read_body(&mut self, mut open: Open, input: &mut &[u8]) -> Option<Item> {
        let (mut chunk, _) = input.split_at(input.len().min(open.remaining.into()));
        let offered = chunk.len();
        let mut item = match open.body {
            Body::Handshake => self.handshake.push(&mut chunk),
            Body::Alert => self.read_alert(&mut chunk),
            Body::Skipped => {
                chunk = &[];
                None
            }
        };
        let used = offered - chunk.len();
        *input = input.split_at(used).1;
        // `used` is at most `remaining`, so it fits.
        open.remaining -= used as u16;
        if open.remaining == 0 {
            self.records += 1;
            if matches!(open.body, Body::Skipped) {
                item = Some(whole_record(&open));
            }
        } else {
            self.open = Some(open);
        }
        item
    }

    /// Several alerts may be in one record, and TLS 1.2 even lets them be split (RFC 5246 section 6.2.1).
    fn read_alert(&mut self, chunk: &mut &[u8]) -> Option<Item> {
        let (byte, rest) = chunk.split_first()?;
        *chunk = rest;
        match self.half_alert.take() {
            Some(level) => Some(Item::Alert(Alert::from_bytes([level, *byte]))),
            None => {
                self.half_alert = Some(*byte);
                None
            }
        }
    }
}

/// The item for a record whose content is not read.
fn whole_record(open: &Open) -> Item {
    let RecordHeader { content, length, .. } = open.header;
    match content {
        _ if open.sealed => Item::Sealed { content, length },
        ContentType::ChangeCipherSpec if length == 1 => Item::ChangeCipherSpec,
        _ => Item::Stray { content, length },
    }
}

fn keep_first(first: &mut Vec<u8>, bytes: &[u8]) {
    first.extend(bytes.iter().take(FIRST_BYTES.saturating_sub(first.len())));
}

/// Reassembles handshake messages from the fragments of records.
#[derive(Clone, Debug, Default)]
struct Reassembly {
    head: Vec<u8>,
    have: u32,
    body: Vec<u8>,
}

impl Reassembly {
    fn announced(&self) -> Option<(HandshakeKind, u32)> {
        match *self.head.as_slice() {
            [kind, a, b, c] => Some((HandshakeKind(kind), u32::from_be_bytes([0, a, b, c]))),
            _ => None,
        }
    }

    fn push(&mut self, input: &mut &[u8]) -> Option<Item> {
        let (kind, announced) = match self.announced() {
            Some(announced) => announced,
            None => {
                let (byte, rest) = input.split_first()?;
                *input = rest;
                self.head.push(*byte);
                match self.announced()? {
                    (kind, 0) => return Some(self.finish(kind)),
                    (kind, announced) if announced as usize > MAX_HANDSHAKE_MESSAGE => {
                        return Some(Item::Oversized { kind, announced });
                    }
                    started => started,
                }
            }
        };
        let missing = announced - self.have;
        let (part, rest) = input.split_at(input.len().min(missing as usize));
        *input = rest;
        self.have += part.len() as u32;
        let keep = announced as usize <= MAX_HANDSHAKE_MESSAGE;
        if keep {
            self.body.extend_from_slice(part);
        }
        if self.have < announced {
            return None;
        }
        let item = self.finish(kind);
        keep.then_some(item)
    }

    fn finish(&mut self, kind: HandshakeKind) -> Item {
        self.head.clear();
        self.have = 0;
        Item::Message { kind, body: std::mem::take(&mut self.body) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Feeds the parts one after the other and returns the items in short form.
    fn read(stream: &mut Stream, parts: &[&[u8]]) -> Vec<String> {
        let mut out = Vec::new();
        for part in parts {
            let mut input = *part;
            stream.note(input);
            while let Some(item) = stream.advance(&mut input) {
                out.push(match item {
                    Item::Message { kind, body } => format!("{kind} {body:?}"),
                    Item::Oversized { kind, announced } => format!("{kind} announces {announced}"),
                    Item::Alert(alert) => alert.to_string(),
                    Item::ChangeCipherSpec => "CCS".to_owned(),
                    Item::Sealed { content, length } => format!("sealed {content} {length}"),
                    Item::Stray { content, length } => format!("stray {content} {length}"),
                    Item::NotTls(foreign) => format!("{:?}", foreign.fault),
                });
            }
        }
        out
    }

    #[test]
    fn messages_are_reassembled_across_records_and_split_within_one() {
        let mut stream = Stream::default();
        let got = read(
            &mut stream,
            &[&[22, 3, 3, 0, 3, 14, 0, 0], &[22, 3, 3, 0, 7, 0, 16, 0, 0, 2, 8, 9], &[22, 3, 3, 0, 0]],
        );
        assert_eq!(got, ["ServerHelloDone []", "ClientKeyExchange [8, 9]", "stray handshake 0"]);
        assert_eq!(stream.records, 3);
        assert_eq!(stream.incomplete_message(Direction::Sent), None);
    }

    #[test]
    fn a_message_of_impossible_length_is_reported_at_once_and_not_stored() {
        let mut stream = Stream::default();
        let got = read(&mut stream, &[&[22, 3, 3, 0x40, 0, 11, 0xff, 0xff, 0xff], &[1; 0x4000 - 4]]);
        assert_eq!(got, ["Certificate announces 16777215"]);
        assert_eq!(stream.handshake.body.capacity(), 0);
        let incomplete = stream.incomplete_message(Direction::Received).expect("most of it is missing");
        assert_eq!((incomplete.announced, incomplete.have), (0x00ff_ffff, 0x4000 - 4));
    }

    #[test]
    fn a_message_too_long_to_keep_is_skipped() {
        let mut stream = Stream::default();
        let announced = MAX_HANDSHAKE_MESSAGE as u32 + 1;
        let mut message = announced.to_be_bytes().to_vec();
        message[0] = 11;
        message.resize(message.len() + announced as usize, 5);
        message.extend([14, 0, 0, 0]);
        let records: Vec<u8> = message
            .chunks(0x4000)
            .flat_map(|chunk| [&[22, 3, 3][..], &(chunk.len() as u16).to_be_bytes(), chunk].concat())
            .collect();
        assert_eq!(read(&mut stream, &[&records]), ["Certificate announces 262145", "ServerHelloDone []"]);
    }

    #[test]
    fn alerts_are_read_two_bytes_at_a_time_whatever_the_records() {
        let mut stream = Stream::default();
        let got = read(&mut stream, &[&[21, 3, 3, 0, 3, 1, 112, 2], &[21, 3, 3, 0, 1, 40]]);
        assert_eq!(got, ["warning unrecognized_name (112)", "fatal handshake_failure (40)"]);
    }

    #[test]
    fn the_first_byte_that_breaks_a_rule_determines_the_fault() {
        let faults: &[(&[u8], &str)] = &[
            (b"S", "ContentType(83)"),
            (&[22, 2], "Version(2, 0)"),
            (&[22, 3, 5], "Version(3, 5)"),
            (&[22, 3, 1, 0x48, 1], "Length(18433)"),
        ];
        for (bytes, fault) in faults {
            assert_eq!(read(&mut Stream::default(), &[bytes]), [*fault]);
        }
        assert!(read(&mut Stream::default(), &[&[22, 3, 1, 0x48, 0]]).is_empty());
    }

    #[test]
    fn truncation_is_reported() {
        let mut stream = Stream::default();
        assert!(read(&mut stream, &[&[22, 3]]).is_empty());
        let cut = stream.incomplete_record(Direction::Sent).expect("a head of two bytes");
        assert_eq!((cut.header, cut.have), (None, 2));
        assert!(read(&mut stream, &[&[3, 0, 9, 11, 0, 0, 5, 1]]).is_empty());
        let cut = stream.incomplete_record(Direction::Sent).expect("a fragment of five bytes");
        assert_eq!((cut.header.map(|header| header.length), cut.have), (Some(9), 5));
        let cut = stream.incomplete_message(Direction::Sent).expect("a body of one byte");
        assert_eq!((cut.kind, cut.announced, cut.have), (HandshakeKind::CERTIFICATE, 5, 1));
    }
}
