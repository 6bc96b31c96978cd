//! Running another program to its end, to a sign that it is where it was meant to get, or to its deadline; what it says is
//! kept within bounds.

use std::io::{self, Read, Write};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use nssight_nss::process::die_with_us;

/// Of what a program says, so much is kept.
const SAID_AT_MOST: usize = 64 * 1024;

/// What became of a program.
pub(super) struct Finished {
    /// Exit code; none if it was ended by a signal or by us.
    pub(super) code: Option<i32>,
    /// It was not done in time.
    pub(super) late: bool,
    pub(super) stdout: String,
    pub(super) stderr: String,
}

/// A sign of success on standard error or output, and how long to wait for something to the contrary after it.
pub(super) type Sign = (&'static str, Duration);

/// Runs a program. With a sign its standard input stays open and empty, and the program is ended some time after the
/// sign; without, the input is given and closed.
pub(super) fn run(mut command: Command, input: &[u8], sign: Option<Sign>, patience: Duration) -> io::Result<Finished> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    die_with_us(&mut command);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take();
    if sign.is_none()
        && let Some(mut stdin) = stdin.take()
    {
        // It may have ended without reading.
        let _ = stdin.write_all(input);
    }
    let said = [Said::default(), Said::default()];
    let readers = [
        child.stdout.take().map(|from| said[0].collect(from)).transpose()?,
        child.stderr.take().map(|from| said[1].collect(from)).transpose()?,
    ];
    let mut deadline = Instant::now() + patience;
    let mut seen = false;
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        let shown = |(text, _): &Sign| !seen && said.iter().any(|said| said.text().contains(text));
        if let Some((_, listen)) = sign.filter(shown) {
            seen = true;
            deadline = Instant::now() + listen;
        }
        if Instant::now() > deadline {
            break None;
        }
        thread::sleep(Duration::from_millis(5));
    };
    if status.is_none() {
        let _ = child.kill();
        let _ = child.wait();
    }
    drop(stdin);
    for reader in readers.into_iter().flatten() {
        let _ = reader.join();
    }
    Ok(Finished {
        code: status.and_then(|status| status.code()),
        late: status.is_none() && !seen,
        stdout: said[0].text(),
        stderr: said[1].text(),
    })
}

/// What a program has said so far.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl Said {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).into_owned()
    }

    fn collect(&self, mut from: impl Read + Send + 'static) -> io::Result<thread::JoinHandle<()>> {
        let said = self.0.clone();
        thread::Builder::new().spawn(move || {
            let mut piece = [0; 4096];
            // What is too much is read and thrown away, so that the program never waits for us.
            while let Ok(count @ 1..) = from.read(&mut piece) {
                let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
                let room = SAID_AT_MOST.saturating_sub(said.len());
                said.extend_from_slice(&piece[..count.min(room)]);
            }
        })
    }
}
