//! From opinions on single failures to the verdict on all of them, with its evidence and with what speaks against it.

use std::collections::BTreeMap;

use super::heartbeat::Heartbeat;
use super::incident::{Group, Placed};
use super::opinion::opinion;
use super::scan::Scanned;
use super::sign::Role;
use super::{Candidate, Document, FileSummary, Incident, Quote, SCHEMA};
use crate::catalogue::Cause;
use crate::diagnosis::Verdict;
use crate::finding::Remedy;
use crate::vocabulary::{Confidence, Outcome};

pub(super) fn judge(files: &[Scanned], groups: &[Group<'_>], heartbeats: Vec<Heartbeat>) -> Document {
    let mut by_cause: BTreeMap<Option<Cause>, Vec<(usize, Confidence)>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        let opinion = opinion(group);
        let confidence = match opinion {
            // Which of several failures a line without a time belongs to is a guess.
            Some((_, Confidence::Certain)) if group.joined_without_time => Confidence::Likely,
            Some((_, confidence)) => confidence,
            None => Confidence::Possible,
        };
        by_cause.entry(opinion.map(|(cause, _)| cause)).or_default().push((index, confidence));
    }
    // The most frequent one, and among equals the last.
    let mut ranked: Vec<_> = by_cause.into_iter().collect();
    ranked.sort_by_key(|(cause, members)| {
        (cause.is_none(), std::cmp::Reverse((members.len(), members.last().map(|(index, _)| *index))))
    });
    let incidents = ranked.iter().map(|(cause, members)| incident(*cause, members, groups)).collect();
    let (verdict, evidence, against, next) = match ranked.first() {
        Some((Some(cause), members)) => {
            let (index, confidence) = *members.last().unwrap_or(&(0, Confidence::Possible));
            failed(*cause, confidence, members.len(), &groups[index], files, &heartbeats)
        }
        _ if !heartbeats.is_empty() => heartbeat(&heartbeats),
        Some((None, members)) => {
            let group = members.last().and_then(|(index, _)| groups.get(*index));
            unknown(group, files)
        }
        None => nothing(files),
    };
    let candidates = candidates(&verdict, groups.last());
    let summary = |file: &Scanned| FileSummary {
        name: file.name.clone(),
        role: file.role,
        bytes: file.bytes,
        events: file.count,
        notes: file.notes.clone(),
    };
    let files = files.iter().map(summary).collect();
    Document { schema: SCHEMA, verdict, evidence, against, candidates, next, incidents, heartbeats, files }
}

fn incident(cause: Option<Cause>, members: &[(usize, Confidence)], groups: &[Group<'_>]) -> Incident {
    let lines = members.last().and_then(|(index, _)| groups.get(*index)).map(quotes).unwrap_or_default();
    Incident { cause, layer: cause.map(|cause| cause.entry().layer), count: members.len(), lines }
}

type Conclusion = (Verdict, Vec<Quote>, Vec<String>, Option<Remedy>);

fn failed(
    cause: Cause,
    confidence: Confidence,
    count: usize,
    group: &Group<'_>,
    files: &[Scanned],
    heartbeats: &[Heartbeat],
) -> Conclusion {
    let entry = cause.entry();
    let times = if count > 1 { format!(" It happened {count} times.") } else { String::new() };
    let beat = heartbeats.first().filter(|_| cause == Cause::ServerLinkDead).map_or(String::new(), |beat| {
        format!(
            " {} has an end of file every {} s, {} of them: something connects there and says nothing, and that leaves dead \
             connections in the bridge's queue.",
            beat.file, beat.period_s, beat.count
        )
    });
    let verdict = failure(cause, confidence, format!("{}{times}{beat}", entry.title));
    let mut against = Vec::new();
    if group.joined_without_time {
        against.push("the client's lines have no times: that they belong to these of the others is assumed".to_owned());
    }
    let silent = [(Role::Client, "client"), (Role::Bridge, "bridge"), (Role::Server, "server")]
        .into_iter()
        .filter(|(role, _)| !group.heard(*role));
    for (role, name) in silent {
        if files.iter().any(|file| file.role == role && !file.events.is_empty()) {
            against.push(format!("the {name}'s log has nothing at that time"));
        }
    }
    (verdict, quotes(group), against, entry.confirm.first().map(Remedy::from))
}

/// With what the catalogue has for this cause.
fn failure(cause: Cause, confidence: Confidence, summary: String) -> Verdict {
    let entry = cause.entry();
    Verdict {
        status: Outcome::Fail,
        layer: Some(entry.layer),
        cause: Some(cause),
        component: Some(entry.component),
        confidence,
        summary,
        remedies: entry.fix.iter().map(Remedy::from).collect(),
    }
}

fn inconclusive(summary: String) -> Verdict {
    let (layer, cause, component) = (None, None, None);
    let remedies = Vec::new();
    Verdict {
        status: Outcome::Inconclusive,
        layer,
        cause,
        component,
        confidence: Confidence::Possible,
        summary,
        remedies,
    }
}

fn heartbeat(beats: &[Heartbeat]) -> Conclusion {
    let cause = Cause::BareConnections;
    let beat = &beats[0];
    let summary = format!("{} {}: {} times, every {} s.", cause.entry().title, beat.file, beat.count, beat.period_s);
    let verdict = failure(cause, Confidence::Likely, summary);
    (verdict, Vec::new(), Vec::new(), cause.entry().confirm.first().map(Remedy::from))
}

fn unknown(group: Option<&Group<'_>>, files: &[Scanned]) -> Conclusion {
    let lacks = |role: Role| !files.iter().any(|file| file.role == role && !file.events.is_empty());
    let (what, text, command) = if lacks(Role::Bridge) {
        (
            "the bridge's log is not among them",
            "Collect the bridge's log of the same minute, with -v -v; it says how far the client got.",
            Some("journalctl -u sigul_bridge --since '15 min ago' -o short-iso"),
        )
    } else if lacks(Role::Client) {
        (
            "the client's words are not among them",
            "Collect what the client prints with -v -v, its child's words too.",
            Some("sigul -v -v list-users"),
        )
    } else if lacks(Role::Server) {
        (
            "the server's log is not among them",
            "Collect the server's log of the same minute.",
            Some("journalctl -u sigul_server --since '15 min ago' -o short-iso"),
        )
    } else {
        ("more than one fault looks like this", "Walk the layers on the client's host.", Some("nssight diagnose"))
    };
    let verdict = inconclusive(format!("cannot tell: something failed, and {what}"));
    let next = Remedy { text: text.to_owned(), command: command.map(str::to_owned) };
    (verdict, group.map(quotes).unwrap_or_default(), Vec::new(), Some(next))
}

fn nothing(files: &[Scanned]) -> Conclusion {
    let events: u64 = files.iter().map(|file| file.count).sum();
    let summary = match events {
        0 => "cannot tell: no line of these logs is known to nssight",
        _ => "cannot tell: no line of these logs says that something failed",
    };
    let next = Remedy {
        text: "Walk the layers on the host where it fails.".to_owned(),
        command: Some("nssight diagnose".to_owned()),
    };
    (inconclusive(summary.to_owned()), Vec::new(), Vec::new(), Some(next))
}

/// Causes that fit as well.
pub(super) fn candidates(verdict: &Verdict, group: Option<&Group<'_>>) -> Vec<Candidate> {
    let candidate = |cause: Cause, how: &str| Candidate { cause, layer: cause.entry().layer, how: how.to_owned() };
    match (verdict.cause, group) {
        (Some(cause), _) => cause.entry().see_also.iter().map(|other| candidate(other.cause, &other.how)).collect(),
        (None, Some(group)) => {
            let codes = group.events.iter().rev().find(|placed| placed.event.sign.is_trouble());
            let text = codes.map(|placed| String::from_utf8_lossy(placed.event.text.as_bytes()).into_owned());
            let explained = text.map(|text| crate::explain::explain(&text)).unwrap_or_default();
            let of = |explained: crate::explain::Explanation| explained.causes.into_iter();
            let all = explained.into_iter().flat_map(of).take(6);
            all.map(|other| candidate(other.cause, other.check.as_deref().unwrap_or_default())).collect()
        }
        (None, None) => Vec::new(),
    }
}

/// At most so many lines of one failure are shown.
const QUOTES: usize = 24;

fn quotes(group: &Group<'_>) -> Vec<Quote> {
    let from = group.events.len().saturating_sub(QUOTES);
    group.events[from..].iter().map(Placed::quote).collect()
}
