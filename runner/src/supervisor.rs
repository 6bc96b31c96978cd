//! The parent's side of the worker: sends the task, enforces the deadlines, and turns a crash or a hang into a finding.

use std::os::unix::process::ExitStatusExt;
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::verdict::judge_last;
use nssight_diagnosis::{Finding, Layer, Notes, Status};
use nssight_probes::resources;
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::target::PasswordSource;
use nssight_probes::{Observer, Plan, Target};

use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};

use crate::crew::{Spare, Worker};
use crate::passwords::Passwords;
use crate::stop::Stop;
use crate::worker::{Message, Task};

/// A probe ends at its own deadline; the worker is killed this much later.
const GRACE: Duration = Duration::from_secs(2);
/// Signals with which people and service managers end a process (signal(7)).
const ASKS_TO_END: [i32; 4] = [SIGHUP, SIGINT, SIGQUIT, SIGTERM];
/// Starting the worker, and the time between two layers.
const BETWEEN_LAYERS: Duration = Duration::from_secs(10);
/// A check with a deadline ends on its own this long before it.
const ORDERLY: Duration = Duration::from_millis(500);
/// How often a slow layer is reported.
const TICK: Duration = Duration::from_secs(1);
/// A layer is ended this much after its deadline: on a busy host its last message is still under way then.
const LAST_WORD: Duration = Duration::from_millis(300);

/// What may end a check before it is done, and what must be kept from its worker.
#[derive(Clone, Copy, Default)]
pub struct Limits<'a> {
    /// When the check is ended, wherever it is.
    pub deadline: Option<Instant>,
    /// Ends the check from outside.
    pub stop: Option<&'a Stop>,
    /// Environment variables that no worker gets.
    pub secret_variables: &'a [String],
}

impl Limits<'_> {
    /// Whether it was ended from outside.
    pub fn is_stopped(&self) -> bool {
        self.stop.is_some_and(Stop::is_stopped)
    }

    /// Time left.
    pub fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Runs the layers of a plan that have no finding yet in a worker, and reports to `observer`. Every layer of the plan gets a
/// finding, whatever happens to the worker. With a `spare`, a worker without problems is kept there for the next check.
pub fn walk(
    target: &Target,
    plan: &Plan,
    findings: Vec<Finding>,
    passwords: Passwords,
    observer: &mut dyn Observer,
    limits: &Limits<'_>,
    mut spare: Option<&mut Spare>,
) -> Vec<Finding> {
    let layers = plan.probes(Some(target)).map(|probe| probe.layer).collect();
    let mut walk = Supervised { layers, findings, current: None };
    let keep = spare.is_some();
    if let Some(mut worker) = spare.as_mut().and_then(|spare| spare.take()) {
        // It may have died since; then it sends nothing, and another worker does the check.
        let task = task(&worker, target, plan, &passwords, limits, keep);
        if worker.give(&task, passwords.again(), keep).is_ok() {
            let end = walk.follow(&mut worker, target, observer, limits);
            if end != End::Silent {
                walk.keep(worker, end, spare);
                walk.fill_up(observer);
                return walk.findings;
            }
        }
    }
    let hidden = match &target.password {
        PasswordSource::Env(name) => Some(name),
        _ => None,
    };
    let started = Worker::start(limits.secret_variables.iter().chain(hidden), keep).and_then(|mut worker| {
        let task = task(&worker, target, plan, &passwords, limits, keep);
        worker.give(&task, passwords, keep)?;
        Ok(worker)
    });
    match started {
        Ok(mut worker) => {
            let end = walk.follow(&mut worker, target, observer, limits);
            if end == End::Silent {
                let finding = walk.crashed(&mut worker);
                walk.take(finding, observer);
            }
            walk.keep(worker, end, spare);
        }
        Err(error) => {
            let (layer, _) = walk.place();
            let summary = format!("the worker could not be started: {error}");
            let outcome = match resources::missing(&error) {
                Some(what) => Notes::default().with(what).fail(signal::HOST_RESOURCES, summary),
                None => {
                    let notes = Notes::default().with(fact::ToolState::WorkerNotStarted);
                    notes.fail(signal::TOOL_CRASHED, summary)
                }
            };
            walk.take(outcome.error(&error).into_finding(layer, 0), observer);
        }
    }
    walk.fill_up(observer);
    walk.findings
}

fn task(worker: &Worker, target: &Target, plan: &Plan, passwords: &Passwords, limits: &Limits<'_>, keep: bool) -> Task {
    Task {
        target: target.clone(),
        until: plan.until,
        excluded: plan.excluded.clone(),
        copy_to: worker.place(),
        // The worker ends a layer in order, with its cause; only what hangs is ended from here.
        time: limits.left().map(|left| left.saturating_sub(ORDERLY.min(left / 10))),
        is_kept: keep,
        password: passwords.database.as_ref().map(announced),
        admin_password: passwords.admin.as_ref().map(announced),
    }
}

fn announced(password: &Password) -> (PasswordForm, usize) {
    (password.form, password.expose().len())
}

/// How following a worker ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its check is over, and it waits for another.
    Ready,
    /// It cannot be used any more.
    Gone,
    /// It never sent a message.
    Silent,
}

struct Supervised {
    /// The layers of the target, in order.
    layers: Vec<Layer>,
    findings: Vec<Finding>,
    current: Option<(Layer, Instant)>,
}

impl Supervised {
    /// A finding is judged by everything known by now: the worker did not see the configuration's.
    fn take(&mut self, finding: Finding, observer: &mut dyn Observer) {
        self.findings.push(finding);
        judge_last(&mut self.findings);
        self.findings.last().into_iter().for_each(|finding| observer.found(finding));
    }

    fn follow(
        &mut self,
        worker: &mut Worker,
        target: &Target,
        observer: &mut dyn Observer,
        limits: &Limits<'_>,
    ) -> End {
        let _stoppable = limits.stop.map(|stop| stop.watch(worker.child()));
        let mut silent = true;
        loop {
            let usual = if self.current.is_some() { target.timeout + GRACE } else { BETWEEN_LAYERS };
            let patience = limits.left().map_or(usual, |left| (left + LAST_WORD).min(usual));
            let since = Instant::now();
            let heard = loop {
                let left = patience.saturating_sub(since.elapsed());
                match worker.messages.recv_timeout(left.min(TICK)) {
                    Err(RecvTimeoutError::Timeout) if since.elapsed() < patience => {
                        if let Some((layer, entered)) = self.current {
                            observer.waiting(layer, entered.elapsed(), target.timeout);
                        }
                    }
                    heard => break heard,
                }
            };
            silent &= heard.is_err();
            match heard {
                Ok(Message::Entering(layer)) => {
                    self.current = Some((layer, Instant::now()));
                    observer.entering(layer);
                }
                Ok(Message::Found(finding)) => {
                    self.current = None;
                    self.take(*finding, observer);
                }
                Ok(Message::Wire(event)) => observer.seen(&event),
                Ok(Message::Met(certificate)) => observer.met(&certificate),
                Ok(Message::Listed(list)) => observer.listed(&list),
                Ok(Message::Connected(count)) => observer.connected(count),
                Ok(Message::Done { reusable }) => return if reusable { End::Ready } else { End::Gone },
                Err(RecvTimeoutError::Timeout) => {
                    worker.kill();
                    // A worker that has sent everything and hangs while it ends has lost nothing.
                    if !self.is_complete() {
                        let finding = if patience < usual { self.cut() } else { self.hung(patience) };
                        self.take(finding, observer);
                    }
                    return End::Gone;
                }
                Err(RecvTimeoutError::Disconnected) if limits.is_stopped() => {
                    let finding = self.interrupted(None);
                    self.take(finding, observer);
                    return End::Gone;
                }
                Err(RecvTimeoutError::Disconnected) if silent => return End::Silent,
                Err(RecvTimeoutError::Disconnected) => {
                    let finding = self.crashed(worker);
                    self.take(finding, observer);
                    return End::Gone;
                }
            }
        }
    }

    /// Keeps a worker for the next check if it is ready and nothing failed in this one: what a fault may have left behind in
    /// NSS must not affect another target's verdict.
    fn keep(&self, worker: Worker, end: End, spare: Option<&mut Spare>) {
        let well = end == End::Ready && self.findings.iter().all(|finding| finding.status != Status::Fail);
        if let Some(spare) = spare.filter(|_| well) {
            spare.put(worker);
        }
    }

    /// The layer that the worker had announced, or the one after the last it finished.
    fn place(&self) -> (Layer, u64) {
        match self.current {
            Some((layer, since)) => (layer, u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)),
            None => {
                let last = self.findings.last().map(|finding| finding.layer);
                let next = self.layers.iter().copied().find(|layer| Some(*layer) > last);
                (next.unwrap_or(Layer::Environment), 0)
            }
        }
    }

    fn is_complete(&self) -> bool {
        self.layers.iter().all(|layer| self.findings.iter().any(|finding| finding.layer == *layer))
    }

    fn cut(&self) -> Finding {
        let (layer, took) = self.place();
        let notes = Notes::default().with(fact::ToolState::DeadlinePassed);
        let summary = format!("the deadline of the target passed while the worker was in {layer}");
        notes.fail(signal::TOOL_TIMEOUT, summary).into_finding(layer, took)
    }

    fn hung(&self, patience: Duration) -> Finding {
        let (layer, took) = self.place();
        let how = format!("killed after {:.1} s without a message", patience.as_secs_f64());
        let notes = Notes::default().with(fact::ToolState::WorkerSilent).with(fact::TOOL_ENDED_BY.text(how));
        let summary = format!("the worker did not return from {layer} within {:.1} s", patience.as_secs_f64());
        notes.fail(signal::TOOL_TIMEOUT, summary).into_finding(layer, took)
    }

    fn crashed(&self, worker: &mut Worker) -> Finding {
        let (layer, took) = self.place();
        let (status, said) = worker.last_words();
        if let Some(number) = status.and_then(|status| status.signal()).filter(|number| ASKS_TO_END.contains(number)) {
            return self.interrupted(Some(number));
        }
        let how = match status.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => format!("was terminated by signal {}", signal_name(signal)),
            Some((None, Some(code))) => format!("exited with code {code}"),
            _ => "ended in an unknown way".to_owned(),
        };
        let mut notes = Notes::default().with(fact::ToolState::WorkerCrashed).with(fact::TOOL_ENDED_BY.text(&how));
        for line in said.lines().filter(|line| !line.trim().is_empty()).take(3) {
            notes.put(fact::TOOL_SAID.text(line));
        }
        let summary = format!("the worker {how} in {layer}");
        notes.fail(signal::TOOL_CRASHED, summary).into_finding(layer, took)
    }

    /// The check was ended from outside: the whole of nssight, or the worker by a signal.
    fn interrupted(&self, number: Option<i32>) -> Finding {
        let (layer, took) = self.place();
        let mut notes = Notes::default().with(fact::ToolState::Interrupted);
        let mut summary = format!("the check was interrupted in {layer}");
        if let Some(number) = number {
            let how = format!("was terminated by signal {}", signal_name(number));
            summary += &format!(": the worker {how}");
            notes.put(fact::TOOL_ENDED_BY.text(how));
        }
        notes.fail(signal::INTERRUPTED, summary).into_finding(layer, took)
    }

    /// The layers that the worker never reached.
    fn fill_up(&mut self, observer: &mut dyn Observer) {
        let because = self.findings.last().map(|finding| finding.layer);
        let walked: Vec<Layer> = self.findings.iter().map(|finding| finding.layer).collect();
        let missing: Vec<Layer> = self.layers.iter().copied().filter(|layer| !walked.contains(layer)).collect();
        for layer in missing {
            let summary = because.map_or("not checked".to_owned(), |because| format!("{because} did not finish"));
            self.take(Finding::skipped(layer, because, summary), observer);
        }
    }
}

/// Number and name, as in signal(7).
fn signal_name(number: i32) -> String {
    let name = rustix::process::Signal::from_named_raw(number).map(|signal| format!("{signal:?}"));
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}
