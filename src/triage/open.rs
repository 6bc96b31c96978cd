//! Opens files, directories, archives and compressed files as streams of text in constant memory, with limits on
//! unpacking.

use std::fs;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

use nssight_triage::Triage;

use crate::unpack::{Budget, Packing};
use nssight_probes::files;

/// Maximum nesting of archives.
const DEEPEST: usize = 4;
/// Maximum depth of directories, and maximum number of files of one run.
const DEEPEST_DIRECTORY: usize = 8;
const MOST_FILES: usize = 10_000;

/// Reads a file or directory. If a file system does not respond, the read of this path is abandoned.
pub(super) fn path(triage: &mut Triage, path: &Path, budget: &Budget) {
    let name = path.display().to_string();
    let found = files::within(path, files::PATIENCE, |path| {
        let mut found = Vec::new();
        if fs::metadata(path)?.is_dir() {
            collect(path, 0, &mut found)
        } else {
            found.push(path.to_owned())
        }
        Ok(found)
    });
    let found = match found {
        Ok(found) => found,
        Err(error) => return triage.note(&name, format!("it cannot be read: {error}")),
    };
    if found.len() >= MOST_FILES {
        triage.note(&name, format!("only the first {MOST_FILES} files were read"));
    }
    for file in found.into_iter().take(MOST_FILES) {
        let name = file.display().to_string();
        match open(&file) {
            Ok(open) => stream(triage, &name, open, budget),
            Err(error) => {
                triage.note(&name, format!("it cannot be read: {error}"));
                if error.kind() == io::ErrorKind::TimedOut {
                    return triage.note(&name, "and the rest was not read".to_owned());
                }
            }
        }
    }
}

/// A pipe or socket from the caller is read for as long as the caller takes.
fn open(file: &Path) -> io::Result<Box<dyn Read>> {
    if files::is_descriptor(file) {
        return Ok(Box::new(files::regular_or_given(file)?));
    }
    let open = files::within(file, files::PATIENCE, files::regular)?;
    Ok(Box::new(files::Pieces::of(open, files::PATIENCE)?))
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

/// Reads a stream, compressed or not.
pub(super) fn stream(triage: &mut Triage, name: &str, input: impl Read, budget: &Budget) {
    unpack(triage, name, &mut BufReader::with_capacity(1 << 16, budget.counted(input)), budget, 0);
}

fn unpack(triage: &mut Triage, name: &str, input: &mut dyn BufRead, budget: &Budget, depth: usize) {
    let head = match head(input) {
        Ok(head) => head,
        Err(error) => return triage.note(name, format!("it cannot be read: {error}")),
    };
    if depth >= DEEPEST {
        return triage.note(name, "archives are nested too deeply".to_owned());
    }
    if let Some(packing) = Packing::of(&head) {
        return match packing.open(input) {
            Ok(inside) => {
                let mut inside = BufReader::with_capacity(1 << 16, budget.bounded(inside));
                unpack(triage, name, &mut inside, budget, depth + 1);
            }
            Err(error) => triage.note(name, format!("it cannot be unpacked: {error}")),
        };
    }
    match head.as_slice() {
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

/// Peeks at the first bytes.
fn head(input: &mut dyn BufRead) -> io::Result<Vec<u8>> {
    let bytes = input.fill_buf()?;
    Ok(bytes[..bytes.len().min(512)].to_vec())
}

/// Whether it starts with a JSON object other than a line of a container's log.
fn looks_like_a_document(head: &[u8]) -> bool {
    let text = head.trim_ascii_start();
    text.starts_with(b"{") && !text.starts_with(b"{\"log\":")
}

/// Reads the files of an archive. It ignores long names: an archive from a stranger may have names of any length.
fn archive(triage: &mut Triage, name: &str, input: &mut dyn BufRead, budget: &Budget, depth: usize) {
    let mut archive = tar::Archive::new(input);
    let entries = match archive.entries() {
        Ok(entries) => entries.raw(true),
        Err(error) => return triage.note(name, format!("it is not a readable archive: {error}")),
    };
    for (index, entry) in entries.enumerate() {
        let entry = match entry {
            Ok(entry) if index < MOST_FILES => entry,
            Ok(_) => return triage.note(name, format!("only the first {MOST_FILES} files were read")),
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
