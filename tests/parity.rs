//! Parity: the same thing in any door's notation has the same meaning. With nothing else known, the causes that a line of a log may
//! show are those that `explain` lists, in the same order.

use nssight_diagnosis::explain;
use nssight_diagnosis::signal::{CODES, Code, Family, Library, Signal};
use nssight_diagnosis::{Cause, judge};
use nssight_triage::{Role, Triage};

/// What triage makes of a single line: whether it shows who wrote it, and its verdict's cause first, then the alternatives.
fn triaged(line: &str) -> (bool, Vec<Cause>) {
    let mut triage = Triage::default();
    triage.log("messages", line.as_bytes());
    let document = triage.finish();
    let others = document.verdict.alternatives.iter().map(|other| other.cause);
    let mut causes: Vec<Cause> = document.verdict.cause.into_iter().chain(others).collect();
    causes.dedup();
    (document.files[0].role != Role::Unknown, causes)
}

/// A line that shows no role has the causes of its signal, in their order. One that shows a role has some of them: who wrote it says
/// which session it is about.
fn holds(line: &str, expected: &[Cause]) {
    let (shows_role, causes) = triaged(line);
    match shows_role {
        false => assert_eq!(causes, expected, "{line}"),
        true => {
            let mut left = expected.iter();
            assert!(causes.iter().all(|cause| left.any(|other| other == cause)), "{line}: {causes:?} of {expected:?}");
            assert_eq!(causes.is_empty(), expected.is_empty(), "{line}: none of {expected:?}");
        }
    }
}

fn explained(signal: Signal) -> Vec<Cause> {
    judge::of_signal(signal).into_iter().map(|candidate| candidate.cause).collect()
}

/// Whether any program of a host may write it, so that it counts in the log of a TLS client only.
fn is_anybodys(signal: Signal) -> bool {
    matches!(signal.row().family, Family::Network) || signal.id().starts_with("config-")
}

/// Codes of NSS's libraries, each with one spelling.
fn of_nss() -> impl Iterator<Item = &'static Code> {
    let own = |code: &&Code| matches!(code.library, Library::Nspr | Library::Nss | Library::Ssl);
    CODES.iter().filter(own).filter(|code| !is_anybodys(code.signal))
}

#[test]
fn an_error_of_nss_means_the_same_in_a_log_and_to_explain() {
    let mut rows = 0;
    for code in of_nss().filter(|code| code.name.contains("_ERROR")) {
        let expected = explained(code.signal);
        holds(&format!("x: error ({}) occurred", code.name), &expected);
        holds(&format!("x: error {} occurred", code.number), &expected);
        let explained = explain::explain(code.name);
        assert!(
            explained.iter().any(|it| it.causes.iter().map(|it| it.cause).eq(expected.iter().copied())),
            "{}",
            code.name
        );
        rows += 1;
    }
    assert!(rows > 400, "{rows}");
}

#[test]
fn an_alert_means_the_same_by_its_number_and_by_the_error_of_nss() {
    for shown in Signal::all() {
        let Some(number) = shown.row().alert.filter(|number| *number != 0) else { continue };
        let expected = explained(shown);
        holds(&format!("ssl error, SSL alert number {number}"), &expected);
        for code in CODES.iter().filter(|code| code.library == Library::Ssl && code.signal == shown) {
            holds(&format!("NSS error {} ({})", code.number, code.name), &expected);
        }
    }
}

#[test]
fn a_verify_code_means_the_same_by_its_number_and_by_its_sentence() {
    let codes = CODES.iter().filter(|code| code.library == Library::Verify && code.number != 0);
    for code in codes {
        let expected = explained(code.signal);
        holds(&format!("verify error:num={}:x", code.number), &expected);
    }
}
