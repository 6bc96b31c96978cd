//! The unencrypted dialogue that starts TLS on an existing connection: STARTTLS and similar.
mod dialogue;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub(crate) use self::dialogue::{Trouble, begin};

/// A protocol that changes to TLS on request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[allow(missing_docs, reason = "the names are those of the protocols")]
pub enum StartTls {
    Smtp,
    Lmtp,
    Imap,
    Pop3,
    Ldap,
    Postgres,
    Mysql,
    Ftp,
    Xmpp,
    Nntp,
    Sieve,
}

impl StartTls {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Smtp,
        Self::Lmtp,
        Self::Imap,
        Self::Pop3,
        Self::Ldap,
        Self::Postgres,
        Self::Mysql,
        Self::Ftp,
        Self::Xmpp,
        Self::Nntp,
        Self::Sieve,
    ];

    /// The name in options.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Smtp => "smtp",
            Self::Lmtp => "lmtp",
            Self::Imap => "imap",
            Self::Pop3 => "pop3",
            Self::Ldap => "ldap",
            Self::Postgres => "postgres",
            Self::Mysql => "mysql",
            Self::Ftp => "ftp",
            Self::Xmpp => "xmpp",
            Self::Nntp => "nntp",
            Self::Sieve => "sieve",
        }
    }

    /// The protocol with this greeting in the clear: the first bytes of a peer that does not wait for a ClientHello.
    pub fn of_greeting(greeting: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(&greeting[..greeting.len().min(200)]).to_lowercase();
        if text.starts_with("* ok") {
            return Some(Self::Imap);
        }
        if text.starts_with("+ok") {
            return Some(Self::Pop3);
        }
        if text.starts_with("\"implementation\"") {
            return Some(Self::Sieve);
        }
        if text.starts_with("200 ") || text.starts_with("201 ") {
            return Some(Self::Nntp);
        }
        if text.starts_with("220") {
            return Some(match (text.contains("ftp"), text.contains("lmtp")) {
                (true, _) => Self::Ftp,
                (_, true) => Self::Lmtp,
                _ => Self::Smtp,
            });
        }
        // The first packet of MySQL: its length, number 0, protocol 10 (its manual, "Protocol::HandshakeV10").
        let is_mysql = greeting.len() > 5 && greeting[3] == 0 && greeting[4] == 10;
        is_mysql.then_some(Self::Mysql)
    }
}

impl fmt::Display for StartTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for StartTls {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = || Self::ALL.map(Self::as_str).join(", ");
        let found = Self::ALL.into_iter().find(|protocol| protocol.as_str() == text);
        found.ok_or_else(|| {
            format!("\"{text}\" is not a protocol that starts TLS on request; known protocols: {}", known())
        })
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};
    use std::thread;
    use std::time::{Duration, Instant};

    use super::*;

    /// A greeting, and the answer to each message of the client.
    type Dialogue = (StartTls, &'static [u8], &'static [&'static [u8]]);

    /// The result with a server that sends these answers, one per message.
    fn with(protocol: StartTls, greeting: &[u8], answers: &[&[u8]]) -> Result<(), Trouble> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let (greeting, answers) = (greeting.to_vec(), answers.iter().map(|it| it.to_vec()).collect::<Vec<_>>());
        let server = thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            stream.write_all(&greeting).unwrap();
            for answer in answers {
                if stream.read(&mut [0; 1000]).unwrap_or(0) == 0 {
                    return;
                }
                stream.write_all(&answer).unwrap();
            }
            // Waits until the client has read the data.
            let _ = stream.read(&mut [0; 1000]);
        });
        let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let result = begin(protocol, &stream, "localhost", Instant::now() + Duration::from_secs(20));
        drop(stream);
        server.join().unwrap();
        result
    }

    #[test]
    fn consent_is_told_from_refusal() {
        let good: [Dialogue; 8] = [
            (StartTls::Smtp, b"220-mx\r\n220 ready\r\n", &[b"250-mx\r\n250 STARTTLS\r\n", b"220 go\r\n"]),
            (StartTls::Imap, b"* OK hello\r\n", &[b"* CAPABILITY X\r\nn1 OK begin\r\n"]),
            (StartTls::Pop3, b"+OK\r\n", &[b"+OK begin\r\n"]),
            (StartTls::Ldap, b"", &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x00\x04\x00\x04\x00"]),
            (StartTls::Postgres, b"", &[b"S"]),
            (StartTls::Ftp, b"220 ftp\r\n", &[b"234 go\r\n"]),
            (StartTls::Nntp, b"201 news\r\n", &[b"382 go\r\n"]),
            (StartTls::Sieve, b"\"SIEVE\" \"x\"\r\nOK\r\n", &[b"OK begin\r\n"]),
        ];
        for (protocol, greeting, answers) in good {
            let result = with(protocol, greeting, answers);
            assert!(result.is_ok(), "{protocol}: {result:?}");
        }
        let bad: [Dialogue; 6] = [
            (StartTls::Smtp, b"220 ready\r\n", &[b"250 mx\r\n", b"454 no TLS today\r\n"]),
            (StartTls::Smtp, b"554 go away\r\n", &[]),
            (StartTls::Imap, b"* OK hello\r\n", &[b"n1 BAD what\r\n"]),
            (StartTls::Pop3, b"+OK\r\n", &[b"-ERR no\r\n"]),
            (StartTls::Ldap, b"", &[b"\x30\x0c\x02\x01\x01\x78\x07\x0a\x01\x02\x04\x00\x04\x00"]),
            (StartTls::Postgres, b"", &[b"N"]),
        ];
        for (protocol, greeting, answers) in bad {
            let result = with(protocol, greeting, answers);
            assert!(matches!(result, Err(Trouble::Refused(_))), "{protocol}: {result:?}");
        }
        // Data sent before the agreement on TLS must not count as part of TLS.
        let early = with(StartTls::Smtp, b"220 ready\r\n", &[b"250 mx\r\n", b"220 go\r\n250 injected\r\n"]);
        assert!(matches!(early, Err(Trouble::Unexpected(_))), "{early:?}");
        let other = with(StartTls::Imap, b"SSH-2.0-OpenSSH\r\n", &[]);
        assert!(matches!(other, Err(Trouble::Unexpected(_))), "{other:?}");
    }

    #[test]
    fn greetings_name_their_protocol() {
        let known: [(&[u8], Option<StartTls>); 6] = [
            (b"220 mx ESMTP Postfix", Some(StartTls::Smtp)),
            (b"* OK [CAPABILITY IMAP4rev1] ready", Some(StartTls::Imap)),
            (b"+OK Dovecot ready", Some(StartTls::Pop3)),
            (b"220 ProFTPD", Some(StartTls::Ftp)),
            (b"\x4a\0\0\0\x0a8.0.36\0", Some(StartTls::Mysql)),
            (b"SSH-2.0-OpenSSH_9", None),
        ];
        for (greeting, protocol) in known {
            assert_eq!(StartTls::of_greeting(greeting), protocol);
        }
    }
}
