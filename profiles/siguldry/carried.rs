//! The transport of the inner session through the outer one: the same bytes, unchanged.

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Instant;

use nssight_diagnosis::fact::fact::OuterSessionEnd;
use nssight_session::{Control, End, Kind, SessionError, Tap, TlsSession, Transport};

use crate::walk::Waits;
use crate::wire::SessionLog;

/// How the outer session ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Ended {
    /// With close_notify.
    InOrder,
    /// With a FIN only.
    Abruptly,
    /// By an error.
    Failed(SessionError),
}

/// The outer session.
pub(super) struct Outer {
    session: Box<dyn TlsSession>,
    control: Rc<Control>,
    /// How it ended, if it has.
    pub(super) ended: Option<Ended>,
}

impl Outer {
    /// Wraps an established session.
    pub(super) fn new(session: Box<dyn TlsSession>, control: Rc<Control>) -> Self {
        Self { session, control, ended: None }
    }

    /// Every wait ends at `deadline`.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.control.set_deadline(deadline);
    }

    /// The session, for the results of its callbacks.
    pub(super) fn session(&self) -> &dyn TlsSession {
        &*self.session
    }

    /// Reads some bytes. An end is remembered; an expired deadline is not.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let ended = match self.session.read(buffer) {
            Ok(0) if self.has_close_notify() => Ended::InOrder,
            Ok(0) => Ended::Abruptly,
            Ok(count) => return Ok(count),
            Err(error) if error.kind == Kind::TimedOut => return Err(Ended::Failed(error)),
            Err(error) if error.kind == Kind::Ended => Ended::Abruptly,
            Err(error) => Ended::Failed(error),
        };
        self.ended = Some(ended.clone());
        Err(ended)
    }

    fn has_close_notify(&self) -> bool {
        self.session.facts().alerts.iter().any(|alert| !alert.sent && alert.description == 0)
    }

    /// Writes all bytes.
    pub(super) fn write(&mut self, mut bytes: &[u8]) -> Result<(), SessionError> {
        while !bytes.is_empty() {
            let count = self.session.write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Ends our direction in order.
    pub(super) fn finish(&mut self) -> Result<(), SessionError> {
        self.session.finish()
    }

    /// How the bridge ended the session, if it has.
    pub(super) fn how_it_ended(&self) -> Option<OuterSessionEnd> {
        match self.ended.as_ref()? {
            Ended::InOrder => Some(OuterSessionEnd::CloseNotify),
            Ended::Abruptly => Some(OuterSessionEnd::Fin),
            Ended::Failed(error) if error.kind == Kind::Reset => Some(OuterSessionEnd::Reset),
            Ended::Failed(_) => None,
        }
    }
}

/// The transport of the inner session.
pub(super) struct InnerTransport {
    outer: Rc<RefCell<Outer>>,
    tap: Rc<RefCell<SessionLog>>,
    waits: Rc<Cell<Waits>>,
}

impl InnerTransport {
    /// Creates a transport over this session; `waits` determines whether a receive waits.
    pub(super) fn new(outer: Rc<RefCell<Outer>>, tap: Rc<RefCell<SessionLog>>, waits: Rc<Cell<Waits>>) -> Self {
        Self { outer, tap, waits }
    }
}

impl Transport for InnerTransport {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if !Waits::waits_this_time(&self.waits) {
            return Err(ErrorKind::WouldBlock.into());
        }
        let read = self.outer.borrow_mut().read(buffer);
        let mut tap = self.tap.borrow_mut();
        let (end, error) = match read {
            Ok(count) => {
                tap.received(&buffer[..count]);
                return Ok(count);
            }
            Err(Ended::InOrder | Ended::Abruptly) => {
                tap.ended(End::Closed);
                return Ok(0);
            }
            Err(Ended::Failed(error)) => error.kind.carried(),
        };
        tap.ended(end);
        Err(error.into())
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.outer.borrow_mut().write(bytes);
        match sent {
            Ok(()) => {
                self.tap.borrow_mut().sent(bytes);
                Ok(bytes.len())
            }
            Err(error) => Err(error.kind.unsent().into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.outer.borrow_mut().finish().map_err(|_| ErrorKind::ConnectionReset.into())
    }
}
