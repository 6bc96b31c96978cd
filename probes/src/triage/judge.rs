//! From the lines of one failure to a cause. What a client says of its own side comes first, then the sessions from the
//! outside in; an end of file says only that the other side went, so the other side's log must say why.

use std::collections::BTreeMap;

use super::heartbeat::Heartbeat;
use super::incident::Group;
use super::scan::Scanned;
use super::sign::{Role, Sign};
use super::{Candidate, Document, FileSummary, Incident, Quote, SCHEMA};
use crate::catalogue::Cause;
use crate::diagnosis::Verdict;
use crate::finding::Remedy;
use crate::vocabulary::{Confidence, Outcome};

use Confidence::{Certain, Likely, Possible};

/// What a rule says of a failure.
type Opinion = Option<(Cause, Confidence)>;

pub(super) fn judge(files: &[Scanned], groups: &[Group<'_>], heartbeats: Vec<Heartbeat>) -> Document {
    let mut by_cause: BTreeMap<Option<Cause>, Vec<(usize, Confidence)>> = BTreeMap::new();
    for (index, group) in groups.iter().enumerate() {
        let opinion = opinion(group);
        let confidence = match opinion {
            // Which of several failures a line without a time belongs to is a guess.
            Some((_, Certain)) if group.joined_without_time => Likely,
            Some((_, confidence)) => confidence,
            None => Possible,
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
            let (index, confidence) = *members.last().unwrap_or(&(0, Possible));
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
    let verdict = Verdict {
        status: Outcome::Fail,
        layer: Some(entry.layer),
        cause: Some(cause),
        component: Some(entry.component),
        confidence,
        summary: format!("{}{times}{beat}", entry.title),
        remedies: entry
            .fix
            .iter()
            .map(|step| Remedy { text: step.text.clone(), command: step.command.clone() })
            .collect(),
    };
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
    let step = entry.confirm.first();
    let next = step.map(|step| Remedy { text: step.text.clone(), command: step.command.clone() });
    (verdict, quotes(group), against, next)
}

fn inconclusive(summary: String) -> Verdict {
    let (layer, cause, component) = (None, None, None);
    let remedies = Vec::new();
    Verdict { status: Outcome::Inconclusive, layer, cause, component, confidence: Possible, summary, remedies }
}

fn heartbeat(beats: &[Heartbeat]) -> Conclusion {
    let cause = Cause::BareConnections;
    let entry = cause.entry();
    let beat = &beats[0];
    let verdict = Verdict {
        status: Outcome::Fail,
        layer: Some(entry.layer),
        cause: Some(cause),
        component: Some(entry.component),
        confidence: Likely,
        summary: format!("{} {}: {} times, every {} s.", entry.title, beat.file, beat.count, beat.period_s),
        remedies: entry
            .fix
            .iter()
            .map(|step| Remedy { text: step.text.clone(), command: step.command.clone() })
            .collect(),
    };
    let step = entry.confirm.first();
    let next = step.map(|step| Remedy { text: step.text.clone(), command: step.command.clone() });
    (verdict, Vec::new(), Vec::new(), next)
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
    group.events[from..].iter().map(super::incident::Placed::quote).collect()
}

fn opinion(group: &Group<'_>) -> Opinion {
    local(group)
        .or_else(|| outer(group))
        .or_else(|| request(group))
        .or_else(|| inner(group))
        .or_else(|| bridge(group))
        .or_else(|| reply(group))
}

/// What this client, or a tool in its place, says.
fn of_client<'a>(group: &'a Group<'_>) -> impl Iterator<Item = (Sign, bool)> + 'a {
    let own = |role: Role| matches!(role, Role::Client | Role::Tool | Role::Unknown);
    let counts = |role: Role, sign: Sign| role != Role::Unknown || !sign.is_anybodys();
    let events = group.events.iter().filter(move |placed| own(placed.role) && counts(placed.role, placed.event.sign));
    events.map(|placed| (placed.event.sign, placed.event.child))
}

/// What fails before anything is connected.
fn local(group: &Group<'_>) -> Opinion {
    let looked_up = of_client(group).any(|(sign, _)| sign == Sign::NicknameLookup);
    if of_client(group).any(|(sign, _)| sign == Sign::PasswordMissing) {
        return Some((Cause::PasswordMissing, Likely));
    }
    of_client(group).find_map(|(sign, _)| {
        Some(match sign {
            Sign::ConfigBroken => (Cause::ConfigInvalid, Likely),
            Sign::ConfigMissing => (Cause::ConfigMissing, Possible),
            Sign::WrongPassword | Sign::Code(-8177) => (Cause::PasswordWrong, Likely),
            Sign::BatchPassword => (Cause::PasswordFileFormat, Likely),
            Sign::NoCallback => (Cause::ThreadLosesPassword, Likely),
            Sign::NoDatabase | Sign::Code(-8174) => (Cause::DbMissing, Possible),
            Sign::Code(-8015) => (Cause::DbTypeMismatch, Likely),
            // PR_LOAD_LIBRARY_ERROR is what a successful start of NSS leaves behind (measured).
            Sign::NotFound => (Cause::CertNotFound, Likely),
            Sign::Code(-5977) if looked_up => (Cause::CertNotFound, Likely),
            Sign::Code(-8192) => (Cause::DbUninitialised, Likely),
            Sign::Code(-12285) => (Cause::KeyMissing, Possible),
            Sign::NoSuitableCertificate => (Cause::CertNotFound, Possible),
            Sign::Code(-8152 | -8037) => (Cause::KeyUnusable, Likely),
            Sign::Code(-8023) => (Cause::ForkBreaksNss, Possible),
            Sign::KeyMismatch => (Cause::KeyMismatch, Likely),
            Sign::Code(-5973) | Sign::NoName => (Cause::NameUnresolved, Likely),
            Sign::Code(-5981) | Sign::Refused => (Cause::TcpRefused, Likely),
            Sign::Code(-5979) | Sign::TimedOut => (Cause::TcpTimeout, Likely),
            Sign::Code(-5980 | -5927) | Sign::Unreachable => (Cause::TcpUnreachable, Likely),
            _ => return None,
        })
    })
}

/// Errors of a TLS client: the peer's certificate as we see it, and the peer's alerts about ours.
fn handshake(code: i32) -> Option<(Cause, Cause, Confidence)> {
    Some(match code {
        -8179 => (Cause::BridgeCertUntrusted, Cause::ServerCertUntrusted, Possible),
        -8172 => (Cause::CaUntrusted, Cause::CaUntrusted, Likely),
        -8171 | -8156 | -8155 | -8080 => (Cause::BridgeCertUntrusted, Cause::ServerCertUntrusted, Likely),
        -8181 => (Cause::BridgeCertExpired, Cause::ServerCertExpired, Possible),
        -8162 => (Cause::CaExpired, Cause::CaExpired, Likely),
        -12276 => (Cause::BridgeCertName, Cause::ServerCertName, Likely),
        -8101 | -8102 => (Cause::BridgeCertUsage, Cause::ServerCertUsage, Likely),
        -12156 | -8016 => (Cause::BridgeCertWeak, Cause::ServerCertWeak, Likely),
        -12269 => (Cause::CertExpired, Cause::InnerClientCertRejected, Possible),
        -12195 | -12194 => (Cause::ClientCertRejected, Cause::InnerClientCertRejected, Likely),
        -12271 | -12224 => (Cause::ClientCertRejected, Cause::InnerClientCertRejected, Possible),
        -12225 => (Cause::CertWrongUsage, Cause::InnerClientCertRejected, Likely),
        -12270 => (Cause::ClientCertRevokedAtPeer, Cause::InnerClientCertRejected, Likely),
        -12107 => (Cause::ClientCertNotSent, Cause::InnerClientCertRejected, Likely),
        -12227 => (Cause::ClientCertNotSent, Cause::InnerClientCertRejected, Possible),
        -12286 => (Cause::TlsNoCommonCipher, Cause::InnerTlsVersion, Possible),
        -12190 | -12279 => (Cause::TlsVersionMismatch, Cause::InnerTlsVersion, Likely),
        -12192 => (Cause::KeyMismatch, Cause::InnerClientCertRejected, Likely),
        -12189 | -12188 | -12182 => (Cause::PeerAlert, Cause::InnerClosed, Possible),
        -12263 => (Cause::NotTls, Cause::InnerNotTls, Likely),
        -12154 => (Cause::TlsPolicyBlocked, Cause::TlsPolicyBlocked, Likely),
        -12260..=-12241 => (Cause::HandshakeGarbled, Cause::InnerNotTls, Possible),
        _ => return None,
    })
}

/// OpenSSL's codes and words, as the errors that NSS has for the same.
fn as_code(sign: Sign) -> Option<i32> {
    Some(match sign {
        Sign::Code(code) => code,
        Sign::Alert(40) => -12227,
        Sign::Alert(42) => -12271,
        Sign::Alert(43) => -12225,
        Sign::Alert(44) => -12270,
        Sign::Alert(45) => -12269,
        Sign::Alert(46) => -12224,
        Sign::Alert(48) => -12195,
        Sign::Alert(49) => -12194,
        Sign::Alert(51) => -12192,
        Sign::Alert(70) => -12190,
        Sign::Alert(71) => -12189,
        Sign::Alert(80) => -12188,
        Sign::Alert(112) => -12182,
        Sign::Alert(116) => -12107,
        Sign::Verify(9 | 10) => -8181,
        Sign::Verify(2 | 7 | 18..=21) => -8179,
        Sign::Verify(24) => -8156,
        Sign::Verify(25) => -8155,
        Sign::Verify(26) => -8101,
        Sign::Verify(62 | 64) => -12276,
        Sign::Verify(66..=68) => -8016,
        Sign::NotTls => -12263,
        Sign::NoSharedVersion => -12279,
        Sign::OursExpired => -12269,
        _ => return None,
    })
}

/// Whether the client's own word, that of its parent process, is about the inner session.
fn speaks_of_inner(group: &Group<'_>) -> bool {
    group.has(Role::Client, Sign::OwnContext) || group.has(Role::Bridge, Sign::RequestRead)
}

fn outer(group: &Group<'_>) -> Opinion {
    let inner = speaks_of_inner(group);
    let of_outer = |(sign, child): (Sign, bool)| {
        let ours = child || !inner;
        as_code(sign).filter(|code| ours && !matches!(code, -5938 | -5961))
    };
    let ours = of_client(group).find_map(of_outer);
    let before_request = !group.has(Role::Bridge, Sign::ClientConnected);
    let at_bridge = group.events.iter().find_map(|placed| match (placed.role, placed.event.sign) {
        (Role::Bridge, Sign::Code(code)) if before_request => Some(code),
        _ => None,
    });
    let expired_there = group.has(Role::Bridge, Sign::PeerExpired) && before_request;
    match (ours, at_bridge) {
        // A wrong name, and the bridge heard that its certificate was refused for it: nothing else looks like this.
        (Some(-12276), Some(-12271)) => Some((Cause::BridgeCertName, Certain)),
        (Some(_), _) if expired_there => Some((Cause::CertExpired, Likely)),
        (Some(code), _) => handshake(code).map(|(cause, _, confidence)| (cause, confidence)),
        (None, _) if expired_there => Some((Cause::CertExpired, Likely)),
        (None, Some(code)) => from_the_bridge(code),
        // The child's end of file is one of the outer session.
        (None, None) if of_client(group).any(|(sign, child)| child && sign == Sign::Code(-5938)) => {
            Some((Cause::PeerClosedInHandshake, Possible))
        }
        (None, None) => None,
    }
}

/// What the bridge says of a client's certificate, or hears about its own.
fn from_the_bridge(code: i32) -> Opinion {
    Some(match code {
        -8179 | -8172 | -8171 => (Cause::ClientCertRejected, Likely),
        -8101 | -8102 => (Cause::CertWrongUsage, Likely),
        -12285 => (Cause::ClientCertNotSent, Likely),
        -12195 => (Cause::BridgeCertUntrusted, Possible),
        -12269 => (Cause::BridgeCertExpired, Possible),
        -12279 => (Cause::TlsVersionMismatch, Likely),
        -12286 => (Cause::TlsNoCommonCipher, Likely),
        _ => return None,
    })
}

fn request(group: &Group<'_>) -> Opinion {
    let ours = of_client(group).any(|(sign, _)| sign == Sign::AuthenticationFailed);
    let theirs =
        group.has(Role::Bridge, Sign::AuthenticationFailed) || group.has(Role::Server, Sign::AuthenticationFailed);
    if ours || theirs {
        return Some((Cause::RequestAuthFailed, if ours && theirs { Certain } else { Likely }));
    }
    let refused = group.events.iter().any(|placed| placed.event.sign == Sign::RequestError);
    refused.then_some((Cause::RequestRejected, Likely))
}

fn inner(group: &Group<'_>) -> Opinion {
    let ours = of_client(group).find_map(|(sign, child)| as_code(sign).filter(|_| !child));
    let at_server = group.events.iter().find_map(|placed| match (placed.role, placed.event.sign) {
        (Role::Server, Sign::Code(code)) if !placed.event.child => Some(code),
        _ => None,
    });
    if let Some((_, cause, confidence)) = ours.filter(|code| !matches!(code, -5938 | -5961)).and_then(handshake) {
        let sure = cause == Cause::ServerCertName && at_server == Some(-12271);
        return Some((cause, if sure { Certain } else { confidence }));
    }
    Some(match at_server? {
        -8179 | -8172 | -8171 | -8181 | -8101 | -12285 => (Cause::InnerClientCertRejected, Likely),
        -12195 => (Cause::ServerCertUntrusted, Possible),
        -12269 => (Cause::ServerCertExpired, Possible),
        _ => return None,
    })
}

/// The client saw an end; the bridge says why.
fn bridge(group: &Group<'_>) -> Opinion {
    if group.has(Role::Bridge, Sign::InvalidRequest) {
        return Some((Cause::BridgeRejectedRequest, Likely));
    }
    let complained = of_client(group).any(|(sign, _)| sign.is_trouble());
    let read = group.has(Role::Bridge, Sign::RequestRead);
    let began = group.has(Role::Server, Sign::Started);
    let ended = |placed: &&super::incident::Placed<'_>| placed.role == Role::Bridge && placed.event.sign.is_end();
    let last = group.events.iter().rev().find(ended)?.event.sign;
    match (read, began) {
        // It spoke to its server for the first time, and nobody was there.
        (true, false) if matches!(last, Sign::Code(_)) => {
            Some((Cause::ServerLinkDead, if complained { Likely } else { Possible }))
        }
        // The server was at work, and the bridge lost it.
        (true, true) if complained => Some((Cause::InnerClosed, Possible)),
        _ => None,
    }
}

fn reply(group: &Group<'_>) -> Opinion {
    if of_client(group).any(|(sign, _)| sign == Sign::NotAuthentic) {
        return Some((Cause::ReplyTampered, Likely));
    }
    let cut = of_client(group).any(|(sign, _)| sign == Sign::ReplyCut);
    cut.then_some((Cause::ReplyTruncated, Possible))
}
