//! One process of a traced program.

use std::collections::HashMap;

use nssight_tracer::event::Event;

/// The observed start of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Birth {
    /// The process loaded the tracer at its start.
    Started,
    /// A watched process forked it.
    Forked,
    /// It sent events without an observed start.
    Unseen,
}

/// One process.
pub(crate) struct Process {
    pub(crate) pid: u32,
    pub(crate) parent: Option<u32>,
    pub(crate) birth: Birth,
    pub(crate) from_ns: u64,
    /// The programs that it ran, one after the other.
    pub(crate) programs: Vec<String>,
    /// The wait status from the kernel.
    pub(crate) status: Option<i32>,
    /// When its parent received the status.
    pub(crate) reaped_ns: Option<u64>,
    /// Whether this process initialised NSS, or one that it was forked from.
    pub(crate) nss: Nss,
    /// The thread that set the password callback.
    pub(crate) callback_set_by: Option<u32>,
    /// Calls of NSS, SSL and NSPR.
    pub(crate) calls: u64,
    pub(crate) threads: Vec<u32>,
    /// TLS libraries that it had loaded when it started.
    pub(crate) libraries: i64,
    /// It is about to execute this program, which has not sent any event yet.
    pub(crate) executing: Option<String>,
    /// It has sent an event itself; a child may not have done so when its parent reports it.
    pub(crate) has_spoken: bool,
    pub(crate) handles: HashMap<u64, usize>,
    pub(crate) descriptors: HashMap<i64, usize>,
    pub(crate) open: HashMap<u32, Vec<Event>>,
}

/// The NSS that a process uses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nss {
    /// Not initialised.
    No,
    /// Initialised by this process.
    Own,
    /// Initialised before the fork, by another process; with whether it was used since.
    Inherited { used: bool },
}

impl Process {
    /// The process of an event, with the state that it inherits from its parent.
    pub(crate) fn new(event: &Event, birth: Birth, number: Option<u32>, parent: Option<&Self>) -> Self {
        let mut process = Self {
            pid: event.pid,
            parent: number,
            birth,
            from_ns: event.at_ns,
            programs: Vec::new(),
            status: None,
            reaped_ns: None,
            nss: Nss::No,
            callback_set_by: None,
            calls: 0,
            threads: Vec::new(),
            libraries: event.extra,
            executing: None,
            has_spoken: true,
            handles: HashMap::new(),
            descriptors: HashMap::new(),
            open: HashMap::new(),
        };
        match (birth, parent) {
            (Birth::Forked, Some(parent)) => process.inherit(parent),
            _ => process.programs.push(String::from_utf8_lossy(event.text()).into_owned()),
        }
        process
    }

    fn inherit(&mut self, parent: &Self) {
        self.programs.extend(parent.programs.last().cloned());
        self.nss = if parent.nss == Nss::No { Nss::No } else { Nss::Inherited { used: false } };
        self.callback_set_by = parent.callback_set_by;
        self.handles = parent.handles.clone();
        self.descriptors = parent.descriptors.clone();
        self.libraries = parent.libraries;
    }

    /// The parent received the wait status.
    pub(crate) fn reap(&mut self, event: &Event) {
        /// The status of wait(2) for a child that is stopped, and has not ended (WIFSTOPPED).
        const STOPPED: i64 = 0x7f;
        let knows_status = event.extra == 1;
        if knows_status && event.number & 0xff == STOPPED {
            return;
        }
        self.status = knows_status.then_some(event.number as i32);
        self.reaped_ns = Some(event.at_ns);
        // A program that forks for years must not accumulate the descriptors of its dead children.
        (self.handles, self.descriptors) = Default::default();
    }

    /// A new program in an existing process: nothing of the old one remains except its sockets.
    pub(crate) fn becomes(&mut self, event: &Event) {
        self.programs.push(String::from_utf8_lossy(event.text()).into_owned());
        self.programs.truncate(100);
        self.executing = None;
        self.nss = Nss::No;
        self.callback_set_by = None;
        self.libraries |= event.extra;
        self.open.clear();
        self.handles.clear();
        self.descriptors.clear();
    }
}
