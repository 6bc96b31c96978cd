//! Finds a name and its value in the many forms of an assignment: settings, JSON, YAML, headers, queries, variables and command-line
//! options.

use regex::bytes::Regex;

use super::names::{self, Name};
use super::{Span, line_end, line_start};

/// A list or a quoted text over several lines is followed for at most this many bytes.
const LONGEST: usize = 64 << 10;

/// The kind of text to search.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A value extends to the end of its line, and further lines may continue it.
    Config,
    /// Other text may follow a value.
    Log,
}

pub(super) struct Assignments {
    pair: Regex,
    next: Regex,
    option: Regex,
    short: Regex,
    login: Regex,
}

const WHY: &str = "a value of a secret's name";
const OPTION: &str = "an option of a command";

impl Assignments {
    pub(super) fn new() -> Result<Self, regex::Error> {
        Ok(Self {
            pair: Regex::new(
                r#"(?-u)([A-Za-z_][A-Za-z0-9_.-]*)((?:\\*["'`]|&quot;|%22)?\]?[ \t]*)(:=|=>|->|==?|::?|%3[dDaA]|&#61;)"#,
            )?,
            next: Regex::new(
                r#"(?-u)[ \t,;&|]+(?:\\*["'])?[A-Za-z_][A-Za-z0-9_.-]*(?:=[^=]|%3[dD])|[,;][ \t]*(?:\\*["'])?[A-Za-z_][A-Za-z0-9_.-]*(?:\\*["'])?[ \t]*[:=]"#,
            )?,
            option: Regex::new(r#"(?-u)(?:^|[\s"'`\[(,=])--?([A-Za-z][A-Za-z0-9-]+)(["'`,]*[ \t]+["'`]?)([^\s"'`]+)"#)?,
            short: Regex::new(r#"(?-u)[\s"']-([pPwWK])(["',]*[ \t]*["']?)([^\s"'`,]+)"#)?,
            login: Regex::new(
                r#"(?-u)[\s"'](?:-u|-U|--user|--proxy-user)(?:["',]*[ \t=]*["']?)([^\s"':%]+)[:%]([^\s"']+)"#,
            )?,
        })
    }

    /// Finds every value that follows the name of a secret, with the meaning of that name.
    pub(super) fn find(&self, text: &[u8], kind: Kind, found: &mut Vec<(Span, Name)>) {
        for pair in self.pair.captures_iter(text) {
            let (Some(name), Some(all)) = (pair.get(1), pair.get(0)) else { continue };
            let Some(says) = meaning(text, name.start(), name.end()) else { continue };
            let Some(span) = self.value(text, name.start(), all.end(), kind) else { continue };
            let value = &text[span.start..span.end];
            let secret = match says {
                Name::Secret => !names::is_harmless(value),
                Name::Perhaps => !names::is_harmless(value) && names::looks_secret(value),
            };
            if secret {
                found.push((span, says));
            }
        }
        self.options(text, found);
    }

    fn options(&self, text: &[u8], found: &mut Vec<(Span, Name)>) {
        for option in self.option.captures_iter(text) {
            let (Some(name), Some(value)) = (option.get(1), option.get(3)) else { continue };
            let says = names::meaning(&String::from_utf8_lossy(name.as_bytes()));
            if says == Some(Name::Secret)
                && !value.as_bytes().starts_with(b"-")
                && !names::is_harmless(value.as_bytes())
            {
                found.push((
                    Span::new(value.start(), quoted_end(text, value.start(), value.end()), OPTION),
                    Name::Secret,
                ));
            }
        }
        for option in self.short.captures_iter(text) {
            let (Some(letter), Some(between), Some(value)) = (option.get(1), option.get(2), option.get(3)) else {
                continue;
            };
            let line = &text[line_start(text, letter.start())..letter.start()];
            if is_password_option(line, letter.as_bytes()[0], between.is_empty()) && !is_no_password(value.as_bytes()) {
                found.push((
                    Span::new(value.start(), quoted_end(text, value.start(), value.end()), OPTION),
                    Name::Secret,
                ));
            }
        }
        for option in self.login.captures_iter(text) {
            let (Some(user), Some(password)) = (option.get(1), option.get(2)) else { continue };
            let number = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_digit);
            if !(number(user.as_bytes()) && number(password.as_bytes())) {
                found.push((Span::new(password.start(), password.end(), OPTION), Name::Secret));
            }
        }
    }

    /// The span of the value that begins at `at`; `None` if there is none.
    fn value(&self, text: &[u8], name: usize, at: usize, kind: Kind) -> Option<Span> {
        let start = at + text[at..].iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
        let rest = &text[start..];
        let end_of_line = line_end(text, start);
        let span = |start: usize, end: usize| (end > start).then(|| Span::new(start, end, WHY));
        if let Some((open, close)) = quotes(rest) {
            let from = start + open;
            let reach =
                if kind == Kind::Config || close.len() == 3 { text.len().min(from + LONGEST) } else { end_of_line };
            let within = closing(&text[from.min(reach)..reach], &close).map(|end| from + end);
            // A setting that continues after the closing quotation mark is one value.
            return match within {
                Some(end) if kind == Kind::Log || !is_setting(text, name) => span(from, end),
                Some(end) => span(from, trimmed_end(text, from, line_end(text, end), end)),
                None => span(from, end_of_line),
            };
        }
        match rest.first() {
            Some(b'[') if !rest.starts_with(super::MARK) => {
                let reach = text.len().min(start + LONGEST);
                let end =
                    text[start..reach].iter().position(|byte| *byte == b']').map_or(end_of_line, |end| start + end);
                return span(start + 1, end);
            }
            Some(b'{') => return None,
            _ => {}
        }
        let line = text[start..end_of_line].trim_ascii();
        let block = matches!(line, [b'|' | b'>'] | [b'|' | b'>', b'+' | b'-' | b'0'..=b'9']);
        if line.is_empty() || block {
            let end = continued(text, name, end_of_line, block);
            return span((end_of_line + 1).min(end), end);
        }
        if kind == Kind::Config && is_setting(text, name) {
            return span(start, continued(text, name, end_of_line, true));
        }
        // After a quoted option or variable, the next item begins at the closing quotation mark.
        let before = &text[line_start(text, name)..name];
        let inside =
            [b'"', b'\''].into_iter().find(|quote| before.iter().filter(|byte| *byte == quote).count() % 2 == 1);
        let limit = inside.and_then(|quote| text[start..end_of_line].iter().position(|byte| *byte == quote));
        let limit = limit.map_or(end_of_line, |limit| start + limit);
        let next = self.next.find(&text[start..limit]).map_or(limit, |next| start + next.start());
        span(start, trimmed_end(text, start, next, start))
    }
}

/// The meaning of a name; if it has none alone, of the name with the word before it: "API key", "pass phrase".
fn meaning(text: &[u8], start: usize, end: usize) -> Option<Name> {
    let name = String::from_utf8_lossy(&text[start..end]);
    if let Some(says) = names::meaning(&name) {
        return Some(says);
    }
    let before = text[..start].strip_suffix(b" ")?;
    let word = before.iter().rev().take_while(|byte| byte.is_ascii_alphanumeric()).count();
    let before = String::from_utf8_lossy(&before[before.len() - word..]);
    matches!(name.to_ascii_lowercase().as_str(), "key" | "phrase" | "code")
        .then(|| names::meaning(&format!("{before}-{name}")))
        .flatten()
}

/// Whether a name stands at the beginning of a setting.
fn is_setting(text: &[u8], name: usize) -> bool {
    let before = text[line_start(text, name)..name].trim_ascii();
    matches!(before, b"" | b"-" | b"export" | b"set" | b"\"" | b"'" | b"- \"" | b"- '")
}

/// The quotation mark at the beginning of a value: the length of the opening mark, and the closing mark.
fn quotes(rest: &[u8]) -> Option<(usize, Vec<u8>)> {
    let prefix = usize::from(matches!(rest, [b'b' | b'u' | b'r' | b'f' | b'B' | b'U' | b'R' | b'F', b'"' | b'\'', ..]));
    let rest = &rest[prefix..];
    for mark in [&b"\"\"\""[..], b"'''", b"&quot;", b"%22", b"%27"] {
        if rest.starts_with(mark) {
            return Some((prefix + mark.len(), mark.to_vec()));
        }
    }
    let slashes = rest.iter().take_while(|byte| **byte == b'\\').count();
    let mark = rest.get(slashes).filter(|byte| matches!(byte, b'"' | b'\'' | b'`'))?;
    Some((prefix + slashes + 1, [&rest[..slashes], &[*mark]].concat()))
}

/// The position of `close`. An escaped quotation mark closes only a text that an escaped one opened.
fn closing(text: &[u8], close: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        if text[at..].starts_with(close) {
            return Some(at);
        }
        at += if text[at] == b'\\' && close.len() == 1 { 2 } else { 1 };
    }
    None
}

/// The end of the more deeply indented lines that continue the name's line. A line that is itself a setting ends them, unless `everything`
/// is set.
fn continued(text: &[u8], name: usize, end_of_line: usize, everything: bool) -> usize {
    let indent = |line: &[u8]| line.iter().take_while(|byte| matches!(byte, b' ' | b'\t')).count();
    let own = indent(&text[line_start(text, name)..]);
    let (mut end, mut at) = (end_of_line, end_of_line + 1);
    while at < text.len() && at - end_of_line < LONGEST {
        let line = &text[at..line_end(text, at)];
        let is_setting = line.iter().any(|byte| matches!(byte, b':' | b'='));
        let is_blank = line.trim_ascii().is_empty();
        if !is_blank && (indent(line) <= own || is_setting && !everything) {
            break;
        }
        if !is_blank {
            end = at + line.len();
        }
        at += line.len() + 1;
    }
    trimmed_end(text, end_of_line, end, end_of_line)
}

fn trimmed_end(text: &[u8], start: usize, end: usize, least: usize) -> usize {
    (start + text[start..end].trim_ascii_end().len()).max(least)
}

/// A quoted value extends to its closing quotation mark.
fn quoted_end(text: &[u8], start: usize, end: usize) -> usize {
    let Some(quote @ (b'"' | b'\'' | b'`')) = start.checked_sub(1).map(|before| text[before]) else { return end };
    text[start..line_end(text, start)].iter().position(|byte| *byte == quote).map_or(end, |at| start + at)
}

/// Programs whose `-w`, `-W` and `-K` are followed by a password.
const WITH_PASSWORDS: [&[u8]; 11] = [
    b"pk12util",
    b"tstclnt",
    b"selfserv",
    b"strsclnt",
    b"signver",
    b"cmsutil",
    b"crlutil",
    b"ldap",
    b"certutil",
    b"modutil",
    b"vfyserv",
];

fn is_password_option(line: &[u8], letter: u8, joined: bool) -> bool {
    let names = |programs: &[&[u8]]| programs.iter().any(|it| line.windows(it.len()).any(|window| window == *it));
    match letter {
        // For mysql, "-pX" is a password; for other programs it is a word that begins with p.
        b'p' if joined => names(&[b"mysql", b"mariadb", b"sshpass"]),
        b'p' | b'P' => !joined && !names(&[b"mkdir", b"cp ", b"install ", b"ps ", b"tar ", b"touch "]),
        _ => !joined && names(&WITH_PASSWORDS),
    }
}

/// Whether a value is a path, a port, a protocol or another option.
fn is_no_password(value: &[u8]) -> bool {
    let ports = value.iter().all(|byte| byte.is_ascii_digit() || matches!(byte, b':' | b'.' | b'-' | b'/'))
        && value.len() <= 12;
    ports
        || value.contains(&b'/')
        || value.starts_with(b"-")
        || value.starts_with(b".")
        || [&b"tcp"[..], b"udp", b"icmp"].contains(&value)
        || names::is_harmless(value)
}
