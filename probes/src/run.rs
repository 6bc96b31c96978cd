//! Runs the layers of a plan in order, each within its deadline, and notifies an observer.
use std::time::{Duration, Instant};

use nssight_diagnosis::fact::fact;
use nssight_diagnosis::signal::signal;
use nssight_diagnosis::verdict::judge_last;
use nssight_diagnosis::{Finding, Layer, Notes, Status};

use crate::certificates::SeenCertificate;
use crate::plan::Plan;
use crate::revocation_lists::SeenRevocationList;
use crate::walk::{Probe, Walk};
use crate::wire::WireEvent;

/// Time limit for the orderly end of the sessions.
const CLOSING: Duration = Duration::from_millis(500);
/// A peer that had less time than this cannot be blamed for silence.
const LEAST_TIME_FOR_BLAME: Duration = Duration::from_millis(500);

/// Receives the events of a check as they happen.
pub trait Observer {
    /// A layer is about to start. Reported before any work in the layer, so that a crash can be attributed to it.
    fn entering(&mut self, layer: Layer);
    /// A layer has taken this long, out of its time limit.
    fn waiting(&mut self, _layer: Layer, _for: Duration, _at_most: Duration) {}
    /// A layer is done.
    fn found(&mut self, finding: &Finding);
    /// An event was seen on the wire.
    fn seen(&mut self, event: &WireEvent);
    /// A certificate was seen.
    fn met(&mut self, certificate: &SeenCertificate);
    /// A revocation list was found in the database.
    fn listed(&mut self, _list: &SeenRevocationList) {}
    /// A TCP connection was opened; the number is the count so far.
    fn connected(&mut self, connections: u32);
}

impl Walk<'_> {
    /// Checks the layers of `plan` for which `chosen` is true, and notifies `observer`.
    pub fn run(&mut self, plan: &Plan, chosen: impl Fn(Layer) -> bool, observer: &mut dyn Observer) {
        self.connects = plan.walks(Layer::OuterHandshake);
        self.goes_on = plan.walks(Layer::Bridge);
        for probe in plan.probes(self.settings.target.as_ref().ok()).filter(|probe| chosen(probe.layer)) {
            let (known, listed) = (self.met.len(), self.lists.len());
            let finding = self.step(plan, probe, observer);
            self.met.iter().skip(known).for_each(|certificate| observer.met(certificate));
            self.lists.iter().skip(listed).for_each(|list| observer.listed(list));
            for session in &self.sessions {
                session.borrow_mut().take_new().iter().for_each(|event| observer.seen(event));
            }
            self.findings.push(finding);
            judge_last(&mut self.findings);
            self.findings.last().into_iter().for_each(|finding| observer.found(finding));
        }
        self.close();
    }

    /// Ends all open sessions, the inner one first, without a long wait for a peer that no longer reads.
    fn close(&mut self) {
        if let Some(passage) = &self.passage {
            passage.set_deadline(Instant::now() + CLOSING);
        }
        if let Some(mut inner) = self.inner.take() {
            // close_notify and the end of the inner stream; errors do not matter if the peer is gone.
            let _ = inner.client.finish();
        }
        self.passage = None;
        self.outer = None;
    }

    fn step(&mut self, plan: &Plan, probe: &Probe, observer: &mut dyn Observer) -> Finding {
        if !plan.walks(probe.layer) {
            return Finding::skipped(probe.layer, None, "excluded on request".to_owned());
        }
        if let Some((because, summary)) = self.obstacle(probe) {
            return Finding::skipped(probe.layer, because, summary);
        }
        observer.entering(probe.layer);
        let started = Instant::now();
        self.deadline = started + self.settings.timeout();
        if let Some(end) = self.end {
            if end.saturating_duration_since(started) < self.settings.timeout().min(LEAST_TIME_FOR_BLAME) {
                let summary = format!("the deadline of the whole check passed before {}", probe.layer);
                let notes = Notes::default().with(fact::ToolState::DeadlinePassed);
                return notes.fail(signal::TOOL_TIMEOUT, summary).into_finding(probe.layer, 0);
            }
            self.deadline = self.deadline.min(end);
        }
        let before = self.connections;
        let outcome = (probe.run)(self);
        if self.connections != before {
            observer.connected(self.connections);
        }
        let duration = u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX);
        outcome.into_finding(probe.layer, duration)
    }

    /// The layer that blocks this one: the one that failed, however many skipped layers lie between.
    fn obstacle(&self, probe: &Probe) -> Option<(Option<Layer>, String)> {
        let in_the_way = probe.needs.iter().filter_map(|need| self.finding(*need));
        in_the_way.into_iter().find_map(|finding| match finding.status {
            Status::Fail => Some((Some(finding.layer), format!("{} failed", finding.layer))),
            Status::Skip => Some(match finding.skipped_because {
                Some(root) => (Some(root), format!("{root} failed")),
                None => (None, format!("needs {}, which was skipped: {}", finding.layer, finding.summary)),
            }),
            Status::Pass | Status::Warn => None,
        })
    }
}
