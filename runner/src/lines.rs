//! Lines of JSON from a child process, as they arrive.

use std::io::{self, BufRead, BufReader, Read};
use std::sync::mpsc::{self, Receiver};
use std::thread;

use serde::de::DeserializeOwned;

/// Reads lines of at most this many bytes until the end, or until a line that is not a `T`; the receiver sees the end as a
/// disconnection.
///
/// # Errors
/// If no thread can be started.
pub fn receive<T: DeserializeOwned + Send + 'static>(
    from: impl Read + Send + 'static,
    at_most: u64,
) -> io::Result<Receiver<T>> {
    let (sender, receiver) = mpsc::channel();
    thread::Builder::new().name("lines".to_owned()).spawn(move || {
        let mut lines = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            match lines.by_ref().take(at_most).read_until(b'\n', &mut line) {
                Ok(count) if count > 0 => {}
                _ => return,
            }
            let Ok(message) = serde_json::from_slice(&line) else { return };
            if sender.send(message).is_err() {
                return;
            }
        }
    })?;
    Ok(receiver)
}
