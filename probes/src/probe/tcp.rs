//! `tcp`: does the connection come up? The one that comes up is the one that TLS then uses.

use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use crate::catalogue::Cause;
use crate::finding::{Notes, Outcome};
use crate::plan::Probe;
use crate::vocabulary::{Confidence, Layer};
use crate::walk::Walk;

/// Everything that could fail without the network must have come out well: a connection that is not used hurts the
/// next client of a serial bridge.
pub const PROBE: Probe = Probe {
    layer: Layer::Tcp,
    needs: &[Layer::Config, Layer::NssDb, Layer::Password, Layer::Certificate, Layer::PrivateKey, Layer::Resolve],
    causes: &[Cause::TcpRefused, Cause::TcpTimeout, Cause::TcpUnreachable],
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
                notes.add(address.to_string(), format!("connected in {}", millis(took)));
                if let Ok(local) = stream.local_addr() {
                    notes.add("local address", local);
                }
                walk.connections += 1;
                walk.connection = Some((stream, took));
                return notes.pass(format!("connected to {address} in {}", millis(took)));
            }
            Err(error) => {
                notes.add(address.to_string(), format!("{} after {}", words(&error), millis(took)));
                errors.push((*address, error));
            }
        }
    }
    let (cause, what) = judge(&errors);
    let summary = match errors.as_slice() {
        [(address, _)] => format!("{address}: {what}"),
        many => format!("none of {} addresses took the connection: {what}", many.len()),
    };
    let outcome = notes.fail(cause, Confidence::Certain, summary);
    match errors.last() {
        Some((_, error)) => outcome.error(error),
        None => outcome,
    }
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

/// Silence says more than a refusal, and a refusal more than a missing route.
fn judge(errors: &[(SocketAddr, io::Error)]) -> (Cause, &'static str) {
    let any = |kind: ErrorKind| errors.iter().any(|(_, error)| error.kind() == kind);
    if any(ErrorKind::TimedOut) || any(ErrorKind::WouldBlock) {
        (Cause::TcpTimeout, "no answer before the deadline")
    } else if any(ErrorKind::ConnectionRefused) {
        (Cause::TcpRefused, "connection refused, nobody listens there")
    } else {
        (Cause::TcpUnreachable, "no way there")
    }
}

fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "no answer".to_owned(),
        ErrorKind::ConnectionRefused => "refused".to_owned(),
        _ => error.to_string(),
    }
}

fn millis(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}
