//! A line without a known writer means the same to triage as to `explain`: there is one table of signals, and one judge.

use nssight_diagnosis::signal::{CODES, Family, Library, SIGNALS, Signal, TEXTS, signal};
use nssight_diagnosis::{Cause, explain, judge};
use nssight_triage::{Document, Triage};

fn of_line(line: &str) -> Document {
    let mut triage = Triage::default();
    triage.log("a.log", line.as_bytes());
    triage.finish()
}

/// The candidates of the verdict, in order.
fn told(line: &str) -> Vec<Cause> {
    let verdict = of_line(line).verdict;
    let others = verdict.alternatives.iter().map(|other| other.cause);
    let all = verdict.cause.into_iter().chain(verdict.also.iter().map(|other| other.cause)).chain(others);
    // The first candidate may also be named for another component.
    let mut causes: Vec<Cause> = Vec::new();
    all.for_each(|cause| {
        if !causes.contains(&cause) {
            causes.push(cause)
        }
    });
    causes
}

fn explained(signal: Signal) -> Vec<Cause> {
    judge::of_signal(signal).iter().map(|candidate| candidate.cause).collect()
}

/// A line without a known writer has the causes of its signal, in their order. A line with a known writer has some of these: its writer
/// shows which session it is about.
fn holds(line: &str, meant: Signal) {
    let (causes, expected) = (told(line), explained(meant));
    if of_line(line).files[0].program.is_none() {
        assert_eq!(causes, expected, "{line}");
        return;
    }
    let mut left = expected.iter();
    assert!(causes.iter().all(|cause| left.any(|other| other == cause)), "{line}: {causes:?} of {expected:?}");
    assert_eq!(causes.is_empty(), expected.is_empty(), "{line}: none of {expected:?}");
}

#[test]
fn a_code_means_the_same_as_in_explain() {
    let of_nss = |library| matches!(library, Library::Nspr | Library::Nss | Library::Ssl);
    let codes = CODES.iter().filter(|code| of_nss(code.library) && code.signal != signal::NOTHING_WRONG);
    let (mut names, mut numbers) = (0, 0);
    for code in codes {
        let expected = explained(code.signal);
        if code.name.contains("_ERROR") {
            assert_eq!(told(&format!("x: it failed: {}: {}", code.name, code.text)), expected, "{}", code.name);
            let by_name = explain::explain(code.name);
            let same = |it: &explain::Explanation| it.causes.iter().map(|it| it.cause).eq(expected.iter().copied());
            assert!(by_name.iter().any(same), "{}", code.name);
            names += 1;
        }
        assert_eq!(told(&format!("x: error ({}) unknown", code.number)), expected, "{}", code.number);
        numbers += 1;
    }
    assert!(names > 400 && numbers > 400, "{names} names, {numbers} numbers");
}

#[test]
fn a_phrase_means_the_same_as_in_explain() {
    let (mut count, mut known) = (0, 0);
    for (text, meant) in TEXTS {
        // Messages that any program may write count only from a known writer.
        let anybodys =
            matches!(meant.row().family, Family::Local | Family::Network | Family::Request | Family::Silence);
        let line = format!("x: {text}");
        if of_line(&line).files[0].program.is_some() {
            known += 1;
            continue;
        }
        if anybodys {
            continue;
        }
        // A phrase may contain another one; the longest one counts.
        assert_eq!(Signal::in_line(text), Some(*meant), "{text}");
        assert_eq!(told(&line), explained(*meant), "{text}");
        let upper = line.to_uppercase();
        if of_line(&upper).files[0].program.is_none() {
            assert_eq!(told(&upper), explained(*meant), "{text}");
        }
        count += 1;
    }
    assert!(count > 500 && known < count / 4, "only {count}, and {known} that show who wrote them");
}

#[test]
fn alerts_and_verify_codes_are_read_by_their_numbers() {
    let shown = |line: &str| of_line(line).incidents[0].shown.as_ref().map(|shown| shown.signal.id());
    for row in SIGNALS.iter().filter(|row| row.alert.is_some()) {
        let number = row.alert.unwrap_or_default();
        let line = format!("error:0A000418:SSL routines::a name that is not known:SSL alert number {number}");
        assert_eq!(shown(&line), Some(row.id));
        // A close_notify is an end like any other.
        if let Some(meant) = Signal::of(row.id).filter(|_| number != 0) {
            holds(&format!("ssl error, SSL alert number {number}"), meant);
        }
    }
    for code in CODES.iter().filter(|code| code.library == Library::Verify && code.number != 0) {
        assert_eq!(shown(&format!("Verify return code: {} (x)", code.number)), Some(code.signal.id()));
        assert_eq!(shown(&format!("verify error:num={}:x", code.number)), Some(code.signal.id()));
        holds(&format!("verify error:num={}:x", code.number), code.signal);
    }
}
