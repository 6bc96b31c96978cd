//! Where the bytes of a TLS session travel: a TCP connection with one absolute deadline, or another session.
//! Every byte passes a [`Tap`].

use std::cell::{Cell, RefCell};
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::TcpInfo;

/// A byte stream below a TLS session. Blocking, with deadlines of its own.
pub trait Transport {
    /// Receives at least one byte, or 0 at the end of the stream. `TimedOut` when the deadline has passed.
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize>;
    /// Sends some of the bytes, at least one.
    fn send(&mut self, bytes: &[u8]) -> io::Result<usize>;
    /// Ends the sending direction.
    fn finish(&mut self) -> io::Result<()>;
}

/// How the receiving direction of a transport ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The peer closed in order (FIN, or the end of the inner stream).
    Closed,
    /// The peer, or something between, reset the connection.
    Reset,
    /// The deadline passed.
    TimedOut,
    /// The operating system's error number.
    Failed(i32),
}

/// Observes every byte of a transport, in both directions.
pub trait Tap {
    /// Bytes that were passed to the network.
    fn sent(&mut self, bytes: &[u8]);
    /// Bytes that came from the network.
    fn received(&mut self, bytes: &[u8]);
    /// The receiving direction ended, or sending failed.
    fn ended(&mut self, end: End);
}

/// Controls a [`TcpTransport`] from outside while a TLS session owns it.
#[derive(Debug)]
pub struct Control {
    deadline: Cell<Instant>,
    stop_when_idle: Cell<bool>,
    received: Cell<u64>,
    received_before: Cell<u64>,
    last_figures: Cell<Option<TcpInfo>>,
}

/// Queries the kernel about a connection.
pub type Figures = fn(&TcpStream) -> Option<TcpInfo>;

impl Control {
    /// Every wait ends at `deadline`.
    pub fn until(deadline: Instant) -> Rc<Self> {
        let (stop_when_idle, received, received_before) = (Cell::new(false), Cell::new(0), Cell::new(0));
        let (deadline, last_figures) = (Cell::new(deadline), Cell::new(None));
        Rc::new(Self { deadline, stop_when_idle, received, received_before, last_figures })
    }

    /// Moves the deadline.
    pub fn set_deadline(&self, deadline: Instant) {
        self.deadline.set(deadline);
    }

    /// Time left before the deadline.
    pub fn left(&self) -> Duration {
        self.deadline.get().saturating_duration_since(Instant::now())
    }

    /// From now on, a receive returns `WouldBlock` as soon as whole records have arrived and no more data is available:
    /// that reveals an answer that carries no application data (TLS 1.3 session tickets).
    pub fn stop_when_idle(&self, on: bool) {
        self.stop_when_idle.set(on);
        self.received_before.set(self.received.get());
    }

    /// The kernel's figures for the connection when a wait failed or its deadline passed.
    pub fn last_figures(&self) -> Option<TcpInfo> {
        self.last_figures.get()
    }

    /// Bytes received since [`Control::stop_when_idle`] was last called.
    pub fn received_since(&self) -> u64 {
        self.received.get() - self.received_before.get()
    }
}

/// The position of the received stream in its records (RFC 8446, 5.1: five bytes of header, then the length they name).
#[derive(Debug, Default)]
struct RecordCursor {
    header: [u8; 5],
    filled: usize,
    body: usize,
}

impl RecordCursor {
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.body > 0 {
                let skipped = self.body.min(bytes.len());
                self.body -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            self.header[self.filled] = bytes[0];
            bytes = &bytes[1..];
            self.filled += 1;
            if self.filled == self.header.len() {
                self.filled = 0;
                self.body = usize::from(u16::from_be_bytes([self.header[3], self.header[4]]));
            }
        }
    }

    fn between_records(&self) -> bool {
        self.filled == 0 && self.body == 0
    }
}

/// A TCP connection with one absolute deadline for everything that waits on it.
pub struct TcpTransport {
    stream: TcpStream,
    control: Rc<Control>,
    tap: Rc<RefCell<dyn Tap>>,
    cursor: RecordCursor,
    figures: Figures,
}

impl TcpTransport {
    /// Takes over a connected socket. `figures` is called when a wait fails or its deadline passes.
    pub fn new(
        stream: TcpStream,
        control: Rc<Control>,
        tap: Rc<RefCell<dyn Tap>>,
        figures: Figures,
    ) -> io::Result<Self> {
        stream.set_nonblocking(false)?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, control, tap, cursor: RecordCursor::default(), figures })
    }

    fn remaining(&self) -> io::Result<Duration> {
        let left = self.control.deadline.get().saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }

    /// Sockets report a passed timeout as EAGAIN.
    fn seen(&mut self, error: io::Error) -> io::Error {
        let error = match error.kind() {
            ErrorKind::WouldBlock => ErrorKind::TimedOut.into(),
            _ => error,
        };
        self.control.last_figures.set((self.figures)(&self.stream));
        self.tap.borrow_mut().ended(match error.kind() {
            ErrorKind::TimedOut => End::TimedOut,
            ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => End::Reset,
            _ => End::Failed(error.raw_os_error().unwrap_or(0)),
        });
        error
    }

    fn recv_or_idle(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let idle_ends = self.control.stop_when_idle.get() && self.control.received_since() > 0;
        if idle_ends && self.cursor.between_records() {
            self.stream.set_nonblocking(true)?;
            let result = self.stream.read(buffer);
            self.stream.set_nonblocking(false)?;
            return result;
        }
        loop {
            self.stream.set_read_timeout(Some(self.remaining()?))?;
            match self.stream.read(buffer) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(ErrorKind::TimedOut.into()),
                result => return result,
            }
        }
    }

    fn send_in_time(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            self.stream.set_write_timeout(Some(self.remaining()?))?;
            match self.stream.write(bytes) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                result => return result,
            }
        }
    }
}

impl Transport for TcpTransport {
    fn recv(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.recv_or_idle(buffer) {
            Ok(0) => {
                self.tap.borrow_mut().ended(End::Closed);
                Ok(0)
            }
            Ok(count) => {
                self.control.received.set(self.control.received.get() + count as u64);
                self.cursor.advance(&buffer[..count]);
                self.tap.borrow_mut().received(&buffer[..count]);
                Ok(count)
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => Err(error),
            Err(error) => Err(self.seen(error)),
        }
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.send_in_time(bytes) {
            Ok(count) => {
                self.tap.borrow_mut().sent(&bytes[..count]);
                Ok(count)
            }
            Err(error) => Err(self.seen(error)),
        }
    }

    fn finish(&mut self) -> io::Result<()> {
        self.stream.shutdown(Shutdown::Write)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cursor_finds_the_end_of_each_record() {
        let mut cursor = RecordCursor::default();
        for (index, byte) in [22, 3, 3, 0, 2, 9, 9, 21, 3, 3, 0, 0].into_iter().enumerate() {
            cursor.advance(&[byte]);
            assert_eq!(cursor.between_records(), index == 6 || index == 11, "after byte {index}");
        }
    }
}
