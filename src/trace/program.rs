//! Checks a program before it runs: its path, and whether the tracer can be preloaded.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nssight_probes::files;

/// Program header types (elf(5)).
const PT_INTERP: u32 = 3;
/// Scripts that name scripts as interpreters: the kernel follows five.
const SCRIPTS: usize = 5;
/// Number of bytes read for a program's headers.
const HEAD: u64 = 64 * 1024;

/// Why a program cannot be run, or cannot be traced.
#[derive(Debug)]
pub(crate) enum ProgramError {
    /// The program does not exist.
    NotFound(String),
    /// The program would run, but the tracer could not watch it.
    Untraceable(String),
}

/// The program's file, if the tracer can be preloaded.
pub(crate) fn find(name: &OsStr) -> Result<PathBuf, ProgramError> {
    let shown = name.to_string_lossy();
    let path = look_up(name).ok_or_else(|| ProgramError::NotFound(format!("{shown}: program not found")))?;
    check(&path, SCRIPTS).map_err(|why| ProgramError::Untraceable(format!("{shown}: {why}")))?;
    Ok(path)
}

fn look_up(name: &OsStr) -> Option<PathBuf> {
    let runs =
        |path: &Path| fs::metadata(path).is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0);
    if name.as_bytes().contains(&b'/') {
        return Some(PathBuf::from(name)).filter(|path| runs(path));
    }
    let directories = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&directories).map(|directory| directory.join(name)).find(|path| runs(path))
}

fn check(path: &Path, scripts: usize) -> Result<(), String> {
    let cannot = |error: std::io::Error| format!("cannot read {}: {error}", path.display());
    let file = files::regular(path).map_err(cannot)?;
    let status = file.metadata().map_err(cannot)?;
    let (user, group) = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
    let changes_user = status.mode() & 0o4000 != 0 && status.uid() != user;
    let changes_group = status.mode() & 0o2010 == 0o2010 && status.gid() != group;
    if changes_user || changes_group {
        return Err(format!(
            "{} is setuid or setgid, so the loader does not preload a library into it; trace it as its owner",
            path.display()
        ));
    }
    let mut capabilities = [0; 64];
    if rustix::fs::getxattr(path, "security.capability", &mut capabilities).is_ok() && user != 0 {
        return Err(format!(
            "{} has file capabilities, so the loader does not preload a library into it; trace a copy without them",
            path.display()
        ));
    }
    let mut head = Vec::new();
    file.take(HEAD).read_to_end(&mut head).map_err(cannot)?;
    match head.as_slice() {
        [b'#', b'!', line @ ..] => match (interpreter(line), scripts) {
            (Some(interpreter), 1..) => check(&interpreter, scripts - 1),
            _ => Ok(()),
        },
        elf if has_loader(elf) == Some(false) => Err(format!(
            "{} is statically linked: no library can be preloaded, so no NSS call can be traced",
            path.display()
        )),
        _ => Ok(()),
    }
}

fn interpreter(line: &[u8]) -> Option<PathBuf> {
    let line = line.split(|byte| *byte == b'\n').next()?;
    let first = line.split(|byte| byte.is_ascii_whitespace()).find(|word| !word.is_empty())?;
    Some(PathBuf::from(OsStr::from_bytes(first)))
}

/// Whether a 64-bit ELF file requests a loader; `None` for any other file, which is left to the kernel.
fn has_loader(elf: &[u8]) -> Option<bool> {
    let number = |at: usize, size: usize| -> Option<u64> {
        let bytes = elf.get(at..at.checked_add(size)?)?;
        Some(bytes.iter().rev().fold(0, |sum, byte| sum << 8 | u64::from(*byte)))
    };
    if elf.get(..6)? != [0x7f, b'E', b'L', b'F', 2, 1] {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    let kinds = (0..count).map(|index| number(usize::try_from(table.checked_add(index * size)?).ok()?, 4));
    Some(kinds.flatten().any(|kind| kind == u64::from(PT_INTERP)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_with_a_loader_is_told_from_one_without() {
        assert_eq!(has_loader(&fs::read("/proc/self/exe").unwrap()), Some(true));
        let mut elf = vec![0; 64 + 56];
        elf[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, 1]);
        (elf[32], elf[54], elf[56], elf[64]) = (64, 56, 1, 1);
        assert_eq!(has_loader(&elf), Some(false));
        elf[64] = 3;
        assert_eq!(has_loader(&elf), Some(true));
        elf[32..40].fill(0xff);
        assert_eq!(has_loader(&elf), Some(false));
        assert_eq!(has_loader(b"#!/bin/sh\n"), None);
    }

    #[test]
    fn a_script_is_judged_by_its_interpreter() {
        assert_eq!(interpreter(b" /usr/bin/env python3\nx"), Some(PathBuf::from("/usr/bin/env")));
        assert_eq!(interpreter(b"\n"), None);
        assert!(matches!(find(OsStr::new("no-such-program-here")), Err(ProgramError::NotFound(_))));
    }
}
