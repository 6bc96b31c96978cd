//! Runs the program with the preloaded tracer, and reads the tracer's events.

use std::ffi::OsString;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use nssight_trace::{Ending, Story};
use nssight_tracer::place::Place;
use nssight_tracer::reader::Reader;
use nssight_tracer::ring::VARIABLE;
use nssight_tracer::spawn::keep_ignored;
use nssight_tracer::witness::SignalCollector;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal, kill_process, pidfd_open, setrlimit};
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

/// The tracer, as it was built with this binary.
const LIBRARY: &[u8] = include_bytes!(env!("NSSIGHT_TRACER"));
/// Interval between two reads of the ring buffer. Its capacity is what one thread can write in six intervals.
const LOOK: Timespec = Timespec { tv_sec: 0, tv_nsec: 5_000_000 };
/// Time for a writer to finish an event.
const WRITER_GRACE: Duration = Duration::from_millis(200);
/// Maximum time between a signal to nssight and the same signal to its group: timeout(1) sends one after the other.
const SIGNAL_PAIR_WINDOW: Duration = Duration::from_millis(20);

/// The result of a run.
pub(crate) struct Run {
    pub(crate) ending: Ending,
    pub(crate) story: Story,
    pub(crate) took: Duration,
    pub(crate) events_lost: u64,
}

/// Options of a run.
#[derive(Clone, Copy)]
pub(crate) struct How {
    /// Follow processes that outlive the program.
    pub(crate) follow: bool,
    /// The program's standard output is our standard error.
    pub(crate) aside: bool,
}

/// Runs `path` under the name `name`, with our environment, descriptors and arguments passed through.
pub(crate) fn run(path: &Path, name: &OsString, arguments: &[OsString], how: How) -> io::Result<Run> {
    let mut command = Command::new(path);
    keep_ignored(&mut command);
    // A signal that ended this process would leave the library file behind.
    let mut signals = Forwarding::new()?;
    let mut place = Place::new(LIBRARY)?;
    // The ring is dropped before the library: a process that finds the ring closed no longer uses the library.
    let mut reader = Reader::new()?;
    std::os::unix::process::CommandExt::arg0(&mut command, name);
    command.args(arguments).env(VARIABLE, place.variable(&reader)?);
    let mut all = OsString::from(place.library());
    if let Some(others) = std::env::var_os("LD_PRELOAD").filter(|others| !others.is_empty()) {
        all.push(":");
        all.push(others);
    }
    command.env("LD_PRELOAD", all);
    if how.aside {
        command.stdout(io::stderr());
    }
    let started = Instant::now();
    let mut child = command.spawn()?;
    signals.begin();
    let mut story = Story::default();
    let ending = watch(&mut child, &mut reader, &mut story, &mut signals)?;
    let took = started.elapsed();
    while how.follow && story.unfinished().iter().any(|(pid, _)| *pid != child.id() && is_running(*pid)) {
        if signals.come.pending().any(|signal| matches!(signal, SIGINT | SIGTERM | SIGQUIT)) {
            break;
        }
        std::thread::sleep(Duration::from_millis(5));
        reader.drain(|event| story.take(event));
    }
    let until = Instant::now() + WRITER_GRACE;
    while reader.drain(|event| story.take(event)) > 0 || reader.is_waiting() && Instant::now() < until {}
    for (pid, program) in story.unfinished() {
        if pid != child.id() && is_running(pid) {
            place.stay();
            story.lose(format!(
                "process {pid} ({program}) is still running, and nssight stops following it: the tracer's library stays \
                 loaded in it, but programs that it executes run without the library"
            ));
        }
    }
    story.end();
    Ok(Run { ending, story, took, events_lost: reader.lost() })
}

/// Forwards to the program the signals that were sent to nssight alone. If a terminal, a shell or timeout(1) sends a signal to the whole
/// process group, the program has received it already. In doubt the program gets a signal twice rather than never.
struct Forwarding {
    come: Signals,
    /// Created only after the start of the program, so as not to delay it. Without a witness, a signal may arrive twice.
    witness: Option<SignalCollector>,
    /// Signals not yet decided, and since when.
    waiting: Vec<i32>,
    since: Instant,
}

impl Forwarding {
    fn new() -> io::Result<Self> {
        let come = Signals::new([SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGINT, SIGQUIT])?;
        Ok(Self { come, witness: None, waiting: Vec::new(), since: Instant::now() })
    }

    fn begin(&mut self) {
        self.witness = SignalCollector::new().ok();
    }

    fn pass_on(&mut self, program: Pid) -> io::Result<()> {
        for signal in self.come.pending() {
            if self.waiting.is_empty() {
                self.since = Instant::now();
            }
            if !self.waiting.contains(&signal) {
                self.waiting.push(signal);
            }
        }
        if self.waiting.is_empty() || self.since.elapsed() < SIGNAL_PAIR_WINDOW {
            return Ok(());
        }
        let group = |pid: u32| behind_its_name(pid).get(2).cloned();
        let its_group = group(program.as_raw_pid().unsigned_abs());
        let in_our_group = its_group.is_some() && its_group == group(std::process::id());
        for number in self.waiting.drain(..) {
            let has_it = in_our_group && self.witness.as_ref().is_some_and(|witness| witness.has(number));
            if let (false, Some(signal)) = (has_it, Signal::from_named_raw(number)) {
                // The program may have just ended, which the next look shows.
                let _ = kill_process(program, signal);
            }
        }
        // The signals that this witness has seen are done.
        self.begin();
        Ok(())
    }
}

fn watch(child: &mut Child, reader: &mut Reader, story: &mut Story, signals: &mut Forwarding) -> io::Result<Ending> {
    let pid = i32::try_from(child.id()).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let handle = pidfd_open(pid, PidfdFlags::empty())?;
    loop {
        let ended = match poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&LOOK)) {
            Ok(ready) => ready > 0,
            Err(rustix::io::Errno::INTR) => false,
            Err(error) => return Err(error.into()),
        };
        reader.drain(|event| story.take(event));
        signals.pass_on(pid)?;
        if ended {
            let status = child.wait()?;
            return Ok(Ending { exit: status.code(), signal: status.signal() });
        }
    }
}

fn is_running(pid: u32) -> bool {
    // The command line would also be empty while the process executes another program.
    behind_its_name(pid).first().is_some_and(|state| !matches!(state.as_str(), "Z" | "X" | "x"))
}

/// The fields after the name in a process's `stat`: state, parent, group and so on. The name may contain any character (proc(5)). The group
/// is 0 if its leader is outside this PID namespace.
fn behind_its_name(pid: u32) -> Vec<String> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).unwrap_or_default();
    let stat = String::from_utf8_lossy(&stat);
    stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect()
}

/// Ends this process as the program ended.
pub(crate) fn end_as(ending: Ending) -> std::process::ExitCode {
    if let Some(number) = ending.signal {
        // A second core dump, of this process, would be useless.
        let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
        let _ = signal_hook::low_level::emulate_default_handler(number);
        if let Some(signal) = Signal::from_named_raw(number) {
            let _ = kill_process(rustix::process::getpid(), signal);
        }
        return std::process::ExitCode::from(u8::try_from(128 + number).unwrap_or(u8::MAX));
    }
    std::process::ExitCode::from(ending.exit.and_then(|code| u8::try_from(code).ok()).unwrap_or(u8::MAX))
}
