//! `tcp`: can a connection be established? TLS then uses this same connection.

use std::io::{self, ErrorKind};
use std::net::{IpAddr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::connect::{Attempt, connect as state_of};
use nssight_diagnosis::fact::Fact;
use nssight_diagnosis::fact::fact::{self, ProxyAnswered, TcpIcmp, TcpListener, TcpState, TcpToldBy};
use nssight_diagnosis::signal::{Library, Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};
use rustix::io::Errno;
use socket2::{Domain, Protocol, Socket, Type};

use crate::icmp::{self, Message};
use crate::proxy::{self, Refusal};
use crate::sockets;
use crate::target::Endpoint;
use crate::walk::{Probe, Walk};

/// Everything that can fail without the network must have passed: a connection that is not used harms the next client of a serial bridge.
pub const PROBE: Probe = Probe {
    layer: Layer::Tcp,
    needs: &[Layer::Config, Layer::NssDb, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::Resolve],
    run,
};

/// As [`PROBE`], for our certificate in files.
pub const PROBE_OF_FILES: Probe = Probe {
    needs: &[Layer::Config, Layer::Credentials, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::Resolve],
    ..PROBE
};

/// An address that does not answer must leave time for the next one.
const LEAST_PER_ADDRESS: Duration = Duration::from_millis(500);
/// Maximum number of addresses to name in a sentence.
const SAID: usize = 4;
/// From this version on the kernel queues the ICMP message that ends an attempt (tcp_ipv4.c, tcp_v4_err).
const KEEPS_MESSAGES: (u32, u32) = (5, 9);

/// An attempt that failed.
struct Failed {
    address: SocketAddr,
    error: io::Error,
    message: Option<Message>,
    what: Attempt,
    listener: Option<TcpListener>,
}

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let mut failures: Vec<Failed> = Vec::new();
    let addresses = walk.addresses.clone();
    for (index, address) in addresses.iter().enumerate() {
        let left = addresses.len() - index;
        let share = (walk.remaining() / u32::try_from(left).unwrap_or(u32::MAX)).max(LEAST_PER_ADDRESS);
        let started = Instant::now();
        let result = connect(address, share.min(walk.remaining()));
        let took = started.elapsed();
        match result {
            Ok(stream) => {
                notes.put(fact::TCP_ATTEMPT.text(format!("{address}: connected in {}", millis(took))));
                notes.put(TcpState::Connected);
                if let Ok(local) = stream.local_addr() {
                    notes.put(fact::TCP_LOCAL_ADDRESS.text(local));
                }
                walk.connections += 1;
                let connected = format!("connected to {address} in {}", millis(took));
                let (Some(proxy), Some(peer)) = (&walk.target().proxy, &walk.target().bridge) else {
                    walk.connection = Some((stream, took));
                    return notes.pass(connected);
                };
                notes.put(fact::PROXY_ADDRESS.text(&proxy.value));
                if let Err(refusal) = proxy::connect(&stream, &peer.value, walk.deadline) {
                    return refused(&refusal, &proxy.value, &peer.value, notes);
                }
                notes.put(fact::ProxyAnswered::Connected);
                walk.connection = Some((stream, started.elapsed()));
                return notes.pass(format!("{connected}, a proxy, which connects to {}", peer.value));
            }
            Err((error, message)) => {
                let (what, listener) = (attempt(&error, message, address), sockets::listener(address));
                let failed = Failed { address: *address, what, error, message, listener };
                notes.put(fact::TCP_ATTEMPT.text(format!("{address}: {} after {}", failed.words(), millis(took))));
                failures.push(failed);
            }
        }
    }
    let attempts: Vec<Attempt> = failures.iter().map(|failed| failed.what).collect();
    let (state, together) = state_of(&attempts);
    notes.put(state);
    notes.put(together);
    // The last failure of the decisive kind.
    let Some(failed) = failures.iter().rfind(|failed| failed.what.state() == state) else {
        return notes.fail(signal::NAME_NOT_FOUND, "no address to connect to is known");
    };
    failed.note(&mut notes);
    let summary = match failures.as_slice() {
        [failed] => format!("{}: {}", failed.address, failed.words()),
        many => {
            let each = many.iter().take(SAID).map(|failed| format!("{}: {}", failed.address, failed.words()));
            let each = each.collect::<Vec<_>>().join("; ");
            let more = if many.len() > SAID { "; …" } else { "" };
            format!("none of {} addresses accepted the connection: {each}{more}", many.len())
        }
    };
    match &walk.target().proxy {
        Some(proxy) => {
            notes.put(fact::PROXY_ADDRESS.text(&proxy.value));
            let summary = format!("the proxy {} does not accept connections: {summary}", proxy.value);
            notes.fail(signal::PROXY_UNREACHABLE, summary).error(&failed.error)
        }
        None => notes.fail(failed.shown(), summary).error(&failed.error),
    }
}

/// The proxy answers, but does not connect us.
fn refused(refusal: &Refusal, proxy: &Endpoint, peer: &Endpoint, mut notes: Notes) -> Outcome {
    notes.put(refusal.answered);
    let summary = match refusal.answered {
        ProxyAnswered::Silent => format!("the proxy {proxy} does not answer the request to connect to {peer}"),
        ProxyAnswered::Ended => {
            format!("the proxy {proxy} ended the connection after the request to connect to {peer}")
        }
        ProxyAnswered::NotHttp => format!("{proxy} is not an HTTP proxy; its reply: {}", refusal.said),
        _ => format!("the proxy {proxy} does not connect to {peer}: {}", refusal.said),
    };
    if !refusal.said.is_empty() {
        notes.put(fact::PROXY_SAID.text(&refusal.said));
    }
    notes.fail(signal::PROXY_REFUSED, summary)
}

impl Failed {
    /// Related facts.
    fn note(&self, notes: &mut Notes) {
        if let Some(told_by) = self.told_by() {
            notes.put(told_by);
        }
        if let Some(message) = self.message {
            notes.put(message.says);
        }
        if let Some(listener) = self.listener {
            notes.put(listener);
        }
        if self.what == Attempt::NoLocalPort
            && let Some(free) = sockets::local_ports(&self.address)
        {
            notes.put(free);
        }
    }

    /// Which host reported the failure; `None` if this kernel does not record it.
    fn told_by(&self) -> Option<TcpToldBy> {
        match (self.message, self.what) {
            (Some(message), _) if message.from == self.address.ip() => Some(TcpToldBy::PeerAddress),
            (Some(message), _) if is_ours(message.from) => Some(TcpToldBy::OwnAddress),
            (Some(_), _) => Some(TcpToldBy::Router),
            (None, Attempt::NoLocalPort | Attempt::NoLocalAddress) => Some(TcpToldBy::Kernel),
            (None, Attempt::NoAnswer | Attempt::Other) => None,
            (None, _) if !kernel_keeps_messages() => None,
            (None, Attempt::Refused) => Some(TcpToldBy::Reset),
            (None, Attempt::Forbidden | Attempt::Unreachable) => Some(TcpToldBy::Kernel),
        }
    }

    /// The signal of the error number, if the system set one.
    fn shown(&self) -> Signal {
        let number = self.error.raw_os_error().map(i64::from);
        match self.what {
            Attempt::NoAnswer => signal::CONNECT_TIMEOUT,
            Attempt::Refused => signal::REFUSED,
            Attempt::Forbidden | Attempt::Unreachable | Attempt::NoLocalAddress => signal::UNREACHABLE,
            Attempt::NoLocalPort => signal::NO_LOCAL_PORT,
            Attempt::Other => number.and_then(|it| Signal::of_code(Library::Errno, it)).unwrap_or(signal::SYSTEM_ERROR),
        }
    }

    fn words(&self) -> String {
        let error = &self.error;
        let what = match (self.what, self.told_by()) {
            (Attempt::NoAnswer, _) => return "no answer before the deadline".to_owned(),
            (Attempt::Refused, _) if self.listener == Some(TcpListener::None) => {
                "connection refused: no program listens on this port".to_owned()
            }
            (Attempt::Refused, Some(TcpToldBy::Reset)) => return "connection refused with a TCP reset".to_owned(),
            (Attempt::Refused, _) => "connection refused".to_owned(),
            (Attempt::Forbidden, Some(TcpToldBy::Kernel)) => {
                format!("this host does not allow the connection: {error}")
            }
            (Attempt::Forbidden, _) => format!("not allowed: {error}"),
            (Attempt::Unreachable, Some(TcpToldBy::Kernel)) => format!("this host has no route there: {error}"),
            (Attempt::Unreachable, _) => format!("no route there: {error}"),
            (Attempt::NoLocalPort, _) => format!("this host has no free port to connect from: {error}"),
            (Attempt::NoLocalAddress, _) => format!("this host has no address to connect from: {error}"),
            (Attempt::Other, _) => error.to_string(),
        };
        match self.message {
            Some(message) => {
                let says = Fact::from(message.says);
                format!("{what} (ICMP from {}: {})", message.from, says.text())
            }
            None => what,
        }
    }
}

/// A connection to a free port of this host can connect to itself (simultaneous open, RFC 9293, 3.5) although nothing listens.
fn connect(address: &SocketAddr, patience: Duration) -> Result<TcpStream, (io::Error, Option<Message>)> {
    if patience.is_zero() {
        return Err((ErrorKind::TimedOut.into(), None));
    }
    let domain = Domain::for_address(*address);
    let socket = Socket::new(domain, Type::STREAM, Some(Protocol::TCP)).map_err(|error| (error, None))?;
    icmp::keep(&socket, domain, true);
    if let Err(error) = socket.connect_timeout(&(*address).into(), patience) {
        return Err((error, icmp::kept(&socket)));
    }
    icmp::keep(&socket, domain, false);
    let stream = TcpStream::from(socket);
    match (stream.local_addr(), stream.peer_addr()) {
        (Ok(local), Ok(peer)) if local != peer => Ok(stream),
        (Ok(_), Ok(_)) => Err((io::Error::from_raw_os_error(Errno::CONNREFUSED.raw_os_error()), None)),
        (Err(error), _) | (_, Err(error)) => Err((error, None)),
    }
}

/// The kind of failure. An ICMP message takes precedence over the error number that the kernel derives from it (icmp.c, icmp_err_convert).
fn attempt(error: &io::Error, message: Option<Message>, address: &SocketAddr) -> Attempt {
    if message.is_some_and(|message| message.says == TcpIcmp::Prohibited) {
        return Attempt::Forbidden;
    }
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::CONNREFUSED) => Attempt::Refused,
        Some(Errno::TIMEDOUT) => Attempt::NoAnswer,
        // A route of type prohibit, a socket rule, or the security module of this host (ip-route(8), connect(2)).
        Some(Errno::ACCESS | Errno::PERM) => Attempt::Forbidden,
        // A route of type blackhole returns INVAL (ip-route(8)), and so does a link-local address without an interface.
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::NETDOWN | Errno::HOSTDOWN | Errno::INVAL) => {
            Attempt::Unreachable
        }
        Some(Errno::ADDRNOTAVAIL) if sockets::has_address_for(address) => Attempt::NoLocalPort,
        Some(Errno::ADDRNOTAVAIL) => Attempt::NoLocalAddress,
        _ if error.kind() == ErrorKind::TimedOut => Attempt::NoAnswer,
        _ => Attempt::Other,
    }
}

/// An address can be bound only if it belongs to this host; nothing is sent.
fn is_ours(address: IpAddr) -> bool {
    UdpSocket::bind((address, 0)).is_ok()
}

fn kernel_keeps_messages() -> bool {
    let name = rustix::system::uname();
    let release = name.release().to_string_lossy();
    let mut numbers = release.split(|c: char| !c.is_ascii_digit()).map_while(|part| part.parse::<u32>().ok());
    (numbers.next(), numbers.next()) >= (Some(KEEPS_MESSAGES.0), Some(KEEPS_MESSAGES.1))
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
