//! Hands out jobs in order, but never two at once that share a key, and no worker waits for a busy key while there
//! is something else to do. Targets behind one bridge share a key, since a bridge serves one client after the other.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A job, and the key that no other job may have meanwhile.
pub struct Job<T> {
    /// `None` for a job that conflicts with no other.
    pub key: Option<Arc<str>>,
    /// What is to be done.
    pub work: T,
}

/// Shared between the workers.
pub struct Turns<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    ready: VecDeque<Job<T>>,
    /// Jobs that wait for a busy key.
    queued: HashMap<Arc<str>, VecDeque<Job<T>>>,
    busy: HashSet<Arc<str>>,
    /// Jobs to repeat when they are due; the number distinguishes two of the same instant.
    later: BTreeMap<(Instant, u64), Job<T>>,
    postponed: u64,
    working: usize,
    /// More jobs may come, so an empty queue is not the end.
    open: bool,
    closed: bool,
}

/// A turn, whose key is busy until this is dropped.
pub struct Turn<'a, T> {
    turns: &'a Turns<T>,
    key: Option<Arc<str>>,
}

impl<T> Turns<T> {
    /// These jobs and no others.
    pub fn of(jobs: impl IntoIterator<Item = Job<T>>) -> Self {
        Self::new(jobs.into_iter().collect(), false)
    }

    /// Jobs that are added one by one, until it is closed.
    pub fn open() -> Self {
        Self::new(VecDeque::new(), true)
    }

    fn new(ready: VecDeque<Job<T>>, open: bool) -> Self {
        let state = State {
            ready,
            queued: HashMap::new(),
            busy: HashSet::new(),
            later: BTreeMap::new(),
            postponed: 0,
            working: 0,
            open,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// Adds a job; after a close it is dropped.
    pub fn push(&self, job: Job<T>) {
        let mut state = self.state();
        if !state.closed {
            state.ready.push_back(job);
        }
        drop(state);
        self.changed.notify_all();
    }

    /// The next job, which occupies its key until the turn is over. Waits while the remaining jobs have busy keys or are not due, and
    /// while others may be added. `None` when there is nothing left to do.
    pub fn next(&self) -> Option<(Turn<'_, T>, T)> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            state.bring_in(Instant::now());
            if let Some(Job { key, work }) = state.pick() {
                return Some((Turn { turns: self, key }, work));
            }
            let due = state.later.first_key_value().map(|((due, _), _)| *due);
            state = match due {
                None if state.working == 0 && !state.open => {
                    self.changed.notify_all();
                    return None;
                }
                None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(due) => {
                    let left = due.saturating_duration_since(Instant::now());
                    self.changed.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Hands out no more jobs, and drops those that wait.
    pub fn close(&self) {
        let mut state = self.state();
        state.closed = true;
        let waiting =
            (std::mem::take(&mut state.ready), std::mem::take(&mut state.queued), std::mem::take(&mut state.later));
        drop(state);
        drop(waiting);
        self.changed.notify_all();
    }

    /// Waits until no job is running, but no longer than this. Returns whether none is.
    pub fn is_idle_within(&self, time: Duration) -> bool {
        let state = self.state();
        let waited = self.changed.wait_timeout_while(state, time, |state| state.working > 0);
        waited.unwrap_or_else(PoisonError::into_inner).0.working == 0
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> Turn<'_, T> {
    /// Ends the turn; `work` is to be repeated, not before `due`, and its key is free meanwhile.
    pub fn again(self, work: T, due: Instant) {
        let mut state = self.turns.state();
        let number = state.postponed;
        state.postponed += 1;
        let key = self.key.clone();
        if !state.closed {
            state.later.insert((due, number), Job { key, work });
        }
    }
}

impl<T> Drop for Turn<'_, T> {
    fn drop(&mut self) {
        self.turns.state().release(self.key.as_ref());
        self.turns.changed.notify_all();
    }
}

impl<T> State<T> {
    /// Finishes what was begun before something new is begun.
    fn bring_in(&mut self, now: Instant) {
        while let Some(entry) = self.later.first_entry().filter(|entry| entry.key().0 <= now) {
            self.ready.push_front(entry.remove());
        }
    }

    fn pick(&mut self) -> Option<Job<T>> {
        while let Some(job) = self.ready.pop_front() {
            match &job.key {
                Some(key) if self.busy.contains(key) => self.queued.entry(key.clone()).or_default().push_back(job),
                key => {
                    self.busy.extend(key.clone());
                    self.working += 1;
                    return Some(job);
                }
            }
        }
        None
    }

    fn release(&mut self, key: Option<&Arc<str>>) {
        self.working -= 1;
        let Some(key) = key else { return };
        self.busy.remove(key);
        if let Some(queue) = self.queued.get_mut(key) {
            // A run ends with a long queue, which must not lose a turn.
            if let Some(job) = queue.pop_front() {
                self.ready.push_front(job);
            }
            if queue.is_empty() {
                self.queued.remove(key);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;
    use std::time::Duration;

    use super::*;

    fn job(key: &str, work: u32) -> Job<u32> {
        Job { key: (!key.is_empty()).then(|| key.into()), work }
    }

    fn next(turns: &Turns<u32>) -> Option<u32> {
        // The turn never ends.
        turns.next().map(|(turn, work)| {
            std::mem::forget(turn);
            work
        })
    }

    fn done(turns: &Turns<u32>, key: &str) {
        drop(Turn { turns, key: (!key.is_empty()).then(|| key.into()) });
    }

    #[test]
    fn a_busy_key_is_passed_over_and_keeps_its_order() {
        let turns = Turns::of([job("a", 1), job("a", 2), job("a", 3), job("b", 4), job("", 5)]);
        assert_eq!([next(&turns), next(&turns), next(&turns)], [Some(1), Some(4), Some(5)]);
        done(&turns, "a");
        assert_eq!(next(&turns), Some(2));
        done(&turns, "");
        done(&turns, "a");
        assert_eq!(next(&turns), Some(3));
        done(&turns, "a");
        done(&turns, "b");
        assert_eq!(next(&turns), None);
    }

    #[test]
    fn a_repeated_job_waits_without_its_key_and_then_comes_first() {
        let turns = Turns::of([job("a", 1), job("a", 2), job("", 3)]);
        let (first, work) = turns.next().unwrap();
        let due = Instant::now() + Duration::from_millis(50);
        first.again(work, due);
        assert_eq!(next(&turns), Some(2), "the key is free");
        done(&turns, "a");
        thread::sleep(due.saturating_duration_since(Instant::now()));
        assert_eq!(next(&turns), Some(1), "before what has not begun");
        done(&turns, "a");
        assert_eq!(next(&turns), Some(3));
        done(&turns, "");
        assert_eq!(next(&turns), None);
    }

    #[test]
    fn the_last_repeated_job_is_waited_for() {
        let turns = Turns::of([job("", 1)]);
        let (first, work) = turns.next().unwrap();
        let due = Instant::now() + Duration::from_millis(30);
        first.again(work, due);
        assert_eq!(next(&turns), Some(1));
        assert!(Instant::now() >= due);
    }

    #[test]
    fn a_close_wakes_all_waiting_workers() {
        let turns = Turns::of([job("a", 1), job("a", 2)]);
        let _first = turns.next().unwrap();
        thread::scope(|scope| {
            let waiting = scope.spawn(|| next(&turns));
            turns.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }

    #[test]
    fn workers_wait_for_more_jobs_until_a_close() {
        let turns = Turns::open();
        thread::scope(|scope| {
            let worker = scope.spawn(|| {
                let mut done = Vec::new();
                while let Some((_turn, work)) = turns.next() {
                    done.push(work);
                    if done.len() == 2 {
                        turns.close();
                    }
                }
                done
            });
            turns.push(job("a", 1));
            turns.push(job("a", 2));
            assert_eq!(worker.join().unwrap(), [1, 2]);
        });
        assert!(turns.is_idle_within(Duration::ZERO));
    }

    #[test]
    fn many_workers_never_share_a_key_and_finish_every_job() {
        let keys = 7;
        let jobs = (0..2000).map(|number| job(&format!("key {}", number % keys), number));
        let turns = Turns::of(jobs);
        let in_use: Vec<AtomicUsize> = (0..keys).map(|_| AtomicUsize::new(0)).collect();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some((_turn, work)) = turns.next() {
                        let slot = &in_use[(work % keys) as usize];
                        assert_eq!(slot.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        slot.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 2000);
    }
}
