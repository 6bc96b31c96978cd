//! The document, schema `nssight/trace/1`.

use nssight_diagnosis::{ErrorInfo, Finding, Layer, Verdict};
use nssight_nss::{ErrorCode, NssError, Step};
use nssight_probes::error_info;
use nssight_probes::report::Tool;
use nssight_probes::target::TargetSummary;
use nssight_probes::wire::WireEvent;
use nssight_tracer::event::{Function, Phase};
use schemars::JsonSchema;
use serde::Serialize;

use crate::process::{Birth, Nss};
use crate::session::Handshake;
use crate::story::{Call, Story};
use crate::{Ending, local};

/// Everything that a trace has to say.
#[derive(Debug, Serialize, JsonSchema)]
pub struct TraceReport {
    /// `nssight/trace/1`
    pub schema: String,
    /// Versions of nssight and its libraries.
    pub tool: Tool,
    /// The traced program.
    pub program: Program,
    /// The configuration of the program, if the program failed and nssight examined the configuration.
    pub target: TargetSummary,
    /// One finding per layer.
    pub layers: Vec<Finding>,
    /// The verdict; its status is `inconclusive` if there was nothing to evaluate.
    pub verdict: Verdict,
    /// The first failed call that no later call made up for.
    pub first_failure: Option<FailedCall>,
    /// Differences from a correct client.
    pub differences: Vec<Difference>,
    /// The processes of the program, in the order of their start.
    pub processes: Vec<ProcessSummary>,
    /// The TLS sessions of the program.
    pub sessions: Vec<SessionSummary>,
    /// The calls of the program, with `--timeline`.
    pub timeline: Vec<TimelineEntry>,
    /// The events on the wire, with `--wire`.
    pub wire: Vec<WireEvent>,
    /// Processes and programs that could not be traced.
    pub lost: Vec<String>,
    /// Events that were lost because they arrived faster than nssight could read them.
    pub events_lost: u64,
}

/// The traced program. Its arguments are omitted, because they may contain passwords.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct Program {
    /// The name of the program, as given.
    pub name: String,
    /// The number of arguments.
    pub arguments: usize,
    /// The exit status, if the program ended by itself.
    pub exit: Option<i32>,
    /// The signal that ended the program.
    pub signal: Option<i32>,
    /// The duration in milliseconds.
    pub duration_ms: u64,
}

/// A call that failed.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct FailedCall {
    /// The function.
    pub function: &'static str,
    /// The layer of the call.
    pub layer: Option<Layer>,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Milliseconds after the first event.
    pub at_ms: f64,
    /// The library's error.
    pub error: Option<ErrorInfo>,
    /// The program's next action.
    pub then: String,
}

/// A difference from a correct client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Difference {
    /// The id of the difference.
    pub id: &'static str,
    /// The process.
    pub pid: u32,
    /// The difference in one sentence.
    pub text: String,
}

/// One process.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct ProcessSummary {
    /// The process id.
    pub pid: u32,
    /// The process id of the parent.
    pub parent: Option<u32>,
    /// Milliseconds after the first event.
    pub from_ms: f64,
    /// `started`, `forked` or `unseen`
    pub began: &'static str,
    /// The programs that the process executed, in order.
    pub programs: Vec<String>,
    /// Threads that called something that is watched.
    pub threads: usize,
    /// Calls of NSS, SSL and NSPR.
    pub calls: u64,
    /// `not started`, `its own`, `inherited` or `inherited and used`
    pub nss: &'static str,
    /// The wait status, as the parent received it (wait(2)).
    pub status: Option<i32>,
}

/// One TLS session.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct SessionSummary {
    /// `outer`, `inner` or `server`
    pub place: &'static str,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// Address of the peer.
    pub peer: Option<String>,
    /// Host name that was set.
    pub host: Option<String>,
    /// `not tried`, `begun`, `done`, `failed`, `never came back`, `abandoned` or `ended in a hook`
    pub handshake: &'static str,
    /// The error of the handshake.
    pub error: Option<ErrorInfo>,
    /// Bytes sent on the wire.
    pub bytes_sent: u64,
    /// Bytes received on the wire.
    pub bytes_received: u64,
}

/// A call, or several equal calls in a row.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct TimelineEntry {
    /// Microseconds after the first event.
    pub at_us: u64,
    /// Process.
    pub pid: u32,
    /// Thread.
    pub tid: u32,
    /// The number of traced calls around this one.
    pub depth: u8,
    /// The function.
    pub function: &'static str,
    /// The layer of the call.
    pub layer: Option<Layer>,
    /// `done`, `failed`, `not yet`, `open` or `note`; `not yet` is what a call on a socket that does not wait says
    pub phase: &'static str,
    /// The total duration of the calls, in microseconds.
    pub took_us: u64,
    /// The number of equal calls.
    pub count: u64,
    /// The error.
    pub error: Option<ErrorInfo>,
    /// A nickname, a host, a directory or a program.
    pub text: Option<String>,
}

impl Story {
    fn ms(&self, at_ns: u64) -> f64 {
        (at_ns.saturating_sub(self.from_ns) / 1000) as f64 / 1000.0
    }

    /// Whether no NSS call was recorded at all.
    pub fn is_empty(&self) -> bool {
        self.processes.iter().all(|process| process.calls == 0)
    }

    /// Other TLS libraries that a process had loaded from the start, by name.
    pub fn other_libraries(&self) -> Vec<&'static str> {
        let all = self.processes.iter().fold(0, |all, process| all | process.libraries);
        let named = [(2, "OpenSSL 3"), (4, "OpenSSL 1.1"), (8, "GnuTLS")];
        named.iter().filter(|(bit, _)| all & bit != 0).map(|(_, name)| *name).collect()
    }

    /// Whether the program was a server: it has sessions, and is the client in none of them.
    pub fn is_server(&self) -> bool {
        !self.sessions.is_empty() && self.sessions.iter().all(|session| session.is_server)
    }

    /// Processes that were not waited for and may still run: number and program.
    pub fn unfinished(&self) -> Vec<(u32, String)> {
        let unfinished = self.processes.iter().filter(|process| process.status.is_none());
        unfinished.map(|process| (process.pid, process.programs.last().cloned().unwrap_or_default())).collect()
    }

    /// The layer of a call: its own, or that of its session.
    fn layer(&self, call: &Call) -> Option<Layer> {
        let of_session = call
            .session
            .and_then(|index| self.sessions.get(index))
            .map(|session| if self.is_inner(session) { Layer::InnerHandshake } else { Layer::OuterHandshake });
        local::layer(call.event.function).or(of_session)
    }

    /// The call on which the verdict is based, or otherwise the first failed one, and the program's next action.
    pub fn first_failure(&self, ending: Ending, layer: Option<Layer>) -> Option<FailedCall> {
        if !ending.is_bad() {
            return None;
        }
        let tells = |call: &&Call| {
            let local = local::layer(call.event.function) == Some(Layer::ProcessModel)
                || call.event.function == Function::PR_Shutdown;
            (call.failed() && local::counts(&call.event) && !local) || call.open && call.session.is_some()
        };
        let here = |call: &&Call| self.layer(call).is_some() && self.layer(call) == layer;
        let call = self.calls.iter().filter(tells).find(here).or_else(|| self.calls.iter().find(tells))?;
        let next = self.calls.iter().find(|next| {
            next.process == call.process && next.event.at_ns > call.event.at_ns && next.event.depth <= call.event.depth
        });
        let then = match next {
            _ if call.open => "the process was still waiting in this call at the end".to_owned(),
            Some(next) => format!("its next call was {}", next.event.function),
            None => "no call followed".to_owned(),
        };
        Some(FailedCall {
            function: call.event.function.name(),
            layer: self.layer(call),
            pid: call.event.pid,
            tid: call.event.tid,
            at_ms: self.ms(call.event.at_ns),
            error: error(call),
            then,
        })
    }

    /// The processes, for a report.
    pub fn process_summaries(&self) -> Vec<ProcessSummary> {
        let of = |process: &crate::process::Process| ProcessSummary {
            pid: process.pid,
            parent: process.parent,
            from_ms: self.ms(process.from_ns),
            began: match process.birth {
                Birth::Started => "started",
                Birth::Forked => "forked",
                Birth::Unseen => "unseen",
            },
            programs: process.programs.clone(),
            threads: process.threads.len(),
            calls: process.calls,
            nss: match process.nss {
                Nss::No => "not started",
                Nss::Own => "its own",
                Nss::Inherited { used: false } => "inherited",
                Nss::Inherited { used: true } => "inherited and used",
            },
            status: process.status,
        };
        self.processes.iter().map(of).collect()
    }

    /// The sessions, for a report.
    pub fn session_summaries(&self) -> Vec<SessionSummary> {
        let of = |session: &crate::session::Session| {
            let wire = session.log.summary();
            SessionSummary {
                place: match (session.is_server, self.is_inner(session)) {
                    (true, _) => "server",
                    (false, true) => "inner",
                    (false, false) => "outer",
                },
                pid: self.pid(session),
                tid: session.tid,
                peer: session.ends.peer.map(|peer| peer.to_string()),
                host: session.host.clone(),
                handshake: match session.handshake {
                    Handshake::NotTried => "not tried",
                    Handshake::Begun => "begun",
                    Handshake::Done => "done",
                    Handshake::Failed(..) => "failed",
                    Handshake::Hangs(_) => "did not return",
                    Handshake::Abandoned(_) => "abandoned",
                    Handshake::EndedInHook(_) => "ended in a callback",
                },
                error: session.error().as_ref().map(error_info::of),
                bytes_sent: wire.bytes_sent,
                bytes_received: wire.bytes_received,
            }
        };
        self.sessions.iter().map(of).collect()
    }

    /// The calls, for a report.
    pub fn timeline(&self) -> Vec<TimelineEntry> {
        let of = |call: &Call| TimelineEntry {
            at_us: call.event.at_ns.saturating_sub(self.from_ns) / 1000,
            pid: call.event.pid,
            tid: call.event.tid,
            depth: call.event.depth,
            function: call.event.function.name(),
            layer: self.layer(call),
            phase: match call.event.phase {
                _ if call.open => "open",
                Phase::Enter | Phase::Note => "note",
                Phase::Done => "done",
                Phase::Failed if call.failed() => "failed",
                Phase::Failed => "not yet",
            },
            took_us: call.event.took_ns / 1000,
            count: call.count,
            error: error(call),
            text: has_text(call.event.function).then(|| call.text()).filter(|text| !text.is_empty()),
        };
        self.calls.iter().map(of).collect()
    }

    /// The events on the wire of all sessions, in order.
    pub fn wire_events(&mut self) -> Vec<WireEvent> {
        let places: Vec<bool> = self.sessions.iter().map(|session| self.is_inner(session)).collect();
        let from_ns = self.from_ns;
        let mut all: Vec<WireEvent> = Vec::new();
        let several = places.iter().filter(|inner| !**inner).count() > 1;
        let mut connections = 0;
        for (session, inner) in self.sessions.iter_mut().zip(places) {
            connections += u32::from(!inner);
            let connection = (several && !inner).then_some(connections);
            all.extend(session.take_wire(inner, from_ns).into_iter().map(|event| WireEvent { connection, ..event }));
        }
        all.sort_by_key(|event| event.at_us);
        all.truncate(2000);
        all
    }
}

fn error(call: &Call) -> Option<ErrorInfo> {
    (call.event.phase == Phase::Failed && call.event.error != 0)
        .then(|| error_info::of(&NssError::of(Step::Function(call.event.function.name()), ErrorCode(call.event.error))))
}

/// Functions whose text is printable, not an address.
fn has_text(function: Function) -> bool {
    !matches!(
        function,
        Function::connect | Function::accept | Function::accept4 | Function::SSL_ImportFD | Function::socketpair
    )
}
