//! Ends checks from outside: after a signal no worker is left behind.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::process::Child;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Shared between the threads that run checks and the one that may end them.
#[derive(Default)]
pub struct Stop {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    stopped: bool,
    next: u64,
    /// Running workers. A descriptor, unlike a number, never comes to mean another process.
    workers: BTreeMap<u64, OwnedFd>,
}

impl Stop {
    /// Kills every running worker and every one that starts afterwards.
    pub fn stop(&self) {
        let mut state = self.state();
        state.stopped = true;
        for worker in state.workers.values() {
            let _ = pidfd_send_signal(worker, Signal::KILL);
        }
        self.changed.notify_all();
    }

    /// Waits for this time, or until it is stopped.
    pub fn rest(&self, time: Duration) {
        let waited = self.changed.wait_timeout_while(self.state(), time, |state| !state.stopped);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    /// Whether it was stopped.
    pub fn is_stopped(&self) -> bool {
        self.state().stopped
    }

    /// Makes a stop kill this worker for as long as the guard lives.
    pub fn watch(&self, child: Option<&Child>) -> Watched<'_> {
        let pid = child.and_then(|child| i32::try_from(child.id()).ok()).and_then(Pid::from_raw);
        let worker = pid.and_then(|pid| pidfd_open(pid, PidfdFlags::empty()).ok());
        let mut state = self.state();
        let key = state.next;
        state.next += 1;
        if let Some(worker) = worker {
            if state.stopped {
                let _ = pidfd_send_signal(&worker, Signal::KILL);
            }
            state.workers.insert(key, worker);
        }
        Watched { stop: self, key }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A worker that a stop would kill.
pub struct Watched<'a> {
    stop: &'a Stop,
    key: u64,
}

impl Drop for Watched<'_> {
    fn drop(&mut self) {
        self.stop.state().workers.remove(&self.key);
    }
}
