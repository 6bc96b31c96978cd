//! The request: does the server answer an authenticated `list-users`?

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Instant;

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::{Library, Signal, signal};
use nssight_diagnosis::{Notes, Outcome};
use nssight_nss::{ErrorCode, NssError, Step, library};
use nssight_session::{Kind, SessionError};
use nssight_sigul::chunk::Stream;
use nssight_sigul::header::Header;
use nssight_sigul::reply::{self, Decoder, Event, ReplyError, ReplyKeys};
use nssight_sigul::request::Request;
use zeroize::Zeroizing;

use crate::error_info;
use crate::session_facts::damaged_carrier;
use crate::walk::{InnerSession, Passage, Walk};
use crate::x509;

use super::tunnel::{Arrival, Tunnel};

/// The two streams of the outer session, and the request that was sent on one of them.
pub(super) struct Requested {
    /// The streams.
    pub(super) tunnel: Rc<RefCell<Tunnel>>,
    /// The request as sent.
    pub(super) request: Request,
}

/// Maximum length of a list of users.
const REPLY_AT_MOST: u64 = 1024 * 1024;

impl Passage for Requested {
    fn set_deadline(&self, deadline: Instant) {
        self.tunnel.borrow().set_deadline(deadline);
    }

    fn broken(&self) -> Option<SessionError> {
        match &self.tunnel.borrow().ended {
            Some(Arrival::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    fn how_it_ended(&self) -> Option<fact::OuterSessionEnd> {
        self.tunnel.borrow().how_it_ended()
    }

    fn ask(&mut self, walk: &mut Walk<'_>, mut inner: InnerSession) -> Outcome {
        let notes = Notes::default();
        let Some(password) = walk.admin_password.take() else {
            return notes.skip("needs an administrator password (see --admin-password-file)");
        };
        self.set_deadline(walk.deadline);
        let keys = match send_secrets(&mut inner, &self.request, password.expose()) {
            Ok(keys) => keys,
            Err(error) => {
                let facts = inner.client.facts();
                let refused = facts.alerts.iter().find(|alert| !alert.sent && alert.description != 0);
                let shown = refused.map_or(error_info::signal(&error), |alert| Signal::of_alert(alert.description));
                let said = if refused.is_some() { fact::PeerSaidAlert::Yes } else { fact::PeerSaidAlert::No };
                let notes =
                    notes.with(said).with(fact::SessionPosition::AfterHandshake).with(fact::ReplyState::SessionBroke);
                let summary = format!("the inner session broke before the request was authenticated: {}", error.name);
                return notes.fail(shown, summary).error(error_info::of_session(&error));
            }
        };
        drop(password);
        let answer = receive(&self.tunnel, keys);
        let mut notes = notes;
        if let Some(named) = is_named_by_certificate(walk) {
            notes.put(named);
        }
        if let Some(end) = self.how_it_ended() {
            notes.put(end);
        }
        outcome(answer, notes)
    }
}

/// Whether the user of the request is the one in our certificate.
fn is_named_by_certificate(walk: &Walk<'_>) -> Option<fact::RequestUser> {
    let (user, own) = (walk.target().user.as_ref()?, walk.own.as_ref()?);
    let named = x509::common_name(&own.certificate.der())? == user.value;
    Some(if named { fact::RequestUser::TheCertificates } else { fact::RequestUser::Another })
}

/// Sends the keys for the reply, and the password, on the inner stream; then ends it.
fn send_secrets(inner: &mut InnerSession, request: &Request, password: &[u8]) -> Result<ReplyKeys, SessionError> {
    const STEP: Step = Step::Authenticate;
    let mut random = Zeroizing::new([0u8; 128]);
    library::random(random.as_mut_slice())?;
    let (header_key, payload_key) = random.split_at(64);
    let exactly = |half: &[u8]| <[u8; 64]>::try_from(half).map(Zeroizing::new);
    let (Ok(header_key), Ok(payload_key)) = (exactly(header_key), exactly(payload_key)) else {
        return Err(NssError::of(STEP, ErrorCode(0)).into());
    };
    let keys = ReplyKeys::new(&header_key, &payload_key);
    let secrets = request.secrets(&keys, Some(password)).map_err(|_| NssError::of(STEP, ErrorCode(0)))?;
    let encoded = secrets.encode();
    let mut rest = encoded.as_slice();
    while !rest.is_empty() {
        let count = inner.client.write(rest)?;
        rest = rest.get(count..).unwrap_or_default();
    }
    // The last byte of the header completes the server's input: it may have answered and disconnected by now.
    let _ = inner.client.finish();
    inner.log.borrow_mut().finished();
    Ok(keys)
}

/// The reply.
enum Answer {
    Complete { code: reply::ErrorCode, header: Header, payload: Vec<u8> },
    Bad(ReplyError),
    Silent(SessionError),
    Broken { error: ReplyError, how: Arrival },
}

fn receive(tunnel: &Rc<RefCell<Tunnel>>, keys: ReplyKeys) -> Answer {
    let mut decoder = Decoder::new(keys, REPLY_AT_MOST);
    let (mut head, mut payload) = (None, Vec::new());
    let mut buffer = [0; 4096];
    loop {
        let (count, ended) = tunnel.borrow_mut().take(Stream::Outer, &mut buffer);
        let mut input = &buffer[..count];
        loop {
            match decoder.next(&mut input) {
                Ok(None) => break,
                Ok(Some(Event::Head { code, header })) => head = Some((code, header)),
                Ok(Some(Event::Payload(bytes))) => payload.extend_from_slice(bytes),
                Ok(Some(Event::Authentic)) => {}
                Err(error) => return Answer::Bad(error),
            }
        }
        if ended {
            return match (decoder.end_of_stream(), head) {
                (Ok(()), Some((code, header))) => Answer::Complete { code, header, payload },
                (Ok(()), None) => Answer::Bad(decoder.connection_closed()),
                (Err(error), _) => Answer::Bad(error),
            };
        }
        if count > 0 {
            continue;
        }
        let arrival = tunnel.borrow_mut().wait();
        match arrival {
            Arrival::Something => {}
            Arrival::Failed(error) if error.kind == Kind::TimedOut => return Answer::Silent(error),
            how => return Answer::Broken { error: decoder.connection_closed(), how },
        }
    }
}

/// The signal of an error number in a refusal; an unknown one belongs to a later version.
pub(super) fn refusal(code: u32) -> Signal {
    Signal::of_code(Library::Reply("sigul"), code.into()).unwrap_or(signal::REQUEST_REFUSED)
}

fn outcome(answer: Answer, mut notes: Notes) -> Outcome {
    match answer {
        Answer::Complete { code, header, payload } if code.is_ok() => match reply::user_names(&header, &payload) {
            Ok(names) => {
                notes.put(fact::ReplyState::Ok);
                notes.pass(format!("the server answered an authenticated list-users with {} users", names.len()))
            }
            Err(error) => {
                notes.put(fact::ReplyState::NoList);
                let summary = format!("the reply is authentic, but not a list of users: {error}");
                notes.fail(signal::REPLY_UNEXPECTED, summary)
            }
        },
        Answer::Complete { code, .. } if code == reply::ErrorCode::AUTHENTICATION_FAILED => {
            notes.put(fact::ReplyState::RefusedAuthentication);
            let summary = "the server rejected the user name or the password; it does not say which";
            notes.fail(signal::REQUEST_AUTHENTICATION_FAILED, summary)
        }
        Answer::Complete { code, .. } => {
            let name = code.name().unwrap_or("unknown");
            notes.put(fact::ReplyState::Refused);
            notes.put(fact::REPLY_CODE.number(code.0));
            let summary = format!("the server refused the request: {name}, {}", code.meaning());
            notes.fail(signal::REQUEST_REFUSED, summary)
        }
        Answer::Bad(error) => bad(&error, signal::ENDED, notes),
        Answer::Silent(error) => {
            notes.put(fact::ReplyState::Silent);
            let summary = "the server accepted the request but did not reply";
            notes.fail(signal::SILENCE, summary).error(error_info::of_session(&error))
        }
        Answer::Broken { error, how } => {
            if let Arrival::Failed(broken) = &how {
                notes = match damaged_carrier(notes, "the bridge", broken) {
                    Ok(outcome) => return outcome,
                    Err(notes) => notes,
                };
            }
            let reset = matches!(&how, Arrival::Failed(error) if error.kind == Kind::Reset);
            notes.put(fact::REPLY_SESSION_END.text(match how {
                Arrival::Ended { in_order: true } => "in order".to_owned(),
                Arrival::Ended { in_order: false } => "FIN without close_notify".to_owned(),
                Arrival::Failed(error) => error.name,
                Arrival::Garbled(what) => what,
                Arrival::Something => String::new(),
            }));
            bad(&error, if reset { signal::RESET } else { signal::ENDED }, notes)
        }
    }
}

fn bad(error: &ReplyError, end: Signal, mut notes: Notes) -> Outcome {
    notes.put(fact::REPLY_DETAIL.text(error));
    match error {
        ReplyError::Truncated { consumed: 0, .. } => {
            notes.put(fact::ReplyState::None);
            notes.fail(end, "the session ended before the first byte of a reply")
        }
        ReplyError::Truncated { .. } => {
            notes.put(fact::ReplyState::Cut);
            notes.fail(signal::REPLY_CUT, format!("the reply was truncated: {error}"))
        }
        _ => {
            notes.put(fact::ReplyState::NotAuthentic);
            notes.fail(signal::REPLY_NOT_AUTHENTIC, format!("the reply is not authentic: {error}"))
        }
    }
}
