//! Builds processes, sessions and ordered calls from the stream of events.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;

use nssight_nss::ErrorCode;
use nssight_tracer::event::{Event, Function, Library, Phase, Purpose};

use crate::address::{self, Ends};
use crate::process::{Birth, Nss, Process};
use crate::session::{Handshake, Session};

/// Maximum number of calls to keep for the timeline: the first half and the last ones.
const CALLS: usize = 20_000;
/// Maximum number of processes to keep; further ones are only counted.
const PROCESSES: usize = 10_000;
/// Maximum number of sessions to keep.
const SESSIONS: usize = 2_000;
/// Maximum nesting of calls in one thread.
const NESTED: usize = 64;
/// Maximum number of threads per process whose calls are kept separate.
const THREADS: usize = 4_096;

/// One call, or several equal consecutive ones.
#[derive(Debug, Clone)]
pub(crate) struct Call {
    pub(crate) event: Event,
    pub(crate) process: usize,
    pub(crate) session: Option<usize>,
    /// The number of equal calls.
    pub(crate) count: u64,
    /// The call never returned.
    pub(crate) open: bool,
}

impl Call {
    /// Whether it failed; a non-blocking call that is not finished has not.
    pub(crate) fn failed(&self) -> bool {
        self.event.phase == Phase::Failed && !is_not_now(&self.event)
    }

    /// The error number of NSPR or the system.
    pub(crate) fn code(&self) -> ErrorCode {
        ErrorCode(self.event.error)
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(self.event.text()).into_owned()
    }
}

/// Whether it is a call on a non-blocking socket that is not finished.
fn is_not_now(event: &Event) -> bool {
    const AGAIN: i32 = 11;
    const IN_PROGRESS: i32 = 115;
    match event.function.library() {
        Library::System => matches!(event.os_error, AGAIN | IN_PROGRESS),
        _ => matches!(ErrorCode(event.error), ErrorCode::PR_WOULD_BLOCK_ERROR | ErrorCode::PR_IN_PROGRESS_ERROR),
    }
}

/// CLOCK_MONOTONIC, the clock of the events.
fn now_ns() -> u64 {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    u64::try_from(i128::from(now.tv_sec) * 1_000_000_000 + i128::from(now.tv_nsec)).unwrap_or_default()
}

/// execve and its variants: the process becomes another program.
pub(crate) fn is_exec(function: Function) -> bool {
    function.purpose() == Purpose::Execute
}

/// Everything that was observed.
#[derive(Default)]
pub struct Story {
    pub(crate) processes: Vec<Process>,
    pub(crate) sessions: Vec<Session>,
    pub(crate) calls: Vec<Call>,
    /// Number of calls between the first and the last ones that were dropped.
    left_out: u64,
    /// Processes that the tracer could not follow.
    lost: Vec<String>,
    /// Local addresses of the sockets of the traced processes.
    pub(crate) own_addresses: HashSet<SocketAddr>,
    processes_left_out: u64,
    pub(crate) from_ns: u64,
    /// The time of the last event.
    pub(crate) until_ns: u64,
    live: HashMap<u32, usize>,
    last_of_thread: HashMap<u32, usize>,
}

impl Story {
    /// Processes the next event.
    pub fn take(&mut self, event: &Event) {
        if self.from_ns == 0 {
            self.from_ns = event.at_ns;
        }
        self.until_ns = self.until_ns.max(event.at_ns);
        let Some(process) = self.process(event) else { return };
        match event.function {
            Function::started | Function::forked => self.keep(event, process, None),
            Function::wire_bytes | Function::wire_skipped | Function::wire_end => self.wire(event, process),
            Function::chunk | Function::reply => {
                if let Some(session) = self.session_of(event, process).and_then(|index| self.sessions.get_mut(index)) {
                    session.chunk(event);
                }
            }
            Function::accepted => self.accept(event, process),
            Function::lost => self.lose(String::from_utf8_lossy(event.text()).into_owned()),
            _ if event.phase == Phase::Enter => self.enter(event, process),
            _ => self.leave(event, process),
        }
    }

    /// Records something that could not be traced, as text; duplicates are dropped.
    pub fn lose(&mut self, what: String) {
        if self.lost.len() < 100 && !self.lost.contains(&what) {
            self.lost.push(what);
        }
    }

    /// No more events follow: calls that have not returned never will.
    pub fn end(&mut self) {
        let mut open: Vec<(usize, Event)> = Vec::new();
        for (index, process) in self.processes.iter_mut().enumerate() {
            open.extend(process.open.drain().flat_map(|(_, events)| events).map(|event| (index, event)));
        }
        open.sort_by_key(|(_, event)| event.at_ns);
        self.mark_untraced_programs();
        if self.processes_left_out > 0 {
            self.lose(format!("{} processes after the first {PROCESSES}", self.processes_left_out));
        }
        if self.left_out > 0 {
            self.lose(format!("{} calls of the timeline, in its middle", self.left_out));
        }
        self.until_ns = self.until_ns.max(now_ns());
        self.sessions.iter_mut().for_each(Session::end);
        for (process, event) in open {
            let session = self.session_of(&event, process);
            if let Some(session) = session.and_then(|index| self.sessions.get_mut(index)) {
                session.never_returned(&event);
            }
            self.calls.push(Call { event, process, session, count: 1, open: true });
        }
    }

    /// A program that sends no event at its start has not loaded the tracer.
    fn mark_untraced_programs(&mut self) {
        let silent: Vec<String> = self
            .processes
            .iter()
            .filter_map(|process| Some((process.pid, process.executing.as_ref()?)))
            .map(|(pid, program)| {
                let program = if program.is_empty() { "another program" } else { program };
                format!(
                    "process {pid} became {program}, which did not load the tracer: it is statically linked, has other \
                     privileges, belongs to another architecture, or ended too early"
                )
            })
            .collect();
        silent.into_iter().for_each(|what| self.lose(what));
    }

    /// The process of an event, created if it is unknown.
    fn process(&mut self, event: &Event) -> Option<usize> {
        let parent = || u32::try_from(event.number).ok();
        match (event.function, self.live.get(&event.pid).copied()) {
            (Function::started, Some(index)) => {
                self.processes[index].becomes(event);
                Some(index)
            }
            (Function::forked, Some(index)) if !self.processes[index].has_spoken => {
                self.processes[index].has_spoken = true;
                Some(index)
            }
            // A reused process number: the old process has ended.
            (Function::forked, _) => self.begin(event, Birth::Forked, parent()),
            (Function::started, None) => self.begin(event, Birth::Started, parent()),
            (_, Some(index)) => Some(index),
            // The first event of a vfork child names the program that it executes, and its parent.
            (function, None) if is_exec(function) => self.begin(event, Birth::Forked, parent()),
            (_, None) => self.begin(event, Birth::Unseen, None),
        }
    }

    fn begin(&mut self, event: &Event, birth: Birth, parent: Option<u32>) -> Option<usize> {
        if self.processes.len() >= PROCESSES {
            self.processes_left_out += 1;
            return None;
        }
        let known = parent.and_then(|parent| self.live.get(&parent)).and_then(|index| self.processes.get(*index));
        let process = Process::new(event, birth, parent, known);
        self.processes.push(process);
        let index = self.processes.len() - 1;
        self.live.insert(event.pid, index);
        Some(index)
    }

    /// A parent reports a child that has not sent an event yet, and may never do so.
    fn announce(&mut self, event: &Event) {
        let Some(child) = u32::try_from(event.result).ok().filter(|child| *child > 0) else { return };
        let known = self.live.get(&child).and_then(|index| self.processes.get(*index));
        if known.is_some_and(|child| child.from_ns >= event.at_ns.saturating_sub(event.took_ns)) {
            return;
        }
        let mut forked = Event::new(Function::forked, Phase::Note);
        (forked.at_ns, forked.pid, forked.tid, forked.number) = (event.at_ns, child, child, i64::from(event.pid));
        if let Some(index) = self.begin(&forked, Birth::Forked, Some(event.pid)) {
            self.processes[index].has_spoken = false;
        }
    }

    fn session_of(&self, event: &Event, process: usize) -> Option<usize> {
        self.processes.get(process).and_then(|process| process.handles.get(&event.handle)).copied()
    }

    fn enter(&mut self, event: &Event, process: usize) {
        let owner = &mut self.processes[process];
        if is_exec(event.function) {
            owner.executing = Some(String::from_utf8_lossy(event.text()).into_owned());
            return self.keep(event, process, None);
        }
        if event.function == Function::vfork {
            return self.keep(event, process, None);
        }
        if owner.open.len() < THREADS || owner.open.contains_key(&event.tid) {
            let open = owner.open.entry(event.tid).or_default();
            if open.len() < NESTED {
                open.push(*event);
            }
        }
        let session = self.session_of(event, process);
        if let Some(session) = session.and_then(|index| self.sessions.get_mut(index)) {
            session.enters(event);
        }
        self.closing(event, process);
    }

    /// The program closes one of its sessions; a child that closes an inherited one does not.
    fn closing(&mut self, event: &Event, process: usize) {
        /// SHUT_WR (socket(7)) and PR_SHUTDOWN_SEND (prio.h): answers may still arrive.
        const SENDING: i64 = 1;
        let session = match event.function {
            Function::PR_Close => self.session_of(event, process),
            Function::PR_Shutdown if event.number != SENDING => self.session_of(event, process),
            Function::close => self.processes[process].descriptors.get(&event.number).copied(),
            Function::shutdown if event.extra != SENDING => {
                self.processes[process].descriptors.get(&event.number).copied()
            }
            _ => None,
        };
        if let Some(session) = session.and_then(|index| self.sessions.get_mut(index))
            && session.process == process
        {
            session.closes(event);
        }
    }

    fn leave(&mut self, event: &Event, process: usize) {
        let owner = &mut self.processes[process];
        if is_exec(event.function) {
            owner.executing = None;
        }
        if let Some(open) = owner.open.get_mut(&event.tid)
            && let Some(at) = open.iter().rposition(|entered| entered.function == event.function)
        {
            open.truncate(at);
        }
        if matches!(event.function.library(), Library::Nss | Library::Ssl | Library::Nspr) {
            owner.calls += 1;
        }
        if !owner.threads.contains(&event.tid) && owner.threads.len() < THREADS {
            owner.threads.push(event.tid);
        }
        let session = self.session_of(event, process);
        self.closing(event, process);
        self.learn(event, process);
        let session = match event.function {
            // Known only now; the address may have belonged to another session before.
            Function::SSL_ImportFD => self.session_of(event, process),
            _ => session,
        };
        if let Some(session) = session.and_then(|index| self.sessions.get_mut(index)) {
            session.call(event, event.phase == Phase::Failed && !is_not_now(event));
        }
        self.keep(event, process, session);
    }

    /// Updates the state after a call has returned.
    fn learn(&mut self, event: &Event, process: usize) {
        let owner = &mut self.processes[process];
        let well = event.phase == Phase::Done;
        let starts = event.function.purpose() == Purpose::Start;
        match event.function {
            // A second initialisation in a process that inherited the first one does nothing (measured); a context is
            // separate.
            _ if starts && well && owner.nss == Nss::No => owner.nss = Nss::Own,
            Function::NSS_Shutdown | Function::SECMOD_RestartModules if well => owner.nss = Nss::No,
            Function::PK11_SetPasswordFunc => owner.callback_set_by = (event.number != 0).then_some(event.tid),
            Function::SSL_ImportFD if well => return self.import(event, process),
            Function::connect | Function::accept | Function::accept4 => {
                if let Some(Ends { own: Some(own), .. }) = address::ends(event.text())
                    && self.own_addresses.len() < 10_000
                {
                    self.own_addresses.insert(own);
                }
                let session = self.processes[process].descriptors.get(&event.number).copied();
                let session = session.and_then(|index| self.sessions.get_mut(index));
                if let (Some(session), Some(ends)) = (session, address::ends(event.text()))
                    && matches!(session.handshake, Handshake::NotTried)
                {
                    session.ends = ends;
                }
                return;
            }
            Function::fork if well => return self.announce(event),
            // The next socket may have the same number and the same address.
            Function::close => {
                self.processes[process].descriptors.remove(&event.number);
            }
            Function::PR_Close => {
                self.processes[process].handles.remove(&event.handle);
            }
            Function::waitpid | Function::wait | Function::wait3 | Function::wait4 if well => {
                let child = u32::try_from(event.result).ok().and_then(|pid| self.live.get(&pid)).copied();
                if let Some(child) = child.and_then(|index| self.processes.get_mut(index)) {
                    child.reap(event);
                }
                return;
            }
            _ => {}
        }
        let uses = matches!(event.function.library(), Library::Nss | Library::Ssl);
        if let (Nss::Inherited { .. }, true) = (self.processes[process].nss, uses) {
            self.processes[process].nss = Nss::Inherited { used: true };
        }
    }

    fn import(&mut self, event: &Event, process: usize) {
        if self.sessions.len() >= SESSIONS {
            return self.lose(format!("sessions after the first {SESSIONS}"));
        }
        self.sessions.push(Session::new(event, process));
        let index = self.sessions.len() - 1;
        let owner = &mut self.processes[process];
        owner.handles.insert(event.handle, index);
        owner.descriptors.insert(event.number, index);
    }

    /// A session accepted by a listening one, which belongs to a server if the listening one does.
    fn accept(&mut self, event: &Event, process: usize) {
        let listening = Event { handle: event.result as u64, ..*event };
        let listening = self.session_of(&listening, process).and_then(|index| self.sessions.get(index));
        let is_server = listening.is_none_or(|session| session.is_server);
        self.import(event, process);
        if let Some(session) = self.session_of(event, process).and_then(|index| self.sessions.get_mut(index)) {
            session.is_server = is_server;
        }
    }

    fn wire(&mut self, event: &Event, process: usize) {
        let session = self.processes[process].descriptors.get(&event.number).copied();
        if let Some(session) = session.and_then(|index| self.sessions.get_mut(index)) {
            session.wire(event);
        }
    }

    /// Adds a call to the timeline, merged with the previous one if they are equal.
    fn keep(&mut self, event: &Event, process: usize, session: Option<usize>) {
        let often = matches!(
            event.function,
            Function::PR_Poll
                | Function::PR_Read
                | Function::PR_Recv
                | Function::PR_Write
                | Function::PR_Send
                | Function::SSL_OptionSet
                | Function::waitpid
        );
        if often {
            let last = self.last_of_thread.get(&event.tid).and_then(|index| self.calls.get_mut(*index));
            if let Some(last) = last {
                let there = &last.event;
                let alike = (there.function, there.phase, there.handle, there.error, there.pid, there.result == 0)
                    == (event.function, event.phase, event.handle, event.error, event.pid, event.result == 0);
                if alike {
                    last.count += 1;
                    last.event.took_ns = last.event.took_ns.saturating_add(event.took_ns);
                    return;
                }
            }
        }
        if self.calls.len() >= CALLS {
            // Failures are at the end, so calls in the middle are dropped.
            self.calls.drain(CALLS / 2..CALLS * 3 / 4);
            self.left_out += (CALLS / 4) as u64;
            self.last_of_thread.clear();
        }
        self.calls.push(Call { event: *event, process, session, count: 1, open: false });
        if self.last_of_thread.len() < THREADS || self.last_of_thread.contains_key(&event.tid) {
            self.last_of_thread.insert(event.tid, self.calls.len() - 1);
        }
    }
}

impl Story {
    /// Processes that the tracer could not follow, in words.
    pub fn lost(&self) -> &[String] {
        &self.lost
    }
}
