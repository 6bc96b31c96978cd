//! When a target is walked: at most once in a while, never twice at once, never two on one bridge, and only so many in all.
//! Whoever asks for the same target at the same time gets the same result.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nssight_probes::report::Subject;
use nssight_runner::stop::Stop;
use nssight_runner::targets::{self, CheckTarget};
use tokio::sync::{Mutex as Turn, Semaphore, watch};

use super::figures::Figures;
use super::log;
use super::store::Store;
use super::walked::Walked;

/// How a scrape came by its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Origin {
    /// By a walk that it began.
    Walked,
    /// By a walk that another scrape had begun.
    Shared,
    /// It was there and young enough.
    Cached,
    /// The walk takes longer than the scrape waits; this is the result before it, if there is one.
    Stale,
}

impl Origin {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Walked => "walked",
            Self::Shared => "shared",
            Self::Cached => "cached",
            Self::Stale => "stale",
        }
    }
}

/// What a scrape gets.
pub(super) struct Answer {
    pub(super) origin: Origin,
    pub(super) result: Option<Arc<Walked>>,
}

/// What there is for a scrape when it comes.
enum Boarding {
    Fresh(Arc<Walked>),
    Flight(watch::Receiver<()>, Origin),
}

struct Entry {
    target: Arc<CheckTarget>,
    last: Option<Arc<Walked>>,
    /// The last walk that was begun; the channel is closed once it is over.
    flight: Option<watch::Receiver<()>>,
}

/// All targets, and what is known of them.
pub(super) struct Walks {
    /// A result serves for so long, and so long a target has peace.
    cache: Duration,
    jobs: Arc<Semaphore>,
    all_jobs: u32,
    entries: Mutex<BTreeMap<String, Entry>>,
    /// Whose turn it is on a bridge.
    bridges: Mutex<HashMap<String, Arc<Turn<()>>>>,
    store: Option<Store>,
    figures: Arc<Figures>,
    /// Set when the exporter is to end.
    closing: watch::Receiver<bool>,
    /// Ends the walks under way.
    stop: Stop,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Walks {
    pub(super) fn new(
        cache: Duration,
        jobs: u32,
        store: Option<Store>,
        figures: Arc<Figures>,
        closing: watch::Receiver<bool>,
    ) -> Arc<Self> {
        let (entries, bridges, stop) = (Mutex::default(), Mutex::default(), Stop::default());
        let semaphore = Arc::new(Semaphore::new(jobs as usize));
        Arc::new(Self { cache, jobs: semaphore, all_jobs: jobs, entries, bridges, store, figures, closing, stop })
    }

    /// Takes over the targets of a file. What is known of a target of the same name stays; a walk that is under way ends as it
    /// would have.
    pub(super) fn set_targets(&self, targets: Vec<CheckTarget>) {
        let mut entries = lock(&self.entries);
        let mut before = std::mem::take(&mut *entries);
        for target in targets {
            let entry = match before.remove(&target.name) {
                Some(known) => Entry { target: Arc::new(target), ..known },
                None => {
                    let last = self.store.as_ref().and_then(|store| store.read(&target.name)).map(Arc::new);
                    Entry { target: Arc::new(target), last, flight: None }
                }
            };
            entries.insert(entry.target.name.clone(), entry);
        }
        self.figures.set_targets(entries.iter().map(|(name, entry)| (name.as_str(), entry.last.as_deref())));
        drop(entries);
        // Whoever has or awaits a turn holds one more reference.
        lock(&self.bridges).retain(|_, turn| Arc::strong_count(turn) > 1);
    }

    /// Names, and what is known of each.
    pub(super) fn overview(&self) -> Vec<(Arc<CheckTarget>, Option<Arc<Walked>>)> {
        lock(&self.entries).values().map(|entry| (entry.target.clone(), entry.last.clone())).collect()
    }

    /// The last result; `None` for a target that is not in the file.
    pub(super) fn last(&self, name: &str) -> Option<Option<Arc<Walked>>> {
        lock(&self.entries).get(name).map(|entry| entry.last.clone())
    }

    /// A result no older than the cache allows, by a walk if need be; `None` for a target that is not in the file.
    pub(super) async fn probe(self: &Arc<Self>, name: &str, patience: Duration) -> Option<Answer> {
        let (mut flight, origin) = match self.board(name)? {
            Boarding::Fresh(result) => return Some(Answer { origin: Origin::Cached, result: Some(result) }),
            Boarding::Flight(flight, origin) => (flight, origin),
        };
        let mut closing = self.closing.clone();
        let arrived = tokio::select! {
            // Nothing is ever sent: it ends when the walk does.
            _ = flight.changed() => true,
            () = tokio::time::sleep(patience) => false,
            _ = closing.wait_for(|closing| *closing) => false,
        };
        let result = self.last(name)?;
        Some(Answer { origin: if arrived { origin } else { Origin::Stale }, result })
    }

    /// A fresh result, or the walk that will give one.
    fn board(self: &Arc<Self>, name: &str) -> Option<Boarding> {
        let mut entries = lock(&self.entries);
        let entry = entries.get_mut(name)?;
        if let Some(flight) = entry.flight.as_ref().filter(|flight| flight.has_changed().is_ok()) {
            return Some(Boarding::Flight(flight.clone(), Origin::Shared));
        }
        if let Some(last) = entry.last.as_ref().filter(|last| last.age() < self.cache) {
            return Some(Boarding::Fresh(last.clone()));
        }
        let (over, flight) = watch::channel(());
        entry.flight = Some(flight.clone());
        let (walks, target) = (self.clone(), entry.target.clone());
        tokio::spawn(async move {
            // Closed when this ends, however it ends.
            let _over = over;
            walks.walk(&target).await;
        });
        Some(Boarding::Flight(flight, Origin::Walked))
    }

    async fn walk(self: &Arc<Self>, target: &Arc<CheckTarget>) {
        let queued = self.figures.queue();
        // First the bridge, then a job: whoever waits for a bridge keeps no job from others.
        // Its name may stand in a configuration on a file system that does not answer, so it is read elsewhere.
        let asked = target.clone();
        let bridge = tokio::task::spawn_blocking(move || targets::queue_key(&asked)).await;
        let turn = match bridge.ok().flatten() {
            Some(bridge) => {
                let turn = lock(&self.bridges).entry(bridge).or_default().clone();
                Some(turn.lock_owned().await)
            }
            None => None,
        };
        let Ok(job) = self.jobs.clone().acquire_owned().await else { return };
        drop(queued);
        if *self.closing.borrow() {
            return;
        }
        let (walks, target) = (self.clone(), target.clone());
        // Held where the walk is, so that neither is given away before it is over.
        let walked = tokio::task::spawn_blocking(move || {
            let _held = (turn, job);
            let _counted = walks.figures.walk();
            if let Some(subject) = targets::walk_unless_stopped(&target, &walks.stop) {
                walks.record(subject);
            }
        });
        if let Err(error) = walked.await {
            log::line(format_args!("a walk ended in a fault of nssight itself: {error}"));
        }
    }

    fn record(&self, subject: Subject) {
        let name = subject.name.clone();
        let before = self.last(&name).flatten();
        let walked = Arc::new(Walked::now(subject, before.as_deref()));
        self.figures.walked(&walked);
        match lock(&self.entries).get_mut(&name) {
            Some(entry) => entry.last = Some(walked.clone()),
            // It has left the file meanwhile.
            None => return,
        }
        self.figures.walked_last(&walked);
        let now = walked.verdict();
        match before.map(|before| before.verdict()) {
            Some(verdict) if verdict == now => {}
            Some(verdict) => log::line(format_args!("{name}: {now}, was {verdict}")),
            None => log::line(format_args!("{name}: {now}")),
        }
        if let Some(store) = &self.store {
            store.write(&walked);
        }
    }

    /// Once `closing` is set: gives the walks under way some time, and then ends them. A walk that is cut costs its bridge a
    /// client as one that ends does, and gives nothing for it.
    pub(super) async fn finish(&self, grace: Duration, burial: Duration) {
        let all = self.jobs.clone();
        // All jobs together are free when no walk has one.
        let count = self.all_jobs;
        let idle = || all.acquire_many(count);
        if tokio::time::timeout(grace, idle()).await.is_err() {
            self.stop.stop();
            let _ = tokio::time::timeout(burial, idle()).await;
        }
    }
}
