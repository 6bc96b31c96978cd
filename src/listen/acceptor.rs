//! Accepts a limited number of clients at a time, each in a separate thread with a deadline, until enough clients connected or a
//! signal arrives.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use nssight_probes::reception::{ListenServer, Reception, receive};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use time::OffsetDateTime;

/// Delay before the next attempt on a host that lacks a resource.
const ACCEPT_BACKOFF: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// A connection that was served.
pub(super) struct ServedConnection {
    /// The client's address.
    pub(super) from: SocketAddr,
    /// The start of the connection.
    pub(super) began: OffsetDateTime,
    /// The result of the session.
    pub(super) reception: Reception,
}

/// A connection that is being served.
struct OpenConnection {
    thread: JoinHandle<()>,
    /// Used to cut off the connection.
    stream: Option<TcpStream>,
}

/// The listener, and the open connections.
pub(super) struct Acceptor {
    listener: TcpListener,
    chair: Arc<ListenServer>,
    at_once: usize,
    time: Duration,
    /// Number of connections still to accept.
    left: Option<u64>,
    guests: BTreeMap<u64, OpenConnection>,
    next: u64,
    signals: UnixStream,
    /// Each thread writes to it when it has finished.
    done: (UnixStream, UnixStream),
    leaving: Sender<(u64, ServedConnection)>,
    left_behind: Receiver<(u64, ServedConnection)>,
}

impl Acceptor {
    /// No client is accepted before [`Acceptor::next`].
    pub(super) fn new(
        listener: TcpListener,
        chair: ListenServer,
        at_once: usize,
        time: Duration,
        count: Option<u64>,
    ) -> io::Result<Self> {
        listener.set_nonblocking(true)?;
        let (signals, signalled) = UnixStream::pair()?;
        for signal in [SIGINT, SIGTERM] {
            pipe::register(signal, signalled.try_clone()?)?;
        }
        let (leaving, left_behind) = channel();
        let done = UnixStream::pair()?;
        done.0.set_nonblocking(true)?;
        Ok(Self {
            listener,
            chair: Arc::new(chair),
            at_once,
            time,
            left: count,
            guests: BTreeMap::new(),
            next: 0,
            signals,
            done,
            leaving,
            left_behind,
        })
    }

    /// The next connection that was served to its end; `None` after a signal, or when the requested number of clients has connected.
    pub(super) fn next(&mut self) -> io::Result<Option<ServedConnection>> {
        let mut is_short = false;
        loop {
            if let Ok((number, visit)) = self.left_behind.try_recv() {
                if let Some(guest) = self.guests.remove(&number) {
                    // The thread sends its result as its last action.
                    let _ = guest.thread.join();
                }
                return Ok(Some(visit));
            }
            if self.left == Some(0) && self.guests.is_empty() {
                return Ok(None);
            }
            let has_room = self.left != Some(0) && self.guests.len() < self.at_once && !is_short;
            let mut waiting = vec![
                PollFd::new(&self.signals, PollFlags::IN),
                PollFd::new(&self.done.0, PollFlags::IN),
                PollFd::new(&self.listener, PollFlags::IN),
            ];
            waiting.truncate(if has_room { 3 } else { 2 });
            match poll(&mut waiting, is_short.then_some(&ACCEPT_BACKOFF)) {
                Ok(_) => {}
                Err(Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            }
            let ready: Vec<bool> = waiting.iter().map(|it| !it.revents().is_empty()).collect();
            drop(waiting);
            is_short = false;
            if ready.first() == Some(&true) {
                return Ok(None);
            }
            if ready.get(1) == Some(&true) {
                let mut bytes = [0; 64];
                let _ = (&self.done.0).read(&mut bytes);
            }
            if ready.get(2) == Some(&true) {
                is_short = !self.let_in()?;
            }
        }
    }

    /// Accepts a waiting client. Returns whether this host has the resources for that.
    fn let_in(&mut self) -> io::Result<bool> {
        let (stream, from) = match self.listener.accept() {
            Ok(accepted) => accepted,
            // The client closed the connection, or a signal arrived.
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::ConnectionAborted | ErrorKind::Interrupted
                ) =>
            {
                return Ok(true);
            }
            Err(error) if is_short(&error) => return Ok(false),
            Err(error) => return Err(error),
        };
        let number = self.next;
        self.next += 1;
        let cut = stream.try_clone().ok();
        let (chair, time, sender) = (Arc::clone(&self.chair), self.time, self.leaving.clone());
        let mut done = self.done.1.try_clone()?;
        let serve = move || {
            let began = OffsetDateTime::now_utc();
            let reception = receive(&chair, stream, from, time);
            let _ = sender.send((number, ServedConnection { from, began, reception }));
            let _ = done.write(&[0]);
        };
        let thread = std::thread::Builder::new().name("client".to_owned()).spawn(serve);
        match thread {
            Ok(thread) => {
                self.left = self.left.map(|left| left - 1);
                self.guests.insert(number, OpenConnection { thread, stream: cut });
                Ok(true)
            }
            // The failed start of the thread has also closed the connection.
            Err(error) if is_short(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Closes all open connections, waits for their threads, and returns the number of connections.
    pub(super) fn close(self) -> usize {
        drop(self.listener);
        let count = self.guests.len();
        for guest in self.guests.values() {
            if let Some(stream) = &guest.stream {
                let _ = stream.shutdown(Shutdown::Both);
            }
        }
        for (_, guest) in self.guests {
            let _ = guest.thread.join();
        }
        count
    }
}

fn is_short(error: &io::Error) -> bool {
    nssight_probes::resources::missing(error).is_some() || error.kind() == ErrorKind::WouldBlock
}
