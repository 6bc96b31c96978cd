//! Draws the last verdicts of a target as bars, the newest at the right.

use std::time::SystemTime;

use nssight_reports::Standing;

use super::Moment;
use crate::exporter::history::{History, Mark};

/// Maximum number of bars; with more checks, one bar stands for several.
const BARS: usize = 60;
/// Distance from one bar to the next.
const STEP: usize = 5;
const HEIGHT: usize = 20;
/// A bar without trouble is lower, so that trouble shows without its colour.
const LOW: usize = 12;

/// The drawing: one path per kind of result.
pub(super) struct Strip {
    pub(super) paths: Vec<(&'static str, String)>,
    /// The same as text.
    pub(super) words: String,
    pub(super) width: usize,
    pub(super) height: usize,
}

impl Strip {
    pub(super) fn of(history: &History, now: SystemTime) -> Self {
        let marks: Vec<Mark> = history.marks().collect();
        let each = marks.len().div_ceil(BARS).max(1);
        let mut paths =
            [Standing::Fail, Standing::Inconclusive, Standing::Flaky, Standing::Pass].map(|it| (it, String::new()));
        // Bars are filled from the right, so the oldest may stand for fewer checks.
        for (index, bar) in marks.rchunks(each).enumerate() {
            let x = (BARS - 1 - index) * STEP;
            let shares = shares(bar);
            let high = if shares[3] == bar.len() { LOW } else { HEIGHT };
            let (mut left, mut y) = (bar.len(), HEIGHT - high);
            for ((_, path), share) in paths.iter_mut().zip(shares) {
                if share == 0 {
                    continue;
                }
                // Every share is visible, and together they are as high as the bar.
                let part = (share * (HEIGHT - y)).div_ceil(left);
                left -= share;
                path.push_str(&format!("M{x} {y}h{}v{part}h-{}z", STEP - 1, STEP - 1));
                y += part;
            }
        }
        let classes = paths.into_iter().filter(|(_, path)| !path.is_empty());
        Self {
            paths: classes.map(|(standing, path)| (class(standing), path)).collect(),
            words: words(&marks, each, now),
            width: BARS * STEP - 1,
            height: HEIGHT,
        }
    }
}

/// The number of checks that failed, were not finished, were flaky, and passed.
fn shares(marks: &[Mark]) -> [usize; 4] {
    let mut shares = [0; 4];
    for Mark(_, standing) in marks {
        shares[match standing {
            Standing::Fail => 0,
            Standing::Inconclusive => 1,
            Standing::Flaky => 2,
            Standing::Pass | Standing::Warning => 3,
        }] += 1;
    }
    shares
}

fn class(standing: Standing) -> &'static str {
    match standing {
        Standing::Fail => "fail",
        Standing::Inconclusive => "inconclusive",
        Standing::Flaky => "flaky",
        Standing::Pass | Standing::Warning => "pass",
    }
}

fn words(marks: &[Mark], each: usize, now: SystemTime) -> String {
    let Some(first) = marks.first() else { return "no checks yet".to_owned() };
    let at = SystemTime::UNIX_EPOCH.checked_add(std::time::Duration::from_secs(first.0)).unwrap_or(now);
    let kinds = ["failed", "not finished", "flaky", "passed"];
    let counted = shares(marks).into_iter().zip(kinds).filter(|(count, _)| *count > 0);
    let counted: Vec<String> = counted.map(|(count, kind)| format!("{count} {kind}")).collect();
    let each = if each > 1 { format!("; up to {each} checks per bar") } else { String::new() };
    format!("The last {} checks since {}: {}{each}", marks.len(), Moment::of(at, now).text, counted.join(", "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn strip(standings: impl Iterator<Item = Standing>) -> Strip {
        let mut history = History::default();
        let at = |minute: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(minute * 60);
        (0..).zip(standings).for_each(|(minute, standing)| history.add(at(minute), standing, "a verdict"));
        Strip::of(&history, at(700))
    }

    #[test]
    fn each_check_is_a_bar_with_the_newest_at_the_right() {
        let drawn = strip([Standing::Pass, Standing::Fail].into_iter());
        assert_eq!(drawn.paths, [("fail", "M295 0h4v20h-4z".to_owned()), ("pass", "M290 8h4v12h-4z".to_owned())]);
        assert_eq!(drawn.words, "The last 2 checks since 00:00 UTC: 1 failed, 1 passed");
    }

    #[test]
    fn one_failure_of_six_hundred_checks_shows() {
        let drawn = strip((0..600).map(|minute| if minute == 5 { Standing::Fail } else { Standing::Warning }));
        assert_eq!(drawn.paths[0], ("fail", "M0 0h4v2h-4z".to_owned()));
        assert!(drawn.paths[1].1.contains("M0 2h4v18h-4z") && drawn.paths[1].1.contains("M5 8h4v12h-4z"));
        assert_eq!(drawn.words, "The last 600 checks since 00:00 UTC: 1 failed, 599 passed; up to 10 checks per bar");
        assert!(strip(std::iter::empty()).paths.is_empty());
    }
}
