//! The dialogue of each protocol.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, TcpStream};
use std::time::{Duration, Instant};

use super::StartTls;

/// An answer has only a few lines.
const ANSWER_AT_MOST: usize = 64 * 1024;

/// Why TLS does not start.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The server refused with this text.
    Refused(String),
    /// The server uses another protocol, according to these bytes.
    Unexpected(String),
    /// Nothing arrived before the deadline.
    Silent,
    /// The connection ended, or broke.
    Ended(io::Error),
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => Self::Silent,
            _ => Self::Ended(error),
        }
    }
}

/// A stream whose reads and writes share one deadline.
struct DeadlineStream<'a> {
    stream: &'a TcpStream,
    deadline: Instant,
    held: Vec<u8>,
}

impl DeadlineStream<'_> {
    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    fn say(&mut self, bytes: &[u8]) -> Result<(), Trouble> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        Ok((&mut &*self.stream).write_all(bytes)?)
    }

    /// Reads more data; the end of the stream is an error.
    fn more(&mut self) -> Result<(), Trouble> {
        if self.held.len() >= ANSWER_AT_MOST {
            return Err(Trouble::Unexpected(shown(&self.held)));
        }
        let mut buffer = [0; 4096];
        self.stream.set_read_timeout(Some(self.left()?))?;
        match (&mut &*self.stream).read(&mut buffer)? {
            0 => Err(Trouble::Ended(ErrorKind::UnexpectedEof.into())),
            count => {
                self.held.extend_from_slice(&buffer[..count]);
                Ok(())
            }
        }
    }

    /// Reads exactly this many bytes and nothing more: TLS begins after them.
    fn exactly(&mut self, count: usize) -> Result<Vec<u8>, Trouble> {
        while self.held.len() < count {
            self.more()?;
        }
        Ok(self.held.drain(..count).collect())
    }

    /// Reads one line without its line end.
    fn line(&mut self) -> Result<String, Trouble> {
        loop {
            if let Some(end) = self.held.iter().position(|byte| *byte == b'\n') {
                let line: Vec<u8> = self.held.drain(..=end).collect();
                return Ok(String::from_utf8_lossy(&line).trim_end().to_owned());
            }
            self.more()?;
        }
    }

    /// The code and the text of a reply. All its lines begin with the code, and the last one has a blank after it (RFC 5321, 4.2.1).
    fn reply(&mut self) -> Result<(u16, String), Trouble> {
        loop {
            let line = self.line()?;
            let code = line.get(..3).and_then(|code| code.parse().ok());
            let Some(code) = code else { return Err(Trouble::Unexpected(shown(line.as_bytes()))) };
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok((code, line));
            }
        }
    }

    fn expect(&mut self, wanted: &[u16]) -> Result<(), Trouble> {
        match self.reply()? {
            (code, _) if wanted.contains(&code) => Ok(()),
            (_, line) => Err(Trouble::Refused(shown(line.as_bytes()))),
        }
    }

    /// Reads until `wanted` arrives; `refusal` ends the wait as a refusal.
    fn until(&mut self, wanted: &str, refusal: &str) -> Result<(), Trouble> {
        loop {
            let text = String::from_utf8_lossy(&self.held).into_owned();
            if let Some(at) = text.find(wanted) {
                self.held.drain(..(at + wanted.len()).min(self.held.len()));
                return Ok(());
            }
            if text.contains(refusal) {
                return Err(Trouble::Refused(shown(&self.held)));
            }
            self.more()?;
        }
    }
}

/// A few bytes for display in a sentence.
fn shown(bytes: &[u8]) -> String {
    String::from_utf8_lossy(&bytes[..bytes.len().min(200)]).chars().filter(|it| !it.is_control()).collect()
}

/// Requests that the peer start TLS on a connection. `host` is sent if the protocol requires a name.
pub(crate) fn begin(protocol: StartTls, stream: &TcpStream, host: &str, deadline: Instant) -> Result<(), Trouble> {
    stream.set_nonblocking(false)?;
    let mut talk = DeadlineStream { stream, deadline, held: Vec::new() };
    match protocol {
        StartTls::Smtp | StartTls::Lmtp => smtp(&mut talk, protocol)?,
        StartTls::Imap => imap(&mut talk)?,
        StartTls::Pop3 => pop3(&mut talk)?,
        StartTls::Ldap => ldap(&mut talk)?,
        StartTls::Postgres => postgres(&mut talk)?,
        StartTls::Mysql => mysql(&mut talk)?,
        StartTls::Ftp => {
            talk.expect(&[220])?;
            talk.say(b"AUTH TLS\r\n")?;
            talk.expect(&[234])?;
        }
        StartTls::Xmpp => xmpp(&mut talk, host)?,
        StartTls::Nntp => {
            talk.expect(&[200, 201])?;
            talk.say(b"STARTTLS\r\n")?;
            talk.expect(&[382])?;
        }
        StartTls::Sieve => sieve(&mut talk)?,
    }
    // A server that continues in the clear after its consent does not start TLS next (RFC 3207, 6, and CVE-2011-0411).
    if talk.held.is_empty() { Ok(()) } else { Err(Trouble::Unexpected(shown(&talk.held))) }
}

/// RFC 3207, and RFC 2033 for LMTP. Our name is our address, because servers may refuse a name that they cannot resolve (RFC 5321, 4.1.4).
fn smtp(talk: &mut DeadlineStream<'_>, protocol: StartTls) -> Result<(), Trouble> {
    talk.expect(&[220])?;
    let verb = if protocol == StartTls::Lmtp { "LHLO" } else { "EHLO" };
    let name = address_literal(talk.stream.local_addr()?.ip().to_canonical());
    talk.say(format!("{verb} {name}\r\n").as_bytes())?;
    talk.expect(&[250])?;
    talk.say(b"STARTTLS\r\n")?;
    talk.expect(&[220])
}

/// RFC 5321, 4.1.3.
fn address_literal(address: IpAddr) -> String {
    match address {
        IpAddr::V4(address) => format!("[{address}]"),
        IpAddr::V6(address) => format!("[IPv6:{address}]"),
    }
}

/// RFC 9051, 6.2.1.
fn imap(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    let greeting = talk.line()?;
    if !greeting.starts_with("* OK") && !greeting.starts_with("* PREAUTH") {
        return Err(Trouble::Unexpected(shown(greeting.as_bytes())));
    }
    talk.say(b"n1 STARTTLS\r\n")?;
    loop {
        let line = talk.line()?;
        match line.strip_prefix("n1 ") {
            Some(answer) if answer.starts_with("OK") => return Ok(()),
            Some(_) => return Err(Trouble::Refused(shown(line.as_bytes()))),
            None => {}
        }
    }
}

/// RFC 2595, 4.
fn pop3(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    let greeting = talk.line()?;
    if !greeting.starts_with("+OK") {
        return Err(Trouble::Unexpected(shown(greeting.as_bytes())));
    }
    talk.say(b"STLS\r\n")?;
    let answer = talk.line()?;
    if answer.starts_with("+OK") { Ok(()) } else { Err(Trouble::Refused(shown(answer.as_bytes()))) }
}

/// The extended operation StartTLS (RFC 4511, 4.14), as DER.
fn ldap(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    const OID: &[u8] = b"1.3.6.1.4.1.1466.20037";
    const EXTENDED_RESPONSE: u8 = 0x78;
    let request = [&[0x30, 29, 2, 1, 1, 0x77, 24, 0x80, 22][..], OID].concat();
    talk.say(&request)?;
    let head = talk.exactly(2)?;
    if head[0] != 0x30 {
        let more = talk.held.clone();
        return Err(Trouble::Unexpected(shown(&[head, more].concat())));
    }
    let length = match head[1] {
        short @ ..0x80 => usize::from(short),
        long => {
            let digits = talk.exactly(usize::from(long & 0x7f).min(4))?;
            digits.iter().fold(0, |sum, digit| sum << 8 | usize::from(*digit))
        }
    };
    let body = talk.exactly(length.min(ANSWER_AT_MOST))?;
    // The message number, then the response: result code, matched name, and the server's text.
    let response = body.iter().position(|byte| *byte == EXTENDED_RESPONSE);
    let code = response.and_then(|at| body.get(at..)?.windows(3).find(|it| it[..2] == [0x0a, 1]).map(|it| it[2]));
    match code {
        Some(0) => Ok(()),
        Some(code) => Err(Trouble::Refused(format!("LDAP result {code}: {}", shown(&body)))),
        None => Err(Trouble::Unexpected(shown(&body))),
    }
}

/// SSLRequest (PostgreSQL's manual, 54.7).
fn postgres(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    const SSL_REQUEST: [u8; 8] = [0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x2f];
    talk.say(&SSL_REQUEST)?;
    match talk.exactly(1)?.as_slice() {
        b"S" => Ok(()),
        b"N" => Err(Trouble::Refused("N: the server offers no TLS".to_owned())),
        other => {
            let more = talk.held.clone();
            Err(Trouble::Unexpected(shown(&[other, &more].concat())))
        }
    }
}

/// The handshake of MySQL: its first packet shows whether the server supports TLS, and SSLRequest starts it.
fn mysql(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    const TLS: u32 = 0x0800;
    const PROTOCOL_41: u32 = 0x0200;
    const SECURE_CONNECTION: u32 = 0x8000;
    const PACKET_AT_MOST: u32 = 1 << 24;
    const UTF8: u8 = 33;
    let head = talk.exactly(4)?;
    let length = usize::from(head[0]) | usize::from(head[1]) << 8 | usize::from(head[2]) << 16;
    let packet = talk.exactly(length.min(ANSWER_AT_MOST))?;
    if packet.first() != Some(&10) {
        return Err(Trouble::Refused(shown(&packet)));
    }
    // The version name ends with a zero; then follow the connection number, eight bytes of a challenge and a zero.
    let end = packet.iter().position(|byte| *byte == 0).unwrap_or(0);
    let flags = packet.get(end + 14..end + 16).map_or(0, |two| u32::from(u16::from_le_bytes([two[0], two[1]])));
    if flags & TLS == 0 {
        return Err(Trouble::Refused("the server offers no TLS".to_owned()));
    }
    let mut request = vec![32, 0, 0, 1];
    request.extend((TLS | PROTOCOL_41 | SECURE_CONNECTION).to_le_bytes());
    request.extend(PACKET_AT_MOST.to_le_bytes());
    request.push(UTF8);
    request.extend([0; 23]);
    talk.say(&request)
}

/// RFC 6120, 5.
fn xmpp(talk: &mut DeadlineStream<'_>, host: &str) -> Result<(), Trouble> {
    let host: String = host.chars().filter(|it| !"<>&'\"".contains(*it)).collect();
    let open = format!(
        "<?xml version='1.0'?><stream:stream to='{host}' xmlns='jabber:client' \
         xmlns:stream='http://etherx.jabber.org/streams' version='1.0'>"
    );
    talk.say(open.as_bytes())?;
    talk.until("</stream:features>", "</stream:stream>")?;
    talk.say(b"<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>")?;
    talk.until("<proceed", "<failure")?;
    talk.until(">", "</stream:stream>")
}

/// RFC 5804, 2.2.
fn sieve(talk: &mut DeadlineStream<'_>) -> Result<(), Trouble> {
    let ends = |line: &str| ["OK", "NO", "BYE"].into_iter().find(|word| line.to_uppercase().starts_with(word));
    loop {
        let line = talk.line()?;
        match ends(&line) {
            Some("OK") => break,
            Some(_) => return Err(Trouble::Refused(shown(line.as_bytes()))),
            None => {}
        }
    }
    talk.say(b"STARTTLS\r\n")?;
    let answer = talk.line()?;
    match ends(&answer) {
        Some("OK") => Ok(()),
        _ => Err(Trouble::Refused(shown(answer.as_bytes()))),
    }
}
