//! Captures: evaluates each TLS connection without any key.

mod connection;
mod file;
mod frame;
mod stream;

use std::collections::{HashMap, VecDeque};
use std::io::Read;
use std::net::SocketAddr;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Cause, Component, Confidence, Layer};
use schemars::JsonSchema;
use serde::Serialize;

use crate::sign::Role;
use crate::{Document, FileSummary, Quote, conclude, line};
use connection::{Connection, Told};
pub use file::is_capture;

/// Maximum number of connections to track at one time; beyond that, the oldest is concluded with the data seen so far.
const LIVE: usize = 256;
/// Maximum number of failed connections to list.
const LISTED: usize = 200;

/// The results for the connections of a capture.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CaptureSummary {
    /// The name of the capture.
    pub file: String,
    /// TCP connections in the capture.
    pub connections: u64,
    /// Connections with a complete handshake, or without any sign of a failure.
    pub completed: u64,
    /// Connections that failed.
    pub failed: u64,
    /// Connections whose start or end is not in the capture.
    pub unfinished: u64,
    /// Connections whose first byte from the client is not TLS.
    pub other: u64,
}

/// The verdict on a failed connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FailedConnection {
    /// The name of the capture.
    pub file: String,
    /// The number of the connection's first frame, from 1.
    pub frame: u64,
    /// Start of the connection.
    pub time: Option<String>,
    /// Address of the client.
    pub client: String,
    /// Address of the server.
    pub server: String,
    /// The layer of the cause, or the layer at which the failure appeared.
    pub layer: Option<Layer>,
    /// The cause, if the bytes show one.
    pub cause: Option<Cause>,
    /// The component at fault.
    pub component: Option<Component>,
    /// The confidence in the cause.
    pub confidence: Confidence,
    /// The events on the wire, in words.
    pub summary: String,
}

/// The results of one capture.
pub(crate) struct Captured {
    name: String,
    frames: u64,
    bytes: u64,
    notes: Vec<String>,
    summary: CaptureSummary,
    failed: Vec<Told>,
}

/// Reads a capture to its end, in bounded memory.
pub(crate) fn read(name: &str, input: impl Read) -> Captured {
    let mut table = Table::default();
    let (mut bytes, mut frames) = (0, 0);
    let notes = file::frames(input, &mut |number, at_us, link, data| {
        (bytes, frames) = (bytes + data.len() as u64, number);
        if let Some(segment) = frame::segment(link, data) {
            table.take(number, at_us, &segment);
        }
    });
    table.conclude_all();
    table.summary.file = name.to_owned();
    table.failed.sort_by_key(|told| told.frame);
    Captured { name: name.to_owned(), frames, bytes, notes, summary: table.summary, failed: table.failed }
}

#[derive(Default)]
struct Table {
    live: HashMap<(SocketAddr, SocketAddr), Connection>,
    /// Oldest first; a pair may remain here after its connection was concluded.
    order: VecDeque<(SocketAddr, SocketAddr)>,
    now: i64,
    summary: CaptureSummary,
    failed: Vec<Told>,
}

impl Table {
    fn take(&mut self, number: u64, at_us: i64, segment: &frame::Segment<'_>) {
        self.now = self.now.max(at_us);
        let pair = if segment.from < segment.to { (segment.from, segment.to) } else { (segment.to, segment.from) };
        let again = segment.syn && !segment.ack;
        // The same pair of ports may be used again.
        if again && self.live.get(&pair).is_some_and(Connection::is_over) {
            self.conclude(&pair);
        }
        if !self.live.contains_key(&pair) {
            // A segment after the end of a connection, or with only its end, begins no new connection.
            if !again && segment.payload.is_empty() {
                return;
            }
            while self.live.len() >= LIVE {
                let Some(oldest) = self.order.pop_front() else { break };
                self.conclude(&oldest);
            }
            if self.order.len() >= 4 * LIVE {
                let live = &self.live;
                self.order.retain(|pair| live.contains_key(pair));
            }
            self.live.insert(pair, Connection::new(number, at_us, segment));
            self.order.push_back(pair);
        }
        if let Some(connection) = self.live.get_mut(&pair) {
            connection.take(at_us, segment);
        }
    }

    fn conclude(&mut self, pair: &(SocketAddr, SocketAddr)) {
        let Some(connection) = self.live.remove(pair) else { return };
        self.summary.connections += 1;
        match connection.outcome(self.now) {
            connection::Outcome::Completed => self.summary.completed += 1,
            connection::Outcome::Unfinished => self.summary.unfinished += 1,
            connection::Outcome::Other => self.summary.other += 1,
            connection::Outcome::Failed(told) => {
                self.summary.failed += 1;
                if self.failed.len() < LISTED {
                    self.failed.push(*told);
                }
            }
        }
    }

    fn conclude_all(&mut self) {
        let mut pairs: Vec<_> = self.live.iter().map(|(pair, it)| (it.frame(), *pair)).collect();
        pairs.sort_unstable();
        pairs.iter().for_each(|(_, pair)| self.conclude(pair));
    }
}

/// Adds captures to the document: if the logs show no cause, the last failed connection with a cause determines the verdict.
pub(crate) fn join(document: &mut Document, captures: Vec<Captured>) {
    for captured in captures {
        let Captured { name, frames, bytes, mut notes, summary, failed } = captured;
        if summary.failed > failed.len() as u64 {
            notes.push(format!("of {} failed connections, only the first {} are listed", summary.failed, failed.len()));
        }
        let first = document.connections.len();
        let mut best: Option<conclude::OfConnection> = None;
        for told in failed {
            let quote = Quote {
                file: name.clone(),
                line: told.frame,
                time: line::shown(line::When(told.at_us)),
                role: Role::Unknown,
                text: format!("{} → {}: {}", told.client, told.server, told.text),
            };
            let judged = conclude::of_connection(told.shown.clone(), told.facts.clone(), &told.text, quote);
            let verdict = &judged.verdict;
            document.connections.push(FailedConnection {
                file: name.clone(),
                frame: told.frame,
                time: line::shown(line::When(told.at_us)),
                client: told.client.to_string(),
                server: told.server.to_string(),
                layer: verdict.layer.or(verdict.seen_at),
                cause: verdict.cause,
                component: verdict.component,
                confidence: verdict.confidence,
                summary: told.text.clone(),
            });
            let same = document
                .incidents
                .iter()
                .position(|it| it.cause == judged.incident.cause && it.shown == judged.incident.shown);
            match same {
                Some(place) => document.incidents[place].count += 1,
                None => document.incidents.push(judged.incident.clone()),
            }
            let names = |judged: &conclude::OfConnection| judged.verdict.cause.is_some();
            if best.as_ref().is_none_or(|best| names(&judged) || !names(best)) {
                best = Some(judged);
            }
        }
        let fails = document.verdict.status == Outcome::Fail;
        if let Some(judged) = best.filter(|_| !fails) {
            let more = document.connections.len() - first - 1;
            let count = if more > 0 { format!(" {more} other connections failed, too.") } else { String::new() };
            document.verdict = judged.verdict;
            document.verdict.summary += &count;
            document.evidence = judged.incident.lines;
            document.next = judged.next;
        } else if document.connections.is_empty() && document.incidents.is_empty() && summary.connections > 0 && !fails
        {
            let CaptureSummary { connections, completed, unfinished, other, .. } = &summary;
            document.verdict.summary = format!(
                "cannot tell: none of {connections} connections visibly failed: {completed} complete, {unfinished} \
                 without a visible end, {other} not TLS"
            );
        }
        document.files.push(FileSummary {
            name,
            role: Role::Unknown,
            program: Some("capture"),
            bytes,
            events: frames,
            notes,
        });
        document.captures.push(summary);
    }
}
