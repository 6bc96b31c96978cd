//! The request: does the server identify us?

use std::cell::RefCell;
use std::rc::Rc;
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::fact::{self, OuterSessionEnd, ReplyState, SiguldryAnswer, SiguldryServerSide};
use nssight_diagnosis::signal::{Signal, signal};
use nssight_diagnosis::{Notes, Outcome};
use nssight_session::{Kind, SessionError};
use serde_json::Value;

use crate::error_info;
use crate::session_facts::damaged_carrier;
use crate::walk::{InnerSession, Passage, Walk};

use super::carried::{Ended, Outer};

/// An answer to whoami is a single line.
const ANSWER_AT_MOST: u64 = 64 * 1024;
/// Part of the layer's time reserved for our own end after a silence.
const AFTERWARDS: Duration = Duration::from_secs(1);
/// Maximum length to show of the user in an answer.
const SHOWN_AT_MOST: usize = 200;

/// The transport to the server, and the id that the bridge assigned.
pub(super) struct Asked {
    /// The outer session.
    pub(super) outer: Rc<RefCell<Outer>>,
    /// The session's id.
    pub(super) session: String,
}

impl Passage for Asked {
    fn set_deadline(&self, deadline: Instant) {
        self.outer.borrow().set_deadline(deadline);
    }

    fn broken(&self) -> Option<SessionError> {
        match &self.outer.borrow().ended {
            Some(Ended::Failed(error)) => Some(error.clone()),
            _ => None,
        }
    }

    fn how_it_ended(&self) -> Option<OuterSessionEnd> {
        self.outer.borrow().how_it_ended()
    }

    fn ask(&mut self, walk: &mut Walk<'_>, mut inner: InnerSession) -> Outcome {
        let notes = Notes::default().with(fact::REQUEST_MADE.text("whoami"));
        let left = walk.remaining();
        self.set_deadline(walk.deadline - AFTERWARDS.min(left / 2));
        let asked = send(&mut inner, &frame(&request(&self.session)));
        match asked.and_then(|()| receive(&mut inner)) {
            Ok(Answer::Whole(bytes)) => {
                // The message with which a client announces its end, so that the server does not report a failure.
                let _ = send(&mut inner, &frame(""));
                let _ = inner.client.finish();
                answered(&bytes, notes)
            }
            Ok(Answer::TooLong(length)) => {
                let detail = format!("a frame that announces {length} bytes");
                let notes = notes.with(SiguldryAnswer::Garbled).with(fact::SIGULDRY_ANSWER_DETAIL.text(&detail));
                notes.fail(signal::REPLY_UNEXPECTED, format!("cannot read the server's answer: {detail}"))
            }
            Err((_, error)) if error.kind == Kind::TimedOut => self.silent(walk, &mut inner, &error, notes),
            Err((count, error)) => self.ended(count, &inner, &error, notes),
        }
    }
}

/// The result of reading an answer.
enum Answer {
    Whole(Vec<u8>),
    TooLong(u64),
}

/// Number of bytes of an answer before a failure, and the error.
type Broken = (usize, SessionError);

fn request(session: &str) -> String {
    format!(r#"{{"session_id":"{session}","request_id":0,"request":{{"who_am_i":{{}}}}}}"#)
}

/// The length, followed by the text.
fn frame(json: &str) -> Vec<u8> {
    [&(json.len() as u64).to_be_bytes()[..], json.as_bytes()].concat()
}

fn send(inner: &mut InnerSession, mut bytes: &[u8]) -> Result<(), Broken> {
    while !bytes.is_empty() {
        let count = inner.client.write(bytes).map_err(|error| (0, error))?;
        bytes = bytes.get(count..).unwrap_or_default();
    }
    Ok(())
}

fn receive(inner: &mut InnerSession) -> Result<Answer, Broken> {
    let mut length = [0; 8];
    fill(inner, &mut length, 0)?;
    let length = u64::from_be_bytes(length);
    if length > ANSWER_AT_MOST {
        return Ok(Answer::TooLong(length));
    }
    let mut json = vec![0; usize::try_from(length).unwrap_or(0)];
    fill(inner, &mut json, 8)?;
    Ok(Answer::Whole(json))
}

fn fill(inner: &mut InnerSession, buffer: &mut [u8], before: usize) -> Result<(), Broken> {
    let mut count = 0;
    while let Some(room) = buffer.get_mut(count..).filter(|room| !room.is_empty()) {
        match inner.client.read(room) {
            Ok(0) => return Err((before + count, SessionError::ended("read the answer"))),
            Ok(more) => count += more,
            // Tickets and similar messages: no application data.
            Err(error) if error.kind == Kind::WouldBlock => {}
            Err(error) => return Err((before + count, error)),
        }
    }
    Ok(())
}

fn answered(bytes: &[u8], mut notes: Notes) -> Outcome {
    let Ok(answer) = serde_json::from_slice::<Value>(bytes) else {
        notes.put(SiguldryAnswer::Garbled);
        return notes.fail(signal::REPLY_UNEXPECTED, "the server's answer is not JSON");
    };
    let response = &answer["response"];
    let short = |text: &str| text.chars().take(SHOWN_AT_MOST).collect::<String>();
    if let Some(user) = response["who_am_i"]["user"].as_str() {
        notes.put(SiguldryAnswer::User);
        notes.put(ReplyState::Ok);
        return notes.pass(format!("the server knows our user: {}", short(user)));
    }
    if response == "unsupported" {
        notes.put(SiguldryAnswer::Unsupported);
        return notes.fail(signal::REPLY_UNEXPECTED, "the server does not know the request whoami");
    }
    let reason = &response["error"]["reason"];
    if !reason.is_null() {
        let reason = short(&reason.as_str().map_or_else(|| reason.to_string(), str::to_owned));
        notes.put(SiguldryAnswer::Error);
        notes.put(ReplyState::Refused);
        notes.put(fact::SIGULDRY_ANSWER_DETAIL.text(&reason));
        return notes.fail(signal::REQUEST_REFUSED, format!("the server refused the request: {reason}"));
    }
    notes.put(SiguldryAnswer::Other);
    notes.put(fact::SIGULDRY_ANSWER_DETAIL.text(short(&response.to_string())));
    notes.fail(signal::REPLY_UNEXPECTED, "the server's answer does not belong to the request whoami")
}

impl Asked {
    /// No answer arrived. The bridge does not report to its client that the server has gone; but once we end the session, it has nothing
    /// left to wait for, and ends at once.
    fn silent(&self, walk: &Walk<'_>, inner: &mut InnerSession, error: &SessionError, notes: Notes) -> Outcome {
        self.set_deadline(walk.deadline);
        let _ = inner.client.finish();
        let mut buffer = [0; 4096];
        let side = loop {
            match self.outer.borrow_mut().read(&mut buffer) {
                Ok(_) => {}
                Err(Ended::Failed(error)) if error.kind == Kind::TimedOut => break SiguldryServerSide::There,
                Err(_) => break SiguldryServerSide::Gone,
            }
        };
        let notes = notes.with(SiguldryAnswer::Silence).with(ReplyState::Silent).with(side);
        let summary = match side {
            SiguldryServerSide::Gone => {
                "both handshakes succeeded, but the server closed the connection without an answer"
            }
            SiguldryServerSide::There => "the server accepted the request but did not answer",
        };
        notes.fail(signal::SILENCE, summary).error(error_info::of_session(error))
    }

    fn ended(&self, count: usize, inner: &InnerSession, error: &SessionError, mut notes: Notes) -> Outcome {
        if let Some(broken) = self.broken() {
            notes = match damaged_carrier(notes, "the bridge", &broken) {
                Ok(outcome) => return outcome,
                Err(notes) => notes,
            };
        }
        if let Some(end) = self.how_it_ended() {
            notes.put(end);
        }
        let facts = inner.client.facts();
        let refused = facts.alerts.iter().find(|alert| !alert.sent && alert.description != 0);
        if let Some(alert) = refused {
            notes.put(fact::PeerSaidAlert::Yes);
            notes.put(fact::SessionPosition::AfterHandshake);
            notes.put(ReplyState::SessionBroke);
            let summary = format!("the server aborted the inner session: {}", error.name);
            return notes.fail(Signal::of_alert(alert.description), summary).error(error_info::of_session(error));
        }
        if count > 0 {
            notes.put(SiguldryAnswer::Cut);
            notes.put(ReplyState::Cut);
            return notes
                .fail(signal::REPLY_CUT, "the server's answer was truncated")
                .error(error_info::of_session(error));
        }
        notes.put(SiguldryAnswer::None);
        notes.put(ReplyState::None);
        let shown = if error.kind == Kind::Reset { signal::RESET } else { signal::ENDED };
        notes.fail(shown, "the session ended before the first byte of an answer").error(error_info::of_session(error))
    }
}
