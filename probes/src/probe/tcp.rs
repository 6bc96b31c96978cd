//! `tcp`: does the connection come up? The one that comes up is the one that TLS then uses.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use nssight_diagnosis::derive::connect::{Attempt, connect as state_of};
use nssight_diagnosis::fact::fact::{self, TcpState};
use nssight_diagnosis::signal::{Library, Signal, signal};
use nssight_diagnosis::{Layer, Notes, Outcome};

use crate::walk::{Probe, Walk};

/// Everything that could fail without the network must have come out well: a connection that is not used hurts the
/// next client of a serial bridge.
pub const PROBE: Probe = Probe {
    layer: Layer::Tcp,
    needs: &[Layer::Config, Layer::NssDb, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::Resolve],
    run,
};

/// An address that does not answer must leave time for the next one.
const LEAST_PER_ADDRESS: Duration = Duration::from_millis(500);

fn run(walk: &mut Walk<'_>) -> Outcome {
    let mut notes = Notes::default();
    let mut errors: Vec<(SocketAddr, io::Error)> = Vec::new();
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
                walk.connection = Some((stream, took));
                return notes.pass(format!("connected to {address} in {}", millis(took)));
            }
            Err(error) => {
                notes.put(fact::TCP_ATTEMPT.text(format!("{address}: {} after {}", words(&error), millis(took))));
                errors.push((*address, error));
            }
        }
    }
    let attempts: Vec<Attempt> = errors.iter().map(|(_, error)| attempt(shown(error))).collect();
    let state = state_of(&attempts);
    notes.put(state);
    // The last of those that decide.
    let Some((_, (_, error))) = attempts.iter().zip(&errors).rfind(|(attempt, _)| attempt.state() == state) else {
        return notes.fail(signal::NAME_NOT_FOUND, "there is no address to connect to");
    };
    let what = match state {
        TcpState::NoAnswer => "no answer before the deadline".to_owned(),
        TcpState::Refused => "connection refused, nobody listens there".to_owned(),
        TcpState::Unreachable => "no way there".to_owned(),
        _ => error.to_string(),
    };
    let summary = match errors.as_slice() {
        [(address, _)] => format!("{address}: {what}"),
        many => format!("none of {} addresses took the connection: {what}", many.len()),
    };
    notes.fail(shown(error), summary).error(error)
}

/// A connect to a free port of this very host can meet itself (simultaneous open, RFC 9293, 3.5); nobody listens then.
fn connect(address: &SocketAddr, patience: Duration) -> io::Result<TcpStream> {
    if patience.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::connect_timeout(address, patience)?;
    match stream.local_addr()? == stream.peer_addr()? {
        true => Err(ErrorKind::ConnectionRefused.into()),
        false => Ok(stream),
    }
}

/// What a failed connect shows: its error number, where the system gave one.
fn shown(error: &io::Error) -> Signal {
    let known = error.raw_os_error().and_then(|number| Signal::of_code(Library::Errno, i64::from(number)));
    match (known, error.kind()) {
        // What this host's own packet filter says (connect(2)); no connection was tried.
        (_, ErrorKind::PermissionDenied) => signal::UNREACHABLE,
        (Some(known), _) => known,
        (None, ErrorKind::TimedOut) => signal::CONNECT_TIMEOUT,
        (None, ErrorKind::ConnectionRefused) => signal::REFUSED,
        (None, _) => signal::SYSTEM_ERROR,
    }
}

fn attempt(shown: Signal) -> Attempt {
    match shown {
        signal::CONNECT_TIMEOUT => Attempt::NoAnswer,
        signal::REFUSED => Attempt::Refused,
        signal::UNREACHABLE => Attempt::Unreachable,
        _ => Attempt::Other,
    }
}

fn words(error: &io::Error) -> String {
    match attempt(shown(error)) {
        Attempt::NoAnswer => "no answer".to_owned(),
        Attempt::Refused => "refused".to_owned(),
        Attempt::Unreachable | Attempt::Other => error.to_string(),
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
