//! The question `http`: does the application answer `HEAD /`? Some servers complete every handshake and refuse a certificate in their
//! application (`ssl_verify_client on` in nginx). An answer also proves that a TLS server has verified its client before.

use std::time::Instant;

use nssight_diagnosis::fact::{Fact, Hop, fact};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};
use nssight_session::{Kind, SessionError, TlsSession};

use crate::error_info;
use crate::walk::{OuterSession, Probe, Walk};

/// The handshake must be complete.
pub(super) const PROBE: Probe = Probe { layer: Layer::Request, needs: &[Layer::OuterHandshake], run };

/// Maximum length of the headers of an answer.
const ANSWER_AT_MOST: usize = 16 * 1024;
/// The port that a Host header omits (RFC 9110, 4.2.2).
const HTTPS_PORT: u16 = 443;
/// Servers that send status 400 for a certificate that they reject, and for a missing one (ngx_http_request.c).
const LIKE_NGINX: [&str; 4] = ["nginx", "openresty", "angie", "tengine"];

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let Some(peer) = walk.target().bridge.as_ref().map(|peer| peer.value.clone()) else {
        return notes.skip("no peer was named");
    };
    let Some(OuterSession { mut client, control, log, .. }) = walk.outer.take() else {
        return notes.skip("no session exists for a request");
    };
    control.set_deadline(walk.deadline);
    let host = if peer.host.contains(':') { format!("[{}]", peer.host) } else { peer.host.clone() };
    let host = if peer.port == HTTPS_PORT { host } else { format!("{host}:{}", peer.port) };
    let question =
        format!("HEAD / HTTP/1.1\r\nHost: {host}\r\nUser-Agent: nssight\r\nAccept: */*\r\nConnection: close\r\n\r\n");
    let asked = Instant::now();
    let answer = ask(&mut *client, question.as_bytes());
    notes.put(fact::APPLICATION_TOOK.number(i64::try_from(asked.elapsed().as_micros()).unwrap_or(i64::MAX)));
    let alerts = client.facts().alerts;
    let refusal = alerts.iter().rfind(|alert| !alert.sent && alert.description != 0).cloned();
    let in_order = alerts.iter().any(|alert| !alert.sent && alert.description == 0);
    let outcome = match (answer, refusal) {
        // The peer's reaction to our certificate takes precedence over its reaction to the request.
        (_, Some(alert)) => refused(Signal::of_alert(alert.description), notes),
        (Answer::Head(head), None) => answered(walk, &head, notes),
        (Answer::Ended(error), None) => ended(walk, error, in_order, notes),
        (Answer::Silent, None) => {
            notes.put(fact::ApplicationAnswer::None);
            notes.pass("the peer does not answer HEAD /: it may not be an HTTP server")
        }
    };
    // An orderly end; errors do not matter if the peer is gone.
    let _ = client.finish();
    log.borrow_mut().finished();
    outcome
}

enum Answer {
    /// The data up to the end of the headers, or other data in their place.
    Head(Vec<u8>),
    /// The session ended without any data.
    Ended(Option<SessionError>),
    Silent,
}

fn ask(client: &mut dyn TlsSession, question: &[u8]) -> Answer {
    let mut rest = question;
    while !rest.is_empty() {
        match client.write(rest) {
            Ok(count) => rest = rest.get(count..).unwrap_or_default(),
            // The following read shows why the write failed.
            Err(_) => break,
        }
    }
    let (mut head, mut buffer) = (Vec::new(), [0u8; 4096]);
    loop {
        let ended = match client.read(&mut buffer) {
            Ok(0) => Answer::Ended(None),
            Ok(count) => {
                head.extend_from_slice(&buffer[..count]);
                let is_whole = head.windows(4).any(|end| end == b"\r\n\r\n");
                if is_whole || head.len() >= ANSWER_AT_MOST || !may_be_http(&head) {
                    return Answer::Head(head);
                }
                continue;
            }
            Err(error) if error.kind == Kind::TimedOut => Answer::Silent,
            Err(error) => Answer::Ended(Some(error)),
        };
        return if head.is_empty() { ended } else { Answer::Head(head) };
    }
}

const BEGINS: &[u8] = b"HTTP/1.";

fn may_be_http(head: &[u8]) -> bool {
    head.iter().zip(BEGINS).all(|(is, must)| is == must)
}

/// The status and the `Server` header of an answer (RFC 9112, 4).
fn read(head: &[u8]) -> Option<(u16, String)> {
    if head.len() < BEGINS.len() || !may_be_http(head) {
        return None;
    }
    let text = String::from_utf8_lossy(head);
    let mut lines = text.split("\r\n");
    let code = lines.next()?.split(' ').nth(1)?;
    let code = code.parse().ok().filter(|code| (100..1000).contains(code))?;
    let server = lines.take_while(|line| !line.is_empty()).find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("server").then(|| value.trim().to_owned())
    });
    Some((code, server.unwrap_or_default()))
}

fn answered(walk: &Walk<'_>, head: &[u8], mut notes: Notes) -> Outcome {
    let Some((code, server)) = read(head) else {
        notes.put(fact::ApplicationAnswer::Other);
        return notes.pass("the peer's answer to HEAD / is not HTTP/1");
    };
    notes.put(fact::APPLICATION_STATUS.number(i64::from(code)));
    if !server.is_empty() {
        notes.put(fact::APPLICATION_SERVER.text(&server));
    }
    let is_like_nginx = LIKE_NGINX.iter().any(|name| server.to_lowercase().starts_with(name));
    let asked =
        walk.finding(Layer::OuterHandshake).is_some_and(|session| session.facts.has(fact::CertificateRequest::Seen));
    match code {
        // Only on the wire if the configuration exposes them: nginx's own codes for a certificate that fails verification, and for a
        // missing one.
        495 | 496 => {
            notes.put(fact::ApplicationAnswer::RefusesCertificate);
            let what = if code == 495 { "did not verify" } else { "was not sent" };
            let summary = format!("the application refuses with status {code}: our certificate {what}");
            notes.fail_of(Layer::OuterHandshake, signal::APPLICATION_REFUSED, summary)
        }
        400 if asked && is_like_nginx => {
            notes.put(fact::ApplicationAnswer::BadRequest);
            let summary = format!(
                "the application ({server}) refuses a valid request with status 400, as it does for a certificate that it does not accept"
            );
            notes.fail_of(Layer::OuterHandshake, signal::APPLICATION_REFUSED, summary)
        }
        400 | 401 | 403 | 421 => {
            notes.put(fact::ApplicationAnswer::Forbidden);
            let summary = format!(
                "the application answers HEAD / with status {code}: it may concern this page, or our certificate"
            );
            notes.warn(signal::APPLICATION_REFUSED, summary)
        }
        _ => {
            notes.put(fact::ApplicationAnswer::Answered);
            notes.pass(format!("the application answers HEAD / with status {code}"))
        }
    }
}

/// An alert after the handshake, instead of an answer.
fn refused(shown: Signal, mut notes: Notes) -> Outcome {
    notes.put(fact::ApplicationAnswer::None);
    notes.put(here(fact::SessionPosition::AfterHandshake));
    notes.put(here(fact::PeerSaidAlert::Yes));
    let summary = format!("the peer answered our certificate with an alert after the handshake: {}", shown.row().says);
    notes.fail_of(Layer::OuterHandshake, shown, summary)
}

/// The session ended without any data. If the peer has not reacted to our certificate before, an end without close_notify may be its
/// reaction.
fn ended(walk: &Walk<'_>, error: Option<SessionError>, in_order: bool, mut notes: Notes) -> Outcome {
    notes.put(fact::ApplicationAnswer::None);
    let open =
        walk.finding(Layer::OuterHandshake).is_some_and(|session| session.facts.has(fact::PeerAcceptedUs::Unconfirmed));
    if !open || in_order {
        return notes.pass("the peer ended the session instead of answering HEAD /: it may not be an HTTP server");
    }
    let is_reset = error.as_ref().is_some_and(|error| error.kind == Kind::Reset);
    let (shown, end, how) = if is_reset {
        (signal::RESET, fact::SessionEnd::Reset, "reset")
    } else {
        (signal::ENDED, fact::SessionEnd::Fin, "closed")
    };
    notes.put(here(fact::SessionPosition::AfterHandshake));
    notes.put(here(end));
    notes.put(here(fact::PeerSaidAlert::No));
    let summary =
        format!("the peer {how} the connection after our certificate and our request, without an answer to either");
    let outcome = notes.fail_of(Layer::OuterHandshake, shown, summary);
    match error {
        Some(error) => outcome.error(error_info::of_session(&error)),
        None => outcome,
    }
}

fn here(fact: impl Into<Fact>) -> Fact {
    Fact { hop: Some(Hop::Peer), ..fact.into() }
}
