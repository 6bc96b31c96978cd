//! A relay that delays every byte by a fixed time, in both directions.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Relays to a port of this host and returns its own port; half of the round trip is added in each direction. It runs
/// as long as the process.
pub(crate) fn relay(port: u16, round_trip: Duration) -> io::Result<u16> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let own = listener.local_addr()?.port();
    thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
            let _ = (near.set_nodelay(true), far.set_nodelay(true));
            if let (Ok(near_too), Ok(far_too)) = (near.try_clone(), far.try_clone()) {
                later(near, far, round_trip / 2);
                later(far_too, near_too, round_trip / 2);
            }
        }
    });
    Ok(own)
}

/// One direction: data is read at once and written after the delay. An empty piece is the end.
fn later(mut from: TcpStream, mut to: TcpStream, delay: Duration) {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        let mut buffer = [0; 16 * 1024];
        loop {
            let count = from.read(&mut buffer).unwrap_or(0);
            if sender.send((Instant::now() + delay, buffer[..count].to_vec())).is_err() || count == 0 {
                return;
            }
        }
    });
    thread::spawn(move || {
        let mut queue = VecDeque::new();
        while let Ok(piece) = receiver.recv() {
            queue.push_back(piece);
            while let Some((due, bytes)) = queue.pop_front() {
                thread::sleep(due.saturating_duration_since(Instant::now()));
                if bytes.is_empty() || to.write_all(&bytes).is_err() {
                    let _ = to.shutdown(Shutdown::Write);
                    return;
                }
            }
        }
    });
}
