//! The process that tests one model: it runs the steps in the processes or threads of the model, and writes a line before and after each
//! step. A line is one write of less than PIPE_BUF bytes, so that lines of several processes stay whole.

use std::fs::File;
use std::io::{self, Read};
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nssight_diagnosis::signal::Family;
use nssight_diagnosis::{Finding, Layer, Status};
use nssight_nss::process::TestProcess;
use nssight_nss::{Certificate, InitOptions, Login, Nss, NssError, PrivateKey, Slot, library};
use nssight_probes::walk::{Opened, Own};
use nssight_probes::wire::WireEvent;
use nssight_probes::{Observer, Plan, SeenCertificate, Settings, Target, Walk};
use nssight_runner::worker;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use zeroize::Zeroizing;

use super::context;
use super::model::{Ending, Line, Task, Trouble, Who};
use crate::exit;
use crate::models::{Model, Step};

/// Threads that keep NSS busy while the parent forks.
const BUSY_THREADS: usize = 3;

/// The hidden subcommand.
pub(crate) fn run() -> ExitCode {
    worker::protect();
    let process = match TestProcess::this_process() {
        Ok(process) => process,
        Err(error) => return exit::usage(format!("only nssight itself tests a model: {error}")),
    };
    let received = receive();
    match received {
        Ok((task, password)) => Trial { process, task, password }.run(),
        Err(error) => return exit::usage(format!("only nssight itself tests a model: {error}")),
    }
    ExitCode::SUCCESS
}

fn receive() -> io::Result<(Task, Option<Zeroizing<Vec<u8>>>)> {
    let mut input = File::from(rustix::stdio::stdin().try_clone_to_owned()?);
    let task: Task = worker::read_task(&mut input)?;
    let password = match task.password {
        Some(length) if length <= worker::PASSWORD_AT_MOST => {
            let mut bytes = Zeroizing::new(vec![0; length]);
            input.read_exact(&mut bytes)?;
            Some(bytes)
        }
        Some(_) => return Err(io::Error::other("the password is too long")),
        None => None,
    };
    Ok((task, password))
}

fn say(line: &Line) {
    if let Ok(mut text) = serde_json::to_vec(line) {
        text.push(b'\n');
        // Not through std's stdout: another thread may hold its lock at the moment of a fork.
        let _ = rustix::io::write(rustix::stdio::stdout(), &text);
    }
}

struct Trial {
    /// This process may be a fork.
    process: TestProcess,
    task: Task,
    password: Option<Zeroizing<Vec<u8>>>,
}

impl Trial {
    fn run(&self) {
        match self.task.model {
            Model::FreshProcess => drop(self.whole(&Who::Parent)),
            Model::SameThread => {
                let nss = self.whole(&Who::Again);
                self.used(nss.as_ref(), &Who::Parent);
            }
            Model::AnotherThread => self.another_thread(),
            Model::ForkBeforeInit => self.fork(&Who::Again, |trial| drop(trial.whole(&Who::Child(0)))),
            Model::ForkAfterInit => self.fork_after(false, |trial| trial.inherited(&Who::Child(0))),
            Model::ForkAfterLogin => self.fork_after(true, |trial| trial.inherited(&Who::Child(0))),
            Model::ForkShutdownInit => self.fork_after_shutdown(),
            Model::ForkRestartModules => self.fork_after(true, |trial| {
                // The step that the child needs first; its result counts as the child's initialisation.
                trial.step(&Who::Child(0), Step::Init, || library::restart_modules(true).map(|()| None));
                trial.inherited(&Who::Child(0));
            }),
            Model::ForkFromThread => self.fork_from_thread(),
            Model::ForkWhileBusy => self.fork_while_busy(),
            Model::DoubleTls => self.double_tls(),
        }
        say(&Line::Over);
    }

    fn patience(&self) -> Duration {
        Duration::from_millis(self.task.patience_ms)
    }

    fn step(&self, who: &Who, step: Step, work: impl FnOnce() -> Result<Option<String>, NssError>) -> bool {
        say(&Line::Begin(who.clone(), step));
        let (error, random) = match work() {
            Ok(random) => (None, random),
            Err(error) => (Some(trouble(&error)), None),
        };
        let good = error.is_none();
        say(&Line::Done { who: who.clone(), step, error, random });
        good
    }

    fn init(&self, who: &Who) -> Option<Nss> {
        let mut opened = None;
        self.step(who, Step::Init, || {
            opened = Some(Nss::open(&InitOptions::read_only(&self.task.database))?);
            Ok(None)
        });
        opened
    }

    /// Initialises NSS and runs all steps.
    fn whole(&self, who: &Who) -> Option<Nss> {
        let nss = self.init(who);
        self.used(nss.as_ref(), who);
        nss
    }

    /// The steps of a thread or a child that inherits an initialised NSS.
    fn inherited(&self, who: &Who) {
        self.used(Nss::inherited().ok().as_ref(), who);
    }

    /// All steps but the first. Random bytes are drawn first, before any step that may draw some itself: only then can parent and child be
    /// compared.
    fn used(&self, nss: Option<&Nss>, who: &Who) {
        say(&Line::Context(who.clone(), context::of_this_process()));
        let Some(nss) = nss else { return };
        self.random(who);
        self.login(nss, who);
        let Some(nickname) = &self.task.nickname else { return };
        let mut certificate = None;
        self.step(who, Step::FindCertificate, || {
            certificate = Some(Certificate::find(nickname, nss)?);
            Ok(None)
        });
        let Some(certificate) = certificate else { return };
        let mut key = None;
        self.step(who, Step::FindKey, || {
            key = Some(PrivateKey::find(&certificate)?);
            Ok(None)
        });
        let Some(key) = key else { return };
        self.step(who, Step::Sign, || sign(&key, &certificate));
        if let Some(target) = self.task.network.as_ref().filter(|_| self.connects(who)) {
            network(nss, who, target, certificate, key);
        }
    }

    /// One connection per model: that of the process or thread that the model tests.
    fn connects(&self, who: &Who) -> bool {
        self.task.model != Model::ForkWhileBusy && super::matrix::subject(self.task.model, who)
    }

    fn random(&self, who: &Who) -> bool {
        self.step(who, Step::Random, || {
            let mut bytes = [0; 16];
            library::random(&mut bytes)?;
            Ok(Some(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
        })
    }

    fn login(&self, nss: &Nss, who: &Who) -> bool {
        self.step(who, Step::Login, || {
            let slot = Slot::internal_key(nss)?;
            if !slot.needs_login() {
                return Ok(None);
            }
            match slot.authenticate(self.password.as_ref().map(|password| password.as_slice())).0 {
                Login::Done => Ok(None),
                Login::Wrong | Login::NotGiven => {
                    Err(NssError::of(nssight_nss::Step::Unlock, nssight_nss::ErrorCode::SEC_ERROR_BAD_PASSWORD))
                }
                Login::Failed(error) => Err(error),
            }
        })
    }

    fn another_thread(&self) {
        let Some(nss) = self.init(&Who::Parent) else { return };
        thread::scope(|scope| {
            scope.spawn(|| self.inherited(&Who::Thread));
        });
        self.used(Some(&nss), &Who::Again);
    }

    /// Forks before anything else; the parent runs all steps afterwards.
    fn fork(&self, parent: &Who, child: impl FnOnce(&Self)) {
        self.with_child(0, || child(self), || drop(self.whole(parent)));
    }

    fn fork_after(&self, login: bool, child: impl FnOnce(&Self)) {
        let Some(nss) = self.init(&Who::Parent) else { return };
        if login {
            self.login(&nss, &Who::Parent);
        }
        self.with_child(0, || child(self), || self.used(Some(&nss), &Who::Again));
    }

    fn fork_after_shutdown(&self) {
        let Some(nss) = self.init(&Who::Parent) else { return };
        self.login(&nss, &Who::Parent);
        let mut held = Some(nss);
        let inherited = &mut held;
        let pid = self.process.in_child(|| {
            let who = Who::Child(0);
            let mut opened = None;
            self.step(&who, Step::Init, || {
                // The last owner shuts NSS down.
                drop(inherited.take());
                opened = Some(Nss::open(&InitOptions::read_only(&self.task.database))?);
                Ok(None)
            });
            self.used(opened.as_ref(), &who);
            0
        });
        self.wait_all(pid.map(|pid| vec![(0, pid)]).unwrap_or_default());
        self.used(held.as_ref(), &Who::Again);
    }

    fn fork_from_thread(&self) {
        let Some(nss) = self.init(&Who::Parent) else { return };
        thread::scope(|scope| {
            scope.spawn(|| self.with_child(0, || self.inherited(&Who::Child(0)), || ()));
        });
        self.used(Some(&nss), &Who::Again);
    }

    /// Children forked while other threads draw random bytes, look up objects and sign: whether they succeed is a race.
    fn fork_while_busy(&self) {
        let Some(nss) = self.init(&Who::Parent) else { return };
        self.login(&nss, &Who::Parent);
        let (stop, rounds) = (AtomicBool::new(false), AtomicUsize::new(0));
        thread::scope(|scope| {
            for _ in 0..BUSY_THREADS {
                scope.spawn(|| self.busy(&stop, &rounds));
            }
            let mut children = Vec::new();
            for number in 0..self.task.repeats {
                // Each child is forked at a different moment of that work: in a burst, all would be forked at the same one.
                let seen = rounds.load(Ordering::SeqCst);
                let patience = Instant::now() + self.patience();
                while rounds.load(Ordering::SeqCst) == seen && Instant::now() < patience {
                    thread::yield_now();
                }
                let forked = self.process.in_child(|| {
                    self.inherited(&Who::Child(number));
                    0
                });
                children.extend(forked.map(|pid| (number, pid)));
            }
            self.wait_all(children);
            stop.store(true, Ordering::SeqCst);
        });
        self.used(Some(&nss), &Who::Again);
    }

    fn busy(&self, stop: &AtomicBool, rounds: &AtomicUsize) {
        let Ok(nss) = Nss::inherited() else { return };
        let mut bytes = [0; 64];
        let done = || rounds.fetch_add(1, Ordering::SeqCst);
        while !stop.load(Ordering::SeqCst) {
            let _ = library::random(&mut bytes);
            done();
            let found = self.task.nickname.as_ref().and_then(|nickname| Certificate::find(nickname, &nss).ok());
            done();
            if let Some(certificate) = found
                && let Ok(key) = PrivateKey::find(&certificate)
            {
                let _ = key.proves(&certificate);
                done();
            }
        }
    }

    /// As in a Sigul client: two pairs of sockets, a fork, and then NSS on either side.
    fn double_tls(&self) {
        let pairs = (std::os::unix::net::UnixStream::pair(), std::os::unix::net::UnixStream::pair());
        self.fork(&Who::Again, |trial| drop(trial.whole(&Who::Child(0))));
        drop(pairs);
    }

    fn with_child(&self, number: u32, child: impl FnOnce(), parent: impl FnOnce()) {
        let forked = self.process.in_child(|| {
            child();
            0
        });
        if let Ok(pid) = forked {
            self.wait_all(vec![(number, pid)]);
        }
        parent();
    }

    /// Waits for all children together; a child that has not finished in time is killed.
    fn wait_all(&self, mut children: Vec<(u32, Pid)>) {
        let deadline = Instant::now() + self.patience();
        while !children.is_empty() {
            let late = Instant::now() > deadline;
            children.retain(|(number, pid)| match waitpid(Some(*pid), WaitOptions::NOHANG) {
                Ok(Some((_, status))) => {
                    let signal = status.terminating_signal().map(Ending::Signal);
                    let code = status.exit_status().map(Ending::Code);
                    say(&Line::Ended(*number, signal.or(code).unwrap_or(Ending::Code(-1))));
                    false
                }
                Ok(None) if late => {
                    let _ = kill_process(*pid, Signal::KILL);
                    let _ = waitpid(Some(*pid), WaitOptions::empty());
                    say(&Line::Ended(*number, Ending::Hung));
                    false
                }
                Ok(None) => true,
                Err(_) => false,
            });
            if !children.is_empty() {
                thread::sleep(Duration::from_millis(2));
            }
        }
    }
}

/// The network layers of a check, with this NSS, certificate and key.
fn network(nss: &Nss, who: &Who, target: &Target, certificate: Certificate, key: PrivateKey) {
    let settings = Settings::of(target.clone());
    let mut walk = Walk::new(&settings, None);
    walk.opened = Opened::of(nss.clone()).ok();
    walk.own = Some(Own { chain: certificate.chain(), certificate, key: Some(key) });
    let until = if target.server.is_some() { Layer::InnerHandshake } else { Layer::OuterHandshake };
    let Ok(plan) = Plan::new(Some(until), Vec::new()) else { return };
    walk.run(&plan, |layer| layer >= Layer::Resolve, &mut Told { who });
}

/// Reports the check as two steps.
struct Told<'a> {
    who: &'a Who,
}

impl Observer for Told<'_> {
    fn entering(&mut self, layer: Layer) {
        match layer {
            Layer::Resolve => say(&Line::Begin(self.who.clone(), Step::OuterHandshake)),
            Layer::Bridge => say(&Line::Begin(self.who.clone(), Step::InnerHandshake)),
            _ => {}
        }
    }

    fn found(&mut self, finding: &Finding) {
        let step = if finding.layer < Layer::Bridge { Step::OuterHandshake } else { Step::InnerHandshake };
        let last = matches!(finding.layer, Layer::OuterHandshake | Layer::InnerHandshake);
        let error = (finding.status == Status::Fail).then(|| Trouble {
            code: 0,
            name: finding.cause.map(|cause| cause.id().to_owned()).unwrap_or_default(),
            text: finding.summary.clone(),
            transport: is_transport(finding),
        });
        // A layer skipped because of a failure was already reported with that failure.
        if error.is_some() || (last && finding.status != Status::Skip) {
            say(&Line::Done { who: self.who.clone(), step, error, random: None });
        }
    }

    fn seen(&mut self, _event: &WireEvent) {}

    fn met(&mut self, _certificate: &SeenCertificate) {}

    fn connected(&mut self, _connections: u32) {}
}

/// The name, the connection, or an end or a silence where the peer had to send. An error of NSS itself about a key or a token is none of
/// these.
fn is_transport(finding: &Finding) -> bool {
    let families = [Family::Network, Family::End, Family::Silence];
    finding.signals.iter().any(|shown| families.contains(&shown.signal.row().family))
}

fn sign(key: &PrivateKey, certificate: &Certificate) -> Result<Option<String>, NssError> {
    if key.proves(certificate)? {
        Ok(None)
    } else {
        Err(NssError::of(nssight_nss::Step::VerifySignature, nssight_nss::ErrorCode::SEC_ERROR_BAD_SIGNATURE))
    }
}

fn trouble(error: &NssError) -> Trouble {
    let (name, text) = (error.name.clone(), error.text.clone());
    Trouble { code: i64::from(error.code.0), name, text, transport: false }
}
