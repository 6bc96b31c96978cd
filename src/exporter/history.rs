//! The history of a target: its last verdicts, and the start of the present state.

use std::collections::VecDeque;
use std::time::{Duration, SystemTime};

use nssight_reports::Standing;
use serde::{Deserialize, Serialize};

/// Number of verdicts kept per target: ten hours at one check per minute.
const KEPT: usize = 600;

/// The last verdicts of a target.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Stored")]
pub(super) struct History {
    /// Oldest first.
    marks: VecDeque<Mark>,
    /// The verdict of the last mark, with layer and cause.
    verdict: String,
    /// Whether the last conclusive check of the target passed. A check that nssight could not finish is not conclusive.
    well: Option<bool>,
    /// The first check since which all conclusive checks had the same result.
    turned: u64,
    /// The first check with the same verdict as the last one.
    same: u64,
}

/// The end of a check, in seconds since 1970, and its result.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Mark(pub(super) u64, pub(super) Standing);

/// The stored form: a file may have any number of marks.
#[derive(Deserialize)]
struct Stored {
    marks: VecDeque<Mark>,
    verdict: String,
    well: Option<bool>,
    turned: u64,
    same: u64,
}

impl From<Stored> for History {
    fn from(Stored { marks, verdict, well, turned, same }: Stored) -> Self {
        let mut history = Self { marks, verdict, well, turned, same };
        history.forget();
        history
    }
}

impl History {
    /// Adds a check.
    pub(super) fn add(&mut self, ended: SystemTime, standing: Standing, verdict: &str) {
        let at = ended.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        let well = (standing != Standing::Inconclusive).then(|| standing.passes());
        if well.is_some() && self.well != well {
            (self.well, self.turned) = (well, at);
        }
        if self.marks.is_empty() || self.verdict != verdict {
            self.same = at;
            verdict.clone_into(&mut self.verdict);
        }
        self.marks.push_back(Mark(at, standing));
        self.forget();
    }

    fn forget(&mut self) {
        let surplus = self.marks.len().saturating_sub(KEPT);
        self.marks.drain(..surplus);
    }

    /// Oldest first.
    pub(super) fn marks(&self) -> impl ExactSizeIterator<Item = Mark> + '_ {
        self.marks.iter().copied()
    }

    /// Since when the target passes or fails; `None` if the last check is not conclusive.
    pub(super) fn turned(&self) -> Option<SystemTime> {
        let says_nothing = self.marks.back().is_none_or(|mark| mark.1 == Standing::Inconclusive);
        (!says_nothing).then(|| time(self.turned))
    }

    /// Since when the target has this verdict.
    pub(super) fn same(&self) -> SystemTime {
        time(self.same)
    }

    /// The number of checks that failed, or passed only on a retry. Checks that nssight could not finish do not count.
    pub(super) fn troubled(&self) -> usize {
        self.marks().filter(|mark| matches!(mark.1, Standing::Fail | Standing::Flaky)).count()
    }

    /// Whether the target fails now and then: more than once within the kept history, with a pass in between. One outage that was repaired
    /// counts once.
    pub(super) fn is_flaky(&self) -> bool {
        let judged = self.marks().filter(|mark| mark.1 != Standing::Inconclusive);
        let (mut times, mut was_well) = (0, true);
        for Mark(_, standing) in judged {
            let is_well = matches!(standing, Standing::Pass | Standing::Warning);
            times += usize::from(was_well && !is_well);
            was_well = is_well;
        }
        times > 1 || self.marks().last().is_some_and(|mark| mark.1 == Standing::Flaky)
    }
}

fn time(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds)).unwrap_or(SystemTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(marks: &[Standing]) -> History {
        let mut history = History::default();
        for (minute, standing) in (0..).zip(marks) {
            history.add(time(minute * 60), *standing, if standing.passes() { "pass" } else { "fail tcp" });
        }
        history
    }

    #[test]
    fn a_history_is_bounded_and_keeps_the_start_of_its_state() {
        let mut marks = vec![Standing::Pass; 10];
        marks.extend([Standing::Fail; 2 * KEPT]);
        let history = of(&marks);
        assert_eq!((history.marks().len(), history.turned(), history.same()), (KEPT, Some(time(600)), time(600)));
        assert_eq!(history.troubled(), KEPT);
        let text = serde_json::to_string(&history).unwrap();
        assert!(text.len() < 20 * KEPT, "{}", text.len());
        assert_eq!(serde_json::from_str::<History>(&text).unwrap(), history);
        // Excess marks in a file are dropped as well.
        let longer = text.replacen("[[", &format!("[{}[", "[1,\"pass\"],".repeat(5_000)), 1);
        assert_eq!(serde_json::from_str::<History>(&longer).unwrap(), history);
    }

    #[test]
    fn another_cause_within_an_outage_has_its_own_start() {
        let mut history = of(&[Standing::Pass, Standing::Fail]);
        let since = |history: &History| (history.turned(), history.same());
        assert_eq!(since(&history), (Some(time(60)), time(60)));
        history.add(time(120), Standing::Fail, "fail dns");
        assert_eq!(since(&history), (Some(time(60)), time(120)));
        // An unfinished check is neither a failure nor the end of one.
        history.add(time(180), Standing::Inconclusive, "inconclusive");
        assert_eq!(since(&history), (None, time(180)));
        history.add(time(240), Standing::Fail, "fail dns");
        assert_eq!(since(&history), (Some(time(60)), time(240)));
        history.add(time(300), Standing::Pass, "pass");
        assert_eq!(since(&history), (Some(time(300)), time(300)));
    }

    #[test]
    fn a_target_that_fails_more_than_once_is_flaky() {
        use Standing::{Fail, Flaky, Inconclusive, Pass, Warning};
        assert!(!of(&[Pass, Fail, Fail, Pass, Warning]).is_flaky());
        assert!(of(&[Pass, Fail, Pass, Fail, Pass]).is_flaky());
        assert!(of(&[Pass, Fail, Warning, Flaky, Pass]).is_flaky());
        assert!(of(&[Pass, Pass, Flaky]).is_flaky());
        assert!(!of(&[Fail, Inconclusive, Fail, Fail]).is_flaky());
        assert!(!of(&[]).is_flaky());
    }
}
