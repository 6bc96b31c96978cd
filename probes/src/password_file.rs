//! A password file as NSS's own tools read it, and the ways in which such files go wrong.
//!
//! The rules are those of SECU_FilePasswd (NSS, cmd/lib/secutil.c), measured on 3.87.1: one read of at most 4096
//! bytes; lines end at CR or LF, and runs of line ends count as one; a line that starts with the token's name and a
//! colon gives the rest of it verbatim; otherwise the last line is the password.

use zeroize::Zeroizing;

/// NSS's tools read this much of a password file, in one read.
pub const READ_AT_MOST: usize = 4096;

/// Lines tried, from the last one upwards.
const LINES_TRIED: usize = 8;

/// A password taken out of a file; wiped when dropped.
pub type Secret = Zeroizing<Vec<u8>>;

/// The content of a password file.
#[derive(Debug, PartialEq, Eq)]
pub enum Reading {
    /// A password; empty when the file holds only line ends.
    Password(Secret),
    /// The file has no byte at all; NSS's tools say "password file contains no data".
    NoData,
}

/// Reads the content of a password file for the token of this name.
pub fn read(content: &[u8], token: &str) -> Reading {
    let content = &content[..content.len().min(READ_AT_MOST)];
    if content.is_empty() {
        return Reading::NoData;
    }
    let named = lines(content).find_map(|line| of_token(line, token));
    Reading::Password(until_nul(named.or_else(|| lines(content).last()).unwrap_or_default()))
}

/// Whether a line of the file names this token.
pub fn names(content: &[u8], token: &str) -> bool {
    let content = &content[..content.len().min(READ_AT_MOST)];
    lines(content).any(|line| of_token(line, token).is_some())
}

/// The rest of a line that names this token.
fn of_token<'a>(line: &'a [u8], token: &str) -> Option<&'a [u8]> {
    line.strip_prefix(token.as_bytes())?.strip_prefix(b":")
}

fn lines(content: &[u8]) -> impl Iterator<Item = &[u8]> {
    content.split(|byte| matches!(byte, b'\r' | b'\n')).filter(|line| !line.is_empty())
}

/// The password is a C string to NSS.
fn until_nul(line: &[u8]) -> Secret {
    Zeroizing::new(line.split(|byte| *byte == 0).next().unwrap_or_default().to_vec())
}

/// A way in which a password source may differ from what was meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Repair {
    /// A UTF-8 byte order mark before the password.
    ByteOrderMark,
    /// UTF-16, as some editors save it.
    Utf16,
    /// Blanks or tabs before or after it.
    Blanks,
    /// Quotation marks around it.
    Quotes,
    /// A line after it: a comment, or another entry.
    NotTheLastLine,
    /// Another line has the token's name, so NSS uses that one.
    BesideTokenLine,
    /// `token:password` with a token name that NSS does not use here.
    TokenName,
    /// `token: password`, with a blank after the colon.
    BlankAfterToken,
    /// Latin-1 where the password was set in UTF-8, or the other way round.
    Charset,
    /// `name = password` or `name: password`, as in a configuration file.
    KeyAndValue,
    /// A literal `\n` typed after it.
    EscapedNewline,
}

impl Repair {
    /// Describes the problem of the file without revealing the password.
    pub fn describe(self) -> &'static str {
        match self {
            Self::ByteOrderMark => "a UTF-8 byte order mark precedes the password",
            Self::Utf16 => "the text is UTF-16",
            Self::Blanks => "blanks precede or follow the password, and NSS treats them as part of the password",
            Self::Quotes => "the password is in quotation marks, and NSS treats them as part of the password",
            Self::NotTheLastLine => "the password is not on the last line, but NSS reads only the last line",
            Self::BesideTokenLine => {
                "another line begins with the name of this token, and NSS uses the first such line, wherever it is"
            }
            Self::TokenName => "the line starts with a token name that this token does not have",
            Self::BlankAfterToken => "a blank follows the colon after the token name",
            Self::Charset => "the password is in a different character set from the one in which it was set",
            Self::KeyAndValue => "a key precedes the password on its line, and NSS uses the whole line",
            Self::EscapedNewline => "a literal \\n follows the password",
        }
    }

    /// What to change in a password file for the token of this name.
    pub fn remedy(self, token: &str) -> String {
        match self {
            Self::BesideTokenLine => {
                format!("Write the password after \"{token}:\" on the first line that begins with this name, or remove all such lines")
            }
            _ => "Write only the password on the last line of the file, without a byte order mark, blanks or quotation marks"
                .to_owned(),
        }
    }
}

/// Candidates for the intended password, most likely first, without the reading that NSS itself would take. Each must
/// be tested against the key database. There are at most a few dozen, whatever the content.
pub fn repairs(content: &[u8], token: &str) -> Vec<(Repair, Secret)> {
    let content = &content[..content.len().min(READ_AT_MOST)];
    let mut found = Candidates { taken: Vec::new(), list: Vec::new() };
    if let Reading::Password(taken) = read(content, token) {
        found.taken = taken.to_vec();
    }
    if let Some(text) = decode_utf16(content) {
        found.line(Repair::Utf16, text.trim_end_matches(['\r', '\n']).as_bytes());
    }
    let body = content.strip_prefix(b"\xef\xbb\xbf").unwrap_or(content);
    if body.len() != content.len()
        && let Reading::Password(password) = read(body, token)
    {
        found.add(Repair::ByteOrderMark, &password);
    }
    // From the last line upwards; a file of a thousand lines is not a password file.
    let all: Vec<&[u8]> = lines(body).collect();
    let used = all.iter().position(|line| of_token(line, token).is_some());
    let own = used.unwrap_or(all.len().saturating_sub(1));
    let beside = if used.is_some() { Repair::BesideTokenLine } else { Repair::NotTheLastLine };
    let nearest = all.iter().enumerate().rev().take(LINES_TRIED);
    for (place, line) in used.map(|place| (place, &all[place])).into_iter().chain(nearest) {
        let line = until_nul(line);
        if place == own {
            found.line(Repair::Blanks, &line);
        } else {
            found.line_beside(beside, &line, token);
        }
    }
    found.taken.fill(0);
    found.list
}

struct Candidates {
    taken: Vec<u8>,
    list: Vec<(Repair, Secret)>,
}

impl Candidates {
    fn add(&mut self, repair: Repair, bytes: &[u8]) {
        let known = bytes == self.taken || self.list.iter().any(|(_, known)| known.as_slice() == bytes);
        if !bytes.is_empty() && !known {
            self.list.push((repair, Zeroizing::new(bytes.to_vec())));
        }
    }

    /// Adds a line that NSS does not use, and everything that may be wrong within it too.
    fn line_beside(&mut self, outer: Repair, line: &[u8], token: &str) {
        let value = of_token(line, token).unwrap_or(line);
        self.add(outer, value);
        self.add(outer, value.trim_ascii());
        self.line(outer, line);
    }

    /// Adds everything that may be wrong within one line.
    fn line(&mut self, outer: Repair, line: &[u8]) {
        self.add(outer, line);
        let trimmed = line.trim_ascii();
        self.add(Repair::Blanks, trimmed);
        self.add(Repair::Quotes, unquoted(trimmed));
        if let Some(at) = trimmed.iter().position(|byte| matches!(byte, b':' | b'=')) {
            let (name, value) = (&trimmed[..at], &trimmed[at + 1..]);
            let token_like = name.starts_with(b"NSS ") || name == b"internal" || name.ends_with(b"DB");
            let repair = if token_like { Repair::TokenName } else { Repair::KeyAndValue };
            self.add(repair, value);
            let repair = if token_like { Repair::BlankAfterToken } else { Repair::KeyAndValue };
            self.add(repair, value.trim_ascii());
            self.add(repair, unquoted(value.trim_ascii()));
        }
        self.add(Repair::EscapedNewline, trimmed.strip_suffix(br"\n").unwrap_or(trimmed));
        if let Some(other) = other_charset(trimmed) {
            self.add(Repair::Charset, &other);
        }
    }
}

fn unquoted(text: &[u8]) -> &[u8] {
    match text {
        [first @ (b'"' | b'\''), inner @ .., last] if first == last => inner,
        _ => text,
    }
}

/// Latin-1 to UTF-8, or UTF-8 to Latin-1 if every character exists there.
fn other_charset(line: &[u8]) -> Option<Secret> {
    if line.is_ascii() {
        return None;
    }
    Some(Zeroizing::new(match std::str::from_utf8(line) {
        Ok(text) => text.chars().map(|c| u8::try_from(u32::from(c)).ok()).collect::<Option<Vec<u8>>>()?,
        Err(_) => line.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes(),
    }))
}

fn decode_utf16(content: &[u8]) -> Option<Zeroizing<String>> {
    let (little, rest) = match content {
        [0xff, 0xfe, rest @ ..] => (true, rest),
        [0xfe, 0xff, rest @ ..] => (false, rest),
        _ => return None,
    };
    let units = rest.chunks_exact(2).map(|pair| {
        if little { u16::from_le_bytes([pair[0], pair[1]]) } else { u16::from_be_bytes([pair[0], pair[1]]) }
    });
    char::decode_utf16(units).collect::<Result<String, _>>().ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKEN: &str = "NSS Certificate DB";

    fn password(content: &[u8]) -> Vec<u8> {
        match read(content, TOKEN) {
            Reading::Password(password) => password.to_vec(),
            Reading::NoData => panic!("no data"),
        }
    }

    #[test]
    fn files_are_read_as_the_tools_of_nss_read_them() {
        // Every row was measured with certutil and tstclnt 3.87.1.
        let rows: [(&[u8], &[u8]); 12] = [
            (b"sekrit1", b"sekrit1"),
            (b"sekrit1\n", b"sekrit1"),
            (b"sekrit1\r\n\r\n\n", b"sekrit1"),
            (b"\n\nsekrit1\n", b"sekrit1"),
            (b"other\nsekrit1", b"sekrit1"),
            (b"sekrit1\nother", b"other"),
            (b"sekrit1\n# comment\n", b"# comment"),
            (b"sekrit1 ", b"sekrit1 "),
            (b"NSS Certificate DB:sekrit1\nother\n", b"sekrit1"),
            (b"NSS Certificate DB: sekrit1\n", b" sekrit1"),
            (b"sekrit1\0junk\n", b"sekrit1"),
            (b"\n", b""),
        ];
        for (content, expected) in rows {
            assert_eq!(password(content), expected, "{}", String::from_utf8_lossy(content));
        }
        assert_eq!(read(b"", TOKEN), Reading::NoData);
    }

    #[test]
    fn each_mistake_in_a_file_is_found() {
        let rows: [(&[u8], Repair, &[u8]); 18] = [
            (b"\xef\xbb\xbfsekrit1\n", Repair::ByteOrderMark, b"sekrit1"),
            (b"\xff\xfes\0e\0k\0\n\0", Repair::Utf16, b"sek"),
            (b" sekrit1\n", Repair::Blanks, b"sekrit1"),
            (b"sekrit1\t\n", Repair::Blanks, b"sekrit1"),
            (b"\"sekrit1\"\n", Repair::Quotes, b"sekrit1"),
            (b"sekrit1\n# the password\n", Repair::NotTheLastLine, b"sekrit1"),
            (b"internal:sekrit1\n", Repair::TokenName, b"sekrit1"),
            (b"NSS FIPS 140-2 Certificate DB:sekrit1\n", Repair::TokenName, b"sekrit1"),
            (b"NSS Certificate DB: sekrit1\n", Repair::BlankAfterToken, b"sekrit1"),
            (b"nss-password: sekrit1\n", Repair::KeyAndValue, b"sekrit1"),
            (b"NSS Certificate DB:other\nsekrit1\n", Repair::BesideTokenLine, b"sekrit1"),
            (b"sekrit1\nNSS Certificate DB:other\n", Repair::BesideTokenLine, b"sekrit1"),
            (b"NSS Certificate DB:other\nNSS Certificate DB:sekrit1\n", Repair::BesideTokenLine, b"sekrit1"),
            (b"NSS Certificate DB:\nsekrit1 \n", Repair::BesideTokenLine, b"sekrit1"),
            (b"NSS Certificate DB: sekrit1\n# the password\n", Repair::BlankAfterToken, b"sekrit1"),
            (b" sekrit1\n# the password\n", Repair::NotTheLastLine, b"sekrit1"),
            (b"gr\xfcn\n", Repair::Charset, "grün".as_bytes()),
            ("grün\n".as_bytes(), Repair::Charset, b"gr\xfcn"),
        ];
        for (content, repair, expected) in rows {
            let found = repairs(content, TOKEN);
            let by = found.iter().find(|(_, secret)| secret.as_slice() == expected).map(|(by, _)| *by);
            assert_eq!(by, Some(repair), "{}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn the_number_of_candidates_is_bounded() {
        let content = b"a:b = c\n".repeat(2000);
        assert!(repairs(&content, TOKEN).len() < 80);
    }
}
