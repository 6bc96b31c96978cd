//! The events on the wire as rows of a sequence diagram: three lifelines, time downwards.

use nssight_probes::Report;
use nssight_probes::wire::{Session, Way, WireEnd, WireEvent};

use crate::terminal::printable;

/// Where the lifelines stand, in percent of the diagram's width.
const CLIENT: u8 = 12;
const BRIDGE: u8 = 50;
const SERVER: u8 = 88;
/// A silence that takes at least the whole time divided by this is shown as one,
const LONG: u64 = 5;
/// if it lasts at least this long, in microseconds.
const SHORTEST: u64 = 20_000;

/// One row of the diagram.
pub(crate) enum Row {
    Event(Arrow),
    /// Nothing went over the wire for this long.
    Silence(String),
}

/// One record or message.
pub(crate) struct Arrow {
    pub(crate) at: String,
    /// The moment, in percent of the whole time.
    pub(crate) percent: String,
    pub(crate) session: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// Where the arrow begins and ends, in percent of the diagram's width.
    pub(crate) begin: u8,
    pub(crate) end: u8,
    pub(crate) what: String,
    /// Nothing arrived, and this is when the wait ended.
    pub(crate) awaited: bool,
    /// A fatal alert, or a reset.
    pub(crate) fatal: bool,
}

impl Arrow {
    /// An inner record passes the bridge, which cannot read it.
    pub(crate) fn passes_bridge(&self) -> bool {
        self.session == "inner"
    }
}

pub(crate) struct Waterfall {
    pub(crate) rows: Vec<Row>,
    /// The time of the last event.
    pub(crate) whole: String,
}

impl Waterfall {
    /// `None` if nothing went over the wire.
    pub(crate) fn of(report: &Report) -> Option<Self> {
        let whole = report.wire.last()?.at_us;
        let mut rows = Vec::new();
        let mut before = 0;
        for event in &report.wire {
            let silence = event.at_us.saturating_sub(before);
            if silence >= SHORTEST && silence >= whole / LONG {
                rows.push(Row::Silence(span(silence)));
            }
            before = event.at_us;
            rows.push(Row::Event(arrow(event, whole)));
        }
        Some(Self { rows, whole: span(whole) })
    }
}

fn arrow(event: &WireEvent, whole: u64) -> Arrow {
    let (session, peer, place) = match event.session {
        Session::Outer => ("outer", "bridge", BRIDGE),
        Session::Inner => ("inner", "server", SERVER),
    };
    let (from, to, begin, end) = match event.direction {
        Way::Sent => ("client", peer, CLIENT, place),
        Way::Received => (peer, "client", place, CLIENT),
    };
    let percent = format!("{:.1}", event.at_us as f64 * 100.0 / whole.max(1) as f64);
    let what = printable(&event.what);
    let awaited = event.end == Some(WireEnd::TimedOut);
    let fatal = event.alert.is_some_and(|alert| alert.fatal) || event.end == Some(WireEnd::Reset);
    Arrow { awaited, at: span(event.at_us), percent, session, from, to, begin, end, what, fatal }
}

fn span(micros: u64) -> String {
    match micros {
        0..1_000_000 => format!("{:.1} ms", micros as f64 / 1000.0),
        _ => format!("{:.2} s", micros as f64 / 1_000_000.0),
    }
}
