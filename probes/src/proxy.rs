//! An HTTP proxy between us and the peer: the CONNECT request, in the clear, before anything else (RFC 9110, 9.3.6).

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Instant;

use nssight_diagnosis::fact::fact::ProxyAnswered;

use crate::target::Endpoint;

/// The head of an answer has only a few lines.
const HEAD_AT_MOST: usize = 16 * 1024;
/// Maximum number of characters shown of an answer.
const SHOWN: usize = 120;

/// Why the proxy does not connect us.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// The proxy's reaction to the request.
    pub(crate) answered: ProxyAnswered,
    /// The first line of the proxy's answer, if any.
    pub(crate) said: String,
}

/// Requests that the proxy at the other end of `stream` connect to `peer`. Nothing after its answer is read, since that data comes from the
/// peer.
pub(crate) fn connect(mut stream: &TcpStream, peer: &Endpoint, deadline: Instant) -> Result<(), Refusal> {
    let request = format!("CONNECT {peer} HTTP/1.1\r\nHost: {peer}\r\n\r\n");
    stream.set_write_timeout(Some(left(deadline)?))?;
    stream.write_all(request.as_bytes())?;
    let head = head(stream, deadline)?;
    let line = head.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let said: String = String::from_utf8_lossy(line).chars().filter(|it| !it.is_control()).take(SHOWN).collect();
    let answered = match status(&said) {
        Some(200..=299) => return Ok(()),
        Some(407) => ProxyAnswered::WantsPassword,
        Some(403) => ProxyAnswered::Forbidden,
        // Some proxies send 500 where they mean 502 (tinyproxy 1.11).
        Some(500..=504) => ProxyAnswered::CannotConnect,
        Some(_) => ProxyAnswered::Other,
        None => ProxyAnswered::NotHttp,
    };
    Err(Refusal { answered, said })
}

impl From<io::Error> for Refusal {
    fn from(error: io::Error) -> Self {
        let answered = match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => ProxyAnswered::Silent,
            _ => ProxyAnswered::Ended,
        };
        Self { answered, said: String::new() }
    }
}

/// Reads up to the empty line, byte by byte, because the greeting of the peer may follow directly. Data that is not HTTP ends with its
/// first line.
fn head(mut stream: &TcpStream, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while head.len() < HEAD_AT_MOST {
        stream.set_read_timeout(Some(left(deadline)?))?;
        let mut byte = [0];
        match stream.read(&mut byte)? {
            // Some proxies close the connection after a refusal without an empty line.
            0 if head.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
            0 => break,
            _ => head.push(byte[0]),
        }
        let is_http = b"HTTP/".iter().zip(&head).all(|(wanted, found)| wanted == found);
        if head.ends_with(b"\r\n\r\n")
            || head.ends_with(b"\n\n")
            || !is_http && (byte[0] == b'\n' || head.len() > SHOWN)
        {
            break;
        }
    }
    Ok(head)
}

fn left(deadline: Instant) -> io::Result<std::time::Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
}

/// The number in `HTTP/1.1 200 Connection established`.
fn status(line: &str) -> Option<u16> {
    let mut words = line.strip_prefix("HTTP/1.")?.split(' ').skip(1);
    words.next()?.trim().parse().ok().filter(|status| (100..1000).contains(status))
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;
    use std::time::Duration;

    use super::*;

    /// The result of an answer, and the bytes that can be read after it.
    fn answered(answer: &'static [u8]) -> (Result<(), Refusal>, Vec<u8>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let proxy = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 256];
            let count = stream.read(&mut request).unwrap();
            assert!(request[..count].starts_with(b"CONNECT [::1]:636 HTTP/1.1\r\nHost: [::1]:636\r\n"));
            stream.write_all(answer).unwrap();
        });
        let mut stream = TcpStream::connect(address).unwrap();
        let peer = Endpoint { host: "::1".to_owned(), port: 636 };
        let result = connect(&stream, &peer, Instant::now() + Duration::from_secs(20));
        proxy.join().unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        (result, rest)
    }

    #[test]
    fn data_of_the_peer_after_the_answer_is_left_unread() {
        let (result, rest) =
            answered(b"HTTP/1.1 200 Connection established\r\nVia: a\r\n\r\n220 mail.example ESMTP\r\n");
        assert!(result.is_ok());
        assert_eq!(rest, b"220 mail.example ESMTP\r\n");
    }

    #[test]
    fn each_answer_has_its_meaning() {
        let cases: [(&[u8], ProxyAnswered, &str); 7] = [
            (
                b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n",
                ProxyAnswered::WantsPassword,
                "HTTP/1.1 407 Proxy Authentication Required",
            ),
            (b"HTTP/1.0 403 Forbidden\n\n", ProxyAnswered::Forbidden, "HTTP/1.0 403 Forbidden"),
            (
                b"HTTP/1.1 503 Service Unavailable\r\n\r\n",
                ProxyAnswered::CannotConnect,
                "HTTP/1.1 503 Service Unavailable",
            ),
            (b"HTTP/1.1 301 Moved\r\n\r\n", ProxyAnswered::Other, "HTTP/1.1 301 Moved"),
            (b"HTTP/1.1 soon\r\n\r\n", ProxyAnswered::NotHttp, "HTTP/1.1 soon"),
            (b"SSH-2.0-OpenSSH_9.2\x1b\r\n", ProxyAnswered::NotHttp, "SSH-2.0-OpenSSH_9.2"),
            (b"", ProxyAnswered::Ended, ""),
        ];
        for (answer, answered_as, said) in cases {
            let refusal = answered(answer).0.unwrap_err();
            assert_eq!((refusal.answered, refusal.said.as_str()), (answered_as, said));
        }
    }
}
