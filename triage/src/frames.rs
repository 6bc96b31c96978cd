//! The lines around one line: the head that it belongs to, and the frames of a traceback, which Python prints above it and Java below it.

use crate::format::{About, Format};
use crate::line::{self, When};
use crate::scan::{LINE, TRACEBACK, starts_level};
use crate::sign::Role;

/// Maximum number of frames to examine for their program, two lines each.
const FRAMES: usize = 24;
/// Maximum length to examine of a frame.
const FRAME: usize = 200;

/// The time of the head line that these lines belong to, and the session if these lines show it: for a daemon's traceback.
pub(crate) fn head_above(before: &[u8]) -> (Option<When>, Option<About>) {
    let mut about = None;
    for line in before.trim_ascii_end().rsplit(|byte| *byte == b'\n').take(TRACEBACK as usize) {
        let line = &line[..line.len().min(LINE)];
        let when = line::when(line);
        if when.is_some() || starts_level(line) {
            return (when, about);
        }
        about = about.or_else(|| Format::session_in(&line[..line.len().min(200)]));
    }
    (None, about)
}

/// The program that a traceback's files belong to.
pub(crate) fn writer_above(before: &[u8]) -> Option<&'static Format> {
    let above = before.trim_ascii_end().rsplit(|byte| *byte == b'\n').take(FRAMES);
    let frames = above.map(|line| line[..line.len().min(200)].trim_ascii_start());
    frames.filter(|line| line.starts_with(b"File \"")).find_map(Format::of_line)
}

/// The role of a program in a session according to the frames below and above its line, if its own message does not show the role.
pub(crate) fn side(format: &Format, line: &[u8], before: &[u8], behind: &[u8]) -> Option<Role> {
    let is_frame = |line: &&[u8]| {
        let text = line[..line.len().min(FRAME)].trim_ascii_start();
        [&b"at "[..], b"... ", b"Caused by: "].iter().any(|own| text.starts_with(own))
    };
    let told = |line: &[u8]| Some(format.role_in(&line[..line.len().min(FRAME)])).filter(|role| *role != Role::Unknown);
    let below = behind.strip_prefix(b"\n").unwrap_or(behind).split(|byte| *byte == b'\n').take(TRACEBACK as usize);
    let below = below.take_while(is_frame).find_map(told);
    if below.is_some() || !line.trim_ascii_start().starts_with(b"Caused by: ") {
        return below;
    }
    // Up to the exception that the frames belong to.
    for line in before.trim_ascii_end().rsplit(|byte| *byte == b'\n').take(TRACEBACK as usize) {
        if let Some(role) = told(line) {
            return Some(role);
        }
        if !is_frame(&line) {
            break;
        }
    }
    None
}
