//! Log formats: identifies the program that wrote a line or a file, from the data in `formats/` and the profiles.

use std::ops::Range;
use std::sync::LazyLock;

use aho_corasick::{AhoCorasick, AhoCorasickKind};

use crate::sign::{Role, Step};

/// The log format of one program.
#[derive(Debug)]
pub struct Format {
    /// The name of its file.
    pub name: &'static str,
    /// The kind of deployment that it belongs to.
    pub profile: Option<&'static str>,
    /// The program of the log.
    pub title: &'static str,
    /// The role of the writer.
    pub role: Role,
    /// The next thing to collect from the program.
    pub next: Next,
    pub(crate) names: &'static [&'static str],
    pub(crate) heads: &'static [&'static str],
    pub(crate) words: &'static [&'static str],
    files: &'static [&'static str],
    as_client: &'static [&'static str],
    as_server: &'static [&'static str],
    childs: &'static [&'static str],
    last: &'static [&'static str],
    about_client: &'static [&'static str],
    about_server: &'static [&'static str],
    about_itself: &'static [&'static str],
    /// The ports for clients and for its server, as text.
    pub(crate) client_port: Option<&'static str>,
    pub(crate) server_port: Option<&'static str>,
    /// Its certificates are in an NSS database.
    pub nss: bool,
    connection: Option<&'static str>,
    /// The program is at either end of a connection, and only some lines of the connection show which.
    pub(crate) one_sided: bool,
    /// Text before the id of a session.
    pub(crate) session: Option<&'static str>,
    pub(crate) succeeds: &'static [&'static str],
    reaches: &'static [&'static str],
    /// Messages about certificates concern the program's own certificates.
    pub(crate) own_certificate: bool,
    /// The text describes errors that did not happen.
    pub(crate) nobodys: bool,
}

/// For a program between two others, the session that a line is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// The session with a client.
    Client,
    /// The session with the server.
    Server,
}

/// The next thing to collect.
#[derive(Debug)]
pub struct Next {
    /// A sentence.
    pub text: &'static str,
    /// The command for it.
    pub command: Option<&'static str>,
}

/// The ways in which a word identifies the program, the most reliable last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tells {
    /// Anywhere in the line.
    Word,
    /// Before the message, where the journal, syslog, containers and pods put the name.
    Name,
    /// At the beginning of the message.
    Head,
}

/// All words that identify the writer of a line.
struct Writers {
    automaton: AhoCorasick,
    words: Vec<(&'static Format, Tells)>,
}

static WRITERS: LazyLock<Writers> = LazyLock::new(|| {
    let (mut texts, mut words): (Vec<&str>, Vec<_>) = (Vec::new(), Vec::new());
    for format in FORMATS {
        for (own, tells) in [(format.words, Tells::Word), (format.names, Tells::Name), (format.heads, Tells::Head)] {
            texts.extend(own);
            words.extend(own.iter().map(|_| (format, tells)));
        }
    }
    // The words are constants, and a test builds this automaton.
    let automaton = AhoCorasick::builder().kind(Some(AhoCorasickKind::DFA)).build(texts);
    Writers { automaton: automaton.expect("the words can be sought"), words }
});

/// Texts before the id of a session, of all formats.
static BEFORE_IDS: LazyLock<Vec<memchr::memmem::Finder<'static>>> = LazyLock::new(|| {
    let mut words: Vec<&str> = FORMATS.iter().filter_map(|format| format.session).collect();
    words.sort_unstable();
    words.dedup();
    words.into_iter().map(memchr::memmem::Finder::new).collect()
});

impl Format {
    /// The id of the session that a line is about; all ends of the session write the same id.
    pub(crate) fn session_id_in(line: &[u8]) -> Option<u128> {
        let behind = BEFORE_IDS.iter().flat_map(|before| {
            let length = before.needle().len();
            before.find_iter(line).map(move |at| &line[at + length..])
        });
        behind.filter_map(uuid).next()
    }

    /// The program that wrote a line, according to its words.
    pub(crate) fn of_line(line: &[u8]) -> Option<&'static Self> {
        let prefix = prefix(line);
        let holds = |tells: Tells, place: Range<usize>| match tells {
            Tells::Word => true,
            Tells::Name => place.end <= prefix,
            Tells::Head => place.end <= crate::line::HEAD,
        };
        let hits = WRITERS.automaton.find_overlapping_iter(line);
        let hits = hits.map(|hit| (WRITERS.words[hit.pattern().as_usize()], hit.range()));
        let hits = hits.filter(|((_, tells), place)| holds(*tells, place.clone()));
        // Of equals the first counts, but a remark without meaning takes precedence over a word at its beginning.
        let tells = |((format, tells), _): &((&Self, Tells), Range<usize>)| (*tells, format.nobodys);
        let best = hits.reduce(|best, next| if tells(&next) > tells(&best) { next } else { best })?;
        Some(best.0.0)
    }

    /// The program of a log according to its file name alone: `client.log`, `bridge.log-20261124`, `1-server-1.log`. A webserver.log or
    /// client_golang.log belongs to another program.
    pub(crate) fn of_file(name: &str) -> Option<&'static Self> {
        let file = name.rsplit(['/', ':']).next().unwrap_or(name).to_lowercase();
        let stem = file.split('.').next().unwrap_or(&file);
        let is_number = |word: &str| word.bytes().all(|byte| byte.is_ascii_digit());
        let is_profile = |word: &str| FORMATS.iter().any(|it| it.profile == Some(word));
        let mut words: Vec<&str> = stem.split(['-', '_']).filter(|word| !is_number(word)).collect();
        words.dedup();
        let whole = words.join("-");
        // A word of one profile is not used for another: siguldry-bridge.log is not a log of Sigul's bridge.
        let named = words.iter().copied().find(|word| is_profile(word));
        words.retain(|word| !is_profile(word));
        let is = |format: &&Self| match format.profile {
            Some(profile) => {
                let is_its_own = named.is_none_or(|named| named == profile) && words.len() == 1;
                format.files.contains(&whole.as_str()) || is_its_own && format.files.contains(&words[0])
            }
            None => format.files.iter().any(|own| file.contains(own)),
        };
        // The formats of a profile are more exact.
        FORMATS.iter().rev().find(is)
    }

    /// The role of the program in the session that a line is about.
    pub(crate) fn role_in(&self, line: &[u8]) -> Role {
        let has = |words: &[&str]| words.iter().any(|word| memchr::memmem::find(line, word.as_bytes()).is_some());
        match () {
            () if has(self.as_client) => Role::Tool,
            () if has(self.as_server) => Role::Peer,
            () => self.role,
        }
    }

    /// The host that a line names as its target: the host and port of the first address in it, or the name after a word of the format.
    pub(crate) fn target_in<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let behind = |word: &str| Some(memchr::memmem::find(line, word.as_bytes())? + word.len());
        let from = behind("://").or_else(|| self.reaches.iter().find_map(|word| behind(word)))?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(byte);
        let length = line[from..].iter().take_while(|byte| is_name(byte)).count();
        (length > 0).then(|| &line[from..from + length])
    }

    /// Whether a line is about the program's own certificate, key or database.
    pub(crate) fn is_about_itself(&self, line: &[u8]) -> bool {
        self.about_itself.iter().any(|word| memchr::memmem::find(line, word.as_bytes()).is_some())
    }

    /// The name of the connection that a line is about.
    pub(crate) fn connection_in<'a>(&self, line: &'a [u8]) -> Option<&'a [u8]> {
        let before = self.connection?.as_bytes();
        let from = memchr::memmem::find(line, before)? + before.len();
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || b".:-_".contains(byte);
        let length = line[from..].iter().take_while(|byte| is_name(byte)).count();
        (length > 0).then(|| &line[from..from + length])
    }

    /// The session that a line of a traceback is about, if the line shows it.
    pub(crate) fn session_in(line: &[u8]) -> Option<About> {
        let has = |words: &[&str]| words.iter().any(|word| memchr::memmem::find(line, word.as_bytes()).is_some());
        match () {
            () if FORMATS.iter().any(|format| has(format.about_client)) => Some(About::Client),
            () if FORMATS.iter().any(|format| has(format.about_server)) => Some(About::Server),
            () => None,
        }
    }

    /// Whether a line itself shows that the child process wrote it.
    pub(crate) fn names_child(line: &[u8]) -> bool {
        let all = FORMATS.iter().flat_map(|format| format.childs);
        all.into_iter().any(|word| memchr::memmem::find(line, word.as_bytes()).is_some())
    }

    /// Whether a line is the last one of a run.
    pub(crate) fn ends_a_run(line: &[u8]) -> bool {
        FORMATS.iter().flat_map(|format| format.last).any(|words| line.starts_with(words.as_bytes()))
    }
}

/// The UUID at the beginning of a value: `=01a2…`, `":"01a2…`, also with escapes in between.
fn uuid(text: &[u8]) -> Option<u128> {
    const LENGTH: usize = 36;
    const AT_MOST_BETWEEN: usize = 8;
    let between = text.iter().take(AT_MOST_BETWEEN).take_while(|byte| b"=:\"\\ ".contains(byte)).count();
    let value = text.get(between..between + LENGTH)?;
    let goes_on = text.get(between + LENGTH).is_some_and(u8::is_ascii_alphanumeric);
    let is_dash = |at: usize| [8, 13, 18, 23].contains(&at);
    let digits = value.iter().enumerate().map(|(at, byte)| match (is_dash(at), byte) {
        (true, b'-') => Some(None),
        (false, digit) => char::from(*digit).to_digit(16).map(Some),
        _ => None,
    });
    let mut id = 0;
    for digit in digits {
        if let Some(digit) = digit? {
            id = id << 4 | u128::from(digit);
        }
    }
    (between > 0 && !goes_on).then_some(id)
}

/// The length of the text before the message: `host program[42]: `, `program-1  | `.
fn prefix(line: &[u8]) -> usize {
    let head = &line[..line.len().min(crate::line::HEAD)];
    memchr::memmem::find(head, b": ").or_else(|| memchr::memmem::find(head, b" | ")).unwrap_or(0)
}

include!(concat!(env!("OUT_DIR"), "/formats.rs"));

#[cfg(test)]
mod tests {
    use super::*;

    fn of(line: &str) -> Option<&'static str> {
        Format::of_line(line.as_bytes()).map(|format| format.name)
    }

    #[test]
    fn a_prefix_names_the_writer() {
        assert_eq!(of("tstclnt: write to SSL socket failed"), Some("tstclnt"));
        for format in FORMATS {
            for name in format.names {
                let name = name.trim_end_matches('[');
                assert_eq!(of(&format!("Nov 24 06:54:26 host {name}[42]: INFO: x")), Some(format.name));
                assert_eq!(of(&format!("ERROR: cannot reach {name}")), None);
            }
        }
    }

    #[test]
    fn a_session_is_known_by_its_id_in_every_notation() {
        let id = 0x01a2_2805_b7a5_7cc2_9b34_8d5a_3696_0858;
        let spelled = "01a22805-b7a5-7cc2-9b34-8d5a36960858";
        for line in [
            format!("handle{{session_id={spelled} user=\"alice\"}}: x"),
            format!("x session_id={spelled}"),
            format!(r#"{{"span":{{"session_id":"{spelled}"}}}}"#),
            format!(r#"{{"MESSAGE":"{{\"session_id\":\"{spelled}\"}}"}}"#),
            format!("session_id_of_another=1 session_id={spelled}"),
        ] {
            assert_eq!(Format::session_id_in(line.as_bytes()), Some(id), "{line}");
        }
        for line in [
            "session_id=",
            "session_id=01a22805",
            "session_id=01a22805-b7a5-7cc2-9b34-8d5a36960858a",
            "session_id=01a22805b7a5-7cc2-9b34-8d5a36960858--",
            "session_id=01a22805-b7a5-7cc2-9b34-8d5a3696085é",
            "id 01a22805-b7a5-7cc2-9b34-8d5a36960858",
        ] {
            assert_eq!(Format::session_id_in(line.as_bytes()), None, "{line}");
        }
    }

    #[test]
    fn a_file_is_known_by_its_name() {
        for format in FORMATS.iter().filter(|format| format.profile.is_some()) {
            let profile = format.profile.unwrap_or_default();
            for file in format.files {
                for name in [
                    format!("{file}.log"),
                    format!("x/{profile}_{file}.log-20261124"),
                    format!("1-{profile}-{file}-1.log"),
                ] {
                    assert_eq!(Format::of_file(&name).map(|it| it.name), Some(format.name), "{name}");
                }
                assert!(Format::of_file(&format!("web{file}.log")).is_none());
            }
        }
    }
}
