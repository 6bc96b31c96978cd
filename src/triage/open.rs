//! Files, directories, archives and compressed files, each as a stream of text in constant memory. What a stranger packed
//! is unpacked only so far.

use std::cell::Cell;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use nssight_triage::Triage;

/// Archives in archives.
const DEEPEST: usize = 4;
/// Directories in directories, and files of one run.
const DEEPEST_DIRECTORY: usize = 8;
const MOST_FILES: usize = 10_000;
/// One argument is unpacked so far.
const UNPACKED_AT_MOST: u64 = 8 << 30;
/// What grows more than so many times, beyond this size, is no log.
const RATIO_AT_MOST: u64 = 1000;
const RATIO_FROM: u64 = 256 << 20;
/// A frame of zstd may ask for so much memory (2 to this power).
const ZSTD_WINDOW: u32 = 26;
/// And a stream of xz for so much, in KiB.
const XZ_MEMORY: u32 = 66 * 1024;

/// Reads whatever a path is.
pub(super) fn path(triage: &mut Triage, path: &Path) {
    let mut files = Vec::new();
    let name = path.display().to_string();
    match fs::metadata(path) {
        Ok(meta) if meta.is_dir() => collect(path, 0, &mut files),
        Ok(_) => files.push(path.to_owned()),
        Err(error) => return triage.note(&name, format!("it cannot be read: {error}")),
    }
    if files.len() >= MOST_FILES {
        triage.note(&name, format!("only its first {MOST_FILES} files were read"));
    }
    for file in files.into_iter().take(MOST_FILES) {
        let name = file.display().to_string();
        match File::open(&file) {
            Ok(open) => stream(triage, &name, open),
            Err(error) => triage.note(&name, format!("it cannot be read: {error}")),
        }
    }
}

/// Regular files below a directory, in the order of their names; links are not followed.
fn collect(directory: &Path, depth: usize, files: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    entries.sort();
    for entry in entries {
        match fs::symlink_metadata(&entry) {
            Ok(meta) if meta.is_dir() && depth < DEEPEST_DIRECTORY => collect(&entry, depth + 1, files),
            Ok(meta) if meta.is_file() && files.len() < MOST_FILES => files.push(entry),
            _ => {}
        }
    }
}

/// Reads a stream, packed or not.
pub(super) fn stream(triage: &mut Triage, name: &str, input: impl Read) {
    let packed = Rc::new(Cell::new(0));
    let counted = Counted { input, count: packed.clone() };
    let budget = Budget { packed, unpacked: Rc::new(Cell::new(0)) };
    unpack(triage, name, &mut BufReader::with_capacity(1 << 16, counted), &budget, 0);
}

/// How much came in and how much came out, over all layers of one argument.
#[derive(Clone)]
struct Budget {
    packed: Rc<Cell<u64>>,
    unpacked: Rc<Cell<u64>>,
}

struct Counted<R> {
    input: R,
    count: Rc<Cell<u64>>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.input.read(buffer)?;
        self.count.set(self.count.get() + count as u64);
        Ok(count)
    }
}

/// Ends with an error where a stream unpacks to more than a log would.
struct Bounded<R> {
    input: R,
    budget: Budget,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let (packed, unpacked) = (self.budget.packed.get(), self.budget.unpacked.get());
        if unpacked > UNPACKED_AT_MOST {
            return Err(io::Error::other(format!("it unpacks to more than {} GiB", UNPACKED_AT_MOST >> 30)));
        }
        if unpacked > RATIO_FROM && unpacked / packed.max(1) > RATIO_AT_MOST {
            return Err(io::Error::other(format!("it unpacks to more than {RATIO_AT_MOST} times its size")));
        }
        let count = self.input.read(buffer)?;
        self.budget.unpacked.set(unpacked + count as u64);
        Ok(count)
    }
}

fn unpack(triage: &mut Triage, name: &str, input: &mut dyn BufRead, budget: &Budget, depth: usize) {
    let head = match head(input) {
        Ok(head) => head,
        Err(error) => return triage.note(name, format!("it cannot be read: {error}")),
    };
    let inside = |triage: &mut Triage, decoder: &mut dyn Read| {
        let bounded = Bounded { input: decoder, budget: budget.clone() };
        unpack(triage, name, &mut BufReader::with_capacity(1 << 16, bounded), budget, depth + 1);
    };
    if depth >= DEEPEST {
        return triage.note(name, "archives in archives are not opened so deep".to_owned());
    }
    match head.as_slice() {
        [0x1f, 0x8b, ..] => inside(triage, &mut flate2::bufread::MultiGzDecoder::new(input)),
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => {
            inside(triage, &mut lzma_rust2::XzReader::new_mem_limit(input, true, XZ_MEMORY));
        }
        [0x28, 0xb5, 0x2f, 0xfd, ..] => match zstd::Decoder::with_buffer(input) {
            Ok(mut decoder) => match decoder.window_log_max(ZSTD_WINDOW) {
                Ok(()) => inside(triage, &mut decoder),
                Err(error) => triage.note(name, format!("it cannot be unpacked: {error}")),
            },
            Err(error) => triage.note(name, format!("it cannot be unpacked: {error}")),
        },
        head if head.get(257..262) == Some(b"ustar") => archive(triage, name, input, budget, depth),
        head if nssight_triage::is_capture(head) => triage.capture(name, input),
        head if looks_like_a_document(head) => {
            if let Err(error) = triage.document(name, input) {
                triage.note(name, format!("reading stopped: {error}"));
            }
        }
        _ => triage.log(name, input),
    }
}

/// The first bytes, without taking them.
fn head(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let bytes = input.fill_buf()?;
    Ok(bytes[..bytes.len().min(512)].to_vec())
}

/// A JSON object that is not a container's log, of which every line is one.
fn looks_like_a_document(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    text.starts_with(b"{") && !text.starts_with(b"{\"log\":")
}

/// The files of an archive. Its long names are not followed: they may be as long as a stranger likes.
fn archive(triage: &mut Triage, name: &str, input: &mut dyn BufRead, budget: &Budget, depth: usize) {
    let mut archive = tar::Archive::new(input);
    let entries = match archive.entries() {
        Ok(entries) => entries.raw(true),
        Err(error) => return triage.note(name, format!("it is no archive that can be read: {error}")),
    };
    for (index, entry) in entries.enumerate() {
        let entry = match entry {
            Ok(entry) if index < MOST_FILES => entry,
            Ok(_) => return triage.note(name, format!("only its first {MOST_FILES} files were read")),
            Err(error) => return triage.note(name, format!("reading stopped: {error}")),
        };
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let inner = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let mut entry = BufReader::with_capacity(1 << 16, entry);
        unpack(triage, &format!("{name}:{inner}"), &mut entry, budget, depth + 1);
    }
}
