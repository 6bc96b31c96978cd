//! The peer as an argument: a host, a host and a port, or a URL.

use std::str::FromStr;

use crate::starttls::StartTls;
use crate::target::Endpoint;

/// The port for a host without one.
const HTTPS_PORT: u16 = 443;

/// Schemes with their ports, and how TLS begins there (IANA's registry of service names and ports).
const SCHEMES: &[(&str, u16, Option<StartTls>)] = &[
    ("https", HTTPS_PORT, None),
    ("wss", HTTPS_PORT, None),
    ("ldaps", 636, None),
    ("smtps", 465, None),
    ("submissions", 465, None),
    ("imaps", 993, None),
    ("pop3s", 995, None),
    ("ftps", 990, None),
    ("nntps", 563, None),
    ("amqps", 5671, None),
    ("mqtts", 8883, None),
    ("rediss", 6379, None),
    ("ldap", 389, Some(StartTls::Ldap)),
    ("smtp", 25, Some(StartTls::Smtp)),
    ("submission", 587, Some(StartTls::Smtp)),
    ("lmtp", 24, Some(StartTls::Lmtp)),
    ("imap", 143, Some(StartTls::Imap)),
    ("pop3", 110, Some(StartTls::Pop3)),
    ("ftp", 21, Some(StartTls::Ftp)),
    ("nntp", 119, Some(StartTls::Nntp)),
    ("sieve", 4190, Some(StartTls::Sieve)),
    ("xmpp", 5222, Some(StartTls::Xmpp)),
    ("postgres", 5432, Some(StartTls::Postgres)),
    ("postgresql", 5432, Some(StartTls::Postgres)),
    ("mysql", 3306, Some(StartTls::Mysql)),
];

/// A TLS server.
#[derive(Debug, Clone)]
pub struct PeerArgument {
    /// The address of the peer.
    pub endpoint: Endpoint,
    /// The STARTTLS protocol, if the scheme of a URL implies one.
    pub starttls: Option<StartTls>,
}

impl FromStr for PeerArgument {
    type Err = String;

    /// A host without a port gets the HTTPS port.
    fn from_str(text: &str) -> Result<Self, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Ok(Self { endpoint: Endpoint::parse(text, HTTPS_PORT)?, starttls: None });
        };
        let known = SCHEMES.iter().find(|(name, ..)| name.eq_ignore_ascii_case(scheme));
        let Some((_, port, starttls)) = known else {
            let names: Vec<&str> = SCHEMES.iter().map(|(name, ..)| *name).collect();
            return Err(format!("unknown scheme {scheme}://; known schemes: {}", names.join(", ")));
        };
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        // User and password of a URL are ignored.
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        Ok(Self { endpoint: Endpoint::parse(host, *port)?, starttls: *starttls })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_name_host_port_and_protocol() {
        let peer = |text: &str| text.parse::<PeerArgument>();
        let read = |text: &str| peer(text).map(|peer| (peer.endpoint.to_string(), peer.starttls));
        assert_eq!(read("www.example"), Ok(("www.example:443".to_owned(), None)));
        assert_eq!(read("https://www.example/a?b=c"), Ok(("www.example:443".to_owned(), None)));
        assert_eq!(read("LDAPS://d.example:1636"), Ok(("d.example:1636".to_owned(), None)));
        let postgres = ("db.example:5432".to_owned(), Some(StartTls::Postgres));
        assert_eq!(read("postgres://me:secret@db.example/data"), Ok(postgres));
        assert_eq!(read("imap://[2001:db8::1]:1143/"), Ok(("[2001:db8::1]:1143".to_owned(), Some(StartTls::Imap))));
        let error = read("gopher://x").unwrap_err();
        assert!(error.contains("gopher") && error.contains("https"), "{error}");
        assert!(!peer("postgres://me:secret@/").unwrap_err().contains("secret"));
    }
}
