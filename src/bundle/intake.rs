//! Converts a file to text before redaction: unpacked, in UTF-8, without escape sequences. Rejects binary files and files with
//! keys.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::unpack::{Budget, Packing};
use nssight_diagnosis::in_words;
use nssight_probes::files;

/// Only this much of a longer log is read, from its end.
const LOG_AT_MOST: u64 = 64 << 20;
const CONFIG_AT_MOST: u64 = 1 << 20;
/// Maximum nesting of compressed files.
const DEEPEST: usize = 4;
/// Number of bytes that determine the type of a file.
const HEAD: usize = 512;
/// Text has fewer than one control character in this many bytes; keys and databases have one in ten.
const CONTROLS: usize = 50;
/// A line with more than one control character in this many bytes is not text.
const CONTROLS_OF_LINE: usize = 16;
/// A line with more than one invalid UTF-8 byte in this many bytes is not text.
const FOREIGN_OF_LINE: usize = 4;

/// A file as read, including secrets.
pub(super) struct Source {
    pub(super) name: String,
    pub(super) content: Zeroizing<Vec<u8>>,
    pub(super) note: Option<String>,
}

impl Source {
    /// A configuration file, from its beginning.
    pub(super) fn config(path: PathBuf) -> Self {
        Self::read(path, End::First, CONFIG_AT_MOST)
    }

    /// The end of a log. Its first line is complete; otherwise it could begin in the middle of a secret.
    pub(super) fn log(path: PathBuf) -> Self {
        Self::read(path, End::Last, LOG_AT_MOST)
    }

    fn read(path: PathBuf, end: End, at_most: u64) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        let opened = files::within(&path, files::PATIENCE, move |path| begun(files::ours(path)?, end, at_most));
        let read = opened.and_then(|file| kept(file, end, at_most));
        match read.and_then(|kept| Ok((kept.cut, text(&kept.content)?))) {
            Ok((cut, (content, changed))) => {
                let which = if end == End::First { "first" } else { "last" };
                let cut = cut.then(|| format!("only the {which} {} MiB", at_most >> 20));
                let notes: Vec<String> = cut.into_iter().chain(changed).collect();
                Self { name, content, note: (!notes.is_empty()).then(|| notes.join("; ")) }
            }
            Err(error) => {
                Self { name, content: Zeroizing::default(), note: Some(in_words(&format!("left out: {error}"))) }
            }
        }
    }
}

/// Which end of a file that is too long is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

struct Kept {
    content: Zeroizing<Vec<u8>>,
    cut: bool,
}

/// Opens the file at the position from which it is read.
fn begun(mut file: File, end: End, at_most: u64) -> io::Result<File> {
    let mut head = Vec::new();
    let meta = file.metadata()?;
    if meta.is_file() && end == End::Last && meta.len() > at_most {
        (&file).take(HEAD as u64).read_to_end(&mut head)?;
        refuse(&head)?;
        let skipped = Packing::of(&head).is_none();
        // One more byte shows whether a line begins here.
        file.seek(SeekFrom::Start(if skipped { meta.len() - at_most - 1 } else { 0 }))?;
    }
    Ok(file)
}

fn kept(file: File, end: End, at_most: u64) -> io::Result<Kept> {
    let budget = Budget::default();
    let pieces = files::Pieces::of(file, files::PATIENCE)?;
    let mut kept = Kept { content: Zeroizing::default(), cut: false };
    let mut input = BufReader::with_capacity(1 << 16, budget.counted(pieces));
    unpack(&mut input, end, at_most, &budget, 0, &mut kept)?;
    if kept.cut && end == End::Last {
        let partial = memchr::memchr(b'\n', &kept.content).map_or(kept.content.len(), |end| end + 1);
        kept.content.drain(..partial);
    }
    Ok(kept)
}

fn unpack(
    input: &mut dyn BufRead,
    end: End,
    at_most: u64,
    budget: &Budget,
    depth: usize,
    kept: &mut Kept,
) -> io::Result<()> {
    let head = input.fill_buf()?;
    let head = &head[..head.len().min(HEAD)];
    refuse(head)?;
    if let Some(packing) = Packing::of(head) {
        if depth >= DEEPEST {
            return Err(io::Error::other("it is compressed too many times"));
        }
        let inside = budget.bounded(packing.open(input)?);
        return unpack(&mut BufReader::with_capacity(1 << 16, inside), end, at_most, budget, depth + 1, kept);
    }
    let at_most = usize::try_from(at_most).unwrap_or(usize::MAX);
    loop {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        kept.content.extend_from_slice(piece);
        let count = piece.len();
        input.consume(count);
        match end {
            End::First if kept.content.len() > at_most => {
                kept.content.truncate(at_most);
                kept.cut = true;
                return Ok(());
            }
            End::Last if kept.content.len() > at_most.saturating_mul(2) => drop_first_lines(kept, at_most),
            End::First | End::Last => {}
        }
    }
    if kept.content.len() > at_most {
        drop_first_lines(kept, at_most);
    }
    Ok(())
}

fn drop_first_lines(kept: &mut Kept, at_most: usize) {
    let more = kept.content.len() - at_most;
    kept.content.drain(..more);
    kept.cut = true;
}

/// File types that contain keys or many files, by their first bytes.
fn refuse(head: &[u8]) -> io::Result<()> {
    let what = match head {
        [0xfe, 0xed, 0xfe, 0xed, ..] | [0xce, 0xce, 0xce, 0xce, ..] => "a Java key store",
        // The magic number of a hash file of Berkeley DB, in both orders: key3.db and cert8.db.
        [0x00, 0x06, 0x15, 0x61, ..] | [0x61, 0x15, 0x06, 0x00, ..] => "a database of Berkeley DB",
        [b'P', b'K', 3 | 5, 4 | 6, ..] | [b'7', b'z', 0xbc, 0xaf, ..] | [b'R', b'a', b'r', b'!', ..] => "an archive",
        [b'B', b'Z', b'h', b'1'..=b'9', ..] | [0x04, 0x22, 0x4d, 0x18, ..] => "an unknown compression format",
        [0x7f, b'E', b'L', b'F', ..] => "a program or a core",
        // A sequence with its length in two or more bytes: DER (X.690), a certificate, a key, or PKCS #12.
        [0x30, 0x82..=0x84, ..] => "in DER",
        head if head.starts_with(b"SQLite format 3\0") => "an SQLite database",
        head if head.get(8..12) == Some(b"KBXf") => "a key ring of GnuPG",
        head if head.get(257..262) == Some(b"ustar") => "an archive",
        head if head.get(12..16).is_some_and(|magic| {
            [[0, 6, 0x15, 0x61], [0x61, 0x15, 6, 0]].contains(&[magic[0], magic[1], magic[2], magic[3]])
        }) =>
        {
            "a database of Berkeley DB"
        }
        _ => return Ok(()),
    };
    Err(io::Error::other(format!("it is {what}, but a bundle contains only text")))
}

type Text = (Zeroizing<Vec<u8>>, Option<String>);

/// Converts the content to text.
///
/// # Errors
/// If the content is not text.
fn text(content: &[u8]) -> io::Result<Text> {
    let mut notes: Option<String> = None;
    let decoded = utf16(content);
    if decoded.is_some() {
        notes = Some("from UTF-16".to_owned());
    }
    let content = decoded.as_ref().map_or(content, |decoded| decoded.as_slice());
    let content = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    // A log that was truncated while a program wrote to it has a hole, which reads as zeros.
    let mut clean = without_escapes(content);
    clean.retain(|byte| *byte != 0);
    let controls = |bytes: &[u8]| bytes.iter().filter(|byte| is_control(**byte)).count();
    if controls(&clean) * CONTROLS > clean.len() || memchr::memmem::find(content, b"SQLite format 3\0").is_some() {
        return Err(io::Error::other("it is not text, and a bundle contains only text"));
    }
    let mut lines = Zeroizing::new(Vec::with_capacity(clean.len()));
    let mut removed = 0_usize;
    for line in clean.split_inclusive(|byte| *byte == b'\n') {
        if controls(line) * CONTROLS_OF_LINE > line.len() || foreign(line) * FOREIGN_OF_LINE > line.len() {
            lines.extend_from_slice(b"[redacted: not text]\n");
            removed += 1;
        } else {
            lines.extend_from_slice(line);
        }
    }
    if removed > 0 {
        let more = format!("{removed} lines are not text");
        notes = Some(notes.map_or(more.clone(), |notes| format!("{notes}; {more}")));
    }
    Ok((lines, notes))
}

/// Number of bytes of a line that are not UTF-8: a few in a log of an old encoding, but every other byte in a key.
fn foreign(line: &[u8]) -> usize {
    line.utf8_chunks().map(|chunk| chunk.invalid().len()).sum()
}

fn is_control(byte: u8) -> bool {
    byte < b' ' && !matches!(byte, b'\t' | b'\n' | b'\r' | 0x0c | 0x08 | 0x07) || byte == 0x7f
}

/// Decodes UTF-16 with a byte order mark, or without one if every other byte is zero.
fn utf16(content: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    let zeros = |odd: usize| content.iter().skip(odd).step_by(2).take(HEAD).filter(|byte| **byte == 0).count();
    let half = content.len().min(HEAD * 2) / 2;
    let (little, body) = match content {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        content if half >= 4 && zeros(1) * 10 >= half * 8 && zeros(0) * 10 < half => (true, content),
        content if half >= 4 && zeros(0) * 10 >= half * 8 && zeros(1) * 10 < half => (false, content),
        _ => return None,
    };
    let units = body.chunks(2).map(|unit| match (unit, little) {
        ([one, other], true) => u16::from_le_bytes([*one, *other]),
        ([one, other], false) => u16::from_be_bytes([*one, *other]),
        _ => 0xfffd,
    });
    let text: Zeroizing<String> =
        Zeroizing::new(char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect());
    Some(Zeroizing::new(text.as_bytes().to_vec()))
}

/// Removes escape sequences: colours may stand between a name and its value (ECMA-48, 5.4).
fn without_escapes(content: &[u8]) -> Zeroizing<Vec<u8>> {
    let mut clean = Zeroizing::new(Vec::with_capacity(content.len()));
    let mut at = 0;
    while at < content.len() {
        if content[at] != 0x1b {
            clean.push(content[at]);
            at += 1;
            continue;
        }
        at += 1;
        if content.get(at) == Some(&b'[') {
            at += 1;
            at += content[at..].iter().take_while(|byte| (0x20..0x40).contains(*byte)).count();
            at += usize::from(content.get(at).is_some_and(|byte| (0x40..0x7f).contains(byte)));
        }
    }
    clean
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Without a control character, as in one of fifty pieces of a key between two line ends.
    #[test]
    fn an_old_encoding_is_text_and_a_piece_of_a_key_is_not() {
        let key: Vec<u8> = (0..40).map(|number| 0x80 | (number * 37 % 128) as u8).collect();
        let log = [b"a line\n".as_slice(), &key, b"\nM\xfcller ist angemeldet\n"].concat();
        let (lines, _) = text(&log).unwrap();
        assert_eq!(lines.as_slice(), b"a line\n[redacted: not text]\nM\xfcller ist angemeldet\n");
    }

    #[test]
    fn text_is_accepted_and_keys_are_refused() {
        let utf16: Vec<u8> = "password = x\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
        for (content, expected) in [
            (&b"a\x1b[31mb\x1b[0m\n"[..], &b"ab\n"[..]),
            (b"\xef\xbb\xbfa\n", b"a\n"),
            (&utf16, b"password = x\n"),
            (&[&[0xff, 0xfe][..], &utf16].concat(), b"password = x\n"),
            (b"gr\xfcn\n", b"gr\xfcn\n"),
            (&[&[0; 4096][..], b"after the hole\n"].concat(), b"after the hole\n"),
        ] {
            assert_eq!(text(content).unwrap().0.as_slice(), expected);
        }
        let random: Vec<u8> = (0..4096_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
        assert!(text(&random).is_err());
        for head in
            [&b"SQLite format 3\0"[..], b"\xfe\xed\xfe\xed\0", b"\x30\x82\x01\x02", b"PK\x03\x04", b"\0\x06\x15\x61"]
        {
            assert!(refuse(head).is_err());
        }
        assert!(refuse(b"0\x81 is a line of a log").is_ok());
        // A key inside a log is not text either, however long the log around it is.
        let mixed = [b"a healthy line of a log\n".repeat(2000), random, b"\nthe end\n".to_vec()].concat();
        let (clean, note) = text(&mixed).unwrap();
        assert!(clean.len() < 50_500 && clean.ends_with(b"the end\n") && note.is_some(), "{} {note:?}", clean.len());
    }
}
