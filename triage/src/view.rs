//! The meaning of the lines of one failure from the client's point of view: facts, and the decisive signal.
//!
//! A client's statements about its own side come first, then the sessions from the outer to the inner one. A server's log is inverted: its
//! objection to the client's certificate is a refusal for the client, and an alert that it received was sent by the client. An end of file
//! only means that the other side disconnected, so it counts only if there is nothing else.

use std::time::Duration;

use nssight_diagnosis::derive::close::close;
use nssight_diagnosis::fact::{Fact, Hop, SeenBy, fact};
use nssight_diagnosis::signal::{Family, Signal, signal};
use nssight_diagnosis::{Facts, Layer, Shown, spelling};

use crate::format::About;
use crate::incident::{Group, Placed};
use crate::sign::{Role, Step};
use crate::turned::{Said, turned};

/// The signal and facts of one failure.
pub(crate) struct View {
    /// The decisive error.
    pub(crate) shown: Option<Shown>,
    pub(crate) facts: Facts,
    /// The failure is the server's own: something on its side is missing or broken.
    pub(crate) of_server: Option<Role>,
    /// The decisive line, by its index among the lines of the failure.
    pub(crate) decides: Option<usize>,
}

/// The meaning of the lines of one failure.
pub(crate) fn view(group: &Group<'_>) -> View {
    let lines = Lines::of(group);
    let shown = lines.local().or_else(|| lines.outer()).or_else(|| lines.request());
    let shown =
        shown.or_else(|| lines.link()).or_else(|| lines.inner()).or_else(|| lines.end()).or_else(|| lines.rest());
    let theirs = if shown.is_none() { lines.theirs() } else { None };
    let (shown, of_server) = match theirs {
        Some((shown, role)) => (Some(shown), Some(role)),
        None => (shown, None),
    };
    let mut facts = lines.facts(shown.as_ref());
    if let Some(whose) = whose(group) {
        facts.put(whose);
    }
    if let Some(kind) = deployment(group) {
        facts.put(kind);
    }
    facts.seen_by(SeenBy::Log);
    let decides = lines.decides(shown.as_ref().map(|shown| shown.signal));
    View { shown: shown.map(|shown| Shown { said_by: SeenBy::Log, ..shown }), facts, of_server, decides }
}

/// The kind of deployment, if all lines that show it agree.
fn deployment(group: &Group<'_>) -> Option<Fact> {
    let mut named = group.events.iter().filter_map(Placed::format).filter_map(|format| format.profile);
    let first = named.next()?;
    named.all(|other| other == first).then(|| Fact::spelled::<fact::DeploymentKind>(first)).flatten()
}

/// Which end's logs have the failure, if only one end has it.
fn whose(group: &Group<'_>) -> Option<fact::LogsOf> {
    let mut roles = group.events.iter().filter(|placed| placed.trouble().is_some()).map(|placed| placed.role);
    let first = roles.next().filter(|role| *role != Role::Unknown)?;
    let is_client = first.is_client();
    roles.all(|role| role != Role::Unknown && role.is_client() == is_client).then_some(if is_client {
        fact::LogsOf::Client
    } else {
        fact::LogsOf::Peer
    })
}

/// Whether this is an error of a session, not of the program's own side, and more than an end of the session.
fn is_of_session(signal: Signal) -> bool {
    matches!(signal.row().family, Family::Alert | Family::Chain | Family::Version | Family::Wire | Family::Policy)
}

fn is_end(signal: Signal) -> bool {
    matches!(signal.row().family, Family::End | Family::Silence)
}

/// The failures at each end of a session, because some failures do not decide if others are present.
struct Counting {
    client: Vec<Signal>,
    peer: Vec<Signal>,
}

impl Counting {
    fn of(group: &Group<'_>) -> Self {
        let at = |client: bool| {
            let own = group.events.iter().filter(|placed| placed.role.is_client() == client);
            let mut shown: Vec<Signal> = own.filter_map(Placed::trouble).collect();
            shown.sort_unstable();
            shown.dedup();
            shown
        };
        Self { client: at(true), peer: at(false) }
    }

    /// The failure in a line, unless another line of the same end explains it.
    fn trouble(&self, placed: &Placed<'_>) -> Option<Signal> {
        let others = if placed.role.is_client() { &self.client } else { &self.peer };
        placed.trouble().filter(|signal| !signal.yields_to(others))
    }
}

/// The lines of one failure, by their writers.
struct Lines<'a> {
    group: &'a Group<'a>,
    counting: Counting,
    /// The bridge's log has the client's connection, or its request.
    accepted: bool,
    read: bool,
    /// The server's log has the beginning of the request.
    begun: bool,
    /// A certificate was looked up by nickname.
    looked_up: bool,
    /// The statement of the bridge, or of the peer in its place, about its client.
    of_bridge: Option<Said>,
    /// The statement of the server about its client.
    of_server: Option<Said>,
    /// The bridge's objection to the server's certificate.
    of_link: Option<Signal>,
}

impl<'a> Lines<'a> {
    fn of(group: &'a Group<'a>) -> Self {
        let counting = Counting::of(group);
        let accepted = group.has(Role::Bridge, Step::Accepts);
        let looked_up = group.events.iter().any(|it| it.role.is_client() && it.event.sign.is(Step::LooksUp));
        let read = group.has(Role::Bridge, Step::Reads);
        // A bridge contacts its server only after it has received a request.
        let of_server = |it: &Placed<'_>| it.event.about.map_or(read, |about| about == About::Server);
        // Of several statements, the first one with a reason.
        let said = |at: fn(Role) -> bool| {
            let own = group.events.iter().filter(|it| at(it.role) && !it.event.child && !it.is_about_itself());
            let own = own.filter(|it| it.role != Role::Bridge || it.event.about != Some(About::Server));
            let mut all = own.filter_map(|it| turned(counting.trouble(it)?));
            let first = all.next()?;
            let knows = |said: &Said| matches!(said, Said::Refuses { knows_why: true, .. });
            Some(if knows(&first) { first } else { all.find(knows).unwrap_or(first) })
        };
        let mut link = group.events.iter().filter(|it| it.role == Role::Bridge && of_server(it));
        let of_link = link.find_map(|it| counting.trouble(it).filter(|signal| signal.row().family == Family::Chain));
        // After the bridge has accepted the client, its messages about certificates concern another one.
        let of_bridge = said(|role| matches!(role, Role::Bridge | Role::Peer)).filter(|_| !accepted);
        let of_server = said(|role| role == Role::Server);
        let begun = group.has(Role::Server, Step::Starts);
        Self { group, counting, accepted, read, begun, looked_up, of_bridge, of_server, of_link }
    }

    /// The error that this client, or a tool in its place, reports.
    fn own(&self) -> impl Iterator<Item = (Signal, &Placed<'a>)> {
        let own = self.group.events.iter().filter(|placed| placed.role.is_client());
        own.filter_map(move |placed| Some((self.counting.trouble(placed)?, placed)))
    }

    fn by(&self, role: Role) -> impl DoubleEndedIterator<Item = (Signal, &Placed<'a>)> {
        let own = self.group.events.iter().filter(move |placed| placed.role == role);
        own.filter_map(move |placed| Some((self.counting.trouble(placed)?, placed)))
    }

    /// The session that a client's line is about. The child process has the outer session. A line of the parent process is about the inner
    /// one if the line shows it, or if the bridge has read a request.
    fn session(&self, placed: &Placed<'_>) -> Option<Layer> {
        // A session gets an id only after the bridge has both sides.
        let has_id = placed.event.session.is_some();
        let speaks_of_inner = self.group.has(Role::Client, Step::OwnFollows) || self.read || has_id;
        let alone = !self.group.heard(Role::Bridge) && !self.group.heard(Role::Peer);
        match placed.role {
            _ if placed.event.child => Some(Layer::OuterHandshake),
            _ if speaks_of_inner => Some(Layer::InnerHandshake),
            Role::Unknown if alone && placed.format().is_none() => None,
            _ => Some(Layer::OuterHandshake),
        }
    }

    /// Errors before any connection.
    fn local(&self) -> Option<Shown> {
        let counts = |signal: &Signal| match signal.row().family {
            // A successful start of NSS also leaves this error behind (measured), so it only counts after a lookup.
            Family::Local => *signal != signal::LIBRARY_NOT_LOADED || self.looked_up,
            family => family == Family::Network,
        };
        let of_own_chain = |(signal, placed): &(Signal, &Placed<'_>)| {
            signal.row().family == Family::Chain && placed.format().is_some_and(|format| format.own_certificate)
        };
        if let Some((signal, _)) = self.own().find(of_own_chain) {
            return Some(Shown::new(signal).at(Layer::Certificate));
        }
        let all = || self.own().map(|(signal, _)| signal).filter(counts);
        // A traceback names the missing option only in its last line.
        let signal = all().find(|signal| *signal == signal::PASSWORD_MISSING).or_else(|| all().next())?;
        let found_nothing = self.found_nothing(signal);
        Some(if found_nothing {
            Shown::new(signal::CERTIFICATE_NOT_FOUND).at(Layer::Certificate)
        } else {
            Shown::new(signal)
        })
    }

    /// Whether a lookup by nickname ended with this error.
    fn found_nothing(&self, signal: Signal) -> bool {
        self.looked_up && [signal::LIBRARY_NOT_LOADED, signal::CERTIFICATE_NOT_FOUND].contains(&signal)
    }

    fn outer(&self) -> Option<Shown> {
        let of_outer = |placed: &Placed<'_>| self.session(placed) != Some(Layer::InnerHandshake);
        let mut own = self.own().filter(|(signal, placed)| is_of_session(*signal) && of_outer(placed));
        // An error with a reason outranks one that only reports a failure.
        let first = own.next();
        let vague = first.is_some_and(|(signal, _)| spelling::says_no_reason(signal));
        let ours = if vague { own.find(|(signal, _)| !spelling::says_no_reason(*signal)).or(first) } else { first };
        let at = Layer::OuterHandshake;
        match (ours, self.of_bridge) {
            // The refusing side knows the reason best.
            (_, Some(Said::Refuses { signal, knows_why: true, .. })) => Some(Shown::new(signal).at(at)),
            // A client whose log only reports that it refused the certificate has sent the reason to the bridge, in its alert.
            (Some((signal::CHAIN_REFUSED, _)), Some(Said::Heard { signal: Some(signal), .. })) => {
                Some(Shown::new(signal).at(at))
            }
            (Some((signal, placed)), _) => Some(Shown { layer: self.session(placed), ..Shown::new(signal) }),
            (None, Some(said)) => said.signal().map(|signal| Shown::new(signal).at(at)),
            (None, None) => None,
        }
    }

    fn request(&self) -> Option<Shown> {
        let of_reply = |signal: &Signal| signal.row().family == Family::Request && *signal != signal::REQUEST_INVALID;
        let own = self.own().find(|(signal, _)| of_reply(signal));
        let theirs = self.by(Role::Bridge).chain(self.by(Role::Server)).find(|(signal, _)| of_reply(signal));
        let invalid = self.by(Role::Bridge).find(|(signal, _)| *signal == signal::REQUEST_INVALID);
        let answered = own.or(theirs).map(|(signal, _)| Shown::new(signal).at(Layer::Request));
        answered.or(invalid.map(|(signal, _)| Shown::new(signal).at(Layer::Bridge)))
    }

    /// The bridge's statement about a session after it has read the client's request concerns the session with its server: the bridge does
    /// not inspect forwarded data.
    fn link(&self) -> Option<Shown> {
        let failed = self.read && !self.begun && self.by(Role::Bridge).any(|(signal, _)| is_of_session(signal));
        failed.then(|| Shown::new(signal::SERVER_SESSION_FAILED).at(Layer::Bridge))
    }

    fn inner(&self) -> Option<Shown> {
        let of_inner = |placed: &Placed<'_>| self.session(placed) == Some(Layer::InnerHandshake);
        let ours = self.own().find(|(signal, placed)| is_of_session(*signal) && of_inner(placed));
        let theirs = self.of_server.and_then(Said::signal).or(self.of_link);
        let ours = ours.map(|(signal, _)| signal);
        // As for the outer session: the alert has the reason.
        let signal = ours.filter(|signal| *signal != signal::CHAIN_REFUSED).or(theirs).or(ours)?;
        Some(Shown::new(signal).at(Layer::InnerHandshake))
    }

    /// The last disconnect that the bridge met while it served this client.
    fn bridge_end(&self) -> Option<&Placed<'a>> {
        self.by(Role::Bridge).rev().map(|(_, placed)| placed).find(|placed| placed.event.sign.is_end())
    }

    /// Only a disconnect, and how far the request had progressed by then.
    fn end(&self) -> Option<Shown> {
        let own = self.own().find(|(signal, _)| is_end(*signal));
        let (signal, layer) = match (own, self.bridge_end().filter(|_| self.read)) {
            (Some((signal, _)), _) if self.read && self.begun => (signal, Some(Layer::InnerHandshake)),
            (_, Some(end)) => (end.trouble()?, Some(Layer::Bridge)),
            (Some((signal, placed)), _) if placed.event.child && !self.accepted => {
                (signal, Some(Layer::OuterHandshake))
            }
            (Some((signal, placed)), _) if placed.role == Role::Tool => (signal, Some(Layer::OuterHandshake)),
            // A parent process notices that its child ended, whatever the reason.
            (Some((signal, _)), _) => (signal, None),
            (None, None) => return None,
        };
        Some(Shown { layer, ..Shown::new(signal) })
    }

    /// Other facts from the client's log.
    fn rest(&self) -> Option<Shown> {
        self.own().last().map(|(signal, _)| Shown::new(signal))
    }

    /// A server's statement about its own certificate, key, password, database or configuration, if nothing is stated about a client.
    fn theirs(&self) -> Option<(Shown, Role)> {
        let is_server = |placed: &&Placed<'a>| matches!(placed.role, Role::Bridge | Role::Server | Role::Peer);
        let own = self.group.events.iter().filter(is_server);
        let mut own = own.filter_map(|placed| Some((self.counting.trouble(placed)?, placed)));
        let counts = |signal: Signal, placed: &Placed<'_>| match signal.row().family {
            Family::Local => placed.is_about_itself() || turned(signal).is_none(),
            family => family == Family::Chain && placed.is_about_itself(),
        };
        let (signal, placed) = own.find(|(signal, placed)| counts(*signal, placed))?;
        let shown = match signal.row().family {
            Family::Chain => Shown::new(signal).at(Layer::Certificate),
            _ => Shown::new(signal),
        };
        Some((shown, placed.role))
    }

    /// The first line with the decisive signal, from its writer's point of view or inverted; otherwise the last line with any failure.
    fn decides(&self, shown: Option<Signal>) -> Option<usize> {
        let place = |holds: &dyn Fn(Signal) -> bool| {
            let said = |placed: &Placed<'_>| self.counting.trouble(placed).is_some_and(holds);
            self.group.events.iter().position(said)
        };
        let as_written = |shown: Signal| place(&|signal| signal == shown);
        let as_turned = |shown: Signal| place(&|signal| turned(signal).and_then(Said::signal) == Some(shown));
        let heard = || place(&|signal| matches!(turned(signal), Some(Said::Heard { .. })));
        let told = match shown {
            Some(shown) => as_written(shown).or_else(|| as_turned(shown)),
            None => heard(),
        };
        told.or_else(|| self.group.events.iter().rposition(|placed| placed.trouble().is_some()))
    }

    fn facts(&self, shown: Option<&Shown>) -> Facts {
        let mut facts = Facts::default();
        let heard = |role: Role| self.group.heard(role);
        let others = heard(Role::Bridge) || heard(Role::Peer) || heard(Role::Server);
        if others && self.group.events.iter().any(|placed| placed.role.is_client()) {
            facts.put(match () {
                () if self.group.joined_without_time => fact::LogsJoined::WithoutTime,
                () if self.named_alike() => fact::LogsJoined::BySession,
                () => fact::LogsJoined::ByTime,
            });
        }
        if shown.is_some_and(|shown| self.found_nothing(shown.signal)) {
            facts.put(fact::OurCertificateLookedUp::NotFound);
        }
        facts.extend(self.of_outer_session());
        facts.extend(self.of_inner_session());
        if self.agree(shown) {
            facts.put(fact::LogsAgree::Yes);
        }
        facts
    }

    /// Whether both ends wrote the same session id.
    fn named_alike(&self) -> bool {
        let names = |of_client: bool| {
            let own = self.group.events.iter().filter(|placed| placed.role.is_client() == of_client);
            own.filter(|placed| placed.event.session.is_some()).count() > 0
        };
        self.group.session.is_some() && names(true) && names(false)
    }

    /// Facts from the bridge's log.
    fn of_outer_session(&self) -> Facts {
        let mut facts = self.of_bridge.map(Said::facts).unwrap_or_default();
        if self.accepted {
            facts.put(fact::PeerLogRefusedOurCertificate::No);
        }
        facts.place(Hop::Peer);
        if self.accepted || self.by(Role::Bridge).next().is_some() {
            facts.put(if self.accepted { fact::BridgeClient::Accepted } else { fact::BridgeClient::NotAccepted });
            facts.put(if self.read { fact::BridgeRequest::Read } else { fact::BridgeRequest::NotRead });
        }
        if self.by(Role::Bridge).any(|(signal, _)| signal == signal::REQUEST_INVALID) {
            facts.put(fact::BridgeRefusal::Said);
        } else if let Some(end) = self.bridge_end().filter(|_| self.read) {
            facts.put(fact::BridgeRefusal::NotSaid);
            facts.put(if end.event.by_code { fact::BridgeEnd::NsprError } else { fact::BridgeEnd::EofError });
            let request = self.group.events.iter().rev().find(|placed| placed.event.sign.is(Step::Reads));
            let since = request.and_then(|request| end.event.when?.0.checked_sub(request.event.when?.0));
            if let Some(micros) = since.and_then(|since| u64::try_from(since).ok()) {
                facts.put(close(Duration::from_micros(micros)));
            }
        }
        facts
    }

    /// Facts from the server's log.
    fn of_inner_session(&self) -> Facts {
        let mut facts = self.of_server.map(Said::facts).unwrap_or_default();
        if self.begun && self.of_server.is_none() {
            facts.put(fact::PeerLogRefusedOurCertificate::No);
        }
        facts.place(Hop::Server);
        if self.group.heard(Role::Server) {
            facts.put(if self.begun { fact::ServerRequest::Begun } else { fact::ServerRequest::NotBegun });
        }
        facts
    }

    /// Whether the logs of both ends agree.
    fn agree(&self, shown: Option<&Shown>) -> bool {
        let Some(shown) = shown else { return false };
        let ours = self.own().any(|(signal, _)| signal == shown.signal);
        let as_said = |said: Option<Said>| said.is_some_and(|said| said.signal() == Some(shown.signal));
        let as_written = |role: Role| self.by(role).any(|(signal, _)| signal == shown.signal);
        let theirs = match shown.layer {
            Some(Layer::Request) => as_written(Role::Bridge) || as_written(Role::Server),
            Some(Layer::InnerHandshake) => as_said(self.of_server),
            _ => as_said(self.of_bridge),
        };
        ours && theirs
    }
}
