//! The parent's side of the worker: gives the task, holds the deadlines, and turns a crash or a hang into a finding.

use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use nssight_probes::finding::Notes;
use nssight_probes::secret::{Password, PasswordForm};
use nssight_probes::target::PasswordSource;
use nssight_probes::{Cause, Confidence, Finding, Layer, Observer, Plan, Target};

use crate::lines;
use crate::stop::Stop;
use crate::worker::{self, Message, Passwords, Task};

/// A probe ends by its own deadline; the worker is killed this much later.
const GRACE: Duration = Duration::from_secs(2);
/// Starting the worker, and the time between two layers.
const BETWEEN_LAYERS: Duration = Duration::from_secs(10);
/// A walk with a deadline ends by itself this long before it.
const ORDERLY: Duration = Duration::from_millis(500);
/// A worker that was killed is gone at once, unless the kernel holds it, as it does on a dead network file system.
const BURIAL: Duration = Duration::from_secs(1);
/// A line of the worker; the longest are findings with many certificates.
const LINE_AT_MOST: u64 = 16 * 1024 * 1024;
/// Of what the worker said on standard error, so much is kept.
const STDERR_AT_MOST: u64 = 4096;

/// What may end a walk before it is done, and what it must not be told.
#[derive(Clone, Copy, Default)]
pub(crate) struct Limits<'a> {
    /// When the walk is cut, wherever it is.
    pub(crate) deadline: Option<Instant>,
    /// Ends it from outside.
    pub(crate) stop: Option<&'a Stop>,
    /// Environment variables that no worker gets.
    pub(crate) secret_variables: &'a [String],
}

impl Limits<'_> {
    /// Time left.
    pub(crate) fn left(&self) -> Option<Duration> {
        self.deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()))
    }
}

/// Runs the layers of a plan, all but `config`, in a worker, and tells `observer`. Every layer of the plan gets a
/// finding, whatever happens to the worker.
pub(crate) fn walk(
    target: &Target,
    plan: &Plan,
    passwords: Passwords,
    observer: &mut dyn Observer,
    limits: &Limits<'_>,
) -> Vec<Finding> {
    let mut walk = Supervised { findings: Vec::new(), current: None };
    match start(target, plan, passwords, limits) {
        Ok(worker) => walk.follow(worker, target, plan, observer, limits),
        Err(error) => {
            let first = plan.probes().map(|probe| probe.layer).find(|layer| *layer != Layer::Config);
            let finding = Notes::default()
                .fail(Cause::ToolCrashed, Confidence::Certain, format!("the worker could not be started: {error}"))
                .error(&error)
                .into_finding(first.unwrap_or(Layer::Environment), 0);
            walk.take(finding, observer);
        }
    }
    walk.fill_up(plan, observer);
    walk.findings
}

struct Worker {
    child: Child,
    messages: Receiver<Message>,
    stderr: thread::JoinHandle<String>,
}

fn start(target: &Target, plan: &Plan, passwords: Passwords, limits: &Limits<'_>) -> io::Result<Worker> {
    // The very file that runs now, also when a package manager has just replaced it.
    let mut command = Command::new("/proc/self/exe");
    command.arg0("nssight").arg("worker");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    if let PasswordSource::Env(name) = &target.password {
        command.env_remove(name);
    }
    limits.secret_variables.iter().for_each(|name| {
        command.env_remove(name);
    });
    let mut child = command.spawn()?;
    let (Some(mut stdin), Some(stdout), Some(stderr)) = (child.stdin.take(), child.stdout.take(), child.stderr.take())
    else {
        return Err(io::Error::other("the worker has no pipes"));
    };
    let stderr = thread::spawn(move || {
        let mut text = String::new();
        let mut stderr = stderr;
        let _ = stderr.by_ref().take(STDERR_AT_MOST).read_to_string(&mut text);
        // The rest is read and thrown away, so that the worker never waits for it.
        let _ = io::copy(&mut stderr, &mut io::sink());
        text
    });
    let task = Task {
        target: target.clone(),
        until: plan.until,
        excluded: plan.excluded.clone(),
        // The worker ends a layer in good order, with its cause; only what hangs is cut from here.
        time: limits.left().map(|left| left.saturating_sub(ORDERLY.min(left / 10))),
        password: passwords.database.as_ref().map(announced),
        admin_password: passwords.admin.as_ref().map(announced),
    };
    let secrets = [&passwords.database, &passwords.admin];
    let written = worker::write_task(&mut stdin, &task)
        .and_then(|()| secrets.into_iter().flatten().try_for_each(|password| stdin.write_all(password.expose())));
    drop((stdin, passwords));
    let messages = lines::receive(stdout, LINE_AT_MOST);
    match written {
        Ok(()) => Ok(Worker { child, messages, stderr }),
        // It died before it read its task; how it died is seen below.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Worker { child, messages, stderr }),
        Err(error) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(error)
        }
    }
}

fn announced(password: &Password) -> (PasswordForm, usize) {
    (password.form, password.expose().len())
}

struct Supervised {
    findings: Vec<Finding>,
    current: Option<(Layer, Instant)>,
}

impl Supervised {
    fn take(&mut self, finding: Finding, observer: &mut dyn Observer) {
        observer.found(&finding);
        self.findings.push(finding);
    }

    fn follow(
        &mut self,
        mut worker: Worker,
        target: &Target,
        plan: &Plan,
        observer: &mut dyn Observer,
        limits: &Limits<'_>,
    ) {
        let _stoppable = limits.stop.map(|stop| stop.watch(&worker.child));
        loop {
            let usual = if self.current.is_some() { target.timeout + GRACE } else { BETWEEN_LAYERS };
            let patience = limits.left().map_or(usual, |left| left.min(usual));
            match worker.messages.recv_timeout(patience) {
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
                Ok(Message::Connected(count)) => observer.connected(count),
                Ok(Message::Done) => break,
                Err(RecvTimeoutError::Timeout) => {
                    let _ = worker.child.kill();
                    // One that has said everything and hangs in its farewell took nothing with it.
                    if !self.is_complete(plan) {
                        let finding = if patience < usual { self.cut() } else { self.hung(patience) };
                        self.take(finding, observer);
                    }
                    bury(worker.child);
                    return;
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let _ = worker.child.kill();
                    let status = worker.child.wait();
                    let said = worker.stderr.join().unwrap_or_default();
                    let finding = self.crashed(status.ok(), &said);
                    self.take(finding, observer);
                    return;
                }
            }
        }
        let _ = worker.child.wait();
    }

    /// The layer that the worker had announced, or the one after the last it finished.
    fn place(&self) -> (Layer, u64) {
        match self.current {
            Some((layer, since)) => (layer, u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX)),
            None => {
                let last = self.findings.last().map(|finding| finding.layer);
                let next = Layer::ALL.iter().copied().find(|layer| Some(*layer) > last && *layer != Layer::Config);
                (next.unwrap_or(Layer::Environment), 0)
            }
        }
    }

    fn is_complete(&self, plan: &Plan) -> bool {
        let walked = |layer| layer == Layer::Config || self.findings.iter().any(|finding| finding.layer == layer);
        plan.probes().all(|probe| walked(probe.layer))
    }

    fn cut(&self) -> Finding {
        let (layer, took) = self.place();
        let mut notes = Notes::default();
        notes.add("worker", "killed at the deadline of the target");
        let summary = format!("the deadline of the target passed while the worker was in {layer}");
        notes.fail(Cause::ToolTimeout, Confidence::Certain, summary).into_finding(layer, took)
    }

    fn hung(&self, patience: Duration) -> Finding {
        let (layer, took) = self.place();
        let mut notes = Notes::default();
        notes.add("worker", format!("killed after {:.1} s without a word", patience.as_secs_f64()));
        let summary = format!("the worker did not come back from {layer} within {:.1} s", patience.as_secs_f64());
        notes.fail(Cause::ToolTimeout, Confidence::Certain, summary).into_finding(layer, took)
    }

    fn crashed(&self, status: Option<ExitStatus>, said: &str) -> Finding {
        let (layer, took) = self.place();
        let mut notes = Notes::default();
        let how = match status.map(|status| (status.signal(), status.code())) {
            Some((Some(signal), _)) => format!("was ended by signal {}", signal_name(signal)),
            Some((None, Some(code))) => format!("ended by itself with exit code {code}"),
            _ => "ended in an unknown way".to_owned(),
        };
        notes.add("worker", &how);
        for line in said.lines().filter(|line| !line.trim().is_empty()).take(3) {
            notes.add("worker said", line);
        }
        let summary = format!("the worker {how} in {layer}");
        notes.fail(Cause::ToolCrashed, Confidence::Certain, summary).into_finding(layer, took)
    }

    /// The layers that the worker never came to.
    fn fill_up(&mut self, plan: &Plan, observer: &mut dyn Observer) {
        let because = self.findings.last().map(|finding| finding.layer);
        let walked: Vec<Layer> = self.findings.iter().map(|finding| finding.layer).collect();
        let missing = plan.probes().map(|probe| probe.layer);
        for layer in missing.filter(|layer| *layer != Layer::Config && !walked.contains(layer)) {
            let summary = because.map_or("not walked".to_owned(), |because| format!("{because} did not end"));
            self.take(Finding::skipped(layer, because, summary), observer);
        }
    }
}

/// Waits for a worker that was killed, and leaves the waiting to a thread of its own if that takes long.
fn bury(mut child: Child) {
    let (done, buried) = mpsc::channel();
    thread::spawn(move || {
        let _ = child.wait();
        let _ = done.send(());
    });
    let _ = buried.recv_timeout(BURIAL);
}

/// Number and name, as signal(7) has them.
fn signal_name(number: i32) -> String {
    let name = rustix::process::Signal::from_named_raw(number).map(|signal| format!("{signal:?}"));
    match name {
        Some(name) => format!("{number} ({name})"),
        None => number.to_string(),
    }
}
