//! Combines the judgements on single failures into one verdict, with evidence for and against it.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use nssight_diagnosis::cause::At;
use nssight_diagnosis::fact::{SeenBy, fact};
use nssight_diagnosis::judge::{self, Alternative, Candidate, Case, Judgement};
use nssight_diagnosis::signal::{Family, signal};
use nssight_diagnosis::spelling;
use nssight_diagnosis::verdict::{self, Also, Names};
use nssight_diagnosis::vocabulary::{Outcome, Peer};
use nssight_diagnosis::{Cause, Component, Confidence, Facts, Layer, Remedy, Shown, Verdict};

use crate::fitting;
use crate::format::{FORMATS, Format};
use crate::heartbeat::Heartbeat;
use crate::incident::{Group, Placed};
use crate::scan::Scanned;
use crate::sign::Role;
use crate::view::{View, view};
use crate::{Document, FileSummary, Incident, Quote, SCHEMA};

/// The order of evidence in a deployment with a bridge, the best informed log first.
const HOPS: [Role; 3] = [Role::Bridge, Role::Client, Role::Server];

pub(crate) fn conclude(files: &[Scanned], groups: &[Group<'_>], heartbeats: Vec<Heartbeat>) -> Document {
    let (overcome, open): (Vec<_>, Vec<_>) = groups.iter().partition(|group| group.overcome().is_some());
    let failures: Vec<Failure<'_>> = open.into_iter().map(Failure::of).collect();
    let mut by_cause: BTreeMap<Option<Cause>, Vec<usize>> = BTreeMap::new();
    for (index, failure) in failures.iter().enumerate() {
        by_cause.entry(failure.named().map(|first| first.cause)).or_default().push(index);
    }
    // The most frequent cause, and of equals the latest; its last failure represents it.
    let mut ranked: Vec<(&Failure<'_>, usize, usize)> = by_cause
        .into_values()
        .filter_map(|members| members.last().map(|last| (&failures[*last], members.len(), *last)))
        .collect();
    ranked.sort_by_key(|(failure, count, last)| (failure.named().is_none(), Reverse((*count, *last))));
    let (verdict, evidence, against, next) = match ranked.first() {
        Some((failure, count, _)) if failure.named().is_some() => failed(failure, *count, files, &heartbeats),
        _ if !heartbeats.is_empty() => beating(&heartbeats[0]),
        Some((failure, ..)) => unknown(failure, files),
        None => nothing(files, &overcome),
    };
    let incidents = ranked.iter().map(|(failure, count, _)| failure.incident(*count)).collect();
    let summary = |file: &Scanned| FileSummary {
        name: file.name.clone(),
        role: file.role(),
        program: file.format.map(|format| format.name),
        bytes: file.bytes,
        events: file.count,
        notes: file.notes.clone(),
    };
    let files = files.iter().map(summary).collect();
    let (captures, connections) = (Vec::new(), Vec::new());
    Document { schema: SCHEMA, verdict, evidence, against, next, incidents, heartbeats, captures, connections, files }
}

/// One failure, with its judgement.
struct Failure<'a> {
    group: &'a Group<'a>,
    view: View,
    judgement: Judgement,
    names: Names,
}

impl<'a> Failure<'a> {
    fn of(group: &'a Group<'a>) -> Self {
        let view = view(group);
        let mut judgement = judged(view.shown.as_ref(), &view.facts);
        // If its lines do not show which side wrote it: from a server, it would be about the other side's certificate.
        let of_a_certificate = |shown: &Shown| matches!(shown.signal.row().family, Family::Alert | Family::Chain);
        let nobodys = group.events.iter().all(|placed| placed.role == Role::Unknown);
        if nobodys && view.shown.as_ref().is_some_and(of_a_certificate) {
            judgement = judgement.of_either_side();
        }
        let has_bridge = HOPS.into_iter().any(|role| group.heard(role));
        // The client's credentials are its own, whatever format bridge and server use for theirs.
        let formats = || group.events.iter().filter_map(Placed::format).filter(|format| format.profile.is_some());
        let clients = formats().find(|format| format.role == Role::Client);
        let peer = if has_bridge && clients.or_else(|| formats().next()).is_some_and(|format| !format.nss) {
            Peer::BridgeOfFiles
        } else if has_bridge {
            Peer::Bridge
        } else {
            Peer::Plain
        };
        Self { group, view, judgement, names: Names { peer, ..Names::default() } }
    }

    fn seen_at(&self) -> Option<Layer> {
        self.view.shown.as_ref()?.layer
    }

    /// The cause that its lines name. A disconnect or a silence of the other side can have any cause, and so can an error of which only the
    /// name is known: in these cases another fact must support a cause.
    fn named(&self) -> Option<&Candidate> {
        let signal = self.judgement.shown.as_ref()?.signal;
        let no_reason = spelling::says_no_reason(signal);
        // A handshake failure has several reasons; together with other facts it may have one.
        if no_reason && signal != signal::ALERT_HANDSHAKE_FAILURE {
            return None;
        }
        let vague = matches!(signal.row().family, Family::End | Family::Silence | Family::Other);
        let tells = !vague && !no_reason;
        self.judgement.first().filter(|_| tells || self.judgement.confidence != Confidence::Possible)
    }

    fn component(&self, component: Component) -> Component {
        // The catalogue describes a client; a server has corresponding credentials.
        let own = matches!(component, Component::ClientConfig | Component::ClientDb | Component::ClientHost);
        match self.view.of_server.filter(|_| own) {
            Some(Role::Bridge) => Component::Bridge,
            Some(Role::Server) => Component::Server,
            Some(_) => verdict::named(Component::Peer, &self.names),
            None => verdict::named(component, &self.names),
        }
    }

    /// All remaining causes, if none of them is named.
    fn open(&self) -> Vec<Alternative> {
        let Some(first) = self.judgement.first() else { return Vec::new() };
        let of = |candidate: &Candidate| Alternative {
            cause: candidate.cause,
            component: self.component(candidate.component),
            tell_apart: judge::tell_apart(first.cause, candidate.cause, self.names.peer),
        };
        self.judgement.candidates.iter().map(of).collect()
    }

    /// The verdict with this cause, completed from the catalogue.
    fn verdict(&self, first: &Candidate, summary: String) -> Verdict {
        let entry = first.cause.entry();
        let format = self.group.events.iter().rev().find_map(Placed::format);
        let seen_at = self.seen_at();
        let layer = match entry.rules.at {
            At::Home => entry.layer,
            At::Shown => seen_at.unwrap_or(entry.layer),
        };
        let others = self.judgement.alternatives(self.names.peer).into_iter();
        let others = others.map(|other| Alternative { component: self.component(other.component), ..other });
        let also = self.judgement.also();
        let also = also.map(|other| Also { cause: other.cause, component: self.component(other.component) });
        Verdict {
            status: Outcome::Fail,
            layer: Some(layer),
            seen_at: seen_at.or(Some(layer)),
            cause: Some(first.cause),
            component: Some(self.component(first.component)),
            confidence: self.judgement.confidence,
            why: Some(entry.why.of(self.names.peer).to_owned()),
            remedies: fitting::remedies(format, verdict::remedies(&self.judgement.advice, &self.names)),
            alternatives: others.collect(),
            also: also.collect(),
            docs: Some(verdict::page(first.cause)),
            ..Verdict::inconclusive(summary)
        }
    }

    fn incident(&self, count: usize) -> Incident {
        let cause = self.named().map(|first| first.cause);
        let layer = cause.map(|cause| cause.entry().layer);
        let (shown, facts) = (self.view.shown.clone(), self.view.facts.clone());
        let decides = self.view.decides.and_then(|place| self.group.events.get(place)).map(Placed::quote);
        Incident { cause, layer, count, shown, facts, lines: quotes(self.group), decides }
    }
}

fn judged(shown: Option<&Shown>, facts: &Facts) -> Judgement {
    judge::judge(&Case { shown: shown.into_iter().collect(), facts: facts.iter().collect() })
}

type Conclusion = (Verdict, Vec<Quote>, Vec<String>, Option<Remedy>);

fn failed(failure: &Failure<'_>, count: usize, files: &[Scanned], heartbeats: &[Heartbeat]) -> Conclusion {
    let Some(first) = failure.named() else { return unknown(failure, files) };
    let entry = first.cause.entry();
    let times = if count > 1 { format!(" It happened {count} times.") } else { String::new() };
    let dead = failure.view.facts.has(fact::BridgeClose::AtOnce);
    let beat = heartbeats.first().filter(|_| dead).map_or(String::new(), |beat| {
        format!(
            " {} has an end of file every {} s, {} in total: a program connects there without sending data, and leaves dead \
             connections in the bridge's queue.",
            beat.file, beat.period_s, beat.count
        )
    });
    // The catalogue's titles are about a client.
    let whose = failure.view.of_server.and_then(|_| failure.group.events.iter().rev().find_map(Placed::format));
    let whose = whose.map_or(String::new(), |format| format!("{} has this fault on its own side: ", format.title));
    let title = entry.title.of(failure.names.peer);
    let verdict = failure.verdict(first, format!("{whose}{title}{times}{beat}"));
    let mut against = Vec::new();
    if failure.group.joined_without_time {
        against
            .push("the client's lines have no timestamps, so their relation to the other lines is assumed".to_owned());
    }
    if let Some((_, next)) = failure.group.next_success() {
        against.push(format!("a later attempt succeeded: {}:{}", next.file.name, next.event.line));
    }
    let silent = [(Role::Client, "client"), (Role::Bridge, "bridge"), (Role::Server, "server")]
        .into_iter()
        .filter(|(role, _)| !failure.group.heard(*role));
    for (role, name) in silent {
        let mut theirs = files.iter().filter(|file| file.role() == role && !file.events.is_empty()).peekable();
        if theirs.peek().is_some() && !theirs.any(|file| failure.group.is_beside(file)) {
            against.push(format!("the {name}'s log has no lines for the time of the failure"));
        }
    }
    if let Some(end) = failure.group.finished_later(files) {
        against.push(format!("the request succeeded anyway: {}:{}", end.file.name, end.event.line));
    }
    let next = fitting::next(failure.group.events.iter().rev().find_map(Placed::format), &failure.names, entry);
    (verdict, quotes(failure.group), against, next)
}

/// The verdict if nothing failed except for events at regular intervals.
fn beating(beat: &Heartbeat) -> Conclusion {
    let group = Group::default();
    let shown = Shown::new(signal::BARE_CONNECTIONS).at(Layer::Bridge);
    let judgement = judged(Some(&shown), &Facts::default());
    let names = Names { peer: Peer::Bridge, ..Names::default() };
    let view = View { shown: Some(shown), facts: Facts::default(), of_server: None, decides: None };
    let failure = Failure { group: &group, view, judgement, names };
    let port = beat.port.map(|port| format!(" at {port}")).unwrap_or_default();
    let summary =
        |title: &str| format!("{title} {}: {} times{port}, every {} s.", beat.file, beat.count, beat.period_s);
    let verdict = match failure.judgement.first() {
        Some(first) => failure.verdict(first, summary(first.cause.entry().title.of(failure.names.peer))),
        None => Verdict::inconclusive(summary("An end of file recurs regularly.")),
    };
    let confirm = verdict.cause.and_then(|cause| cause.entry().confirm(failure.names.peer).next());
    let next = confirm.map(|step| failure.names.remedy(step));
    (verdict, Vec::new(), Vec::new(), next)
}

/// The verdict on one connection of a capture.
pub(crate) struct OfConnection {
    pub(crate) verdict: Verdict,
    pub(crate) incident: Incident,
    pub(crate) next: Option<Remedy>,
}

/// Judges one connection of a capture: like a log, a capture is second-hand evidence.
pub(crate) fn of_connection(shown: Option<Shown>, facts: Facts, text: &str, quote: Quote) -> OfConnection {
    let group = Group::default();
    let shown = shown.map(|shown| Shown { said_by: SeenBy::Log, ..shown });
    let judgement = judged(shown.as_ref(), &facts);
    let view = View { shown, facts, of_server: None, decides: None };
    let failure = Failure { group: &group, view, judgement, names: Names::default() };
    let verdict = match failure.named() {
        Some(first) => {
            let title = first.cause.entry().title.of(failure.names.peer);
            failure.verdict(first, format!("{title} On the wire: {text}."))
        }
        None => Verdict {
            seen_at: failure.seen_at(),
            alternatives: failure.open(),
            ..Verdict::inconclusive(format!("cannot tell: a connection failed, but its bytes do not show why: {text}"))
        },
    };
    let next = verdict.cause.and_then(|cause| fitting::next(None, &failure.names, cause.entry())).or_else(|| {
        let text = "Collect the server's log for the same second: it shows what is encrypted on the wire.";
        Some(Remedy { text: text.to_owned(), command: None })
    });
    OfConnection {
        verdict,
        incident: Incident { decides: Some(quote.clone()), lines: vec![quote], ..failure.incident(1) },
        next,
    }
}

/// The verdict if something failed and the lines do not show what.
fn unknown(failure: &Failure<'_>, files: &[Scanned]) -> Conclusion {
    let (what, next) = missing(failure, files);
    let verdict = Verdict {
        seen_at: failure.seen_at(),
        alternatives: failure.open(),
        ..Verdict::inconclusive(format!("cannot tell: something failed, but {what}"))
    };
    let end = failure.group.finished_later(files);
    let told = end.map(|end| format!("the request succeeded anyway: {}:{}", end.file.name, end.event.line));
    (verdict, quotes(failure.group), told.into_iter().collect(), Some(next))
}

/// What is missing about a failure, and what to collect next: the log of the first missing hop of a deployment, or otherwise what this
/// program can additionally report.
fn missing(failure: &Failure<'_>, files: &[Scanned]) -> (String, Remedy) {
    let of = |text: &str, command: Option<&str>| Remedy { text: text.to_owned(), command: command.map(str::to_owned) };
    let Some(heard) = failure.group.events.iter().rev().find_map(Placed::format) else {
        let next =
            of("Read the whole log, or check the layers on the client's host.", Some("nssight diagnose <HOST>:<PORT>"));
        return ("these lines do not show which program wrote them".to_owned(), next);
    };
    let is_there = |format: &Format| files.iter().any(|file| file.role() == format.role && !file.events.is_empty());
    let lacks = |role: &Role| {
        FORMATS.iter().find(|it| it.profile == heard.profile && it.role == *role).filter(|format| !is_there(format))
    };
    match heard.profile {
        None => {
            (format!("these lines of {} do not show the reason", heard.title), of(heard.next.text, heard.next.command))
        }
        Some(_) => match HOPS.iter().find_map(lacks) {
            Some(other) => (
                format!("the log of {} is needed to find the reason", other.title),
                of(other.next.text, other.next.command),
            ),
            None => {
                let next = of("Check the layers on the client's host.", Some("nssight diagnose"));
                ("more than one fault causes lines like these".to_owned(), next)
            }
        },
    }
}

fn nothing(files: &[Scanned], overcome: &[&Group<'_>]) -> Conclusion {
    let events: u64 = files.iter().map(|file| file.count).sum();
    if let Some((group, success)) = overcome.iter().rev().find_map(|group| Some((group, group.overcome()?))) {
        let summary = "cannot tell: the failures in these logs were retried, and the retries succeeded";
        let next = Remedy { text: "Do nothing, unless the failure recurs.".to_owned(), command: None };
        let lines = quotes(group).into_iter().chain([success.quote()]).collect();
        return (Verdict::inconclusive(summary.to_owned()), lines, Vec::new(), Some(next));
    }
    let summary = match events {
        0 => "cannot tell: no known message found in the input",
        _ => "cannot tell: no message in the input names a known failure",
    };
    let next = Remedy {
        text: "Check the layers on the host where the failure occurs.".to_owned(),
        command: Some("nssight diagnose".to_owned()),
    };
    (Verdict::inconclusive(summary.to_owned()), Vec::new(), Vec::new(), Some(next))
}

/// Maximum number of lines to show of one failure.
const QUOTES: usize = 24;

fn quotes(group: &Group<'_>) -> Vec<Quote> {
    let from = group.events.len().saturating_sub(QUOTES);
    group.events[from..].iter().map(Placed::quote).collect()
}
