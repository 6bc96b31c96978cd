//! Ends of file at regular intervals: a health probe that connects to a TLS port and sends nothing.

use schemars::JsonSchema;
use serde::Serialize;

use crate::format::About;
use crate::line::When;
use crate::scan::Scanned;
use crate::sign::{Sign, Step};

/// Minimum number of ends of file.
const FEWEST: usize = 5;
/// Minimum share of intervals near the median.
const REGULAR: f64 = 0.7;

/// An event this close to a beat, in microseconds, is part of it.
const NEAR: i64 = 1_000_000;

/// A series of ends of file at regular intervals.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct Heartbeat {
    /// The log with the series.
    pub file: String,
    /// The number of ends of file.
    pub count: usize,
    /// The port of the connections, in words, if the log shows it.
    pub port: Option<&'static str>,
    /// The interval in seconds.
    pub period_s: f64,
    /// The times in order, in microseconds.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) times: Vec<i64>,
}

impl Heartbeat {
    /// Whether an event at this time is one of the beats.
    pub(crate) fn covers(&self, file: &str, when: When) -> bool {
        // The times are in order: only the first one that is not too early can be near.
        let near = self.times.partition_point(|time| *time <= when.0 - NEAR);
        self.file == file && self.times.get(near).is_some_and(|time| *time < when.0 + NEAR)
    }
}

pub(crate) fn find(files: &[Scanned]) -> Vec<Heartbeat> {
    files.iter().filter_map(of).collect()
}

fn of(file: &Scanned) -> Option<Heartbeat> {
    let mut times: Vec<i64> = file.ends.iter().map(|when| when.0).collect();
    times.sort_unstable();
    // A bridge may write two lines for one end of file.
    times.dedup_by(|later, earlier| *later - *earlier < 500_000);
    let mut gaps: Vec<i64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    if gaps.len() + 1 < FEWEST {
        return None;
    }
    gaps.sort_unstable();
    let middle = gaps[gaps.len() / 2];
    let slack = (middle / 10).max(300_000);
    let near = gaps.iter().filter(|gap| (**gap - middle).abs() <= slack).count();
    if middle < 1_000_000 || (near as f64) < REGULAR * gaps.len() as f64 {
        return None;
    }
    // A beat has a neighbour at the right distance; another end of file in between is not a beat.
    let is_beat = |at: &i64| times.iter().any(|other| ((other - at).abs() - middle).abs() <= slack);
    let times: Vec<i64> = times.iter().copied().filter(|at| is_beat(at)).collect();
    let period_s = (middle as f64 / 100_000.0).round() / 10.0;
    let port = port(file, &times);
    Some(Heartbeat { file: file.name.clone(), port, count: times.len(), period_s, times })
}

/// Where most of them arrived: according to the program's message, or otherwise by how far the program was with its
/// client.
fn port(file: &Scanned, times: &[i64]) -> Option<&'static str> {
    let format = file.format?;
    let (mut with_client, mut of_clients, mut of_servers) = (false, 0, 0);
    for event in &file.events {
        match event.sign {
            Sign::Step(Step::Accepts | Step::Reads) => with_client = true,
            Sign::Step(Step::Begins | Step::Waits | Step::Ends) => with_client = false,
            _ => {}
        }
        let beats = event.when.is_some_and(|when| times.binary_search(&when.0).is_ok());
        if event.sign.is_end() && beats {
            let of_server = event.about.map_or(with_client, |about| about == About::Server);
            *(if of_server { &mut of_servers } else { &mut of_clients }) += 1;
        }
    }
    if of_servers > of_clients { format.server_port } else { format.client_port }
}
