//! The two streams inside the outer TLS session, and the transport of the inner session through it.
//!
//! One process, one connection, no pipes: the inner TLS session runs on a transport whose bytes are the inner chunks of
//! the outer session.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::time::Instant;

use nssight_diagnosis::fact::fact;
use nssight_session::{Code, Control, End, Kind, SessionError, Tap, TlsSession, Transport};
use nssight_sigul::chunk::{Combiner, Event, Splitter, Stream};

use crate::walk::Waits;
use crate::wire::SessionLog;

/// Maximum amount of data to hold of one stream before it is read; a bridge forwards at most 4 KiB at a time.
const HELD_AT_MOST: usize = 1024 * 1024;

/// The next arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Arrival {
    /// Bytes, or an end, of one of the streams.
    Something,
    /// The outer session ended: in order (close_notify), or not.
    Ended {
        /// With close_notify.
        in_order: bool,
    },
    /// The outer session failed.
    Failed(SessionError),
    /// The data is not in chunks.
    Garbled(String),
}

#[derive(Default)]
struct Incoming {
    bytes: VecDeque<u8>,
    ended: bool,
}

/// The outer session with its two streams.
pub(super) struct Tunnel {
    outer: Box<dyn TlsSession>,
    control: Rc<Control>,
    splitter: Splitter,
    combiner: Combiner,
    incoming: [Incoming; 2],
    /// How the outer session ended.
    pub(super) ended: Option<Arrival>,
    /// Number of bytes of the inner stream that have arrived.
    pub(super) inner_received: u64,
}

impl Tunnel {
    /// Creates a tunnel over an established outer session.
    pub(super) fn new(outer: Box<dyn TlsSession>, control: Rc<Control>) -> Self {
        let (splitter, combiner) = (Splitter::new(), Combiner::new());
        Self { outer, control, splitter, combiner, incoming: Default::default(), ended: None, inner_received: 0 }
    }

    /// Every wait ends at `deadline`.
    pub(super) fn set_deadline(&self, deadline: Instant) {
        self.control.set_deadline(deadline);
    }

    /// The outer session, for the results of its callbacks.
    pub(super) fn outer(&self) -> &dyn TlsSession {
        &*self.outer
    }

    /// Sends bytes on a stream.
    pub(super) fn send(&mut self, stream: Stream, bytes: &[u8]) -> Result<(), SessionError> {
        let mut chunks = Vec::new();
        self.combiner.data(stream, bytes, &mut chunks).map_err(|_| already_ended())?;
        self.write(&chunks)
    }

    /// Ends a stream in our direction.
    pub(super) fn end_stream(&mut self, stream: Stream) -> Result<(), SessionError> {
        let mut chunks = Vec::new();
        match self.combiner.end(stream, &mut chunks) {
            Ok(()) => self.write(&chunks),
            // The session ended before: nothing is left to send.
            Err(_) => Ok(()),
        }
    }

    fn write(&mut self, mut bytes: &[u8]) -> Result<(), SessionError> {
        while !bytes.is_empty() {
            let count = self.outer.write(bytes)?;
            bytes = bytes.get(count..).unwrap_or_default();
        }
        Ok(())
    }

    /// Waits for the next bytes of the outer session, and assigns them to their streams.
    pub(super) fn wait(&mut self) -> Arrival {
        if let Some(ended) = &self.ended {
            return ended.clone();
        }
        let mut buffer = [0; 4096];
        let arrival = match self.outer.read(&mut buffer) {
            Ok(0) => Arrival::Ended { in_order: self.has_close_notify() },
            Ok(count) => self.sort(&buffer[..count]),
            Err(error) => Arrival::Failed(error),
        };
        if arrival != Arrival::Something {
            self.ended = Some(arrival.clone());
        }
        arrival
    }

    fn has_close_notify(&self) -> bool {
        self.outer.facts().alerts.iter().any(|alert| !alert.sent && alert.description == 0)
    }

    fn sort(&mut self, mut bytes: &[u8]) -> Arrival {
        loop {
            match self.splitter.next(&mut bytes) {
                Ok(None) => return Arrival::Something,
                Ok(Some(Event::End(stream))) => self.incoming[index(stream)].ended = true,
                Ok(Some(Event::Data(stream, data))) => {
                    if stream == Stream::Inner {
                        self.inner_received += data.len() as u64;
                    }
                    let incoming = &mut self.incoming[index(stream)];
                    if incoming.bytes.len() + data.len() > HELD_AT_MOST {
                        return Arrival::Garbled("more than 1 MiB of unexpected data".to_owned());
                    }
                    incoming.bytes.extend(data);
                }
                Err(error) => return Arrival::Garbled(error.to_string()),
            }
        }
    }

    /// How the bridge ended the outer session, if it did.
    pub(super) fn how_it_ended(&self) -> Option<fact::OuterSessionEnd> {
        match self.ended.as_ref()? {
            Arrival::Ended { in_order: true } => Some(fact::OuterSessionEnd::CloseNotify),
            Arrival::Ended { in_order: false } => Some(fact::OuterSessionEnd::Fin),
            Arrival::Failed(error) if error.kind == Kind::Reset => Some(fact::OuterSessionEnd::Reset),
            Arrival::Failed(_) | Arrival::Garbled(_) | Arrival::Something => None,
        }
    }

    /// Whether a stream has data available, or has ended.
    pub(super) fn has(&self, stream: Stream) -> bool {
        let incoming = &self.incoming[index(stream)];
        incoming.ended || !incoming.bytes.is_empty()
    }

    /// Takes available data of a stream; 0 and `true` if it has ended.
    pub(super) fn take(&mut self, stream: Stream, buffer: &mut [u8]) -> (usize, bool) {
        let incoming = &mut self.incoming[index(stream)];
        let count = incoming.bytes.len().min(buffer.len());
        for (place, byte) in buffer.iter_mut().zip(incoming.bytes.drain(..count)) {
            *place = byte;
        }
        (count, count == 0 && incoming.ended)
    }
}

fn index(stream: Stream) -> usize {
    match stream {
        Stream::Outer => 0,
        Stream::Inner => 1,
    }
}

fn already_ended() -> SessionError {
    SessionError {
        step: "send on a closed stream",
        code: Code::System(0),
        kind: Kind::Other,
        name: "stream ended".to_owned(),
        text: "this end closed the stream".to_owned(),
    }
}

/// The inner session's transport: the inner stream of a tunnel.
pub(super) struct InnerTransport {
    tunnel: Rc<RefCell<Tunnel>>,
    tap: Rc<RefCell<SessionLog>>,
    /// Whether a receive waits, or returns `WouldBlock`.
    waits: Rc<std::cell::Cell<Waits>>,
}

impl InnerTransport {
    /// Creates a transport over this tunnel.
    pub(super) fn new(
        tunnel: Rc<RefCell<Tunnel>>,
        tap: Rc<RefCell<SessionLog>>,
        waits: Rc<std::cell::Cell<Waits>>,
    ) -> Self {
        Self { tunnel, tap, waits }
    }

    fn ended(&self, end: End, error: ErrorKind) -> io::Error {
        self.tap.borrow_mut().ended(end);
        error.into()
    }
}

impl Transport for InnerTransport {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let (count, ended) = self.tunnel.borrow_mut().take(Stream::Inner, buffer);
            if count > 0 {
                self.tap.borrow_mut().received(&buffer[..count]);
                return Ok(count);
            }
            if ended {
                self.tap.borrow_mut().ended(End::Closed);
                return Ok(0);
            }
            if !Waits::waits_this_time(&self.waits) {
                return Err(ErrorKind::WouldBlock.into());
            }
            let arrival = self.tunnel.borrow_mut().wait();
            match arrival {
                Arrival::Something => {}
                Arrival::Ended { .. } => {
                    self.tap.borrow_mut().ended(End::Closed);
                    return Ok(0);
                }
                Arrival::Failed(error) => {
                    let (end, error) = error.kind.carried();
                    return Err(self.ended(end, error));
                }
                Arrival::Garbled(_) => return Err(self.ended(End::Failed(0), ErrorKind::InvalidData)),
            }
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let sent = self.tunnel.borrow_mut().send(Stream::Inner, bytes);
        match sent {
            Ok(()) => {
                self.tap.borrow_mut().sent(bytes);
                Ok(bytes.len())
            }
            Err(error) => Err(error.kind.unsent().into()),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.tunnel.borrow_mut().end_stream(Stream::Inner).map_err(|_| ErrorKind::ConnectionReset.into())
    }
}
