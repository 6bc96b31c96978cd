//! A conversation in one line, for a person.

use std::fmt;

use crate::{Direction, End, SeenEnd, Summary, What};

impl Summary {
    /// How far the handshake got, what was received last, and who ended the connection, as in "sent ClientHello; the peer closed
    /// (FIN) without an answer after 12 ms". The time is counted from the last byte in either direction.
    pub fn one_line(&self) -> String {
        let silent = self.bytes_received == 0;
        let mut parts = vec![self.how_far()];
        if !silent {
            parts.push(self.heard());
        }
        parts.push(self.how_it_ended(silent));
        parts.retain(|part| !part.is_empty());
        parts.join("; ")
    }

    fn suite(&self) -> String {
        self.server_hello.as_ref().map_or(String::new(), |hello| format!(" ({})", hello.cipher_suite))
    }

    fn how_far(&self) -> String {
        let version = self.version.map_or("TLS".to_owned(), |version| version.to_string());
        match self.handshake_complete {
            Some(true) => format!("{version} handshake complete{}", self.suite()),
            None => format!(
                "{version} negotiated{}; the rest is encrypted ({} records sent, {} received)",
                self.suite(),
                self.encrypted_records_sent,
                self.encrypted_records_received
            ),
            Some(false) => self.what_was_sent(),
        }
    }

    fn what_was_sent(&self) -> String {
        let Some(last) = &self.last_sent else {
            return match self.bytes_sent {
                0 => "nothing was sent".to_owned(),
                bytes => format!("sent {bytes} bytes, no complete message"),
            };
        };
        let empty_certificate = match self.client_certificates.as_ref() {
            Some(message) if message.is_empty() && !matches!(last, What::Certificate(_)) => {
                ", with an empty Certificate"
            }
            _ => "",
        };
        match last {
            What::Encrypted { .. } if self.client_finished_flight && !self.encrypted_alert_sent => {
                format!("sent everything up to Finished{empty_certificate}")
            }
            other => format!("sent {}{empty_certificate}", other.name()),
        }
    }

    fn heard(&self) -> String {
        if let Some(foreign) = &self.foreign {
            return match foreign.after_records {
                0 => format!("the peer is not a TLS server: \"{}\" ({})", foreign.first_bytes, foreign.protocol),
                _ => format!("the peer's data is {foreign}"),
            };
        }
        if let Some(cut) = self.incomplete_message.filter(|cut| cut.direction == Direction::Received) {
            return format!("last received {} of {} bytes of {}", cut.have, cut.announced, cut.kind);
        }
        match &self.last_received {
            _ if self.handshake_complete == Some(true) && self.encrypted_alert_received => {
                "the peer sent an encrypted alert".to_owned()
            }
            _ if self.handshake_complete == Some(true) => String::new(),
            Some(What::Alert(alert)) => format!("the peer sent alert {alert}"),
            Some(what) if what.is_as_long_as_an_alert() => {
                "the peer's last record is as long as an alert, and encrypted".to_owned()
            }
            Some(_) if self.handshake_complete.is_none() => String::new(),
            Some(what) => format!("last received {}", what.name()),
            None => format!("received {} bytes, no complete message", self.bytes_received),
        }
    }

    fn how_it_ended(&self, silent: bool) -> String {
        let ending = self.ended.iter().find(|seen| seen.end != End::TimedOut).or(self.ended.first());
        let Some(SeenEnd { direction, at_us, end }) = ending else {
            return if silent { "no answer yet".to_owned() } else { String::new() };
        };
        let deed = match (direction, end) {
            (Direction::Received, End::Fin) => "the peer closed the connection (FIN)",
            (Direction::Received, End::Reset) => "the peer reset the connection (RST)",
            (Direction::Sent, End::Fin) => "the client closed its side (FIN)",
            (Direction::Sent, End::Reset) => "the client reset the connection (RST)",
            (_, End::LocalClose) => "the client closed the connection",
            (_, End::TimedOut) if silent => "the peer did not answer",
            (_, End::TimedOut) => "the peer sent nothing more",
        };
        let unanswered = if silent && *end != End::TimedOut { " without an answer" } else { "" };
        let since = [self.last_sent_at_us, self.last_received_at_us].into_iter().flatten().max();
        let wait = since.map(|since| Span(at_us.saturating_sub(since)));
        match (wait, end) {
            (None, _) => format!("{deed}{unanswered}"),
            (Some(wait), End::TimedOut) => format!("{deed} within {wait}"),
            (Some(wait), _) => format!("{deed}{unanswered} after {wait}"),
        }
    }
}

/// A span of time in microseconds, as text for a person.
struct Span(u64);

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            us @ 0..1_000 => write!(f, "{us} µs"),
            us @ 1_000..1_000_000 => write!(f, "{} ms", us / 1_000),
            us => write!(f, "{}.{} s", us / 1_000_000, us / 100_000 % 10),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Conversation;

    /// A TLS 1.2 ClientHello as NSS lays it out: one suite, no extensions.
    fn hello() -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.extend([0, 0, 2, 0xc0, 0x2f, 1, 0]);
        [&[22, 3, 1, 0, 45, 1, 0, 0, 41][..], &body].concat()
    }

    fn after_hello(then: impl FnOnce(&mut Conversation)) -> String {
        let mut conversation = Conversation::new();
        conversation.feed(Direction::Sent, 1_000, &hello());
        then(&mut conversation);
        conversation.summary().one_line()
    }

    #[test]
    fn silence_is_described_by_how_it_ended() {
        let cases = [
            (Direction::Received, End::Fin, "the peer closed the connection (FIN) without an answer after 12 ms"),
            (Direction::Received, End::Reset, "the peer reset the connection (RST) without an answer after 12 ms"),
            (Direction::Sent, End::LocalClose, "the client closed the connection without an answer after 12 ms"),
            (Direction::Received, End::TimedOut, "the peer did not answer within 12 ms"),
        ];
        for (direction, end, told) in cases {
            assert_eq!(after_hello(|wire| wire.ended(direction, 13_500, end)), format!("sent ClientHello; {told}"));
        }
        assert_eq!(after_hello(|_| ()), "sent ClientHello; no answer yet");
        assert_eq!(Conversation::new().summary().one_line(), "nothing was sent; no answer yet");
    }

    #[test]
    fn a_deadline_does_not_hide_who_closed() {
        let story = after_hello(|wire| {
            wire.ended(Direction::Received, 2_000, End::TimedOut);
            wire.ended(Direction::Sent, 2_501_000, End::LocalClose);
        });
        assert_eq!(story, "sent ClientHello; the client closed the connection without an answer after 2.5 s");
    }

    #[test]
    fn an_alert_in_the_clear_is_quoted() {
        let story = after_hello(|wire| {
            wire.feed(Direction::Received, 2_000, &[21, 3, 3, 0, 2, 2, 70]);
            wire.ended(Direction::Received, 2_090, End::Fin);
        });
        assert_eq!(
            story,
            "sent ClientHello; the peer sent alert fatal protocol_version (70); the peer closed the connection (FIN) after 90 µs"
        );
    }

    #[test]
    fn a_peer_that_is_no_tls_server_is_named() {
        let story = after_hello(|wire| wire.feed(Direction::Received, 2_000, b"SSH-2.0-x\r\n"));
        assert_eq!(story, r#"sent ClientHello; the peer is not a TLS server: "SSH-2.0-x\r\n" (an SSH server)"#);
        let story = after_hello(|wire| wire.feed(Direction::Received, 2_000, &hello()));
        assert!(story.ends_with("(another TLS client)"), "{story}");
    }

    #[test]
    fn an_answer_cut_short_is_measured() {
        let story = after_hello(|wire| {
            wire.feed(Direction::Received, 2_000, &[22, 3, 3, 0, 9, 2, 0, 0, 70, 3]);
            wire.ended(Direction::Received, 4_000, End::Fin);
        });
        assert_eq!(
            story,
            "sent ClientHello; last received 1 of 70 bytes of ServerHello; the peer closed the connection (FIN) after 2 ms"
        );
    }
}
