//! Ctrl-C and its kin: running walks are ended, what is done is reported.

use std::io;
use std::sync::atomic::{AtomicI32, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals as Iterator};

/// The signals that end a run, with their names. SIGHUP is not among them: under nohup(1) it is ignored, and stays so.
const SIGNALS: [(i32, &str); 2] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];
/// What a shell adds to a signal's number to make an exit code of it.
const SHELL_BASE: i32 = 128;

/// Waits for a signal.
pub(super) struct Signals {
    iterator: Iterator,
}

/// The signal that came, if one did.
#[derive(Default)]
pub(super) struct Interrupted(AtomicI32);

impl Signals {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { iterator: Iterator::new(SIGNALS.map(|(number, _)| number))? })
    }

    /// Ends [`Self::watch`].
    pub(super) fn handle(&self) -> Handle {
        self.iterator.handle()
    }

    /// Calls `stop` at the first signal. At the second the process ends at once: somebody waits, and whatever the report is
    /// written to does not take it.
    pub(super) fn watch(mut self, interrupted: &Interrupted, stop: impl Fn()) {
        for signal in self.iterator.forever() {
            if interrupted.0.swap(signal, Ordering::SeqCst) != 0 {
                nssight_runner::copies::clear_before_the_end();
                std::process::exit(SHELL_BASE + signal);
            }
            stop();
        }
    }
}

impl Interrupted {
    /// The exit code for it, as a shell would give it.
    pub(super) fn code(&self) -> Option<u8> {
        let signal = self.0.load(Ordering::SeqCst);
        (signal != 0).then(|| u8::try_from(SHELL_BASE + signal).unwrap_or(u8::MAX))
    }

    pub(super) fn name(&self) -> Option<&'static str> {
        let signal = self.0.load(Ordering::SeqCst);
        SIGNALS.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
    }
}
