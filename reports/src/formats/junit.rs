//! JUnit XML: one suite per target, one test case per layer. A failed layer is a failure, a fault of nssight is an error, and an
//! unchecked layer is skipped.
use std::io::{self, Write};
use std::time::Duration;

use nssight_diagnosis::vocabulary::Outcome;
use nssight_diagnosis::{Component, Finding, Status};
use nssight_probes::Report;
use nssight_probes::report::Subject;
use quick_junit::{NonSuccessKind, TestCase, TestCaseStatus, TestRerun, TestSuite};

use crate::terminal::printable;
use crate::words::{self, Standing};

/// The help text of the format.
pub const HELP: &str = "JUnit XML: one suite per target, one test case per layer";

pub(crate) fn write(subjects: &[Subject], out: &mut dyn Write) -> io::Result<()> {
    let mut document = quick_junit::Report::new("nssight");
    document.set_time(subjects.iter().map(|subject| subject.duration).sum());
    document.add_test_suites(subjects.iter().map(suite));
    document.serialize(out).map_err(io::Error::other)
}

fn suite(subject: &Subject) -> TestSuite {
    let report = &subject.report;
    let name = printable(&subject.name);
    let mut suite = TestSuite::new(name.clone());
    suite.set_time(subject.duration);
    suite.timestamp = report.started.parse().ok();
    let labels = subject.labels.iter().map(|(name, value)| (format!("label.{name}"), value.clone()));
    let verdict = [
        ("verdict", Standing::of(report).word().to_lowercase()),
        ("place", words::place(report).join(" · ")),
        ("summary", report.verdict.summary.clone()),
        ("tries", subject.tries.to_string()),
        ("connections", report.connections_opened.to_string()),
    ];
    let verdict = verdict.into_iter().map(|(name, value)| (name.to_owned(), value));
    let expiring = words::expiring(report).map(|(_, text)| ("expiring".to_owned(), text));
    suite.add_properties(
        verdict.chain(expiring).chain(labels).map(|(name, value)| (printable(&name), printable(&value))),
    );
    let decisive = report.probes.iter().position(|finding| finding.status == Status::Fail);
    suite.add_test_cases(report.probes.iter().enumerate().map(|(index, finding)| {
        let mut case = TestCase::new(finding.layer.as_str(), status(report, finding, decisive == Some(index)));
        case.set_classname(name.clone()).set_time(Duration::from_micros(finding.duration_us));
        if finding.status == Status::Warn {
            let cause = finding.cause.map(|cause| format!(" {}", cause.id())).unwrap_or_default();
            case.set_system_out(format!("warning{cause}: {}\n{}", printable(&finding.summary), seen(finding)));
        }
        case
    }));
    suite
}

/// The test case of one layer. The layer that failed first shows the verdict, which has more detail than its finding.
fn status(report: &Report, finding: &Finding, decisive: bool) -> TestCaseStatus {
    let verdict = &report.verdict;
    match finding.status {
        Status::Skip => {
            let mut status = TestCaseStatus::skipped();
            status.set_message(printable(&words::outcome(finding)));
            status
        }
        Status::Fail => {
            let (cause, summary) = if decisive {
                (verdict.cause.or(finding.cause), &verdict.summary)
            } else {
                (finding.cause, &finding.summary)
            };
            let of_the_tool = decisive && verdict.component == Some(Component::Tool);
            let kind = if of_the_tool { NonSuccessKind::Error } else { NonSuccessKind::Failure };
            let mut status = TestCaseStatus::non_success(kind);
            status.set_message(printable(summary)).set_description(description(report, finding, decisive));
            if let Some(cause) = cause {
                status.set_type(cause.id());
            }
            status
        }
        Status::Pass | Status::Warn => {
            let mut status = TestCaseStatus::success();
            if let (Outcome::Flaky, true, Some(cause)) =
                (verdict.status, verdict.layer == Some(finding.layer), verdict.cause)
            {
                // A fault of nssight itself is not retried.
                let mut earlier = TestRerun::new(NonSuccessKind::Failure);
                earlier.set_message(printable(&verdict.summary)).set_type(cause.id());
                status.add_rerun(earlier);
            }
            status
        }
    }
}

/// The text below the message.
fn description(report: &Report, finding: &Finding, decisive: bool) -> String {
    if !decisive {
        return seen(finding);
    }
    let grounds: String = words::grounds(report).into_iter().map(seen).collect();
    let remedies = report.verdict.remedies.iter().map(|remedy| match &remedy.command {
        Some(command) => format!("-> {}\n   {}\n", printable(&remedy.text), printable(command)),
        None => format!("-> {}\n", printable(&remedy.text)),
    });
    let place = words::place(report).join(" · ");
    let beside = words::beside(report).into_iter().map(|line| format!("{}\n", printable(&line)));
    let (beside, remedies): (String, String) = (beside.collect(), remedies.collect());
    format!("{place}\n{}\n{beside}{grounds}{remedies}", printable(&report.verdict.summary))
}

fn seen(finding: &Finding) -> String {
    words::facts(finding)
        .iter()
        .map(|(key, value)| format!("{}: {}: {}\n", finding.layer, printable(key), printable(value)))
        .collect()
}
