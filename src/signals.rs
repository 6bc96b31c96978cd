//! Handles Ctrl-C and other signals: ends running checks, and reports the results so far.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread;

use nssight_diagnosis::fact::fact;
use nssight_probes::Report;
use nssight_runner::copies;
use nssight_runner::stop::Stop;
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// The signals that end a run, with their names. SIGHUP is not among them: nohup(1) makes a program ignore SIGHUP, and it must stay
/// ignored.
const SIGNALS: [(i32, &str); 2] = [(SIGINT, "SIGINT"), (SIGTERM, "SIGTERM")];
/// A shell adds this to the number of a signal to form an exit code.
const SHELL_BASE: i32 = 128;

/// The signal that arrived, if any.
#[derive(Clone, Default)]
pub(crate) struct Interrupted(Arc<State>);

#[derive(Default)]
struct State {
    signal: AtomicI32,
    /// There is no check left to end in good order.
    over: AtomicBool,
}

impl Interrupted {
    /// Calls `stop` at the first signal. At the second, and at the first after [`Self::over`], the process ends at once: a user is waiting,
    /// and the destination of the report is blocked. A terminal that closes also ends the process.
    ///
    /// # Errors
    /// If no thread can be started.
    pub(crate) fn watch(stop: impl Fn() + Send + 'static) -> io::Result<Self> {
        copies::clear_on_signals(&[copies::HANGUP, copies::QUIT])?;
        let mut signals = Signals::new(SIGNALS.map(|(number, _)| number))?;
        let interrupted = Self::default();
        let told = interrupted.clone();
        thread::Builder::new().name("interrupt".to_owned()).spawn(move || {
            for signal in signals.forever() {
                let earlier = told.0.signal.swap(signal, Ordering::SeqCst);
                if earlier != 0 || told.0.over.load(Ordering::SeqCst) {
                    copies::clear_before_the_end();
                    std::process::exit(SHELL_BASE + signal);
                }
                stop();
            }
        })?;
        Ok(interrupted)
    }

    /// As [`Self::watch`], for a check that a single `Stop` ends; also returns this `Stop`.
    ///
    /// # Errors
    /// As [`Self::watch`].
    pub(crate) fn stopping() -> io::Result<(Self, Arc<Stop>)> {
        let stop = Arc::new(Stop::default());
        let ended = stop.clone();
        Ok((Self::watch(move || ended.stop())?, stop))
    }

    /// The check is over, and `report` is about to be written. The effect of a terminal's signal on the worker may be known before the
    /// signal itself arrives here. Such a late signal does not end the writing.
    pub(crate) fn over_with(&self, report: &Report) {
        if !report.probes.iter().any(|finding| finding.facts.has(fact::ToolState::Interrupted)) {
            self.over();
        }
    }

    /// From now on no check is left to end: only the report is written.
    pub(crate) fn over(&self) {
        self.0.over.store(true, Ordering::SeqCst);
    }

    /// The exit code for the signal, as a shell would set it.
    pub(crate) fn code(&self) -> Option<u8> {
        let signal = self.0.signal.load(Ordering::SeqCst);
        (signal != 0).then(|| u8::try_from(SHELL_BASE + signal).unwrap_or(u8::MAX))
    }

    /// The name of the signal.
    pub(crate) fn name(&self) -> Option<&'static str> {
        let signal = self.0.signal.load(Ordering::SeqCst);
        SIGNALS.iter().find(|(number, _)| *number == signal).map(|(_, name)| *name)
    }
}
