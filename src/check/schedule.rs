//! Which job is next: in order, but never two at once that share a key, and none of those who work waits for a busy key
//! while there is something else to do.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A job and what it must not share.
pub(super) struct Job<T> {
    pub(super) key: Option<Arc<str>>,
    pub(super) work: T,
}

/// Shared between those who work.
pub(super) struct Schedule<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

struct State<T> {
    ready: VecDeque<Job<T>>,
    /// Behind a busy key.
    queued: HashMap<Arc<str>, VecDeque<Job<T>>>,
    busy: HashSet<Arc<str>>,
    /// To be done again, when their time has come; the number keeps two of one instant apart.
    later: BTreeMap<(Instant, u64), Job<T>>,
    postponed: u64,
    working: usize,
    closed: bool,
}

impl<T> Schedule<T> {
    pub(super) fn of(jobs: impl IntoIterator<Item = Job<T>>) -> Self {
        let state = State {
            ready: jobs.into_iter().collect(),
            queued: HashMap::new(),
            busy: HashSet::new(),
            later: BTreeMap::new(),
            postponed: 0,
            working: 0,
            closed: false,
        };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    /// The next job, which occupies its key until it is given back; waits while only a busy key or a time is in the way.
    /// None when there is nothing left to do.
    pub(super) fn next(&self) -> Option<Job<T>> {
        let mut state = self.state();
        loop {
            if state.closed {
                return None;
            }
            state.bring_in(Instant::now());
            if let Some(job) = state.pick() {
                return Some(job);
            }
            let due = state.later.first_key_value().map(|((due, _), _)| *due);
            state = match due {
                None if state.working == 0 => {
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

    /// A job is done, for good.
    pub(super) fn done(&self, key: Option<&Arc<str>>) {
        self.state().release(key);
        self.changed.notify_all();
    }

    /// A job is to be done again, not before `due`; its key is free meanwhile.
    pub(super) fn again(&self, job: Job<T>, due: Instant) {
        let mut state = self.state();
        state.release(job.key.as_ref());
        let number = state.postponed;
        state.postponed += 1;
        state.later.insert((due, number), job);
        drop(state);
        self.changed.notify_all();
    }

    /// Gives out no other job.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.changed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T> State<T> {
    /// What was begun is finished before something new is begun.
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
            // A long queue is what a run ends with; it must not lose a turn.
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

    fn next(schedule: &Schedule<u32>) -> Option<u32> {
        schedule.next().map(|job| job.work)
    }

    #[test]
    fn a_busy_key_is_passed_over_and_keeps_its_order() {
        let schedule = Schedule::of([job("a", 1), job("a", 2), job("a", 3), job("b", 4), job("", 5)]);
        assert_eq!([next(&schedule), next(&schedule), next(&schedule)], [Some(1), Some(4), Some(5)]);
        schedule.done(Some(&"a".into()));
        assert_eq!(next(&schedule), Some(2));
        schedule.done(None);
        schedule.done(Some(&"a".into()));
        assert_eq!(next(&schedule), Some(3));
        schedule.done(Some(&"a".into()));
        schedule.done(Some(&"b".into()));
        assert_eq!(next(&schedule), None);
    }

    #[test]
    fn what_is_to_be_done_again_waits_without_its_key_and_then_comes_first() {
        let schedule = Schedule::of([job("a", 1), job("a", 2), job("", 3)]);
        let first = schedule.next().unwrap();
        let due = Instant::now() + Duration::from_millis(50);
        schedule.again(first, due);
        assert_eq!(next(&schedule), Some(2), "the key is free");
        schedule.done(Some(&"a".into()));
        thread::sleep(Duration::from_millis(60));
        assert_eq!(next(&schedule), Some(1), "before what has not begun");
        schedule.done(Some(&"a".into()));
        assert_eq!(next(&schedule), Some(3));
        schedule.done(None);
        assert_eq!(next(&schedule), None);
    }

    #[test]
    fn the_last_one_to_be_done_again_is_waited_for() {
        let schedule = Schedule::of([job("", 1)]);
        let first = schedule.next().unwrap();
        let due = Instant::now() + Duration::from_millis(30);
        schedule.again(first, due);
        assert_eq!(next(&schedule), Some(1));
        assert!(Instant::now() >= due);
    }

    #[test]
    fn a_close_wakes_those_who_wait() {
        let schedule = Schedule::of([job("a", 1), job("a", 2)]);
        let first = schedule.next();
        assert!(first.is_some());
        thread::scope(|scope| {
            let waiting = scope.spawn(|| next(&schedule));
            thread::sleep(Duration::from_millis(20));
            schedule.close();
            assert_eq!(waiting.join().unwrap(), None);
        });
    }

    #[test]
    fn many_hands_never_share_a_key_and_leave_nothing_undone() {
        let keys = 7;
        let jobs = (0..2000).map(|number| job(&format!("key {}", number % keys), number));
        let schedule = Schedule::of(jobs);
        let in_use: Vec<AtomicUsize> = (0..keys).map(|_| AtomicUsize::new(0)).collect();
        let done = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    while let Some(job) = schedule.next() {
                        let slot = &in_use[(job.work % keys) as usize];
                        assert_eq!(slot.fetch_add(1, Ordering::SeqCst), 0);
                        thread::yield_now();
                        slot.fetch_sub(1, Ordering::SeqCst);
                        done.fetch_add(1, Ordering::SeqCst);
                        schedule.done(job.key.as_ref());
                    }
                });
            }
        });
        assert_eq!(done.into_inner(), 2000);
    }
}
