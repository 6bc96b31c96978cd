//! Compares two reports of one connection, from its client and its server, matched by the random value of the ClientHello.

use std::collections::BTreeSet;
use std::io::{self, Write};

use colored::Colorize;
use nssight_diagnosis::fact::{Key, Word, fact};
use nssight_diagnosis::vocabulary::Outcome;
use nssight_reports::terminal;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Fact, Report};

/// The end of the connection that refused the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum End {
    Client,
    Server,
}

/// One connection, seen from both sides.
#[derive(Serialize, JsonSchema)]
pub(super) struct Joined {
    /// The random value of the ClientHello.
    random: String,
    /// The client's report: `a` or `b`.
    client: &'static str,
    /// The end that refused the other's certificate; absent if neither did.
    refused_by: Option<End>,
    /// The messages between the two ends, in words.
    words: Vec<String>,
    /// Neither end reports a failure.
    #[serde(skip)]
    pub(super) passes: bool,
}

/// Selects the two reports to compare; if a file has several, those of one connection.
///
/// # Errors
/// A message, if there are several reports and no two belong to one connection.
pub(super) fn pair(a: Vec<Report>, b: Vec<Report>) -> Result<(Report, Report), String> {
    let (count_a, count_b) = (a.len(), b.len());
    let place = || {
        a.iter().enumerate().find_map(|(one, report)| {
            let own = randoms(report);
            let is_other_end =
                |other: &Report| other.target.serves != report.target.serves && !own.is_disjoint(&randoms(other));
            Some((one, b.iter().position(is_other_end)?))
        })
    };
    let (one, other) = match (place(), count_a, count_b) {
        (Some(found), ..) => found,
        (None, 1, 1) => (0, 0),
        (None, ..) => {
            let reports = |count: usize| if count == 1 { "1 report".to_owned() } else { format!("{count} reports") };
            let (a, b) = (reports(count_a), reports(count_b));
            return Err(format!(
                "A has {a}, B has {b}, but no report in A describes the same connection as a report in B"
            ));
        }
    };
    let of = |reports: Vec<Report>, place: usize| reports.into_iter().nth(place).ok_or("no report was found");
    Ok((of(a, one)?, of(b, other)?))
}

fn facts(report: &Report) -> impl Iterator<Item = &Fact> {
    report.probes.iter().flat_map(|finding| &finding.facts)
}

fn randoms(report: &Report) -> BTreeSet<&str> {
    let id = fact::SESSION_CLIENT_RANDOM.0.row().id;
    facts(report).filter(|fact| fact.id == id).map(|fact| fact.text.as_str()).collect()
}

fn texts(report: &Report, key: Key) -> Vec<&str> {
    let id = key.0.row().id;
    facts(report).filter(|fact| fact.id == id).map(|fact| fact.text.as_str()).collect()
}

/// The value of a fact, as the registry spells it.
fn word<W: Word>(report: &Report) -> Option<&str> {
    facts(report).filter(|fact| fact.id == W::FACT.row().id).find_map(|fact| fact.value.as_str())
}

impl Joined {
    /// `None` if the two reports are not the ends of one connection.
    pub(super) fn of(a: &Report, b: &Report) -> Option<Self> {
        let (client_name, client, server) = match (a.target.serves, b.target.serves) {
            (false, true) => ("a", a, b),
            (true, false) => ("b", b, a),
            _ => return None,
        };
        let random = randoms(client).intersection(&randoms(server)).next().map(|random| (*random).to_owned())?;
        let state = word::<fact::ClientCertificateState>(server).filter(|state| *state != "taken");
        let refusal = word::<fact::ClientRefusal>(server).filter(|refusal| *refusal != "other");
        let is_refused = word::<fact::PeerChainDecision>(client) == Some("refused");
        let refused_by = match (state, refusal.is_some() || is_refused) {
            (Some(_), _) => Some(End::Server),
            (None, true) => Some(End::Client),
            (None, false) => None,
        };
        let heard = |report: &Report| match texts(report, fact::SESSION_ALERT_RECEIVED).as_slice() {
            [] => "no alert".to_owned(),
            some => format!("the alert {}", some.join(", ")),
        };
        let mut words = vec![match refused_by {
            Some(End::Server) if state == Some("none") => {
                "the server refused the client, which sent no certificate".to_owned()
            }
            Some(End::Server) => "the server refused the client's certificate".to_owned(),
            Some(End::Client) => "the client refused the server's certificate".to_owned(),
            None => "neither side refused the other side's certificate".to_owned(),
        }];
        for objection in texts(server, fact::CLIENT_CERTIFICATE_OBJECTION) {
            words.push(format!("the server rejects the client's certificate: {objection}"));
        }
        for objection in texts(client, fact::PEER_CHAIN_OBJECTION) {
            words.push(format!("the client rejects the server's certificate: {objection}"));
        }
        words.push(format!("the client reports: {}", client.verdict.summary));
        words.push(format!("the server reports: {}", server.verdict.summary));
        words.push(format!("the client received {}; the server received {}", heard(client), heard(server)));
        let passes = [client, server].iter().all(|it| it.verdict.status == Outcome::Pass);
        Some(Self { random, client: client_name, refused_by, words, passes })
    }

    pub(super) fn human(&self, out: &mut dyn Write) -> io::Result<()> {
        writeln!(out, "\n{}", "The same connection, seen from both sides".bold())?;
        let (client, server) = if self.client == "a" { ("A", "B") } else { ("B", "A") };
        terminal::item(out, &format!("{client} is the client, {server} is the server; ClientHello {}", self.random))?;
        self.words.iter().try_for_each(|words| terminal::item(out, words))
    }
}
