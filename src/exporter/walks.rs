//! Schedules checks: at most one per cache period and target, never two at once on one bridge, and a limited number in
//! total. Simultaneous scrapes of a target share one check.

use std::collections::BTreeMap;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use nssight_probes::report::Subject;
use nssight_runner::stop::Stop;
use nssight_runner::targets::{self, CheckTarget, Told, Tries, Waiting};
use nssight_runner::turns::{Job, Turns};
use tokio::sync::watch;

use super::figures::{Counted, Figures, Origin};
use super::log;
use super::store::Store;
use super::walked::Walked;

/// The answer to a scrape.
pub(super) struct Answer {
    pub(super) origin: Origin,
    pub(super) result: Option<Arc<Walked>>,
}

/// The source of a scrape's result.
enum ScrapeSource {
    Fresh(Arc<Walked>),
    Flight(watch::Receiver<()>, Origin),
}

/// A check that scrapes may wait for.
struct Flight {
    /// Closed when this value is dropped, for any reason.
    _over: watch::Sender<()>,
    /// Counted first as waiting, and then as running.
    counted: Counted,
}

struct Entry {
    target: Arc<CheckTarget>,
    last: Option<Arc<Walked>>,
    /// The last check that was started; the channel is closed when the check ends.
    flight: Option<watch::Receiver<()>>,
}

/// All targets, with their last results.
pub(super) struct Walks {
    /// A result is served for this long, and the target is not checked again in this time.
    cache: Duration,
    entries: Mutex<BTreeMap<String, Entry>>,
    turns: Turns<Waiting<Flight>>,
    store: Option<Store>,
    figures: Arc<Figures>,
    /// Set when the exporter should end.
    closing: watch::Receiver<bool>,
    /// Ends the running checks.
    stop: Stop,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walks {
    /// Starts `jobs` threads that run checks.
    pub(super) fn new(
        cache: Duration,
        jobs: u32,
        store: Option<Store>,
        figures: Arc<Figures>,
        closing: watch::Receiver<bool>,
    ) -> io::Result<Arc<Self>> {
        let (entries, turns, stop) = (Mutex::default(), Turns::open(), Stop::default());
        let walks = Arc::new(Self { cache, entries, turns, store, figures, closing, stop });
        for _ in 0..jobs {
            let walks = walks.clone();
            thread::Builder::new().name("walks".to_owned()).spawn(move || walks.work())?;
        }
        Ok(walks)
    }

    /// The loop of one such thread. A fault of nssight itself ends only one check.
    fn work(&self) {
        let work = || targets::work(&self.turns, &self.stop, None, self);
        while catch_unwind(AssertUnwindSafe(work)).is_err() {
            log::error(format_args!("a check ended with an internal error of nssight"));
        }
    }

    /// Takes over the targets of a file. The results of a target of the same name are kept; a running check continues.
    pub(super) fn set_targets(&self, targets: Vec<CheckTarget>) {
        // Files are read before this takes a lock that scrapes wait for.
        let read = |target: &CheckTarget| {
            let is_new = !lock(&self.entries).contains_key(&target.name);
            self.store.as_ref().filter(|_| is_new).and_then(|store| store.read(&target.name)).map(Arc::new)
        };
        let kept: Vec<Option<Arc<Walked>>> = targets.iter().map(read).collect();
        let mut entries = lock(&self.entries);
        let mut before = std::mem::take(&mut *entries);
        for (target, last) in targets.into_iter().zip(kept) {
            let entry = match before.remove(&target.name) {
                Some(known) => Entry { target: Arc::new(target), ..known },
                None => Entry { target: Arc::new(target), last, flight: None },
            };
            entries.insert(entry.target.name.clone(), entry);
        }
        self.figures.set_targets(entries.iter().map(|(name, entry)| (name.as_str(), entry.last.as_deref())));
    }

    /// All targets, with the last result of each.
    pub(super) fn overview(&self) -> Vec<(Arc<CheckTarget>, Option<Arc<Walked>>)> {
        lock(&self.entries).values().map(|entry| (entry.target.clone(), entry.last.clone())).collect()
    }

    /// The last result; `None` for a target that is not in the file.
    pub(super) fn last(&self, name: &str) -> Option<Option<Arc<Walked>>> {
        lock(&self.entries).get(name).map(|entry| entry.last.clone())
    }

    /// A result no older than the cache allows, from a new check if necessary; `None` for a target that is not in the file.
    pub(super) async fn probe(self: &Arc<Self>, name: &str, patience: Duration) -> Option<Answer> {
        let (mut flight, origin) = match self.board(name)? {
            ScrapeSource::Fresh(result) => return Some(Answer { origin: Origin::Cached, result: Some(result) }),
            ScrapeSource::Flight(flight, origin) => (flight, origin),
        };
        let mut closing = self.closing.clone();
        let arrived = tokio::select! {
            // No value is ever sent: the channel closes when the check ends.
            _ = flight.changed() => true,
            () = tokio::time::sleep(patience) => false,
            _ = closing.wait_for(|closing| *closing) => false,
        };
        let result = self.last(name)?;
        Some(Answer { origin: if arrived { origin } else { Origin::Stale }, result })
    }

    /// A fresh result, or the check that will produce one.
    fn board(self: &Arc<Self>, name: &str) -> Option<ScrapeSource> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(name)?;
        if let Some(flight) = entry.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(ScrapeSource::Flight(flight.clone(), Origin::Shared));
        }
        if let Some(last) = entry.last.as_ref().filter(|last| last.age() < self.cache) {
            return Some(ScrapeSource::Fresh(last.clone()));
        }
        let (over, flight) = watch::channel(());
        entry.flight = Some(flight.clone());
        let (walks, target) = (self.clone(), entry.target.clone());
        let flight_of = Flight { _over: over, counted: self.figures.queue() };
        // The bridge may be named in a configuration on a file system that does not respond, so another thread reads it.
        tokio::task::spawn_blocking(move || {
            let key = targets::queue_key(&target).map(Arc::from);
            walks.turns.push(Job { key, work: (Tries::of(target), flight_of) });
        });
        Some(ScrapeSource::Flight(flight, Origin::Walked))
    }

    fn record(&self, subject: Subject) {
        let name = subject.name.clone();
        let before = self.last(&name).flatten();
        let walked = Arc::new(Walked::now(subject, before.as_deref()));
        self.figures.walked(&walked);
        match lock(&self.entries).get_mut(&name) {
            Some(entry) => entry.last = Some(walked.clone()),
            // The target was removed from the file meanwhile.
            None => return,
        }
        self.figures.walked_last(&walked);
        let now = walked.verdict();
        let before = before.map(|before| before.verdict());
        if before.as_ref() == Some(&now) {
            log::debug(format_args!("{name}: {now}, as before"));
        } else {
            log::verdict(&name, &now, before.as_deref());
        }
        if let Some(store) = &self.store {
            store.write(&walked);
        }
    }

    /// Once `closing` is set: gives the running checks some time, and then ends them. A check that is cut short costs its bridge a client
    /// just as a complete one does, and produces no result.
    pub(super) async fn finish(self: &Arc<Self>, grace: Duration, burial: Duration) {
        self.turns.close();
        if !self.is_idle_within(grace).await {
            self.stop.stop();
            self.is_idle_within(burial).await;
        }
    }

    async fn is_idle_within(self: &Arc<Self>, time: Duration) -> bool {
        let walks = self.clone();
        tokio::task::spawn_blocking(move || walks.turns.is_idle_within(time)).await.unwrap_or(true)
    }
}

impl Told<Flight> for Walks {
    fn begins(&self, flight: &mut Flight) {
        flight.counted = self.figures.walk();
    }

    fn done(&self, _flight: Flight, subject: Subject) -> bool {
        self.record(subject);
        true
    }
}
